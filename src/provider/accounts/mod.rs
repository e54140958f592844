//! Recognises an account that is dead: unpaid, suspended, blocked or revoked.
//!
//! `vendors` lists the codes and phrases of vendors and relays, each with its source. Everything else is
//! left to a general rule: a statement about the account in the code or at the beginning of the message,
//! under a status that vendors use for it.
//!
//! A client must not be able to block an account, and a message may quote the client. So quoted text does
//! not count, nor does what follows a word about the request (`prompt`, `value`, …), nor a message about a
//! parameter or a rate limit, nor one that speaks of an account in general (`my account`, `an account`).

mod rule;
mod vendors;

use super::evidence::Evidence;
use super::names;
use super::wording::Wording;
use crate::base::ErrorClass;
use vendors::VENDORS;

/// The class of a dead account by its code alone, whatever the status is. A number means something else at
/// each vendor, so it needs a fitting status.
pub(super) fn by_code(evidence: &Evidence) -> Option<ErrorClass> {
    // An exhausted quota takes precedence over a rejected credential: paying is what helps.
    let mut found = None;
    for name in evidence.names() {
        let is_number = name.bytes().all(|byte| byte.is_ascii_digit());
        if is_number && !is_possible(evidence.status) {
            continue;
        }
        let known = VENDORS.iter().flat_map(|vendor| vendor.codes);
        match known.clone().find(|(code, _)| code.eq_ignore_ascii_case(name)).map(|(_, class)| *class) {
            Some(ErrorClass::QuotaExhausted) => return Some(ErrorClass::QuotaExhausted),
            class => found = found.or(class),
        }
    }
    found
}

/// The class of a dead account by what the code and the message say.
pub(super) fn by_words(evidence: &Evidence) -> Option<ErrorClass> {
    if !is_possible(evidence.status) {
        return None;
    }
    // What Bedrock says to an account that Amazon has not cleared (aws/aws-cli#8717).
    if evidence.header.is_some() && evidence.body.message() == "Operation not allowed" {
        return Some(ErrorClass::Auth);
    }
    let limits_rate = matches!(evidence.status, None | Some(429));
    let by_code = evidence
        .names()
        .filter(|name| !is_status_word(name) && names::narrow(std::iter::once(*name)).is_none())
        .find_map(|name| rule::code(&Wording::of_code(name), limits_rate));
    by_code.or_else(|| {
        let wording = Wording::of(evidence.body.message());
        if evidence.param().is_some() || (limits_rate && rule::is_about_rate(&wording)) {
            return None;
        }
        // An ordinary 400 explains what is wrong, so only its first sentence counts.
        let sentences = if evidence.status == Some(400) { 1 } else { super::wording::MAX_SENTENCES };
        rule::message(&wording, sentences, limits_rate)
    })
}

/// The statuses under which vendors report dead accounts. Errors within a success have none.
const fn is_possible(status: Option<u16>) -> bool {
    matches!(status, None | Some(400 | 401 | 402 | 403 | 412 | 429))
}

/// Names that say no more than their status, and look like a statement about an account.
fn is_status_word(name: &str) -> bool {
    ["payment_required", "forbidden", "unauthorized"].iter().any(|word| word.eq_ignore_ascii_case(name))
}

/// The phrases of all vendors with their classes.
#[cfg(test)]
pub(super) fn phrases() -> impl Iterator<Item = (&'static str, ErrorClass)> {
    VENDORS.iter().flat_map(|vendor| vendor.phrases).copied()
}

/// The codes of all vendors with their classes.
#[cfg(test)]
pub(super) fn codes() -> impl Iterator<Item = (&'static str, ErrorClass)> {
    VENDORS.iter().flat_map(|vendor| vendor.codes).copied()
}

/// The names of all vendors.
#[cfg(test)]
pub(super) fn vendors() -> impl Iterator<Item = &'static str> {
    VENDORS.iter().map(|vendor| vendor.name)
}
