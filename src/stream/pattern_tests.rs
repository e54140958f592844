use proptest::prelude::*;

use super::*;

const CHAT: &str = "data: {\"id\":\"c1\",\"created\":17,\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hi\"},\"finish_reason\":null}],\"obfuscation\":\"ab\"}\n\n";

fn learnt(event: &str) -> Pattern {
    let mut pattern = Pattern::default();
    pattern.learn(event.as_bytes());
    pattern
}

/// Whether `event`, with more after it, repeats `remembered`.
fn repeats(remembered: &str, event: &str) -> bool {
    let bytes = [event, "data: more"].concat();
    let length = learnt(remembered).repeated_by(bytes.as_bytes());
    assert!(length.is_none_or(|length| length == event.len()), "{event}");
    length.is_some()
}

#[test]
fn an_event_with_other_text_and_other_numbers_repeats() {
    assert!(repeats(CHAT, CHAT));
    for (old, new) in [
        ("Hi", "H"),
        ("Hi", "Hi, my name is a rather long one"),
        ("Hi", "x"),
        ("Hi", "\\\"\\n\\u00e9\\\\"),
        ("Hi", "héllo"),
        ("ab", "abcdefghijklmnopqrstuvwxyz"),
        ("17", "1"),
        ("17", "1799999999"),
        ("17", "17.25"),
        ("17", "-2e5"),
        ("c1", "c2"),
    ] {
        assert!(repeats(CHAT, &CHAT.replace(old, new)), "{new}");
        assert!(repeats(&CHAT.replace(old, new), CHAT), "{new}");
    }
    let all = CHAT.replace("c1", "other").replace("17", "4").replace("Hi", "ho ho").replace("ab", "z");
    assert!(repeats(CHAT, &all));
}

#[test]
fn an_event_with_another_meaning_does_not_repeat() {
    for (old, new) in [
        ("Hi", ""),
        ("17", ""),
        ("17", "null"),
        ("17", "\"17\""),
        ("\"Hi\"", "null"),
        ("\"Hi\"", "[1]"),
        ("\"index\":0", "\"index\":1"),
        ("null", "\"stop\""),
        ("content", "contents"),
        ("data: {", "data:  {"),
        ("data", "date"),
        ("Hi", "Hi\n"),
        ("Hi", "Hi\r"),
        ("Hi", "Hi\\\n"),
        ("Hi", "Hi\\"),
        ("Hi", "Hi\",\"error\":\"x"),
        ("\n\n", "\n"),
        ("\n\n", "\r\n\r\n"),
        ("}\n\n", "}}\n\n"),
        ("}\n\n", "} \n\n"),
    ] {
        assert!(!repeats(CHAT, &CHAT.replacen(old, new, 1)), "{new}");
    }
    for cut in 0..CHAT.len() {
        assert_eq!(learnt(CHAT).repeated_by(&CHAT.as_bytes()[..cut]), None, "{cut}");
    }
}

#[test]
fn members_that_a_dialect_reads_are_not_free() {
    for name in READ {
        let name = std::str::from_utf8(name).unwrap();
        let event =
            |value: &str| format!("data: {{\"{name}\":\"{value}\",\"n\":{{\"{name}\":\"{value}\"}}}}\n\n");
        assert!(repeats(&event("a"), &event("a")) && !repeats(&event("a"), &event("b")), "{name}");
        let event = |value: u8| format!("data: {{\"n\":[{{\"{name}\":{value}}}]}}\n\n");
        assert!(!repeats(&event(1), &event(2)), "{name}");
    }
    // Elements of arrays have no name.
    assert!(!repeats("data: {\"a\":[\"x\",1]}\n\n", "data: {\"a\":[\"y\",1]}\n\n"));
    assert!(!repeats("data: {\"a\":[{},1]}\n\n", "data: {\"a\":[{},2]}\n\n"));
}

#[test]
fn an_event_with_counts_is_not_remembered() {
    for name in ["usage", "usageMetadata"] {
        for (value, repeated) in [("null", true), ("{}", false), ("{\"prompt_tokens\":-1}", false)] {
            let event = format!("data: {{\"a\":\"x\",\"{name}\":{value}}}\n\n");
            assert_eq!(repeats(&event, &event), repeated, "{event}");
        }
    }
}

#[test]
fn only_events_with_one_line_of_data_are_remembered() {
    for event in [
        "event: delta\ndata: {\"a\":\"x\"}\n\n",
        "event: delta\r\ndata:{\"a\":\"x\"}\r\n\r\n",
        "data: {\"a\":\"x\"}\r\n\r\n",
    ] {
        assert!(repeats(event, event) && repeats(event, &event.replace('x', "yy")), "{event:?}");
    }
    for event in [
        "",
        "\n\n",
        "data: {}\n",
        "data: {}\r\r",
        "data: {}\n\r\n",
        "data: [1]\n\n",
        "data: {\"a\":\n\n",
        "data: {} {}\n\n",
        "data: {\ndata: }\n\n",
        "data: {\rdata: }\n\n",
        "event: a\rdata: x\ndata: {}\n\n",
        "event: a\ndata: {}\nid: 1\n\n",
        "id: 1\ndata: {}\n\n",
        ": note\ndata: {}\n\n",
        "\u{feff}data: {}\n\n",
    ] {
        assert_eq!(learnt(event).repeated_by(event.as_bytes()), None, "{event:?}");
    }
}

#[test]
fn an_event_is_remembered_after_two_in_a_row_that_do_not_repeat_the_last() {
    let (one, other) = (CHAT.as_bytes(), b"data: {\"other\":\"x\"}\n\n");
    let mut pattern = learnt(CHAT);
    for _ in 0..3 {
        pattern.learn(other);
        assert_eq!(pattern.repeated_by(other), None);
        assert_eq!(pattern.repeated_by(one), Some(one.len()));
    }
    pattern.learn(other);
    pattern.learn(other);
    assert_eq!(pattern.repeated_by(one), None);
    assert_eq!(pattern.repeated_by(other), Some(other.len()));
}

#[test]
fn a_stream_whose_events_never_repeat_is_learnt_only_so_often() {
    let event = |n: u8| format!("data: {{\"member{n}\":\"x\"}}\n\n");
    let after = |events: u8| {
        let mut pattern = Pattern::default();
        // The first event is remembered at once, and then every other one.
        (0..events).for_each(|n| pattern.learn(event(n).as_bytes()));
        pattern
    };
    let most = 2 * MAX_IN_VAIN - 1;
    assert!(after(most).repeated_by(event(most - 1).as_bytes()).is_some());
    let mut pattern = after(most + 2);
    assert!(pattern.repeated_by(event(most + 1).as_bytes()).is_none());
    assert!(pattern.repeated_by(event(most - 1).as_bytes()).is_some(), "the last one stays");
    pattern.learn(CHAT.as_bytes());
    pattern.learn(CHAT.as_bytes());
    assert!(pattern.repeated_by(CHAT.as_bytes()).is_none());
}

#[test]
fn what_is_remembered_is_bounded() {
    let event = |length: usize| format!("data: {{\"a\":\"{}\"}}\n\n", "x".repeat(length));
    let longest = MAX_PATTERN - event(0).len();
    assert!(repeats(&event(longest), &event(1)) && repeats(&event(1), &event(longest + 1)));
    assert!(!repeats(&event(longest + 1), &event(longest + 1)));
    let members = |last: &str| {
        let members: Vec<_> = (0..MAX_FREE_VALUES).map(|n| format!("\"m{n}\":{n}")).collect();
        format!("data: {{{},{last}}}\n\n", members.join(","))
    };
    assert!(repeats(&members("\"x\":1"), &members("\"x\":1").replace("m0\":0", "m0\":9")));
    assert!(repeats(&members("\"x\":1"), &members("\"x\":1").replace(":23", ":9")));
    assert!(!repeats(&members("\"x\":1"), &members("\"x\":2")));
}

proptest! {
    #[test]
    fn the_common_prefix_ends_at_the_first_difference(
        mut one in proptest::collection::vec(any::<u8>(), 0..70), at in 0_usize..70, with: u8, cut in 0_usize..70
    ) {
        let mut other = one.clone();
        if let Some(byte) = other.get_mut(at) {
            *byte = with;
        }
        other.truncate(cut);
        let expected = one.iter().zip(&other).take_while(|(one, other)| one == other).count();
        prop_assert_eq!(common_prefix(&one, &other), expected);
        prop_assert_eq!(common_prefix(&other, &one), expected);
        one.clear();
        prop_assert_eq!(common_prefix(&one, &other), 0);
    }
}
