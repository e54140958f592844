//! Client keys and operators' keys: when they expire.

use llm_failsafe::base::WallTime;
use llm_failsafe::config::Config;

use super::SOON_MS;

/// Keys that have expired, or that do soon.
pub(super) fn warnings(config: &Config, now: WallTime) -> Vec<String> {
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn keys_that_have_expired_or_soon_do_are_named() {
        let config = json!({
            "providers": {"p": {"kind": "openai"}},
            "targets": {"t": {"provider": "p", "model": "m"}},
            "models": {"m": {"targets": ["t"]}},
            "keys": {
                "forever": {"sha256": "01".repeat(32)},
                "later": {"sha256": "02".repeat(32), "expires": "2026-07-31"},
                "past": {"sha256": "03".repeat(32), "expires": "2026-06-07"},
            },
            "operator": {"keys": {"anna": {"sha256": "04".repeat(32), "expires": "2026-06-20T13:00:00Z"}}},
        });
        let config = llm_failsafe::config::load(config.to_string().as_bytes(), &|_| None).unwrap();
        // 2026-06-08, noon.
        let found = warnings(&config, WallTime::from_millis(1_780_920_000_000));
        assert_eq!(
            found,
            ["keys.past: has expired; its holder gets 401", "operator key `anna`: expires in 12 days"]
        );
    }
}
