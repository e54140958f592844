use super::common::number;
use super::field_reader::FieldReader;
use crate::config::compiled::Quota;
use crate::config::max_pending::{MaxPending, PendingBounds, RawAdaptive, RawMaxPending};
use crate::config::mistakes::{Mistakes, Trail};
use crate::config::raw::{Mapping, RawQuota};

const MAX_PER_MINUTE: u64 = 1_000_000_000_000;
const MAX_PENDING: u64 = 1_000_000;
/// The least value of an adaptive limit, if none is written.
const DEFAULT_MIN: u64 = 1;

/// Whose limits they are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum LimitsOf {
    Account,
    Target,
}

/// The configured limits; an absent one is unlimited.
pub(super) fn quota(
    raw: Option<&Mapping<RawQuota>>,
    of: LimitsOf,
    at: &Trail<'_>,
    mistakes: &mut Mistakes,
) -> Quota {
    let Some(Mapping(raw)) = raw else { return Quota::default() };
    let mut fields = FieldReader { at: at.field("limits"), mistakes };
    let mut count = |name, written: Option<u64>, most| {
        written.map(|written| fields.count(name, Some(written), 1_u64, most))
    };
    let requests_per_minute = count("requests_per_minute", raw.requests_per_minute, MAX_PER_MINUTE);
    let tokens_per_minute = count("tokens_per_minute", raw.tokens_per_minute, MAX_PER_MINUTE);
    let max_pending = match &raw.max_pending {
        None => None,
        Some(RawMaxPending::Number(most)) => {
            let most = count("max_pending", Some(*most), MAX_PENDING);
            most.and_then(|most| u32::try_from(most).ok()).map(MaxPending::Fixed)
        }
        Some(RawMaxPending::Adaptive(raw)) => {
            let limits_at = at.field("limits");
            adaptive(raw, of, &limits_at.field("max_pending"), mistakes).map(MaxPending::Adaptive)
        }
    };
    Quota { requests_per_minute, tokens_per_minute, max_pending }
}

/// The bounds of an adaptive limit. `None` if there is a mistake in them.
fn adaptive(
    raw: &RawAdaptive,
    of: LimitsOf,
    at: &Trail<'_>,
    mistakes: &mut Mistakes,
) -> Option<PendingBounds> {
    if of == LimitsOf::Account {
        mistakes.add(
            at,
            "only a target can have an adaptive limit, because models answer at different speeds; write a number here",
        );
        return None;
    }
    if raw.adaptive != Some(true) {
        let found = if raw.adaptive.is_some() { "is `false`" } else { "is missing" };
        let advice = "expected `true`; for a fixed limit write a number as `max_pending`";
        mistakes.add(&at.field("adaptive"), format!("{found}, {advice}"));
        return None;
    }
    if raw.max.is_none() {
        mistakes.add(&at.field("max"), "is missing");
    }
    let bounds = 1..=MAX_PENDING;
    let min = number(raw.min, DEFAULT_MIN, bounds.clone(), &at.field("min"), mistakes);
    let max = number(Some(raw.max?), MAX_PENDING, bounds, &at.field("max"), mistakes);
    if min > max {
        mistakes.add(&at.field("min"), format!("is {min}, which is more than `max`, {max}"));
        return None;
    }
    Some(PendingBounds { min: u32::try_from(min).ok()?, max: u32::try_from(max).ok()? })
}
