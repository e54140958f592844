//! References to state, and the removal of encrypted reasoning.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::test_support::*;
use crate::base::digest;
use crate::request::{
    BodyEdit, Facts, MAX_ITEM_REFERENCES, MAX_NAMED_REFERENCES, MAX_SEALED_ITEMS, References, Scanner,
    StateKind, Tracks,
};

fn scan_in(body: &str, piece: usize) -> Facts {
    let mut scanner = Scanner::tracking(Tracks { beginning: true, references: true });
    body.as_bytes().chunks(piece).for_each(|window| scanner.feed(window).unwrap());
    scanner.finish().unwrap()
}

fn references(body: &str) -> References {
    scan_in(body, usize::MAX).references.map(|references| *references).unwrap_or_default()
}

fn digests_of(names: &[&str]) -> Vec<u64> {
    names.iter().map(|name| digest(name.as_bytes())).collect()
}

#[test]
fn references_come_with_those_that_say_most_first() {
    for (body, expected) in [
        (r#"{"input":"x"}"#, &[][..]),
        (r#"{"input":[{"type":"item_reference","id":"a"},{"id":"b"}]}"#, &["b", "a"]),
        (r#"{"input":[{"id":"a"}],"previous_response_id":"r"}"#, &["r", "a"]),
        (r#"{"conversation":"c"}"#, &["c"]),
        (r#"{"conversation":{"id":"c"}}"#, &["c"]),
        (r#"{"input":[{"type":"reasoning","id":"a","encrypted_content":"e"}]}"#, &["e", "a"]),
        (r#"{"input":[{"content":[{"type":"input_file","file_id":"f"}]}]}"#, &["f"]),
        (r#"{"tools":[{"vector_store_ids":["v"]},{"container":"c"}],"prompt":{"id":"p"}}"#, &["v", "c", "p"]),
        (r#"{"input":[{"id":"a"}],"input":[{"id":"b"}]}"#, &["b"]),
        (r#"{"previous_response_id":"r","previous_response_id":null}"#, &[]),
        // Ids of other places and APIs are none of an item.
        (r#"{"messages":[{"id":"a","content":[{"id":"b"}]}],"metadata":{"id":"c"}}"#, &[]),
        (r#"{"input":[{"content":[{"id":"b"}]},{"id":7},{"id":""}]}"#, &[]),
    ] {
        assert_eq!(references(body).digests().collect::<Vec<_>>(), digests_of(expected), "{body}");
    }
}

#[test]
fn the_number_of_references_is_bounded() {
    let items: Vec<_> = (0..100).map(|nth| json!({"id": format!("i{nth}")})).collect();
    let files: Vec<_> = (0..100).map(|nth| json!({"file_id": format!("f{nth}")})).collect();
    let body = json!({"input": items, "messages": files}).to_string();
    let newest = (0..MAX_ITEM_REFERENCES).map(|back| format!("i{}", 99 - back));
    let expected: Vec<_> = (0..MAX_NAMED_REFERENCES).map(|nth| format!("f{nth}")).chain(newest).collect();
    let expected: Vec<_> = expected.iter().map(|name| digest(name.as_bytes())).collect();
    assert_eq!(references(&body).digests().collect::<Vec<_>>(), expected);
}

#[test]
fn reasoning_that_is_only_an_id_is_a_stored_item() {
    for (item, is_stored) in [
        (r#"{"type":"reasoning","id":"rs_1","summary":[]}"#, true),
        (r#"{"type":"reasoning","id":"rs_1","summary":[],"encrypted_content":null,"content":null}"#, true),
        (r#"{"type":"reasoning","id":"rs_1","encrypted_content":"e"}"#, false),
        (r#"{"type":"reasoning","id":"rs_1","content":[{"type":"reasoning_text","text":"x"}]}"#, false),
        (r#"{"type":"reasoning","summary":[]}"#, false),
        (r#"{"type":"message","id":"msg_1","content":"x"}"#, false),
        (r#"{"type":"item_reference","id":"msg_1"}"#, true),
    ] {
        let facts = scan_in(&format!(r#"{{"input":[{item}]}}"#), usize::MAX);
        assert_eq!(facts.state.contains(StateKind::StoredItem), is_stored, "{item}");
    }
}

#[test]
fn only_encrypted_reasoning_can_be_removed_and_only_so_much() {
    let many = |count| {
        let pair = r#"{"type":"message"},{"type":"reasoning","encrypted_content":"e"},"#;
        format!(r#"{{"input":[{}{{}}]}}"#, pair.repeat(count))
    };
    for (body, can) in [
        (r#"{"input":[]}"#.to_owned(), false),
        (r#"{"input":[{"type":"compaction","encrypted_content":"e"}]}"#.to_owned(), false),
        (r#"{"input":[{"type":"reasoning","encrypted_content":["e"]}]}"#.to_owned(), false),
        (r#"{"input":[{"content":[{"type":"reasoning","encrypted_content":"e"}]}]}"#.to_owned(), false),
        (many(MAX_SEALED_ITEMS), true),
        (many(MAX_SEALED_ITEMS + 1), false),
    ] {
        assert_eq!(references(&body).removable().is_some(), can, "{}", &body[..body.len().min(90)]);
    }
}

/// An item, and whether it has encrypted reasoning.
fn some_item() -> impl Strategy<Value = (Value, bool)> {
    prop_oneof![
        Just((json!({"type": "reasoning", "encrypted_content": "gA,]}", "summary": [{"text": "}"}]}), true)),
        Just((json!({"type": "message", "content": [{"text": "]"}]}), false)),
        Just((json!("text"), false)),
        Just((json!([1]), false)),
        Just((json!({"type": "reasoning", "encrypted_content": ""}), false)),
    ]
}

proptest! {
    #[test]
    fn without_its_encrypted_reasoning_a_body_is_valid_and_otherwise_the_same(
        items in prop::collection::vec(some_item(), 0..8), spaced in any::<bool>(), piece in 1_usize..40,
        after in any::<bool>(),
    ) {
        let list: Vec<_> = items.iter().map(|(item, _)| item.clone()).collect();
        let body = |list: &[Value], model: &str| {
            let (first, last) = if after { ("input", "model") } else { ("model", "input") };
            let mut map = serde_json::Map::new();
            for name in [first, last] {
                map.insert(name.to_owned(), if name == "model" { json!(model) } else { json!(list) });
            }
            Value::Object(map)
        };
        let value = body(&list, "m");
        let text = if spaced { serde_json::to_string_pretty(&value).unwrap() } else { value.to_string() };
        let facts = scan_in(&text, piece);
        let references = facts.references.clone().unwrap_or_default();
        let has_any = items.iter().any(|(_, sealed)| *sealed);
        prop_assert_eq!(references.removable().is_some(), has_any);
        let spans = references.removable().unwrap_or_default();
        let edit = BodyEdit::of_model(&facts, "other").without(spans);
        let mut wire = FakeWire { body: text.clone().into_bytes(), ..FakeWire::default() };
        let length = edit.apply_held(&mut wire, text.len()).unwrap();
        prop_assert_eq!((length, edit.new_length(text.len())), (wire.body.len(), wire.body.len()));
        let kept: Vec<_> = items.iter().filter(|(_, sealed)| !sealed).map(|(item, _)| item.clone()).collect();
        prop_assert_eq!(serde_json::from_slice::<Value>(&wire.body).unwrap(), body(&kept, "other"));
        prop_assert_eq!(scan_in(&text, 1), facts);
    }
}
