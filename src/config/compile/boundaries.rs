use std::rc::Rc;

use super::classes::classes;
use super::common::{needed, number, word};
use super::dates::end_of_day;
use super::limits::MAX_TARGETS;
use super::names::Names;
use super::offers::dollars;
use super::text;
use crate::base::{ClassSet, MicroDollars, ProviderId, TargetId};
use crate::config::boundaries::{
    Access, Approval, Boundaries, PriceCeiling, SealedReasoning, SubstitutionRules,
};
use crate::config::mistakes::{Mistakes, Trail, shown};
use crate::config::mode::Mode;
use crate::config::raw::{Mapping, RawAccess, RawApproval, RawCeiling, RawClientKey, RawFallback, Words};

/// The maximum number of regions in one list.
const MAX_REGIONS: usize = 64;
/// The maximum number of approved pairs of one model.
const MAX_APPROVALS: usize = MAX_TARGETS;
/// The maximum of `max_price_ratio`.
const MAX_RATIO: f64 = 1000.0;

/// The names that boundaries refer to.
#[derive(Clone, Copy)]
pub(super) struct Known<'a> {
    pub(super) providers: &'a Names<'a>,
    pub(super) targets: &'a Names<'a>,
}

/// The fields that models and keys share. The list of regions has a different name in each.
struct Written<'a> {
    regions: (&'static str, Option<&'a Words>),
    zero_retention: Option<&'a String>,
    training_opt_out: Option<&'a String>,
    providers: Option<&'a Mapping<RawAccess>>,
    targets: Option<&'a Mapping<RawAccess>>,
    min_quality: Option<u64>,
    max_price: Option<&'a Mapping<RawCeiling>>,
    max_request_cost: Option<f64>,
}

impl Known<'_> {
    pub(super) fn of_model(self, raw: &RawFallback, at: &Trail<'_>, mistakes: &mut Mistakes) -> Boundaries {
        let written = Written {
            regions: ("region", raw.region.as_ref()),
            zero_retention: raw.zero_retention.as_ref(),
            training_opt_out: raw.training_opt_out.as_ref(),
            providers: raw.providers.as_ref(),
            targets: raw.targets.as_ref(),
            min_quality: raw.min_quality,
            max_price: raw.max_price.as_ref(),
            max_request_cost: raw.max_request_cost,
        };
        self.boundaries(&written, at, mistakes)
    }

    pub(super) fn of_key(self, raw: &RawClientKey, at: &Trail<'_>, mistakes: &mut Mistakes) -> Boundaries {
        let written = Written {
            regions: ("regions", raw.regions.as_ref()),
            zero_retention: raw.zero_retention.as_ref(),
            training_opt_out: raw.training_opt_out.as_ref(),
            providers: raw.providers.as_ref(),
            targets: raw.targets.as_ref(),
            min_quality: raw.min_quality,
            max_price: raw.max_price.as_ref(),
            max_request_cost: raw.max_request_cost,
        };
        self.boundaries(&written, at, mistakes)
    }

    fn boundaries(self, raw: &Written<'_>, at: &Trail<'_>, mistakes: &mut Mistakes) -> Boundaries {
        let (regions, words) = raw.regions;
        let quality =
            raw.min_quality.map(|least| number(Some(least), 1, 1..=100, &at.field("min_quality"), mistakes));
        let max_price = raw.max_price.map(|Mapping(raw)| ceiling(raw, &at.field("max_price"), mistakes));
        Boundaries {
            regions: words.map(|words| self::regions(words, &at.field(regions), mistakes)),
            zero_retention: required(raw.zero_retention, &at.field("zero_retention"), mistakes),
            training_opt_out: required(raw.training_opt_out, &at.field("training_opt_out"), mistakes),
            providers: access(
                raw.providers,
                self.providers,
                ProviderId::from_index,
                &at.field("providers"),
                mistakes,
            ),
            targets: access(raw.targets, self.targets, TargetId::from_index, &at.field("targets"), mistakes),
            min_quality: quality.and_then(|least| u8::try_from(least).ok()),
            max_price: max_price.unwrap_or_default(),
            max_request_cost: amount(raw.max_request_cost, &at.field("max_request_cost"), mistakes),
        }
    }

    pub(super) fn substitution(
        self,
        raw: &RawFallback,
        at: &Trail<'_>,
        mistakes: &mut Mistakes,
    ) -> SubstitutionRules {
        let leaving = |name, words: Option<&Words>, mistakes: &mut Mistakes| {
            words.map(|words| ClassSet::of(&classes(words, &at.field(name), mistakes)))
        };
        let modes = [("enforce", Mode::Enforce), ("shadow", Mode::Shadow)];
        let pairs = raw.approved.as_ref();
        SubstitutionRules {
            leave_account: leaving("leave_account", raw.leave_account.as_ref(), mistakes),
            leave_provider: leaving("leave_provider", raw.leave_provider.as_ref(), mistakes),
            max_price_permille: raw
                .max_price_ratio
                .and_then(|ratio| permille(ratio, &at.field("max_price_ratio"), mistakes)),
            same_billing_owner: raw.same_billing_owner.unwrap_or(false),
            approved: pairs.map(|pairs| self.approvals(pairs, &at.field("approved"), mistakes)),
            sealed_reasoning: word(
                raw.sealed_reasoning.as_ref(),
                &[("keep", SealedReasoning::Keep), ("drop", SealedReasoning::Drop)],
                &at.field("sealed_reasoning"),
                mistakes,
            ),
            mode: word(raw.mode.as_ref(), &modes, &at.field("mode"), mistakes),
        }
    }

    fn approvals(
        self,
        pairs: &[Option<Mapping<RawApproval>>],
        at: &Trail<'_>,
        mistakes: &mut Mistakes,
    ) -> Vec<Approval> {
        if pairs.len() > MAX_APPROVALS {
            mistakes.add(at, format!("has {} pairs, at most {MAX_APPROVALS} are allowed", pairs.len()));
        }
        let mut approvals: Vec<Approval> = Vec::new();
        for (index, pair) in pairs.iter().enumerate().take(MAX_APPROVALS) {
            let Some(Mapping(pair)) = pair else { continue };
            let at = at.item(index);
            let mut end = |name, written: &Option<String>| {
                let written = needed(written, name, &at, mistakes)?;
                TargetId::from_index(self.targets.find(written, &at.field(name), mistakes)?)
            };
            let (from, to) = (end("from", &pair.from), end("to", &pair.to));
            let until = pair.until.as_ref().map(|day| end_of_day(day, &at.field("until"), mistakes));
            let (Some(from), Some(to)) = (from, to) else { continue };
            if approvals.iter().any(|known| (known.from, known.to) == (from, to)) {
                mistakes.add(&at, "repeats an earlier pair");
            }
            approvals.push(Approval { from, to, until: until.flatten() });
        }
        approvals
    }
}

fn regions(words: &Words, at: &Trail<'_>, mistakes: &mut Mistakes) -> Vec<Rc<str>> {
    if words.is_empty() || words.len() > MAX_REGIONS {
        mistakes.add(at, format!("has {} regions, expected 1 to {MAX_REGIONS}", words.len()));
    }
    let mut regions: Vec<Rc<str>> = Vec::new();
    for (index, word) in words.iter().enumerate().take(MAX_REGIONS) {
        let Some(word) = word else { continue };
        let at = at.item(index);
        let Some(region) = text::checked(word, text::region, &at, mistakes) else { continue };
        if regions.iter().any(|known| **known == *region) {
            mistakes.add_with(&at, || format!("region `{}` is listed twice", shown(word)));
        } else {
            regions.push(Rc::from(region));
        }
    }
    regions
}

/// Whether the term is required. The only value is `required`, because there is no use for the opposite.
fn required(written: Option<&String>, at: &Trail<'_>, mistakes: &mut Mistakes) -> bool {
    word(written, &[("required", true)], at, mistakes)
}

fn access<Id: PartialEq>(
    raw: Option<&Mapping<RawAccess>>,
    names: &Names<'_>,
    id: fn(usize) -> Option<Id>,
    at: &Trail<'_>,
    mistakes: &mut Mistakes,
) -> Access<Id> {
    let Some(Mapping(raw)) = raw else { return Access::default() };
    let mut list = |name, words: &Words| {
        let at = at.field(name);
        let mut ids = Vec::new();
        for (index, word) in words.iter().enumerate() {
            let Some(word) = word else { continue };
            let at = at.item(index);
            let Some(id) = names.find(word, &at, mistakes).and_then(id) else { continue };
            if ids.contains(&id) {
                mistakes.add_with(&at, || format!("`{}` is listed twice", shown(word)));
            } else {
                ids.push(id);
            }
        }
        ids
    };
    let allow = raw.allow.as_ref().map(|words| list("allow", words));
    let deny = raw.deny.as_ref().map(|words| list("deny", words)).unwrap_or_default();
    if raw.allow.as_ref().is_some_and(Vec::is_empty) {
        mistakes.add(&at.field("allow"), "is empty, so nothing is allowed; leave it out to allow all");
    }
    Access { allow, deny }
}

fn ceiling(raw: &RawCeiling, at: &Trail<'_>, mistakes: &mut Mistakes) -> PriceCeiling {
    PriceCeiling {
        input: amount(raw.input, &at.field("input"), mistakes),
        output: amount(raw.output, &at.field("output"), mistakes),
    }
}

fn amount(written: Option<f64>, at: &Trail<'_>, mistakes: &mut Mistakes) -> Option<MicroDollars> {
    dollars(Some(written?), at, mistakes)
}

fn permille(ratio: f64, at: &Trail<'_>, mistakes: &mut Mistakes) -> Option<u64> {
    if !(ratio > 0.0 && ratio <= MAX_RATIO) {
        let ratio = shown(&ratio.to_string());
        mistakes.add(at, format!("is {ratio}, expected more than 0 and at most {MAX_RATIO}"));
        return None;
    }
    // Rounded down because that is stricter, but never to zero. The cast is exact in this range.
    Some(((ratio * 1000.0 + 1e-6).floor() as u64).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_price_ratio_is_rounded_down() {
        let mut mistakes = Mistakes::default();
        let mut of = |ratio| permille(ratio, &Trail::Root, &mut mistakes);
        assert_eq!([of(2.0), of(1.1), of(1.9999), of(0.0001)], [Some(2000), Some(1100), Some(1999), Some(1)]);
        assert_eq!([of(0.0), of(-1.0), of(1001.0)], [None; 3]);
    }
}
