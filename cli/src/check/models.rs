//! Models and targets: settings that are valid but probably not intended.

use llm_failsafe::base::{Endpoint, EndpointFamily, MicroDollars, TargetId, WallTime};
use llm_failsafe::config::{Config, MaxPending, Model, Target};
use llm_failsafe::fallback::{ClientLimits, Eligibility, Gate, Needs, PastAttempts, Translated};
use llm_failsafe::provider::{Capability, ProviderKind};
use llm_failsafe::request::Facts;

use super::SOON_MS;

/// Warnings about every model and target.
pub(super) fn warnings(config: &Config, now: WallTime) -> Vec<String> {
    let mut warnings = Vec::new();
    for model in config.models() {
        single_points(config, model, &mut warnings);
        substitutes(config, model, now, &mut warnings);
        prices(config, model, &mut warnings);
        approvals(config, model, now, &mut warnings);
        adaptive_limits(config, model, &mut warnings);
    }
    windows(config, &mut warnings);
    idle_translations(config, &mut warnings);
    warnings
}

/// Targets that ask for a translation and get none, because their provider counts as taking every dialect.
fn idle_translations(config: &Config, warnings: &mut Vec<String>) {
    let is_idle = |target: &&Target| {
        let ways = [Endpoint::Chat, Endpoint::Messages, Endpoint::Responses];
        target.translates.is_some() && ways.iter().all(|way| config.translation(target, *way).is_none())
    };
    for target in config.targets().iter().filter(is_idle) {
        let provider = config.provider(target.provider).map_or("", |provider| &provider.name);
        warnings.push(format!(
            "targets.{}.translate: nothing is translated, because the provider `{provider}` counts as taking every \
             dialect; if it takes only chat, write `endpoints: [chat]` at `providers.{provider}`",
            target.name
        ));
    }
}

fn targets<'a>(config: &'a Config, model: &'a Model) -> impl Iterator<Item = (TargetId, &'a Target)> {
    model.tiers.iter().flatten().filter_map(|id| Some((*id, config.target(*id)?)))
}

fn single_points(config: &Config, model: &Model, warnings: &mut Vec<String>) {
    let name = &model.name;
    let all: Vec<_> = targets(config, model).map(|(_, target)| target).collect();
    let Some(first) = all.first() else { return };
    if all.len() == 1 {
        warnings.push(format!("models.{name}: has a single target: if it fails, every request fails"));
    } else if all.iter().all(|target| target.account == first.account) {
        let account = config.account(first.account).map_or("", |account| &account.name);
        warnings.push(format!(
            "models.{name}: all targets use the account `{account}`: they share one quota and one key"
        ));
    } else if all.iter().all(|target| target.provider == first.provider) {
        let provider = config.provider(first.provider).map_or("", |provider| &provider.name);
        warnings.push(format!("models.{name}: all targets use the provider `{provider}`"));
    }
}

/// The gates that reject `target` for a request that needs only the endpoint, or the endpoint and one capability.
fn closed(
    config: &Config,
    model: &Model,
    (target, endpoint): (TargetId, Endpoint),
    need: Option<Capability>,
    now: WallTime,
) -> Vec<Gate> {
    let mut needs = Needs::of(&Facts::default(), endpoint);
    needs.translated = Translated::whole(endpoint);
    if let Some(capability) = need {
        needs.capabilities = needs.capabilities.with(capability, true);
    }
    let (client, past) = (ClientLimits::default(), PastAttempts::default());
    let eligibility =
        Eligibility { config, model, key: None, client: &client, needs: &needs, past, estimates: None, now };
    eligibility.closed_gates(target).collect()
}

/// Whether a request at this endpoint can ask for the capability.
const fn means_something(endpoint: Endpoint, capability: Capability) -> bool {
    use Capability::{Logprobs, N, Seed};
    match endpoint {
        Endpoint::Chat => true,
        Endpoint::Completions => matches!(capability, Logprobs | N | Seed),
        Endpoint::Embeddings
        | Endpoint::Moderations
        | Endpoint::Rerank
        | Endpoint::Images
        | Endpoint::Speech => false,
        Endpoint::Responses => !matches!(capability, N | Seed),
        Endpoint::Messages | Endpoint::CountTokens => !matches!(capability, Logprobs | N | Seed),
    }
}

/// Whether an operator wants to know that only the first tier has an endpoint.
const fn means_much(endpoint: Endpoint) -> bool {
    matches!(endpoint.family(), EndpointFamily::Generation | EndpointFamily::Embeddings)
}

/// Targets that are never eligible, and abilities of the first tier that no later tier has.
fn substitutes(config: &Config, model: &Model, now: WallTime, warnings: &mut Vec<String>) {
    let name = &model.name;
    let supports = |target: &Target, endpoint| config.serves(target, endpoint);
    for (id, target) in targets(config, model) {
        let gates = Endpoint::ALL.into_iter().filter(|endpoint| supports(target, *endpoint));
        let gates: Vec<_> = gates.map(|endpoint| closed(config, model, (id, endpoint), None, now)).collect();
        // A gate that rejects the target at every endpoint rejects every request.
        let always =
            gates.first().into_iter().flatten().filter(|gate| gates.iter().all(|set| set.contains(gate)));
        let always: Vec<_> = always.map(|gate| gate.name()).collect();
        if !always.is_empty() {
            let (target, gates) = (&target.name, always.join(", "));
            warnings.push(format!("models.{name}: `{target}` is never eligible: {gates}"));
        }
    }
    let mut tiers = model.tiers.iter().cloned();
    let first = tiers.next().unwrap_or_default();
    let rest: Vec<_> = tiers.flatten().collect();
    if rest.is_empty() {
        return;
    }
    let entry = |id: &TargetId| config.target(*id);
    let mut unsupported = Vec::new();
    // Endpoints at which the same is lost are named together.
    let mut losses: Vec<(String, Vec<String>)> = Vec::new();
    // What generates no text has models of its own, and is left out: nearly every tier lacks some of it.
    for endpoint in Endpoint::ALL.into_iter().filter(|endpoint| means_much(*endpoint)) {
        let supported =
            |ids: &[TargetId]| ids.iter().filter_map(entry).any(|target| supports(target, endpoint));
        if !supported(&first) {
            continue;
        }
        if !supported(&rest) {
            unsupported.push(format!("`{}`", endpoint.name()));
            continue;
        }
        let accepts = |ids: &[TargetId], capability| {
            ids.iter().any(|id| {
                let gates = closed(config, model, (*id, endpoint), Some(capability), now);
                !gates.contains(&Gate::Capability(capability)) && !gates.contains(&Gate::Dialect)
            })
        };
        // A first choice accepts everything that is not denied. Only what it is known to offer can be lost.
        let offered = |capability| {
            first.iter().filter_map(entry).any(|target| target.offers.capabilities.contains(capability))
        };
        let lost: Vec<_> = Capability::ALL
            .into_iter()
            .filter(|capability| means_something(endpoint, *capability))
            .filter(|capability| offered(*capability) && accepts(&first, *capability))
            .filter(|capability| !accepts(&rest, *capability))
            .map(Capability::name)
            .collect();
        if !lost.is_empty() {
            let (endpoint, lost) = (format!("`{}`", endpoint.name()), lost.join(", "));
            match losses.iter_mut().find(|(known, _)| *known == lost) {
                Some((_, endpoints)) => endpoints.push(endpoint),
                None => losses.push((lost, vec![endpoint])),
            }
        }
    }
    if !losses.is_empty() {
        let losses = losses.iter().map(|(lost, endpoints)| format!("at {}: {lost}", endpoints.join(", ")));
        let losses = losses.collect::<Vec<_>>().join("; ");
        warnings.push(format!("models.{name}: no target after the first tier offers {losses}"));
    }
    if !unsupported.is_empty() {
        let unsupported = unsupported.join(", ");
        warnings.push(format!("models.{name}: no target after the first tier supports {unsupported}"));
    }
    let window =
        |ids: &[TargetId]| ids.iter().filter_map(entry).map(|it| it.offers.context_window.tokens).max();
    if let (Some(first), Some(later)) = (window(&first), window(&rest))
        && later < first
    {
        warnings
            .push(format!("models.{name}: prompts above {later} tokens fit only the first tier ({first})"));
    }
}

/// Targets without a price, in models with a boundary that needs one.
fn prices(config: &Config, model: &Model, warnings: &mut Vec<String>) {
    let set = &model.boundaries;
    let needed = |ceiling: Option<MicroDollars>| ceiling.is_some();
    let field = if needed(set.max_price.input) || needed(set.max_price.output) {
        "max_price"
    } else if needed(set.max_request_cost) {
        "max_request_cost"
    } else if model.substitution.max_price_permille.is_some() {
        "max_price_ratio"
    } else {
        return;
    };
    for (_, target) in targets(config, model).filter(|(_, target)| target.offers.price.is_none()) {
        let (name, target) = (&model.name, &target.name);
        warnings
            .push(format!(
                "targets.{target}: has no `price`, and neither has the catalogue, but models.{name}.fallback.{field} \
                 needs one"
            ));
    }
}

fn approvals(config: &Config, model: &Model, now: WallTime, warnings: &mut Vec<String>) {
    for approval in model.substitution.approved.iter().flatten() {
        let Some(until) = approval.until else { continue };
        let named = |id| config.target(id).map_or("", |target| &*target.name);
        let (name, from, to) = (&model.name, named(approval.from), named(approval.to));
        if until <= now {
            warnings.push(format!(
                "models.{name}: the approval of `{to}` as a substitute for `{from}` has expired"
            ));
        } else if until.as_millis().saturating_sub(now.as_millis()) < SOON_MS {
            let days = until.since(now).as_secs() / (24 * 60 * 60);
            warnings.push(format!(
                "models.{name}: the approval of `{to}` as a substitute for `{from}` expires in {days} days"
            ));
        }
    }
}

/// Context windows of substitutes that the filter assumes to be small because it does not know the model. A first
/// choice is trusted with any prompt.
/// A limit that adapts is low at first, and what exceeds it should be able to wait or to go elsewhere.
fn adaptive_limits(config: &Config, model: &Model, warnings: &mut Vec<String>) {
    let adapts = |target: &Target| matches!(target.limits.max_pending, Some(MaxPending::Adaptive(_)));
    let waits = model.retry.queue.is_some();
    if !waits && targets(config, model).all(|(_, target)| adapts(target)) {
        warnings.push(format!(
            "models.{}: every target has an adaptive `max_pending`, and the model has no `retry.queue`: requests beyond \
             the limit get 429, also while it is still rising",
            model.name
        ));
    }
}

fn windows(config: &Config, warnings: &mut Vec<String>) {
    for (index, target) in config.targets().iter().enumerate() {
        let is_it = |id: &TargetId| id.index() == index;
        if !config.models().iter().any(|model| model.tiers.iter().skip(1).flatten().any(is_it)) {
            continue;
        }
        let kind = config.provider(target.provider).map(|provider| provider.kind.general());
        let unknown = matches!(kind, Some(ProviderKind::OpenRouter | ProviderKind::OpenAiCompatible));
        let window = target.offers.context_window;
        if unknown && !window.source.is_known() {
            let (target, tokens) = (&target.name, window.tokens);
            warnings.push(format!(
                "targets.{target}: has no `context_window`, and its model is not in the catalogue: as a substitute it gets \
                 no prompts above {tokens} tokens"
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use llm_failsafe::config;
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_lost_after_the_first_tier_takes_one_line_for_all_endpoints() {
        let all = json!(["chat", "completions", "embeddings", "responses", "messages"]);
        let provider = |endpoints| json!({"kind": "openai-compatible", "cluster": "a", "host": "a.test", "endpoints": endpoints});
        let able = json!({"provider": "a", "model": "m", "tools": true, "vision": true, "seed": true});
        let lines = |later: serde_json::Value| {
            let config = json!({
                "providers": {"a": provider(all.clone()), "b": provider(later)},
                "targets": {"able": able, "plain": {"provider": "b", "model": "n", "tools": false, "vision": false, "seed": false}},
                "models": {"chat": {"tiers": [["able"], ["plain"]]}},
            });
            let config = config::load(config.to_string().as_bytes(), &|_| None).unwrap();
            let lines = warnings(&config, WallTime::from_millis(0)).into_iter();
            lines.filter(|line| line.contains("after the first tier")).collect::<Vec<_>>()
        };
        assert_eq!(
            lines(all.clone()),
            ["models.chat: no target after the first tier offers at `chat`: tools, vision, seed; \
              at `completions`: seed; at `responses`, `messages`: tools, vision"]
        );
        assert_eq!(
            lines(json!(["embeddings", "responses"])),
            [
                "models.chat: no target after the first tier offers at `responses`: tools, vision",
                "models.chat: no target after the first tier supports `chat`, `completions`, `messages`",
            ]
        );
    }

    #[test]
    fn adaptive_limits_without_a_queue_or_another_target_are_named() {
        let lines = |second: serde_json::Value, retry: serde_json::Value| {
            let adaptive = json!({"max_pending": {"adaptive": true, "max": 9}});
            let config = json!({
                "providers": {"a": {"kind": "openai"}},
                "targets": {
                    "own": {"provider": "a", "model": "m", "limits": adaptive},
                    "other": {"provider": "a", "model": "n", "limits": second},
                },
                "models": {"chat": {"targets": ["own", "other"], "retry": retry}},
            });
            let config = config::load(config.to_string().as_bytes(), &|_| None).unwrap();
            let lines = warnings(&config, WallTime::from_millis(0)).into_iter();
            lines.filter(|line| line.contains("adaptive")).collect::<Vec<_>>()
        };
        let adaptive = json!({"max_pending": {"adaptive": true, "max": 5}});
        assert_eq!(
            lines(adaptive.clone(), json!({})),
            [
                "models.chat: every target has an adaptive `max_pending`, and the model has no `retry.queue`: requests beyond \
              the limit get 429, also while it is still rising"
            ]
        );
        assert!(lines(adaptive, json!({"queue": {"max_wait": "5s"}})).is_empty());
        assert!(lines(json!({"max_pending": 5}), json!({})).is_empty());
        assert!(lines(json!({}), json!({})).is_empty());
    }

    #[test]
    fn every_tier_of_the_documented_example_can_serve_requests() {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/configuration.md");
        let page = std::fs::read_to_string(page).unwrap();
        let (_, section) = page.split_once("## A complete example").unwrap();
        let example = section.split("```").nth(1).unwrap().strip_prefix("yaml\n").unwrap();
        let example: serde_json::Value = serde_yaml_ng::from_str(example).unwrap();
        let config = config::load(example.to_string().as_bytes(), &|_| Some("x".to_owned())).unwrap();
        let found = warnings(&config, WallTime::from_millis(1_796_000_000_000));
        for part in ["never eligible", "has no `price`", "the approval of"] {
            assert!(!found.iter().any(|line| line.contains(part)), "{found:#?}");
        }
        assert!(config.models().iter().any(|model| model.tiers.len() > 2));
    }
}
