//! Operations of several workers that interleave in every way the shared data allows: whole operations of
//! others run between the read and the write of one, and others again between theirs.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use super::codec::Healths;
use super::health_tests::{commands, outcomes};
use super::test_policy::policy;
use super::*;
use crate::base::memory::{Memory, Shelf};
use crate::base::{EndpointFamily, TargetId, Timestamp};
use crate::config::{self, BreakerPolicy, Config};

/// How far the clocks of two workers may differ, in milliseconds in either direction.
const MAX_SKEW_MS: i64 = 300;
/// A time further ahead than this was noted before the clock stepped back. It exceeds the clock difference
/// plus the steps of one operation.
const STEP_BACK: Duration = Duration::from_secs(1);
/// How deep operations nest within operations.
const MAX_DEPTH: usize = 4;
/// After this many writes an operation is left alone, so that no race is lost for good.
const MAX_LOSSES: u8 = 4;

#[derive(Debug, Clone)]
enum Act {
    Send,
    End {
        which: usize,
        outcome: HealthSignal,
        by: Witness,
    },
    /// Pays a half that is owed, or drops it.
    Pay {
        which: usize,
        drop: bool,
    },
    Tick,
    Command(Command),
}

#[derive(Debug, Clone)]
struct Step {
    worker: usize,
    act: Act,
    passes_ms: i64,
    skew_ms: i64,
    /// How many of the following steps run before each of the first `losses` writes of this one.
    rivals: u8,
    losses: u8,
    jitter: u64,
}

fn steps(workers: usize) -> impl Strategy<Value = Vec<Step>> {
    let act = prop_oneof![
        10 => Just(Act::Send),
        10 => (any::<usize>(), outcomes()).prop_flat_map(|(which, outcome)| {
            witnesses(outcome).prop_map(move |by| Act::End { which, outcome, by })
        }),
        4 => (any::<usize>(), any::<bool>()).prop_map(|(which, drop)| Act::Pay { which, drop }),
        3 => Just(Act::Tick),
        1 => commands().prop_map(Act::Command),
    ];
    let passes = prop_oneof![12 => 0_i64..200, 4 => 0_i64..12_000, 1 => -20_000_i64..0];
    let step = (0..workers, act, passes, -MAX_SKEW_MS..=MAX_SKEW_MS, (0_u8..4, 0..=MAX_LOSSES), any::<u64>());
    let step = step.prop_map(|(worker, act, passes_ms, skew_ms, (rivals, losses), jitter)| Step {
        worker,
        act,
        passes_ms,
        skew_ms,
        rivals,
        losses,
        jitter,
    });
    proptest::collection::vec(step, 1..250)
}

/// Requests of three client keys and of unknown clients. Most failures are of one key.
fn witnesses(outcome: HealthSignal) -> impl Strategy<Value = Witness> {
    let keys = [Keys::NONE, Keys::of(&[1; 32]), Keys::of(&[2; 32]), Keys::of(&[3; 32])];
    let often = if outcome == HealthSignal::Success { 0 } else { 50 };
    let key = prop_oneof![often => Just(1), 1 => 0_usize..4].prop_map(move |key| keys[key]);
    let share = prop_oneof![Just(Share::Whole), Just(Share::Half)];
    (key, share).prop_map(|(key, share)| Witness { key, share, host: Keys::NONE })
}

fn histories() -> impl Strategy<Value = (usize, u8, u32, Vec<Step>)> {
    (2_usize..=8, 1_u8..=4, prop_oneof![Just(0), Just(u32::MAX - 30), any::<u32>()])
        .prop_flat_map(|(workers, probes, cas)| (Just(workers), Just(probes), Just(cas), steps(workers)))
}

struct Virtual {
    health_view: HealthView,
    running: Vec<Ticket>,
    /// Halves that are owed, with the truth's number of their run.
    owed: Vec<(OwedHalf, u32, Keys)>,
    /// Generation of the last open state that this worker itself caused.
    opened: Option<u32>,
    generation: u32,
}

/// What has happened, as seen by an observer of all workers.
#[derive(Default)]
struct Truth {
    /// Leases that were granted and neither reported nor expired.
    leases: Vec<(Ticket, Timestamp)>,
    generation: u32,
    /// Consecutive half failures reported in this generation, and whose.
    run: u16,
    run_keys: Vec<Keys>,
    runs: u32,
    /// Everybody who ever had a success.
    succeeded: Vec<Keys>,
    phases: HashMap<u32, &'static str>,
    seen: Seen,
}

/// What the histories have reached.
#[derive(Debug, Default, Clone, Copy)]
struct Seen {
    opened: usize,
    reopened: usize,
    closed: usize,
    leases: usize,
    refused_leases: usize,
    lost_races: usize,
    paid: usize,
    held: usize,
    stragglers: usize,
}

struct World {
    shelf: Rc<RefCell<Shelf>>,
    policy: BreakerPolicy,
    scope: Scope,
    clock_ms: Cell<i64>,
    workers: Vec<RefCell<Virtual>>,
    script: RefCell<VecDeque<Step>>,
    truth: RefCell<Truth>,
}

fn config() -> Config {
    let json = r#"{
      "providers": {"p": {"kind": "openai", "cluster": "c"}},
      "targets": {"t": {"provider": "p", "model": "m", "key": {"value": "sk-x"}}},
      "models": {"m": {"targets": ["t"]}}
    }"#;
    config::load(json.as_bytes(), &|_| None).unwrap()
}

fn kind(phase: &BreakerPhase) -> &'static str {
    match phase {
        BreakerPhase::Closed { .. } => "closed",
        BreakerPhase::Open { .. } => "open",
        BreakerPhase::HalfOpen { .. } => "half-open",
    }
}

impl World {
    fn new(workers: usize, probes: u8, cas: u32, script: Vec<Step>) -> Rc<Self> {
        let config = config();
        let policy = BreakerPolicy {
            probes,
            consecutive: 3,
            min_requests: 20,
            open: Duration::from_secs(5),
            open_max: Duration::from_secs(20),
            block: Duration::from_secs(5),
            block_max: Duration::from_secs(20),
            probe_lease: Duration::from_secs(4),
            close_after: 1 + u8::from(probes.is_multiple_of(2)),
            ..policy()
        };
        let health_view = || Virtual {
            health_view: HealthView::new(&config),
            running: vec![],
            owed: vec![],
            opened: None,
            generation: 0,
        };
        Rc::new(Self {
            shelf: Rc::new(RefCell::new(Shelf::after_changes(cas))),
            policy,
            scope: Scope::Target(TargetId::from_index(0).unwrap()),
            clock_ms: Cell::new(1_000_000_000),
            workers: (0..workers).map(|_| RefCell::new(health_view())).collect(),
            script: RefCell::new(script.into()),
            truth: RefCell::default(),
        })
    }

    fn record(&self) -> Option<Health> {
        let shelf = self.shelf.borrow();
        let stored = shelf.records.get("llm-failsafe/target/t")?;
        Some(Healths::decode(&stored.bytes).unwrap().of(EndpointFamily::Generation).clone())
    }

    fn next(&self) -> Option<Step> {
        self.script.borrow_mut().pop_front()
    }
}

fn run(world: &Rc<World>) -> Seen {
    while let Some(step) = world.next() {
        play(world, &step, 0);
    }
    let now = Timestamp::from_millis(u64::try_from(world.clock_ms.get()).unwrap());
    // Two rounds: in the first, workers may still have successes to flush.
    for worker in world.workers.iter().chain(&world.workers) {
        let mut memory = Memory::on(Rc::clone(&world.shelf));
        let health_view = &mut worker.borrow_mut().health_view;
        health_view.flush(&mut memory, &world.policy, now);
        health_view.refresh(&mut memory);
    }
    if let Some(record) = world.record() {
        for worker in &world.workers {
            assert_eq!(
                worker.borrow().health_view.health(world.scope),
                Some(&record),
                "all know the same in the end"
            );
        }
    }
    world.truth.borrow().seen
}

fn play(world: &Rc<World>, step: &Step, depth: usize) {
    // A worker runs one operation at a time.
    let Ok(mut worker) = world.workers[step.worker].try_borrow_mut() else { return };
    // Little time passes between the read and the write of an operation.
    let passes = if depth == 0 { step.passes_ms } else { step.passes_ms.rem_euclid(2) };
    world.clock_ms.set(world.clock_ms.get() + passes);
    let now = Timestamp::from_millis(u64::try_from(world.clock_ms.get() + step.skew_ms).unwrap());
    let mut memory = Memory::on(Rc::clone(&world.shelf));
    memory.before_write = Some(rivals(world, step, depth));
    match &step.act {
        Act::Send => send(world, &mut worker, &mut memory, now),
        Act::End { which, outcome, by } => {
            if !worker.running.is_empty() {
                // In half of the cases the newest attempt, which is the probe if there is one.
                let newest = worker.running.len() - 1;
                let which = if which % 2 == 0 { newest } else { which / 2 % (newest + 1) };
                let ticket = worker.running.swap_remove(which);
                let report = Report { ticket, signal: *outcome, by: *by, jitter: step.jitter };
                end(world, &mut worker, &mut memory, report, now);
            }
        }
        Act::Pay { which, drop } => {
            if !worker.owed.is_empty() {
                let which = which % worker.owed.len();
                let owed = worker.owed.swap_remove(which);
                if !drop {
                    pay(world, &mut worker, &mut memory, owed, now, step.jitter);
                }
            }
        }
        Act::Tick => {
            assert_eq!(worker.health_view.flush(&mut memory, &world.policy, now), 0);
            worker.health_view.refresh(&mut memory);
            if let Some(record) = world.record() {
                assert_eq!(worker.health_view.health(world.scope), Some(&record), "orders and all");
            }
        }
        Act::Command(command) => {
            assert!(worker.health_view.command(&mut memory, world.scope, *command, now).shared);
            if matches!(command, Command::Probe | Command::Reset) {
                world.truth.borrow_mut().leases.clear();
            }
        }
    }
    check(world, &mut worker);
}

/// Runs the next steps of the script at a point where another worker could interfere.
fn rivals(world: &Rc<World>, step: &Step, depth: usize) -> Box<dyn FnMut()> {
    let (world, rivals, mut losses) = (Rc::clone(world), step.rivals, step.losses);
    Box::new(move || {
        if losses == 0 || depth == MAX_DEPTH {
            return;
        }
        losses -= 1;
        let before = world.record();
        for _ in 0..rivals {
            let Some(step) = world.next() else { return };
            play(&world, &step, depth + 1);
        }
        world.truth.borrow_mut().seen.lost_races += usize::from(world.record() != before);
    })
}

fn send(world: &World, worker: &mut Virtual, memory: &mut Memory<'_>, now: Timestamp) {
    let view = worker.health_view.health(world.scope).unwrap();
    match view.availability(&world.policy, now) {
        Availability::Available { .. } => {
            let forced = view.order() == Some(Order::ForcedClosed);
            assert!(forced || worker.opened.is_none_or(|opened| view.generation > opened), "it opened this");
            worker.running.push(view.ticket());
        }
        Availability::Probe => {
            let change = worker.health_view.take_lease(memory, world.scope, &world.policy, now);
            assert!(change.shared);
            let truth = &mut *world.truth.borrow_mut();
            let Some(ticket) = change.result else {
                truth.seen.refused_leases += 1;
                return;
            };
            worker.running.push(ticket);
            if ticket.is_probe() {
                truth.seen.leases += 1;
                let end = world.policy.probe_lease;
                truth.leases.retain(|(lease, since)| {
                    let noted_before_a_step_back = *since > now.after(STEP_BACK);
                    lease.generation == ticket.generation
                        && now < since.after(end)
                        && !noted_before_a_step_back
                });
                assert!(truth.leases.len() < usize::from(world.policy.probes), "one probe too many");
                truth.leases.push((ticket, now));
            }
        }
        Availability::Unavailable(_) => {}
    }
}

fn end(world: &World, worker: &mut Virtual, memory: &mut Memory<'_>, report: Report, now: Timestamp) {
    let Report { ticket, signal, by, .. } = report;
    let change = worker.health_view.take_in(memory, world.scope.into(), &world.policy, report, now);
    assert!(change.shared);
    let (transition, owed) = change.result;
    let truth = &mut *world.truth.borrow_mut();
    truth.leases.retain(|(lease, _)| *lease != ticket);
    if signal == HealthSignal::Success {
        truth.succeeded.push(by.key);
    }
    // Without a record nothing has been written yet, so this success was only collected.
    let Some(record) = world.record() else { return };
    truth.changed(worker, transition, &record);
    truth.seen.stragglers += usize::from(ticket.generation < record.generation);
    if ticket.generation == record.generation && kind(record.phase()) == "closed" {
        match signal {
            HealthSignal::Failure(_) => truth.fail(by.share.halves(), by.key),
            HealthSignal::Success if memory.calls > 0 => truth.end_run(),
            _ => {}
        }
    }
    if let Some(owed) = owed {
        assert!(by.share == Share::Half && kind(record.phase()) == "closed");
        worker.owed.push((owed, truth.runs, by.key));
    }
}

fn pay(
    world: &World,
    worker: &mut Virtual,
    memory: &mut Memory<'_>,
    (owed, run, key): (OwedHalf, u32, Keys),
    now: Timestamp,
    jitter: u64,
) {
    let generation = owed.half.generation;
    let change = worker.health_view.pay(memory, owed, &world.policy, now, jitter);
    assert!(change.shared);
    let truth = &mut *world.truth.borrow_mut();
    let record = world.record().expect("the first half was written");
    truth.changed(worker, change.result, &record);
    if generation == record.generation && kind(record.phase()) == "closed" {
        truth.seen.paid += 1;
        if run == truth.runs {
            truth.fail(1, key);
        }
    }
}

impl Truth {
    fn changed(&mut self, worker: &mut Virtual, change: Option<Transition>, record: &Health) {
        match change {
            Some(Transition::Opened(_) | Transition::Reopened(_)) => {
                assert_eq!(kind(record.phase()), "open");
                worker.opened = Some(record.generation);
                let reopened = matches!(change, Some(Transition::Reopened(_)));
                self.seen.opened += usize::from(!reopened);
                self.seen.reopened += usize::from(reopened);
            }
            Some(Transition::Closed) => {
                assert_eq!(kind(record.phase()), "closed");
                self.seen.closed += 1;
            }
            Some(Transition::Held(_)) => self.seen.held += 1,
            Some(Transition::Throttled) | None => {}
        }
        self.move_on(record);
    }

    fn fail(&mut self, halves: u16, key: Keys) {
        self.run += halves;
        self.run_keys.push(key);
    }

    fn end_run(&mut self) {
        self.run = 0;
        self.run_keys.clear();
        self.runs += 1;
    }

    /// Whether the failures of this run may leave the breaker closed: they are of one key, and another one had
    /// a success.
    fn is_of_one_key(&self) -> bool {
        let Some(key) = self.run_keys.iter().find(|key| **key != Keys::NONE) else { return false };
        self.run_keys.iter().all(|other| other == key || *other == Keys::NONE)
            && self.succeeded.iter().any(|other| other != key && *other != Keys::NONE)
    }

    fn move_on(&mut self, record: &Health) {
        assert!(record.generation >= self.generation, "the generation went back");
        if record.generation > self.generation {
            self.end_run();
        }
        self.generation = record.generation;
    }

    fn check_phase(&mut self, health: &Health) {
        let expected = *self.phases.entry(health.generation).or_insert(kind(health.phase()));
        assert_eq!(kind(health.phase()), expected, "two phases in generation {}", health.generation);
    }
}

fn check(world: &World, worker: &mut Virtual) {
    let truth = &mut *world.truth.borrow_mut();
    let view = worker.health_view.health(world.scope).unwrap();
    assert!(view.generation >= worker.generation, "a view went back");
    worker.generation = view.generation;
    truth.check_phase(view);
    let Some(record) = world.record() else { return };
    truth.move_on(&record);
    truth.check_phase(&record);
    assert!(view.generation <= record.generation);
    if kind(record.phase()) == "closed" {
        let is_short = u32::from(truth.run) < 2 * world.policy.consecutive;
        assert!(is_short || truth.is_of_one_key(), "a lost trip");
        assert_eq!(record.run.halves, truth.run, "a lost change");
    }
}

proptest! {
    /// Two to eight workers, any history, any interleaving, clocks that differ and step back. At most
    /// `probes` leases are in force. No trip and no change is lost. Generations never go back, and each has
    /// one phase. No worker sends to a scope that it has opened itself. After a refresh every worker knows
    /// the record.
    #[test]
    fn arbitrarily_interleaved_workers_agree((workers, probes, cas, script) in histories()) {
        run(&World::new(workers, probes, cas, script));
    }
}

/// Guards the property: its histories reach every interesting event.
#[test]
fn the_histories_reach_trips_probes_closings_and_lost_races() {
    let mut runner = TestRunner::deterministic();
    let mut all = Seen::default();
    for _ in 0..300 {
        let (workers, probes, cas, script) = histories().new_tree(&mut runner).unwrap().current();
        let seen = run(&World::new(workers, probes, cas, script));
        all.opened += seen.opened;
        all.reopened += seen.reopened;
        all.closed += seen.closed;
        all.leases += seen.leases;
        all.refused_leases += seen.refused_leases;
        all.lost_races += seen.lost_races;
        all.stragglers += seen.stragglers;
        all.paid += seen.paid;
        all.held += seen.held;
    }
    let Seen { opened, reopened, closed, leases, refused_leases, lost_races, paid, held, stragglers } = all;
    for count in [opened, reopened, closed, leases, refused_leases, lost_races, paid, held, stragglers] {
        assert!(count >= 20, "{all:?}");
    }
}
