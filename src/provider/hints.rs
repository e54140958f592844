//! What providers say about when to come back.
//!
//! What they say goes wrong in many ways: a proxy's `0`, a missing value written as `-1`, a clock that is off, a moment
//! where a span belongs. A hint that is malformed, negative, zero, past or beyond belief is therefore no hint, and the
//! next one in order is asked: whoever gets none has a back-off of its own, while a wrong one would either bring the
//! request straight back to a provider that is full or take a target away for no reason.

use std::time::{Duration, UNIX_EPOCH};

use serde_json::Value;

use super::report::Report;
use crate::base::{HeaderBlock, Timestamp, days_in, days_since_epoch};

/// The longest wait that is passed on; a longer one is cut to it.
pub const MAX_HINT: Duration = Duration::from_secs(24 * 60 * 60);

/// Beyond this, in milliseconds (366 days), a number was not meant as a wait: moments since 1970 end up here.
const MAX_BELIEVED_MS: f64 = 366.0 * 24.0 * 3_600_000.0;

/// The longest text that is read as a time, in bytes; the longest that makes sense is an HTTP date of 33.
const MAX_TEXT: usize = 64;

/// The status that says that a limit was reached. Other answers carry the reset times too, of limits that are not.
const TOO_MANY_REQUESTS: u16 = 429;

/// Limits in OpenAI's scheme (`x-ratelimit-…`), with what is left of each and when it is full again.
const OPENAI_LIMITS: [(&str, &str); 2] = [
    ("x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"),
    ("x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"),
];

/// Limits in Anthropic's scheme.
const ANTHROPIC_LIMITS: [(&str, &str); 4] = [
    ("anthropic-ratelimit-requests-remaining", "anthropic-ratelimit-requests-reset"),
    ("anthropic-ratelimit-tokens-remaining", "anthropic-ratelimit-tokens-reset"),
    ("anthropic-ratelimit-input-tokens-remaining", "anthropic-ratelimit-input-tokens-reset"),
    ("anthropic-ratelimit-output-tokens-remaining", "anthropic-ratelimit-output-tokens-reset"),
];

/// How long the provider asks to be left alone, from `now` on: more than zero, at most [`MAX_HINT`], in whole
/// milliseconds, rounded up. The first of these that says something:
///
/// 1. `retry-after-ms`, `x-ms-retry-after-ms`: milliseconds.
/// 2. `retry-after`: seconds, or an HTTP date.
/// 3. Under a 429 only, `x-ratelimit-reset-{requests,tokens}`: a Go duration (`6m0s`) or seconds (Azure), the later of
///    those that are used up. One of which the matching `x-ratelimit-remaining-…` says that something is left is not.
/// 4. Under a 429 only, `anthropic-ratelimit-{requests,tokens,input-tokens,output-tokens}-reset`: RFC 3339, likewise.
/// 5. `retryDelay` (`"30s"`) among the `details` of a Google error, in `body`; of that the first
///    [`MAX_ERROR_BODY`](super::MAX_ERROR_BODY) bytes count.
pub fn wait_hint(headers: &HeaderBlock, body: &[u8], status: u16, now: Timestamp) -> Option<Duration> {
    said(headers, now)
        .or_else(|| until_reset(headers, status, now))
        .or_else(|| retry_delay(body))
        .map(|Wait(wait)| wait)
}

/// Whether the provider itself says that sending the request again makes sense (`x-should-retry`). It overrides what
/// the status would say.
pub fn should_retry(headers: &HeaderBlock) -> Option<bool> {
    let value = headers.get("x-should-retry")?.trim_ascii();
    [("true", true), ("false", false)]
        .into_iter()
        .find_map(|(word, meaning)| value.eq_ignore_ascii_case(word).then_some(meaning))
}

/// A wait that may be passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Wait(Duration);

impl Wait {
    fn of_millis(ms: f64) -> Option<Self> {
        // Not a number fails both.
        if !(ms > 0.0 && ms <= MAX_BELIEVED_MS) {
            return None;
        }
        // Rounded up: a moment too early is refused again. Below the bound the cast is exact.
        Some(Self(Duration::from_millis(ms.ceil() as u64).min(MAX_HINT)))
    }

    fn of_seconds(seconds: f64) -> Option<Self> {
        Self::of_millis(seconds * 1000.0)
    }

    /// From `now` to `moment_ms`, in milliseconds since the epoch.
    fn until(moment_ms: u64, now: Timestamp) -> Option<Self> {
        Self::of_millis(moment_ms.saturating_sub(now.as_millis()) as f64)
    }
}

fn text<'a>(headers: &'a HeaderBlock, name: &str) -> Option<&'a str> {
    Some(headers.get(name)?.trim_ascii()).filter(|text| text.len() <= MAX_TEXT)
}

/// The same from `retry-after` and its relatives only.
pub(super) fn asked_for(headers: &HeaderBlock, now: Timestamp) -> Option<Duration> {
    said(headers, now).map(|Wait(wait)| wait)
}

fn said(headers: &HeaderBlock, now: Timestamp) -> Option<Wait> {
    let millis = |name| Wait::of_millis(decimal(text(headers, name)?)?);
    let seconds_or_date = |text| decimal(text).map_or_else(|| http_date(text, now), Wait::of_seconds);
    millis("retry-after-ms")
        .or_else(|| millis("x-ms-retry-after-ms"))
        .or_else(|| text(headers, "retry-after").and_then(seconds_or_date))
}

fn until_reset(headers: &HeaderBlock, status: u16, now: Timestamp) -> Option<Wait> {
    if status != TOO_MANY_REQUESTS {
        return None;
    }
    let latest = |limits: &[(&str, &str)], read: &dyn Fn(&str) -> Option<Wait>| {
        let used_up = limits.iter().filter(|(remaining, _)| !has_some_left(headers, remaining));
        used_up.filter_map(|(_, reset)| read(text(headers, reset)?)).max()
    };
    latest(&OPENAI_LIMITS, &|text| decimal(text).map_or_else(|| go_duration(text), Wait::of_seconds))
        .or_else(|| latest(&ANTHROPIC_LIMITS, &|text| Wait::until(rfc3339_ms(text)?, now)))
}

fn has_some_left(headers: &HeaderBlock, remaining: &str) -> bool {
    text(headers, remaining).and_then(decimal).is_some_and(|left| left > 0.0)
}

/// The wait in `{"error":{"details":[{"@type":"…/google.rpc.RetryInfo","retryDelay":"30s"}]}}`. The text is
/// protobuf's JSON form of a duration, which is also a Go duration.
fn retry_delay(body: &[u8]) -> Option<Wait> {
    let report = Report::of_failure(body);
    let details = report.get("details").and_then(Value::as_array)?;
    let delays = details.iter().filter_map(|detail| detail.get("retryDelay")?.as_str());
    delays.filter(|delay| delay.len() <= MAX_TEXT).find_map(go_duration)
}

/// A number without sign or exponent: `7`, `1.5`. Not negative, always finite.
pub(super) fn decimal(text: &str) -> Option<f64> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    if is_plain && text.len() <= MAX_TEXT { text.parse().ok() } else { None }
}

/// An HTTP date in any of the three forms of RFC 9110 §5.6.7.
fn http_date(text: &str, now: Timestamp) -> Option<Wait> {
    let since_epoch = httpdate::parse_http_date(text).ok()?.duration_since(UNIX_EPOCH).ok()?;
    Wait::until(u64::try_from(since_epoch.as_millis()).ok()?, now)
}

/// A duration as Go's `time.Duration` prints it, and days: `6m0s`, `12ms`, `1h2m3.5s`, `1d`.
fn go_duration(text: &str) -> Option<Wait> {
    Wait::of_millis(go_duration_ms(text)?)
}

/// The same in milliseconds, which may be none.
pub(super) fn go_duration_ms(text: &str) -> Option<f64> {
    let mut rest = text;
    let mut ms = 0.0;
    while !rest.is_empty() {
        let is_digit = |c: char| c.is_ascii_digit() || c == '.';
        let (number, tail) = rest.split_at_checked(rest.find(|c| !is_digit(c))?)?;
        let (unit, tail) = tail.split_at_checked(tail.find(is_digit).unwrap_or(tail.len()))?;
        ms += decimal(number)? * unit_ms(unit)?;
        rest = tail;
    }
    Some(ms)
}

/// Go's units in milliseconds. It takes the micro sign and the Greek letter alike.
fn unit_ms(unit: &str) -> Option<f64> {
    match unit {
        "ns" => Some(1e-6),
        "us" | "\u{b5}s" | "\u{3bc}s" => Some(1e-3),
        "ms" => Some(1.0),
        "s" => Some(1e3),
        "m" => Some(60e3),
        "h" => Some(3_600e3),
        "d" => Some(86_400e3),
        _ => None,
    }
}

/// A moment as RFC 3339 writes it, in milliseconds since the epoch; any number of digits in the fraction, of which
/// three count, any offset, either letter case. `None` for moments before 1970, too.
pub(super) fn rfc3339_ms(text: &str) -> Option<u64> {
    let (date, time) = text.split_once(['T', 't', ' '])?;
    let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
    let (clock, zone) = time.split_at_checked(time.find(['Z', 'z', '+', '-'])?)?;
    let (clock, fraction) = clock.split_once('.').map_or((clock, None), |(clock, part)| (clock, Some(part)));
    let [hour, minute, second] = numbers(clock, ':', [2, 2, 2])?;
    // A leap second is taken as the first of the next minute.
    let is_possible = (1..=12).contains(&month)
        && (1..=days_in(year, month)).contains(&day)
        && hour <= 23
        && minute <= 59
        && second <= 60;
    if !is_possible {
        return None;
    }
    let minutes = (days_since_epoch(year, month, day) * 24 + hour) * 60 + minute - offset_minutes(zone)?;
    let ms = (minutes * 60 + second) * 1000 + fraction.map_or(Some(0), fraction_ms)?;
    u64::try_from(ms).ok()
}

/// `text` as unsigned numbers of exactly these lengths, with `separator` between them.
fn numbers<const N: usize>(text: &str, separator: char, lengths: [usize; N]) -> Option<[i64; N]> {
    let mut parts = text.split(separator);
    let mut numbers = [0; N];
    for (number, length) in numbers.iter_mut().zip(lengths) {
        *number = digits(parts.next().filter(|part| part.len() == length)?)?;
    }
    parts.next().is_none().then_some(numbers)
}

fn digits(text: &str) -> Option<i64> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}

fn fraction_ms(fraction: &str) -> Option<i64> {
    if fraction.is_empty() || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits(&format!("{:0<3}", fraction.get(..3).unwrap_or(fraction)))
}

/// The offset of local time from UTC, in minutes: `Z`, `+02:00`, `-07:30`.
fn offset_minutes(zone: &str) -> Option<i64> {
    if zone.eq_ignore_ascii_case("z") {
        return Some(0);
    }
    let (sign, offset) = match zone.strip_prefix('-') {
        Some(offset) => (-1, offset),
        None => (1, zone.strip_prefix('+')?),
    };
    let [hours, minutes] = numbers(offset, ':', [2, 2])?;
    (hours <= 23 && minutes <= 59).then_some(sign * (hours * 60 + minutes))
}

#[cfg(test)]
#[path = "hints_tests.rs"]
mod tests;
