use super::common::word;
use crate::config::compiled::{RecordLog, RecordPolicy, Redact};
use crate::config::mistakes::{Mistakes, Trail, shown};
use crate::config::raw::{Mapping, RawRecord};

/// The configured policy; absent fields are as in [`RecordPolicy::default`].
pub(super) fn policy(raw: Option<&Mapping<RawRecord>>, mistakes: &mut Mistakes) -> RecordPolicy {
    let Some(Mapping(raw)) = raw else { return RecordPolicy::default() };
    let at = Trail::Root.field("record");
    let logs = [("off", RecordLog::Off), ("failures", RecordLog::Failures), ("all", RecordLog::All)];
    let redactions = [("standard", Redact::Standard), ("strict", Redact::Strict)];
    RecordPolicy {
        sample_millionths: millionths(raw.sample_successes, &at.field("sample_successes"), mistakes),
        log: word(raw.log.as_ref(), &logs, &at.field("log"), mistakes),
        redact: word(raw.redact.as_ref(), &redactions, &at.field("redact"), mistakes),
    }
}

/// A share from 0 to 1, in millionths.
fn millionths(written: Option<f64>, at: &Trail<'_>, mistakes: &mut Mistakes) -> u32 {
    let default = RecordPolicy::default().sample_millionths;
    let Some(share) = written else { return default };
    if !(0.0..=1.0).contains(&share) {
        mistakes.add(at, format!("is {}, expected 0 to 1", shown(&share.to_string())));
        return default;
    }
    // Between 0 and a million, where the cast is exact.
    (share * 1e6).round() as u32
}
