//! A record from a real Envoy is explained, and replayed against other configurations.

use std::fs;

use integration_tests::client::Request;
use integration_tests::gateway::{Gateway, Shape};
use integration_tests::provider::{Script, errors};
use integration_tests::records;
use integration_tests::scene::Scene;
use llm_failsafe::base::WallTime;
use serde_json::{Value, json};

fn configuration() -> Value {
    json!({
        "retry_loop": true,
        "route_strips_headers": true,
        "providers": {
            "openai": {"kind": "openai", "cluster": "openai"}, "anthropic": {"kind": "anthropic", "cluster": "anthropic"},
        },
        "targets": {
            "gpt-a": {"provider": "openai", "key": {"value": "sk-a"}, "model": "gpt-4.1-mini", "region": "eu",
                      "price": {"input": 1, "output": 4}},
            "haiku": {"provider": "anthropic", "key": {"value": "sk-b"}, "model": "claude-haiku-4-5", "region": "us"},
        },
        "models": {"chat": {"tiers": [["gpt-a"], ["haiku"]], "retry": {"attempts": 2}}},
    })
}

fn run(arguments: &[&str]) -> Result<String, String> {
    llm_failsafe_cli::run(arguments, WallTime::default()).map_err(|failure| failure.to_string())
}

#[tokio::test]
async fn a_record_from_a_real_log_is_explained_and_replayed() {
    let gateway = Gateway::new(Shape::Loop).plugin(&configuration());
    let scene = gateway.start_with([("a", "openai"), ("b", "anthropic")]).await;
    let Scene { envoy, providers: [a, _b], .. } = scene;
    a.script(errors::openai_429()).script(Script::usual());
    for stream in [true, false] {
        Request::chat("chat", stream).ask(envoy.port()).await;
    }
    let all = records::wait_for(&envoy, 2).await;
    // An operator has Envoy's whole log.
    let log = envoy.dir().join("all.log");
    fs::write(&log, envoy.log()).unwrap();
    let log = log.to_str().unwrap();
    let id = all[0]["request_id"].as_str().unwrap();

    let told = run(&["explain", "--record", log, "--id", id]).unwrap();
    let in_order = [
        "chat chat  →  fell_back (rate_limited), status 200",
        id,
        "needs: a stream, 1 items",
        "considered gpt-a (tier 0, closed), haiku (tier 1, closed)",
        "attempt 1 → gpt-a (account gpt-a, gpt-4.1-mini at api.openai.com in eu): first_choice",
        "429 from provider",
        "failed: rate_limited",
        "asks to retry after",
        "→ elsewhere: haiku",
        "attempt 2 → haiku",
        "first content",
        "answered, stream complete after",
        "tokens in",
    ];
    let mut rest = told.as_str();
    for expected in in_order {
        let (_, behind) = rest
            .split_once(expected)
            .unwrap_or_else(|| panic!("{expected:?} is missing or out of order:\n{told}"));
        rest = behind;
    }
    assert_eq!(run(&["explain", "--record", log]).unwrap().matches("configuration").count(), 2);
    let provider_id = all[0]["attempts"][1]["provider_request_id"].as_str().unwrap();
    assert_eq!(run(&["explain", "--record", log, "--id", provider_id]).unwrap(), told);
    assert!(
        run(&["explain", "--record", log, "--id", "nobody"]).unwrap_err().contains("none of the 2 records")
    );

    let replay = |configuration: &Value| {
        let file = envoy.dir().join("config.json");
        fs::write(&file, configuration.to_string()).unwrap();
        run(&["replay", "--record", log, "--config", file.to_str().unwrap(), "--id", id]).unwrap()
    };
    let same = replay(&configuration());
    assert_eq!(same, "1 request: nothing differs");

    let mut only_europe = configuration();
    only_europe["models"]["chat"]["fallback"] = json!({"region": ["eu"]});
    let stricter = replay(&only_europe);
    assert!(
        stricter.contains("attempt 1: haiku was eligible then and is ineligible (residency) now"),
        "{stricter}"
    );
    assert!(stricter.contains("attempt 2: no target would be eligible now"), "{stricter}");
    assert!(stricter.ends_with("\n\n1 request: 1 decided otherwise now, 0 the same"), "{stricter}");

    let mut without = configuration();
    without["models"]["chat"]["tiers"] = json!([["gpt-a"]]);
    assert!(replay(&without).contains("attempt 2: haiku is no longer a target of the model"));

    let mut renamed = configuration();
    renamed["models"] = json!({"other": {"targets": ["gpt-a"]}});
    assert!(replay(&renamed).contains("the model chat existed then and does not exist now"));
}

#[test]
fn invalid_records_and_arguments_are_reported() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let empty = file("empty", "nothing here\n");
    assert!(run(&["explain", "--record", &empty]).unwrap_err().contains("no decision record"));
    let other = file("other", "{\"schema_version\":1,\"start_unix_ms\":\"x\"}\n");
    assert!(run(&["explain", "--record", &other]).unwrap_err().contains("cannot be read"));
    assert!(run(&["explain", "--record", "/nowhere/at/all"]).is_err());
    assert!(run(&["explain"]).unwrap_err().contains("--record"));
    assert!(
        run(&["replay", "--record", &empty, "--config", &other]).unwrap_err().contains("no decision record")
    );
}
