//! The folder of a gateway in an Envoy that a control plane configures.
//!
//! `parts` takes the listeners, clusters and the filter out of the Envoy file, so that everything said there holds here, too.

pub mod envoy_gateway;
pub mod istio;
mod parts;
