//! Streams of Messages, and what clients of chat and Responses get.

use serde_json::json;

use super::*;

const START: &str = r#"{"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","model":"claude","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":5,"cache_creation_input_tokens":10,"cache_read_input_tokens":100,"output_tokens":1}}}"#;

/// Blocks of every kind.
const BLOCKS: &str = r#"
    {"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"","signature":""}}
    {"type":"ping"}
    {"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"Hmm."}}
    {"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"EqQB"}}
    {"type":"content_block_stop","index":0}
    {"type":"content_block_start","index":1,"content_block":{"type":"redacted_thinking","data":"EmwK"}}
    {"type":"content_block_stop","index":1}
    {"type":"content_block_start","index":2,"content_block":{"type":"text","text":""}}
    {"type":"content_block_delta","index":2,"delta":{"type":"text_delta","text":""}}
    {"type":"content_block_delta","index":2,"delta":{"type":"text_delta","text":"I look"}}
    {"type":"content_block_stop","index":2}
    {"type":"content_block_start","index":3,"content_block":{"type":"text","text":"","citations":[]}}
    {"type":"content_block_delta","index":3,"delta":{"type":"citations_delta","citation":{"type":"char_location","cited_text":"x"}}}
    {"type":"content_block_delta","index":3,"delta":{"type":"text_delta","text":": \"é\""}}
    {"type":"content_block_stop","index":3}
    {"type":"content_block_start","index":4,"content_block":{"type":"server_tool_use","id":"srvtoolu_1","name":"web_search","input":{}}}
    {"type":"content_block_delta","index":4,"delta":{"type":"input_json_delta","partial_json":"{\"query\":1}"}}
    {"type":"content_block_stop","index":4}
    {"type":"content_block_start","index":5,"content_block":{"type":"tool_use","id":"toolu_1","name":"mcp_lookup","input":{}}}
    {"type":"content_block_delta","index":5,"delta":{"type":"input_json_delta","partial_json":""}}
    {"type":"content_block_delta","index":5,"delta":{"type":"input_json_delta","partial_json":"{\"q\": \"x"}}
    {"type":"content_block_delta","index":5,"delta":{"type":"input_json_delta","partial_json":"\"}"}}
    {"type":"content_block_stop","index":5}
    {"type":"content_block_start","index":6,"content_block":{"type":"tool_use","id":"toolu_2","name":"now","input":{}}}
    {"type":"content_block_delta","index":6,"delta":{"type":"input_json_delta","partial_json":""}}
    {"type":"content_block_stop","index":6}
    {"type":"content_block_start","index":7,"content_block":{"type":"tool_use","id":"toolu_3","name":"apply_patch","input":{}}}
    {"type":"content_block_delta","index":7,"delta":{"type":"input_json_delta","partial_json":"{\"input\":\"a\\"}}
    {"type":"content_block_delta","index":7,"delta":{"type":"input_json_delta","partial_json":"nb\"}"}}
    {"type":"content_block_stop","index":7}
"#;

const END: &str = r#"
    {"type":"message_delta","delta":{"stop_reason":"tool_use","stop_sequence":null},"usage":{"output_tokens":20,"output_tokens_details":{"thinking_tokens":7}}}
    {"type":"message_stop"}
"#;

fn chunk(choices: &str) -> String {
    format!(
        r#"{{"id":"chatcmpl-msg_1","object":"chat.completion.chunk","created":1700000000,"model":"house","choices":[{choices}]"#
    )
}

fn delta(delta: &str, finish: &str) -> String {
    let choice = format!(r#"{{"index":0,"delta":{delta},"logprobs":null,"finish_reason":{finish}}}"#);
    chunk(&choice) + r#","usage":null}"#
}

#[test]
fn a_client_of_chat_gets_deltas() {
    let arguments = |index: u64, part: &str| {
        delta(&format!(r#"{{"tool_calls":[{{"index":{index},"function":{{"arguments":{part}}}}}]}}"#), "null")
    };
    let call = |index: u64, id: &str, name: &str| {
        let function = format!(r#"{{"name":"{name}","arguments":""}}"#);
        let call = format!(r#"{{"index":{index},"id":"{id}","type":"function","function":{function}}}"#);
        delta(&format!(r#"{{"tool_calls":[{call}]}}"#), "null")
    };
    let usage = r#"{"prompt_tokens":115,"completion_tokens":20,"total_tokens":135,"prompt_tokens_details":{"cached_tokens":100,"cache_write_tokens":10},"completion_tokens_details":{"reasoning_tokens":7}}"#;
    let expected = [
        delta(r#"{"role":"assistant","content":""}"#, "null"),
        delta(r#"{"reasoning_content":"Hmm."}"#, "null"),
        delta(r#"{"content":"I look"}"#, "null"),
        delta(r#"{"content":": \"é\""}"#, "null"),
        call(0, "toolu_1", "lookup"),
        arguments(0, r#""{\"q\": \"x""#),
        arguments(0, r#""\"}""#),
        call(1, "toolu_2", "now"),
        arguments(1, r#""{}""#),
        call(2, "toolu_3", "apply_patch"),
        arguments(2, r#""{\"input\":\"a\\""#),
        arguments(2, r#""nb\"}""#),
        delta("{}", r#""tool_calls""#),
        format!(r#"{},"usage":{usage}}}"#, chunk("")),
        DONE.to_owned(),
    ];
    let stream = messages_stream(&format!("{START}\n{BLOCKS}\n{END}"));
    check_stream(Translation::ChatToMessages, &stream, &expected.join("\n"));
}

#[test]
fn a_client_of_chat_gets_usage_only_if_it_asked() {
    let mut terms = terms();
    terms.context.include_usage = false;
    let stream = messages_stream(&format!("{START}\n{BLOCKS}\n{END}"));
    let out = translate_stream(Translation::ChatToMessages, &terms, &stream).unwrap();
    let events = client_events(&out);
    assert!(events.iter().all(|event| event.data.get("usage").is_none()));
    assert_eq!(events.last().map(|event| &event.data), Some(&json!(DONE)));
}

#[test]
fn a_client_of_responses_gets_items() {
    let stream = messages_stream(&format!("{START}\n{BLOCKS}\n{END}"));
    let out = translate_stream(Translation::ResponsesToMessages, &terms(), &stream).unwrap();
    let (response, is_ended) = accumulate::responses(&client_events(&out));
    assert!(is_ended);
    let item = |at: u64, prefix: &str| format!("{prefix}_000000000000abcd_{at}");
    let text = json!({"type": "output_text", "text": "I look: \"é\"", "annotations": [], "logprobs": []});
    assert_eq!(
        response["output"],
        json!([
            {"id": item(0, "rs"), "type": "reasoning", "summary": [{"type": "summary_text", "text": "Hmm."}]},
            {"id": item(1, "msg"), "type": "message", "status": "completed", "role": "assistant", "content": [text]},
            {"id": item(2, "fc"), "type": "function_call", "status": "completed", "call_id": "toolu_1",
                "name": "lookup", "namespace": "mcp", "arguments": "{\"q\": \"x\"}"},
            {"id": item(3, "fc"), "type": "function_call", "status": "completed", "call_id": "toolu_2",
                "name": "now", "arguments": "{}"},
            {"id": item(4, "ctc"), "type": "custom_tool_call", "status": "completed", "call_id": "toolu_3",
                "name": "apply_patch", "input": "a\nb"},
        ])
    );
    assert_eq!(
        response["usage"],
        json!({"input_tokens": 115, "input_tokens_details": {"cached_tokens": 100, "cache_write_tokens": 10},
            "output_tokens": 20, "output_tokens_details": {"reasoning_tokens": 7}, "total_tokens": 135})
    );
    assert_eq!([&response["status"], &response["id"]], ["completed", "resp_msg_1"]);
}

/// What a client of chat makes of a stream with one block of text and this `message_delta`.
fn chat_of(delta: &str) -> Value {
    let stream = messages_stream(&format!(
        r#"
        {START}
        {{"type":"content_block_start","index":0,"content_block":{{"type":"text","text":"a"}}}}
        {{"type":"content_block_stop","index":0}}
        {{"type":"message_delta","delta":{delta},"usage":{{"input_tokens":6,"output_tokens":2}}}}
        {{"type":"message_stop"}}
        "#
    ));
    let out = translate_stream(Translation::ChatToMessages, &terms(), &stream).unwrap();
    let (answer, is_ended) = accumulate::chat(&client_events(&out));
    assert!(is_ended);
    answer
}

#[test]
fn reasons_are_told_in_the_words_of_the_client() {
    for (stop_reason, finish_reason) in [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("pause_turn", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("refusal", "content_filter"),
        // There is no call.
        ("tool_use", "stop"),
        ("something_new", "stop"),
    ] {
        let answer = chat_of(&format!(r#"{{"stop_reason":"{stop_reason}","stop_sequence":null}}"#));
        assert_eq!(answer["choices"][0]["finish_reason"], finish_reason, "{stop_reason}");
    }
}

#[test]
fn the_words_of_a_refusal_are_told() {
    let answer = chat_of(
        r#"{"stop_reason":"refusal","stop_details":{"type":"refusal","category":"bio","explanation":"No."}}"#,
    );
    assert_eq!(answer["choices"][0]["message"]["refusal"], "No.");
    assert_eq!(answer["choices"][0]["message"]["content"], "a");
}

#[test]
fn counts_of_the_end_replace_those_of_the_beginning() {
    let usage = &chat_of(r#"{"stop_reason":"end_turn"}"#)["usage"];
    assert_eq!([&usage["prompt_tokens"], &usage["completion_tokens"]], [116, 2]);
}

#[test]
fn input_of_a_block_that_comes_whole_is_kept() {
    let stream = messages_stream(&format!(
        r#"
        {START}
        {{"type":"content_block_start","index":0,"content_block":{{"type":"tool_use","id":"a","name":"f","input":{{"x":"é\n"}}}}}}
        {{"type":"content_block_stop","index":0}}
        {END}
        "#
    ));
    let out = translate_stream(Translation::ChatToMessages, &terms(), &stream).unwrap();
    let (answer, _) = accumulate::chat(&client_events(&out));
    assert_eq!(answer["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"], r#"{"x":"é\n"}"#);
}
