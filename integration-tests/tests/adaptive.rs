//! The adaptive `max_pending`: the limit follows what a provider serves.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use integration_tests::client::Request;
use integration_tests::gateway::{Gateway, Shape};
use integration_tests::provider::{Beyond, Script, ScriptedProvider};
use integration_tests::scene::Scene;
use integration_tests::turns;
use serde_json::{Value, json};
use tokio::task::JoinSet;

const GAUGE: &str = "wasmcustom.llm_failsafe_pending_limit;target=gpt-a";

/// Clients that each send the next request when they have the answer to the last one. They are stopped when dropped.
struct Load {
    _clients: JoinSet<()>,
    answered: Arc<AtomicUsize>,
    failed: Arc<AtomicUsize>,
}

impl Load {
    fn start(clients: usize, port: u16) -> Self {
        let (answered, failed) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let mut tasks = JoinSet::new();
        for _ in 0..clients {
            let (answered, failed) = (Arc::clone(&answered), Arc::clone(&failed));
            tasks.spawn(async move {
                loop {
                    let read = Request::chat("chat", false).ask(port).await;
                    let count = if read.status == 200 { &answered } else { &failed };
                    count.fetch_add(1, Ordering::Relaxed);
                    if read.status != 200 {
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                }
            });
        }
        Self { _clients: tasks, answered, failed }
    }

    fn answered(&self) -> usize {
        self.answered.load(Ordering::Relaxed)
    }
}

/// One target with this limit, on two workers.
async fn start(max_pending: Value) -> Scene<1> {
    let retry = json!({"attempts": 4, "queue": {"max_wait": "30s"}});
    Gateway::new(Shape::Loop)
        .configure(&json!({
            "models": {
                "chat": {"tiers": null, "targets": ["gpt-a"], "retry": retry, "when_all_open": "queue"},
            },
            "targets": {"gpt-a": {"limits": {"max_pending": max_pending}}},
            "retry_budget": {"ratio": 10},
        }))
        .concurrency(2)
        .start_with([("only", "openai")])
        .await
}

/// What came of some seconds of load.
#[derive(Debug, Clone, Copy)]
struct Phase {
    capacity: usize,
    answered: usize,
    refused: usize,
    failed: usize,
    took: Duration,
}

const SERVICE: Duration = Duration::from_millis(250);
const FOLLOWS_WITHIN: Duration = Duration::from_secs(6);

impl Phase {
    /// The share of what the provider could have served.
    fn share(self) -> f64 {
        self.answered as f64 / (self.capacity as f64 * self.took.as_secs_f64() / SERVICE.as_secs_f64())
    }
}

/// The provider serves 8 at a time, then 3, then 12, each for 12 seconds.
async fn changing_capacity(max_pending: Value) -> Vec<Phase> {
    let Scene { envoy, providers: [provider], .. } = start(max_pending.clone()).await;
    provider.by_default(Script::usual().delay_headers(SERVICE));
    provider.serve(8, Beyond::Refuse);
    let load = Load::start(30, envoy.port());
    let mut phases = Vec::new();
    for capacity in [8, 3, 12] {
        provider.serve(capacity, Beyond::Refuse);
        let began = Instant::now();
        let counts = |provider: &ScriptedProvider| {
            (load.answered(), provider.turned_away(), load.failed.load(Ordering::Relaxed))
        };
        let before = counts(&provider);
        if max_pending.is_object() {
            // It is there before a fixed time has passed, and it is near.
            let near = |limit: u64| limit as usize <= capacity + 1 && limit as f64 >= capacity as f64 * 0.6;
            tokio::time::sleep(FOLLOWS_WITHIN).await;
            envoy.wait_for_stat(GAUGE, near).await;
        }
        tokio::time::sleep(Duration::from_secs(12).saturating_sub(began.elapsed())).await;
        let after = counts(&provider);
        phases.push(Phase {
            capacity,
            answered: after.0 - before.0,
            refused: after.1 - before.1,
            failed: after.2 - before.2,
            took: began.elapsed(),
        });
    }
    for phase in &phases {
        println!("max_pending {max_pending}: {phase:?}, {:.0} % of the capacity", phase.share() * 100.0);
    }
    phases
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_adaptive_limit_follows_a_changing_capacity_and_is_better_than_any_fixed_one() {
    let _alone = turns::alone().await;
    let (adaptive, low, high) = tokio::join!(
        changing_capacity(json!({"adaptive": true, "max": 64})),
        changing_capacity(json!(3)),
        changing_capacity(json!(12)),
    );
    let sum = |phases: &[Phase], of: fn(&Phase) -> usize| phases.iter().map(of).sum::<usize>();
    let answered = |phases: &[Phase]| sum(phases, |phase| phase.answered);
    let refused = |phases: &[Phase]| sum(phases, |phase| phase.refused);
    // A request has four attempts.
    assert!(sum(&adaptive, |phase| phase.failed) * 100 < answered(&adaptive), "{adaptive:?}");
    for phase in &adaptive {
        assert!(phase.share() > 0.6, "{phase:?}");
        assert!(phase.refused * 4 < phase.answered, "{phase:?}");
    }
    assert!(refused(&adaptive) * 12 < answered(&adaptive), "{adaptive:?}");
    assert!(answered(&adaptive) * 2 > answered(&low) * 3, "a low limit wastes capacity");
    assert!(refused(&adaptive) * 3 < refused(&high) || answered(&high) < answered(&adaptive));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_that_queues_gets_about_what_it_can_serve() {
    let _alone = turns::alone().await;
    let Scene { envoy, providers: [provider], .. } = start(json!({"adaptive": true, "max": 64})).await;
    provider.by_default(Script::usual().delay_headers(SERVICE));
    provider.serve(4, Beyond::Queue);
    let load = Load::start(60, envoy.port());
    // It first finds out that it is too high.
    tokio::time::sleep(Duration::from_secs(5)).await;
    envoy.wait_for_stat(GAUGE, |limit| limit <= 12).await;
    let (before, since) = (load.answered(), Instant::now());
    // Without a limit 60 would be there.
    let (mut limits, mut most) = (Vec::new(), 0);
    while since.elapsed() < Duration::from_secs(10) {
        let limit = envoy.wait_for_stat(GAUGE, |limit| limit > 0).await;
        most = most.max(limit);
        limits.push(limit);
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let share =
        (load.answered() - before) as f64 / (4.0 * since.elapsed().as_secs_f64() / SERVICE.as_secs_f64());
    println!("limits {limits:?}, {:.0} % of the capacity", share * 100.0);
    // At most eight times the capacity, as in the simulation of `src/balance/adaptive_tests.rs`.
    assert!((4..=32).contains(&most), "{limits:?}");
    assert!(share > 0.85, "{share}");
    assert_eq!(load.failed.load(Ordering::Relaxed), 0);
}
