//! The arguments of a call: a string of JSON in chat, an object in Messages.

use super::super::json::{Raw, Writer, escape};
use llm_failsafe_request::{Container, Lexer, ScanError, Sink, Span, Value, Want};

/// The member that holds arguments that are no JSON object, as Anthropic's documentation of fine-grained
/// tool streaming has it.
const INVALID: &str = "INVALID_JSON";

/// Writes the object that the string `arguments` holds. A model's arguments may be no object; then the object
/// has their text.
pub(crate) fn write_object(arguments: Option<Raw<'_>>, to: &mut Writer) {
    let text = arguments.and_then(Raw::text).unwrap_or_default();
    let text = text.trim_ascii();
    if text.is_empty() {
        to.literal(b"{}");
    } else if is_object(text) {
        to.literal(text);
    } else {
        to.object(|to| to.key(INVALID).text(text));
    }
}

/// Writes the string that holds the object `input`.
pub(super) fn write_string(input: Option<Raw<'_>>, to: &mut Writer) {
    to.text(input.filter(|input| input.is_object()).map_or(b"{}", Raw::bytes));
}

/// Writes the string that holds the arguments of a tool that takes the plain text `input`.
pub(super) fn write_plain(input: Option<Raw<'_>>, to: &mut Writer) {
    let inside = input.and_then(Raw::escaped).unwrap_or_default();
    to.string(|out| {
        escape(br#"{"input":""#, out);
        escape(inside, out);
        escape(br#""}"#, out);
    });
}

/// Whether `text` is one valid JSON object.
fn is_object(text: &[u8]) -> bool {
    let mut lexer = Lexer::new();
    lexer.feed(text, &mut Nothing).is_ok() && lexer.finish().is_ok() && std::str::from_utf8(text).is_ok()
}

/// Takes nothing of what the lexer reads.
struct Nothing;

impl Sink for Nothing {
    fn key(&mut self, _: Option<&[u8]>) {}

    fn want(&self) -> Want {
        Want::Length
    }

    fn scalar(&mut self, _: Value<'_>, _: Span) -> Result<(), ScanError> {
        Ok(())
    }

    fn open(&mut self, _: Container, _: usize) -> Result<(), ScanError> {
        Ok(())
    }

    fn close(&mut self, _: usize) {}
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn object(arguments: &str) -> Value {
        let written = serde_json::to_vec(arguments).unwrap();
        let mut writer = Writer::default();
        write_object(Raw::of(&written), &mut writer);
        serde_json::from_slice(&writer.into_bytes()).unwrap()
    }

    #[test]
    fn arguments_become_an_object_whatever_they_are() {
        assert_eq!(object(""), json!({}));
        assert_eq!(object(" {\"a\": [1, \"x\\n\"]} "), json!({"a": [1, "x\n"]}));
        for invalid in
            ["{\"a\":", "[1]", "7", "{\"a\": tru}", "{\"a\": [1}", "{\"a\":\"x\ny\"}", "{} {}", "say \"hi\""]
        {
            assert_eq!(object(invalid), json!({INVALID: invalid}), "{invalid}");
        }
    }

    #[test]
    fn an_object_and_plain_text_become_strings() {
        let written = |write: fn(Option<Raw<'_>>, &mut Writer), input: &Value| {
            let text = serde_json::to_vec(input).unwrap();
            let mut writer = Writer::default();
            write(Raw::of(&text), &mut writer);
            let string: String = serde_json::from_slice(&writer.into_bytes()).unwrap();
            serde_json::from_str::<Value>(&string).unwrap()
        };
        let input = json!({"a": "\"\n\\"});
        assert_eq!(written(write_string, &input), input);
        assert_eq!(written(write_string, &json!(null)), json!({}));
        assert_eq!(
            written(write_plain, &json!("*** \"x\"\n\\u00e9")),
            json!({"input": "*** \"x\"\n\\u00e9"})
        );
    }
}
