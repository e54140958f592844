//! The members of a JSON object as slices of its text, without building a tree.
//!
//! An answer can be megabytes, of which two or three members tell whether it is an error. The scan is linear, keeps no
//! stack, and is no validator: on text that is not JSON it ends early or yields slices that do not parse.

use memchr::{memchr2, memchr3};

/// The first element of a JSON array; any other text as it is. `None` for an empty or unfinished array.
pub(super) fn first_element(text: &[u8]) -> Option<&[u8]> {
    let text = skip_space(text);
    match text.strip_prefix(b"[") {
        Some(rest) => value_at(skip_space(rest)).map(|(value, _)| value).filter(|value| !value.is_empty()),
        None => Some(text),
    }
}

/// The top-level members of the JSON object `text`, as raw name (without quotes, escapes as written) and raw value.
pub(super) fn members(text: &[u8]) -> Members<'_> {
    Members { rest: skip_space(text).strip_prefix(b"{").unwrap_or_default() }
}

/// Iterates over members; see [`members`].
pub(super) struct Members<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Members<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (name, rest) = string_at(skip_space(self.rest))?;
        let (value, rest) = value_at(skip_space(skip_space(rest).strip_prefix(b":")?))?;
        let rest = skip_space(rest);
        self.rest = rest.strip_prefix(b",").unwrap_or_default();
        Some((name, value))
    }
}

fn skip_space(text: &[u8]) -> &[u8] {
    text.trim_ascii_start()
}

/// The string that begins at `text`'s first quote, without its quotes, and what follows it.
fn string_at(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let inner = text.strip_prefix(b"\"")?;
    let mut at = 0;
    loop {
        at += memchr2(b'"', b'\\', inner.get(at..)?)?;
        if inner.get(at) == Some(&b'"') {
            return Some((inner.get(..at)?, inner.get(at + 1..)?));
        }
        at += 2;
    }
}

/// The value that begins `text` and what follows it.
fn value_at(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = match text.first()? {
        b'"' => text.len() - string_at(text)?.1.len(),
        b'{' => container_end(text, b'{', b'}')?,
        b'[' => container_end(text, b'[', b']')?,
        _ => text
            .iter()
            .position(|byte| matches!(byte, b',' | b'}' | b']') || byte.is_ascii_whitespace())
            .unwrap_or(text.len()),
    };
    text.split_at_checked(end)
}

/// Where the container that begins `text` ends. Brackets of the other sort are balanced within it if it is JSON.
fn container_end(text: &[u8], open: u8, close: u8) -> Option<usize> {
    let mut depth = 0_usize;
    let mut at = 0;
    loop {
        at += memchr3(b'"', open, close, text.get(at..)?)?;
        let byte = *text.get(at)?;
        if byte == b'"' {
            at = text.len() - string_at(text.get(at..)?)?.1.len();
            continue;
        }
        at += 1;
        depth = if byte == open { depth + 1 } else { depth.checked_sub(1)? };
        if depth == 0 {
            return Some(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    fn names(text: &str) -> Vec<(String, String)> {
        let text_of = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        members(text.as_bytes()).map(|(name, value)| (text_of(name), text_of(value))).collect()
    }

    #[test]
    fn members_come_with_their_raw_values() {
        let found =
            names(r#" { "a" : "x\"}," , "b":{"a":[1,"}"]},"c":[{"d":"]"}], "e" : null,"f":-1.5e3} tail"#);
        let expected = [
            ("a", r#""x\"},""#),
            ("b", r#"{"a":[1,"}"]}"#),
            ("c", r#"[{"d":"]"}]"#),
            ("e", "null"),
            ("f", "-1.5e3"),
        ];
        assert_eq!(found, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    #[test]
    fn an_unfinished_member_is_not_yielded() {
        for text in [r#"{"a":{"b":1"#, r#"{"a":"b"#, r#"{"a"#, r#"{"a":"#, "{", "", "[1]", r#"{"a":"\"#] {
            assert!(names(text).is_empty(), "{text}");
        }
    }

    #[test]
    fn depth_costs_no_stack() {
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(200_000), "]".repeat(200_000));
        assert_eq!(names(&deep).len(), 1);
    }

    #[test]
    fn the_first_element_of_an_array_stands_for_it() {
        assert_eq!(first_element(b" [ {\"a\":1} , 2]"), Some(b"{\"a\":1}".as_slice()));
        assert_eq!(first_element(b"{}"), Some(b"{}".as_slice()));
        assert_eq!(first_element(b"[]"), None);
        assert_eq!(first_element(b"[{"), None);
    }

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            ".{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::btree_map("[a-z\"\\\\{}]{0,4}", inner, 0..5).prop_map(Value::from_iter),
            ]
        })
    }

    proptest! {
        #[test]
        fn the_members_found_are_those_a_parser_finds(
            object in prop::collection::btree_map("[a-z]{1,6}", json(), 0..6),
            pretty: bool,
        ) {
            let value = Value::from_iter(object.clone());
            let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) };
            let text = text.unwrap();
            let found: Vec<(String, Value)> = members(text.as_bytes())
                .map(|(name, raw)| (String::from_utf8(name.to_vec()).unwrap(), serde_json::from_slice(raw).unwrap()))
                .collect();
            prop_assert_eq!(found, object.into_iter().collect::<Vec<_>>());
        }

        #[test]
        fn arbitrary_bytes_neither_panic_nor_loop(
            bytes in prop::collection::vec(prop_oneof![any::<u8>(), prop::sample::select(b"{}[]\",:\\ ".to_vec())], 0..300),
        ) {
            prop_assert!(members(&bytes).count() <= bytes.len());
            let _ = first_element(&bytes);
        }
    }
}
