//! Clusters that the configuration names and Envoy does not have.
//!
//! The filter cannot ask Envoy which clusters exist. It learns from a response that Envoy made because a cluster was
//! missing, and it is remembered until a provider of that cluster is reached. Refusals read what this worker has
//! learned. The status report reads what any worker has.

use std::cell::Cell;
use std::time::Duration;

use crate::base::{ProviderId, Store, Timestamp, update};
use crate::config::Config;

/// A shared record is written again after this long if the cluster is still missing.
const REPEATED_AFTER: Duration = Duration::from_mins(1);
/// A shared record that has not been repeated for this long counts for nothing: nobody has asked since.
const FORGOTTEN_AFTER: Duration = Duration::from_hours(1);

/// What one worker knows about the clusters of a configuration.
#[derive(Debug)]
pub struct MissingClusters {
    /// By provider: when its cluster was last seen to be missing.
    seen: Vec<Cell<Option<Timestamp>>>,
    any: Cell<bool>,
}

impl MissingClusters {
    pub(super) fn new(config: &Config) -> Self {
        Self { seen: config.providers().iter().map(|_| Cell::new(None)).collect(), any: Cell::new(false) }
    }

    /// Whether any cluster is missing.
    pub fn has_any(&self) -> bool {
        self.any.get()
    }

    /// Whether the cluster of `provider` is missing.
    pub fn is_missing(&self, provider: ProviderId) -> bool {
        self.any.get() && self.seen.get(provider.index()).is_some_and(|seen| seen.get().is_some())
    }

    /// Envoy has no cluster `name`, which `provider` needs. Returns whether this worker did not know that.
    pub fn missed(&self, provider: ProviderId, name: &str, store: &mut dyn Store, now: Timestamp) -> bool {
        let Some(seen) = self.seen.get(provider.index()) else { return false };
        let before = seen.get();
        if before.is_none_or(|before| now.since(before) >= REPEATED_AFTER) {
            seen.set(Some(now));
            self.any.set(true);
            // If sharing fails, the status report of other workers does not show it.
            let _ = update(store, &key(name), |_| ((), Some(now.as_millis().to_le_bytes())));
        }
        before.is_none()
    }

    /// `provider` was reached through its cluster `name`.
    pub fn reached(&self, provider: ProviderId, name: &str, store: &mut dyn Store) {
        if !self.is_missing(provider) {
            return;
        }
        if let Some(seen) = self.seen.get(provider.index()) {
            seen.set(None);
        }
        self.any.set(self.seen.iter().any(|seen| seen.get().is_some()));
        let _ = update(store, &key(name), |_| ((), Some(0_u64.to_le_bytes())));
    }
}

/// The providers of `config` whose cluster any worker has missed lately.
pub fn missed_by_any(config: &Config, store: &mut dyn Store, now: Timestamp) -> Vec<ProviderId> {
    let providers = config.providers().iter().enumerate();
    let missed = providers.filter(|(_, provider)| {
        let Ok(Some(stored)) = store.read(&key(&provider.cluster)) else { return false };
        stored.bytes.try_into().is_ok_and(|millis| {
            let at = Timestamp::from_millis(u64::from_le_bytes(millis));
            at > Timestamp::default() && now.since(at) < FORGOTTEN_AFTER
        })
    });
    missed.filter_map(|(index, _)| ProviderId::from_index(index)).collect()
}

fn key(cluster: &str) -> String {
    format!("llm-failsafe/no-cluster/{cluster}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::memory::Memory;
    use crate::config;

    fn at(minutes: u64) -> Timestamp {
        Timestamp::from_millis((1_000_000 + minutes * 60) * 1000)
    }

    #[test]
    fn a_missing_cluster_is_learned_once_shared_and_over_when_the_provider_is_reached() {
        let text = r#"{"providers": {"p": {"kind": "openai"}, "q": {"kind": "openai", "cluster": "other"}},
                       "targets": {"t": {"provider": "p", "model": "m"}, "u": {"provider": "q", "model": "m"}},
                       "models": {"c": {"targets": ["t", "u"]}}}"#;
        let config = config::load(text.as_bytes(), &|_| None).unwrap();
        let (p, q) = (ProviderId::from_index(0).unwrap(), ProviderId::from_index(1).unwrap());
        let store = &mut Memory::new();
        let (one, other) = (MissingClusters::new(&config), MissingClusters::new(&config));
        one.reached(p, "p", store);
        assert_eq!(store.calls, 0, "nothing is missing");
        assert!(one.missed(p, "p", store, at(0)), "that is news");
        assert!(!one.missed(p, "p", store, at(0)));
        assert!(one.is_missing(p) && !one.is_missing(q) && !other.is_missing(p));
        assert_eq!(missed_by_any(&config, store, at(59)), [p]);
        assert_eq!(missed_by_any(&config, store, at(60)), [], "nobody has asked for an hour");
        assert!(!one.missed(p, "p", store, at(30)));
        assert_eq!(missed_by_any(&config, store, at(89)), [p], "it was missed again");
        one.reached(p, "p", store);
        assert!(!one.is_missing(p));
        assert_eq!(missed_by_any(&config, store, at(31)), []);
        assert!(one.missed(p, "p", store, at(32)), "that is news again");
    }
}
