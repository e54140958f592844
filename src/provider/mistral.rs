//! Mistral's own error rules.

use super::evidence::Evidence;
use crate::base::ErrorClass;

/// The code of "service tier capacity exceeded": Mistral is out of capacity; the account is not over its
/// limit.
const NO_CAPACITY: &str = "3505";

pub(super) fn class(evidence: &Evidence) -> Option<ErrorClass> {
    let no_capacity = evidence.body.code() == Some(NO_CAPACITY)
        || evidence.body.message().starts_with("Service tier capacity exceeded");
    (evidence.status == Some(429) && no_capacity).then_some(ErrorClass::Overloaded)
}
