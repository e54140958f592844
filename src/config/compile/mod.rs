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
mod field_reader;
mod keys;
mod models;
mod names;
mod offers;
mod operator;
mod providers;
mod quota;
mod record;
mod rest;
mod retry;

mod stream;
mod targets;
mod text;

use std::rc::Rc;

use super::balance::{Balance, SessionKey};
use super::compiled::Config;
use super::mistakes::{Mistakes, Trail, shown};
use super::nearest::hint;
use super::raw::{Mapping, RawConfig, Section};
use crate::base::ModelId;
pub use budget::MAX_METADATA;
use names::{NameRule, Names};

/// The maximum number of providers.
pub const MAX_PROVIDERS: usize = 64;
/// The maximum number of entries of `accounts`. Each target with its own provider adds one account to them.
pub const MAX_ACCOUNTS: usize = 256;
/// The maximum number of targets.
pub const MAX_TARGETS: usize = 512;
/// The maximum number of logical models.
pub const MAX_MODELS: usize = 256;
/// The maximum number of client keys.
pub const MAX_CLIENT_KEYS: usize = 1000;
/// The maximum number of operators' keys.
pub const MAX_OPERATOR_KEYS: usize = 32;
/// The maximum number of headers that are set for one provider.
pub const MAX_HEADERS: usize = 32;
/// The maximum number of tiers of one model.
pub const MAX_TIERS: usize = 16;
/// The maximum number of attempts per request, including the first.
pub const MAX_ATTEMPTS: u8 = 10;
/// The maximum weight of a target.
pub const MAX_WEIGHT: u32 = 1_000_000;
/// The maximum of `limits.max_body`, in bytes.
pub const MAX_BODY_BYTES: u64 = 256 * 1024 * 1024;
/// The maximum of `limits.max_journeys`.
pub const MAX_JOURNEYS: usize = 100_000;

/// The maximum of `breaker.probes`: a breaker's shared record has room for this many leases.
pub const MAX_PROBES: u8 = 4;

type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

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
    let keys = keys::keys(&raw.keys, &model_names, known, mistakes);
    let operators = operator::operators(raw.operator.as_ref(), mistakes);
    let other_paths = rest::other_paths(raw.other_paths.as_ref(), mistakes);
    let limits = rest::limits(raw.limits.as_ref(), mistakes);
    let breaker = breaker::policy(raw.breaker.as_ref(), mistakes);
    let retry_budget = retry::budget(raw.retry_budget.as_ref(), mistakes);
    let mode = rest::mode(raw.mode.as_ref(), mistakes);
    if raw.fleet_rate_limit == Some(true) && raw.keys.is_none() {
        mistakes.add(
            &root.field("fleet_rate_limit"),
            "needs `keys`: without keys there is nothing to count the usage for",
        );
    }
    let record = record::policy(raw.record.as_ref(), mistakes);

    let models = all_or_none(models)?;
    let ids = models.iter().enumerate();
    let model_by_name = ids
        .filter_map(|(index, model)| Some((Rc::clone(&model.name), ModelId::from_index(index)?)))
        .collect();
    let (targets, keys) = (all_or_none(targets)?, keys?);
    budget::require_prices(keys.as_deref().unwrap_or_default(), &models, &targets, mistakes);
    let tracks_conversations = models.iter().any(
        |model| matches!(&model.balance, Balance::Sticky { by } if by.contains(&SessionKey::Conversation)),
    );
    Some(Config {
        tracks_conversations,
        providers: all_or_none(providers)?,
        accounts: all_or_none(accounts)?,
        targets,
        models,
        model_by_name,
        keys,
        operators: operators?,
        other_paths: other_paths?,
        limits,
        breaker,
        retry_budget,
        mode,
        record,
        retry_loop: raw.retry_loop.unwrap_or(false),
        fleet_rate_limit: raw.fleet_rate_limit.unwrap_or(false),
        fingerprint,
    })
}

/// Adds a mistake if a section without entries must have some.
fn required<T>(section: &Option<Section<T>>, at: &Trail<'_>, mistakes: &mut Mistakes) {
    match section {
        None => mistakes.add(at, "is missing, at least one entry is needed"),
        Some(entries) if entries.is_empty() => mistakes.add(at, "is empty, at least one entry is needed"),
        Some(_) => {}
    }
}

/// Compiles the entries of a section, sorted by name. Entries with a mistake keep their positions.
fn each<T, U>(
    section: &Option<Section<T>>,
    name: &str,
    mistakes: &mut Mistakes,
    mut compile_entry: impl FnMut(&str, &T, &Trail<'_>, &mut Mistakes) -> Option<U>,
) -> Vec<Option<U>> {
    let section_at = Trail::Root.field(name);
    let entries = section.iter().flatten();
    entries
        .map(|(name, entry)| {
            let Mapping(raw) = entry.as_ref()?;
            compile_entry(name, raw, &section_at.field(name), mistakes)
        })
        .collect()
}

fn all_or_none<T>(entries: Vec<Option<T>>) -> Option<Vec<T>> {
    entries.into_iter().collect()
}

/// The value of a required field; adds a mistake if it is missing.
fn needed<'a, T>(field: &'a Option<T>, name: &str, at: &Trail<'_>, mistakes: &mut Mistakes) -> Option<&'a T> {
    if field.is_none() {
        mistakes.add(&at.field(name), "is missing");
    }
    field.as_ref()
}

/// A whole number within `bounds`, or the default if it is absent.
fn number(
    written: Option<u64>,
    default: u64,
    bounds: std::ops::RangeInclusive<u64>,
    at: &Trail<'_>,
    mistakes: &mut Mistakes,
) -> u64 {
    let number = written.unwrap_or(default);
    if !bounds.contains(&number) {
        mistakes.add(at, format!("is {number}, expected {} to {}", bounds.start(), bounds.end()));
        return default;
    }
    number
}

/// The meaning of one of the words in `meanings`, or the default if it is absent.
fn word<T: Copy + Default>(
    written: Option<&String>,
    meanings: &[(&str, T)],
    at: &Trail<'_>,
    mistakes: &mut Mistakes,
) -> T {
    let Some(written) = written else { return T::default() };
    let found = meanings.iter().find(|(word, _)| *word == written);
    if found.is_none() {
        let near = hint(written, meanings.iter().map(|(word, _)| *word));
        mistakes.add(at, format!("`{}` is not a valid value{near}", shown(written)));
    }
    found.map(|(_, meaning)| *meaning).unwrap_or_default()
}
