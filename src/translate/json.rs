//! JSON as it is written: values as slices of a text, and a writer that copies them.
//!
//! A translation moves texts, schemas and images from one place to another and looks into few of them. So a
//! value stays the slice of the text that it is, with its escapes, and is copied once. Nothing builds a tree.

use std::borrow::Cow;

use crate::base::json::{Json, Members, count_of, members};

/// A JSON value as it is written in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Raw<'a>(&'a [u8]);

impl<'a> Raw<'a> {
    /// A string without text.
    pub(super) const EMPTY_STRING: Self = Self(b"\"\"");

    /// The one value that `text` is; `None` if it is not JSON, is cut off, or has more after it.
    pub(super) fn of(text: &'a [u8]) -> Option<Self> {
        let mut json = Json::new(text);
        let value = json.value().ok()?;
        json.peek().is_none().then_some(Self(value))
    }

    /// The value as it is written.
    pub(super) const fn bytes(self) -> &'a [u8] {
        self.0
    }

    /// The member `key` of an object, unless it is null. Of several, the last counts.
    pub(super) fn get(self, key: &str) -> Option<Self> {
        let last = self.members().filter(|(name, _)| *name == key.as_bytes()).last();
        last.map(|(_, value)| value).filter(|value| !value.is_null())
    }

    /// The members of an object: the key as it is written, without quotes, and the value. Of another value,
    /// nothing.
    pub(super) fn members(self) -> impl Iterator<Item = (&'a [u8], Self)> {
        let members: Members<'a> = members(self.0);
        members.map(|(key, value)| (key, Self(value)))
    }

    /// The elements of an array. Of another value, nothing.
    pub(super) fn items(self) -> Items<'a> {
        Items { rest: self.0.strip_prefix(b"[").unwrap_or_default() }
    }

    /// Whether it is `null`.
    pub(super) fn is_null(self) -> bool {
        self.0 == b"null"
    }

    /// Whether it is `true`.
    pub(super) fn is_true(self) -> bool {
        self.0 == b"true"
    }

    /// Whether it is `false`.
    pub(super) fn is_false(self) -> bool {
        self.0 == b"false"
    }

    /// Whether it is an object.
    pub(super) fn is_object(self) -> bool {
        self.0.first() == Some(&b'{')
    }

    /// Whether it is an array.
    pub(super) fn is_array(self) -> bool {
        self.0.first() == Some(&b'[')
    }

    /// Whether it is a string.
    pub(super) fn is_string(self) -> bool {
        self.0.first() == Some(&b'"')
    }

    /// Whether it is not a string that has more than white space in it.
    pub(super) fn is_blank(self) -> bool {
        let mut rest = self.escaped().unwrap_or_default();
        loop {
            rest = rest.trim_ascii_start();
            match rest {
                [] => return true,
                [b'\\', b'n' | b'r' | b't', after @ ..] => rest = after,
                _ => return false,
            }
        }
    }

    /// Whether it is a string, array or object that has something in it.
    pub(super) fn is_filled(self) -> bool {
        crate::base::json::is_filled(self.0)
    }

    /// The inside of a string with its escapes.
    pub(super) fn escaped(self) -> Option<&'a [u8]> {
        self.0.strip_prefix(b"\"")?.strip_suffix(b"\"")
    }

    /// Whether it is the string `text`, which has nothing to escape.
    pub(super) fn is(self, text: &str) -> bool {
        self.escaped() == Some(text.as_bytes())
    }

    /// The text of a string without its escapes; `None` if it is no string or has a wrong escape. Half a
    /// surrogate pair becomes U+FFFD.
    pub(super) fn text(self) -> Option<Cow<'a, [u8]>> {
        let escaped = self.escaped()?;
        if memchr::memchr(b'\\', escaped).is_none() {
            return Some(Cow::Borrowed(escaped));
        }
        unescape(escaped).map(Cow::Owned)
    }

    /// A count; `None` for anything else.
    pub(super) fn count(self) -> Option<u64> {
        count_of(self.0)
    }

    /// A number; `None` for anything else.
    pub(super) fn number(self) -> Option<f64> {
        std::str::from_utf8(self.0).ok()?.parse().ok().filter(|number: &f64| number.is_finite())
    }
}

/// See [`Raw::items`].
pub(super) struct Items<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Items<'a> {
    type Item = Raw<'a>;

    fn next(&mut self) -> Option<Raw<'a>> {
        let rest = self.rest.trim_ascii_start();
        let rest = rest.strip_prefix(b",").unwrap_or(rest);
        let mut json = Json::new(rest);
        match json.peek() {
            None | Some(b']') => {
                self.rest = b"";
                return None;
            }
            Some(_) => {}
        }
        let begin = rest.trim_ascii_start();
        let value = json.value().ok().filter(|value| !value.is_empty());
        self.rest = value.and_then(|value| begin.get(value.len()..)).unwrap_or_default();
        value.map(Raw)
    }
}

/// The text that the inside of a string stands for.
fn unescape(escaped: &[u8]) -> Option<Vec<u8>> {
    let mut text = Vec::with_capacity(escaped.len());
    let mut rest = escaped;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        let (plain, escape) = rest.split_at_checked(at)?;
        text.extend_from_slice(plain);
        let (byte, after) = match escape {
            [b'\\', b'u', digits @ ..] => {
                let (character, after) = unescape_unicode(digits)?;
                text.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                rest = after;
                continue;
            }
            [b'\\', b'n', after @ ..] => (b'\n', after),
            [b'\\', b't', after @ ..] => (b'\t', after),
            [b'\\', b'r', after @ ..] => (b'\r', after),
            [b'\\', b'b', after @ ..] => (0x08, after),
            [b'\\', b'f', after @ ..] => (0x0c, after),
            [b'\\', byte @ (b'"' | b'\\' | b'/'), after @ ..] => (*byte, after),
            _ => return None,
        };
        text.push(byte);
        rest = after;
    }
    text.extend_from_slice(rest);
    Some(text)
}

/// The character behind `\u`, and what follows it.
fn unescape_unicode(digits: &[u8]) -> Option<(char, &[u8])> {
    let (first, after) = hex4(digits)?;
    if (0xd800..0xdc00).contains(&first)
        && let Some(low) = after.strip_prefix(b"\\u")
        && let Some((second @ 0xdc00..0xe000, after)) = hex4(low)
    {
        let code = 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00);
        return Some((char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER), after));
    }
    Some((char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER), after))
}

fn hex4(digits: &[u8]) -> Option<(u32, &[u8])> {
    let (digits, after) = digits.split_at_checked(4)?;
    let value = digits.iter().try_fold(0, |value, digit| Some(value << 4 | char::from(*digit).to_digit(16)?));
    Some((value?, after))
}

/// Writes JSON. It puts the commas.
#[derive(Debug, Default)]
pub(super) struct Writer {
    out: Vec<u8>,
}

impl Writer {
    /// A writer that appends to `out`, of which the last byte must not be the end of a value.
    pub(super) const fn after(out: Vec<u8>) -> Self {
        Self { out }
    }

    /// What has been written.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.out
    }

    /// What has been written so far.
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.out
    }

    /// How much has been written.
    pub(super) const fn len(&self) -> usize {
        self.out.len()
    }

    /// Takes back all that was written after the first `len` bytes.
    pub(super) fn truncate(&mut self, len: usize) {
        self.out.truncate(len);
    }

    fn separate(&mut self) {
        if !matches!(self.out.last(), None | Some(b'{' | b'[' | b':' | b',' | b' ' | b'\n')) {
            self.out.push(b',');
        }
    }

    /// An object with the members that `members` writes.
    pub(super) fn object(&mut self, members: impl FnOnce(&mut Self)) {
        self.open_object();
        members(self);
        self.close_object();
    }

    /// An array with the elements that `elements` writes.
    pub(super) fn array(&mut self, elements: impl FnOnce(&mut Self)) {
        self.open_array();
        elements(self);
        self.close_array();
    }

    /// Opens an object that [`close_object`](Self::close_object) closes.
    pub(super) fn open_object(&mut self) {
        self.separate();
        self.out.push(b'{');
    }

    /// Closes an object.
    pub(super) fn close_object(&mut self) {
        self.out.push(b'}');
    }

    /// Opens an array that [`close_array`](Self::close_array) closes.
    pub(super) fn open_array(&mut self) {
        self.separate();
        self.out.push(b'[');
    }

    /// Closes an array.
    pub(super) fn close_array(&mut self) {
        self.out.push(b']');
    }

    /// The key of a member, which has nothing to escape. Its value must follow.
    pub(super) fn key(&mut self, key: &str) -> &mut Self {
        self.separate();
        self.out.push(b'"');
        self.out.extend_from_slice(key.as_bytes());
        self.out.extend_from_slice(b"\":");
        self
    }

    /// The key of a member as it is written, without quotes. Its value must follow.
    pub(super) fn raw_key(&mut self, key: &[u8]) -> &mut Self {
        self.string(|out| out.extend_from_slice(key));
        self.out.push(b':');
        self
    }

    /// A value as it is written.
    pub(super) fn raw(&mut self, value: Raw<'_>) {
        self.literal(value.bytes());
    }

    /// JSON as it is written.
    pub(super) fn literal(&mut self, json: &[u8]) {
        self.separate();
        self.out.extend_from_slice(json);
    }

    /// A part of JSON that another writer has written, such as the elements of an array.
    pub(super) fn fragment(&mut self, json: &[u8]) {
        self.out.extend_from_slice(json);
    }

    /// A string of text.
    pub(super) fn text(&mut self, text: &[u8]) {
        self.string(|out| escape(text, out));
    }

    /// A string. `inside` appends its inside with escapes.
    pub(super) fn string(&mut self, inside: impl FnOnce(&mut Vec<u8>)) {
        self.separate();
        self.out.push(b'"');
        inside(&mut self.out);
        self.out.push(b'"');
    }

    /// A string whose inside is `escaped` as it is written.
    pub(super) fn inside(&mut self, escaped: &[u8]) {
        self.string(|out| out.extend_from_slice(escaped));
    }

    /// A count.
    pub(super) fn count(&mut self, count: u64) {
        self.literal(crate::base::Decimal::of(count).as_str().as_bytes());
    }
}

/// The string whose inside is `escaped` as it is written.
pub(super) fn quoted(escaped: &[u8]) -> Vec<u8> {
    let mut to = Writer::default();
    to.inside(escaped);
    to.into_bytes()
}

/// Appends `text` as the inside of a string.
pub(super) fn escape(text: &[u8], out: &mut Vec<u8>) {
    for byte in text {
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0..0x20 => {
                const HEX: &[u8; 16] = b"0123456789abcdef";
                let digit = |at: u8| HEX.get(usize::from(at)).copied().unwrap_or(b'0');
                out.extend_from_slice(b"\\u00");
                out.extend_from_slice(&[digit(byte >> 4), digit(byte & 15)]);
            }
            byte => out.push(*byte),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_text_is_one_value_or_none() {
        assert_eq!(Raw::of(br#" {"a":[1, 2]} "#).map(Raw::bytes), Some(br#"{"a":[1, 2]}"#.as_slice()));
        for wrong in [b"".as_slice(), b"{", b"{} {}", b"[1", b"\"a"] {
            assert_eq!(Raw::of(wrong), None, "{}", String::from_utf8_lossy(wrong));
        }
    }

    #[test]
    fn members_and_elements_are_found() {
        let value =
            Raw::of(br#"{"a": null, "b": [ {"c":1} , "x", 3 ], "d": [], "b2": 1, "e": "1", "e": "2"}"#)
                .unwrap();
        assert_eq!(value.get("a"), None);
        let items: Vec<_> = value.get("b").unwrap().items().map(Raw::bytes).collect();
        assert_eq!(items, [br#"{"c":1}"#.as_slice(), b"\"x\"", b"3"]);
        assert_eq!(value.get("d").unwrap().items().count(), 0);
        assert_eq!(value.items().count(), 0);
        assert!(value.get("e").unwrap().is("2"));
    }

    #[test]
    fn only_text_that_shows_something_is_not_blank() {
        for (json, blank) in
            [(r#""""#, true), (r#"" \n\t\r ""#, true), ("7", true), (r#"" \nx""#, false), (r#""\"""#, false)]
        {
            assert_eq!(Raw::of(json.as_bytes()).unwrap().is_blank(), blank, "{json}");
        }
    }

    proptest! {
        #[test]
        fn a_text_survives_escaping(text in "\\PC*|[\\x00-\\x7f]*") {
            let mut writer = Writer::default();
            writer.text(text.as_bytes());
            let written = writer.into_bytes();
            prop_assert_eq!(serde_json::from_slice::<String>(&written).unwrap(), text.clone());
            let read = Raw::of(&written).unwrap().text().unwrap();
            prop_assert_eq!(read.as_ref(), text.as_bytes());
        }

        #[test]
        fn what_serde_escapes_is_read(text in "\\PC*") {
            let escaped: String = text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
            let written = format!("\"{escaped}\"");
            let read = Raw::of(written.as_bytes()).unwrap().text().unwrap().into_owned();
            prop_assert_eq!(read, text.as_bytes());
        }
    }

    #[test]
    fn the_writer_puts_commas() {
        let mut writer = Writer::default();
        writer.object(|to| {
            to.key("a").array(|to| {
                to.count(1);
                to.text(b"x, ");
                to.object(|_| {});
            });
            to.key("b").literal(b"null");
        });
        assert_eq!(writer.into_bytes(), br#"{"a":[1,"x, ",{}],"b":null}"#);
    }
}
