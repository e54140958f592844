//! The headers that tell a client which target answered and why: on responses, on passed-on provider errors, and on refusals.

use integration_tests::client::{Protocol, Read, Request};
use integration_tests::envoy::Envoy;
use integration_tests::gateway::{Gateway, Shape, compatible};
use integration_tests::provider::{RefusedPort, Script, errors};
use integration_tests::scene::Scene;
use serde_json::json;

const PROTOCOLS: [Protocol; 2] = [Protocol::Http1, Protocol::H2c];

/// The headers about the response.
const TOLD: [&str; 7] = [
    "x-llm-target",
    "x-llm-model",
    "x-llm-attempts",
    "x-llm-fallback",
    "x-llm-fallback-from",
    "x-llm-reason",
    "x-llm-rejected",
];

/// The order is `first`, `second`, `third`. `third` is in another region and has no tools. `away` cannot be reached.
async fn start(shape: Shape, gone: &RefusedPort) -> Scene<1> {
    let target = |provider: &str, name: &str, region: &str, tools: bool| json!({"provider": provider, "model": format!("{name}-model"), "region": region, "tools": tools});
    let once = json!({"attempts_per_target": 1});
    let tiers = json!([["first"], ["second"], ["third"]]);
    let plugin = json!({
        "mode": "shadow",
        "retry_budget": {"ratio": 10},
        "providers": {"all": compatible("all"), "gone": compatible("gone")},
        "targets": {
            "first": target("all", "first", "eu", false), "second": target("all", "second", "eu", true),
            "third": target("all", "third", "us", false), "away": target("gone", "away", "eu", true),
        },
        "models": {
            "chat": {"tiers": tiers, "fallback": {"region": ["eu"]}, "retry": once},
            "twice": {"tiers": tiers, "retry": {"attempts": 2, "attempts_per_target": 1}},
            "gone": {"targets": ["away"], "retry": once},
            "elsewhere": {"targets": ["third"], "fallback": {"region": ["eu"]}},
        },
    });
    Gateway::new(shape).plugin(&plugin).provider("gone", gone.port()).start_with(["all"]).await
}

struct Ask {
    path: &'static str,
    model: &'static str,
    stream: bool,
    tools: bool,
    no_fallback: bool,
    protocol: Protocol,
}

async fn ask(envoy: &Envoy, ask: &Ask) -> Read {
    let turn = json!([{"role": "user", "content": "hi"}]);
    let mut body = json!({"model": ask.model, "messages": turn, "max_tokens": 9, "stream": ask.stream});
    if ask.tools {
        body["tools"] = match ask.path {
            "/v1/messages" => json!([{"name": "f", "input_schema": {"type": "object"}}]),
            _ => json!([{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]),
        };
    }
    let request = Request::post(ask.path).json(&body);
    let request = if ask.no_fallback { request.header("x-llm-no-fallback", "true") } else { request };
    let request = request.over(ask.protocol);
    request.ask(envoy.port()).await
}

fn headers_of(read: &Read) -> [&str; 7] {
    TOLD.map(|name| read.header(name).unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn responses_errors_and_refusals_name_the_target_and_the_reason() {
    let gone = RefusedPort::reserve();
    let Scene { envoy, providers: [provider], .. } = start(Shape::Loop, &gone).await;
    for path in ["/v1/chat/completions", "/v1/messages"] {
        let (e500, e400) = match path {
            "/v1/messages" => (errors::anthropic_529(), errors::anthropic_400()),
            _ => (errors::openai_500(), errors::openai_400()),
        };
        let class = if path == "/v1/messages" { "overloaded" } else { "server" };
        for (stream, protocol) in
            PROTOCOLS.into_iter().flat_map(|protocol| [(false, protocol), (true, protocol)])
        {
            let usual = Ask { path, model: "chat", stream, tools: false, no_fallback: false, protocol };
            let check = async |scripts: &[&Script], asked: Ask, status: Option<u16>, expected: [&str; 7]| {
                for script in scripts {
                    provider.script((*script).clone());
                }
                let read = ask(&envoy, &asked).await;
                let case = format!("{path} {stream} {protocol:?} {} {expected:?}", asked.model);
                assert_eq!(headers_of(&read), expected, "{case}: {} {}", read.status, read.text());
                assert!(status.is_none_or(|status| read.status == status), "{case}: {}", read.status);
            };
            let good = Script::usual();
            let same = || Ask { ..usual };
            // Responses.
            check(&[&good], same(), Some(200), ["first", "first-model", "1", "", "", "", ""]).await;
            let moved = ["second", "second-model", "2", class, "first", "", ""];
            check(&[&e500, &good], same(), Some(200), moved).await;
            let needs = ["second", "second-model", "1", "tools", "first", "", ""];
            check(&[&good], Ask { tools: true, ..usual }, Some(200), needs).await;
            // Provider errors: a client error, the last of several, and one with no eligible target after it.
            check(&[&e400], same(), Some(400), ["first", "first-model", "1", "", "", "", ""]).await;
            let last = ["second", "second-model", "2", class, "first", "attempts_used_up", ""];
            check(&[&e500, &e500], Ask { model: "twice", ..usual }, None, last).await;
            let barred = ["second", "second-model", "2", class, "first", "nothing_left", "third=residency"];
            check(&[&e500, &e500], same(), None, barred).await;
            let forbidden = ["first", "first-model", "1", "", "", "client_forbids", ""];
            check(&[&e500], Ask { no_fallback: true, ..usual }, None, forbidden).await;
            // The filter's own errors: after an attempt, and before any.
            let unreachable = ["away", "away-model", "1", "", "", "all_targets_failed", ""];
            check(&[], Ask { model: "gone", ..usual }, Some(503), unreachable).await;
            let refused = ["", "", "", "", "", "not_allowed", ""];
            check(&[], Ask { model: "elsewhere", ..usual }, Some(403), refused).await;
        }
    }
}

#[tokio::test]
async fn in_an_ordinary_listener_an_error_names_its_target() {
    let gone = RefusedPort::reserve();
    let Scene { envoy, providers: [provider], .. } = start(Shape::Single, &gone).await;
    for protocol in PROTOCOLS {
        let usual = Ask {
            path: "/v1/chat/completions",
            model: "chat",
            stream: false,
            tools: true,
            no_fallback: false,
            protocol,
        };
        provider.script(errors::openai_500());
        let read = ask(&envoy, &usual).await;
        assert_eq!(headers_of(&read), ["second", "second-model", "1", "tools", "first", "", ""]);
        let body = read.json();
        assert!(body["error"]["llm_failsafe"].is_null(), "the error is the provider's own: {body}");
    }
}
