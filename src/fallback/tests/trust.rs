//! What passes at a first choice, at its equals and at other substitutes.

use super::*;
use crate::provider::{ProviderKind, profile};

/// Requests that every agent and SDK makes, each with the gates that would need a declaration at a substitute.
fn everyday_requests() -> Vec<(&'static str, Value)> {
    let tool = json!({"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}});
    let strict = json!({"type": "function", "function": {"name": "f", "strict": true}});
    let schema = json!({"type": "json_schema", "json_schema": {"name": "s", "schema": {"type": "object"}}});
    let part = |part: Value| json!([{"role": "user", "content": [part]}]);
    let words = json!([{"role": "user", "content": "word ".repeat(100_000)}]);
    vec![
        ("plain", json!({})),
        ("a stream", json!({"stream": true, "stream_options": {"include_usage": true}})),
        ("tools", json!({"tools": [tool], "parallel_tool_calls": true})),
        ("strict tools", json!({"tools": [strict]})),
        ("a hosted tool", json!({"tools": [{"type": "web_search"}]})),
        ("a schema", json!({"response_format": schema})),
        ("an object", json!({"response_format": {"type": "json_object"}})),
        ("reasoning", json!({"reasoning_effort": "low"})),
        ("an image", json!({"messages": part(json!({"type": "image_url", "image_url": {"url": "u"}}))})),
        ("a file", json!({"messages": part(json!({"type": "file", "file": {"file_data": "u"}}))})),
        ("a long response", json!({"max_tokens": 64_000})),
        ("a long prompt", json!({"messages": words})),
        ("a seed", json!({"seed": 7})),
        ("log probabilities", json!({"logprobs": true, "top_logprobs": 2})),
    ]
}

fn of_kind(kind: ProviderKind) -> Config {
    let provider = json!({"kind": kind.name(), "host": "x.test", "path_prefix": "/v1"});
    load(&json!({
        "providers": {"p": provider},
        "targets": {"only": {"provider": "p", "model": "m"}},
        "models": {"chat": {"targets": ["only"]}},
    }))
}

#[test]
fn every_everyday_request_passes_at_a_first_choice_of_any_kind_with_nothing_declared() {
    for kind in ProviderKind::ALL {
        let config = of_kind(kind);
        for (name, body) in everyday_requests() {
            let masks = GateMasks::of(&config);
            let mask = &masks.of_model(crate::base::ModelId::from_index(0).unwrap())[0];
            for endpoint in Endpoint::ALL {
                let needs = Needs { endpoint, ..chat(body.clone()) };
                let gates = closed(&config, "only", &needs, &[]);
                let dialect = (!config.providers()[0].endpoints.contains(endpoint)).then_some("dialect");
                assert_eq!(
                    gates,
                    dialect.into_iter().collect::<Vec<_>>(),
                    "{} {endpoint:?} {name}",
                    kind.name()
                );
                let asked = NeedsMask::of(&needs, None, &ClientLimits::default(), std::iter::empty());
                assert_eq!(
                    mask.passes(&asked, needs.size.tokens()),
                    dialect.is_none(),
                    "the mask says so, too"
                );
            }
        }
    }
}

#[test]
fn a_substitute_needs_what_is_declared_known_or_offered_by_every_model_of_its_kind() {
    for kind in ProviderKind::ALL {
        let first = json!({"kind": "openai-compatible", "host": "first.test"});
        let config = load(&json!({
            "providers": {"first": first, "p": {"kind": kind.name(), "host": "x.test", "path_prefix": "/v1"}},
            "targets": {"first": {"provider": "first", "model": "other"}, "spare": {"provider": "p", "model": "m"}},
            "models": {"chat": {"tiers": [["first"], ["spare"]]}},
        }));
        let endpoint = Endpoint::ALL.into_iter().find(|one| config.providers()[1].endpoints.contains(*one));
        for (name, body) in everyday_requests() {
            let needs = Needs { endpoint: endpoint.unwrap(), ..chat(body) };
            let profile = profile(kind);
            let dropped = crate::provider::dropped(kind, needs.endpoint);
            let mut expected: Vec<_> = needs
                .capabilities
                .iter()
                .filter(|one| !profile.capabilities.contains(*one) || dropped.contains(*one))
                .map(Capability::name)
                .collect();
            let asked = needs.asked_output.unwrap_or(0);
            if needs.size.tokens() + asked > profile.context_window {
                expected.push("context_window");
            }
            if asked > profile.max_output_tokens {
                expected.push("max_output");
            }
            assert_eq!(closed(&config, "spare", &needs, &[]), expected, "{} {name}", kind.name());
        }
    }
}

#[test]
fn a_boundary_holds_at_the_first_choice_even_if_nothing_is_declared() {
    let boundaries = [
        ("zero_retention", json!({"zero_retention": "required"})),
        ("training", json!({"training_opt_out": "required"})),
        ("residency", json!({"region": ["eu"]})),
        ("quality", json!({"min_quality": 1})),
        ("price_ceiling", json!({"max_price": {"input": 1000}})),
        ("request_cost", json!({"max_request_cost": 1000})),
    ];
    for (gate, fallback) in boundaries {
        for name in ["first", "near", "far"] {
            assert_eq!(
                closed(&config(json!({}), fallback.clone()), name, &chat(json!({})), &[]),
                [gate],
                "{name}"
            );
        }
    }
}

#[test]
fn an_equal_of_the_first_choice_takes_its_answers_and_its_own_declarations_come_first() {
    let image = json!([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "u"}}]}]);
    let needs = chat(json!({"messages": image, "max_tokens": 10_000, "stream": true}));
    let gates = ["vision", "streaming", "context_window", "max_output"];
    let with = |targets: Value| {
        let config = config(targets, json!({}));
        ["near", "far"].map(|name| closed(&config, name, &needs, &[]))
    };
    // `far` has another model.
    let unknown = ["vision", "context_window", "max_output"];
    assert_eq!(with(json!({})), [vec![], unknown.to_vec()]);
    let no =
        json!({"vision": false, "streaming": false, "context_window": 9_000, "max_output_tokens": 9_000});
    let yes =
        json!({"vision": true, "streaming": true, "context_window": 99_000, "max_output_tokens": 99_000});
    assert_eq!(with(json!({"first": no})), [gates.to_vec(), unknown.to_vec()]);
    assert_eq!(with(json!({"first": no, "near": yes})), [vec![], unknown.to_vec()]);
    assert_eq!(with(json!({"first": yes, "near": no})), [gates.to_vec(), unknown.to_vec()]);
    assert_eq!(with(json!({"first": yes})), [vec![], unknown.to_vec()]);
}

#[test]
fn of_several_equal_first_choices_the_strictest_declaration_counts() {
    let provider = json!({"kind": "openai-compatible", "host": "p.test"});
    let config = load(&json!({
        "providers": {"p": provider},
        "targets": {
            "open": {"provider": "p", "model": "m", "context_window": 50_000},
            "blind": {"provider": "p", "model": "m", "vision": false, "context_window": 90_000},
            "silent": {"provider": "p", "model": "m"},
            "spare": {"provider": "p", "model": "m"},
        },
        "models": {"chat": {"tiers": [["open", "blind", "silent"], ["spare"]]}},
    }));
    let image = json!([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "u"}}]}]);
    let of = |name: &str, body: Value| closed(&config, name, &chat(body), &[]);
    assert_eq!(of("spare", json!({"messages": image})), ["vision"]);
    assert_eq!(of("spare", json!({"max_tokens": 60_000})), ["context_window"]);
    assert_eq!(of("silent", json!({"messages": image})), NOTHING, "a first choice has only its own");
    assert_eq!(of("silent", json!({"max_tokens": 60_000})), NOTHING);
}

#[test]
fn what_an_endpoint_drops_closes_no_gate_of_a_first_choice_or_its_equal() {
    let config = load(&json!({
        "providers": {"p": {"kind": "anthropic"}, "q": {"kind": "anthropic"}},
        "targets": {
            "first": {"provider": "p", "model": "m"}, "equal": {"provider": "q", "model": "m"},
            "declared": {"provider": "q", "model": "n", "seed": true},
        },
        "models": {"chat": {"tiers": [["first"], ["equal"], ["declared"]]}},
    }));
    let of = |name| closed(&config, name, &chat(json!({"seed": 1})), &[]);
    assert_eq!((of("first"), of("equal")), (vec![], vec![]));
    assert_eq!(of("declared"), ["seed"], "a declaration changes nothing about the endpoint");
}
