//! What may happen.

use proptest::prelude::*;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::retry::Received;

#[derive(Debug, Clone)]
pub(super) struct Case {
    pub(super) setup: Setup,
    pub(super) steps: Vec<Step>,
}

/// The configuration.
#[derive(Debug, Clone)]
pub(super) struct Setup {
    pub(super) retry_loop: bool,
    mode: &'static str,
    when_all_open: &'static str,
    queue: Option<(u64, u32)>,
    tiers: Vec<Vec<usize>>,
    attempts: u8,
    max_journeys: u32,
    pub(super) probes: u8,
    retries_are_limited: bool,
    /// The limits at [`OWNERS`].
    pub(super) limits: [Limits; OWNERS.len()],
    budget: Option<Budget>,
    /// Every so many writes to the shared data another worker is faster.
    pub(super) lost_writes: Option<u32>,
}

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Limits {
    pub(super) requests: Option<u64>,
    pub(super) tokens: Option<u64>,
    max_pending: Option<u32>,
}

/// A budget of the key `team`.
#[derive(Debug, Clone, Copy)]
struct Budget {
    requests_per_minute: Option<u64>,
    tokens_per_day: Option<u64>,
    micro_dollars_per_day: Option<u64>,
}

#[derive(Debug, Clone)]
pub(super) enum Step {
    /// A client sends a request.
    Ask {
        worker: usize,
        key: &'static str,
        /// Whether the edge has given it an id, without which its journey is not kept.
        has_id: bool,
        stream: bool,
        max_tokens: u64,
        no_fallback: bool,
        failing: Option<HostFailure>,
    },
    /// So many clients send requests in one moment, by turns at the two workers.
    Rush { clients: usize, key: &'static str },
    /// The attempts under way fail, the last `blocked` of them because of the account.
    Outage { blocked: usize },
    /// Something comes of an attempt.
    Hear { attempt: usize, event: Event },
    /// A client leaves.
    Leave { pass: usize },
    /// The edge starts the next attempt that it was asked for.
    Return { journey: usize, failing: Option<HostFailure> },
    /// The edge starts another attempt beside the one that is under way.
    Hedge { attempt: usize },
    /// So much time goes by.
    Wait { ms: u64 },
    /// A worker gets a configuration in which targets and accounts have other ids.
    Reload { worker: usize },
}

/// A call of the host that fails during the request.
#[derive(Debug, Clone, Copy)]
pub(super) enum HostFailure {
    /// The change of a header, after so many that work.
    Header(u32),
    /// The edit of the body, after so many that work.
    Body(u32),
    /// To let a request go on that was held.
    Resume,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Event {
    /// The provider answers with a status, and perhaps a time to wait.
    Status(u16, Option<u64>),
    /// Envoy answers in the provider's place.
    Envoy { status: u16, received: Received },
    /// Envoy's own rate limit holds the request back.
    HeldBack,
    /// The headers of a good response.
    Headers,
    /// Part of a stream's content, perhaps with the usage so far.
    Content { usage: bool },
    /// The stream reports an error.
    Error,
    /// The response is complete. `closes` says whether the provider also ends it.
    Done { usage: bool, closes: bool },
    /// The response ends too early.
    Truncated,
    /// The connection breaks.
    Gone,
}

/// Name, account, and the price of an input and an output token in micro-dollars.
pub(super) const TARGETS: [(&str, &str, u64, u64); 3] =
    [("t0", "a", 1, 2), ("t1", "b", 3, 5), ("t2", "a", 1, 2)];

/// Where limits can be configured, and the names of their records.
pub(super) const OWNERS: [(&str, &str, &str); 4] = [
    ("targets", "t0", "llm-failsafe/quota/target/t0"),
    ("targets", "t1", "llm-failsafe/quota/target/t1"),
    ("accounts", "a", "llm-failsafe/quota/account/a"),
    ("accounts", "b", "llm-failsafe/quota/account/b"),
];

impl Setup {
    /// Whether the key `team` has a budget.
    pub(super) const fn has_budget(&self) -> bool {
        self.budget.is_some()
    }

    /// The configuration. `reloaded` adds a target and an account that nothing uses, before all others.
    pub(super) fn config(&self, reloaded: bool) -> Value {
        let ms = |ms: u64| format!("{ms}ms");
        let names = |tier: &Vec<usize>| tier.iter().map(|place| TARGETS[*place].0).collect::<Vec<_>>();
        let digest = |key: &str| -> String {
            Sha256::digest(key.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
        };
        let target = |(name, account, input, output): (&str, &str, u64, u64)| {
            let price = json!({"input": input, "output": output});
            (name.to_owned(), json!({"account": account, "model": name, "price": price}))
        };
        let mut retry = json!({
            "attempts": self.attempts, "backoff": {"base": "50ms", "max": "100ms"}, "retry_after_cap": "1s",
            "replay_uncertain": "always",
        });
        if let Some((max_wait, max_waiting)) = self.queue {
            retry["queue"] = json!({"max_wait": ms(max_wait), "max_waiting": max_waiting});
        }
        let mut config = json!({
            "retry_loop": self.retry_loop,
            "mode": self.mode,
            "providers": {"openai": {"kind": "openai", "cluster": "one"}},
            "accounts": {
                "a": {"provider": "openai", "key": {"value": "sk-a"}},
                "b": {"provider": "openai", "key": {"value": "sk-b"}},
            },
            "targets": Value::from_iter(TARGETS.map(target)),
            "models": {"chat": {
                "tiers": self.tiers.iter().map(names).collect::<Vec<_>>(), "retry": retry,
                "when_all_open": self.when_all_open,
                "stream": {"first_content": "400ms", "idle": "400ms", "answer": "500ms", "total": "3s"},
            }},
            "limits": {"max_journeys": self.max_journeys},
            "retry_budget": if self.retries_are_limited { json!({"ratio": 0, "floor": 1}) } else { json!({"ratio": 10}) },
            "breaker": {
                "min_requests": 4, "consecutive": 2, "open": "300ms", "open_max": "1s", "block": "300ms",
                "block_max": "1s", "probes": self.probes, "close_after": 1, "probe_lease": "1h",
            },
            "keys": {"team": {"sha256": digest("team-key")}, "other": {"sha256": digest("other-key")}},
        });
        for ((section, name, _), limits) in OWNERS.iter().zip(self.limits) {
            config[section][name]["limits"] = limits.config();
        }
        if let Some(budget) = self.budget {
            config["keys"]["team"]["budget"] = budget.config();
        }
        if reloaded {
            config["accounts"]["0"] = json!({"provider": "openai", "limits": {"requests_per_minute": 9}});
            config["targets"]["0"] = json!({
                "account": "0", "model": "m", "limits": {"tokens_per_minute": 9, "max_pending": 1},
            });
        }
        config
    }
}

impl Limits {
    fn config(self) -> Value {
        members([
            ("requests_per_minute", self.requests.map(Value::from)),
            ("tokens_per_minute", self.tokens.map(Value::from)),
            ("max_pending", self.max_pending.map(Value::from)),
        ])
    }

    /// Whether requests are counted.
    pub(super) const fn counts(self) -> bool {
        self.requests.is_some() || self.tokens.is_some()
    }
}

impl Budget {
    fn config(self) -> Value {
        let dollars = self.micro_dollars_per_day.map(|micros| Value::from(micros as f64 / 1e6));
        members([
            ("requests_per_minute", self.requests_per_minute.map(Value::from)),
            ("tokens_per_day", self.tokens_per_day.map(Value::from)),
            ("usd_per_day", dollars),
        ])
    }
}

fn members<const N: usize>(members: [(&str, Option<Value>); N]) -> Value {
    Value::from_iter(members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))))
}

fn limits() -> impl Strategy<Value = Limits> {
    let numbers = (
        prop::option::weighted(0.6, 1_u64..6),
        prop::option::weighted(0.5, 40_u64..300),
        prop::option::weighted(0.3, 1_u32..4),
    );
    let some = numbers.prop_map(|(requests, tokens, max_pending)| Limits { requests, tokens, max_pending });
    prop_oneof![2 => Just(Limits::default()), 3 => some]
}

fn budgets() -> impl Strategy<Value = Budget> {
    let amount = || prop_oneof![1 => 40_u64..400, 1 => Just(1_000_000_u64)];
    (prop::option::of(1_u64..12), prop::option::of(amount()), amount()).prop_map(
        |(requests_per_minute, tokens_per_day, micro_dollars)| Budget {
            requests_per_minute,
            tokens_per_day,
            micro_dollars_per_day: Some(micro_dollars),
        },
    )
}

fn setups() -> impl Strategy<Value = Setup> {
    let tiers = prop::sample::select(vec![
        vec![vec![0]],
        vec![vec![0, 1]],
        vec![vec![0, 2]],
        vec![vec![0], vec![1]],
        vec![vec![0, 2], vec![1]],
        vec![vec![0, 1, 2]],
    ]);
    let words = (
        prop::bool::weighted(0.75),
        prop::sample::select(vec!["enforce", "enforce", "enforce", "shadow"]),
        prop::sample::select(vec!["refuse", "try_anyway", "queue"]),
        prop::option::weighted(0.7, (200_u64..700, 1_u32..6)),
        prop::bool::weighted(0.2),
    );
    let numbers = (tiers, 1_u8..5, prop::sample::select(vec![2_u32, 100, 100]), 1_u8..4);
    let limits = [limits(), limits(), limits(), limits()];
    let rest = (limits, prop::option::weighted(0.8, budgets()), prop::option::of(2_u32..5));
    (words, numbers, rest).prop_map(|(words, numbers, rest)| {
        let (retry_loop, mode, when_all_open, queue, retries_are_limited) = words;
        let (tiers, attempts, max_journeys, probes) = numbers;
        let (limits, budget, lost_writes) = rest;
        // A model whose requests wait for breakers has a queue.
        let when_all_open =
            if queue.is_none() && when_all_open == "queue" { "refuse" } else { when_all_open };
        Setup {
            retry_loop,
            mode,
            when_all_open,
            queue,
            tiers,
            attempts,
            max_journeys,
            probes,
            retries_are_limited,
            limits,
            budget,
            lost_writes,
        }
    })
}

fn failures() -> impl Strategy<Value = Option<HostFailure>> {
    let failure = prop_oneof![
        1 => (0_u32..2).prop_map(HostFailure::Header),
        2 => (2_u32..16).prop_map(HostFailure::Header),
        1 => (0_u32..2).prop_map(HostFailure::Body),
        4 => Just(HostFailure::Resume),
    ];
    prop::option::weighted(0.25, failure)
}

fn events() -> impl Strategy<Value = Event> {
    let status = prop::sample::select(vec![400_u16, 401, 408, 429, 500, 500, 500, 500, 500, 503, 504]);
    let received = prop::sample::select(vec![Received::Never, Received::Perhaps]);
    prop_oneof![
        6 => (status, prop::option::weighted(0.3, 0_u64..2)).prop_map(|(status, hint)| Event::Status(status, hint)),
        2 => (prop::sample::select(vec![503_u16, 504]), received)
            .prop_map(|(status, received)| Event::Envoy { status, received }),
        2 => Just(Event::HeldBack),
        2 => Just(Event::Headers),
        4 => any::<bool>().prop_map(|usage| Event::Content { usage }),
        1 => Just(Event::Error),
        5 => (any::<bool>(), any::<bool>()).prop_map(|(usage, closes)| Event::Done { usage, closes }),
        1 => Just(Event::Truncated),
        3 => Just(Event::Gone),
    ]
}

fn steps() -> impl Strategy<Value = Step> {
    let key = prop::sample::select(vec!["team-key", "team-key", "other-key"]);
    let key_of_rush = key.clone();
    let ask = (
        0_usize..2,
        key,
        prop::bool::weighted(0.7),
        any::<bool>(),
        5_u64..60,
        prop::bool::weighted(0.1),
        failures(),
    );
    let any_pass = || 0_usize..16;
    let wait = prop_oneof![2 => 0_u64..150, 3 => 250_u64..500];
    prop_oneof![
        16 => ask.prop_map(|(worker, key, has_id, stream, max_tokens, no_fallback, failing)| Step::Ask {
            worker, key, has_id, stream, max_tokens, no_fallback, failing,
        }),
        3 => (2_usize..7, key_of_rush).prop_map(|(clients, key)| Step::Rush { clients, key }),
        3 => (0_usize..3).prop_map(|blocked| Step::Outage { blocked }),
        20 => (any_pass(), events()).prop_map(|(attempt, event)| Step::Hear { attempt, event }),
        2 => any_pass().prop_map(|pass| Step::Leave { pass }),
        10 => (any_pass(), failures()).prop_map(|(journey, failing)| Step::Return { journey, failing }),
        4 => any_pass().prop_map(|attempt| Step::Hedge { attempt }),
        9 => wait.prop_map(|ms| Step::Wait { ms }),
        1 => (0_usize..2).prop_map(|worker| Step::Reload { worker }),
    ]
}

pub(super) fn cases() -> impl Strategy<Value = Case> {
    (setups(), prop::collection::vec(steps(), 1..60)).prop_map(|(setup, steps)| Case { setup, steps })
}
