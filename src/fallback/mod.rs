//! Boundaries: may this target take this request, and if not, why?
//!
//! A substitute that answers without tools, from another country or at ten times the price is no rescue. So what a request
//! needs ([`Needs`]) is held against what a target offers, and what the operator, the client's key and the client allow
//! against what using it would mean ([`Eligibility`]). Each rule is a [`Gate`] with a stable name.
//!
//! Every gate fails closed: what nobody has declared counts as no where a request needs it. All of them are asked for every
//! candidate of every attempt, because time and failures change the answer, and the first choice passes the same ones as
//! the last. Several sets of boundaries are held one after the other rather than merged: so the strictest wins by itself,
//! and one more can never admit more.
//!
//! What this folder refuses to be: a chooser. Whether a target is well is not asked here (`breaker`), nor which of several
//! is best (`balance`). Nor does it change a request so that it would fit: a parameter is never dropped.

mod calibration;
mod eligibility;
mod estimate;
mod explain;
mod gate;
mod needs;
mod substitution;
#[cfg(test)]
mod tests;

pub use calibration::Calibration;
pub use eligibility::{ClientLimits, Eligibility, MAX_REQUEST_REGIONS, Past};
pub use estimate::Size;
pub use explain::Violation;
pub use gate::{Cause, Gate};
pub use needs::Needs;
