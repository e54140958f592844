use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;

use super::boundaries::Known;
use super::classes::classes;
use super::common::word;
use super::limits::{MAX_ALIASES, MAX_TIERS};
use super::names::{NameRule, Names};
use super::{balance, retry, stream};
use crate::base::{ClassSet, EndpointSet, ErrorClass, TargetId};
use crate::config::compiled::{EmptyStop, Model, ResponseModel, Target, WhenAllOpen};
use crate::config::mistakes::{Mistakes, Trail, shown};
use crate::config::model_names::{is_model_name, pattern};
use crate::config::nearest::hint;
use crate::config::raw::{Mapping, RawFallback, RawModel, Section, Words};

/// The error classes that may not occur at another target. The others are the request's own fault, or a
/// provider rejects the content. Such requests are not sent elsewhere unless the configuration says so.
const DEFAULT_FALLBACK_ON: [ErrorClass; 19] = [
    ErrorClass::Transport,
    ErrorClass::Timeout,
    ErrorClass::Overloaded,
    ErrorClass::Server,
    ErrorClass::RateLimited,
    ErrorClass::QuotaExhausted,
    ErrorClass::Auth,
    ErrorClass::NotFound,
    ErrorClass::StreamTruncated,
    ErrorClass::StreamError,
    ErrorClass::StreamStalled,
    ErrorClass::ModelQuota,
    ErrorClass::Unsuitable,
    ErrorClass::StateNotFound,
    ErrorClass::Conflict,
    ErrorClass::Empty,
    ErrorClass::Malformed,
    ErrorClass::Redirected,
    ErrorClass::HopClosed,
];

pub(super) fn model(
    name: &str,
    raw: &RawModel,
    known: Known<'_>,
    at: &Trail<'_>,
    mistakes: &mut Mistakes,
) -> Option<Model> {
    let tiers = tiers(raw, known.targets, at, mistakes);
    let nothing = RawFallback::default();
    let fallback = raw.fallback.as_ref().map_or(&nothing, |Mapping(fallback)| fallback);
    let at_fallback = at.field("fallback");
    let fallback_on = fallback_on(fallback, &at_fallback, mistakes);
    let stops = [("fail", EmptyStop::Fail), ("pass", EmptyStop::Pass)];
    let empty_stop = word(fallback.empty_stop.as_ref(), &stops, &at_fallback.field("empty_stop"), mistakes);
    let boundaries = known.of_model(fallback, &at_fallback, mistakes);
    let substitution = known.substitution(fallback, &at_fallback, mistakes);
    let answers = [
        ("refuse", WhenAllOpen::Refuse),
        ("try_anyway", WhenAllOpen::TryAnyway),
        ("queue", WhenAllOpen::Queue),
    ];
    let when_all_open = word(raw.when_all_open.as_ref(), &answers, &at.field("when_all_open"), mistakes);
    let names = [("provider", ResponseModel::Provider), ("logical", ResponseModel::Logical)];
    let response_model = word(raw.response_model.as_ref(), &names, &at.field("response_model"), mistakes);
    let mut retry_policy = retry::policy(raw.retry.as_ref(), &at.field("retry"), mistakes);
    if when_all_open == WhenAllOpen::Queue {
        retry_policy.queue.get_or_insert_default();
    }
    Some(Model {
        name: Rc::from(name),
        aliases: aliases(raw, at, mistakes),
        is_default: raw.default.unwrap_or(false),
        tiers: tiers?,
        balance: balance::balance(raw.balance.as_ref(), &at.field("balance"), mistakes),
        retry: retry_policy,
        fallback_on,
        empty_stop,
        boundaries,
        substitution,
        when_all_open,
        response_model,
        stream: stream::policies(raw.stream.as_ref(), at, mistakes),
        has_many_owners: false,
        one_account: false,
        translated: EndpointSet::default(),
    })
}

fn aliases(raw: &RawModel, at: &Trail<'_>, mistakes: &mut Mistakes) -> Vec<Rc<str>> {
    let Some(words) = &raw.aliases else { return Vec::new() };
    let at = at.field("aliases");
    if words.is_empty() || words.len() > MAX_ALIASES {
        mistakes.add(&at, format!("has {} entries, expected 1 to {MAX_ALIASES}", words.len()));
    }
    for (index, alias) in words.iter().enumerate().take(MAX_ALIASES) {
        let Some(alias) = alias else { continue };
        if pattern(alias).is_some() {
            mistakes.add(&at.item(index), "is a pattern; make it a model of its own");
        } else if !is_model_name(alias) {
            mistakes.add(&at.item(index), NameRule::Model.expected());
        }
    }
    words.iter().flatten().take(MAX_ALIASES).map(|alias| Rc::from(&**alias)).collect()
}

/// What all models have to agree on: every name means one model, and at most one is the default.
pub(super) fn check_names(section: &Option<Section<RawModel>>, models: &Names<'_>, mistakes: &mut Mistakes) {
    let mut holders: HashMap<&str, &str> = HashMap::new();
    let mut default: Option<&str> = None;
    let at = Trail::Root.field("models");
    for (name, raw) in section.iter().flatten() {
        let Some(Mapping(raw)) = raw else { continue };
        let at = at.field(name);
        for (index, alias) in raw.aliases.iter().flatten().enumerate() {
            let Some(alias) = alias else { continue };
            let at_field = at.field("aliases");
            let at = at_field.item(index);
            if models.contains(alias) {
                mistakes.add_with(&at, || format!("`{}` is the name of a model", shown(alias)));
            } else if let Some(holder) = holders.insert(alias, name) {
                let problem =
                    || format!("`{}` is also an alias of the model `{}`", shown(alias), shown(holder));
                mistakes.add_with(&at, problem);
            }
        }
        if raw.default != Some(true) {
            continue;
        }
        let at = at.field("default");
        if pattern(name).is_some() {
            mistakes.add(&at, "cannot be set for a pattern, which says itself which names it serves");
        }
        if let Some(other) = default.replace(name) {
            mistakes.add_with(&at, || format!("is already set for the model `{}`", shown(other)));
        }
    }
}

/// A target whose model has a star needs a name to put there, which only a pattern has.
pub(super) fn check_stars(models: &[Model], targets: &[Target], mistakes: &mut Mistakes) {
    for model in models.iter().filter(|model| pattern(&model.name).is_none()) {
        let at_models = Trail::Root.field("models");
        for id in model.tiers.iter().flatten() {
            let Some(target) = targets.get(id.index()).filter(|target| target.takes_rest) else { continue };
            let problem = || {
                format!(
                    "has the target `{}`, whose `model` has a `*`; only a model whose name ends with `*` can fill it in",
                    shown(&target.name)
                )
            };
            mistakes.add_with(&at_models.field(&model.name), problem);
        }
    }
}

fn tiers(
    raw: &RawModel,
    targets: &Names<'_>,
    at: &Trail<'_>,
    mistakes: &mut Mistakes,
) -> Option<Vec<Vec<TargetId>>> {
    let mut named = BTreeSet::new();
    match (&raw.tiers, &raw.targets) {
        (Some(_), Some(_)) => {
            mistakes.add(
                at,
                "has both `tiers` and `targets`, expected one: `targets` is short for a single tier",
            );
            None
        }
        (None, None) => {
            if !mistakes.holds(&at.field("tiers")) && !mistakes.holds(&at.field("targets")) {
                mistakes.add(at, "has neither `tiers` nor `targets`, expected one of them");
            }
            None
        }
        (None, Some(words)) => Some(vec![tier(words, &mut named, targets, &at.field("targets"), mistakes)]),
        (Some(tiers), None) => {
            let at = at.field("tiers");
            if tiers.is_empty() || tiers.len() > MAX_TIERS {
                mistakes.add(&at, format!("has {} tiers, expected 1 to {MAX_TIERS}", tiers.len()));
            }
            let numbered = tiers.iter().enumerate().take(MAX_TIERS);
            let written = numbered.filter_map(|(index, words)| Some((index, words.as_ref()?)));
            Some(
                written
                    .map(|(index, words)| tier(words, &mut named, targets, &at.item(index), mistakes))
                    .collect(),
            )
        }
    }
}

fn tier<'a>(
    words: &'a Words,
    named: &mut BTreeSet<&'a str>,
    targets: &Names<'_>,
    at: &Trail<'_>,
    mistakes: &mut Mistakes,
) -> Vec<TargetId> {
    if words.is_empty() {
        mistakes.add(at, "is empty, expected at least one target");
    }
    let mut tier = Vec::new();
    for (index, word) in words.iter().enumerate() {
        let Some(word) = word else { continue };
        let at = at.item(index);
        if !named.insert(word) {
            mistakes.add_with(&at, || format!("target `{}` is listed twice in this model", shown(word)));
            continue;
        }
        tier.extend(targets.find(word, &at, mistakes).and_then(TargetId::from_index));
    }
    tier
}

/// The error classes after which another target may be tried. Two classes have fields of their own, so that
/// adding them does not require listing all the others.
fn fallback_on(raw: &RawFallback, at: &Trail<'_>, mistakes: &mut Mistakes) -> ClassSet {
    let listed = raw.on.as_ref().map(|words| classes(words, &at.field("on"), mistakes));
    let mut on = listed.clone().unwrap_or_else(|| DEFAULT_FALLBACK_ON.to_vec());
    for (name, class, moves, word) in [
        ("context_length", ErrorClass::ContextLength, "larger_window", &raw.context_length),
        ("content_policy", ErrorClass::ContentPolicy, "elsewhere", &raw.content_policy),
    ] {
        let Some(word) = word else { continue };
        let at = at.field(name);
        if word == moves {
            on.push(class);
        } else if word != "stop" {
            let near = hint(word, [moves, "stop"].into_iter());
            mistakes.add(&at, format!("`{}` is not a valid value{near}", shown(word)));
        } else if listed.as_ref().is_some_and(|listed| listed.contains(&class)) {
            mistakes.add(&at, format!("is `stop`, but `on` lists `{name}`"));
        }
    }
    ClassSet::of(&on)
}
