//! Eligibility: may this target take this request, and if not, why?
//!
//! A substitute that responds without tools, from another country or at ten times the price is no help. So
//! the needs of a request ([`Needs`]) are compared with what a target offers, and the limits of the operator,
//! the client's key and the client with the consequences of using it ([`Eligibility`]). Each rule is a
//! [`Gate`] with a stable name.
//!
//! **Unknown means no**, with one exception. A property that is not declared counts as absent when a request
//! needs it, so no request goes to a substitute on a guess. But a first choice is trusted with what a request
//! asks it to do, because the operator has chosen it and its provider says what it cannot do (`trust`). A
//! boundary holds for it all the same: a provider does not say that it keeps data.
//!
//! **When are gates checked?** For every candidate of every attempt, because time and failures change the
//! answer.
//!
//! **Boundaries are checked one after the other, not merged.** So the strictest one applies without a merge
//! rule, and a test can check as a property that a stricter boundary never admits more.
//!
//! **State stays at its owner.** A request does not show which account holds its `previous_response_id`. If
//! earlier turns have shown it (`src/ownership`), only targets of that account may take the request. Otherwise
//! conversations began in the first tier, so every account of that tier may, and none of another tier. An
//! account that has answered that it does not know the state is not its owner.
//!
//! **Masks.** Nearly every target passes every gate. A mask tells so without asking them ([`GateMasks`]). Names and
//! reasons are made only for a target that is rejected.
//!
//! **What does it ignore?** Health (`breaker`) and which target is best (`balance`). It does not change a
//! request to make it fit: a parameter is never dropped.

mod advice;
mod calibration;
mod eligibility;
mod estimate;
mod explain;
mod gate;
mod masks;
mod needs;
mod state;
mod substitution;
#[cfg(test)]
mod tests;
mod trust;

pub use calibration::Calibration;
pub use eligibility::{ClientLimits, Eligibility, MAX_REQUEST_REGIONS, PastAttempts};
pub use estimate::PromptSize;
pub use explain::Violation;
pub use gate::{Gate, GateKind};
pub use masks::{GateMask, GateMasks, NeedsMask};
pub use needs::{Encrypted, Needs, Translated};
