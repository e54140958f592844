//! What Anthropic means beyond the names everyone uses.

use super::classify::Said;
use crate::base::ErrorClass;

/// How Anthropic's messages begin when the money is gone, which it reports as an invalid request. Only the beginning
/// counts: further on a message may quote the client, who must not be able to block an account.
const EMPTY_PURSE: [&str; 3] = [
    "You have reached your specified API usage limits",
    "You have reached your specified workspace API usage limits",
    "Your credit balance is too low",
];

const BLOCKED: &str = "Output blocked by content filtering policy";

pub(super) fn class(said: &Said) -> Option<ErrorClass> {
    let message = said.report.message();
    let invalid = said.status.is_none_or(|status| status == 400);
    if invalid && EMPTY_PURSE.iter().any(|beginning| message.starts_with(beginning)) {
        return Some(ErrorClass::QuotaExhausted);
    }
    if invalid && message.starts_with(BLOCKED) {
        return Some(ErrorClass::ContentPolicy);
    }
    // The monthly cap: the same type as a passing limit, but no time to wait for.
    let capped = said.report.code().as_deref() == Some("enforced_spend_limit_reached");
    (capped && !said.retry_after).then_some(ErrorClass::QuotaExhausted)
}
