/// The kind of failure that an attempt ended with. Policies, metrics and records use these classes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorClass {
    /// No response: connection refused, reset or lost, no healthy host.
    Transport,
    /// The provider, or a proxy in front of it, timed out.
    Timeout,
    /// The provider has no capacity at the moment.
    Overloaded,
    /// The provider reports an error of its own.
    Server,
    /// Too many requests or tokens per time unit for this account and model.
    RateLimited,
    /// The account's money or long-term allowance is used up.
    QuotaExhausted,
    /// The account's credential is rejected, or the account is suspended.
    Auth,
    /// The account lacks the permission.
    Permission,
    /// The provider does not know the model or the path.
    NotFound,
    /// The request is invalid at any provider.
    Invalid,
    /// The request is larger than the provider allows.
    TooLarge,
    /// The prompt does not fit into the model's context window.
    ContextLength,
    /// The provider rejects the content.
    ContentPolicy,
    /// The client closed the connection.
    ClientAbort,
    /// A stream ended without its dialect's terminal event.
    StreamTruncated,
    /// A stream contained an error event.
    StreamError,
    /// A stream exceeded an idle timeout.
    StreamStalled,
    /// The account's long-term allowance for this model is used up. Its other models may be asked.
    ModelQuota,
    /// This target cannot serve this request. Another target may, and this one may serve others.
    Unsuitable,
    /// The account does not know, or cannot read, something stored that the request refers to.
    StateNotFound,
    /// Another request is changing something that this one refers to.
    Conflict,
    /// A success status without an answer.
    Empty,
    /// An event of a stream, or the body of a plain response, is not JSON.
    Malformed,
    /// The provider, or a proxy in front of it, points to another address. No client may follow it.
    Redirected,
    /// Envoy closed its own connection between the edge and the filter, or reset the request there.
    HopClosed,
}

impl ErrorClass {
    /// Every class. Records of breakers hold positions in this list, so new ones are added at its end.
    pub const ALL: [Self; 25] = [
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
        Self::ModelQuota,
        Self::Unsuitable,
        Self::StateNotFound,
        Self::Conflict,
        Self::Empty,
        Self::Malformed,
        Self::Redirected,
        Self::HopClosed,
    ];

    /// Its name in configurations, headers, metrics and records.
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
            Self::ModelQuota => "model_quota",
            Self::Unsuitable => "unsuitable",
            Self::StateNotFound => "state_not_found",
            Self::Conflict => "conflict",
            Self::Empty => "empty",
            Self::Malformed => "malformed",
            Self::Redirected => "redirected",
            Self::HopClosed => "hop_closed",
        }
    }

    /// The class with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.name() == name)
    }
}

/// A set of error classes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ClassSet(u32);

impl ClassSet {
    /// The set of these classes.
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
    fn every_class_is_found_by_its_name() {
        for class in ErrorClass::ALL {
            assert_eq!(ErrorClass::from_name(class.name()), Some(class));
        }
    }

    #[test]
    fn a_set_contains_exactly_its_classes() {
        let set = ClassSet::of(&[ErrorClass::Server, ErrorClass::StreamStalled]);
        let held: Vec<_> = ErrorClass::ALL.into_iter().filter(|class| set.contains(*class)).collect();
        assert_eq!(held, [ErrorClass::Server, ErrorClass::StreamStalled]);
    }
}
