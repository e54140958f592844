//! Plays a script: clients, the edge, Envoy and the providers, around two workers that share their data.

use std::cell::RefCell;
use std::rc::Rc;

use super::super::super::registry::ORPHAN_AFTER;
use super::super::super::test_support::*;
use super::super::super::{AlarmStep, Ending, Exchange, RequestStep, Worker};
use super::super::CHAT;
use super::expected::{Expected, INPUT, Took, reported_output};
use super::host::{Wire, store};
use super::script::{Case, Event, HostFailure, Setup, Step};
use crate::base::memory::Shelf;
use crate::base::{Dialect, HeaderSink, Timestamp};
use crate::generation::Generation;
use crate::record::Metric;
use crate::retry::Received;

const TICK_MS: u64 = 100;
const STEP_MS: u64 = 50;

/// What counts up and down.
pub(super) const GAUGES: [Metric; 3] = [Metric::Journeys, Metric::Waiting, Metric::AttemptsInFlight];

/// What must happen now and then.
pub(super) const EVENTS: [&str; 8] = [
    "abandoned",
    "resume failed",
    "left while held",
    "returned",
    "forgotten",
    "hedged",
    "reloaded",
    "held without a queue",
];

/// What has happened.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) metrics: Vec<(Metric, i64)>,
    pub(super) events: Vec<&'static str>,
}

pub(super) struct World {
    pub(super) setup: Setup,
    steps: Vec<Step>,
    pub(super) sides: [Side; 2],
    pub(super) shelf: Rc<RefCell<Shelf>>,
    pub(super) clients: Vec<Client>,
    pub(super) passes: Vec<Pass>,
    passes_begun: u64,
    pub(super) expected: Expected,
    pub(super) seen: Seen,
    pub(super) now_ms: u64,
}

/// A worker, and what it had before.
pub(super) struct Side {
    pub(super) worker: Worker,
    pub(super) generations: Vec<Rc<Generation>>,
    pub(super) gauges: [i64; GAUGES.len()],
}

pub(super) struct Client {
    pub(super) worker: usize,
    key: &'static str,
    id: Option<String>,
    stream: bool,
    max_tokens: u64,
    no_fallback: bool,
    /// Its journey in the expected account.
    journey: usize,
    passes: u8,
    open_passes: usize,
    /// Since when the edge is to start another attempt, and whether the worker has kept the journey.
    returns: Option<(u64, bool)>,
}

/// A pass that has not ended.
pub(super) struct Pass {
    serial: u64,
    pub(super) client: usize,
    pub(super) exchange: Exchange,
    request: Wire,
    resume_fails: bool,
    response: FakeWire,
    stage: Stage,
    /// The client has got part of the response.
    committed: bool,
    holding: bool,
    has_content: bool,
    pub(super) attempt: Option<usize>,
}

/// How far the response is.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Stage {
    Awaited,
    Begun,
    Done,
}

pub(super) const fn at(ms: u64) -> Timestamp {
    Timestamp::from_millis(NOW.as_millis() + ms)
}

impl World {
    pub(super) fn new(case: &Case) -> Self {
        let shelf: Rc<RefCell<Shelf>> = Rc::default();
        let side = || {
            let config = load(&case.setup.config(false).to_string());
            let worker = worker_on(config, store(&shelf, case.setup.lost_writes));
            let generations = vec![Rc::clone(&worker.generation)];
            Side { worker, generations, gauges: [0; GAUGES.len()] }
        };
        Self {
            sides: [side(), side()],
            setup: case.setup.clone(),
            steps: case.steps.clone(),
            shelf,
            clients: Vec::new(),
            passes: Vec::new(),
            passes_begun: 0,
            expected: Expected::default(),
            seen: Seen::default(),
            now_ms: 0,
        }
    }

    pub(super) fn run(mut self) -> Seen {
        for step in std::mem::take(&mut self.steps) {
            self.play(step);
            self.wake_freed();
            self.check();
        }
        while let Some(pass) = self.passes.last() {
            let ending = if pass.stage == Stage::Done { Ending::Complete } else { Ending::ClientGone };
            self.close(self.passes.len() - 1, ending, false);
        }
        // Orphans end.
        self.now_ms += u64::try_from(ORPHAN_AFTER.as_millis()).unwrap() + TICK_MS;
        self.tick();
        self.tick();
        self.check();
        self.check_the_end();
        self.seen
    }

    fn play(&mut self, step: Step) {
        match step {
            Step::Ask { worker, key, has_id, stream, max_tokens, no_fallback, failing } => {
                let client = self.client(worker, key, max_tokens);
                let id = client.id.take().filter(|_| has_id);
                *client = Client { id, stream, no_fallback, ..*client };
                self.begin(self.clients.len() - 1, failing);
            }
            Step::Rush { clients, key } => {
                for number in 0..clients {
                    self.client(number % 2, key, 10);
                    self.begin(self.clients.len() - 1, None);
                }
            }
            Step::Outage { blocked } => {
                let awaited = |pass: &&Pass| pass.attempt.is_some() && pass.stage == Stage::Awaited;
                let serials: Vec<_> = self.passes.iter().filter(awaited).map(|pass| pass.serial).collect();
                for (place, serial) in serials.iter().enumerate() {
                    let status = if place + blocked < serials.len() { 500 } else { 401 };
                    let index = self.index_of(*serial).unwrap();
                    self.hear(index, Event::Status(status, None));
                }
            }
            Step::Hear { attempt, event } => {
                if let Some(index) = self.nth_pass(attempt, |pass| pass.attempt.is_some()) {
                    self.hear(index, event);
                }
            }
            Step::Leave { pass } => {
                let Some(index) = self.nth_pass(pass, |_| true) else { return };
                let client = self.passes[index].client;
                while let Some(index) = self.passes.iter().position(|pass| pass.client == client) {
                    let held = self.passes[index].exchange.is_held();
                    self.seen.events.extend(held.then_some("left while held"));
                    self.close(index, Ending::ClientGone, false);
                }
                self.clients[client].returns = None;
            }
            Step::Return { journey, failing } => self.edge_returns(journey, failing),
            Step::Hedge { attempt } => {
                let hedged = |pass: &Pass| {
                    let open = pass.attempt.is_some() && pass.stage == Stage::Awaited;
                    open && pass.exchange.kept_as.is_some()
                };
                if let Some(index) = self.nth_pass(attempt, hedged) {
                    self.seen.events.push("hedged");
                    self.begin(self.passes[index].client, None);
                }
            }
            Step::Wait { ms } => self.wait(ms),
            Step::Reload { worker } => {
                let side = &mut self.sides[worker];
                let config = load(&self.setup.config(side.generations.len() % 2 == 1).to_string());
                let generation = Generation::new(
                    config,
                    side.generations.len() as u64,
                    Rc::default(),
                    &mut *side.worker.store,
                );
                side.worker.generation = Rc::new(generation);
                side.generations.push(Rc::clone(&side.worker.generation));
                self.seen.events.push("reloaded");
            }
        }
    }

    /// A new client, with a plain request.
    fn client(&mut self, worker: usize, key: &'static str, max_tokens: u64) -> &mut Client {
        let has_budget = key == "team-key" && self.setup.has_budget();
        let number = self.clients.len();
        self.clients.push(Client {
            worker,
            key,
            id: Some(format!("{:032x}", number + 1)),
            stream: false,
            max_tokens,
            no_fallback: false,
            journey: self.expected.begin_journey(has_budget),
            passes: 0,
            open_passes: 0,
            returns: None,
        });
        &mut self.clients[number]
    }

    fn nth_pass(&self, number: usize, fits: impl Fn(&Pass) -> bool) -> Option<usize> {
        let fitting: Vec<_> = (0..self.passes.len()).filter(|index| fits(&self.passes[*index])).collect();
        fitting.get(number.checked_rem(fitting.len())?).copied()
    }

    fn edge_returns(&mut self, number: usize, failing: Option<HostFailure>) {
        let orphaned = u64::try_from(ORPHAN_AFTER.as_millis()).unwrap();
        let waits = |client: &Client| client.returns.is_some_and(|(since, _)| self.now_ms < since + orphaned);
        let waiting: Vec<_> = (0..self.clients.len()).filter(|index| waits(&self.clients[*index])).collect();
        let Some(place) = number.checked_rem(waiting.len()) else { return };
        let client = &mut self.clients[waiting[place]];
        let (_, kept) = client.returns.take().unwrap();
        if !kept {
            // The worker takes it for a new request with earlier attempts.
            let has_budget = client.key == "team-key" && self.setup.has_budget();
            client.journey = self.expected.begin_journey(has_budget);
        }
        self.seen.events.push(if kept { "returned" } else { "forgotten" });
        self.begin(waiting[place], failing);
    }

    /// A pass begins: its headers come, and its body in two pieces.
    fn begin(&mut self, client_index: usize, failing: Option<HostFailure>) {
        let client = &mut self.clients[client_index];
        client.passes += 1;
        client.open_passes += 1;
        let mut headers = loop_request(CHAT, client.passes);
        headers.set("authorization", &format!("Bearer {}", client.key));
        match &client.id {
            Some(id) => headers.set_journey(id),
            None => headers.remove(b"x-llm-journey"),
        }
        if client.no_fallback {
            headers.set("x-llm-no-fallback", "true");
        }
        let (stream, max_tokens) = (client.stream, client.max_tokens);
        let body = format!(r#"{{"messages":[],"model":"chat","max_tokens":{max_tokens},"stream":{stream}}}"#);
        headers.set("content-length", &body.len().to_string());
        let block = headers.block();
        let count = |of: fn(HostFailure) -> Option<u32>| failing.and_then(of);
        let request = Wire {
            fake: headers,
            header_changes: count(
                |failure| if let HostFailure::Header(count) = failure { Some(count) } else { None },
            ),
            body_edits: count(
                |failure| if let HostFailure::Body(count) = failure { Some(count) } else { None },
            ),
            failed: false,
        };
        self.passes_begun += 1;
        let serial = self.passes_begun;
        self.passes.push(Pass {
            serial,
            client: client_index,
            exchange: Exchange::default(),
            request,
            resume_fails: matches!(failing, Some(HostFailure::Resume)),
            response: FakeWire::default(),
            stage: Stage::Awaited,
            committed: false,
            holding: false,
            has_content: false,
            attempt: None,
        });
        let index = self.passes.len() - 1;
        let now = at(self.now_ms);
        if !self.request_step(index, |exchange, worker, wire| {
            exchange.request_headers(worker, &block, false, now, wire)
        }) {
            return;
        }
        let mut sent = Vec::new();
        let (first, second) = body.as_bytes().split_at(body.len() / 2);
        for (piece, end) in [(first, false), (second, true)] {
            let request = &mut self.passes[index].request;
            request.fake.body.extend_from_slice(piece);
            let available = request.fake.body.len();
            if !self.request_step(index, |exchange, worker, wire| {
                exchange.request_body(worker, available, end, now, wire)
            }) {
                return;
            }
            let pass = &mut self.passes[index];
            if pass.attempt.is_some() {
                sent.append(&mut pass.request.fake.body);
            }
        }
        let pass = &self.passes[index];
        match pass.attempt {
            Some(attempt) => self.goes_to(attempt, &sent),
            None => {
                assert!(pass.exchange.is_held(), "neither sent nor held nor answered");
                let alone = pass.exchange.position().is_none();
                self.seen.events.extend(alone.then_some("held without a queue"));
            }
        }
    }

    fn goes_to(&mut self, attempt: usize, body: &[u8]) {
        let body: serde_json::Value = serde_json::from_slice(body).unwrap();
        self.expected.goes_to(attempt, body["model"].as_str().unwrap());
    }

    /// A callback of the request. As in the host, a request whose headers could not be changed is
    /// abandoned. Returns `false` when the pass has ended.
    fn request_step(
        &mut self,
        index: usize,
        run: impl FnOnce(&mut Exchange, &mut Worker, &mut Wire) -> RequestStep,
    ) -> bool {
        let pass = &mut self.passes[index];
        let client = &self.clients[pass.client];
        let worker = &mut self.sides[client.worker].worker;
        pass.request.failed = false;
        let mut step = run(&mut pass.exchange, worker, &mut pass.request);
        if pass.request.failed && !matches!(step, RequestStep::Answer(_)) {
            let was_sent = pass.attempt.is_some() || step == RequestStep::Send;
            self.seen.events.extend(was_sent.then_some("abandoned"));
            step = pass.exchange.abandon(worker, Dialect::OpenAi, at(self.now_ms));
        }
        match step {
            RequestStep::Hold => true,
            RequestStep::Send => {
                if pass.attempt.is_none() {
                    pass.attempt = Some(self.expected.sent(client.journey, client.max_tokens));
                }
                true
            }
            RequestStep::Answer(answer) => {
                assert!(
                    !answer.headers.iter().any(|(name, _)| *name == "x-llm-retry"),
                    "a refusal is the end"
                );
                if let Some(attempt) = pass.attempt {
                    self.expected.took(attempt, Took::Withdrawn);
                }
                self.close(index, Ending::Complete, false);
                false
            }
        }
    }

    /// A held request may go on.
    fn wake(&mut self, index: usize, early: bool) {
        let now = at(self.now_ms);
        let open = self.request_step(index, |exchange, worker, wire| {
            if early { exchange.wake_early(worker, now, wire) } else { exchange.wake(worker, now, wire) }
        });
        let Some(attempt) = open.then(|| self.passes[index].attempt).flatten() else { return };
        let body = std::mem::take(&mut self.passes[index].request.fake.body);
        self.goes_to(attempt, &body);
        if self.passes[index].resume_fails {
            self.seen.events.push("resume failed");
            self.request_step(index, |exchange, worker, _| exchange.abandon(worker, Dialect::OpenAi, now));
        }
    }

    /// Something comes of an attempt.
    fn hear(&mut self, index: usize, event: Event) {
        let pass = &self.passes[index];
        let (stage, attempt) = (pass.stage, pass.attempt.unwrap());
        let Client { stream, max_tokens, .. } = self.clients[pass.client];
        match (event, stage) {
            (Event::Gone, _) => {
                let returns = !pass.committed;
                self.close(index, Ending::UpstreamGone, returns);
            }
            (Event::Truncated, Stage::Done) => self.chunk(index, b"", true),
            (_, Stage::Done) | (Event::Status(..) | Event::Envoy { .. } | Event::HeldBack, Stage::Begun) => {}
            (Event::Status(status, hint), _) => {
                // A provider that gave up may have worked on the request until then.
                if !matches!(status, 408 | 504) {
                    self.expected.took(attempt, Took::Nothing);
                }
                let hint = hint.map(|seconds| ("retry-after", seconds.to_string()));
                if self.headers(index, status, "application/json", hint, Origin::Upstream) {
                    self.chunk(index, b"{}", true);
                }
            }
            (Event::Envoy { status, received }, _) => {
                if received == Received::Never {
                    self.expected.took(attempt, Took::Nothing);
                }
                if self.headers(index, status, "text/plain", None, Origin::Envoy { received }) {
                    self.chunk(index, b"upstream connect error", true);
                }
            }
            (Event::HeldBack, _) => {
                self.expected.took(attempt, Took::Withdrawn);
                let origin = Origin::Envoy { received: Received::Perhaps };
                if self.headers(index, 429, "text/plain", None, origin) {
                    self.chunk(index, b"too many requests", true);
                }
            }
            (event, _) => {
                if stage == Stage::Awaited {
                    let kind = if stream { "text/event-stream" } else { "application/json" };
                    if !self.headers(index, 200, kind, None, Origin::Upstream) {
                        return;
                    }
                    self.passes[index].stage = Stage::Begun;
                }
                self.good(index, event, stream, max_tokens);
            }
        }
    }

    /// More of a response that began well.
    fn good(&mut self, index: usize, event: Event, stream: bool, max_tokens: u64) {
        let attempt = self.passes[index].attempt.unwrap();
        let usage = |reports: bool| {
            let output = reported_output(max_tokens);
            let tokens = format!(r#","usage":{{"prompt_tokens":{INPUT},"completion_tokens":{output}}}"#);
            if reports { tokens } else { String::new() }
        };
        match event {
            Event::Content { usage: reports } if stream => {
                if reports {
                    self.expected.took(attempt, Took::Reported);
                }
                self.passes[index].has_content = true;
                let choice = r#"{"index":0,"delta":{"content":"hi"}}"#;
                let event = format!("data: {{\"choices\":[{choice}]{}}}\n\n", usage(reports));
                self.chunk(index, event.as_bytes(), false);
            }
            Event::Error if stream => {
                if !self.passes[index].has_content {
                    self.expected.took(attempt, Took::Nothing);
                }
                let event = b"data: {\"error\":{\"message\":\"no\",\"type\":\"server_error\"}}\n\n";
                self.chunk(index, event, true);
            }
            Event::Done { usage: reports, closes } => {
                if reports {
                    self.expected.took(attempt, Took::Reported);
                }
                self.passes[index].stage = Stage::Done;
                if stream {
                    let choice = r#"{"index":0,"delta":{"content":"."},"finish_reason":"stop"}"#;
                    let events =
                        format!("data: {{\"choices\":[{choice}]{}}}\n\ndata: [DONE]\n\n", usage(reports));
                    self.chunk(index, events.as_bytes(), closes);
                } else {
                    let body =
                        format!(r#"{{"choices":[{{"message":{{"content":"hi"}}}}]{}}}"#, usage(reports));
                    self.chunk(index, body.as_bytes(), true);
                }
            }
            Event::Truncated => {
                if stream && !self.passes[index].has_content {
                    self.expected.took(attempt, Took::Nothing);
                }
                self.chunk(index, if stream { b"" } else { br#"{"choices":["# }, true);
            }
            _ => {}
        }
    }

    /// A response's headers come. `false` when the pass has ended.
    fn headers(
        &mut self,
        index: usize,
        status: u16,
        kind: &str,
        more: Option<(&str, String)>,
        origin: Origin,
    ) -> bool {
        let pass = &mut self.passes[index];
        let worker = &mut self.sides[self.clients[pass.client].worker].worker;
        pass.response = FakeWire::new(&[(":status", &status.to_string()), ("content-type", kind)]);
        if let Some((name, value)) = more {
            pass.response.set(name, &value);
        }
        let (block, now) = (pass.response.block(), at(self.now_ms));
        let release =
            pass.exchange.response_headers(worker, block, false, now, || origin, &mut pass.response);
        self.released(index, release, false)
    }

    fn chunk(&mut self, index: usize, bytes: &[u8], end: bool) {
        let pass = &mut self.passes[index];
        let worker = &mut self.sides[self.clients[pass.client].worker].worker;
        if !pass.holding {
            pass.response.body.clear();
        }
        pass.response.body.extend_from_slice(bytes);
        let available = pass.response.body.len();
        let release =
            pass.exchange.response_body(worker, available, end, at(self.now_ms), &mut pass.response);
        self.released(index, release, end);
    }

    /// What the filter does with a piece of the response. `false` when the pass has ended.
    fn released(&mut self, index: usize, release: Release, end: bool) -> bool {
        let pass = &mut self.passes[index];
        pass.holding = release == Release::Hold;
        if pass.holding {
            if end {
                // It is incomplete and is reset on the next tick.
                let serial = pass.serial;
                self.look(serial);
                return false;
            }
            return true;
        }
        pass.exchange.released();
        let again = pass.response.get("x-llm-retry").is_some();
        if again || end {
            self.close(index, Ending::Complete, again);
            return false;
        }
        pass.committed = true;
        true
    }

    /// A pass ends. `returns` says that the edge may start another one.
    fn close(&mut self, index: usize, ending: Ending, returns: bool) {
        let mut pass = self.passes.remove(index);
        let client = &mut self.clients[pass.client];
        let kept = pass.exchange.kept_as.is_some();
        pass.exchange.finish(&mut self.sides[client.worker].worker, ending, at(self.now_ms));
        client.open_passes -= 1;
        if returns && self.setup.retry_loop {
            client.returns = Some((self.now_ms, kept));
        } else if client.open_passes == 0 {
            client.returns = None;
        }
    }

    fn wait(&mut self, ms: u64) {
        let until = self.now_ms + ms;
        while self.now_ms < until {
            let before = self.now_ms;
            self.now_ms = (before + STEP_MS).min(until);
            if before / TICK_MS != self.now_ms / TICK_MS {
                self.tick();
            }
            for serial in self.in_order(|_| true) {
                self.look(serial);
            }
            self.wake_freed();
        }
    }

    fn tick(&mut self) {
        for side in &mut self.sides {
            side.worker.tick(at(self.now_ms));
        }
    }

    /// The passes in the order in which the host looks at them.
    fn in_order(&self, fits: impl Fn(&Pass) -> bool) -> Vec<u64> {
        let mut order: Vec<_> = self.passes.iter().filter(|pass| fits(pass)).collect();
        order.sort_by_key(|pass| pass.exchange.position());
        order.into_iter().map(|pass| pass.serial).collect()
    }

    fn index_of(&self, serial: u64) -> Option<usize> {
        self.passes.iter().position(|pass| pass.serial == serial)
    }

    /// An attempt has ended, so requests in queues may go.
    fn wake_freed(&mut self) {
        for worker in 0..self.sides.len() {
            if !self.sides[worker].worker.queues.take_freed() {
                continue;
            }
            let clients = &self.clients;
            let queued = self
                .in_order(|pass| clients[pass.client].worker == worker && pass.exchange.position().is_some());
            for serial in queued {
                self.index_of(serial).into_iter().for_each(|index| self.wake(index, true));
            }
        }
    }

    /// Something may be due.
    fn look(&mut self, serial: u64) {
        let Some(index) = self.index_of(serial) else { return };
        let now = at(self.now_ms);
        let pass = &mut self.passes[index];
        if pass.exchange.due().is_none_or(|due| due > now) {
            return;
        }
        if pass.exchange.is_held() {
            return self.wake(index, false);
        }
        let worker = &mut self.sides[self.clients[pass.client].worker].worker;
        match pass.exchange.alarm(worker, now) {
            AlarmStep::Answer(answer) => {
                let again = answer.headers.iter().any(|(name, _)| *name == "x-llm-retry");
                self.close(index, Ending::Complete, again);
            }
            // Nothing more of the response is read.
            AlarmStep::Tell(_) => pass.stage = Stage::Done,
            AlarmStep::Reset => self.close(index, Ending::UpstreamGone, false),
            AlarmStep::OpenGate => {
                pass.exchange.open_gate(worker, now, &mut pass.response);
                (pass.committed, pass.holding) = (true, false);
            }
            AlarmStep::Deliver => panic!("no provider leaves a plain response open"),
            AlarmStep::Wait | AlarmStep::KeepAlive(_) => {}
        }
    }
}
