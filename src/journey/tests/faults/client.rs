//! One client of a case: its request at the edge, its passes through the filter, and what its provider sends.

use std::collections::VecDeque;

use super::super::super::test_support::*;
use super::super::super::{AlarmStep, Ending, RequestStep, Worker};
use super::super::CHAT;
use super::scripts::{Event, Fault, Request, TARGETS};
use super::watch::{ESTIMATE, STEP_MS, TICK_MS, Watch, at};
use crate::base::Timestamp;

pub(super) struct Client {
    pub(super) request: Request,
    pub(super) id: String,
    pub(super) faults: VecDeque<(u64, Fault)>,
    pub(super) stage: Stage,
    pub(super) began_ms: u64,
    /// How many passes the edge has started.
    pub(super) passes: u8,
    pub(super) sent: Vec<&'static str>,
    /// The client has got part of a response.
    pub(super) committed: bool,
    /// A crash has made the filter forget attempts of it.
    pub(super) forgotten: bool,
    /// A crash may have lost its record.
    pub(super) may_lack_record: bool,
    /// When the client learned how its request ended.
    pub(super) ended_ms: Option<u64>,
    pub(super) records: usize,
    pub(super) end: &'static str,
    pub(super) was_held: bool,
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

impl Client {
    pub(super) fn new(number: u32, request: &Request) -> Self {
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

    pub(super) fn position(&self) -> Option<crate::retry::Position> {
        match &self.stage {
            Stage::Passing { pass, .. } => pass.exchange.position(),
            _ => None,
        }
    }

    /// Does what is due: the request arrives, the edge retries, the provider sends more, the client leaves.
    pub(super) fn advance(&mut self, worker: &mut Worker, watch: &mut Watch, now_ms: u64) {
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
    pub(super) fn look(&mut self, worker: &mut Worker, watch: &mut Watch, now_ms: u64) {
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

    /// Envoy closes the connection on which the request came.
    pub(super) fn lose_hop(&mut self, worker: &mut Worker, watch: &mut Watch, now_ms: u64) {
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

fn has(answer: &LocalAnswer, name: &str) -> bool {
    answer.headers.iter().any(|(candidate, _)| *candidate == name)
}
