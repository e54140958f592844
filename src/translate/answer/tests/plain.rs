//! Plain answers.

use serde_json::json;

use super::*;

fn translate(way: Translation, body: &Value) -> Option<Value> {
    let out = translate_answer(way, body.to_string().as_bytes(), &terms())?;
    Some(serde_json::from_slice(&out).unwrap())
}

#[test]
fn what_is_no_answer_is_not_translated() {
    for body in [
        json!({"error": {"message": "no"}}),
        json!({"choices": []}),
        json!({"object": "error", "message": "no"}),
        json!({"choices": [{"index": 1, "message": {"content": "a"}, "finish_reason": "stop"}]}),
        json!({"choices": [{"index": 0, "message": {"content": "a"}, "finish_reason": "error"}]}),
        json!({"type": "error", "error": {"type": "api_error", "message": "no"}}),
        json!({"type": "error", "content": []}),
        json!({"id": "msg_1"}),
        json!([]),
        json!("a"),
    ] {
        for way in Translation::ALL {
            assert_eq!(translate(way, &body), None, "{way:?} {body}");
        }
    }
    assert_eq!(translate_answer(Translation::MessagesToChat, b"{\"choices\":[{\"index\":0", &terms()), None);
}

#[test]
fn the_order_of_members_does_not_matter() {
    let body = br#"{"usage":{"prompt_tokens":3,"completion_tokens":2},"choices":[{"finish_reason":"stop","message":{"tool_calls":[],"content":"a"},"index":0}],"model":"m","id":"x"}"#;
    let out = translate_answer(Translation::MessagesToChat, body, &terms()).unwrap();
    let expected = json!({
        "id": "msg_x", "type": "message", "role": "assistant", "model": "house",
        "content": [{"type": "text", "text": "a"}],
        "stop_reason": "end_turn", "stop_sequence": null,
        "usage": {"input_tokens": 3, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": 2},
    });
    assert_eq!(serde_json::from_slice::<Value>(&out).unwrap(), expected);
}

#[test]
fn arguments_that_are_no_object_are_wrapped() {
    let call = |arguments: &str| json!({"id": "a", "type": "function", "function": {"name": "f", "arguments": arguments}});
    let message = json!({"content": null, "tool_calls": [call("{\"a\":"), call(""), call(" {\"b\": 1} ")]});
    let body = json!({"choices": [{"index": 0, "message": message, "finish_reason": "length"}]});
    let answer = translate(Translation::MessagesToChat, &body).unwrap();
    let inputs: Vec<_> = answer["content"].as_array().unwrap().iter().map(|block| &block["input"]).collect();
    assert_eq!(inputs, [&json!({"INVALID_JSON": "{\"a\":"}), &json!({}), &json!({"b": 1})]);
}

#[test]
fn ids_and_models_are_made_where_there_are_none() {
    let body = json!({"choices": [{"message": {"content": "a"}}]});
    let terms = AnswerTerms { model: None, ..terms() };
    for (way, id) in [
        (Translation::MessagesToChat, "msg_000000000000abcd"),
        (Translation::ResponsesToChat, "resp_000000000000abcd"),
    ] {
        let out = translate_answer(way, body.to_string().as_bytes(), &terms).unwrap();
        let answer: Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(answer["id"], id);
        assert_eq!(answer["model"], "");
    }
}

#[test]
fn the_name_of_the_model_is_the_clients() {
    let body = json!({"model": "m", "choices": [{"message": {"content": "a"}, "finish_reason": "stop"}]});
    for (model, expected) in [(None, "m"), (Some("the \"house\"\n"), "the \"house\"\n")] {
        let terms = AnswerTerms { model: model.map(Into::into), ..terms() };
        for way in [Translation::MessagesToChat, Translation::ResponsesToChat] {
            let out = translate_answer(way, body.to_string().as_bytes(), &terms).unwrap();
            assert_eq!(serde_json::from_slice::<Value>(&out).unwrap()["model"], expected);
        }
    }
}

#[test]
fn what_tools_of_the_provider_do_is_dropped_and_the_text_stays() {
    let body = json!({
        "id": "msg_1", "type": "message", "role": "assistant", "model": "claude", "stop_reason": "end_turn",
        "content": [
            {"type": "redacted_thinking", "data": "EmwK"},
            {"type": "text", "text": "a"},
            {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "x"}},
            {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": []},
            {"type": "text", "text": "b", "citations": [{"type": "web_search_result_location", "url": "u"}]},
        ],
    });
    let answer = translate(Translation::ChatToMessages, &body).unwrap();
    let message = json!({"role": "assistant", "content": "ab", "refusal": null});
    assert_eq!(answer["choices"][0]["message"], message);
    assert_eq!(answer.get("usage"), None);
}
