//! Whether a request may choose models and hosts at a provider that is a router itself.
//!
//! OpenRouter and other routers take a list of models that may answer instead. The filter checks only the target that it
//! has chosen, so such a list would lead past what the operator has restricted. Without restrictions it passes.

use crate::config::{Boundaries, ClientKey, Mode, Model, SubstitutionRules};
use crate::request::OwnRouting;

/// The members of the body that would lead past the restrictions of this model and this key, if there are any.
pub fn restricted_routing(
    routing: OwnRouting,
    model: &Model,
    key: Option<&ClientKey>,
) -> Option<&'static str> {
    if routing == OwnRouting::default() {
        return None;
    }
    let SubstitutionRules { max_price_permille, approved, mode, .. } = &model.substitution;
    let is_enforced = *mode == Mode::Enforce;
    let restricts = |set: &Boundaries| !set.allow_everything();
    let hosts =
        (is_enforced && restricts(&model.boundaries)) || key.is_some_and(|key| restricts(&key.boundaries));
    let models = hosts
        || (is_enforced && (max_price_permille.is_some() || approved.is_some()))
        || key.is_some_and(|key| key.models.is_some());
    if routing.models && models {
        return Some("`models`, `fallbacks`, `fallback_models`, `route` or `preset`");
    }
    (routing.hosts && hosts).then_some("`provider`")
}
