//! The sentences that a refusal has for each gate.

use super::*;
use crate::config::Boundaries;

/// A gate, what is declared at the targets and the model, the request, the target, and the advice.
struct Case {
    gate: Gate,
    targets: Value,
    fallback: Value,
    needs: Needs,
    target: &'static str,
    failed: Option<ErrorClass>,
    client: ClientLimits,
    advice: &'static str,
}

fn cases() -> Vec<Case> {
    let plain = |gate, targets: Value, fallback: Value, advice| Case {
        gate,
        targets,
        fallback,
        needs: chat(json!({"max_tokens": 100})),
        target: "first",
        failed: None,
        client: ClientLimits::default(),
        advice,
    };
    let substitute =
        |gate, targets, fallback, advice| Case { target: "far", ..plain(gate, targets, fallback, advice) };
    let needing = |gate, body, targets, advice| Case {
        needs: chat(body),
        ..substitute(gate, targets, json!({}), advice)
    };
    let tool = json!([{"type": "function", "function": {"name": "f"}}]);
    let price = json!({"first": {"price": {"input": 1, "output": 2}}});
    let turn =
        json!([{"role": "assistant", "content": [{"type": "thinking", "thinking": "…", "signature": "s"}]}]);
    let words = json!([{"role": "user", "content": "x".repeat(70_000)}]);
    let state = chat(json!({"previous_response_id": "r"}));
    let prices =
        json!({"first": {"price": {"input": 1, "output": 2}}, "far": {"price": {"input": 3, "output": 4}}});
    vec![
        plain(
            Gate::ProviderList,
            json!({}),
            json!({"providers": {"deny": ["near"]}}),
            "`first` is at the provider `near`, which `models.chat.fallback.providers` does not allow. To allow it, change that \
             list.",
        ),
        plain(
            Gate::TargetList,
            json!({}),
            json!({"targets": {"allow": ["far"]}}),
            "`models.chat.fallback.targets` does not allow `first`. To allow it, change that list.",
        ),
        plain(
            Gate::Residency,
            json!({}),
            json!({"region": ["eu", "ch"]}),
            "`first` does not declare its `region`, and `models.chat.fallback.region` asks for eu or ch. Declare `region` at the \
             target.",
        ),
        plain(
            Gate::Residency,
            json!({"first": {"region": "us"}}),
            json!({"region": ["eu"]}),
            "`first` processes data in `us`, and `models.chat.fallback.region` asks for eu. To allow it, add its region there.",
        ),
        Case {
            client: ClientLimits { regions: Some(vec![Rc::from("eu")]), no_fallback: false },
            ..plain(
                Gate::Residency,
                json!({"first": {"region": "us"}}),
                json!({}),
                "`first` processes data in `us`, and the header `x-llm-region` asks for eu.",
            )
        },
        plain(
            Gate::ZeroRetention,
            json!({}),
            json!({"zero_retention": "required"}),
            "`first` does not declare `zero_retention`, which `models.chat.fallback.zero_retention` requires. If it offers that, \
             declare `zero_retention: true` at the target.",
        ),
        plain(
            Gate::Training,
            json!({"first": {"training_opt_out": false}}),
            json!({"training_opt_out": "required"}),
            "`first` declares `training_opt_out: false`, and `models.chat.fallback.training_opt_out` requires it. To allow the \
             target, remove that boundary.",
        ),
        plain(
            Gate::Quality,
            json!({}),
            json!({"min_quality": 3}),
            "`first` does not declare its `quality`, and `models.chat.fallback.min_quality` asks for at least 3. Declare `quality` \
             at the target.",
        ),
        plain(
            Gate::Quality,
            json!({"first": {"quality": 2}}),
            json!({"min_quality": 3}),
            "`first` has the quality 2, and `models.chat.fallback.min_quality` asks for at least 3. To allow it, lower it there.",
        ),
        plain(
            Gate::PriceCeiling,
            json!({}),
            json!({"max_price": {"input": 0.5}}),
            "`first` does not declare its `price`, and `models.chat.fallback.max_price` asks for at most $0.5 input. Declare \
             `price: { input: …, output: … }` at the target.",
        ),
        plain(
            Gate::PriceCeiling,
            price.clone(),
            json!({"max_price": {"input": 0.5}}),
            "`first` costs $1 input $2 output, and `models.chat.fallback.max_price` asks for at most $0.5 input. To allow it, raise \
             it there.",
        ),
        plain(
            Gate::RequestCost,
            price.clone(),
            json!({"max_request_cost": 0.0001}),
            "`first` costs up to $0.000208, and `models.chat.fallback.max_request_cost` asks for at most $0.0001. To allow it, raise \
             it there.",
        ),
        needing(
            Gate::Capability(Capability::Tools),
            json!({"tools": tool}),
            json!({}),
            "`far` does not offer `tools`. If it does, declare `tools: true` at the target.",
        ),
        needing(
            Gate::Capability(Capability::N),
            json!({"n": 3}),
            json!({"far": {"n": false}}),
            "`far` does not offer `n` (3 answers), because `n: false` is declared. If it does, declare `n: true` at the target.",
        ),
        needing(
            Gate::Streaming,
            json!({"stream": true}),
            json!({"far": {"streaming": false}}),
            "`far` does not stream, because `streaming: false` is declared. If it does, declare `streaming: true` at the target.",
        ),
        needing(
            Gate::ContextWindow,
            json!({"messages": words}),
            json!({}),
            "The request needs about 20007 tokens, and the `context_window` of `far` is 8192 (assumed). If it is larger, declare \
             `context_window` at the target.",
        ),
        needing(
            Gate::MaxOutput,
            json!({"max_tokens": 64_000}),
            json!({"far": {"context_window": 128_000}}),
            "The request asks for a response of 64000 tokens, and the `max_output_tokens` of `far` are 4096 (assumed). If it can \
             give more, declare `max_output_tokens` at the target.",
        ),
        Case {
            needs: Needs { endpoint: Endpoint::Responses, ..state },
            ..substitute(
                Gate::State,
                json!({}),
                json!({}),
                "`far` (account `b`) does not have what the request refers to (previous_response). Only the account that has it can \
                 take the request.",
            )
        },
        needing(
            Gate::SealedReasoning,
            json!({"messages": turn}),
            json!({}),
            "`far` cannot read the signed reasoning of the conversation. Only the provider that made it can take the request.",
        ),
        Case {
            needs: Needs { encrypted: Encrypted::Removable, ..chat(json!({})) },
            ..substitute(
                Gate::SealedReasoning,
                json!({}),
                json!({}),
                "`far` cannot read the encrypted reasoning of the conversation, only the account that made it can. To let other \
                 accounts go on without it, write `models.chat.fallback.sealed_reasoning: drop`.",
            )
        },
        Case {
            client: ClientLimits { regions: None, no_fallback: true },
            ..substitute(
                Gate::NoFallback,
                json!({}),
                json!({}),
                "`far` is a substitute, and the header `x-llm-no-fallback` allows none.",
            )
        },
        Case {
            failed: Some(ErrorClass::Server),
            ..substitute(
                Gate::LeaveAccount,
                json!({}),
                json!({"leave_account": ["timeout"]}),
                "`far` is another account, and `models.chat.fallback.leave_account` does not list the failure. To allow it, list it \
                 there.",
            )
        },
        Case {
            failed: Some(ErrorClass::Server),
            ..substitute(
                Gate::LeaveProvider,
                json!({}),
                json!({"leave_provider": ["timeout"]}),
                "`far` is another provider, and `models.chat.fallback.leave_provider` does not list the failure. To allow it, list it \
                 there.",
            )
        },
        Case {
            failed: Some(ErrorClass::ContextLength),
            ..substitute(
                Gate::LargerWindow,
                json!({}),
                json!({"context_length": "larger_window"}),
                "The prompt was too long for another target, and `far` needs a larger `context_window` (declared, more than 8192 \
                 tokens); it has 8192 (assumed). If it is larger, declare `context_window` at the target.",
            )
        },
        substitute(
            Gate::PriceRatio,
            price,
            json!({"max_price_ratio": 2}),
            "`far` and the first choice need a `price`, because `models.chat.fallback.max_price_ratio` compares them. Declare \
             `price: { input: …, output: … }` at both targets.",
        ),
        substitute(
            Gate::PriceRatio,
            prices,
            json!({"max_price_ratio": 2}),
            "`far` costs $3 input $4 output, and `models.chat.fallback.max_price_ratio` allows at most 2.000 times $1 input $2 \
             output. To allow it, raise that number.",
        ),
        substitute(
            Gate::BillingOwner,
            json!({}),
            json!({"same_billing_owner": true}),
            "`far` is billed to unknown, and `models.chat.fallback.same_billing_owner` asks for unknown. If it is the same, declare \
             `billing_owner` at both accounts.",
        ),
        substitute(
            Gate::PairNotApproved,
            json!({}),
            json!({"approved": [{"from": "first", "to": "other"}]}),
            "`far` has no approval as a substitute for first. To approve it, add `{ from: first, to: far }` to \
             `models.chat.fallback.approved`.",
        ),
        substitute(
            Gate::PairExpired,
            json!({}),
            json!({"approved": [{"from": "first", "to": "far", "until": "2026-01-01"}]}),
            "`far` needs approval as a substitute for first, and its approval has expired. To extend it, change its `until` in \
             `models.chat.fallback.approved`.",
        ),
    ]
}

#[test]
fn the_advice_for_every_gate_names_the_target_and_the_line_to_write() {
    let mut seen = Vec::new();
    for case in cases() {
        let Case { gate, targets, fallback, needs, target: name, failed, client, advice } = case;
        let config = config(targets, fallback);
        let past = PastAttempts::of(failed.iter().map(|class| (target(&config, "first"), Some(*class))));
        let eligibility = Eligibility {
            config: &config,
            model: &config.models()[0],
            key: None,
            client: &client,
            needs: &needs,
            past,
            estimates: None,
            now: NOON.wall(),
        };
        let id = target(&config, name);
        assert_eq!(eligibility.closed_gates(id).collect::<Vec<_>>(), [gate], "{advice}");
        assert_eq!(eligibility.advice(id).collect::<Vec<_>>(), [advice]);
        seen.push(std::mem::discriminant(&gate));
    }
    // Other tests have the dialect and translations: the targets of these cases speak every dialect.
    for gate in Gate::all().filter(|gate| !matches!(gate, Gate::Dialect | Gate::Translation)) {
        assert!(seen.contains(&std::mem::discriminant(&gate)), "no case for {}", gate.name());
    }
}

#[test]
fn a_boundary_of_the_key_is_named_as_such() {
    let config = config(json!({}), json!({"zero_retention": "required"}));
    let key = Boundaries { zero_retention: true, ..Boundaries::default() };
    let (needs, client) = (chat(json!({})), ClientLimits::default());
    let eligibility = Eligibility {
        config: &config,
        model: &config.models()[0],
        key: Some(&key),
        client: &client,
        needs: &needs,
        past: PastAttempts::default(),
        estimates: None,
        now: NOON.wall(),
    };
    assert_eq!(
        eligibility.advice(target(&config, "first")).collect::<Vec<_>>(),
        [
            "`first` does not declare `zero_retention`, which `models.chat.fallback.zero_retention` or `zero_retention` of the \
          client's key requires. If it offers that, declare `zero_retention: true` at the target."
        ]
    );
}

#[test]
fn what_an_endpoint_drops_or_a_provider_does_not_speak_no_declaration_can_change() {
    let config = load(&json!({
        "providers": {"p": {"kind": "openai"}, "q": {"kind": "anthropic"}},
        "targets": {"gpt": {"provider": "p", "model": "g"}, "claude": {"provider": "q", "model": "c"}},
        "models": {"chat": {"tiers": [["gpt"], ["claude"]]}},
    }));
    let advice = |name: &str, needs: &Needs| {
        let eligibility = Eligibility {
            config: &config,
            model: &config.models()[0],
            key: None,
            client: &ClientLimits::default(),
            needs,
            past: PastAttempts::default(),
            estimates: None,
            now: NOON.wall(),
        };
        eligibility.advice(target(&config, name)).collect::<Vec<_>>()
    };
    assert_eq!(
        advice("gpt", &Needs { endpoint: Endpoint::Messages, ..chat(json!({})) }),
        Vec::<String>::new(),
        "another target serves it"
    );
    assert_eq!(
        advice("claude", &Needs { endpoint: Endpoint::Embeddings, ..chat(json!({})) }),
        Vec::<String>::new(),
        "another target serves it"
    );
    assert_eq!(
        advice("claude", &chat(json!({"seed": 1}))),
        [
            "`claude` does not offer `seed`: its provider's chat endpoint drops it without an error, which no declaration changes. Use \
          another endpoint, or another target."
        ]
    );
}
