//! Responses that are failures although they look like success, and headers that no client or edge may see.

use serde_json::json;

use super::super::test_support::*;
use super::{ANSWER, OK_JSON, OK_STREAM, again, first};
use crate::base::HeaderBlock;
use crate::retry::Received;

#[test]
fn an_error_under_a_200_is_a_failure() {
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
fn a_stream_is_held_until_content_and_fails_without_any() {
    let worker = &mut worker(load(CONFIG));
    let mut sent = first(worker);
    let role = b"data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n";
    let content = b"data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hi\"}}]}\n\n";
    let block = HeaderBlock::of(OK_STREAM);
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
    assert_eq!(sent.response.body, [role.as_slice(), content].concat(), "the body is unchanged");

    let worker = &mut super::super::test_support::worker(load(CONFIG));
    let mut sent = first(worker);
    sent.answer(worker, OK_STREAM, role);
    assert_eq!(sent.response.get("x-llm-retry"), Some("stream_truncated"));
}

#[test]
fn a_stream_that_ends_with_its_headers_is_retried_in_the_loop() {
    let worker = &mut worker(load(CONFIG));
    let mut sent = first(worker);
    sent.answer(worker, OK_STREAM, b"");
    assert_eq!(sent.response.get("x-llm-retry"), Some("empty"));

    let worker = &mut super::super::test_support::worker(config_with(json!({"retry_loop": false})));
    let mut sent = first(worker);
    sent.answer(worker, OK_STREAM, b"");
    assert_eq!(sent.response.get("x-llm-retry"), None);
}

#[test]
fn an_error_made_by_envoy_is_rewritten_in_the_clients_dialect() {
    let worker = &mut worker(load(CONFIG));
    let mut sent = first(worker);
    let headers = &[(":status", "503"), ("content-type", "text/plain"), ("content-length", "10")];
    sent.answer_from(worker, Origin::Envoy { received: Received::Never }, headers, b"upstream connect");
    assert_eq!(sent.response.get("x-llm-retry"), Some("transport"));
    assert_eq!(sent.response.get("content-type"), Some("application/json"));
    let body: serde_json::Value = serde_json::from_slice(&sent.response.body).unwrap();
    assert_eq!(body["error"]["llm_failsafe"]["targets"][0]["target"], "gpt-a");
    assert_eq!(body["error"]["llm_failsafe"]["targets"][0]["reason"], "transport");
    assert_eq!(sent.response.get("content-length"), Some(sent.response.body.len().to_string().as_str()));
}

#[test]
fn x_llm_headers_from_a_provider_are_removed() {
    let worker = &mut worker(load(CONFIG));
    let mut sent = first(worker);
    let headers =
        &[OK_JSON, &[("x-llm-retry", "1"), ("x-llm-target", "other"), ("x-llm-spoof", "1")]].concat();
    sent.answer(worker, headers, ANSWER);
    assert_eq!(sent.response.get("x-llm-retry"), None);
    assert_eq!(sent.response.get("x-llm-spoof"), None);
    assert_eq!(sent.response.get("x-llm-target"), Some("gpt-a"));
}

/// An Envoy in front of a provider sets this header at its rate limits. The edge would take it for its own.
#[test]
fn a_response_marked_for_retry_loses_x_envoy_headers() {
    let worker = &mut worker(load(CONFIG));
    let mut sent = first(worker);
    sent.answer(worker, &[(":status", "429"), ("x-envoy-ratelimited", "true")], b"");
    assert_eq!(sent.response.get("x-llm-retry"), Some("rate_limited"));
    assert_eq!(sent.response.get("x-envoy-ratelimited"), None);
}

#[test]
fn an_empty_json_body_is_a_failure() {
    for body in [&b""[..], b" \n"] {
        let worker = &mut worker(load(CONFIG));
        let mut sent = first(worker);
        sent.answer(worker, OK_JSON, body);
        assert_eq!(sent.response.get("x-llm-retry"), Some("empty"));
    }
}

#[test]
fn a_success_without_a_type_and_a_body_is_a_failure() {
    for status in ["200", "202", "204", "206"] {
        let worker = &mut worker(load(CONFIG));
        let mut sent = first(worker);
        assert_eq!(sent.answer(worker, &[(":status", status)], b""), Release::Pass);
        assert_eq!(sent.response.get("x-llm-retry"), Some("empty"), "{status}");
    }
}

#[test]
fn response_headers_that_http2_forbids_are_removed() {
    let worker = &mut worker(load(CONFIG));
    let mut sent = first(worker);
    sent.answer(worker, &[OK_JSON, &[("te", "gzip")]].concat(), ANSWER);
    assert_eq!(sent.response.get("te"), None);
}
