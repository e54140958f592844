//! What depends on the provider's model: reasoning, sampling and forced tools.

use serde_json::{Value, json};

use super::{CHAT, CLAUDE, body, merged, names, terms, translated};
use crate::translate::request::{losses_of, translate_request};
use crate::translate::{Loss, ReasoningPolicy, Translation};

/// Checks these members of the Messages request that a chat request with `input` becomes at `model`:
/// `thinking`, `output_config`, `temperature` and the type of `tool_choice`.
fn at_claude(model: &str, input: Value, expected: [Value; 4], losses: &[&str]) {
    let rest = json!({"messages": [{"role": "user", "content": "a"}], "max_tokens": 64_000});
    let input = merged(rest, input);
    let found = translated(Translation::ChatToMessages, model, &input);
    let made = body(&found);
    let choice = made["tool_choice"]["type"].clone();
    let found_members =
        [made["thinking"].clone(), made["output_config"].clone(), made["temperature"].clone(), choice];
    assert_eq!(found_members, expected, "{model} {input:#}");
    assert_eq!(names(found.losses), losses, "{model} {input:#}");
}

#[test]
fn effort_has_the_form_that_the_model_knows() {
    let adaptive = json!({"type": "adaptive"});
    let effort = |effort: &str| json!({"effort": effort});
    let null = Value::Null;
    for (model, asked, thinking, output, losses) in [
        ("claude-3-haiku-20240307", "high", null.clone(), null.clone(), &["reasoning"][..]),
        ("claude-haiku-4-5", "high", json!({"type": "enabled", "budget_tokens": 24_576}), null.clone(), &[]),
        ("claude-haiku-4-5", "none", null.clone(), null.clone(), &[]),
        ("claude-opus-4-6", "xhigh", adaptive.clone(), effort("high"), &[]),
        ("claude-opus-4-7", "xhigh", adaptive.clone(), effort("xhigh"), &[]),
        ("claude-opus-4-7", "minimal", null.clone(), null.clone(), &[]),
        ("claude-opus-5", "low", adaptive, effort("low"), &[]),
        ("claude-opus-5", "none", json!({"type": "disabled"}), null.clone(), &[]),
        ("claude-opus-5-5", "high", null.clone(), effort("high"), &[]),
        ("claude-opus-5-5", "none", null.clone(), effort("low"), &[]),
    ] {
        at_claude(
            model,
            json!({"reasoning_effort": asked}),
            [thinking, output, null.clone(), null.clone()],
            losses,
        );
    }
}

#[test]
fn a_budget_leaves_room_for_the_answer() {
    for (limit, budget) in [(2047, None), (2048, Some(1024)), (10_000, Some(5000)), (64_000, Some(8192))] {
        let thinking =
            budget.map_or(Value::Null, |budget| json!({"type": "enabled", "budget_tokens": budget}));
        let losses: &[&str] = if budget.is_none() { &["reasoning"] } else { &[] };
        let input = json!({"reasoning_effort": "medium", "max_tokens": limit});
        at_claude(CLAUDE, input, [thinking, Value::Null, Value::Null, Value::Null], losses);
    }
}

#[test]
fn sampling_and_thinking_do_not_meet() {
    let null = Value::Null;
    let warm = json!({"temperature": 0.5});
    let hard = json!({"temperature": 0.5, "reasoning_effort": "low"});
    let budget = json!({"type": "enabled", "budget_tokens": 2048});
    at_claude(CLAUDE, warm.clone(), [null.clone(), null.clone(), json!(0.5), null.clone()], &[]);
    at_claude(CLAUDE, hard, [budget, null.clone(), null.clone(), null.clone()], &["temperature"]);
    at_claude("claude-opus-4-7", warm, [null.clone(), null.clone(), null.clone(), null], &["temperature"]);
}

#[test]
fn a_forced_tool_turns_thinking_off_or_is_not_forced() {
    let null = Value::Null;
    let input = json!({"reasoning_effort": "xhigh", "tool_choice": "required",
        "tools": [{"type": "function", "function": {"name": "a"}}]});
    for (model, thinking, output, choice, losses) in [
        (CLAUDE, null.clone(), null.clone(), json!("any"), &["reasoning"]),
        ("claude-opus-4-7", null.clone(), json!({"effort": "xhigh"}), json!("any"), &["reasoning"]),
        (
            "claude-opus-5",
            json!({"type": "disabled"}),
            json!({"effort": "high"}),
            json!("any"),
            &["reasoning"],
        ),
        ("claude-fable-5-1", null.clone(), json!({"effort": "xhigh"}), null.clone(), &["tool_choice"]),
    ] {
        at_claude(model, input.clone(), [thinking, output, null.clone(), choice], losses);
    }
}

#[test]
fn a_budget_is_not_asked_for_between_calls_of_another_model() {
    let call = json!({"id": "c", "type": "function", "function": {"name": "a", "arguments": "{}"}});
    let input = json!({"reasoning_effort": "high", "messages": [
        {"role": "user", "content": "a"},
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c", "content": "1"},
    ]});
    let none = json!({"type": "none"})["type"].clone();
    at_claude(CLAUDE, input.clone(), [Value::Null, Value::Null, Value::Null, none.clone()], &["reasoning"]);
    let adaptive = [json!({"type": "adaptive"}), json!({"effort": "high"}), Value::Null, none];
    at_claude("claude-opus-4-6", input, adaptive, &[]);
}

#[test]
fn reasoning_is_shown_only_if_it_is_kept() {
    let input = br#"{"messages":[{"role":"user","content":"a"}],"reasoning_effort":"high"}"#;
    for (model, policy, thinking) in [
        ("claude-opus-4-7", ReasoningPolicy::Keep, json!({"type": "adaptive", "display": "summarized"})),
        ("claude-opus-5-5", ReasoningPolicy::Keep, json!({"type": "adaptive", "display": "summarized"})),
        ("claude-opus-4-6", ReasoningPolicy::Keep, json!({"type": "adaptive"})),
        ("claude-opus-4-7", ReasoningPolicy::Drop, json!({"type": "adaptive"})),
    ] {
        let found = translate_request(Translation::ChatToMessages, input, &terms(model, policy)).unwrap();
        assert_eq!(body(&found)["thinking"], thinking, "{model} {policy:?}");
    }
}

#[test]
fn to_ask_for_reasoning_is_a_loss_only_where_it_is_refused() {
    for (way, body) in [
        (
            Translation::ChatToMessages,
            r#"{"messages":[{"role":"user","content":"a"}],"reasoning_effort":"low"}"#,
        ),
        (
            Translation::MessagesToChat,
            r#"{"messages":[{"role":"user","content":"a"}],"thinking":{"type":"adaptive"}}"#,
        ),
        (Translation::ResponsesToChat, r#"{"input":"a","reasoning":{"effort":"low"}}"#),
        (Translation::ResponsesToMessages, r#"{"input":"a","reasoning":{"effort":"low"}}"#),
    ] {
        for policy in [ReasoningPolicy::Drop, ReasoningPolicy::Keep, ReasoningPolicy::Refuse] {
            let losses = losses_of(way, body.as_bytes(), policy).unwrap();
            assert_eq!(
                losses.contains(Loss::Reasoning),
                policy == ReasoningPolicy::Refuse,
                "{way:?} {policy:?}"
            );
        }
    }
}

#[test]
fn what_only_some_models_refuse_is_no_loss_of_the_dialect() {
    let call = json!({"id": "c", "type": "function", "function": {"name": "a", "arguments": "{}"}});
    let body = json!({"reasoning_effort": "high", "max_tokens": 9, "messages": [
        {"role": "user", "content": "a"},
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c", "content": "1"},
    ]});
    let losses = losses_of(Translation::ChatToMessages, body.to_string().as_bytes(), ReasoningPolicy::Drop);
    assert_eq!(losses.map(names), Ok(vec![]));
}

#[test]
fn a_tool_that_was_left_out_is_not_chosen() {
    let tools = json!([{"type": "web_search_20250305", "name": "web_search"},
        {"name": "a", "input_schema": {"type": "object"}}]);
    let input = json!({"messages": [{"role": "user", "content": "a"}], "tools": tools,
        "tool_choice": {"type": "tool", "name": "web_search"}});
    let found = translated(Translation::MessagesToChat, CHAT, &input);
    assert_eq!(body(&found).get("tool_choice"), None);
    assert_eq!(names(found.losses), ["hosted_tools", "tool_choice"]);
}

/// Checks `reasoning_effort`, `temperature` and `stop` of the chat request that a Messages request with
/// `input` becomes at `model`.
fn at_chat(model: &str, input: Value, expected: [Value; 3], losses: &[&str]) {
    let rest = json!({"messages": [{"role": "user", "content": "a"}], "max_tokens": 64_000});
    let input = merged(rest, input);
    let found = translated(Translation::MessagesToChat, model, &input);
    let made = body(&found);
    let members = ["reasoning_effort", "temperature", "stop"].map(|member| made[member].clone());
    assert_eq!(members, expected, "{model} {input:#}");
    assert_eq!(names(found.losses), losses, "{model} {input:#}");
    let limit = super::super::ChatModel::named(model).limit;
    assert_eq!(made[limit], json!(64_000));
}

#[test]
fn thinking_becomes_an_effort_that_the_model_knows() {
    let null = Value::Null;
    let budget = json!({"thinking": {"type": "enabled", "budget_tokens": 10_000}});
    let adaptive = json!({"thinking": {"type": "adaptive"}, "output_config": {"effort": "max"}});
    let off = json!({"thinking": {"type": "disabled"}});
    for (model, input, effort, losses) in [
        ("gpt-5.1", budget.clone(), json!("medium"), &[][..]),
        ("gpt-5.6", adaptive.clone(), json!("xhigh"), &[]),
        ("gpt-5", adaptive.clone(), json!("high"), &[]),
        ("gpt-5", off.clone(), json!("minimal"), &[]),
        ("gpt-5.1", off.clone(), json!("none"), &[]),
        ("o3", off.clone(), json!("low"), &[]),
        (CHAT, off, null.clone(), &[]),
        (CHAT, budget, null.clone(), &["reasoning"]),
        ("openai/gpt-oss-120b", adaptive, json!("high"), &[]),
        ("gpt-5.6", json!({"thinking": {"type": "adaptive"}}), json!("medium"), &[]),
    ] {
        at_chat(model, input, [effort, null.clone(), null.clone()], losses);
    }
}

#[test]
fn models_that_reason_take_no_sampling_and_newer_ones_no_tools_beside_reasoning() {
    let null = Value::Null;
    let input = json!({"temperature": 0.5, "stop_sequences": ["x"]});
    at_chat(CHAT, input.clone(), [null.clone(), json!(0.5), json!(["x"])], &[]);
    at_chat("gpt-5", input, [null.clone(), null.clone(), null.clone()], &["temperature", "stop"]);
    let tools = json!({"tools": [{"name": "a", "input_schema": {"type": "object"}}]});
    at_chat("gpt-5.1", tools.clone(), [null.clone(), null.clone(), null.clone()], &[]);
    at_chat("gpt-5.6", tools.clone(), [json!("none"), null.clone(), null.clone()], &[]);
    let asked = merged(tools, json!({"output_config": {"effort": "high"}}));
    at_chat("gpt-5.6", asked, [json!("none"), null.clone(), null], &["reasoning"]);
}
