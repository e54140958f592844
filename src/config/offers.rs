//! What targets offer, as the filter runs it.

use std::rc::Rc;

use crate::base::MicroDollars;
use crate::provider::CapabilitySet;

/// What a target can do and under which terms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offers {
    /// What it can do: what is declared, and what its kind of provider vouches for.
    pub capabilities: CapabilitySet,
    /// What is declared either way. Of what is in neither set nothing is known, and unknown means no.
    pub declared: CapabilitySet,
    /// Whether it streams its answers. That everybody does is taken for granted: every chat API has streams, and the models
    /// that have none say so in their refusal.
    pub streaming: bool,
    /// Tokens of prompt and answer together.
    pub context_window: TokenLimit,
    /// Tokens of one answer.
    pub max_output_tokens: TokenLimit,
    /// Where it works on data.
    pub region: Option<Rc<str>>,
    /// Whether it keeps nothing of requests and answers.
    pub zero_retention: Option<bool>,
    /// Whether it trains no model with them.
    pub training_opt_out: Option<bool>,
    /// What it costs.
    pub price: Option<Price>,
    /// How good its answers are, on the operator's own scale; more is better.
    pub quality: Option<u8>,
}

/// A bound on tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenLimit {
    /// The bound.
    pub tokens: u64,
    /// Whether it is declared, not just the least that models of the kind take.
    pub declared: bool,
}

/// Prices per million tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Price {
    /// Of the prompt.
    pub input: MicroDollars,
    /// Of the answer, thinking included.
    pub output: MicroDollars,
    /// Of what of the prompt the provider has still in its cache; as `input` where nothing else is said.
    pub cached_input: MicroDollars,
}

impl Price {
    /// What a request of this many tokens costs, with nothing of it in the provider's cache.
    pub const fn of(self, input_tokens: u64, output_tokens: u64) -> MicroDollars {
        self.input.for_tokens(input_tokens).plus(self.output.for_tokens(output_tokens))
    }

    /// The same where `cached_tokens` of the input were in the provider's cache.
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
