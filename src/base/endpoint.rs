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
}

impl Endpoint {
    /// Every endpoint, in the order of the documentation.
    pub const ALL: [Self; 5] =
        [Self::Chat, Self::Completions, Self::Embeddings, Self::Responses, Self::Messages];

    /// The endpoint at the client path `path` (without its query).
    pub fn of_path(path: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|endpoint| endpoint.client_path() == path)
    }

    /// The path that clients call.
    pub const fn client_path(self) -> &'static str {
        match self {
            Self::Chat => "/v1/chat/completions",
            Self::Completions => "/v1/completions",
            Self::Embeddings => "/v1/embeddings",
            Self::Responses => "/v1/responses",
            Self::Messages => "/v1/messages",
        }
    }

    /// Its name in configurations, metrics and records.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Completions => "completions",
            Self::Embeddings => "embeddings",
            Self::Responses => "responses",
            Self::Messages => "messages",
        }
    }

    /// The family that it belongs to.
    pub const fn family(self) -> EndpointFamily {
        match self {
            Self::Embeddings => EndpointFamily::Embeddings,
            Self::Chat | Self::Completions | Self::Responses | Self::Messages => EndpointFamily::Generation,
        }
    }

    /// The endpoint with this configuration name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|endpoint| endpoint.name() == name)
    }

    /// The dialect of this endpoint's clients.
    pub const fn dialect(self) -> Dialect {
        match self {
            Self::Messages => Dialect::Anthropic,
            Self::Chat | Self::Completions | Self::Embeddings | Self::Responses => Dialect::OpenAi,
        }
    }
}

/// Endpoints that usually fail together: one family may be down at a provider that serves the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EndpointFamily {
    /// Everything that generates text.
    Generation,
    /// Embeddings.
    Embeddings,
}

impl EndpointFamily {
    /// Every family.
    pub const ALL: [Self; 2] = [Self::Generation, Self::Embeddings];

    /// The name used in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Generation => "generation",
            Self::Embeddings => "embeddings",
        }
    }
}

/// A set of endpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EndpointSet(u8);

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
