//! What of a response is held, until when, and what of it counts as a failure.

use std::time::Duration;

use serde_json::json;

use super::super::test_support::*;
use super::super::{AlarmStep, Ending, RequestStep, Worker};
use super::{CHAT, OK_JSON, OK_STREAM};
use crate::answer::MAX_HELD_PLAIN;
use crate::base::{HeaderBlock, Timestamp};

const ROLE: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\"}}]}\n\n";
const CONTENT: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hi\"}}]}\n\n";
const ERROR: &str = "data: {\"error\":{\"message\":\"busy\",\"type\":\"overloaded_error\"}}\n\n";

type Headers<'a> = &'a [(&'a str, &'a str)];

fn s(seconds: u64) -> Timestamp {
    NOW.after(Duration::from_secs(seconds))
}

fn with(stream: &serde_json::Value) -> Worker {
    worker(config_with(json!({"models": {"chat": {"tiers": [["gpt-a"], ["gpt-b"]], "stream": stream}}})))
}

fn ask(worker: &mut Worker, stream: bool) -> Pass {
    let body = json!({"model": "chat", "stream": stream}).to_string();
    let pass = pass_at(worker, loop_request(CHAT, 1), body.as_bytes(), 99, s(0));
    assert_eq!(pass.step, RequestStep::Send);
    pass
}

fn send_headers(worker: &mut Worker, pass: &mut Pass, headers: &[(&str, &str)]) -> Release {
    pass.response = FakeWire::new(headers);
    let block = HeaderBlock::of(headers);
    pass.exchange.response_headers(worker, block, false, s(1), || Origin::Upstream, &mut pass.response)
}

fn send_bytes(worker: &mut Worker, pass: &mut Pass, bytes: &str) -> Release {
    pass.response.body.extend_from_slice(bytes.as_bytes());
    let available = pass.response.body.len();
    pass.exchange.response_body(worker, available, false, s(1), &mut pass.response)
}

#[test]
fn a_200_that_is_no_answer_is_retried_and_one_that_may_be_passes() {
    let html = &[(":status", "200"), ("content-type", "text/html; charset=utf-8")];
    let text = &[(":status", "200"), ("content-type", "text/plain")];
    let problem = &[(":status", "200"), ("content-type", "application/problem+json")];
    let other = &[(":status", "200"), ("content-type", "application/vnd.amazon.eventstream")];
    let untyped = &[(":status", "200")];
    let answer = r#"{"choices":[{"message":{"content":"hi"}}]}"#;
    let failed = r#"{"error":{"message":"no provider","code":502}}"#;
    let whole = &[CONTENT, "data: [DONE]\n\n"].concat();
    let cases: [(bool, Headers<'_>, &str, Option<&str>); 15] = [
        (true, html, "<html>sign in</html>", Some("server")),
        (false, html, "<html>sign in</html>", Some("server")),
        (true, html, "", Some("empty")),
        (true, OK_JSON, answer, None),
        (true, OK_JSON, failed, Some("server")),
        (true, problem, failed, Some("server")),
        (false, problem, failed, Some("server")),
        (false, OK_JSON, r#"{"choices":[{"message":{"content":"h"#, Some("stream_truncated")),
        (false, OK_JSON, r#"{"choices":[{"message":{"content":"hi"}}"#, Some("stream_truncated")),
        (false, OK_JSON, "strange but whole", Some("malformed")),
        (false, OK_JSON, " \n", Some("empty")),
        (true, text, whole, None),
        (true, text, "upstream says hello", Some("stream_truncated")),
        (true, other, "\0\0\0", None),
        (true, untyped, "?", Some("malformed")),
    ];
    for (stream, headers, body, failure) in cases {
        let worker = &mut with(&json!({}));
        let mut first = ask(worker, stream);
        first.answer(worker, headers, body.as_bytes());
        let case = format!("stream {stream} {headers:?} {body}");
        assert_eq!(first.response.get("x-llm-retry"), failure, "{case}");
        let keeps_body = failure.is_none() || body == failed;
        if keeps_body {
            // An error body passes unchanged, but under the status that it means.
            let status = if failure.is_none() { "200" } else { "502" };
            assert_eq!(first.response.get(":status"), Some(status), "{case}");
            assert_eq!(first.response.body, body.as_bytes(), "{case}");
            continue;
        }
        // If the edge does not retry, the client must not take this for a success.
        assert_eq!(first.response.get(":status"), Some("502"), "{case}");
        assert_eq!(first.response.get("x-llm-attempts"), Some("1"), "{case}");
        if !body.is_empty() {
            let error: serde_json::Value = serde_json::from_slice(&first.response.body).unwrap();
            assert_eq!(error["error"]["code"], "all_targets_failed", "{case}");
        }
    }
}

#[test]
fn an_error_under_a_200_gets_its_own_status_and_the_record_has_both() {
    for (error, status) in [
        (json!({"code": 429, "message": "slow down"}), 429),
        (json!({"code": "rate_limit_exceeded", "message": "slow down"}), 429),
        (json!({"code": 502, "message": "no provider"}), 502),
        (json!({"code": 1234, "message": "?"}), 502),
        (json!({"type": "authentication_error", "message": "who are you?"}), 401),
        (json!({"code": "context_length_exceeded", "type": "invalid_request_error", "message": "long"}), 400),
    ] {
        let chat = json!({"tiers": [["gpt-a"], ["gpt-b"]], "fallback": {"on": []}});
        let worker = &mut worker(config_with(json!({"models": {"chat": chat}})));
        let mut pass = ask(worker, false);
        let body = json!({"error": error}).to_string();
        pass.answer(worker, OK_JSON, body.as_bytes());
        assert_eq!(pass.response.get(":status"), Some(status.to_string().as_str()), "{body}");
        assert_eq!(pass.response.body, body.as_bytes(), "the body is unchanged");
        let record = pass.exchange.finish(worker, Ending::Complete, s(1)).unwrap();
        let record: serde_json::Value = serde_json::from_slice(&record.json).unwrap();
        assert_eq!(record["http.response.status_code"], status, "{body}");
        assert_eq!(record["attempts"][0]["http.response.status_code"], 200, "{body}");
    }
}

#[test]
fn a_page_longer_than_the_held_size_keeps_its_body_and_gets_a_502() {
    let worker = &mut with(&json!({}));
    let mut first = ask(worker, false);
    let html = &[(":status", "200"), ("content-type", "text/html")];
    assert_eq!(send_headers(worker, &mut first, html), Release::Hold);
    assert_eq!(send_bytes(worker, &mut first, "<html>"), Release::Hold);
    let long = "x".repeat(MAX_HELD_PLAIN);
    assert_eq!(send_bytes(worker, &mut first, &long), Release::Pass);
    assert_eq!(first.response.get(":status"), Some("502"));
    assert_eq!(first.response.get("x-llm-retry"), Some("server"));
    assert!(first.response.body.starts_with(b"<html>"));
}

#[test]
fn the_gate_opens_at_the_configured_event() {
    let held = Release::Hold;
    for (until, at_headers, at_comment, at_role, at_error) in [
        ("headers", Release::Pass, Release::Pass, Release::Stage, None),
        ("first_event", held, held, Release::Stage, Some("overloaded")),
        ("first_content", held, held, held, Some("overloaded")),
    ] {
        let gate = json!({"gate": {"until": until}});
        let begin = |bytes: &str| {
            let worker = &mut with(&gate);
            let mut first = ask(worker, true);
            let headers = send_headers(worker, &mut first, OK_STREAM);
            (headers, send_bytes(worker, &mut first, bytes), first)
        };
        // A comment is not an event, and this one is not even complete.
        let (headers, comment, _) = begin(": wait");
        assert_eq!((headers, comment), (at_headers, at_comment), "{until}");
        let (_, role, first) = begin(ROLE);
        assert_eq!((role, first.exchange.due()), (at_role, Some(s(30))), "{until}: a role is not content");
        let (_, _, first) = begin(ERROR);
        assert_eq!(first.response.get("x-llm-retry"), at_error, "{until}");
    }
}

#[test]
fn max_bytes_opens_the_gate_without_counting_as_content() {
    let worker = &mut with(&json!({"gate": {"max_bytes": "1KiB"}}));
    let mut first = ask(worker, true);
    send_headers(worker, &mut first, OK_STREAM);
    let mut held = 0;
    while send_bytes(worker, &mut first, ROLE) == Release::Hold {
        held += ROLE.len();
    }
    assert!((1024 - ROLE.len()..1024).contains(&held), "{held}");
    assert_eq!(first.exchange.due(), Some(s(30)), "the first-content limit still runs");
    assert!(
        matches!(first.exchange.alarm(worker, s(30)), AlarmStep::Reset),
        "no other target can be asked after the commit"
    );
}

#[test]
fn streams_forbid_caching_and_buffering_unless_the_provider_set_cache_control() {
    let own = &[(":status", "200"), ("content-type", "text/event-stream"), ("cache-control", "no-store")];
    for (headers, cache) in [(OK_STREAM, Some("no-cache")), (own, Some("no-store")), (OK_JSON, None)] {
        let worker = &mut with(&json!({}));
        let mut first = ask(worker, true);
        send_headers(worker, &mut first, headers);
        assert_eq!(first.response.get("cache-control"), cache);
        assert_eq!(first.response.get("x-accel-buffering"), cache.map(|_| "no"));
    }
}

#[test]
fn a_target_that_is_known_not_to_reason_is_left_earlier_by_default() {
    let targets = json!({
        "thinks": {"account": "a", "model": "m", "reasoning": true},
        "not": {"account": "a", "model": "m", "reasoning": false},
        "unmarked": {"account": "c", "model": "m"},
        "listed": {"account": "a", "model": "gpt-4.1-mini"},
    });
    for (target, written, due, plain_due) in [
        ("thinks", None, 120, 600),
        ("not", None, 30, 120),
        ("unmarked", None, 120, 600),
        ("listed", None, 30, 120),
        ("thinks", Some("7s"), 7, 8),
        ("listed", Some("7s"), 7, 8),
    ] {
        let stream = written.map_or(json!({}), |span| json!({"first_content": span, "answer": "8s"}));
        let models = json!({"chat": {"targets": [target], "stream": stream}});
        let worker = &mut worker(config_with(json!({"targets": targets, "models": models})));
        assert_eq!(ask(worker, true).exchange.due(), Some(s(due)), "{target} {written:?}");
        assert_eq!(ask(worker, false).exchange.due(), Some(s(plain_due)), "{target} {written:?}");
    }
}
