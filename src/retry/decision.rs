use std::time::Duration;

use crate::base::{ClassSet, ErrorClass, Timestamp};
use crate::config::{Backoff, Replay, RetryPolicy};

/// What follows a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Another target gets the request, at once.
    Elsewhere(Reach),
    /// The same target gets it again at this moment.
    Again {
        /// When.
        at: Timestamp,
    },
    /// Nobody may be asked now; the first that may be is asked when it is free.
    Wait {
        /// The earliest moment at which somebody is.
        until: Timestamp,
    },
    /// The client gets this failure.
    Stop(Stop),
}

/// How far away the other target is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Another account of the same tier.
    Account,
    /// Another tier.
    Tier,
}

/// Why a failure went to the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// The model's policy does not go on after this class: the answer passes through.
    Policy,
    /// There is no retry loop to attempt anything again in.
    NoRetryLoop,
    /// The worker keeps as many journeys as it may, so it does not remember this one.
    JourneysFull,
    /// The client wants the first attempt's answer whatever it is.
    ClientForbids,
    /// The request has had all its attempts.
    AttemptsUsedUp,
    /// The provider may have taken the request on, and may charge for it; it is not sent a second time.
    MaybeBilled,
    /// The request's total time is over, or would be before anything could be tried.
    Deadline,
    /// Every target that may take the request has been tried.
    NothingLeft,
    /// Somebody will be free, but later than a client is held for.
    WaitTooLong,
    /// Over all requests of this Envoy, too many are attempted again.
    RetryBudget,
    /// As many wait as may.
    QueueFull,
    /// What the attempts cost, with the next one, would be more than a request may.
    SpendCeiling,
}

impl Stop {
    /// Every reason.
    pub const ALL: [Self; 12] = [
        Self::Policy,
        Self::NoRetryLoop,
        Self::JourneysFull,
        Self::ClientForbids,
        Self::AttemptsUsedUp,
        Self::MaybeBilled,
        Self::Deadline,
        Self::NothingLeft,
        Self::WaitTooLong,
        Self::RetryBudget,
        Self::QueueFull,
        Self::SpendCeiling,
    ];

    /// The name shown to clients and operators.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Policy => "policy",
            Self::NoRetryLoop => "no_retry_loop",
            Self::JourneysFull => "journeys_full",
            Self::ClientForbids => "client_forbids",
            Self::AttemptsUsedUp => "attempts_used_up",
            Self::MaybeBilled => "maybe_billed",
            Self::Deadline => "deadline",
            Self::NothingLeft => "nothing_left",
            Self::WaitTooLong => "wait_too_long",
            Self::RetryBudget => "retry_budget",
            Self::QueueFull => "queue_full",
            Self::SpendCeiling => "spend_ceiling",
        }
    }

    /// Whether the filter would have gone on but for a limit, or for want of anybody to ask. Such an end is the filter's own
    /// decision and is told as one; after the others the provider's word stands alone.
    pub const fn is_filter_decision(self) -> bool {
        matches!(
            self,
            Self::AttemptsUsedUp
                | Self::MaybeBilled
                | Self::Deadline
                | Self::NothingLeft
                | Self::WaitTooLong
                | Self::RetryBudget
                | Self::QueueFull
                | Self::SpendCeiling
        )
    }
}

/// Whether the provider got the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Received {
    /// Certainly not: no connection, or the stream was refused.
    Never,
    /// It answered, so it is known what it did.
    Answered,
    /// Perhaps: the request went out, and then nothing or only part of an answer came. It may be charged for.
    Perhaps,
}

/// How an attempt failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failed {
    /// The kind of failure.
    pub class: ErrorClass,
    /// Whether the provider got the request.
    pub received: Received,
    /// The provider's own word on whether to send it again, to the provider itself.
    pub should_retry: Option<bool>,
    /// How long the provider asks to be left alone.
    pub hint: Option<Duration>,
}

impl Failed {
    /// A failure of which nothing but its class is known. One in which time ran out or an answer broke off may have been
    /// charged for.
    pub const fn of(class: ErrorClass) -> Self {
        let received = match class {
            ErrorClass::Timeout
            | ErrorClass::Transport
            | ErrorClass::StreamTruncated
            | ErrorClass::StreamStalled => Received::Perhaps,
            _ => Received::Answered,
        };
        Self { class, received, should_retry: None, hint: None }
    }
}

/// Whether the request may be attempted more than once at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permission {
    /// It may.
    Granted,
    /// It may not, for this reason.
    Denied(Stop),
}

/// What a request has used up.
#[derive(Debug, Clone, Copy)]
pub struct Spent {
    /// Attempts made, the failed one included.
    pub attempts: u8,
    /// Of these, the ones at the target that failed last.
    pub at_target: u8,
    /// How often it was sent again although it might have been taken on.
    pub replays: u8,
    /// When its total time is over.
    pub deadline: Timestamp,
    /// Whether it refers to something that lives at a provider, which a second run could change twice.
    pub stateful: bool,
}

/// What is left for a request.
#[derive(Debug, Clone, Copy, Default)]
pub struct RemainingOptions {
    /// Where another target is that may take it now.
    pub elsewhere: Option<Reach>,
    /// Whether the target that failed may be asked again as far as its health and its own limit go.
    pub same: bool,
    /// The earliest moment at which a target that is at its rate limit may be asked.
    pub free_at: Option<Timestamp>,
}

/// Decides what follows a failure. `on` are the classes after which the model's requests are attempted again, `draw` a
/// random number for the back-off.
///
/// The retry budget has the last word, and not here: asking it takes from it.
pub fn after_failure(
    (policy, on): (&RetryPolicy, ClassSet),
    failed: Failed,
    permission: Permission,
    spent: Spent,
    left: RemainingOptions,
    (now, draw): (Timestamp, u64),
) -> Next {
    if let Permission::Denied(stop) = permission {
        return Next::Stop(stop);
    }
    // The provider's word is about itself: it can open the way back to it, but none to others.
    let invited = failed.should_retry == Some(true);
    if !on.contains(failed.class) && !invited {
        return Next::Stop(Stop::Policy);
    }
    if spent.attempts >= policy.attempts {
        return Next::Stop(Stop::AttemptsUsedUp);
    }
    if failed.received == Received::Perhaps && !may_replay(policy, spent) {
        return Next::Stop(Stop::MaybeBilled);
    }
    if now >= spent.deadline {
        return Next::Stop(Stop::Deadline);
    }
    if on.contains(failed.class)
        && let Some(reach) = left.elsewhere
    {
        return Next::Elsewhere(reach);
    }
    let same = left.same && may_return(failed.class, failed.should_retry);
    if same {
        let asked = failed.hint.unwrap_or_default();
        if asked > policy.retry_after_cap {
            return Next::Stop(Stop::WaitTooLong);
        }
        // Never earlier than asked: what comes before the hint is refused again.
        let wait = backoff(policy.backoff, spent.at_target, draw).max(asked);
        return within(now.after(wait), spent.deadline, |at| Next::Again { at });
    }
    if !on.contains(failed.class) {
        return Next::Stop(Stop::Policy);
    }
    match left.free_at {
        None => Next::Stop(Stop::NothingLeft),
        Some(until) if until.since(now) > policy.retry_after_cap => Next::Stop(Stop::WaitTooLong),
        Some(until) => within(until, spent.deadline, |until| Next::Wait { until }),
    }
}

fn within(at: Timestamp, deadline: Timestamp, next: impl FnOnce(Timestamp) -> Next) -> Next {
    if at < deadline { next(at) } else { Next::Stop(Stop::Deadline) }
}

const fn may_replay(policy: &RetryPolicy, spent: Spent) -> bool {
    !spent.stateful
        && match policy.replay_uncertain {
            Replay::Never => false,
            Replay::Once => spent.replays == 0,
            Replay::Always => true,
        }
}

/// Whether a target that failed like this may be asked again in the same request: only what may have passed by itself
/// until then, and never against the provider's own word.
pub fn may_return(class: ErrorClass, should_retry: Option<bool>) -> bool {
    should_retry.unwrap_or(matches!(
        class,
        ErrorClass::Transport
            | ErrorClass::Timeout
            | ErrorClass::Overloaded
            | ErrorClass::Server
            | ErrorClass::RateLimited
            | ErrorClass::StreamTruncated
            | ErrorClass::StreamError
            | ErrorClass::StreamStalled
    ))
}

/// A random part of a span that doubles with each attempt at the target.
fn backoff(backoff: Backoff, attempts: u8, draw: u64) -> Duration {
    let doublings = u32::from(attempts.saturating_sub(1)).min(16);
    let most = backoff.base.saturating_mul(1 << doublings).min(backoff.max);
    let most_ms = u64::try_from(most.as_millis()).unwrap_or(u64::MAX);
    Duration::from_millis(((u128::from(draw) * u128::from(most_ms)) >> 64) as u64)
}
