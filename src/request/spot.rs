//! The places in a body that have a meaning, and how keys lead from one place to the next.
//!
//! One table serves all endpoints: OpenAI's chat, responses, completions and embeddings, Anthropic's
//! messages, and the additions of Gemini and OpenRouter.

use crate::base::Names;

/// The meaning of a value by its place. A value at [`Spot::Other`], and everything in it, has no meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Spot {
    #[default]
    Other,
    Root,
    Model,
    /// `Model`, `MODEL`: a server that ignores case could take it for `model`.
    ModelInOtherCase,
    /// A member by which the request chooses at a provider that is a router itself.
    Routing(RoutingKey),
    /// An element or member of it.
    RoutingItem(RoutingKey),
    Stream,
    StreamOptions,
    IncludeUsage,
    Tools,
    Tool,
    ToolType,
    ToolStrict,
    ToolFunction,
    ToolFunctionStrict,
    /// Where a client's tool runs: `execution`.
    ToolExecution,
    /// Where a shell runs.
    ToolEnvironment,
    ToolEnvironmentType,
    ToolContainer,
    /// A list of ids of files at the account.
    ToolFiles,
    ToolFile,
    ToolChoice,
    ToolChoiceType,
    DisableParallel,
    ParallelToolCalls,
    WebSearchOptions,
    McpServers,
    McpServer,
    Functions,
    Function,
    TextOptions,
    OutputConfig,
    Format(FormatKey),
    FormatType(FormatKey),
    Modalities,
    Modality,
    OutputTokens(TokensKey),
    N,
    Logprobs,
    TopLogprobs,
    Seed,
    ReasoningEffort,
    Reasoning,
    ReasoningInnerEffort,
    ReasoningEnabled,
    /// Any other member of `reasoning`.
    ReasoningOther,
    Thinking,
    ThinkingType,
    /// Any other member of `thinking`.
    ThinkingOther,
    PreviousResponse,
    Conversation,
    ConversationId,
    Background,
    Container,
    CachedContent,
    ExtraBody,
    Google,
    GoogleCachedContent,
    Store,
    User,
    PromptCacheKey,
    Metadata,
    MetadataUser,
    /// A list of messages, items or prompts, or a single one as a string.
    Turns(TurnsKey),
    /// A message, an item, a content block, or a list of blocks. They can be nested in any way.
    Part,
    PartText,
    PartRole,
    PartType,
    PartSignature,
    PartId,
    FileId,
    /// A value that only the provider that created it can read.
    Sealed,
    /// `encrypted_content`, which in an item of `input` only the account that created it can read.
    Encrypted,
    ReasoningDetails,
    /// A value that may contain a signature at any depth.
    ToolCalls,
    /// The id of something that the provider stores.
    StoredId,
    EarlierAudio,
    /// A string that contains or names media, or a container of such strings.
    Media,
    Source,
    SourceType,
    SourceData,
}

/// What a member chooses at a provider that is a router itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RoutingKey {
    /// Models that may answer instead.
    Models,
    /// The companies that may run the model.
    Hosts,
}

/// The members that hold an output format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FormatKey {
    ResponseFormat,
    Text,
    OutputFormat,
    OutputConfig,
}

/// The members that limit output tokens: `max_tokens`, `max_completion_tokens`, `max_output_tokens`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TokensKey {
    Any,
    Completion,
    Output,
}

/// The top-level members that hold the prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TurnsKey {
    System,
    Instructions,
    Messages,
    Input,
    Prompt,
}

impl TurnsKey {
    /// Whether it holds the system prompt.
    pub(super) const fn is_system(self) -> bool {
        matches!(self, Self::System | Self::Instructions)
    }
}

impl Spot {
    /// The meaning of the member `key` of an object at this place.
    #[inline]
    pub(super) fn member(self, key: &[u8]) -> Self {
        match (self, key) {
            (Self::Root, _) => match IN_ROOT.get(key) {
                Some(spot) => spot,
                None if key.eq_ignore_ascii_case(b"model") => Self::ModelInOtherCase,
                None => Self::Other,
            },
            (Self::Part, _) => IN_PART.get(key).unwrap_or_default(),
            (Self::Routing(kind), _) => Self::RoutingItem(kind),
            (Self::StreamOptions, b"include_usage") => Self::IncludeUsage,
            (Self::Tool, b"type") => Self::ToolType,
            (Self::Tool, b"strict") => Self::ToolStrict,
            (Self::Tool, b"function") => Self::ToolFunction,
            (Self::Tool, b"execution") => Self::ToolExecution,
            (Self::Tool, b"environment") => Self::ToolEnvironment,
            (Self::ToolEnvironment, b"type") => Self::ToolEnvironmentType,
            (Self::Tool, b"container") | (Self::ToolEnvironment, b"container_id") => Self::ToolContainer,
            (Self::Tool, b"vector_store_ids") | (Self::ToolContainer, b"file_ids") => Self::ToolFiles,
            (Self::ToolFunction, b"strict") => Self::ToolFunctionStrict,
            (Self::ToolChoice, b"type") => Self::ToolChoiceType,
            (Self::ToolChoice, b"disable_parallel_tool_use") => Self::DisableParallel,
            (Self::TextOptions, b"format") => Self::Format(FormatKey::Text),
            (Self::OutputConfig, b"format") => Self::Format(FormatKey::OutputConfig),
            (Self::Format(format), b"type") => Self::FormatType(format),
            (Self::Reasoning, b"effort") => Self::ReasoningInnerEffort,
            (Self::Reasoning, b"enabled") => Self::ReasoningEnabled,
            (Self::Reasoning, _) => Self::ReasoningOther,
            (Self::Thinking, b"type") => Self::ThinkingType,
            (Self::Thinking, _) => Self::ThinkingOther,
            (Self::ExtraBody, b"google") => Self::Google,
            (Self::Google, b"cached_content") => Self::GoogleCachedContent,
            (Self::Metadata, b"user_id") => Self::MetadataUser,
            (Self::Turns(TurnsKey::Prompt) | Self::EarlierAudio, b"id") => Self::StoredId,
            (Self::Conversation, b"id") => Self::ConversationId,
            (Self::ReasoningDetails, b"signature" | b"data") => Self::Sealed,
            (Self::ToolCalls, b"thought_signature") => Self::Sealed,
            (Self::ToolCalls, _) => Self::ToolCalls,
            (Self::Media | Self::Source, b"file_id") => Self::FileId,
            (Self::Media, _) | (Self::Source, b"url") => Self::Media,
            (Self::Source, b"type") => Self::SourceType,
            (Self::Source, b"data") => Self::SourceData,
            (Self::Source, b"content") => Self::Part,
            _ => Self::Other,
        }
    }

    /// The meaning of an element of an array at this place.
    #[inline]
    pub(super) const fn element(self) -> Self {
        match self {
            Self::Tools => Self::Tool,
            Self::Routing(kind) => Self::RoutingItem(kind),
            Self::ToolFiles => Self::ToolFile,
            Self::McpServers => Self::McpServer,
            Self::Functions => Self::Function,
            Self::Modalities => Self::Modality,
            Self::Turns(_) | Self::Part => Self::Part,
            Self::ReasoningDetails => Self::ReasoningDetails,
            Self::ToolCalls => Self::ToolCalls,
            Self::Media => Self::Media,
            _ => Self::Other,
        }
    }
}

/// The members of the body's object.
static IN_ROOT: Names<Spot, 128> = Names::new(&[
    (b"model", Spot::Model),
    (b"stream", Spot::Stream),
    (b"stream_options", Spot::StreamOptions),
    (b"messages", Spot::Turns(TurnsKey::Messages)),
    (b"input", Spot::Turns(TurnsKey::Input)),
    (b"prompt", Spot::Turns(TurnsKey::Prompt)),
    (b"system", Spot::Turns(TurnsKey::System)),
    (b"instructions", Spot::Turns(TurnsKey::Instructions)),
    (b"tools", Spot::Tools),
    (b"tool_choice", Spot::ToolChoice),
    (b"parallel_tool_calls", Spot::ParallelToolCalls),
    (b"mcp_servers", Spot::McpServers),
    (b"web_search_options", Spot::WebSearchOptions),
    (b"functions", Spot::Functions),
    (b"response_format", Spot::Format(FormatKey::ResponseFormat)),
    (b"output_format", Spot::Format(FormatKey::OutputFormat)),
    (b"output_config", Spot::OutputConfig),
    (b"text", Spot::TextOptions),
    (b"modalities", Spot::Modalities),
    (b"max_tokens", Spot::OutputTokens(TokensKey::Any)),
    (b"max_completion_tokens", Spot::OutputTokens(TokensKey::Completion)),
    (b"max_output_tokens", Spot::OutputTokens(TokensKey::Output)),
    (b"n", Spot::N),
    (b"logprobs", Spot::Logprobs),
    (b"top_logprobs", Spot::TopLogprobs),
    (b"seed", Spot::Seed),
    (b"reasoning_effort", Spot::ReasoningEffort),
    (b"reasoning", Spot::Reasoning),
    (b"thinking", Spot::Thinking),
    (b"previous_response_id", Spot::PreviousResponse),
    (b"conversation", Spot::Conversation),
    (b"background", Spot::Background),
    (b"container", Spot::Container),
    (b"cached_content", Spot::CachedContent),
    (b"extra_body", Spot::ExtraBody),
    (b"store", Spot::Store),
    (b"user", Spot::User),
    (b"prompt_cache_key", Spot::PromptCacheKey),
    (b"metadata", Spot::Metadata),
    // OpenRouter; `fallbacks` also LiteLLM and Anthropic; `fallback_models` Keywords AI.
    (b"models", Spot::Routing(RoutingKey::Models)),
    (b"fallbacks", Spot::Routing(RoutingKey::Models)),
    (b"fallback_models", Spot::Routing(RoutingKey::Models)),
    (b"route", Spot::Routing(RoutingKey::Models)),
    (b"preset", Spot::Routing(RoutingKey::Models)),
    (b"provider", Spot::Routing(RoutingKey::Hosts)),
]);

/// The members of a message, an item or a content block.
static IN_PART: Names<Spot, 64> = Names::new(&[
    (b"type", Spot::PartType),
    (b"text", Spot::PartText),
    (b"role", Spot::PartRole),
    (b"content", Spot::Part),
    (b"output", Spot::Part),
    (b"image_url", Spot::Media),
    (b"input_audio", Spot::Media),
    (b"audio_url", Spot::Media),
    (b"file", Spot::Media),
    (b"file_data", Spot::Media),
    (b"video_url", Spot::Media),
    (b"source", Spot::Source),
    (b"file_id", Spot::FileId),
    (b"audio", Spot::EarlierAudio),
    (b"signature", Spot::PartSignature),
    (b"id", Spot::PartId),
    (b"encrypted_content", Spot::Encrypted),
    (b"thought_signature", Spot::Sealed),
    (b"reasoning_details", Spot::ReasoningDetails),
    (b"tool_calls", Spot::ToolCalls),
    (b"extra_content", Spot::ToolCalls),
]);
