//! What passes between clients and providers at the edge, besides bodies: which of a client's headers each vendor gets, which of
//! a provider's headers clients get, redirects, and keys in errors.

use integration_tests::client::{Read, Request};
use integration_tests::gateway::{Gateway, Shape, compatible};
use integration_tests::provider::{Script, errors};
use integration_tests::records;
use integration_tests::scene::Scene;
use serde_json::{Value, json};

const SHAPES: [Shape; 2] = [Shape::Loop, Shape::Single];

/// One model per kind of provider, all behind one cluster, each with an operator's key.
fn each_kind(kinds: &[&str]) -> Value {
    let mut configuration = json!({"providers": {}, "targets": {}, "models": {}});
    for kind in kinds {
        configuration["providers"][kind] =
            json!({"kind": kind, "cluster": "provider", "host": "vendor.test"});
        configuration["targets"][kind] =
            json!({"provider": kind, "model": "m", "key": {"value": "sk-own-secret"}});
        configuration["models"][kind] = json!({"targets": [kind]});
    }
    configuration
}

#[tokio::test]
async fn each_vendor_gets_what_its_api_documents_and_what_the_operator_adds() {
    let common = ["idempotency-key", "traceparent", "tracestate", "x-b3-traceid", "x-stainless-lang"];
    let own = |kind| match kind {
        "openai" => vec!["openai-beta", "session_id", "x-client-request-id"],
        "azure-openai" => vec!["openai-beta", "x-client-request-id", "x-ms-client-request-id"],
        "anthropic" => vec!["anthropic-beta", "anthropic-version", "x-app"],
        "gemini" => vec!["x-goog-api-client"],
        "openrouter" => vec!["anthropic-beta", "anthropic-version", "http-referer", "x-title"],
        "mistral" => vec![],
        _ => vec![
            "anthropic-beta",
            "anthropic-version",
            "openai-beta",
            "x-client-request-id",
            "x-grok-conv-id",
        ],
    };
    let of_nobody = [
        "baggage",
        "accept-language",
        "origin",
        "cf-access-jwt-assertion",
        "x-goog-user-project",
        "x-anything",
    ];
    let kinds =
        ["openai", "azure-openai", "anthropic", "gemini", "openrouter", "mistral", "openai-compatible"];
    let mut configuration = each_kind(&kinds);
    configuration["providers"]["mistral"]["forward_headers"] = json!(["X-Team", "openai-beta"]);
    let all: Vec<&str> =
        kinds.into_iter().flat_map(own).chain(common).chain(of_nobody).chain(["x-team"]).collect();
    for shape in SHAPES {
        let Scene { envoy, providers: [provider], .. } =
            Gateway::new(shape).plugin(&configuration).start_with(["provider"]).await;
        for kind in kinds {
            let request = Request::chat(kind, false);
            let request = all.iter().fold(request, |request, name| request.header(name, "1"));
            assert_eq!(request.ask(envoy.port()).await.status, 200, "{kind}");
            let seen = provider.received().pop().unwrap();
            let mut expected: Vec<&str> = own(kind).into_iter().chain(common).collect();
            if kind == "mistral" {
                expected.extend(["x-team", "openai-beta"]);
            }
            for name in &all {
                // Envoy may write its own trace context.
                assert_eq!(
                    seen.header(name).is_some(),
                    expected.contains(name),
                    "{shape:?} {kind} {name}: {seen:#?}"
                );
            }
        }
    }
}

#[tokio::test]
async fn a_provider_gets_no_query_but_the_one_that_its_endpoint_has() {
    let configuration = each_kind(&["anthropic", "openai", "openai-compatible"]);
    let Scene { envoy, providers: [provider], .. } =
        Gateway::new(Shape::Single).plugin(&configuration).start_with(["provider"]).await;
    for (model, path, arrives_at) in [
        ("anthropic", "/v1/messages?beta=true&key=secret", "/v1/messages?beta=true"),
        ("anthropic", "/v1/messages?api_key=secret", "/v1/messages"),
        (
            "openai",
            "/v1/responses?include%5B%5D=a&include[]=b&x",
            "/v1/responses?include%5B%5D=a&include[]=b",
        ),
        ("openai", "/v1/chat/completions?beta=true&%6bey=secret", "/v1/chat/completions"),
        (
            "openai-compatible",
            "/v1/chat/completions?api-version=1&token=secret",
            "/v1/chat/completions?api-version=1",
        ),
    ] {
        let body = json!({"model": model, "max_tokens": 5, "input": "hi", "messages": [{"role": "user", "content": "hi"}]});
        assert_eq!(Request::post(path).json(&body).ask(envoy.port()).await.status, 200, "{path}");
        assert_eq!(provider.received().pop().unwrap().path, arrives_at, "{path}");
    }
}

/// What speaks for a provider's host or account.
const OF_THE_HOST: [(&str, &str); 16] = [
    ("alt-svc", "h3=\":443\""),
    ("strict-transport-security", "max-age=31536000"),
    ("set-cookie", "__cf_bm=1"),
    ("clear-site-data", "\"*\""),
    ("access-control-allow-origin", "*"),
    ("access-control-expose-headers", "x-request-id"),
    ("openai-organization", "org-of-the-operator"),
    ("openai-project", "proj-of-the-operator"),
    ("anthropic-organization-id", "org-of-the-operator"),
    ("location", "https://elsewhere.test/"),
    ("www-authenticate", "Bearer realm=\"vendor\""),
    ("link", "<https://vendor.test>"),
    ("nel", "{}"),
    ("content-security-policy", "default-src 'none'"),
    ("via", "1.1 google"),
    ("x-anything", "1"),
];

/// What a client gets of a provider's headers.
const TOLD: [(&str, &str); 7] = [
    ("request-id", "req_1"),
    ("apim-request-id", "req_2"),
    ("x-amzn-requestid", "req_3"),
    ("openai-processing-ms", "7"),
    ("openai-version", "2020-10-01"),
    ("retry-after", "2"),
    ("retry-after-ms", "2000"),
];

const LIMITS: [&str; 3] = ["x-ratelimit-remaining-requests", "anthropic-ratelimit-tokens-limit", "ratelimit"];

fn with_headers(script: Script) -> Script {
    let script =
        OF_THE_HOST.into_iter().chain(TOLD).fold(script, |script, (name, value)| script.header(name, value));
    LIMITS.into_iter().fold(script, |script, name| script.header(name, "100"))
}

#[tokio::test]
async fn clients_get_a_providers_ids_and_waits_and_nothing_that_speaks_for_its_host() {
    // With the shipped route, which removes the usual ones, and with one that removes none.
    for (shape, route_strips) in SHAPES.into_iter().flat_map(|shape| [(shape, true), (shape, false)]) {
        let gateway = Gateway::new(shape).configure(&json!({
            "route_strips_headers": route_strips,
            "models": {
                "one": {"targets": ["gpt-a"], "retry": {"attempts_per_target": 1}},
                "two": {"targets": ["gpt-a", "gpt-b"], "retry": {"attempts": 1}},
            },
            "mode": "shadow",
        }));
        let scene = gateway.start_with([("a", ["openai", "anthropic"])]).await;
        for script in [Script::usual(), errors::openai_400(), errors::openai_500()] {
            for (model, stream) in [("one", false), ("one", true), ("two", false), ("two", true)] {
                scene.providers[0].script(with_headers(script.clone()));
                let read = Request::chat(model, stream).ask(scene.port()).await;
                let case = format!("{shape:?} {route_strips} {model} {stream} {}", read.status);
                for (name, _) in OF_THE_HOST {
                    assert_eq!(read.header(name), None, "{case} {name}");
                }
                for (name, value) in TOLD.into_iter().filter(|(name, _)| !name.starts_with("retry-after")) {
                    assert_eq!(read.header(name), Some(value), "{case} {name}");
                }
                assert!(read.header("retry-after").is_some(), "{case}");
                for name in LIMITS {
                    assert_eq!(read.header(name).is_some(), model == "one", "{case} {name}");
                }
            }
        }
    }
}

fn redirect(status: u16) -> Script {
    let script = Script::status(status).header("content-type", "text/html").text("<html>Moved</html>");
    script.header("location", "https://elsewhere.test/v1/chat/completions")
}

fn check_not_followed(read: &Read, case: &str) {
    assert_eq!((read.status.as_u16(), read.header("location")), (502, None), "{case}");
    assert_eq!(read.json()["error"]["code"], "all_targets_failed", "{case}: {}", read.text());
    assert!(!read.text().contains("Moved"), "{case}");
}

#[tokio::test]
async fn a_redirect_is_a_failure_that_no_client_can_follow() {
    let mut configuration = each_kind(&["openai"]);
    configuration["providers"]["spare"] = compatible("spare");
    configuration["targets"]["spare"] = json!({"provider": "spare", "model": "spare"});
    configuration["models"]["chat"] = json!({"tiers": [["openai"], ["spare"]]});
    configuration["mode"] = json!("shadow");
    configuration["retry_budget"] = json!({"ratio": 10});
    for shape in SHAPES {
        let gateway = Gateway::new(shape).plugin(&configuration);
        let Scene { envoy, providers: [provider, spare], .. } =
            gateway.start_with(["provider", "spare"]).await;
        let mut asked = 0;
        for status in [300, 301, 302, 303, 307, 308] {
            for stream in [false, true] {
                let case = format!("{shape:?} {status} {stream}");
                provider.script(redirect(status));
                check_not_followed(&Request::chat("openai", stream).ask(envoy.port()).await, &case);
                provider.script(redirect(status));
                let read = Request::chat("chat", stream).ask(envoy.port()).await;
                match shape {
                    Shape::Loop => {
                        assert_eq!(
                            (read.status.as_u16(), read.header("x-llm-target")),
                            (200, Some("spare")),
                            "{case}"
                        );
                        assert_eq!(read.header("x-llm-fallback"), Some("redirected"), "{case}");
                    }
                    Shape::Single => check_not_followed(&read, &case),
                }
                asked += 2;
            }
        }
        // A body cannot be added to a response that has none.
        for status in [307, 304] {
            provider.script(Script::status(status).header("location", "/elsewhere").text(""));
            let read = Request::chat("openai", false).ask(envoy.port()).await;
            assert_eq!((read.status.as_u16(), read.header("location")), (502, None), "{shape:?} {status}");
            asked += 1;
        }
        assert_eq!(provider.received().len(), asked, "{shape:?}: the same target would redirect again");
        assert_eq!(spare.received().len(), if shape == Shape::Loop { 12 } else { 0 });
        let records = records::wait_for(&envoy, asked).await;
        for record in records {
            assert_eq!(record["attempts"][0]["error.type"], "redirected", "{record}");
        }
    }
}

#[tokio::test]
async fn no_record_and_no_client_sees_the_key_that_a_provider_quotes() {
    let mut configuration = each_kind(&["openai"]);
    configuration["targets"]["bare"] = json!({"provider": "openai", "model": "m"});
    configuration["models"]["bare"] = json!({"targets": ["bare"]});
    // So that no account is blocked.
    configuration["mode"] = json!("shadow");
    let keys = [
        "sk-own-secret-0123",
        "sk-proj-****cret",
        "AIzaSyA0123456789abcdefghij",
        "0123456789abcdef0123456789abcdef",
    ];
    for shape in SHAPES {
        let gateway = Gateway::new(shape).plugin(&configuration);
        let Scene { envoy, providers: [provider], .. } = gateway.start_with(["provider"]).await;
        for key in keys {
            let error = json!({"message": format!("Incorrect API key provided: {key}."), "type": format!("bad {key}"),
                "code": format!("invalid_api_key {key}"), "param": null});
            for model in ["openai", "bare"] {
                provider.script(Script::status(400).json(json!({ "error": error })));
                let read = Request::chat(model, false).ask(envoy.port()).await;
                let told = read.text();
                assert_eq!(read.status, 400, "{told}");
                assert_eq!(read.header("content-length"), Some(told.len().to_string().as_str()));
                // What only resembles a key may be an id, and a client without an operator's key knows its own.
                let hidden = model == "openai" && !key.starts_with('0');
                assert_eq!(told.contains(key), !hidden, "{shape:?} {model}: {told}");
                assert!(
                    read.json()["error"]["message"].as_str().unwrap().starts_with("Incorrect API key"),
                    "{told}"
                );
            }
        }
        let records = records::wait_for(&envoy, 2 * keys.len()).await;
        for record in &records {
            assert_eq!(record["attempts"][0]["provider_error"]["type"], "bad [redacted]", "{record}");
        }
        let log = envoy.log();
        assert!(keys.iter().all(|key| !log.contains(key)), "{log}");
    }
}
