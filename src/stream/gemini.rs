//! Gemini's `streamGenerateContent?alt=sse`: complete responses in pieces, without a terminal event.

use super::meaning::{Answers, EventFailure, Meaning, Reading};
use crate::base::FinishReason;
use crate::base::json::{Json, Read, is_filled};
use crate::base::usage::Counts;

/// What one chunk contains.
#[derive(Default)]
struct Chunk<'e> {
    error: Option<&'e [u8]>,
    blocked: bool,
    content: bool,
    finish: Option<FinishReason>,
    answers: Answers,
    usage: Option<Counts>,
    members: usize,
    known: bool,
}

/// Reads one event's data.
pub(super) fn read(data: &[u8]) -> Read<Reading<'_>> {
    let mut chunk = Chunk::default();
    let is_object = Json::read_object(data, |key, json| chunk.read_member(key, json))?;
    let meaning = if is_object { chunk.meaning() } else { Meaning::Unknown };
    let Chunk { usage, finish, answers, .. } = chunk;
    Ok(Reading { meaning, usage, finish, answers, has_answer: false })
}

impl<'e> Chunk<'e> {
    fn read_member(&mut self, key: &[u8], json: &mut Json<'e>) -> Read<()> {
        self.members += 1;
        self.known |= matches!(key, b"candidates" | b"usageMetadata" | b"promptFeedback" | b"modelVersion");
        match key {
            b"candidates" => drop(json.array(|json| self.read_candidate(json))?),
            b"error" => self.error = Some(json.value()?).filter(|raw| is_filled(raw)),
            b"usageMetadata" => self.usage = Some(Counts::read_gemini(json)?).filter(Counts::any),
            b"promptFeedback" => {
                json.object(|key, json| {
                    match key {
                        b"blockReason" => {
                            self.blocked |= has_value(json.text()?, b"BLOCK_REASON_UNSPECIFIED")
                        }
                        _ => drop(json.value()?),
                    }
                    Ok(())
                })?;
            }
            _ => drop(json.value()?),
        }
        Ok(())
    }

    fn read_candidate(&mut self, json: &mut Json<'e>) -> Read<()> {
        let mut index = 0;
        let mut finish = None;
        json.object(|key, json| {
            match key {
                b"content" => {
                    json.object(|key, json| {
                        match key {
                            b"parts" => drop(json.array(|json| self.read_part(json))?),
                            _ => drop(json.value()?),
                        }
                        Ok(())
                    })?;
                }
                b"finishReason" => {
                    finish = json
                        .text()?
                        .filter(|name| has_value(Some(name), b"FINISH_REASON_UNSPECIFIED"))
                        .and_then(FinishReason::from_wire);
                }
                b"index" => index = json.count()?.unwrap_or_default(),
                _ => drop(json.value()?),
            }
            Ok(())
        })?;
        self.answers.add(Answers::at(index, finish.is_some()));
        self.finish = finish.or(self.finish);
        Ok(())
    }

    /// Text, a thought, a function call, inline data …: any filled member. (`thought` itself is a boolean.)
    fn read_part(&mut self, json: &mut Json<'e>) -> Read<()> {
        json.object(|_, json| {
            self.content |= json.filled()?;
            Ok(())
        })?;
        Ok(())
    }

    fn meaning(&self) -> Meaning<'e> {
        match (self.error, self.finish) {
            (Some(error), _) => Meaning::Failed(EventFailure::Error(error)),
            (None, _) if self.blocked => Meaning::Failed(EventFailure::PromptBlocked),
            (None, Some(FinishReason::Error)) => Meaning::Failed(EventFailure::FinishedInError),
            (None, Some(_)) => Meaning::Finished { with_content: self.content },
            (None, None) if self.content => Meaning::Content,
            (None, None) if self.known || self.members == 0 => Meaning::Empty,
            (None, None) => Meaning::Unknown,
        }
    }
}

/// Whether an enum member has a value. Protocol buffers have two ways to write its absence.
fn has_value(name: Option<&[u8]>, unspecified: &[u8]) -> bool {
    name.is_some_and(|name| !name.is_empty() && name != unspecified)
}
