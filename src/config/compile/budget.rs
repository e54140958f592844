use std::collections::BTreeMap;
use std::rc::Rc;

use super::field_reader::FieldReader;
use crate::base::MicroDollars;
use crate::config::compiled::{Model, Target};
use crate::config::keys::{Budget, ClientKey};
use crate::config::mistakes::{Mistakes, Trail, shown};
use crate::config::raw::{Mapping, RawBudget};

const MAX_REQUESTS_PER_MINUTE: u64 = 10_000_000;
const MAX_TOKENS: u64 = 1_000_000_000_000;
const MAX_PER_DAY: MicroDollars = MicroDollars::new(10_000_000_000_000);

/// The maximum number of metadata entries of one key.
pub const MAX_METADATA: usize = 16;
/// The maximum length of a name and of a value in bytes.
const MAX_METADATA_NAME: usize = 64;
const MAX_METADATA_VALUE: usize = 256;

pub(super) fn budget(
    raw: Option<&Mapping<RawBudget>>,
    at: &Trail<'_>,
    mistakes: &mut Mistakes,
) -> Option<Budget> {
    let Mapping(raw) = raw?;
    let mut fields = FieldReader { at: at.field("budget"), mistakes };
    let mut count = |name, written: Option<u64>, most| {
        written.map(|limit| fields.count::<u64>(name, Some(limit), most, most))
    };
    let requests_per_minute = count("requests_per_minute", raw.requests_per_minute, MAX_REQUESTS_PER_MINUTE);
    let tokens_per_minute = count("tokens_per_minute", raw.tokens_per_minute, MAX_TOKENS);
    let tokens_per_day = count("tokens_per_day", raw.tokens_per_day, MAX_TOKENS);
    let usd_per_day = raw.usd_per_day.and_then(|usd| fields.dollars("usd_per_day", usd));
    let warn_permille = raw.warn_at.map(|share| fields.permille("warn_at", Some(share), 1000));
    let budget =
        Budget { requests_per_minute, tokens_per_minute, tokens_per_day, usd_per_day, warn_permille };
    if (Budget { warn_permille: None, ..budget }) == Budget::default() && raw.usd_per_day.is_none() {
        fields.mistakes.add(&fields.at, "has no limit; leave it out or set at least one limit");
    }
    Some(budget)
}

impl FieldReader<'_> {
    /// An amount of at least one millionth of a dollar.
    pub(super) fn dollars(&mut self, name: &str, dollars: f64) -> Option<MicroDollars> {
        let amount = MicroDollars::from_dollars(dollars)
            .filter(|amount| *amount > MicroDollars::ZERO && *amount <= MAX_PER_DAY);
        if amount.is_none() {
            let shown = shown(&dollars.to_string());
            let problem = format!("is {shown}, expected US dollars, more than 0 and at most {MAX_PER_DAY}");
            self.mistakes.add(&self.at.field(name), problem);
        }
        amount
    }
}

/// The metadata that is recorded with a key's requests.
pub(super) fn metadata(
    written: Option<&BTreeMap<String, Option<String>>>,
    at: &Trail<'_>,
    mistakes: &mut Mistakes,
) -> Vec<(String, String)> {
    let at = at.field("metadata");
    let count = written.map_or(0, BTreeMap::len);
    if count > MAX_METADATA {
        mistakes.add(&at, format!("has {count} entries, at most {MAX_METADATA} are allowed"));
    }
    let mut metadata = Vec::new();
    for (name, value) in written.into_iter().flatten() {
        let Some(value) = value else { continue };
        let of_name = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
        if !(1..=MAX_METADATA_NAME).contains(&name.len()) || !name.bytes().all(of_name) {
            mistakes.add(
                &at.field(name),
                "is not a valid name, expected 1 to 64 letters, digits, `_`, `-` or `.`",
            );
        } else if value.len() > MAX_METADATA_VALUE || value.chars().any(char::is_control) {
            mistakes.add(&at.field(name), "is not a valid value, expected at most 256 bytes on one line");
        } else {
            metadata.push((name.clone(), value.clone()));
        }
    }
    metadata
}

/// Adds a mistake for each cost limit that covers a target without a price, because its cost cannot be
/// checked.
pub(super) fn require_prices(
    keys: &[ClientKey],
    models: &[Model],
    targets: &[Target],
    mistakes: &mut Mistakes,
) {
    let unpriced = |model: &Model| {
        let reached = model.tiers.iter().flatten().filter_map(|target| targets.get(target.index()));
        reached.into_iter().find(|target| target.offers.price.is_none()).map(|target| Rc::clone(&target.name))
    };
    for model in models.iter().filter(|model| model.retry.max_cost.is_some()) {
        if let Some(target) = unpriced(model) {
            let at = Trail::Root.field("models");
            let at = at.field(&model.name);
            let at = at.field("retry");
            let name = shown(&target);
            let problem =
                format!("needs a `price` for each target of the model, but target `{name}` has none");
            mistakes.add(&at.field("max_cost"), problem);
        }
    }
    for key in keys {
        if key.budget.is_none_or(|budget| budget.usd_per_day.is_none()) {
            continue;
        }
        let mut usable = models.iter().enumerate().filter(|(index, _)| {
            key.models.as_ref().is_none_or(|models| models.iter().any(|model| model.index() == *index))
        });
        if let Some(target) = usable.find_map(|(_, model)| unpriced(model)) {
            let at = Trail::Root.field("keys");
            let (at, name) = (at.field(&key.name), shown(&target));
            let problem =
                format!("needs a `price` for each target that the key may use, but target `{name}` has none");
            mistakes.add(&at.field("budget").field("usd_per_day"), problem);
        }
    }
}
