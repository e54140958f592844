//! Lets it happen: Envoy, the edge of the loop and the providers, in a time of their own.

use std::cell::RefCell;
use std::collections::{HashSet, VecDeque};
use std::rc::Rc;

use sha2::{Digest, Sha256};

use super::super::super::registry::ORPHAN_AFTER;
use super::super::super::test_support::*;
use super::super::super::{AlarmStep, Ending, LocalAnswer, Origin, RequestStep, ResponseStep, Worker};
use super::super::CHAT;
use super::scripts::{Eligibility, Event, Fault, Request, TARGETS};
use crate::base::memory::{Memory, Shelf};
use crate::base::{Store, TargetId, Timestamp};
use crate::breaker::{Command, Scope};
use crate::record::Metric;
use crate::tenancy::{BudgetKind, Ledger};

/// How often the worker looks at what has come due.
const TICK_MS: u64 = 100;
/// How exactly everything else happens.
const STEP_MS: u64 = 10;
/// Two tokens of prompt, and 96 of the answer.
const ESTIMATE: u64 = 98;

/// What counts up and down has to be back at nothing.
const GAUGES: [Metric; 3] = [Metric::Journeys, Metric::Waiting, Metric::AttemptsInFlight];

pub(super) struct World {
    worker: Worker,
    shelf: Rc<RefCell<Shelf>>,
    clients: Vec<Client>,
    watch: Watch,
    now_ms: u64,
}

/// What is known of the outside, and what the journeys are held against.
struct Watch {
    attempts: usize,
    attempts_per_target: usize,
    total_ms: u64,
    /// Names of targets that an operator has shut.
    shut: HashSet<&'static str>,
    /// Accounts whose key or quota was refused.
    blocked: HashSet<&'static str>,
    records: usize,
    gauges: [i64; GAUGES.len()],
    /// What the attempts may have cost, at least and at most.
    cost: (u64, u64),
}

struct Client {
    request: Request,
    id: String,
    faults: VecDeque<(u64, Fault)>,
    stage: Stage,
    began_ms: u64,
    sent: Vec<&'static str>,
    /// The client has had a byte of an answer.
    committed: bool,
    /// When it learnt how its request ended.
    told_ms: Option<u64>,
    records: usize,
    end: &'static str,
    was_held: bool,
}

enum Stage {
    ToCome,
    /// The edge makes the next pass at this moment.
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

const fn at(ms: u64) -> Timestamp {
    Timestamp::from_millis(NOW.as_millis() + ms)
}

impl World {
    pub(super) fn new(case: &Eligibility) -> Self {
        let sha256: String = Sha256::digest(b"client-key").iter().map(|byte| format!("{byte:02x}")).collect();
        let shelf: Rc<RefCell<Shelf>> = Rc::default();
        let config = load(&case.policy.config(&sha256).to_string());
        let mut worker = worker_on(config, Memory::on(Rc::clone(&shelf)));
        let mut shut = HashSet::new();
        if let Some((place, whole_account)) = case.shut {
            let (name, account) = TARGETS[place];
            let id = (0..).map_while(TargetId::from_index).take(TARGETS.len());
            let id = id.into_iter().find(|id| *worker.config.target(*id).unwrap().name == *name).unwrap();
            let scope = match whole_account {
                true => Scope::Account(worker.config.target(id).unwrap().account),
                false => Scope::Target(id),
            };
            worker.health_view.borrow_mut().command(&mut *worker.store, scope, Command::ForceOpen, NOW);
            let same = |other: &&(&'static str, &str)| {
                if whole_account { other.1 == account } else { other.0 == name }
            };
            shut.extend(TARGETS.iter().filter(same).map(|(name, _)| *name));
        }
        let clients =
            (1..).zip(&case.requests).map(|(number, request)| Client::new(number, request)).collect();
        let watch = Watch {
            attempts: case.policy.attempts.into(),
            attempts_per_target: case.policy.attempts_per_target.into(),
            total_ms: case.policy.total_ms,
            shut,
            blocked: HashSet::new(),
            records: 0,
            gauges: [0; GAUGES.len()],
            cost: (0, 0),
        };
        Self { worker, shelf, clients, watch, now_ms: 0 }
    }

    /// Plays it to its end, and says how each request ended.
    pub(super) fn run(mut self) -> Vec<&'static str> {
        let mut quiet_since = None;
        let orphaned = u64::try_from(ORPHAN_AFTER.as_millis()).unwrap() + 2 * TICK_MS;
        while quiet_since.is_none_or(|since| self.now_ms < since + orphaned) {
            self.step();
            let over = self.clients.iter().all(|client| matches!(client.stage, Stage::Over));
            quiet_since = quiet_since.or(over.then_some(self.now_ms));
            assert!(self.now_ms < 60_000, "it does not end");
            self.now_ms += STEP_MS;
        }
        self.check_the_end();
        let held = self.clients.iter().any(|client| client.was_held).then_some("held");
        self.clients.iter().map(|client| client.end).chain(held).collect()
    }

    fn step(&mut self) {
        let Self { worker, clients, watch, now_ms, .. } = self;
        for client in clients.iter_mut() {
            client.proceed(worker, watch, *now_ms);
        }
        if *now_ms % TICK_MS == 0 {
            let orphans = worker.tick(at(*now_ms));
            watch.records += orphans.len();
            // As the host does: those who wait go in the order of their line.
            let mut order: Vec<_> = (0..clients.len()).collect();
            order.sort_by_key(|index| clients[*index].place());
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
        assert!(self.worker.journeys.borrow().is_empty() && self.worker.lines.is_empty());
        for target in (0..).map_while(TargetId::from_index).take(TARGETS.len()) {
            assert_eq!(self.worker.pending.borrow().attempts(target), 0, "under way");
        }
        assert_eq!(self.watch.records, self.clients.len(), "one record for each request");
        let stored = Memory::on(Rc::clone(&self.shelf)).read("llm-failsafe/budget/team").unwrap();
        let used = stored.map_or(0, |stored| {
            Ledger::decode(&stored.bytes).unwrap().used_at(BudgetKind::TokensPerDay, at(self.now_ms))
        });
        let (least, most) = self.watch.cost;
        assert!((least..=most).contains(&used), "{used} tokens, not {least} to {most}");
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
            sent: Vec::new(),
            committed: false,
            told_ms: None,
            records: 0,
            end: "",
            was_held: false,
        }
    }

    fn place(&self) -> Option<crate::retry::Position> {
        match &self.stage {
            Stage::Passing { pass, .. } => pass.exchange.place(),
            _ => None,
        }
    }

    /// What happens by itself: it comes, the edge comes back, its provider goes on, it leaves.
    fn proceed(&mut self, worker: &mut Worker, watch: &mut Watch, now_ms: u64) {
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
            self.hear(worker, watch, event, now_ms);
        }
    }

    /// A pass begins.
    fn begin(&mut self, worker: &mut Worker, watch: &mut Watch, now_ms: u64) {
        let passes = match &self.stage {
            Stage::ToCome => 0,
            _ => self.sent.len(),
        };
        let mut request = loop_request(CHAT, u8::try_from(passes + 1).unwrap());
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
        self.takes(worker, watch, &step, now_ms);
    }

    /// What the filter does with the request.
    fn takes(&mut self, worker: &mut Worker, watch: &mut Watch, step: &RequestStep, now_ms: u64) {
        match step {
            RequestStep::Hold => {}
            RequestStep::Send => self.leaves_for_a_provider(watch, now_ms),
            RequestStep::Answer(answer) => {
                assert!(
                    !answer.headers.iter().any(|(name, _)| *name == "x-llm-retry"),
                    "a refusal is the end"
                );
                self.finish(worker, watch, Ending::Complete, now_ms);
                self.over("refused", watch, now_ms);
            }
        }
    }

    fn leaves_for_a_provider(&mut self, watch: &Watch, now_ms: u64) {
        let Stage::Passing { pass, fault, events, .. } = &mut self.stage else { panic!("no pass") };
        let model = pass.sent_json()["model"].as_str().unwrap().to_owned();
        let (target, account) = *TARGETS.iter().find(|(name, _)| *name == model).unwrap();
        assert_eq!(pass.request.get("authorization"), Some(format!("Bearer sk-{account}").as_str()));
        assert!(!self.committed, "nothing is attempted once the client has a byte");
        assert!(!watch.shut.contains(target), "{target} is shut");
        assert!(!watch.blocked.contains(account), "{account} is blocked");
        self.sent.push(target);
        let attempts = if self.request.no_fallback { 1 } else { watch.attempts };
        assert!(self.sent.len() <= attempts, "{:?}", self.sent);
        let at_target = self.sent.iter().filter(|sent| **sent == target).count();
        assert!(at_target <= watch.attempts_per_target, "{:?}", self.sent);
        assert!(now_ms <= self.began_ms + watch.total_ms + TICK_MS, "sent after its time");
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

    /// Something comes from its provider.
    fn hear(&mut self, worker: &mut Worker, watch: &mut Watch, event: Event, now_ms: u64) {
        let Stage::Passing { pass, fault, events, holding } = &mut self.stage else { return };
        let now = at(now_ms);
        let (step, end) = match event {
            Event::Headers(headers) => {
                pass.response = FakeWire { headers: Vec::new(), body: Vec::new() };
                pass.response.headers =
                    headers.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
                (Self::headers(pass, worker, Origin::Upstream, now), false)
            }
            Event::Envoys { status, received } => {
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
                // Envoy's own answer to a break-off makes the edge come back, as long as nothing has gone out.
                match self.committed {
                    true => self.over("cut off", watch, now_ms),
                    false => self.edge(watch, now_ms),
                }
                return;
            }
        };
        if step == ResponseStep::Hold {
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
            assert!(!self.committed, "what the client has begun to read is not thrown away");
            self.edge(watch, now_ms);
        } else {
            self.committed = true;
            if end {
                self.over(if refused { "failed" } else { "answered" }, watch, now_ms);
            }
        }
    }

    fn headers(pass: &mut Pass, worker: &mut Worker, origin: Origin, now: Timestamp) -> ResponseStep {
        let block = pass.response.block();
        pass.exchange.response_headers(worker, block, false, now, || origin, &mut pass.response)
    }

    /// Something is due.
    fn look(&mut self, worker: &mut Worker, watch: &mut Watch, now_ms: u64) {
        let Stage::Passing { pass, events, .. } = &mut self.stage else { return };
        let now = at(now_ms);
        if pass.exchange.due().is_none_or(|due| due > now) {
            return;
        }
        if pass.exchange.is_held() {
            let step = pass.exchange.wake(worker, now, &mut pass.request);
            return self.takes(worker, watch, &step, now_ms);
        }
        match pass.exchange.alarm(worker, now) {
            AlarmStep::Answer(answer) => {
                assert!(!self.committed, "nothing is answered that has begun to be answered");
                self.cost(watch, (true, true));
                self.finish(worker, watch, Ending::Complete, now_ms);
                match has(&answer, "x-llm-retry") {
                    true => self.edge(watch, now_ms),
                    false => self.over("timed out", watch, now_ms),
                }
            }
            AlarmStep::Tell(_) => {
                // Whatever comes now is no longer heard.
                events.clear();
                self.told(watch, now_ms);
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
            AlarmStep::Wait | AlarmStep::KeepAlive(_) => {}
        }
    }

    /// The edge has been asked for another pass.
    fn edge(&mut self, watch: &mut Watch, now_ms: u64) {
        if self.request.declined {
            return self.over("declined", watch, now_ms);
        }
        self.stage = Stage::Between { at_ms: now_ms + STEP_MS };
    }

    fn finish(&mut self, worker: &mut Worker, watch: &mut Watch, ending: Ending, now_ms: u64) {
        let Stage::Passing { pass, .. } = &mut self.stage else { panic!("no pass") };
        let written = pass.exchange.finish(worker, ending, at(now_ms)).is_some();
        self.records += usize::from(written);
        watch.records += usize::from(written);
        assert!(self.records <= 1, "a second end");
    }

    /// What the attempt that ends now may have cost.
    fn cost(&self, watch: &mut Watch, (least, most): (bool, bool)) {
        if matches!(&self.stage, Stage::Passing { fault: Some(_), .. }) {
            watch.cost.0 += ESTIMATE * u64::from(least);
            watch.cost.1 += ESTIMATE * u64::from(most);
        }
    }

    fn told(&mut self, watch: &Watch, now_ms: u64) {
        self.told_ms = self.told_ms.or(Some(now_ms));
        let took = now_ms - self.began_ms;
        assert!(took <= watch.total_ms + TICK_MS, "{took} ms of {}", watch.total_ms);
    }

    fn over(&mut self, end: &'static str, watch: &Watch, now_ms: u64) {
        // A notice goes out a tick before its stream is closed.
        if self.told_ms.is_none() && end != "client left" {
            self.told(watch, now_ms);
        }
        let told_ms = self.told_ms.unwrap_or(now_ms);
        assert!(now_ms <= told_ms + TICK_MS, "closed {} ms later", now_ms - told_ms);
        self.end = end;
        self.stage = Stage::Over;
    }
}

fn has(answer: &LocalAnswer, name: &str) -> bool {
    answer.headers.iter().any(|(candidate, _)| *candidate == name)
}
