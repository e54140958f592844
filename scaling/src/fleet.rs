//! A fleet of Envoys behind one address, in front of one provider that fails for a while, and a spare.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use llm_failsafe::base::{Random, SplitMix64, Timestamp};
use serde_json::{Value, json};

use crate::envoy::{Envoy, Step};
use crate::wire::Wire;

/// When everything begins. Any calendar time will do.
const START_MS: u64 = 1_800_000_000_000;
const TICK_MS: u64 = 100;
/// How long a healthy target takes to answer.
const ANSWER_MS: (u64, u64) = (500, 1500);
const PRIMARY: &str = "primary";
const GOOD: &[u8] = br#"{"id":"1","object":"chat.completion","model":"m","choices":[{"index":0,"finish_reason":"stop","message":{"role":"assistant","content":"hello"}}],"usage":{"prompt_tokens":3,"completion_tokens":1,"total_tokens":4}}"#;
const BAD: &[u8] = br#"{"error":{"message":"unavailable","type":"server_error"}}"#;

/// What is simulated.
#[derive(Debug, Clone)]
pub struct Case {
    /// How many Envoys there are.
    pub envoys: usize,
    /// How many requests clients send in a second, to all Envoys together.
    pub requests_per_s: u64,
    /// How long the provider takes to fail.
    pub failure: Failure,
    /// `breaker` of the filter's configuration.
    pub breaker: Value,
    /// When the provider begins to fail, in seconds.
    pub outage_s: u64,
    /// When it has recovered.
    pub recovery_s: u64,
    /// When the simulation ends.
    pub end_s: u64,
    pub seed: u64,
}

/// How the provider fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// With 503 after 50 ms.
    Fast,
    /// With 504 after 10 s.
    Slow,
}

impl Failure {
    const fn response(self) -> (u64, &'static str) {
        match self {
            Self::Fast => (50, "503"),
            Self::Slow => (10_000, "504"),
        }
    }
}

/// What came of it.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// Requests that the provider got in each second.
    pub at_provider: Vec<u64>,
    /// Attempts that failed at the provider in the outage.
    pub wasted: u64,
    /// Those of the first minute.
    pub first_minute: u64,
    /// Requests in a second at the provider, on average over the second half of the outage.
    pub probes_per_s: f64,
    /// Seconds from the recovery until the provider has nine tenths of the requests again. `None` if it never had.
    pub back_after_s: Option<u64>,
    /// Requests whose client got an error.
    pub errors: u64,
    /// Requests that were sent.
    pub requests: u64,
}

impl Case {
    /// A minute of peace, three minutes of outage, and two minutes after it.
    pub fn usual(envoys: usize, failure: Failure, breaker: Value) -> Self {
        let (requests_per_s, outage_s, recovery_s, end_s) = (100, 60, 240, 360);
        Self { envoys, requests_per_s, failure, breaker, outage_s, recovery_s, end_s, seed: 1 }
    }
}

/// Something that happens.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Tick,
    Request,
    Answer { id: u64, envoy: usize, status: &'static str },
}

/// The filter's configuration: a model with a spare that always works.
fn configuration(breaker: &Value) -> Value {
    let provider =
        |name: &str| json!({"kind": "openai-compatible", "cluster": name, "host": format!("{name}.test")});
    json!({
        "retry_loop": true,
        "providers": {PRIMARY: provider(PRIMARY), "spare": provider("spare")},
        "targets": {PRIMARY: {"provider": PRIMARY, "model": "m"}, "spare": {"provider": "spare", "model": "m"}},
        "models": {"chat": {"tiers": [[PRIMARY], ["spare"]]}},
        "breaker": breaker,
    })
}

struct Fleet<'c> {
    case: &'c Case,
    envoys: Vec<Envoy>,
    random: SplitMix64,
    events: BinaryHeap<Reverse<(u64, u64, Event)>>,
    /// Keeps events of one moment in their order.
    order: u64,
    next_id: u64,
    outcome: Outcome,
    /// When attempts of the outage went to the provider.
    failing: Vec<u64>,
}

/// Plays a case.
pub fn run(case: &Case) -> Outcome {
    let configuration = configuration(&case.breaker);
    let envoys = (0..case.envoys).map(|number| Envoy::new(&configuration, case.seed ^ (number as u64) << 20));
    let seconds = usize::try_from(case.end_s).unwrap_or(0);
    let mut fleet = Fleet {
        case,
        envoys: envoys.collect(),
        random: SplitMix64::new(case.seed),
        events: BinaryHeap::new(),
        order: 0,
        next_id: 1,
        outcome: Outcome { at_provider: vec![0; seconds], ..Outcome::default() },
        failing: Vec::new(),
    };
    fleet.push(0, Event::Tick);
    fleet.push(0, Event::Request);
    fleet.play();
    fleet.figures()
}

impl Fleet<'_> {
    fn push(&mut self, at: u64, event: Event) {
        self.order += 1;
        self.events.push(Reverse((at, self.order, event)));
    }

    fn play(&mut self) {
        while let Some(Reverse((ms, _, event))) = self.events.pop() {
            if ms >= self.case.end_s * 1000 {
                return;
            }
            let now = Timestamp::from_millis(START_MS + ms);
            match event {
                Event::Tick => {
                    for number in 0..self.envoys.len() {
                        for (id, step) in self.envoys[number].tick(now) {
                            self.follow(ms, number, id, step);
                        }
                    }
                    self.push(ms + TICK_MS, Event::Tick);
                }
                Event::Request => {
                    let (id, envoy) = (self.next_id, self.below(self.envoys.len() as u64));
                    self.next_id += 1;
                    self.outcome.requests += 1;
                    let envoy = usize::try_from(envoy).unwrap_or(0);
                    let step = self.envoys[envoy].request(id, now);
                    self.follow(ms, envoy, id, step);
                    // The time between requests of many independent clients.
                    let uniform = (self.below(1 << 32) as f64 + 1.0) / (1_u64 << 32) as f64;
                    let wait = -uniform.ln() * 1000.0 / self.case.requests_per_s as f64;
                    self.push(ms + wait.round() as u64, Event::Request);
                }
                Event::Answer { id, envoy, status } => {
                    let body = if status == "200" { GOOD } else { BAD };
                    let response =
                        Wire::new(&[(":status", status), ("content-type", "application/json")], body);
                    if let Some(step) = self.envoys[envoy].answered(id, &response, now) {
                        self.follow(ms, envoy, id, step);
                    }
                }
            }
        }
    }

    fn follow(&mut self, ms: u64, envoy: usize, id: u64, step: Step) {
        match step {
            Step::Held => {}
            Step::Over(status) => self.outcome.errors += u64::from(status != 200),
            Step::Sent(cluster) => {
                let at_primary = cluster == PRIMARY;
                let fails = at_primary && (self.case.outage_s..self.case.recovery_s).contains(&(ms / 1000));
                if at_primary && let Some(count) = self.outcome.at_provider.get_mut(second(ms)) {
                    *count += 1;
                }
                let (delay, status) = if fails {
                    self.failing.push(ms);
                    self.case.failure.response()
                } else {
                    (ANSWER_MS.0 + self.below(ANSWER_MS.1 - ANSWER_MS.0), "200")
                };
                self.push(ms + delay, Event::Answer { id, envoy, status });
            }
        }
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.random.next_u64() % bound.max(1)
    }

    fn figures(mut self) -> Outcome {
        let Case { outage_s, recovery_s, requests_per_s, .. } = *self.case;
        self.outcome.wasted = self.failing.len() as u64;
        let in_first_minute = |at: &&u64| **at < (outage_s + 60) * 1000;
        self.outcome.first_minute = self.failing.iter().filter(in_first_minute).count() as u64;
        let half = usize::try_from(outage_s.midpoint(recovery_s)).unwrap_or(0);
        let (recovery, counts) = (usize::try_from(recovery_s).unwrap_or(0), &self.outcome.at_provider);
        let probes: u64 = counts[half..recovery].iter().sum();
        self.outcome.probes_per_s = probes as f64 / (recovery - half) as f64;
        // Three seconds together, because arrivals are random.
        let enough = requests_per_s * 3 * 9 / 10;
        let back = counts[recovery..].windows(3).position(|window| window.iter().sum::<u64>() >= enough);
        self.outcome.back_after_s = back.map(|seconds| seconds as u64);
        self.outcome
    }
}

fn second(ms: u64) -> usize {
    usize::try_from(ms / 1000).unwrap_or(usize::MAX)
}
