//! Which translations the gates allow.

use super::*;
use crate::fallback::Translated;
use crate::provider::CapabilitySet;
use crate::translate::{Loss, Losses, Translation};

fn config_with(translate: Value) -> Config {
    load(&json!({
        "providers": {"a": {"kind": "anthropic"}, "o": {"kind": "openai"}, "g": {"kind": "gemini"}},
        "targets": {
            "claude": {"provider": "a", "model": "c", "translate": translate},
            "gpt": {"provider": "o", "model": "g", "translate": translate},
            "gemini": {"provider": "g", "model": "f", "translate": translate},
        },
        "models": {"chat": {"tiers": [["claude"], ["gpt"], ["gemini"]]}},
    }))
}

/// The gates about dialects that are closed at `target`, and what is said about them.
fn closed(config: &Config, name: &str, endpoint: Endpoint, lost: Option<Losses>) -> Vec<(Gate, String)> {
    let needs = Needs {
        endpoint,
        translated: Translated::of(endpoint, |_| lost),
        ..Needs::of(&Facts::default(), endpoint)
    };
    let eligibility = Eligibility {
        config,
        model: &config.models()[0],
        key: None,
        client: &ClientLimits::default(),
        needs: &needs,
        past: PastAttempts::default(),
        estimates: None,
        now: NOON.wall(),
    };
    let id = target(config, name);
    let gates = eligibility.closed_gates(id).filter(|gate| matches!(gate, Gate::Dialect | Gate::Translation));
    let gates: Vec<_> = gates.collect();
    let advice: Vec<_> = eligibility.advice(id).collect();
    gates.iter().copied().zip(advice).collect()
}

#[test]
fn each_target_gets_each_endpoint_as_it_is_or_in_one_translation() {
    let config = config_with(json!(true));
    for (name, endpoint, way) in [
        // Its own chat endpoint drops what it does not know.
        ("claude", Endpoint::Chat, Some(Translation::ChatToMessages)),
        ("claude", Endpoint::Messages, None),
        ("claude", Endpoint::Responses, Some(Translation::ResponsesToMessages)),
        ("gpt", Endpoint::Chat, None),
        ("gpt", Endpoint::Messages, Some(Translation::MessagesToChat)),
        ("gpt", Endpoint::Responses, None),
        ("gemini", Endpoint::Responses, Some(Translation::ResponsesToChat)),
        ("gemini", Endpoint::Embeddings, None),
    ] {
        let found = config.translation(config.target(target(&config, name)).unwrap(), endpoint);
        assert_eq!(found, way, "{name} {endpoint:?}");
        let untranslated = config_with(json!(false));
        let target = untranslated.target(target(&untranslated, name)).unwrap();
        assert_eq!(untranslated.translation(target, endpoint), None);
    }
}

#[test]
fn losses_of_cost_are_allowed_and_others_only_by_name() {
    let of = |losses: &[Loss]| Some(losses.iter().copied().collect::<Losses>());
    for (translate, lost, advice) in [
        (json!(true), of(&[]), None),
        (json!(true), of(&[Loss::CacheControl, Loss::Metadata]), None),
        (
            json!(true),
            of(&[Loss::CacheControl, Loss::Logprobs, Loss::Seed]),
            Some(
                "The request would be translated for `gpt` and lose logprobs, seed. To allow that, write \
                 `allow: [logprobs, seed]` into the target's `translate`.",
            ),
        ),
        (json!({"allow": ["logprobs"]}), of(&[Loss::Logprobs]), None),
        (
            json!({"allow": ["logprobs"]}),
            of(&[Loss::Seed]),
            Some(
                "The request would be translated for `gpt` and lose seed. To allow that, write \
                 `allow: [logprobs, seed]` into the target's `translate`.",
            ),
        ),
        (json!({"reasoning": "drop"}), of(&[Loss::PastReasoning]), None),
        (
            json!({"reasoning": "refuse"}),
            of(&[Loss::PastReasoning]),
            Some(
                "The request would be translated for `gpt` and lose past_reasoning. To allow that, write \
                 `allow: [past_reasoning]` into the target's `translate`.",
            ),
        ),
        (
            json!(true),
            None,
            Some(
                "The request would have to be translated for `gpt`, and it cannot be: it is \
                 larger than `limits.max_translated_body`, malformed, or without an equal in the other dialect. Correct \
                 it, or add a target whose provider takes `messages`.",
            ),
        ),
    ] {
        let found = closed(&config_with(translate.clone()), "gpt", Endpoint::Messages, lost);
        let expected: Vec<_> =
            advice.map(|advice| (Gate::Translation, advice.to_owned())).into_iter().collect();
        assert_eq!(found, expected, "{translate}");
    }
}

#[test]
fn what_is_lost_needs_no_capability() {
    let config = config_with(json!({"allow": ["logprobs"]}));
    let needs = |lost: &[Loss]| Needs {
        endpoint: Endpoint::Messages,
        capabilities: CapabilitySet::of(&[Capability::Logprobs]),
        translated: Translated::of(Endpoint::Messages, |_| Some(lost.iter().copied().collect())),
        ..Needs::of(&Facts::default(), Endpoint::Messages)
    };
    for (lost, is_closed) in [(&[Loss::Logprobs][..], false), (&[], true)] {
        let needs = needs(lost);
        let eligibility = Eligibility {
            config: &config,
            model: &config.models()[0],
            key: None,
            client: &ClientLimits::default(),
            needs: &needs,
            past: PastAttempts::default(),
            estimates: None,
            now: NOON.wall(),
        };
        let gate = Gate::Capability(Capability::Logprobs);
        let mut closed = eligibility.closed_gates(target(&config, "gemini"));
        assert_eq!(closed.any(|closed| closed == gate), is_closed, "{lost:?}");
    }
}

#[test]
fn without_translation_the_dialect_gate_names_the_line_to_write() {
    let config = load(&json!({
        "providers": {"o": {"kind": "openai"}},
        "targets": {"gpt": {"provider": "o", "model": "g"}},
        "models": {"chat": {"tiers": [["gpt"]]}},
    }));
    let found = closed(&config, "gpt", Endpoint::Messages, None);
    assert_eq!(
        found,
        [(
            Gate::Dialect,
            "`gpt` does not serve the endpoint `messages`, only chat, completions, embeddings, responses, moderations, images, speech. Add a target \
             to the model whose provider serves it. To have it translated, declare `translate: true` at the target."
                .to_owned()
        )]
    );
}
