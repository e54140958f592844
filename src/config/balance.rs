//! How one of a tier's targets is chosen.

/// The rule by which a request gets one of the targets of a tier that may take it and are well.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Balance {
    /// By chance, in proportion to the weights.
    #[default]
    Weighted,
    /// Of two drawn by weight, the one with fewer attempts under way for its weight.
    LeastPending,
    /// Requests of one session go to one target.
    Sticky {
        /// What a session is known by: the first of these that the request has.
        by: Vec<SessionKey>,
    },
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
    /// The client's key.
    Key,
}

impl SessionKey {
    /// All of them, in the order in which they are asked for unless the configuration says otherwise: the client's own word
    /// first, what many conversations share last.
    pub const ALL: [Self; 4] = [Self::Session, Self::PromptCacheKey, Self::User, Self::Key];

    /// Its name in configurations.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::PromptCacheKey => "prompt_cache_key",
            Self::User => "user",
            Self::Key => "key",
        }
    }
}
