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
    /// Any server with OpenAI's API: vLLM, SGLang, Together, Groq, Ollama, …
    OpenAiCompatible,
}

impl ProviderKind {
    /// Every kind, in the order of the documentation.
    pub const ALL: [Self; 7] = [
        Self::OpenAi,
        Self::AzureOpenAi,
        Self::Anthropic,
        Self::Gemini,
        Self::OpenRouter,
        Self::Mistral,
        Self::OpenAiCompatible,
    ];

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
        }
    }

    /// The kind with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}
