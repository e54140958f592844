//! A record alone explains an incident: for a series of scripted incidents, the record of a request matches what the scripted
//! providers and the client saw. `crash.rs` tests a crash of the VM, which loses records.

use std::time::Duration;

use crate::telemetry;
use integration_tests::SOON;
use integration_tests::client::Request;
use integration_tests::gateway::{Gateway, PROVIDER_KEYS, Shape};
use integration_tests::otlp::Collector;
use integration_tests::provider::{Outcome, Script, ScriptedProvider, errors};
use integration_tests::records;
use integration_tests::scene::Scene;
use integration_tests::sha256;
use serde_json::{Value, json};

const SILENCE: &str = "silence after content";

/// One exchange with a provider, in terms that the record and the provider share.
#[derive(Debug, PartialEq, Eq)]
struct Exchange {
    provider: String,
    model: String,
    status: Option<u64>,
    end: &'static str,
}

/// What the providers do, and what the record and the client must show.
struct Incident {
    what: &'static str,
    scripts: [Vec<Script>; 2],
    /// How many records it leaves.
    asks: usize,
    stream: bool,
    leaves: bool,
    outcome: &'static str,
    reason: Option<&'static str>,
    status: Option<u64>,
}

impl Incident {
    fn of(what: &'static str, first: Vec<Script>, second: Vec<Script>) -> Self {
        Self {
            what,
            scripts: [first, second],
            asks: 1,
            stream: false,
            leaves: false,
            outcome: "fell_back",
            reason: None,
            status: Some(200),
        }
    }

    fn streamed(self) -> Self {
        Self { stream: true, ..self }
    }

    fn ends(self, outcome: &'static str, reason: Option<&'static str>, status: Option<u64>) -> Self {
        Self { outcome, reason, status, ..self }
    }
}

fn incidents() -> Vec<Incident> {
    let usual = Script::usual;
    vec![
        Incident::of("no incident", vec![usual()], vec![]).ends("served", None, Some(200)),
        Incident::of("outage", vec![errors::openai_500()], vec![usual()]).ends(
            "fell_back",
            Some("server"),
            Some(200),
        ),
        Incident::of("overload, streamed", vec![errors::openai_503()], vec![usual()]).streamed().ends(
            "fell_back",
            Some("overloaded"),
            Some(200),
        ),
        Incident::of("break-off before the headers", vec![Script::cut()], vec![usual()]).ends(
            "fell_back",
            Some("transport"),
            Some(200),
        ),
        Incident::of("throttling", vec![errors::openai_429()], vec![usual()]).ends(
            "fell_back",
            Some("rate_limited"),
            Some(200),
        ),
        Incident::of("truncation after content", vec![usual().cut_after_chunks(3)], vec![]).streamed().ends(
            "broken",
            Some("stream_truncated"),
            Some(200),
        ),
        Incident::of("an end before any event", vec![Script::stream([])], vec![usual()]).streamed().ends(
            "fell_back",
            Some("empty"),
            Some(200),
        ),
        Incident::of("error event first", vec![errors::openai_error_event()], vec![usual()]).streamed().ends(
            "fell_back",
            None,
            Some(200),
        ),
        Incident::of("quota", vec![errors::openai_insufficient_quota()], vec![usual()]).ends(
            "fell_back",
            Some("quota_exhausted"),
            Some(200),
        ),
        Incident::of("wrong key", vec![errors::openai_401()], vec![usual()]).ends(
            "fell_back",
            Some("auth"),
            Some(200),
        ),
        Incident::of("fallback refused", vec![errors::openai_400()], vec![]).ends(
            "refused",
            Some("invalid"),
            Some(400),
        ),
        Incident::of("everything down", vec![errors::openai_500()], vec![errors::anthropic_529()]).ends(
            "refused",
            Some("overloaded"),
            Some(529),
        ),
        Incident::of("silence before content", vec![Script::hang()], vec![usual()]).streamed().ends(
            "fell_back",
            Some("timeout"),
            Some(200),
        ),
        Incident::of(SILENCE, vec![usual().hang_after_chunks(3)], vec![]).streamed().ends(
            "broken",
            Some("stream_stalled"),
            Some(200),
        ),
        Incident { leaves: true, ..Incident::of("client abort", vec![usual().hang_after_chunks(3)], vec![]) }
            .streamed()
            .ends("client_abort", None, Some(200)),
    ]
}

async fn start() -> Scene<2> {
    Gateway::new(Shape::Loop)
        // Breakers must not carry over from one incident to the next.
        .configure(&json!({"mode": "shadow", "models": {"chat": {
            "tiers": [["gpt-a"], ["haiku"]], "retry": {"attempts": 2}, "stream": {"first_content": "500ms", "idle": "2s"},
        }}}))
        .start_with([("a", "openai"), ("b", "anthropic")])
        .await
}

/// The exchanges according to the record.
fn from_record(record: &Value) -> Vec<Exchange> {
    let attempts = record["attempts"].as_array().unwrap().iter();
    attempts
        .map(|attempt| Exchange {
            provider: attempt["provider"].as_str().unwrap().to_owned(),
            model: attempt["gen_ai.request.model"].as_str().unwrap().to_owned(),
            status: (attempt["answered_by"] == "provider")
                .then(|| attempt["http.response.status_code"].as_u64())
                .flatten(),
            end: match (attempt["end"].as_str().unwrap(), attempt["error.type"].as_str()) {
                ("answered", None) => "whole answer",
                ("client_abort", None) | (_, Some("timeout" | "stream_stalled")) => "left by its client",
                ("broken", Some("stream_truncated")) | (_, Some("transport")) => "broken off",
                ("failed", Some(_)) => "whole answer",
                other => panic!("{other:?}"),
            },
        })
        .collect()
}

/// The exchanges according to the providers, in the order of arrival.
async fn from_providers(providers: [(&ScriptedProvider, &str, &[Script]); 2]) -> Vec<Exchange> {
    let mut seen = Vec::new();
    for (provider, name, scripts) in providers {
        for (index, request) in provider.received().into_iter().enumerate() {
            let outcome = provider.wait_for_outcome(index, SOON).await;
            let script = &scripts[index];
            let headers = !script.ending.is_before_headers();
            seen.push((
                request.arrived_at,
                Exchange {
                    provider: name.to_owned(),
                    model: request.json()["model"].as_str().unwrap().to_owned(),
                    status: headers.then_some(u64::from(script.status)),
                    end: match outcome {
                        Outcome::Answered(_) => "whole answer",
                        Outcome::ClosedByClient(_) => "left by its client",
                        Outcome::BrokenByProvider(_) => "broken off",
                        Outcome::InProgress => panic!("still in progress"),
                    },
                },
            ));
        }
    }
    seen.sort_by_key(|(at, _)| *at);
    seen.into_iter().map(|(_, exchange)| exchange).collect()
}

#[tokio::test]
async fn the_record_matches_what_the_providers_saw() {
    let Scene { envoy, providers: [a, b], .. } = start().await;
    for (index, incident) in incidents().into_iter().enumerate() {
        let what = incident.what;
        a.forget_received();
        b.forget_received();
        for (provider, scripts) in [&a, &b].into_iter().zip(&incident.scripts) {
            for script in scripts {
                provider.script(script.clone());
            }
        }
        let request = Request::chat("chat", incident.stream);
        let status = if incident.leaves {
            let mut response = request.send(envoy.port()).await.unwrap();
            let status = response.status;
            response.next_chunk().await.unwrap().unwrap();
            drop(response);
            status
        } else {
            request.ask(envoy.port()).await.status
        };
        let record = records::wait_for(&envoy, index + incident.asks).await.pop().unwrap();
        let shown = || format!("{what}: {record:#}");
        assert_eq!(record["outcome"], incident.outcome, "{}", shown());
        if incident.reason.is_some() {
            assert_eq!(record["outcome_reason"].as_str(), incident.reason, "{}", shown());
        }
        assert_eq!(record["http.response.status_code"].as_u64(), incident.status, "{}", shown());
        assert_eq!(incident.status, Some(u64::from(status.as_u16())), "{}", shown());
        let [first, second] = &incident.scripts;
        let known = from_providers([(&a, "openai", first), (&b, "anthropic", second)]).await;
        assert_eq!(from_record(&record), known, "{}", shown());
        if what == SILENCE {
            let gap = record["attempts"][0]["stream"]["longest_gap_ms"].as_u64().unwrap();
            assert!(gap >= 1_700, "the record has the gap that ended the stream: {}", shown());
        }
        // Times are in order, and each attempt lies within the request.
        let mut before = 0;
        for attempt in record["attempts"].as_array().unwrap() {
            let times = ["start_ms", "headers_ms", "first_content_ms", "end_ms"];
            for at in times.iter().filter_map(|name| attempt[*name].as_u64()) {
                assert!(before <= at, "{}", shown());
                before = at;
            }
        }
        assert!(before <= record["duration_ms"].as_u64().unwrap(), "{}", shown());
    }
}

#[tokio::test]
async fn a_record_names_the_configuration_that_the_request_began_with() {
    let scene = Gateway::new(Shape::Loop)
        .configure(&json!({"models": {"chat": {"tiers": [["gpt-a"], ["haiku"]]}}}))
        .reloadable()
        .start_with([("a", "openai"), ("b", "anthropic")])
        .await;
    let Scene { envoy, gateway, providers: [a, _b] } = scene;
    a.script(Script::usual().delay_headers(Duration::from_secs(3)));
    let port = envoy.port();
    let slow = tokio::spawn(async move { Request::chat("chat", false).ask(port).await.status });
    a.wait_for(1, SOON).await;
    gateway.configure(&json!({"mode": "shadow"})).update(&envoy);
    envoy.wait_for_stat("listener_manager.lds.update_success", |updates| updates >= 2).await;
    // New requests use the new listener within two seconds.
    tokio::time::sleep(Duration::from_millis(2300)).await;
    let fresh = Request::chat("chat", false).ask(envoy.port()).await;
    assert_eq!((fresh.status.as_u16(), slow.await.unwrap().as_u16()), (200, 200));
    let records = records::wait_for(&envoy, 2).await;
    let of_mode = |mode: &str| records.iter().find(|record| record["policy"]["mode"] == mode).unwrap();
    let (before, after) = (of_mode("enforce"), of_mode("shadow"));
    assert_ne!(before["policy"]["config_hash"], after["policy"]["config_hash"]);
    assert!(before["start_unix_ms"].as_u64() < after["start_unix_ms"].as_u64());
    assert_eq!((&before["outcome"], &after["outcome"]), (&json!("served"), &json!("served")));
}

// Planted wherever a client, an operator or a provider puts private data.
const PROMPT: &str = "planted-prompt-1f3b";
const COMPLETION: &str = "planted-completion-77aa";
const TOOL: &str = "planted-tool-d00d";
const PERSON: &str = "planted.person@example.com";
const WRONG_KEY: &str = "planted-wrong-key-31d7";
const CLIENT_KEY: &str = "planted-client-key-9c4e";
const ERROR_TEXT: &str = "planted-error-text-5b5b";
const OPERATOR_KEY: &str = "planted-operator-key-e0e0";
/// The name of a client key is no secret, but it identifies a team.
const KEY_NAME: &str = "planted-key-name";
const TEAM: &str = "planted-cost-centre";

#[tokio::test]
async fn no_prompt_completion_or_key_reaches_any_output() {
    plant_and_search("standard").await;
}

#[tokio::test]
async fn strict_redaction_also_hides_key_names_and_metadata() {
    plant_and_search("strict").await;
}

/// Puts all of this into requests, responses and errors, and searches every output for it.
async fn plant_and_search(redact: &str) {
    let collector = Collector::start().await;
    let team = json!({
        "sha256": sha256(CLIENT_KEY), "metadata": {"team": TEAM}, "budget": {"requests_per_minute": 1000},
    });
    let gateway = Gateway::new(Shape::Loop).configure(&json!({
        "mode": "shadow", "record": {"log": "all", "redact": redact}, "keys": {KEY_NAME: team},
        "operator": {"keys": {"anna": {"sha256": sha256(OPERATOR_KEY)}}},
        "models": {"chat": {"tiers": [["gpt-a"], ["haiku"]]}},
    }));
    let gateway = telemetry::add(gateway, &collector);
    let scene = gateway.start_with([("a", "openai"), ("b", "anthropic")]).await;
    let Scene { envoy, providers: [a, b], .. } = scene;
    let body = |stream: bool| {
        json!({
            "model": "chat", "stream": stream, "user": PERSON, "prompt_cache_key": PERSON,
            "metadata": {"user_id": PERSON, "note": PROMPT},
            "messages": [{"role": "system", "content": PROMPT}, {"role": "user", "content": PROMPT}],
            "tools": [{"type": "function", "function": {"name": TOOL, "parameters": {"type": "object"}}}],
            "stop": [PROMPT], "seed": 7,
        })
    };
    let error = json!({"error": {"message": format!("{ERROR_TEXT} {PROMPT}"), "type": "server_error", "param": PROMPT}});
    let say = Script::usual().say(COMPLETION);
    let scripts = [
        say.clone(),
        Script::status(500).json(error.clone()),
        Script::status(400).json(error),
        say.clone().cut_after_chunks(3),
        say.clone().cut_after_bytes(20),
        Script::cut(),
    ];
    let mut asked = 0;
    let mut answers = String::new();
    for script in scripts {
        for stream in [false, true] {
            a.script(script.clone());
            b.by_default(say.clone());
            let request = Request::post("/v1/chat/completions")
                .json(&body(stream))
                .header("authorization", &format!("Bearer {CLIENT_KEY}"))
                .header("cookie", CLIENT_KEY)
                .header("x-llm-session", PERSON);
            let read = request.ask(envoy.port()).await;
            answers.push_str(&format!("{:?}\n{}\n", read.headers, read.text()));
            asked += 1;
        }
    }
    records::wait_for(&envoy, asked).await;
    // A wrong key is secret too: it may be valid elsewhere.
    let wrong = Request::chat("chat", false).header("x-api-key", WRONG_KEY);
    let read = wrong.ask(envoy.port()).await;
    assert_eq!(read.status, 401);
    answers.push_str(&format!("{:?}\n{}\n", read.headers, read.text()));
    asked += 1;
    records::wait_for(&envoy, asked).await;
    let (spans, logs) = collector.wait_for(asked, asked).await;
    let telemetry = format!("{spans:?}\n{logs:?}");
    let operator = |request: Request| {
        request.header("authorization", &format!("Bearer {OPERATOR_KEY}")).send(envoy.port())
    };
    let order = operator(Request::post("/llm-failsafe/targets/haiku/reset")).await.unwrap();
    assert_eq!(order.status, 200);
    let mut status = operator(Request::get("/llm-failsafe/status")).await.unwrap().json().await;
    // The report shows which key has used up its budget, even if records leave the key out.
    let budgets = status.as_object_mut().unwrap().remove("budgets").unwrap();
    assert_eq!(budgets[0]["key"], KEY_NAME);

    let keys = || PROVIDER_KEYS.iter().map(|(_, key)| *key);
    // Clients get the model's response or the provider's error, which may repeat the prompt. Neither may contain a key.
    for secret in keys().chain([CLIENT_KEY, WRONG_KEY]) {
        assert!(!answers.contains(secret), "{secret} went to a client");
    }
    for request in a.received().into_iter().chain(b.received()) {
        let sent =
            format!("{:?} {} {}", request.headers, request.path, String::from_utf8_lossy(&request.body));
        assert!(!sent.contains(CLIENT_KEY), "a client's key went to a provider: {sent}");
    }
    let (log, stats) = (envoy.log(), envoy.admin("/stats").await);
    let outputs = [log, stats, envoy.prometheus().await, telemetry, order.text().await, status.to_string()];
    let leads_to_a_team: &[_] = if redact == "strict" { &[KEY_NAME, TEAM] } else { &[] };
    let said = [PROMPT, COMPLETION, TOOL, PERSON, CLIENT_KEY, WRONG_KEY, OPERATOR_KEY, ERROR_TEXT];
    for secret in keys().chain(said).chain(leads_to_a_team.iter().copied()) {
        for output in &outputs {
            let found = output.lines().find(|line| line.contains(secret));
            assert_eq!(found, None, "{secret} is in an output");
        }
    }
    let records = records::of_log(&outputs[0]);
    assert_eq!(records::logged(&outputs[0]).len(), records.len());
    for record in records.iter().filter(|record| record["outcome_reason"] != "invalid_api_key") {
        for member in ["key_id", "key_metadata", "session_hash"] {
            assert_eq!(record.get(member).is_none(), redact == "strict", "{member}: {record:#}");
        }
    }
    // The search is meaningful: the providers got the prompt.
    assert!(a.received().iter().any(|request| String::from_utf8_lossy(&request.body).contains(PROMPT)));
}
