//! Reads the answers of chat.

use super::super::json::escape;
use super::finish::{Finish, fitting};
use super::order::{CallPart, Kind, Order};
use super::piece::{Citation, Head, Piece, Put, Taken};
use super::reading::{DONE, Stage, fail, inside};
use super::terms::NotTranslated;
use crate::base::FinishReason;
use crate::base::json::{Json, Read, is_filled};
use crate::base::usage::{Counts, Sums};

/// The state of an answer.
#[derive(Debug, Default)]
pub(super) struct ChatReader {
    order: Order,
    counts: Counts,
    stage: Stage,
}

/// What is of interest in a chunk or in a plain answer.
#[derive(Default)]
struct Chunk<'e> {
    id: &'e [u8],
    model: &'e [u8],
    is_error: bool,
    choice: Option<Choice<'e>>,
    has_choices: bool,
    usage: Counts,
}

/// The first choice. Only chat has several.
#[derive(Default)]
struct Choice<'e> {
    index: u64,
    message: Message<'e>,
    finish: Option<FinishReason>,
    stop_sequence: Option<&'e [u8]>,
}

/// A delta or a whole message.
#[derive(Default)]
struct Message<'e> {
    is_whole: bool,
    content: &'e [u8],
    /// Content in parts.
    parts: &'e [u8],
    refusal: &'e [u8],
    reasoning_content: &'e [u8],
    reasoning: &'e [u8],
    reasoning_details: &'e [u8],
    annotations: &'e [u8],
    tool_calls: &'e [u8],
}

impl ChatReader {
    /// Reads an event of a stream.
    pub(super) fn event(&mut self, data: &[u8], put: Put<'_>) -> Taken {
        let data = data.trim_ascii();
        match data {
            b"" => Ok(()),
            DONE => self.end(put),
            _ => self.chunk(data, put),
        }
    }

    /// Reads a plain answer.
    pub(super) fn plain(&mut self, body: &[u8], put: Put<'_>) -> Taken {
        self.chunk(body, put)?;
        if self.stage == Stage::Begun {
            self.finish(FinishReason::Stop, None, put)?;
        }
        if self.stage < Stage::Finished {
            return Err(NotTranslated);
        }
        self.end(put)
    }

    /// Ends the answer if the model has ended.
    pub(super) fn end(&mut self, put: Put<'_>) -> Taken {
        if self.stage != Stage::Finished {
            return Ok(());
        }
        self.stage = Stage::Ended;
        put(Piece::End)
    }

    fn chunk(&mut self, data: &[u8], put: Put<'_>) -> Taken {
        let mut chunk = Chunk::default();
        let is_object = Json::read_object(data, |key, json| chunk.read_member(key, json))?;
        if !is_object || chunk.is_error {
            return Err(NotTranslated);
        }
        self.count(&chunk.usage, put)?;
        let Some(choice) = chunk.choice else {
            // Usage without a choice comes last.
            let is_last = !chunk.has_choices && chunk.usage.any();
            return if is_last { self.end(put) } else { Ok(()) };
        };
        if self.stage == Stage::Awaited {
            self.stage = Stage::Begun;
            put(Piece::Start(Head { id: chunk.id, model: chunk.model }))?;
        }
        if self.stage == Stage::Begun {
            choice.message.put(&mut self.order, put)?;
            if let Some(reason) = choice.finish {
                self.finish(reason, choice.stop_sequence, put)?;
            }
        }
        Ok(())
    }

    fn count(&mut self, usage: &Counts, put: Put<'_>) -> Taken {
        if !usage.any() || self.stage == Stage::Ended {
            return Ok(());
        }
        self.counts.update(usage);
        self.counts.usage(Sums::Totals).map_or(Ok(()), |usage| put(Piece::Usage(usage)))
    }

    fn finish(&mut self, reason: FinishReason, stop_sequence: Option<&[u8]>, put: Put<'_>) -> Taken {
        if reason == FinishReason::Error {
            return Err(NotTranslated);
        }
        self.order.finish(put)?;
        self.stage = Stage::Finished;
        put(Piece::Finish(Finish { reason: fitting(reason, self.order.has_calls()), stop_sequence }))
    }
}

impl<'e> Chunk<'e> {
    fn read_member(&mut self, key: &[u8], json: &mut Json<'e>) -> Read<()> {
        match key {
            b"id" => self.id = inside(json)?,
            b"model" => self.model = inside(json)?,
            b"choices" => self.read_choices(json)?,
            b"usage" => self.usage.update(&Counts::read_openai(json)?),
            // Groq's, in the last chunk.
            b"x_groq" => self.read_inner_usage(json)?,
            b"error" => self.is_error |= is_filled(json.value()?),
            // Errors of Mistral and of older vLLM are flat.
            b"object" => self.is_error |= json.value()? == br#""error""#,
            _ => drop(json.value()?),
        }
        Ok(())
    }

    fn read_choices(&mut self, json: &mut Json<'e>) -> Read<()> {
        let count = json.array(|json| {
            let mut choice = Choice::default();
            json.object(|key, json| self.read_choice(&mut choice, key, json))?;
            if choice.index == 0 {
                self.choice = Some(choice);
            }
            Ok(())
        })?;
        self.has_choices = count.is_some_and(|count| count > 0);
        Ok(())
    }

    fn read_choice(&mut self, choice: &mut Choice<'e>, key: &[u8], json: &mut Json<'e>) -> Read<()> {
        match key {
            b"index" => choice.index = json.count()?.unwrap_or_default(),
            b"delta" | b"message" => {
                choice.message.is_whole = key == b"message";
                json.object(|key, json| choice.message.read_member(key, json))?;
            }
            b"finish_reason" => choice.finish = json.text()?.and_then(FinishReason::from_wire),
            // The stop sequence that was reached, as vLLM and SGLang tell it. Otherwise a number.
            b"stop_reason" | b"matched_stop" => {
                choice.stop_sequence = Some(inside(json)?).filter(|text| !text.is_empty());
            }
            // Moonshot's, in the last chunk.
            b"usage" => self.usage.update(&Counts::read_openai(json)?),
            b"error" => self.is_error |= is_filled(json.value()?),
            _ => drop(json.value()?),
        }
        Ok(())
    }

    fn read_inner_usage(&mut self, json: &mut Json<'e>) -> Read<()> {
        json.object(|key, json| {
            match key {
                b"usage" => self.usage.update(&Counts::read_openai(json)?),
                _ => drop(json.value()?),
            }
            Ok(())
        })?;
        Ok(())
    }
}

impl<'e> Message<'e> {
    fn read_member(&mut self, key: &[u8], json: &mut Json<'e>) -> Read<()> {
        match key {
            b"content" if json.peek() == Some(b'[') => self.parts = json.value()?,
            b"content" => self.content = inside(json)?,
            b"refusal" => self.refusal = inside(json)?,
            b"reasoning_content" => self.reasoning_content = inside(json)?,
            b"reasoning" => self.reasoning = inside(json)?,
            b"reasoning_details" => self.reasoning_details = json.value()?,
            b"annotations" => self.annotations = json.value()?,
            b"tool_calls" => self.tool_calls = json.value()?,
            _ => drop(json.value()?),
        }
        Ok(())
    }

    fn put(&self, order: &mut Order, put: Put<'_>) -> Taken {
        self.put_reasoning(order, put)?;
        put_text(Kind::Text, self.content, order, put)?;
        each(self.parts, |json| put_part(json, order, put))?;
        put_text(Kind::Refusal, self.refusal, order, put)?;
        each(self.annotations, |json| put_citation(json, put))?;
        let mut number = 0;
        each(self.tool_calls, |json| {
            number += 1;
            put_call(json, self.is_whole.then_some(number), order, put)
        })
    }

    /// Servers have three names for reasoning. Some send the same text under two of them.
    fn put_reasoning(&self, order: &mut Order, put: Put<'_>) -> Taken {
        let plain = if self.reasoning_content.is_empty() { self.reasoning } else { self.reasoning_content };
        if plain.is_empty() {
            return each(self.reasoning_details, |json| put_detail(json, order, put));
        }
        put_text(Kind::Reasoning, plain, order, put)
    }
}

fn put_text(kind: Kind, text: &[u8], order: &mut Order, put: Put<'_>) -> Taken {
    if text.is_empty() { Ok(()) } else { order.text(kind, text, put) }
}

/// Reads the elements of an array. Nothing, if it is none.
fn each<'e>(array: &'e [u8], element: impl FnMut(&mut Json<'e>) -> Read<()>) -> Taken {
    if array.first() == Some(&b'[') {
        Json::new(array).array(element)?;
    }
    Ok(())
}

/// A part of Mistral's content: text, or a thought of such parts.
fn put_part(json: &mut Json<'_>, order: &mut Order, put: Put<'_>) -> Read<()> {
    let (mut text, mut thinking): (&[u8], &[u8]) = (b"", b"");
    json.object(|key, json| {
        match key {
            b"text" => text = inside(json)?,
            b"thinking" => thinking = json.value()?,
            _ => drop(json.value()?),
        }
        Ok(())
    })?;
    put_text(Kind::Text, text, order, put).map_err(fail)?;
    each(thinking, |json| put_detail(json, order, put)).map_err(fail)
}

/// A part of reasoning: Mistral's, or a detail of OpenRouter's. Encrypted ones have no text.
fn put_detail(json: &mut Json<'_>, order: &mut Order, put: Put<'_>) -> Read<()> {
    let mut text: &[u8] = b"";
    json.object(|key, json| {
        match key {
            b"text" | b"summary" if json.peek() == Some(b'"') => text = inside(json)?,
            _ => drop(json.value()?),
        }
        Ok(())
    })?;
    put_text(Kind::Reasoning, text, order, put).map_err(fail)
}

fn put_citation(json: &mut Json<'_>, put: Put<'_>) -> Read<()> {
    let mut citation = Citation::default();
    json.object(|key, json| {
        if key != b"url_citation" {
            return json.value().map(drop);
        }
        json.object(|key, json| {
            match key {
                b"url" => citation.url = inside(json)?,
                b"title" => citation.title = inside(json)?,
                b"start_index" => citation.start = json.count()?.unwrap_or_default(),
                b"end_index" => citation.end = json.count()?.unwrap_or_default(),
                _ => drop(json.value()?),
            }
            Ok(())
        })?;
        Ok(())
    })?;
    if citation.url.is_empty() { Ok(()) } else { put(Piece::Citation(citation)).map_err(fail) }
}

/// Puts a part of a call, or the whole call with this number.
fn put_call(json: &mut Json<'_>, number: Option<u64>, order: &mut Order, put: Put<'_>) -> Read<()> {
    let mut part = CallPart::default();
    let mut object: &[u8] = b"";
    json.object(|key, json| {
        match key {
            b"index" => part.index = json.count()?,
            b"id" => part.id = inside(json)?,
            b"function" => {
                json.object(|key, json| {
                    match key {
                        b"name" => part.name = inside(json)?,
                        // Some servers send the object itself.
                        b"arguments" if json.peek() == Some(b'{') => object = json.value()?,
                        b"arguments" => part.arguments = inside(json)?,
                        _ => drop(json.value()?),
                    }
                    Ok(())
                })?;
            }
            _ => drop(json.value()?),
        }
        Ok(())
    })?;
    part.index = number.or(part.index);
    let mut escaped = Vec::new();
    if !object.is_empty() {
        escape(object, &mut escaped);
        part.arguments = &escaped;
    }
    order.call(&part, put).map_err(fail)
}
