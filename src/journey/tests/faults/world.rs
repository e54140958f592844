//! Plays a case: Envoy, the edge of the retry loop and the providers, in simulated time.

use std::cell::{Cell, RefCell};
use std::collections::{HashSet, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::super::super::registry::ORPHAN_AFTER;
use super::super::super::test_support::*;
use super::super::super::{LATE, Worker};
use super::client::{Client, Stage};
use super::disturbances::Disturbance;
use super::scripts::{Case, TARGETS};
use super::watch::{ESTIMATE, GAUGES, STEP_MS, TICK_MS, Watch, at};
use crate::base::memory::{Memory, Shelf};
use crate::base::{SplitMix64, Store, TargetId, WallClock, WallTime};
use crate::breaker::{Command, Scope};
use crate::tenancy::{BudgetKind, Ledger};

pub(super) struct World {
    case: Case,
    worker: Worker,
    shelf: Rc<RefCell<Shelf>>,
    wall: Rc<Cell<WallClock>>,
    clients: Vec<Client>,
    watch: Watch,
    disturbances: VecDeque<(u64, Disturbance)>,
    now_ms: u64,
    last_tick_ms: u64,
}

fn new_worker(case: &Case, shelf: &Rc<RefCell<Shelf>>, wall: &Rc<Cell<WallClock>>) -> Worker {
    let sha256: String = Sha256::digest(b"client-key").iter().map(|byte| format!("{byte:02x}")).collect();
    let config = load(&case.policy.config(&sha256).to_string());
    let store = Box::new(Memory::on(Rc::clone(shelf)));
    Worker::new(config, Rc::default(), Rc::clone(wall), store, SplitMix64::new(1))
}

impl World {
    pub(super) fn new(case: &Case) -> Self {
        let shelf: Rc<RefCell<Shelf>> = Rc::default();
        let wall: Rc<Cell<WallClock>> = Rc::default();
        let mut worker = new_worker(case, &shelf, &wall);
        let mut forced_open = HashSet::new();
        if let Some((place, whole_account)) = case.forced_open {
            let (name, account) = TARGETS[place];
            let id = (0..).map_while(TargetId::from_index).take(TARGETS.len());
            let id = id
                .into_iter()
                .find(|id| *worker.generation.config.target(*id).unwrap().name == *name)
                .unwrap();
            let scope = match whole_account {
                true => Scope::Account(worker.generation.config.target(id).unwrap().account),
                false => Scope::Target(id),
            };
            worker.generation.health_view.borrow_mut().command(
                &mut *worker.store,
                scope,
                Command::ForceOpen,
                NOW,
            );
            let same = |other: &&(&'static str, &str)| {
                if whole_account { other.1 == account } else { other.0 == name }
            };
            forced_open.extend(TARGETS.iter().filter(same).map(|(name, _)| *name));
        }
        let clients =
            (1..).zip(&case.requests).map(|(number, request)| Client::new(number, request)).collect();
        let watch = Watch {
            attempts: case.policy.attempts.into(),
            attempts_per_target: case.policy.attempts_per_target.into(),
            total_ms: case.policy.total_ms,
            forced_open,
            blocked: HashSet::new(),
            records: 0,
            gauges: [0; GAUGES.len()],
            cost: (0, 0),
            budget_is_certain: true,
            paused_ms: 0,
        };
        let disturbances = case.disturbances.iter().copied().collect();
        let case = case.clone();
        Self { case, worker, shelf, wall, clients, watch, disturbances, now_ms: 0, last_tick_ms: 0 }
    }

    /// Another VM in place of the worker's. What is shared stays.
    pub(super) fn new_worker(&self) -> Worker {
        new_worker(&self.case, &self.shelf, &self.wall)
    }

    /// Plays the case to its end. Returns how each request ended.
    pub(super) fn run(mut self) -> Vec<&'static str> {
        let mut quiet_since = None;
        let orphaned = u64::try_from(ORPHAN_AFTER.as_millis()).unwrap() + 2 * TICK_MS;
        while quiet_since.is_none_or(|since| self.now_ms < since + orphaned + self.watch.paused_ms) {
            self.step();
            let over = self.clients.iter().all(|client| matches!(client.stage, Stage::Over));
            quiet_since = quiet_since.or(over.then_some(self.now_ms));
            assert!(self.now_ms < 60_000 + 2 * self.watch.paused_ms, "the case does not end");
            self.now_ms += STEP_MS;
        }
        self.check_the_end();
        let held = self.clients.iter().any(|client| client.was_held).then_some("held");
        self.clients.iter().map(|client| client.end).chain(held).collect()
    }

    fn step(&mut self) {
        self.disturb();
        if self.now_ms.is_multiple_of(TICK_MS) {
            self.excuse_pause();
        }
        let Self { worker, clients, watch, now_ms, .. } = self;
        for client in clients.iter_mut() {
            client.advance(worker, watch, *now_ms);
        }
        if *now_ms % TICK_MS == 0 {
            let orphans = worker.tick(at(*now_ms));
            watch.records += orphans.len();
            // As the host does: waiting requests leave in the order of their queue.
            let mut order: Vec<_> = (0..clients.len()).collect();
            order.sort_by_key(|index| clients[*index].position());
            for index in order {
                clients[index].look(worker, watch, *now_ms);
            }
        }
        worker.tally.drain(|metric, delta| {
            if let Some(place) = GAUGES.iter().position(|gauge| *gauge == metric) {
                watch.gauges[place] += delta;
            }
        });
    }

    fn check_the_end(&mut self) {
        assert_eq!(self.watch.gauges, [0; GAUGES.len()], "{GAUGES:?}");
        assert!(self.worker.journeys.borrow().is_empty() && self.worker.queues.is_empty());
        for target in (0..).map_while(TargetId::from_index).take(TARGETS.len()) {
            assert_eq!(
                self.worker.generation.pending.borrow().attempts(target),
                0,
                "no attempt is under way"
            );
        }
        let (records, all) = (self.watch.records, self.clients.len());
        let lost = self.clients.iter().filter(|client| client.may_lack_record).count();
        assert!((all - lost..=all).contains(&records), "{records} records of {all} requests");
        let stored = Memory::on(Rc::clone(&self.shelf)).read("llm-failsafe/budget/team").unwrap();
        let used = stored.map_or(0, |stored| {
            Ledger::decode(&stored.bytes).unwrap().used_at(BudgetKind::TokensPerDay, at(self.now_ms).moment())
        });
        let (least, most) = self.watch.cost;
        if self.watch.budget_is_certain {
            assert!((least..=most).contains(&used), "{used} tokens, not {least} to {most}");
        } else {
            // What was reserved when the worker crashed stays used.
            let most = most + ESTIMATE * u64::try_from(self.clients.len()).unwrap();
            assert!(used <= most, "{used} tokens, not up to {most}");
        }
    }
}

impl World {
    /// Does what is due.
    fn disturb(&mut self) {
        while let Some((_, disturbance)) = self.disturbances.pop_front_if(|(due, _)| *due <= self.now_ms) {
            match disturbance {
                Disturbance::Pause(ms) => {
                    self.now_ms += ms;
                    // The worker knows the pause up to a tick.
                    self.watch.paused_ms += ms + TICK_MS;
                }
                Disturbance::Crash => self.crash(),
                Disturbance::SetClock(ms) => {
                    let wall = WallTime::from_millis(at(self.now_ms).as_millis().saturating_add_signed(ms));
                    self.wall.set(WallClock::shows(wall, at(self.now_ms)));
                }
                Disturbance::CloseHop => {
                    for client in &mut self.clients {
                        client.lose_hop(&mut self.worker, &mut self.watch, self.now_ms);
                    }
                }
                Disturbance::LoseShared => {
                    self.shelf.borrow_mut().records.clear();
                    self.watch.forced_open.clear();
                    self.watch.blocked.clear();
                    self.watch.budget_is_certain = false;
                }
            }
        }
    }

    /// A tick has come. After a pause no time limit counts that time, as in the host.
    fn excuse_pause(&mut self) {
        let passed = at(self.now_ms).since(at(self.last_tick_ms));
        self.last_tick_ms = self.now_ms;
        if passed <= LATE {
            return;
        }
        let pause = passed - Duration::from_millis(TICK_MS);
        self.worker.journeys.borrow_mut().excuse(pause, at(self.now_ms));
        for client in &mut self.clients {
            if let Stage::Passing { pass, .. } = &mut client.stage {
                pass.exchange.excuse(pause, at(self.now_ms));
            }
        }
    }

    /// What was in the VM's memory is lost: every pass, and every journey. Shared data stays.
    fn crash(&mut self) {
        self.worker = self.new_worker();
        self.watch.gauges = Default::default();
        self.watch.budget_is_certain = false;
        for client in &mut self.clients {
            client.forgotten = !matches!(client.stage, Stage::ToCome);
            client.may_lack_record = client.forgotten && client.records == 0;
            // The new VM does not know when the request began.
            client.began_ms = self.now_ms;
            if matches!(client.stage, Stage::Passing { .. }) {
                client.over("crashed", &self.watch, self.now_ms);
            }
        }
    }
}
