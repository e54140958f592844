//! Streams of images and of speech: typed events like those of responses, without a terminal event.
//!
//! The last event of an image or of a recording has a type of its own: `image_generation.completed`,
//! `speech.audio.done`. A request for several images gets one such event for each.

use super::event::{Event, Form};
use super::meaning::{Answers, EventFailure, Meaning, Reading};
use crate::base::FinishReason;
use crate::base::json::{Json, Read, is_filled};
use crate::base::usage::Counts;

/// The members of one event that matter.
#[derive(Default)]
struct Members<'e> {
    kind: Option<&'e [u8]>,
    error: Option<&'e [u8]>,
    index: u64,
    usage: Option<Counts>,
}

/// Reads one event. The type in the data takes precedence over the event's name.
pub(super) fn read<'e>(event: &Event<'e>) -> Read<Reading<'e>> {
    let mut members = Members::default();
    // An image is often too large to be read. The name of its event is not.
    if event.form != Form::Oversize {
        let is_object = Json::read_object(event.data, |key, json| members.read(key, json))?;
        if !is_object {
            return Ok(Reading::of(Meaning::Unknown));
        }
    }
    Ok(match (members.kind.unwrap_or(event.name), members.error) {
        (b"error", error) => failed(error.unwrap_or(event.data)),
        (_, Some(error)) => failed(error),
        (kind, None) if is_last(kind) => Reading {
            finish: Some(FinishReason::Stop),
            answers: Answers::at(members.index, true),
            has_answer: true,
            ..Reading::of(Meaning::Finished { with_content: true }).with_usage(members.usage)
        },
        (kind, None) if is_part(kind) => Reading::of(Meaning::Content),
        _ => Reading::of(Meaning::Unknown),
    })
}

impl<'e> Members<'e> {
    fn read(&mut self, key: &[u8], json: &mut Json<'e>) -> Read<()> {
        match key {
            b"type" => self.kind = json.text()?,
            b"error" => self.error = Some(json.value()?).filter(|raw| is_filled(raw)),
            b"image_index" => self.index = json.count()?.unwrap_or_default(),
            b"usage" => self.usage = Some(Counts::read_openai(json)?).filter(Counts::any),
            _ => drop(json.value()?),
        }
        Ok(())
    }
}

fn failed(error: &[u8]) -> Reading<'_> {
    Reading::of(Meaning::Failed(EventFailure::Error(error)))
}

/// Whether an image, or all of a recording, ends with an event of this type.
fn is_last(kind: &[u8]) -> bool {
    kind.ends_with(b".completed") || kind.ends_with(b".done")
}

fn is_part(kind: &[u8]) -> bool {
    kind.ends_with(b".delta") || kind.ends_with(b".partial_image")
}
