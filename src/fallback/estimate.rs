//! Estimates the tokens of a prompt before a provider counts them.
//!
//! Every vendor has its own tokenizer, and none fits into a filter. The average size of a token varies much
//! less, so the bytes of each kind of content are divided by it. The average is rather too high than too low: an
//! underestimated prompt costs an attempt that its provider rejects. For the same reason a tier prefers targets in
//! which the prompt fits with a margin, but the margin refuses nothing.

use crate::base::saturating_product;
use crate::request::Facts;

/// UTF-8 bytes of text per token, in tenths. English has 4 to 5, code about 3.5, most other languages 2.5 to
/// 4. The margin and the calibration of a target cover lower values.
const TEXT_BYTES_PER_TOKEN_TENTHS: u64 = 35;
/// Bytes per token of the JSON around tools: member names, brackets, quotes.
const STRUCTURE_BYTES_PER_TOKEN: u64 = 4;
/// Tokens of a message besides its text: its role and its end.
const TOKENS_PER_ITEM: u64 = 4;
/// The most tokens that an image of usual resolution costs (Anthropic 1600, OpenAI about 1500).
const TOKENS_PER_IMAGE: u64 = 1_600;
/// Base64 bytes per token of files and audio: a PDF page of 50 kB is up to 3000 tokens.
const FILE_BYTES_PER_TOKEN: u64 = 16;

/// The size of a prompt by kind of content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PromptSize {
    /// Bytes of text.
    pub text_bytes: u64,
    /// Bytes of the JSON around it that the model reads, too: tool schemas contain names.
    pub structure_bytes: u64,
    /// Bytes of files and audio as they are in the body.
    pub file_bytes: u64,
    /// Images.
    pub images: u64,
    /// Messages, items or prompts.
    pub items: u64,
    /// Tokens given as numbers.
    pub token_ids: u64,
}

impl PromptSize {
    /// The size found by the scan of a body.
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

    /// Whether it contains only text.
    pub const fn is_text(&self) -> bool {
        self.images == 0 && self.file_bytes == 0 && self.token_ids == 0
    }

    /// The expected number of tokens, without a margin.
    pub const fn tokens(&self) -> u64 {
        let text = saturating_product(self.text_bytes, 10).div_ceil(TEXT_BYTES_PER_TOKEN_TENTHS);
        let structure = self.structure_bytes / STRUCTURE_BYTES_PER_TOKEN;
        let files = self.file_bytes / FILE_BYTES_PER_TOKEN;
        text.saturating_add(structure)
            .saturating_add(files)
            .saturating_add(saturating_product(self.images, TOKENS_PER_IMAGE))
            .saturating_add(saturating_product(self.items, TOKENS_PER_ITEM))
            .saturating_add(self.token_ids)
    }
}

#[cfg(test)]
#[path = "estimate_tests.rs"]
mod tests;
