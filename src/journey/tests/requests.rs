//! Requests that are refused, listed or passed on: bad bodies, client keys, the list of models and other
//! paths.

use serde_json::json;
use sha2::{Digest, Sha256};

use super::super::test_support::*;
use super::super::{Ending, Exchange, RequestStep};
use super::{CHAT, at, first, refusal};
use crate::base::HeaderSink;
use crate::retry::Received;

#[test]
fn bad_requests_are_refused_in_the_clients_dialect() {
    let small = json!({"limits": {"max_body": "1KiB"}});
    let cases: &[(&str, &str, &[u8], u16, &str)] = &[
        (CHAT, "", br#"not json"#, 400, "invalid_json"),
        (CHAT, "", br#"{"model":"chat""#, 400, "invalid_json"),
        (CHAT, "", br#"["model"]"#, 400, "invalid_json"),
        (CHAT, "", br#"{"messages":[]}"#, 400, "model_missing"),
        (CHAT, "", br#"{"model":7}"#, 400, "model_not_a_string"),
        (CHAT, "", br#"{"model":"chat","MODEL":"gpt"}"#, 400, "invalid_json"),
        (CHAT, "", br#"{"model":"nope"}"#, 404, "model_not_found"),
        (CHAT, "", &[b' '; 1025], 413, "request_too_large"),
        (CHAT, "", b"", 400, "invalid_json"),
        ("/v1/embeddings", "", br#"{"model":"claude-only"}"#, 400, "no_target_may_take_it"),
        ("/v1/nothing", "", br#"{"model":"chat"}"#, 404, "unknown_path"),
        (CHAT, "gzip", br#"{"model":"chat"}"#, 415, "unsupported_content_encoding"),
    ];
    for (path, coding, body, status, code) in cases {
        let mut changes = small.clone();
        changes["models"] = json!({"chat": {"targets": ["gpt-a"]}, "claude-only": {"targets": ["claude"]}});
        let worker = &mut worker(config_with(changes));
        let mut request = loop_request(path, 1);
        if !coding.is_empty() {
            request.headers.push(("content-encoding".to_owned(), (*coding).to_owned()));
        }
        let mut refused = pass(worker, request, body, 100);
        let (got, error) = refusal(&refused.step);
        assert_eq!((got, &error["error"]["code"]), (*status, &json!(code)), "{path} {error}");
        refused.exchange.finish(worker, Ending::Complete, at(0));
        assert!(worker.journeys.borrow().is_empty());
    }
    let worker = &mut worker(load(CONFIG));
    let refused = pass(worker, loop_request("/v1/messages", 1), br#"{"model":"nope"}"#, 100);
    let (status, error) = refusal(&refused.step);
    assert_eq!(
        (status, &error["type"], &error["error"]["type"]),
        (404, &json!("error"), &json!("not_found_error"))
    );
}

#[test]
fn a_body_that_grows_past_the_limit_is_refused() {
    let worker = &mut worker(config_with(json!({"limits": {"max_body": "1KiB"}})));
    let mut exchange = Exchange::default();
    let mut request = loop_request(CHAT, 1);
    let block = request.block();
    assert_eq!(exchange.request_headers(worker, &block, false, NOW, &mut request), RequestStep::Hold);
    request.body = vec![b' '; 1025];
    let step = exchange.request_body(worker, 1025, false, NOW, &mut request);
    assert_eq!(refusal(&step).0, 413);
}

#[test]
fn client_keys_grant_their_models_and_never_reach_a_provider() {
    let hash: String = Sha256::digest(b"client-key").iter().map(|byte| format!("{byte:02x}")).collect();
    let changes = json!({
        "keys": {"team": {"sha256": hash, "models": ["chat"]}},
        "accounts": {"a": {"provider": "openai"}, "b": {"provider": "openai"}, "c": {"provider": "anthropic"}},
    });
    let worker = &mut worker(config_with(changes));
    let sent = first(worker);
    assert_eq!(sent.step, RequestStep::Send);
    assert_eq!(
        sent.request.get("authorization"),
        None,
        "the client's key reaches no provider, not even one without a credential"
    );
    let other = pass(worker, loop_request(CHAT, 1), br#"{"model":"gpt"}"#, 100);
    assert_eq!(refusal(&other.step).0, 404, "a model that the key may not use does not exist for it");
    let mut stranger = loop_request(CHAT, 1);
    HeaderSink::set(&mut stranger, "authorization", "Bearer other");
    let refused = pass(worker, stranger, br#"{"model":"chat"}"#, 100);
    assert_eq!(refusal(&refused.step).0, 401);

    let mut list = loop_request("/v1/models", 1);
    HeaderSink::set(&mut list, ":method", "GET");
    let listed = pass(worker, list, b"", 1);
    let (status, body) = refusal(&listed.step);
    assert_eq!((status, body["data"].as_array().unwrap().len()), (200, 1));
}

#[test]
fn a_choice_at_the_provider_is_refused_only_where_something_is_restricted() {
    let hash: String = Sha256::digest(b"client-key").iter().map(|byte| format!("{byte:02x}")).collect();
    let key = |rules: serde_json::Value| {
        let mut key = json!({"sha256": hash});
        key.as_object_mut().unwrap().extend(rules.as_object().unwrap().clone());
        json!({"keys": {"team": key}})
    };
    let model = |fallback: serde_json::Value| json!({"models": {"chat": {"targets": ["gpt-a"], "fallback": fallback}}});
    let targets =
        json!({"gpt-a": {"account": "a", "model": "m", "region": "eu", "price": {"input": 1, "output": 1}}});
    for (changes, models, hosts) in [
        (json!({}), 0, 0),
        (key(json!({})), 0, 0),
        (key(json!({"budget": {"requests_per_minute": 9}})), 0, 0),
        (key(json!({"models": ["chat"]})), 403, 0),
        (key(json!({"regions": ["eu"]})), 403, 403),
        (model(json!({"region": ["eu"]})), 403, 403),
        (model(json!({"max_price_ratio": 2})), 403, 0),
        (model(json!({"approved": []})), 403, 0),
        (model(json!({"region": ["eu"], "max_price_ratio": 2, "mode": "shadow"})), 0, 0),
    ] {
        let mut changes = changes;
        changes["targets"] = targets.clone();
        changes["models"] = match &changes["models"] {
            serde_json::Value::Null => json!({"chat": {"targets": ["gpt-a"]}}),
            models => models.clone(),
        };
        for (member, status) in [(r#""models":["x"]"#, models), (r#""provider":{"only":["x"]}"#, hosts)] {
            let worker = &mut worker(config_with(changes.clone()));
            let body = format!(r#"{{"model":"chat",{member}}}"#);
            let sent = pass(worker, loop_request(CHAT, 1), body.as_bytes(), 100);
            if status == 0 {
                assert_eq!(sent.step, RequestStep::Send, "{member} {changes}");
                assert!(sent.request.body.ends_with(format!("{member}}}").as_bytes()), "{member}");
            } else {
                let (got, error) = refusal(&sent.step);
                let expected = (status, &json!("routing_not_allowed"));
                assert_eq!((got, &error["error"]["code"]), expected, "{member} {changes}");
            }
        }
    }
}

#[test]
fn a_client_is_told_which_parameters_its_target_ignores() {
    let asks = r#""seed":1,"response_format":{"type":"json_object"},"reasoning_effort":"low""#;
    let told = Some("response_format, reasoning_effort, seed");
    for (target, members, told) in [
        ("claude", asks, told),
        ("claude", r#""modalities":["audio","image"]"#, Some("modalities")),
        ("claude", r#""temperature":1,"n":1,"seed":null"#, None),
        ("gpt-a", r#""seed":1,"response_format":{"type":"json_object"}"#, None),
    ] {
        let worker = &mut worker(config_with(json!({"models": {"chat": {"targets": [target]}}})));
        let body = format!(r#"{{"model":"chat","messages":[],{members}}}"#);
        let mut sent = pass(worker, loop_request(CHAT, 1), body.as_bytes(), 100);
        assert_eq!(sent.step, RequestStep::Send, "{members}");
        let answer = br#"{"choices":[{"message":{"content":"hi"},"finish_reason":"stop"}]}"#;
        sent.answer(worker, &[(":status", "200"), ("content-type", "application/json")], answer);
        assert_eq!(sent.response.get("x-llm-target"), Some(target), "{members}");
        assert_eq!(sent.response.get("x-llm-ignored"), told, "{members}");
    }
}

#[test]
fn the_record_of_a_refusal_has_the_status_that_the_client_got() {
    let hash: String = Sha256::digest(b"client-key").iter().map(|byte| format!("{byte:02x}")).collect();
    let keys = json!({"team": {"sha256": hash, "budget": {"tokens_per_minute": 1}}});
    for (path, status) in [(CHAT, 400), ("/v1/messages", 402)] {
        let worker = &mut worker(config_with(json!({"keys": keys})));
        let mut refused = pass(worker, loop_request(path, 1), br#"{"model":"chat"}"#, 100);
        assert_eq!(refusal(&refused.step).0, status, "{path}");
        let record = refused.exchange.finish(worker, Ending::Complete, at(0)).unwrap();
        let record: serde_json::Value = serde_json::from_slice(&record.json).unwrap();
        assert_eq!(record["http.response.status_code"], status, "{path}");
        assert_eq!(record["outcome_reason"], "budget_exhausted", "{path}");
    }
}

#[test]
fn a_model_is_found_by_its_escaped_name() {
    let worker = &mut worker(config_with(json!({"models": {"lab/large:1": {"targets": ["gpt-a"]}}})));
    for path in ["/v1/models/lab/large:1", "/v1/models/lab%2Flarge%3a1?x=%2F"] {
        let mut get = loop_request(path, 1);
        HeaderSink::set(&mut get, ":method", "GET");
        let found = pass(worker, get, b"", 1);
        let (status, body) = refusal(&found.step);
        assert_eq!((status, &body["id"]), (200, &json!("lab/large:1")), "{path}");
    }
}

#[test]
fn without_keys_the_clients_credential_reaches_a_target_without_one() {
    let changes = json!({
        "accounts": {"a": {"provider": "openai"}, "b": {"provider": "openai"}, "c": {"provider": "anthropic"}},
    });
    let sent = first(&mut worker(config_with(changes)));
    assert_eq!(sent.request.get("authorization"), Some("Bearer client-key"));
}

#[test]
fn other_paths_go_to_the_configured_cluster() {
    let worker = &mut worker(config_with(json!({"other_paths": {"cluster": "rest"}})));
    let sent = pass(worker, loop_request("/v1/files", 1), b"anything", 3);
    assert_eq!(sent.step, RequestStep::Send);
    assert_eq!(sent.request.get("x-llm-cluster"), Some("rest"));
    assert_eq!(sent.request.get("x-request-id"), None);
    assert_eq!(sent.request.body, b"anything");
}

#[test]
fn a_request_to_another_path_is_never_retried() {
    let worker = &mut worker(config_with(json!({"other_paths": {"cluster": "files"}})));
    let mut sent = pass(worker, loop_request("/v1/files", 1), b"rows", 10);
    assert_eq!(sent.step, RequestStep::Send);
    // The inner listener marks responses made by Envoy like this. A server may send the header too.
    let headers = [(":status", "503"), ("x-llm-retry", "transport"), ("etag", "e")];
    sent.answer_from(worker, Origin::Envoy { received: Received::Never }, &headers, b"");
    assert_eq!((sent.response.get("x-llm-retry"), sent.response.get("etag")), (None, Some("e")));
}
