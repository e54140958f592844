//! How long the body of an error asks clients to wait: in members, in nested headers, or in its message.
//!
//! Sources: Google's `RetryInfo`; OpenAI's plans (CLIProxyAPI#1666); OpenRouter (openclaude#936); and the
//! messages of OpenAI, Azure, Gemini, Groq, Z.AI, Anthropic and Mistral.

use serde_json::{Map, Value};

use super::error_body::{ErrorBody, truncate};
use super::gemini;
use super::hint_names::{Unit, unit};
use super::waits::{MAX_TEXT, WaitHint, decimal, text_hint, until_pacific_midnight};
use super::wording::MAX_READ;
use crate::base::WallTime;

/// Where members with a wait may be, besides the error itself.
const PLACES: [&[&str]; 4] = [&["metadata"], &["metadata", "headers"], &["details"], &["headers"]];

/// What stands before a wait in a message, in lower case.
const LEADS: [&str; 15] = [
    "retry in ",
    "retry after ",
    "try again in ",
    "try again after ",
    "try again at ",
    "wait for ",
    "wait ",
    "reset in ",
    "resets in ",
    "reset after ",
    "reset at ",
    "resets at ",
    "available in ",
    "regain access on ",
    "请在",
];

/// The statuses under which a message may name a wait. Under others it may quote the client.
const fn is_busy(status: u16) -> bool {
    matches!(status, 429 | 503 | 529)
}

/// The wait that the body of an error asks for. A member counts more than the message. For a daily quota of
/// Google it is at least the time until it is renewed: the delay beside it is of another limit.
pub(super) fn wait(body: &[u8], status: u16, now: WallTime) -> Option<WaitHint> {
    let error = ErrorBody::of_failure(body);
    let status = if status < 300 { error.status().unwrap_or(status) } else { status };
    let given = in_details(&error, now)
        .or_else(|| in_members(error.members(), now))
        .or_else(|| PLACES.iter().find_map(|place| in_members(error.object(place)?, now)))
        .or_else(|| is_busy(status).then(|| in_message(error.message(), now)).flatten());
    let renewed = if gemini::is_daily(&error) { until_pacific_midnight(now) } else { None };
    given.max(renewed)
}

/// A wait in the `details` of a Google error, which are a list.
fn in_details(error: &ErrorBody, now: WallTime) -> Option<WaitHint> {
    let details = error.get("details").and_then(Value::as_array)?;
    details.iter().filter_map(Value::as_object).find_map(|detail| {
        in_members(detail, now).or_else(|| in_members(detail.get("metadata")?.as_object()?, now))
    })
}

/// The first of the members in the order of [`MEMBERS`].
fn in_members(members: &Map<String, Value>, now: WallTime) -> Option<WaitHint> {
    let mut found = None;
    for (name, value) in members {
        let Some((place, unit)) = unit(name) else { continue };
        if found.is_some_and(|(before, _)| before < place) {
            continue;
        }
        let hint = match value {
            Value::Number(number) => {
                number.as_f64().and_then(|number| WaitHint::of_number(number, unit, now))
            }
            Value::String(text) if text.len() <= MAX_TEXT => text_hint(text.trim(), unit, now),
            _ => None,
        };
        found = hint.map(|hint| (place, hint)).or(found);
    }
    found.map(|(_, hint)| hint)
}

/// A wait in a message: `Please retry in 55.8s.`, `try again in 5 minutes`, `regain access on 2026-12-01 at
/// 00:00 UTC`.
fn in_message(message: &str, now: WallTime) -> Option<WaitHint> {
    let message = truncate(message, MAX_READ).to_ascii_lowercase();
    LEADS.iter().find_map(|lead| {
        let rest = message.split_once(lead)?.1;
        duration(rest).or_else(|| moment(rest, now))
    })
}

/// A duration at the beginning of a text: `1h2m3.5s`, `30 seconds`, `2 minutes 5 seconds`, `30秒`. A number
/// without a unit is not a duration: it may count something else.
fn duration(text: &str) -> Option<WaitHint> {
    let mut rest = text.trim_start_matches("about ").trim_start_matches("approximately ");
    let mut ms = None;
    loop {
        rest = rest.trim_start_matches([' ', ',']).trim_start_matches("and ");
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, tail) = rest.split_at_checked(end)?;
        let (Some(number), tail) = (decimal(number), tail.trim_start()) else { break };
        let Some((unit, tail)) = unit_of(tail) else { break };
        ms = Some(ms.unwrap_or(0.0) + number * unit);
        rest = tail;
    }
    WaitHint::of_millis(ms?)
}

/// A unit at the beginning of a text in milliseconds, and what follows it.
fn unit_of(text: &str) -> Option<(f64, &str)> {
    const UNITS: [(&str, f64); 21] = [
        ("milliseconds", 1.0),
        ("millisecond", 1.0),
        ("msecs", 1.0),
        ("ms", 1.0),
        ("毫秒", 1.0),
        ("seconds", 1e3),
        ("second", 1e3),
        ("secs", 1e3),
        ("sec", 1e3),
        ("s", 1e3),
        ("秒", 1e3),
        ("minutes", 60e3),
        ("minute", 60e3),
        ("mins", 60e3),
        ("min", 60e3),
        ("m", 60e3),
        ("分钟", 60e3),
        ("hours", 3_600e3),
        ("hour", 3_600e3),
        ("h", 3_600e3),
        ("d", 86_400e3),
    ];
    let days = ["days", "day"].iter().find_map(|word| Some((86_400e3, text.strip_prefix(word)?)));
    let found = days.or_else(|| UNITS.iter().find_map(|(word, ms)| Some((*ms, text.strip_prefix(word)?))));
    // A longer word is no unit: `5 messages`.
    found.filter(|(_, rest)| !rest.starts_with(|c: char| c.is_ascii_alphabetic()))
}

/// A moment at the beginning of a text: RFC 3339, also with ` at ` and ` utc`, or an HTTP date.
fn moment(text: &str, now: WallTime) -> Option<WaitHint> {
    let text = truncate(text, MAX_TEXT);
    let words: Vec<&str> = text.split_ascii_whitespace().filter(|word| *word != "at").take(3).collect();
    let first = words.first()?.trim_end_matches(['.', ',', ')']);
    if let Some(hint) = text_hint(first, Unit::Moment, now) {
        return Some(hint);
    }
    let clock = words.get(1).map(|word| word.trim_end_matches(['.', ',', ')', 'z']));
    // Without a time of day it is midnight, and without a zone UTC, as with the vendors that write so.
    let clock = clock.filter(|clock| clock.contains(':')).unwrap_or("00:00:00");
    let seconds = if clock.bytes().filter(|byte| *byte == b':').count() == 1 { ":00" } else { "" };
    text_hint(&format!("{first}T{clock}{seconds}Z"), Unit::Moment, now)
}

#[cfg(test)]
#[path = "body_hints_tests.rs"]
mod tests;
