//! Token counts: how each dialect reports them, and their common sense.
//!
//! **Providers differ in what their counts include.** Some leave reasoning out of the output or cached tokens
//! out of the input, but nearly all report a correct total. So what the total has in excess of its parts
//! belongs to one of them ([`Usage::add_excess`]).
//!
//! **Streams report more than once.** Reports are cumulative, but a later one may leave counts out or say
//! zero ([`Counts::update`]).

use super::json::{Json, Read};

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
pub enum Sums {
    /// OpenAI's: input and output are totals.
    Totals,
    /// Anthropic's: `input_tokens` excludes tokens read from and written to the cache.
    InputWithoutCache,
    /// Gemini's: candidates exclude thoughts, the prompt excludes tool results.
    OutputWithoutReasoning,
}

/// What has been reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    input: Option<u64>,
    tool_input: Option<u64>,
    cached_input: Option<u64>,
    cache_creation: Option<u64>,
    output: Option<u64>,
    reasoning: Option<u64>,
    total: Option<u64>,
}

/// One of the counts, independent of its name in a dialect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Count {
    /// Input tokens.
    Input,
    /// Tokens of tool results, where the input excludes them.
    ToolInput,
    /// Input tokens read from a prompt cache.
    CachedInput,
    /// Input tokens written to a prompt cache.
    CacheCreation,
    /// Output tokens.
    Output,
    /// Output tokens spent on reasoning.
    Reasoning,
    /// All tokens together.
    Total,
}

impl Count {
    /// The count of a member of OpenAI's `usage`, by its name in chat or responses. Servers that speak this
    /// dialect add counts of their own: DeepSeek `prompt_cache_hit_tokens`, Moonshot `cached_tokens`, relays to
    /// Anthropic those of its cache.
    pub fn openai(key: &[u8]) -> Option<Self> {
        match key {
            b"prompt_tokens" | b"input_tokens" => Some(Self::Input),
            b"completion_tokens" | b"output_tokens" => Some(Self::Output),
            b"total_tokens" => Some(Self::Total),
            b"prompt_cache_hit_tokens" | b"cache_read_input_tokens" => Some(Self::CachedInput),
            b"cache_creation_input_tokens" => Some(Self::CacheCreation),
            _ => Self::detail(key),
        }
    }

    /// The count of a member of the details of a dialect. Input and output details share no name.
    pub fn detail(key: &[u8]) -> Option<Self> {
        match key {
            b"cached_tokens" => Some(Self::CachedInput),
            b"cache_write_tokens" | b"cache_creation_tokens" => Some(Self::CacheCreation),
            b"reasoning_tokens" | b"thinking_tokens" => Some(Self::Reasoning),
            _ => None,
        }
    }

    /// Whether a member of OpenAI's or Anthropic's `usage` holds details.
    pub fn is_details(key: &[u8]) -> bool {
        matches!(
            key,
            b"prompt_tokens_details"
                | b"input_tokens_details"
                | b"completion_tokens_details"
                | b"output_tokens_details"
        )
    }

    /// The count of a member of Anthropic's `usage`.
    pub fn anthropic(key: &[u8]) -> Option<Self> {
        match key {
            b"input_tokens" => Some(Self::Input),
            b"cache_read_input_tokens" => Some(Self::CachedInput),
            b"cache_creation_input_tokens" => Some(Self::CacheCreation),
            b"output_tokens" => Some(Self::Output),
            _ => None,
        }
    }

    /// The count of a member of Gemini's `usageMetadata`.
    pub fn gemini(key: &[u8]) -> Option<Self> {
        match key {
            b"promptTokenCount" => Some(Self::Input),
            b"toolUsePromptTokenCount" => Some(Self::ToolInput),
            b"cachedContentTokenCount" => Some(Self::CachedInput),
            b"candidatesTokenCount" => Some(Self::Output),
            b"thoughtsTokenCount" => Some(Self::Reasoning),
            b"totalTokenCount" => Some(Self::Total),
            _ => None,
        }
    }
}

impl Counts {
    /// Reads OpenAI's `usage`.
    pub fn read_openai(json: &mut Json<'_>) -> Read<Self> {
        Self::read_with_details(Count::openai, json)
    }

    /// Reads Anthropic's `usage`.
    pub fn read_anthropic(json: &mut Json<'_>) -> Read<Self> {
        Self::read_with_details(Count::anthropic, json)
    }

    fn read_with_details(count: impl Fn(&[u8]) -> Option<Count>, json: &mut Json<'_>) -> Read<Self> {
        let mut counts = Self::default();
        json.object(|key, json| {
            if Count::is_details(key) {
                json.object(|key, json| counts.read(Count::detail(key), json))?;
                return Ok(());
            }
            counts.read(count(key), json)
        })?;
        Ok(counts)
    }

    /// Reads Gemini's `usageMetadata`.
    pub fn read_gemini(json: &mut Json<'_>) -> Read<Self> {
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

    /// Takes one count of a report. Some servers report a count under two names, and one of them is zero.
    pub fn set(&mut self, count: Count, value: Option<u64>) {
        let place = match count {
            Count::Input => &mut self.input,
            Count::ToolInput => &mut self.tool_input,
            Count::CachedInput => &mut self.cached_input,
            Count::CacheCreation => &mut self.cache_creation,
            Count::Output => &mut self.output,
            Count::Reasoning => &mut self.reasoning,
            Count::Total => &mut self.total,
        };
        *place = value.max(*place);
    }

    /// Whether anything was counted.
    pub fn any(&self) -> bool {
        *self != Self::default()
    }

    /// Takes over a later report. Reports are cumulative, but a later one need not repeat what an earlier one
    /// said, and some servers fill it with zeros. So the counts of the input are taken over together, if the
    /// report has an input; the counts of the output likewise.
    pub fn update(&mut self, later: &Self) {
        let replaces = |count: Option<u64>| count.is_some_and(|count| count > 0);
        let newer = |later: Option<u64>, earlier: Option<u64>, together: bool| match later {
            Some(0) if !together => earlier.or(later),
            _ => later.or(earlier),
        };
        let input = replaces(later.input);
        self.input = newer(later.input, self.input, input);
        self.tool_input = newer(later.tool_input, self.tool_input, input);
        self.cached_input = newer(later.cached_input, self.cached_input, input);
        self.cache_creation = newer(later.cache_creation, self.cache_creation, input);
        let output = replaces(later.output);
        self.output = newer(later.output, self.output, output);
        self.reasoning = newer(later.reasoning, self.reasoning, output);
        self.total = newer(later.total, self.total, false);
    }

    /// The counts in the common sense; `None` if nothing was reported.
    pub fn usage(&self, sums: Sums) -> Option<Usage> {
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
            Sums::InputWithoutCache => usage.input = usage.input.saturating_add(usage.cache()),
            Sums::OutputWithoutReasoning => usage.output = usage.output.saturating_add(usage.reasoning),
        }
        match known(self.total) {
            // Without a total, reasoning that exceeds the output cannot be part of it.
            0 if usage.reasoning > usage.output => {
                usage.output = usage.output.saturating_add(usage.reasoning);
            }
            total => usage.add_excess(total.saturating_sub(usage.input.saturating_add(usage.output))),
        }
        Some(usage)
    }
}

impl Usage {
    /// The part of the input that has to do with a prompt cache.
    const fn cache(&self) -> u64 {
        self.cached_input.saturating_add(self.cache_creation)
    }

    /// Gives what the total has in excess of input and output to the one that left it out.
    fn add_excess(&mut self, excess: u64) {
        // xAI leaves reasoning out of the output. Google's endpoint for OpenAI's clients leaves thoughts out and
        // does not report them. Relays to Anthropic leave cached tokens out of the input. An embeddings response
        // may have a total only.
        let is_input = self.input == 0 || (excess == self.cache() && excess != self.reasoning);
        let part = if is_input { &mut self.input } else { &mut self.output };
        *part = part.saturating_add(excess);
    }
}
