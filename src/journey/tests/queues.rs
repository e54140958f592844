//! Queues: requests that wait until a target is free.

use std::time::Duration;

use serde_json::{Value, json};

use super::super::test_support::*;
use super::super::{Ending, RequestStep, Worker};
use super::{ANSWER, CHAT, OK_JSON, refusal};
use crate::base::Timestamp;
use crate::record::Metric;

const BODY: &[u8] = br#"{"messages":[],"model":"chat"}"#;

fn ms(ms: u64) -> Timestamp {
    NOW.after(Duration::from_millis(ms))
}

fn queueing(queue: Value) -> Worker {
    let model = json!({"targets": ["gpt-a"], "retry": {"attempts": 1, "queue": queue}});
    worker(config_with(json!({"models": {"chat": model}})))
}

/// A new request with this number and priority.
fn arrives(worker: &mut Worker, number: u32, priority: Option<&str>) -> Pass {
    let mut request = loop_request(CHAT, 1);
    request.set_journey(&format!("{number:032x}"));
    if let Some(priority) = priority {
        request.headers.push(("x-llm-priority".to_owned(), priority.to_owned()));
    }
    let mut pass = pass(worker, request, BODY, 1000);
    if pass.step == RequestStep::Hold {
        pass.request.body = BODY.to_vec();
    }
    pass
}

/// The target reports that it is at its rate limit for `seconds`.
fn limited(worker: &mut Worker, seconds: u64) {
    let mut sent = arrives(worker, 0, None);
    assert_eq!(sent.step, RequestStep::Send);
    sent.answer(worker, &[(":status", "429"), ("retry-after", &seconds.to_string())], b"{}");
    sent.exchange.finish(worker, Ending::Complete, NOW);
}

/// Wakes the waiting passes as the host does on a tick. Returns the indices of those that were sent.
fn tick(worker: &mut Worker, passes: &mut [Pass], now: Timestamp) -> Vec<usize> {
    let mut waiting: Vec<_> = (0..passes.len()).filter(|index| passes[*index].exchange.is_held()).collect();
    waiting.sort_by_key(|index| passes[*index].exchange.position());
    waiting.retain(|index| {
        let pass = &mut passes[*index];
        if pass.exchange.due().is_none_or(|due| due > now) {
            return false;
        }
        pass.step = pass.exchange.wake(worker, now, &mut pass.request);
        pass.step == RequestStep::Send
    });
    waiting
}

#[test]
fn queued_requests_leave_in_order_when_the_limit_ends() {
    let worker = &mut queueing(json!({}));
    limited(worker, 2);
    let priorities = [None, Some("low"), Some("high"), None, Some("odd")];
    let mut waiting: Vec<_> =
        (1..).zip(priorities).map(|(number, priority)| arrives(worker, number, priority)).collect();
    assert!(waiting.iter().all(|pass| pass.step == RequestStep::Hold));
    let mut order = Vec::new();
    for at in 1..=30 {
        let gone = tick(worker, &mut waiting, ms(at * 100));
        assert!(at >= 20 || gone.is_empty(), "at {at}");
        order.push(gone);
    }
    order.retain(|gone| !gone.is_empty());
    assert_eq!(
        order,
        [vec![2], vec![0, 3], vec![4, 1]],
        "one, then two, then more; high priority first, low priority last"
    );
    for (index, pass) in waiting.iter_mut().enumerate() {
        assert_eq!(pass.request.get("authorization"), Some("Bearer sk-provider-a"), "{index}");
        assert_eq!(pass.request.body, br#"{"messages":[],"model":"gpt-real"}"#, "{index}");
        assert_eq!(pass.request.get("content-length"), Some("34"), "{index}");
        assert_eq!(pass.request.get("x-llm-priority"), None, "{index}");
        pass.answer(worker, OK_JSON, ANSWER);
        pass.exchange.finish(worker, Ending::Complete, ms(5000));
    }
    assert!(worker.queues.is_empty() && worker.journeys.borrow().is_empty());
    assert_eq!(counted(worker, Metric::Waiting), 0);
}

#[test]
fn a_new_request_does_not_overtake_the_queue() {
    let worker = &mut queueing(json!({}));
    limited(worker, 1);
    let mut waiting = vec![arrives(worker, 1, None), arrives(worker, 2, None)];
    assert_eq!(tick(worker, &mut waiting, ms(1100)), [0]);
    // The target is free, but a new request queues behind the one that still waits.
    let mut late = loop_request(CHAT, 1);
    late.set_journey("00000000000000000000000000000009");
    let late = pass_at(worker, late, BODY, 1000, ms(1150));
    assert_eq!(late.step, RequestStep::Hold);
    waiting.push(late);
    waiting[2].request.body = BODY.to_vec();
    assert_eq!(tick(worker, &mut waiting, ms(1300)), [1, 2]);
}

#[test]
fn a_request_that_cannot_be_served_within_max_wait_is_refused_at_once() {
    let refused_with = |queue: Value, seconds| {
        let worker = &mut queueing(queue);
        limited(worker, seconds);
        let refused = arrives(worker, 1, None);
        let (status, body) = refusal(&refused.step);
        let RequestStep::Answer(answer) = &refused.step else { panic!() };
        let after = answer.headers.iter().find(|(name, _)| *name == "retry-after").unwrap().1.clone();
        assert!(worker.queues.is_empty());
        (status, body["error"]["code"].as_str().unwrap().to_owned(), after)
    };
    assert_eq!(
        refused_with(json!({"max_wait": "2s"}), 3),
        (429, "all_targets_throttled".to_owned(), "3".to_owned())
    );
}

#[test]
fn a_full_queue_refuses_requests_until_a_client_leaves() {
    for queue in [json!({"max_waiting": 2}), json!({"max_waiting_bytes": "1KiB"})] {
        let by_bytes = queue.get("max_waiting_bytes").is_some();
        let worker = &mut queueing(queue);
        limited(worker, 3);
        let most = if by_bytes { 1024 / BODY.len() } else { 2 };
        let mut waiting: Vec<_> = (1..=most as u32).map(|number| arrives(worker, number, None)).collect();
        assert!(waiting.iter().all(|pass| pass.step == RequestStep::Hold));
        let refused = arrives(worker, 900, None);
        let (status, body) = refusal(&refused.step);
        assert_eq!((status, body["error"]["code"].as_str()), (503, Some("queue_full")));
        assert_eq!(counted(worker, Metric::GaveUpQueueFull), 1);
        let mut left = waiting.swap_remove(0);
        left.exchange.finish(worker, Ending::ClientGone, ms(10));
        assert_eq!(worker.queues.len(), most - 1);
        assert_eq!(arrives(worker, 901, None).step, RequestStep::Hold);
    }
}

#[test]
fn a_queued_request_is_refused_when_the_limit_turns_out_to_outlast_its_wait() {
    let worker = &mut queueing(json!({"max_wait": "2s"}));
    limited(worker, 1);
    let mut waiting = vec![arrives(worker, 1, None), arrives(worker, 2, None)];
    assert_eq!(tick(worker, &mut waiting, ms(1100)), [0]);
    waiting[0].answer(worker, &[(":status", "429"), ("retry-after", "7")], b"{}");
    assert_eq!(tick(worker, &mut waiting, ms(1200)), [0_usize; 0]);
    let (status, body) = refusal(&waiting[1].step);
    assert_eq!((status, body["error"]["code"].as_str()), (429, Some("all_targets_throttled")));
    assert_eq!(counted(worker, Metric::QueueTimeouts), 0, "it learns so at once");
    assert!(worker.queues.is_empty());
}

#[test]
fn requests_wait_for_open_breakers_only_if_configured() {
    for (when_all_open, step) in [("refuse", None), ("queue", Some(RequestStep::Hold))] {
        let mut model =
            json!({"targets": ["gpt-a"], "when_all_open": when_all_open, "retry": {"attempts": 1}});
        if when_all_open == "refuse" {
            model["retry"]["queue"] = json!({});
        }
        let breaker = json!({"open": "2s", "consecutive": 1});
        let worker = &mut worker(config_with(json!({"models": {"chat": model}, "breaker": breaker})));
        let mut sent = arrives(worker, 0, None);
        sent.answer(worker, &[(":status", "500")], b"{}");
        let mut next = arrives(worker, 1, None);
        match step {
            None => assert_eq!(refusal(&next.step).0, 503),
            Some(step) => {
                assert_eq!(next.step, step);
                let mut at = 0;
                while next.step == RequestStep::Hold {
                    at += 100;
                    next.step = next.exchange.wake(worker, ms(at), &mut next.request);
                }
                assert_eq!(next.step, RequestStep::Send);
                assert!((2000..2400).contains(&at), "{at}");
            }
        }
    }
}

#[test]
fn a_request_gets_no_higher_priority_than_its_key_allows() {
    let priority = |key: Option<&str>, asked: &str| {
        let keys = key.map(|most| crate::config::load(
            json!({
                "providers": {"p": {"kind": "openai"}}, "targets": {"t": {"provider": "p", "model": "m"}},
                "models": {"m": {"targets": ["t"]}}, "keys": {"k": {"sha256": "0".repeat(64), "priority": most}},
            }).to_string().as_bytes(),
            &|_| None,
        ).unwrap());
        let key = keys.as_ref().map(|config| &config.keys.as_ref().unwrap()[0]);
        let headers = crate::base::HeaderBlock::of(&[("x-llm-priority", asked)]);
        crate::intake::priority(&headers, key).name()
    };
    assert_eq!(
        [priority(None, "high"), priority(None, "low"), priority(None, "x")],
        ["high", "low", "normal"]
    );
    assert_eq!(priority(Some("normal"), "high"), "normal");
    assert_eq!(priority(Some("high"), "high"), "high");
    assert_eq!([priority(Some("low"), "high"), priority(Some("low"), "")], ["low", "low"]);
}

/// A worker whose only target takes `most` requests at a time, with a queue.
fn busy(most: u32) -> Worker {
    let model = json!({"targets": ["gpt-a"], "retry": {"attempts": 1, "queue": {"max_wait": "500ms"}}});
    worker(limiting(most, &json!({"chat": model})))
}

fn limiting(most: u32, models: &Value) -> crate::config::Config {
    let mut config: Value = serde_json::from_str(CONFIG).unwrap();
    config["targets"]["gpt-a"]["limits"] = json!({"max_pending": most});
    config["models"] = models.clone();
    load(&config.to_string())
}

/// Wakes the queued passes as the host does when an attempt has ended. Returns the indices of those that
/// were sent.
fn look(worker: &mut Worker, passes: &mut [Pass], now: Timestamp) -> Vec<usize> {
    if !worker.queues.take_freed() {
        return Vec::new();
    }
    let mut waiting: Vec<_> = (0..passes.len()).filter(|index| passes[*index].exchange.is_held()).collect();
    waiting.sort_by_key(|index| passes[*index].exchange.position());
    waiting.retain(|index| {
        let pass = &mut passes[*index];
        pass.step = pass.exchange.wake_early(worker, now, &mut pass.request);
        pass.step == RequestStep::Send
    });
    waiting
}

#[test]
fn a_request_queued_for_a_busy_target_leaves_when_an_attempt_ends() {
    let worker = &mut busy(2);
    let mut passes: Vec<_> = (1..=6).map(|number| arrives(worker, number, None)).collect();
    let steps: Vec<_> = passes.iter().map(|pass| pass.step == RequestStep::Send).collect();
    assert_eq!(steps, [true, true, false, false, false, false]);
    assert!(!worker.queues.take_freed());
    // A tick finds no free place. Without an early wake-up all would wait for the next tick.
    assert!(tick(worker, &mut passes, ms(100)).is_empty());
    let mut order = Vec::new();
    for (after, leaves) in [(110, false), (120, true), (130, false), (140, true)] {
        // A response and a client that leaves each free exactly one place.
        let done = passes.iter().position(|pass| pass.step == RequestStep::Send).unwrap();
        passes[done].step = RequestStep::Hold;
        if !leaves {
            passes[done].answer(worker, OK_JSON, ANSWER);
        }
        let ending = if leaves { Ending::ClientGone } else { Ending::Complete };
        passes[done].exchange.finish(worker, ending, ms(after));
        order.extend(look(worker, &mut passes, ms(after)));
        assert!(look(worker, &mut passes, ms(after)).is_empty());
    }
    assert_eq!(order, [2, 3, 4, 5]);
    for pass in passes.iter_mut().filter(|pass| pass.step == RequestStep::Send) {
        pass.answer(worker, OK_JSON, ANSWER);
        pass.exchange.finish(worker, Ending::Complete, ms(200));
    }
    assert!(worker.queues.is_empty() && worker.journeys.borrow().is_empty());
    assert!(!worker.queues.take_freed(), "no request waits");
    assert_eq!(counted(worker, Metric::Waiting), 0);
}

#[test]
fn a_request_queued_in_vain_for_a_busy_target_gets_a_retry_after() {
    let worker = &mut busy(1);
    let mut passes: Vec<_> = (1..=2).map(|number| arrives(worker, number, None)).collect();
    assert_eq!(passes[1].step, RequestStep::Hold);
    for at in 1..6 {
        assert!(tick(worker, &mut passes, ms(at * 100)).is_empty());
    }
    let (status, body) = refusal(&passes[1].step);
    assert_eq!((status, &body["error"]["code"]), (429, &json!("all_targets_throttled")));
    let reason = &body["error"]["llm_failsafe"]["targets"][0]["reason"];
    assert_eq!(reason, "max_pending");
    let RequestStep::Answer(answer) = &passes[1].step else { panic!() };
    assert!(answer.headers.iter().any(|(name, _)| *name == "retry-after"));
    assert_eq!(counted(worker, Metric::QueueTimeouts), 1);
}

#[test]
fn requests_of_several_models_for_one_target_leave_in_one_order() {
    let queue = json!({"targets": ["gpt-a"], "retry": {"queue": {}}});
    let worker = &mut worker(limiting(1, &json!({"chat": queue, "other": queue})));
    let models = ["chat", "other", "chat", "chat", "other"];
    let mut passes: Vec<_> = (1..)
        .zip(models)
        .map(|(number, model)| {
            let mut request = loop_request(CHAT, 1);
            request.set_journey(&format!("{number:032x}"));
            let body = format!(r#"{{"messages":[],"model":"{model}"}}"#);
            let mut pass = pass(worker, request, body.as_bytes(), 1000);
            pass.request.body = body.into_bytes();
            pass
        })
        .collect();
    let mut order = Vec::new();
    let mut done = 0;
    for at in 1..5 {
        passes[done].answer(worker, OK_JSON, ANSWER);
        passes[done].exchange.finish(worker, Ending::Complete, ms(at));
        order.extend(look(worker, &mut passes, ms(at)));
        done = *order.last().unwrap();
    }
    assert_eq!(order, [1, 2, 3, 4]);
}

/// The first of two targets is at its limit for three seconds. A request that failed at the second one
/// waits for it.
fn one_queued_for_the_first_target(retry: Value) -> (Worker, Pass) {
    let model = json!({"tiers": [["gpt-a"], ["gpt-b"]], "retry": retry});
    let mut worker = worker(config_with(json!({"models": {"chat": model}})));
    limited(&mut worker, 3);
    let mut failed = arrives(&mut worker, 1, None);
    assert_eq!(failed.request.get("authorization"), Some("Bearer sk-provider-b"));
    failed.answer(&mut worker, &[(":status", "500")], b"{}");
    assert_eq!(failed.response.get("x-llm-retry"), Some("server"));
    failed.exchange.finish(&mut worker, Ending::ClientGone, NOW);
    let mut again = loop_request(CHAT, 2);
    again.set_journey(&format!("{:032x}", 1));
    let again = pass(&mut worker, again, BODY, 1000);
    assert!(again.exchange.is_held());
    (worker, again)
}

#[test]
fn requests_queued_for_one_target_do_not_block_requests_for_another() {
    for retry in [json!({"attempts_per_target": 1}), json!({"attempts_per_target": 1, "queue": {}})] {
        let (mut worker, _waiting) = one_queued_for_the_first_target(retry);
        let next = arrives(&mut worker, 2, None);
        assert_eq!(next.step, RequestStep::Send);
        assert_eq!(next.request.get("authorization"), Some("Bearer sk-provider-b"));
    }
}
