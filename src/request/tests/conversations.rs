//! What a conversation is known by.

use super::super::{MAX_OPENING_BYTES, MAX_OPENING_TEXTS};
use super::scan;
use crate::request::{Affinity, Facts, Scanner};

#[test]
fn a_conversation_is_known_by_how_it_begins_however_it_goes_on() {
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
    // Without a system prompt, in the other dialects, with the role behind the content.
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
fn of_a_long_text_only_the_beginning_tells_a_conversation() {
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
fn who_is_blind_to_conversations_sees_everything_else() {
    let body =
        br#"{"model":"m","user":"u","messages":[{"role":"user","content":[{"type":"text","text":"a"}]}]}"#;
    let scan = |mut scanner: Scanner| {
        scanner.feed(body).unwrap();
        scanner.finish().unwrap()
    };
    let (all, blind) = (scan(Scanner::new()), scan(Scanner::blind_to_conversations()));
    assert!(all.affinity.conversation.is_some());
    assert_eq!(blind, Facts { affinity: Affinity { conversation: None, ..all.affinity }, ..all });
}
