//! One Envoy with one worker: the filter's own decisions, and shared data that only this Envoy has. The retry loop is played
//! as Envoy runs it: a marked response starts the next attempt at once.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use llm_failsafe::attempt::Origin;
use llm_failsafe::base::{SplitMix64, Store, StoreError, Stored, Timestamp};
use llm_failsafe::config;
use llm_failsafe::journey::{AlarmStep, Ending, Exchange, RequestStep, Worker};
use serde_json::Value;

use crate::wire::Wire;

/// The header by which the filter asks the edge for another attempt.
const RETRY_HEADER: &str = "x-llm-retry";
const BODY: &[u8] = br#"{"model":"chat","messages":[{"role":"user","content":"hello"}]}"#;

/// One Envoy.
pub struct Envoy {
    worker: Worker,
    /// Attempts that wait for room or for their back-off.
    held: Vec<(u64, Attempt)>,
    /// Attempts that are at a target.
    sent: BTreeMap<u64, Attempt>,
}

/// One attempt of a request.
struct Attempt {
    exchange: Exchange,
    request: Wire,
    number: u32,
}

/// What became of an attempt.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// It went to the target behind this cluster.
    Sent(String),
    /// It waits in this Envoy.
    Held,
    /// The client gets a response with this status.
    Over(u16),
}

impl Envoy {
    /// An Envoy with this configuration of the filter.
    pub fn new(configuration: &Value, seed: u64) -> Self {
        let loaded = config::load(configuration.to_string().as_bytes(), &|_| Some("key".to_owned()));
        let config = loaded.unwrap_or_else(|mistakes| panic!("{mistakes}"));
        let store = Box::new(Memory::default());
        let worker = Worker::new(config, Rc::default(), Rc::default(), store, SplitMix64::new(seed));
        Self { worker, held: Vec::new(), sent: BTreeMap::new() }
    }

    /// A client sends a request.
    pub fn request(&mut self, id: u64, now: Timestamp) -> Step {
        self.attempt(id, 1, now)
    }

    fn attempt(&mut self, id: u64, number: u32, now: Timestamp) -> Step {
        let journey = format!("{id:08x}-0000-4000-8000-000000000000");
        let headers = [
            (":method", "POST"),
            (":path", "/v1/chat/completions"),
            (":authority", "llm.test"),
            ("content-type", "application/json"),
            ("content-length", &BODY.len().to_string()),
            ("x-envoy-attempt-count", &number.to_string()),
            ("x-llm-journey", &journey),
        ];
        let mut attempt =
            Attempt { exchange: Exchange::default(), request: Wire::new(&headers, b""), number };
        let block = attempt.request.block();
        let Attempt { exchange, request, .. } = &mut attempt;
        let mut step = exchange.request_headers(&mut self.worker, &block, false, now, request);
        if step == RequestStep::Hold {
            request.body = BODY.to_vec();
            step = exchange.request_body(&mut self.worker, BODY.len(), true, now, request);
        }
        self.follow(id, attempt, step, now)
    }

    fn follow(&mut self, id: u64, mut attempt: Attempt, step: RequestStep, now: Timestamp) -> Step {
        match step {
            RequestStep::Send => {
                let cluster = attempt.request.get("x-llm-cluster").unwrap_or_default().to_owned();
                self.sent.insert(id, attempt);
                Step::Sent(cluster)
            }
            RequestStep::Hold => {
                self.held.push((id, attempt));
                Step::Held
            }
            RequestStep::Answer(answer) => {
                let retry = answer.headers.iter().any(|(name, _)| *name == RETRY_HEADER);
                attempt.exchange.finish(&mut self.worker, Ending::Complete, now);
                if retry { self.attempt(id, attempt.number + 1, now) } else { Step::Over(answer.status) }
            }
        }
    }

    /// The target answers the attempt of this request. `None` if the filter has given up on it.
    pub fn answered(&mut self, id: u64, response: &Wire, now: Timestamp) -> Option<Step> {
        let mut attempt = self.sent.remove(&id)?;
        let mut response = response.clone();
        let (block, worker) = (response.block(), &mut self.worker);
        let origin = || Origin::Upstream;
        attempt.exchange.response_headers(worker, block, false, now, origin, &mut response);
        attempt.exchange.response_body(worker, response.body.len(), true, now, &mut response);
        let status = response.get(":status").and_then(|text| text.parse().ok()).unwrap_or(0);
        let retry = response.get(RETRY_HEADER).is_some();
        attempt.exchange.finish(worker, Ending::Complete, now);
        Some(if retry { self.attempt(id, attempt.number + 1, now) } else { Step::Over(status) })
    }

    /// The tick of its worker. Returns what became of requests that were due.
    pub fn tick(&mut self, now: Timestamp) -> Vec<(u64, Step)> {
        self.worker.tick(now);
        let mut steps = Vec::new();
        for (id, mut attempt) in std::mem::take(&mut self.held) {
            let is_due = attempt.exchange.due().is_some_and(|due| due <= now);
            let Attempt { exchange, request, .. } = &mut attempt;
            let step = if is_due { exchange.wake(&mut self.worker, now, request) } else { RequestStep::Hold };
            match self.follow(id, attempt, step, now) {
                Step::Held => {}
                step => steps.push((id, step)),
            }
        }
        let due = |attempt: &Attempt| attempt.exchange.due().is_some_and(|due| due <= now);
        let ids: Vec<_> = self.sent.iter().filter(|(_, attempt)| due(attempt)).map(|(id, _)| *id).collect();
        for id in ids {
            let Some(mut attempt) = self.sent.remove(&id) else { continue };
            match attempt.exchange.alarm(&mut self.worker, now) {
                AlarmStep::Answer(answer) => {
                    steps.push((id, self.follow(id, attempt, RequestStep::Answer(answer), now)));
                }
                _ => {
                    self.sent.insert(id, attempt);
                }
            }
        }
        steps
    }
}

/// Envoy's shared data.
#[derive(Default)]
struct Memory {
    records: HashMap<String, Stored>,
    changes: u32,
}

impl Store for Memory {
    fn read(&mut self, key: &str) -> Result<Option<Stored>, StoreError> {
        Ok(self.records.get(key).cloned())
    }

    fn write(&mut self, key: &str, bytes: &[u8], cas: u32) -> Result<(), StoreError> {
        if self.records.get(key).is_some_and(|stored| stored.cas != cas) {
            return Err(StoreError::Changed);
        }
        self.changes += 1;
        self.records.insert(key.to_owned(), Stored { bytes: bytes.to_vec(), cas: self.changes });
        Ok(())
    }
}
