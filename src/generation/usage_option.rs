//! Targets that reject the request for usage which the filter adds to streams (`stream_options`).
//!
//! A rejection is learned from the target's own error, and the same request goes to it once more without the
//! addition. It follows from the provider's server and from the model, not from the account, so it holds for every
//! target with that model at that provider. All workers share what one has learned. It is forgotten after [`FORGOTTEN_AFTER`], because a
//! server may have been updated; the next stream then finds out.

use std::cell::Cell;
use std::time::Duration;

use crate::base::{Store, TargetId, Timestamp, update};
use crate::config::{Config, Target};

/// For how long a target is not asked for usage after it has rejected the request.
const FORGOTTEN_AFTER: Duration = Duration::from_hours(24);
/// Worker ticks between two looks at what others have learned: 5 seconds.
const TICKS: u32 = 50;

/// What one worker knows about the targets of a configuration.
#[derive(Debug)]
pub struct UsageOption {
    targets: Vec<Known>,
    ticks: Cell<u32>,
}

/// One target that may be asked.
#[derive(Debug)]
struct Known {
    /// `None` if the configuration says that it is not asked.
    key: Option<String>,
    rejected_at: Cell<Option<Timestamp>>,
}

impl UsageOption {
    /// Starts with what other workers have learned.
    pub(super) fn new(config: &Config, store: &mut dyn Store) -> Self {
        let asked = |provider| config.provider(provider).is_some_and(|provider| provider.asks_usage);
        let known = |target: &Target| Known {
            key: asked(target.provider).then(|| {
                let provider = config.provider(target.provider).map_or("", |provider| &provider.name);
                format!("llm-failsafe/no-usage-option/{provider}/{}", target.model)
            }),
            rejected_at: Cell::new(None),
        };
        let learned = Self { targets: config.targets().iter().map(known).collect(), ticks: Cell::new(0) };
        learned.read(store);
        learned
    }

    /// Whether streams of `target` are to be asked for usage.
    pub fn is_asked(&self, target: TargetId, now: Timestamp) -> bool {
        self.targets.get(target.index()).is_some_and(|known| {
            let is_rejected = |at: Timestamp| now.since(at) < FORGOTTEN_AFTER;
            known.key.is_some() && !known.rejected_at.get().is_some_and(is_rejected)
        })
    }

    /// `target` has rejected the request.
    pub fn rejected(&self, target: TargetId, store: &mut dyn Store, now: Timestamp) {
        let Some(known) = self.targets.get(target.index()) else { return };
        let same = self.targets.iter().filter(|other| other.key == known.key);
        same.for_each(|same| same.rejected_at.set(Some(now)));
        if let Some(key) = &known.key {
            // If sharing fails, each worker finds out by itself.
            let _ = update(store, key, |_| ((), Some(now.as_millis().to_le_bytes())));
        }
    }

    /// Call this on every tick.
    pub(super) fn exchange(&self, store: &mut dyn Store) {
        let ticks = self.ticks.get();
        self.ticks.set((ticks + 1) % TICKS);
        if ticks == 0 {
            self.read(store);
        }
    }

    fn read(&self, store: &mut dyn Store) {
        for known in &self.targets {
            let Some(Ok(Some(stored))) = known.key.as_ref().map(|key| store.read(key)) else { continue };
            if let Ok(millis) = stored.bytes.try_into() {
                known.rejected_at.set(Some(Timestamp::from_millis(u64::from_le_bytes(millis))));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::memory::Memory;
    use crate::config;

    const CONFIG: &str = r#"{
        "providers": {"p": {"kind": "openai"}, "q": {"kind": "openai", "usage": "leave"}},
        "accounts": {"a": {"provider": "p"}, "b": {"provider": "p"}, "c": {"provider": "q"}},
        "targets": {"t": {"account": "a", "model": "m"}, "u": {"account": "c", "model": "m"},
                    "v": {"account": "b", "model": "m"}, "w": {"account": "b", "model": "n"}},
        "models": {"c": {"targets": ["t", "u", "v", "w"]}}}"#;

    fn id(index: usize) -> TargetId {
        TargetId::from_index(index).unwrap()
    }

    fn hours(hours: u64) -> Timestamp {
        Timestamp::from_millis((1_000_000 + hours * 3600) * 1000)
    }

    #[test]
    fn a_rejection_is_shared_and_forgotten_after_a_day() {
        let config = config::load(CONFIG.as_bytes(), &|_| None).unwrap();
        let store = &mut Memory::new();
        let (one, other) = (UsageOption::new(&config, store), UsageOption::new(&config, store));
        assert!(one.is_asked(id(0), hours(0)));
        assert!(!one.is_asked(id(1), hours(0)), "the configuration says so");
        one.rejected(id(0), store, hours(0));
        assert!(!one.is_asked(id(0), hours(0)));
        assert!(!one.is_asked(id(2), hours(0)), "another account with this model at this provider");
        assert!(one.is_asked(id(3), hours(0)), "another model");
        for _ in 0..=TICKS {
            other.exchange(store);
        }
        assert!(!other.is_asked(id(0), hours(23)) && !other.is_asked(id(2), hours(23)));
        assert!(
            !UsageOption::new(&config, store).is_asked(id(0), hours(23)),
            "also after a new configuration"
        );
        assert!(other.is_asked(id(0), hours(24)));
        assert!(!other.is_asked(id(9), hours(0)), "an unknown target");
    }
}
