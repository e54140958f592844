//! Requests that wait learn at once when no target can be free in time.

use std::time::Duration;

use serde_json::{Value, json};

use super::super::test_support::*;
use super::super::{Ending, RequestStep, Worker};
use super::{CHAT, refusal};
use crate::base::Timestamp;
use crate::record::Metric;

const BODY: &[u8] = br#"{"messages":[],"model":"chat"}"#;

fn ms(ms: u64) -> Timestamp {
    NOW.after(Duration::from_millis(ms))
}

/// A worker whose only target has one place, and whose breaker opens with the first failure.
fn one_place(model: &Value) -> Worker {
    let mut chat = json!({"targets": ["gpt-a"], "retry": {"attempts": 1, "queue": {"max_wait": "10s"}}});
    for (name, value) in model.as_object().unwrap() {
        chat[name] = value.clone();
    }
    let targets = json!({
        "gpt-a": {"account": "a", "model": "gpt-real", "limits": {"max_pending": 1}},
        "gpt-b": {"account": "b", "model": "gpt-real"},
        "claude": {"account": "c", "model": "claude-real"},
    });
    let breaker = json!({"consecutive": 1, "open": "6s"});
    let models = json!({"chat": chat, "gpt": {"targets": ["gpt-a"]}});
    worker(config_with(json!({"models": models, "targets": targets, "breaker": breaker})))
}

fn arrives(worker: &mut Worker, number: u32, at: Timestamp) -> Pass {
    let mut request = loop_request(CHAT, 1);
    request.set_journey(&format!("{number:032x}"));
    let mut pass = pass_at(worker, request, BODY, 1000, at);
    if pass.step == RequestStep::Hold {
        pass.request.body = BODY.to_vec();
    }
    pass
}

fn fails(worker: &mut Worker, sent: &mut Pass, at: Timestamp) {
    sent.answer(worker, &[(":status", "500")], b"{}");
    sent.exchange.finish(worker, Ending::Complete, at);
}

fn wake(worker: &mut Worker, held: &mut Pass, at: Timestamp) {
    assert!(held.exchange.due().is_some_and(|due| due <= at), "each tick looks");
    held.step = held.exchange.wake(worker, at, &mut held.request);
}

#[test]
fn all_that_wait_are_refused_on_the_tick_after_the_only_breaker_has_opened() {
    let worker = &mut one_place(&json!({}));
    let mut sent = arrives(worker, 0, NOW);
    assert_eq!(sent.step, RequestStep::Send);
    let mut waiting: Vec<_> = (1..=50).map(|number| arrives(worker, number, NOW)).collect();
    for held in &mut waiting {
        wake(worker, held, ms(100));
        assert_eq!(held.step, RequestStep::Hold);
    }
    fails(worker, &mut sent, NOW);
    for held in &mut waiting {
        wake(worker, held, ms(200));
        assert_eq!(refusal(&held.step).0, 503);
        let RequestStep::Answer(answer) = &held.step else { panic!("refused") };
        let retry_after = answer.headers.iter().find(|(name, _)| *name == "retry-after").unwrap();
        assert!((5..=7).contains(&retry_after.1.parse::<u32>().unwrap()), "{retry_after:?}");
    }
    assert!(worker.queues.is_empty());
    assert_eq!(counted(worker, Metric::Waiting), 0);
}

#[test]
fn requests_go_on_waiting_for_a_breaker_that_may_close_in_time_if_the_model_says_so() {
    let worker = &mut one_place(&json!({"when_all_open": "queue"}));
    let mut sent = arrives(worker, 0, NOW);
    let mut early = arrives(worker, 1, NOW);
    fails(worker, &mut sent, NOW);
    wake(worker, &mut early, ms(200));
    assert_eq!(early.step, RequestStep::Hold, "the breaker is half-open before the wait is over");
    for tick in 3..100 {
        wake(worker, &mut early, ms(tick * 100));
        if early.step == RequestStep::Send {
            assert!((50..70).contains(&tick), "{tick}");
            return;
        }
    }
    panic!("the target was never probed");
}

#[test]
fn a_request_in_a_back_off_is_refused_when_its_only_target_opens() {
    let retry = json!({"attempts": 3, "backoff": {"base": "5s", "max": "5s"}});
    let config =
        json!({"models": {"chat": {"targets": ["gpt-a"], "retry": retry}}, "breaker": {"consecutive": 2}});
    let worker = &mut worker(config_with(config));
    let mut one = arrives(worker, 1, NOW);
    let mut other = arrives(worker, 2, NOW);
    fails(worker, &mut one, NOW);
    let mut again = loop_request(CHAT, 2);
    again.set_journey(&format!("{:032x}", 1));
    let mut held = pass_at(worker, again, BODY, 1000, NOW);
    assert_eq!(held.step, RequestStep::Hold);
    wake(worker, &mut held, ms(100));
    assert_eq!(held.step, RequestStep::Hold, "the target is healthy");
    fails(worker, &mut other, NOW);
    wake(worker, &mut held, ms(200));
    assert_eq!(refusal(&held.step).0, 503);
}

#[test]
fn a_request_that_envoy_ends_while_it_waits_is_not_sent_again() {
    let worker = &mut one_place(&json!({}));
    let _sent = arrives(worker, 0, NOW);
    let mut held = arrives(worker, 1, NOW);
    assert_eq!(held.step, RequestStep::Hold);
    // What the inner listener adds at `stream_idle_timeout`.
    let headers = [(":status", "504"), ("x-llm-retry", "crashed"), ("x-llm-retry-wait", "1")];
    held.answer(worker, &headers, b"");
    assert_eq!((held.response.get("x-llm-retry"), held.response.get("x-llm-retry-wait")), (None, None));
    held.exchange.finish(worker, Ending::Complete, NOW);
}
