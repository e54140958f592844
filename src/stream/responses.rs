//! OpenAI's responses stream: typed events. The last one repeats the whole response.

use super::event::{Event, Form};
use super::meaning::{EventFailure, FinishReason, Meaning, Reading, Terminal};
use super::usage::Counts;
use crate::base::json::{Json, Read, is_filled};

/// The top-level members of one event.
#[derive(Default)]
struct Members<'e> {
    kind: Option<&'e [u8]>,
    error: Option<&'e [u8]>,
    response: Option<&'e [u8]>,
    delta: Option<bool>,
}

/// The kind of an event, by its type alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Lifecycle,
    Delta,
    Content,
    Completed,
    Incomplete,
    Failed,
    Error,
    Unknown,
}

impl Kind {
    fn of(name: &[u8]) -> Self {
        match name {
            b"response.created" | b"response.queued" | b"response.in_progress" | b"keepalive" | b"ping" => {
                Self::Lifecycle
            }
            b"response.completed" => Self::Completed,
            b"response.incomplete" => Self::Incomplete,
            b"response.failed" => Self::Failed,
            b"error" | b"response.error" => Self::Error,
            _ if name.ends_with(b".delta") => Self::Delta,
            // A new item or part is still empty. Its content comes in events of its own.
            _ if name.ends_with(b".added") => Self::Lifecycle,
            // A finished item or part, or the progress of a hosted tool. It counts as content, because a
            // retry elsewhere would run the tool twice.
            _ if name.starts_with(b"response.") => Self::Content,
            _ => Self::Unknown,
        }
    }
}

/// What the `response` of a terminal event contains.
#[derive(Default)]
struct Response<'e> {
    error: Option<&'e [u8]>,
    reason: Option<FinishReason>,
    usage: Option<Counts>,
}

/// Reads one event. The type in the data takes precedence over the event's name, as in client libraries.
pub(super) fn read<'e>(event: &Event<'e>) -> Read<Reading<'e>> {
    if event.form == Form::Oversize {
        return reading(Kind::of(event.name), &Members::default(), event.data);
    }
    let mut members = Members::default();
    let is_object = Json::read_object(event.data, |key, json| {
        match key {
            b"type" => members.kind = json.text()?,
            b"delta" => members.delta = Some(json.filled()?),
            b"error" => members.error = Some(json.value()?).filter(|raw| is_filled(raw)),
            b"response" => members.response = Some(json.value()?),
            _ => drop(json.value()?),
        }
        Ok(())
    })?;
    if !is_object {
        return Ok(Reading::of(Meaning::Unknown));
    }
    let kind = match (members.kind.unwrap_or(event.name), members.error) {
        ([], Some(_)) => Kind::Error,
        (name, _) => Kind::of(name),
    };
    reading(kind, &members, event.data)
}

fn reading<'e>(kind: Kind, members: &Members<'e>, data: &'e [u8]) -> Read<Reading<'e>> {
    let meaning = match kind {
        Kind::Lifecycle => Meaning::Empty,
        Kind::Delta if members.delta == Some(false) => Meaning::Empty,
        Kind::Delta | Kind::Content => Meaning::Content,
        Kind::Unknown => Meaning::Unknown,
        Kind::Error => Meaning::Failed(EventFailure::Error(members.error.unwrap_or(data))),
        Kind::Completed | Kind::Incomplete | Kind::Failed => return last(kind, members, data),
    };
    Ok(Reading::of(meaning))
}

/// A terminal event. It comes once per stream, so reading the response a second time costs little.
fn last<'e>(kind: Kind, members: &Members<'e>, data: &'e [u8]) -> Read<Reading<'e>> {
    let response = members.response.map_or(Ok(Response::default()), Response::read)?;
    let (meaning, finish) = match kind {
        Kind::Failed => {
            let error = response.error.or(members.error).unwrap_or(data);
            (Meaning::Failed(EventFailure::Error(error)), FinishReason::Error)
        }
        Kind::Incomplete => {
            let reason = response.reason.unwrap_or(FinishReason::Other);
            (Meaning::Terminal(Terminal::Incomplete(reason)), reason)
        }
        _ => (Meaning::Terminal(Terminal::Completed), FinishReason::Stop),
    };
    Ok(Reading::of(meaning).finished(finish).with_usage(response.usage))
}

impl<'e> Response<'e> {
    fn read(raw: &'e [u8]) -> Read<Self> {
        let mut response = Self::default();
        Json::new(raw).object(|key, json| {
            match key {
                b"error" => response.error = Some(json.value()?).filter(|raw| is_filled(raw)),
                b"incomplete_details" => {
                    json.object(|key, json| {
                        match key {
                            b"reason" => response.reason = json.text()?.map(FinishReason::from_wire),
                            _ => drop(json.value()?),
                        }
                        Ok(())
                    })?;
                }
                b"usage" => response.usage = Some(Counts::read_openai(json)?).filter(Counts::any),
                _ => drop(json.value()?),
            }
            Ok(())
        })?;
        Ok(response)
    }
}
