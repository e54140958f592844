//! Clients that leave before the target has begun to answer: alone they prove nothing, together they have it
//! probed.

use std::rc::Rc;
use std::time::Duration;

use serde_json::json;
use sha2::{Digest, Sha256};

use super::super::test_support::*;
use super::super::{AlarmStep, Ending, Worker};
use super::{CHAT, OK_STREAM};
use crate::base::{HeaderBlock, HeaderSink, TargetId, Timestamp};
use crate::breaker::{Command, Scope};
use crate::record::Metric;

const ROLE: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\"}}]}\n\n";
const CONTENT: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hi\"}}]}\n\n";
const ERROR: &[(&str, &str)] = &[(":status", "400"), ("content-type", "application/json")];

fn ms(millis: u64) -> Timestamp {
    NOW.after(Duration::from_millis(millis))
}

/// `gpt-a`, then `gpt-b`.
fn two_targets(with_keys: bool) -> Worker {
    let mut config = json!({"models": {"chat": {"tiers": [["gpt-a"], ["gpt-b"]]}}});
    if with_keys {
        let hash =
            |key: &str| -> String { Sha256::digest(key).iter().map(|byte| format!("{byte:02x}")).collect() };
        config["keys"] = json!({"one": {"sha256": hash("one")}, "two": {"sha256": hash("two")}});
    }
    worker(config_with(config))
}

/// A request with this header. Each has a journey of its own.
fn send(worker: &mut Worker, nth: u8, (name, value): (&str, &str), now: Timestamp) -> Pass {
    let mut request = loop_request(CHAT, 1);
    request.set("x-llm-journey", &format!("{}{nth:02x}", &JOURNEY[..JOURNEY.len() - 2]));
    request.set(name, value);
    pass_at(worker, request, br#"{"model":"chat","stream":true}"#, 99, now)
}

fn receive(worker: &mut Worker, pass: &mut Pass, headers: &[(&str, &str)], body: &str, now: Timestamp) {
    pass.response = FakeWire::new(headers);
    let block = HeaderBlock::of(headers);
    let origin = || Origin::Upstream;
    let _ = pass.exchange.response_headers(worker, block, false, now, origin, &mut pass.response);
    if !body.is_empty() {
        pass.response.body.extend_from_slice(body.as_bytes());
        let _ = pass.exchange.response_body(worker, body.len(), false, now, &mut pass.response);
    }
}

fn is_at_first(pass: &Pass) -> bool {
    pass.request.get("authorization") == Some("Bearer sk-provider-a")
}

/// A key, or without keys an address.
const ONE: [(&str, &str); 2] = [("authorization", "Bearer one"), ("x-envoy-external-address", "192.0.2.1")];
const TWO: [(&str, &str); 2] = [("authorization", "Bearer two"), ("x-envoy-external-address", "192.0.2.2")];

/// Sends five requests of two clients, and ends each. Returns whether two further ones go to the first target.
fn after(worker: &mut Worker, who: usize, mut end: impl FnMut(&mut Worker, &mut Pass, u8)) -> [bool; 2] {
    for nth in 0..5 {
        let mut pass = send(worker, nth, [ONE, TWO][usize::from(nth % 2)][who], NOW);
        end(worker, &mut pass, nth);
    }
    [5, 6].map(|nth| is_at_first(&send(worker, nth, ONE[who], ms(9_000))))
}

fn leave(worker: &mut Worker, pass: &mut Pass, now: Timestamp) {
    pass.exchange.finish(worker, Ending::ClientGone, now);
}

#[test]
fn a_silent_target_gets_one_probe_at_a_time_until_an_answer_begins() {
    for (who, with_keys) in [(0, true), (1, false)] {
        let worker = &mut two_targets(with_keys);
        assert_eq!(after(worker, who, |worker, pass, _| leave(worker, pass, ms(1_000))), [true, false]);
        assert_eq!(counted(worker, Metric::BreakerOpened), 1);

        let worker = &mut two_targets(with_keys);
        for nth in 0..5 {
            let mut pass = send(worker, nth, [ONE, TWO][usize::from(nth % 2)][who], NOW);
            leave(worker, &mut pass, ms(1_000));
        }
        let mut probe = send(worker, 10, ONE[who], ms(2_000));
        leave(worker, &mut probe, ms(4_000));
        let mut probe = send(worker, 11, TWO[who], ms(4_000));
        assert!(is_at_first(&probe) && !is_at_first(&send(worker, 12, ONE[who], ms(4_000))));
        receive(worker, &mut probe, OK_STREAM, CONTENT, ms(5_000));
        for nth in 13..16 {
            assert!(is_at_first(&send(worker, nth, ONE[who], ms(5_000))), "it answers again");
        }
        assert_eq!(counted(worker, Metric::BreakerClosed), 1);
    }
}

#[test]
fn what_proves_nothing_changes_nothing() {
    type End = fn(&mut Worker, &mut Pass, u8);
    let cases: [(&str, End); 10] = [
        ("the worker was stopped meanwhile", |worker, pass, _| {
            pass.exchange.excuse(Duration::from_secs(3), ms(4_000));
            leave(worker, pass, ms(4_000));
        }),
        ("the worker was stopped, and has not had a tick since", |worker, pass, _| {
            let _ = worker.tick(ms(100));
            leave(worker, pass, ms(4_000));
        }),
        ("too soon", |worker, pass, _| leave(worker, pass, ms(999))),
        ("one too soon", |worker, pass, nth| leave(worker, pass, ms(if nth == 2 { 999 } else { 1_000 }))),
        ("a byte has come each time", |worker, pass, _| {
            receive(worker, pass, OK_STREAM, ROLE, ms(500));
            leave(worker, pass, ms(2_000));
        }),
        ("a byte has come once", |worker, pass, nth| {
            if nth == 3 {
                receive(worker, pass, OK_STREAM, ":\n\n", ms(500));
            }
            leave(worker, pass, ms(2_000));
        }),
        ("an answer began once", |worker, pass, nth| {
            if nth == 3 {
                receive(worker, pass, OK_STREAM, CONTENT, ms(500));
            }
            leave(worker, pass, ms(2_000));
        }),
        ("an error came once", |worker, pass, nth| {
            if nth == 3 {
                receive(worker, pass, ERROR, "{\"error\":{\"message\":\"no\"}}", ms(500));
                pass.exchange.finish(worker, Ending::Complete, ms(500));
            }
            leave(worker, pass, ms(2_000));
        }),
        ("the provider hung up once", |worker, pass, nth| {
            let ending = if nth == 3 { Ending::UpstreamGone } else { Ending::ClientGone };
            pass.exchange.finish(worker, ending, ms(2_000));
        }),
        ("four", |worker, pass, nth| {
            if nth > 0 {
                leave(worker, pass, ms(2_000));
            }
        }),
    ];
    for (what, end) in cases {
        for (who, with_keys) in [(0, true), (1, false)] {
            assert_eq!(after(&mut two_targets(with_keys), who, end), [true, true], "{what} {with_keys}");
        }
    }
}

#[test]
fn headers_alone_are_no_answer() {
    let worker = &mut two_targets(true);
    let probed = after(worker, 0, |worker, pass, _| {
        receive(worker, pass, OK_STREAM, "", ms(500));
        leave(worker, pass, ms(1_000));
    });
    assert_eq!(probed, [true, false]);
}

#[test]
fn an_attempt_that_is_cut_by_the_client_s_patience_is_evidence_too() {
    let worker = &mut two_targets(false);
    for nth in 0..5 {
        let client = format!("192.0.2.{nth}");
        let mut request = loop_request(CHAT, 1);
        request.set("x-llm-journey", &format!("{}{nth:02x}", &JOURNEY[..JOURNEY.len() - 2]));
        request.set("x-envoy-external-address", &client);
        request.set("x-llm-timeout", "8");
        let mut pass = pass_at(worker, request, br#"{"model":"chat"}"#, 99, NOW);
        assert!(is_at_first(&pass));
        assert!(matches!(pass.exchange.alarm(worker, ms(4_000)), AlarmStep::Answer(_)));
        pass.exchange.finish(worker, Ending::Complete, ms(4_000));
    }
    let further = [5, 6].map(|nth| is_at_first(&send(worker, nth, ONE[1], ms(5_000))));
    assert_eq!(further, [true, false]);
}

#[test]
fn one_client_never_causes_it_whatever_it_sends() {
    for (with_keys, name, values) in [
        (true, "authorization", ["Bearer one", "Bearer one", "Bearer one"]),
        // With keys, addresses do not count.
        (true, "x-envoy-external-address", ["192.0.2.1", "192.0.2.2", "192.0.2.3"]),
        // A client may write into this header whatever it likes.
        (false, "x-forwarded-for", ["192.0.2.1", "192.0.2.2", "192.0.2.3"]),
        (false, "x-envoy-external-address", ["2001:db8::1", "2001:db8::2", "2001:db8::3:4"]),
        (false, "x-envoy-external-address", ["a", "b", "c"]),
    ] {
        let worker = &mut two_targets(with_keys);
        for nth in 0..30_u8 {
            let mut request = loop_request(CHAT, 1);
            request.set("x-llm-journey", &format!("{}{nth:02x}", &JOURNEY[..JOURNEY.len() - 2]));
            request.set("authorization", "Bearer one");
            request.set(name, values[usize::from(nth % 3)]);
            let mut pass = pass_at(worker, request, br#"{"model":"chat"}"#, 99, NOW);
            assert!(is_at_first(&pass), "{name} {values:?} {nth}");
            leave(worker, &mut pass, ms(3_000));
        }
    }
}

#[test]
fn without_keys_it_also_takes_a_healthy_fallback() {
    let alone = json!({"chat": {"targets": ["gpt-a"]}});
    let two = json!({"chat": {"tiers": [["gpt-a"], ["gpt-b"]]}});
    // In an ordinary listener the next request goes elsewhere, though this one could not.
    for (models, retry_loop, probed) in [(&alone, true, false), (&two, true, true), (&two, false, true)] {
        let config = config_with(json!({"models": models, "retry_loop": retry_loop}));
        let worker = &mut worker(config);
        let further = after(worker, 1, |worker, pass, _| leave(worker, pass, ms(1_000)));
        assert_eq!(further, [true, !probed], "{models} {retry_loop}");
    }
    let worker = &mut worker(config_with(json!({"models": two})));
    let generation = Rc::clone(&worker.generation);
    let spare = generation.config.targets().iter().position(|target| &*target.name == "gpt-b").unwrap();
    let spare = Scope::Target(TargetId::from_index(spare).unwrap());
    generation.health_view.borrow_mut().command(worker.effects().store, spare, Command::Drain, NOW);
    let further = after(worker, 1, |worker, pass, _| leave(worker, pass, ms(1_000)));
    assert_eq!(further, [true, true], "the fallback gets no requests");
}

#[test]
fn it_can_be_switched_off() {
    let models = json!({"chat": {"tiers": [["gpt-a"], ["gpt-b"]]}});
    let worker = &mut worker(config_with(json!({"models": models, "breaker": {"unanswered": 0}})));
    assert_eq!(after(worker, 1, |worker, pass, _| leave(worker, pass, ms(9_000))), [true, true]);
}
