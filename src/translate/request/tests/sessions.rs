//! Sessions in the shape in which coding agents send them. Each text has a mark of its own.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::rules::{assert_chat, assert_marks, assert_messages};
use super::{CHAT, CLAUDE, body, names, translated};
use crate::translate::Translation;

const CLAUDE_CODE: &str = include_str!("data/claude_code.json");
const CLAUDE_CODE_MARKS: usize = 25;
const CODEX: &str = include_str!("data/codex.json");
const CODEX_MARKS: usize = 27;

fn session(text: &str, marks: usize) -> Value {
    assert_marks(text.as_bytes(), marks);
    assert!(!text.contains(&format!("<{}>", marks + 1)));
    serde_json::from_str(text).unwrap()
}

#[test]
fn a_session_of_claude_code_goes_to_chat() {
    let found = translated(Translation::MessagesToChat, CHAT, &session(CLAUDE_CODE, CLAUDE_CODE_MARKS));
    let body = body(&found);
    assert_marks(&found.body, CLAUDE_CODE_MARKS);
    assert_chat(&body["messages"]);
    assert_eq!(
        names(found.losses),
        ["cache_control", "metadata", "past_reasoning", "context_management", "reasoning", "tool_error"]
    );
    assert_eq!(body["tools"].as_array().unwrap().len(), 5);
    assert_eq!(body["messages"][2]["role"], "system");
    assert!(found.context.streamed);
    let renamed: Vec<_> = found.context.renamed_tools.iter().map(|tool| &*tool.client).collect();
    assert_eq!(renamed, [b"mcp__a_server_with_quite_a_long_name_for_tests__a_tool_with_quite_a_long_name"]);
}

#[test]
fn a_session_of_codex_goes_to_chat() {
    let found = translated(Translation::ResponsesToChat, "gpt-5", &session(CODEX, CODEX_MARKS));
    let body = body(&found);
    assert_marks(&found.body, CODEX_MARKS);
    assert_chat(&body["messages"]);
    let losses = names(found.losses);
    assert_eq!(
        losses,
        ["cache_control", "metadata", "past_reasoning", "reasoning_display", "hosted_tools", "tool_grammar"]
    );
    assert_eq!((&body["verbosity"], &body["reasoning_effort"]), (&json!("low"), &json!("medium")));
    assert!(found.context.is_custom(b"apply_patch"));
    assert_eq!(found.context.renamed(b"mcp__docs__search").unwrap().client.as_ref(), b"search");
}

#[test]
fn a_session_of_codex_goes_to_messages() {
    let session = session(CODEX, CODEX_MARKS);
    let found = translated(Translation::ResponsesToMessages, "claude-opus-5-5", &session);
    let body = body(&found);
    assert_marks(&found.body, CODEX_MARKS);
    assert_messages(&body["messages"]);
    let losses = names(found.losses);
    assert_eq!(
        losses,
        [
            "cache_control",
            "metadata",
            "past_reasoning",
            "reasoning_display",
            "verbosity",
            "hosted_tools",
            "tool_grammar",
        ]
    );
    assert_eq!(body["output_config"], json!({"effort": "medium"}));
    assert!(found.context.streamed && found.context.is_custom(b"apply_patch"));
    let at_chat = translated(Translation::ResponsesToChat, "gpt-5", &session);
    assert_eq!(at_chat.context.renamed_tools, found.context.renamed_tools);
}

/// What may come next in a Responses session.
#[derive(Debug, Clone, Copy)]
enum Step {
    User,
    Developer,
    Assistant,
    Reasoning,
    Call,
    /// The result of one of the open calls, if there is one.
    Result(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        2 => Just(Step::User),
        1 => Just(Step::Developer),
        2 => Just(Step::Assistant),
        1 => Just(Step::Reasoning),
        4 => Just(Step::Call),
        4 => any::<usize>().prop_map(Step::Result),
    ];
    proptest::collection::vec(step, 1..24)
}

/// The items of these steps, in which every call has a result, and the number of marks in them.
fn items(steps: &[Step]) -> (Vec<Value>, usize) {
    let mut items = Vec::new();
    let mut open = Vec::new();
    let mut marks = 0;
    let mut mark = || {
        marks += 1;
        format!("<{marks}>")
    };
    let all = steps.iter().copied().chain(steps.iter().map(|_| Step::Result(0)));
    for step in all {
        items.push(match step {
            Step::User => json!({"role": "user", "content": mark()}),
            Step::Developer => {
                json!({"role": "developer", "content": [{"type": "input_text", "text": mark()}]})
            }
            Step::Assistant => {
                json!({"role": "assistant", "content": [{"type": "output_text", "text": mark()}]})
            }
            Step::Reasoning => json!({"type": "reasoning", "summary": [], "encrypted_content": "x"}),
            Step::Call => {
                let id = format!("c{}", items.len());
                open.push(id.clone());
                json!({"type": "function_call", "call_id": id, "name": "n",
                    "arguments": json!({"mark": mark()}).to_string()})
            }
            Step::Result(_) if open.is_empty() => continue,
            Step::Result(which) => {
                let id = open.remove(which % open.len());
                json!({"type": "function_call_output", "call_id": id, "output": mark()})
            }
        });
    }
    (items, marks)
}

proptest! {
    #[test]
    fn whatever_the_order_of_items_the_rules_are_kept_and_no_text_is_lost_or_doubled(steps in steps()) {
        let (items, marks) = items(&steps);
        prop_assume!(marks > 0);
        let request = json!({"input": items});
        let chat = translated(Translation::ResponsesToChat, CHAT, &request);
        assert_marks(&chat.body, marks);
        assert_chat(&body(&chat)["messages"]);
        let messages = translated(Translation::ResponsesToMessages, CLAUDE, &request);
        assert_marks(&messages.body, marks);
        assert_messages(&body(&messages)["messages"]);
    }
}
