//! How much one failure counts, and whose it is.
//!
//! A request may crash every server that it is sent to. So a failure can be counted in two halves: one at
//! once, the other when it is clear that the request was not the cause. The breaker does not decide that. It
//! hands out an [`OwedHalf`], which is paid or dropped by whoever knows the request.

use super::keys::Keys;
use super::scope::Breaker;
use crate::base::ErrorClass;

/// How much of a failure counts now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Share {
    /// All of it.
    #[default]
    Whole,
    /// One half. The other half is owed.
    Half,
}

impl Share {
    pub(super) const fn halves(self) -> u16 {
        match self {
            Self::Whole => 2,
            Self::Half => 1,
        }
    }
}

/// Whose request a result belongs to, and how much it counts if it is a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Witness {
    /// The client key.
    pub key: Keys,
    /// The host of the provider's cluster that had it, if it is known.
    pub host: Keys,
    /// How much a failure counts.
    pub share: Share,
}

/// The failures since the last success.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Run {
    pub(super) halves: u16,
    /// Whose failures.
    pub(super) keys: Keys,
    /// At which hosts.
    pub(super) hosts: Keys,
    /// Distinguishes it from earlier runs.
    pub(super) number: u16,
}

impl Run {
    const NONE: Self = Self { halves: 0, keys: Keys::NONE, hosts: Keys::NONE, number: 0 };

    pub(super) fn add(&mut self, by: Witness) {
        self.keys = self.keys.and(by.key);
        self.hosts = self.hosts.and(by.host.or_several());
        self.halves = self.halves.saturating_add(by.share.halves());
    }

    pub(super) const fn end(&mut self) {
        if self.halves > 0 {
            *self = Self { number: self.number.wrapping_add(1), ..Self::NONE };
        }
    }
}

/// The second half of a failure that was counted as half.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SecondHalf {
    pub(super) generation: u32,
    pub(super) run: u16,
    pub(super) class: ErrorClass,
    pub(super) key: Keys,
    pub(super) host: Keys,
}

/// The second half of a failure, and the breaker that it is owed to. It is paid at most once.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "it is paid, or dropped if the request is to blame"]
pub struct OwedHalf {
    pub(super) breaker: Breaker,
    pub(super) half: SecondHalf,
}
