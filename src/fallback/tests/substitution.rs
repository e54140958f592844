//! Which target may replace which, after which failure.

use super::*;
use crate::base::MicroDollars;
use crate::config::Boundaries;

#[test]
fn failures_can_be_kept_at_their_account_or_provider() {
    let config =
        config(json!({}), json!({"leave_account": ["server", "transport"], "leave_provider": ["transport"]}));
    let after = |name, class| closed(&config, name, &chat(json!({})), &[("first", class)]);
    for (class, near, far) in [
        (ErrorClass::Transport, &[][..], &[][..]),
        (ErrorClass::Server, &[], &["leave_provider"]),
        (ErrorClass::RateLimited, &["leave_account"], &["leave_account", "leave_provider"]),
    ] {
        assert_eq!(after("other", class), NOTHING, "the same account");
        assert_eq!(after("near", class), near);
        assert_eq!(after("far", class), far);
    }
    assert_eq!(
        closed(&config, "far", &chat(json!({})), &[]),
        NOTHING,
        "no failure of this request leads there"
    );
    let sealed = self::config(json!({}), json!({"leave_provider": []}));
    assert_eq!(closed(&sealed, "far", &chat(json!({})), &[]), ["leave_provider"], "no failure means none");
    assert_eq!(closed(&sealed, "near", &chat(json!({})), &[]), NOTHING);
}

#[test]
fn a_prompt_that_did_not_fit_needs_a_larger_declared_window() {
    let windows = json!({"first": {"context_window": 32_000}, "other": {"context_window": 32_000},
                         "near": {"context_window": 32_001}});
    let config = config(windows, json!({"context_length": "larger_window"}));
    let after = |name, class| closed(&config, name, &chat(json!({})), &[("first", class)]);
    assert_eq!(after("other", ErrorClass::ContextLength), ["larger_window"]);
    assert_eq!(after("near", ErrorClass::ContextLength), NOTHING);
    assert_eq!(after("far", ErrorClass::ContextLength), ["larger_window"], "unknown is no");
    assert_eq!(after("far", ErrorClass::Server), NOTHING);
}

#[test]
fn a_substitute_may_cost_up_to_the_price_ratio() {
    let prices = |first: Value, far: Value| json!({"first": {"price": first}, "far": {"price": far}});
    let with = |targets: Value| {
        closed(&config(targets, json!({"max_price_ratio": 2})), "far", &chat(json!({})), &[])
    };
    let usual = json!({"input": 1, "output": 4});
    assert_eq!(with(prices(usual.clone(), json!({"input": 2, "output": 8}))), NOTHING);
    assert_eq!(with(prices(usual.clone(), json!({"input": 2.1, "output": 1}))), ["price_ratio"]);
    assert_eq!(with(prices(usual.clone(), json!({"input": 1, "output": 8.1}))), ["price_ratio"]);
    assert_eq!(with(json!({"first": {"price": usual}})), ["price_ratio"], "unknown is no");
    assert_eq!(with(json!({"far": {"price": usual}})), ["price_ratio"], "so is an unknown measure");
    let first = config(json!({}), json!({"max_price_ratio": 2}));
    assert_eq!(closed(&first, "first", &chat(json!({})), &[]), NOTHING, "the first choice is the measure");
}

#[test]
fn a_substitute_is_compared_with_the_tried_target_or_the_cheapest_first_choice() {
    let config = json!({
        "providers": {"p": {"kind": "openai-compatible", "host": "p.test"}},
        "targets": {
            "cheap": {"provider": "p", "model": "m", "price": {"input": 1, "output": 1}},
            "first": {"provider": "p", "model": "m", "price": {"input": 2, "output": 2}},
            "far": {"provider": "p", "model": "m", "price": {"input": 3, "output": 3}},
        },
        "models": {"chat": {"tiers": [["cheap", "first"], ["far"]], "fallback": {"max_price_ratio": 2}}},
    });
    let config = config::load(config.to_string().as_bytes(), &|_| None).unwrap();
    let after = |failed: &[_]| closed(&config, "far", &chat(json!({})), failed);
    assert_eq!(after(&[]), ["price_ratio"]);
    assert_eq!(after(&[("cheap", ErrorClass::Server)]), ["price_ratio"]);
    assert_eq!(after(&[("first", ErrorClass::Server)]), NOTHING);
    assert_eq!(after(&[("far", ErrorClass::Server)]), ["price_ratio"], "a substitute is no measure");
}

#[test]
fn the_billing_owner_must_be_the_same() {
    let owned = |first: Value, far: Value| {
        let config = json!({
            "providers": {"p": {"kind": "openai-compatible", "host": "p.test"}},
            "accounts": {"a": first, "b": far},
            "targets": {
                "first": {"account": "a", "model": "m"}, "same": {"account": "a", "model": "n"},
                "far": {"account": "b", "model": "m"},
            },
            "models": {"chat": {
            "tiers": [["first"], ["same"], ["far"]], "fallback": {"same_billing_owner": true},
        }},
        });
        let config = config::load(config.to_string().as_bytes(), &|_| None).unwrap();
        assert_eq!(
            closed(&config, "same", &chat(json!({})), &[]),
            NOTHING,
            "the same account is the same owner"
        );
        closed(&config, "far", &chat(json!({})), &[])
    };
    let of = |owner: &str| json!({"provider": "p", "billing_owner": owner});
    assert_eq!(owned(of("x"), of("x")), NOTHING);
    assert_eq!(owned(of("x"), of("y")), ["billing_owner"]);
    assert_eq!(owned(of("x"), json!({"provider": "p"})), ["billing_owner"], "unknown is no");
    assert_eq!(
        owned(json!({"provider": "p"}), json!({"provider": "p"})),
        ["billing_owner"],
        "also on both sides"
    );
}

#[test]
fn only_approved_pairs_pass_until_their_last_day() {
    let pairs = json!({"approved": [
        {"from": "first", "to": "other"},
        {"from": "first", "to": "near", "until": "2026-06-08"},
        {"from": "other", "to": "far"},
    ]});
    let config = config(json!({}), pairs);
    let at = |name, ms: u64| {
        let client = ClientLimits::default();
        closed_for(&config, name, &chat(json!({})), &[], &client, Timestamp::from_millis(ms))
    };
    let midnight = 1_780_963_200_000; // 2026-06-09T00:00:00Z
    assert_eq!(at("first", midnight), NOTHING);
    assert_eq!(at("other", midnight), NOTHING);
    assert_eq!(at("near", midnight - 1), NOTHING);
    assert_eq!(at("near", midnight), ["pair_expired"]);
    assert_eq!(at("far", midnight), ["pair_not_approved"], "another first choice was meant");
}

#[test]
fn replacing_several_targets_needs_an_approval_for_each() {
    let pair = |from: &str, to: &str, until: &str| json!({"from": from, "to": to, "until": until});
    let mut config: Value = config_json(
        json!({}),
        json!({"approved": [
            pair("first", "near", "2026-06-08"), pair("other", "near", "2026-06-09"),
        pair("first", "far", "2026-12-31"),
        ]}),
    );
    config["models"]["chat"]["tiers"] = json!([["first", "other"], ["near"], ["far"]]);
    let config = load(&config);
    let at = |name, ms: u64, failed: &[(&str, ErrorClass)]| {
        let client = ClientLimits::default();
        closed_for(&config, name, &chat(json!({})), failed, &client, Timestamp::from_millis(ms))
    };
    let midnight = 1_780_963_200_000; // 2026-06-09T00:00:00Z
    let (first, other) = (("first", ErrorClass::Server), ("other", ErrorClass::Server));
    // No attempt was made: it would replace either first choice.
    assert_eq!(at("near", midnight - 1, &[]), NOTHING);
    assert_eq!(at("near", midnight, &[]), ["pair_expired"]);
    assert_eq!(at("far", midnight, &[]), ["pair_not_approved"]);
    // The first choice that it replaces is known.
    assert_eq!(at("near", midnight, &[first]), ["pair_expired"]);
    assert_eq!(at("near", midnight, &[other]), NOTHING);
    assert_eq!(at("far", midnight, &[first]), NOTHING);
    assert_eq!(at("far", midnight, &[other]), ["pair_not_approved"]);
}

#[test]
fn shadow_mode_ignores_the_model_s_rules_but_not_the_key_s_or_the_client_s() {
    let eu = json!({"region": "eu"});
    let config = config(json!({"first": eu, "other": {}}), json!({"region": ["us"], "mode": "shadow"}));
    let model = &config.models()[0];
    let serves = |name: &str, key: Option<&Boundaries>, client: &ClientLimits| {
        let needs = &chat(json!({}));
        let (config, past) = (&config, PastAttempts::default());
        let eligibility =
            Eligibility { config, model, key, client, needs, past, estimates: None, now: NOON.wall() };
        eligibility.admits_without_fallback_rules(target(config, name))
    };
    let anywhere = ClientLimits::default();
    let within =
        |region: &str| ClientLimits { regions: Some(vec![Rc::from(region)]), ..ClientLimits::default() };
    let key = |region: &str| Boundaries { regions: Some(vec![Rc::from(region)]), ..Boundaries::default() };
    assert!(serves("first", None, &anywhere), "the model alone would keep it out");
    assert!(!serves("far", None, &anywhere), "no first choice");
    assert!(serves("first", Some(&key("eu")), &within("eu")));
    assert!(!serves("first", Some(&key("us")), &anywhere));
    assert!(!serves("first", None, &within("us")));
    let dear = Boundaries { max_request_cost: Some(MicroDollars::default()), ..Boundaries::default() };
    assert!(!serves("first", Some(&dear), &anywhere), "an unknown price exceeds any ceiling");
}

#[test]
fn in_shadow_mode_a_refusal_speaks_only_of_what_keeps_the_target_out() {
    let rules = json!({"region": ["us"], "zero_retention": "required", "mode": "shadow"});
    let config = config(json!({"first": {"region": "eu"}, "other": {}}), rules);
    let needs = &chat(json!({"tools": [{"type": "function"}]}));
    let key = Boundaries { regions: Some(vec![Rc::from("de")]), ..Boundaries::default() };
    let client = &ClientLimits { regions: Some(vec![Rc::from("fr")]), ..ClientLimits::default() };
    let eligibility = Eligibility {
        config: &config,
        model: &config.models()[0],
        key: Some(&key),
        client,
        needs,
        past: PastAttempts::default(),
        estimates: None,
        now: NOON.wall(),
    };
    let first = target(&config, "first");
    let refusals: Vec<_> = eligibility.refusals(first).map(|it| (it.gate.name(), it.needed)).collect();
    assert_eq!(refusals, [("residency", "de and fr".to_owned())]);
    let advice: Vec<_> = eligibility.advice(first).collect();
    assert_eq!(advice.len(), 1, "{advice:?}");
    assert!(
        advice[0].contains("`regions` of the client's key") && !advice[0].contains("models."),
        "{advice:?}"
    );
    let would: Vec<_> = eligibility.violations(first).map(|it| (it.gate.name(), it.needed)).collect();
    let required = ("zero_retention", "required".to_owned());
    assert_eq!(would[..2], [("residency", "us and de and fr".to_owned()), required]);
    let advice: Vec<_> = eligibility.advice(target(&config, "far")).collect();
    let rule = format!("`models.{}.fallback.mode: shadow`", config.models()[0].name);
    assert_eq!(advice, [format!("`far` is a substitute, and {rule} uses none.")]);
}
