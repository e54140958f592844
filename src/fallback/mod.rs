//! Boundaries: may this target take this request, and if not, why?
//!
//! Every gate fails closed. The first choice passes the same gates as the last. Whether a target is well is not asked
//! here (`breaker`), nor which of several is best (`balance`).

use crate::base::Endpoint;
use crate::config::Provider;

/// A reason why a target may not take a request. Names are stable: they show in refusals and records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gate {
    /// The provider does not speak the endpoint that was called.
    Dialect,
}

impl Gate {
    /// The name shown to clients and operators.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Dialect => "dialect",
        }
    }
}

/// Whether a target at `provider` may take a request for `endpoint`.
pub const fn admit(provider: &Provider, endpoint: Endpoint) -> Result<(), Gate> {
    if provider.endpoints.contains(endpoint) { Ok(()) } else { Err(Gate::Dialect) }
}
