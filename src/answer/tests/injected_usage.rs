//! A client that did not ask for usage gets its stream without the usage event.

use proptest::prelude::*;

use super::super::Terms;
use super::{OK_STREAM, follower, passed, terms};
use crate::base::Endpoint;

const CONTENT: &str = r#"{"choices":[{"index":0,"delta":{"content":"héllo"}}],"usage":null}"#;
const FINISH: &str = r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":null}"#;
const USAGE: &str = r#"{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2}}"#;
/// Azure streams begin with this event. It has no choices and no usage.
const FILTERS: &str = r#"{"choices":[],"prompt_filter_results":[]}"#;

/// A chat stream, with and without its usage event.
fn stream(line_end: &str, contents: usize, comment: bool, done: bool) -> (String, String) {
    let event = |data: &str| format!("data: {data}{line_end}{line_end}");
    let mut before = vec![event(FILTERS)];
    before.extend(std::iter::repeat_n(event(CONTENT), contents));
    before.push(event(FINISH));
    if comment {
        before.push(format!(": keep-alive{line_end}{line_end}"));
    }
    let after = if done { event("[DONE]") } else { String::new() };
    let before = before.concat();
    ([before.as_str(), &event(USAGE), &after].concat(), [before, after].concat())
}

/// What the client gets of a stream that is cut at these places.
fn without_usage_event(stream: &str, cuts: &[usize], wants_insertion: bool) -> String {
    let terms = Terms { hides_usage: true, ..terms(Endpoint::Chat) };
    let follower = follower(terms, OK_STREAM, wants_insertion);
    String::from_utf8(passed(follower, stream.as_bytes(), cuts).concat()).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn exactly_the_usage_event_is_removed_for_any_chunking(
        line_end in prop_oneof![Just("\n"), Just("\r\n"), Just("\r")],
        contents in 0_usize..6,
        comment: bool,
        done: bool,
        wants_insertion: bool,
        cuts in proptest::collection::vec(any::<usize>(), 0..12),
    ) {
        let (whole, without) = stream(line_end, contents, comment, done);
        prop_assert_eq!(without_usage_event(&whole, &cuts, wants_insertion), without);
    }
}

#[test]
fn the_usage_event_is_removed_at_every_split_into_two_and_byte_by_byte() {
    for line_end in ["\n", "\r\n", "\r"] {
        let (whole, without) = stream(line_end, 1, true, true);
        for at in 0..=whole.len() {
            assert_eq!(without_usage_event(&whole, &[at], true), without, "{line_end:?} at {at}");
        }
        assert_eq!(without_usage_event(&whole, &(0..whole.len()).collect::<Vec<_>>(), true), without);
    }
}
