//! A one-pass reader for the few members of a JSON text that a decision needs.
//!
//! It is used for each event of a stream and for error bodies. Why not serde? Every token of every response
//! passes here, and often the only question is whether a string is empty. serde would copy each escaped
//! string and check its UTF-8. This reader returns raw slices of the text, allocates nothing and does not
//! recurse: the caller spells out the nesting it wants, and everything deeper is skipped by counting
//! brackets.
//!
//! [`Json`] is strict about where values begin and end, so it notices a cut-off text. It does not check what
//! it skips, and a member of an unexpected type reads as absent. [`members`] is lenient: it yields what is
//! complete. Both compare keys without decoding escapes.

use memchr::memchr2;

/// The text is not JSON, or it is cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotJson;

/// What a read returns.
pub type Read<T> = Result<T, NotJson>;

/// The unread rest of a JSON text.
#[derive(Debug, Clone, Copy)]
pub struct Json<'a> {
    rest: &'a [u8],
}

impl<'a> Json<'a> {
    /// A reader at the start of `text`.
    pub const fn new(text: &'a [u8]) -> Self {
        Self { rest: text }
    }

    /// Reads `text` as one object with nothing after it. Returns `Ok(false)` if it is a value of another
    /// type.
    ///
    /// # Errors
    /// The text is not JSON.
    pub fn read_object(text: &'a [u8], member: impl FnMut(&'a [u8], &mut Self) -> Read<()>) -> Read<bool> {
        let mut json = Self::new(text);
        let is_object = json.object(member)?;
        json.peek().map_or(Ok(is_object), |_| Err(NotJson))
    }

    /// The first byte of the next token.
    pub fn peek(&mut self) -> Option<u8> {
        while let [b' ' | b'\n' | b'\r' | b'\t', rest @ ..] = self.rest {
            self.rest = rest;
        }
        self.rest.first().copied()
    }

    /// Reads an object and calls `member` with each raw key. `member` must consume exactly the member's
    /// value. Skips a value of another type and returns `Ok(false)`.
    ///
    /// # Errors
    /// The text is not JSON, or `member` failed.
    pub fn object(&mut self, mut member: impl FnMut(&'a [u8], &mut Self) -> Read<()>) -> Read<bool> {
        if self.peek() != Some(b'{') {
            return self.value().map(|_| false);
        }
        self.advance(1);
        if self.eat(b'}') {
            return Ok(true);
        }
        loop {
            if self.peek() != Some(b'"') {
                return Err(NotJson);
            }
            let key = self.string()?;
            if !self.eat(b':') {
                return Err(NotJson);
            }
            member(key, self)?;
            if self.eat(b',') {
                continue;
            }
            return if self.eat(b'}') { Ok(true) } else { Err(NotJson) };
        }
    }

    /// Reads an array, calls `element` at each element and returns how many there were. `element` must
    /// consume exactly one element. Skips a value of another type and returns `Ok(None)`.
    ///
    /// # Errors
    /// The text is not JSON, or `element` failed.
    pub fn array(&mut self, mut element: impl FnMut(&mut Self) -> Read<()>) -> Read<Option<usize>> {
        if self.peek() != Some(b'[') {
            return self.value().map(|_| None);
        }
        self.advance(1);
        if self.eat(b']') {
            return Ok(Some(0));
        }
        let mut count = 0;
        loop {
            element(self)?;
            count += 1;
            if self.eat(b',') {
                continue;
            }
            return if self.eat(b']') { Ok(Some(count)) } else { Err(NotJson) };
        }
    }

    /// Skips a value and returns its raw bytes.
    ///
    /// # Errors
    /// The text is not JSON.
    pub fn value(&mut self) -> Read<&'a [u8]> {
        match self.peek().ok_or(NotJson)? {
            b'"' => {
                let start = self.rest;
                self.string()?;
                self.since(start)
            }
            b'{' | b'[' => {
                let start = self.rest;
                self.skip_nested()?;
                self.since(start)
            }
            _ => Some(self.bare()).filter(|bare| is_scalar(bare)).ok_or(NotJson),
        }
    }

    /// Like [`value`](Self::value), but a bare word need not be valid JSON.
    fn value_or_word(&mut self) -> Read<&'a [u8]> {
        match self.peek().ok_or(NotJson)? {
            b'"' | b'{' | b'[' => self.value(),
            _ => Ok(self.bare()),
        }
    }

    /// Skips a value and returns whether it is a non-empty string, array or object: only these can carry
    /// text.
    ///
    /// # Errors
    /// The text is not JSON.
    pub fn filled(&mut self) -> Read<bool> {
        self.value().map(is_filled)
    }

    /// The inside of a string with escapes as written; `None` for any other type.
    ///
    /// # Errors
    /// The text is not JSON.
    pub fn text(&mut self) -> Read<Option<&'a [u8]>> {
        if self.peek() == Some(b'"') { self.string().map(Some) } else { self.value().map(|_| None) }
    }

    /// A count; `None` for anything that is not a number or is negative. Fractions are cut off.
    ///
    /// # Errors
    /// The text is not JSON.
    pub fn count(&mut self) -> Read<Option<u64>> {
        self.value().map(count_of)
    }

    /// Skips an object or array; the next byte is its opening bracket. Does not check that brackets match in
    /// kind.
    fn skip_nested(&mut self) -> Read<()> {
        let mut depth = 0_usize;
        loop {
            let structural = |byte: &u8| matches!(byte, b'"' | b'{' | b'[' | b'}' | b']');
            let at = self.rest.iter().position(structural).ok_or(NotJson)?;
            self.advance(at);
            match self.rest.first() {
                Some(b'"') => {
                    self.string()?;
                    continue;
                }
                Some(b'{' | b'[') => depth += 1,
                _ => depth -= 1,
            }
            self.advance(1);
            if depth == 0 {
                return Ok(());
            }
        }
    }

    /// The inside of the string whose opening quote is the next byte.
    fn string(&mut self) -> Read<&'a [u8]> {
        self.advance(1);
        let inside = self.rest;
        loop {
            let at = memchr2(b'"', b'\\', self.rest).ok_or(NotJson)?;
            if self.rest.get(at) == Some(&b'"') {
                self.advance(at);
                let text = self.since(inside)?;
                self.advance(1);
                return Ok(text);
            }
            self.rest = self.rest.get(at + 2..).ok_or(NotJson)?;
        }
    }

    /// The bytes up to the next delimiter or white space.
    fn bare(&mut self) -> &'a [u8] {
        let ends = |byte: &u8| matches!(byte, b',' | b']' | b'}' | b' ' | b'\n' | b'\r' | b'\t');
        let len = self.rest.iter().position(ends).unwrap_or(self.rest.len());
        let (bare, rest) = self.rest.split_at_checked(len).unwrap_or_default();
        self.rest = rest;
        bare
    }

    fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        if found {
            self.advance(1);
        }
        found
    }

    fn advance(&mut self, bytes: usize) {
        self.rest = self.rest.get(bytes..).unwrap_or_default();
    }

    /// The bytes read since the rest was `before`.
    fn since(&self, before: &'a [u8]) -> Read<&'a [u8]> {
        before.get(..before.len() - self.rest.len()).ok_or(NotJson)
    }
}

/// The count that a raw value holds, as in [`Json::count`].
pub fn count_of(raw: &[u8]) -> Option<u64> {
    let number = std::str::from_utf8(raw).unwrap_or_default();
    let whole = number.parse::<u64>().ok();
    // The cast saturates.
    whole.or_else(|| number.parse::<f64>().ok().filter(|float| *float >= 0.0).map(|float| float as u64))
}

/// Whether a raw value is a non-empty string, array or object.
pub fn is_filled(raw: &[u8]) -> bool {
    match raw {
        [b'"', inside @ ..] => inside.len() > 1,
        [b'[' | b'{', inside @ ..] => !matches!(inside.trim_ascii_start(), [b']' | b'}', ..]),
        _ => false,
    }
}

/// Whether a bare word is a literal or begins like a number.
fn is_scalar(bare: &[u8]) -> bool {
    matches!(bare, b"true" | b"false" | b"null" | [b'-' | b'0'..=b'9', ..])
}

/// The top-level members of the object `text`: raw key (without quotes, escapes as written) and raw value.
///
/// Unlike [`Json::object`] it is lenient. It yields every complete member of a text that is cut off, and it
/// skips over bare words that are not JSON, such as `NaN`. A text that is not an object has no members.
pub fn members(text: &[u8]) -> Members<'_> {
    let mut json = Json::new(text);
    if !json.eat(b'{') {
        json.rest = b"";
    }
    Members { json }
}

/// See [`members`].
#[derive(Debug, Clone)]
pub struct Members<'a> {
    json: Json<'a>,
}

impl<'a> Iterator for Members<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let json = &mut self.json;
        if json.peek() != Some(b'"') {
            return None;
        }
        let key = json.string().ok()?;
        if !json.eat(b':') {
            return None;
        }
        let value = json.value_or_word().ok()?;
        if !json.eat(b',') {
            json.rest = b"";
        }
        Some((key, value))
    }
}

/// The first element of a JSON array, or `text` itself if it is not an array. `None` for an array that is
/// empty or whose first element is cut off.
pub fn first_element(text: &[u8]) -> Option<&[u8]> {
    let mut json = Json::new(text);
    if !json.eat(b'[') {
        return Some(json.rest);
    }
    json.value_or_word().ok().filter(|element| !element.is_empty())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn check_members(text: &str, expected: &[(&str, &str)]) {
        let mut members = Vec::new();
        let read = Json::read_object(text.as_bytes(), |key, json| {
            members.push((key, json.value()?));
            Ok(())
        });
        assert_eq!(read, Ok(true), "{text}");
        let expected: Vec<_> = expected.iter().map(|(k, v)| (k.as_bytes(), v.as_bytes())).collect();
        assert_eq!(members, expected, "{text}");
    }

    #[test]
    fn members_come_with_their_whole_raw_value() {
        check_members("{}", &[]);
        check_members(
            r#" { "a" : "x\"}" , "b":[1,{"c":"]"}], "d":-1.5e3,"e":null } "#,
            &[("a", r#""x\"}""#), ("b", r#"[1,{"c":"]"}]"#), ("d", "-1.5e3"), ("e", "null")],
        );
        check_members(r#"{"a":"\\","b":true}"#, &[("a", r#""\\""#), ("b", "true")]);
    }

    #[test]
    fn cut_off_or_invalid_json_is_an_error() {
        let texts = [
            "",
            " ",
            "{",
            r#"{"a"#,
            r#"{"a""#,
            r#"{"a":"#,
            r#"{"a":"x"#,
            r#"{"a":"x\"#,
            r#"{"a":[1"#,
            r#"{"a":1"#,
            "{}x",
            r#"{"a" 1}"#,
            r#"{"a":hello}"#,
            "{a:1}",
            "hello",
            r#"{"a":1,}"#,
            "{}{}",
            r#"{"a":}"#,
            "nul",
        ];
        for text in texts {
            let read = Json::read_object(text.as_bytes(), |_, json| json.value().map(|_| ()));
            assert_eq!(read, Err(NotJson), "{text}");
        }
    }

    #[test]
    fn only_non_empty_strings_arrays_and_objects_are_filled() {
        for (raw, filled) in [
            (r#""""#, false),
            (r#"" ""#, true),
            (r#""\n""#, true),
            ("[]", false),
            ("[ ]", false),
            ("[0]", true),
            ("{ }", false),
            (r#"{"a":1}"#, true),
            ("null", false),
            ("true", false),
            ("7", false),
        ] {
            assert_eq!(Json::new(raw.as_bytes()).filled(), Ok(filled), "{raw}");
        }
    }

    #[test]
    fn a_count_is_any_number_that_is_not_negative() {
        for (raw, count) in [
            ("0", Some(0)),
            ("18446744073709551615", Some(u64::MAX)),
            ("12.0", Some(12)),
            ("1e3", Some(1000)),
            ("1e300", Some(u64::MAX)),
            ("-1", None),
            ("null", None),
            (r#""12""#, None),
            ("{}", None),
        ] {
            assert_eq!(Json::new(raw.as_bytes()).count(), Ok(count), "{raw}");
        }
    }

    fn lenient_members(text: &str) -> Vec<(String, String)> {
        let owned = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        members(text.as_bytes()).map(|(key, value)| (owned(key), owned(value))).collect()
    }

    #[test]
    fn the_lenient_reader_yields_raw_members_and_ignores_what_follows_the_object() {
        let found = lenient_members(
            r#" { "a" : "x\"}," , "b":{"a":[1,"}"]},"c":[{"d":"]"}], "e" : null,"f":NaN,"g":-1.5e3} tail"#,
        );
        let expected = [
            ("a", r#""x\"},""#),
            ("b", r#"{"a":[1,"}"]}"#),
            ("c", r#"[{"d":"]"}]"#),
            ("e", "null"),
            ("f", "NaN"),
            ("g", "-1.5e3"),
        ];
        assert_eq!(found, expected.map(|(key, value)| (key.to_owned(), value.to_owned())));
    }

    #[test]
    fn the_lenient_reader_yields_only_the_complete_members_of_a_cut_off_text() {
        for text in [r#"{"a":{"b":1"#, r#"{"a":"b"#, r#"{"a"#, r#"{"a":"#, "{", "", "[1]", r#"{"a":"\"#] {
            assert!(lenient_members(text).is_empty(), "{text}");
        }
        assert_eq!(lenient_members(r#"{"a":[1],"b":{"c":2"#), [("a".to_owned(), "[1]".to_owned())]);
    }

    #[test]
    fn first_element_returns_the_first_element_of_an_array_or_the_text_itself() {
        assert_eq!(first_element(b" [ {\"a\":1} , 2]"), Some(b"{\"a\":1}".as_slice()));
        assert_eq!(first_element(b"{}"), Some(b"{}".as_slice()));
        assert_eq!(first_element(b"[]"), None);
        assert_eq!(first_element(b"[{"), None);
    }

    #[test]
    fn deep_nesting_uses_no_stack() {
        let deep = format!(r#"{{"a":{}{}}}"#, "[".repeat(1 << 20), "]".repeat(1 << 20));
        assert_eq!(Json::read_object(deep.as_bytes(), |_, json| json.value().map(|_| ())), Ok(true));
        assert_eq!(members(deep.as_bytes()).count(), 1);
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 5, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                proptest::collection::btree_map("[a-z\"\\\\é]{0,4}", inner, 0..5)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    fn decoded(raw_key: &[u8]) -> String {
        serde_json::from_str(&format!("\"{}\"", std::str::from_utf8(raw_key).unwrap())).unwrap()
    }

    proptest! {
        #[test]
        fn both_readers_find_the_same_members_as_serde(value in any_json(), pretty: bool) {
            let write = if pretty { serde_json::to_string_pretty } else { serde_json::to_string };
            let text = write(&value).unwrap();
            let mut members = Vec::new();
            let read = Json::read_object(text.as_bytes(), |key, json| {
                members.push((decoded(key), serde_json::from_slice::<Value>(json.value()?).unwrap()));
                Ok(())
            });
            prop_assert_eq!(read, Ok(value.is_object()));
            let object = value.as_object().into_iter().flatten();
            let expected: Vec<_> = object.map(|(k, v)| (k.clone(), v.clone())).collect();
            let mut lenient: Vec<_> = super::members(text.as_bytes())
                .map(|(key, raw)| (decoded(key), serde_json::from_slice::<Value>(raw).unwrap()))
                .collect();
            members.sort_by(|a, b| a.0.cmp(&b.0));
            lenient.sort_by(|a, b| a.0.cmp(&b.0));
            prop_assert_eq!(&members, &expected);
            prop_assert_eq!(lenient, expected);
        }

        #[test]
        fn arbitrary_bytes_never_panic(
            bytes in proptest::collection::vec(
                prop_oneof![any::<u8>(), proptest::sample::select(b"\"{}[]:,\\1".to_vec())],
                0..64,
            ),
        ) {
            let count = |json: &mut Json<'_>| json.count().map(|_| ());
            let _ = Json::read_object(&bytes, |_, json| json.object(|_, json| count(json)).map(|_| ()));
            let _ = Json::new(&bytes).array(|json| json.filled().map(|_| ()));
            prop_assert!(members(&bytes).count() <= bytes.len());
            let _ = first_element(&bytes);
        }
    }
}
