//! Tells a target's breaker that an answer begins.

use super::transitions::count_transition;
use crate::base::{TargetId, Timestamp};
use crate::breaker::{Breaker, Change, Scope};
use crate::generation::Effects;
use crate::intake::ClientRequest;

/// The target has begun to answer the request. `is_good` unless the answer is already known to be none.
pub fn answer_begins(
    request: &ClientRequest,
    target: TargetId,
    is_good: bool,
    effects: &mut Effects<'_>,
    now: Timestamp,
) {
    let breaker = Breaker::new(Scope::Target(target), request.endpoint.family());
    let mut view = request.generation.health_view.borrow_mut();
    let Change { result: transition, shared } = view.answered(effects.store, breaker, is_good, now);
    drop(view);
    effects.note_shared(shared);
    count_transition(request.config(), breaker.scope(), transition, effects);
}
