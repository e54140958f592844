//! The vocabulary of a breaker: what state a scope can be in, what is told to it, and what it answers.

use std::time::Duration;

use crate::base::{ErrorClass, Timestamp};

/// The most leases a half-open breaker can hand out at a time.
pub const MAX_PROBES: usize = 4;

/// The breaker proper.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BreakerPhase {
    /// Healthy: everything goes through.
    Closed {
        /// Since when.
        since: Timestamp,
        /// Whether it closed after being open, so that its share ramps up from `since`.
        ramp: bool,
    },
    /// Nothing goes through.
    Open {
        /// What opened it.
        why: TripReason,
        /// Since when.
        since: Timestamp,
        /// From when on it may be probed.
        until: Timestamp,
    },
    /// A few live requests show whether it is well again.
    HalfOpen {
        /// What had opened it.
        why: TripReason,
        /// Since when.
        since: Timestamp,
        /// The requests under way, by slot.
        leases: [Option<Lease>; MAX_PROBES],
        /// How many leases have been handed out in this generation.
        serial: u16,
        /// Probes that have succeeded.
        successes: u8,
    },
}

/// The right of one request to go through a half-open breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    pub(super) serial: u16,
    pub(super) since: Timestamp,
    pub(super) until: Timestamp,
}

/// Not ill, but not to be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Throttle {
    pub(super) since: Timestamp,
    pub(super) until: Timestamp,
    /// Rate limits in a row that came without a hint.
    pub(super) strikes: u8,
}

/// What an operator has ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Nothing goes through.
    ForcedOpen,
    /// Everything goes through.
    ForcedClosed,
    /// Nothing new goes through; what runs may end.
    Drained,
}

/// What opened a breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TripReason {
    /// The rule that opened it.
    pub cause: TripRule,
    /// The failure that did.
    pub class: ErrorClass,
}

/// The rule that opened a breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TripRule {
    /// A run of failures.
    Consecutive,
    /// Too many failures in the window.
    Ratio,
    /// A failure that one is enough of: quota, credential.
    Blocked,
    /// A probe failed.
    Probe,
}

/// How an attempt ended, as far as this scope is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HealthSignal {
    /// Well, to the end.
    Success,
    /// Badly.
    Failure(ErrorClass),
    /// Badly, and the provider asks to be left alone for so long.
    FailureFor(ErrorClass, Duration),
    /// So badly that one is enough.
    Blocked(ErrorClass),
    /// With a rate limit, and the provider's word on how long to wait if it gave one.
    Throttled(Option<Duration>),
    /// In a way that says nothing about this scope.
    Neutral,
}

/// What an attempt holds from the moment it is sent until it reports its outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket {
    pub(super) generation: u32,
    /// The lease, if it is a probe: slot and serial.
    pub(super) lease: Option<(u8, u16)>,
}

impl Ticket {
    /// Whether this attempt probes the scope.
    pub const fn is_probe(&self) -> bool {
        self.lease.is_some()
    }
}

/// Whether the scope may be asked now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Availability {
    /// Yes, with this share of its usual traffic, in 1/1000.
    Available {
        /// 1000 except during slow start.
        permille: u16,
    },
    /// By a request that takes a lease.
    Probe,
    /// No.
    Unavailable(Unavailable),
}

/// Why the scope may not be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unavailable {
    /// The breaker is open, or half-open with all leases taken.
    Open {
        /// Since when.
        since: Timestamp,
        /// The earliest moment at which it may be asked.
        until: Timestamp,
        /// What opened it.
        why: TripReason,
    },
    /// A rate limit is in force.
    Throttled {
        /// Its end.
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
            Self::Open { why: TripReason { cause: TripRule::Blocked, .. }, .. } => "blocked",
            Self::Open { .. } => "open",
            Self::Throttled { .. } => "throttled",
            Self::ForcedOpen => "forced_open",
            Self::Drained => "drained",
        }
    }

    /// When asking may help again; `None` while only an operator can tell.
    pub const fn until(&self) -> Option<Timestamp> {
        match self {
            Self::Open { until, .. } | Self::Throttled { until } => Some(*until),
            Self::ForcedOpen | Self::Drained => None,
        }
    }
}

/// What a scope looks like from outside: the breaker's phase, or what stands before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Healthy.
    Closed,
    /// An operator lets everything through.
    ForcedClosed,
    /// Its open time is over: single requests probe it.
    HalfOpen,
    /// A rate limit is in force.
    Throttled,
    /// An operator lets nothing new through.
    Drained,
    /// An operator lets nothing through.
    ForcedOpen,
    /// Too much failed.
    Open,
    /// An account whose credential or money is not good.
    Blocked,
}

impl State {
    /// Every state, from the best to the worst. A state's place is its number in metrics.
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
        }
    }
}

/// A change that operators want to know of.
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
}

/// What an operator may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Lets nothing through until undone.
    ForceOpen,
    /// Lets everything through until undone.
    ForceClosed,
    /// Lets nothing new through until undone.
    Drain,
    /// Allows a probe now, whatever time is left, and forgets a rate limit.
    Probe,
    /// Takes back an order.
    Undo,
    /// Forgets everything.
    Reset,
}

impl Command {
    /// Every order.
    pub const ALL: [Self; 6] =
        [Self::ForceOpen, Self::ForceClosed, Self::Drain, Self::Probe, Self::Undo, Self::Reset];

    /// The name by which operators give it.
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

    /// The order of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|command| command.name() == name)
    }
}
