//! Anthropic's own error rules.

use super::evidence::Evidence;
use crate::base::ErrorClass;

/// How Anthropic's messages begin when the account is out of money, which it reports as an invalid request.
/// Only the beginning counts: later a message may quote the client, and a client must not be able to block an
/// account.
const OUT_OF_MONEY: [&str; 3] = [
    "You have reached your specified API usage limits",
    "You have reached your specified workspace API usage limits",
    "Your credit balance is too low",
];

const BLOCKED: &str = "Output blocked by content filtering policy";

pub(super) fn class(evidence: &Evidence) -> Option<ErrorClass> {
    let message = evidence.body.message();
    let invalid = evidence.status.is_none_or(|status| status == 400);
    if invalid && OUT_OF_MONEY.iter().any(|beginning| message.starts_with(beginning)) {
        return Some(ErrorClass::QuotaExhausted);
    }
    if invalid && message.starts_with(BLOCKED) {
        return Some(ErrorClass::ContentPolicy);
    }
    // The monthly cap has the same type as a rate limit, but comes without a time to wait.
    let capped = evidence.body.code().as_deref() == Some("enforced_spend_limit_reached");
    (capped && !evidence.retry_after).then_some(ErrorClass::QuotaExhausted)
}
