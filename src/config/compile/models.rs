use std::collections::BTreeSet;
use std::rc::Rc;

use super::names::Names;
use super::{MAX_TIERS, balance, retry, stream, word};
use crate::base::{ClassSet, ErrorClass, TargetId};
use crate::config::compiled::{Model, WhenAllOpen};
use crate::config::mistakes::{Mistakes, Trail, shown};
use crate::config::nearest::hint;
use crate::config::raw::{Mapping, RawModel, Words};

/// The failures that another target may not have. The others are the request's own, or a provider's refusal
/// of the content, and are not shopped around unless asked for.
const DEFAULT_FALLBACK_ON: [ErrorClass; 11] = [
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
];

pub(super) fn model(
    name: &str,
    raw: &RawModel,
    targets: &Names<'_>,
    at: &Trail<'_>,
    mistakes: &mut Mistakes,
) -> Option<Model> {
    let tiers = tiers(raw, targets, at, mistakes);
    let words = raw.fallback.as_ref().and_then(|Mapping(fallback)| fallback.on.as_ref());
    let fallback_on = fallback_on(words, &at.field("fallback").field("on"), mistakes);
    let answers = [("refuse", WhenAllOpen::Refuse), ("try_anyway", WhenAllOpen::TryAnyway)];
    let when_all_open = word(raw.when_all_open.as_ref(), &answers, &at.field("when_all_open"), mistakes);
    Some(Model {
        name: Rc::from(name),
        tiers: tiers?,
        balance: balance::balance(raw.balance.as_ref(), &at.field("balance"), mistakes),
        retry: retry::policy(raw.retry.as_ref(), &at.field("retry"), mistakes),
        fallback_on,
        when_all_open,
        stream: stream::policy(raw.stream.as_ref(), at, mistakes),
    })
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
            mistakes.add_with(&at, || format!("target `{}` is named twice in this model", shown(word)));
            continue;
        }
        tier.extend(targets.find(word, &at, mistakes).and_then(TargetId::from_index));
    }
    tier
}

fn fallback_on(words: Option<&Words>, at: &Trail<'_>, mistakes: &mut Mistakes) -> ClassSet {
    let Some(words) = words else { return ClassSet::of(&DEFAULT_FALLBACK_ON) };
    let mut listed = Vec::new();
    for (index, word) in words.iter().enumerate() {
        let Some(word) = word else { continue };
        match failure(word, &listed) {
            Ok(class) => listed.push(class),
            Err(problem) => mistakes.add(&at.item(index), problem),
        }
    }
    ClassSet::of(&listed)
}

fn failure(word: &str, listed: &[ErrorClass]) -> Result<ErrorClass, String> {
    let allowed = ErrorClass::ALL.into_iter().filter(|class| *class != ErrorClass::ClientAbort);
    match ErrorClass::from_name(word) {
        Some(ErrorClass::ClientAbort) => {
            Err(String::from("`client_abort` cannot be a reason: nobody is left to answer"))
        }
        Some(class) if listed.contains(&class) => Err(format!("`{word}` is listed twice")),
        Some(class) => Ok(class),
        None => Err(format!("`{}` is no failure{}", shown(word), hint(word, allowed.map(ErrorClass::name)))),
    }
}
