//! How long a provider asks clients to wait.
//!
//! These hints go wrong in many ways: a proxy sends `0`, a missing value is written as `-1`, a clock is off,
//! a point in time stands where a duration belongs. So a hint that is malformed, negative, zero, past or
//! implausibly long is ignored, and the next one in order is read. Without a hint the retry back-off applies.
//! A wrong hint would send the request straight back to a full provider, or block a target for no reason.
//!
//! A number above 10⁹ is no wait but a moment since 1970: in seconds, or above 10¹² in milliseconds.

use std::time::Duration;

use super::body_hints;
use super::hint_names::Unit;
use super::waits::{MAX_TEXT, WaitHint, decimal, text_hint};
use crate::base::{HeaderBlock, WallTime};

/// The status for a reached limit. Other responses carry reset times too, of limits that are not reached.
const TOO_MANY_REQUESTS: u16 = 429;

/// Headers that say what remains of a limit, and when it resets. A group counts before the next one. The
/// reset is a Go duration, seconds, or a moment.
const LIMITS: [&[(&str, &str)]; 5] = [
    // OpenAI, Azure, Groq, Fireworks, Cerebras.
    &[
        ("x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"),
        ("x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"),
        ("x-ratelimit-remaining-project-tokens", "x-ratelimit-reset-project-tokens"),
        ("x-ratelimit-remaining-requests-day", "x-ratelimit-reset-requests-day"),
        ("x-ratelimit-remaining-tokens-minute", "x-ratelimit-reset-tokens-minute"),
        ("x-ratelimit-remaining-tokens-day", "x-ratelimit-reset-tokens-day"),
    ],
    // Anthropic's API.
    &[
        ("anthropic-ratelimit-requests-remaining", "anthropic-ratelimit-requests-reset"),
        ("anthropic-ratelimit-tokens-remaining", "anthropic-ratelimit-tokens-reset"),
        ("anthropic-ratelimit-input-tokens-remaining", "anthropic-ratelimit-input-tokens-reset"),
        ("anthropic-ratelimit-output-tokens-remaining", "anthropic-ratelimit-output-tokens-reset"),
    ],
    // Anthropic's plans.
    &[("", "anthropic-ratelimit-unified-reset")],
    // OpenRouter, GitHub, Mistral and many relays.
    &[
        ("x-ratelimit-remaining", "x-ratelimit-reset"),
        ("x-rate-limit-remaining", "x-rate-limit-reset"),
        ("ratelimit-remaining", "ratelimit-reset"),
        ("ratelimitbysize-remaining", "ratelimitbysize-reset"),
    ],
    &[("", "x-ratelimit-reset-after")],
];

/// How long the provider asks the client to wait from `now` on: more than zero, at most [`MAX_HINT`], in
/// whole milliseconds, rounded up. The first valid one of these counts:
///
/// 1. `retry-after-ms`, `x-ms-retry-after-ms`: milliseconds.
/// 2. `retry-after`: seconds or an HTTP date.
/// 3. With a 429 only, the headers of a limit (`x-ratelimit-reset-tokens`, `anthropic-ratelimit-…-reset`,
///    `x-ratelimit-reset`, …): a Go duration (`6m0s`), seconds, or a moment. The latest reset of the
///    exhausted limits counts. A limit is not exhausted if what remains of it is above zero.
/// 4. The body: see [`body_hints`]. Of it the first [`MAX_ERROR_BODY`](super::MAX_ERROR_BODY) bytes are read.
pub fn wait_hint(headers: &HeaderBlock, body: &[u8], status: u16, now: WallTime) -> Option<Duration> {
    retry_after_hint(headers, now)
        .or_else(|| latest_reset(headers, status, now))
        .or_else(|| body_hints::wait(body, status, now))
        .map(|WaitHint(wait)| wait)
}

/// Whether the provider recommends or forbids a retry (`x-should-retry`). This takes precedence over the
/// status.
pub fn should_retry(headers: &HeaderBlock) -> Option<bool> {
    let value = headers.get("x-should-retry")?.trim_ascii();
    [("true", true), ("false", false)]
        .into_iter()
        .find_map(|(word, meaning)| value.eq_ignore_ascii_case(word).then_some(meaning))
}

fn text<'a>(headers: &'a HeaderBlock, name: &str) -> Option<&'a str> {
    Some(headers.get(name)?.trim_ascii()).filter(|text| text.len() <= MAX_TEXT)
}

/// The wait from `retry-after`, `retry-after-ms` and `x-ms-retry-after-ms` only.
pub(super) fn retry_after(headers: &HeaderBlock, now: WallTime) -> Option<Duration> {
    retry_after_hint(headers, now).map(|WaitHint(wait)| wait)
}

fn retry_after_hint(headers: &HeaderBlock, now: WallTime) -> Option<WaitHint> {
    let millis = |name| WaitHint::of_number(decimal(text(headers, name)?)?, Unit::Milliseconds, now);
    millis("retry-after-ms").or_else(|| millis("x-ms-retry-after-ms")).or_else(|| {
        let text = text(headers, "retry-after")?;
        // By the standard it has no unit.
        if text.bytes().last().is_some_and(|byte| byte.is_ascii_lowercase()) {
            return None;
        }
        text_hint(text, Unit::Seconds, now)
    })
}

fn latest_reset(headers: &HeaderBlock, status: u16, now: WallTime) -> Option<WaitHint> {
    if status != TOO_MANY_REQUESTS {
        return None;
    }
    LIMITS.iter().find_map(|limits| {
        let exhausted = limits.iter().filter(|(remaining, _)| !is_above_zero(headers, remaining));
        exhausted.filter_map(|(_, reset)| text_hint(text(headers, reset)?, Unit::Seconds, now)).max()
    })
}

fn is_above_zero(headers: &HeaderBlock, name: &str) -> bool {
    text(headers, name).and_then(decimal).is_some_and(|value| value > 0.0)
}

#[cfg(test)]
#[path = "hints_tests.rs"]
mod tests;
