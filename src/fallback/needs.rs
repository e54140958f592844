use super::calibration::Calibration;
use super::estimate::PromptSize;
use crate::base::{Endpoint, TargetId, Tokens};
use crate::provider::{Capability, CapabilitySet};
use crate::request::{Facts, OutputFormat, Reasoning, StateSet};

/// The answer's tokens, where the request does not limit them.
const USUAL_OUTPUT_TOKENS: u64 = 1024;

/// What a request needs of whoever answers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Needs {
    /// The endpoint that was called, and with it the dialect.
    pub endpoint: Endpoint,
    /// What the target must be able to do.
    pub capabilities: CapabilitySet,
    /// Whether it asks for a stream.
    pub streamed: bool,
    /// How large the prompt is.
    pub size: PromptSize,
    /// The longest answer that it asks for, in tokens.
    pub asked_output: Option<u64>,
    /// How many answers it asks for; at least one.
    pub answers: u64,
    /// What it refers to that lives at one account.
    pub state: StateSet,
    /// Whether it holds thinking that only one provider can read.
    pub sealed_reasoning: bool,
}

impl Needs {
    /// What follows from the facts about a body that was sent to `endpoint`.
    pub fn of(facts: &Facts, endpoint: Endpoint) -> Self {
        let tools = &facts.tools;
        let has_tools = tools.count > 0 || tools.legacy_functions;
        // A format that is not known here is at least as strict as the strictest that is.
        let schema = matches!(facts.output, OutputFormat::JsonSchema | OutputFormat::Other);
        let capabilities = [
            (Capability::Tools, has_tools),
            // Without tools it says nothing.
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
        let needed = |set: CapabilitySet, (capability, needed)| set.with(capability, needed);
        Self {
            endpoint,
            capabilities: capabilities.into_iter().fold(CapabilitySet::default(), needed),
            streamed: facts.stream,
            size: PromptSize::of(facts),
            asked_output: facts.max_output_tokens,
            answers: facts.n.unwrap_or(1).max(1),
            state: facts.state,
            sealed_reasoning: facts.sealed_reasoning,
        }
    }

    /// The tokens that it is expected to take at `target`, without any margin: of the prompt as far as is known how the
    /// target counts, of the answer as many as it may have.
    pub fn expected(&self, target: TargetId, estimates: Option<&Calibration>) -> Tokens {
        let size = self.size.tokens();
        let input = estimates.map_or(size, |estimates| estimates.tokens(target, size));
        let output = match self.endpoint {
            Endpoint::Embeddings => 0,
            _ => self.asked_output.unwrap_or(USUAL_OUTPUT_TOKENS).saturating_mul(self.answers),
        };
        Tokens { input, output }
    }
}
