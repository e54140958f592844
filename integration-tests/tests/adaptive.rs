//! The adaptive `max_pending`: the limit follows what a provider serves. All targets are compared behind the same Envoy at the
//! same time, and by counts, so that the speed of the machine does not matter.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use integration_tests::SOON;
use integration_tests::client::Request;
use integration_tests::gateway::{Gateway, Shape, compatible};
use integration_tests::provider::{Beyond, Script, ScriptedProvider};
use integration_tests::scene::Scene;
use integration_tests::turns;
use serde_json::{Map, Value, json};
use tokio::task::JoinSet;

const GAUGE: &str = "wasmcustom.llm_failsafe_pending_limit;target=adaptive";
const LOOK_EVERY: Duration = Duration::from_millis(20);
const SERVICE: Duration = Duration::from_millis(250);

/// Clients that each send the next request when they have the answer to the last one. They are stopped when dropped.
struct Load {
    _clients: JoinSet<()>,
    answered: Arc<AtomicUsize>,
    failed: Arc<AtomicUsize>,
}

impl Load {
    fn start(clients: usize, port: u16, model: &'static str) -> Self {
        let (answered, failed) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let mut tasks = JoinSet::new();
        for _ in 0..clients {
            let (answered, failed) = (Arc::clone(&answered), Arc::clone(&failed));
            tasks.spawn(async move {
                loop {
                    let read = Request::chat(model, false).ask(port).await;
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

    fn failed(&self) -> usize {
        self.failed.load(Ordering::Relaxed)
    }

    async fn wait_for_answers(&self, count: usize) {
        let deadline = Instant::now() + SOON;
        while self.answered() < count {
            assert!(Instant::now() < deadline, "{} of {count} answers", self.answered());
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

/// A provider for each of these names, with a target and a model of the same name, on two workers. The limit of a target is
/// its `max_pending`; `null` is none.
async fn start<const N: usize>(limits: [(&'static str, Value); N]) -> Scene<N> {
    let of_each = |of: &dyn Fn(&str, &Value) -> Value| -> Value {
        limits.iter().map(|(name, limit)| ((*name).to_owned(), of(name, limit))).collect::<Map<_, _>>().into()
    };
    let retry = json!({"attempts": 4, "queue": {"max_wait": "30s"}});
    let target = |name: &str, limit: &Value| {
        let limits = if limit.is_null() { json!({}) } else { json!({"max_pending": limit}) };
        json!({"provider": name, "key": {"value": "sk-a"}, "model": "m", "limits": limits})
    };
    let scene = Gateway::new(Shape::Loop)
        .plugin(&json!({
            "providers": of_each(&|name, _| compatible(name)),
            "targets": of_each(&target),
            "models": of_each(&|name, _| json!({"targets": [name], "retry": retry, "when_all_open": "queue"})),
            "retry_budget": {"ratio": 10},
            // As docs/configuration.md says for targets that refuse when they are busy. Otherwise five refusals that come
            // together open the breaker, and they do on a slow machine.
            "breaker": {"consecutive": 20},
        }))
        .concurrency(2)
        .start_with(limits.each_ref().map(|(name, _)| *name))
        .await;
    for provider in &scene.providers {
        provider.by_default(Script::usual().delay_headers(SERVICE));
    }
    scene
}

/// What a target did in a part of the time.
#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    answered: usize,
    refused: usize,
    failed: usize,
}

impl Counts {
    fn of(load: &Load, provider: &ScriptedProvider) -> Self {
        Self { answered: load.answered(), refused: provider.turned_away(), failed: load.failed() }
    }

    fn since(self, before: Self) -> Self {
        Self {
            answered: self.answered - before.answered,
            refused: self.refused - before.refused,
            failed: self.failed - before.failed,
        }
    }
}

/// Three targets get 30 clients each, and their providers serve 8 at a time, then 3, then 12. The fourth gets as many clients
/// as a provider serves: nobody waits there and nobody is refused, so it shows what this machine can do at best.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_adaptive_limit_follows_a_changing_capacity_and_is_better_than_any_fixed_one() {
    /// So often a provider serves as many as it can in a phase, at best: for 12 seconds.
    const ROUNDS: usize = 48;
    /// The limit follows while a provider does that so often: for 6 seconds.
    const FOLLOWS_WITHIN: usize = 24;
    const NAMES: [&str; 3] = ["adaptive", "low", "high"];
    let limits = [json!({"adaptive": true, "max": 64}), json!(3), json!(12), Value::Null];
    let [adaptive, low, high, none] = limits;
    let Scene { envoy, providers, .. } =
        start([("adaptive", adaptive), ("low", low), ("high", high), ("best", none)]).await;
    let serve = |capacity| {
        for provider in &providers[..NAMES.len()] {
            provider.serve(capacity, Beyond::Refuse);
        }
    };
    serve(8);
    let loads = NAMES.map(|name| Load::start(30, envoy.port(), name));
    let counts = || [0, 1, 2].map(|index| Counts::of(&loads[index], &providers[index]));
    let since =
        |after: [Counts; 3], before: [Counts; 3]| [0, 1, 2].map(|index| after[index].since(before[index]));
    let first = counts();
    for capacity in [8, 3, 12] {
        serve(capacity);
        let (before, best) = (counts(), Load::start(capacity, envoy.port(), "best"));
        let near = |limit: u64| limit as usize <= capacity + 1 && limit as usize * 10 >= capacity * 6;
        envoy.wait_for_stat(GAUGE, near).await;
        let rounds = best.answered() / capacity;
        assert!(rounds < FOLLOWS_WITHIN, "the limit follows to {capacity} after {rounds} rounds");
        best.wait_for_answers(ROUNDS * capacity).await;
        let phase = since(counts(), before);
        let best = best.answered();
        for (name, counts) in NAMES.iter().zip(phase) {
            let share = counts.answered * 100 / best;
            println!("{name} at {capacity}: {counts:?}, {share} % of {best}; followed after {rounds} rounds");
        }
        let [adaptive, ..] = phase;
        assert!(adaptive.answered * 10 > best * 6, "at {capacity}: {adaptive:?} of {best}");
        assert!(adaptive.refused * 4 < adaptive.answered, "at {capacity}: {adaptive:?}");
    }
    let [adaptive, low, high] = since(counts(), first);
    // A request has four attempts.
    assert!(adaptive.failed * 100 < adaptive.answered, "{adaptive:?}");
    assert!(adaptive.refused * 12 < adaptive.answered, "{adaptive:?}");
    assert!(adaptive.answered * 2 > low.answered * 3, "a low limit wastes capacity: {adaptive:?} {low:?}");
    assert!(
        adaptive.refused * 3 < high.refused || high.answered < adaptive.answered,
        "{adaptive:?} {high:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_that_queues_gets_about_what_it_can_serve() {
    const CAPACITY: usize = 4;
    /// At most eight times the capacity, as in the simulation of `src/balance/adaptive_tests.rs`.
    const MOST: u64 = 8 * CAPACITY as u64;
    /// So often the provider serves as many as it can while this is measured.
    const ROUNDS: usize = 40;
    let _alone = turns::alone().await;
    let Scene { envoy, providers: [provider, _best], .. } =
        start([("adaptive", json!({"adaptive": true, "max": 64})), ("best", Value::Null)]).await;
    provider.serve(CAPACITY, Beyond::Queue);
    // It learns what is usual from a client that never waits. A busy machine may be slow for the first requests.
    Load::start(1, envoy.port(), "adaptive").wait_for_answers(20).await;
    let load = Load::start(60, envoy.port(), "adaptive");
    // It first finds out that it is too high.
    load.wait_for_answers(20 * CAPACITY).await;
    envoy.wait_for_stat(GAUGE, |limit| limit <= MOST).await;
    let (before, best) = (load.answered(), Load::start(CAPACITY, envoy.port(), "best"));
    let mut limits = Vec::new();
    // Without a limit 60 would be there.
    for round in 1..=ROUNDS {
        best.wait_for_answers(round * CAPACITY).await;
        limits.push(envoy.wait_for_stat(GAUGE, |limit| limit > 0).await);
    }
    let (answered, best) = (load.answered() - before, best.answered());
    println!("limits {limits:?}, {} % of {best}", answered * 100 / best);
    assert!(limits.iter().all(|limit| (CAPACITY as u64..=MOST).contains(limit)), "{limits:?}");
    assert!(answered * 100 > best * 85, "{answered} of {best}");
    assert_eq!(load.failed(), 0);
}
