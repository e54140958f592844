//! What the first bytes of a body show. Its label (`content-type`) may be wrong: streams come as JSON or without
//! a type, errors as plain text, and compressed bytes without saying so.

/// The most that is read until something other than white space comes.
pub(super) const MAX_SPACE: usize = 16 * 1024;

/// The kind of a body, by its first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// An object or an array.
    Json,
    /// A field or a comment of a stream of events.
    Events,
    /// A tag.
    Page,
    /// gzip or zstd. Brotli has no signature.
    Compressed,
    /// Any other text.
    Text,
    /// Anything else.
    Binary,
}

const COMPRESSED: [&[u8]; 2] = [b"\x1f\x8b", b"\x28\xb5\x2f\xfd"];

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// How a line of a stream of events can begin.
const FIELDS: [&[u8]; 5] = [b"data:", b"event:", b"id:", b"retry:", b":"];

/// What begins with `bytes`; `None` if more bytes are needed. `is_all` says that no more will come.
pub(super) fn shape(bytes: &[u8], is_all: bool) -> Option<Shape> {
    let is_open = |signature: &&[u8]| !is_all && signature.starts_with(bytes);
    if COMPRESSED.iter().any(|signature| bytes.starts_with(signature)) {
        return Some(Shape::Compressed);
    }
    if COMPRESSED.iter().any(is_open) || is_open(&BYTE_ORDER_MARK) {
        return None;
    }
    let text = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes).trim_ascii_start();
    let Some(first) = text.first() else {
        return (is_all || bytes.len() >= MAX_SPACE).then_some(Shape::Text);
    };
    match first {
        b'{' | b'[' => return Some(Shape::Json),
        b'<' => return Some(Shape::Page),
        0x00..0x20 | 0x7f.. => return Some(Shape::Binary),
        _ => {}
    }
    if FIELDS.iter().any(|field| text.starts_with(field)) {
        return Some(Shape::Events);
    }
    let may_become_field = !is_all && FIELDS.iter().any(|field| field.starts_with(text));
    (!may_become_field).then_some(Shape::Text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bytes_show_what_a_body_is() {
        use Shape::{Binary, Compressed, Events, Json, Page, Text};
        for (bytes, expected) in [
            (b"{\"choices\":".as_slice(), Json),
            (b"[{\"error\":", Json),
            (b"\xef\xbb\xbf \r\n\t{", Json),
            (b"data: {}", Events),
            (b"data:{}", Events),
            (b"event: message_start\n", Events),
            (b"id: 1\n", Events),
            (b"retry: 3\n", Events),
            (b": OPENROUTER PROCESSING\n", Events),
            (b"\n\n\ndata: x", Events),
            (b"\xef\xbb\xbfdata: x", Events),
            (b"<!DOCTYPE html>", Page),
            (b"\x1f\x8b\x08", Compressed),
            (b"\x28\xb5\x2f\xfd\x00", Compressed),
            (b"Internal Server Error", Text),
            (b"database is down", Text),
            (b"null", Text),
            (b"ID3\x04", Text),
            (b"(text)", Text),
            (b"\xff\xfb\x90", Binary),
            (b"\x00\x00\x00\x20", Binary),
        ] {
            assert_eq!(shape(bytes, false), Some(expected), "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn more_bytes_are_asked_for_only_if_they_can_tell() {
        for bytes in
            [b"".as_slice(), b"\n", b"  ", b"d", b"data", b"even", b"re", b"\x1f", b"\x28\xb5", b"\xef\xbb"]
        {
            assert_eq!(shape(bytes, false), None, "{}", bytes.escape_ascii());
            assert!(shape(bytes, true).is_some(), "{}", bytes.escape_ascii());
        }
        assert_eq!(shape(&[b' '; MAX_SPACE], false), Some(Shape::Text));
        assert_eq!(shape(&[b' '; MAX_SPACE - 1], false), None);
    }
}
