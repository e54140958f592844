//! The content of chat messages as blocks of Messages.

use super::super::super::Loss;
use super::super::super::json::{Raw, Writer};
use super::super::media;
use super::super::notes::Notes;

/// Where content stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// In a turn of the user, or in the result of a tool.
    User,
    /// Where there is only text: in the system prompt or a turn of the assistant.
    TextOnly,
}

/// Writes the blocks of `content`, which is a string or an array of parts.
pub(super) fn write(content: Option<Raw<'_>>, place: Place, to: &mut Writer, notes: &mut Notes) {
    let Some(content) = content else { return };
    if content.is_string() {
        write_text(content, to);
    } else if content.is_array() {
        for part in content.items() {
            write_part(part, place, to, notes);
        }
    } else {
        notes.lost(Loss::Unknown);
    }
}

/// Writes a block of text, unless it shows nothing: Messages refuses such blocks.
pub(super) fn write_text(text: Raw<'_>, to: &mut Writer) {
    if !text.is_blank() {
        to.object(|to| {
            to.key("type").text(b"text");
            to.key("text").raw(text);
        });
    }
}

fn write_part(part: Raw<'_>, place: Place, to: &mut Writer, notes: &mut Notes) {
    notes.lost_if_filled(Loss::CacheControl, part.get("cache_control"));
    let kind = part.get("type").and_then(Raw::escaped).unwrap_or_default();
    match kind {
        b"text" => part.get("text").into_iter().for_each(|text| write_text(text, to)),
        b"refusal" => part.get("refusal").into_iter().for_each(|text| write_text(text, to)),
        b"image_url" if place == Place::User => write_image(part, to, notes),
        b"image_url" => notes.lost(Loss::Images),
        b"file" if place == Place::User => write_file(part, to, notes),
        b"file" => notes.lost(Loss::Documents),
        b"input_audio" => notes.lost(Loss::Audio),
        b"thinking" | b"reasoning" => notes.lost(Loss::PastReasoning),
        _ => notes.lost(Loss::Unknown),
    }
}

fn write_image(part: Raw<'_>, to: &mut Writer, notes: &mut Notes) {
    let image = part.get("image_url");
    // Some clients write the URL without the object around it.
    let url = image.and_then(|image| if image.is_string() { Some(image) } else { image.get("url") });
    let url = url.and_then(Raw::text).unwrap_or_default();
    write_block("image", to, |to| media::write_image_source(&url, to))
        .unwrap_or_else(|| notes.lost(Loss::Images));
}

fn write_file(part: Raw<'_>, to: &mut Writer, notes: &mut Notes) {
    let Some(file) = part.get("file") else { return notes.lost(Loss::Documents) };
    let Some(data) = file.get("file_data").and_then(Raw::text) else {
        let held = file.get("file_id").is_some();
        return notes.lost(if held { Loss::State } else { Loss::Documents });
    };
    let write = |to: &mut Writer| {
        if let Some(name) = file.get("filename").filter(|name| !name.is_blank()) {
            to.key("title").raw(name);
        }
        media::write_document_source(&data, to)
    };
    write_block("document", to, write).unwrap_or_else(|| notes.lost(Loss::Documents));
}

/// Writes a block of which `source` writes the source. If it has none, nothing is written.
fn write_block(kind: &str, to: &mut Writer, source: impl FnOnce(&mut Writer) -> bool) -> Option<()> {
    let before = to.len();
    let mut found = false;
    to.object(|to| {
        to.key("type").text(kind.as_bytes());
        found = source(to);
    });
    if !found {
        to.truncate(before);
    }
    found.then_some(())
}
