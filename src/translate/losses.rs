//! What a translation cannot carry over.

/// Something that a request has and that the provider's dialect cannot express.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Loss {
    /// Marks for the prompt cache: `cache_control`, `prompt_cache_key`, `prompt_cache_retention`.
    CacheControl,
    /// What the provider keeps beside the request: `metadata`, `user`, `safety_identifier`, names of participants.
    Metadata,
    /// Whether the provider stores the answer: `store`.
    Store,
    /// `service_tier`, `speed`, `inference_geo`.
    ServiceTier,
    /// Reasoning of earlier turns, signed, encrypted or plain. Only its maker can read it.
    PastReasoning,
    /// The form in which reasoning is shown: `include`, `reasoning.summary`, `thinking.display`.
    ReasoningDisplay,
    /// How the provider shortens the context: `context_management`, `truncation`.
    ContextManagement,
    /// `logprobs`, `top_logprobs`.
    Logprobs,
    /// `n` above one.
    N,
    /// `seed`.
    Seed,
    /// `frequency_penalty`, `presence_penalty`.
    Penalties,
    /// `logit_bias`.
    LogitBias,
    /// `top_k`.
    TopK,
    /// A temperature above the other dialect's range, which is cut to it. A temperature or `top_p` that the
    /// provider refuses, which is left out.
    Temperature,
    /// More stop sequences than the other dialect takes, or ones that it refuses.
    Stop,
    /// `reasoning_effort`, `reasoning` or `thinking`, where the other side has no such thing, refuses it beside
    /// something else that was asked for, or must not be asked for it.
    Reasoning,
    /// `verbosity`.
    Verbosity,
    /// `prediction`.
    Prediction,
    /// Any JSON object as the output (`json_object`), where only a schema can be asked for.
    JsonObject,
    /// A JSON schema for the output that the provider does not enforce.
    JsonSchema,
    /// `strict: true` of a tool of which the provider does not enforce the schema.
    StrictTools,
    /// Tools that run at the provider: web search, code, MCP servers.
    HostedTools,
    /// The grammar of a tool that takes plain text. It takes a string instead.
    ToolGrammar,
    /// A choice among some of the tools (`allowed_tools`), or one that the provider refuses.
    ToolChoice,
    /// Images in places where the other dialect takes none.
    Images,
    /// Audio in the prompt or in the answer.
    Audio,
    /// Documents and other files.
    Documents,
    /// Citations of documents.
    Citations,
    /// The flag of a tool result that says that the tool failed. The result's text stays.
    ToolError,
    /// The end of an assistant turn that the model is to go on with.
    Prefill,
    /// Conversation state that the provider holds: `previous_response_id`, `conversation`, `background`, ids
    /// of files, containers and prompts.
    State,
    /// A member or part that this filter does not know.
    Unknown,
}

impl Loss {
    /// Every loss, in the order of the documentation.
    pub const ALL: [Self; 32] = [
        Self::CacheControl,
        Self::Metadata,
        Self::Store,
        Self::ServiceTier,
        Self::PastReasoning,
        Self::ReasoningDisplay,
        Self::ContextManagement,
        Self::Logprobs,
        Self::N,
        Self::Seed,
        Self::Penalties,
        Self::LogitBias,
        Self::TopK,
        Self::Temperature,
        Self::Stop,
        Self::Reasoning,
        Self::Verbosity,
        Self::Prediction,
        Self::JsonObject,
        Self::JsonSchema,
        Self::StrictTools,
        Self::HostedTools,
        Self::ToolGrammar,
        Self::ToolChoice,
        Self::Images,
        Self::Audio,
        Self::Documents,
        Self::Citations,
        Self::ToolError,
        Self::Prefill,
        Self::State,
        Self::Unknown,
    ];

    /// Its name in configurations, refusals and records.
    pub const fn name(self) -> &'static str {
        match self {
            Self::CacheControl => "cache_control",
            Self::Metadata => "metadata",
            Self::Store => "store",
            Self::ServiceTier => "service_tier",
            Self::PastReasoning => "past_reasoning",
            Self::ReasoningDisplay => "reasoning_display",
            Self::ContextManagement => "context_management",
            Self::Logprobs => "logprobs",
            Self::N => "choices",
            Self::Seed => "seed",
            Self::Penalties => "penalties",
            Self::LogitBias => "logit_bias",
            Self::TopK => "top_k",
            Self::Temperature => "temperature",
            Self::Stop => "stop",
            Self::Reasoning => "reasoning",
            Self::Verbosity => "verbosity",
            Self::Prediction => "prediction",
            Self::JsonObject => "json_object",
            Self::JsonSchema => "json_schema",
            Self::StrictTools => "strict_tools",
            Self::HostedTools => "hosted_tools",
            Self::ToolGrammar => "tool_grammar",
            Self::ToolChoice => "tool_choice",
            Self::Images => "images",
            Self::Audio => "audio",
            Self::Documents => "documents",
            Self::Citations => "citations",
            Self::ToolError => "tool_error",
            Self::Prefill => "prefill",
            Self::State => "state",
            Self::Unknown => "unknown",
        }
    }

    /// The loss with this name.
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|loss| loss.name() == name)
    }

    /// Whether it concerns only cost or bookkeeping, so that the answer is as good without it.
    pub const fn is_minor(self) -> bool {
        matches!(
            self,
            Self::CacheControl
                | Self::Metadata
                | Self::Store
                | Self::ServiceTier
                | Self::PastReasoning
                | Self::ReasoningDisplay
                | Self::ContextManagement
                | Self::ToolError
        )
    }
}

/// A set of losses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Losses(u32);

impl Losses {
    /// Those that concern only cost or bookkeeping.
    pub const MINOR: Self = {
        let mut set = Self(0);
        let mut rest: &[Loss] = &Loss::ALL;
        while let [first, others @ ..] = rest {
            if first.is_minor() {
                set = set.with(*first);
            }
            rest = others;
        }
        set
    };

    /// Those that every target allows that translates: the minor ones, without those that `reasoning: refuse` takes out.
    pub const ALWAYS_ALLOWED: Self = Self::MINOR.without(Self(0).with(Loss::PastReasoning));

    /// All of them.
    pub const ALL: Self = Self(u32::MAX >> (32 - Loss::ALL.len()));

    /// The set with `loss`.
    #[must_use]
    pub const fn with(self, loss: Loss) -> Self {
        Self(self.0 | 1 << loss as u32)
    }

    /// Adds `loss`.
    pub const fn add(&mut self, loss: Loss) {
        *self = self.with(loss);
    }

    /// The losses of both sets.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The losses that are not in `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether `loss` is in the set.
    pub const fn contains(self, loss: Loss) -> bool {
        self.0 & (1 << loss as u32) != 0
    }

    /// Whether there is none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Its losses, in the order of the documentation.
    pub fn iter(self) -> impl Iterator<Item = Loss> {
        Loss::ALL.into_iter().filter(move |loss| self.contains(*loss))
    }
}

impl FromIterator<Loss> for Losses {
    fn from_iter<I: IntoIterator<Item = Loss>>(losses: I) -> Self {
        losses.into_iter().fold(Self::default(), Self::with)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documentation_lists_every_loss_in_order_and_says_whether_it_is_allowed() {
        let page = include_str!("../../docs/translation.md");
        let rows = page.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` | "));
        let is_loss = |(name, _): &(&str, &str)| Loss::of_name(name).is_some();
        let listed: Vec<_> =
            rows.filter(is_loss).map(|(name, rest)| (name, !rest.contains("| must be listed"))).collect();
        let losses: Vec<_> = Loss::ALL.into_iter().map(|loss| (loss.name(), loss.is_minor())).collect();
        assert_eq!(listed, losses);
    }

    #[test]
    fn every_loss_has_its_own_bit_and_name() {
        for loss in Loss::ALL {
            assert_eq!(Losses::default().with(loss).iter().collect::<Vec<_>>(), [loss]);
            assert_eq!(Loss::of_name(loss.name()), Some(loss));
        }
    }
}
