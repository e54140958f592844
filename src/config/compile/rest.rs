use super::common::{needed, number, word};
use super::limits::{MAX_BODY_BYTES, MAX_HELD_BYTES, MAX_JOURNEYS};
use super::names::Names;
use super::text;
use crate::base::AccountId;
use crate::config::compiled::{Limits, OtherPaths};
use crate::config::metric_labels::MetricLabels;
use crate::config::mistakes::{Mistakes, Trail, shown};
use crate::config::mode::Mode;
use crate::config::raw::{Mapping, RawDestination, RawLimits, RawOtherPaths, RawResources};
use crate::config::size::Size;

const MIN_BODY_BYTES: u64 = 1024;
const DEFAULT_BODY_BYTES: u64 = 32 * 1024 * 1024;
/// Sixteen of the largest bodies. Envoy needs up to two and a half times this much memory for them.
/// The default of `limits.max_translated_body`, and its maximum: a translation has the body in memory twice.
const DEFAULT_TRANSLATED_BYTES: u64 = 8 * 1024 * 1024;
const MAX_TRANSLATED_BYTES: u64 = 32 * 1024 * 1024;
const DEFAULT_HELD_BYTES: u64 = 512 * 1024 * 1024;
const DEFAULT_JOURNEYS: u64 = 10_000;

pub(super) fn other_paths(
    raw: Option<&RawOtherPaths>,
    accounts: &Names<'_>,
    mistakes: &mut Mistakes,
) -> Option<OtherPaths> {
    let at = Trail::Root.field("other_paths");
    match raw {
        None => Some(OtherPaths::Refuse),
        Some(RawOtherPaths::Word(word)) if word == "refuse" => Some(OtherPaths::Refuse),
        Some(RawOtherPaths::Word(word)) => {
            let problem = format!(
                "`{}` is not a valid value, expected `refuse` or a mapping such as `{{ cluster: NAME }}`",
                shown(word)
            );
            mistakes.add(&at, problem);
            None
        }
        Some(RawOtherPaths::Fields(RawDestination { cluster: Some(_), account: Some(_) })) => {
            mistakes
                .add(&at, "has both `cluster` and `account`, expected one: an account already has a cluster");
            None
        }
        Some(RawOtherPaths::Fields(RawDestination { account: Some(name), .. })) => {
            account(name, &at, accounts, mistakes).map(OtherPaths::Account)
        }
        Some(RawOtherPaths::Fields(raw)) => {
            let cluster = needed(&raw.cluster, "cluster", &at, mistakes)?;
            text::checked(cluster, text::cluster, &at.field("cluster"), mistakes).map(OtherPaths::Cluster)
        }
    }
}

/// The account at which resources live, if there is one. `None` for a mistake.
pub(super) fn resources(
    raw: Option<&Mapping<RawResources>>,
    accounts: &Names<'_>,
    mistakes: &mut Mistakes,
) -> Option<Option<AccountId>> {
    let Some(Mapping(raw)) = raw else { return Some(None) };
    let at = Trail::Root.field("resources");
    let name = needed(&raw.account, "account", &at, mistakes)?;
    account(name, &at, accounts, mistakes).map(Some)
}

fn account(name: &str, at: &Trail<'_>, accounts: &Names<'_>, mistakes: &mut Mistakes) -> Option<AccountId> {
    AccountId::from_index(accounts.find(name, &at.field("account"), mistakes)?)
}

pub(super) fn limits(raw: Option<&Mapping<RawLimits>>, mistakes: &mut Mistakes) -> Limits {
    let at = Trail::Root.field("limits");
    let raw = raw.map(|Mapping(raw)| raw);
    let Size(mut max_body_bytes) = raw.and_then(|raw| raw.max_body).unwrap_or(Size(DEFAULT_BODY_BYTES));
    if !(MIN_BODY_BYTES..=MAX_BODY_BYTES).contains(&max_body_bytes) {
        mistakes.add(&at.field("max_body"), format!("is {max_body_bytes} bytes, expected 1KiB to 256MiB"));
        max_body_bytes = DEFAULT_BODY_BYTES;
    }
    let Size(mut max_held_bytes) = raw.and_then(|raw| raw.max_held_bytes).unwrap_or(Size(DEFAULT_HELD_BYTES));
    // Otherwise a body of the largest size would never be accepted.
    if !(max_body_bytes..=MAX_HELD_BYTES).contains(&max_held_bytes) {
        let problem =
            format!("is {max_held_bytes} bytes, expected `max_body` ({max_body_bytes} bytes) to 65536MiB");
        mistakes.add(&at.field("max_held_bytes"), problem);
        max_held_bytes = DEFAULT_HELD_BYTES;
    }
    let Size(mut max_translated_bytes) =
        raw.and_then(|raw| raw.max_translated_body).unwrap_or(Size(DEFAULT_TRANSLATED_BYTES));
    if !(MIN_BODY_BYTES..=MAX_TRANSLATED_BYTES).contains(&max_translated_bytes) {
        let problem = format!("is {max_translated_bytes} bytes, expected 1KiB to 32MiB");
        mistakes.add(&at.field("max_translated_body"), problem);
        max_translated_bytes = DEFAULT_TRANSLATED_BYTES;
    }
    let written = raw.and_then(|raw| raw.max_journeys);
    let bounds = 1..=MAX_JOURNEYS as u64;
    let max_journeys = number(written, DEFAULT_JOURNEYS, bounds, &at.field("max_journeys"), mistakes);
    let max_journeys = usize::try_from(max_journeys).unwrap_or(MAX_JOURNEYS);
    Limits { max_body_bytes, max_held_bytes, max_translated_bytes, max_journeys }
}

pub(super) fn mode(written: Option<&String>, mistakes: &mut Mistakes) -> Mode {
    let meanings = [("enforce", Mode::Enforce), ("shadow", Mode::Shadow)];
    word(written, &meanings, &Trail::Root.field("mode"), mistakes)
}

pub(super) fn metric_labels(written: Option<&String>, mistakes: &mut Mistakes) -> MetricLabels {
    let meanings = [("envoy", MetricLabels::Envoy), ("istio", MetricLabels::Istio)];
    word(written, &meanings, &Trail::Root.field("metric_labels"), mistakes)
}
