//! Compiles the raw types: applies defaults, checks bounds and resolves references.
//!
//! An entry's identifier is its position among the sorted names of its section, even if the entry itself has
//! a mistake. So a wrong entry is not reported again for everything that refers to it. Positions never shift,
//! because any mistake rejects the whole configuration.

mod balance;
mod boundaries;
mod breaker;
mod budget;
mod classes;
mod common;
mod dates;
mod field_reader;
mod headers;
mod keys;
mod limits;
mod models;
mod names;
mod offers;
mod operator;
mod owners;
mod providers;
mod quota;
mod record;
mod rest;
mod retry;
mod stream;
mod targets;
mod text;
mod translate;

use std::rc::Rc;

use super::balance::{Balance, SessionKey};
use super::compiled::Config;
use super::mistakes::{Mistakes, Trail};
use super::model_names::ModelNames;
use super::raw::RawConfig;
use crate::base::{Endpoint, EndpointSet};
use crate::provider::{self, RequestHeader};
pub use budget::MAX_METADATA;
use common::{Env, all_or_none, each, required};
pub use limits::{
    MAX_ACCOUNTS, MAX_ALIASES, MAX_ATTEMPTS, MAX_BODY_BYTES, MAX_CLIENT_KEYS, MAX_DIGESTS, MAX_HEADERS,
    MAX_JOURNEYS, MAX_MODELS, MAX_OPERATOR_KEYS, MAX_PROBES, MAX_PROVIDERS, MAX_TARGETS, MAX_TIERS,
    MAX_WEIGHT,
};
use names::{NameRule, Names};

/// Compiles `raw` and adds every mistake in it to `mistakes`. Returns `None` only if there is a mistake.
pub(super) fn compile(
    raw: &RawConfig,
    fingerprint: u64,
    env: Env<'_>,
    mistakes: &mut Mistakes,
) -> Option<Config> {
    let root = Trail::Root;
    required(&raw.providers, &root.field("providers"), mistakes);
    required(&raw.targets, &root.field("targets"), mistakes);
    required(&raw.models, &root.field("models"), mistakes);
    let provider_names =
        Names::of("provider", "providers", &raw.providers, MAX_PROVIDERS, NameRule::Plain, mistakes);
    let account_names =
        Names::of("account", "accounts", &raw.accounts, MAX_ACCOUNTS, NameRule::Plain, mistakes);
    let target_names = Names::of("target", "targets", &raw.targets, MAX_TARGETS, NameRule::Plain, mistakes);
    let model_names = Names::of("model", "models", &raw.models, MAX_MODELS, NameRule::Model, mistakes);
    Names::of("key", "keys", &raw.keys, MAX_CLIENT_KEYS, NameRule::Plain, mistakes);

    let providers = each(&raw.providers, "providers", mistakes, providers::provider);
    let mut accounts = each(&raw.accounts, "accounts", mistakes, |name, raw, at, mistakes| {
        targets::account(name, raw, &provider_names, env, at, mistakes)
    });
    let against =
        targets::Targets { names: &provider_names, providers: &providers, accounts: &account_names, env };
    let targets = each(&raw.targets, "targets", mistakes, |name, raw, at, mistakes| {
        against.target(name, raw, &mut accounts, at, mistakes)
    });
    let known = boundaries::Known { providers: &provider_names, targets: &target_names };
    let models = each(&raw.models, "models", mistakes, |name, raw, at, mistakes| {
        models::model(name, raw, known, at, mistakes)
    });
    models::check_names(&raw.models, &model_names, mistakes);
    let keys = keys::keys(&raw.keys, &model_names, known, mistakes);
    let operators = operator::operators(raw.operator.as_ref(), mistakes);
    let other_paths = rest::other_paths(raw.other_paths.as_ref(), &account_names, mistakes);
    let resources = rest::resources(raw.resources.as_ref(), &account_names, mistakes);
    let limits = rest::limits(raw.limits.as_ref(), mistakes);
    let breaker = breaker::policy(raw.breaker.as_ref(), mistakes);
    let retry_budget = retry::budget(raw.retry_budget.as_ref(), mistakes);
    let mode = rest::mode(raw.mode.as_ref(), mistakes);
    let metric_labels = rest::metric_labels(raw.metric_labels.as_ref(), mistakes);
    if raw.fleet_rate_limit == Some(true) && raw.keys.is_none() {
        mistakes.add(
            &root.field("fleet_rate_limit"),
            "needs `keys`: without keys there is nothing to count the usage for",
        );
    }
    let record = record::policy(raw.record.as_ref(), mistakes);

    let mut models = all_or_none(models)?;
    let (targets, keys) = (all_or_none(targets)?, keys?);
    models::check_stars(&models, &targets, mistakes);
    budget::require_prices(keys.as_deref().unwrap_or_default(), &models, &targets, mistakes);
    let mut accounts = all_or_none(accounts)?;
    let written = raw.accounts.as_ref().map_or(0, std::collections::BTreeMap::len);
    targets::injected_once(&accounts, written, &providers, mistakes);
    owners::set(&mut accounts, &targets, &mut models);
    for model in &mut models {
        let ids = model.tiers.iter().flatten();
        let mut accounts = ids.filter_map(|id| Some(targets.get(id.index())?.account));
        let first = accounts.next();
        model.one_account = accounts.all(|account| Some(account) == first);
    }
    let providers = all_or_none(providers)?;
    for model in &mut models {
        let targets = || model.tiers.iter().flatten().filter_map(|id| targets.get(id.index()));
        let translates = |endpoint: &Endpoint| {
            targets().any(|target| {
                let rules = target.translates.zip(providers.get(target.provider.index()));
                rules.is_some_and(|(rules, provider)| {
                    rules.way(provider.kind, provider.endpoints, *endpoint).is_some()
                })
            })
        };
        let translated: Vec<_> = Endpoint::ALL.into_iter().filter(translates).collect();
        model.translated = EndpointSet::of(&translated);
    }
    let keeps_responses = owners::several_keep_responses(&accounts, &targets, &providers);
    let mut forwarded: Vec<Rc<str>> = providers
        .iter()
        .flat_map(|provider| &provider.forward_headers)
        .map(|name| Rc::from(&**name))
        .collect();
    // Any other header is on a list of its own, and what one provider gets besides takes nothing from another.
    forwarded.retain(|name| provider::request_header(name.as_bytes()) == RequestHeader::Other);
    forwarded.sort();
    forwarded.dedup();
    let tracks_conversations = models.iter().any(
        |model| matches!(&model.balance, Balance::Sticky { by } if by.contains(&SessionKey::Conversation)),
    );
    Some(Config {
        tracks_conversations,
        keeps_responses,
        tracks_state: models.iter().any(|model| model.has_many_owners),
        providers,
        accounts,
        targets,
        model_names: ModelNames::of(
            models.iter().map(|model| (&model.name, &*model.aliases, model.is_default)),
        ),
        models,
        keys,
        operators: operators?,
        other_paths: other_paths?,
        resources: resources?,
        limits,
        breaker,
        retry_budget,
        mode,
        metric_labels,
        record,
        retry_loop: raw.retry_loop.unwrap_or(false),
        route_strips_headers: raw.route_strips_headers.unwrap_or(false),
        fleet_rate_limit: raw.fleet_rate_limit.unwrap_or(false),
        forwarded,
        fingerprint,
    })
}
