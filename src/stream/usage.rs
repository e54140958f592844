//! Token counts: how each dialect reports them, and their common sense.

use crate::base::json::{Json, Read};

/// The most tokens of one kind that a response is believed to have taken. Sums of them never overflow.
pub const MAX_TOKENS: u64 = 1_000_000_000;

/// The tokens that a response reports, in the sense of the OpenTelemetry GenAI conventions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Input tokens, including those read from and written to a prompt cache.
    pub input: u64,
    /// Input tokens read from a prompt cache.
    pub cached_input: u64,
    /// Input tokens written to a prompt cache.
    pub cache_creation: u64,
    /// Output tokens, including reasoning.
    pub output: u64,
    /// Output tokens spent on reasoning, if the provider reports them.
    pub reasoning: u64,
}

impl Usage {
    /// Whether any output was spent.
    pub const fn is_paid(&self) -> bool {
        self.output > 0 || self.reasoning > 0
    }
}

/// How the counts of a dialect add up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sums {
    /// OpenAI's: input and output are totals.
    Totals,
    /// Anthropic's: `input_tokens` excludes tokens read from and written to the cache.
    InputWithoutCache,
    /// Gemini's: candidates exclude thoughts, the prompt excludes tool results.
    OutputWithoutReasoning,
}

/// The last reported counts. Later reports are cumulative in every dialect but need not repeat earlier ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Counts {
    input: Option<u64>,
    tool_input: Option<u64>,
    cached_input: Option<u64>,
    cache_creation: Option<u64>,
    output: Option<u64>,
    reasoning: Option<u64>,
}

/// One of the counts, independent of its name in a dialect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Count {
    Input,
    ToolInput,
    CachedInput,
    CacheCreation,
    Output,
    Reasoning,
}

impl Count {
    /// The count of a member of OpenAI's `usage`, by its name in chat or responses.
    pub(super) fn openai(key: &[u8]) -> Option<Self> {
        match key {
            b"prompt_tokens" | b"input_tokens" => Some(Self::Input),
            b"completion_tokens" | b"output_tokens" => Some(Self::Output),
            _ => None,
        }
    }

    /// The count of a member of OpenAI's details. Input and output details share no name.
    pub(super) fn openai_detail(key: &[u8]) -> Option<Self> {
        match key {
            b"cached_tokens" => Some(Self::CachedInput),
            b"cache_write_tokens" | b"cache_creation_tokens" => Some(Self::CacheCreation),
            b"reasoning_tokens" => Some(Self::Reasoning),
            _ => None,
        }
    }

    /// Whether a member of OpenAI's `usage` holds details.
    pub(super) fn is_openai_details(key: &[u8]) -> bool {
        matches!(
            key,
            b"prompt_tokens_details"
                | b"input_tokens_details"
                | b"completion_tokens_details"
                | b"output_tokens_details"
        )
    }

    /// The count of a member of Anthropic's `usage`.
    pub(super) fn anthropic(key: &[u8]) -> Option<Self> {
        match key {
            b"input_tokens" => Some(Self::Input),
            b"cache_read_input_tokens" => Some(Self::CachedInput),
            b"cache_creation_input_tokens" => Some(Self::CacheCreation),
            b"output_tokens" => Some(Self::Output),
            _ => None,
        }
    }

    /// The count of a member of Gemini's `usageMetadata`.
    pub(super) fn gemini(key: &[u8]) -> Option<Self> {
        match key {
            b"promptTokenCount" => Some(Self::Input),
            b"toolUsePromptTokenCount" => Some(Self::ToolInput),
            b"cachedContentTokenCount" => Some(Self::CachedInput),
            b"candidatesTokenCount" => Some(Self::Output),
            b"thoughtsTokenCount" => Some(Self::Reasoning),
            _ => None,
        }
    }
}

impl Counts {
    /// Reads OpenAI's `usage`.
    pub(super) fn read_openai(json: &mut Json<'_>) -> Read<Self> {
        let mut counts = Self::default();
        json.object(|key, json| {
            if Count::is_openai_details(key) {
                json.object(|key, json| counts.read(Count::openai_detail(key), json))?;
                return Ok(());
            }
            counts.read(Count::openai(key), json)
        })?;
        Ok(counts)
    }

    /// Reads Anthropic's `usage`.
    pub(super) fn read_anthropic(json: &mut Json<'_>) -> Read<Self> {
        let mut counts = Self::default();
        json.object(|key, json| counts.read(Count::anthropic(key), json))?;
        Ok(counts)
    }

    /// Reads Gemini's `usageMetadata`.
    pub(super) fn read_gemini(json: &mut Json<'_>) -> Read<Self> {
        let mut counts = Self::default();
        json.object(|key, json| counts.read(Count::gemini(key), json))?;
        Ok(counts)
    }

    fn read(&mut self, count: Option<Count>, json: &mut Json<'_>) -> Read<()> {
        match count {
            Some(count) => self.set(count, json.count()?),
            None => drop(json.value()?),
        }
        Ok(())
    }

    pub(super) const fn set(&mut self, count: Count, value: Option<u64>) {
        match count {
            Count::Input => self.input = value,
            Count::ToolInput => self.tool_input = value,
            Count::CachedInput => self.cached_input = value,
            Count::CacheCreation => self.cache_creation = value,
            Count::Output => self.output = value,
            Count::Reasoning => self.reasoning = value,
        }
    }

    /// Whether anything was counted.
    pub(super) fn any(&self) -> bool {
        *self != Self::default()
    }

    /// Takes over a later report.
    pub(super) fn update(&mut self, later: &Self) {
        self.input = later.input.or(self.input);
        self.tool_input = later.tool_input.or(self.tool_input);
        self.cached_input = later.cached_input.or(self.cached_input);
        self.cache_creation = later.cache_creation.or(self.cache_creation);
        self.output = later.output.or(self.output);
        self.reasoning = later.reasoning.or(self.reasoning);
    }

    /// The counts in the common sense; `None` if nothing was reported.
    pub(super) fn usage(&self, sums: Sums) -> Option<Usage> {
        if !self.any() {
            return None;
        }
        let known = |count: Option<u64>| count.unwrap_or_default().min(MAX_TOKENS);
        let mut usage = Usage {
            input: known(self.input).saturating_add(known(self.tool_input)),
            cached_input: known(self.cached_input),
            cache_creation: known(self.cache_creation),
            output: known(self.output),
            reasoning: known(self.reasoning),
        };
        match sums {
            Sums::Totals => {}
            Sums::InputWithoutCache => {
                let cache = usage.cached_input.saturating_add(usage.cache_creation);
                usage.input = usage.input.saturating_add(cache);
            }
            Sums::OutputWithoutReasoning => usage.output = usage.output.saturating_add(usage.reasoning),
        }
        Some(usage)
    }
}
