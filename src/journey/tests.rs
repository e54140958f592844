//! Requests through one or several passes, against a host made of memory.

mod admissions;
mod admitted;
mod alarms;
mod balance;
mod balancing;
mod budgets;
mod ceilings;
mod disclosure;
mod faults;
mod gates;
mod guide;
mod health;
mod holds;
mod injected_usage;
mod labels;
mod outages;
mod queues;
mod quiet;
mod renaming;
mod settlements;
mod usage;

use serde_json::json;

use super::test_support::*;
use super::{Ending, RequestStep, Worker};
use crate::base::Timestamp;
use crate::record::Metric;

const CHAT: &str = "/v1/chat/completions";
const OK_JSON: &[(&str, &str)] = &[(":status", "200"), ("content-type", "application/json")];
const OK_STREAM: &[(&str, &str)] =
    &[(":status", "200"), ("content-type", "text/event-stream; charset=utf-8")];
const ANSWER: &[u8] = br#"{"id":"x","choices":[{"message":{"content":"hi"}}]}"#;

fn at(ms: u64) -> Timestamp {
    Timestamp::from_millis(ms)
}

fn first(worker: &mut Worker) -> Pass {
    pass(worker, loop_request(CHAT, 1), br#"{"messages":[],"model":"chat"}"#, 1000)
}

fn again(worker: &mut Worker, attempt: u8) -> Pass {
    pass(worker, loop_request(CHAT, attempt), br#"{"messages":[],"model":"chat"}"#, 7)
}

fn refusal(step: &RequestStep) -> (u16, serde_json::Value) {
    let RequestStep::Answer(LocalAnswer { status, body, .. }) = step else { panic!("{step:?}") };
    (*status, serde_json::from_str(body).unwrap())
}

#[test]
fn a_request_is_addressed_to_its_target_and_nothing_private_leaves() {
    let worker = &mut worker(load(CONFIG));
    let sent = first(worker);
    assert_eq!(sent.step, RequestStep::Send);
    let mut headers = sent.request.headers.clone();
    headers.sort();
    let expected = [
        (":authority", "api.openai.com"),
        (":method", "POST"),
        (":path", "/v1/chat/completions"),
        ("accept-encoding", "identity"),
        ("authorization", "Bearer sk-provider-a"),
        ("content-length", "34"),
        ("content-type", "application/json"),
        ("x-llm-cluster", "openai-cluster"),
    ];
    assert_eq!(headers, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    assert_eq!(sent.sent_json(), json!({"messages": [], "model": "gpt-real"}));
    assert_eq!(sent.request.body.len(), 34);
}

#[test]
fn a_failure_moves_on_through_the_tier_and_then_to_the_next() {
    let worker = &mut worker(load(CONFIG));
    let answers = [
        (1, "gpt-a", "500", None, true),
        (2, "gpt-b", "429", Some("server"), true),
        (3, "claude", "529", Some("rate_limited"), false),
    ];
    for (attempt, target, status, fallback, retried) in answers {
        let mut sent = if attempt == 1 { first(worker) } else { again(worker, attempt) };
        assert_eq!(sent.step, RequestStep::Send);
        let error = br#"{"error":{"message":"no","type":"x"}}"#;
        let step = sent.answer(worker, &[(":status", status), ("content-type", "application/json")], error);
        assert_eq!(step, Release::Pass);
        assert_eq!(sent.response.get("x-llm-target"), Some(target));
        assert_eq!(sent.response.get("x-llm-attempts"), Some(attempt.to_string().as_str()));
        assert_eq!(sent.response.get("x-llm-fallback"), fallback);
        assert_eq!(sent.response.get("x-llm-retry").is_some(), retried, "attempt {attempt}");
        assert_eq!(sent.response.get(":status"), Some(status), "fit for the client by itself");
        assert_eq!(sent.response.body, error);
        sent.exchange.finish(worker, Ending::Complete, at(0));
    }
    assert!(worker.journeys.borrow().is_empty());
}

#[test]
fn later_attempts_edit_the_body_as_it_passes() {
    let worker = &mut worker(load(CONFIG));
    first(worker).answer(worker, &[(":status", "503")], b"{}");
    let second = again(worker, 2);
    assert_eq!(second.sent_json(), json!({"messages": [], "model": "gpt-real"}));
    assert_eq!(second.request.get("content-length"), Some("34"));
    assert_eq!(second.request.get("authorization"), Some("Bearer sk-provider-b"));
}

#[test]
fn what_policy_does_not_cover_reaches_the_client_at_once() {
    for status in ["400", "403", "413", "422"] {
        let worker = &mut worker(load(CONFIG));
        let mut sent = first(worker);
        sent.answer(worker, &[(":status", status)], br#"{"error":{"message":"bad"}}"#);
        assert_eq!(sent.response.get("x-llm-retry"), None, "{status}");
        sent.exchange.finish(worker, Ending::Complete, at(0));
        assert!(worker.journeys.borrow().is_empty());
    }
}

#[test]
fn an_error_under_a_success_is_a_failure() {
    let worker = &mut worker(load(CONFIG));
    let mut sent = first(worker);
    sent.answer(worker, OK_JSON, br#"{"error":{"code":502,"message":"no provider"}}"#);
    assert!(sent.response.get("x-llm-retry").is_some());

    let mut sent = again(worker, 2);
    sent.answer(
        worker,
        OK_STREAM,
        b"data: {\"error\":{\"message\":\"busy\",\"type\":\"overloaded_error\"}}\n\n",
    );
    assert_eq!(sent.response.get("x-llm-retry"), Some("overloaded"));

    let mut sent = again(worker, 3);
    sent.answer(worker, OK_JSON, ANSWER);
    assert_eq!(sent.response.get("x-llm-retry"), None);
    assert_eq!(sent.response.get("x-llm-fallback"), Some("overloaded"));
}

#[test]
fn a_stream_is_held_until_content_comes_and_an_empty_one_failed() {
    let worker = &mut worker(load(CONFIG));
    let mut sent = first(worker);
    let role = b"data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n";
    let content = b"data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hi\"}}]}\n\n";
    let block = crate::base::HeaderBlock::of(OK_STREAM);
    let step =
        sent.exchange.response_headers(worker, block, false, NOW, || Origin::Upstream, &mut sent.response);
    assert_eq!(step, Release::Hold);
    sent.response.body = role.to_vec();
    let step = sent.exchange.response_body(worker, role.len(), false, NOW, &mut sent.response);
    assert_eq!(step, Release::Hold);
    sent.response.body.extend_from_slice(content);
    let available = sent.response.body.len();
    let step = sent.exchange.response_body(worker, available, false, NOW, &mut sent.response);
    assert_eq!(step, Release::Stage);
    assert_eq!(sent.response.body, [role.as_slice(), content].concat(), "nothing is altered");

    let worker = &mut super::test_support::worker(load(CONFIG));
    let mut sent = first(worker);
    sent.answer(worker, OK_STREAM, role);
    assert_eq!(sent.response.get("x-llm-retry"), Some("stream_truncated"));
}

#[test]
fn a_stream_that_ends_with_its_headers_failed_unless_nothing_is_left() {
    let worker = &mut worker(load(CONFIG));
    let mut sent = first(worker);
    sent.answer(worker, OK_STREAM, b"");
    assert_eq!(sent.response.get("x-llm-retry"), Some("stream_truncated"));

    let worker = &mut super::test_support::worker(config_with(json!({"retry_loop": false})));
    let mut sent = first(worker);
    sent.answer(worker, OK_STREAM, b"");
    assert_eq!(sent.response.get("x-llm-retry"), None);
}

#[test]
fn what_envoy_says_for_a_provider_is_said_in_the_clients_dialect() {
    let worker = &mut worker(load(CONFIG));
    let mut sent = first(worker);
    let headers = &[(":status", "503"), ("content-type", "text/plain"), ("content-length", "10")];
    sent.answer_from(
        worker,
        Origin::Envoy { received: crate::retry::Received::Never },
        headers,
        b"upstream connect",
    );
    assert_eq!(sent.response.get("x-llm-retry"), Some("transport"));
    assert_eq!(sent.response.get("content-type"), Some("application/json"));
    let body: serde_json::Value = serde_json::from_slice(&sent.response.body).unwrap();
    assert_eq!(body["error"]["llm_failsafe"]["targets"][0]["target"], "gpt-a");
    assert_eq!(body["error"]["llm_failsafe"]["targets"][0]["reason"], "transport");
    assert_eq!(sent.response.get("content-length"), Some(sent.response.body.len().to_string().as_str()));
}

#[test]
fn a_provider_that_breaks_off_while_held_is_followed_by_another() {
    let worker = &mut worker(load(CONFIG));
    let mut sent = first(worker);
    let block = crate::base::HeaderBlock::of(OK_JSON);
    sent.exchange.response_headers(worker, block, false, NOW, || Origin::Upstream, &mut sent.response);
    sent.exchange.finish(worker, Ending::UpstreamGone, at(0));
    let mut sent = again(worker, 2);
    assert_eq!(sent.step, RequestStep::Send);
    sent.answer(worker, OK_JSON, ANSWER);
    assert_eq!(sent.response.get("x-llm-fallback"), Some("stream_truncated"));
}

#[test]
fn when_the_edge_comes_back_after_the_last_attempt_the_client_is_told() {
    let model = json!({"targets": ["gpt-a"], "retry": {"attempts_per_target": 1}});
    let config = config_with(json!({"models": {"chat": model}}));
    let worker = &mut worker(config);
    let mut sent = first(worker);
    sent.exchange.finish(worker, Ending::UpstreamGone, at(0));
    let mut last = again(worker, 2);
    let (status, body) = refusal(&last.step);
    assert_eq!(status, 503);
    assert_eq!(body["error"]["code"], "all_targets_failed");
    assert_eq!(body["error"]["llm_failsafe"]["targets"], json!([{"target": "gpt-a", "reason": "transport"}]));
    last.exchange.finish(worker, Ending::Complete, at(0));
    assert!(worker.journeys.borrow().is_empty());
}

#[test]
fn a_client_that_leaves_ends_the_journey_and_blames_nobody() {
    let worker = &mut worker(load(CONFIG));
    let mut sent = first(worker);
    sent.exchange.finish(worker, Ending::ClientGone, at(0));
    assert!(worker.journeys.borrow().is_empty());
    let mut counts = Vec::new();
    worker.tally.drain(|metric, delta| counts.push((metric, delta)));
    assert!(counts.contains(&(Metric::ClientAborts, 1)));
    assert!(!counts.iter().any(|(metric, _)| matches!(metric, Metric::AttemptsFailed | Metric::Failovers)));
}

#[test]
fn two_attempts_of_one_journey_may_be_in_flight() {
    let worker = &mut worker(load(CONFIG));
    let mut one = first(worker);
    // A hedge: the edge starts a second attempt while the first is still awaited.
    let mut two = again(worker, 2);
    assert_eq!(two.step, RequestStep::Send);
    assert_ne!(two.request.get("authorization"), one.request.get("authorization"), "another target");
    one.answer(worker, &[(":status", "500")], b"{}");
    two.answer(worker, OK_JSON, ANSWER);
    two.exchange.finish(worker, Ending::Complete, at(0));
    assert_eq!(worker.journeys.borrow().len(), 1, "the first attempt has not ended");
    one.exchange.finish(worker, Ending::ClientGone, at(0));
    worker.journeys.borrow_mut().expire(at(10_000));
    assert!(worker.journeys.borrow().is_empty());
}

#[test]
fn in_an_ordinary_listener_nothing_is_believed_and_nothing_is_kept() {
    let worker = &mut worker(config_with(json!({"retry_loop": false})));
    for attempt in [1, 2, 7] {
        let mut sent = again(worker, attempt);
        assert_eq!(sent.request.get("authorization"), Some("Bearer sk-provider-a"), "always a first attempt");
        sent.answer(worker, &[(":status", "500")], b"{}");
        assert_eq!(sent.response.get("x-llm-retry"), None);
        assert_eq!(sent.response.get("x-llm-attempts"), Some("1"));
        assert!(worker.journeys.borrow().is_empty());
    }
}

#[test]
fn a_client_may_decline_fallback() {
    let worker = &mut worker(load(CONFIG));
    let mut request = loop_request(CHAT, 1);
    request.headers.push(("x-llm-no-fallback".to_owned(), "true".to_owned()));
    let mut sent = pass(worker, request, br#"{"model":"chat"}"#, 100);
    assert_eq!(sent.request.get("x-llm-no-fallback"), None);
    sent.answer(worker, &[(":status", "500")], b"{}");
    assert_eq!(sent.response.get("x-llm-retry"), None);

    // In whatever words; only a no is none.
    for (values, forbids) in [
        (&["TRUE"][..], true),
        (&["yes"], true),
        (&[""], true),
        (&["false", "true"], true),
        (&["false"], false),
        (&[" False "], false),
        (&["0"], false),
    ] {
        let mut request = loop_request(CHAT, 1);
        for value in values {
            request.headers.push(("x-llm-no-fallback".to_owned(), (*value).to_owned()));
        }
        let worker = &mut super::test_support::worker(load(CONFIG));
        let mut sent = pass(worker, request, br#"{"model":"chat"}"#, 100);
        sent.answer(worker, &[(":status", "500")], b"{}");
        assert_eq!(sent.response.get("x-llm-retry").is_none(), forbids, "{values:?}");
    }

    // The edge comes back although nobody asked it to, to a worker that has forgotten the request.
    let worker = &mut super::test_support::worker(load(CONFIG));
    let mut request = loop_request(CHAT, 2);
    request.headers.push(("x-llm-no-fallback".to_owned(), "true".to_owned()));
    let sent = pass(worker, request, br#"{"model":"chat"}"#, 100);
    assert_eq!(refusal(&sent.step).0, 503);
}

#[test]
fn past_the_bound_of_journeys_requests_get_one_attempt() {
    let worker = &mut worker(config_with(json!({"limits": {"max_journeys": 1}})));
    let _running = first(worker);
    let mut request = loop_request(CHAT, 1);
    request.set_journey("ffffffff-ffff-ffff-ffff-ffffffffffff");
    let mut sent = pass(worker, request, br#"{"model":"chat"}"#, 100);
    assert_eq!(sent.step, RequestStep::Send);
    sent.answer(worker, &[(":status", "500")], b"{}");
    assert_eq!(sent.response.get("x-llm-retry"), None);
    assert_eq!(counted(worker, Metric::JourneysFull), 1);
}

#[test]
fn a_journey_lost_with_its_vm_still_counts_its_attempts() {
    let worker = &mut worker(load(CONFIG));
    let mut sent = again(worker, 3);
    assert_eq!(sent.step, RequestStep::Send);
    sent.answer(worker, OK_JSON, ANSWER);
    assert_eq!(sent.response.get("x-llm-attempts"), Some("3"));
    assert_eq!(sent.response.get("x-llm-fallback"), Some("unknown"));
    let over = again(&mut super::test_support::worker(load(CONFIG)), 4);
    assert_eq!(refusal(&over.step).0, 503);
}

#[test]
fn bad_requests_are_refused_in_the_callers_dialect_and_go_nowhere() {
    let small = json!({"limits": {"max_body": "1KiB"}});
    let cases: &[(&str, &str, &[u8], u16, &str)] = &[
        (CHAT, "", br#"not json"#, 400, "invalid_json"),
        (CHAT, "", br#"{"model":"chat""#, 400, "invalid_json"),
        (CHAT, "", br#"["model"]"#, 400, "invalid_json"),
        (CHAT, "", br#"{"messages":[]}"#, 400, "model_missing"),
        (CHAT, "", br#"{"model":7}"#, 400, "model_not_a_string"),
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
fn a_body_larger_than_announced_is_refused_when_it_gets_there() {
    let worker = &mut worker(config_with(json!({"limits": {"max_body": "1KiB"}})));
    let mut exchange = super::Exchange::default();
    let mut request = loop_request(CHAT, 1);
    let block = request.block();
    assert_eq!(exchange.request_headers(worker, &block, false, NOW, &mut request), RequestStep::Hold);
    request.body = vec![b' '; 1025];
    let step = exchange.request_body(worker, 1025, false, NOW, &mut request);
    assert_eq!(refusal(&step).0, 413);
}

#[test]
fn keys_open_what_they_may_use_and_go_no_further() {
    use sha2::{Digest, Sha256};
    let hash: String = Sha256::digest(b"client-key").iter().map(|byte| format!("{byte:02x}")).collect();
    let changes = json!({
        "keys": {"team": {"sha256": hash, "models": ["chat"]}},
        "accounts": {"a": {"provider": "openai"}, "b": {"provider": "openai"}, "c": {"provider": "anthropic"}},
    });
    let worker = &mut worker(config_with(changes));
    let sent = first(worker);
    assert_eq!(sent.step, RequestStep::Send);
    assert_eq!(sent.request.get("authorization"), None, "not even to an account without a key");
    let other = pass(worker, loop_request(CHAT, 1), br#"{"model":"gpt"}"#, 100);
    assert_eq!(refusal(&other.step).0, 404, "a model of others does not exist");
    let mut stranger = loop_request(CHAT, 1);
    crate::base::HeaderSink::set(&mut stranger, "authorization", "Bearer other");
    let refused = pass(worker, stranger, br#"{"model":"chat"}"#, 100);
    assert_eq!(refusal(&refused.step).0, 401);

    let mut list = loop_request("/v1/models", 1);
    crate::base::HeaderSink::set(&mut list, ":method", "GET");
    let listed = pass(worker, list, b"", 1);
    let (status, body) = refusal(&listed.step);
    assert_eq!((status, body["data"].as_array().unwrap().len()), (200, 1));
}

#[test]
fn a_model_is_found_by_its_escaped_name() {
    let worker = &mut worker(config_with(json!({"models": {"lab/large:1": {"targets": ["gpt-a"]}}})));
    for path in ["/v1/models/lab/large:1", "/v1/models/lab%2Flarge%3a1?x=%2F"] {
        let mut get = loop_request(path, 1);
        crate::base::HeaderSink::set(&mut get, ":method", "GET");
        let found = pass(worker, get, b"", 1);
        let (status, body) = refusal(&found.step);
        assert_eq!((status, &body["id"]), (200, &json!("lab/large:1")), "{path}");
    }
}

#[test]
fn without_keys_a_target_without_a_credential_leaves_the_clients_alone() {
    let changes = json!({
        "accounts": {"a": {"provider": "openai"}, "b": {"provider": "openai"}, "c": {"provider": "anthropic"}},
    });
    let sent = first(&mut worker(config_with(changes)));
    assert_eq!(sent.request.get("authorization"), Some("Bearer client-key"));
}

#[test]
fn other_paths_go_where_the_operator_says() {
    let worker = &mut worker(config_with(json!({"other_paths": {"cluster": "rest"}})));
    let sent = pass(worker, loop_request("/v1/files", 1), b"anything", 3);
    assert_eq!(sent.step, RequestStep::Send);
    assert_eq!(sent.request.get("x-llm-cluster"), Some("rest"));
    assert_eq!(sent.request.get("x-request-id"), None);
    assert_eq!(sent.request.body, b"anything");
}

#[test]
fn a_tier_that_may_not_take_the_request_is_passed_over_with_its_reason() {
    let worker = &mut worker(load(CONFIG));
    let mut sent = pass(worker, loop_request("/v1/messages", 1), br#"{"model":"chat"}"#, 100);
    assert_eq!(sent.request.get("x-llm-cluster"), Some("anthropic-cluster"));
    assert_eq!(sent.request.get("x-api-key"), Some("sk-provider-c"));
    assert_eq!(sent.request.get("anthropic-version"), Some("2023-06-01"));
    assert_eq!(sent.request.get("authorization"), None);
    sent.answer(worker, OK_JSON, b"{}");
    assert_eq!(sent.response.get("x-llm-fallback"), Some("dialect"));
}

#[test]
fn a_provider_cannot_speak_in_our_name() {
    let worker = &mut worker(load(CONFIG));
    let mut sent = first(worker);
    let headers =
        &[(":status", "204"), ("x-llm-retry", "1"), ("x-llm-target", "other"), ("x-llm-spoof", "1")];
    sent.answer(worker, headers, b"");
    assert_eq!(sent.response.get("x-llm-retry"), None);
    assert_eq!(sent.response.get("x-llm-spoof"), None);
    assert_eq!(sent.response.get("x-llm-target"), Some("gpt-a"));
}

/// An Envoy in front of a provider says so at its rate limits, and the edge would take that for a word of the loop's.
#[test]
fn an_answer_that_is_to_be_tried_again_bears_no_header_of_another_envoy() {
    let worker = &mut worker(load(CONFIG));
    let mut sent = first(worker);
    sent.answer(worker, &[(":status", "429"), ("x-envoy-ratelimited", "true")], b"");
    assert_eq!(sent.response.get("x-llm-retry"), Some("rate_limited"));
    assert_eq!(sent.response.get("x-envoy-ratelimited"), None);
}

#[test]
fn a_request_that_is_none_for_a_model_is_never_sent_twice() {
    let worker = &mut worker(config_with(json!({"other_paths": {"cluster": "files"}})));
    let mut sent = pass(worker, loop_request("/v1/files", 1), b"rows", 10);
    assert_eq!(sent.step, RequestStep::Send);
    // As the inner listener marks an answer of Envoy's own, or as a server may by itself.
    let headers = [(":status", "503"), ("x-llm-retry", "transport"), ("etag", "e")];
    sent.answer_from(worker, Origin::Envoy { received: crate::retry::Received::Never }, &headers, b"");
    assert_eq!((sent.response.get("x-llm-retry"), sent.response.get("etag")), (None, Some("e")));
}

#[test]
fn json_of_no_bytes_is_no_answer() {
    for body in [&b""[..], b" \n"] {
        let worker = &mut worker(load(CONFIG));
        let mut sent = first(worker);
        sent.answer(worker, OK_JSON, body);
        assert_eq!(sent.response.get("x-llm-retry"), Some("stream_truncated"));
    }
}

#[test]
fn a_200_of_no_type_and_without_a_body_is_no_answer() {
    let worker = &mut worker(load(CONFIG));
    let mut sent = first(worker);
    assert_eq!(sent.answer(worker, &[(":status", "200")], b""), Release::Pass);
    assert_eq!(sent.response.get("x-llm-retry"), Some("stream_truncated"));
    // Other codes that say success may well have none.
    let worker = &mut self::worker(load(CONFIG));
    let mut sent = first(worker);
    assert_eq!(sent.answer(worker, &[(":status", "204")], b""), Release::Pass);
    assert_eq!(sent.response.get("x-llm-retry"), None);
}

#[test]
fn what_http2_forbids_in_an_answer_goes_no_further() {
    let worker = &mut worker(load(CONFIG));
    let mut sent = first(worker);
    sent.answer(worker, &[OK_JSON, &[("te", "gzip")]].concat(), ANSWER);
    assert_eq!(sent.response.get("te"), None);
}
