//! Two workers want the same lease or the last of the same limit. The loser keeps nothing.

use super::*;

/// Two workers that share data. What the first one does, the second one learns with its next tick.
fn two_workers(changes: &Value) -> (Worker, Worker) {
    let shelf: Rc<RefCell<Shelf>> = Rc::default();
    let on = || worker_on(config_with(changes.clone()), Memory::on(Rc::clone(&shelf)));
    (on(), on())
}

#[test]
fn losing_the_race_for_one_limit_returns_the_others_and_reserves_no_budget() {
    let budget = r#"{"tokens_per_day": 98}"#;
    let changes = changes(
        Shape::Loop,
        "targets",
        &json!({"requests_per_minute": 9, "tokens_per_minute": 9000}),
        budget,
        |changes| changes["accounts"]["a"]["limits"] = json!({"requests_per_minute": 1}),
    );
    let (mut fast, mut slow) = two_workers(&changes);
    let won = pass(&mut fast, request(Shape::Loop, 1, 1, "other-key"), BODY, 1000);
    assert_eq!(won.step, RequestStep::Send);
    let lost = pass(&mut slow, request(Shape::Loop, 2, 1, "client-key"), BODY, 1000);
    assert_eq!(refusal(&lost.step).0, 429);
    slow.tick(NOW);
    let expected =
        [("requests_per_minute", 8), ("tokens_per_minute", 9000 - ESTIMATE), ("requests_per_minute", 0)];
    assert_eq!(left(&slow, "gpt-a"), expected);
    let later = NOW.after(Duration::from_secs(70));
    let next = pass_at(&mut slow, request(Shape::Loop, 3, 1, "client-key"), BODY, 1000, later);
    assert_eq!(next.step, RequestStep::Send, "the key's budget is unused");
}

#[test]
fn after_losing_the_race_for_a_limit_the_fallback_reason_is_that_limit() {
    let target = |model: &str, limits: Value| json!({"provider": "openai", "model": model, "limits": limits});
    let changes = json!({
        "targets": {"first": target("one", json!({"requests_per_minute": 1})), "second": target("two", json!({}))},
        "models": {"chat": {"tiers": [["first"], ["second"]]}},
    });
    let (mut fast, mut slow) = two_workers(&changes);
    assert_eq!(pass(&mut fast, loop_request(CHAT, 1), BODY, 1000).step, RequestStep::Send);
    let mut lost = pass(&mut slow, loop_request(CHAT, 1), BODY, 1000);
    lost.answer(&mut slow, &[(":status", "200"), ("content-type", "application/json")], USAGE);
    assert_eq!(lost.response.get("x-llm-target"), Some("second"));
    assert_eq!(lost.response.get("x-llm-fallback"), Some("headroom"));
    assert_eq!(lost.response.get("x-llm-fallback-from"), Some("first"));
}

#[test]
fn losing_the_race_for_a_lease_uses_no_limit() {
    let changes = changes(Shape::Loop, "targets", &json!({"requests_per_minute": 9}), PLENTY, |changes| {
        changes["models"]["chat"]["retry"] = json!({"attempts": 1});
    });
    let (mut fast, mut slow) = two_workers(&changes);
    open(&mut fast);
    slow.tick(half_open());
    let mut probe = pass_at(&mut fast, request(Shape::Loop, 1, 1, "other-key"), BODY, 1000, half_open());
    assert_eq!(probe.step, RequestStep::Send);
    let lost = pass_at(&mut slow, request(Shape::Loop, 2, 1, "client-key"), BODY, 1000, half_open());
    assert_eq!(refusal(&lost.step).0, 503);
    slow.tick(half_open());
    assert_eq!(left(&slow, "gpt-a"), [("requests_per_minute", 9 - 5 - 1)], "five failures and one probe");
    probe.exchange.finish(&mut fast, Ending::ClientGone, half_open());
}

/// Whether the breaker of a target lets one more probe through.
fn may_probe(worker: &Worker, target: &str) -> bool {
    let config = &worker.generation.config;
    let place = config.targets().iter().position(|candidate| &*candidate.name == target).unwrap();
    let scope = Scope::Target(TargetId::from_index(place).unwrap());
    let view = worker.generation.health_view.borrow();
    view.availability(scope, &config.breaker, half_open()) == Availability::Probe
}

#[test]
fn a_request_that_loses_the_race_for_a_limit_returns_the_lease() {
    // Five failures and two probes.
    let limit = json!({"requests_per_minute": 7});
    let changes = changes(Shape::Loop, "targets", &limit, PLENTY, |changes| {
        changes["breaker"] = json!({"probes": 3});
        changes["models"]["chat"]["retry"] = json!({"attempts": 1});
    });
    let (mut fast, mut slow) = two_workers(&changes);
    open(&mut fast);
    slow.tick(half_open());
    let ask = |worker: &mut Worker, number| {
        pass_at(worker, request(Shape::Loop, number, 1, "other-key"), BODY, 1000, half_open())
    };
    let _probes = [1, 2].map(|number| {
        let probe = ask(&mut fast, number);
        assert_eq!(probe.step, RequestStep::Send);
        probe
    });
    let lost = ask(&mut slow, 3);
    assert!(matches!(lost.step, RequestStep::Answer(_)), "the limit is used up");
    slow.tick(half_open());
    assert!(may_probe(&slow, "gpt-a"), "the third lease is free");
}

#[test]
fn a_request_that_loses_the_race_for_the_accounts_lease_returns_the_targets() {
    let changes = changes(Shape::Loop, "targets", &json!({}), PLENTY, |changes| {
        changes["breaker"] = json!({"block": "30s"});
        changes["targets"]["gpt-b"]["account"] = json!("a");
        changes["models"]["chat"] = json!({"tiers": [["gpt-a"], ["gpt-b"]], "retry": {"attempts": 1}});
    });
    let (mut fast, mut slow) = two_workers(&changes);
    let ask = |worker: &mut Worker, number, now| {
        pass_at(worker, request(Shape::Loop, number, 1, "other-key"), BODY, 1000, now)
    };
    let fail = |worker: &mut Worker, mut pass: Pass, status: &str| {
        assert_eq!(pass.step, RequestStep::Send);
        pass.answer(worker, &[(":status", status), ("content-type", "application/json")], b"{}");
        pass.exchange.finish(worker, Ending::Complete, NOW);
    };
    let last = ask(&mut fast, 1, NOW);
    for number in 2..12 {
        let pass = ask(&mut fast, number, NOW);
        fail(&mut fast, pass, "500");
    }
    fail(&mut fast, last, "401");
    fast.tick(half_open());
    slow.tick(half_open());
    assert!(may_probe(&slow, "gpt-a") && may_probe(&slow, "gpt-b"));
    let probe = ask(&mut fast, 12, half_open());
    assert_eq!(probe.step, RequestStep::Send);
    let lost = ask(&mut slow, 13, half_open());
    assert!(matches!(lost.step, RequestStep::Answer(_)), "the account is probed already");
    slow.tick(half_open());
    assert!(!may_probe(&slow, "gpt-a") && may_probe(&slow, "gpt-b"));
}

#[test]
fn a_request_refused_by_the_budget_returns_its_lease() {
    for budget_refuses in [true, false] {
        let budget = if budget_refuses { NOTHING } else { PLENTY };
        let mut setup = Setup::with(Shape::Loop, "targets", &json!({}), budget, |changes| {
            changes["models"]["chat"]["retry"] = json!({"attempts": 1});
        });
        open(&mut setup.worker);
        let refused = setup.ask_at("client-key", half_open());
        assert_eq!(refused.step != RequestStep::Send, budget_refuses);
        let next = setup.ask_at("other-key", half_open());
        assert_eq!(next.step == RequestStep::Send, budget_refuses, "only one probe at a time");
    }
}
