//! What a request asks for, as far as routing needs it.

use super::references::References;
use super::token::Span;
use super::usage_spots::UsageSpots;
use crate::base::{Few, ShortText};

/// The result of one scan of a body.
///
/// If an object has a member twice, the last one counts, as in serde_json. Below the top level this holds for
/// single values, but not for the content of larger parts: of two `content` members in one message, both are
/// counted. So an odd body may seem to need more than it does, but never less.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Facts {
    /// The top-level `model`.
    pub model: ModelField,
    /// The values of all top-level `model` members, including quotes, in the order of the body; at most
    /// [`MAX_MODEL_MEMBERS`](super::MAX_MODEL_MEMBERS).
    pub model_spans: Few<Span, 1>,
    /// What it chooses at a provider that is a router itself.
    pub routing: OwnRouting,
    /// `stream` is `true`.
    pub stream: bool,
    /// `stream_options.include_usage` is `true`.
    pub include_usage: bool,
    /// The changes that would make it `true`.
    pub usage_spots: UsageSpots,
    /// What it needs of tools.
    pub tools: ToolNeeds,
    /// The required format of the output text.
    pub output: OutputFormat,
    /// Parts of the conversation that are not text, including those in tool results.
    pub media: MediaParts,
    /// `modalities` contains `"audio"`: spoken output is requested.
    pub audio_output: bool,
    /// `modalities` contains something other than text and audio: image output is requested.
    pub image_output: bool,
    /// The largest of `max_tokens`, `max_completion_tokens` and `max_output_tokens`.
    pub max_output_tokens: Option<u64>,
    /// `n`: the number of choices.
    pub n: Option<u64>,
    /// `logprobs` or `top_logprobs` is present and neither null nor false.
    pub logprobs: bool,
    /// `seed` is present and not null.
    pub seed: bool,
    /// Whether reasoning is requested.
    pub reasoning: Reasoning,
    /// The conversation has reasoning that its provider signed or encrypted: a `thinking` block with a
    /// `signature`, a `redacted_thinking` block, `encrypted_content`, `thought_signature`, or
    /// `reasoning_details` with `data` or a `signature`. Only the provider that created it can read it.
    pub sealed_reasoning: bool,
    /// The state at one provider's account that it refers to.
    pub state: StateSet,
    /// What its references to state are, if they were noted.
    pub references: Option<Box<References>>,
    /// `store`, if it is a boolean. Its default depends on the endpoint: Responses are stored, chat
    /// completions are not.
    pub store: Option<bool>,
    /// Hashes that can keep requests of the same origin together.
    pub affinity: Affinity,
    /// The number of messages, input items or prompts; a plain string is one.
    pub items: u32,
    /// The length of the body.
    pub body_bytes: u64,
    /// Decoded bytes of all string values except those in `media_bytes`. Keys do not count. Members that a
    /// later duplicate overrides do count.
    pub text_bytes: u64,
    /// Decoded bytes of the strings that contain or name media: `image_url`, `input_audio`, `file`,
    /// `file_data`, and `source` unless its type is `text`. They are a poor estimate of tokens.
    pub media_bytes: u64,
    /// The number of prompt or input tokens given as numbers, which completions and embeddings accept.
    pub token_ids: u64,
}

/// What a request chooses at a provider that is a router itself, such as OpenRouter. Null and what is empty choose
/// nothing. A member counts even if a later duplicate is empty, because parsers differ in which one they take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OwnRouting {
    /// Models that may answer instead: `models`, `fallbacks`, `fallback_models`, `route`, `preset`.
    pub models: bool,
    /// The companies that may run the model: `provider`.
    pub hosts: bool,
}

/// The top-level `model`. If there are several, the last.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ModelField {
    /// The body has no model.
    #[default]
    Absent,
    /// A name.
    Text {
        /// The decoded name, at most [`MAX_KEPT_BYTES`](super::MAX_KEPT_BYTES) long; it may be empty.
        value: ShortText,
    },
    /// Not a string, or a string that cannot be decoded (invalid UTF-8, half a surrogate pair).
    NotText,
    /// A string longer than [`MAX_KEPT_BYTES`](super::MAX_KEPT_BYTES).
    TooLong,
}

/// What a request needs of tools.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ToolNeeds {
    /// The number of `tools`.
    pub count: u32,
    /// Tools run at the provider: a tool whose `type` is not that of one that runs at the client, `mcp_servers`,
    /// or `web_search_options`.
    pub hosted: bool,
    /// A tool, or its `function`, has `strict: true`.
    pub strict: bool,
    /// `tool_choice`.
    pub choice: ToolChoice,
    /// `parallel_tool_calls`, or the opposite of `tool_choice.disable_parallel_tool_use`, if it is a boolean.
    pub parallel: Option<bool>,
    /// The deprecated `functions` is present and neither null nor an empty array.
    pub legacy_functions: bool,
}

/// Whether the request forces a tool call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ToolChoice {
    /// `tool_choice` is absent, null, `none` or `auto`, as a string or as an object's `type`.
    #[default]
    Free,
    /// Anything else.
    Forced,
}

/// The required format of the output text, from `response_format`, `text.format`, `output_format` and
/// `output_config.format`. If there are several, the strictest, which is the greatest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum OutputFormat {
    /// Any text.
    #[default]
    Text,
    /// `json_object`: any JSON object.
    JsonObject,
    /// `json_schema`: JSON that follows a schema.
    JsonSchema,
    /// An unknown type.
    Other,
}

/// The number of parts that are not text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MediaParts {
    /// `image_url`, `input_image`, `image`, `computer_screenshot`.
    pub images: u32,
    /// `input_audio`, `audio`.
    pub audio: u32,
    /// `file`, `input_file`, `document`, `container_upload`, and videos.
    pub files: u32,
}

/// Whether the request asks the model to reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reasoning {
    /// Absent, without a member that is set, or switched off by `reasoning_effort: "none"`, `reasoning.effort:
    /// "none"`, `reasoning.enabled: false` or `thinking.type: "disabled"`.
    #[default]
    NotAsked,
    /// `reasoning_effort`, `reasoning` or `thinking` asks for it or has an unknown value.
    Asked,
}

/// A kind of state that exists only at one provider's account. A request that refers to it cannot go to
/// another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StateKind {
    /// `previous_response_id`
    PreviousResponse,
    /// `conversation`
    Conversation,
    /// `background: true`: the response is fetched later.
    Background,
    /// A `file_id` in a part, or `file_ids` or `vector_store_ids` of a tool.
    File,
    /// `cached_content`, also as `extra_body.google.cached_content`.
    CachedContent,
    /// An item that the provider stored: `item_reference`, the `id` of an earlier response's audio, a
    /// `prompt` by `id`.
    StoredItem,
    /// A `container` in which code ran earlier.
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

    /// Its name in records and errors.
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
    /// The set of all kinds.
    pub const ALL: Self = Self((1 << StateKind::ALL.len()) - 1);

    /// The set of these kinds.
    pub fn of(kinds: &[StateKind]) -> Self {
        kinds.iter().fold(Self::default(), |set, kind| set.with(*kind, true))
    }

    /// Whether `kind` is in the set.
    pub const fn contains(self, kind: StateKind) -> bool {
        self.0 & (1 << kind as u8) != 0
    }

    /// Whether the set is empty.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The union of both sets.
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

/// Hashes that can keep requests of the same origin together: FNV-1a, 64 bits, of the decoded text; for the
/// conversation, of the hashes of its texts. Empty strings have no hash. Use them only to choose among
/// targets, because FNV is not collision-resistant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Affinity {
    /// Of `prompt_cache_key`.
    pub prompt_cache_key: Option<u64>,
    /// Of `user`.
    pub user: Option<u64>,
    /// Of `metadata.user_id`.
    pub metadata_user: Option<u64>,
    /// Of the beginning of the conversation: the text of `system` or `instructions` and of the turns up to
    /// the user's first one. It does not change as the conversation grows. Of each text the first
    /// [`MAX_OPENING_BYTES`](super::MAX_OPENING_BYTES) count, and at most
    /// [`MAX_OPENING_TEXTS`](super::MAX_OPENING_TEXTS) texts.
    pub conversation: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_set_contains_exactly_its_kinds() {
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
