//! Load balancing: sessions stay at one target, and busy or limited targets get fewer requests.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::json;

use super::super::test_support::*;
use super::super::{Ending, RequestStep, Worker};
use super::{ANSWER, CHAT, OK_JSON};
use crate::base::Timestamp;
use crate::config::Config;

const FAILED: [(&str, &str); 2] = [(":status", "500"), ("content-type", "application/json")];

fn config(balance: serde_json::Value) -> Config {
    let targets: Vec<_> = (0..4).map(|index| format!("t{index}")).collect();
    let entries: serde_json::Map<_, _> = targets
        .iter()
        .map(|name| (name.clone(), json!({"provider": "openai", "model": name, "key": {"value": name}})))
        .collect();
    config_with(json!({
        "targets": entries,
        "models": {"chat": {"targets": targets, "balance": balance}},
    }))
}

fn ask_at(worker: &mut Worker, session: Option<&str>, body: &serde_json::Value, now: Timestamp) -> Pass {
    let mut request = loop_request(CHAT, 1);
    if let Some(session) = session {
        request.headers.push(("x-llm-session".to_owned(), session.to_owned()));
    }
    pass_at(worker, request, body.to_string().as_bytes(), 1000, now)
}

fn ask(worker: &mut Worker, session: Option<&str>, body: &serde_json::Value) -> Pass {
    ask_at(worker, session, body, NOW)
}

/// The chosen target. Each target's model has the target's name.
fn target_of(pass: &Pass) -> String {
    assert_eq!(pass.step, RequestStep::Send);
    pass.sent_json()["model"].as_str().unwrap().to_owned()
}

fn answered(worker: &mut Worker, session: Option<&str>, body: &serde_json::Value) -> String {
    let mut pass = ask(worker, session, body);
    pass.answer(worker, OK_JSON, ANSWER);
    pass.exchange.finish(worker, Ending::Complete, NOW);
    target_of(&pass)
}

fn sticky(by: &[&str]) -> Worker {
    worker(config(json!({"strategy": "sticky", "by": by})))
}

#[test]
fn requests_of_one_session_go_to_one_target_for_every_session_key() {
    let plain = json!({"model": "chat"});
    for (by, session, body) in [
        ("session", Some("s"), plain.clone()),
        ("prompt_cache_key", None, json!({"model": "chat", "prompt_cache_key": "s"})),
        ("user", None, json!({"model": "chat", "user": "s"})),
        ("user", None, json!({"model": "chat", "metadata": {"user_id": "s"}})),
        ("conversation", None, json!({"model": "chat", "messages": [{"role": "user", "content": "s"}]})),
    ] {
        let worker = &mut sticky(&[by]);
        let met: BTreeSet<_> = (0..30).map(|_| answered(worker, session, &body)).collect();
        assert_eq!(met.len(), 1, "{by} {body}");
        let met: BTreeSet<_> = (0..60).map(|_| answered(worker, None, &plain)).collect();
        assert_eq!(met.len(), 4, "without a session all targets take part");
    }
}

#[test]
fn the_first_listed_session_key_that_a_request_has_is_used() {
    let worker = &mut sticky(&["session", "user"]);
    let user = |name: &str| json!({"model": "chat", "user": name});
    let of_session: BTreeSet<_> =
        (0..20).map(|index| answered(worker, Some("s"), &user(&index.to_string()))).collect();
    assert_eq!(of_session.len(), 1);
    let of_users: BTreeSet<_> =
        (0..20).map(|index| answered(worker, None, &user(&index.to_string()))).collect();
    assert!(of_users.len() > 1);
    // An empty header counts as no header.
    assert_eq!(answered(worker, Some(" "), &user("7")), answered(worker, None, &user("7")));
}

#[test]
fn a_session_leaves_a_failing_target_and_returns_once_it_recovers() {
    let worker = &mut sticky(&["session"]);
    let body = json!({"model": "chat"});
    let homes: Vec<_> = (0..40).map(|index| answered(worker, Some(&index.to_string()), &body)).collect();
    // The first session's target fails until its breaker opens.
    let lost = homes[0].clone();
    for _ in 0..5 {
        let mut pass = ask(worker, Some("0"), &body);
        assert_eq!(target_of(&pass), lost);
        pass.answer(worker, &FAILED, br#"{"error":{"message":"no"}}"#);
        pass.exchange.finish(worker, Ending::Complete, NOW);
        let orphans = worker.journeys.borrow_mut().expire(NOW.after(Duration::from_secs(60)));
        orphans.iter().for_each(|journey| worker.end(journey, NOW));
    }
    let mut substitutes = BTreeSet::new();
    for (index, home) in homes.iter().enumerate() {
        let met = answered(worker, Some(&index.to_string()), &body);
        assert_eq!(met == *home, *home != lost, "only the sessions of the failed target move");
        if *home == lost {
            substitutes.insert(met);
        }
    }
    assert!(substitutes.len() > 1, "they move to several targets: {substitutes:?}");
    // After the open time the first two requests are probes, whatever their session.
    let later = NOW.after(Duration::from_secs(40));
    for _ in 0..2 {
        let mut pass = ask_at(worker, Some("0"), &body, later);
        assert_eq!(target_of(&pass), lost);
        pass.answer(worker, OK_JSON, ANSWER);
        pass.exchange.finish(worker, Ending::Complete, later);
    }
    // During slow start its sessions return one after the other, and each of them once.
    let mut returned = BTreeSet::new();
    for second in (0..=32).step_by(2) {
        for (index, home) in homes.iter().enumerate().filter(|(_, home)| **home == lost) {
            let now = later.after(Duration::from_secs(second));
            let mut pass = ask_at(worker, Some(&index.to_string()), &body, now);
            let back = target_of(&pass) == *home;
            assert!(back || !returned.contains(&index), "session {index} left again after {second} s");
            if back {
                returned.insert(index);
            }
            pass.answer(worker, OK_JSON, ANSWER);
            pass.exchange.finish(worker, Ending::Complete, now);
        }
        if second == 4 {
            assert!(returned.len() < homes.iter().filter(|home| **home == lost).count());
        }
    }
    assert_eq!(returned.len(), homes.iter().filter(|home| **home == lost).count());
}

#[test]
fn least_pending_spreads_requests_evenly() {
    let worker = &mut worker(config(json!({"strategy": "least_pending"})));
    let body = json!({"model": "chat"});
    // No target responds, so attempts under way add up. Two random choices keep the counts close together.
    let mut counts = [0_u32; 4];
    let mut passes = Vec::new();
    for _ in 0..400 {
        let pass = ask(worker, None, &body);
        let target: usize = target_of(&pass)[1..].parse().unwrap();
        counts[target] += 1;
        passes.push(pass);
    }
    let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
    assert!(most - least <= 4, "{counts:?}");
}

const LIMITED: [(&str, &str); 5] = [
    (":status", "200"),
    ("content-type", "application/json"),
    ("x-ratelimit-limit-requests", "100"),
    ("x-ratelimit-remaining-requests", "0"),
    ("x-ratelimit-reset-requests", "30s"),
];

fn two_tiers(limits: serde_json::Value) -> Config {
    config_with(json!({
        "targets": {
            "first": {"provider": "openai", "model": "first", "key": {"value": "k"}, "limits": limits},
            "second": {"provider": "openai", "model": "second", "key": {"value": "k"}},
        },
        "models": {"chat": {"tiers": [["first"], ["second"]]}},
    }))
}

fn fallback(pass: &Pass) -> Option<&str> {
    pass.response.get("x-llm-fallback")
}

#[test]
fn a_target_with_no_reported_headroom_is_not_asked_until_its_reset() {
    let worker = &mut worker(two_tiers(json!({"max_pending": 1000})));
    let body = json!({"model": "chat"});
    let mut pass = ask(worker, None, &body);
    assert_eq!(target_of(&pass), "first");
    pass.answer(worker, &LIMITED, ANSWER);
    pass.exchange.finish(worker, Ending::Complete, NOW);
    let ask_after = |worker: &mut Worker, seconds: u64| {
        let now = NOW.after(Duration::from_secs(seconds));
        let mut pass = ask_at(worker, None, &body, now);
        pass.answer(worker, OK_JSON, ANSWER);
        pass.exchange.finish(worker, Ending::Complete, now);
        (target_of(&pass), fallback(&pass).map(str::to_owned))
    };
    assert_eq!(ask_after(worker, 29), ("second".to_owned(), Some("headroom".to_owned())));
    assert_eq!(ask_after(worker, 30), ("first".to_owned(), None));
}

#[test]
fn max_pending_counts_attempts_under_way_and_frees_them_when_clients_leave() {
    let worker = &mut worker(two_tiers(json!({"max_pending": 2})));
    let body = json!({"model": "chat"});
    let mut under_way = vec![ask(worker, None, &body), ask(worker, None, &body)];
    let third = ask(worker, None, &body);
    assert_eq!(under_way.iter().map(target_of).collect::<Vec<_>>(), ["first", "first"]);
    assert_eq!(target_of(&third), "second");
    under_way.pop().unwrap().exchange.finish(worker, Ending::ClientGone, NOW);
    assert_eq!(target_of(&ask(worker, None, &body)), "first");
}

#[test]
fn reported_tokens_replace_estimated_ones() {
    let worker = &mut worker(two_tiers(json!({"tokens_per_minute": 3000})));
    let body = json!({"model": "chat", "max_tokens": 2000});
    let mut pass = ask(worker, None, &body);
    assert_eq!(
        target_of(&ask(worker, None, &body)),
        "second",
        "the estimates of both do not fit into the limit"
    );
    let answer = json!({"choices": [{"message": {"content": "hi"}}], "usage": {"prompt_tokens": 3, "completion_tokens": 5}});
    pass.answer(worker, OK_JSON, answer.to_string().as_bytes());
    pass.exchange.finish(worker, Ending::Complete, NOW);
    assert_eq!(target_of(&ask(worker, None, &body)), "first");
}
