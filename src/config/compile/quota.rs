use super::field_reader::FieldReader;
use crate::config::compiled::Quota;
use crate::config::mistakes::{Mistakes, Trail};
use crate::config::raw::{Mapping, RawQuota};

const MAX_PER_MINUTE: u64 = 1_000_000_000_000;
const MAX_PENDING: u64 = 1_000_000;

/// The configured limits; an absent one is unlimited.
pub(super) fn quota(raw: Option<&Mapping<RawQuota>>, at: &Trail<'_>, mistakes: &mut Mistakes) -> Quota {
    let Some(Mapping(raw)) = raw else { return Quota::default() };
    let mut fields = FieldReader { at: at.field("limits"), mistakes };
    let mut count = |name, written: Option<u64>, most| {
        written.map(|written| fields.count(name, Some(written), 1_u64, most))
    };
    Quota {
        requests_per_minute: count("requests_per_minute", raw.requests_per_minute, MAX_PER_MINUTE),
        tokens_per_minute: count("tokens_per_minute", raw.tokens_per_minute, MAX_PER_MINUTE),
        max_pending: count("max_pending", raw.max_pending, MAX_PENDING)
            .and_then(|count| u32::try_from(count).ok()),
    }
}
