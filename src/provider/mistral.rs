//! What Mistral means beyond the names everyone uses.

use super::classify::Said;
use crate::base::ErrorClass;

/// The code of "service tier capacity exceeded": Mistral is short of room, not the account of allowance.
const NO_CAPACITY: &str = "3505";

pub(super) fn class(said: &Said) -> Option<ErrorClass> {
    let no_capacity = said.report.code().as_deref() == Some(NO_CAPACITY)
        || said.report.message().starts_with("Service tier capacity exceeded");
    (said.status == Some(429) && no_capacity).then_some(ErrorClass::Overloaded)
}
