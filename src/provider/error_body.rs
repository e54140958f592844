//! Reads an error out of a body, in any vendor's shape.

use std::sync::LazyLock;

use memchr::memmem::Finder;
use serde_json::{Map, Value};

use super::hint_names::is_hint;
use crate::base::json::{first_element, members};
use crate::base::{redacted, without_keys};

/// How many bytes are read of an error body, or of an error within a response.
pub const MAX_ERROR_BODY: usize = 16 * 1024;

/// The longest type or code that is kept, in bytes. Longer ones are cut.
pub const MAX_NAME: usize = 64;

/// The members that are read, at the top level and in `response` and `choices`.
const MEMBERS: [&str; 21] = [
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
    "reason",
    "title",
    "msg",
    "errors",
    "error_code",
    "error_msg",
    "base_resp",
];

/// The longest body that is read as a message although it is not JSON, in bytes.
const MAX_PLAIN_TEXT: usize = 512;

/// An error's members without their wrapper. Known shapes: `{"error":{…}}`, the same within an array, flat
/// members, `{"response":{"error":{…}}}`, `{"choices":[{"error":{…}}]}`, `{"errors":[{…}]}`, `{"detail":{…}}`,
/// `{"base_resp":{…}}` and `{"error":"text"}`.
#[derive(Debug, Default)]
pub(super) struct ErrorBody {
    members: Map<String, Value>,
    code: Option<String>,
}

/// One of these is in every successful response or stream event that has an error. Kept, because to prepare a search costs
/// as much as to search a kilobyte.
static SIGNS: LazyLock<[Finder<'static>; 2]> =
    LazyLock::new(|| [Finder::new(b"\"error\""), Finder::new(b"\"response.failed\"")]);

impl ErrorBody {
    /// The error in the body of a failed request; empty if nothing can be read.
    pub(super) fn of_failure(body: &[u8]) -> Self {
        let beginning = body.get(..MAX_ERROR_BODY).unwrap_or(body);
        match plain_text(body) {
            Some(text) => Self::of_members(Map::from_iter([("message".to_owned(), Value::from(text))])),
            None => Self::of_wrapper(excerpt(beginning, true)),
        }
    }

    /// The error within a successful response or a stream event, if there is one.
    ///
    /// Only members of the top level, of `response` and of the first choice count: the text of a response may
    /// contain anything. An ordinary response costs two substring searches, because within a JSON string the
    /// quotes would be escaped.
    pub(super) fn of_success(body: &[u8]) -> Option<Self> {
        if SIGNS.iter().all(|sign| sign.find(body).is_none()) {
            return None;
        }
        let wrapper = excerpt(body, true);
        is_error(&wrapper).then(|| Self::of_wrapper(wrapper))
    }

    /// The error in an object that is known to be one.
    pub(super) fn of_error(body: &[u8]) -> Self {
        Self::of_wrapper(excerpt(body, true))
    }

    fn of_wrapper(mut wrapper: Map<String, Value>) -> Self {
        match wrapper.remove("error") {
            Some(Value::Object(mut error)) => {
                // A hint may stand next to the error.
                wrapper.retain(|name, _| is_hint(name));
                for (name, value) in wrapper {
                    error.entry(name).or_insert(value);
                }
                Self::of_members(error)
            }
            Some(Value::String(text)) => {
                // Next to a message it is a name: `{"error":"insufficient_quota","message":"…"}`.
                let name =
                    if wrapper.get("message").is_some_and(Value::is_string) { "code" } else { "message" };
                if name == "message" || !wrapper.contains_key("code") {
                    wrapper.insert(name.to_owned(), Value::String(text));
                }
                Self::of_members(wrapper)
            }
            _ => match nested_error(&mut wrapper) {
                Some(error) => Self::of_members(error),
                None => Self::of_members(wrapper),
            },
        }
    }

    fn of_members(members: Map<String, Value>) -> Self {
        let code =
            ["code", "error_code", "status_code"].into_iter().find_map(|name| as_code(members.get(name)?));
        let deep = || members.get("details").and_then(|details| as_code(details.get("error_code")?));
        Self { code: code.or_else(deep), members }
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

    pub(super) const fn members(&self) -> &Map<String, Value> {
        &self.members
    }

    /// The object at this path.
    pub(super) fn object(&self, path: &[&str]) -> Option<&Map<String, Value>> {
        path.iter().try_fold(&self.members, |members, name| members.get(*name)?.as_object())
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

    /// The error code: `code`, `error_code` or `status_code` (a number as its digits), or Anthropic's
    /// `details.error_code`.
    pub(super) fn code(&self) -> Option<&str> {
        self.code.as_deref()
    }

    /// The reasons in the details of a Google error, or a `reason` of the error itself.
    pub(super) fn reasons(&self) -> impl Iterator<Item = &str> {
        let details = self.get("details").and_then(Value::as_array).into_iter().flatten();
        let reasons = details.filter_map(|detail| detail.get("reason")?.as_str());
        reasons.chain(self.text(&["reason"])).filter(|reason| !reason.is_empty())
    }

    /// The HTTP status, 400 to 599, from `code` or `status`, for errors that come without a status of their
    /// own.
    pub(super) fn status(&self) -> Option<u16> {
        let status = self.members.get("status").map(Value::to_string);
        [self.code(), status.as_deref()]
            .into_iter()
            .flatten()
            .find_map(|text| text.parse().ok().filter(|status| (400..600).contains(status)))
    }

    /// The error message; empty if there is none.
    pub(super) fn message(&self) -> &str {
        ["message", "detail", "msg", "error_msg", "status_msg", "title"]
            .into_iter()
            .find_map(|name| self.text(&[name]))
            .unwrap_or_default()
    }
}

/// A code as text: a number as its digits.
fn as_code(value: &Value) -> Option<String> {
    match value {
        Value::String(code) if !code.is_empty() => Some(code.clone()),
        Value::Number(code) if code.is_i64() => Some(code.to_string()),
        _ => None,
    }
}

/// A short body that is plain text, or a JSON string.
fn plain_text(body: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(body).ok().filter(|text| text.len() <= MAX_PLAIN_TEXT)?.trim();
    match text.as_bytes().first()? {
        b'{' | b'[' | b'<' | 0xef => None,
        b'"' => serde_json::from_str(text).ok(),
        _ => Some(text.to_owned()),
    }
}

/// `name` without keys, cut to [`MAX_NAME`] bytes; `None` if it is empty or has control characters.
/// The message of an error body, if it has one. Keys are taken out of it.
pub fn error_message(body: &[u8]) -> Option<Box<str>> {
    let body = ErrorBody::of_failure(body);
    let message = body.message().trim();
    (!message.is_empty()).then(|| without_keys(message).into())
}

pub(super) fn truncated_name(name: &str) -> Option<Box<str>> {
    if name.is_empty() || name.chars().any(char::is_control) {
        return None;
    }
    Some(Box::from(truncate(&redacted(name), MAX_NAME)))
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
        let Some(name) = std::str::from_utf8(name).ok().filter(|name| is_read(name)) else { continue };
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

fn is_read(name: &str) -> bool {
    MEMBERS.contains(&name) || is_hint(name)
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

/// Servers write "no error" as null, as false, as an empty string, and as an object of nulls, zeros and empty
/// strings.
fn is_meaningful(error: &Value) -> bool {
    match error {
        Value::Object(members) => {
            let says_nothing =
                |value: &Value| value.is_null() || value.as_str() == Some("") || value.as_u64() == Some(0);
            !members.values().all(says_nothing)
        }
        Value::String(text) => !text.is_empty(),
        _ => false,
    }
}

fn nested_error(wrapper: &mut Map<String, Value>) -> Option<Map<String, Value>> {
    let nested = ["response", "choices"].into_iter().find_map(|outer| {
        match wrapper.get_mut(outer)?.get_mut("error")?.take() {
            Value::Object(error) => Some(error),
            _ => None,
        }
    });
    nested
        .or_else(|| match wrapper.get_mut("errors")?.get_mut(0)?.take() {
            Value::Object(error) => Some(error),
            Value::String(text) => Some(Map::from_iter([("message".to_owned(), Value::String(text))])),
            _ => None,
        })
        .or_else(|| match wrapper.get_mut("base_resp")?.take() {
            Value::Object(error) => Some(error),
            _ => None,
        })
        .or_else(|| match wrapper.get_mut("detail")?.take() {
            Value::Object(mut error) => {
                if let Some(text @ Value::String(_)) = error.remove("error") {
                    error.entry("message").or_insert(text);
                }
                Some(error)
            }
            other => {
                wrapper.insert("detail".to_owned(), other);
                None
            }
        })
}
