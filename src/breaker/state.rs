//! The types of a breaker: the states of a scope, the signals it receives and the answers it gives.

use std::time::Duration;

use super::keys::Keys;
use crate::base::{ErrorClass, Timestamp};

/// The most leases that a half-open breaker can grant at a time.
pub const MAX_PROBES: usize = 4;

/// The phase of the breaker itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BreakerPhase {
    /// Healthy: everything goes through.
    Closed {
        /// When the phase began.
        since: Timestamp,
        /// Whether the breaker was open before, so that its share ramps up from `since`.
        ramp: bool,
    },
    /// Nothing goes through.
    Open {
        /// What opened it.
        reason: TripReason,
        /// When it opened.
        since: Timestamp,
        /// When it may be probed.
        until: Timestamp,
    },
    /// Single live requests test whether the scope has recovered.
    HalfOpen {
        /// What opened it.
        reason: TripReason,
        /// When the phase began.
        since: Timestamp,
        /// The probes in flight, by slot.
        leases: [Option<Lease>; MAX_PROBES],
        /// Leases granted in this generation.
        serial: u16,
        /// Successful probes.
        successes: u8,
    },
}

/// The permission of one request to pass a half-open breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    pub(super) serial: u16,
    pub(super) since: Timestamp,
    pub(super) until: Timestamp,
}

/// A rate limit in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Throttle {
    pub(super) since: Timestamp,
    pub(super) until: Timestamp,
    /// Consecutive rate limits without a hint.
    pub(super) strikes: u8,
}

/// An order of an operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Nothing goes through.
    ForcedOpen,
    /// Everything goes through.
    ForcedClosed,
    /// Nothing new goes through. Requests in flight may end.
    Drained,
}

/// What opened a breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TripReason {
    /// The rule that opened it.
    pub rule: TripRule,
    /// The failure that met it.
    pub class: ErrorClass,
}

/// The rule that opened a breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TripRule {
    /// A run of failures.
    Consecutive,
    /// Too many failures in the window.
    Ratio,
    /// A failure of which one is enough: quota or credential.
    Blocked,
    /// A probe failed.
    Probe,
    /// Clients left, one after the other, and none of their requests had begun to be answered.
    Unanswered,
}

/// The end of an attempt, as seen by one scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HealthSignal {
    /// Success, to the end of the response.
    Success,
    /// A failure.
    Failure(ErrorClass),
    /// A failure, and the provider asks for a pause of this length.
    FailureFor(ErrorClass, Duration),
    /// Nothing but the pause that a provider asks for after a failure.
    Paused(Duration),
    /// A failure of which one is enough to open the breaker.
    Blocked(ErrorClass),
    /// A rate limit, with the provider's hint on how long to wait.
    Throttled(Option<Duration>),
    /// A long-term allowance is used up, with the provider's hint on when it is renewed.
    Exhausted(Option<Duration>),
    /// The client with this key left, after it had waited for an answer that has not begun.
    Unanswered(Keys),
    /// Nothing was learned about this scope.
    Neutral,
}

impl HealthSignal {
    /// What remains of a failure that is not to be counted: the pause that the provider asks for.
    #[must_use]
    pub const fn without_failure(self) -> Self {
        match self {
            Self::Failure(_) => Self::Neutral,
            Self::FailureFor(_, pause) => Self::Paused(pause),
            other => other,
        }
    }
}

/// What an attempt holds from the moment it is sent until its end is reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket {
    pub(super) generation: u32,
    /// The lease of a probe: slot and serial.
    pub(super) lease: Option<(u8, u16)>,
}

impl Ticket {
    /// Whether this attempt probes the scope.
    pub const fn is_probe(&self) -> bool {
        self.lease.is_some()
    }
}

/// Whether a request may be sent to the scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Availability {
    /// Yes, with a share of its usual traffic.
    Available {
        /// The share in 1/1000; 1000 except during slow start.
        permille: u16,
    },
    /// Only by a request that takes a lease.
    Probe,
    /// No.
    Unavailable(Unavailable),
}

/// Why no request may be sent to the scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unavailable {
    /// The breaker is open, or half-open with all leases taken.
    Open {
        /// When it opened.
        since: Timestamp,
        /// The earliest moment for another request.
        until: Timestamp,
        /// What opened it.
        reason: TripReason,
    },
    /// A rate limit is in force.
    Throttled {
        /// When it ends.
        until: Timestamp,
    },
    /// It has just recovered, no other target can take the request, and as many attempts have started as its slow
    /// start allows for now.
    SlowStart {
        /// When the next one may start.
        until: Timestamp,
    },
    /// An operator has forced it open.
    ForcedOpen,
    /// An operator drains it.
    Drained,
}

impl Unavailable {
    /// The reason shown to clients and operators.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Open { reason: TripReason { rule: TripRule::Blocked, .. }, .. } => "blocked",
            Self::Open { .. } => "open",
            Self::Throttled { .. } => "throttled",
            Self::SlowStart { .. } => "slow_start",
            Self::ForcedOpen => "forced_open",
            Self::Drained => "drained",
        }
    }

    /// When another request may help; `None` if only an operator can end it.
    pub const fn until(&self) -> Option<Timestamp> {
        match self {
            Self::Open { until, .. } | Self::Throttled { until } | Self::SlowStart { until } => Some(*until),
            Self::ForcedOpen | Self::Drained => None,
        }
    }
}

/// The state shown to operators: the breaker's phase, or what overrides it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Healthy.
    Closed,
    /// An operator lets everything through.
    ForcedClosed,
    /// The open time is over: single requests probe the scope.
    HalfOpen,
    /// A rate limit is in force.
    Throttled,
    /// An operator lets nothing new through.
    Drained,
    /// An operator lets nothing through.
    ForcedOpen,
    /// Too many failures.
    Open,
    /// An account whose credential or money was rejected.
    Blocked,
}

impl State {
    /// Every state, from best to worst. The index of a state is its number in metrics.
    pub const ALL: [Self; 8] = [
        Self::Closed,
        Self::ForcedClosed,
        Self::HalfOpen,
        Self::Throttled,
        Self::Drained,
        Self::ForcedOpen,
        Self::Open,
        Self::Blocked,
    ];

    /// The name used in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::ForcedClosed => "forced_closed",
            Self::HalfOpen => "half_open",
            Self::Throttled => "throttled",
            Self::Drained => "drained",
            Self::ForcedOpen => "forced_open",
            Self::Open => "open",
            Self::Blocked => "blocked",
        }
    }
}

impl TripRule {
    /// The name used in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Consecutive => "consecutive",
            Self::Ratio => "ratio",
            Self::Blocked => "blocked",
            Self::Probe => "probe",
            Self::Unanswered => "unanswered",
        }
    }
}

/// A change that operators want to know about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transition {
    /// It opened.
    Opened(TripReason),
    /// It opened again after a failed probe.
    Reopened(TripReason),
    /// It closed after successful probes.
    Closed,
    /// A rate limit came into force or was extended.
    Throttled,
    /// It would have opened, but all the failures came from one client key or host, and others were served.
    Held(TripReason),
}

/// A command of an operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Lets nothing through until undone.
    ForceOpen,
    /// Lets everything through until undone.
    ForceClosed,
    /// Lets nothing new through until undone.
    Drain,
    /// Allows a probe at once and clears a rate limit.
    Probe,
    /// Undoes an order.
    Undo,
    /// Forgets everything.
    Reset,
}

impl Command {
    /// Every command.
    pub const ALL: [Self; 6] =
        [Self::ForceOpen, Self::ForceClosed, Self::Drain, Self::Probe, Self::Undo, Self::Reset];

    /// The name that operators use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ForceOpen => "force-open",
            Self::ForceClosed => "force-close",
            Self::Drain => "drain",
            Self::Probe => "probe",
            Self::Undo => "undo",
            Self::Reset => "reset",
        }
    }

    /// The command of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|command| command.name() == name)
    }
}
