//! How many tokens a prompt is, before any provider has counted them.
//!
//! Every vendor has a tokenizer of its own, and none fits into a filter. What a token holds on average differs far less,
//! so bytes are divided by it, per kind of content, and a margin is added: of a prompt that is taken for too long the
//! client is told, of one taken for short enough the provider complains or cuts.

use crate::request::Facts;

/// UTF-8 bytes of text per token, in tenths. English has 4 to 5, code about 3.5, most other languages 2.5 to 4; what is below
/// is made good by the margin and by what is learnt of a target.
const TEXT_BYTES_PER_TOKEN_TENTHS: u64 = 35;
/// Bytes of the JSON around tools per token: names of members, brackets, quotes.
const STRUCTURE_BYTES_PER_TOKEN: u64 = 4;
/// What a message costs beside its text: its role and its end.
const TOKENS_PER_ITEM: u64 = 4;
/// What an image costs at most in its usual resolution (Anthropic 1600, OpenAI about 1500).
const TOKENS_PER_IMAGE: u64 = 1_600;
/// Base64 bytes of files and sound per token: a page of a PDF of 50 kB is read as up to 3000 tokens.
const FILE_BYTES_PER_TOKEN: u64 = 16;

/// The size of a prompt by what it consists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PromptSize {
    /// Bytes of text.
    pub text_bytes: u64,
    /// Bytes of the JSON around it that the model reads too: schemas of tools have names there.
    pub structure_bytes: u64,
    /// Bytes of files and sound, as they stand in the body.
    pub file_bytes: u64,
    /// Images.
    pub images: u64,
    /// Messages, items or prompts.
    pub items: u64,
    /// Tokens that are given as numbers.
    pub token_ids: u64,
}

impl PromptSize {
    /// What the scan of a body found.
    pub fn of(facts: &Facts) -> Self {
        let media = &facts.media;
        let has_tools = facts.tools.count > 0 || facts.tools.legacy_functions;
        let around = facts.body_bytes.saturating_sub(facts.text_bytes).saturating_sub(facts.media_bytes);
        let has_files = media.files > 0 || media.audio > 0;
        Self {
            text_bytes: facts.text_bytes,
            structure_bytes: if has_tools { around } else { 0 },
            file_bytes: if has_files { facts.media_bytes } else { 0 },
            images: media.images.into(),
            items: facts.items.into(),
            token_ids: facts.token_ids,
        }
    }

    /// Whether it is text and nothing else.
    pub const fn is_text(&self) -> bool {
        self.images == 0 && self.file_bytes == 0 && self.token_ids == 0
    }

    /// The expected number of tokens, without any margin.
    pub const fn tokens(&self) -> u64 {
        let text = self.text_bytes.saturating_mul(10).div_ceil(TEXT_BYTES_PER_TOKEN_TENTHS);
        let structure = self.structure_bytes / STRUCTURE_BYTES_PER_TOKEN;
        let files = self.file_bytes / FILE_BYTES_PER_TOKEN;
        text.saturating_add(structure)
            .saturating_add(files)
            .saturating_add(self.images.saturating_mul(TOKENS_PER_IMAGE))
            .saturating_add(self.items.saturating_mul(TOKENS_PER_ITEM))
            .saturating_add(self.token_ids)
    }
}

#[cfg(test)]
#[path = "estimate_tests.rs"]
mod tests;
