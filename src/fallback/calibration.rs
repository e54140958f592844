//! Corrects token estimates: learns per model how many tokens its provider counts compared with the estimate.
//!
//! **Why one factor per model.** A model has one tokenizer, and its users mostly send one kind of text. So one
//! factor removes most of the error of an average over all languages and models. Targets with the same model at
//! the same kind of provider share it: a tokenizer does not depend on the account.
//!
//! **How it adapts.** The factor is a moving average of what providers report, so it follows when the model
//! behind a name is replaced. The margin on top stays.
//!
//! **Sharing.** Every few seconds workers merge their factors in one small record per model. No decision
//! needs the latest value.

use std::cell::Cell;

use crate::base::{Store, TargetId, saturating_product, update};
use crate::config::Config;

/// Smaller prompts are ignored: the tokens that a vendor adds to every prompt would dominate.
const MIN_TOKENS: u64 = 100;
/// The factor is used after this many prompts.
const MIN_SAMPLES: u32 = 20;
/// Number of prompts in the average. Older ones fade.
const MEMORY: u32 = 200;
/// Bounds of the factor, in millionths. No tokenizer exceeds them.
const MIN_FACTOR: u32 = 250_000;
const MAX_FACTOR: u32 = 4_000_000;
/// Worker ticks between two exchanges: 5 seconds.
const TICKS: u32 = 50;

const VERSION: u8 = 1;
const RECORD_BYTES: usize = 9;

/// The factor of one model and the prompts behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Factor {
    samples: u32,
    millionths: u32,
}

impl Factor {
    const NOTHING: Self = Self { samples: 0, millionths: 1_000_000 };

    /// With one more prompt.
    fn with(self, millionths: u32) -> Self {
        let samples = self.samples.saturating_add(1).min(MEMORY);
        let (old, new) = (i64::from(self.millionths), i64::from(millionths));
        // A mean of two u32 is a u32.
        let mean = old + (new - old) / i64::from(samples);
        Self { samples, millionths: u32::try_from(mean).unwrap_or(self.millionths) }
    }

    /// Both together, weighted by their samples.
    fn merged(self, other: Self) -> Self {
        let samples = u64::from(self.samples) + u64::from(other.samples);
        let sum = u64::from(self.millionths) * u64::from(self.samples)
            + u64::from(other.millionths) * u64::from(other.samples);
        let Some(mean) = sum.checked_div(samples) else { return self };
        let millionths = u32::try_from(mean).unwrap_or(MAX_FACTOR);
        Self { samples: u32::try_from(samples).unwrap_or(MEMORY).min(MEMORY), millionths }
    }

    fn encode(self) -> [u8; RECORD_BYTES] {
        let mut bytes = [VERSION; RECORD_BYTES];
        for (slot, byte) in bytes
            .iter_mut()
            .skip(1)
            .zip(self.samples.to_le_bytes().into_iter().chain(self.millionths.to_le_bytes()))
        {
            *slot = byte;
        }
        bytes
    }

    /// An unreadable record counts as empty.
    fn decode(bytes: &[u8]) -> Self {
        let numbers = match bytes.split_first() {
            Some((&VERSION, rest)) if rest.len() == RECORD_BYTES - 1 => rest.as_chunks::<4>().0,
            _ => return Self::NOTHING,
        };
        match numbers {
            [samples, millionths] => {
                let (samples, millionths) = (u32::from_le_bytes(*samples), u32::from_le_bytes(*millionths));
                Self { samples: samples.min(MEMORY), millionths: millionths.clamp(MIN_FACTOR, MAX_FACTOR) }
            }
            _ => Self::NOTHING,
        }
    }
}

/// One worker's factors for the models of a configuration.
#[derive(Debug)]
pub struct Calibration {
    /// By target: the position of its model's factor.
    of_target: Vec<usize>,
    keys: Vec<String>,
    known: Vec<Cell<Factor>>,
    /// Learned since the last exchange.
    unshared: Vec<Cell<Factor>>,
    ticks: Cell<u32>,
}

impl Calibration {
    /// No factors yet for the targets of `config`.
    pub fn new(config: &Config) -> Self {
        let mut keys: Vec<String> = Vec::new();
        let of_target = config.targets().iter().map(|target| {
            let kind = config.provider(target.provider).map_or("", |provider| provider.kind.name());
            let key = format!("llm-failsafe/estimate/{kind}/{}", target.model);
            keys.iter().position(|known| *known == key).unwrap_or_else(|| {
                keys.push(key);
                keys.len() - 1
            })
        });
        let of_target = of_target.collect();
        let nothing = || keys.iter().map(|_| Cell::new(Factor::NOTHING)).collect::<Vec<_>>();
        Self { of_target, known: nothing(), unshared: nothing(), keys, ticks: Cell::new(0) }
    }

    /// The tokens that `target` will probably count for a prompt estimated at `expected`.
    pub fn tokens(&self, target: TargetId, expected: u64) -> u64 {
        match self.factor(&self.known, target).map(Cell::get) {
            Some(factor) if factor.samples >= MIN_SAMPLES => {
                saturating_product(expected, factor.millionths.into()).div_ceil(1_000_000)
            }
            _ => expected,
        }
    }

    fn factor<'f>(&self, list: &'f [Cell<Factor>], target: TargetId) -> Option<&'f Cell<Factor>> {
        list.get(*self.of_target.get(target.index())?)
    }

    /// The provider of `target` counted `observed` tokens for a prompt estimated at `expected`.
    pub fn learn(&self, target: TargetId, expected: u64, observed: u64) {
        if expected < MIN_TOKENS || observed == 0 {
            return;
        }
        let millionths = saturating_product(observed, 1_000_000) / expected;
        let millionths = u32::try_from(millionths).unwrap_or(MAX_FACTOR).clamp(MIN_FACTOR, MAX_FACTOR);
        for list in [&self.known, &self.unshared] {
            if let Some(cell) = self.factor(list, target) {
                cell.set(cell.get().with(millionths));
            }
        }
    }

    /// Call this on every tick. At intervals it merges this worker's factors with those of the others.
    pub fn exchange(&self, store: &mut dyn Store) {
        let ticks = self.ticks.get();
        self.ticks.set((ticks + 1) % TICKS);
        if ticks != 0 {
            return;
        }
        for ((key, known), unshared) in self.keys.iter().zip(&self.known).zip(&self.unshared) {
            let shared = update(store, key, |bytes| {
                let shared = bytes.map_or(Factor::NOTHING, Factor::decode);
                let merged = shared.merged(unshared.get());
                (merged, (unshared.get().samples > 0).then(|| merged.encode()))
            });
            // If sharing fails, this worker keeps its own factors.
            if let Some(shared) = shared.filter(|shared| shared.samples > 0) {
                known.set(shared);
                unshared.set(Factor::NOTHING);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::memory::Memory;
    use crate::config;

    fn calibration() -> Calibration {
        let config = r#"{"providers": {"p": {"kind": "openai"}},
                         "targets": {"t": {"provider": "p", "model": "m"}},
                         "models": {"c": {"targets": ["t"]}}}"#;
        Calibration::new(&config::load(config.as_bytes(), &|_| None).unwrap())
    }

    const T: fn() -> TargetId = || TargetId::from_index(0).unwrap();

    #[test]
    fn a_factor_is_used_after_enough_prompts_and_follows_later_ones() {
        let calibration = calibration();
        for seen in 0..MIN_SAMPLES {
            assert_eq!(calibration.tokens(T(), 1_000), 1_000, "after {seen}");
            calibration.learn(T(), 1_000, 700);
        }
        assert_eq!(calibration.tokens(T(), 1_000), 700);
        for _ in 0..3 * MEMORY {
            calibration.learn(T(), 1_000, 1_500);
        }
        assert!((1_450..=1_500).contains(&calibration.tokens(T(), 1_000)), "{calibration:?}");
    }

    #[test]
    fn small_prompts_are_ignored_and_factors_are_bounded() {
        let calibration = calibration();
        for _ in 0..100 {
            calibration.learn(T(), MIN_TOKENS - 1, 5_000);
            calibration.learn(T(), 1_000, 0);
        }
        assert_eq!(calibration.tokens(T(), 1_000), 1_000);
        for _ in 0..1_000 {
            calibration.learn(T(), 100, u64::MAX);
        }
        assert_eq!(calibration.tokens(T(), 1_000), 4_000);
        assert_eq!(calibration.tokens(TargetId::from_index(9).unwrap(), 7), 7, "an unknown target");
    }

    #[test]
    fn targets_with_the_same_kind_and_model_share_a_factor() {
        let config = r#"{"providers": {"p": {"kind": "openai"}, "q": {"kind": "openai"}, "r": {"kind": "mistral"}},
                         "targets": {"t": {"provider": "p", "model": "m"}, "equal": {"provider": "q", "model": "m"},
                                     "kind": {"provider": "r", "model": "m"}, "model": {"provider": "p", "model": "n"}},
                         "models": {"c": {"targets": ["t", "equal", "kind", "model"]}}}"#;
        let config = config::load(config.as_bytes(), &|_| None).unwrap();
        let calibration = Calibration::new(&config);
        let id = |name| {
            let at = config.targets().iter().position(|target| &*target.name == name);
            TargetId::from_index(at.unwrap()).unwrap()
        };
        for _ in 0..MIN_SAMPLES {
            calibration.learn(id("t"), 1_000, 700);
        }
        let tokens = ["t", "equal", "kind", "model"].map(|name| calibration.tokens(id(name), 1_000));
        assert_eq!(tokens, [700, 700, 1_000, 1_000]);
    }

    #[test]
    fn workers_share_factors_and_unreadable_records_count_as_empty() {
        let mut shared = Memory::new();
        let (one, other) = (calibration(), calibration());
        for _ in 0..MIN_SAMPLES {
            one.learn(T(), 1_000, 600);
        }
        one.exchange(&mut shared);
        other.exchange(&mut shared);
        assert_eq!(other.tokens(T(), 1_000), 600);
        let calls = shared.calls;
        for _ in 1..TICKS {
            one.exchange(&mut shared);
        }
        assert_eq!(shared.calls, calls, "between two exchanges nothing is asked of the host");
        for bytes in [&b""[..], b"\x02aaaabbbb", b"\x01aaaa", b"\x01aaaabbbbc"] {
            assert_eq!(Factor::decode(bytes), Factor::NOTHING);
        }
        let factor = Factor { samples: 7, millionths: 900_000 };
        assert_eq!(Factor::decode(&factor.encode()), factor);
    }
}
