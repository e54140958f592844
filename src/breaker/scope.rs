//! What has breakers.

use crate::base::{AccountId, EndpointFamily, ProviderId, TargetId};

/// A scope: what operators see and give orders to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    /// One model through one account.
    Target(TargetId),
    /// One credential.
    Account(AccountId),
    /// One API host.
    Endpoint(ProviderId),
}

/// One breaker. A target and an endpoint have one for each family of endpoints, because embeddings may fail
/// where chat works. An account has one: money and credentials are the same for all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Breaker {
    pub(super) scope: Scope,
    pub(super) family: EndpointFamily,
}

impl Breaker {
    /// The breaker of a scope for requests to this family.
    pub const fn new(scope: Scope, family: EndpointFamily) -> Self {
        let family = match scope {
            Scope::Account(_) => EndpointFamily::Generation,
            Scope::Target(_) | Scope::Endpoint(_) => family,
        };
        Self { scope, family }
    }

    /// The breakers of a scope.
    pub fn all(scope: Scope) -> impl Iterator<Item = Self> {
        let families: &[_] = match scope {
            Scope::Account(_) => &[EndpointFamily::Generation],
            Scope::Target(_) | Scope::Endpoint(_) => &EndpointFamily::ALL,
        };
        families.iter().map(move |family| Self::new(scope, *family))
    }

    /// The family of endpoints that it is for.
    pub const fn family(self) -> EndpointFamily {
        self.family
    }

    /// Its scope.
    pub const fn scope(self) -> Scope {
        self.scope
    }
}

/// The breaker for generation.
impl From<Scope> for Breaker {
    fn from(scope: Scope) -> Self {
        Self::new(scope, EndpointFamily::Generation)
    }
}
