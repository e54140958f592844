//! What a request needs: capabilities, endpoint, room, and state at one account.

use super::*;
use crate::base::Tokens;

#[test]
fn a_capability_is_needed_where_a_request_asks_for_it() {
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
        (Capability::ImageOutput, json!({"modalities": ["text", "image"]})),
        (Capability::ImageOutput, json!({"modalities": ["hologram"]})),
        (Capability::Files, json!({"messages": part(json!({"type": "file", "file": {"file_data": "u"}}))})),
        (Capability::Reasoning, json!({"reasoning_effort": "high"})),
        (Capability::Logprobs, json!({"logprobs": true})),
        (Capability::Seed, json!({"seed": 7})),
        (Capability::N, json!({"n": 2})),
    ];
    for (capability, body) in cases {
        let needs = chat(body.clone());
        assert!(needs.capabilities.contains(capability), "{body}");
        let offering = |name: &str, value: Option<bool>| {
            // Everything else that the request needs is declared.
            let mut fields = serde_json::Map::new();
            for other in needs.capabilities.iter().filter(|other| *other != capability) {
                fields.insert(other.name().to_owned(), json!(true));
            }
            fields.extend(value.map(|value| (capability.name().to_owned(), json!(value))));
            closed(&config(json!({ name: fields }), json!({})), name, &needs, &[])
        };
        for name in ["first", "far"] {
            assert_eq!(offering(name, Some(true)), NOTHING, "{name} {body}");
            assert_eq!(offering(name, Some(false)), [capability.name()], "{name} {body}");
        }
        assert_eq!(offering("first", None), NOTHING, "its provider will say: {body}");
        assert_eq!(offering("far", None), [capability.name()], "unknown is no: {body}");
    }
}

#[test]
fn a_stream_is_rejected_by_a_target_declared_not_to_stream() {
    let config = config(json!({"first": {"streaming": false}, "other": {"streaming": true}}), json!({}));
    let (stream, plain) = (chat(json!({"stream": true})), chat(json!({"stream": false})));
    assert_eq!(closed(&config, "first", &stream, &[]), ["streaming"]);
    assert_eq!(closed(&config, "first", &plain, &[]), NOTHING);
    for name in ["other", "far"] {
        assert_eq!(closed(&config, name, &stream, &[]), NOTHING, "{name}");
    }
}

#[test]
fn what_is_not_requested_is_not_needed() {
    for body in [
        json!({}),
        json!({"tools": [], "parallel_tool_calls": true}),
        json!({
            "n": 1, "logprobs": false, "seed": null, "response_format": {"type": "text"},
            "reasoning_effort": "none"
        }),
    ] {
        assert!(chat(body.clone()).capabilities.is_empty(), "{body}");
    }
}

#[test]
fn no_declaration_restores_what_a_vendor_silently_drops_at_a_substitute() {
    let config = json!({
        "providers": {"anthropic": {"kind": "anthropic"}, "openai": {"kind": "openai"}},
        "targets": {
            "gpt": {"provider": "openai", "model": "g"},
            "claude": {"provider": "anthropic", "model": "m", "json_schema": true, "seed": true},
        },
        "models": {"chat": {"tiers": [["gpt"], ["claude"]]}},
    });
    let config = config::load(config.to_string().as_bytes(), &|_| None).unwrap();
    let body = json!({"model": "chat", "seed": 1, "response_format": {"type": "json_schema"}});
    let in_chat = Needs::of(&facts(&body), Endpoint::Chat);
    assert_eq!(closed(&config, "claude", &in_chat, &[]), ["json_schema", "seed"]);
    let in_messages = Needs::of(&facts(&body), Endpoint::Messages);
    assert_eq!(closed(&config, "claude", &in_messages, &[]), NOTHING);
}

#[test]
fn an_unsupported_dialect_is_rejected() {
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
fn prompt_and_response_must_fit_and_at_a_substitute_an_unknown_window_is_small() {
    let text = "x".repeat(35_000); // about 10,000 tokens
    let long = |asked: Value| {
        let turn = json!([{"role": "user", "content": text}]);
        chat(json!({"messages": turn, "max_tokens": asked}))
    };
    let at = |name: &str, fields: Value, needs: &Needs| {
        closed(&config(json!({ name: fields }), json!({})), name, needs, &[])
    };
    for name in ["first", "far"] {
        let with = |fields: Value, needs: &Needs| at(name, fields, needs);
        assert_eq!(with(json!({"context_window": 11_000}), &long(json!(null))), NOTHING, "no margin");
        assert_eq!(with(json!({"context_window": 9_000}), &long(json!(null))), ["context_window"]);
        assert_eq!(with(json!({"context_window": 13_000}), &long(json!(4_000))), ["context_window"]);
        let both = json!({"context_window": 100_000, "max_output_tokens": 5_000});
        assert_eq!(with(both.clone(), &long(json!(5_000))), NOTHING);
        assert_eq!(with(both.clone(), &long(json!(5_001))), ["max_output"]);
        // Each input of embeddings has the whole window.
        let inputs = facts(&json!({"model": "chat", "input": [text, text]}));
        assert_eq!(with(json!({"context_window": 1}), &Needs::of(&inputs, Endpoint::Embeddings)), NOTHING);
    }
    assert_eq!(at("first", json!({}), &long(json!(64_000))), NOTHING);
    assert_eq!(at("far", json!({}), &long(json!(null))), ["context_window"], "unknown is little");
    assert_eq!(at("far", json!({"context_window": 100_000}), &long(json!(5_000))), ["max_output"]);
}

#[test]
fn what_generates_no_text_needs_no_capabilities_and_has_no_output() {
    let body = json!({"model": "chat", "input": "x", "prompt": "a fox", "n": 4, "seed": 7, "max_tokens": 9,
        "response_format": "b64_json", "reasoning_effort": "high"});
    let facts = facts(&body);
    for endpoint in [Endpoint::Moderations, Endpoint::Rerank, Endpoint::Images, Endpoint::Speech] {
        let needs = Needs::of(&facts, endpoint);
        assert!(needs.capabilities.is_empty(), "{endpoint:?}");
        let expected = needs.expected(TargetId::from_index(0).unwrap(), None);
        assert!(expected.input > 0 && expected.output == 0, "{endpoint:?}");
        for name in ["first", "far"] {
            let config = config(json!({ name: {"context_window": 1, "max_output_tokens": 1} }), json!({}));
            assert_eq!(closed(&config, name, &needs, &[]), NOTHING, "{endpoint:?}");
        }
    }
    assert!(!Needs::of(&facts, Endpoint::Chat).capabilities.is_empty());
    // Tokens are counted for nothing. What the prompt contains still has to be understood.
    let counting = Needs::of(&facts, Endpoint::CountTokens);
    assert_eq!(counting.expected(TargetId::from_index(0).unwrap(), None), Tokens::default());
    assert!(!counting.capabilities.is_empty());
}

#[test]
fn state_at_one_account_goes_only_to_the_first_tier() {
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
fn sealed_reasoning_stays_with_the_provider_of_the_first_tier() {
    let config = config(json!({}), json!({}));
    let turn =
        json!([{"role": "assistant", "content": [{"type": "thinking", "thinking": "…", "signature": "s"}]}]);
    let needs = chat(json!({"messages": turn}));
    assert_eq!(closed(&config, "near", &needs, &[("first", ErrorClass::Server)]), NOTHING);
    assert_eq!(closed(&config, "far", &needs, &[("first", ErrorClass::Server)]), ["sealed_reasoning"]);
}
