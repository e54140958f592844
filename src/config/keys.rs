//! Keys: those of clients and operators, which are recognised, and the credentials for providers, which are sent.

use std::fmt;
use std::rc::Rc;

use super::boundaries::Boundaries;
use super::retry::Priority;
use crate::base::{MicroDollars, ModelId, WallTime};

/// A client's key.
#[derive(Debug)]
pub struct ClientKey {
    /// Its name in the configuration, in records and in metrics.
    pub name: Rc<str>,
    /// By what it is recognised.
    pub digests: Digests,
    /// From then on it is refused; `None` for never.
    pub expires: Option<WallTime>,
    /// The models that it may use; `None` for all.
    pub models: Option<Vec<ModelId>>,
    /// Which targets are allowed.
    pub boundaries: Boundaries,
    /// The highest priority that its requests may have.
    pub priority: Priority,
    /// How much it may use; `None` for no limit.
    pub budget: Option<Budget>,
    /// Names and values that are recorded with its requests, sorted by name.
    pub metadata: Vec<(String, String)>,
}

/// SHA-256 of a key, and of a second one while the key is rotated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Digests {
    /// The first one in the configuration.
    pub first: [u8; 32],
    /// The other one.
    pub second: Option<[u8; 32]>,
}

/// How much one key may use. `None` means no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Budget {
    /// Requests in any 60 seconds.
    pub requests_per_minute: Option<u64>,
    /// Input and output tokens in any 60 seconds.
    pub tokens_per_minute: Option<u64>,
    /// Input and output tokens per day (UTC).
    pub tokens_per_day: Option<u64>,
    /// Cost per day (UTC).
    pub usd_per_day: Option<MicroDollars>,
    /// The share of a limit from which on responses have a warning, in 1/1000.
    pub warn_permille: Option<u16>,
}

impl Budget {
    /// The usage of `limit` from which on responses have a warning.
    pub fn warns_at(&self, limit: u64) -> Option<u64> {
        let permille = u128::from(self.warn_permille?);
        u64::try_from(u128::from(limit) * permille / 1000).ok()
    }
}

/// An operator's key.
#[derive(Debug)]
pub struct OperatorKey {
    /// Its name in the configuration, in the log and in the list of orders.
    pub name: Rc<str>,
    /// By what it is recognised.
    pub digests: Digests,
    /// From then on it is refused; `None` for never.
    pub expires: Option<WallTime>,
}

/// A credential. It cannot be printed; only `expose` returns its text.
#[derive(Clone)]
pub struct Secret(Rc<str>);

impl Secret {
    /// Wraps a credential.
    pub fn new(text: &str) -> Self {
        Self(Rc::from(text))
    }

    /// The credential's text. Use it only for the request header that carries it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}
