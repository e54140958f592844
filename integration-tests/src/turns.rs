//! Lets a test that measures time or CPU run while no other test of the process runs an Envoy.
//!
//! Each test runs on a thread of its own. A test takes part when it starts its first Envoy, and until its last Envoy has
//! ended. [`alone`] waits until no test takes part and keeps the others waiting meanwhile.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, MutexGuard};
use std::thread::{self, ThreadId};
use std::time::Duration;

const LOOK_EVERY: Duration = Duration::from_millis(20);

#[derive(Default)]
struct State {
    /// How many Envoys each test runs.
    taking_part: HashMap<ThreadId, usize>,
    alone: Option<ThreadId>,
    /// Tests that wait to be alone. No new test takes part meanwhile, or they would wait for ever.
    waiting: usize,
}

static STATE: LazyLock<Mutex<State>> = LazyLock::new(Mutex::default);

fn state() -> MutexGuard<'static, State> {
    STATE.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// The test's thread. `None` where tests run one after the other, and in the demo and the benchmark.
fn test_thread() -> Option<ThreadId> {
    let current = thread::current();
    let is_test = current.name().is_some_and(|name| name != "main" && name != "tokio-runtime-worker");
    is_test.then(|| current.id())
}

/// Held by each running Envoy.
pub struct Turn(Option<ThreadId>);

/// Takes part, once no other test is alone or waits to be.
pub async fn take_part() -> Turn {
    let Some(thread) = test_thread() else { return Turn(None) };
    loop {
        {
            let mut state = state();
            let is_in = state.taking_part.contains_key(&thread) || state.alone == Some(thread);
            if is_in || (state.alone.is_none() && state.waiting == 0) {
                *state.taking_part.entry(thread).or_default() += 1;
                return Turn(Some(thread));
            }
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let Some(thread) = self.0 else { return };
        let mut state = state();
        if let Some(count) = state.taking_part.get_mut(&thread) {
            *count -= 1;
            if *count == 0 {
                state.taking_part.remove(&thread);
            }
        }
    }
}

/// Held by a test that is alone.
pub struct Alone(Option<ThreadId>);

struct Waiting;

impl Drop for Waiting {
    fn drop(&mut self) {
        state().waiting -= 1;
    }
}

/// Waits until no other test runs an Envoy. Call it before the test starts one; the others wait until it is dropped.
///
/// # Panics
/// If this test already runs an Envoy, for which it would wait for ever.
pub async fn alone() -> Alone {
    let Some(thread) = test_thread() else { return Alone(None) };
    let waiting = {
        let mut state = state();
        assert!(!state.taking_part.contains_key(&thread), "this test already runs an Envoy");
        state.waiting += 1;
        Waiting
    };
    loop {
        {
            let mut state = state();
            if state.alone.is_none() && state.taking_part.is_empty() {
                state.alone = Some(thread);
                drop(state);
                drop(waiting);
                return Alone(Some(thread));
            }
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        if self.0.is_some() {
            state().alone = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn run<F: Future<Output = ()>>(future: impl FnOnce() -> F + Send + 'static) -> thread::JoinHandle<()> {
        thread::Builder::new()
            .name("a test".to_owned())
            .spawn(|| {
                tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .unwrap()
                    .block_on(future());
            })
            .unwrap()
    }

    #[test]
    fn a_test_that_is_alone_meets_no_other_and_a_second_envoy_of_a_test_never_waits() {
        let inside = Arc::new(AtomicUsize::new(0));
        let shared = (0..4).map(|_| {
            let inside = Arc::clone(&inside);
            run(async move || {
                for _ in 0..20 {
                    let first = take_part().await;
                    inside.fetch_add(1, Ordering::SeqCst);
                    tokio::time::sleep(Duration::from_millis(2)).await;
                    let second = take_part().await;
                    inside.fetch_sub(1, Ordering::SeqCst);
                    drop((first, second));
                }
            })
        });
        let threads: Vec<_> = shared.collect();
        let alone = (0..2).map(|_| {
            let inside = Arc::clone(&inside);
            run(async move || {
                let _alone = alone().await;
                let _turn = take_part().await;
                for _ in 0..10 {
                    assert_eq!(inside.load(Ordering::SeqCst), 0);
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
            })
        });
        let threads: Vec<_> = threads.into_iter().chain(alone).collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    }
}
