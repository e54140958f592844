//! How a target of a tier is chosen.

/// The strategy by which a request gets one of a tier's eligible and healthy targets.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Balance {
    /// At random, in proportion to the weights.
    #[default]
    Weighted,
    /// Of two drawn by weight, the one with fewer pending attempts relative to its weight.
    LeastPending,
    /// Of two drawn by weight, the one that is expected to respond first.
    Fastest,
    /// The one with the lowest estimated cost of the request.
    Cheapest,
    /// The same target for all requests of a session.
    Sticky {
        /// What identifies a session: the first of these that the request has.
        by: Vec<SessionKey>,
    },
}

impl Balance {
    /// Its name in configurations and records.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Weighted => "weighted",
            Self::LeastPending => "least_pending",
            Self::Fastest => "fastest",
            Self::Cheapest => "cheapest",
            Self::Sticky { .. } => "sticky",
        }
    }
}

/// What can identify a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionKey {
    /// The header `x-llm-session`.
    Session,
    /// `prompt_cache_key` in the body.
    PromptCacheKey,
    /// `user` in the body, or `metadata.user_id`.
    User,
    /// The beginning of the conversation, up to the user's first turn.
    Conversation,
    /// The client's key.
    Key,
}

impl SessionKey {
    /// All of them, in the default order: explicit identifiers first, those that many conversations share
    /// last.
    pub const ALL: [Self; 5] =
        [Self::Session, Self::PromptCacheKey, Self::User, Self::Conversation, Self::Key];

    /// Its name in configurations.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::PromptCacheKey => "prompt_cache_key",
            Self::User => "user",
            Self::Conversation => "conversation",
            Self::Key => "key",
        }
    }
}
