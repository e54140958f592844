//! Whether a target may be used at all: by the terms of the model, the key and the client.

use super::*;

#[test]
fn terms_apply_to_the_first_choice_and_unknown_means_no() {
    for (fallback, good, bad, gate) in [
        (json!({"region": ["eu", "us"]}), json!({"region": "US"}), json!({"region": "asia"}), "residency"),
        (
            json!({"zero_retention": "required"}),
            json!({"zero_retention": true}),
            json!({"zero_retention": false}),
            "zero_retention",
        ),
        (
            json!({"training_opt_out": "required"}),
            json!({"training_opt_out": true}),
            json!({"training_opt_out": false}),
            "training",
        ),
        (json!({"min_quality": 3}), json!({"quality": 3}), json!({"quality": 2}), "quality"),
        (
            json!({"max_price": {"input": 1.0}}),
            json!({"price": {"input": 1.0, "output": 99}}),
            json!({"price": {"input": 1.01, "output": 0}}),
            "price_ceiling",
        ),
        (
            json!({"max_price": {"output": 2}}),
            json!({"price": {"input": 99, "output": 2}}),
            json!({"price": {"input": 0, "output": 2.000_001}}),
            "price_ceiling",
        ),
    ] {
        for name in ["first", "far"] {
            let with = |fields: Value| {
                closed(&config(json!({ name: fields }), fallback.clone()), name, &chat(json!({})), &[])
            };
            assert_eq!(with(good.clone()), NOTHING, "{fallback}");
            assert_eq!(with(bad.clone()), [gate], "{fallback}");
            assert_eq!(with(json!({})), [gate], "unknown is no: {fallback}");
        }
    }
}

#[test]
fn lists_admit_and_exclude() {
    let names = ["first", "other", "near", "far"];
    let admitted = |fallback: Value| {
        let config = config(json!({}), fallback);
        let open = names.into_iter().filter(|name| closed(&config, name, &chat(json!({})), &[]).is_empty());
        open.collect::<Vec<_>>()
    };
    assert_eq!(admitted(json!({"providers": {"allow": ["near"]}})), ["first", "other", "near"]);
    assert_eq!(admitted(json!({"providers": {"deny": ["near"]}})), ["far"]);
    assert_eq!(admitted(json!({"targets": {"allow": ["first", "far"], "deny": ["far"]}})), ["first"]);
}

#[test]
fn the_request_cost_counts_prompt_and_response() {
    let priced =
        json!({"first": {"price": {"input": 1, "output": 10}, "max_output_tokens": 1000, "n": true}});
    let with = |most: f64, needs: &Needs| {
        closed(&config(priced.clone(), json!({"max_request_cost": most})), "first", needs, &[])
    };
    // At most 10 tokens of prompt and 100 of response: at most 0.00101 dollars.
    let small = chat(json!({"max_tokens": 100}));
    assert_eq!(with(0.001_1, &small), NOTHING);
    assert_eq!(with(0.000_9, &small), ["request_cost"]);
    assert_eq!(with(0.001_1, &chat(json!({"max_tokens": 100, "n": 2}))), ["request_cost"]);
    // A response without a requested length may have any.
    assert_eq!(with(0.009, &chat(json!({}))), ["request_cost"]);
    assert_eq!(with(0.011, &chat(json!({}))), NOTHING);
    let unpriced = config(json!({}), json!({"max_request_cost": 100}));
    assert_eq!(closed(&unpriced, "first", &small, &[]), ["request_cost"], "unknown is no");
}

#[test]
fn a_client_can_restrict_further() {
    let regions = json!({"first": {"region": "us"}, "far": {"region": "eu"}});
    let config = config(regions, json!({"region": ["us", "eu"]}));
    let limits = |regions: Option<&[&str]>, no_fallback| ClientLimits {
        regions: regions.map(|regions| regions.iter().map(|region| Rc::from(*region)).collect()),
        no_fallback,
    };
    let closed = |name, limits: &ClientLimits| closed_for(&config, name, &chat(json!({})), &[], limits, NOON);
    assert_eq!(closed("first", &limits(Some(&["eu"]), false)), ["residency"]);
    assert_eq!(closed("far", &limits(Some(&["eu"]), false)), NOTHING);
    assert_eq!(closed("far", &limits(Some(&["mars"]), false)), ["residency"]);
    assert_eq!(closed("other", &limits(Some(&["us"]), false)), ["residency"], "unknown is no");
    assert_eq!(closed("first", &limits(None, true)), NOTHING);
    assert_eq!(closed("far", &limits(None, true)), ["no_fallback"]);
}

#[test]
fn boundaries_of_key_and_model_both_apply() {
    let text = json!({
        "providers": {"p": {"kind": "openai-compatible", "host": "p.test"}},
        "targets": {"us": {"provider": "p", "model": "m", "region": "us", "quality": 5},
                    "eu": {"provider": "p", "model": "m", "region": "eu", "quality": 1}},
        "models": {"chat": {"targets": ["us", "eu"], "fallback": {"min_quality": 2}}},
        "keys": {"k": {"sha256": "ab".repeat(32), "regions": ["eu"], "min_quality": 1}},
    });
    let config = config::load(text.to_string().as_bytes(), &|_| None).unwrap();
    let key = &config.keys.as_ref().unwrap()[0].boundaries;
    let (needs, client) = (chat(json!({})), ClientLimits::default());
    let gates = |key, name| {
        let past = PastAttempts::default();
        let eligibility = Eligibility {
            config: &config,
            model: &config.models()[0],
            key,
            client: &client,
            needs: &needs,
            past,
            estimates: None,
            now: NOON.wall(),
        };
        eligibility.closed_gates(target(&config, name)).map(Gate::name).collect::<Vec<_>>()
    };
    assert_eq!((gates(None, "us"), gates(None, "eu")), (vec![], vec!["quality"]));
    assert_eq!((gates(Some(key), "us"), gates(Some(key), "eu")), (vec!["residency"], vec!["quality"]));
}
