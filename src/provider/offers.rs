//! What models behind a vendor's API can do, as far as the vendor alone tells.
//!
//! A profile holds what every chat model that the vendor serves today can do, so that configurations need not repeat it; a
//! target overrides it for its model. What is not certain for all of them is left out: nobody's request is sent somewhere
//! on the strength of a guess. Apart from that some endpoints drop parameters without a word, whatever the model could do
//! with them, and no target can declare that away.
//!
//! Sources: the vendors' model overviews and API references; Anthropic's page on its OpenAI-compatible endpoint, which
//! lists the parameters that it ignores.

use super::ProviderKind;
use crate::base::Endpoint;

/// Something that a request may need and that not every target can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Capability {
    /// Calling tools.
    Tools,
    /// Obeying `parallel_tool_calls`.
    ParallelTools,
    /// Tools whose arguments follow their schema by guarantee.
    StrictTools,
    /// Tools that run at the provider: web search, file search, code.
    HostedTools,
    /// Answers that follow a JSON schema.
    JsonSchema,
    /// Answers that are some JSON object.
    JsonObject,
    /// Images in the prompt.
    Vision,
    /// Sound in the prompt.
    Audio,
    /// Answers that are spoken.
    AudioOutput,
    /// Answers that are or hold images.
    ImageOutput,
    /// Files and videos in the prompt.
    Files,
    /// Thinking before the answer, when asked to.
    Reasoning,
    /// Probabilities of the answer's tokens.
    Logprobs,
    /// Obeying `seed`.
    Seed,
    /// Several answers to one request.
    N,
}

impl Capability {
    /// Every capability, in the order of the documentation.
    pub const ALL: [Self; 15] = [
        Self::Tools,
        Self::ParallelTools,
        Self::StrictTools,
        Self::HostedTools,
        Self::JsonSchema,
        Self::JsonObject,
        Self::Vision,
        Self::Audio,
        Self::AudioOutput,
        Self::ImageOutput,
        Self::Files,
        Self::Reasoning,
        Self::Logprobs,
        Self::Seed,
        Self::N,
    ];

    /// The name of the target's field in configurations, and of the gate in refusals and records.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tools => "tools",
            Self::ParallelTools => "parallel_tools",
            Self::StrictTools => "strict_tools",
            Self::HostedTools => "hosted_tools",
            Self::JsonSchema => "json_schema",
            Self::JsonObject => "json_object",
            Self::Vision => "vision",
            Self::Audio => "audio",
            Self::AudioOutput => "audio_output",
            Self::ImageOutput => "image_output",
            Self::Files => "files",
            Self::Reasoning => "reasoning",
            Self::Logprobs => "logprobs",
            Self::Seed => "seed",
            Self::N => "n",
        }
    }
}

/// A set of capabilities.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CapabilitySet(u16);

impl CapabilitySet {
    /// The set of exactly these.
    pub const fn of(capabilities: &[Capability]) -> Self {
        let mut bits = 0;
        let mut rest = capabilities;
        while let [first, others @ ..] = rest {
            bits |= 1 << *first as u16;
            rest = others;
        }
        Self(bits)
    }

    /// Whether `capability` is in the set.
    pub const fn contains(self, capability: Capability) -> bool {
        self.0 & (1 << capability as u16) != 0
    }

    /// The set with or without `capability`.
    #[must_use]
    pub const fn with(self, capability: Capability, present: bool) -> Self {
        let bit = 1 << capability as u16;
        Self(if present { self.0 | bit } else { self.0 & !bit })
    }

    /// What is here and not in `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether nothing is in the set.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// What is in it, in the order of the documentation.
    pub fn iter(self) -> impl Iterator<Item = Capability> {
        Capability::ALL.into_iter().filter(move |capability| self.contains(*capability))
    }
}

/// What every chat model of a vendor can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Profile {
    /// What it can do; what is not here may be within some models' reach.
    pub capabilities: CapabilitySet,
    /// Tokens of prompt and answer together, that is the least of all its models.
    pub context_window: u64,
    /// Tokens of one answer, likewise.
    pub max_output_tokens: u64,
}

/// A model of which nothing is known. There is hardly one in use that takes less, and some servers cut what is longer
/// without a word.
const UNKNOWN_CONTEXT_WINDOW: u64 = 8_192;
const UNKNOWN_MAX_OUTPUT: u64 = 4_096;

/// What can be taken for granted of any chat model at a provider of this kind.
pub const fn profile(kind: ProviderKind) -> Profile {
    use Capability::{
        Files, JsonObject, JsonSchema, N, ParallelTools, Reasoning, Seed, StrictTools, Tools, Vision,
    };
    match kind {
        ProviderKind::OpenAi | ProviderKind::AzureOpenAi => Profile {
            capabilities: CapabilitySet::of(&[
                Tools,
                ParallelTools,
                StrictTools,
                JsonSchema,
                JsonObject,
                Vision,
                Seed,
                N,
            ]),
            context_window: 128_000,
            max_output_tokens: 16_384,
        },
        ProviderKind::Anthropic => Profile {
            capabilities: CapabilitySet::of(&[Tools, ParallelTools, Vision, Files, Reasoning]),
            context_window: 200_000,
            max_output_tokens: 32_000,
        },
        ProviderKind::Gemini => Profile {
            capabilities: CapabilitySet::of(&[Tools, JsonSchema, JsonObject, Vision]),
            context_window: 1_048_576,
            max_output_tokens: 8_192,
        },
        ProviderKind::Mistral => Profile {
            capabilities: CapabilitySet::of(&[Tools, ParallelTools, JsonObject, N]),
            context_window: 32_000,
            max_output_tokens: 32_000,
        },
        // Anything may be behind these.
        ProviderKind::OpenRouter | ProviderKind::OpenAiCompatible => Profile {
            capabilities: CapabilitySet::of(&[]),
            context_window: UNKNOWN_CONTEXT_WINDOW,
            max_output_tokens: UNKNOWN_MAX_OUTPUT,
        },
    }
}

/// What `kind` drops without a word from requests for `endpoint`, whatever the model.
pub const fn dropped(kind: ProviderKind, endpoint: Endpoint) -> CapabilitySet {
    use Capability::{
        Audio, AudioOutput, ImageOutput, JsonObject, JsonSchema, Logprobs, Reasoning, Seed, StrictTools,
    };
    match (kind, endpoint) {
        (ProviderKind::Anthropic, Endpoint::Chat) => CapabilitySet::of(&[
            StrictTools,
            JsonSchema,
            JsonObject,
            Audio,
            AudioOutput,
            ImageOutput,
            Reasoning,
            Logprobs,
            Seed,
        ]),
        _ => CapabilitySet::of(&[]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_capability_has_its_own_bit_and_name() {
        for capability in Capability::ALL {
            let set = CapabilitySet::of(&[capability]);
            assert_eq!(set.iter().collect::<Vec<_>>(), [capability]);
            assert!(set.with(capability, false).is_empty());
            assert!(
                Capability::ALL.iter().all(|other| *other == capability || other.name() != capability.name())
            );
        }
    }

    #[test]
    fn of_a_server_that_could_be_anything_nothing_is_taken_for_granted() {
        for kind in [ProviderKind::OpenRouter, ProviderKind::OpenAiCompatible] {
            assert!(profile(kind).capabilities.is_empty());
        }
    }

    #[test]
    fn what_an_endpoint_drops_no_model_can_bring_back() {
        let dropped = dropped(ProviderKind::Anthropic, Endpoint::Chat);
        assert!(dropped.contains(Capability::JsonSchema) && dropped.contains(Capability::Seed));
        assert!(!dropped.contains(Capability::Tools) && !dropped.contains(Capability::Vision));
        assert!(super::dropped(ProviderKind::Anthropic, Endpoint::Messages).is_empty());
    }
}
