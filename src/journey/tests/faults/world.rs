//! Plays a case: Envoy, the edge of the retry loop and the providers, in simulated time.

use std::cell::{Cell, RefCell};
use std::collections::{HashSet, VecDeque};
use std::rc::Rc;

use sha2::{Digest, Sha256};

use super::super::super::registry::ORPHAN_AFTER;
use super::super::super::test_support::*;
use super::super::super::{AlarmStep, Ending, RequestStep, Worker};
use super::super::CHAT;
use super::disturbances::Disturbance;
use super::scripts::{Case, Event, Fault, Request, TARGETS};
use crate::base::memory::{Memory, Shelf};
use crate::base::{SplitMix64, Store, TargetId, Timestamp, WallClock};
use crate::breaker::{Command, Scope};
use crate::record::Metric;
use crate::tenancy::{BudgetKind, Ledger};

/// The interval of the worker's ticks.
pub(super) const TICK_MS: u64 = 100;
/// The resolution of everything else.
pub(super) const STEP_MS: u64 = 10;
/// Two tokens of prompt and 96 of the response.
const ESTIMATE: u64 = 98;

/// Gauges that have to be back at zero in the end.
const GAUGES: [Metric; 3] = [Metric::Journeys, Metric::Waiting, Metric::AttemptsInFlight];

pub(super) struct World {
    case: Case,
    pub(super) worker: Worker,
    pub(super) shelf: Rc<RefCell<Shelf>>,
    pub(super) wall: Rc<Cell<WallClock>>,
    pub(super) clients: Vec<Client>,
    pub(super) watch: Watch,
    pub(super) disturbances: VecDeque<(u64, Disturbance)>,
    pub(super) now_ms: u64,
    pub(super) last_tick_ms: u64,
}

/// What the journeys are checked against.
pub(super) struct Watch {
    attempts: usize,
    attempts_per_target: usize,
    total_ms: u64,
    /// Targets that an operator has forced open.
    pub(super) forced_open: HashSet<&'static str>,
    /// Accounts whose credential or quota was refused.
    pub(super) blocked: HashSet<&'static str>,
    records: usize,
    pub(super) gauges: [i64; GAUGES.len()],
    /// What the attempts have cost, at least and at most.
    cost: (u64, u64),
    /// No budget was lost, and no reservation.
    pub(super) budget_is_certain: bool,
    /// For how long nothing could be done, in all.
    pub(super) paused_ms: u64,
}

pub(super) struct Client {
    request: Request,
    id: String,
    faults: VecDeque<(u64, Fault)>,
    pub(super) stage: Stage,
    began_ms: u64,
    /// How many passes the edge has started.
    passes: u8,
    sent: Vec<&'static str>,
    /// The client has got part of a response.
    pub(super) committed: bool,
    /// A crash has made the filter forget attempts of it.
    pub(super) forgotten: bool,
    /// A crash may have lost its record.
    pub(super) may_lack_record: bool,
    /// When the client learned how its request ended.
    ended_ms: Option<u64>,
    pub(super) records: usize,
    end: &'static str,
    was_held: bool,
}

pub(super) enum Stage {
    ToCome,
    /// The edge starts the next pass at this moment.
    Between {
        at_ms: u64,
    },
    Passing {
        pass: Box<Pass>,
        fault: Option<Fault>,
        events: VecDeque<(u64, Event)>,
        holding: bool,
    },
    Over,
}

pub(super) const fn at(ms: u64) -> Timestamp {
    Timestamp::from_millis(NOW.as_millis() + ms)
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

impl Client {
    fn new(number: u32, request: &Request) -> Self {
        Self {
            request: request.clone(),
            id: format!("{number:032x}"),
            faults: request.faults.iter().cloned().collect(),
            stage: Stage::ToCome,
            began_ms: 0,
            passes: 0,
            sent: Vec::new(),
            committed: false,
            forgotten: false,
            may_lack_record: false,
            ended_ms: None,
            records: 0,
            end: "",
            was_held: false,
        }
    }

    fn position(&self) -> Option<crate::retry::Position> {
        match &self.stage {
            Stage::Passing { pass, .. } => pass.exchange.position(),
            _ => None,
        }
    }

    /// Does what is due: the request arrives, the edge retries, the provider sends more, the client leaves.
    fn advance(&mut self, worker: &mut Worker, watch: &mut Watch, now_ms: u64) {
        let leaves = self.request.leaves_ms.is_some_and(|after| now_ms >= self.request.arrives_ms + after);
        match &mut self.stage {
            Stage::ToCome if now_ms >= self.request.arrives_ms => {
                self.began_ms = now_ms;
                self.begin(worker, watch, now_ms);
            }
            Stage::Between { .. } if leaves => self.over("client left", watch, now_ms),
            Stage::Between { at_ms } if *at_ms <= now_ms => self.begin(worker, watch, now_ms),
            Stage::Passing { .. } if leaves => {
                self.cost(watch, (true, true));
                self.finish(worker, watch, Ending::ClientGone, now_ms);
                self.over("client left", watch, now_ms);
            }
            _ => {}
        }
        while let Stage::Passing { events, .. } = &mut self.stage
            && events.front().is_some_and(|(due, _)| *due <= now_ms)
        {
            let Some((_, event)) = events.pop_front() else { return };
            self.provider_event(worker, watch, event, now_ms);
        }
    }

    /// Starts a pass.
    fn begin(&mut self, worker: &mut Worker, watch: &mut Watch, now_ms: u64) {
        self.passes += 1;
        let mut request = loop_request(CHAT, self.passes);
        request.set_journey(&self.id);
        if self.request.no_fallback {
            request.headers.push(("x-llm-no-fallback".to_owned(), "true".to_owned()));
        }
        let stream = self.request.stream;
        let body = format!(r#"{{"messages":[],"model":"chat","max_tokens":96,"stream":{stream}}}"#);
        let mut pass = pass_at(worker, request, body.as_bytes(), 1000, at(now_ms));
        let step = std::mem::replace(&mut pass.step, RequestStep::Hold);
        if step == RequestStep::Hold {
            pass.request.body = body.into_bytes();
            self.was_held = true;
        }
        let (fault, events, holding) = (None, VecDeque::new(), false);
        self.stage = Stage::Passing { pass: Box::new(pass), fault, events, holding };
        self.apply_step(worker, watch, &step, now_ms);
    }

    /// Does with the request what the filter decided.
    fn apply_step(&mut self, worker: &mut Worker, watch: &mut Watch, step: &RequestStep, now_ms: u64) {
        match step {
            RequestStep::Hold => {}
            RequestStep::Send => self.check_sent(watch, now_ms),
            RequestStep::Answer(answer) => {
                assert!(
                    !answer.headers.iter().any(|(name, _)| *name == "x-llm-retry"),
                    "a refusal must not be retried"
                );
                self.finish(worker, watch, Ending::Complete, now_ms);
                self.over("refused", watch, now_ms);
            }
        }
    }

    fn check_sent(&mut self, watch: &Watch, now_ms: u64) {
        let Stage::Passing { pass, fault, events, .. } = &mut self.stage else { panic!("no pass") };
        let model = pass.sent_json()["model"].as_str().unwrap().to_owned();
        let (target, account) = *TARGETS.iter().find(|(name, _)| *name == model).unwrap();
        assert_eq!(pass.request.get("authorization"), Some(format!("Bearer sk-{account}").as_str()));
        assert!(!self.committed, "no attempt may follow once the client has part of a response");
        assert!(!watch.forced_open.contains(target), "{target} was forced open");
        assert!(!watch.blocked.contains(account), "{account} is blocked");
        self.sent.push(target);
        let attempts = if self.request.no_fallback { 1 } else { watch.attempts };
        assert!(self.sent.len() <= attempts, "{:?}", self.sent);
        let at_target = self.sent.iter().filter(|sent| **sent == target).count();
        assert!(at_target <= watch.attempts_per_target || self.forgotten, "{:?}", self.sent);
        let latest = self.began_ms + watch.total_ms + TICK_MS + watch.paused_ms;
        assert!(now_ms <= latest, "sent after its total time");
        let (delay, met) = self.faults.pop_front().unwrap_or((20, Fault::Slow { pieces: 1, gap_ms: 10 }));
        let mut due = now_ms;
        *events = met
            .events(delay, self.request.stream)
            .into_iter()
            .map(|(after, event)| {
                due += after;
                (due, event)
            })
            .collect();
        *fault = Some(met);
    }

    /// Handles what comes from the provider.
    fn provider_event(&mut self, worker: &mut Worker, watch: &mut Watch, event: Event, now_ms: u64) {
        let Stage::Passing { pass, fault, events, holding } = &mut self.stage else { return };
        let now = at(now_ms);
        let (step, end) = match event {
            Event::Headers(headers) => {
                pass.response = FakeWire { headers: Vec::new(), body: Vec::new() };
                pass.response.headers =
                    headers.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
                (Self::headers(pass, worker, Origin::Upstream, now), false)
            }
            Event::EnvoyResponse { status, received } => {
                pass.response =
                    FakeWire::new(&[(":status", &status.to_string()), ("content-type", "text/plain")]);
                Self::headers(pass, worker, Origin::Envoy { received }, now);
                pass.response.body = b"upstream connect error".to_vec();
                let available = pass.response.body.len();
                (pass.exchange.response_body(worker, available, true, now, &mut pass.response), true)
            }
            Event::Body { bytes, end } => {
                if !*holding {
                    pass.response.body.clear();
                }
                pass.response.body.extend_from_slice(bytes);
                let available = pass.response.body.len();
                (pass.exchange.response_body(worker, available, end, now, &mut pass.response), end)
            }
            Event::Gone => {
                let cost = fault.as_ref().map_or((true, true), Fault::costs);
                self.cost(watch, cost);
                self.finish(worker, watch, Ending::UpstreamGone, now_ms);
                // Envoy's own response to a break-off makes the edge retry if the client has got nothing.
                match self.committed {
                    true => self.over("cut off", watch, now_ms),
                    false => self.edge_retries(watch, now_ms),
                }
                return;
            }
        };
        if step == Release::Hold {
            *holding = true;
            return;
        }
        *holding = false;
        pass.exchange.released();
        let again = pass.response.get("x-llm-retry").is_some();
        if again {
            events.clear();
        }
        let refused = pass.response.get("x-llm-reason").is_some();
        if again || end {
            let cost = fault.as_ref().map_or((true, true), Fault::costs);
            if let Some(Fault::Status { status: 401 | 402, .. }) = fault {
                let target = self.sent.last().unwrap();
                watch
                    .blocked
                    .extend(TARGETS.iter().find(|(name, _)| name == target).map(|(_, account)| *account));
            }
            self.cost(watch, cost);
            self.finish(worker, watch, Ending::Complete, now_ms);
        }
        if again {
            assert!(!self.committed, "a response that the client reads must not be discarded");
            self.edge_retries(watch, now_ms);
        } else {
            self.committed = true;
            if end {
                self.over(if refused { "failed" } else { "answered" }, watch, now_ms);
            }
        }
    }

    fn headers(pass: &mut Pass, worker: &mut Worker, origin: Origin, now: Timestamp) -> Release {
        let block = pass.response.block();
        pass.exchange.response_headers(worker, block, false, now, || origin, &mut pass.response)
    }

    /// Handles what is due.
    fn look(&mut self, worker: &mut Worker, watch: &mut Watch, now_ms: u64) {
        let Stage::Passing { pass, events, .. } = &mut self.stage else { return };
        let now = at(now_ms);
        if pass.exchange.due().is_none_or(|due| due > now) {
            return;
        }
        if pass.exchange.is_held() {
            let step = pass.exchange.wake(worker, now, &mut pass.request);
            return self.apply_step(worker, watch, &step, now_ms);
        }
        match pass.exchange.alarm(worker, now) {
            AlarmStep::Answer(answer) => {
                assert!(!self.committed, "the client already has part of a response");
                self.cost(watch, (true, true));
                self.finish(worker, watch, Ending::Complete, now_ms);
                match has(&answer, "x-llm-retry") {
                    true => self.edge_retries(watch, now_ms),
                    false => self.over("timed out", watch, now_ms),
                }
            }
            AlarmStep::Tell(_) => {
                // Whatever the provider sends now is ignored.
                events.clear();
                self.check_total(watch, now_ms);
            }
            AlarmStep::Reset => {
                self.cost(watch, (true, true));
                self.finish(worker, watch, Ending::UpstreamGone, now_ms);
                self.over("cut off", watch, now_ms);
            }
            AlarmStep::OpenGate => {
                pass.exchange.open_gate(worker, now, &mut pass.response);
                self.committed = true;
            }
            AlarmStep::Deliver => panic!("no provider leaves a plain response open"),
            AlarmStep::Wait | AlarmStep::KeepAlive(_) => {}
        }
    }

    /// The edge is asked for another pass.
    pub(super) fn edge_retries(&mut self, watch: &mut Watch, now_ms: u64) {
        if self.request.declined {
            return self.over("declined", watch, now_ms);
        }
        self.stage = Stage::Between { at_ms: now_ms + STEP_MS };
    }

    pub(super) fn finish(&mut self, worker: &mut Worker, watch: &mut Watch, ending: Ending, now_ms: u64) {
        let Stage::Passing { pass, .. } = &mut self.stage else { panic!("no pass") };
        let written = pass.exchange.finish(worker, ending, at(now_ms)).is_some();
        self.records += usize::from(written);
        watch.records += usize::from(written);
        assert!(self.records <= 1, "a request must end only once");
    }

    /// Adds what the attempt that ends now may have cost.
    pub(super) fn cost(&self, watch: &mut Watch, (least, most): (bool, bool)) {
        if matches!(&self.stage, Stage::Passing { fault: Some(_), .. }) {
            watch.cost.0 += ESTIMATE * u64::from(least);
            watch.cost.1 += ESTIMATE * u64::from(most);
        }
    }

    fn check_total(&mut self, watch: &Watch, now_ms: u64) {
        self.ended_ms = self.ended_ms.or(Some(now_ms));
        let took = now_ms - self.began_ms;
        assert!(took <= watch.total_ms + TICK_MS + watch.paused_ms, "{took} ms of {}", watch.total_ms);
    }

    pub(super) fn over(&mut self, end: &'static str, watch: &Watch, now_ms: u64) {
        // A notice goes out one tick before its stream is closed.
        if self.ended_ms.is_none() && end != "client left" {
            self.check_total(watch, now_ms);
        }
        let ended_ms = self.ended_ms.unwrap_or(now_ms);
        assert!(now_ms <= ended_ms + TICK_MS + watch.paused_ms, "closed {} ms later", now_ms - ended_ms);
        self.end = end;
        self.stage = Stage::Over;
    }
}

fn has(answer: &LocalAnswer, name: &str) -> bool {
    answer.headers.iter().any(|(candidate, _)| *candidate == name)
}
