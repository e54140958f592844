use super::json::{Json, Read};

/// The tokens a stream says it took, in one sense for all dialects (the GenAI conventions').
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Input tokens, those read from and written to a prompt cache included.
    pub input: u64,
    /// Input tokens read from a prompt cache.
    pub cached_input: u64,
    /// Input tokens written to a prompt cache.
    pub cache_creation: u64,
    /// Output tokens, reasoning included.
    pub output: u64,
    /// Output tokens spent on reasoning, where the provider says.
    pub reasoning: u64,
}

/// How a dialect's counts add up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sums {
    /// OpenAI's: input and output are totals.
    Totals,
    /// Anthropic's: `input_tokens` leaves out what the cache was read and written for.
    InputWithoutCache,
    /// Gemini's: candidates leave out the thoughts, the prompt leaves out what tools put in.
    OutputWithoutReasoning,
}

/// The counts as the wire has them, each the last that was reported: later reports are cumulative in every dialect, but
/// need not repeat what earlier ones said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Counts {
    input: Option<u64>,
    tool_input: Option<u64>,
    cached_input: Option<u64>,
    cache_creation: Option<u64>,
    output: Option<u64>,
    reasoning: Option<u64>,
}

impl Counts {
    /// Reads OpenAI's `usage`, by the names of either chat or responses.
    pub(super) fn read_openai(json: &mut Json<'_>) -> Read<Self> {
        let mut counts = Self::default();
        json.object(|key, json| {
            match key {
                b"prompt_tokens" | b"input_tokens" => counts.input = json.count()?,
                b"completion_tokens" | b"output_tokens" => counts.output = json.count()?,
                b"prompt_tokens_details" | b"input_tokens_details" => {
                    json.object(|key, json| {
                        match key {
                            b"cached_tokens" => counts.cached_input = json.count()?,
                            b"cache_write_tokens" | b"cache_creation_tokens" => {
                                counts.cache_creation = json.count()?;
                            }
                            _ => drop(json.value()?),
                        }
                        Ok(())
                    })?;
                }
                b"completion_tokens_details" | b"output_tokens_details" => {
                    json.object(|key, json| {
                        match key {
                            b"reasoning_tokens" => counts.reasoning = json.count()?,
                            _ => drop(json.value()?),
                        }
                        Ok(())
                    })?;
                }
                _ => drop(json.value()?),
            }
            Ok(())
        })?;
        Ok(counts)
    }

    /// Reads Anthropic's `usage`.
    pub(super) fn read_anthropic(json: &mut Json<'_>) -> Read<Self> {
        let mut counts = Self::default();
        json.object(|key, json| {
            match key {
                b"input_tokens" => counts.input = json.count()?,
                b"cache_read_input_tokens" => counts.cached_input = json.count()?,
                b"cache_creation_input_tokens" => counts.cache_creation = json.count()?,
                b"output_tokens" => counts.output = json.count()?,
                _ => drop(json.value()?),
            }
            Ok(())
        })?;
        Ok(counts)
    }

    /// Reads Gemini's `usageMetadata`.
    pub(super) fn read_gemini(json: &mut Json<'_>) -> Read<Self> {
        let mut counts = Self::default();
        json.object(|key, json| {
            match key {
                b"promptTokenCount" => counts.input = json.count()?,
                b"toolUsePromptTokenCount" => counts.tool_input = json.count()?,
                b"cachedContentTokenCount" => counts.cached_input = json.count()?,
                b"candidatesTokenCount" => counts.output = json.count()?,
                b"thoughtsTokenCount" => counts.reasoning = json.count()?,
                _ => drop(json.value()?),
            }
            Ok(())
        })?;
        Ok(counts)
    }

    /// Whether anything was counted.
    pub(super) fn any(&self) -> bool {
        *self != Self::default()
    }

    /// Takes over what a later report says.
    pub(super) fn update(&mut self, later: &Self) {
        self.input = later.input.or(self.input);
        self.tool_input = later.tool_input.or(self.tool_input);
        self.cached_input = later.cached_input.or(self.cached_input);
        self.cache_creation = later.cache_creation.or(self.cache_creation);
        self.output = later.output.or(self.output);
        self.reasoning = later.reasoning.or(self.reasoning);
    }

    /// The counts in the common sense; `None` when nothing was reported.
    pub(super) fn usage(&self, sums: Sums) -> Option<Usage> {
        if !self.any() {
            return None;
        }
        let known = Option::unwrap_or_default;
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
