//! What a vendor's models can do, as far as the vendor alone determines it.
//!
//! A profile holds what every chat model that the vendor serves today can do, so configurations need not
//! repeat it. A target overrides it for its model. What is not certain for all models is left out, because no
//! request may be routed by a guess. Some endpoints also silently drop parameters, whatever the model
//! supports. A target cannot override that.
//!
//! Sources: the vendors' model overviews and API references, and Anthropic's page on its OpenAI-compatible
//! endpoint, which lists the parameters that it ignores.

use super::ProviderKind;
use crate::base::Endpoint;

/// A feature that a request may need and that not every target has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Capability {
    /// Calling tools.
    Tools,
    /// Obeying `parallel_tool_calls`.
    ParallelTools,
    /// Tools whose arguments are guaranteed to follow their schema.
    StrictTools,
    /// Tools that run at the provider: web search, file search, code.
    HostedTools,
    /// Output that follows a JSON schema.
    JsonSchema,
    /// Output that is any JSON object.
    JsonObject,
    /// Images in the prompt.
    Vision,
    /// Audio in the prompt.
    Audio,
    /// Spoken output.
    AudioOutput,
    /// Images in the output.
    ImageOutput,
    /// Files and videos in the prompt.
    Files,
    /// Reasoning before the answer, on request.
    Reasoning,
    /// Log probabilities of the output tokens.
    Logprobs,
    /// Obeying `seed`.
    Seed,
    /// Several choices for one request.
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

    /// The name of the target's field in configurations and of the gate in errors and records.
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
    /// The set of these capabilities.
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

    /// The capabilities that are not in `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// The capabilities that are also in `other`.
    #[must_use]
    pub const fn both(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Whether the set is empty.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// One bit for each capability in the set.
    pub const fn bits(self) -> u16 {
        self.0
    }

    /// Its capabilities, in the order of the documentation.
    pub fn iter(self) -> impl Iterator<Item = Capability> {
        Capability::ALL.into_iter().filter(move |capability| self.contains(*capability))
    }
}

/// The members of a chat request that ask for a capability, as its documentation names them.
pub const fn members(capability: Capability) -> &'static str {
    match capability {
        Capability::Tools | Capability::HostedTools => "tools",
        Capability::ParallelTools => "parallel_tool_calls",
        Capability::StrictTools => "strict",
        Capability::JsonSchema | Capability::JsonObject => "response_format",
        Capability::Vision => "image_url",
        Capability::Audio => "input_audio",
        Capability::AudioOutput | Capability::ImageOutput => "modalities",
        Capability::Files => "file",
        Capability::Reasoning => "reasoning_effort",
        Capability::Logprobs => "logprobs",
        Capability::Seed => "seed",
        Capability::N => "n",
    }
}

/// What every chat model of a vendor can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Profile {
    /// What all models can do. Some models may be able to do more.
    pub capabilities: CapabilitySet,
    /// The smallest context window (prompt and output tokens) of all models.
    pub context_window: u64,
    /// The smallest maximum of output tokens of all models.
    pub max_output_tokens: u64,
}

/// For a model about which nothing is known. Hardly any model in use accepts less, and some servers silently
/// truncate what is longer.
const UNKNOWN_CONTEXT_WINDOW: u64 = 8_192;
const UNKNOWN_MAX_OUTPUT: u64 = 4_096;

/// What every chat model at a provider of this kind can do.
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
        // Any model may be behind these.
        ProviderKind::OpenRouter | ProviderKind::OpenAiCompatible | ProviderKind::Listed(_) => Profile {
            capabilities: CapabilitySet::of(&[]),
            context_window: UNKNOWN_CONTEXT_WINDOW,
            max_output_tokens: UNKNOWN_MAX_OUTPUT,
        },
    }
}

/// What `kind` silently drops from requests for `endpoint`, whatever the model.
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
    fn kinds_that_serve_any_model_have_an_empty_profile() {
        for kind in [ProviderKind::OpenRouter, ProviderKind::OpenAiCompatible] {
            assert!(profile(kind).capabilities.is_empty());
        }
    }

    #[test]
    fn only_anthropics_chat_endpoint_drops_capabilities() {
        let dropped = dropped(ProviderKind::Anthropic, Endpoint::Chat);
        assert!(dropped.contains(Capability::JsonSchema) && dropped.contains(Capability::Seed));
        assert!(!dropped.contains(Capability::Tools) && !dropped.contains(Capability::Vision));
        assert!(super::dropped(ProviderKind::Anthropic, Endpoint::Messages).is_empty());
    }
}
