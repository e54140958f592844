//! What can be known about a model.

use crate::base::MicroDollars;
use crate::provider::CapabilitySet;

/// What is known about a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Facts {
    /// The capabilities about which something is known.
    pub known: CapabilitySet,
    /// Those of them that the model has.
    pub capabilities: CapabilitySet,
    /// Prompt and output tokens together.
    pub context_window: Option<u64>,
    /// Output tokens of one response.
    pub max_output_tokens: Option<u64>,
    /// Its list price.
    pub price: Option<ListPrice>,
}

/// List prices per million tokens of text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListPrice {
    /// For prompt tokens.
    pub input: MicroDollars,
    /// For prompt tokens from the provider's cache.
    pub cached_input: MicroDollars,
    /// For output tokens.
    pub output: MicroDollars,
    /// A request with more prompt tokens costs more than these prices.
    pub dearer_above: Option<u64>,
}
