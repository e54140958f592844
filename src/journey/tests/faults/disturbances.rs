//! What happens to the whole worker in the middle of a case: pauses, crashes, steps of the wall clock, a close of
//! the connection that all requests share, lost shared records.

use proptest::prelude::*;

use super::super::super::LATE;
use super::super::super::{Ending, Worker};
use super::world::{Client, STEP_MS, Stage, TICK_MS, Watch, World, at};
use crate::base::{WallClock, WallTime};

/// What happens.
#[derive(Debug, Clone, Copy)]
pub(super) enum Disturbance {
    /// The process is stopped for so many milliseconds.
    Pause(u64),
    /// The VM crashes, and another takes its place.
    Crash,
    /// The wall clock is set, by so many milliseconds off.
    SetClock(i64),
    /// Envoy closes the connection of the hop.
    CloseHop,
    /// Another process takes the place of this one without its shared data.
    LoseShared,
}

pub(super) fn disturbances() -> impl Strategy<Value = Vec<(u64, Disturbance)>> {
    let hour = 3_600_000_i64;
    let one = prop_oneof![
        3 => prop_oneof![1_u64..50, 100_u64..500, Just(6_000)].prop_map(|steps| Disturbance::Pause(steps * STEP_MS)),
        1 => Just(Disturbance::Crash),
        1 => prop::sample::select(vec![hour, -hour, 35_000, -35_000]).prop_map(Disturbance::SetClock),
        1 => Just(Disturbance::CloseHop),
        1 => Just(Disturbance::LoseShared),
    ];
    let some = prop::collection::vec((0_u64..3_000, one), 1..4).prop_map(|mut all| {
        all.sort_by_key(|(at_ms, _)| *at_ms);
        all
    });
    prop_oneof![1 => Just(Vec::new()), 1 => some]
}

impl World {
    /// Does what is due.
    pub(super) fn disturb(&mut self) {
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
    pub(super) fn excuse_pause(&mut self) {
        let passed = at(self.now_ms).since(at(self.last_tick_ms));
        self.last_tick_ms = self.now_ms;
        if passed <= LATE {
            return;
        }
        let pause = passed - std::time::Duration::from_millis(TICK_MS);
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
            if matches!(client.stage, Stage::Passing { .. }) {
                client.over("crashed", &self.watch, self.now_ms);
            }
        }
    }
}

impl Client {
    fn lose_hop(&mut self, worker: &mut Worker, watch: &mut Watch, now_ms: u64) {
        if !matches!(self.stage, Stage::Passing { .. }) {
            return;
        }
        self.cost(watch, (false, true));
        self.finish(worker, watch, Ending::HopClosed, now_ms);
        match self.committed {
            true => self.over("cut off", watch, now_ms),
            false => self.edge_retries(watch, now_ms),
        }
    }
}
