//! What has been learnt of how many tokens a target counts where so many were expected.
//!
//! A target is one model with one tokenizer, and its users mostly send one sort of text, so one factor for each target
//! takes out most of the error that an average over all languages and models has. It follows what providers report: an
//! average that forgets, so that a model that is replaced behind its name is learnt anew. The margin on top stays.
//!
//! Workers share what they learn in one small record per target, every few seconds: nothing depends on its being fresh.

use std::cell::Cell;

use crate::base::{Store, TargetId, update};
use crate::config::Config;

/// Prompts that are expected to be smaller than this teach nothing: what a vendor adds to every prompt would drown them.
const LEAST_TOKENS: u64 = 100;
/// From so many prompts on the factor is used.
const LEAST_SAMPLES: u32 = 20;
/// So many prompts count; older ones fade.
const MEMORY: u32 = 200;
/// The factor's bounds, in millionths: what is beyond is no tokenizer's doing.
const LEAST_FACTOR: u32 = 250_000;
const MOST_FACTOR: u32 = 4_000_000;
/// Worker ticks between two exchanges: five seconds.
const TICKS: u32 = 50;

const VERSION: u8 = 1;
const RECORD_BYTES: usize = 9;

/// What is known of one target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Learnt {
    samples: u32,
    millionths: u32,
}

impl Learnt {
    const NOTHING: Self = Self { samples: 0, millionths: 1_000_000 };

    /// One more prompt.
    fn with(self, millionths: u32) -> Self {
        let samples = self.samples.saturating_add(1).min(MEMORY);
        let (old, new) = (i64::from(self.millionths), i64::from(millionths));
        // Between two u32 lies a u32.
        let mean = old + (new - old) / i64::from(samples);
        Self { samples, millionths: u32::try_from(mean).unwrap_or(self.millionths) }
    }

    /// Both together, each as much as it has seen.
    fn merged(self, other: Self) -> Self {
        let samples = u64::from(self.samples) + u64::from(other.samples);
        let sum = u64::from(self.millionths) * u64::from(self.samples)
            + u64::from(other.millionths) * u64::from(other.samples);
        let Some(mean) = sum.checked_div(samples) else { return self };
        let millionths = u32::try_from(mean).unwrap_or(MOST_FACTOR);
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

    /// A record that cannot be read is as none.
    fn decode(bytes: &[u8]) -> Self {
        let numbers = match bytes.split_first() {
            Some((&VERSION, rest)) if rest.len() == RECORD_BYTES - 1 => rest.as_chunks::<4>().0,
            _ => return Self::NOTHING,
        };
        match numbers {
            [samples, millionths] => {
                let (samples, millionths) = (u32::from_le_bytes(*samples), u32::from_le_bytes(*millionths));
                Self { samples: samples.min(MEMORY), millionths: millionths.clamp(LEAST_FACTOR, MOST_FACTOR) }
            }
            _ => Self::NOTHING,
        }
    }
}

/// One worker's knowledge of the targets of one configuration.
#[derive(Debug)]
pub struct Calibration {
    keys: Vec<String>,
    known: Vec<Cell<Learnt>>,
    /// What has been learnt since the last exchange.
    fresh: Vec<Cell<Learnt>>,
    ticks: Cell<u32>,
}

impl Calibration {
    /// Nothing is known of the targets of `config` yet.
    pub fn new(config: &Config) -> Self {
        let keys: Vec<_> =
            config.targets().iter().map(|target| format!("llm-failsafe/estimate/{}", target.name)).collect();
        let nothing = || keys.iter().map(|_| Cell::new(Learnt::NOTHING)).collect::<Vec<_>>();
        Self { known: nothing(), fresh: nothing(), keys, ticks: Cell::new(0) }
    }

    /// The tokens that `target` will count where `expected` are expected.
    pub fn tokens(&self, target: TargetId, expected: u64) -> u64 {
        match self.known.get(target.index()).map(Cell::get) {
            Some(learnt) if learnt.samples >= LEAST_SAMPLES => {
                expected.saturating_mul(learnt.millionths.into()).div_ceil(1_000_000)
            }
            _ => expected,
        }
    }

    /// The provider of `target` counted `observed` tokens where `expected` were expected.
    pub fn learn(&self, target: TargetId, expected: u64, observed: u64) {
        if expected < LEAST_TOKENS || observed == 0 {
            return;
        }
        let millionths = observed.saturating_mul(1_000_000) / expected;
        let millionths = u32::try_from(millionths).unwrap_or(MOST_FACTOR).clamp(LEAST_FACTOR, MOST_FACTOR);
        for list in [&self.known, &self.fresh] {
            if let Some(cell) = list.get(target.index()) {
                cell.set(cell.get().with(millionths));
            }
        }
    }

    /// To be called on every tick of the worker; now and then it tells the others what it has learnt, and learns from them.
    pub fn exchange(&self, store: &mut dyn Store) {
        let ticks = self.ticks.get();
        self.ticks.set((ticks + 1) % TICKS);
        if ticks != 0 {
            return;
        }
        for ((key, known), fresh) in self.keys.iter().zip(&self.known).zip(&self.fresh) {
            let shared = update(store, key, |bytes| {
                let shared = bytes.map_or(Learnt::NOTHING, Learnt::decode);
                let merged = shared.merged(fresh.get());
                (merged, (fresh.get().samples > 0).then(|| merged.encode()))
            });
            // Where sharing fails, this worker's own knowledge stands.
            if let Some(shared) = shared.filter(|shared| shared.samples > 0) {
                known.set(shared);
                fresh.set(Learnt::NOTHING);
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
        let config = r#"{"providers": {"p": {"kind": "openai"}}, "targets": {"t": {"provider": "p", "model": "m"}},
                         "models": {"c": {"targets": ["t"]}}}"#;
        Calibration::new(&config::load(config.as_bytes(), &|_| None).unwrap())
    }

    const T: fn() -> TargetId = || TargetId::from_index(0).unwrap();

    #[test]
    fn a_factor_is_used_once_enough_is_known_and_follows_what_comes_later() {
        let calibration = calibration();
        for seen in 0..LEAST_SAMPLES {
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
    fn what_says_nothing_teaches_nothing_and_nonsense_has_bounds() {
        let calibration = calibration();
        for _ in 0..100 {
            calibration.learn(T(), LEAST_TOKENS - 1, 5_000);
            calibration.learn(T(), 1_000, 0);
        }
        assert_eq!(calibration.tokens(T(), 1_000), 1_000);
        for _ in 0..1_000 {
            calibration.learn(T(), 100, u64::MAX);
        }
        assert_eq!(calibration.tokens(T(), 1_000), 4_000);
        assert_eq!(calibration.tokens(TargetId::from_index(9).unwrap(), 7), 7, "nobody's target");
    }

    #[test]
    fn workers_learn_from_each_other_and_unreadable_records_are_none() {
        let mut shared = Memory::new();
        let (one, other) = (calibration(), calibration());
        for _ in 0..LEAST_SAMPLES {
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
            assert_eq!(Learnt::decode(bytes), Learnt::NOTHING);
        }
        let learnt = Learnt { samples: 7, millionths: 900_000 };
        assert_eq!(Learnt::decode(&learnt.encode()), learnt);
    }
}
