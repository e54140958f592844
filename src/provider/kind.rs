use super::listed::Listed;

/// The vendor family of a provider. It determines the paths, the credential header, the dialects and the
/// error shapes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ProviderKind {
    /// api.openai.com
    OpenAi,
    /// Azure OpenAI, through its v1 API or through deployments with an `api-version`.
    AzureOpenAi,
    /// api.anthropic.com, in its own dialect and through its OpenAI-compatible chat endpoint.
    Anthropic,
    /// Gemini's OpenAI-compatible endpoint.
    Gemini,
    /// openrouter.ai
    OpenRouter,
    /// api.mistral.ai
    Mistral,
    /// Any server with OpenAI's API.
    OpenAiCompatible,
    /// A vendor or a server with OpenAI's API of which more is known: Groq, vLLM, …
    Listed(Listed),
}

/// The kinds that have rules of their own.
const OWN: [ProviderKind; 7] = [
    ProviderKind::OpenAi,
    ProviderKind::AzureOpenAi,
    ProviderKind::Anthropic,
    ProviderKind::Gemini,
    ProviderKind::OpenRouter,
    ProviderKind::Mistral,
    ProviderKind::OpenAiCompatible,
];

impl ProviderKind {
    /// Every kind, in the order of the documentation.
    pub const ALL: [Self; OWN.len() + Listed::COUNT] = all();

    /// The name used in configurations.
    pub const fn name(self) -> &'static str {
        match self {
            Self::OpenAi => "openai",
            Self::AzureOpenAi => "azure-openai",
            Self::Anthropic => "anthropic",
            Self::Gemini => "gemini",
            Self::OpenRouter => "openrouter",
            Self::Mistral => "mistral",
            Self::OpenAiCompatible => "openai-compatible",
            Self::Listed(listed) => listed.row().name,
        }
    }

    /// The name in telemetry: `gen_ai.provider.name`. The conventions permit custom names.
    pub const fn gen_ai_name(self) -> &'static str {
        match self {
            Self::OpenAi => "openai",
            Self::AzureOpenAi => "azure.ai.openai",
            Self::Anthropic => "anthropic",
            Self::Gemini => "gcp.gemini",
            Self::OpenRouter => "openrouter",
            Self::Mistral => "mistral_ai",
            Self::OpenAiCompatible => "openai_compatible",
            Self::Listed(listed) => listed.row().gen_ai_name,
        }
    }

    /// The kind whose rules hold unless a row says otherwise.
    #[must_use]
    pub const fn general(self) -> Self {
        match self {
            Self::Listed(_) => Self::OpenAiCompatible,
            kind => kind,
        }
    }

    /// The kind with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

#[allow(clippy::indexing_slicing)]
const fn all() -> [ProviderKind; OWN.len() + Listed::COUNT] {
    let mut all = [ProviderKind::OpenAiCompatible; OWN.len() + Listed::COUNT];
    let mut at = 0;
    while at < OWN.len() {
        all[at] = OWN[at];
        at += 1;
    }
    while at < all.len() {
        all[at] = ProviderKind::Listed(Listed::at(at - OWN.len()));
        at += 1;
    }
    all
}
