/// The family of wire formats of a request, its response and its errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// OpenAI's: `{"error":{"message","type","param","code"}}`.
    OpenAi,
    /// Anthropic's: `{"type":"error","error":{"type","message"}}`.
    Anthropic,
}

/// An operation that the filter understands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// `POST /v1/chat/completions`
    Chat,
    /// `POST /v1/completions`
    Completions,
    /// `POST /v1/embeddings`
    Embeddings,
    /// `POST /v1/responses`
    Responses,
    /// `POST /v1/messages`
    Messages,
    /// `POST /v1/messages/count_tokens`
    CountTokens,
    /// `POST /v1/moderations`
    Moderations,
    /// `POST /v1/rerank`
    Rerank,
    /// `POST /v1/images/generations`
    Images,
    /// `POST /v1/audio/speech`
    Speech,
}

/// What is fixed about an endpoint.
struct Row {
    name: &'static str,
    client_path: &'static str,
    family: EndpointFamily,
    dialect: Dialect,
}

impl Row {
    const fn openai(name: &'static str, client_path: &'static str, family: EndpointFamily) -> Self {
        Self { name, client_path, family, dialect: Dialect::OpenAi }
    }

    const fn anthropic(name: &'static str, client_path: &'static str, family: EndpointFamily) -> Self {
        Self { name, client_path, family, dialect: Dialect::Anthropic }
    }
}

impl Endpoint {
    /// How many there are.
    pub const COUNT: usize = 10;

    /// Every endpoint, in the order of the documentation.
    pub const ALL: [Self; Self::COUNT] = [
        Self::Chat,
        Self::Completions,
        Self::Embeddings,
        Self::Responses,
        Self::Messages,
        Self::CountTokens,
        Self::Moderations,
        Self::Rerank,
        Self::Images,
        Self::Speech,
    ];

    const fn row(self) -> Row {
        use EndpointFamily::{Audio, Counting, Embeddings, Generation, Images, Moderation, Ranking};
        match self {
            Self::Chat => Row::openai("chat", "/v1/chat/completions", Generation),
            Self::Completions => Row::openai("completions", "/v1/completions", Generation),
            Self::Embeddings => Row::openai("embeddings", "/v1/embeddings", Embeddings),
            Self::Responses => Row::openai("responses", "/v1/responses", Generation),
            Self::Messages => Row::anthropic("messages", "/v1/messages", Generation),
            Self::CountTokens => Row::anthropic("count_tokens", "/v1/messages/count_tokens", Counting),
            Self::Moderations => Row::openai("moderations", "/v1/moderations", Moderation),
            Self::Rerank => Row::openai("rerank", "/v1/rerank", Ranking),
            Self::Images => Row::openai("images", "/v1/images/generations", Images),
            Self::Speech => Row::openai("speech", "/v1/audio/speech", Audio),
        }
    }

    /// The endpoint at the client path `path` (without its query).
    pub fn of_path(path: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|endpoint| endpoint.client_path() == path)
    }

    /// The path that clients call.
    pub const fn client_path(self) -> &'static str {
        self.row().client_path
    }

    /// Its path without the version: what comes after the prefix of a vendor.
    pub fn operation(self) -> &'static str {
        let path = self.client_path();
        path.strip_prefix("/v1").unwrap_or(path)
    }

    /// Its name in configurations, metrics and records.
    pub const fn name(self) -> &'static str {
        self.row().name
    }

    /// The family that it belongs to.
    pub const fn family(self) -> EndpointFamily {
        self.row().family
    }

    /// The endpoint with this configuration name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|endpoint| endpoint.name() == name)
    }

    /// The dialect of this endpoint's clients.
    pub const fn dialect(self) -> Dialect {
        self.row().dialect
    }

    /// Whether its requests are conversations or prompts for a language model, to which the gates of
    /// capabilities apply.
    pub const fn takes_prompt(self) -> bool {
        matches!(self.family(), EndpointFamily::Generation | EndpointFamily::Counting)
    }

    /// Whether its requests are work for the model. Tokens are counted beside the model, for nothing, and within a
    /// limit of their own.
    pub const fn runs_model(self) -> bool {
        !matches!(self, Self::CountTokens)
    }

    /// Whether its answers may be bytes that are no text.
    pub const fn answers_with_bytes(self) -> bool {
        matches!(self, Self::Speech)
    }
}

/// Endpoints that usually fail together: one family may be down at a provider that serves the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EndpointFamily {
    /// Everything that generates text.
    Generation,
    /// Embeddings.
    Embeddings,
    /// Counting the tokens of a prompt. It has a rate limit of its own.
    Counting,
    /// Judging whether content is allowed.
    Moderation,
    /// Ordering documents by their relevance.
    Ranking,
    /// Generating images.
    Images,
    /// Spoken language.
    Audio,
}

impl EndpointFamily {
    /// How many there are.
    pub const COUNT: usize = 7;

    /// Every family.
    pub const ALL: [Self; Self::COUNT] = [
        Self::Generation,
        Self::Embeddings,
        Self::Counting,
        Self::Moderation,
        Self::Ranking,
        Self::Images,
        Self::Audio,
    ];

    /// The name used in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Generation => "generation",
            Self::Embeddings => "embeddings",
            Self::Counting => "counting",
            Self::Moderation => "moderation",
            Self::Ranking => "ranking",
            Self::Images => "images",
            Self::Audio => "audio",
        }
    }
}

/// A set of endpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EndpointSet(u16);

impl EndpointSet {
    /// The set of these endpoints.
    pub fn of(endpoints: &[Endpoint]) -> Self {
        Self(endpoints.iter().fold(0, |bits, endpoint| bits | 1 << *endpoint as u8))
    }

    /// Whether `endpoint` is in the set.
    pub const fn contains(self, endpoint: Endpoint) -> bool {
        self.0 & (1 << endpoint as u8) != 0
    }
}
