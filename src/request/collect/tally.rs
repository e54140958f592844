//! Sums per top-level member. They stay separate until the end, so that a later duplicate can replace them.

use crate::base::{FNV_BASIS, Names, fnv1a, same_bytes};
use crate::request::facts::{Facts, MediaParts, OutputFormat, Reasoning, StateKind, StateSet, ToolChoice};
use crate::request::limits::MAX_OPENING_TEXTS;
use crate::request::spot::{FormatKey, TokensKey, TurnsKey};
use crate::request::text::Kept;
use crate::request::token::{Container, Value};

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
    pub(super) kind: ToolKind,
    /// For [`ToolKind::Search`].
    pub(super) is_executed_by_client: bool,
    /// For [`ToolKind::Shell`]: it runs in an environment at the provider.
    pub(super) has_environment: bool,
    pub(super) strict: bool,
    pub(super) function_strict: bool,
}

/// Where a tool runs, from its `type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum ToolKind {
    /// At the client: the model only asks for it to be run.
    #[default]
    Client,
    /// At the client, unless it has an environment at the provider.
    Shell,
    /// At the provider, unless the client executes it.
    Search,
    /// At the provider, or unknown.
    Hosted,
}

static TOOL_KINDS: Names<ToolKind, 32> = Names::new(&[
    (b"function", ToolKind::Client),
    (b"custom", ToolKind::Client),
    (b"namespace", ToolKind::Client),
    (b"apply_patch", ToolKind::Client),
    (b"local_shell", ToolKind::Client),
    (b"computer", ToolKind::Client),
    (b"computer_use_preview", ToolKind::Client),
    (b"shell", ToolKind::Shell),
    (b"tool_search", ToolKind::Search),
]);

/// Anthropic's tools that run at the client. The date of a version follows.
const DATED_CLIENT_TOOLS: [&[u8]; 4] = [b"bash_", b"text_editor_", b"computer_", b"memory_"];

impl ToolKind {
    pub(super) fn of(value: Value<'_>) -> Self {
        let Value::Text { kept: Kept::Text(kind), .. } = value else { return Self::Hosted };
        let is_dated = |name: &[u8]| {
            kind.strip_prefix(name).is_some_and(|date| date.first().is_some_and(u8::is_ascii_digit))
        };
        TOOL_KINDS.get(kind).unwrap_or_else(|| {
            if DATED_CLIENT_TOOLS.into_iter().any(is_dated) { Self::Client } else { Self::Hosted }
        })
    }
}

impl Tools {
    /// Begins `tools`, possibly as a duplicate.
    pub(super) fn restart(&mut self) {
        *self = Self { mcp_servers: self.mcp_servers, web_search: self.web_search, ..Self::default() };
    }

    pub(super) const fn end_tool(&mut self) {
        self.hosted |= match self.current.kind {
            ToolKind::Client => false,
            ToolKind::Shell => self.current.has_environment,
            ToolKind::Search => !self.current.is_executed_by_client,
            ToolKind::Hosted => true,
        };
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
    pub(super) reasoning: Switches,
    pub(super) thinking: Switches,
    pub(super) cached_content: bool,
    pub(super) google_cached_content: bool,
    formats: [OutputFormat; 4],
    tokens: [Option<u64>; 3],
}

/// A member that asks for reasoning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Switch {
    /// It is absent, null or an empty string, and asks for nothing.
    #[default]
    Unset,
    On,
    Off,
}

impl Switch {
    pub(super) fn of(value: Value<'_>, off: &[u8]) -> Self {
        match value {
            Value::Null | Value::Text { length: 0, .. } => Self::Unset,
            Value::Bool(false) => Self::Off,
            Value::Text { kept: Kept::Text(text), .. } if same_bytes(text, off) => Self::Off,
            _ => Self::On,
        }
    }
}

/// `reasoning` or `thinking` with its members. An object in which nothing is set asks for nothing.
#[derive(Debug, Default)]
pub(super) struct Switches {
    /// The value itself, if it is no object.
    scalar: Switch,
    /// `effort` or `type`.
    pub(super) main: Switch,
    pub(super) enabled: Switch,
    /// Whether any other member is set.
    pub(super) others: bool,
}

impl Switches {
    pub(super) fn of(value: Value<'_>) -> Self {
        let scalar = match value {
            Value::Opening(Container::Object | Container::Array) => Switch::Unset,
            _ => Switch::of(value, b""),
        };
        Self { scalar, ..Self::default() }
    }

    fn ask(&self) -> bool {
        let switches = [self.scalar, self.main, self.enabled];
        !switches.contains(&Switch::Off) && (self.others || switches.contains(&Switch::On))
    }
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
        if self.reasoning_effort || self.reasoning.ask() || self.thinking.ask() {
            facts.reasoning = Reasoning::Asked;
        }
        let cached = self.cached_content | self.google_cached_content;
        if cached {
            facts.state = facts.state.with(StateKind::CachedContent, true);
        }
    }
}
