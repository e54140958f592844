use super::MAX_PROBES;
use super::section::Section;
use crate::config::compiled::BreakerPolicy;
use crate::config::duration::Span;
use crate::config::mistakes::{Mistakes, Trail};
use crate::config::raw::{Mapping, RawBreaker};

const HOUR: Span = Span::seconds(3_600);
const DAY: Span = Span::seconds(86_400);
const SECOND: Span = Span::seconds(1);
/// Shorter times cannot be told from the delay with which workers learn of each other's decisions.
const TENTH: Span = Span::millis(100);

const MAX_MIN_REQUESTS: u64 = 10_000;
const MAX_CONSECUTIVE: u64 = 1_000;
const MAX_CLOSE_AFTER: u64 = 20;

/// The policy that is written; what is absent is as in [`BreakerPolicy::default`].
pub(super) fn policy(raw: Option<&Mapping<RawBreaker>>, mistakes: &mut Mistakes) -> BreakerPolicy {
    let usual = BreakerPolicy::default();
    let Some(Mapping(raw)) = raw else { return usual };
    let mut section = Section { at: Trail::Root.field("breaker"), mistakes };
    let (open, open_max) = section.growing(
        ("open", raw.open, Span::of(usual.open)),
        ("open_max", raw.open_max, Span::of(usual.open_max)),
    );
    let (block, block_max) = section.growing(
        ("block", raw.block, Span::of(usual.block)),
        ("block_max", raw.block_max, Span::of(usual.block_max)),
    );
    let slow_first_content =
        raw.slow_first_content.map(|span| section.span("slow_first_content", Some(span), HOUR, TENTH..=HOUR));
    BreakerPolicy {
        window: section.span("window", raw.window, Span::of(usual.window), SECOND..=HOUR).duration(),
        min_requests: section.count("min_requests", raw.min_requests, usual.min_requests, MAX_MIN_REQUESTS),
        failure_permille: section.permille("failure_ratio", raw.failure_ratio, usual.failure_permille),
        consecutive: section.count("consecutive", raw.consecutive, usual.consecutive, MAX_CONSECUTIVE),
        open: open.duration(),
        open_max: open_max.duration(),
        block: block.duration(),
        block_max: block_max.duration(),
        probes: section.count("probes", raw.probes, usual.probes, u64::from(MAX_PROBES)),
        close_after: section.count("close_after", raw.close_after, usual.close_after, MAX_CLOSE_AFTER),
        probe_lease: section
            .span("probe_lease", raw.probe_lease, Span::of(usual.probe_lease), TENTH..=HOUR)
            .duration(),
        slow_start: section
            .span("slow_start", raw.slow_start, Span::of(usual.slow_start), Span::ZERO..=HOUR)
            .duration(),
        slow_first_content: slow_first_content.map(Span::duration),
    }
}

/// A field's name, what is written there, and its default.
type Field = (&'static str, Option<Span>, Span);

impl Section<'_> {
    /// A time that doubles, and how far. The default of the latter gives way to the former: who only wants
    /// longer times need not know that there is a limit.
    fn growing(&mut self, first: Field, last: Field) -> (Span, Span) {
        let (first_name, first_written, first_default) = first;
        let first = self.span(first_name, first_written, first_default, TENTH..=DAY);
        let (last_name, last_written, last_default) = last;
        let Some(last) = last_written else { return (first, last_default.max(first)) };
        // Beside a mistake in the first, nobody knows what the last must exceed.
        let least = if self.mistakes.holds(&self.at.field(first_name)) { TENTH } else { first };
        if !(least..=DAY).contains(&last) {
            let problem = format!("is {last}, expected at least {least} (`{first_name}`) and at most {DAY}");
            self.mistakes.add(&self.at.field(last_name), problem);
        }
        (first, last)
    }
}
