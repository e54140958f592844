//! OpenAI's responses stream: typed events. The last one repeats the whole response.

use super::event::{Event, Form};
use super::meaning::{EventFailure, Meaning, Reading, Terminal};
use crate::base::FinishReason;
use crate::base::json::{Json, Read, is_filled};
use crate::base::usage::Counts;

/// The top-level members of one event.
#[derive(Default)]
struct Members<'e> {
    kind: Option<&'e [u8]>,
    error: Option<&'e [u8]>,
    response: Option<&'e [u8]>,
    delta: Option<bool>,
    /// Whether what is done has anything in it; `None` if it names nothing that it has done.
    done: Option<bool>,
}

/// The kind of an event, by its type alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Lifecycle,
    Delta,
    Done,
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
            b"response.failed" | b"response.cancelled" => Self::Failed,
            b"error" | b"response.error" => Self::Error,
            _ if name.ends_with(b".delta") => Self::Delta,
            // A new item or part is still empty. Its content comes in events of its own.
            _ if name.ends_with(b".added") => Self::Lifecycle,
            _ if name.ends_with(b".done") => Self::Done,
            // The progress of a hosted tool. It counts as content, because a retry elsewhere would run the
            // tool twice.
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
    status: Option<&'e [u8]>,
    has_answer: bool,
}

/// Reads one event. The type in the data takes precedence over the event's name, as in client libraries.
pub(super) fn read<'e>(event: &Event<'e>) -> Read<Reading<'e>> {
    if event.form == Form::Oversize {
        let reading = reading(Kind::of(event.name), &Members::default(), event.data)?;
        // What an end of this size repeats is not nothing.
        return Ok(Reading { has_answer: matches!(reading.meaning, Meaning::Terminal(_)), ..reading });
    }
    let mut members = Members::default();
    let is_object = Json::read_object(event.data, |key, json| {
        match key {
            b"type" => members.kind = json.text()?,
            b"delta" => members.delta = Some(json.filled()?),
            b"error" => members.error = Some(json.value()?).filter(|raw| is_filled(raw)),
            b"response" => members.response = Some(json.value()?),
            b"item" => members.done = Some(has_content(json)?),
            b"part" => members.done = Some(is_filled_part(json)?),
            b"text" | b"refusal" | b"arguments" | b"transcript" => members.done = Some(json.filled()?),
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
        Kind::Done if members.done == Some(false) => Meaning::Empty,
        Kind::Delta | Kind::Done | Kind::Content => Meaning::Content,
        Kind::Unknown => Meaning::Unknown,
        Kind::Error => Meaning::Failed(EventFailure::Error(members.error.unwrap_or(data))),
        Kind::Completed | Kind::Incomplete | Kind::Failed => return last(kind, members, data),
    };
    Ok(Reading::of(meaning))
}

/// A terminal event. It comes once per stream, so reading the response a second time costs little.
fn last<'e>(kind: Kind, members: &Members<'e>, data: &'e [u8]) -> Read<Reading<'e>> {
    let response = members.response.map_or(Ok(Response::default()), Response::read)?;
    let (meaning, finish) = match (kind, response.status) {
        (Kind::Failed, _) => {
            let error = response.error.or(members.error).unwrap_or(data);
            (Meaning::Failed(EventFailure::Error(error)), FinishReason::Error)
        }
        // Some relays report every end as complete. Clients do not take that for an error.
        (_, Some(b"failed" | b"cancelled")) => {
            (Meaning::Failed(EventFailure::Flat(response.error.unwrap_or(data))), FinishReason::Error)
        }
        (Kind::Incomplete, _) | (_, Some(b"incomplete")) => {
            let reason = response.reason.unwrap_or(FinishReason::Other);
            (Meaning::Terminal(Terminal::Incomplete(reason)), reason)
        }
        _ => (Meaning::Terminal(Terminal::Completed), FinishReason::Stop),
    };
    let reading = Reading::of(meaning).finished(finish).with_usage(response.usage);
    Ok(Reading { has_answer: response.has_answer, ..reading })
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
                            b"reason" => response.reason = json.text()?.and_then(FinishReason::from_wire),
                            _ => drop(json.value()?),
                        }
                        Ok(())
                    })?;
                }
                b"usage" => response.usage = Some(Counts::read_openai(json)?).filter(Counts::any),
                b"status" => response.status = json.text()?,
                b"output" => {
                    json.array(|json| {
                        response.has_answer |= has_content(json)?;
                        Ok(())
                    })?;
                }
                _ => drop(json.value()?),
            }
            Ok(())
        })?;
        Ok(response)
    }
}

/// Whether an item of the output is more than an empty message or an empty thought.
fn has_content(json: &mut Json<'_>) -> Read<bool> {
    let mut has = false;
    json.object(|key, json| {
        match key {
            b"type" | b"id" | b"status" | b"role" | b"phase" => drop(json.value()?),
            b"content" | b"summary" if json.peek() == Some(b'[') => {
                json.array(|json| {
                    has |= is_filled_part(json)?;
                    Ok(())
                })?;
            }
            _ => has |= json.filled()?,
        }
        Ok(())
    })?;
    Ok(has)
}

fn is_filled_part(json: &mut Json<'_>) -> Read<bool> {
    let mut filled = false;
    json.object(|key, json| {
        match key {
            b"type" => drop(json.value()?),
            _ => filled |= json.filled()?,
        }
        Ok(())
    })?;
    Ok(filled)
}
