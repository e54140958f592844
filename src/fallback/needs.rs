//! What a request needs of a target, from the facts about its body.

use super::calibration::Calibration;
use super::estimate::PromptSize;
use crate::base::{Endpoint, EndpointFamily, KnownOwner, TargetId, Tokens, saturating_product};
use crate::provider::{Capability, CapabilitySet};
use crate::request::{Facts, OutputFormat, Reasoning, StateSet};
use crate::translate::{Losses, Translation};

/// Tokens expected of a response whose length the request does not limit.
const USUAL_OUTPUT_TOKENS: u64 = 1024;

/// What a request needs of the target that serves it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Needs {
    /// The endpoint that was called, which determines the dialect.
    pub endpoint: Endpoint,
    /// Required capabilities of the target.
    pub capabilities: CapabilitySet,
    /// Whether the response is to be streamed.
    pub streamed: bool,
    /// Size of the prompt.
    pub size: PromptSize,
    /// The longest response requested, in tokens.
    pub asked_output: Option<u64>,
    /// Number of responses requested; at least one.
    pub answers: u64,
    /// State at one account that the request refers to.
    pub state: StateSet,
    /// Whether it contains reasoning that only one provider can read.
    pub sealed_reasoning: bool,
    /// Whether it contains reasoning that only one account can read.
    pub encrypted: Encrypted,
    /// Who owns the state that it refers to, if that is known.
    pub owner: Option<KnownOwner>,
    /// What it would lose in a translation.
    pub translated: Translated,
}

/// What a request would lose in each translation. It is known only if a target of its model needs one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Translated {
    chat: Option<Losses>,
    messages: Option<Losses>,
    /// Every translation is possible, and no target that translates minds what it loses.
    is_harmless: bool,
}

impl Translated {
    /// What the request loses at each way, as `losses_of` tells. `None` means that it cannot be translated.
    pub fn of(endpoint: Endpoint, losses_of: impl Fn(Translation) -> Option<Losses>) -> Self {
        let of = |to| Some(losses_of(Translation::between(endpoint, to)?));
        let (chat, messages) = (of(Endpoint::Chat), of(Endpoint::Messages));
        let harmless = |losses: Losses| losses.without(Losses::ALWAYS_ALLOWED).is_empty();
        let is_harmless = [chat, messages].into_iter().flatten().all(|losses| losses.is_some_and(harmless));
        Self { chat: chat.flatten(), messages: messages.flatten(), is_harmless }
    }

    /// A request of which nothing is known but that it could be translated without a loss.
    pub fn whole(endpoint: Endpoint) -> Self {
        Self::of(endpoint, |_| Some(Losses::default()))
    }

    /// A request that loses all that can be lost.
    pub(super) const ALL: Self =
        Self { chat: Some(Losses::ALL), messages: Some(Losses::ALL), is_harmless: false };

    /// What is lost at this way; `None` if there is no translation.
    pub const fn losses(self, way: Translation) -> Option<Losses> {
        match way.to() {
            Endpoint::Messages => self.messages,
            _ => self.chat,
        }
    }

    /// Whether every translation is possible, with losses that are allowed wherever translation is.
    pub(super) const fn is_harmless(self) -> bool {
        self.is_harmless
    }
}

/// Encrypted reasoning in a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encrypted {
    /// It has none.
    No,
    /// It has some, which can be removed.
    Removable,
    /// It has some that cannot be removed.
    Stuck,
}

impl Needs {
    /// The needs that follow from the facts about a body sent to `endpoint`.
    pub fn of(facts: &Facts, endpoint: Endpoint) -> Self {
        let tools = &facts.tools;
        let has_tools = tools.count > 0 || tools.legacy_functions;
        // An unknown format is at least as strict as the strictest known one.
        let schema = matches!(facts.output, OutputFormat::JsonSchema | OutputFormat::Other);
        let capabilities = [
            (Capability::Tools, has_tools),
            // The member has no effect without tools.
            (Capability::ParallelTools, has_tools && tools.parallel.is_some()),
            (Capability::StrictTools, tools.strict),
            (Capability::HostedTools, tools.hosted),
            (Capability::JsonSchema, schema),
            (Capability::JsonObject, facts.output == OutputFormat::JsonObject),
            (Capability::Vision, facts.media.images > 0),
            (Capability::Audio, facts.media.audio > 0),
            (Capability::AudioOutput, facts.audio_output),
            (Capability::ImageOutput, facts.image_output),
            (Capability::Files, facts.media.files > 0),
            (Capability::Reasoning, facts.reasoning == Reasoning::Asked),
            (Capability::Logprobs, facts.logprobs),
            (Capability::Seed, facts.seed),
            (Capability::N, facts.n.is_some_and(|n| n > 1)),
        ];
        let references = facts.references.as_deref();
        // Elsewhere members of the same names mean other things: the format of a sound, the number of images.
        let matters = endpoint.takes_prompt() || endpoint == Endpoint::Embeddings;
        let needed = |set: CapabilitySet, (capability, needed)| set.with(capability, needed && matters);
        Self {
            endpoint,
            capabilities: capabilities.into_iter().fold(CapabilitySet::default(), needed),
            streamed: facts.stream,
            size: PromptSize::of(facts),
            asked_output: facts.max_output_tokens,
            answers: facts.n.unwrap_or(1).max(1),
            state: facts.state,
            sealed_reasoning: references.map_or(facts.sealed_reasoning, |references| references.signed),
            encrypted: match references {
                Some(references) if references.encrypted => match references.removable() {
                    Some(_) => Encrypted::Removable,
                    None => Encrypted::Stuck,
                },
                _ => Encrypted::No,
            },
            owner: None,
            translated: Translated::default(),
        }
    }

    /// The tokens expected at `target`, without a margin: the calibrated estimate of the prompt, and the
    /// longest permitted response.
    pub fn expected(&self, target: TargetId, estimates: Option<&Calibration>) -> Tokens {
        if !self.endpoint.runs_model() {
            return Tokens::default();
        }
        let size = self.size.tokens();
        let input = estimates.map_or(size, |estimates| estimates.tokens(target, size));
        Tokens { input, output: self.expected_output() }
    }

    /// The longest permitted response in tokens, the same at every target.
    pub fn expected_output(&self) -> u64 {
        match self.endpoint.family() {
            EndpointFamily::Generation => {
                saturating_product(self.asked_output.unwrap_or(USUAL_OUTPUT_TOKENS), self.answers)
            }
            _ => 0,
        }
    }
}
