//! Blocks of Messages as parts of chat messages.

use super::super::super::Loss;
use super::super::super::json::Raw;
use super::super::chat_parts::Parts;
use super::super::media;
use super::super::notes::Notes;

/// The members of a block.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Block<'a> {
    pub(super) kind: &'a [u8],
    pub(super) text: Option<Raw<'a>>,
    pub(super) source: Option<Raw<'a>>,
    pub(super) content: Option<Raw<'a>>,
    pub(super) title: Option<Raw<'a>>,
    pub(super) context: Option<Raw<'a>>,
    pub(super) id: Option<Raw<'a>>,
    pub(super) name: Option<Raw<'a>>,
    pub(super) input: Option<Raw<'a>>,
    pub(super) tool_use_id: Option<Raw<'a>>,
    pub(super) is_error: bool,
    pub(super) thinking: Option<Raw<'a>>,
    pub(super) signature: Option<Raw<'a>>,
}

impl<'a> Block<'a> {
    pub(super) fn of(block: Raw<'a>, notes: &mut Notes) -> Self {
        let mut read = Self::default();
        for (key, value) in block.members() {
            let value = Some(value).filter(|value| !value.is_null());
            match key {
                b"type" => read.kind = value.and_then(Raw::escaped).unwrap_or_default(),
                b"text" => read.text = value,
                b"source" => read.source = value,
                b"content" => read.content = value,
                b"title" => read.title = value,
                b"context" => read.context = value,
                b"id" => read.id = value,
                b"name" => read.name = value,
                b"input" => read.input = value,
                b"tool_use_id" => read.tool_use_id = value,
                b"is_error" => read.is_error = value.is_some_and(Raw::is_true),
                b"thinking" => read.thinking = value,
                b"signature" => read.signature = value,
                b"cache_control" => notes.lost_if_filled(Loss::CacheControl, value),
                b"citations" => note_citations(value, notes),
                // What these say is part of a block that is lost or taken as a whole.
                b"data" | b"caller" | b"encrypted_content" | b"server_name" => {}
                _ => notes.lost_if_filled(Loss::Unknown, value),
            }
        }
        read
    }
}

fn note_citations(citations: Option<Raw<'_>>, notes: &mut Notes) {
    let enabled = |citations: Raw<'_>| citations.get("enabled").is_some_and(Raw::is_true);
    if citations.is_some_and(|citations| citations.is_array() && citations.is_filled() || enabled(citations))
    {
        notes.lost(Loss::Citations);
    }
}

/// Adds the parts that say what `block` says: to `texts` what can stand beside a result, and to `media` what
/// can stand only in a message of the user. The two are the same for a message of the user.
pub(super) fn add<'a>(block: &Block<'a>, target: &mut Target<'_, 'a>, notes: &mut Notes) {
    match block.kind {
        b"text" => block.text.into_iter().for_each(|text| target.texts().text(text)),
        b"image" => add_image(block, target, notes),
        b"document" => add_document(block, target, notes),
        b"search_result" => {
            let texts = target.texts();
            [block.title, block.source].into_iter().flatten().for_each(|text| texts.text(text));
            add_nested(block.content, target, notes);
        }
        b"compaction" => {
            notes.lost(Loss::ContextManagement);
            add_nested(block.content, target, notes);
        }
        b"mid_conv_system" => add_nested(block.content, target, notes),
        b"container_upload" => notes.lost(Loss::State),
        b"fallback" => {}
        b"thinking" | b"redacted_thinking" => notes.lost(Loss::PastReasoning),
        kind if is_hosted(kind) => notes.lost(Loss::HostedTools),
        _ => notes.lost(Loss::Unknown),
    }
}

/// Where parts go.
#[derive(Debug)]
pub(super) enum Target<'p, 'a> {
    /// All of them to one message.
    One(&'p mut Parts<'a>),
    /// Texts to a result, images and files to the message after it.
    Split { texts: &'p mut Parts<'a>, media: &'p mut Parts<'a> },
    /// Texts to a message of the assistant, which has no images and files.
    Texts(&'p mut Parts<'a>),
}

impl<'a> Target<'_, 'a> {
    const fn texts(&mut self) -> &mut Parts<'a> {
        match self {
            Self::One(parts) | Self::Split { texts: parts, .. } | Self::Texts(parts) => parts,
        }
    }

    const fn media(&mut self) -> Option<&mut Parts<'a>> {
        match self {
            Self::One(parts) | Self::Split { media: parts, .. } => Some(parts),
            Self::Texts(_) => None,
        }
    }
}

/// Whether a block belongs to a tool that runs at the provider.
fn is_hosted(kind: &[u8]) -> bool {
    matches!(kind, b"server_tool_use" | b"mcp_tool_use" | b"tool_reference")
        || kind != b"tool_result" && kind.ends_with(b"_tool_result")
}

fn is_held(source: Option<Raw<'_>>) -> bool {
    source.and_then(|source| source.get("type")).is_some_and(|kind| kind.is("file"))
}

fn add_image<'a>(block: &Block<'a>, target: &mut Target<'_, 'a>, notes: &mut Notes) {
    let added = match (block.source, target.media()) {
        (Some(source), Some(media)) => media.image(None, |to| media::write_url(source, to)),
        _ => false,
    };
    if !added {
        notes.lost(if is_held(block.source) { Loss::State } else { Loss::Images });
    }
}

fn add_document<'a>(block: &Block<'a>, target: &mut Target<'_, 'a>, notes: &mut Notes) {
    let Some(source) = block.source else { return notes.lost(Loss::Documents) };
    match source.get("type").and_then(Raw::escaped) {
        Some(b"text") => add_text_document(block, source.get("data"), target, notes),
        Some(b"content") => add_text_document(block, source.get("content"), target, notes),
        Some(b"base64") => {
            let file = |media: &mut Parts<'a>| media.file(block.title, |to| media::write_url(source, to));
            if !target.media().is_some_and(file) {
                notes.lost(Loss::Documents);
            }
        }
        Some(b"file") => notes.lost(Loss::State),
        _ => notes.lost(Loss::Documents),
    }
    let is_text = source.get("type").is_some_and(|kind| kind.is("text") || kind.is("content"));
    if let Some(context) = block.context.filter(|_| !is_text) {
        target.texts().text(context);
    }
}

fn add_text_document<'a>(
    block: &Block<'a>,
    content: Option<Raw<'a>>,
    target: &mut Target<'_, 'a>,
    notes: &mut Notes,
) {
    let texts = target.texts();
    [block.title, block.context].into_iter().flatten().for_each(|text| texts.text(text));
    add_nested(content, target, notes);
}

/// Adds content that stands within a block: a text, or texts and images.
pub(super) fn add_nested<'a>(content: Option<Raw<'a>>, target: &mut Target<'_, 'a>, notes: &mut Notes) {
    let Some(content) = content else { return };
    if content.is_string() {
        return target.texts().text(content);
    }
    for block in content.items() {
        let block = Block::of(block, notes);
        match block.kind {
            b"text" => block.text.into_iter().for_each(|text| target.texts().text(text)),
            b"image" => add_image(&block, target, notes),
            _ => notes.lost(Loss::Unknown),
        }
    }
}
