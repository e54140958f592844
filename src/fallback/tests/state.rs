//! Which accounts may take a request that belongs to a conversation.

use super::*;
use crate::base::KnownOwner;
use crate::request::Tracks;

/// Two accounts and a vendor without the endpoint in the first tier, a third account in the second.
fn config(fallback: Value) -> Config {
    load(&json!({
        "providers": {"openai": {"kind": "openai"}, "anthropic": {"kind": "anthropic"}},
        "targets": {
            "a": {"provider": "openai", "model": "m"}, "b": {"provider": "openai", "model": "m"},
            "claude": {"provider": "anthropic", "model": "m"}, "late": {"provider": "openai", "model": "m"},
        },
        "models": {"chat": {"tiers": [["a", "claude", "b"], ["late"]], "fallback": fallback}},
    }))
}

fn needs(body: Value) -> Needs {
    let mut scanner = Scanner::tracking(Tracks { beginning: true, references: true });
    scanner.feed(body.to_string().as_bytes()).unwrap();
    Needs::of(&scanner.finish().unwrap(), Endpoint::Responses)
}

fn owned_by(config: &Config, name: &str, mixed: bool, needs: Needs) -> Needs {
    let account = config.target(target(config, name)).unwrap().account;
    let owner = config.account(account).unwrap().owner;
    Needs { owner: Some(KnownOwner { owner, mixed }), ..needs }
}

/// The targets that pass, after these targets have answered that they do not know the state.
fn open(config: &Config, needs: &Needs, denied: &[&str]) -> Vec<&'static str> {
    let failed: Vec<_> = denied.iter().map(|name| (*name, ErrorClass::StateNotFound)).collect();
    let passes = |name: &&str| closed(config, name, needs, &failed).is_empty();
    ["a", "b", "late"].into_iter().filter(passes).collect()
}

fn stored() -> Needs {
    needs(json!({"previous_response_id": "r"}))
}

fn encrypted() -> Needs {
    needs(json!({"input": [{"type": "reasoning", "encrypted_content": "gAAA"}]}))
}

#[test]
fn state_of_an_unknown_owner_goes_to_each_account_of_the_first_tier_that_has_not_denied_it() {
    let config = config(json!({}));
    for needs in [stored(), encrypted(), needs(json!({"input": [{"type": "item_reference", "id": "rs_1"}]}))]
    {
        assert_eq!(open(&config, &needs, &[]), ["a", "b"]);
        assert_eq!(open(&config, &needs, &["a"]), ["b"]);
        assert_eq!(open(&config, &needs, &["a", "b"]), NOTHING);
    }
}

#[test]
fn state_of_a_known_owner_goes_only_there_whatever_its_tier() {
    let config = config(json!({}));
    for needs in [stored(), encrypted()] {
        for name in ["a", "b", "late"] {
            assert_eq!(open(&config, &owned_by(&config, name, false, needs), &[]), [name]);
        }
        let stale = owned_by(&config, "late", false, needs);
        assert_eq!(open(&config, &stale, &["late"]), ["a", "b"], "the owner has denied it");
        let gone =
            Needs { owner: Some(KnownOwner { owner: crate::base::Owner::of(7), mixed: false }), ..needs };
        assert_eq!(open(&config, &gone, &[]), ["a", "b"], "the owner is not in the model any more");
    }
}

#[test]
fn items_with_ids_and_content_are_bound_to_no_account() {
    let config = config(json!({}));
    let content = json!([{"type": "output_text", "text": "hi"}]);
    let needs = needs(json!({"input": [
        {"type": "message", "role": "assistant", "id": "msg_1", "content": content},
        {"type": "function_call", "id": "fc_1", "call_id": "c", "name": "f", "arguments": "{}"},
        {"type": "reasoning", "id": "rs_1", "content": [{"type": "reasoning_text", "text": "x"}], "summary": []},
    ]}));
    assert_eq!(open(&config, &owned_by(&config, "a", false, needs), &[]), ["a", "b", "late"]);
}

#[test]
fn reasoning_that_may_be_dropped_goes_everywhere_and_is_kept_where_it_can_be_read() {
    let config = config(json!({"sealed_reasoning": "drop"}));
    let drops = |needs: &Needs, denied: &[&str]| {
        let eligibility = Eligibility {
            config: &config,
            model: &config.models()[0],
            key: None,
            client: &ClientLimits::default(),
            needs,
            past: PastAttempts::of(
                denied.iter().map(|name| (target(&config, name), Some(ErrorClass::StateNotFound))),
            ),
            estimates: None,
            now: NOON.wall(),
        };
        let drops = |name: &&str| eligibility.drops_reasoning_at(target(&config, name));
        ["a", "b", "late"].into_iter().filter(drops).collect::<Vec<_>>()
    };
    let unknown = encrypted();
    assert_eq!(open(&config, &unknown, &[]), ["a", "b", "late"]);
    assert_eq!(drops(&unknown, &[]), ["late"]);
    assert_eq!(drops(&unknown, &["a"]), ["a", "late"]);
    let known = owned_by(&config, "a", false, unknown);
    assert_eq!(open(&config, &known, &[]), ["a", "b", "late"]);
    assert_eq!(drops(&known, &[]), ["b", "late"]);
    assert_eq!(
        drops(&owned_by(&config, "a", true, unknown), &[]),
        ["a", "b", "late"],
        "it may be of two accounts"
    );
    // A compaction is the conversation, and no reasoning.
    let stuck = needs(json!({"input": [{"type": "compaction", "encrypted_content": "gAAA"}]}));
    assert_eq!(open(&config, &owned_by(&config, "a", false, stuck), &[]), ["a"]);
    assert_eq!(drops(&stuck, &[]), NOTHING);
    // What is stored cannot be dropped.
    let both = needs(json!({
        "previous_response_id": "r", "input": [{"type": "reasoning", "encrypted_content": "gAAA"}]
    }));
    assert_eq!(open(&config, &owned_by(&config, "a", false, both), &[]), ["a"]);
}

#[test]
fn a_response_that_is_fetched_later_needs_a_single_account() {
    let config = config(json!({}));
    assert_eq!(open(&config, &needs(json!({"background": true})), &[]), NOTHING);
}
