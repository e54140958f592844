use super::common::word;
use super::field_reader::FieldReader;
use super::limits::MAX_PROBES;
use crate::config::compiled::{BreakerPolicy, SlowStartAlone};
use crate::config::duration::TimeSpan;
use crate::config::mistakes::{Mistakes, Trail};
use crate::config::raw::{Mapping, RawBreaker};

const HOUR: TimeSpan = TimeSpan::seconds(3_600);
const DAY: TimeSpan = TimeSpan::seconds(86_400);
const SECOND: TimeSpan = TimeSpan::seconds(1);
/// Workers learn of each other's decisions with a delay, so shorter times would have no effect.
const TENTH: TimeSpan = TimeSpan::millis(100);

const MAX_MIN_REQUESTS: u64 = 10_000;
const MAX_CONSECUTIVE: u64 = 1_000;
const MAX_UNANSWERED: u64 = 1_000;
const MAX_CLOSE_AFTER: u64 = 20;

/// The configured policy; absent fields are as in [`BreakerPolicy::default`].
pub(super) fn policy(raw: Option<&Mapping<RawBreaker>>, mistakes: &mut Mistakes) -> BreakerPolicy {
    let defaults = BreakerPolicy::default();
    let Some(Mapping(raw)) = raw else { return defaults };
    let at = Trail::Root.field("breaker");
    let alone = [
        ("pass", SlowStartAlone::Pass),
        ("queue", SlowStartAlone::Queue),
        ("refuse", SlowStartAlone::Refuse),
    ];
    let slow_start_alone =
        word(raw.slow_start_alone.as_ref(), &alone, &at.field("slow_start_alone"), mistakes);
    let mut fields = FieldReader { at, mistakes };
    let (open, open_max) = fields.doubling_span(
        ("open", raw.open, TimeSpan::of(defaults.open)),
        ("open_max", raw.open_max, TimeSpan::of(defaults.open_max)),
    );
    let (block, block_max) = fields.doubling_span(
        ("block", raw.block, TimeSpan::of(defaults.block)),
        ("block_max", raw.block_max, TimeSpan::of(defaults.block_max)),
    );
    let slow_first_content =
        raw.slow_first_content.map(|span| fields.span("slow_first_content", Some(span), HOUR, TENTH..=HOUR));
    BreakerPolicy {
        window: fields.span("window", raw.window, TimeSpan::of(defaults.window), SECOND..=HOUR).duration(),
        min_requests: fields.count("min_requests", raw.min_requests, defaults.min_requests, MAX_MIN_REQUESTS),
        failure_permille: fields.permille("failure_ratio", raw.failure_ratio, defaults.failure_permille),
        consecutive: fields.count("consecutive", raw.consecutive, defaults.consecutive, MAX_CONSECUTIVE),
        unanswered: fields.count_or_never("unanswered", raw.unanswered, defaults.unanswered, MAX_UNANSWERED),
        open: open.duration(),
        open_max: open_max.duration(),
        block: block.duration(),
        block_max: block_max.duration(),
        probes: fields.count("probes", raw.probes, defaults.probes, u64::from(MAX_PROBES)),
        close_after: fields.count("close_after", raw.close_after, defaults.close_after, MAX_CLOSE_AFTER),
        probe_lease: fields
            .span("probe_lease", raw.probe_lease, TimeSpan::of(defaults.probe_lease), TENTH..=HOUR)
            .duration(),
        slow_start_alone,
        slow_start: fields
            .span("slow_start", raw.slow_start, TimeSpan::of(defaults.slow_start), TimeSpan::ZERO..=HOUR)
            .duration(),
        slow_first_content: slow_first_content.map(TimeSpan::duration),
    }
}

/// The name of a field, its value, and its default.
type Field = (&'static str, Option<TimeSpan>, TimeSpan);

impl FieldReader<'_> {
    /// A time that doubles, and its maximum. If the maximum is absent and its default is too small, it
    /// becomes equal to the time, so that a longer time alone is a valid configuration.
    fn doubling_span(&mut self, first: Field, last: Field) -> (TimeSpan, TimeSpan) {
        let (first_name, first_written, first_default) = first;
        let first = self.span(first_name, first_written, first_default, TENTH..=DAY);
        let (last_name, last_written, last_default) = last;
        let Some(last) = last_written else { return (first, last_default.max(first)) };
        // If the first time is a mistake, its value must not count as the minimum.
        let least = if self.mistakes.holds(&self.at.field(first_name)) { TENTH } else { first };
        if !(least..=DAY).contains(&last) {
            let problem = format!("is {last}, expected at least {least} (`{first_name}`) and at most {DAY}");
            self.mistakes.add(&self.at.field(last_name), problem);
        }
        (first, last)
    }
}
