//! A one-pass reader of the few JSON members that give an event its meaning.
//!
//! **Why not serde?** Every token of every response passes here, and of its text only the presence matters.
//! Serde would copy each escaped string and check its UTF-8. This reader returns raw slices of the event,
//! allocates nothing and does not recurse: the caller writes out the nesting that it needs, and deeper
//! nesting is skipped by counting brackets.
//!
//! It is lenient about skipped values and about types: a member of an unexpected type reads as absent. It is
//! strict about where values begin and end, so it detects a truncated event. Keys are compared without
//! decoding.

use memchr::memchr2;

/// The bytes read so far are not JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NotJson;

pub(super) type Read<T> = Result<T, NotJson>;

/// The unread rest of a JSON text.
#[derive(Debug, Clone, Copy)]
pub(super) struct Json<'a> {
    rest: &'a [u8],
}

impl<'a> Json<'a> {
    pub(super) const fn new(text: &'a [u8]) -> Self {
        Self { rest: text }
    }

    /// Reads `text` as one object and nothing after it. `Ok(false)`: it is another value.
    pub(super) fn read_object(
        text: &'a [u8],
        member: impl FnMut(&'a [u8], &mut Self) -> Read<()>,
    ) -> Read<bool> {
        let mut json = Self::new(text);
        let is_object = json.object(member)?;
        json.peek().map_or(Ok(is_object), |_| Err(NotJson))
    }

    /// The first byte of the next token.
    pub(super) fn peek(&mut self) -> Option<u8> {
        while let [b' ' | b'\n' | b'\r' | b'\t', rest @ ..] = self.rest {
            self.rest = rest;
        }
        self.rest.first().copied()
    }

    /// Reads an object and calls `member` with each raw key, which must consume exactly the value. A value of
    /// another type is skipped: `Ok(false)`.
    pub(super) fn object(&mut self, mut member: impl FnMut(&'a [u8], &mut Self) -> Read<()>) -> Read<bool> {
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

    /// Reads an array and calls `element` at each element, which must consume exactly that. Returns their
    /// number. A value of another type is skipped: `Ok(None)`.
    pub(super) fn array(&mut self, mut element: impl FnMut(&mut Self) -> Read<()>) -> Read<Option<usize>> {
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
    pub(super) fn value(&mut self) -> Read<&'a [u8]> {
        let start = match self.peek().ok_or(NotJson)? {
            b'"' => {
                let before = self.rest;
                self.string()?;
                return self.since(before);
            }
            b'{' | b'[' => self.rest,
            b't' | b'f' | b'n' | b'-' | b'0'..=b'9' => return self.scalar(),
            _ => return Err(NotJson),
        };
        self.skip_nested()?;
        self.since(start)
    }

    /// Skips a value. True for a non-empty string, array or object: only these can carry text.
    pub(super) fn filled(&mut self) -> Read<bool> {
        self.value().map(is_filled)
    }

    /// The raw content of a string; `None` for any other type.
    pub(super) fn text(&mut self) -> Read<Option<&'a [u8]>> {
        if self.peek() == Some(b'"') { self.string().map(Some) } else { self.value().map(|_| None) }
    }

    /// A count; `None` for a negative number or another type. Fractions are cut off.
    pub(super) fn count(&mut self) -> Read<Option<u64>> {
        self.value().map(count_of)
    }

    /// Skips a bracket and its content. The next byte is the opening bracket. Whether brackets match in kind
    /// is not checked.
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

    /// The raw content of the string whose opening quote is the next byte.
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

    fn scalar(&mut self) -> Read<&'a [u8]> {
        let ends = |byte: &u8| matches!(byte, b',' | b']' | b'}' | b' ' | b'\n' | b'\r' | b'\t');
        let len = self.rest.iter().position(ends).unwrap_or(self.rest.len());
        let (scalar, rest) = self.rest.split_at_checked(len).ok_or(NotJson)?;
        self.rest = rest;
        let first = scalar.first().copied().unwrap_or_default();
        let known = matches!(scalar, b"true" | b"false" | b"null") || first == b'-' || first.is_ascii_digit();
        if known { Ok(scalar) } else { Err(NotJson) }
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

    /// What was read since the rest was `before`.
    fn since(&self, before: &'a [u8]) -> Read<&'a [u8]> {
        before.get(..before.len() - self.rest.len()).ok_or(NotJson)
    }
}

/// The count in a raw value, see [`Json::count`].
pub(super) fn count_of(raw: &[u8]) -> Option<u64> {
    let number = std::str::from_utf8(raw).unwrap_or_default();
    let whole = number.parse::<u64>().ok();
    // A float too large saturates in the cast.
    whole.or_else(|| number.parse::<f64>().ok().filter(|float| *float >= 0.0).map(|float| float as u64))
}

/// Whether a raw value is a non-empty string, array or object.
pub(super) fn is_filled(raw: &[u8]) -> bool {
    match raw {
        [b'"', inside @ ..] => inside.len() > 1,
        [b'[' | b'{', inside @ ..] => !matches!(inside.trim_ascii_start(), [b']' | b'}', ..]),
        _ => false,
    }
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
    fn members_are_returned_raw_with_their_whole_value() {
        check_members("{}", &[]);
        check_members(
            r#" { "a" : "x\"}" , "b":[1,{"c":"]"}], "d":-1.5e3,"e":null } "#,
            &[("a", r#""x\"}""#), ("b", r#"[1,{"c":"]"}]"#), ("d", "-1.5e3"), ("e", "null")],
        );
        check_members(r#"{"a":"\\","b":true}"#, &[("a", r#""\\""#), ("b", "true")]);
    }

    #[test]
    fn truncated_and_invalid_json_is_detected() {
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
    fn a_count_is_any_number_that_can_be_one() {
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

    #[test]
    fn deep_nesting_costs_no_stack() {
        let deep = format!(r#"{{"a":{}{}}}"#, "[".repeat(1 << 20), "]".repeat(1 << 20));
        assert_eq!(Json::read_object(deep.as_bytes(), |_, json| json.value().map(|_| ())), Ok(true));
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

    proptest! {
        #[test]
        fn members_agree_with_serde(value in any_json(), pretty: bool) {
            let print = if pretty { serde_json::to_string_pretty } else { serde_json::to_string };
            let text = print(&value).unwrap();
            let mut members = Vec::new();
            let read = Json::read_object(text.as_bytes(), |key, json| {
                let key = format!("\"{}\"", std::str::from_utf8(key).unwrap());
                let key: String = serde_json::from_str(&key).unwrap();
                members.push((key, serde_json::from_slice::<Value>(json.value()?).unwrap()));
                Ok(())
            });
            prop_assert_eq!(read, Ok(value.is_object()));
            let expected: Vec<_> =
                value.as_object().into_iter().flatten().map(|(k, v)| (k.clone(), v.clone())).collect();
            members.sort_by(|a, b| a.0.cmp(&b.0));
            prop_assert_eq!(members, expected);
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(
            prop_oneof![any::<u8>(), Just(b'"'), Just(b'{'), Just(b'}'), Just(b'['), Just(b']'), Just(b':'),
                Just(b','), Just(b'\\'), Just(b'1')],
            0..64
        )) {
            let _ = Json::read_object(&bytes, |_, json| {
                json.object(|_, json| json.count().map(|_| ())).map(|_| ())
            });
            let _ = Json::new(&bytes).array(|json| json.filled().map(|_| ()));
        }
    }
}
