use std::collections::BTreeMap;

use super::section::Section;
use crate::config::compiled::Budget;
use crate::config::mistakes::{Mistakes, Trail, shown};
use crate::config::raw::{Mapping, RawBudget};

const MAX_REQUESTS_PER_MINUTE: u64 = 10_000_000;
const MAX_TOKENS: u64 = 1_000_000_000_000;
const MAX_USD: f64 = 10_000_000.0;

/// Static metadata of one key at most.
pub const MAX_METADATA: usize = 16;
/// Bytes of a name and of a value of it at most.
const MAX_METADATA_NAME: usize = 64;
const MAX_METADATA_VALUE: usize = 256;

pub(super) fn budget(
    raw: Option<&Mapping<RawBudget>>,
    at: &Trail<'_>,
    mistakes: &mut Mistakes,
) -> Option<Budget> {
    let Mapping(raw) = raw?;
    let mut section = Section { at: at.field("budget"), mistakes };
    let mut count = |name, written: Option<u64>, most| {
        written.map(|limit| section.count::<u64>(name, Some(limit), most, most))
    };
    let requests_per_minute = count("requests_per_minute", raw.requests_per_minute, MAX_REQUESTS_PER_MINUTE);
    let tokens_per_minute = count("tokens_per_minute", raw.tokens_per_minute, MAX_TOKENS);
    let tokens_per_day = count("tokens_per_day", raw.tokens_per_day, MAX_TOKENS);
    let micro_usd_per_day = raw.usd_per_day.and_then(|usd| section.micro_usd("usd_per_day", usd));
    let warn_permille = raw.warn_at.map(|share| section.permille("warn_at", Some(share), 1000));
    let budget =
        Budget { requests_per_minute, tokens_per_minute, tokens_per_day, micro_usd_per_day, warn_permille };
    if (Budget { warn_permille: None, ..budget }) == Budget::default() && raw.usd_per_day.is_none() {
        section.mistakes.add(&section.at, "limits nothing; leave it out, or give it at least one limit");
    }
    Some(budget)
}

impl Section<'_> {
    /// US dollars in millionths, from one millionth up.
    fn micro_usd(&mut self, name: &str, usd: f64) -> Option<u64> {
        if (0.000_001..=MAX_USD).contains(&usd) {
            // Within the bounds the cast is exact enough: the result has at most 14 digits.
            return Some((usd * 1e6).round() as u64);
        }
        let problem = format!(
            "is {}, expected US dollars, more than 0 and at most 10 million",
            shown(&usd.to_string())
        );
        self.mistakes.add(&self.at.field(name), problem);
        None
    }
}

/// What the operator wants recorded with a key's requests.
pub(super) fn metadata(
    written: Option<&BTreeMap<String, Option<String>>>,
    at: &Trail<'_>,
    mistakes: &mut Mistakes,
) -> Vec<(String, String)> {
    let at = at.field("metadata");
    let count = written.map_or(0, BTreeMap::len);
    if count > MAX_METADATA {
        mistakes.add(&at, format!("has {count} entries, at most {MAX_METADATA} are taken"));
    }
    let mut metadata = Vec::new();
    for (name, value) in written.into_iter().flatten() {
        let Some(value) = value else { continue };
        let of_name = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
        if !(1..=MAX_METADATA_NAME).contains(&name.len()) || !name.bytes().all(of_name) {
            mistakes.add(&at.field(name), "is no name, expected 1 to 64 letters, digits, `_`, `-` or `.`");
        } else if value.len() > MAX_METADATA_VALUE || value.chars().any(char::is_control) {
            mistakes.add(&at.field(name), "is too long, expected at most 256 bytes in one line");
        } else {
            metadata.push((name.clone(), value.clone()));
        }
    }
    metadata
}
