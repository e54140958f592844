//! The rules that the makers' servers enforce on conversations.

use std::collections::BTreeSet;

use serde_json::Value;

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn ids<'v>(values: &'v [Value], member: &str) -> BTreeSet<&'v str> {
    values.iter().filter_map(|value| value[member].as_str()).collect()
}

fn assert_plain(name: &Value, most: usize) {
    let name = name.as_str().unwrap();
    let plain = |character: char| character.is_ascii_alphanumeric() || "_-".contains(character);
    assert!(!name.is_empty() && name.len() <= most && name.chars().all(plain), "{name}");
}

/// Messages of a chat: the results of all calls follow the calls at once, and there are no others.
pub(super) fn assert_chat(messages: &Value) {
    let messages = list(messages);
    for (at, message) in messages.iter().enumerate() {
        let following = messages[at + 1..].iter().take_while(|message| message["role"] == "tool");
        let following: Vec<_> = following.cloned().collect();
        let calls = list(&message["tool_calls"]);
        if message["role"] != "tool" {
            assert_eq!(ids(calls, "id"), ids(&following, "tool_call_id"), "{message:#}");
            assert_eq!(calls.len(), following.len(), "{message:#}");
        }
        for call in calls {
            assert_plain(&call["id"], 40);
            assert_plain(&call["function"]["name"], 64);
            assert!(call["function"]["arguments"].is_string());
        }
        let content = &message["content"];
        assert!(content.is_string() || !list(content).is_empty() || !calls.is_empty(), "{message:#}");
    }
    assert_ne!(messages.first().unwrap()["role"], "tool");
}

/// Turns of Messages: they alternate, begin and end with the user, have content, and the results of all calls
/// come first in the next turn.
pub(super) fn assert_messages(turns: &Value) {
    let turns = list(turns);
    for (at, turn) in turns.iter().enumerate() {
        assert_eq!(turn["role"], if at % 2 == 0 { "user" } else { "assistant" }, "{turn:#}");
        let blocks = list(&turn["content"]);
        assert!(!blocks.is_empty());
        let calls: Vec<_> = blocks.iter().filter(|block| block["type"] == "tool_use").cloned().collect();
        let next = turns.get(at + 1).map_or(&[][..], |next| list(&next["content"]));
        let results: Vec<_> =
            next.iter().take_while(|block| block["type"] == "tool_result").cloned().collect();
        let all = next.iter().filter(|block| block["type"] == "tool_result").count();
        assert_eq!(ids(&calls, "id"), ids(&results, "tool_use_id"), "{turn:#}");
        assert_eq!((calls.len(), all), (results.len(), results.len()), "{turn:#}");
        for block in blocks {
            let text = block["type"] == "text";
            assert!(!text || !block["text"].as_str().unwrap().trim().is_empty(), "{block}");
            if block["type"] == "tool_use" {
                assert_plain(&block["id"], 40);
                assert_plain(&block["name"], 64);
                assert!(block["input"].is_object());
            }
        }
    }
    assert_eq!(turns.last().unwrap()["role"], "user");
}

/// Every mark `<1>` to `<count>` is in the text exactly once.
pub(super) fn assert_marks(body: &[u8], count: usize) {
    let text = String::from_utf8_lossy(body);
    for number in 1..=count {
        let mark = format!("<{number}>");
        assert_eq!(text.matches(&mark).count(), 1, "{mark} in {text}");
    }
}
