//! Parts of Responses items as parts of chat messages.

use super::super::super::Loss;
use super::super::super::json::{Raw, Writer};
use super::super::chat_parts::Parts;
use super::super::notes::Notes;

/// The members of a part.
#[derive(Debug, Clone, Copy, Default)]
struct Part<'a> {
    kind: &'a [u8],
    text: Option<Raw<'a>>,
    image_url: Option<Raw<'a>>,
    detail: Option<Raw<'a>>,
    file_id: Option<Raw<'a>>,
    file_data: Option<Raw<'a>>,
    file_url: Option<Raw<'a>>,
    filename: Option<Raw<'a>>,
}

impl<'a> Part<'a> {
    fn of(part: Raw<'a>, notes: &mut Notes) -> Self {
        let mut read = Self::default();
        for (key, value) in part.members() {
            let value = Some(value).filter(|value| !value.is_null());
            match key {
                b"type" => read.kind = value.and_then(Raw::escaped).unwrap_or_default(),
                b"text" | b"refusal" => read.text = value,
                b"image_url" => read.image_url = value,
                b"detail" => read.detail = value,
                b"file_id" => read.file_id = value,
                b"file_data" => read.file_data = value,
                b"file_url" => read.file_url = value,
                b"filename" => read.filename = value,
                b"annotations" => notes.lost_if_filled(Loss::Citations, value),
                b"logprobs" | b"input_audio" => {}
                _ => notes.lost_if_filled(Loss::Unknown, value),
            }
        }
        read
    }
}

/// Adds the parts of `content`, which is a string or an array. Texts go to `texts`; images and files go to
/// `media`, or to `texts` if it is `None`.
pub(super) fn add<'a>(
    content: Option<Raw<'a>>,
    texts: &mut Parts<'a>,
    mut media: Option<&mut Parts<'a>>,
    onward: bool,
    notes: &mut Notes,
) {
    let Some(content) = content else { return };
    if content.is_string() {
        return texts.text(content);
    }
    for part in content.items() {
        let part = Part::of(part, notes);
        match part.kind {
            b"input_text" | b"output_text" | b"text" | b"refusal" | b"summary_text" => {
                part.text.into_iter().for_each(|text| texts.text(text));
            }
            b"input_image" => add_image(&part, media.as_deref_mut().unwrap_or(texts), notes),
            b"input_file" => add_file(&part, media.as_deref_mut().unwrap_or(texts), onward, notes),
            b"input_audio" => notes.lost(Loss::Audio),
            b"reasoning_text" => notes.lost(Loss::PastReasoning),
            _ => notes.lost(Loss::Unknown),
        }
    }
}

fn add_image<'a>(part: &Part<'a>, to: &mut Parts<'a>, notes: &mut Notes) {
    if !to.image(part.detail, |to| write_string(part.image_url, to)) {
        notes.lost(if part.file_id.is_some() { Loss::State } else { Loss::Images });
    }
}

/// Chat takes no URLs of files, but Messages does.
fn add_file<'a>(part: &Part<'a>, to: &mut Parts<'a>, onward: bool, notes: &mut Notes) {
    let url = part.file_data.or(part.file_url.filter(|_| onward));
    if !to.file(part.filename, |to| write_string(url, to)) {
        notes.lost(if part.file_id.is_some() { Loss::State } else { Loss::Documents });
    }
}

fn write_string(string: Option<Raw<'_>>, to: &mut Writer) -> bool {
    let string = string.filter(|string| string.is_string());
    string.into_iter().for_each(|string| to.raw(string));
    string.is_some()
}
