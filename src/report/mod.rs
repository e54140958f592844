//! What clients and operators learn about a request: refusals, response headers, metrics, the decision
//! record, gauges and the operators' endpoint.
//!
//! Everything here is derived from a survey and an outcome. This folder decides nothing.

mod disclosure;
mod gauges;
mod metrics;
mod operator;
mod recording;
mod refusals;

pub use disclosure::{
    AttemptInfo, Disclosure, LocalHeaders, advise, client_retry, disclose, tell_ineligible,
};
pub use gauges::Gauges;
pub use metrics::{count_decision, count_outcome, count_stream_end};
pub use operator::{OperatorContext, OperatorRateLimit, answer as operator_answer};
pub use recording::{SharedRecord, Written, decision_name, note_choice, write};
pub use refusals::{exhausted, no_target, queue as queue_refusal, state_elsewhere, status_after};
