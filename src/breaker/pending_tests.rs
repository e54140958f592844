//! Counts of several workers that share one store.

use super::*;
use crate::base::memory::Memory;
use crate::config;
use std::rc::Rc;

const CONFIG: &str = r#"{
  "providers": {"openai": {"kind": "openai"}},
  "targets": {
    "gpt-a": {"provider": "openai", "model": "gpt-real"},
    "gpt-b": {"provider": "openai", "model": "gpt-real"},
    "gpt-c": {"provider": "openai", "model": "gpt-real"}
  },
  "models": {"chat": {"targets": ["gpt-a", "gpt-b", "gpt-c"]}}
}"#;

const TOKENS: Tokens = Tokens { input: 100, output: 10 };

fn load(json: &str) -> Config {
    config::load(json.as_bytes(), &|_| None).unwrap()
}

fn at(ms: u64) -> Timestamp {
    Timestamp::from_millis(1_000_000 + ms)
}

fn target(index: usize) -> TargetId {
    TargetId::from_index(index).unwrap()
}

#[test]
fn workers_see_each_other_s_attempts_until_they_are_gone() {
    let shelf = Rc::default();
    let config = load(CONFIG);
    let mut stores: Vec<_> = (0..3).map(|_| Memory::on(Rc::clone(&shelf))).collect();
    let mut workers: Vec<_> = (0..3).map(|id| Pending::new(&config, id)).collect();
    for (worker, store) in workers.iter_mut().zip(&mut stores) {
        worker.begin(target(0), TOKENS);
        worker.begin(target(1), TOKENS);
        worker.exchange(store, at(0));
    }
    workers[0].exchange(&mut stores[0], at(100));
    assert_eq!((workers[0].attempts(target(0)), workers[0].attempts(target(2))), (3, 0));
    workers[0].end(target(0));
    assert_eq!(workers[0].attempts(target(0)), 2, "a worker knows its own counts at once");
    assert_eq!(workers[0].unanswered(target(1)), (3, Tokens { input: 300, output: 30 }));
    workers[0].answered(target(1), TOKENS);
    assert_eq!(workers[0].unanswered(target(1)), (2, Tokens { input: 200, output: 20 }));
    assert_eq!(workers[0].attempts(target(1)), 3);
    // The second worker ends an attempt, the third has crashed.
    workers[1].end(target(0));
    workers[1].exchange(&mut stores[1], at(3_500));
    workers[0].exchange(&mut stores[0], at(3_500));
    assert_eq!(workers[0].attempts(target(0)), 0);
    assert_eq!(workers[0].attempts(target(1)), 2);
}

#[test]
fn figures_for_operators_use_the_same_slots() {
    let shelf = Rc::default();
    let config = load(CONFIG);
    let mut stores = [Memory::on(Rc::clone(&shelf)), Memory::on(shelf)];
    let mut workers = [Pending::new(&config, 1), Pending::new(&config, 2)];
    let model = ModelId::from_index(0).unwrap();
    for (ms, worker) in [100_u16, 300].into_iter().zip(&mut workers) {
        worker.first_content(target(1), Duration::from_millis(ms.into()));
        let queue = QueueState { requests: 2, bytes: 10, since: at(ms.into()) };
        worker.set_queues([queue].into_iter());
    }
    for _ in 0..2 {
        for (worker, store) in workers.iter_mut().zip(&mut stores) {
            worker.exchange(store, at(400));
        }
    }
    for worker in &workers {
        assert_eq!(
            worker.first_content_times(target(1)),
            FirstContentTimes { count: 2, sum_ms: 400, longest_ms: 300 }
        );
        assert_eq!(worker.first_content_times(target(0)), FirstContentTimes::default());
        assert_eq!(worker.queue_state(model), QueueState { requests: 4, bytes: 20, since: at(100) });
        assert_eq!(worker.attempts(target(1)), 0);
    }
    workers[0].set_queues([QueueState::default()].into_iter());
    workers[0].exchange(&mut stores[0], at(500));
    workers[1].exchange(&mut stores[1], at(500));
    assert_eq!(workers[1].queue_state(model).requests, 2);
}

#[test]
fn the_slot_of_a_worker_that_is_gone_is_reused() {
    let shelf = Rc::default();
    let config = load(CONFIG);
    for id in 0..50 {
        let mut store = Memory::on(Rc::clone(&shelf));
        Pending::new(&config, id).exchange(&mut store, at(id * 10_000));
    }
    assert_eq!(shelf.borrow().records.len(), 1);
}

#[test]
fn two_workers_that_start_together_get_a_slot_each() {
    let shelf: Rc<std::cell::RefCell<crate::base::memory::Shelf>> = Rc::default();
    let config = load(CONFIG);
    let mut rival = Pending::new(&config, 7);
    let mut rivals = Memory::on(Rc::clone(&shelf));
    let mut store = Memory::on(Rc::clone(&shelf));
    store.before_write = Some(Box::new(move || rival.exchange(&mut rivals, at(0))));
    let mut worker = Pending::new(&config, 8);
    worker.exchange(&mut store, at(0));
    assert_eq!(shelf.borrow().records.len(), 2);
}

#[test]
fn unreadable_records_are_ignored() {
    let shelf: Rc<std::cell::RefCell<crate::base::memory::Shelf>> = Rc::default();
    let mut store = Memory::on(Rc::clone(&shelf));
    let mut cut = Pending::new(&load(CONFIG), 7);
    cut.begin(target(0), TOKENS);
    let mut torn = cut.encode(at(0));
    torn.pop();
    let mut endless = cut.encode(at(0));
    let size = HEADER_BYTES - 4..HEADER_BYTES;
    endless[size].fill(255);
    for (slot, bytes) in [vec![], vec![9; 40], vec![VERSION; 18], torn, endless].into_iter().enumerate() {
        store.write(&key(slot), &bytes, CREATE).unwrap();
    }
    let mut worker = Pending::new(&load(CONFIG), 8);
    worker.begin(target(0), TOKENS);
    worker.exchange(&mut store, at(0));
    assert_eq!(worker.attempts(target(0)), 1);
}

/// A VM that has crashed, and one that has got a new configuration.
#[test]
fn levels_are_those_of_the_vms_that_live() {
    let shelf = Rc::default();
    let config = load(CONFIG);
    let mut stores: Vec<_> = (0..4).map(|_| Memory::on(Rc::clone(&shelf))).collect();
    let mut workers: Vec<_> = (0..4).map(|id| Pending::new(&config, id)).collect();
    let levels = |attempts| Levels { attempts, waiting: 2, journeys: 3, held_bytes: 1 << 40 };
    // The workers 1 and 2 are in one VM, the second with a newer configuration.
    for (ms, number, vm) in [(0, 1, 70), (50, 2, 70), (60, 3, 80)] {
        workers[number].set_levels(vm, levels(u32::try_from(number).unwrap()));
        workers[number].exchange(&mut stores[number], at(ms));
    }
    workers[0].set_levels(60, levels(1_000));
    workers[0].exchange(&mut stores[0], at(100));
    assert_eq!(
        workers[0].levels_of_others(),
        Levels { attempts: 5, waiting: 4, journeys: 6, held_bytes: 2 << 40 }
    );
    // The VM does not count itself, whichever of its slots it reads.
    workers[2].exchange(&mut stores[2], at(100));
    assert_eq!(workers[2].levels_of_others(), levels(3).plus(levels(1_000)));
    workers[3].set_levels(80, levels(9));
    workers[3].exchange(&mut stores[3], at(4_000));
    workers[0].exchange(&mut stores[0], at(4_000));
    assert_eq!(workers[0].levels_of_others(), levels(9), "the others have no heartbeat");
}
