//! The error event that a client gets when its stream cannot be continued.
//!
//! It has the error format of the dialect, which SDKs raise as an error. No terminal event follows: a
//! truncated response must not look complete.

use serde_json::json;

use super::dialect::StreamDialect;
use crate::base::ErrorClass;

/// The event for a stream that failed with `class`. `number` is the sequence number of the dialect's next
/// event, if it has one.
pub fn notice(dialect: StreamDialect, class: ErrorClass, number: u64) -> String {
    let stalled = class == ErrorClass::StreamStalled || class == ErrorClass::Timeout;
    let message = match class {
        _ if stalled => "The provider stopped sending before the answer was complete.",
        ErrorClass::Malformed => "The provider sent an event that is no JSON.",
        ErrorClass::Empty => "The provider ended the stream without an answer.",
        ErrorClass::StreamTruncated => "The provider ended the stream before the answer was complete.",
        _ => "The provider reported an error before the answer was complete.",
    };
    match dialect {
        StreamDialect::Chat | StreamDialect::Completions | StreamDialect::Media => {
            let error =
                json!({"message": message, "type": "server_error", "param": null, "code": class.name()});
            format!("data: {}\n\n", json!({"error": error}))
        }
        StreamDialect::Messages => {
            let kind = if stalled { "timeout_error" } else { "api_error" };
            let error = json!({"type": kind, "message": message});
            format!("event: error\ndata: {}\n\n", json!({"type": "error", "error": error}))
        }
        StreamDialect::Responses => {
            let error = json!({
                "type": "error",
                "code": class.name(),
                "message": message,
                "param": null,
                "sequence_number": number,
            });
            format!("event: error\ndata: {error}\n\n")
        }
        StreamDialect::Gemini => {
            let (code, status) = if stalled { (504, "DEADLINE_EXCEEDED") } else { (502, "UNAVAILABLE") };
            format!("data: {}\n\n", json!({"error": {"code": code, "status": status, "message": message}}))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Framer, Meaning, StreamState};
    use super::*;

    #[test]
    fn a_notice_is_one_event_that_its_dialect_reads_as_a_failure() {
        use StreamDialect::{Chat, Completions, Gemini, Media, Messages, Responses};
        for dialect in [Chat, Completions, Responses, Messages, Gemini, Media] {
            for class in ErrorClass::ALL {
                let mut state = StreamState::new(dialect);
                let mut failures = Vec::new();
                let mut framer = Framer::new();
                framer.feed(notice(dialect, class, 7).as_bytes(), |event| {
                    failures.push(matches!(state.read(&event), Meaning::Failed(_)));
                });
                assert_eq!(failures, [true], "{dialect:?} {class:?}");
                assert!(framer.at_boundary());
            }
        }
    }
}
