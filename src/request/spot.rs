//! The places in a body that have a meaning, and how keys lead from one place to the next.
//!
//! One table serves all endpoints: OpenAI's chat, responses, completions and embeddings, Anthropic's
//! messages, and the additions of Gemini and OpenRouter.

/// The meaning of a value by its place. A value at [`Spot::Other`], and everything in it, has no meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spot {
    Other,
    Root,
    Model,
    Stream,
    StreamOptions,
    IncludeUsage,
    Tools,
    Tool,
    ToolType,
    ToolStrict,
    ToolFunction,
    ToolFunctionStrict,
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
    Thinking,
    ThinkingType,
    PreviousResponse,
    Conversation,
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
    FileId,
    /// A value that only the provider that created it can read.
    Sealed,
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
            (Self::Root, _) => Self::of_root(key),
            (Self::Part, _) => Self::of_part(key),
            (Self::StreamOptions, b"include_usage") => Self::IncludeUsage,
            (Self::Tool, b"type") => Self::ToolType,
            (Self::Tool, b"strict") => Self::ToolStrict,
            (Self::Tool, b"function") => Self::ToolFunction,
            (Self::Tool, b"container") => Self::ToolContainer,
            (Self::Tool, b"vector_store_ids") | (Self::ToolContainer, b"file_ids") => Self::ToolFiles,
            (Self::ToolFunction, b"strict") => Self::ToolFunctionStrict,
            (Self::ToolChoice, b"type") => Self::ToolChoiceType,
            (Self::ToolChoice, b"disable_parallel_tool_use") => Self::DisableParallel,
            (Self::TextOptions, b"format") => Self::Format(FormatKey::Text),
            (Self::OutputConfig, b"format") => Self::Format(FormatKey::OutputConfig),
            (Self::Format(format), b"type") => Self::FormatType(format),
            (Self::Reasoning, b"effort") => Self::ReasoningInnerEffort,
            (Self::Reasoning, b"enabled") => Self::ReasoningEnabled,
            (Self::Thinking, b"type") => Self::ThinkingType,
            (Self::ExtraBody, b"google") => Self::Google,
            (Self::Google, b"cached_content") => Self::GoogleCachedContent,
            (Self::Metadata, b"user_id") => Self::MetadataUser,
            (Self::Turns(TurnsKey::Prompt) | Self::EarlierAudio, b"id") => Self::StoredId,
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

    fn of_root(key: &[u8]) -> Self {
        match key {
            b"model" => Self::Model,
            b"stream" => Self::Stream,
            b"stream_options" => Self::StreamOptions,
            b"messages" => Self::Turns(TurnsKey::Messages),
            b"input" => Self::Turns(TurnsKey::Input),
            b"prompt" => Self::Turns(TurnsKey::Prompt),
            b"system" => Self::Turns(TurnsKey::System),
            b"instructions" => Self::Turns(TurnsKey::Instructions),
            b"tools" => Self::Tools,
            b"tool_choice" => Self::ToolChoice,
            b"parallel_tool_calls" => Self::ParallelToolCalls,
            b"mcp_servers" => Self::McpServers,
            b"web_search_options" => Self::WebSearchOptions,
            b"functions" => Self::Functions,
            b"response_format" => Self::Format(FormatKey::ResponseFormat),
            b"output_format" => Self::Format(FormatKey::OutputFormat),
            b"output_config" => Self::OutputConfig,
            b"text" => Self::TextOptions,
            b"modalities" => Self::Modalities,
            b"max_tokens" => Self::OutputTokens(TokensKey::Any),
            b"max_completion_tokens" => Self::OutputTokens(TokensKey::Completion),
            b"max_output_tokens" => Self::OutputTokens(TokensKey::Output),
            b"n" => Self::N,
            b"logprobs" => Self::Logprobs,
            b"top_logprobs" => Self::TopLogprobs,
            b"seed" => Self::Seed,
            b"reasoning_effort" => Self::ReasoningEffort,
            b"reasoning" => Self::Reasoning,
            b"thinking" => Self::Thinking,
            b"previous_response_id" => Self::PreviousResponse,
            b"conversation" => Self::Conversation,
            b"background" => Self::Background,
            b"container" => Self::Container,
            b"cached_content" => Self::CachedContent,
            b"extra_body" => Self::ExtraBody,
            b"store" => Self::Store,
            b"user" => Self::User,
            b"prompt_cache_key" => Self::PromptCacheKey,
            b"metadata" => Self::Metadata,
            _ => Self::Other,
        }
    }

    fn of_part(key: &[u8]) -> Self {
        match key {
            b"type" => Self::PartType,
            b"text" => Self::PartText,
            b"role" => Self::PartRole,
            b"content" | b"output" => Self::Part,
            b"image_url" | b"input_audio" | b"audio_url" | b"file" | b"file_data" | b"video_url" => {
                Self::Media
            }
            b"source" => Self::Source,
            b"file_id" => Self::FileId,
            b"audio" => Self::EarlierAudio,
            b"signature" => Self::PartSignature,
            b"encrypted_content" | b"thought_signature" => Self::Sealed,
            b"reasoning_details" => Self::ReasoningDetails,
            b"tool_calls" | b"extra_content" => Self::ToolCalls,
            _ => Self::Other,
        }
    }
}
