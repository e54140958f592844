//! The capabilities and terms of targets.

use std::rc::Rc;

use crate::base::MicroDollars;
use crate::provider::{Capability, CapabilitySet};

/// The capabilities and terms of a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offers {
    /// The capabilities that it has: declared, from the model catalogue, or from the profile of its provider kind,
    /// in this order.
    pub capabilities: CapabilitySet,
    /// The capabilities that are declared, as true or as false.
    pub declared: CapabilitySet,
    /// The other capabilities about which the model catalogue knows something. One that is neither declared nor
    /// here is unknown.
    pub catalogued: CapabilitySet,
    /// Whether it can stream, if that is declared.
    pub streaming: Option<bool>,
    /// Prompt and output tokens together.
    pub context_window: TokenLimit,
    /// Output tokens of one response.
    pub max_output_tokens: TokenLimit,
    /// The region where it processes data.
    pub region: Option<Rc<str>>,
    /// Whether it retains no data of requests and responses.
    pub zero_retention: Option<bool>,
    /// Whether it does not train models on them.
    pub training_opt_out: Option<bool>,
    /// Its price.
    pub price: Option<Price>,
    /// Its quality on the operator's own scale; higher is better.
    pub quality: Option<u8>,
}

impl Offers {
    /// Whether it has `capability`; `None` if neither the operator nor the model catalogue says so.
    pub fn knows(&self, capability: Capability) -> Option<bool> {
        let is_known = self.declared.contains(capability) || self.catalogued.contains(capability);
        is_known.then(|| self.capabilities.contains(capability))
    }

    /// Whether its model may think before it answers: unless it is known not to.
    pub fn may_reason(&self) -> bool {
        self.knows(Capability::Reasoning) != Some(false)
    }
}

/// A limit on tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenLimit {
    /// The limit.
    pub tokens: u64,
    /// Where it comes from.
    pub source: Source,
}

/// Where a fact about a target comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The operator wrote it.
    Declared,
    /// The model catalogue has it.
    Catalogue,
    /// Nobody knows it. It is the least that any model of the provider kind has.
    Assumed,
}

impl Source {
    /// Whether it is more than an assumption.
    pub const fn is_known(self) -> bool {
        !matches!(self, Self::Assumed)
    }
}

/// Prices per million tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Price {
    /// For prompt tokens.
    pub input: MicroDollars,
    /// For output tokens, including reasoning.
    pub output: MicroDollars,
    /// For prompt tokens from the provider's cache. The default is `input`.
    pub cached_input: MicroDollars,
    /// Where they come from.
    pub source: Source,
}

impl Price {
    /// The cost of a request without cached tokens.
    pub const fn of(self, input_tokens: u64, output_tokens: u64) -> MicroDollars {
        self.input.for_tokens(input_tokens).plus(self.output.for_tokens(output_tokens))
    }

    /// The cost of a request of which `cached_tokens` of the input come from the provider's cache.
    pub const fn with_cached(
        self,
        input_tokens: u64,
        cached_tokens: u64,
        output_tokens: u64,
    ) -> MicroDollars {
        let fresh = input_tokens.saturating_sub(cached_tokens);
        self.of(fresh, output_tokens).plus(self.cached_input.for_tokens(cached_tokens))
    }
}
