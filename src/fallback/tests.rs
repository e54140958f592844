//! What each gate lets through and what not, and what holds for all of them together.

use std::rc::Rc;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::base::{Endpoint, ErrorClass, TargetId, Timestamp};
use crate::config::{self, Config};
use crate::provider::Capability;
use crate::request::{Facts, Scanner};

/// A Monday in 2026, at noon.
const NOON: Timestamp = Timestamp::from_millis(1_780_920_000_000);

/// `first` and `other` at one provider and account, `far` at another of each. Nothing is vouched for.
fn config(targets: Value, fallback: Value) -> Config {
    let mut config = json!({
        "providers": {
            "near": {"kind": "openai-compatible", "host": "near.test"},
            "far": {"kind": "openai-compatible", "host": "far.test"},
        },
        "accounts": {"a": {"provider": "near"}, "b": {"provider": "far"}, "c": {"provider": "near"}},
        "targets": {
            "first": {"account": "a", "model": "m"},
            "other": {"account": "a", "model": "m"},
            "near": {"account": "c", "model": "m"},
            "far": {"account": "b", "model": "m"},
        },
        "models": {"chat": {"tiers": [["first"], ["other"], ["near"], ["far"]], "fallback": fallback}},
    });
    for (name, fields) in targets.as_object().unwrap() {
        for (field, value) in fields.as_object().unwrap() {
            config["targets"][name][field] = value.clone();
        }
    }
    config::load(config.to_string().as_bytes(), &|_| None).unwrap_or_else(|mistakes| panic!("{mistakes}"))
}

fn target(config: &Config, name: &str) -> TargetId {
    let index = config.targets().iter().position(|target| &*target.name == name).unwrap();
    TargetId::from_index(index).unwrap()
}

fn facts(body: &Value) -> Facts {
    let mut scanner = Scanner::new();
    scanner.feed(body.to_string().as_bytes()).unwrap();
    scanner.finish().unwrap()
}

fn chat(extra: Value) -> Needs {
    let mut body = json!({"model": "chat", "messages": [{"role": "user", "content": "hello"}]});
    for (name, value) in extra.as_object().unwrap() {
        body[name] = value.clone();
    }
    Needs::of(&facts(&body), Endpoint::Chat)
}

/// The gates that keep `name` from a request with these needs, after these failures.
fn closed(config: &Config, name: &str, needs: &Needs, failed: &[(&str, ErrorClass)]) -> Vec<&'static str> {
    closed_for(config, name, needs, failed, &ClientLimits::default(), NOON)
}

fn closed_for(
    config: &Config,
    name: &str,
    needs: &Needs,
    failed: &[(&str, ErrorClass)],
    client: &ClientLimits,
    now: Timestamp,
) -> Vec<&'static str> {
    let past = Past::of(failed.iter().map(|(name, class)| (target(config, name), Some(*class))));
    let case =
        Case { config, model: &config.models()[0], key: None, client, needs, past, estimates: None, now };
    let id = target(config, name);
    let gates: Vec<_> = case.closed_gates(id).map(Gate::name).collect();
    assert_eq!(case.admits(id), gates.is_empty());
    assert_eq!(case.first_gate(id).map(Gate::name), gates.first().copied());
    // Whatever is closed can be told in words.
    let told: Vec<_> = case.violations(id).map(|violation| violation.gate.name()).collect();
    assert_eq!(told, gates);
    assert!(case.violations(id).all(|told| !told.needed.is_empty() && !told.offered.is_empty()));
    gates
}

const NOTHING: [&str; 0] = [];

#[test]
fn every_gate_has_its_own_name() {
    let mut names: Vec<_> = Gate::all().map(Gate::name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), Gate::all().count());
}

#[test]
fn plain_chat_passes_where_nothing_is_declared() {
    let config = config(json!({}), json!({}));
    let needs =
        chat(json!({"max_tokens": 500, "temperature": 0.2, "stream": true, "n": 1, "tool_choice": "auto"}));
    for name in ["first", "other", "near", "far"] {
        assert_eq!(closed(&config, name, &needs, &[]), NOTHING);
    }
}

#[test]
fn a_capability_is_needed_declared_refused_or_unknown() {
    let tool = json!({"type": "function", "function": {"name": "f", "parameters": {}}});
    let strict = json!({"type": "function", "function": {"name": "f", "strict": true}});
    let part = |part: Value| json!([{"role": "user", "content": [part]}]);
    let cases = [
        (Capability::Tools, json!({"tools": [tool]})),
        (Capability::Tools, json!({"functions": [{"name": "f"}]})),
        (Capability::ParallelTools, json!({"tools": [tool], "parallel_tool_calls": false})),
        (Capability::StrictTools, json!({"tools": [strict]})),
        (Capability::HostedTools, json!({"tools": [{"type": "web_search"}]})),
        (Capability::JsonSchema, json!({"response_format": {"type": "json_schema", "json_schema": {}}})),
        (Capability::JsonSchema, json!({"response_format": {"type": "grammar"}})),
        (Capability::JsonObject, json!({"response_format": {"type": "json_object"}})),
        (
            Capability::Vision,
            json!({"messages": part(json!({"type": "image_url", "image_url": {"url": "u"}}))}),
        ),
        (
            Capability::Audio,
            json!({"messages": part(json!({"type": "input_audio", "input_audio": {"data": "u"}}))}),
        ),
        (Capability::AudioOutput, json!({"modalities": ["text", "audio"]})),
        (Capability::Files, json!({"messages": part(json!({"type": "file", "file": {"file_data": "u"}}))})),
        (Capability::Reasoning, json!({"reasoning_effort": "high"})),
        (Capability::Logprobs, json!({"logprobs": true})),
        (Capability::Seed, json!({"seed": 7})),
        (Capability::N, json!({"n": 2})),
    ];
    for (capability, body) in cases {
        let needs = chat(body.clone());
        assert!(needs.capabilities.contains(capability), "{body}");
        let offering = |value: Option<bool>| {
            // All that the request needs besides is there.
            let mut fields = serde_json::Map::new();
            for other in needs.capabilities.iter().filter(|other| *other != capability) {
                fields.insert(other.name().to_owned(), json!(true));
            }
            fields.extend(value.map(|value| (capability.name().to_owned(), json!(value))));
            closed(&config(json!({ "first": fields }), json!({})), "first", &needs, &[])
        };
        assert_eq!(offering(Some(true)), NOTHING, "{body}");
        assert_eq!(offering(Some(false)), [capability.name()], "{body}");
        assert_eq!(offering(None), [capability.name()], "unknown is no: {body}");
    }
}

#[test]
fn what_is_not_asked_for_is_not_needed() {
    for body in [
        json!({}),
        json!({"tools": [], "parallel_tool_calls": true}),
        json!({"n": 1, "logprobs": false, "seed": null, "response_format": {"type": "text"}, "reasoning_effort": "none"}),
    ] {
        assert!(chat(body.clone()).capabilities.is_empty(), "{body}");
    }
}

#[test]
fn what_a_vendor_drops_without_a_word_no_declaration_brings_back() {
    let config = json!({
        "providers": {"anthropic": {"kind": "anthropic"}},
        "targets": {"claude": {"provider": "anthropic", "model": "m", "json_schema": true, "seed": true}},
        "models": {"chat": {"targets": ["claude"]}},
    });
    let config = config::load(config.to_string().as_bytes(), &|_| None).unwrap();
    let body = json!({"model": "chat", "seed": 1, "response_format": {"type": "json_schema"}});
    let in_chat = Needs::of(&facts(&body), Endpoint::Chat);
    assert_eq!(closed(&config, "claude", &in_chat, &[]), ["json_schema", "seed"]);
    let in_messages = Needs::of(&facts(&body), Endpoint::Messages);
    assert_eq!(closed(&config, "claude", &in_messages, &[]), NOTHING);
}

#[test]
fn a_dialect_that_nobody_translates_is_a_gate() {
    let mut body = facts(&json!({"model": "chat"}));
    body.items = 1;
    let config = json!({
        "providers": {"openai": {"kind": "openai"}},
        "targets": {"gpt": {"provider": "openai", "model": "m"}},
        "models": {"chat": {"targets": ["gpt"]}},
    });
    let config = config::load(config.to_string().as_bytes(), &|_| None).unwrap();
    assert_eq!(closed(&config, "gpt", &Needs::of(&body, Endpoint::Messages), &[]), ["dialect"]);
    assert_eq!(closed(&config, "gpt", &Needs::of(&body, Endpoint::Responses), &[]), NOTHING);
}

#[test]
fn prompt_and_answer_must_fit_and_an_unknown_window_is_a_small_one() {
    let text = "x".repeat(35_000); // about 10,000 tokens, 12,000 with the margin
    let long = |asked: Value| {
        let turn = json!([{"role": "user", "content": text}]);
        chat(json!({"messages": turn, "max_tokens": asked}))
    };
    let with = |fields: Value, needs: &Needs| {
        closed(&config(json!({ "first": fields }), json!({})), "first", needs, &[])
    };
    assert_eq!(with(json!({}), &long(json!(null))), ["context_window"]);
    assert_eq!(with(json!({"context_window": 16_000}), &long(json!(null))), NOTHING);
    assert_eq!(with(json!({"context_window": 11_000}), &long(json!(null))), ["context_window"]);
    assert_eq!(with(json!({"context_window": 16_000}), &long(json!(4_000))), ["context_window"]);
    let both = json!({"context_window": 100_000, "max_output_tokens": 5_000});
    assert_eq!(with(both.clone(), &long(json!(5_000))), NOTHING);
    assert_eq!(with(both.clone(), &long(json!(5_001))), ["max_output"]);
    assert_eq!(
        with(json!({"context_window": 100_000}), &long(json!(5_000))),
        ["max_output"],
        "unknown is little"
    );
    // Each input of embeddings has the window to itself.
    let inputs = facts(&json!({"model": "chat", "input": [text, text]}));
    assert_eq!(with(json!({}), &Needs::of(&inputs, Endpoint::Embeddings)), NOTHING);
}

#[test]
fn terms_hold_for_the_first_choice_too_and_unknown_is_no() {
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
fn lists_admit_and_bar() {
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
fn what_one_request_may_cost_counts_prompt_and_answer() {
    let priced =
        json!({"first": {"price": {"input": 1, "output": 10}, "max_output_tokens": 1000, "n": true}});
    let with = |most: f64, needs: &Needs| {
        closed(&config(priced.clone(), json!({"max_request_cost": most})), "first", needs, &[])
    };
    // Ten tokens of prompt at most, 100 of answer: 0.00101 dollars at most.
    let small = chat(json!({"max_tokens": 100}));
    assert_eq!(with(0.001_1, &small), NOTHING);
    assert_eq!(with(0.000_9, &small), ["request_cost"]);
    assert_eq!(with(0.001_1, &chat(json!({"max_tokens": 100, "n": 2}))), ["request_cost"]);
    // An answer of no said length may be as long as any.
    assert_eq!(with(0.009, &chat(json!({}))), ["request_cost"]);
    assert_eq!(with(0.011, &chat(json!({}))), NOTHING);
    let unpriced = config(json!({}), json!({"max_request_cost": 100}));
    assert_eq!(closed(&unpriced, "first", &small, &[]), ["request_cost"], "unknown is no");
}

#[test]
fn what_lives_at_one_account_goes_to_the_first_tiers_and_nowhere_else() {
    let config = config(json!({}), json!({}));
    for body in
        [json!({"previous_response_id": "r"}), json!({"conversation": "c"}), json!({"background": true})]
    {
        let needs = Needs { endpoint: Endpoint::Responses, ..chat(body) };
        assert_eq!(closed(&config, "first", &needs, &[]), NOTHING);
        assert_eq!(closed(&config, "other", &needs, &[]), NOTHING, "another model of the same account");
        assert_eq!(closed(&config, "near", &needs, &[]), ["state"], "another account of the same provider");
        assert_eq!(closed(&config, "far", &needs, &[("first", ErrorClass::Server)]), ["state"]);
    }
}

#[test]
fn with_two_accounts_in_the_first_tier_nobody_knows_where_state_is() {
    let config = json!({
        "providers": {"openai": {"kind": "openai"}, "anthropic": {"kind": "anthropic"}},
        "targets": {
            "a": {"provider": "openai", "model": "m"}, "b": {"provider": "openai", "model": "m"},
            "claude": {"provider": "anthropic", "model": "m"},
        },
        "models": {"chat": {"tiers": [["a", "b", "claude"]]}, "one": {"tiers": [["a", "claude"], ["b"]]}},
    });
    let config = config::load(config.to_string().as_bytes(), &|_| None).unwrap();
    let needs = Needs { endpoint: Endpoint::Responses, ..chat(json!({"previous_response_id": "r"})) };
    assert_eq!(closed(&config, "a", &needs, &[]), ["state"]);
    assert_eq!(closed(&config, "b", &needs, &[]), ["state"]);
    // Who does not speak the endpoint holds nothing of it.
    let (client, past) = (ClientLimits::default(), Past::default());
    let model = &config.models()[1];
    let case = Case {
        config: &config,
        model,
        key: None,
        client: &client,
        needs: &needs,
        past,
        estimates: None,
        now: NOON,
    };
    assert!(case.admits(target(&config, "a")) && !case.admits(target(&config, "b")));
}

#[test]
fn sealed_thinking_stays_with_the_first_tiers_provider() {
    let config = config(json!({}), json!({}));
    let turn =
        json!([{"role": "assistant", "content": [{"type": "thinking", "thinking": "…", "signature": "s"}]}]);
    let needs = chat(json!({"messages": turn}));
    assert_eq!(closed(&config, "near", &needs, &[("first", ErrorClass::Server)]), NOTHING);
    assert_eq!(closed(&config, "far", &needs, &[("first", ErrorClass::Server)]), ["sealed_reasoning"]);
}

#[test]
fn a_client_may_allow_less() {
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
fn failures_may_be_kept_at_their_account_or_provider() {
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
fn a_prompt_that_did_not_fit_goes_only_where_more_is_declared() {
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
fn a_substitute_may_cost_so_much_more_and_no_more() {
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
fn the_measure_is_who_was_asked_first_or_the_cheapest_of_the_first_tier() {
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
fn the_same_must_pay() {
    let owned = |first: Value, far: Value| {
        let config = json!({
            "providers": {"p": {"kind": "openai-compatible", "host": "p.test"}},
            "accounts": {"a": first, "b": far},
            "targets": {
                "first": {"account": "a", "model": "m"}, "same": {"account": "a", "model": "n"},
                "far": {"account": "b", "model": "m"},
            },
            "models": {"chat": {"tiers": [["first"], ["same"], ["far"]], "fallback": {"same_billing_owner": true}}},
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
fn only_approved_pairs_and_only_until_their_day_is_over() {
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
fn a_keys_boundaries_hold_beside_the_models_and_the_stricter_wins() {
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
        let past = Past::default();
        let case = Case {
            config: &config,
            model: &config.models()[0],
            key,
            client: &client,
            needs: &needs,
            past,
            estimates: None,
            now: NOON,
        };
        case.closed_gates(target(&config, name)).map(Gate::name).collect::<Vec<_>>()
    };
    assert_eq!((gates(None, "us"), gates(None, "eu")), (vec![], vec!["quality"]));
    assert_eq!((gates(Some(key), "us"), gates(Some(key), "eu")), (vec!["residency"], vec!["quality"]));
}

#[test]
fn words_for_a_refusal_say_what_was_needed_and_what_there_is() {
    let config = config(
        json!({"first": {"region": "us", "price": {"input": 1, "output": 2}, "tools": false}}),
        json!({"region": ["eu", "ch"], "max_price": {"input": 0.5}}),
    );
    let needs = chat(json!({"tools": [{"type": "function", "function": {"name": "f"}}], "max_tokens": 5000}));
    let (client, past) = (ClientLimits::default(), Past::default());
    let case = Case {
        config: &config,
        model: &config.models()[0],
        key: None,
        client: &client,
        needs: &needs,
        past,
        estimates: None,
        now: NOON,
    };
    let told: Vec<_> = case
        .violations(target(&config, "first"))
        .map(|told| format!("{}: {} / {}", told.gate.name(), told.needed, told.offered))
        .collect();
    assert_eq!(
        told,
        [
            "residency: eu or ch / us",
            "price_ceiling: at most $0.5 input / $1 input $2 output",
            "tools: yes / no",
            "max_output: 5000 tokens / 4096 (assumed)",
        ]
    );
}

/// Targets and boundaries of every sort, drawn from few values so that they meet.
fn some_targets() -> impl Strategy<Value = Value> {
    let field = |name: &'static str, values: Vec<Value>| {
        prop::option::of(prop::sample::select(values)).prop_map(move |value| (name, value))
    };
    let fields = (
        field("tools", vec![json!(true), json!(false)]),
        field("region", vec![json!("eu"), json!("us")]),
        field("zero_retention", vec![json!(true), json!(false)]),
        field("quality", vec![json!(1), json!(2), json!(3)]),
        field("price", vec![json!({"input": 1, "output": 2}), json!({"input": 3, "output": 4})]),
        field("context_window", vec![json!(4_000), json!(20_000)]),
    );
    let target = fields.prop_map(|(a, b, c, d, e, f)| {
        let written =
            [a, b, c, d, e, f].into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
        Value::Object(written.collect())
    });
    prop::collection::vec(target, 4).prop_map(|targets| {
        let names = ["first", "other", "near", "far"];
        Value::Object(names.into_iter().map(str::to_owned).zip(targets).collect())
    })
}

/// A boundary of every sort, each in two strengths: the second is stricter.
const STRENGTHS: [(&str, [&str; 2]); 12] = [
    ("region", [r#"["eu", "us"]"#, r#"["eu"]"#]),
    ("zero_retention", ["", r#""required""#]),
    ("min_quality", ["1", "3"]),
    ("max_price", [r#"{"input": 3}"#, r#"{"input": 1, "output": 2}"#]),
    ("max_request_cost", ["1", "0.001"]),
    ("max_price_ratio", ["3", "1"]),
    ("same_billing_owner", ["false", "true"]),
    ("leave_account", [r#"["server", "timeout"]"#, "[]"]),
    ("leave_provider", [r#"["server"]"#, "[]"]),
    (
        "approved",
        [
            r#"[{"from": "first", "to": "far"}, {"from": "first", "to": "other"}]"#,
            r#"[{"from": "first", "to": "far"}]"#,
        ],
    ),
    ("targets", [r#"{"deny": ["near"]}"#, r#"{"allow": ["first", "far"], "deny": ["near"]}"#]),
    ("providers", [r#"{"allow": ["near", "far"]}"#, r#"{"allow": ["near"]}"#]),
];

fn some_needs() -> impl Strategy<Value = Needs> {
    let (tools, state, long) = (any::<bool>(), any::<bool>(), any::<bool>());
    (tools, state, long).prop_map(|(tools, state, long)| {
        let mut body = json!({"max_tokens": 100});
        if tools {
            body["tools"] = json!([{"type": "function", "function": {"name": "f"}}]);
        }
        if state {
            body["previous_response_id"] = json!("r");
        }
        if long {
            body["messages"] = json!([{"role": "user", "content": "x".repeat(30_000)}]);
        }
        chat(body)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Each boundary is absent, weak or strict; one step further in any of them admits nobody new.
    #[test]
    fn tightening_never_admits_more(
        targets in some_targets(),
        needs in some_needs(),
        levels in prop::collection::vec(0..3_usize, STRENGTHS.len()),
        at in 0..STRENGTHS.len(),
        failed in prop::option::of(prop::sample::select(vec![ErrorClass::Server, ErrorClass::Timeout, ErrorClass::ContextLength])),
    ) {
        let of = |levels: &[usize]| {
            let mut fallback = json!({});
            for ((name, strengths), level) in STRENGTHS.iter().zip(levels) {
                let written = level.checked_sub(1).map_or("", |level| strengths[level]);
                if !written.is_empty() {
                    fallback[*name] = serde_json::from_str(written).unwrap();
                }
            }
            config(targets.clone(), fallback)
        };
        let mut tighter = levels.clone();
        tighter[at] = (tighter[at] + 1).min(2);
        let (loose, tight) = (of(&levels), of(&tighter));
        let failed: Vec<_> = failed.into_iter().map(|class| ("first", class)).collect();
        for name in ["first", "other", "near", "far"] {
            if closed(&tight, name, &needs, &failed).is_empty() {
                prop_assert!(closed(&loose, name, &needs, &failed).is_empty(), "{} {}", STRENGTHS[at].0, name);
            }
        }
    }

    /// Whoever is admitted meets every demand, looked at once more without the gates.
    #[test]
    fn nobody_is_admitted_against_a_boundary(
        targets in some_targets(),
        needs in some_needs(),
        region in prop::option::of(prop::sample::select(vec!["eu", "us"])),
        quality in prop::option::of(1..4_u64),
        most in prop::option::of(prop::sample::select(vec![1_u64, 3])),
    ) {
        let mut fallback = json!({"zero_retention": "required"});
        if let Some(region) = region { fallback["region"] = json!([region]); }
        if let Some(quality) = quality { fallback["min_quality"] = json!(quality); }
        if let Some(most) = most { fallback["max_price"] = json!({"input": most}); }
        let config = config(targets.clone(), fallback);
        for name in ["first", "other", "near", "far"] {
            if !closed(&config, name, &needs, &[]).is_empty() {
                continue;
            }
            let written = &targets[name];
            prop_assert_eq!(&written["zero_retention"], &json!(true));
            if let Some(region) = region { prop_assert_eq!(&written["region"], &json!(region)); }
            if let Some(quality) = quality { prop_assert!(written["quality"].as_u64().unwrap() >= quality); }
            if let Some(most) = most { prop_assert!(written["price"]["input"].as_u64().unwrap() <= most); }
            if needs.capabilities.contains(Capability::Tools) { prop_assert_eq!(&written["tools"], &json!(true)); }
            if needs.size.text_bytes > 30_000 { prop_assert!(written["context_window"].as_u64().unwrap_or(8_192) > 10_000); }
            if !needs.state.is_empty() { prop_assert!(name == "first" || name == "other"); }
        }
    }

    /// A client's own limits take away and never add.
    #[test]
    fn a_client_never_loosens(targets in some_targets(), needs in some_needs(), eu in any::<bool>(), no_fallback in any::<bool>()) {
        let config = config(targets, json!({"region": ["eu", "us"], "min_quality": 2}));
        let client = ClientLimits { regions: eu.then(|| vec![Rc::from("eu"), Rc::from("moon")]), no_fallback };
        for name in ["first", "other", "near", "far"] {
            if closed_for(&config, name, &needs, &[], &client, NOON).is_empty() {
                prop_assert!(closed(&config, name, &needs, &[]).is_empty());
            }
        }
    }
}
