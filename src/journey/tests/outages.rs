//! Outages in simulated time, with virtual workers and seeded arrivals: how many requests a failing target
//! gets, and how soon it is used again. All decisions are made by the real code.

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::rc::Rc;
use std::time::Duration;

use serde_json::{Value, json};

use super::super::test_support::{NOW, config_with, outcome, some_request};
use crate::admission::{Admission, RequestFailures};
use crate::base::memory::{Memory, Shelf};
use crate::base::{ErrorClass, Random, SplitMix64, Timestamp};
use crate::breaker::{Blame, BreakerPhase, Health};
use crate::config::Config;
use crate::generation::{Effects, Generation};
use crate::outcome::End;
use crate::record::{Metric, Tally};
use crate::survey::{Progress, Survey, Tried};

const WORKERS: usize = 4;
/// Requests per second over all workers.
const RATE: u64 = 100;
const REFRESH_MS: u64 = 100;
/// How long a successful response takes, at least and at most.
const GOOD_MS: (u64, u64) = (200, 1500);
/// How long a failure takes at most.
const MAX_FAILURE_MS: u64 = 300;
const CONSECUTIVE: u64 = 5;
const OPEN_MS: u64 = 5_000;
const CLOSE_AFTER: u64 = 2;
const SLOW_START_MS: u64 = 10_000;

/// Whether target 0 or 1 fails at a time, given a random number below 1000.
type Fails = fn(target: usize, now_ms: u64, draw: u64) -> bool;

/// Which requests fail.
#[derive(Clone, Copy)]
enum Load {
    /// Requests that begin during the outage. Requests under way succeed.
    FailsAtStart(Fails),
    /// Requests that end during the outage, whenever they began.
    FailsAtEnd(Fails),
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Arrive { worker: usize },
    End { worker: usize, running: usize },
    Tick { worker: usize },
}

struct Running {
    admission: Admission,
    tried: Vec<Tried>,
    failures: RequestFailures,
    doomed: bool,
}

struct VirtualWorker {
    generation: Rc<Generation>,
    memory: Memory<'static>,
    tally: Tally,
}

/// One attempt that was sent: when, and to which target.
type Sent = (u64, usize);

struct Simulation {
    load: Load,
    shelf: Rc<RefCell<Shelf>>,
    /// The version of target 0's record that was seen last.
    seen: u32,
    workers: Vec<VirtualWorker>,
    rng: SplitMix64,
    events: BinaryHeap<Reverse<(u64, usize, Event)>>,
    queued: usize,
    running: Vec<Option<Running>>,
    result: Outage,
}

/// A phase of a breaker, its beginning, and the end of its open time.
#[derive(Debug)]
struct Seen {
    from_ms: u64,
    name: &'static str,
    until_ms: u64,
}

#[derive(Debug, Default)]
struct Outage {
    sent: Vec<Sent>,
    refused: u64,
    /// Requests whose client got a failure.
    failed: u64,
    /// The phases of target 0's breaker.
    phases: Vec<Seen>,
    opened: i64,
    reopened: i64,
    closed: i64,
    probes: i64,
}

impl Outage {
    fn sent_to(&self, target: usize, from_ms: u64, to_ms: u64) -> u64 {
        let within = |(at, to): &&Sent| *to == target && (from_ms..to_ms).contains(at);
        self.sent.iter().filter(within).count() as u64
    }

    /// The share of target 0, in 1/1000.
    fn share(&self, from_ms: u64, to_ms: u64) -> u64 {
        let [one, other] = [0, 1].map(|target| self.sent_to(target, from_ms, to_ms));
        one * 1000 / (one + other).max(1)
    }
}

fn config(breaker: &Value) -> Config {
    let mut policy = json!({
        "open": format!("{OPEN_MS}ms"), "open_max": "60s", "consecutive": CONSECUTIVE, "close_after": CLOSE_AFTER,
        "slow_start": format!("{SLOW_START_MS}ms"), "probe_lease": "10s",
    });
    for (name, value) in breaker.as_object().unwrap() {
        policy[name] = value.clone();
    }
    config_with(json!({
        "breaker": policy,
        "targets": {"a": {"account": "a", "model": "m"}, "b": {"account": "b", "model": "m"}},
        "models": {"chat": {"targets": ["a", "b"]}},
    }))
}

fn at(ms: u64) -> Timestamp {
    NOW.after(Duration::from_millis(ms))
}

/// Plays `requests` that arrive evenly, with a jitter of one interval.
fn play(requests: u64, seed: u64, breaker: &Value, load: Load) -> Outage {
    let shelf: Rc<RefCell<Shelf>> = Rc::default();
    let worker = |number| {
        let (config, mut memory) = (config(breaker), Memory::on(Rc::clone(&shelf)));
        let tally = Tally::new(&config);
        VirtualWorker {
            generation: Rc::new(Generation::new(config, number, Rc::default(), &mut memory)),
            memory,
            tally,
        }
    };
    let mut simulation = Simulation {
        load,
        shelf: Rc::clone(&shelf),
        seen: 0,
        workers: (0..WORKERS as u64).map(worker).collect(),
        rng: SplitMix64::new(seed),
        events: BinaryHeap::new(),
        queued: 0,
        running: Vec::new(),
        result: Outage::default(),
    };
    let interval = 1000 / RATE;
    for request in 0..requests {
        let worker = simulation.draw(WORKERS as u64) as usize;
        let when = request * interval + simulation.draw(interval);
        simulation.queue(when, Event::Arrive { worker });
    }
    for worker in 0..WORKERS {
        let first = simulation.draw(REFRESH_MS);
        for round in 0..=requests * interval / REFRESH_MS {
            simulation.queue(first + round * REFRESH_MS, Event::Tick { worker });
        }
    }
    simulation.run();
    simulation.result
}

impl Simulation {
    fn draw(&mut self, bound: u64) -> u64 {
        self.rng.below(bound)
    }

    fn queue(&mut self, when: u64, event: Event) {
        self.queued += 1;
        self.events.push(Reverse((when, self.queued, event)));
    }

    fn run(&mut self) {
        while let Some(Reverse((now_ms, _, event))) = self.events.pop() {
            match event {
                Event::Arrive { worker } => self.send(worker, Default::default(), now_ms),
                Event::End { worker, running } => {
                    let running = self.running[running].take().unwrap();
                    self.end(worker, running, now_ms);
                }
                Event::Tick { worker } => {
                    let worker = &mut self.workers[worker];
                    let failed =
                        worker.generation.exchange(&mut worker.memory, std::iter::empty(), at(now_ms));
                    assert_eq!(failed, 0);
                }
            }
            self.watch(now_ms);
        }
        for worker in &mut self.workers {
            worker.tally.drain(|metric, delta| match metric {
                Metric::BreakerOpened => self.result.opened += delta,
                Metric::BreakerReopened => self.result.reopened += delta,
                Metric::BreakerClosed => self.result.closed += delta,
                Metric::BreakerProbes => self.result.probes += delta,
                _ => {}
            });
        }
    }

    fn send(&mut self, worker: usize, (mut tried, mut failures): (Vec<Tried>, RequestFailures), now_ms: u64) {
        let VirtualWorker { generation, memory, tally } = &mut self.workers[worker];
        let request = some_request(generation);
        let progress = Progress { tried: &tried, ..Progress::default() };
        let mut survey = Survey::take(&request, progress, at(now_ms)).unwrap();
        let mut effects = Effects { store: memory, tally, rng: &mut self.rng };
        let Ok(admission) = Admission::take(&mut survey, &mut effects) else {
            let count = if tried.is_empty() { &mut self.result.refused } else { &mut self.result.failed };
            *count += 1;
            failures.settle(generation, &mut effects, at(now_ms));
            return;
        };
        let target = admission.target();
        self.result.sent.push((now_ms, target.index()));
        tried.push(Tried::new(target, crate::base::Tokens::default()));
        let draw = self.draw(1000);
        let (Load::FailsAtStart(fails) | Load::FailsAtEnd(fails)) = self.load;
        let doomed = fails(target.index(), now_ms, draw);
        let takes =
            if doomed { 1 + self.draw(MAX_FAILURE_MS) } else { GOOD_MS.0 + self.draw(GOOD_MS.1 - GOOD_MS.0) };
        self.running.push(Some(Running { admission, tried, failures, doomed }));
        let running = self.running.len() - 1;
        self.queue(now_ms + takes, Event::End { worker, running });
    }

    fn end(&mut self, worker: usize, running: Running, now_ms: u64) {
        let Running { admission, mut tried, mut failures, doomed } = running;
        let target = admission.target();
        let draw = self.draw(1000);
        let failed = match self.load {
            Load::FailsAtStart(_) => doomed,
            Load::FailsAtEnd(fails) => fails(target.index(), now_ms, draw),
        };
        let blame = if failed { Blame::of(ErrorClass::Server, None) } else { Blame::SUCCESS };
        let end = if failed { End::Failed(ErrorClass::Server) } else { End::Complete };
        let VirtualWorker { generation, memory, tally } = &mut self.workers[worker];
        let mut effects = Effects { store: memory, tally, rng: &mut self.rng };
        let outcome = outcome(end);
        let reserved = admission.settle(generation, &outcome, blame, &mut failures, &mut effects, at(now_ms));
        assert!(reserved.is_none(), "no budget is configured");
        if failed {
            if let Some(last) = tried.last_mut() {
                last.failure = Some(ErrorClass::Server);
            }
            self.send(worker, (tried, failures), now_ms);
        }
    }

    /// Notes when the breaker of target 0 changes its phase.
    fn watch(&mut self, now_ms: u64) {
        let shelf = self.shelf.borrow();
        let Some(stored) =
            shelf.records.get("llm-failsafe/target/a").filter(|stored| stored.cas != self.seen)
        else {
            return;
        };
        self.seen = stored.cas;
        let (phase, until_ms) = match Health::decode(&stored.bytes).unwrap().phase() {
            BreakerPhase::Closed { .. } => ("closed", 0),
            BreakerPhase::Open { until, .. } => {
                ("open", u64::try_from(until.since(NOW).as_millis()).unwrap())
            }
            BreakerPhase::HalfOpen { .. } => ("half-open", 0),
        };
        if self.result.phases.last().is_none_or(|last| last.name != phase) {
            self.result.phases.push(Seen { from_ms: now_ms, name: phase, until_ms });
        }
    }
}

/// No more requests than this arrive within any `ms`.
const fn arrivals(ms: u64) -> u64 {
    RATE * ms / 1000 + 1
}

/// How often a target is probed at most during an outage of `ms`. Probes fail within `MAX_FAILURE_MS`, which
/// never lengthens the open time.
const fn probes_within(ms: u64) -> u64 {
    ms / OPEN_MS
}

/// How often it is probed at least: an open time is a tenth longer at most, and the next request that goes
/// there comes soon after it.
const fn fewest_probes_within(ms: u64) -> u64 {
    (ms - 1000) / (OPEN_MS + OPEN_MS / 10 + MAX_FAILURE_MS + REFRESH_MS + 64 * 1000 / RATE)
}

/// How often a target trips at most within `ms`, apart from the first time: open times double with every trip,
/// so the `k`-th comes no sooner than `open · (2ᵏ − 1)` after the first one.
fn trips_within(ms: u64) -> u64 {
    (1..).take_while(|k| OPEN_MS * ((1 << k) - 1) <= ms).count() as u64
}

/// How many requests a failing target gets until every worker knows: the failures in a row that trip the
/// breaker, requests sent while the last of them are under way, and requests from workers that have not
/// refreshed since the trip. In the worst case all of them go to this target.
fn requests_until_all_workers_know() -> u64 {
    CONSECUTIVE + arrivals(MAX_FAILURE_MS) + arrivals(REFRESH_MS)
}

const SEEDS: std::ops::Range<u64> = 0..4;
const REQUESTS: u64 = 10_000;
const DOWN: u64 = 20_000;
const UP: u64 = 50_000;

fn check_outage(outage: &Outage, bound: u64) {
    let reached = outage.sent_to(0, DOWN, UP);
    assert!(reached <= bound, "{reached} of at most {bound}");
    assert_eq!((outage.refused, outage.failed), (0, 0), "the other target takes over");
    // One trip, one failed probe for each open time that ends in the outage, one recovery: no oscillation.
    assert_eq!((outage.opened, outage.closed), (1, 1));
    let failed_probes = u64::try_from(outage.reopened).unwrap();
    assert!(
        (fewest_probes_within(UP - DOWN)..=probes_within(UP - DOWN)).contains(&failed_probes),
        "{failed_probes}"
    );
    assert_eq!(outage.probes, outage.reopened + i64::try_from(CLOSE_AFTER).unwrap());

    // It closes after the rest of the open time and `close_after` successes, one after the other. Each
    // success takes its own time, a refresh, and the requests that go to the other target first (64 in a
    // row have a probability of 2⁻⁶⁴).
    let left_until = outage.phases.iter().rfind(|seen| seen.name == "open").unwrap().until_ms;
    let closed = outage.phases.last().unwrap();
    assert_eq!(closed.name, "closed");
    let by = left_until.max(UP) + CLOSE_AFTER * (GOOD_MS.1 + REFRESH_MS + 64 * 1000 / RATE);
    assert!(closed.from_ms <= by, "{closed:?} by {by}");

    // Its share ramps up from a twentieth to a half: a draw decides whether the target takes part, by its
    // permille.
    let start = closed.from_ms;
    let part = |n| outage.share(start + n * SLOW_START_MS / 4, start + (n + 1) * SLOW_START_MS / 4);
    assert!(part(0) < 180 && part(0) < part(1) && part(1) < part(3), "{:?}", [0, 1, 2, 3].map(part));
    let full = outage.share(start + SLOW_START_MS + REFRESH_MS, REQUESTS * 1000 / RATE);
    // Five standard deviations of a binomial with n ≥ 2,500 are at most 50 ‰.
    assert!(full.abs_diff(500) <= 50, "{full}");
}

/// Of ten thousand requests one target would get 1,500 in its outage of 30 s, in which also requests under
/// way fail. It gets at most `consecutive` + arrivals in the longest failure + arrivals in a refresh +
/// probes.
#[test]
fn an_outage_costs_only_the_tripping_requests_and_the_probes() {
    for seed in SEEDS {
        let outage = play(REQUESTS, seed, &json!({}), Load::FailsAtEnd(fails_first_target));
        check_outage(&outage, requests_until_all_workers_know() + probes_within(UP - DOWN));
        assert!(outage.sent_to(0, DOWN, UP) <= 20, "the result of these seeds");
    }
}

/// Requests under way succeed here. Their late successes interrupt the failures in a row until the last one
/// has ended.
#[test]
fn an_outage_of_new_requests_trips_by_the_time_the_old_ones_end() {
    for seed in SEEDS {
        let outage = play(REQUESTS, seed, &json!({}), Load::FailsAtStart(fails_first_target));
        check_outage(
            &outage,
            arrivals(GOOD_MS.1) + requests_until_all_workers_know() + probes_within(UP - DOWN),
        );
    }
}

fn fails_first_target(target: usize, now_ms: u64, _: u64) -> bool {
    target == 0 && (DOWN..UP).contains(&now_ms)
}

/// Three seconds up, three seconds down, all the time. Each trip doubles the open time.
#[test]
fn a_flapping_target_stays_open_for_longer_each_time() {
    let is_out = |now_ms: u64| now_ms / 3000 % 2 == 1;
    for seed in SEEDS {
        let load = Load::FailsAtEnd(|target, now_ms, _| target == 0 && now_ms / 3000 % 2 == 1);
        let outage = play(REQUESTS, seed, &json!({}), load);
        let trips = u64::try_from(outage.opened).unwrap();
        assert!(trips <= 1 + trips_within(REQUESTS * 1000 / RATE), "{trips}");
        let failing = outage.sent.iter().filter(|(at, target)| *target == 0 && is_out(*at)).count() as u64;
        let opened = u64::try_from(outage.opened).unwrap();
        let bound = opened * requests_until_all_workers_know() + u64::try_from(outage.probes).unwrap();
        assert!(failing <= bound, "{failing} of at most {bound}");
        assert_eq!((outage.refused, outage.failed), (0, 0));
    }
}

/// Only the ratio can trip here, because `consecutive` is out of reach. (`n` independent failures in a row
/// with probability `p` take `(p⁻ⁿ − 1) / (1 − p)` requests on average: 586 for five at 30 %.)
#[test]
fn a_target_opens_above_the_failure_ratio_and_not_below_it() {
    let policy = json!({"consecutive": 50, "window": "10s"});
    for seed in SEEDS {
        let seldom = Load::FailsAtEnd(|target, now_ms, draw| target == 0 && now_ms >= DOWN && draw < 300);
        let outage = play(REQUESTS, seed, &policy, seldom);
        assert_eq!((outage.opened, outage.failed), (0, 0));
        // Five standard deviations of a binomial with n = 8,000 are 224.
        assert!(outage.sent_to(0, DOWN, u64::MAX).abs_diff(4000) < 224);

        let often = Load::FailsAtEnd(|target, now_ms, draw| target == 0 && now_ms >= DOWN && draw < 600);
        let outage = play(REQUESTS / 2, seed, &policy, often);
        let opened = outage.phases.iter().find(|seen| seen.name == "open").unwrap().from_ms;
        // It opens when five sixths of the window are in the outage, and at the latest when all of it is.
        assert!((DOWN..DOWN + 10_000).contains(&opened), "{opened}");
    }
}

/// No target is left and the model refuses: providers get the requests that trip both breakers, and then
/// only probes.
#[test]
fn while_all_targets_are_open_only_probes_are_sent() {
    for seed in SEEDS {
        let load = Load::FailsAtEnd(|_, now_ms, _| (DOWN..UP).contains(&now_ms));
        let outage = play(REQUESTS, seed, &json!({}), load);
        let all_know = DOWN + 1000;
        let [one, other] = [0, 1].map(|target| outage.sent_to(target, all_know, UP));
        let probes = probes_within(UP - DOWN);
        assert!(one <= probes && other <= probes, "{one} {other}");
        // Requests under way are retried once when they fail. Each new request makes two attempts.
        let bound = arrivals(GOOD_MS.1) + 2 * requests_until_all_workers_know();
        let first = outage.sent_to(0, DOWN, all_know) + outage.sent_to(1, DOWN, all_know);
        assert!(first <= bound, "{first} of at most {bound}");
        // Requests are refused from the first second of the outage to the probes after it. Then both
        // targets are back.
        assert!(outage.refused >= RATE * (UP - all_know) / 1000 - 2 * probes, "{}", outage.refused);
        assert_eq!(outage.closed, 2);
        assert_eq!(outage.share(70_000, u64::MAX).abs_diff(500) / 60, 0);
    }
}
