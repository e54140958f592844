//! Recognises that a provider rejects the request for usage which the filter adds to streams.

use serde_json::{Map, Value};

use super::error_body::{ErrorBody, truncate};

/// The members that the filter adds.
const ADDED: [&str; 2] = ["stream_options", "include_usage"];

/// How much of a text is read, in bytes. A message may quote the client, and it does so at its end.
const MAX_READ: usize = 256;

/// How many errors of a list are read.
const MAX_ERRORS: usize = 8;

/// Where an error says what it is about.
const PLACES: [&str; 6] = ["param", "loc", "path", "field", "msg", "message"];

/// Whether an error with this `status` and `body` is about `stream_options`. Known shapes: the name in `param` or
/// in the message (OpenAI and many others), and in the `loc` of an entry of `detail` (servers with pydantic).
pub fn rejects_usage_option(status: u16, body: &[u8]) -> bool {
    if !matches!(status, 400 | 404 | 422 | 501) {
        return false;
    }
    let error = ErrorBody::of_failure(body);
    let lists = ["detail", "errors", "details"].iter().filter_map(|name| error.get(name)?.as_array());
    let mut listed = lists.flat_map(|errors| errors.iter().take(MAX_ERRORS));
    names_it(error.message()) || is_about_it(error.members()) || listed.any(is_it)
}

fn is_it(error: &Value) -> bool {
    error.as_str().is_some_and(names_it) || error.as_object().is_some_and(is_about_it)
}

fn is_about_it(error: &Map<String, Value>) -> bool {
    PLACES.iter().filter_map(|name| error.get(*name)).any(|place| match place {
        Value::String(text) => names_it(text),
        Value::Array(steps) => steps.iter().take(MAX_ERRORS).filter_map(Value::as_str).any(names_it),
        _ => false,
    })
}

fn names_it(text: &str) -> bool {
    ADDED.iter().any(|name| truncate(text, MAX_READ).contains(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rejection_names_the_member_in_any_vendors_shape() {
        let rejections = [
            r#"{"error":{"message":"Unrecognized request argument supplied: stream_options","type":"invalid_request_error","param":null}}"#,
            r#"{"error":{"message":"Unknown parameter","param":"stream_options"}}"#,
            r#"{"error":{"message":"property 'stream_options' is unsupported"}}"#,
            r#"{"object":"error","message":"[{'type': 'extra_forbidden', 'loc': ('body', 'stream_options'), 'msg': 'Extra inputs are not permitted'}]","code":400}"#,
            r#"{"detail":[{"type":"extra_forbidden","loc":["body","stream_options"],"msg":"Extra inputs are not permitted","input":{"include_usage":true}}]}"#,
            r#"{"detail":"stream_options is not supported"}"#,
            r#"{"errors":[{"path":"stream_options.include_usage","message":"not allowed"}]}"#,
            "unknown field `stream_options`",
        ];
        for body in rejections {
            assert!(rejects_usage_option(400, body.as_bytes()), "{body}");
            assert!(rejects_usage_option(422, body.as_bytes()), "{body}");
            assert!(!rejects_usage_option(500, body.as_bytes()), "{body}");
        }
    }

    #[test]
    fn other_errors_are_no_rejection_even_if_they_quote_the_client() {
        let long = "x".repeat(MAX_READ);
        let others = [
            r#"{"error":{"message":"The model does not exist","param":"model"}}"#.to_owned(),
            format!(r#"{{"error":{{"message":"Invalid input: {long} stream_options"}}}}"#),
            r#"{"detail":[{"loc":["body","messages"],"msg":"too short","input":"stream_options"}]}"#
                .to_owned(),
            String::new(),
            "null".to_owned(),
        ];
        for body in others {
            assert!(!rejects_usage_option(400, body.as_bytes()), "{body}");
        }
    }
}
