//! A host made of memory, and a configuration to drive exchanges with.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use super::{Exchange, Journey, RequestStep, SharedJourney, Worker};
use crate::base::memory::Memory;
use crate::base::{Endpoint, ModelId, SplitMix64, Timestamp};
use crate::config::{self, Config, Priority};
use crate::fallback::{ClientLimits, Needs};
use crate::generation::Generation;
use crate::intake::{ClientRequest, Spelling};
use crate::outcome::{End, Outcome};
use crate::record::Metric;
pub use crate::request::test_support::FakeWire;
use crate::request::{Facts, Scanner};
use crate::retry::Received;

pub use crate::answer::Release;
pub use crate::attempt::Origin;
pub use crate::refusal::LocalAnswer;
pub use crate::report::Written;

/// Two OpenAI accounts in the first tier, Anthropic in the second. The models of OpenAI do not reason, so the shorter times
/// hold for them.
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
    "gpt-a": {"account": "a", "model": "gpt-real", "reasoning": false, "weight": 1000000},
    "gpt-b": {"account": "b", "model": "gpt-real", "reasoning": false},
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
    Worker::new(config, Rc::default(), Rc::default(), Box::new(store), SplitMix64::new(1))
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

/// A request without special needs for a generation's first model.
pub fn some_request(generation: &Rc<Generation>) -> ClientRequest {
    let mut scanner = Scanner::new();
    scanner.feed(br#"{"model":"chat"}"#).unwrap();
    request_with(generation, scanner.finish().unwrap())
}

/// The same with these facts.
pub fn request_with(generation: &Rc<Generation>, facts: Facts) -> ClientRequest {
    ClientRequest {
        generation: Rc::clone(generation),
        endpoint: Endpoint::Chat,
        model: ModelId::from_index(0).unwrap(),
        asked_name: None,
        spelling: Spelling::Usual,
        needs: Needs::of(&facts, Endpoint::Chat),
        facts,
        session: None,
        client_key: None,
        address: None,
        client_limits: ClientLimits::default(),
        began: NOW,
        patience: None,
        priority: Priority::Normal,
        forgotten: 0,
    }
}

pub fn some_journey() -> SharedJourney {
    let generation = Rc::new(Generation::new(load(CONFIG), 0, Rc::default(), &mut Memory::new()));
    Rc::new(RefCell::new(Journey::new(Rc::new(some_request(&generation)), None)))
}

/// What an attempt came to that ended so and said nothing else.
pub const fn outcome(end: End) -> Outcome {
    Outcome {
        end,
        received: Received::Answered,
        passed: matches!(end, End::Complete),
        usage: None,
        finish: None,
        first_content: None,
        longest_gap: None,
        took: Duration::ZERO,
        host: None,
    }
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
    pub fn answer(&mut self, worker: &mut Worker, headers: &[(&str, &str)], body: &[u8]) -> Release {
        self.answer_from(worker, Origin::Upstream, headers, body)
    }

    pub fn answer_from(
        &mut self,
        worker: &mut Worker,
        origin: Origin,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Release {
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

/// How a request comes to the filter.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Shape {
    OneListener,
    Loop,
    /// In the loop, but its journey is not kept.
    LoopUnkept,
}

pub const SHAPES: [Shape; 3] = [Shape::OneListener, Shape::Loop, Shape::LoopUnkept];
