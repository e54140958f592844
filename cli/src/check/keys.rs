//! Client keys and operators' keys: when they expire.

use llm_failsafe::base::Timestamp;
use llm_failsafe::config::Config;

use super::SOON_MS;

/// Keys that have expired, or that do soon.
pub(super) fn warnings(config: &Config, now: Timestamp) -> Vec<String> {
    let clients = config.keys.iter().flatten().map(|key| (format!("keys.{}", key.name), key.expires));
    let operators = config.operators.iter().map(|key| (format!("operator key `{}`", key.name), key.expires));
    let ends = clients.chain(operators).filter_map(|(key, expires)| Some((key, expires?)));
    ends.filter_map(|(key, end)| {
        if end <= now {
            return Some(format!("{key}: has expired; its holder gets 401"));
        }
        let left = end.since(now);
        let days = left.as_secs() / (24 * 60 * 60);
        (left.as_millis() < u128::from(SOON_MS)).then(|| format!("{key}: expires in {days} days"))
    })
    .collect()
}
