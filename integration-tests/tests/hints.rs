//! Retry hints of providers in every format. They decide when the next attempt is made, or that none is made at that target.

use std::time::{Duration, SystemTime};

use integration_tests::client::{Read, Request};
use integration_tests::envoy::Envoy;
use integration_tests::gateway::{Gateway, Shape};
use integration_tests::provider::{Script, ScriptedProvider, errors};
use integration_tests::records;
use serde_json::{Value, json};
use tokio::task::JoinSet;

/// The longest wait that a client is held for here.
const CAP: Duration = Duration::from_secs(6);

/// An attempt may be this much later than asked, on a busy machine.
const LATE: Duration = Duration::from_secs(4);

/// A provider at its rate limit, and the shortest and longest wait in milliseconds that its hint may mean.
struct Limit {
    name: &'static str,
    kind: &'static str,
    script: Script,
    asked_ms: (u64, u64),
}

fn limit(name: &'static str, kind: &'static str, headers: &[(&str, &str)], asked_ms: (u64, u64)) -> Limit {
    let script = Script::status(429).json(json!({"error": {"message": "slow down", "type": "limit"}}));
    let script = headers.iter().fold(script, |script, (header, value)| script.header(header, value));
    Limit { name, kind, script, asked_ms }
}

/// This many seconds from now as an HTTP date. It has whole seconds, so it is up to a second earlier.
fn http_date(seconds: u64) -> String {
    httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(seconds))
}

/// The same as an RFC 3339 timestamp.
fn timestamp(seconds: u64) -> String {
    let date = http_date(seconds);
    let parts: Vec<_> = date.split_ascii_whitespace().collect();
    let [_, day, month, year, time, _] = parts[..] else { panic!("{date}") };
    let months = "JanFebMarAprMayJunJulAugSepOctNovDec";
    let month = months.find(month).unwrap() / 3 + 1;
    format!("{year}-{month:02}-{day}T{time}Z")
}

fn google(delay: &str) -> Value {
    let details = json!([
        {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": []},
        {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay},
    ]);
    json!({"error": {"code": 429, "message": "exhausted", "status": "RESOURCE_EXHAUSTED", "details": details}})
}

/// Hints that are short enough to wait for.
fn short() -> Vec<Limit> {
    let both = [("retry-after-ms", "1300"), ("retry-after", "60")];
    let azure = [("x-ratelimit-remaining-requests", "0"), ("x-ratelimit-reset-requests", "2")];
    let requests = [
        ("x-ratelimit-remaining-requests", "0"),
        ("x-ratelimit-reset-requests", "1s"),
        // Enough tokens remain, so their late reset does not count.
        ("x-ratelimit-remaining-tokens", "90000"),
        ("x-ratelimit-reset-tokens", "6m0s"),
    ];
    let tokens = [("x-ratelimit-remaining-tokens", "0"), ("x-ratelimit-reset-tokens", "0m1.6s")];
    let (soon, late) = (timestamp(4), timestamp(600));
    let anthropic = [
        ("anthropic-ratelimit-requests-remaining", "0"),
        ("anthropic-ratelimit-requests-reset", &*soon),
        ("anthropic-ratelimit-tokens-remaining", "50000"),
        ("anthropic-ratelimit-tokens-reset", &*late),
    ];
    let date = http_date(4);
    let earlier = [
        ("retry-after", "1"),
        ("x-ratelimit-remaining-requests", "0"),
        // This is when the limit is full again. Some of it is available much earlier.
        ("x-ratelimit-reset-requests", "6m0s"),
    ];
    vec![
        limit("seconds", "openai", &[("retry-after", "2")], (2000, 2000)),
        limit("earlier", "openai", &earlier, (1000, 1000)),
        limit("date", "openai", &[("retry-after", &date)], (1500, 4000)),
        limit("milliseconds", "openai", &[("retry-after-ms", "1400")], (1400, 1400)),
        limit("both", "openai-compatible", &both, (1300, 1300)),
        limit("requests", "openai", &requests, (1000, 1000)),
        limit("tokens", "openai", &tokens, (1600, 1600)),
        Limit { name: "azure", kind: "azure-openai", script: errors::azure_429(), asked_ms: (750, 750) },
        limit("azure-ms", "azure-openai", &[("x-ms-retry-after-ms", "1200")], (1200, 1200)),
        limit("azure-reset", "azure-openai", &azure, (2000, 2000)),
        Limit {
            name: "anthropic",
            kind: "anthropic",
            script: errors::anthropic_429(),
            asked_ms: (1000, 1000),
        },
        limit("anthropic-reset", "anthropic", &anthropic, (1500, 4000)),
        Limit {
            name: "google",
            kind: "gemini",
            script: Script::status(429).json(google("1.5s")),
            asked_ms: (1500, 1500),
        },
    ]
}

/// Hints that are too long to hold a client for.
fn long() -> Vec<Limit> {
    let requests = [("x-ratelimit-remaining-requests", "0"), ("x-ratelimit-reset-requests", "6m0s")];
    let reset = timestamp(600);
    let anthropic =
        [("anthropic-ratelimit-tokens-remaining", "0"), ("anthropic-ratelimit-tokens-reset", &*reset)];
    let date = http_date(600);
    vec![
        limit("seconds", "openai", &[("retry-after", "60")], (60_000, 60_000)),
        limit("date", "openai", &[("retry-after", &date)], (590_000, 600_000)),
        limit("milliseconds", "azure-openai", &[("retry-after-ms", "60500")], (60_500, 60_500)),
        limit("requests", "openai", &requests, (360_000, 360_000)),
        limit("anthropic-reset", "anthropic", &anthropic, (590_000, 600_000)),
        Limit { name: "google", kind: "gemini", script: errors::gemini_429(), asked_ms: (30_000, 30_000) },
    ]
}

struct HintScene {
    providers: Vec<ScriptedProvider>,
    spare: ScriptedProvider,
    envoy: Envoy,
}

impl HintScene {
    /// One provider per limit, with a model and a target of its name. The model `NAME-or-spare` has another target of the same
    /// provider and then `spare`.
    async fn start(limits: &[Limit]) -> Self {
        let spare = ScriptedProvider::start("spare").await;
        let mut configuration = json!({
            "providers": {"spare": {"kind": "openai-compatible", "host": "spare.test"}},
            "targets": {"spare": {"provider": "spare", "model": "m"}},
            "models": {},
            "retry_budget": {"ratio": 10},
        });
        let mut gateway = Gateway::new(Shape::Loop).provider("spare", spare.port());
        let mut providers = Vec::new();
        let retry = json!({"attempts": 2, "retry_after_cap": format!("{}s", CAP.as_secs())});
        for Limit { name, kind, .. } in limits {
            let provider = ScriptedProvider::start(name).await;
            gateway = gateway.provider(name, provider.port());
            let second = format!("{name}-2");
            configuration["providers"][name] = json!({"kind": kind, "host": format!("{name}.test")});
            for target in [*name, &second] {
                configuration["targets"][target] = json!({"provider": name, "model": "m"});
            }
            configuration["models"][name] = json!({"targets": [name], "retry": retry});
            configuration["models"][format!("{name}-or-spare")] =
                json!({"tiers": [[second], ["spare"]], "retry": retry});
            providers.push(provider);
        }
        Self { envoy: gateway.plugin(&configuration).start().await, providers, spare }
    }
}

async fn ask(port: u16, model: &str) -> Read {
    Request::chat(model, false).ask(port).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_short_retry_after_in_any_format_decides_when_the_next_attempt_starts() {
    let scene = HintScene::start(&short()).await;
    // Made again, because dates among them must be close to now.
    let limits = short();
    let mut clients = JoinSet::new();
    for (limit, provider) in limits.iter().zip(&scene.providers) {
        provider.script(limit.script.clone());
        let (port, name) = (scene.envoy.port(), limit.name);
        clients.spawn(async move { (name, ask(port, name).await) });
    }
    while let Some(answered) = clients.join_next().await {
        let (name, read) = answered.unwrap();
        let got = (read.status.as_u16(), read.header("x-llm-attempts"));
        assert_eq!(got, (200, Some("2")), "{name}: {}", read.text());
    }
    let records = records::wait_for(&scene.envoy, limits.len()).await;
    for (Limit { name, asked_ms: (least, most), .. }, provider) in limits.iter().zip(&scene.providers) {
        let record = records.iter().find(|record| record["attempts"][0]["target"] == *name).unwrap();
        let asked = record["attempts"][0]["retry_after_ms"].as_u64().unwrap_or(0);
        assert!((*least..=*most).contains(&asked), "{name}: {asked} ms\n{record}");
        let received = provider.received();
        assert_eq!(received.len(), 2, "{name}");
        let waited = received[1].arrived_at - received[0].arrived_at;
        let asked = Duration::from_millis(asked);
        assert!(waited >= asked && waited < asked + LATE, "{name}: {waited:?} instead of {asked:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_retry_after_is_not_waited_for_and_keeps_requests_away() {
    let limits = long();
    let scene = HintScene::start(&limits).await;
    let port = scene.envoy.port();
    for (Limit { name, script, asked_ms: (least, most), .. }, provider) in limits.iter().zip(&scene.providers)
    {
        provider.by_default(script.clone());
        // Without another target the client gets the provider's own response at once.
        let read = ask(port, name).await;
        assert_eq!(
            (read.status.as_u16(), read.header("x-llm-reason")),
            (429, Some("wait_too_long")),
            "{name}"
        );
        assert!(read.ended_at - read.sent_at < CAP, "{name}");
        assert_eq!(read.header("x-llm-attempts"), Some("1"), "{name}");
        // The next request is refused with the remaining time, and the provider is not asked again.
        let read = ask(port, name).await;
        let got = (read.status.as_u16(), read.header("x-llm-reason"));
        assert_eq!(got, (429, Some("all_targets_throttled")), "{name}");
        let wait_ms: u64 = read.header("retry-after").unwrap().parse::<u64>().unwrap() * 1000;
        let slack = 10_000;
        assert!((*least - slack..=*most + 1000).contains(&wait_ms), "{name}: {wait_ms}");
        assert_eq!(provider.received().len(), 1, "{name}");
        // With another target the request moves there, and the next one goes there at once.
        let model = format!("{name}-or-spare");
        for (attempts, why) in [("2", "rate_limited"), ("1", "throttled")] {
            let read = ask(port, &model).await;
            assert_eq!((read.status.as_u16(), read.header("x-llm-target")), (200, Some("spare")), "{name}");
            assert_eq!(read.header("x-llm-attempts"), Some(attempts), "{name}");
            assert_eq!(read.header("x-llm-fallback"), Some(why), "{name}");
        }
        assert_eq!(provider.received().len(), 2, "{name}");
    }
    assert_eq!(scene.spare.received().len(), 2 * limits.len());
    scene.envoy.expect_count("waits", 0).await;
}
