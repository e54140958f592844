//! The decision after a failed attempt, as a pure function, and the types around it.

use std::time::Duration;

use crate::base::{ClassSet, ErrorClass, Timestamp};
use crate::config::{Backoff, Replay, RetryPolicy};

/// What follows a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Another target gets the request at once.
    Elsewhere(Reach),
    /// The same target gets it again.
    Again {
        /// When.
        at: Timestamp,
    },
    /// No target is available now. The first one that becomes available gets it.
    Wait {
        /// The earliest time at which a target is available.
        until: Timestamp,
    },
    /// The client gets this failure.
    Stop(Stop),
}

/// Where the other target is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Another account of the same tier.
    Account,
    /// Another tier.
    Tier,
}

/// Why a failure goes to the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// The model's policy does not retry this class: the response passes through.
    Policy,
    /// There is no retry loop.
    NoRetryLoop,
    /// The worker keeps the maximum number of journeys and does not know this one.
    JourneysFull,
    /// The client wants the response of the first attempt.
    ClientForbids,
    /// The request has used all its attempts.
    AttemptsUsedUp,
    /// The provider may have processed and billed the request, so it is not sent again.
    MaybeBilled,
    /// The request's total time is over, or would be before another attempt.
    Deadline,
    /// Every eligible target has been tried.
    NothingLeft,
    /// A target becomes available, but later than the longest permitted wait.
    WaitTooLong,
    /// The retry budget over all requests of this Envoy is used up.
    RetryBudget,
    /// The queue is full.
    QueueFull,
    /// The attempts, including the next one, would exceed the permitted cost of a request.
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

    /// Whether the filter would have retried but for a limit or for want of a target. The client is told of
    /// such a decision. After the others the provider's response passes unchanged.
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

/// Whether the provider received the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Received {
    /// Certainly not: no connection, or the stream was refused.
    Never,
    /// It responded, so its action is known.
    Answered,
    /// Unknown: the request was sent, and then no response or only part of one came. It may be billed.
    Perhaps,
}

/// How an attempt failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failed {
    /// The kind of failure.
    pub class: ErrorClass,
    /// Whether the provider got the request.
    pub received: Received,
    /// The provider's own instruction on whether to send the request to it again.
    pub should_retry: Option<bool>,
    /// How long the provider asks to wait.
    pub hint: Option<Duration>,
    /// The provider rejected what the filter had added to the request. Without it, it may accept the request.
    pub rejects_addition: bool,
    /// The provider cannot read the reasoning in the request, and the operator allows to drop it.
    pub may_drop_reasoning: bool,
}

impl Failed {
    /// A failure of which only the class is known. After a timeout or an incomplete response the request may
    /// be billed.
    pub const fn of(class: ErrorClass) -> Self {
        let received = match class {
            ErrorClass::Timeout
            | ErrorClass::Transport
            | ErrorClass::StreamTruncated
            | ErrorClass::StreamStalled
            | ErrorClass::HopClosed => Received::Perhaps,
            _ => Received::Answered,
        };
        Self {
            class,
            received,
            should_retry: None,
            hint: None,
            rejects_addition: false,
            may_drop_reasoning: false,
        }
    }
}

/// Whether the request may be retried at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permission {
    /// It may.
    Granted,
    /// It may not, for this reason.
    Denied(Stop),
}

/// What a request has used so far.
#[derive(Debug, Clone, Copy)]
pub struct Spent {
    /// Attempts made, including the failed one.
    pub attempts: u8,
    /// Attempts at the target that failed last.
    pub at_target: u8,
    /// How often it was sent again although it may have been processed.
    pub replays: u8,
    /// When its total time ends.
    pub deadline: Timestamp,
    /// Whether it refers to state at a provider, which a second run could change twice.
    pub stateful: bool,
}

/// The options that are left for a request.
#[derive(Debug, Clone, Copy, Default)]
pub struct RemainingOptions {
    /// Where another available target is.
    pub elsewhere: Option<Reach>,
    /// Whether the target that failed may be asked again, by its health and its own limit.
    pub same: bool,
    /// The earliest time at which a rate-limited target is available.
    pub free_at: Option<Timestamp>,
}

/// A failed attempt, and everything that decides what follows it.
#[derive(Debug, Clone, Copy)]
pub struct Situation<'a> {
    /// The model's retry policy.
    pub policy: &'a RetryPolicy,
    /// The classes of failure after which the model's requests are attempted again.
    pub on: ClassSet,
    /// The failure.
    pub failed: Failed,
    /// Whether the request may be attempted again at all.
    pub permission: Permission,
    /// What the request has used up.
    pub spent: Spent,
    /// What remains for it.
    pub left: RemainingOptions,
    /// The moment.
    pub now: Timestamp,
    /// A random number for the back-off.
    pub draw: u64,
}

/// Decides what follows a failure.
///
/// The retry budget has the last word, and not here: asking it takes from it.
pub fn after_failure(situation: Situation<'_>) -> Next {
    let Situation { policy, on, failed, permission, spent, left, now, draw } = situation;
    if let Permission::Denied(stop) = permission {
        return Next::Stop(stop);
    }
    // The provider's instruction concerns only itself: it can permit a retry there, but not elsewhere.
    let provider_asks = failed.should_retry == Some(true);
    if !on.contains(failed.class) && !provider_asks && !failed.rejects_addition {
        return Next::Stop(Stop::Policy);
    }
    if spent.attempts >= policy.attempts {
        return Next::Stop(Stop::AttemptsUsedUp);
    }
    if failed.received == Received::Perhaps && !may_replay(policy, spent.replays, spent.stateful) {
        return Next::Stop(Stop::MaybeBilled);
    }
    if now >= spent.deadline {
        return Next::Stop(Stop::Deadline);
    }
    // Nothing is wrong with the target, so no other one is asked.
    if failed.rejects_addition && left.same {
        return Next::Again { at: now };
    }
    if on.contains(failed.class)
        && let Some(reach) = left.elsewhere
    {
        return Next::Elsewhere(reach);
    }
    let may_return = failed.may_drop_reasoning || may_return(failed.class, failed.should_retry);
    let same = left.same && may_return;
    if same {
        let asked = failed.hint.unwrap_or_default();
        if asked > policy.retry_after_cap {
            return Next::Stop(Stop::WaitTooLong);
        }
        // Never earlier than the hint: an earlier request is rejected again.
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

const fn may_replay(policy: &RetryPolicy, replays: u8, stateful: bool) -> bool {
    !stateful
        && match policy.replay_uncertain {
            Replay::Never => false,
            Replay::Once => replays == 0,
            Replay::Always => true,
        }
}

/// Whether a request may be sent after `unknown` attempts that nothing is known of, because the VM that made them has
/// crashed. A provider may have processed each of them.
pub const fn may_send_after_crash(policy: &RetryPolicy, unknown: u8, stateful: bool) -> bool {
    let replays = unknown.saturating_sub(1);
    unknown == 0 || may_replay(policy, replays, stateful)
}

/// Whether a target that failed like this may be asked again in the same request: only after failures that
/// may have passed, and never against the provider's own instruction.
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
            | ErrorClass::Conflict
            | ErrorClass::Empty
            | ErrorClass::Malformed
            | ErrorClass::HopClosed
    ))
}

/// A random part of a span that doubles with each attempt at the target.
fn backoff(backoff: Backoff, attempts: u8, draw: u64) -> Duration {
    let doublings = u32::from(attempts.saturating_sub(1)).min(16);
    let most = backoff.base.saturating_mul(1 << doublings).min(backoff.max);
    let most_ms = u64::try_from(most.as_millis()).unwrap_or(u64::MAX);
    Duration::from_millis(((u128::from(draw) * u128::from(most_ms)) >> 64) as u64)
}
