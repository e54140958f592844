//! Names of tools and ids of calls that every provider takes.

use std::borrow::Cow;

use sha2::{Digest, Sha256};

use super::super::json::Raw;

/// The longest id of a call that OpenAI takes.
const MAX_ID_BYTES: usize = 40;

/// The longest name of a function that OpenAI takes. Anthropic takes longer ones.
const MAX_NAME_BYTES: usize = 64;

/// How many bytes of a digest stand for a text that does not fit. Two texts then practically never meet.
const DIGEST_BYTES: usize = 16;

/// What stands between a namespace and the name of a tool in it.
const NAMESPACE_END: &[u8] = b"__";

/// The id of a call in a form that every provider takes. The same id always gets the same form, so a call and
/// its result still belong together.
pub(crate) fn call_id(id: Raw<'_>) -> Cow<'_, [u8]> {
    match id.text() {
        Some(text) if fits(&text, MAX_ID_BYTES) => text,
        text => {
            let mut made = b"call_".to_vec();
            push_digest(text.as_deref().unwrap_or(id.bytes()), &mut made);
            Cow::Owned(made)
        }
    }
}

/// The name of a tool in a form that every provider takes.
pub(super) fn tool_name<'a>(name: Raw<'a>, namespace: Option<Raw<'a>>) -> Cow<'a, [u8]> {
    let text = name.text().unwrap_or_default();
    let full = match namespace.and_then(Raw::text) {
        Some(namespace) if !namespace.is_empty() => Cow::Owned(within(&namespace, &text)),
        _ => text,
    };
    if fits(&full, MAX_NAME_BYTES) { full } else { Cow::Owned(made_name(&full)) }
}

fn within(namespace: &[u8], name: &[u8]) -> Vec<u8> {
    let mut full = namespace.to_vec();
    if !full.ends_with(NAMESPACE_END) {
        full.extend_from_slice(NAMESPACE_END);
    }
    full.extend_from_slice(name);
    full
}

/// What can be kept of a name, and a digest, so that two names never become one.
fn made_name(name: &[u8]) -> Vec<u8> {
    const KEPT: usize = MAX_NAME_BYTES - 1 - 2 * DIGEST_BYTES;
    let kept = name.get(..KEPT).unwrap_or(name);
    let mut made: Vec<u8> = kept.iter().map(|byte| if is_plain(*byte) { *byte } else { b'_' }).collect();
    made.push(b'_');
    push_digest(name, &mut made);
    made
}

fn fits(text: &[u8], most: usize) -> bool {
    (1..=most).contains(&text.len()) && text.iter().all(|byte| is_plain(*byte))
}

const fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')
}

fn push_digest(text: &[u8], out: &mut Vec<u8>) {
    for byte in Sha256::digest(text).iter().take(DIGEST_BYTES) {
        out.extend(
            [byte >> 4, byte & 15].map(|digit| if digit < 10 { b'0' + digit } else { b'a' + digit - 10 }),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(json: &str) -> String {
        String::from_utf8(call_id(Raw::of(json.as_bytes()).unwrap()).into_owned()).unwrap()
    }

    fn name(json: &str, namespace: Option<&str>) -> String {
        let raw = |json: &'static str| Raw::of(json.as_bytes()).unwrap();
        let leaked = |json: &str| raw(String::from(json).leak());
        String::from_utf8(tool_name(leaked(json), namespace.map(leaked)).into_owned()).unwrap()
    }

    #[test]
    fn an_id_that_fits_stays_and_another_gets_a_lasting_form() {
        assert_eq!(id(r#""toolu_01-A""#), "toolu_01-A");
        assert_eq!(id(r#""call\u005f1""#), "call_1");
        let long = format!("\"{}\"", "x".repeat(41));
        for unfit in [r#""a.b""#, r#""""#, "7", long.as_str()] {
            let made = id(unfit);
            assert!(fits(made.as_bytes(), MAX_ID_BYTES), "{made}");
            assert_eq!(made, id(unfit));
        }
        assert_ne!(id(r#""a.b""#), id(r#""a:b""#));
    }

    #[test]
    fn a_name_that_fits_stays_and_another_stays_readable() {
        assert_eq!(name(r#""get_weather""#, None), "get_weather");
        assert_eq!(name(r#""read""#, Some(r#""mcp__files""#)), "mcp__files__read");
        assert_eq!(name(r#""read""#, Some(r#""mcp__files__""#)), "mcp__files__read");
        let long = "n".repeat(70);
        for unfit in [r#""files.read""#, r#""""#, &format!("\"{long}1\""), &format!("\"{long}2\"")] {
            let made = name(unfit, None);
            assert!(fits(made.as_bytes(), MAX_NAME_BYTES), "{made}");
        }
        assert!(name(r#""files.read""#, None).starts_with("files_read_"));
        assert_ne!(name(&format!("\"{long}1\""), None), name(&format!("\"{long}2\""), None));
    }
}
