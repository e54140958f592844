//! Repeated configuration updates under traffic, on two workers: no request is lost, and all attempts of a request use one
//! configuration.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use integration_tests::client::{Read, Request};
use integration_tests::gateway::{Gateway, Shape};
use integration_tests::provider::{Script, ScriptedProvider, errors};
use serde_json::{Value, json};
use tokio::task::JoinSet;

const UPDATES: usize = 8;
const CLIENTS: usize = 8;

/// The number of the configuration is part of the model names, so that providers see which configuration was used.
fn generation(number: usize) -> Value {
    json!({
        "mode": "shadow",
        "targets": {
            "gpt-a": {"account": "openai-a", "model": format!("first-{number}")},
            "haiku": {"account": "claude", "model": format!("spare-{number}")},
        },
        "models": {"chat": {"tiers": [["gpt-a"], ["haiku"]]}},
        // Every request fails over here. The retry budget must not prevent that.
        "retry_budget": {"ratio": 10},
    })
}

fn number(model: &str) -> &str {
    model.rsplit_once('-').unwrap().1
}

fn is_whole(read: &Read, stream: bool) -> bool {
    let end = if stream { "data: [DONE]\n\n" } else { "}" };
    read.status == 200 && read.error.is_none() && read.text().ends_with(end)
}

#[tokio::test]
async fn repeated_updates_lose_no_request_and_mix_no_configurations() {
    let (first, spare) = (ScriptedProvider::start("first").await, ScriptedProvider::start("spare").await);
    // Every request fails over.
    first.by_default(errors::openai_500().delay_headers(Duration::from_millis(30)));
    spare.by_default(Script::usual().delay_chunks(Duration::from_millis(20)));
    let gateway = |number| {
        Gateway::new(Shape::Loop)
            .configure(&generation(number))
            .provider("openai", first.port())
            .provider("anthropic", spare.port())
            .concurrency(2)
            .reloadable()
    };
    let envoy = gateway(0).start().await;
    let (port, stop) = (envoy.port(), Arc::new(AtomicBool::new(false)));
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        let stop = Arc::clone(&stop);
        clients.spawn(async move {
            let (mut sent, mut generations) = (0, Vec::new());
            while !stop.load(Ordering::Relaxed) {
                let stream = sent % 2 == 0;
                let id = format!("{client}-{sent}");
                let request = Request::chat("chat", stream).header("x-client-request-id", &id);
                let request = if client % 2 == 0 { request.h2c() } else { request };
                let read =
                    request.send(port).await.unwrap_or_else(|error| panic!("{id}: {error}")).read().await;
                assert!(is_whole(&read, stream), "{id}: {} {:?} {}", read.status, read.error, read.text());
                assert_eq!(read.header("x-llm-attempts"), Some("2"), "{id}");
                generations.push((id, read.header("x-llm-model").unwrap().to_owned()));
                sent += 1;
            }
            generations
        });
    }
    for update in 1..=UPDATES {
        tokio::time::sleep(Duration::from_millis(400)).await;
        gateway(update).update(&envoy);
    }
    // The last configuration is used by both workers once the connections of the hop have been replaced.
    tokio::time::sleep(Duration::from_secs(4)).await;
    stop.store(true, Ordering::Relaxed);
    let answered: Vec<_> = clients.join_all().await.into_iter().flatten().collect();
    assert!(answered.len() > 200, "{}", answered.len());

    let asked = first.received();
    assert_eq!(asked.len(), answered.len());
    let mut seen = std::collections::BTreeSet::new();
    for (id, model) in answered {
        let request =
            asked.iter().find(|request| request.header("x-client-request-id") == Some(&id)).unwrap();
        let first_model = request.json()["model"].as_str().unwrap().to_owned();
        assert_eq!(number(&first_model), number(&model), "{id}: a journey keeps its configuration");
        seen.insert(number(&model).to_owned());
    }
    assert!(seen.len() >= 3 && seen.contains(&UPDATES.to_string()), "{seen:?}");
    for gauge in ["journeys", "attempts_in_flight"] {
        envoy.wait_for_count(gauge, 0).await;
    }
}
