//! Waits and moments in the forms that providers write: numbers, Go durations, RFC 3339 and HTTP dates.

use std::time::{Duration, UNIX_EPOCH};

use super::hint_names::Unit;
use crate::base::{WallTime, days_since_epoch, rfc3339_ms};

/// The longest wait that is returned; a longer one is cut to it.
pub const MAX_HINT: Duration = Duration::from_secs(24 * 60 * 60);

/// A whole number of so many digits is exact as a float.
const MAX_EXACT_DIGITS: usize = 15;

/// The longest plausible wait, in milliseconds (366 days).
const MAX_PLAUSIBLE_MS: f64 = 366.0 * 24.0 * 3_600_000.0;

/// The longest text that is read as a time, in bytes. The longest valid one is an HTTP date of 33 bytes.
pub(super) const MAX_TEXT: usize = 64;

/// A larger number is seconds since 1970.
const MIN_EPOCH_SECONDS: f64 = 1e9;

/// A larger number is milliseconds since 1970.
const MIN_EPOCH_MILLISECONDS: f64 = 1e12;

/// The milliseconds since 1970 that a number means, if it is too large to be a wait.
pub(super) fn epoch_ms(number: f64) -> Option<u64> {
    // The casts saturate.
    if number > MIN_EPOCH_MILLISECONDS {
        Some(number as u64)
    } else if number > MIN_EPOCH_SECONDS {
        Some((number * 1000.0) as u64)
    } else {
        None
    }
}

/// A plausible wait, at most [`MAX_HINT`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct WaitHint(pub(super) Duration);

impl WaitHint {
    /// A number of `unit`, or a moment since 1970 if it is too large for a wait.
    pub(super) fn of_number(number: f64, unit: Unit, now: WallTime) -> Option<Self> {
        if let Some(moment) = epoch_ms(number) {
            return Self::until(moment, now);
        }
        match unit {
            Unit::Milliseconds => Self::of_millis(number),
            Unit::Seconds => Self::of_millis(number * 1000.0),
            Unit::Moment => None,
        }
    }

    pub(super) fn of_millis(ms: f64) -> Option<Self> {
        // NaN fails both comparisons.
        if !(ms > 0.0 && ms <= MAX_PLAUSIBLE_MS) {
            return None;
        }
        // Rounded up, because a request that comes too early is rejected again. Below the bound the cast is
        // exact.
        Some(Self(Duration::from_millis(ms.ceil() as u64).min(MAX_HINT)))
    }

    /// From `now` to `moment_ms`, which is in milliseconds since the epoch.
    fn until(moment_ms: u64, now: WallTime) -> Option<Self> {
        Self::of_millis(moment_ms.saturating_sub(now.as_millis()) as f64)
    }
}

/// A wait as a number, as a Go duration, or as a moment: RFC 3339 or an HTTP date.
pub(super) fn text_hint(text: &str, unit: Unit, now: WallTime) -> Option<WaitHint> {
    if let Some(number) = decimal(text) {
        return WaitHint::of_number(number, unit, now);
    }
    let duration = || if unit == Unit::Moment { None } else { go_duration(text) };
    duration().or_else(|| WaitHint::until(rfc3339_ms(text)?, now)).or_else(|| http_date(text, now))
}

/// The time until the next midnight in California, when Google renews daily quotas.
pub(super) fn until_pacific_midnight(now: WallTime) -> Option<WaitHint> {
    const HOUR_MS: i64 = 3_600_000;
    let now_ms = i64::try_from(now.as_millis()).ok()?;
    // The offset changes at night, but which of the two midnights is meant then does not matter.
    let local_ms = now_ms - if is_summer_in_california(now_ms) { 7 } else { 8 } * HOUR_MS;
    let left_ms = 24 * HOUR_MS - local_ms.rem_euclid(24 * HOUR_MS);
    WaitHint::of_millis(left_ms as f64)
}

/// Whether daylight saving time is in force: from the second Sunday in March to the first one in November.
fn is_summer_in_california(now_ms: i64) -> bool {
    let day = now_ms.div_euclid(86_400_000);
    // 1970-01-01 was a Thursday; Sunday is 0.
    let sunday_from = |year, month, day_of_month| {
        let first = days_since_epoch(year, month, day_of_month);
        first + (7 - (first + 4).rem_euclid(7)).rem_euclid(7)
    };
    let year =
        (1970..).take(400).take_while(|year| days_since_epoch(*year, 1, 1) <= day).last().unwrap_or(1970);
    (sunday_from(year, 3, 8)..sunday_from(year, 11, 1)).contains(&day)
}

/// A number without sign or exponent: `7`, `1.5`. Not negative, always finite.
pub(super) fn decimal(text: &str) -> Option<f64> {
    // Most are whole and short. The general way runs much more code.
    if (1..=MAX_EXACT_DIGITS).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(text.bytes().fold(0_u64, |number, digit| number * 10 + u64::from(digit - b'0')) as f64);
    }
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    if is_plain && text.len() <= MAX_TEXT { text.parse().ok() } else { None }
}

/// An HTTP date in any of the three forms of RFC 9110 §5.6.7.
fn http_date(text: &str, now: WallTime) -> Option<WaitHint> {
    let since_epoch = httpdate::parse_http_date(text).ok()?.duration_since(UNIX_EPOCH).ok()?;
    WaitHint::until(u64::try_from(since_epoch.as_millis()).ok()?, now)
}

/// A duration as Go's `time.Duration` prints it, or with days: `6m0s`, `12ms`, `1h2m3.5s`, `1d`.
fn go_duration(text: &str) -> Option<WaitHint> {
    WaitHint::of_millis(go_duration_ms(text)?)
}

/// A Go duration in milliseconds; may be zero.
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

/// Go's units in milliseconds. Go accepts both the micro sign and the Greek letter.
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
