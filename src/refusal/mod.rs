//! Responses that the filter makes itself when a request is not sent, or when nothing is left to try.
//!
//! A refusal knows its status, its machine-readable reason, what the client is told about retries, and its
//! text in the client's dialect. The caller lists why each target cannot be asked.

mod client_retry;

pub use client_retry::ClientRetry;

use crate::base::Dialect;
use crate::fallback::MAX_REQUEST_REGIONS;
use crate::provider::{LocalError, Rejected};
use crate::request::ScanError;

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
pub const ALL_FAILED: &str = "all_targets_failed";

/// After how many seconds a client whose body had no room may come again. Nobody knows when requests end; most need
/// some seconds.
const MEMORY_WAIT_S: u64 = 5;

/// Why no target may take a request, as far as the client can do something about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ineligible {
    /// The prompt is too long for every target that could take it otherwise.
    TooLong,
    /// The request needs something that no allowed target offers.
    Needs,
    /// Every target that could take it is forbidden.
    Policy,
}

/// What a client may have meant by a path that is not served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathHint {
    /// Nothing is near.
    None,
    /// This path is near.
    Near(&'static str),
    /// It is for operators, and the configuration has none.
    Operators,
    /// It is this endpoint of a vendor, which the filter does not have.
    NotServed(&'static str),
}

/// Why a request is not sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The filter does not serve this path.
    UnknownPath {
        /// What the client may have meant.
        hint: PathHint,
    },
    /// The path does not take this method.
    Method {
        /// The methods it takes, with commas between them.
        allowed: &'static str,
    },
    /// The client's key is missing or unknown.
    Unauthenticated,
    /// The client's key is known, and its `expires` has passed.
    KeyExpired,
    /// The body is larger than `limits.max_body`.
    TooLarge {
        /// The limit in bytes.
        limit: u64,
    },
    /// The bodies of other requests leave no room for this one (`limits.max_held_bytes`).
    MemoryFull,
    /// The body is compressed.
    Encoding,
    /// `x-llm-timeout` is not a duration.
    InvalidTimeout,
    /// The body is not a JSON object that can be used.
    Body(ScanError),
    /// The body names no model.
    NoModel,
    /// `model` is not a string.
    ModelNotText,
    /// The logical model does not exist, or the key may not use it.
    UnknownModel {
        /// What the client asked for, cut to a bounded length.
        name: String,
    },
    /// It is not known which of several accounts has a response, or the key may not use the one that has.
    ResponseNotFound,
    /// The key is limited in ways that nobody checks for what lives at an account.
    ResourcesNotAllowed,
    /// The body chooses models or hosts at the provider, past the restrictions of the model or the key.
    OwnRouting {
        /// The members that may do it.
        members: &'static str,
    },
    /// `x-llm-region` is not a list of regions.
    Region,
    /// No target of the model may take the request; none was tried.
    Ineligible {
        /// The kind of reason.
        why: Ineligible,
        /// Each target with the first gate that it does not pass.
        rejected: Vec<Rejected>,
    },
    /// No target can be asked now: breakers are open, or limits are used up.
    AllUnhealthy {
        /// Whether rate limits are the only reason.
        throttled: bool,
        /// Seconds until a retry may help; `None` when only an operator can change it.
        wait_s: Option<u64>,
        /// Each target with its reason.
        rejected: Vec<Rejected>,
    },
    /// Only an account that cannot be asked now has what the request refers to.
    StateElsewhere {
        /// The targets of that account.
        holders: String,
        /// Seconds until a retry may help; `None` when only an operator can change it.
        wait_s: Option<u64>,
        /// Each target with its reason.
        rejected: Vec<Rejected>,
    },
    /// A budget of the client's key is used up.
    BudgetExhausted {
        /// The budget's name.
        budget: &'static str,
        /// Seconds until the request fits into it; `None` when it never will.
        wait_s: Option<u64>,
    },
    /// The queue is full, or the request has waited for as long as it may.
    Queue {
        /// `queue_full` or `queue_timeout`.
        why: &'static str,
        /// Seconds until a retry may help.
        wait_s: u64,
    },
    /// Every attempt failed, and no further one is possible or allowed.
    Exhausted {
        /// 503, 504 when the last attempt timed out, 429 when it was at its rate limit.
        status: u16,
        /// The targets that were tried with their failures, then the untried ones that are ineligible.
        tried: Vec<Rejected>,
        /// What the client is told about retries.
        client_retry: ClientRetry,
    },
    /// The provider's error, in the client's dialect instead of its own.
    Told {
        /// The provider's status.
        status: u16,
        /// Its message.
        message: Box<str>,
    },
    /// A crash of the filter has made unknown what came of the attempts, and the request is not sent again.
    Lost {
        /// What the client is told about retries.
        client_retry: ClientRetry,
    },
    /// The host refused a call that the request needs.
    Internal,
}

impl Refusal {
    /// The status and the machine-readable reason, which `x-llm-reason` shows too.
    pub const fn code(&self) -> (u16, &'static str) {
        match self {
            Self::UnknownPath { .. } => (404, "unknown_path"),
            Self::Method { .. } => (405, "method_not_allowed"),
            Self::Unauthenticated => (401, "invalid_api_key"),
            Self::KeyExpired => (401, "expired_api_key"),
            Self::TooLarge { .. } => (413, "request_too_large"),
            Self::MemoryFull => (503, "memory_full"),
            Self::Encoding => (415, "unsupported_content_encoding"),
            Self::InvalidTimeout => (400, "invalid_timeout"),
            Self::Body(_) => (400, "invalid_json"),
            Self::NoModel => (400, "model_missing"),
            Self::ModelNotText => (400, "model_not_a_string"),
            Self::UnknownModel { .. } => (404, "model_not_found"),
            Self::ResponseNotFound => (404, "response_not_found"),
            Self::ResourcesNotAllowed => (403, "resources_not_allowed"),
            Self::OwnRouting { .. } => (403, "routing_not_allowed"),
            Self::Region => (400, "invalid_region"),
            Self::Ineligible { why: Ineligible::TooLong, .. } => (400, "context_length_exceeded"),
            Self::Ineligible { why: Ineligible::Needs, .. } => (400, "no_target_may_take_it"),
            Self::Ineligible { why: Ineligible::Policy, .. } => (403, "not_allowed"),
            Self::AllUnhealthy { throttled: true, .. } => (429, "all_targets_throttled"),
            Self::AllUnhealthy { throttled: false, .. } => (503, "all_targets_open"),
            Self::StateElsewhere { .. } => (503, "state_at_another_account"),
            // Waiting does not help, so this is no rate limit: only a smaller request does.
            Self::BudgetExhausted { wait_s: None, .. } => (400, "budget_exhausted"),
            Self::BudgetExhausted { wait_s: Some(_), .. } => (429, "budget_exhausted"),
            Self::Queue { why, .. } => (503, why),
            Self::Exhausted { status, .. } => (*status, ALL_FAILED),
            Self::Told { status, .. } => (*status, "provider_error"),
            Self::Lost { .. } => (503, "attempt_lost"),
            Self::Internal => (500, "internal"),
        }
    }

    /// The status in a dialect. Claude Code repeats a request after 400, but not after 402, which is the status of
    /// Anthropic's billing errors. OpenAI's clients know no such error.
    pub const fn status(&self, dialect: Dialect) -> u16 {
        match (self, dialect) {
            (Self::BudgetExhausted { wait_s: None, .. }, Dialect::Anthropic) => 402,
            _ => self.code().0,
        }
    }

    /// What the client is told about retries.
    pub fn client_retry(&self) -> ClientRetry {
        match self {
            Self::AllUnhealthy { wait_s, .. }
            | Self::StateElsewhere { wait_s, .. }
            | Self::BudgetExhausted { wait_s, .. } => ClientRetry::after_seconds(*wait_s),
            Self::Queue { wait_s, .. } => ClientRetry::After(*wait_s),
            Self::MemoryFull => ClientRetry::After(MEMORY_WAIT_S),
            Self::Exhausted { client_retry, .. } | Self::Lost { client_retry } => *client_retry,
            _ => ClientRetry::Unsaid,
        }
    }

    fn message(&self) -> String {
        match self {
            Self::UnknownPath { hint } => match hint {
                PathHint::None => "This path is not served here. Clients call `/v1/chat/completions`, `/v1/completions`, \
                                   `/v1/embeddings`, `/v1/responses`, `/v1/messages` or `/v1/models`."
                    .to_owned(),
                PathHint::Near(path) => format!("This path is not served here. Did you mean `{path}`?"),
                PathHint::Operators => "The operators' page and the status report are switched off: the gateway's \
                                        configuration has no `operator`."
                    .to_owned(),
                PathHint::NotServed(path) => format!("The endpoint `{path}` is not supported by this gateway."),
            },
            Self::Method { allowed } => {
                format!("This path takes {} requests only.", allowed.replace(", ", " and "))
            }
            Self::Unauthenticated => "The API key is missing or not valid here.".to_owned(),
            Self::KeyExpired => "The API key has expired.".to_owned(),
            Self::TooLarge { limit } => {
                format!("The request body is larger than {limit} bytes (`limits.max_body` of the gateway).")
            }
            Self::MemoryFull => {
                format!("The gateway holds too many large requests now. Try again in {MEMORY_WAIT_S} s.")
            }
            Self::Encoding => "Compressed request bodies are not supported: send it uncompressed.".to_owned(),
            Self::InvalidTimeout => {
                "The header `x-llm-timeout` must be a number of seconds or a number with a unit (ms, s, m or h), more than 0."
                    .to_owned()
            }
            Self::Body(error) => format!("The request body cannot be used: {error}."),
            Self::NoModel => "The request body names no `model`.".to_owned(),
            Self::ModelNotText => "`model` must be a string of at most 256 bytes.".to_owned(),
            Self::UnknownModel { name } => {
                format!(
                    "The model `{name}` does not exist or you do not have access to it. `GET /v1/models` lists yours."
                )
            }
            Self::ResponseNotFound => "No account that you may use is known to have this response. The gateway \
                                       remembers for 30 days, and until it restarts, which account has made one."
                .to_owned(),
            Self::ResourcesNotAllowed => "This key is limited to models, budgets or boundaries. Nobody checks them for \
                                          files, batches and the like, so they are not allowed with it."
                .to_owned(),
            Self::OwnRouting { members } => format!(
                "The request chooses at the provider with {members}. That could lead past what this model or this key \
                 is restricted to, so it is not allowed here. Leave it out."
            ),
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
            Self::AllUnhealthy { throttled: true, .. } => {
                "Every target of this model is at its rate limit.".to_owned()
            }
            Self::AllUnhealthy { throttled: false, wait_s: Some(seconds), .. } => {
                format!("No target of this model is healthy now. Try again in {seconds} s.")
            }
            Self::AllUnhealthy { throttled: false, wait_s: None, .. } => {
                "No target of this model is healthy now, and only its operator can change that.".to_owned()
            }
            Self::StateElsewhere { holders, .. } => {
                format!("Only {holders} has what the request refers to, and cannot be asked now.")
            }
            Self::BudgetExhausted { budget, wait_s: Some(_) } => {
                format!("This key's budget `{budget}` is used up.")
            }
            Self::BudgetExhausted { budget, wait_s: None } => {
                format!("The request asks for more than this key's whole budget `{budget}`.")
            }
            Self::Queue { .. } => "Too many requests wait for this model, or waited too long.".to_owned(),
            Self::Exhausted { .. } => "Every target that was tried failed.".to_owned(),
            Self::Told { message, .. } => message.to_string(),
            Self::Lost { .. } => "The gateway has lost the answer, because its filter crashed. A provider may have processed \
                                  the request, so it is not sent again."
                .to_owned(),
            Self::Internal => "The gateway could not process the request.".to_owned(),
        }
    }

    /// The response in the client's dialect.
    #[cold]
    #[inline(never)]
    pub fn answer(self, dialect: Dialect) -> LocalAnswer {
        let (status, code) = (self.status(dialect), self.code().1);
        let mut headers = vec![("x-llm-reason", code.to_owned())];
        if let Self::Method { allowed } = &self {
            headers.push(("allow", (*allowed).to_owned()));
        }
        let client_retry = self.client_retry();
        if let Some(seconds) = client_retry.wait_s() {
            headers.push(("retry-after", seconds.to_string()));
        }
        if client_retry.forbids_retries() {
            headers.push(("x-should-retry", "false".to_owned()));
        }
        let budget = match self {
            Self::BudgetExhausted { budget, .. } => Some(budget),
            _ => None,
        };
        let message = self.message();
        let rejected = match self {
            Self::Ineligible { rejected: list, .. }
            | Self::AllUnhealthy { rejected: list, .. }
            | Self::Exhausted { tried: list, .. } => list,
            // Nothing can be declared about these, and the message says who has the state.
            Self::StateElsewhere { mut rejected, .. } => {
                rejected.iter_mut().for_each(|rejected| rejected.advice.clear());
                rejected
            }
            _ => Vec::new(),
        };
        let body = LocalError { status, code, message, rejected, budget }.body(dialect);
        LocalAnswer { status, headers, body }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn every_refusal_says_whether_and_when_to_retry() {
        let well = |wait_s| Refusal::AllUnhealthy { throttled: false, wait_s, rejected: Vec::new() };
        let budget = |wait_s| Refusal::BudgetExhausted { budget: "usd_per_day", wait_s };
        let queue = |wait_s| Refusal::Queue { why: "queue_full", wait_s };
        let exhausted = |client_retry| Refusal::Exhausted { status: 503, tried: Vec::new(), client_retry };
        for (refusal, wait, should) in [
            (well(Some(7)), Some("7"), None),
            (well(Some(60)), Some("60"), None),
            (well(Some(61)), Some("61"), Some("false")),
            (well(None), None, Some("false")),
            (budget(Some(7)), Some("7"), None),
            (budget(Some(3600)), Some("3600"), Some("false")),
            (budget(None), None, Some("false")),
            (queue(7), Some("7"), None),
            (queue(600), Some("600"), Some("false")),
            (exhausted(ClientRetry::After(7)), Some("7"), None),
            (exhausted(ClientRetry::After(600)), Some("600"), Some("false")),
            (exhausted(ClientRetry::NotByItself), None, Some("false")),
            (exhausted(ClientRetry::Unsaid), None, None),
            // Errors for which SDKs do not retry, or for which nothing is known about retries.
            (Refusal::NoModel, None, None),
            (Refusal::TooLarge { limit: 1 }, None, None),
            (Refusal::MemoryFull, Some("5"), None),
            (Refusal::Internal, None, None),
        ] {
            let case = format!("{refusal:?}");
            let answer = refusal.answer(Dialect::OpenAi);
            let get = |name: &str| {
                let mut found = answer.headers.iter().filter(|(candidate, _)| *candidate == name);
                let value = found.next().map(|(_, value)| value.as_str());
                assert!(found.next().is_none(), "{case}: {name} is set only once");
                value
            };
            assert_eq!((get("retry-after"), get("x-should-retry")), (wait, should), "{case}");
            assert!(get("x-llm-reason").is_some(), "{case}");
        }
    }

    /// Clients come again after 429 and 5xx, whatever the headers say. So a request that only its client can
    /// change has neither.
    #[test]
    fn what_only_the_client_can_change_is_no_failure_of_the_gateway() {
        let ineligible = |why| Refusal::Ineligible { why, rejected: Vec::new() };
        let too_large_for_the_budget = Refusal::BudgetExhausted { budget: "tokens_per_minute", wait_s: None };
        for refusal in [
            too_large_for_the_budget,
            ineligible(Ineligible::TooLong),
            ineligible(Ineligible::Needs),
            ineligible(Ineligible::Policy),
            Refusal::TooLarge { limit: 1 },
            Refusal::UnknownModel { name: "m".to_owned() },
            Refusal::Unauthenticated,
            Refusal::KeyExpired,
        ] {
            let (status, reason) = refusal.code();
            assert!(
                matches!(status, 400..=407 | 413),
                "{reason} has {status}, after which some clients come again"
            );
        }
        let never = Refusal::BudgetExhausted { budget: "tokens_per_minute", wait_s: None };
        for (dialect, status) in [(Dialect::OpenAi, 400), (Dialect::Anthropic, 402)] {
            assert_eq!(never.clone().answer(dialect).status, status, "{dialect:?}");
        }
        let later = Refusal::BudgetExhausted { budget: "tokens_per_minute", wait_s: Some(7) };
        assert_eq!(later.code().0, 429, "waiting helps");
    }

    #[test]
    fn a_wait_is_rounded_up_to_whole_seconds() {
        for (ms, expected) in [(0, 1), (1, 1), (1000, 1), (1001, 2), (7000, 7)] {
            assert_eq!(ClientRetry::after(Some(Duration::from_millis(ms))), ClientRetry::After(expected));
        }
        assert_eq!(ClientRetry::after(None), ClientRetry::NotByItself);
    }
}
