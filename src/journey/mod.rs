//! One client request across its attempts: the only place that sees all stages.
//!
//! A *journey* is one client request. An *attempt* is one pass of the filter that went to a target. In the
//! retry loop the edge starts a pass for each attempt, and [`Journeys`] joins them by the id that the edge
//! gave the request. In an ordinary listener every journey has one attempt and is not kept.
//!
//! This folder connects the stages `intake`, `survey`, `admission`, `attempt`, `answer`, `queue` and
//! `report`. A decision that a stage or a policy can make is made there and not here.

mod alarm;
mod at_account;
mod conclude;
mod dispatch;
mod exchange;
mod held;
mod hold;
#[allow(clippy::module_inception)]
mod journey;
mod registry;
mod request;
mod response;
mod silence;
#[cfg(test)]
mod test_support;
#[cfg(test)]
mod tests;
mod worker;

pub use alarm::AlarmStep;
pub use exchange::{Ending, Exchange, RequestHost, RequestStep};
pub use journey::Journey;
pub use registry::{Journeys, ORPHAN_AFTER, SharedJourney};
pub use response::ResponseHost;
pub use worker::{LATE, TICK, Worker};
