//! Images and files: data URLs in chat, sources in Messages.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::super::json::{Raw, Writer, escape};

/// The types of images that Messages takes.
const IMAGE_TYPES: [&[u8]; 4] = [b"image/jpeg", b"image/png", b"image/gif", b"image/webp"];

/// The only type of documents that Messages takes as base64.
const PDF: &[u8] = b"application/pdf";

/// What a URL in a chat request holds.
pub(super) enum Location<'u> {
    /// A `data:` URL in base64.
    Data { media_type: &'u [u8], base64: &'u [u8] },
    /// An `http:` or `https:` URL.
    Web(&'u [u8]),
    /// Anything else.
    Other,
}

impl<'u> Location<'u> {
    /// What the URL, without escapes, holds.
    pub(super) fn of(url: &'u [u8]) -> Self {
        if url.starts_with(b"https://") || url.starts_with(b"http://") {
            return Self::Web(url);
        }
        Self::data(url).unwrap_or(Self::Other)
    }

    fn data(url: &'u [u8]) -> Option<Self> {
        let rest = url.strip_prefix(b"data:")?;
        let (head, base64) = rest.split_at_checked(memchr::memchr(b',', rest)?)?;
        let parameters = head.strip_suffix(b";base64")?;
        let media_type = parameters.split(|byte| *byte == b';').next()?;
        Some(Self::Data { media_type, base64: base64.get(1..)? })
    }
}

/// Writes the member `source` of an image. Returns whether Messages takes the image.
pub(super) fn write_image_source(url: &[u8], to: &mut Writer) -> bool {
    match Location::of(url) {
        Location::Data { media_type, base64 } if IMAGE_TYPES.contains(&media_type) => {
            write_base64_source(media_type, base64, to);
            true
        }
        Location::Web(url) => {
            write_url_source(url, to);
            true
        }
        _ => false,
    }
}

/// Writes the member `source` of a document. Returns whether Messages takes the document.
pub(super) fn write_document_source(url: &[u8], to: &mut Writer) -> bool {
    match Location::of(url) {
        Location::Data { media_type: PDF, base64 } => write_base64_source(PDF, base64, to),
        Location::Data { media_type, base64 } if media_type.starts_with(b"text/") => {
            let Some(text) = STANDARD.decode(base64).ok().and_then(|text| String::from_utf8(text).ok())
            else {
                return false;
            };
            to.key("source").object(|to| {
                to.key("type").text(b"text");
                to.key("media_type").text(b"text/plain");
                to.key("data").text(text.as_bytes());
            });
        }
        Location::Web(url) => write_url_source(url, to),
        _ => return false,
    }
    true
}

fn write_base64_source(media_type: &[u8], base64: &[u8], to: &mut Writer) {
    to.key("source").object(|to| {
        to.key("type").text(b"base64");
        to.key("media_type").text(media_type);
        to.key("data").text(base64);
    });
}

fn write_url_source(url: &[u8], to: &mut Writer) {
    to.key("source").object(|to| {
        to.key("type").text(b"url");
        to.key("url").text(url);
    });
}

/// Writes the URL that holds what a source of Messages has. Returns whether there is one.
pub(super) fn write_url(source: Raw<'_>, to: &mut Writer) -> bool {
    let Some(kind) = source.get("type") else { return false };
    if kind.is("url")
        && let Some(url) = source.get("url").filter(|url| url.is_string())
    {
        to.raw(url);
        return true;
    }
    let parts = (source.get("media_type").and_then(Raw::text), source.get("data").and_then(Raw::escaped));
    let (true, (Some(media_type), Some(data))) = (kind.is("base64"), parts) else { return false };
    to.string(|out| {
        out.extend_from_slice(b"data:");
        escape(&media_type, out);
        out.extend_from_slice(b";base64,");
        out.extend_from_slice(data);
    });
    true
}
