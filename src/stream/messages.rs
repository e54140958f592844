//! Anthropic's messages stream: typed events around content blocks.

use super::event::{Event, Form};
use super::meaning::{EventFailure, Meaning, Reading, Terminal};
use crate::base::FinishReason;
use crate::base::json::{Json, Read, is_filled};
use crate::base::usage::Counts;

/// What one event contains.
#[derive(Default)]
struct Members<'e> {
    kind: Option<&'e [u8]>,
    error: Option<&'e [u8]>,
    /// A delta or block has a filled member besides its type.
    filled: bool,
    stop_reason: Option<FinishReason>,
    usage: Option<Counts>,
}

/// Reads one event. The type in the data takes precedence over the event's name. They are equal if both
/// exist.
pub(super) fn read<'e>(event: &Event<'e>) -> Read<Reading<'e>> {
    if event.form == Form::Oversize {
        let filled = Members { filled: true, ..Members::default() };
        return Ok(filled.reading(event.name, event.data));
    }
    let mut members = Members::default();
    if !Json::read_object(event.data, |key, json| members.read_member(key, json))? {
        return Ok(Reading::of(Meaning::Unknown));
    }
    let kind = match (members.kind.unwrap_or(event.name), members.error) {
        ([], Some(_)) => b"error",
        (kind, _) => kind,
    };
    Ok(members.reading(kind, event.data))
}

impl<'e> Members<'e> {
    fn read_member(&mut self, key: &[u8], json: &mut Json<'e>) -> Read<()> {
        match key {
            b"type" => self.kind = json.text()?,
            b"delta" | b"content_block" => self.read_part(json)?,
            b"message" => {
                json.object(|key, json| {
                    match key {
                        b"usage" => self.usage = Some(Counts::read_anthropic(json)?).filter(Counts::any),
                        _ => drop(json.value()?),
                    }
                    Ok(())
                })?;
            }
            b"usage" => self.usage = Some(Counts::read_anthropic(json)?).filter(Counts::any),
            b"error" => self.error = Some(json.value()?).filter(|raw| is_filled(raw)),
            _ => drop(json.value()?),
        }
        Ok(())
    }

    /// A delta of a block or of the message, or the start of a block.
    fn read_part(&mut self, json: &mut Json<'e>) -> Read<()> {
        json.object(|key, json| {
            match key {
                b"type" => drop(json.value()?),
                b"stop_reason" => self.stop_reason = json.text()?.and_then(FinishReason::from_wire),
                _ => self.filled |= json.filled()?,
            }
            Ok(())
        })?;
        Ok(())
    }

    fn reading(&self, kind: &[u8], data: &'e [u8]) -> Reading<'e> {
        let meaning = match kind {
            b"content_block_delta" | b"content_block_start" if self.filled => Meaning::Content,
            b"message_start"
            | b"content_block_start"
            | b"content_block_delta"
            | b"content_block_stop"
            | b"ping" => Meaning::Empty,
            b"message_delta" if self.stop_reason == Some(FinishReason::Error) => {
                Meaning::Failed(EventFailure::FinishedInError)
            }
            b"message_delta" if self.stop_reason.is_some() => Meaning::Finished { with_content: false },
            b"message_delta" => Meaning::Empty,
            b"message_stop" => Meaning::Terminal(Terminal::Completed),
            b"error" => Meaning::Failed(EventFailure::Error(self.error.unwrap_or(data))),
            _ => Meaning::Unknown,
        };
        let reading = Reading::of(meaning).with_usage(self.usage);
        match (meaning, self.stop_reason) {
            (Meaning::Finished { .. } | Meaning::Failed(_), Some(reason)) => reading.finished(reason),
            _ => reading,
        }
    }
}
