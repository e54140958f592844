//! Sums per top-level member. They stay separate until the end, so that a later duplicate can replace them.

use crate::base::{FNV_BASIS, fnv1a};
use crate::request::facts::{Facts, MediaParts, OutputFormat, Reasoning, StateKind, StateSet, ToolChoice};
use crate::request::limits::MAX_OPENING_TEXTS;
use crate::request::spot::{FormatKey, TokensKey, TurnsKey};
use crate::request::text::Kept;
use crate::request::token::Value;

/// The content of one of `system`, `instructions`, `messages`, `input` and `prompt`.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Turns {
    pub(super) items: u32,
    pub(super) media: MediaParts,
    pub(super) token_ids: u64,
    pub(super) sealed: bool,
    pub(super) state: StateSet,
    pub(super) opening: Opening,
}

/// The hash of the texts that identify a conversation.
#[derive(Debug, Clone, Copy)]
pub(super) struct Opening {
    hash: u64,
    texts: u32,
    complete: bool,
}

impl Default for Opening {
    fn default() -> Self {
        Self { hash: FNV_BASIS, texts: 0, complete: false }
    }
}

impl Opening {
    pub(super) fn add(&mut self, value: Value<'_>) {
        if let (Value::Text { kept: Kept::Hash(hash), length: 1.. }, false) = (value, self.complete) {
            self.hash = fnv1a(self.hash, &hash.to_le_bytes());
            self.texts += 1;
            self.complete = self.texts >= MAX_OPENING_TEXTS;
        }
    }

    /// Ignores all further texts.
    pub(super) const fn end(&mut self) {
        self.complete = true;
    }
}

#[derive(Debug, Default)]
pub(super) struct AllTurns {
    system: Turns,
    instructions: Turns,
    messages: Turns,
    input: Turns,
    prompt: Turns,
}

impl AllTurns {
    pub(super) const fn of(&mut self, key: TurnsKey) -> &mut Turns {
        match key {
            TurnsKey::System => &mut self.system,
            TurnsKey::Instructions => &mut self.instructions,
            TurnsKey::Messages => &mut self.messages,
            TurnsKey::Input => &mut self.input,
            TurnsKey::Prompt => &mut self.prompt,
        }
    }

    /// Whether further texts of `key` belong to the beginning of the conversation.
    pub(super) const fn is_opening(&self, key: TurnsKey) -> bool {
        let turns = match key {
            TurnsKey::System => &self.system,
            TurnsKey::Instructions => &self.instructions,
            TurnsKey::Messages => &self.messages,
            TurnsKey::Input => &self.input,
            TurnsKey::Prompt => &self.prompt,
        };
        !turns.opening.complete
    }

    pub(super) fn add_to(&self, facts: &mut Facts) {
        for turns in [&self.system, &self.instructions, &self.messages, &self.input, &self.prompt] {
            if turns.opening.texts > 0 {
                let before = facts.affinity.conversation.unwrap_or(FNV_BASIS);
                facts.affinity.conversation = Some(fnv1a(before, &turns.opening.hash.to_le_bytes()));
            }
            facts.items = facts.items.saturating_add(turns.items);
            facts.token_ids = facts.token_ids.saturating_add(turns.token_ids);
            facts.media.images = facts.media.images.saturating_add(turns.media.images);
            facts.media.audio = facts.media.audio.saturating_add(turns.media.audio);
            facts.media.files = facts.media.files.saturating_add(turns.media.files);
            facts.sealed_reasoning |= turns.sealed;
            facts.state = facts.state.union(turns.state);
        }
    }
}

/// The content of `tools`, and the current tool.
#[derive(Debug, Default)]
pub(super) struct Tools {
    pub(super) count: u32,
    pub(super) hosted: bool,
    pub(super) strict: bool,
    pub(super) state: StateSet,
    pub(super) current: Tool,
    pub(super) mcp_servers: bool,
    pub(super) web_search: bool,
}

#[derive(Debug, Default)]
pub(super) struct Tool {
    pub(super) hosted: bool,
    pub(super) strict: bool,
    pub(super) function_strict: bool,
}

impl Tools {
    /// Begins `tools`, possibly as a duplicate.
    pub(super) fn restart(&mut self) {
        *self = Self { mcp_servers: self.mcp_servers, web_search: self.web_search, ..Self::default() };
    }

    pub(super) const fn end_tool(&mut self) {
        self.hosted |= self.current.hosted;
        self.strict |= self.current.strict | self.current.function_strict;
    }

    pub(super) fn add_to(&self, facts: &mut Facts) {
        facts.tools.count = self.count;
        facts.tools.hosted = self.hosted | self.mcp_servers | self.web_search;
        facts.tools.strict = self.strict;
        facts.state = facts.state.union(self.state);
    }
}

/// Members that differ in name between the dialects but have the same meaning.
#[derive(Debug, Default)]
pub(super) struct Options {
    pub(super) parallel_tool_calls: Option<bool>,
    pub(super) disable_parallel: Option<bool>,
    pub(super) choice: ToolChoice,
    pub(super) logprobs: bool,
    pub(super) top_logprobs: bool,
    pub(super) reasoning_effort: bool,
    pub(super) reasoning: ReasoningOptions,
    pub(super) thinking: bool,
    pub(super) cached_content: bool,
    pub(super) google_cached_content: bool,
    formats: [OutputFormat; 4],
    tokens: [Option<u64>; 3],
}

/// `reasoning` and its members.
#[derive(Debug, Default)]
pub(super) struct ReasoningOptions {
    pub(super) present: bool,
    pub(super) no_effort: bool,
    pub(super) not_enabled: bool,
}

impl Options {
    pub(super) fn set_format(&mut self, key: FormatKey, format: OutputFormat) {
        if let Some(slot) = self.formats.get_mut(key as usize) {
            *slot = format;
        }
    }

    pub(super) fn set_tokens(&mut self, key: TokensKey, tokens: Option<u64>) {
        if let Some(slot) = self.tokens.get_mut(key as usize) {
            *slot = tokens;
        }
    }

    pub(super) fn add_to(&self, facts: &mut Facts) {
        facts.tools.choice = self.choice;
        facts.tools.parallel = self.parallel_tool_calls.or(self.disable_parallel.map(|disable| !disable));
        facts.output = self.formats.into_iter().max().unwrap_or_default();
        facts.max_output_tokens = self.tokens.into_iter().flatten().max();
        facts.logprobs = self.logprobs | self.top_logprobs;
        let reasoning = self.reasoning.present && !self.reasoning.no_effort && !self.reasoning.not_enabled;
        if self.reasoning_effort | reasoning | self.thinking {
            facts.reasoning = Reasoning::Asked;
        }
        let cached = self.cached_content | self.google_cached_content;
        if cached {
            facts.state = facts.state.with(StateKind::CachedContent, true);
        }
    }
}
