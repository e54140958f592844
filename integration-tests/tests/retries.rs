//! Retries at the same target and their back-off: requests that are held inside the filter and sent later.

use std::time::{Duration, Instant};

use bytes::Bytes;
use integration_tests::SOON;
use integration_tests::client::{Protocol, Read, Request};
use integration_tests::envoy::Envoy;
use integration_tests::gateway::{Gateway, Shape, edge_host};
use integration_tests::provider::{Ending, Event, Point, Script, ScriptedProvider, errors};
use integration_tests::scene::Scene;
use integration_tests::sha256;
use serde_json::{Value, json};

/// A model with one target.
async fn alone(provider: &ScriptedProvider, retry: Value) -> Envoy {
    let models = json!({"chat": {"tiers": null, "targets": ["gpt-a"], "retry": retry}});
    Gateway::new(Shape::Loop)
        // Many requests fail here. The breaker must not open.
        .configure(&json!({
            "models": models,
            "breaker": {"min_requests": 10_000, "consecutive": 1_000},
            "targets": {"gpt-a": {"context_window": 1_000_000_000}},
        }))
        .provider("openai", provider.port())
        .start()
        .await
}

async fn ask(envoy: &Envoy, stream: bool, protocol: Protocol) -> Read {
    Request::chat("chat", stream).over(protocol).ask(envoy.port()).await
}

async fn ask_for(envoy: &Envoy, model: &str) -> Read {
    Request::chat(model, false).ask(envoy.port()).await
}

#[tokio::test]
async fn the_only_target_is_retried_once_after_a_back_off() {
    let provider = ScriptedProvider::start("only").await;
    let envoy = alone(&provider, json!({})).await;
    let failures = [
        ("server", errors::openai_500()),
        ("overloaded", errors::openai_503()),
        ("error event", errors::openai_error_event()),
        ("empty stream", Script::stream([])),
        ("broken off", Script::usual().ending(Ending::Reset(Point::BeforeHeaders))),
    ];
    for (case, script) in failures {
        for protocol in [Protocol::Http1, Protocol::H2c] {
            provider.forget_received();
            provider.script(script.clone());
            let read = ask(&envoy, true, protocol).await;
            assert_eq!(read.status, 200, "{case}: {}", read.text());
            assert!(read.text().ends_with("data: [DONE]\n\n"), "{case}: {}", read.text());
            assert_eq!(read.header("x-llm-attempts"), Some("2"), "{case}");
            assert_eq!(read.header("x-llm-fallback"), None, "{case}");
            let received = provider.received();
            assert_eq!(received.len(), 2, "{case}");
            // The request after the wait is addressed and edited like the first one.
            let again = &received[1];
            assert_eq!(again.json(), received[0].json(), "{case}");
            assert_eq!(again.json()["model"], "gpt-4.1-mini", "{case}");
            assert_eq!(again.header("authorization"), Some("Bearer sk-openai-a-secret"), "{case}");
            assert_eq!(again.path, received[0].path, "{case}");
            let private = again.headers.iter().filter(|(name, _)| {
                name.starts_with("x-llm") || name.starts_with("x-envoy") || name.starts_with("x-forwarded")
            });
            assert_eq!(private.count(), 0, "{case}: {:?}", again.headers);
        }
    }
    envoy.wait_until_idle().await;
    envoy.expect_count("repetitions", 10).await;
}

#[tokio::test]
async fn a_persistent_failure_reaches_the_client_after_two_attempts() {
    let provider = ScriptedProvider::start("only").await;
    provider.by_default(errors::openai_500());
    let envoy = alone(&provider, json!({"attempts": 5})).await;
    let read = ask(&envoy, false, Protocol::Http1).await;
    assert_eq!(read.status, 500);
    assert_eq!(provider.received().len(), 2);
    envoy.wait_until_idle().await;
}

#[tokio::test]
async fn a_short_rate_limit_is_waited_for_and_a_long_one_is_passed_on() {
    let provider = ScriptedProvider::start("only").await;
    let envoy = alone(&provider, json!({"retry_after_cap": "3s"})).await;
    let limited =
        || Script::status(429).json(json!({"error": {"type": "requests", "code": "rate_limit_exceeded"}}));
    provider.script(limited().header("retry-after", "1"));
    let began = Instant::now();
    let read = ask(&envoy, false, Protocol::H2c).await;
    assert_eq!((read.status.as_u16(), read.header("x-llm-attempts")), (200, Some("2")));
    let waited = began.elapsed();
    assert!(waited >= Duration::from_secs(1), "{waited:?}");
    assert_eq!(provider.received().len(), 2);

    provider.script(limited().header("retry-after", "20"));
    let began = Instant::now();
    let read = ask(&envoy, false, Protocol::H2c).await;
    assert_eq!((read.status.as_u16(), read.header("retry-after")), (429, Some("20")));
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    assert_eq!(provider.received().len(), 3);
    envoy.wait_until_idle().await;
}

/// A body with `model` at its end, as many SDKs send it.
fn body(length: usize, model: &str) -> Bytes {
    let text = "plain text ".repeat(length / 11);
    Bytes::from(format!(r#"{{"messages":[{{"role":"user","content":"{text}"}}],"model":"{model}"}}"#))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_body_arrives_whole_after_a_wait() {
    let provider = ScriptedProvider::start("only").await;
    let backoff = json!({"backoff": {"base": "2s", "max": "2s"}});
    for backoff in [json!({"backoff": {"base": "1ms", "max": "1ms"}}), backoff] {
        let envoy = alone(&provider, backoff).await;
        for length in [100, 70_000, 1_000_000, 30_000_000] {
            for protocol in [Protocol::Http1, Protocol::H2c] {
                provider.forget_received();
                provider.script(errors::openai_500());
                let request = Request::post("/v1/chat/completions").bytes(body(length, "chat"));
                let request = request.over(protocol).patience(Duration::from_secs(60));
                let answer = request.send(envoy.port()).await;
                let answer = answer.unwrap_or_else(|error| panic!("{length} {protocol:?}: {error}"));
                let read = answer.read().await;
                assert_eq!(read.status, 200, "{length} {protocol:?}: {}", read.text());
                let received = provider.received();
                let expected = body(length, "gpt-4.1-mini");
                assert_eq!(received.len(), 2, "{length} {protocol:?}");
                for (attempt, received) in received.iter().enumerate() {
                    assert_eq!(
                        received.body_length,
                        expected.len() as u64,
                        "{length} {protocol:?} {attempt}"
                    );
                    assert_eq!(received.body_sha256, sha256(&expected), "{length} {protocol:?} {attempt}");
                }
            }
        }
        let memory = envoy.count("wasm_memory_bytes").await;
        assert!(memory < 8 << 20, "{memory} bytes of Wasm memory");
        envoy.wait_until_idle().await;
    }
}

#[tokio::test]
async fn a_client_that_leaves_during_the_back_off_causes_no_attempt() {
    let provider = ScriptedProvider::start("only").await;
    for protocol in [Protocol::Http1, Protocol::H2c] {
        let envoy = alone(&provider, json!({})).await;
        provider.forget_received();
        provider.script(Script::status(429).json(json!({"error": {}})).header("retry-after", "8"));
        let request = Request::chat("chat", true).over(protocol);
        let port = envoy.port();
        let client = tokio::spawn(async move { request.send(port).await });
        envoy.wait_for_count("waiting", 1).await;
        let left_at = Instant::now();
        client.abort();
        envoy.wait_until_idle().await;
        assert!(left_at.elapsed() < Duration::from_secs(6), "{:?}", left_at.elapsed());
        assert_eq!(provider.received().len(), 1);
        envoy.expect_count("client_aborts", 1).await;
        envoy.expect_count("journeys_orphaned", 0).await;
    }
}

#[tokio::test]
async fn the_providers_x_should_retry_decides() {
    let provider = ScriptedProvider::start("only").await;
    let envoy = alone(&provider, json!({})).await;
    for (status, word, attempts) in [(500, "false", 1), (503, "false", 1), (400, "true", 2), (409, "true", 2)]
    {
        provider.forget_received();
        provider.script(
            Script::status(status).json(json!({"error": {"message": "no"}})).header("x-should-retry", word),
        );
        let read = ask(&envoy, false, Protocol::Http1).await;
        assert_eq!(provider.received().len(), attempts, "{status} {word}");
        assert_eq!(read.status, if attempts == 1 { status } else { 200 }, "{status} {word}");
    }
    envoy.wait_until_idle().await;
}

#[tokio::test]
async fn a_request_that_may_be_billed_is_repeated_as_replay_uncertain_says() {
    let provider = ScriptedProvider::start("only").await;
    // The provider takes the request and then breaks off, every time.
    let lost = Script::usual().ending(Ending::Reset(Point::BeforeHeaders));
    for (policy, attempts) in [("once", 2), ("never", 1), ("always", 4)] {
        let retry = json!({
            "attempts": 4, "attempts_per_target": 4, "replay_uncertain": policy, "backoff": {"base": "1ms", "max": "1ms"},
        });
        let envoy = alone(&provider, retry).await;
        provider.by_default(lost.clone());
        provider.forget_received();
        let read = ask(&envoy, false, Protocol::Http1).await;
        assert_eq!(read.status, 503, "{policy}: {}", read.text());
        assert_eq!(provider.received().len(), attempts, "{policy}");
        // The client is told not to retry.
        let told = ["x-llm-reason", "x-should-retry", "retry-after"].map(|name| read.header(name));
        assert_eq!(told, [Some("all_targets_failed"), Some("false"), None], "{policy}");
        // A request that refers to state at the provider is never repeated.
        provider.forget_received();
        let stateful = json!({"model": "chat", "input": "x", "previous_response_id": "resp_1"});
        let read = Request::post("/v1/responses").json(&stateful).ask(envoy.port()).await;
        assert_eq!(read.status, 503, "{policy}: {}", read.text());
        assert_eq!(provider.received().len(), 1, "{policy}");
        envoy.wait_until_idle().await;
    }
    // A request that never arrived is repeated under every policy.
    let retry = json!({"replay_uncertain": "never", "backoff": {"base": "10s", "max": "10s"}});
    let mut gone = ScriptedProvider::start("gone").await;
    let envoy = alone(&gone, retry).await;
    gone.stop().await;
    let port = envoy.port();
    let client = tokio::spawn(async move { Request::chat("chat", false).ask(port).await });
    envoy.wait_for_count("waiting", 1).await;
    gone.restart().await;
    let read = client.await.unwrap();
    assert_eq!(read.status, 200, "{}", read.text());
}

/// Two workers and two accounts of a provider that always fails.
async fn outage(provider: &ScriptedProvider, budget: Value) -> Envoy {
    provider.by_default(errors::openai_500());
    let models = json!({"chat": {"tiers": null, "targets": ["gpt-a", "gpt-b"]}});
    let breaker = json!({"min_requests": 10_000, "consecutive": 1_000});
    Gateway::new(Shape::Loop)
        .configure(&json!({"models": models, "breaker": breaker, "retry_budget": budget}))
        .provider("openai", provider.port())
        .concurrency(2)
        .start()
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_retry_budget_limits_attempts_in_an_outage() {
    const REQUESTS: usize = 600;
    let provider = ScriptedProvider::start("down").await;
    let envoy = outage(&provider, json!({"ratio": 0.2, "floor": 1})).await;
    let began = Instant::now();
    let mut clients = tokio::task::JoinSet::new();
    for client in 0..20 {
        let port = envoy.port();
        clients.spawn(async move {
            let mut told = 0;
            for number in 0..REQUESTS / 20 {
                let request = Request::chat("chat", (client + number) % 2 == 0);
                let read = request.ask(port).await;
                assert_eq!(read.status, 500, "{}", read.text());
                assert!(read.text().contains("The server had an error"), "{}", read.text());
                assert_eq!(read.header("x-should-retry"), Some("false"));
                told += usize::from(read.header("x-llm-reason") == Some("retry_budget"));
            }
            told
        });
    }
    let mut refused = 0;
    while let Some(told) = clients.join_next().await {
        refused += told.unwrap();
    }
    // The floor allows ten more attempts in every ten seconds.
    let floors = 10 * (1 + began.elapsed().as_secs() as usize / 10);
    let attempts = provider.received().len();
    assert!(attempts <= REQUESTS * 12 / 10 + floors, "{attempts} attempts for {REQUESTS} requests");
    assert!(attempts > REQUESTS, "{attempts}");
    assert!(refused > REQUESTS / 2, "{refused}");
    envoy.expect_count("gave_up_retry_budget", refused as u64).await;
    envoy.wait_until_idle().await;
}

#[tokio::test]
async fn without_a_retry_budget_nothing_is_retried() {
    let provider = ScriptedProvider::start("down").await;
    let envoy = outage(&provider, json!({"ratio": 0, "floor": 0})).await;
    let read = ask(&envoy, false, Protocol::Http1).await;
    assert_eq!((read.status.as_u16(), read.header("x-llm-reason")), (500, Some("retry_budget")));
    assert_eq!(provider.received().len(), 1);
}

#[tokio::test]
async fn idempotency_keys_are_sent_with_every_attempt() {
    let provider = ScriptedProvider::start("only").await;
    let envoy = alone(&provider, json!({})).await;
    provider.script(errors::openai_500());
    let request = Request::chat("chat", false)
        .header("idempotency-key", "order-7")
        .header("x-client-request-id", "trace-7")
        .header("x-request-id", "theirs");
    let read = request.ask(envoy.port()).await;
    assert_eq!(read.status, 200);
    let received = provider.received();
    assert_eq!(received.len(), 2);
    for attempt in &received {
        assert_eq!(attempt.header("idempotency-key"), Some("order-7"));
        assert_eq!(attempt.header("x-client-request-id"), Some("trace-7"));
        assert_eq!(attempt.header("x-request-id"), None, "the request id is not for providers");
    }
}

/// A client like OpenAI's and Anthropic's SDKs: two retries after 408, 409, 429 and 5xx, unless it is told not to retry.
async fn as_sdks_do(port: u16) -> (u16, usize) {
    for tries in 1.. {
        let read = Request::chat("chat", false).ask(port).await;
        let status = read.status.as_u16();
        let again = match read.header("x-should-retry") {
            Some(word) => word == "true",
            None => matches!(status, 408 | 409 | 429) || status >= 500,
        };
        if !again || tries == 3 {
            return (status, tries);
        }
        let wait = read.header("retry-after").and_then(|seconds| seconds.parse().ok()).unwrap_or(0.5);
        tokio::time::sleep(Duration::from_secs_f64(wait)).await;
    }
    unreachable!()
}

#[tokio::test]
async fn sdk_retries_do_not_multiply_the_filters_attempts() {
    let provider = ScriptedProvider::start("down").await;
    let envoy = outage(&provider, json!({})).await;
    // Two accounts and a third attempt at one of them. If the SDK retried twice, it would be nine attempts.
    assert_eq!(as_sdks_do(envoy.port()).await, (500, 1));
    assert_eq!(provider.received().len(), 3);
    // After a rate limit the SDK waits as told and gets a response.
    let envoy = alone(&provider, json!({"attempts": 1})).await;
    provider.forget_received();
    provider.by_default(Script::usual());
    provider.script(Script::status(429).json(json!({"error": {}})).header("retry-after", "1"));
    assert_eq!(as_sdks_do(envoy.port()).await, (200, 2));
    assert_eq!(provider.received().len(), 2);
}

/// Counters of events that must each occur among many mixed requests.
const ENDS: [&str; 16] = [
    "refusals",
    "attempts_answered",
    "attempts_failed",
    "failovers",
    "repetitions",
    "waits",
    "alarms",
    "client_aborts",
    "streams_complete",
    "streams_truncated",
    "streams_abandoned",
    "gave_up_attempts_used_up",
    "gave_up_queue_full",
    "queue_timeouts",
    "journeys_orphaned",
    "breaker_opened",
];

/// Two workers, and an edge that makes one retry, which is less than the filter requests. One model fails over, and one queues
/// for its only target, which takes three requests at a time.
async fn mixed() -> Scene<2> {
    let retry = json!({
        "backoff": {"base": "20ms", "max": "50ms"}, "queue": {"max_wait": "200ms", "max_waiting": 10},
    });
    let mut twice = retry.clone();
    twice["attempts"] = json!(2);
    let stream = json!({"first_content": "100ms", "answer": "100ms"});
    Gateway::new(Shape::Loop)
        .configure(&json!({
            "models": {
                "chat": {"tiers": [["gpt-a"], ["haiku"]], "retry": retry, "stream": stream},
                "narrow": {"targets": ["gpt-b"], "retry": twice, "stream": stream},
            },
            "targets": {"gpt-b": {"limits": {"max_pending": 3}}},
            "breaker": {"open": "100ms", "open_max": "200ms", "slow_start": "0s"},
        }))
        .concurrency(2)
        .edit(|config| edge_host(config)["retry_policy"]["num_retries"] = json!(1))
        .start_with([("first", "openai"), ("spare", "anthropic")])
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_ten_thousand_mixed_requests_nothing_is_left() {
    const CLIENTS: usize = 40;
    const EACH: usize = 250;
    let Scene { envoy, providers: [first, spare], .. } = mixed().await;
    let failures = [
        errors::openai_500(),
        errors::openai_400(),
        errors::openai_error_event(),
        Script::cut(),
        Script::stream([]),
        Script::stream([Event::data(json!({"choices": [{"index": 0, "delta": {"content": "hi"}}]}))]),
        Script::usual().cut_after_chunks(2).delay_chunks(Duration::from_millis(5)),
        Script::status(429).json(json!({"error": {}})).header("retry-after-ms", "50"),
        Script::hang(),
        Script::usual().delay_headers(Duration::from_millis(30)),
    ];
    for number in 0..CLIENTS * EACH {
        // Ten failures in a row, so that breakers open too.
        let failing = number % 50 < 10;
        let script = if failing { failures[number % failures.len()].clone() } else { Script::usual() };
        first.script(script);
        spare.script(if number % 7 == 0 { errors::anthropic_529() } else { Script::usual() });
    }
    let mut clients = tokio::task::JoinSet::new();
    for client in 0..CLIENTS {
        let port = envoy.port();
        clients.spawn(async move {
            for number in 0..EACH {
                let model = if (client + number) % 4 == 0 { "narrow" } else { "chat" };
                let request = Request::chat(model, number % 2 == 0);
                let request = if client % 2 == 0 { request.h2c() } else { request };
                let asking = async { request.send(port).await.ok()?.read().await.error };
                // Every tenth request is abandoned: during the response, or in the queue.
                let patience = match number % 20 {
                    0 => Duration::from_millis(5),
                    10 => Duration::from_millis(60),
                    _ => Duration::from_secs(60),
                };
                let _ = tokio::time::timeout(patience, asking).await;
            }
        });
    }
    clients.join_all().await;
    envoy.wait_until_idle().await;
    let count = async |name: &str| envoy.count(name).await;
    assert!(count("requests").await > (CLIENTS * EACH * 9 / 10) as u64, "{}", count("requests").await);
    for end in ENDS {
        assert!(count(end).await > 0, "this never happened: {end}");
    }
    assert!(count("wasm_memory_bytes").await < 8 << 20, "{}", count("wasm_memory_bytes").await);
    // The three places are free again on both workers, once the breaker is closed and the scripts are used up.
    let (deadline, mut in_a_row) = (Instant::now() + SOON, 0);
    while in_a_row < 20 {
        let read = ask_for(&envoy, "narrow").await;
        in_a_row = if read.status == 200 { in_a_row + 1 } else { 0 };
        assert!(Instant::now() < deadline, "{}", read.text());
    }
}
