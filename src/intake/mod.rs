//! The first stage: from a client's headers and body to a [`ClientRequest`], or to the reason why there is none.
//!
//! What a client may say about its request, who it is and what it asks for is read here and nowhere later. This folder
//! does not choose: it does not know which targets exist.

mod client_request;
mod headers;
mod journey_id;
mod models;
mod other_paths;
mod reading;

pub use client_request::ClientRequest;
#[cfg(test)]
pub use headers::priority;
pub use headers::{CLUSTER_HEADER, CallHeaders, strip_private};
pub use journey_id::JourneyId;
pub use other_paths::{OtherRequest, other_path};
pub use reading::{HeldBody, LoopPass, Reading, Understood, authenticate};
