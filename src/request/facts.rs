//! What a request asks for, as far as routing must know.

use super::token::Span;
use super::usage_spots::UsageSpots;

/// Everything one scan of a body leaves behind.
///
/// Where a member occurs twice in one object, the last one counts, as in serde_json. Below the top level this holds
/// for each value but not for what larger parts contain: of `content` twice in one message, both are counted. So a
/// strange body seems to need more than it does, never less.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Facts {
    /// The top-level `model`.
    pub model: ModelField,
    /// Where the values of all top-level `model` members stand, in the order of the body, quotes included; at most
    /// [`MAX_MODEL_MEMBERS`].
    pub model_spans: Vec<Span>,
    /// `stream` is `true`.
    pub stream: bool,
    /// `stream_options.include_usage` is `true`.
    pub include_usage: bool,
    /// What would have to change to make it so.
    pub usage_spots: UsageSpots,
    /// What it wants of tools.
    pub tools: ToolNeeds,
    /// The form the answer's text must have.
    pub output: OutputFormat,
    /// Parts of the conversation that are not text, also inside tool results.
    pub media: MediaParts,
    /// `modalities` contains `"audio"`: the answer shall speak.
    pub audio_output: bool,
    /// `modalities` contains something that is neither text nor speech: the answer shall be an image, or hold one.
    pub image_output: bool,
    /// The largest of `max_tokens`, `max_completion_tokens` and `max_output_tokens`.
    pub max_output_tokens: Option<u64>,
    /// `n`: how many answers.
    pub n: Option<u64>,
    /// `logprobs` or `top_logprobs` is there and neither null nor false.
    pub logprobs: bool,
    /// `seed` is there and not null.
    pub seed: bool,
    /// Whether the model shall think.
    pub reasoning: Reasoning,
    /// The conversation has thinking that its provider signed or encrypted: a `thinking` block with a `signature`,
    /// a `redacted_thinking` block, `encrypted_content`, `thought_signature`, or `reasoning_details` with `data` or a
    /// `signature`. Only the provider that made it can read it.
    pub sealed_reasoning: bool,
    /// What it refers to that lives at one provider's account.
    pub state: StateSet,
    /// `store`, when it is a boolean. What its absence means depends on the endpoint: Responses are stored then,
    /// chat completions are not.
    pub store: Option<bool>,
    /// What may keep requests of the same origin together.
    pub affinity: Affinity,
    /// Messages, input items or prompts; a plain string is one.
    pub items: u32,
    /// The length of the body.
    pub body_bytes: u64,
    /// Decoded bytes of all string values but those of `media_bytes`. Keys do not count, members that a later
    /// duplicate overrides do.
    pub text_bytes: u64,
    /// Decoded bytes of the strings that carry or name media: `image_url`, `input_audio`, `file`, `file_data`, and
    /// `source` unless its type is `text`. They say little about tokens.
    pub media_bytes: u64,
    /// Prompt or input tokens given as numbers (completions and embeddings take them so).
    pub token_ids: u64,
}

/// The top-level `model`; of several the last.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ModelField {
    /// There is none.
    #[default]
    Absent,
    /// A name.
    Text {
        /// The decoded name, at most [`MAX_KEPT_BYTES`](super::MAX_KEPT_BYTES) long; it may be empty.
        value: String,
    },
    /// It is no string, or a string that means no text (bad UTF-8, half a surrogate pair).
    NotText,
    /// It is longer than [`MAX_KEPT_BYTES`](super::MAX_KEPT_BYTES).
    TooLong,
}

/// What a request wants of tools.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ToolNeeds {
    /// The length of `tools`.
    pub count: u32,
    /// Something runs at the provider: a tool whose `type` is neither `function` nor `custom`, `mcp_servers`, or
    /// `web_search_options`.
    pub hosted: bool,
    /// A tool, or its `function`, has `strict: true`.
    pub strict: bool,
    /// `tool_choice`.
    pub choice: ToolChoice,
    /// `parallel_tool_calls`, or the opposite of `tool_choice.disable_parallel_tool_use`, when it is a boolean.
    pub parallel: Option<bool>,
    /// The old `functions` is there, neither null nor an empty array.
    pub legacy_functions: bool,
}

/// Whether the model is told to use a tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ToolChoice {
    /// `tool_choice` is absent, null, `none` or `auto`, as a string or as an object's `type`.
    #[default]
    Free,
    /// It is anything else.
    Forced,
}

/// The form the answer's text must have, from `response_format`, `text.format`, `output_format` and
/// `output_config.format`. Of several the strictest, which is the greatest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum OutputFormat {
    /// Any text.
    #[default]
    Text,
    /// `json_object`: some JSON.
    JsonObject,
    /// `json_schema`: JSON by a schema.
    JsonSchema,
    /// A type not known here.
    Other,
}

/// How many parts are not text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MediaParts {
    /// `image_url`, `input_image`, `image`, `computer_screenshot`.
    pub images: u32,
    /// `input_audio`, `audio`.
    pub audio: u32,
    /// `file`, `input_file`, `document`, `container_upload`, and videos.
    pub files: u32,
}

/// Whether the model shall think before it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reasoning {
    /// It is not asked to: nothing said, or `reasoning_effort: "none"`, `reasoning.effort: "none"`,
    /// `reasoning.enabled: false`, `thinking.type: "disabled"`.
    #[default]
    NotAsked,
    /// One of `reasoning_effort`, `reasoning` and `thinking` asks for it, or says something not known here.
    Asked,
}

/// A kind of thing that lives at one provider's account, so that a request which refers to it cannot go elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StateKind {
    /// `previous_response_id`
    PreviousResponse,
    /// `conversation`
    Conversation,
    /// `background: true`: the answer is fetched later.
    Background,
    /// A `file_id` in a part, or `file_ids` or `vector_store_ids` of a tool.
    File,
    /// `cached_content`, also as `extra_body.google.cached_content`.
    CachedContent,
    /// An item that the provider kept: `item_reference`, the `id` of an earlier answer's audio, a `prompt` by `id`.
    StoredItem,
    /// A `container` that code ran in before.
    Container,
}

impl StateKind {
    /// Every kind, in the order of the documentation.
    pub const ALL: [Self; 7] = [
        Self::PreviousResponse,
        Self::Conversation,
        Self::Background,
        Self::File,
        Self::CachedContent,
        Self::StoredItem,
        Self::Container,
    ];

    /// The name used in records and refusals.
    pub const fn name(self) -> &'static str {
        match self {
            Self::PreviousResponse => "previous_response",
            Self::Conversation => "conversation",
            Self::Background => "background",
            Self::File => "file",
            Self::CachedContent => "cached_content",
            Self::StoredItem => "stored_item",
            Self::Container => "container",
        }
    }
}

/// A set of kinds of state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StateSet(u8);

impl StateSet {
    /// The set of exactly these.
    pub fn of(kinds: &[StateKind]) -> Self {
        kinds.iter().fold(Self::default(), |set, kind| set.with(*kind, true))
    }

    /// Whether `kind` is in the set.
    pub const fn contains(self, kind: StateKind) -> bool {
        self.0 & (1 << kind as u8) != 0
    }

    /// Whether nothing is in the set.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// What is in either.
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Its kinds, in the order of the documentation.
    pub fn kinds(self) -> impl Iterator<Item = StateKind> {
        StateKind::ALL.into_iter().filter(move |kind| self.contains(*kind))
    }

    pub(super) const fn with(self, kind: StateKind, present: bool) -> Self {
        let bit = 1 << kind as u8;
        Self(if present { self.0 | bit } else { self.0 & !bit })
    }
}

/// Hashes (FNV-1a, 64 bits, of the decoded text, of the conversation of the hashes of its texts) by which requests of the same origin can be kept together. Empty
/// strings have none. They are for choosing among targets and nothing else: FNV resists no one who wants a collision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Affinity {
    /// Of `prompt_cache_key`.
    pub prompt_cache_key: Option<u64>,
    /// Of `user`.
    pub user: Option<u64>,
    /// Of `metadata.user_id`.
    pub metadata_user: Option<u64>,
    /// Of how the conversation begins: the text of `system` or `instructions`, and of the turns up to the first one of the
    /// user. It stays the same as the conversation grows. Of each text the first
    /// [`MAX_OPENING_BYTES`](super::MAX_OPENING_BYTES) count, and no more than [`MAX_OPENING_TEXTS`](super::MAX_OPENING_TEXTS)
    /// texts.
    pub conversation: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_set_holds_what_was_put_in_and_nothing_else() {
        let set = StateSet::of(&[StateKind::Conversation, StateKind::Container]);
        assert_eq!(set.kinds().collect::<Vec<_>>(), [StateKind::Conversation, StateKind::Container]);
        assert!(set.with(StateKind::Container, false).with(StateKind::Conversation, false).is_empty());
    }

    #[test]
    fn every_kind_of_state_has_its_own_bit_and_name() {
        for (index, kind) in StateKind::ALL.into_iter().enumerate() {
            assert_eq!(StateSet::of(&[kind]).kinds().collect::<Vec<_>>(), [kind]);
            assert!(StateKind::ALL.iter().skip(index + 1).all(|other| other.name() != kind.name()));
        }
    }
}
