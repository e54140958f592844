//! Tables of chat requests and the Messages requests that they become.

use serde_json::{Value, json};

use super::{CLAUDE, check, messages, translated};
use crate::translate::{Loss, Translation};

const WAY: Translation = Translation::ChatToMessages;

fn settings(input: Value, expected: Value, losses: &[Loss]) {
    check(WAY, CLAUDE, input, expected, losses);
}

fn turns(input: Value, expected: Value) {
    let (found, system, losses) = messages(WAY, input.clone());
    assert_eq!((found, system), (expected, None), "{input:#}");
    assert_eq!(losses, [""; 0], "{input:#}");
}

fn text(text: &str) -> Value {
    json!({"type": "text", "text": text})
}

#[test]
fn members_that_both_have_are_carried_over() {
    let none: &[Loss] = &[];
    for (input, expected) in [
        (json!({"max_tokens": 7}), json!({"max_tokens": 7})),
        (json!({"max_completion_tokens": 8, "max_tokens": 7}), json!({"max_tokens": 8})),
        (json!({"temperature": 0.5}), json!({"temperature": 0.5})),
        (json!({"temperature": 1, "top_p": 0.9}), json!({"top_p": 0.9})),
        (json!({"top_k": 5}), json!({"top_k": 5})),
        (json!({"stop": "END"}), json!({"stop_sequences": ["END"]})),
        (json!({"stop": ["a", "b"]}), json!({"stop_sequences": ["a", "b"]})),
        (json!({"stop": null, "tools": null, "stream": null}), json!({})),
        (json!({"user": "u-1"}), json!({"metadata": {"user_id": "u-1"}})),
        (json!({"user": "u-1", "safety_identifier": "s"}), json!({"metadata": {"user_id": "s"}})),
        (json!({"stream": true}), json!({"stream": true})),
        (json!({"stream": false}), json!({})),
    ] {
        settings(input, expected, none);
    }
}

#[test]
fn defaults_are_no_loss() {
    let input = json!({
        "n": 1, "temperature": 1, "top_p": 1, "logprobs": false, "top_logprobs": 0, "frequency_penalty": 0,
        "presence_penalty": 0.0, "logit_bias": {}, "store": false, "service_tier": "auto", "verbosity": "medium",
        "modalities": ["text"], "metadata": {}, "response_format": {"type": "text"}, "seed": null, "tools": [],
        "tool_choice": "auto", "parallel_tool_calls": true, "user": "", "stream_options": null,
    });
    settings(input, json!({}), &[]);
}

#[test]
fn what_messages_does_not_have_is_a_loss() {
    for (input, loss) in [
        (json!({"n": 2}), Loss::N),
        (json!({"seed": 7}), Loss::Seed),
        (json!({"frequency_penalty": 0.1}), Loss::Penalties),
        (json!({"logit_bias": {"1": 2}}), Loss::LogitBias),
        (json!({"logprobs": true}), Loss::Logprobs),
        (json!({"store": true}), Loss::Store),
        (json!({"service_tier": "flex"}), Loss::ServiceTier),
        (json!({"prompt_cache_key": "k"}), Loss::CacheControl),
        (json!({"metadata": {"a": "b"}}), Loss::Metadata),
        (json!({"user": "u".repeat(300)}), Loss::Metadata),
        (json!({"verbosity": "low"}), Loss::Verbosity),
        (json!({"prediction": {"type": "content", "content": "a"}}), Loss::Prediction),
        (json!({"modalities": ["text", "audio"]}), Loss::Audio),
        (json!({"web_search_options": {}}), Loss::HostedTools),
        (json!({"response_format": {"type": "json_object"}}), Loss::JsonObject),
        (json!({"tools": [{"type": "web_search"}]}), Loss::HostedTools),
        (json!({"tools": [{"type": "custom", "custom": {"name": "a"}}]}), Loss::ToolGrammar),
        (json!({"something_new": 1}), Loss::Unknown),
        (json!({"stop": [" ", "\n"]}), Loss::Stop),
    ] {
        settings(input, json!({}), &[loss]);
    }
    settings(json!({"temperature": 1.5}), json!({"temperature": 1}), &[Loss::Temperature]);
    settings(json!({"temperature": 0.5, "top_p": 0.5}), json!({"temperature": 0.5}), &[Loss::Temperature]);
    settings(json!({"stop": ["a", "\n"]}), json!({"stop_sequences": ["a"]}), &[Loss::Stop]);
}

#[test]
fn a_schema_that_is_enforced_is_kept_and_another_is_a_loss() {
    let schema = json!({"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"],
        "additionalProperties": false});
    let format = |schema: &Value| {
        json!({"response_format": {"type": "json_schema", "json_schema":
        {"name": "n", "strict": true, "schema": schema}}})
    };
    let expected = json!({"output_config": {"format": {"type": "json_schema", "schema": schema}}});
    settings(format(&schema), expected, &[]);
    settings(format(&json!({"type": "object"})), json!({}), &[Loss::JsonSchema]);
    settings(format(&json!({"type": "string", "minLength": 2})), json!({}), &[Loss::JsonSchema]);
}

#[test]
fn tools_keep_their_schemas() {
    let schema = json!({"type": "object", "properties": {"city": {"type": "string"}}});
    let closed = json!({"type": "object", "properties": {}, "additionalProperties": false});
    let tool = |function: Value| json!({"tools": [{"type": "function", "function": function}]});
    for (function, expected, losses) in [
        (
            json!({"name": "a", "description": "d", "parameters": schema}),
            json!({"name": "a", "description": "d", "input_schema": schema}),
            &[][..],
        ),
        (
            json!({"name": "a"}),
            json!({"name": "a", "input_schema": {"type": "object", "properties": {}}}),
            &[],
        ),
        (
            json!({"name": "a", "parameters": {"properties": {"b": {}}}}),
            json!({"name": "a", "input_schema": {"type": "object", "properties": {"b": {}}}}),
            &[],
        ),
        (
            json!({"name": "a", "parameters": closed, "strict": true}),
            json!({"name": "a", "input_schema": closed, "strict": true}),
            &[],
        ),
        (
            json!({"name": "a", "parameters": schema, "strict": true}),
            json!({"name": "a", "input_schema": schema}),
            &[Loss::StrictTools],
        ),
    ] {
        settings(tool(function), json!({"tools": [expected]}), losses);
    }
}

#[test]
fn every_choice_of_tools_has_its_form() {
    let tools = json!([{"type": "function", "function": {"name": "a"}}]);
    let made = json!([{"name": "a", "input_schema": {"type": "object", "properties": {}}}]);
    let one = json!({"type": "function", "function": {"name": "a"}});
    let allowed = json!({"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [one]}});
    for (choice, parallel, expected, losses) in [
        (json!("auto"), json!(true), Value::Null, &[][..]),
        (json!("auto"), json!(false), json!({"type": "auto", "disable_parallel_tool_use": true}), &[]),
        (json!("none"), json!(false), json!({"type": "none"}), &[]),
        (json!("required"), json!(false), json!({"type": "any", "disable_parallel_tool_use": true}), &[]),
        (one.clone(), json!(null), json!({"type": "tool", "name": "a"}), &[]),
        (allowed, json!(null), json!({"type": "any"}), &[Loss::ToolChoice]),
    ] {
        let input = json!({"tools": tools, "tool_choice": choice, "parallel_tool_calls": parallel});
        let mut made = json!({"tools": made});
        if !expected.is_null() {
            made["tool_choice"] = expected;
        }
        settings(input, made, losses);
    }
    // Without tools there is no choice.
    settings(json!({"tool_choice": "none", "parallel_tool_calls": false}), json!({}), &[]);
}

#[test]
fn system_messages_go_to_the_front_and_later_ones_stay_in_place() {
    let input = json!([
        {"role": "system", "content": "Be kind."},
        {"role": "developer", "content": [{"type": "text", "text": "Be brief."}]},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello"},
        {"role": "developer", "content": "Now in \"French\"."},
        {"role": "user", "content": "Bye"},
    ]);
    let expected = json!([
        {"role": "user", "content": [text("Hi")]},
        {"role": "assistant", "content": [text("Hello")]},
        {"role": "user", "content": [text("<system>\nNow in \"French\".\n</system>"), text("Bye")]},
    ]);
    let system = json!([text("Be kind."), text("Be brief.")]);
    assert_eq!(messages(WAY, input), (expected, Some(system), vec![]));
}

#[test]
fn turns_alternate_and_begin_with_the_user() {
    turns(
        json!([
            {"role": "assistant", "content": "Welcome"},
            {"role": "user", "content": "a"},
            {"role": "assistant", "content": ""},
            {"role": "user", "content": [{"type": "text", "text": "b"}, {"type": "text", "text": " \n"}]},
        ]),
        json!([
            {"role": "user", "content": [text("(The conversation begins.)")]},
            {"role": "assistant", "content": [text("Welcome")]},
            {"role": "user", "content": [text("a"), text("b")]},
        ]),
    );
}

#[test]
fn an_answer_at_the_end_is_a_loss_that_is_still_sent() {
    let (found, _, losses) =
        messages(WAY, json!([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]));
    assert_eq!(losses, ["prefill"]);
    assert_eq!(found[1], json!({"role": "assistant", "content": [text("b")]}));
    assert_eq!(found[2], json!({"role": "user", "content": [text("Continue.")]}));
}

#[test]
fn calls_and_results_stay_together() {
    let call = |id: &str, arguments: &str| {
        json!({"id": id, "type": "function",
        "function": {"name": "get", "arguments": arguments}})
    };
    turns(
        json!([
            {"role": "user", "content": "a"},
            {"role": "assistant", "content": "Let me see.", "refusal": null,
                "tool_calls": [call("c1", r#"{"x": "\u00e9\n"}"#), call("c2", ""), call("c3", "oops")]},
            {"role": "tool", "tool_call_id": "c1", "content": "1"},
            {"role": "tool", "tool_call_id": "c2", "content": ""},
            {"role": "tool", "tool_call_id": "c3", "content": [{"type": "text", "text": "3"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]},
            {"role": "user", "content": "b"},
        ]),
        json!([
            {"role": "user", "content": [text("a")]},
            {"role": "assistant", "content": [
                text("Let me see."),
                {"type": "tool_use", "id": "c1", "name": "get", "input": {"x": "\u{e9}\n"}},
                {"type": "tool_use", "id": "c2", "name": "get", "input": {}},
                {"type": "tool_use", "id": "c3", "name": "get", "input": {"INVALID_JSON": "oops"}},
            ]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "c1", "content": [text("1")]},
                {"type": "tool_result", "tool_use_id": "c2"},
                {"type": "tool_result", "tool_use_id": "c3", "content": [text("3"),
                    {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}]},
                text("b"),
            ]},
        ]),
    );
}

#[test]
fn results_come_first_in_their_turn() {
    let call = json!({"id": "c1", "type": "function", "function": {"name": "get", "arguments": "{}"}});
    let (found, ..) = messages(
        WAY,
        json!([
            {"role": "user", "content": "a"},
            {"role": "assistant", "content": null, "tool_calls": [call]},
            {"role": "user", "content": "b"},
            {"role": "tool", "tool_call_id": "c1", "content": "1"},
        ]),
    );
    let kinds: Vec<_> = found[2]["content"].as_array().unwrap().iter().map(|block| &block["type"]).collect();
    assert_eq!(kinds, ["tool_result", "text"]);
}

#[test]
fn tools_that_were_called_are_defined_though_none_may_be_called() {
    let call = json!({"id": "a.1", "type": "function", "function": {"name": "x.y", "arguments": "{}"}});
    let input = json!({"messages": [
        {"role": "user", "content": "a"},
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "a.1", "content": "1"},
    ]});
    let found = translated(WAY, CLAUDE, &input);
    let body = super::body(&found);
    assert_eq!(body["tool_choice"], json!({"type": "none"}));
    let name = body["tools"][0]["name"].as_str().unwrap();
    assert_eq!(body["messages"][1]["content"][0]["name"], name);
    assert_eq!(found.context.renamed(name.as_bytes()).unwrap().client.as_ref(), b"x.y");
    assert_eq!(body["messages"][1]["content"][0]["id"], body["messages"][2]["content"][0]["tool_use_id"]);
}

#[test]
fn images_and_files_keep_their_data() {
    let image = |url: &str| json!({"type": "image_url", "image_url": {"url": url, "detail": "high"}});
    let file =
        |name: &str, data: &str| json!({"type": "file", "file": {"filename": name, "file_data": data}});
    turns(
        json!([{"role": "user", "content": [
            image("data:image/jpeg;base64,/9j/"), image("https://example.com/a.png"),
            file("a.pdf", "data:application/pdf;base64,JVBE"), file("b.txt", "data:text/plain;base64,aGkKIng="),
        ]}]),
        json!([{"role": "user", "content": [
            {"type": "image", "source": {"type": "base64", "media_type": "image/jpeg", "data": "/9j/"}},
            {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}},
            {"type": "document", "title": "a.pdf",
                "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBE"}},
            {"type": "document", "title": "b.txt",
                "source": {"type": "text", "media_type": "text/plain", "data": "hi\n\"x"}},
        ]}]),
    );
}

#[test]
fn parts_that_messages_does_not_take_are_losses() {
    let file = |file: Value| json!({"type": "file", "file": file});
    for (part, loss) in [
        (json!({"type": "image_url", "image_url": {"url": "data:image/tiff;base64,AA"}}), "images"),
        (json!({"type": "image_url", "image_url": {"url": "file:///a"}}), "images"),
        (file(json!({"file_data": "data:application/msword;base64,AA"})), "documents"),
        (file(json!({"file_data": "data:text/plain;base64,/w=="})), "documents"),
        (file(json!({"file_id": "file-1"})), "state"),
        (json!({"type": "input_audio", "input_audio": {"data": "AA", "format": "wav"}}), "audio"),
        (json!({"type": "novel"}), "unknown"),
        (json!(7), "unknown"),
    ] {
        let content = json!([{"type": "text", "text": "a"}, part]);
        let (found, _, losses) = messages(WAY, json!([{"role": "user", "content": content}]));
        assert_eq!(found, json!([{"role": "user", "content": [text("a")]}]), "{part}");
        assert_eq!(losses, [loss], "{part}");
    }
}

#[test]
fn refusals_stay_and_past_reasoning_goes() {
    let (found, _, losses) = messages(
        WAY,
        json!([
            {"role": "user", "content": "a"},
            {"role": "assistant", "content": null, "refusal": "No.", "reasoning_content": "Hm.", "audio": null,
                "annotations": []},
            {"role": "assistant", "content": [{"type": "refusal", "refusal": "Never."}]},
            {"role": "user", "content": "b"},
        ]),
    );
    assert_eq!(found[1], json!({"role": "assistant", "content": [text("No."), text("Never.")]}));
    assert_eq!(losses, ["past_reasoning"]);
}

#[test]
fn the_answer_knows_how_it_was_asked_for() {
    let input = json!({"messages": [{"role": "user", "content": "a"}], "stream": true,
        "stream_options": {"include_usage": true}});
    let context = translated(WAY, CLAUDE, &input).context;
    assert!(context.streamed && context.include_usage);
}
