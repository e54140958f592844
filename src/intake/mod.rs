//! The first stage: from a client's headers and body to a [`ClientRequest`], or to the reason why there is
//! none.
//!
//! Who the client is, what it asks for and how it wants to be served is read only here. This folder chooses
//! no target.

mod address;
mod at_account;
mod client_request;
mod headers;
mod held_bytes;
mod journey_id;
mod models;
mod other_paths;
mod own_routing;
mod paths;
mod reading;

pub use at_account::{may_use_resources, response_keepers};
pub use client_request::ClientRequest;
#[cfg(test)]
pub use headers::priority;
pub use headers::{
    ACCEPTED_ENCODING, CallHeaders, STRIPPED_BY_ROUTE, STRIPPING_CLUSTER_HEADER, StrippedBy, split_query,
};
pub use held_bytes::{HeldBytes, Hold};
pub use journey_id::JourneyId;
pub use other_paths::{OtherRequest, other_path, usual_dialect};
pub use own_routing::restricted_routing;
pub use paths::{Called, ClientPath, KeptResponse, OtherPath, Spelling, client_path};
pub use reading::{HeldBody, LoopPass, Reading, Understood, authenticate, translated};
