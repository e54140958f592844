//! Tables of Responses requests and the chat and Messages requests that they become.

use serde_json::{Value, json};

use super::{CHAT, CLAUDE, body, check, messages, names, translated};
use crate::translate::{Loss, Translation};

const WAY: Translation = Translation::ResponsesToChat;

fn settings(input: Value, expected: Value, losses: &[Loss]) {
    check(WAY, CHAT, input, expected, losses);
}

fn items(input: Value, expected: Value, losses: &[&str]) {
    let (found, _, lost) = messages(WAY, input.clone());
    assert_eq!(found, expected, "{input:#}");
    assert_eq!(lost, losses, "{input:#}");
}

fn text(text: &str) -> Value {
    json!({"type": "text", "text": text})
}

fn call(id: &str, arguments: &str) -> Value {
    json!({"type": "function_call", "id": "fc_1", "call_id": id, "name": "get", "arguments": arguments,
        "status": "completed"})
}

fn made(id: &str, arguments: &str) -> Value {
    json!({"id": id, "type": "function", "function": {"name": "get", "arguments": arguments}})
}

fn output(id: &str, output: Value) -> Value {
    json!({"type": "function_call_output", "call_id": id, "output": output})
}

fn said(role: &str, text: &str) -> Value {
    json!({"role": role, "content": text})
}

#[test]
fn members_that_both_have_are_carried_over() {
    let schema = json!({"type": "object"});
    for (input, expected) in [
        (json!({"max_output_tokens": 7}), json!({"max_tokens": 7})),
        (json!({"temperature": 0.5, "top_p": 0.4}), json!({"temperature": 0.5, "top_p": 0.4})),
        (json!({"user": "u"}), json!({"user": "u"})),
        (json!({"safety_identifier": "s", "user": "u"}), json!({"user": "s"})),
        (json!({"stream": true}), json!({"stream": true, "stream_options": {"include_usage": true}})),
        (json!({"text": {"format": {"type": "text"}, "verbosity": "medium"}}), json!({})),
        (
            json!({"text": {"format": {"type": "json_object"}}}),
            json!({"response_format": {"type": "json_object"}}),
        ),
        (
            json!({"text": {"format": {"type": "json_schema", "name": "n", "schema": schema, "strict": true}}}),
            json!({"response_format": {"type": "json_schema",
                "json_schema": {"name": "n", "schema": schema, "strict": true}}}),
        ),
        (json!({"store": false, "truncation": "disabled", "background": false, "include": []}), json!({})),
    ] {
        settings(input, expected, &[]);
    }
}

#[test]
fn what_chat_does_not_have_is_a_loss() {
    for (input, loss) in [
        (json!({"previous_response_id": "r"}), Loss::State),
        (json!({"conversation": {"id": "c"}}), Loss::State),
        (json!({"background": true}), Loss::State),
        (json!({"store": true}), Loss::Store),
        (json!({"include": ["reasoning.encrypted_content"]}), Loss::ReasoningDisplay),
        (json!({"reasoning": {"summary": "auto"}}), Loss::ReasoningDisplay),
        (json!({"reasoning": {"effort": "high"}}), Loss::Reasoning),
        (json!({"truncation": "auto"}), Loss::ContextManagement),
        (json!({"prompt_cache_key": "k"}), Loss::CacheControl),
        (json!({"metadata": {"a": "b"}}), Loss::Metadata),
        (json!({"text": {"verbosity": "low"}}), Loss::Verbosity),
        (json!({"top_logprobs": 2}), Loss::Logprobs),
        (json!({"tools": [{"type": "web_search"}]}), Loss::HostedTools),
        (json!({"something_new": [1]}), Loss::Unknown),
    ] {
        settings(input, json!({}), &[loss]);
    }
}

#[test]
fn functions_are_nested_and_choices_have_their_forms() {
    let function = json!({"type": "function", "name": "get", "description": "d", "parameters": {"type": "object"},
        "strict": false});
    let nested = json!([{"type": "function",
        "function": {"name": "get", "description": "d", "parameters": {"type": "object"}}}]);
    let named = json!({"tool_choice": {"type": "function", "function": {"name": "get"}}});
    let allowed = json!({"type": "allowed_tools", "mode": "required", "tools": []});
    for (choice, expected, losses) in [
        (json!("auto"), json!({}), &[][..]),
        (json!("required"), json!({"tool_choice": "required"}), &[]),
        (json!("none"), json!({"tool_choice": "none"}), &[]),
        (json!({"type": "function", "name": "get"}), named, &[]),
        (allowed, json!({"tool_choice": "required"}), &[Loss::ToolChoice]),
        (json!({"type": "web_search"}), json!({}), &[Loss::ToolChoice]),
    ] {
        let expected = super::merged(json!({"tools": nested, "parallel_tool_calls": false}), expected);
        let input = json!({"tools": [function], "tool_choice": choice, "parallel_tool_calls": false});
        settings(input, expected, losses);
    }
}

#[test]
fn a_tool_for_plain_text_becomes_a_function_that_tells_the_grammar() {
    let tool = json!({"type": "custom", "name": "apply_patch", "description": "Edits files.",
        "format": {"type": "grammar", "syntax": "lark", "definition": "start: \"a\"\n"}});
    let found = translated(WAY, CHAT, &json!({"input": "Hi", "tools": [tool]}));
    let function = &body(&found)["tools"][0]["function"];
    assert_eq!(function["parameters"]["required"], json!(["input"]));
    let told = function["parameters"]["properties"]["input"]["description"].as_str().unwrap();
    assert!(told.ends_with("start: \"a\"\n"), "{told}");
    assert!(found.context.is_custom(b"apply_patch"));
    assert_eq!(names(found.losses), ["tool_grammar"]);
}

#[test]
fn tools_in_a_namespace_get_its_name() {
    let tools = json!([{"type": "namespace", "name": "crm", "description": "d", "tools": [
        {"type": "function", "name": "list", "parameters": {"type": "object"}},
        {"type": "custom", "name": "note"},
    ]}]);
    let input = json!([
        said("user", "a"),
        {"type": "function_call", "call_id": "c", "name": "list", "namespace": "crm", "arguments": "{}"},
        output("c", json!("1")),
    ]);
    let found = translated(WAY, CHAT, &json!({"input": input, "tools": tools}));
    let body = body(&found);
    assert_eq!(body["tools"][0]["function"]["name"], "crm__list");
    assert_eq!(body["messages"][1]["tool_calls"][0]["function"]["name"], "crm__list");
    let renamed = found.context.renamed(b"crm__list").unwrap();
    assert_eq!((&*renamed.client, renamed.namespace.as_deref()), (&b"list"[..], Some(&b"crm"[..])));
    assert!(found.context.is_custom(b"crm__note"));
}

#[test]
fn instructions_at_the_beginning_are_one_message() {
    let input = json!({"instructions": "One.", "input": [
        {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "Two."}]},
        said("user", "a"),
        said("developer", "Three."),
        said("user", "b"),
    ]});
    assert_eq!(
        body(&translated(WAY, CHAT, &input))["messages"],
        json!([
            said("system", "One.\n\nTwo."),
            said("user", "a"),
            said("system", "Three."),
            said("user", "b")
        ])
    );
}

#[test]
fn what_the_model_wrote_in_one_go_is_one_message() {
    items(
        json!([
            said("user", "a"),
            {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "x"},
            {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "phase": "commentary",
                "content": [{"type": "output_text", "text": "b", "annotations": [], "logprobs": []}]},
            call("c1", "{}"),
            call("c2", "{\"x\":1}"),
            output("c1", json!("1")),
            output("c2", json!([{"type": "input_text", "text": "2"}])),
            {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]},
            said("user", "c"),
        ]),
        json!([
            said("user", "a"),
            {"role": "assistant", "content": "b", "tool_calls": [made("c1", "{}"), made("c2", "{\"x\":1}")]},
            {"role": "tool", "tool_call_id": "c1", "content": "1"},
            {"role": "tool", "tool_call_id": "c2", "content": "2"},
            said("assistant", "No."),
            said("user", "c"),
        ]),
        &["past_reasoning"],
    );
}

#[test]
fn what_stands_between_a_call_and_its_result_waits() {
    items(
        json!([
            said("user", "a"),
            call("c1", "{}"),
            said("user", "b"),
            call("c2", "{}"),
            output("c2", json!("2")),
            output("c1", json!("1")),
            said("user", "c"),
            call("c3", "{}"),
            said("user", "d"),
        ]),
        json!([
            said("user", "a"),
            {"role": "assistant", "content": null, "tool_calls": [made("c1", "{}")]},
            {"role": "tool", "tool_call_id": "c1", "content": "1"},
            said("user", "b"),
            {"role": "assistant", "content": null, "tool_calls": [made("c2", "{}")]},
            {"role": "tool", "tool_call_id": "c2", "content": "2"},
            said("user", "c"),
            {"role": "assistant", "content": null, "tool_calls": [made("c3", "{}")]},
            said("user", "d"),
        ]),
        &[],
    );
}

#[test]
fn a_result_that_does_not_come_changes_no_order() {
    for count in [3, 63, 64, 65, 200] {
        let rest: Vec<_> = (0..count).map(|number| said("user", &format!("{number}"))).collect();
        let (found, ..) = messages(WAY, json!([vec![call("c1", "{}")], rest.clone()].concat()));
        assert_eq!(found.as_array().unwrap()[1..], rest, "{count}");
    }
}

#[test]
fn images_of_results_follow_after_all_results() {
    let image = json!({"type": "input_image", "image_url": "https://example.com/a.png", "detail": "auto"});
    let made_image = json!({"type": "image_url",
        "image_url": {"url": "https://example.com/a.png", "detail": "auto"}});
    items(
        json!([
            call("c1", "{}"),
            call("c2", "{}"),
            output("c1", json!([image])),
            output("c2", json!("2")),
            said("assistant", "b"),
            said("user", "c"),
        ]),
        json!([
            {"role": "assistant", "content": null, "tool_calls": [made("c1", "{}"), made("c2", "{}")]},
            {"role": "tool", "tool_call_id": "c1", "content": "(The result is in the next message.)"},
            {"role": "tool", "tool_call_id": "c2", "content": "2"},
            {"role": "user", "content": [made_image]},
            said("assistant", "b"),
            said("user", "c"),
        ]),
        &[],
    );
}

#[test]
fn calls_with_plain_text_travel_as_functions() {
    items(
        json!([
            {"type": "custom_tool_call", "call_id": "c1", "name": "get", "input": "*** \"Begin\"\n"},
            {"type": "custom_tool_call_output", "call_id": "c1", "output": "Done"},
        ]),
        json!([
            {"role": "assistant", "content": null,
                "tool_calls": [made("c1", "{\"input\":\"*** \\\"Begin\\\"\\n\"}")]},
            {"role": "tool", "tool_call_id": "c1", "content": "Done"},
        ]),
        &[],
    );
}

#[test]
fn items_and_parts_that_chat_does_not_have_are_losses() {
    for (item, loss) in [
        (json!({"type": "item_reference", "id": "m"}), "state"),
        (json!({"type": "web_search_call", "id": "w"}), "hosted_tools"),
        (json!({"type": "local_shell_call_output", "output": "x"}), "hosted_tools"),
        (json!({"type": "mcp_list_tools", "tools": []}), "hosted_tools"),
        (json!({"type": "novel"}), "unknown"),
        (json!(7), "unknown"),
        (json!({"role": "user", "content": [{"type": "input_image", "file_id": "f"}]}), "state"),
        (json!({"role": "user", "content": [{"type": "input_file", "file_url": "https://a"}]}), "documents"),
        (json!({"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}), "audio"),
    ] {
        items(json!([said("user", "a"), item]), json!([said("user", "a")]), &[loss]);
    }
}

#[test]
fn on_the_way_to_messages_nothing_is_lost_that_both_ends_have() {
    let image = json!({"type": "input_image", "image_url": "data:image/png;base64,AA"});
    let pdf = json!({"type": "input_file", "file_url": "https://example.com/a.pdf"});
    let input = json!({"instructions": "Be kind.", "temperature": 0.3, "max_output_tokens": 9,
        "reasoning": {"effort": "high"}, "input": [
        {"role": "user", "content": [{"type": "input_text", "text": "a"}, pdf]},
        call("c1", "{\"x\":1}"),
        output("c1", json!([{"type": "input_text", "text": "1"}, image])),
        said("assistant", "b"),
        said("user", "c"),
    ]});
    let found = translated(Translation::ResponsesToMessages, CLAUDE, &input);
    let body = body(&found);
    assert_eq!(body["system"], json!([text("Be kind.")]));
    assert_eq!(
        body["messages"],
        json!([
            {"role": "user", "content": [text("a"), {"type": "document", "title": "document.pdf",
                "source": {"type": "url", "url": "https://example.com/a.pdf"}}]},
            {"role": "assistant", "content": [
                {"type": "tool_use", "id": "c1", "name": "get", "input": {"x": 1}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c1", "content": [text("1"),
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA"}}]}]},
            {"role": "assistant", "content": [text("b")]},
            {"role": "user", "content": [text("c")]},
        ])
    );
    assert_eq!((&body["temperature"], &body["max_tokens"]), (&json!(0.3), &json!(9)));
    // Nine tokens leave no room for thinking.
    assert_eq!(names(found.losses), ["reasoning"]);
}
