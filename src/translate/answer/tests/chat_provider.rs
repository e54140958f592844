//! Streams of chat, and what clients of Messages and Responses get.

use serde_json::json;

use super::*;

/// A stream with everything that OpenAI sends, and reasoning.
const STREAM: &str = r#"
    {"role":"assistant","content":"","refusal":null}
    {"reasoning_content":"Hm"}
    {"reasoning_content":"m."}
    {"content":"I "}
    {"content":"look: \"é\""}
    {"content":null,"tool_calls":[{"index":0,"id":"call_1","type":"function","function":{"name":"mcp_lookup","arguments":""}}]}
    {"tool_calls":[{"index":0,"function":{"arguments":"{\"q\":"}}]}
    {"tool_calls":[{"index":0,"function":{"arguments":"\"x\"}"}}]}
    {"tool_calls":[{"index":1,"id":"call_2","type":"function","function":{"name":"apply_patch","arguments":"{\"input\":\"*** Be"}}]}
    {"tool_calls":[{"index":1,"function":{"arguments":"gin\\n\\\"\"}"}}]}
    "tool_calls"
    {"choices":[],"usage":{"prompt_tokens":20,"completion_tokens":9,"total_tokens":29,"prompt_tokens_details":{"cached_tokens":8,"cache_write_tokens":4},"completion_tokens_details":{"reasoning_tokens":3}}}
    [DONE]
"#;

#[test]
fn a_client_of_messages_gets_blocks_one_after_another() {
    check_stream(
        Translation::MessagesToChat,
        &chat_deltas(STREAM),
        r#"
        {"type":"message_start","message":{"id":"msg_c1","type":"message","role":"assistant","model":"house","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":0,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":0}}}
        {"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"","signature":""}}
        {"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"Hm"}}
        {"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"m."}}
        {"type":"content_block_stop","index":0}
        {"type":"content_block_start","index":1,"content_block":{"type":"text","text":""}}
        {"type":"content_block_delta","index":1,"delta":{"type":"text_delta","text":"I "}}
        {"type":"content_block_delta","index":1,"delta":{"type":"text_delta","text":"look: \"é\""}}
        {"type":"content_block_stop","index":1}
        {"type":"content_block_start","index":2,"content_block":{"type":"tool_use","id":"call_1","name":"lookup","input":{}}}
        {"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta","partial_json":"{\"q\":"}}
        {"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta","partial_json":"\"x\"}"}}
        {"type":"content_block_stop","index":2}
        {"type":"content_block_start","index":3,"content_block":{"type":"tool_use","id":"call_2","name":"apply_patch","input":{}}}
        {"type":"content_block_delta","index":3,"delta":{"type":"input_json_delta","partial_json":"{\"input\":\"*** Be"}}
        {"type":"content_block_delta","index":3,"delta":{"type":"input_json_delta","partial_json":"gin\\n\\\"\"}"}}
        {"type":"content_block_stop","index":3}
        {"type":"message_delta","delta":{"stop_reason":"tool_use","stop_sequence":null},"usage":{"input_tokens":8,"cache_creation_input_tokens":4,"cache_read_input_tokens":8,"output_tokens":9,"output_tokens_details":{"thinking_tokens":3}}}
        {"type":"message_stop"}
        "#,
    );
}

/// What a response has besides its output.
fn response(status: &str, output: &str, usage: &str) -> String {
    format!(
        r#"{{"id":"resp_c1","object":"response","created_at":1700000000,"status":"{status}","background":false,"error":null,"instructions":null,"max_output_tokens":null,"metadata":{{}},"parallel_tool_calls":true,"previous_response_id":null,"store":false,"temperature":null,"tool_choice":"auto","tools":[],"top_p":null,"truncation":"disabled","model":"house","incomplete_details":null,"output":[{output}],"usage":{usage}}}"#
    )
}

#[test]
fn a_client_of_responses_gets_items_and_the_whole_output_at_the_end() {
    let thought = r#"{"id":"rs_000000000000abcd_0","type":"reasoning","summary":[{"type":"summary_text","text":"Hmm."}]}"#;
    let part = r#"{"type":"output_text","text":"I look: \"é\"","annotations":[],"logprobs":[]}"#;
    let message = format!(
        r#"{{"id":"msg_000000000000abcd_1","type":"message","status":"completed","role":"assistant","content":[{part}]}}"#
    );
    let function = r#"{"id":"fc_000000000000abcd_2","type":"function_call","status":"completed","call_id":"call_1","name":"lookup","namespace":"mcp","arguments":"{\"q\":\"x\"}"}"#;
    let custom = r#"{"id":"ctc_000000000000abcd_3","type":"custom_tool_call","status":"completed","call_id":"call_2","name":"apply_patch","input":"*** Begin\n\""}"#;
    let usage = r#"{"input_tokens":20,"input_tokens_details":{"cached_tokens":8,"cache_write_tokens":4},"output_tokens":9,"output_tokens_details":{"reasoning_tokens":3},"total_tokens":29}"#;
    let begun = response("in_progress", "", "null");
    let whole = response("completed", &[thought, &message, function, custom].join(","), usage);
    let (rs, msg) = (
        r#""item_id":"rs_000000000000abcd_0","output_index":0"#,
        r#""item_id":"msg_000000000000abcd_1","output_index":1"#,
    );
    let (fc, ctc) = (
        r#""item_id":"fc_000000000000abcd_2","output_index":2"#,
        r#""item_id":"ctc_000000000000abcd_3","output_index":3"#,
    );
    check_stream(
        Translation::ResponsesToChat,
        &chat_deltas(STREAM),
        &format!(
            r#"
            {{"type":"response.created","sequence_number":0,"response":{begun}}}
            {{"type":"response.in_progress","sequence_number":1,"response":{begun}}}
            {{"type":"response.output_item.added","sequence_number":2,"output_index":0,"item":{{"id":"rs_000000000000abcd_0","type":"reasoning","summary":[]}}}}
            {{"type":"response.reasoning_summary_part.added","sequence_number":3,{rs},"summary_index":0,"part":{{"type":"summary_text","text":""}}}}
            {{"type":"response.reasoning_summary_text.delta","sequence_number":4,{rs},"summary_index":0,"delta":"Hm"}}
            {{"type":"response.reasoning_summary_text.delta","sequence_number":5,{rs},"summary_index":0,"delta":"m."}}
            {{"type":"response.reasoning_summary_text.done","sequence_number":6,{rs},"summary_index":0,"text":"Hmm."}}
            {{"type":"response.reasoning_summary_part.done","sequence_number":7,{rs},"summary_index":0,"part":{{"type":"summary_text","text":"Hmm."}}}}
            {{"type":"response.output_item.done","sequence_number":8,"output_index":0,"item":{thought}}}
            {{"type":"response.output_item.added","sequence_number":9,"output_index":1,"item":{{"id":"msg_000000000000abcd_1","type":"message","status":"in_progress","role":"assistant","content":[]}}}}
            {{"type":"response.content_part.added","sequence_number":10,{msg},"content_index":0,"part":{{"type":"output_text","text":"","annotations":[],"logprobs":[]}}}}
            {{"type":"response.output_text.delta","sequence_number":11,{msg},"content_index":0,"delta":"I ","logprobs":[]}}
            {{"type":"response.output_text.delta","sequence_number":12,{msg},"content_index":0,"delta":"look: \"é\"","logprobs":[]}}
            {{"type":"response.output_text.done","sequence_number":13,{msg},"content_index":0,"text":"I look: \"é\"","logprobs":[]}}
            {{"type":"response.content_part.done","sequence_number":14,{msg},"content_index":0,"part":{part}}}
            {{"type":"response.output_item.done","sequence_number":15,"output_index":1,"item":{message}}}
            {{"type":"response.output_item.added","sequence_number":16,"output_index":2,"item":{{"id":"fc_000000000000abcd_2","type":"function_call","status":"in_progress","call_id":"call_1","name":"lookup","namespace":"mcp","arguments":""}}}}
            {{"type":"response.function_call_arguments.delta","sequence_number":17,{fc},"delta":"{{\"q\":"}}
            {{"type":"response.function_call_arguments.delta","sequence_number":18,{fc},"delta":"\"x\"}}"}}
            {{"type":"response.function_call_arguments.done","sequence_number":19,{fc},"arguments":"{{\"q\":\"x\"}}"}}
            {{"type":"response.output_item.done","sequence_number":20,"output_index":2,"item":{function}}}
            {{"type":"response.output_item.added","sequence_number":21,"output_index":3,"item":{{"id":"ctc_000000000000abcd_3","type":"custom_tool_call","status":"in_progress","call_id":"call_2","name":"apply_patch","input":""}}}}
            {{"type":"response.custom_tool_call_input.delta","sequence_number":22,{ctc},"delta":"*** Be"}}
            {{"type":"response.custom_tool_call_input.delta","sequence_number":23,{ctc},"delta":"gin\n\""}}
            {{"type":"response.custom_tool_call_input.done","sequence_number":24,{ctc},"input":"*** Begin\n\""}}
            {{"type":"response.output_item.done","sequence_number":25,"output_index":3,"item":{custom}}}
            {{"type":"response.completed","sequence_number":26,"response":{whole}}}
            "#
        ),
    );
}

/// The message that a client of Messages gets from a stream of chat.
fn message_of(deltas: &str) -> Value {
    let out = translate_stream(Translation::MessagesToChat, &terms(), &chat_deltas(deltas)).unwrap();
    let (message, is_ended) = accumulate::messages(&client_events(&out));
    assert!(is_ended);
    message
}

/// The response that a client of Responses gets from a stream of chat.
fn response_of(deltas: &str) -> Value {
    let out = translate_stream(Translation::ResponsesToChat, &terms(), &chat_deltas(deltas)).unwrap();
    let (response, is_ended) = accumulate::responses(&client_events(&out));
    assert!(is_ended);
    response
}

fn tool(id: &str, name: &str, input: Value) -> Value {
    json!({"type": "tool_use", "id": id, "name": name, "input": input})
}

#[test]
fn odd_ways_to_send_calls_give_whole_calls() {
    let two = json!([tool("a", "f", json!({"x": 1})), tool("b", "g", json!({"y": 2}))]);
    for (what, deltas) in [
        (
            "whole, without an index",
            r#"
            {"tool_calls":[{"id":"a","function":{"name":"f","arguments":"{\"x\":1}"}}]}
            {"tool_calls":[{"id":"b","function":{"name":"g","arguments":"{\"y\":2}"}}]}
            "#,
        ),
        (
            "in one delta",
            r#"{"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":"{\"x\":1}"}},{"index":1,"id":"b","function":{"name":"g","arguments":"{\"y\":2}"}}]}"#,
        ),
        (
            "all with the index 0",
            r#"
            {"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":"{\"x\":1}"}}]}
            {"tool_calls":[{"index":0,"id":"b","function":{"name":"g","arguments":"{\"y\":2}"}}]}
            "#,
        ),
        (
            "with the id and the name in each part",
            r#"
            {"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":"{\"x\":"}}]}
            {"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":"1}"}}]}
            {"tool_calls":[{"index":1,"id":"b","function":{"name":"g","arguments":"{\"y\":2}"}}]}
            "#,
        ),
        (
            "interleaved",
            r#"
            {"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":"{\"x\""}}]}
            {"tool_calls":[{"index":1,"id":"b","function":{"name":"g","arguments":"{\"y\""}}]}
            {"tool_calls":[{"index":0,"function":{"arguments":":1}"}}]}
            {"tool_calls":[{"index":1,"function":{"arguments":":2}"}}]}
            "#,
        ),
        (
            "interleaved, the first one last",
            r#"
            {"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":""}}]}
            {"tool_calls":[{"index":1,"id":"b","function":{"name":"g","arguments":"{\"y\":2}"}}]}
            {"tool_calls":[{"index":0,"function":{"arguments":"{\"x\":1}"}}]}
            "#,
        ),
        (
            "with the name after the id",
            r#"
            {"tool_calls":[{"index":0,"id":"a","type":"function"}]}
            {"tool_calls":[{"index":0,"function":{"name":"f","arguments":null}}]}
            {"tool_calls":[{"index":0,"function":{"arguments":"{\"x\":1}"}}]}
            {"tool_calls":[{"index":1,"id":"b","function":{"name":"g","arguments":"{\"y\":2}"}}]}
            "#,
        ),
        (
            "with objects as arguments, and empty parts",
            r#"
            {"tool_calls":[]}
            {"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":{"x":1}}}]}
            {"tool_calls":[{"index":0,"id":"","function":{"name":"","arguments":""}}]}
            {"tool_calls":[{"index":1,"id":"b","function":{"name":"g","arguments":{"y":2}}}]}
            {"tool_calls":[{"index":2}]}
            "#,
        ),
    ] {
        // Some servers say `stop`.
        for reason in ["\"tool_calls\"", "\"stop\""] {
            let message = message_of(&format!("{deltas}\n{reason}\n[DONE]"));
            assert_eq!(message["content"], two, "{what}");
            assert_eq!(message["stop_reason"], "tool_use", "{what}");
        }
    }
}

#[test]
fn calls_without_id_or_arguments_get_them() {
    let deltas = r#"
        {"tool_calls":[{"index":0,"function":{"name":"f","arguments":""}}]}
        {"tool_calls":[{"index":1,"id":"functions.g:1","function":{"name":"g"}}]}
        "tool_calls"
        [DONE]
    "#;
    let message = message_of(deltas);
    let ids = ["call_000000000000abcd_0", message["content"][1]["id"].as_str().unwrap()];
    assert!(ids[1].bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'), "{ids:?}");
    assert_eq!(message["content"], json!([tool(ids[0], "f", json!({})), tool(ids[1], "g", json!({}))]));

    let response = response_of(deltas);
    for (at, id) in ["call_000000000000abcd_0", "functions.g:1"].iter().enumerate() {
        assert_eq!(response["output"][at]["call_id"], *id);
        assert_eq!(response["output"][at]["arguments"], "{}");
    }
}

#[test]
fn text_that_comes_within_a_call_waits_for_its_end() {
    let message = message_of(
        r#"
        {"content":"a"}
        {"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":"{\"x\""}}]}
        {"content":"b"}
        {"content":"c"}
        {"tool_calls":[{"index":0,"function":{"arguments":":1}"}}]}
        "stop"
        "#,
    );
    let text = |text: &str| json!({"type": "text", "text": text});
    assert_eq!(message["content"], json!([text("a"), tool("a", "f", json!({"x": 1})), text("bc")]));
}

#[test]
fn reasoning_has_many_names() {
    for deltas in [
        r#"{"reasoning_content":"ab"}"#,
        r#"{"reasoning":"ab","reasoning_content":"ab"}"#,
        r#"{"reasoning":"ab","reasoning_details":[{"type":"reasoning.text","text":"ab","index":0,"signature":"s"}]}"#,
        r#"{"reasoning_details":[{"type":"reasoning.summary","summary":"a"},{"type":"reasoning.text","text":"b"},{"type":"reasoning.encrypted","data":"eA=="}]}"#,
        r#"{"content":[{"type":"thinking","thinking":[{"type":"text","text":"ab"}]}]}"#,
    ] {
        let deltas = format!("{deltas}\n{{\"content\":[{{\"type\":\"text\",\"text\":\"c\"}}]}}\n\"stop\"");
        let thinking = json!({"type": "thinking", "thinking": "ab", "signature": ""});
        assert_eq!(
            message_of(&deltas)["content"],
            json!([thinking, {"type": "text", "text": "c"}]),
            "{deltas}"
        );
        for reasoning in [ReasoningPolicy::Drop, ReasoningPolicy::Refuse] {
            let terms = AnswerTerms { reasoning, ..terms() };
            let out = translate_stream(Translation::MessagesToChat, &terms, &chat_deltas(&deltas)).unwrap();
            let (message, _) = accumulate::messages(&client_events(&out));
            assert_eq!(message["content"], json!([{"type": "text", "text": "c"}]));
        }
    }
}

#[test]
fn sources_of_a_text_are_annotations_for_responses() {
    let source =
        |at: u64| json!({"start_index": at, "end_index": 3, "url": format!("u{at}"), "title": "t\""});
    let annotation = |at: u64| json!({"type": "url_citation", "url_citation": source(at), "index": 0});
    let delta = json!({"annotations": [annotation(1), {"type": "other"}, annotation(2)]});
    let deltas = format!("{{\"content\":\"abc\"}}\n{delta}\n\"stop\"");
    let expected = |at: u64| {
        let mut expected = source(at);
        expected["type"] = "url_citation".into();
        expected
    };
    let response = response_of(&deltas);
    assert_eq!(response["output"][0]["content"][0]["annotations"], json!([expected(1), expected(2)]));
    assert_eq!(message_of(&deltas)["content"], json!([{"type": "text", "text": "abc"}]));
}

#[test]
fn blanks_behind_a_whole_call_are_dropped() {
    let message = message_of(
        r#"
        {"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":"{\"x\":1}"}}]}
        {"tool_calls":[{"index":1,"id":"b","function":{"name":"g","arguments":"{\"y\":2}"}}]}
        {"tool_calls":[{"index":0,"function":{"arguments":" \n"}}]}
        "stop"
        "#,
    );
    assert_eq!(message["content"], json!([tool("a", "f", json!({"x": 1})), tool("b", "g", json!({"y": 2}))]));
}

#[test]
fn a_refusal_is_text_for_messages_and_a_part_for_responses() {
    let deltas = r#"
        {"role":"assistant","content":null,"refusal":""}
        {"refusal":"I "}
        {"refusal":"cannot."}
        "stop"
    "#;
    let message = message_of(deltas);
    assert_eq!(message["content"], json!([{"type": "text", "text": "I cannot."}]));
    assert_eq!(message["stop_reason"], "refusal");
    let response = response_of(deltas);
    assert_eq!(response["output"][0]["content"], json!([{"type": "refusal", "refusal": "I cannot."}]));
    assert_eq!(response["status"], "completed");
}

#[test]
fn reasons_are_told_in_the_words_of_the_client() {
    for (reason, stop_reason, incomplete) in [
        ("stop", "end_turn", None),
        ("eos", "end_turn", None),
        // There is no call.
        ("tool_calls", "end_turn", None),
        ("length", "max_tokens", Some("max_output_tokens")),
        ("content_filter", "refusal", Some("content_filter")),
    ] {
        let deltas = format!("{{\"content\":\"a\"}}\n\"{reason}\"\n[DONE]");
        assert_eq!(message_of(&deltas)["stop_reason"], stop_reason, "{reason}");
        let response = response_of(&deltas);
        let details = incomplete.map(|reason| json!({ "reason": reason }));
        assert_eq!(response["incomplete_details"], details.unwrap_or_default(), "{reason}");
        let status = if incomplete.is_some() { "incomplete" } else { "completed" };
        assert_eq!([&response["status"], &response["output"][0]["status"]], [status, status]);
    }
}

#[test]
fn a_call_that_was_cut_off_gets_no_arguments() {
    let response = response_of(
        r#"
        {"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":""}}]}
        "length"
        "#,
    );
    assert_eq!(response["output"][0]["arguments"], "");
    assert_eq!(response["output"][0]["status"], "incomplete");
}

#[test]
fn the_stop_sequence_is_told_if_the_server_tells_it() {
    for (member, expected) in [
        (r#""stop_reason":"END""#, json!("END")),
        (r#""matched_stop":"END""#, json!("END")),
        (r#""stop_reason":128009"#, Value::Null),
    ] {
        let chunk = format!(
            r#"{{"choices":[{{"index":0,"delta":{{"content":"a"}},"finish_reason":"stop",{member}}}]}}"#
        );
        let message = message_of(&chunk);
        assert_eq!(message["stop_sequence"], expected);
        assert_eq!(message["stop_reason"], if expected.is_null() { "end_turn" } else { "stop_sequence" });
    }
}

#[test]
fn only_the_first_choice_is_told() {
    let message = message_of(
        r#"
        {"choices":[{"index":1,"delta":{"content":"b"}}]}
        {"choices":[{"index":1,"delta":{"content":"b"},"finish_reason":"length"},{"index":0,"delta":{"content":"a"}}]}
        {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}
        "#,
    );
    assert_eq!(message["content"], json!([{"type": "text", "text": "a"}]));
    assert_eq!(message["stop_reason"], "end_turn");
}

#[test]
fn usage_is_found_wherever_servers_put_it() {
    let usage = r#""usage":{"prompt_tokens":5,"completion_tokens":2}"#;
    let finish = |member: &str| format!(r#"{{"index":0,"delta":{{}},"finish_reason":"stop"{member}}}"#);
    for deltas in [
        format!("{{\"choices\":[{}],{usage}}}", finish("")),
        format!("{{\"choices\":[{}]}}", finish(&format!(",{usage}"))),
        format!("{{\"choices\":[{}],\"x_groq\":{{{usage}}}}}", finish("")),
        format!("{{\"choices\":[{}]}}\n{{\"choices\":[],{usage}}}\n[DONE]", finish("")),
        format!(
            "{{\"choices\":[{}],\"usage\":{{\"prompt_tokens\":5}}}}\n{{\"choices\":[],{usage}}}",
            finish("")
        ),
    ] {
        let message = message_of(&format!("{{\"content\":\"a\"}}\n{deltas}"));
        assert_eq!(message["usage"]["input_tokens"], 5, "{deltas}");
        assert_eq!(message["usage"]["output_tokens"], 2, "{deltas}");
    }
}

#[test]
fn usage_that_is_known_at_the_beginning_is_told_at_the_beginning() {
    let stream = r#"{"choices":[{"index":0,"delta":{"content":"a"}}],"usage":{"prompt_tokens":5,"completion_tokens":1}}"#;
    let out = translate_stream(Translation::MessagesToChat, &terms(), &chat_stream(stream)).unwrap();
    let events = client_events(&out);
    assert_eq!(events[0].data["message"]["usage"]["input_tokens"], 5);
}

#[test]
fn azures_first_chunk_begins_nothing() {
    let stream = format!(
        "{}{}",
        chat_stream(
            r#"{"choices":[],"created":0,"id":"","model":"","object":"","prompt_filter_results":[]}"#
        ),
        chat_deltas("{\"content\":\"a\"}\n\"stop\"\n[DONE]")
    );
    let out = translate_stream(Translation::MessagesToChat, &terms(), &stream).unwrap();
    assert_eq!(accumulate::messages(&client_events(&out)).0["id"], "msg_c1");
}
