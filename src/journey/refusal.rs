//! The answers that the filter makes itself.

use std::rc::Rc;

use crate::base::{Dialect, ErrorClass, Timestamp};
use crate::breaker::Unavailable;
use crate::fallback::MAX_REQUEST_REGIONS;
use crate::journey::Journey;
use crate::journey::advice::Again;
use crate::journey::attempt::status_after;
use crate::journey::ineligible::{Ineligible, ineligible, objections};
use crate::journey::plan::Obstacle;
use crate::provider::{LocalError, MAX_REJECTED, Rejected};
use crate::request::ScanError;
use crate::retry::Stop;

/// A whole response made by the filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalAnswer {
    /// The HTTP status.
    pub status: u16,
    /// Its headers; names are lower case. Without a content type it is JSON.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: String,
}

/// The reason of a refusal that follows failed attempts.
pub(super) const ALL_FAILED: &str = "all_targets_failed";

/// Why a request is not sent on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The path is none that the filter serves.
    UnknownPath,
    /// The path exists, but not with this method.
    Method {
        /// The method it takes.
        allowed: &'static str,
    },
    /// No key, or none that is known.
    Unauthenticated,
    /// The body is larger than `limits.max_body`.
    TooLarge {
        /// The limit in bytes.
        limit: u64,
    },
    /// The body is compressed.
    Encoding,
    /// `x-llm-timeout` is no length of time.
    InvalidTimeout,
    /// The body is not the JSON object it should be.
    Body(ScanError),
    /// The body names no model.
    NoModel,
    /// `model` is not a string.
    ModelNotText,
    /// The logical model does not exist, or the key may not use it.
    UnknownModel {
        /// What the client asked for, as far as it is kept.
        name: String,
    },
    /// `x-llm-region` is no list of regions.
    Region,
    /// No target of the model may take the request; none was tried.
    Ineligible {
        /// What kind of reason it is.
        why: Ineligible,
        /// Each target with the gate that it does not pass.
        rejected: Vec<Rejected>,
    },
    /// No target can be asked now: their breakers are open, or they are throttled.
    NobodyWell {
        /// Whether rate limits are all that is wrong.
        throttled: bool,
        /// Seconds until asking may help again; `None` while only an operator can tell.
        wait_s: Option<u64>,
        /// Each target with what ails it.
        rejected: Vec<Rejected>,
    },
    /// The key has used up a budget of its own.
    BudgetExhausted {
        /// The budget's name.
        budget: &'static str,
        /// Seconds until the request fits into it; `None` when it never does.
        wait_s: Option<u64>,
    },
    /// It would have to wait, or has waited, in vain.
    Queue {
        /// `queue_full` or `queue_timeout`.
        why: &'static str,
        /// Seconds until asking may help again.
        wait_s: u64,
    },
    /// The last attempt ended without an answer, and no further one is allowed or possible.
    Exhausted {
        /// 503, 504 when the last attempt timed out, 429 when it was at its rate limit.
        status: u16,
        /// Each target that was tried with the class of its failure, then those that may not take the request.
        tried: Vec<Rejected>,
        /// Whether and when the client should come again.
        again: Again,
    },
    /// The host did not do what the filter needed of it.
    Internal,
}

impl Refusal {
    /// The refusal of a request that no target can be asked for now, with each target's reason.
    pub(super) fn nobody(journey: &Journey, now: Timestamp) -> Self {
        let config = &journey.config;
        let obstacles: Vec<_> = journey
            .wanted(now)
            .into_iter()
            .flat_map(|wanted| {
                wanted.obstacles(config, &journey.health_view.borrow(), now).collect::<Vec<_>>()
            })
            .collect();
        let Some(case) = journey.case(now) else { return Self::Internal };
        let listed = obstacles.iter().take(MAX_REJECTED + 1);
        let rejected = listed
            .filter_map(|(target, obstacle)| {
                let objections = match obstacle {
                    Obstacle::Gate(_) => objections(&case, *target),
                    Obstacle::Unfit(_) | Obstacle::Short(_) | Obstacle::Probed => Vec::new(),
                };
                let target = Rc::clone(&config.target(*target)?.name);
                Some(Rejected { target, reason: obstacle.name(), objections })
            })
            .collect();
        let mut ailing =
            obstacles.iter().filter(|(_, obstacle)| !matches!(obstacle, Obstacle::Gate(_))).peekable();
        if ailing.peek().is_none() {
            return Self::Ineligible { why: Ineligible::of(&case), rejected };
        }
        let mut throttled = true;
        let mut soonest: Option<Timestamp> = None;
        for (_, obstacle) in ailing {
            throttled &=
                matches!(obstacle, Obstacle::Unfit(Unavailable::Throttled { .. }) | Obstacle::Short(_));
            let until = match obstacle {
                Obstacle::Unfit(unfit) => unfit.until(),
                Obstacle::Short(shortage) => Some(shortage.until),
                Obstacle::Probed | Obstacle::Gate(_) => Some(now),
            };
            soonest = match (soonest, until) {
                (Some(one), Some(other)) => Some(one.min(other)),
                (one, other) => one.or(other),
            };
        }
        let wait_s = soonest
            .map(|until| u64::try_from(until.since(now).as_millis()).unwrap_or(0).div_ceil(1000).max(1));
        Self::NobodyWell { throttled, wait_s, rejected }
    }

    /// A refusal that lists what was tried, and who else there is but may not take it.
    pub(super) fn exhausted(journey: &Journey, status: u16, again: Again, now: Timestamp) -> Self {
        let (config, tried) = (&journey.config, &journey.tried);
        let failed = tried.iter().filter_map(|attempt| {
            let reason = attempt.failure.unwrap_or(ErrorClass::Transport).name();
            Some(Rejected::new(Rc::clone(&config.target(attempt.target)?.name), reason))
        });
        Self::Exhausted { status, tried: failed.chain(ineligible(journey, tried, now)).collect(), again }
    }

    /// The refusal of a request whose total has run out before anybody else could be asked.
    pub(super) fn out_of_time(journey: &Journey, now: Timestamp) -> Self {
        match journey.tried.last() {
            None => Self::queue("queue_timeout", journey, now),
            Some(last) => {
                let again = journey.again(Stop::Deadline, now);
                Self::exhausted(journey, status_after(last.failure), again, now)
            }
        }
    }

    /// The refusal of a request that waits in vain.
    pub(super) fn queue(why: &'static str, journey: &Journey, now: Timestamp) -> Self {
        let wait_s = match Self::nobody(journey, now) {
            Self::NobodyWell { wait_s: Some(seconds), .. } => seconds,
            _ => 1,
        };
        Self::Queue { why, wait_s }
    }

    /// The status, and the machine-readable reason that also stands in `x-llm-reason`.
    pub const fn code(&self) -> (u16, &'static str) {
        match self {
            Self::UnknownPath => (404, "unknown_path"),
            Self::Method { .. } => (405, "method_not_allowed"),
            Self::Unauthenticated => (401, "invalid_api_key"),
            Self::TooLarge { .. } => (413, "request_too_large"),
            Self::Encoding => (415, "unsupported_content_encoding"),
            Self::InvalidTimeout => (400, "invalid_timeout"),
            Self::Body(_) => (400, "invalid_json"),
            Self::NoModel => (400, "model_missing"),
            Self::ModelNotText => (400, "model_not_a_string"),
            Self::UnknownModel { .. } => (404, "model_not_found"),
            Self::Region => (400, "invalid_region"),
            Self::Ineligible { why: Ineligible::TooLong, .. } => (400, "context_length_exceeded"),
            Self::Ineligible { why: Ineligible::Needs, .. } => (400, "no_target_may_take_it"),
            Self::Ineligible { why: Ineligible::Policy, .. } => (403, "not_allowed"),
            Self::NobodyWell { throttled: true, .. } => (429, "all_targets_throttled"),
            Self::NobodyWell { throttled: false, .. } => (503, "all_targets_open"),
            Self::BudgetExhausted { .. } => (429, "budget_exhausted"),
            Self::Queue { why, .. } => (503, why),
            Self::Exhausted { status, .. } => (*status, ALL_FAILED),
            Self::Internal => (500, "internal"),
        }
    }

    /// Whether and when the client should come again.
    fn again(&self) -> Again {
        match self {
            Self::NobodyWell { wait_s, .. } | Self::BudgetExhausted { wait_s, .. } => {
                Again::after_seconds(*wait_s)
            }
            Self::Queue { wait_s, .. } => Again::After(*wait_s),
            Self::Exhausted { again, .. } => *again,
            _ => Again::Unsaid,
        }
    }

    fn message(&self) -> String {
        match self {
            Self::UnknownPath => "This path is not served here.".to_owned(),
            Self::Method { allowed } => format!("This path takes {allowed} requests only."),
            Self::Unauthenticated => "The API key is missing or not valid here.".to_owned(),
            Self::TooLarge { limit } => format!("The request body is larger than {limit} bytes."),
            Self::Encoding => "Compressed request bodies are not supported: send it uncompressed.".to_owned(),
            Self::InvalidTimeout => {
                "The header `x-llm-timeout` must be a number of seconds or a number with a unit (ms, s, m or h), more than 0."
                    .to_owned()
            }
            Self::Body(error) => format!("The request body cannot be used: {error}."),
            Self::NoModel => "The request body names no `model`.".to_owned(),
            Self::ModelNotText => "`model` must be a string of at most 256 bytes.".to_owned(),
            Self::UnknownModel { name } => {
                format!("The model `{name}` does not exist or you do not have access to it.")
            }
            Self::Region => format!(
                "`x-llm-region` must be a list of 1 to {MAX_REQUEST_REGIONS} regions with commas between them."
            ),
            Self::Ineligible { why: Ineligible::TooLong, .. } => {
                "The prompt is too long for every target of this model.".to_owned()
            }
            Self::Ineligible { why: Ineligible::Needs, .. } => {
                "No target of this model can do what the request needs.".to_owned()
            }
            Self::Ineligible { why: Ineligible::Policy, .. } => {
                "No target of this model is allowed for this request.".to_owned()
            }
            Self::NobodyWell { throttled: true, .. } => {
                "Every target of this model is at its rate limit.".to_owned()
            }
            Self::NobodyWell { throttled: false, .. } => "No target of this model is healthy now.".to_owned(),
            Self::BudgetExhausted { budget, wait_s: Some(_) } => {
                format!("This key's budget `{budget}` is used up.")
            }
            Self::BudgetExhausted { budget, wait_s: None } => {
                format!("The request asks for more than this key's whole budget `{budget}`.")
            }
            Self::Queue { .. } => "Too many requests wait for this model, or waited too long.".to_owned(),
            Self::Exhausted { .. } => "Every target that was tried failed.".to_owned(),
            Self::Internal => "The gateway could not process the request.".to_owned(),
        }
    }

    /// The answer in the caller's dialect.
    pub fn answer(self, dialect: Dialect) -> LocalAnswer {
        let (status, code) = self.code();
        let mut headers = vec![("x-llm-reason", code.to_owned())];
        if let Self::Method { allowed } = &self {
            headers.push(("allow", (*allowed).to_owned()));
        }
        let again = self.again();
        if let Some(seconds) = again.wait_s() {
            headers.push(("retry-after", seconds.to_string()));
        }
        if again.should_not() {
            headers.push(("x-should-retry", "false".to_owned()));
        }
        let budget = match self {
            Self::BudgetExhausted { budget, .. } => Some(budget),
            _ => None,
        };
        let message = self.message();
        let rejected = match self {
            Self::Ineligible { rejected: list, .. }
            | Self::NobodyWell { rejected: list, .. }
            | Self::Exhausted { tried: list, .. } => list,
            _ => Vec::new(),
        };
        let body = LocalError { status, code, message, rejected, budget }.body(dialect);
        LocalAnswer { status, headers, body }
    }
}
