//! Requests for what lives at one account: which accounts may have it, and which clients may ask for it.

use super::models::may_use;
use crate::base::{AccountId, Endpoint, ModelId, Owner, TargetId, Timestamp};
use crate::config::{Boundaries, ClientKey, Config};
use crate::fallback::{ClientLimits, Eligibility, Gate, GateKind, Needs, PastAttempts};
use crate::generation::Generation;
use crate::request::Facts;

/// The accounts that may have made a response for the client with this key, one for each owner: those of its models'
/// targets that serve responses and are within its boundaries. There are no more than accounts in the configuration.
pub fn response_keepers(
    generation: &Generation,
    key: Option<usize>,
    now: Timestamp,
) -> Vec<(Owner, AccountId)> {
    let config = &*generation.config;
    let boundaries = key_of(config, key).map(|key| &key.boundaries);
    let needs = Needs::of(&Facts::default(), Endpoint::Responses);
    let mut keepers: Vec<(Owner, AccountId)> = Vec::new();
    for (index, model) in config.models().iter().enumerate() {
        if !ModelId::from_index(index).is_some_and(|model| may_use(config, key, model)) {
            continue;
        }
        let client = ClientLimits::default();
        let gates = Eligibility {
            config,
            model,
            key: boundaries,
            client: &client,
            needs: &needs,
            past: PastAttempts::default(),
            estimates: None,
            now: generation.wall_time(now),
        };
        for target in model.tiers.iter().flatten().filter(|target| may_have_made(gates, **target)) {
            let Some(id) = config.target(*target).map(|target| target.account) else { continue };
            let Some(owner) = config.account(id).map(|account| account.owner) else { continue };
            if keepers.iter().all(|(known, _)| *known != owner) {
                keepers.push((owner, id));
            }
        }
    }
    keepers
}

/// Only what the operator forbids, and another API, say that a target has not made a response.
fn may_have_made(gates: Eligibility<'_>, target: TargetId) -> bool {
    gates.closed_gates(target).all(|gate| gate != Gate::Dialect && gate.kind() != GateKind::Policy)
}

/// Whether a client may ask for anything at an account. Nobody checks models, boundaries and budgets there: a batch may
/// use any model. So a key that has any of them may not.
pub fn may_use_resources(config: &Config, key: Option<usize>) -> bool {
    key_of(config, key).is_none_or(|ClientKey { models, budget, boundaries, .. }| {
        models.is_none() && budget.is_none() && Boundaries::allow_everything(boundaries)
    })
}

fn key_of(config: &Config, key: Option<usize>) -> Option<&ClientKey> {
    config.keys.as_ref()?.get(key?)
}
