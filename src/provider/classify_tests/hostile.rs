//! Hostile and malformed error bodies.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::provider::{MAX_ERROR_BODY, MAX_NAME};
use ErrorClass::{Invalid, QuotaExhausted, RateLimited, Server, StreamError};
use ProviderKind::{Anthropic, Gemini, OpenAi};

fn waits() -> HeaderBlock {
    HeaderBlock::of(&[("retry-after", "7")])
}

fn openai(kind: Value, code: Value, message: &str) -> String {
    json!({"error": {"message": message, "type": kind, "param": null, "code": code}}).to_string()
}

fn anthropic(kind: &str, message: &str) -> String {
    let error = json!({"type": kind, "message": message});
    json!({"type": "error", "error": error, "request_id": "req_011CSHoEeqs5C35K2UUqR7Fy"}).to_string()
}

fn gemini(code: u16, status: &str, message: &str, details: Value) -> String {
    json!({"error": {"code": code, "message": message, "status": status, "details": details}}).to_string()
}

#[test]
fn a_body_is_read_only_up_to_the_limit() {
    let padding = "x".repeat(MAX_ERROR_BODY);
    let error = r#""error":{"type":"insufficient_quota"}"#;
    check(OpenAi, 429, &format!(r#"{{{error},"p":"{padding}"}}"#), QuotaExhausted);
    check(OpenAi, 429, &format!(r#"{{"p":"{padding}",{error}}}"#), RateLimited);
    check(OpenAi, 429, &openai(json!("insufficient_quota"), json!(null), &padding), RateLimited);
}

#[test]
fn a_byte_order_mark_is_skipped() {
    check(OpenAi, 429, "\u{feff} {\"error\":{\"type\":\"insufficient_quota\"}}", QuotaExhausted);
}

#[test]
fn names_are_cut_between_characters_and_never_carry_control_characters() {
    let long = format!("{}é{}", "a".repeat(MAX_NAME - 1), "b".repeat(100));
    let failure = check(OpenAi, 400, &openai(json!(long), json!("a\r\nx-injected: 1"), "m"), Invalid);
    assert_eq!(failure.kind.as_deref(), Some("a".repeat(MAX_NAME - 1).as_str()));
    assert_eq!(failure.code, None);
}

#[test]
fn an_error_too_large_to_be_read_is_still_an_error() {
    let event =
        json!({"error": {"type": "overloaded_error", "message": "x".repeat(MAX_ERROR_BODY)}}).to_string();
    assert_eq!(classify_event(OpenAi, event.as_bytes()).map(|failure| failure.class), Some(StreamError));
}

#[test]
fn a_quoted_client_text_cannot_block_an_account() {
    let quoting = "messages.0: unexpected role 'You have reached your specified API usage limits'";
    check(Anthropic, 400, &anthropic("invalid_request_error", quoting), Invalid);
    let quoting = "Invalid value: 'API key not valid'";
    check(Gemini, 400, &gemini(400, "INVALID_ARGUMENT", quoting, json!([])), Invalid);
}

#[test]
fn hostile_bodies_leave_the_decision_to_the_status() {
    let deep =
        |open: &str, close: &str, n: usize| format!("{{\"error\":{}{}}}", open.repeat(n), close.repeat(n));
    let bodies = [
        deep("[", "]", 5_000),
        deep("{\"error\":", "}", 1_500),
        deep("{\"a\":[", "", 2_000),
        r#"{"error":{"type":7,"code":{"a":1},"message":["x"],"details":7,"metadata":"x","innererror":[]}}"#
            .to_owned(),
        r#"{"error":{"code":1e400}}"#.to_owned(),
        r#"{"error":{"code":-99999999999999999999}}"#.to_owned(),
        r#"{"error":{"type":"\ud800"}}"#.to_owned(),
        r#"{"error":null,"error":7}"#.to_owned(),
        "{\"error\"".to_owned(),
        "[[[[{\"error\":{}}]]]]".to_owned(),
        "null".to_owned(),
    ];
    for kind in ProviderKind::ALL {
        for body in &bodies {
            assert_eq!(classify(kind, 500, &none(), body.as_bytes()).class, Server);
            assert_eq!(classify(kind, 429, &none(), body.as_bytes()).class, RateLimited);
            let _ =
                (failure_in_success(kind, &none(), body.as_bytes()), classify_event(kind, body.as_bytes()));
        }
        let huge = format!("{{\"error\":{{\"message\":\"{}\"}}}}", "x".repeat(4 << 20));
        assert_eq!(classify(kind, 503, &none(), huge.as_bytes()).class, ErrorClass::Overloaded);
        let name = "x".repeat(1 << 20);
        let named = HeaderBlock::of(&[("x-amzn-errortype", &name), ("retry-after", &name)]);
        let failure = classify(kind, 503, &named, b"");
        assert_eq!(
            (failure.class, failure.kind.map(|kind| kind.len())),
            (ErrorClass::Overloaded, Some(MAX_NAME))
        );
        let not_utf8 = b"{\"error\":{\"type\":\"\xff\xfe\"}}";
        assert_eq!(classify(kind, 400, &none(), not_utf8).class, Invalid);
    }
}

/// Error bodies in which any member may have any type.
fn oddly_typed() -> impl Strategy<Value = Vec<u8>> {
    let names = prop::sample::select(vec![
        "error",
        "type",
        "code",
        "status",
        "message",
        "details",
        "metadata",
        "reason",
        "violations",
        "quotaId",
        "innererror",
        "choices",
        "response",
        "param",
        "detail",
        "object",
        "finish_reason",
        "error_type",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        (0_u16..700).prop_map(Value::from),
        "\\PC{0,80}".prop_map(Value::from),
        prop::sample::select(vec!["error", "failed", "content_filter", "429"]).prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 64, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(names.clone().prop_map(str::to_owned), inner, 0..6)
                .prop_map(Value::from_iter),
        ]
    })
    .prop_map(|value| value.to_string().into_bytes())
}

proptest! {
    #[test]
    fn any_body_is_classified_with_short_names(
        body in prop_oneof![oddly_typed(), prop::collection::vec(any::<u8>(), 0..400)],
        cut in 0..2_000_usize,
        kind in prop::sample::select(ProviderKind::ALL.to_vec()),
        status: u16,
        waiting: bool,
    ) {
        let body = body.get(..cut).unwrap_or(&body);
        let headers = if waiting { waits() } else { none() };
        let failures = [
            Some(classify(kind, status, &headers, body)),
            failure_in_success(kind, &headers, body),
            classify_event(kind, body),
        ];
        let names = failures.into_iter().flatten().flat_map(|failure| [failure.kind, failure.code]);
        for name in names.flatten() {
            prop_assert!(!name.is_empty() && name.len() <= MAX_NAME && !name.chars().any(char::is_control));
        }
    }

    #[test]
    fn bodies_that_are_not_json_leave_the_decision_to_the_status(
        body in "[^{\\[]{0,200}",
        kind in prop::sample::select(ProviderKind::ALL.to_vec()),
        status in 300_u16..600,
    ) {
        prop_assert_eq!(classify(kind, status, &none(), body.as_bytes()).class, by_status(status));
    }
}
