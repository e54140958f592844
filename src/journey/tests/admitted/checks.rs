//! What must hold after every step and at the end.

use super::expected::{Used, exact};
use super::script::OWNERS;
use super::world::{GAUGES, World, at};
use crate::balance::Minute;
use crate::base::{EndpointFamily, TargetId, Tokens};
use crate::breaker::{Availability, Unavailable};
use crate::generation::{Generation, breakers};
use crate::record::{Metric, Tally};
use crate::tenancy::{BudgetKind, Ledger};

impl World {
    /// What holds at any time.
    pub(super) fn check(&mut self) {
        for (number, side) in self.sides.iter_mut().enumerate() {
            let (gauges, metrics) = (&mut side.gauges, &mut self.seen.metrics);
            drain(&mut side.worker.tally, |metric, delta| {
                match GAUGES.iter().position(|gauge| *gauge == metric) {
                    Some(place) => gauges[place] += delta,
                    None => metrics.push((metric, delta)),
                }
            });
            let mine = || self.passes.iter().filter(|pass| self.clients[pass.client].worker == number);
            let journeys = side.worker.journeys.borrow().len();
            let held = mine().filter(|pass| pass.exchange.is_held()).count();
            let sent = mine().filter(|pass| pass.exchange.is_under_way()).count();
            let counted = [journeys, held, sent].map(|count| i64::try_from(count).unwrap());
            assert_eq!(side.gauges, counted, "{GAUGES:?}");
            let queued = mine().filter(|pass| pass.exchange.position().is_some()).count();
            assert_eq!(side.worker.queues.len(), queued, "queued");
        }
        for (owner, (_, name, record)) in OWNERS.iter().enumerate() {
            if exact(&self.setup, owner).0 {
                assert_eq!(self.counts(record).0, self.expected.counts(owner).0, "requests at {name}");
            }
        }
    }

    /// What is counted against a configured limit: requests and tokens.
    fn counts(&self, record: &str) -> (u64, u64) {
        let stored = self.read(record);
        stored.map_or((0, 0), |bytes| Minute::decode(&bytes).unwrap().counts(at(self.now_ms)))
    }

    fn read(&self, record: &str) -> Option<Vec<u8>> {
        self.shelf.borrow().records.get(record).map(|stored| stored.bytes.clone())
    }

    pub(super) fn check_the_end(&mut self) {
        for side in &mut self.sides {
            assert_eq!(side.gauges, [0; GAUGES.len()], "{GAUGES:?}");
            assert!(side.worker.journeys.borrow().is_empty(), "journeys");
            assert!(side.worker.queues.is_empty(), "queues");
        }
        for (owner, (_, name, record)) in OWNERS.iter().enumerate() {
            if exact(&self.setup, owner).1 {
                assert_eq!(self.counts(record).1, self.expected.counts(owner).1, "tokens at {name}");
            }
        }
        assert_eq!(self.used(), self.expected.used(), "the key's budget");
        self.check_pending();
        for side in &self.sides {
            self.check_leases(&side.worker.generation);
        }
    }

    fn used(&self) -> Used {
        let Some(bytes) = self.read("llm-failsafe/budget/team") else { return Used::default() };
        let ledger = Ledger::decode(&bytes).unwrap();
        let used = |kind| ledger.used_at(kind, at(self.now_ms).moment());
        Used {
            requests: used(BudgetKind::RequestsPerMinute),
            tokens: used(BudgetKind::TokensPerDay),
            micro_dollars: used(BudgetKind::UsdPerDay),
        }
    }

    fn check_pending(&mut self) {
        // The first round publishes what each has, the second reads it.
        for _ in 0..2 {
            for side in &mut self.sides {
                for generation in &side.generations {
                    generation.pending.borrow_mut().exchange(&mut *side.worker.store, at(self.now_ms));
                }
            }
        }
        for generation in self.sides.iter().flat_map(|side| &side.generations) {
            let pending = generation.pending.borrow();
            for target in targets(generation) {
                assert_eq!(pending.attempts(target), 0, "under way");
                assert_eq!(pending.unanswered(target), (0, Tokens::default()), "unanswered");
            }
        }
    }

    /// A breaker that is or becomes half-open gives exactly its number of probes.
    fn check_leases(&self, generation: &Generation) {
        let policy = &generation.config.breaker;
        for target in targets(generation) {
            for scope in breakers(&generation.config, target, EndpointFamily::Generation).unwrap() {
                let mut health = generation.health_view.borrow().health(scope).unwrap().clone();
                let mut now = at(self.now_ms);
                // Each round goes to the end of a rate limit or of an open time. A lease would last for an hour.
                for _ in 0..20 {
                    match health.availability(policy, now) {
                        Availability::Unavailable(
                            Unavailable::Open { until, .. } | Unavailable::Throttled { until },
                        ) => now = until,
                        _ => break,
                    }
                }
                let available = health.availability(policy, now);
                let probes = std::iter::from_fn(|| health.take_lease(policy, now)).count();
                let all = match available {
                    Availability::Available { .. } => 0,
                    _ => usize::from(self.setup.probes),
                };
                assert_eq!(probes, all, "probes of {scope:?}");
            }
        }
    }
}

fn targets(generation: &Generation) -> impl Iterator<Item = TargetId> {
    (0..generation.config.targets().len()).map_while(TargetId::from_index)
}

fn drain(tally: &mut Tally, mut take: impl FnMut(Metric, i64)) {
    tally.drain(|metric, delta| {
        assert_ne!(metric, Metric::SharedDataFailed, "a change of shared data was lost");
        take(metric, delta);
    });
}
