//! Examples of each endpoint, and of each member.

use super::super::{
    Facts, MAX_KEPT_BYTES, MediaParts, ModelField, OutputFormat, Reasoning, Span, StateKind, StateSet,
    ToolChoice, ToolNeeds,
};
use super::{scan, scan_in};

fn check<T: PartialEq + std::fmt::Debug>(fact: impl Fn(&Facts) -> T, cases: &[(&str, T)]) {
    for (body, expected) in cases {
        let facts = scan(body).unwrap_or_else(|error| panic!("{error}: {body}"));
        assert_eq!(fact(&facts), *expected, "{body}");
        assert_eq!(scan_in(body.as_bytes(), &[1]), Ok(facts), "byte by byte: {body}");
    }
}

fn text(value: &str) -> ModelField {
    ModelField::Text { value: value.into() }
}

#[test]
fn all_facts_of_a_chat_request_are_found() {
    let body = r#"{"messages":[{"role":"system","content":"Be brief."},{"role":"user","content":[
        {"type":"text","text":"Who?"},{"type":"image_url","image_url":{"url":"data:image/png;base64,AAAA"}},
        {"type":"input_audio","input_audio":{"data":"BBBB","format":"wav"}},
        {"type":"file","file":{"file_id":"file-1"}}]}],
        "tools":[{"type":"function","function":{"name":"f","strict":true,"parameters":{"type":"object"}}}],
        "tool_choice":{"type":"function","function":{"name":"f"}},"parallel_tool_calls":false,
        "response_format":{"type":"json_schema","json_schema":{"name":"s","strict":true,"schema":{}}},
        "max_completion_tokens":512,"n":2,"seed":7,"logprobs":true,"stream":true,
        "stream_options":{"include_usage":true},"reasoning_effort":"low","user":"u-1","model":"gpt-4.1"}"#;
    let facts = scan(body).unwrap();
    let start = body.find("\"gpt-4.1\"").unwrap();
    let affinity = facts.affinity;
    assert!(affinity.user.is_some() && affinity.metadata_user.is_none());
    let expected = Facts {
        model: text("gpt-4.1"),
        model_spans: [Span { start, end: start + 9 }].into_iter().collect(),
        stream: true,
        include_usage: true,
        usage_spots: facts.usage_spots.clone(),
        tools: ToolNeeds {
            count: 1,
            hosted: false,
            strict: true,
            choice: ToolChoice::Forced,
            parallel: Some(false),
            legacy_functions: false,
        },
        output: OutputFormat::JsonSchema,
        media: MediaParts { images: 1, audio: 1, files: 1 },
        max_output_tokens: Some(512),
        n: Some(2),
        logprobs: true,
        seed: true,
        reasoning: Reasoning::Asked,
        state: StateSet::of(&[StateKind::File]),
        affinity,
        items: 2,
        body_bytes: body.len() as u64,
        text_bytes: facts.text_bytes,
        media_bytes: "data:image/png;base64,AAAABBBBwav".len() as u64,
        ..Facts::default()
    };
    assert_eq!(facts, expected);
}

#[test]
fn all_facts_of_a_responses_request_are_found() {
    let body = r#"{"model":"gpt-5","input":[{"type":"reasoning","id":"rs_1","encrypted_content":"gAAA","summary":[]},
        {"type":"message","role":"user","content":[{"type":"input_text","text":"hi"},
        {"type":"input_image","image_url":"https://x.test/a.png"},{"type":"input_file","file_id":"file-2"}]},
        {"type":"function_call_output","call_id":"c","output":[{"type":"input_image","file_id":"file-3"}]},
        {"type":"item_reference","id":"msg_1"}],
        "tools":[{"type":"web_search"},{"type":"file_search","vector_store_ids":["vs_1"]}],
        "text":{"format":{"type":"json_schema","name":"n","schema":{}},"verbosity":"low"},
        "reasoning":{"effort":"high"},"max_output_tokens":1000,"previous_response_id":"resp_1","background":true,
        "store":true,"conversation":null,"prompt_cache_key":"k"}"#;
    let facts = scan(body).unwrap();
    assert_eq!(facts.items, 4);
    assert_eq!(facts.media, MediaParts { images: 2, audio: 0, files: 1 });
    assert!(facts.tools.hosted && facts.sealed_reasoning && facts.affinity.prompt_cache_key.is_some());
    assert_eq!((facts.tools.count, facts.output), (2, OutputFormat::JsonSchema));
    assert_eq!((facts.reasoning, facts.max_output_tokens), (Reasoning::Asked, Some(1000)));
    assert_eq!(facts.store, Some(true));
    let state = [StateKind::PreviousResponse, StateKind::Background, StateKind::File, StateKind::StoredItem];
    assert_eq!(facts.state, StateSet::of(&state));
}

#[test]
fn all_facts_of_a_messages_request_are_found() {
    let body = r#"{"max_tokens":1024,"system":[{"type":"text","text":"s","cache_control":{"type":"ephemeral"}}],
        "messages":[{"role":"assistant","content":[{"type":"thinking","thinking":"t","signature":"EqQB"},
        {"type":"tool_use","id":"t1","name":"f","input":{"file_id":"mine","type":"image"}}]},
        {"role":"user","content":[{"type":"tool_result","tool_use_id":"t1","content":[
        {"type":"image","source":{"type":"base64","media_type":"image/png","data":"AAAA"}},
        {"type":"document","source":{"data":"plain","media_type":"text/plain","type":"text"}}]}]}],
        "tools":[{"name":"f","input_schema":{"type":"object"}},{"type":"custom","name":"g"}],
        "tool_choice":{"type":"auto","disable_parallel_tool_use":true},
        "thinking":{"type":"enabled","budget_tokens":2000},"metadata":{"user_id":"u"},"model":"claude-sonnet-4-5"}"#;
    let facts = scan(body).unwrap();
    assert_eq!(facts.model, text("claude-sonnet-4-5"));
    assert_eq!(facts.media, MediaParts { images: 1, audio: 0, files: 1 });
    assert_eq!((facts.items, facts.media_bytes, facts.max_output_tokens), (2, 4, Some(1024)));
    assert!(facts.sealed_reasoning && facts.state.is_empty() && facts.affinity.metadata_user.is_some());
    let tools = ToolNeeds { count: 2, parallel: Some(false), ..ToolNeeds::default() };
    assert_eq!((facts.tools, facts.reasoning), (tools, Reasoning::Asked));
}

#[test]
fn media_are_found_under_every_name_that_servers_accept() {
    let part = |part: &str| format!(r#"{{"messages":[{{"role":"user","content":[{part}]}}]}}"#);
    for (name, expected) in [
        ("image_url", MediaParts { images: 1, ..MediaParts::default() }),
        ("audio_url", MediaParts { audio: 1, ..MediaParts::default() }),
        ("video_url", MediaParts { files: 1, ..MediaParts::default() }),
    ] {
        let facts = scan(&part(&format!(r#"{{"type":"{name}","{name}":{{"url":"data:x"}}}}"#))).unwrap();
        assert_eq!((facts.media, facts.media_bytes), (expected, 6), "{name}");
    }
}

#[test]
fn prompts_and_token_ids_of_completions_and_embeddings_are_counted() {
    check(
        |facts| (facts.items, facts.token_ids),
        &[
            (r#"{"prompt":"once"}"#, (1, 0)),
            (r#"{"prompt":["once","twice"]}"#, (2, 0)),
            (r#"{"input":[1,2,3]}"#, (3, 3)),
            (r#"{"input":[[1,2],[3]]}"#, (2, 3)),
            (r#"{"input":"text"}"#, (1, 0)),
            (r#"{"system":["a","b"]}"#, (0, 0)),
        ],
    );
}

#[test]
fn the_model_is_found_in_every_notation() {
    let longest = "m".repeat(MAX_KEPT_BYTES);
    check(
        |facts| facts.model.clone(),
        &[
            ("{}", ModelField::Absent),
            (r#"{"model":"gpt-4.1"}"#, text("gpt-4.1")),
            (r#"{"\u006dodel":"a"}"#, text("a")),
            (r#"{"mod\u0065l":"\u00e9\ud83d\ude00\/\n"}"#, text("é😀/\n")),
            (r#"{"model":""}"#, text("")),
            (r#"{"model":"a","model":"b"}"#, text("b")),
            (r#"{"model":"a","model":null}"#, ModelField::NotText),
            (r#"{"model":{"model":"a"}}"#, ModelField::NotText),
            (r#"{"model":"\ud83d"}"#, ModelField::NotText),
            (r#"{"x":{"model":"a"},"messages":[{"model":"b"}]}"#, ModelField::Absent),
            (r#"{"model ":"a","mode":"c","\ud83dmodel":"d"}"#, ModelField::Absent),
            (&format!("{{\"model\":\"{longest}\"}}"), text(&longest)),
            (&format!("{{\"model\":\"{longest}m\"}}"), ModelField::TooLong),
            (&format!("{{\"{longest}mmodel\":\"a\"}}"), ModelField::Absent),
        ],
    );
    assert_eq!(scan_in(b"{\"model\":\"\xff\"}", &[]).unwrap().model, ModelField::NotText);
}

#[test]
fn spans_of_models_that_are_not_text_cover_the_whole_value() {
    check(
        |facts| facts.model_spans.iter().map(|span| (span.start, span.end)).collect::<Vec<_>>(),
        &[
            (r#"{"model": 12 ,"model":{"a":[1]},"model":"b"}"#, vec![(10, 12), (22, 31), (40, 43)]),
            (r#"{"model":null}"#, vec![(9, 13)]),
            (r#"{"model":[]}"#, vec![(9, 11)]),
        ],
    );
}

#[test]
fn options_are_read_and_null_means_absent() {
    check(
        |facts| facts.stream,
        &[
            (r#"{"stream":true}"#, true),
            (r#"{"stream":"true"}"#, false),
            (r#"{"stream":true,"stream":false}"#, false),
            (r#"{"stream":true,"stream":{}}"#, false),
        ],
    );
    check(
        |facts| facts.include_usage,
        &[
            (r#"{"stream_options":{"include_usage":true}}"#, true),
            (r#"{"stream_options":{"include_usage":true},"stream_options":null}"#, false),
            (r#"{"include_usage":true,"x":{"include_usage":true}}"#, false),
        ],
    );
    check(
        |facts| facts.max_output_tokens,
        &[
            (r#"{"max_tokens":5,"max_output_tokens":7,"max_completion_tokens":6}"#, Some(7)),
            (r#"{"max_tokens":5,"max_tokens":3}"#, Some(3)),
            (r#"{"max_tokens":"5"}"#, None),
            (r#"{"max_tokens":null}"#, None),
        ],
    );
    check(
        |facts| facts.logprobs,
        &[
            (r#"{"logprobs":false}"#, false),
            (r#"{"logprobs":null,"top_logprobs":null}"#, false),
            (r#"{"logprobs":5}"#, true),
            (r#"{"logprobs":0}"#, true),
            (r#"{"top_logprobs":2}"#, true),
            (r#"{"top_logprobs":0}"#, false),
        ],
    );
    check(
        |facts| facts.audio_output,
        &[
            (r#"{"modalities":["text","audio"]}"#, true),
            (r#"{"modalities":["text","image"]}"#, false),
            (r#"{"modalities":["text"]}"#, false),
            (r#"{"audio":{"voice":"alloy"}}"#, false),
        ],
    );
    check(
        |facts| facts.image_output,
        &[
            (r#"{"modalities":["text","image"]}"#, true),
            (r#"{"modalities":["text",7]}"#, true),
            (r#"{"modalities":["audio","text"]}"#, false),
            (r#"{"modalities":["image"],"modalities":[]}"#, false),
        ],
    );
    check(
        |facts| facts.affinity.user.is_some(),
        &[(r#"{"user":""}"#, false), (r#"{"user":1}"#, false), (r#"{"user":"a","user":null}"#, false)],
    );
}

#[test]
fn output_formats_of_every_dialect_are_read_and_unknown_ones_are_other() {
    check(
        |facts| facts.output,
        &[
            ("{}", OutputFormat::Text),
            (r#"{"response_format":null}"#, OutputFormat::Text),
            (r#"{"response_format":{"type":"text"}}"#, OutputFormat::Text),
            (r#"{"response_format":{"type":"json_object"}}"#, OutputFormat::JsonObject),
            (r#"{"text":{"format":{"type":"json_object"}}}"#, OutputFormat::JsonObject),
            (
                r#"{"output_format":{"type":"json_schema","schema":{"type":"object"}}}"#,
                OutputFormat::JsonSchema,
            ),
            (r#"{"output_config":{"format":{"type":"json_schema"}}}"#, OutputFormat::JsonSchema),
            (r#"{"response_format":{"type":"grammar"}}"#, OutputFormat::Other),
            (r#"{"response_format":"json"}"#, OutputFormat::Other),
            (r#"{"text":{"format":{"type":"json_object"}},"text":{}}"#, OutputFormat::Text),
        ],
    );
}

#[test]
fn tools_are_counted_and_hosted_tools_are_found() {
    check(
        |facts| (facts.tools.count, facts.tools.hosted, facts.tools.strict),
        &[
            (r#"{"tools":[]}"#, (0, false, false)),
            (r#"{"tools":null}"#, (0, false, false)),
            (r#"{"tools":[{"type":"function","strict":true}]}"#, (1, false, true)),
            (r#"{"tools":[{"type":"function","strict":true,"strict":false}]}"#, (1, false, false)),
            (r#"{"tools":[{"parameters":{"strict":true,"type":"web_search"}}]}"#, (1, false, false)),
            (r#"{"tools":[{"type":"code_execution_20250825"}]}"#, (1, true, false)),
            (r#"{"tools":[{"type":7}]}"#, (1, true, false)),
            (r#"{"tools":[{"type":"web_search"}],"tools":[{"type":"custom"}]}"#, (1, false, false)),
            (r#"{"mcp_servers":[{"url":"u"}]}"#, (0, true, false)),
            (r#"{"mcp_servers":[]}"#, (0, false, false)),
            (r#"{"web_search_options":{}}"#, (0, true, false)),
        ],
    );
    check(
        |facts| (facts.tools.choice, facts.tools.legacy_functions),
        &[
            (r#"{"tool_choice":"auto","functions":[]}"#, (ToolChoice::Free, false)),
            (r#"{"tool_choice":"none"}"#, (ToolChoice::Free, false)),
            (r#"{"tool_choice":null}"#, (ToolChoice::Free, false)),
            (r#"{"tool_choice":"required"}"#, (ToolChoice::Forced, false)),
            (r#"{"tool_choice":{"type":"any"},"functions":[{}]}"#, (ToolChoice::Forced, true)),
            (r#"{"tool_choice":{"type":"none"}}"#, (ToolChoice::Free, false)),
        ],
    );
}

/// Which tools run where is in the references of OpenAI (Responses) and Anthropic (tool use).
#[test]
fn tools_that_run_at_the_client_are_not_hosted() {
    for client in [
        r#"{"name":"f","input_schema":{}}"#,
        r#"{"type":null,"name":"f"}"#,
        r#"{"type":"function"}"#,
        r#"{"type":"custom","format":{"type":"grammar"}}"#,
        r#"{"type":"namespace","name":"n","tools":[{"type":"function","name":"f"}]}"#,
        r#"{"type":"local_shell"}"#,
        r#"{"type":"shell"}"#,
        r#"{"type":"shell","environment":null}"#,
        r#"{"environment":{"skills":[],"type":"local"},"type":"shell"}"#,
        r#"{"type":"apply_patch"}"#,
        r#"{"type":"computer"}"#,
        r#"{"type":"computer_use_preview","display_width":1024}"#,
        r#"{"type":"tool_search","execution":"client","parameters":{}}"#,
        r#"{"type":"bash_20250124","name":"bash"}"#,
        r#"{"type":"text_editor_20250728","name":"str_replace_based_edit_tool"}"#,
        r#"{"type":"computer_20251124","name":"computer"}"#,
        r#"{"type":"memory_20250818","name":"memory"}"#,
    ] {
        let facts = scan(&format!(r#"{{"tools":[{client}]}}"#)).unwrap();
        assert_eq!((facts.tools.count, facts.tools.hosted), (1, false), "{client}");
    }
    for hosted in [
        r#"{"type":"shell","environment":{"type":"container_auto"}}"#,
        r#"{"type":"shell","environment":{"type":"container_reference","container_id":"c"}}"#,
        r#"{"type":"tool_search"}"#,
        r#"{"type":"tool_search","execution":"server"}"#,
        r#"{"type":"tool_search_tool_regex_20251119","name":"tool_search_tool_regex"}"#,
        r#"{"type":"code_interpreter","container":{"type":"auto"}}"#,
        r#"{"type":"web_search_20250305","name":"web_search"}"#,
        r#"{"type":"file_search","vector_store_ids":[]}"#,
        r#"{"type":"mcp","server_url":"u"}"#,
        r#"{"type":"image_generation"}"#,
        r#"{"type":"bash_code_execution"}"#,
        r#"{"type":"a_tool_of_tomorrow"}"#,
    ] {
        // A tool of the client beside it does not hide it, before or after it.
        for tools in [format!(r#"{hosted},{{"type":"shell"}}"#), format!(r#"{{"type":"shell"}},{hosted}"#)] {
            assert!(scan(&format!(r#"{{"tools":[{tools}]}}"#)).unwrap().tools.hosted, "{tools}");
        }
    }
}

#[test]
fn reasoning_is_requested_unless_it_is_switched_off() {
    use Reasoning::{Asked, NotAsked};
    check(
        |facts| facts.reasoning,
        &[
            (r#"{"reasoning_effort":"minimal"}"#, Asked),
            (r#"{"reasoning_effort":"none"}"#, NotAsked),
            (r#"{"reasoning_effort":null}"#, NotAsked),
            (r#"{"reasoning_effort":""}"#, NotAsked),
            (r#"{"reasoning":{}}"#, NotAsked),
            (r#"{"reasoning":{"effort":null,"summary":null}}"#, NotAsked),
            (r#"{"reasoning":{"effort":"low","summary":null}}"#, Asked),
            (r#"{"reasoning":{"effort":null,"summary":"auto"}}"#, Asked),
            (r#"{"reasoning":{"max_tokens":2000}}"#, Asked),
            (r#"{"reasoning":{"effort":"none"}}"#, NotAsked),
            (r#"{"reasoning":{"effort":"none","summary":"auto"}}"#, NotAsked),
            (r#"{"reasoning":{"enabled":false}}"#, NotAsked),
            (r#"{"reasoning":{"enabled":true}}"#, Asked),
            (r#"{"reasoning":true}"#, Asked),
            (r#"{"reasoning":false}"#, NotAsked),
            (r#"{"thinking":{}}"#, NotAsked),
            (r#"{"thinking":{"type":null}}"#, NotAsked),
            (r#"{"thinking":{"type":"enabled","budget_tokens":1}}"#, Asked),
            (r#"{"thinking":{"type":"adaptive"}}"#, Asked),
            (r#"{"thinking":{"type":"disabled"}}"#, NotAsked),
        ],
    );
}

#[test]
fn sealed_reasoning_is_found_in_every_dialect_and_unsigned_thinking_is_not_sealed() {
    check(
        |facts| facts.sealed_reasoning,
        &[
            (r#"{"messages":[{"content":[{"signature":"x","type":"thinking"}]}]}"#, true),
            (r#"{"messages":[{"content":[{"signature":"","type":"thinking"}]}]}"#, false),
            (r#"{"messages":[{"content":[{"signature":"x","type":"text"}]}]}"#, false),
            (r#"{"messages":[{"content":[{"type":"redacted_thinking","data":"x"}]}]}"#, true),
            (r#"{"input":[{"type":"reasoning","encrypted_content":null}]}"#, false),
            (r#"{"input":[{"type":"reasoning","encrypted_content":"x"}]}"#, true),
            (r#"{"messages":[{"reasoning_details":[{"type":"reasoning.encrypted","data":"x"}]}]}"#, true),
            (r#"{"messages":[{"reasoning_details":[{"type":"reasoning.text","text":"x"}]}]}"#, false),
            (
                r#"{"messages":[{"tool_calls":[{"extra_content":{"google":{"thought_signature":"x"}}}]}]}"#,
                true,
            ),
        ],
    );
}

#[test]
fn state_is_found_and_similar_members_are_ignored() {
    use StateKind::{CachedContent, Container, Conversation, File, StoredItem};
    check(
        |facts| facts.state.kinds().collect::<Vec<_>>(),
        &[
            (r#"{"conversation":{"id":"c"}}"#, vec![Conversation]),
            (r#"{"previous_response_id":null,"background":false}"#, vec![]),
            (r#"{"previous_response_id":"","conversation":"","container":"","cached_content":""}"#, vec![]),
            (r#"{"prompt":{"id":"pmpt_1"}}"#, vec![StoredItem]),
            (r#"{"messages":[{"audio":{"id":"audio_1"},"role":"assistant"}]}"#, vec![StoredItem]),
            (r#"{"container":"c_1"}"#, vec![Container]),
            (
                r#"{"tools":[{"type":"code_interpreter","container":{"type":"auto","file_ids":["f"]}}]}"#,
                vec![File],
            ),
            (r#"{"tools":[{"type":"code_interpreter","container":"cntr_1"}]}"#, vec![Container]),
            (
                r#"{"tools":[{"type":"shell","environment":{"type":"container_reference","container_id":"cntr_1"}}]}"#,
                vec![Container],
            ),
            (r#"{"extra_body":{"google":{"cached_content":"c"}}}"#, vec![CachedContent]),
            (
                r#"{"messages":[{"content":[{"type":"document","source":{"type":"file","file_id":"f"}}]}]}"#,
                vec![File],
            ),
            (r#"{"messages":[{"content":[{"type":"container_upload","file_id":"f"}]}]}"#, vec![File]),
            (r#"{"file_id":"f","tools":[{"parameters":{"file_id":"f"}}]}"#, vec![]),
            (r#"{"messages":[{"content":"file_id"}]}"#, vec![]),
        ],
    );
}

#[test]
fn the_last_of_duplicate_messages_counts_and_both_of_duplicate_content() {
    let image = r#"[{"content":[{"type":"image"}]}]"#;
    check(
        |facts| (facts.items, facts.media.images),
        &[
            (&format!(r#"{{"messages":{image},"messages":[]}}"#), (0, 0)),
            (&format!(r#"{{"messages":{image},"input":{image}}}"#), (2, 2)),
            (r#"{"messages":[{"content":[{"type":"image"}],"content":[{"type":"image"}]}]}"#, (1, 2)),
            (r#"{"messages":[{"content":[{"type":"image","type":"text"}]}]}"#, (1, 0)),
        ],
    );
}
