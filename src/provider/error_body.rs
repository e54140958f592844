//! Reads an error out of a body, in any vendor's shape.

use memchr::memmem;
use serde_json::{Map, Value};

use crate::base::json::{first_element, members};

/// How many bytes are read of an error body, or of an error within a response.
pub const MAX_ERROR_BODY: usize = 16 * 1024;

/// The longest type or code that is kept, in bytes. Longer ones are cut.
pub const MAX_NAME: usize = 64;

/// The members that are read, at the top level and in `response` and `choices`.
const MEMBERS: [&str; 14] = [
    "error",
    "type",
    "object",
    "status",
    "code",
    "message",
    "error_type",
    "detail",
    "response",
    "choices",
    "finish_reason",
    "param",
    "details",
    "metadata",
];

/// An error's members without their wrapper. Known shapes: `{"error":{…}}`, the same within an array, flat
/// members, `{"response":{"error":{…}}}`, `{"choices":[{"error":{…}}]}` and `{"error":"text"}`.
#[derive(Debug, Default)]
pub(super) struct ErrorBody {
    members: Map<String, Value>,
}

impl ErrorBody {
    /// The error in the body of a failed request; empty if nothing can be read.
    pub(super) fn of_failure(body: &[u8]) -> Self {
        let body = body.get(..MAX_ERROR_BODY).unwrap_or(body);
        Self::of_wrapper(excerpt(body, true))
    }

    /// The error within a successful response or a stream event, if there is one.
    ///
    /// Only members of the top level, of `response` and of the first choice count: the text of a response may
    /// contain anything. An ordinary response costs two substring searches, because within a JSON string the
    /// quotes would be escaped.
    pub(super) fn of_success(body: &[u8]) -> Option<Self> {
        if memmem::find(body, b"\"error\"").is_none() && memmem::find(body, b"\"response.failed\"").is_none()
        {
            return None;
        }
        let wrapper = excerpt(body, true);
        is_error(&wrapper).then(|| Self::of_wrapper(wrapper))
    }

    fn of_wrapper(mut wrapper: Map<String, Value>) -> Self {
        let members = match wrapper.remove("error") {
            Some(Value::Object(error)) => error,
            Some(Value::String(message)) => {
                wrapper.insert("message".to_owned(), Value::String(message));
                wrapper
            }
            _ => match nested_error(&mut wrapper) {
                Some(error) => error,
                None => wrapper,
            },
        };
        Self { members }
    }

    /// The non-empty string at this path.
    pub(super) fn text(&self, path: &[&str]) -> Option<&str> {
        let (last, parents) = path.split_last()?;
        let mut members = &self.members;
        for parent in parents {
            members = members.get(*parent)?.as_object()?;
        }
        members.get(*last)?.as_str().filter(|text| !text.is_empty())
    }

    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        self.members.get(name)
    }

    /// The error type: `type`, OpenRouter's and TGI's `error_type`, or Gemini's `status`, which is in
    /// capitals.
    pub(super) fn kind(&self) -> Option<&str> {
        let kind = self.text(&["type"]).filter(|kind| *kind != "error" && *kind != "response.failed");
        kind.or_else(|| self.text(&["error_type"]))
            .or_else(|| self.text(&["metadata", "error_type"]))
            .or_else(|| {
                self.text(&["status"]).filter(|status| status.starts_with(|c: char| c.is_ascii_uppercase()))
            })
    }

    /// The error code: `code` (a number as its digits) or Anthropic's `details.error_code`.
    pub(super) fn code(&self) -> Option<String> {
        match self.members.get("code") {
            Some(Value::String(code)) if !code.is_empty() => Some(code.clone()),
            Some(Value::Number(code)) if code.is_i64() => Some(code.to_string()),
            _ => self.text(&["details", "error_code"]).map(str::to_owned),
        }
    }

    /// The HTTP status, 400 to 599, from `code` or `status`, for errors that come without a status of their
    /// own.
    pub(super) fn status(&self) -> Option<u16> {
        [self.code(), self.members.get("status").map(Value::to_string)]
            .into_iter()
            .flatten()
            .find_map(|text| text.parse().ok().filter(|status| (400..600).contains(status)))
    }

    /// The error message; empty if there is none.
    pub(super) fn message(&self) -> &str {
        self.text(&["message"]).or_else(|| self.text(&["detail"])).unwrap_or_default()
    }
}

/// `name` cut to [`MAX_NAME`] bytes; `None` if it is empty or has control characters.
pub(super) fn truncated_name(name: &str) -> Option<Box<str>> {
    if name.is_empty() || name.chars().any(char::is_control) {
        return None;
    }
    Some(Box::from(truncate(name, MAX_NAME)))
}

/// The longest prefix of `text` that has at most `max` bytes and ends between characters.
pub(super) fn truncate(text: &str, max: usize) -> &str {
    let end = (0..=max).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    if text.len() <= max { text } else { text.get(..end).unwrap_or_default() }
}

/// The members of `text` that are listed in [`MEMBERS`]. An error that is too large to be read still counts
/// as one.
fn excerpt(text: &[u8], top: bool) -> Map<String, Value> {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let mut found = Map::new();
    for (name, raw) in first_element(text).into_iter().flat_map(members) {
        let Some(name) = MEMBERS.into_iter().find(|known| known.as_bytes() == name) else { continue };
        let value = match name {
            // These can hold the whole response, so only their own error members are taken.
            "response" | "choices" if top => Some(excerpt(raw, false).into()),
            _ if raw.len() > MAX_ERROR_BODY && name == "error" => Some(Value::from("(too large to be read)")),
            _ if raw.len() > MAX_ERROR_BODY => None,
            _ => serde_json::from_slice(raw).ok(),
        };
        if let Some(value) = value {
            found.insert(name.to_owned(), value);
        }
    }
    found
}

/// Whether a successful response or an event with these members is an error.
fn is_error(wrapper: &Map<String, Value>) -> bool {
    let says = |name: &str, value: &str| wrapper.get(name).and_then(Value::as_str) == Some(value);
    let nested = |outer: &str, name: &str| wrapper.get(outer).and_then(|value| value.get(name));
    wrapper.get("error").is_some_and(is_meaningful)
        || says("type", "error")
        || says("object", "error")
        || says("type", "response.failed")
        || (says("object", "response") && says("status", "failed"))
        || nested("choices", "error").is_some_and(is_meaningful)
        || nested("choices", "finish_reason").and_then(Value::as_str) == Some("error")
}

/// Servers write "no error" as null, as false, as an empty string, and as an object of nulls and empty
/// strings.
fn is_meaningful(error: &Value) -> bool {
    match error {
        Value::Object(members) => {
            members.values().any(|value| !matches!(value.as_str(), Some("")) && !value.is_null())
        }
        Value::String(text) => !text.is_empty(),
        _ => false,
    }
}

fn nested_error(wrapper: &mut Map<String, Value>) -> Option<Map<String, Value>> {
    ["response", "choices"].into_iter().find_map(|outer| {
        match wrapper.get_mut(outer)?.get_mut("error")?.take() {
            Value::Object(error) => Some(error),
            _ => None,
        }
    })
}
