//! The origin of a response: the provider, or Envoy in its place.

use memchr::memmem;

use crate::retry::Received;

/// The origin of a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The provider.
    Upstream,
    /// Envoy itself: it could not reach the provider, or gave up on it.
    Envoy {
        /// Whether the provider got the request.
        received: Received,
    },
    /// Envoy itself: it does not have the cluster that the filter asked for.
    NoCluster,
}

impl Origin {
    /// Reads it from Envoy's response code details. Without details the provider counts as the origin.
    pub fn of(details: Option<&[u8]>) -> Self {
        match details {
            None | Some(b"via_upstream") => Self::Upstream,
            Some(details) if memmem::find(details, NO_CLUSTER).is_some() => Self::NoCluster,
            Some(details) if NOT_SENT.iter().any(|sign| memmem::find(details, sign.as_bytes()).is_some()) => {
                Self::Envoy { received: Received::Never }
            }
            Some(_) => Self::Envoy { received: Received::Perhaps },
        }
    }
}

/// What the host knows about where a response comes from. Each answer costs a call of the host.
pub trait Upstream {
    /// Who made the response.
    fn origin(self) -> Origin;

    /// A hash of the address of the upstream host that was asked. `None` if there was none.
    fn host(&self) -> Option<u64> {
        None
    }
}

impl<F: FnOnce() -> Origin> Upstream for F {
    fn origin(self) -> Origin {
        self()
    }
}

/// What Envoy's response code details contain if a cluster does not exist.
const NO_CLUSTER: &[u8] = b"cluster_not_found";

/// Parts of Envoy's response code details which show that no provider got any of the request.
const NOT_SENT: [&str; 8] = [
    "connection_failure",
    "connection_timeout",
    "connect_error",
    "refused_stream",
    "overflow",
    "no_healthy_upstream",
    "route_not_found",
    "no_cluster",
];
