//! Requests for what lives at one account.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::super::test_support::*;
use super::super::{Exchange, RequestStep, Worker};
use super::refusal;

const RESPONSES: &str = "/v1/responses";

/// Which accounts have which key in the configuration of these tests.
const A: &str = "Bearer sk-provider-a";
const B: &str = "Bearer sk-provider-b";

fn sha256(key: &str) -> String {
    Sha256::digest(key.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A request without a body.
fn ask(worker: &mut Worker, method: &str, path: &str, key: &str) -> (RequestStep, FakeWire, Exchange) {
    let mut request = FakeWire::new(&[
        (":method", method),
        (":path", path),
        (":authority", "gateway.internal"),
        ("authorization", key),
        ("x-api-key", "another"),
        ("content-type", "multipart/form-data; boundary=x"),
        ("cookie", "session=1"),
        ("x-forwarded-for", "10.0.0.1"),
    ]);
    let block = request.block();
    let mut exchange = Exchange::default();
    let step = exchange.request_headers(worker, &block, method == "GET", NOW, &mut request);
    (step, request, exchange)
}

/// Where a request went: its cluster, host, path and credential.
fn sent(worker: &mut Worker, method: &str, path: &str) -> [String; 4] {
    let (step, request, _) = ask(worker, method, path, "Bearer client");
    assert_eq!(step, RequestStep::Send, "{path}");
    for name in ["x-api-key", "cookie", "x-forwarded-for"] {
        assert_eq!(request.get(name), None, "{path} {name}");
    }
    [
        request.get("x-llm-cluster"),
        request.get(":authority"),
        request.get(":path"),
        request.get("authorization"),
    ]
    .map(|value| value.unwrap_or_default().to_owned())
}

fn refused(worker: &mut Worker, method: &str, path: &str, key: &str) -> (u16, String) {
    let (step, ..) = ask(worker, method, path, key);
    let (status, body) = refusal(&step);
    (status, body["error"]["code"].as_str().unwrap_or_default().to_owned())
}

/// Makes a response with this id. Returns the credential of the account that made it.
fn make_response(worker: &mut Worker, id: &str) -> String {
    let body = json!({"model": "chat", "input": id, "prompt_cache_key": id}).to_string();
    let mut made = pass(worker, loop_request(RESPONSES, 1), body.as_bytes(), 1000);
    assert_eq!(made.step, RequestStep::Send);
    let answer = json!({"id": id, "object": "response", "status": "completed", "output": [
        {"type": "message", "content": [{"type": "output_text", "text": "hi"}]}]});
    made.answer(
        worker,
        &[(":status", "200"), ("content-type", "application/json")],
        answer.to_string().as_bytes(),
    );
    made.exchange.finish(worker, super::Ending::Complete, NOW);
    made.request.get("authorization").unwrap().to_owned()
}

#[test]
fn a_response_is_asked_for_at_the_account_that_made_it() {
    let targets = json!({
        "gpt-a": {"account": "a", "model": "gpt-real"}, "gpt-b": {"account": "b", "model": "gpt-real"},
    });
    let models = json!({"chat": {"targets": ["gpt-a", "gpt-b"]}});
    let worker = &mut worker(config_with(json!({"targets": targets, "models": models})));
    let mut makers = std::collections::BTreeSet::new();
    for number in 0..20 {
        let id = format!("resp_{number}");
        let maker = make_response(worker, &id);
        for (method, path, expected) in [
            ("GET", format!("/v1/responses/{id}?stream=true"), format!("/v1/responses/{id}?stream=true")),
            ("DELETE", format!("/openai/v1/responses/{id}"), format!("/v1/responses/{id}")),
            ("POST", format!("/responses/{id}/cancel/"), format!("/v1/responses/{id}/cancel")),
            ("GET", format!("/v1/responses/{id}/input_items"), format!("/v1/responses/{id}/input_items")),
        ] {
            let expected = ["openai-cluster", "api.openai.com", &expected, &maker];
            assert_eq!(sent(worker, method, &path), expected, "{method} {path}");
        }
        makers.insert(maker);
    }
    assert_eq!(makers.into_iter().collect::<Vec<_>>(), [A, B]);
    let unknown = (404, "response_not_found".to_owned());
    assert_eq!(refused(worker, "GET", "/v1/responses/resp_x", "Bearer client"), unknown);
    let wrong = (405, "method_not_allowed".to_owned());
    assert_eq!(refused(worker, "PUT", "/v1/responses/resp_1", "Bearer client"), wrong);
    assert_eq!(refused(worker, "GET", "/v1/responses/resp_1/cancel", "Bearer client"), wrong);
}

#[test]
fn a_response_of_the_only_account_needs_no_memory() {
    let models = json!({"gpt": {"targets": ["gpt-b"]}, "claude": {"targets": ["claude"]}});
    let worker = &mut worker(config_with(json!({"models": models})));
    assert_eq!(sent(worker, "GET", "/v1/responses/resp_1")[3], B);
    let none = json!({"models": {"claude": {"targets": ["claude"]}}});
    let worker = &mut super::worker(config_with(none));
    let expected = (404, "unknown_path".to_owned());
    assert_eq!(refused(worker, "GET", "/v1/responses/resp_1", "Bearer client"), expected);
}

#[test]
fn a_key_reaches_no_response_of_an_account_that_it_may_not_use() {
    let keys = json!({
        "all": {"sha256": sha256("all")},
        "only-a": {"sha256": sha256("only-a"), "targets": {"allow": ["gpt-a"]}},
        "only-claude": {"sha256": sha256("only-claude"), "models": ["claude"]},
    });
    let models = json!({"chat": {"targets": ["gpt-a", "gpt-b"]}, "claude": {"targets": ["claude"]}});
    let worker = &mut worker(config_with(json!({"keys": keys, "models": models})));
    let reach = |worker: &mut Worker, key: &str| match ask(worker, "GET", "/v1/responses/r", key) {
        (RequestStep::Send, request, _) => request.get("authorization").map(str::to_owned),
        (step, ..) => Some(refusal(&step).0.to_string()),
    };
    assert_eq!(reach(worker, "Bearer all").as_deref(), Some("404"), "two may have made it");
    assert_eq!(reach(worker, "Bearer only-a").as_deref(), Some(A), "one may have made it for this key");
    assert_eq!(reach(worker, "Bearer only-claude").as_deref(), Some("404"));
    assert_eq!(reach(worker, "Bearer wrong").as_deref(), Some("401"));
}

#[test]
fn resources_go_to_their_account_with_its_credential() {
    let worker = &mut worker(config_with(json!({"resources": {"account": "b"}})));
    for (method, path, expected) in [
        ("POST", "/v1/files", "/v1/files"),
        ("GET", "/v1/files?limit=2&purpose=batch", "/v1/files?limit=2&purpose=batch"),
        ("GET", "/openai/v1/batches/batch_1", "/v1/batches/batch_1"),
        ("POST", "/v1/fine_tuning/jobs/ftjob-1/cancel", "/v1/fine_tuning/jobs/ftjob-1/cancel"),
        ("DELETE", "/v1/vector_stores/vs_1/files/file-1", "/v1/vector_stores/vs_1/files/file-1"),
        ("GET", "/v1/conversations/conv_1/items", "/v1/conversations/conv_1/items"),
    ] {
        assert_eq!(sent(worker, method, path), ["openai-cluster", "api.openai.com", expected, B], "{path}");
    }
    // Whatever a server could take for another path gets no credential.
    for path in [
        "/v1/files/../organization/admin_api_keys",
        "/v1/files/%2e%2e/organization",
        "/v1/files/a%2Fb",
        "/v1/files/a;b",
        "/v1/files/..",
        "/v1/organization/projects",
        "/files/file-1",
    ] {
        assert_eq!(refused(worker, "GET", path, "Bearer client"), (404, "unknown_path".to_owned()), "{path}");
    }
    let worker = &mut super::worker(config_with(json!({"resources": {"account": "c"}})));
    let (step, request, _) = ask(worker, "POST", "/v1/messages/batches", "Bearer client");
    assert_eq!(step, RequestStep::Send);
    let got = [":path", "x-api-key", "anthropic-version", "authorization"].map(|name| request.get(name));
    assert_eq!(got, [Some("/v1/messages/batches"), Some("sk-provider-c"), Some("2023-06-01"), None]);
    let worker = &mut super::worker(load(CONFIG));
    assert_eq!(refused(worker, "POST", "/v1/files", "Bearer client"), (404, "unknown_path".to_owned()));
}

#[test]
fn a_limited_key_gets_no_resources_and_no_other_paths_of_an_account() {
    let key = |more: Value| {
        let mut key = json!({"sha256": sha256("k")});
        key.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"k": key})
    };
    let places = [
        (json!({"resources": {"account": "a"}}), "/v1/files"),
        (json!({"other_paths": {"account": "a"}}), "/v1/anything"),
    ];
    for (place, path) in places {
        let start = |keys: Value| {
            let mut changes = place.clone();
            changes["keys"] = keys;
            super::worker(config_with(changes))
        };
        for more in [
            json!({"models": ["chat"]}),
            json!({"regions": ["eu"]}),
            json!({"providers": {"allow": ["openai"]}}),
            json!({"budget": {"tokens_per_day": 1000}}),
        ] {
            let expected = (403, "resources_not_allowed".to_owned());
            assert_eq!(refused(&mut start(key(more.clone())), "POST", path, "Bearer k"), expected, "{more}");
        }
        let worker = &mut start(key(json!({})));
        assert_eq!(refused(worker, "POST", path, "Bearer other").0, 401);
        let (step, request, _) = ask(worker, "POST", path, "Bearer k");
        assert_eq!((step, request.get("authorization")), (RequestStep::Send, Some(A)));
    }
}

#[test]
fn other_paths_of_an_account_keep_their_path() {
    let worker = &mut worker(config_with(json!({"other_paths": {"account": "a"}})));
    let expected = ["openai-cluster", "api.openai.com", "/v1/anything?x=1", A];
    assert_eq!(sent(worker, "GET", "/v1/anything?x=1"), expected);
    for path in ["/v1/x/../chat/completions", "/v1/%63hat/completions"] {
        assert_eq!(refused(worker, "POST", path, "Bearer client").0, 404, "{path}");
    }
}

#[test]
fn an_upload_is_not_held_and_its_answer_says_nothing_of_the_account() {
    let worker = &mut worker(config_with(json!({"resources": {"account": "a"}})));
    let (step, mut request, mut exchange) = ask(worker, "POST", "/v1/files", "Bearer client");
    assert_eq!(step, RequestStep::Send);
    request.body = b"--x".to_vec();
    assert_eq!(exchange.request_body(worker, 3, false, NOW, &mut request), RequestStep::Send);
    let mut response = FakeWire::new(&[
        (":status", "200"),
        ("content-type", "application/json"),
        ("openai-organization", "org-1"),
        ("x-ratelimit-remaining-requests", "9"),
        ("set-cookie", "a=b"),
        ("x-llm-retry", "1"),
    ]);
    let block = response.block();
    exchange.response_headers(worker, block, false, NOW, || Origin::Upstream, &mut response);
    let left: Vec<_> = response.headers.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(left, [":status", "content-type"]);
    assert!(worker.journeys.borrow().is_empty());
}
