//! A host made of memory, and a configuration to drive exchanges with.

use std::cell::RefCell;
use std::rc::Rc;

use super::{Exchange, Journey, Origin, RequestStep, ResponseStep, SharedJourney, Worker};
use crate::balance::{Headroom, SpeedView};
use crate::base::memory::Memory;
use crate::base::{Endpoint, HeaderBlock, HeaderSink, ModelId, SplitMix64, Timestamp};
use crate::breaker::{HealthView, Pending};
use crate::config::{self, Config};
use crate::fallback::{Calibration, ClientLimits, Needs};
use crate::record::Metric;
use crate::request::{BodyBuffer, Scanner};

/// One direction of a stream: headers in order, and the body as the host would buffer it.
#[derive(Debug, Default, Clone)]
pub struct FakeWire {
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl FakeWire {
    pub fn new(headers: &[(&str, &str)]) -> Self {
        let headers = headers.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        Self { headers, body: Vec::new() }
    }

    pub fn block(&self) -> HeaderBlock {
        let headers: Vec<_> =
            self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        HeaderBlock::of(&headers)
    }

    pub fn set_journey(&mut self, id: &str) {
        self.set("x-llm-journey", id);
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(candidate, _)| candidate == name).map(|(_, value)| value.as_str())
    }
}

impl HeaderSink for FakeWire {
    fn set(&mut self, name: &str, value: &str) {
        self.remove(name);
        self.headers.push((name.to_owned(), value.to_owned()));
    }

    fn remove(&mut self, name: &str) {
        self.headers.retain(|(candidate, _)| candidate != name);
    }
}

impl BodyBuffer for FakeWire {
    type Error = ();

    fn read(&mut self, start: usize, len: usize) -> Result<Vec<u8>, ()> {
        let end = start.saturating_add(len).min(self.body.len());
        self.body.get(start..end).map(<[u8]>::to_vec).ok_or(())
    }

    fn replace_front(&mut self, len: usize, with: &[u8]) -> Result<(), ()> {
        let len = len.min(self.body.len());
        self.body.splice(..len, with.iter().copied());
        Ok(())
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), ()> {
        self.body.extend_from_slice(bytes);
        Ok(())
    }
}

/// Two OpenAI accounts in the first tier, Anthropic in the second.
pub const CONFIG: &str = r#"{
  "retry_loop": true,
  "providers": {
    "openai": {"kind": "openai", "cluster": "openai-cluster"},
    "anthropic": {"kind": "anthropic", "cluster": "anthropic-cluster"}
  },
  "accounts": {
    "a": {"provider": "openai", "key": {"value": "sk-provider-a"}},
    "b": {"provider": "openai", "key": {"value": "sk-provider-b"}},
    "c": {"provider": "anthropic", "key": {"value": "sk-provider-c"}}
  },
  "targets": {
    "gpt-a": {"account": "a", "model": "gpt-real", "weight": 1000000},
    "gpt-b": {"account": "b", "model": "gpt-real"},
    "claude": {"account": "c", "model": "claude-real"}
  },
  "models": {"chat": {"tiers": [["gpt-a", "gpt-b"], ["claude"]]}, "gpt": {"targets": ["gpt-a"]}}
}"#;

pub fn load(json: &str) -> Config {
    config::load(json.as_bytes(), &|_| None).unwrap()
}

/// The configuration above with members added or replaced.
pub fn config_with(changes: serde_json::Value) -> Config {
    let mut config: serde_json::Value = serde_json::from_str(CONFIG).unwrap();
    for (name, value) in changes.as_object().unwrap() {
        config[name] = value.clone();
    }
    load(&config.to_string())
}

pub fn worker(config: Config) -> Worker {
    worker_on(config, Memory::new())
}

/// A worker that shares data with others.
pub fn worker_on(config: Config, store: Memory<'static>) -> Worker {
    Worker::new(config, Rc::default(), Box::new(store), SplitMix64::new(1))
}

/// The moment at which everything happens unless a test says otherwise.
pub const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

pub fn counted(worker: &mut Worker, metric: Metric) -> i64 {
    let mut sum = 0;
    worker.tally.drain(|candidate, delta| {
        if candidate == metric {
            sum += delta;
        }
    });
    sum
}

pub fn some_journey() -> SharedJourney {
    let mut scanner = Scanner::new();
    scanner.feed(br#"{"model":"chat"}"#).unwrap();
    let config = Rc::new(load(CONFIG));
    let facts = scanner.finish().unwrap();
    Rc::new(RefCell::new(Journey {
        health_view: Rc::new(RefCell::new(HealthView::new(&config))),
        pending: Rc::new(RefCell::new(Pending::new(&config, 0))),
        estimates: Rc::new(Calibration::new(&config)),
        speeds: Rc::new(RefCell::new(SpeedView::new(&config))),
        headroom: Rc::new(RefCell::new(Headroom::new(&config))),
        config,
        endpoint: Endpoint::Chat,
        model: ModelId::from_index(0).unwrap(),
        session: None,
        needs: Needs::of(&facts, Endpoint::Chat),
        facts,
        client_key: None,
        client_limits: ClientLimits::default(),
        began: NOW,
        timeout: None,
        tried: Vec::new(),
        record: None,
        forgotten: 0,
        spending: None,
        permission: crate::retry::Permission::Granted,
        granted: None,
        failed: None,
        gave_up: None,
        only: None,
        priority: crate::config::Priority::Normal,
        replays: 0,
    }))
}

pub const JOURNEY: &str = "01234567-89ab-cdef-0123-456789abcdef";

/// The headers of attempt `attempt` as the edge of the loop sends them.
pub fn loop_request(path: &str, attempt: u8) -> FakeWire {
    FakeWire::new(&[
        (":method", "POST"),
        (":path", path),
        (":authority", "gateway.internal"),
        ("content-type", "application/json"),
        ("authorization", "Bearer client-key"),
        ("x-request-id", "r1"),
        ("x-forwarded-for", "10.0.0.1"),
        ("x-envoy-attempt-count", &attempt.to_string()),
        ("x-llm-journey", JOURNEY),
    ])
}

/// A pass whose request has gone through the filter in one piece.
pub struct Pass {
    pub exchange: Exchange,
    pub request: FakeWire,
    pub step: RequestStep,
    pub response: FakeWire,
    pub now: Timestamp,
}

/// Sends a request through a fresh exchange as the host does: headers, then the body in pieces.
pub fn pass(worker: &mut Worker, request: FakeWire, body: &[u8], piece: usize) -> Pass {
    pass_at(worker, request, body, piece, NOW)
}

/// The same at a moment.
pub fn pass_at(
    worker: &mut Worker,
    mut request: FakeWire,
    body: &[u8],
    piece: usize,
    now: Timestamp,
) -> Pass {
    let mut exchange = Exchange::default();
    request.headers.push(("content-length".to_owned(), body.len().to_string()));
    let block = request.block();
    let mut step = exchange.request_headers(worker, &block, body.is_empty(), now, &mut request);
    let mut sent = Vec::new();
    let pieces: Vec<_> = body.chunks(piece).collect();
    for (index, chunk) in pieces.iter().enumerate() {
        if matches!(step, RequestStep::Answer(_)) {
            break;
        }
        request.body.extend_from_slice(chunk);
        let available = request.body.len();
        step = exchange.request_body(worker, available, index + 1 == pieces.len(), now, &mut request);
        if step == RequestStep::Send {
            sent.append(&mut request.body);
        }
    }
    request.body = sent;
    Pass { exchange, request, step, response: FakeWire::default(), now }
}

impl Pass {
    /// Answers as the provider would, all at once.
    pub fn answer(&mut self, worker: &mut Worker, headers: &[(&str, &str)], body: &[u8]) -> ResponseStep {
        self.answer_from(worker, Origin::Upstream, headers, body)
    }

    pub fn answer_from(
        &mut self,
        worker: &mut Worker,
        origin: Origin,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> ResponseStep {
        self.response = FakeWire::new(headers);
        let block = self.response.block();
        let step = self.exchange.response_headers(
            worker,
            block,
            body.is_empty(),
            self.now,
            || origin,
            &mut self.response,
        );
        if body.is_empty() {
            return step;
        }
        self.response.body = body.to_vec();
        self.exchange.response_body(worker, body.len(), true, self.now, &mut self.response)
    }

    pub fn sent_json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.request.body).unwrap()
    }
}
