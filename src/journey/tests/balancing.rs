//! Simulation that compares the balancing strategies with round robin and with an oracle. Four targets
//! differ in speed, limits and price, and one of them becomes slow for a while. The choices are made by the
//! filter's own code, on several workers that exchange their views in their ticks. Requests, times and
//! providers are simulated.
//!
//! `cargo test -p llm-failsafe --lib balancing -- --nocapture` prints the table of docs/balancing.md.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::fmt::Write;
use std::rc::Rc;
use std::time::Duration;

use serde_json::json;

use super::super::test_support::{NOW, config_with, outcome, request_with};
use crate::admission::{Admission, RequestFailures};
use crate::balance::{Demand, Session};
use crate::base::memory::Memory;
use crate::base::{ErrorClass, MicroDollars, Random, SplitMix64, TargetId, Timestamp, Tokens, mix};
use crate::breaker::Blame;
use crate::config::{Balance, Config, SessionKey};
use crate::generation::{Effects, Generation};
use crate::intake::ClientRequest;
use crate::outcome::End;
use crate::provider::{Meter, RateLimit};
use crate::record::Tally;
use crate::request::Facts;
use crate::survey::{Progress, Survey, Tried};

const WORKERS: usize = 4;
const MINUTES: u64 = 6;
/// Requests per second over all workers.
const RATE: u64 = 20;
const TICK_MS: u64 = 100;
/// When `falters` is slow.
const FALTERS: std::ops::Range<u64> = 2 * 60_000..4 * 60_000;
const CONVERSATIONS: u64 = 500;
const TOKENS: Tokens = Tokens { input: 1_000, output: 400 };
/// How long a response goes on after its first content.
const STREAM_MS: u64 = 6_000;

/// How a simulated target behaves.
struct TargetModel {
    name: &'static str,
    /// The usual time to the first content of an idle target.
    first_ms: f64,
    /// The number of requests under way that doubles it.
    crowd: f64,
    requests_per_minute: u64,
    price: (f64, f64),
}

const TARGETS: [TargetModel; 4] = [
    TargetModel {
        name: "falters",
        first_ms: 400.0,
        crowd: 60.0,
        requests_per_minute: 480,
        price: (1.0, 4.0),
    },
    TargetModel { name: "quick", first_ms: 250.0, crowd: 40.0, requests_per_minute: 240, price: (3.0, 12.0) },
    TargetModel {
        name: "slow",
        first_ms: 1_500.0,
        crowd: 100.0,
        requests_per_minute: 1_200,
        price: (0.4, 1.6),
    },
    TargetModel { name: "usual", first_ms: 600.0, crowd: 80.0, requests_per_minute: 600, price: (1.0, 4.0) },
];

/// How a target is chosen.
#[derive(Clone)]
enum Chooser {
    /// Round robin. After a 429 the next target.
    RoundRobin,
    /// The fastest target with room, from facts that only providers know.
    Oracle,
    Strategy(Balance),
}

/// A provider's own rate limit: full at first, refilled evenly.
struct Bucket {
    left: f64,
    at_ms: u64,
}

impl Bucket {
    fn refill(&mut self, nature: &TargetModel, now_ms: u64) {
        let limit = nature.requests_per_minute as f64;
        self.left = (self.left + (now_ms - self.at_ms) as f64 * limit / 60_000.0).min(limit);
        self.at_ms = now_ms;
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Arrive { worker: usize },
    Answer { request: usize },
    End { request: usize },
    Tick { worker: usize },
}

struct Request {
    worker: usize,
    conversation: u64,
    arrived_ms: u64,
    sent_ms: u64,
    tried: Vec<Tried>,
    admission: Option<Admission>,
    limited: bool,
}

struct Worker {
    generation: Rc<Generation>,
    memory: Memory<'static>,
    tally: Tally,
}

struct World {
    how: Chooser,
    workers: Vec<Worker>,
    rng: SplitMix64,
    events: BinaryHeap<Reverse<(u64, usize, Event)>>,
    queued: usize,
    requests: Vec<Request>,
    turn: usize,
    buckets: Vec<Bucket>,
    under_way: [u32; 4],
    last_of: HashMap<u64, TargetId>,
    result: Outcome,
}

#[derive(Default)]
struct Outcome {
    first_ms: Vec<u64>,
    limited: u64,
    failed: u64,
    cost: MicroDollars,
    turns: u64,
    warm: u64,
}

impl Outcome {
    fn quantile(&self, permille: usize) -> u64 {
        let mut sorted = self.first_ms.clone();
        sorted.sort_unstable();
        sorted[(sorted.len() - 1) * permille / 1000]
    }

    fn per_thousand(&self, count: u64) -> f64 {
        count as f64 * 1000.0 / self.first_ms.len() as f64
    }

    /// Dollars for 1,000 requests.
    fn dollars(&self) -> f64 {
        self.per_thousand(self.cost.micros()) / 1e6
    }
}

fn at(ms: u64) -> Timestamp {
    NOW.after(Duration::from_millis(ms))
}

fn config(how: &Chooser) -> Config {
    let strategy = match how {
        Chooser::Strategy(Balance::LeastPending) => "least_pending",
        Chooser::Strategy(Balance::Fastest) => "fastest",
        Chooser::Strategy(Balance::Cheapest) => "cheapest",
        Chooser::Strategy(Balance::Sticky { .. }) => "sticky",
        _ => "weighted",
    };
    let targets = TARGETS.iter().map(|nature| {
        let (input, output) = nature.price;
        let price = json!({"input": input, "output": output});
        (nature.name.to_owned(), json!({"provider": "openai", "model": nature.name, "price": price}))
    });
    config_with(json!({
        "targets": targets.collect::<serde_json::Map<_, _>>(),
        "models": {"chat": {
            "targets": TARGETS.map(|nature| nature.name), "balance": {"strategy": strategy},
        }},
    }))
}

fn play(how: Chooser, seed: u64) -> Outcome {
    let shelf = Rc::default();
    let worker = |id| {
        let (config, mut memory) = (config(&how), Memory::on(Rc::clone(&shelf)));
        let tally = Tally::new(&config);
        Worker { generation: Rc::new(Generation::new(config, id, Rc::default(), &mut memory)), memory, tally }
    };
    let workers = (0..WORKERS as u64).map(worker).collect();
    let mut world = World {
        how,
        workers,
        rng: SplitMix64::new(seed),
        events: BinaryHeap::new(),
        queued: 0,
        requests: Vec::new(),
        turn: 0,
        buckets: TARGETS.map(|nature| Bucket { left: nature.requests_per_minute as f64, at_ms: 0 }).into(),
        under_way: [0; 4],
        last_of: HashMap::new(),
        result: Outcome::default(),
    };
    for request in 0..MINUTES * 60 * RATE {
        let when = request * 1000 / RATE + world.rng.below(1000 / RATE);
        let worker = world.rng.below(WORKERS as u64) as usize;
        world.queue(when, Event::Arrive { worker });
    }
    for worker in 0..WORKERS {
        let first = world.rng.below(TICK_MS);
        for round in 0..MINUTES * 60_000 / TICK_MS {
            world.queue(first + round * TICK_MS, Event::Tick { worker });
        }
    }
    world.run();
    world.result
}

impl World {
    fn queue(&mut self, when: u64, event: Event) {
        self.queued += 1;
        self.events.push(Reverse((when, self.queued, event)));
    }

    fn run(&mut self) {
        while let Some(Reverse((now_ms, _, event))) = self.events.pop() {
            match event {
                Event::Arrive { worker } => {
                    let conversation = self.rng.below(CONVERSATIONS);
                    self.requests.push(Request {
                        worker,
                        conversation,
                        arrived_ms: now_ms,
                        sent_ms: now_ms,
                        tried: Vec::new(),
                        admission: None,
                        limited: false,
                    });
                    self.send(self.requests.len() - 1, now_ms);
                }
                Event::Answer { request } => self.answer(request, now_ms),
                Event::End { request } => self.end(request),
                Event::Tick { worker } => {
                    let Worker { generation, memory, .. } = &mut self.workers[worker];
                    generation.exchange(memory, std::iter::empty(), at(now_ms));
                }
            }
        }
    }

    /// The time to the first content of a request sent now, without its random part.
    fn expected_ms(&self, target: usize, now_ms: u64) -> f64 {
        let nature = &TARGETS[target];
        let trouble = if nature.name == "falters" && FALTERS.contains(&now_ms) { 10.0 } else { 1.0 };
        nature.first_ms * trouble * (1.0 + f64::from(self.under_way[target]) / nature.crowd)
    }

    fn choose(&mut self, request: usize, now_ms: u64) -> Option<(TargetId, Option<Admission>)> {
        let id = |index| TargetId::from_index(index).unwrap();
        let tried: Vec<_> = self.requests[request].tried.clone();
        let untried = |target: &usize| !tried.iter().any(|attempt| attempt.target.index() == *target);
        match &self.how {
            Chooser::RoundRobin => {
                self.turn += 1;
                let target = (0..4).map(|step| (self.turn + step) % 4).find(untried)?;
                Some((id(target), None))
            }
            Chooser::Oracle => {
                let has_room = |target: &usize| {
                    let mut bucket = Bucket { ..self.buckets[*target] };
                    bucket.refill(&TARGETS[*target], now_ms);
                    bucket.left >= 1.0
                };
                let expected = |target: &usize| self.expected_ms(*target, now_ms);
                let best = (0..4)
                    .filter(untried)
                    .filter(has_room)
                    .min_by(|one, other| expected(one).total_cmp(&expected(other)))?;
                Some((id(best), None))
            }
            Chooser::Strategy(how) => {
                let Request { worker, conversation, .. } = self.requests[request];
                let Worker { generation, memory, tally } = &mut self.workers[worker];
                let session = matches!(how, Balance::Sticky { .. }).then(|| Session::of(mix(conversation)));
                let facts = Facts {
                    token_ids: TOKENS.input,
                    max_output_tokens: Some(TOKENS.output),
                    stream: true,
                    ..Facts::default()
                };
                let request = ClientRequest { session, ..request_with(generation, facts) };
                let progress = Progress { tried: &tried, ..Progress::default() };
                let mut survey = Survey::take(&request, progress, at(now_ms))?;
                let mut effects = Effects { store: memory, tally, rng: &mut self.rng };
                let admission = Admission::take(&mut survey, &mut effects).ok()?;
                Some((admission.target(), Some(admission)))
            }
        }
    }

    fn send(&mut self, request: usize, now_ms: u64) {
        let Some((target, admission)) =
            self.choose(request, now_ms).filter(|_| self.requests[request].tried.len() < 4)
        else {
            self.result.failed += 1;
            self.result.first_ms.push(now_ms - self.requests[request].arrived_ms);
            return;
        };
        let index = target.index();
        let chance = (0..4).map(|_| self.rng.below(1000) as f64 / 1000.0).sum::<f64>() / 2.0;
        let takes = self.expected_ms(index, now_ms) * (0.5 + chance / 2.0);
        let asked = &mut self.requests[request];
        (asked.sent_ms, asked.admission) = (now_ms, admission);
        asked.tried.push(Tried::new(target, TOKENS));
        let generation = &self.workers[asked.worker].generation;
        generation.pending.borrow_mut().begin(target, TOKENS);
        generation.speeds.borrow_mut().begin(target, at(now_ms));
        self.under_way[index] += 1;
        let bucket = &mut self.buckets[index];
        bucket.refill(&TARGETS[index], now_ms);
        self.requests[request].limited = bucket.left < 1.0;
        if bucket.left >= 1.0 {
            bucket.left -= 1.0;
        }
        let limited = self.requests[request].limited;
        self.queue(now_ms + if limited { 20 } else { takes as u64 }, Event::Answer { request });
    }

    fn answer(&mut self, request: usize, now_ms: u64) {
        let Request { worker, sent_ms, limited, .. } = self.requests[request];
        let target = self.requests[request].tried.last().unwrap().target;
        let (nature, bucket) = (&TARGETS[target.index()], &mut self.buckets[target.index()]);
        bucket.refill(nature, now_ms);
        let limit = nature.requests_per_minute;
        let to_full = ((limit as f64 - bucket.left) * 60_000.0 / limit as f64) as u64;
        let mut said = crate::provider::RateLimits::default();
        said[Meter::Requests as usize] = Some(RateLimit {
            limit: Some(limit),
            remaining: bucket.left as u64,
            reset: at(now_ms + to_full),
        });
        let generation = Rc::clone(&self.workers[worker].generation);
        generation.pending.borrow_mut().answered(target, TOKENS);
        generation.headroom.borrow_mut().answered(target, Some(&said), Demand::of(TOKENS), at(now_ms));
        if !limited {
            generation.speeds.borrow_mut().first_content(target, true, at(sent_ms), at(now_ms));
            self.settle(request, Blame::SUCCESS, now_ms);
            self.queue(now_ms + STREAM_MS, Event::End { request });
            self.take_in(request, target, now_ms);
            return;
        }
        generation.speeds.borrow_mut().no_content(target, true, at(sent_ms), at(now_ms));
        generation.pending.borrow_mut().end(target);
        let wait = Duration::from_millis(60_000 / limit);
        self.settle(request, Blame::of(ErrorClass::RateLimited, Some(wait)), now_ms);
        self.under_way[target.index()] -= 1;
        self.result.limited += 1;
        self.send(request, now_ms);
    }

    fn settle(&mut self, request: usize, blame: Blame, now_ms: u64) {
        let asked = &mut self.requests[request];
        let Some(admission) = asked.admission.take() else { return };
        let Worker { generation, memory, tally } = &mut self.workers[asked.worker];
        let mut effects = Effects { store: memory, tally, rng: &mut self.rng };
        let failures = &mut RequestFailures::default();
        let outcome = outcome(End::Complete);
        let reserved = admission.settle(generation, &outcome, blame, failures, &mut effects, at(now_ms));
        assert!(reserved.is_none(), "no budget is configured");
    }

    fn take_in(&mut self, request: usize, target: TargetId, now_ms: u64) {
        let Request { conversation, arrived_ms, .. } = self.requests[request];
        let price = self.workers[0].generation.config.target(target).unwrap().offers.price.unwrap();
        let result = &mut self.result;
        result.first_ms.push(now_ms - arrived_ms);
        result.cost = result.cost.plus(price.of(TOKENS.input, TOKENS.output));
        if let Some(last) = self.last_of.insert(conversation, target) {
            result.turns += 1;
            result.warm += u64::from(last == target);
        }
    }

    fn end(&mut self, request: usize) {
        let target = self.requests[request].tried.last().unwrap().target;
        self.under_way[target.index()] -= 1;
        self.workers[self.requests[request].worker].generation.pending.borrow_mut().end(target);
    }
}

#[test]
fn every_strategy_improves_what_it_is_for() {
    let sticky = Balance::Sticky { by: vec![SessionKey::Session] };
    let all = [
        ("round robin", Chooser::RoundRobin),
        ("`weighted`", Chooser::Strategy(Balance::Weighted)),
        ("`least_pending`", Chooser::Strategy(Balance::LeastPending)),
        ("`fastest`", Chooser::Strategy(Balance::Fastest)),
        ("`cheapest`", Chooser::Strategy(Balance::Cheapest)),
        ("`sticky`", Chooser::Strategy(sticky)),
        ("oracle", Chooser::Oracle),
    ];
    let outcomes: Vec<_> = all.iter().map(|(name, how)| (*name, play(how.clone(), 1))).collect();
    let mut table = String::from(
        "| | first content, median | 99 % | 429s of 1000 | $ for 1000 | same target as the turn before |\n|---|---|---|---|---|---|\n",
    );
    for (name, outcome) in &outcomes {
        writeln!(
            table,
            "| {name} | {} ms | {} ms | {:.1} | {:.2} | {} % |",
            outcome.quantile(500),
            outcome.quantile(990),
            outcome.per_thousand(outcome.limited),
            outcome.dollars(),
            outcome.warm * 100 / outcome.turns,
        )
        .unwrap();
    }
    println!("{table}");
    let of = |wanted: &str| &outcomes.iter().find(|(name, _)| *name == wanted).unwrap().1;
    let slowest = |name| of(name).quantile(990);
    assert!(outcomes.iter().all(|(_, outcome)| outcome.failed == 0));
    assert!(of("round robin").per_thousand(of("round robin").limited) > 20.0);
    for (name, outcome) in outcomes.iter().filter(|(name, _)| *name != "round robin") {
        assert_eq!(outcome.limited, 0, "{name}: there is enough capacity");
    }
    assert!(slowest("`least_pending`") < slowest("`weighted`") * 9 / 10);
    assert!(slowest("`fastest`") < slowest("`weighted`") * 6 / 10);
    assert!(slowest("`fastest`") < slowest("oracle") * 3);
    assert!(of("`cheapest`").dollars() < of("`weighted`").dollars() / 2.0);
    assert!(of("`sticky`").warm * 100 > of("`sticky`").turns * 90);
}
