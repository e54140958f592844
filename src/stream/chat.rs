//! OpenAI's chat and legacy completions streams, as sent by OpenAI, Azure, Mistral, OpenRouter, vLLM and many
//! others.

use super::meaning::{Answers, EventFailure, Meaning, Reading};
use crate::base::FinishReason;
use crate::base::json::{Json, Read, is_filled};
use crate::base::usage::Counts;

/// What one chunk contains.
#[derive(Default)]
struct Chunk<'e> {
    error: Option<&'e [u8]>,
    is_error_object: bool,
    /// Number of choices; `None` without the member.
    choices: Option<usize>,
    content: bool,
    finish: Option<FinishReason>,
    answers: Answers,
    usage: Option<Counts>,
    members: usize,
}

/// Reads one event's data. `[DONE]`, which is not JSON, was handled before.
pub(super) fn read(data: &[u8]) -> Read<Reading<'_>> {
    let mut chunk = Chunk::default();
    let is_object = Json::read_object(data, |key, json| chunk.read_member(key, json))?;
    if chunk.is_error_object && chunk.error.is_none() {
        chunk.error = Some(data);
    }
    let meaning = if is_object { chunk.meaning() } else { Meaning::Unknown };
    let Chunk { usage, finish, answers, .. } = chunk;
    Ok(Reading { meaning, usage, finish, answers, has_answer: false })
}

impl<'e> Chunk<'e> {
    fn read_member(&mut self, key: &[u8], json: &mut Json<'e>) -> Read<()> {
        self.members += 1;
        match key {
            b"choices" => self.choices = json.array(|json| self.read_choice(json))?,
            b"error" => self.read_error(json)?,
            // Errors of Mistral and of older vLLM are flat.
            b"object" => self.is_error_object = json.value()? == br#""error""#,
            b"usage" => self.read_usage(json)?,
            // Groq's, in the last chunk.
            b"x_groq" => self.read_inner_usage(json)?,
            _ => drop(json.value()?),
        }
        Ok(())
    }

    fn read_usage(&mut self, json: &mut Json<'e>) -> Read<()> {
        let counts = Counts::read_openai(json)?;
        if counts.any() {
            self.usage.get_or_insert_default().update(&counts);
        }
        Ok(())
    }

    fn read_inner_usage(&mut self, json: &mut Json<'e>) -> Read<()> {
        json.object(|key, json| match key {
            b"usage" => self.read_usage(json),
            _ => json.value().map(drop),
        })?;
        Ok(())
    }

    fn read_choice(&mut self, json: &mut Json<'e>) -> Read<()> {
        let mut index = 0;
        let mut finish = None;
        json.object(|key, json| {
            match key {
                // `message` comes from servers that answer a streaming request in one piece.
                b"delta" | b"message" => self.read_delta(json)?,
                b"text" => self.content |= json.filled()?,
                b"logprobs" => self.read_logprobs(json)?,
                b"finish_reason" => {
                    finish = json.text()?.and_then(FinishReason::from_wire);
                }
                b"index" => index = json.count()?.unwrap_or_default(),
                b"error" => self.read_error(json)?,
                // Moonshot's, in the last chunk.
                b"usage" => self.read_usage(json)?,
                _ => drop(json.value()?),
            }
            Ok(())
        })?;
        self.answers.add(Answers::at(index, finish.is_some()));
        self.finish = finish.or(self.finish);
        Ok(())
    }

    /// Servers add members of their own (`reasoning`, `reasoning_content`, `images`, …). So any filled member
    /// is content, except those that only name the speaker.
    fn read_delta(&mut self, json: &mut Json<'e>) -> Read<()> {
        json.object(|key, json| {
            match key {
                b"role" | b"name" => drop(json.value()?),
                _ => self.content |= json.filled()?,
            }
            Ok(())
        })?;
        Ok(())
    }

    /// Some answers consist of nothing else. Its members are lists.
    fn read_logprobs(&mut self, json: &mut Json<'e>) -> Read<()> {
        json.object(|_, json| {
            self.content |= json.filled()?;
            Ok(())
        })?;
        Ok(())
    }

    fn read_error(&mut self, json: &mut Json<'e>) -> Read<()> {
        let raw = json.value()?;
        if is_filled(raw) {
            self.error = Some(raw);
        }
        Ok(())
    }

    fn meaning(&self) -> Meaning<'e> {
        if let Some(error) = self.error {
            return Meaning::Failed(EventFailure::Error(error));
        }
        match (self.finish, self.choices) {
            (Some(FinishReason::Error), _) => Meaning::Failed(EventFailure::FinishedInError),
            (Some(_), _) => Meaning::Finished { with_content: self.content },
            (None, Some(0) | None) if self.usage.is_some() => Meaning::UsageOnly,
            (None, Some(_)) if self.content => Meaning::Content,
            (None, Some(_)) => Meaning::Empty,
            (None, None) if self.members == 0 => Meaning::Empty,
            (None, None) => Meaning::Unknown,
        }
    }
}
