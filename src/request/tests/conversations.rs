//! The hash that identifies a conversation.

use super::super::{MAX_OPENING_BYTES, MAX_OPENING_TEXTS};
use super::scan;
use crate::request::{Affinity, Facts, Scanner, Tracks};

#[test]
fn the_hash_depends_only_on_the_beginning_of_the_conversation() {
    let conversation = |body: &str| scan(body).unwrap().affinity.conversation;
    let turns = |system: &str, first: &str, rest: &str| {
        let messages = format!(
            r#"{{"role":"system","content":"{system}"}},{{"role":"user","content":[{{"type":"text","text":"{first}"}}]}}"#
        );
        conversation(&format!(r#"{{"model":"m","messages":[{messages}{rest}]}}"#))
    };
    let first = turns("Be brief.", "Hello", "");
    assert!(first.is_some());
    let later = r#",{"role":"assistant","content":"Hi"},{"role":"user","content":"And now?"}"#;
    assert_eq!(turns("Be brief.", "Hello", later), first);
    assert_ne!(turns("Be brief.", "Hello!", ""), first);
    assert_ne!(turns("Be long.", "Hello", ""), first);
    // Without a system prompt, in the other dialects, and with the role after the content.
    for (short, long, other) in [
        (
            r#"{"messages":[{"role":"user","content":"a"}]}"#,
            r#"{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"}]}"#,
            r#"{"messages":[{"role":"user","content":"b"}]}"#,
        ),
        (
            r#"{"system":[{"type":"text","text":"s"}],"messages":[{"content":"a","role":"user"}]}"#,
            r#"{"system":[{"type":"text","text":"s"}],"messages":[{"content":"a","role":"user"},{"content":"c"}]}"#,
            r#"{"system":[{"type":"text","text":"t"}],"messages":[{"content":"a","role":"user"}]}"#,
        ),
        (
            r#"{"instructions":"s","input":[{"role":"user","content":"a"}]}"#,
            r#"{"instructions":"s","input":[{"role":"user","content":"a"},{"role":"user","content":"b"}]}"#,
            r#"{"instructions":"t","input":[{"role":"user","content":"a"}]}"#,
        ),
    ] {
        assert!(conversation(short).is_some(), "{short}");
        assert_eq!(conversation(short), conversation(long), "{long}");
        assert_ne!(conversation(short), conversation(other), "{other}");
    }
    assert_eq!(conversation(r#"{"messages":[]}"#), None);
    assert_eq!(conversation(r#"{"messages":[{"role":"user","content":""}]}"#), None);
}

#[test]
fn only_the_first_bytes_and_texts_count() {
    let conversation = |end: &str| {
        let text = "x".repeat(MAX_OPENING_BYTES) + end;
        scan(&format!(r#"{{"messages":[{{"role":"user","content":"{text}"}}]}}"#))
            .unwrap()
            .affinity
            .conversation
    };
    assert_eq!(conversation(""), conversation("y"));
    let many = |last: &str| {
        let texts = r#"{"type":"text","text":"a"},"#.repeat(MAX_OPENING_TEXTS as usize);
        let body = format!(r#"{{"system":[{texts}{{"type":"text","text":"{last}"}}]}}"#);
        scan(&body).unwrap().affinity.conversation
    };
    assert_eq!(many("b"), many("c"));
}

#[test]
fn without_conversations_all_other_facts_are_the_same() {
    let body =
        br#"{"model":"m","user":"u","messages":[{"role":"user","content":[{"type":"text","text":"a"}]}]}"#;
    let scan = |mut scanner: Scanner| {
        scanner.feed(body).unwrap();
        scanner.finish().unwrap()
    };
    let blind = Scanner::tracking(Tracks { beginning: false, references: false });
    let (all, blind) = (scan(Scanner::new()), scan(blind));
    assert!(all.affinity.conversation.is_some());
    assert_eq!(blind, Facts { affinity: Affinity { conversation: None, ..all.affinity }, ..all });
}
