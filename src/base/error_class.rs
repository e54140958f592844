/// What kind of failure an attempt ended with. Policies, metrics and records speak of exactly these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorClass {
    /// No answer: connection refused, reset or lost, no healthy host.
    Transport,
    /// The provider or a proxy before it gave up waiting.
    Timeout,
    /// The provider says it has no capacity now.
    Overloaded,
    /// The provider failed by its own account.
    Server,
    /// Too many requests or tokens per time for this account and model.
    RateLimited,
    /// The account's money or long-term allowance is used up.
    QuotaExhausted,
    /// The account's credential is not accepted.
    Auth,
    /// The account may not do this.
    Permission,
    /// The provider does not know the model or the path.
    NotFound,
    /// The request is wrong and would be wrong anywhere.
    Invalid,
    /// The request is larger than the provider takes.
    TooLarge,
    /// The prompt does not fit the model's context window.
    ContextLength,
    /// The provider declines the content.
    ContentPolicy,
    /// The client went away.
    ClientAbort,
    /// A stream ended without its dialect's terminal event.
    StreamTruncated,
    /// A stream carried an error event.
    StreamError,
    /// A stream went silent.
    StreamStalled,
}

impl ErrorClass {
    /// Every class, in the order of the documentation.
    pub const ALL: [Self; 17] = [
        Self::Transport,
        Self::Timeout,
        Self::Overloaded,
        Self::Server,
        Self::RateLimited,
        Self::QuotaExhausted,
        Self::Auth,
        Self::Permission,
        Self::NotFound,
        Self::Invalid,
        Self::TooLarge,
        Self::ContextLength,
        Self::ContentPolicy,
        Self::ClientAbort,
        Self::StreamTruncated,
        Self::StreamError,
        Self::StreamStalled,
    ];

    /// The name used in configurations, headers, metrics and records.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Transport => "transport",
            Self::Timeout => "timeout",
            Self::Overloaded => "overloaded",
            Self::Server => "server",
            Self::RateLimited => "rate_limited",
            Self::QuotaExhausted => "quota_exhausted",
            Self::Auth => "auth",
            Self::Permission => "permission",
            Self::NotFound => "not_found",
            Self::Invalid => "invalid",
            Self::TooLarge => "too_large",
            Self::ContextLength => "context_length",
            Self::ContentPolicy => "content_policy",
            Self::ClientAbort => "client_abort",
            Self::StreamTruncated => "stream_truncated",
            Self::StreamError => "stream_error",
            Self::StreamStalled => "stream_stalled",
        }
    }

    /// The class with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.name() == name)
    }
}

/// A set of failure classes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ClassSet(u32);

impl ClassSet {
    /// The set of exactly these.
    pub fn of(classes: &[ErrorClass]) -> Self {
        Self(classes.iter().fold(0, |bits, class| bits | 1 << *class as u32))
    }

    /// Whether `class` is in the set.
    pub const fn contains(self, class: ErrorClass) -> bool {
        self.0 & (1 << class as u32) != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_leads_back_to_its_class() {
        for class in ErrorClass::ALL {
            assert_eq!(ErrorClass::from_name(class.name()), Some(class));
        }
    }

    #[test]
    fn a_set_holds_what_was_put_in_and_nothing_else() {
        let set = ClassSet::of(&[ErrorClass::Server, ErrorClass::StreamStalled]);
        let held: Vec<_> = ErrorClass::ALL.into_iter().filter(|class| set.contains(*class)).collect();
        assert_eq!(held, [ErrorClass::Server, ErrorClass::StreamStalled]);
    }
}
