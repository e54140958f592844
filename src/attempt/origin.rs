//! Who made an answer: the provider, or Envoy in its place.

use memchr::memmem;

use crate::retry::Received;

/// Who made an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The provider.
    Upstream,
    /// Envoy itself: it could not reach the provider, or gave up on it.
    Envoy {
        /// Whether the provider got the request.
        received: Received,
    },
}

impl Origin {
    /// Reads it from Envoy's response code details; without any the provider is taken for the author.
    pub fn of(details: Option<&[u8]>) -> Self {
        match details {
            None | Some(b"via_upstream") => Self::Upstream,
            Some(details) if NOT_SENT.iter().any(|sign| memmem::find(details, sign.as_bytes()).is_some()) => {
                Self::Envoy { received: Received::Never }
            }
            Some(_) => Self::Envoy { received: Received::Perhaps },
        }
    }
}

/// What in Envoy's response code details says that no provider has got anything of the request.
const NOT_SENT: [&str; 9] = [
    "connection_failure",
    "connection_timeout",
    "connect_error",
    "refused_stream",
    "overflow",
    "no_healthy_upstream",
    "cluster_not_found",
    "route_not_found",
    "no_cluster",
];
