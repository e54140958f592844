//! The random cases: configurations, requests, and the faults that their attempts meet.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::disturbances::{Disturbance, disturbances};
use crate::retry::Received;

/// A configuration, a scope that an operator has forced open, and the requests.
#[derive(Debug, Clone)]
pub(super) struct Case {
    pub(super) policy: Policy,
    /// The target that an operator has forced open, as its position in [`TARGETS`], and whether its whole
    /// account is.
    pub(super) forced_open: Option<(usize, bool)>,
    pub(super) requests: Vec<Request>,
    /// What happens to the whole worker, and when.
    pub(super) disturbances: Vec<(u64, Disturbance)>,
}

/// How a model is configured.
#[derive(Debug, Clone)]
pub(super) struct Policy {
    pub(super) tiers: Vec<Vec<usize>>,
    pub(super) attempts: u8,
    pub(super) attempts_per_target: u8,
    pub(super) total_ms: u64,
    first_content_ms: u64,
    idle_ms: u64,
    answer_ms: u64,
    backoff_ms: u64,
    cap_ms: u64,
    replay: &'static str,
    last_error: &'static str,
    gate: Option<(&'static str, u64)>,
    queue: Option<(u64, u32)>,
    waits_for_breakers: bool,
    retry_budget: bool,
    tokens_per_day: u64,
}

/// A client request.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) arrives_ms: u64,
    pub(super) stream: bool,
    pub(super) no_fallback: bool,
    pub(super) leaves_ms: Option<u64>,
    /// Envoy declines to retry.
    pub(super) declined: bool,
    /// The delay and the fault of each attempt. Later attempts succeed.
    pub(super) faults: Vec<(u64, Fault)>,
}

/// The fault of an attempt.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Fault {
    Status {
        status: u16,
        hint_s: Option<u64>,
        should_retry: Option<bool>,
    },
    /// Envoy responds in the provider's place.
    Envoy {
        status: u16,
        received: Received,
    },
    ResetBeforeHeaders,
    ResetAfterHeaders,
    Silence,
    ErrorUnderSuccess,
    /// Some content, then an end without the terminal event.
    Truncated {
        pieces: u8,
    },
    /// Some content, then a connection reset.
    Broken {
        pieces: u8,
    },
    /// Some content, then nothing more.
    Stalled {
        pieces: u8,
    },
    /// A successful response with `gap_ms` between its pieces.
    Slow {
        pieces: u8,
        gap_ms: u64,
    },
}

/// What the host reports about the response to an attempt.
#[derive(Debug, Clone)]
pub(super) enum Event {
    Headers(Vec<(&'static str, String)>),
    Body { bytes: &'static [u8], end: bool },
    EnvoyResponse { status: u16, received: Received },
    Gone,
}

/// The name and the account of each target.
pub(super) const TARGETS: [(&str, &str); 4] = [("t0", "a"), ("t1", "b"), ("t2", "a"), ("t3", "c")];

const CONTENT: &[u8] = b"data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hi\"}}]}\n\n";
const DONE: &[u8] =
    b"data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\".\"},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";
const ERROR_EVENT: &[u8] = b"data: {\"error\":{\"message\":\"no\",\"type\":\"server_error\"}}\n\n";
const ERROR: &[u8] = br#"{"error":{"message":"no","type":"server_error"}}"#;
const ANSWER: [&[u8]; 2] = [br#"{"choices":[{"message":{"content":"hi"}}"#, b"]}"];

impl Fault {
    /// The events of this fault, each with its delay in milliseconds after the event before.
    pub(super) fn events(&self, delay_ms: u64, stream: bool) -> Vec<(u64, Event)> {
        let success = if stream { "text/event-stream" } else { "application/json" };
        let headers = |status: u16, kind: &str| {
            Event::Headers(vec![(":status", status.to_string()), ("content-type", kind.to_owned())])
        };
        let good = || (delay_ms, headers(200, success));
        let body = |bytes, end| Event::Body { bytes, end };
        // A plain response has one or two pieces, whatever `pieces` says.
        let content = |pieces: u8, gap_ms: u64| {
            let (piece, pieces) = if stream { (CONTENT, pieces) } else { (ANSWER[0], pieces.min(1)) };
            (0..pieces).map(move |_| (gap_ms, body(piece, false)))
        };
        match self {
            Self::Status { status, hint_s, should_retry } => {
                let mut all = vec![(":status", status.to_string())];
                all.extend(hint_s.map(|seconds| ("retry-after", seconds.to_string())));
                all.extend(should_retry.map(|word| ("x-should-retry", word.to_string())));
                vec![(delay_ms, Event::Headers(all)), (0, body(b"{}", true))]
            }
            Self::Envoy { status, received } => {
                vec![(delay_ms, Event::EnvoyResponse { status: *status, received: *received })]
            }
            Self::ResetBeforeHeaders => vec![(delay_ms, Event::Gone)],
            Self::ResetAfterHeaders => vec![good(), (30, Event::Gone)],
            Self::Silence => Vec::new(),
            Self::ErrorUnderSuccess => {
                vec![good(), (0, body(if stream { ERROR_EVENT } else { ERROR }, true))]
            }
            Self::Truncated { pieces } => {
                let last = if stream { b"".as_slice() } else { b" " };
                [good()].into_iter().chain(content(*pieces, 20)).chain([(20, body(last, true))]).collect()
            }
            Self::Broken { pieces } => {
                [good()].into_iter().chain(content(*pieces, 20)).chain([(20, Event::Gone)]).collect()
            }
            Self::Stalled { pieces } => [good()].into_iter().chain(content(*pieces, 20)).collect(),
            Self::Slow { pieces, gap_ms } => {
                let last = if stream { DONE } else { ANSWER[1] };
                let content = content((*pieces).max(1), *gap_ms);
                [good()].into_iter().chain(content).chain([(*gap_ms, body(last, true))]).collect()
            }
        }
    }

    /// Whether an attempt that ends with this fault costs something: at least, and at most.
    pub(super) fn costs(&self) -> (bool, bool) {
        match self {
            Self::Status { status, .. } => (matches!(status, 408 | 504), matches!(status, 408 | 504)),
            Self::Envoy { received, .. } => (*received == Received::Perhaps, *received == Received::Perhaps),
            // If it was not held, it may have been counted as a success.
            Self::ErrorUnderSuccess => (false, true),
            // A response without a byte is empty, and costs nothing.
            Self::Truncated { pieces: 0 } => (false, true),
            _ => (true, true),
        }
    }
}

impl Policy {
    /// The configuration. The client's key is `client-key`.
    pub(super) fn config(&self, sha256: &str) -> Value {
        let names = |tier: &Vec<usize>| tier.iter().map(|place| TARGETS[*place].0).collect::<Vec<_>>();
        let ms = |ms: u64| format!("{ms}ms");
        let mut retry = json!({
            "attempts": self.attempts, "attempts_per_target": self.attempts_per_target,
            "backoff": {"base": ms(self.backoff_ms), "max": ms(self.backoff_ms * 4)},
            "retry_after_cap": ms(self.cap_ms), "replay_uncertain": self.replay, "last_error": self.last_error,
        });
        if let Some((max_wait, max_waiting)) = self.queue {
            retry["queue"] = json!({"max_wait": ms(max_wait), "max_waiting": max_waiting});
        }
        let target =
            |(name, account): (&str, &str)| (name.to_owned(), json!({"account": account, "model": name}));
        let mut stream = json!({
            "first_content": ms(self.first_content_ms), "idle": ms(self.idle_ms), "answer": ms(self.answer_ms),
            "total": ms(self.total_ms),
        });
        if let Some((until, max_time)) = self.gate {
            stream["gate"] = json!({"until": until, "max_time": ms(max_time)});
        }
        let waits = self.waits_for_breakers && self.queue.is_some();
        json!({
            "retry_loop": true,
            "providers": {
                "openai": {"kind": "openai", "cluster": "one"}, "anthropic": {"kind": "anthropic", "cluster": "other"},
            },
            "accounts": {
                "a": {"provider": "openai", "key": {"value": "sk-a"}}, "b": {"provider": "openai", "key": {"value": "sk-b"}},
                "c": {"provider": "anthropic", "key": {"value": "sk-c"}},
            },
            "targets": Value::from_iter(TARGETS.map(target)),
            "models": {"chat": {
                "tiers": self.tiers.iter().map(names).collect::<Vec<_>>(), "retry": retry, "stream": stream,
                "when_all_open": if waits { "queue" } else { "refuse" },
            }},
            "retry_budget": if self.retry_budget { json!({"ratio": 10}) } else { json!({"ratio": 0, "floor": 1}) },
            "breaker": {"min_requests": 5, "consecutive": 3, "open": "1s", "open_max": "10s"},
            "keys": {"team": {"sha256": sha256, "budget": {"tokens_per_day": self.tokens_per_day}}},
        })
    }
}

fn policies() -> impl Strategy<Value = Policy> {
    let tiers = prop::sample::select(vec![
        vec![vec![0]],
        vec![vec![0, 1]],
        vec![vec![0], vec![1]],
        vec![vec![0, 2], vec![3]],
        vec![vec![0, 1], vec![2, 3]],
        vec![vec![0, 1, 2, 3]],
    ]);
    let numbers = (tiers, 1_u8..6, 1_u8..5, 300_u64..4_000);
    let clocks = (100_u64..1_500, 100_u64..1_000, 100_u64..2_000, 1_u64..400, 0_u64..3_000);
    let words = (
        prop::sample::select(vec!["once", "never", "always"]),
        prop::sample::select(vec!["provider", "own"]),
        prop::option::of((100_u64..2_500, 1_u32..4)),
        any::<bool>(),
        prop::bool::weighted(0.8),
        prop::option::weighted(
            0.3,
            (prop::sample::select(vec!["headers", "first_event", "first_content"]), 100_u64..1_000),
        ),
        prop::sample::select(vec![150_u64, 1_000_000, 1_000_000]),
    );
    (numbers, clocks, words).prop_map(|(numbers, clocks, words)| {
        let (tiers, attempts, attempts_per_target, total_ms) = numbers;
        let (first_content_ms, idle_ms, answer_ms, backoff_ms, cap_ms) = clocks;
        let (replay, last_error, queue, waits_for_breakers, retry_budget, gate, tokens_per_day) = words;
        Policy {
            tiers,
            attempts,
            attempts_per_target,
            total_ms,
            first_content_ms,
            idle_ms,
            answer_ms,
            backoff_ms,
            cap_ms,
            replay,
            last_error,
            gate,
            queue,
            waits_for_breakers,
            retry_budget,
            tokens_per_day,
        }
    })
}

fn faults() -> impl Strategy<Value = Fault> {
    let status = prop::sample::select(vec![
        400_u16, 401, 402, 403, 404, 408, 409, 413, 422, 429, 429, 429, 500, 500, 502, 503, 503, 504, 529,
    ]);
    let received = prop::sample::select(vec![Received::Never, Received::Perhaps]);
    let pieces = || 0_u8..4;
    prop_oneof![
        6 => (status, prop::option::of(0_u64..4), prop::option::weighted(0.2, any::<bool>()))
            .prop_map(|(status, hint_s, should_retry)| Fault::Status { status, hint_s, should_retry }),
        2 => (prop::sample::select(vec![503_u16, 504]), received)
            .prop_map(|(status, received)| Fault::Envoy { status, received }),
        1 => Just(Fault::ResetBeforeHeaders),
        1 => Just(Fault::ResetAfterHeaders),
        1 => Just(Fault::Silence),
        1 => Just(Fault::ErrorUnderSuccess),
        1 => pieces().prop_map(|pieces| Fault::Truncated { pieces }),
        1 => pieces().prop_map(|pieces| Fault::Broken { pieces }),
        1 => pieces().prop_map(|pieces| Fault::Stalled { pieces }),
        1 => (pieces(), 1_u64..400).prop_map(|(pieces, gap_ms)| Fault::Slow { pieces, gap_ms }),
    ]
}

fn requests() -> impl Strategy<Value = Request> {
    let delay = prop_oneof![3 => 0_u64..50, 1 => 0_u64..1_500];
    (
        0_u64..1_500,
        any::<bool>(),
        prop::bool::weighted(0.1),
        prop::option::weighted(0.15, 0_u64..3_000),
        prop::bool::weighted(0.1),
        prop::collection::vec((delay, faults()), 0..7),
    )
        .prop_map(|(arrives_ms, stream, no_fallback, leaves_ms, declined, faults)| Request {
            arrives_ms,
            stream,
            no_fallback,
            leaves_ms,
            declined,
            faults,
        })
}

pub(super) fn cases() -> impl Strategy<Value = Case> {
    let forced_open = prop::option::weighted(0.2, (0..TARGETS.len(), any::<bool>()));
    let requests = prop::collection::vec(requests(), 1..6);
    (policies(), forced_open, requests, disturbances()).prop_map(
        |(policy, forced_open, requests, disturbances)| Case { policy, forced_open, requests, disturbances },
    )
}

/// Every kind of end, as [`World::run`](super::world::World::run) names them.
pub(super) fn all_ends() -> [&'static str; 9] {
    ["crashed", "answered", "failed", "refused", "timed out", "cut off", "client left", "declined", "held"]
}
