//! Classification of errors, and retry-after hints.
//!
//! Input: three bytes for vendor and status; headers, one per line, with one byte for the name; an empty line; the body.

#![no_main]

use libfuzzer_sys::fuzz_target;
use llm_failsafe::base::{HeaderBlock, WallTime};
use llm_failsafe::provider::{
    self, Failure, MAX_ERROR_BODY, MAX_HINT, MAX_NAME, ProviderKind, classify, classify_event,
    failure_in_success, should_retry, wait_hint,
};

const NAMES: [&str; 15] = [
    "x-ratelimit-reset",
    "anthropic-ratelimit-unified-reset",
    "retry-after",
    "retry-after-ms",
    "x-ms-retry-after-ms",
    "x-should-retry",
    "x-ratelimit-remaining-requests",
    "x-ratelimit-reset-requests",
    "x-ratelimit-remaining-tokens",
    "x-ratelimit-reset-tokens",
    "anthropic-ratelimit-requests-remaining",
    "anthropic-ratelimit-requests-reset",
    "anthropic-ratelimit-tokens-reset",
    "anthropic-ratelimit-input-tokens-reset",
    "content-type",
];

const NOW: WallTime = WallTime::from_millis(1_700_000_000_000);

fn headers_and_body(mut rest: &[u8]) -> (HeaderBlock, &[u8]) {
    let mut headers = Vec::new();
    while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
        let (line, tail) = (&rest[..end], &rest[end + 1..]);
        rest = tail;
        let [name, value @ ..] = line else { break };
        if let Ok(value) = std::str::from_utf8(value) {
            headers.push((NAMES[usize::from(*name) % NAMES.len()], value));
        }
    }
    (HeaderBlock::of(&headers), rest)
}

fn check(failure: &Failure) {
    for name in [&failure.kind, &failure.code].into_iter().flatten() {
        assert!(name.len() <= MAX_NAME);
    }
}

fuzz_target!(|input: &[u8]| {
    let [kind, low, high, rest @ ..] = input else { return };
    let kind = ProviderKind::ALL[usize::from(*kind) % ProviderKind::ALL.len()];
    let status = 200 + u16::from_le_bytes([*low, *high]) % 400;
    let (headers, body) = headers_and_body(rest);

    let failure = classify(kind, status, &headers, body);
    check(&failure);
    let beginning = &body[..body.len().min(MAX_ERROR_BODY)];
    assert_eq!(classify(kind, status, &headers, beginning), failure, "only the beginning counts");
    [failure_in_success(kind, &headers, body), classify_event(kind, body)].iter().flatten().for_each(check);

    if let Some(hint) = wait_hint(&headers, body, status, NOW) {
        assert!(!hint.is_zero() && hint <= MAX_HINT);
    }
    let _ = should_retry(&headers);
    let _ = provider::endpoints(kind);
});
