//! How one of a tier's targets is chosen.

/// The rule by which a request gets one of the targets of a tier that may take it and are well.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Balance {
    /// By chance, in proportion to the weights.
    #[default]
    Weighted,
    /// Of two drawn by weight, the one with fewer attempts under way for its weight.
    LeastPending,
    /// Of two drawn by weight, the one that is expected to answer first.
    Fastest,
    /// The one at which the request is estimated to cost least.
    Cheapest,
    /// Requests of one session go to one target.
    Sticky {
        /// What a session is known by: the first of these that the request has.
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

/// What may tell that requests belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionKey {
    /// The header `x-llm-session`.
    Session,
    /// `prompt_cache_key` in the body.
    PromptCacheKey,
    /// `user` in the body, or `metadata.user_id`.
    User,
    /// How the conversation begins: what the model is told first, up to the first turn of the user.
    Conversation,
    /// The client's key.
    Key,
}

impl SessionKey {
    /// All of them, in the order in which they are asked for unless the configuration says otherwise: the client's own word
    /// first, what many conversations share last.
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
