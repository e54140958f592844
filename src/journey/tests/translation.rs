//! Requests that a target gets in another dialect.

use serde_json::json;

use super::super::test_support::*;
use super::super::{Exchange, RequestStep};
use super::CHAT;

#[test]
fn a_later_attempt_whose_body_ends_with_trailers_is_translated() {
    let worker = &mut worker(config_with(json!({
        "targets": {
            "gpt-a": {"account": "a", "model": "gpt-real", "reasoning": false},
            "claude": {"account": "c", "model": "claude-real", "translate": true},
        },
        "models": {"chat": {"tiers": [["gpt-a"], ["claude"]]}},
    })));
    let body = br#"{"messages":[{"role":"user","content":"hi"}],"model":"chat"}"#;
    pass(worker, loop_request(CHAT, 1), body, 1000).answer(worker, &[(":status", "503")], b"{}");
    let mut exchange = Exchange::default();
    let mut request = loop_request(CHAT, 2);
    let block = request.block();
    assert_eq!(exchange.request_headers(worker, &block, false, NOW, &mut request), RequestStep::Hold);
    request.body = body.to_vec();
    assert_eq!(exchange.request_body(worker, body.len(), false, NOW, &mut request), RequestStep::Hold);
    assert_eq!(exchange.request_trailers(worker, NOW, &mut request), RequestStep::Send);
    let sent: serde_json::Value = serde_json::from_slice(&request.body).unwrap();
    assert_eq!(sent["model"], "claude-real");
    assert!(sent["max_tokens"].is_u64(), "{sent}");
}
