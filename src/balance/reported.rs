//! The limits that a provider last reported for one model of one account.
//!
//! A report covers what the provider had seen when it answered. It does not cover requests without a response
//! yet, so those are subtracted separately. A response without a report is subtracted from the last report.
//! The later of two reports holds: limits refill, so the lower one is not always the right one. After the
//! reset the limit counts as full.

use std::time::Duration;

use crate::base::{Store, Timestamp, update};
use crate::provider::{Meter, RateLimit, RateLimits};

/// A report from further in the future than this was made before the clock stepped back.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(5);

const VERSION: u8 = 1;
const REPORT_BYTES: usize = 4 * 8;
const RECORD_BYTES: usize = 1 + Meter::COUNT * REPORT_BYTES;
/// In the record: the provider reported no limit, only what is left.
const NO_LIMIT: u64 = u64::MAX;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Report {
    left: RateLimit,
    reported_at: Timestamp,
}

/// The last report, by meter.
#[derive(Debug)]
pub struct ReportedLimits {
    key: Box<str>,
    reports: [Option<Report>; Meter::COUNT],
    /// Whether there is any report.
    is_known: bool,
    /// The shared record does not have the last change yet.
    unshared: bool,
}

impl ReportedLimits {
    /// No report yet; `key` names the shared record.
    pub fn new(key: Box<str>) -> Self {
        Self { key, reports: [None; Meter::COUNT], is_known: false, unshared: false }
    }

    /// Whether the provider has reported any limit.
    pub const fn is_known(&self) -> bool {
        self.is_known
    }

    /// Takes in a new report.
    pub fn update(&mut self, headroom: &RateLimits, now: Timestamp) {
        for (report, left) in self.reports.iter_mut().zip(headroom) {
            if let Some(left) = left {
                *report = Some(Report { left: *left, reported_at: now });
                (self.is_known, self.unshared) = (true, true);
            }
        }
    }

    /// Subtracts a request that got a response without a report, or none.
    pub fn deduct(&mut self, demand: [u64; Meter::COUNT], now: Timestamp) {
        for (report, demand) in self.reports.iter_mut().zip(demand) {
            if let Some(report) = report.as_mut().filter(|report| now < report.left.reset) {
                report.left.remaining = report.left.remaining.saturating_sub(demand);
                report.reported_at = report.reported_at.max(now);
                self.unshared = true;
            }
        }
    }

    /// What is left of a limit at `now`; `None` if unknown.
    pub fn left(&self, meter: Meter, now: Timestamp) -> Option<RateLimit> {
        let report = (*self.reports.get(meter as usize)?)?;
        if report.reported_at.since(now) > CLOCK_TOLERANCE {
            return None;
        }
        if now < report.left.reset {
            return Some(report.left);
        }
        report.left.limit.map(|limit| RateLimit { remaining: limit, ..report.left })
    }

    /// Shares what the other workers do not know and reads what they know.
    pub fn exchange(&mut self, store: &mut dyn Store) {
        let reports = self.reports;
        let shared = if std::mem::take(&mut self.unshared) {
            update(store, &self.key, |bytes| {
                let merged = merge(bytes.and_then(decode).unwrap_or_default(), reports);
                (merged, Some(encode(merged)))
            })
        } else {
            store.read(&self.key).ok().flatten().and_then(|stored| decode(&stored.bytes))
        };
        if let Some(shared) = shared {
            self.reports = merge(reports, shared);
            self.is_known = self.reports.iter().any(Option::is_some);
        }
    }
}

fn merge(
    mut one: [Option<Report>; Meter::COUNT],
    other: [Option<Report>; Meter::COUNT],
) -> [Option<Report>; Meter::COUNT] {
    let order = |report: &Report| (report.reported_at, std::cmp::Reverse(report.left.remaining));
    for (report, other) in one.iter_mut().zip(other) {
        *report = [*report, other].into_iter().flatten().max_by_key(order);
    }
    one
}

fn encode(reports: [Option<Report>; Meter::COUNT]) -> [u8; RECORD_BYTES] {
    let mut bytes = [0; RECORD_BYTES];
    if let Some((version, rest)) = bytes.split_first_mut() {
        *version = VERSION;
        for (slot, report) in rest.chunks_exact_mut(REPORT_BYTES).zip(reports) {
            let Some(Report { left, reported_at }) = report else { continue };
            let limit = left.limit.unwrap_or(NO_LIMIT);
            let numbers = [limit, left.remaining, left.reset.as_millis(), reported_at.as_millis()];
            for (bytes, number) in slot.chunks_exact_mut(8).zip(numbers) {
                bytes.copy_from_slice(&number.to_le_bytes());
            }
        }
    }
    bytes
}

fn decode(bytes: &[u8]) -> Option<[Option<Report>; Meter::COUNT]> {
    let (version, rest) = bytes.split_first()?;
    if *version != VERSION || bytes.len() != RECORD_BYTES {
        return None;
    }
    let mut reports = [None; Meter::COUNT];
    for (report, slot) in reports.iter_mut().zip(rest.chunks_exact(REPORT_BYTES)) {
        let mut numbers =
            slot.chunks_exact(8).filter_map(|eight| Some(u64::from_le_bytes(eight.try_into().ok()?)));
        let mut next = || numbers.next();
        let (limit, remaining, reset, reported_at) = (next()?, next()?, next()?, next()?);
        // Time zero marks an empty slot.
        if reported_at > 0 {
            let limit = (limit != NO_LIMIT).then_some(limit);
            let left = RateLimit { limit, remaining, reset: Timestamp::from_millis(reset) };
            *report = Some(Report { left, reported_at: Timestamp::from_millis(reported_at) });
        }
    }
    Some(reports)
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;
    use crate::base::memory::{Memory, Shelf};
    use proptest::prelude::*;

    fn s(seconds: u64) -> Timestamp {
        Timestamp::from_millis(1_000_000_000 + seconds * 1000)
    }

    fn requests(limit: Option<u64>, remaining: u64, reset: Timestamp) -> RateLimits {
        [Some(RateLimit { limit, remaining, reset }), None, None, None]
    }

    fn remaining(limits: &ReportedLimits, now: Timestamp) -> Option<u64> {
        limits.left(Meter::Requests, now).map(|left| left.remaining)
    }

    #[test]
    fn a_report_holds_until_its_reset_and_then_the_limit_is_full() {
        let mut limits = ReportedLimits::new("k".into());
        assert_eq!(remaining(&limits, s(0)), None);
        limits.update(&requests(Some(10), 3, s(30)), s(0));
        limits.deduct([1, 0, 0, 0], s(1));
        assert_eq!(remaining(&limits, s(29)), Some(2));
        assert_eq!(remaining(&limits, s(30)), Some(10));
        limits.update(&requests(None, 0, s(60)), s(31));
        assert_eq!((remaining(&limits, s(59)), remaining(&limits, s(60))), (Some(0), None));
        assert_eq!(limits.left(Meter::Tokens, s(31)), None);
    }

    #[test]
    fn a_report_from_the_future_is_ignored() {
        let mut limits = ReportedLimits::new("k".into());
        limits.update(&requests(Some(10), 0, s(90)), s(60));
        assert_eq!(remaining(&limits, s(10)), None, "the report is from the future");
    }

    #[test]
    fn the_later_report_holds_for_every_worker() {
        let shelf: Rc<std::cell::RefCell<Shelf>> = Rc::default();
        let mut stores = [Memory::on(Rc::clone(&shelf)), Memory::on(shelf)];
        let mut workers = [ReportedLimits::new("k".into()), ReportedLimits::new("k".into())];
        workers[0].update(&requests(Some(10), 7, s(60)), s(1));
        workers[1].update(&requests(Some(10), 8, s(60)), s(0));
        for _ in 0..2 {
            for (worker, store) in workers.iter_mut().zip(&mut stores) {
                worker.exchange(store);
            }
        }
        assert_eq!([remaining(&workers[0], s(2)), remaining(&workers[1], s(2))], [Some(7); 2]);
        workers[1].deduct([2, 0, 0, 0], s(2));
        for worker in [1, 0] {
            workers[worker].exchange(&mut stores[worker]);
        }
        assert_eq!(remaining(&workers[0], s(2)), Some(5));
    }

    proptest! {
        #[test]
        fn a_record_of_any_bytes_decodes_or_is_ignored(
            mut bytes in proptest::collection::vec(any::<u8>(), RECORD_BYTES), cut in 0..=RECORD_BYTES
        ) {
            prop_assert!(decode(&bytes[..cut]).is_none() || cut == RECORD_BYTES);
            bytes[0] = VERSION;
            let reports = decode(&bytes).unwrap();
            prop_assert_eq!(decode(&encode(reports)), Some(reports));
        }
    }
}
