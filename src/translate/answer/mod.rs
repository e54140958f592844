//! Translates answers: from the provider's dialect to the client's.
//!
//! A reader of the provider's dialect takes an answer apart into [pieces](piece::Piece), and a writer of the
//! client's dialect puts them together. Two readers and three writers serve all ways, and each of them serves
//! streams and plain answers.
//!
//! What a piece says is written at once. The end is written only after the provider's own.

mod arguments;
mod custom_input;
mod finish;
mod from_chat;
mod from_messages;
mod ids;
mod order;
mod piece;
mod reading;
mod response_item;
mod sse;
mod terms;
#[cfg(test)]
mod tests;
mod to_chat;
mod to_messages;
mod to_responses;
mod usage;

use self::from_chat::ChatReader;
use self::from_messages::MessagesReader;
use self::ids::{fitting_call_id, made_call_id};
use self::piece::{Call, Piece, Put, Taken};
use self::to_chat::{ChatPlain, ChatStream};
use self::to_messages::{MessagesPlain, MessagesStream};
use self::to_responses::ResponsesWriter;
use super::{ReasoningPolicy, Translation};
use crate::base::Endpoint;
pub use terms::{AnswerTerms, NotTranslated};

/// The longest id of an answer, and the longest name of a model. Each chunk of chat repeats both.
const MAX_HEAD: usize = 1024;

/// Translates a plain answer. `None` if it is not an answer of the provider's dialect.
pub fn translate_answer(way: Translation, body: &[u8], terms: &AnswerTerms) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(body.len());
    let mut client = Client::plain(way);
    let mut put = |piece: Piece<'_>| client.take(piece, terms, &mut out);
    match way.to() {
        Endpoint::Messages => MessagesReader::default().plain(body, &mut put),
        _ => ChatReader::default().plain(body, &mut put),
    }
    .ok()?;
    Some(out)
}

/// Translates a stream, event by event.
#[derive(Debug)]
pub struct StreamTranslator {
    provider: Provider,
    client: Client,
    terms: AnswerTerms,
}

impl StreamTranslator {
    /// A translator at the beginning of a stream.
    pub fn new(way: Translation, terms: AnswerTerms) -> Self {
        let provider = match way.to() {
            Endpoint::Messages => Provider::Messages(MessagesReader::default()),
            _ => Provider::Chat(ChatReader::default()),
        };
        Self { provider, client: Client::stream(way), terms }
    }

    /// Translates one event of the provider, with its name and data as an `Event` of `stream` has them, and
    /// appends the client's events to `out`. What it appends is whole events, even with an error.
    ///
    /// # Errors
    /// The event cannot be translated, so the stream cannot go on. Events that report an error are among them.
    pub fn event(&mut self, name: &[u8], data: &[u8], out: &mut Vec<u8>) -> Result<(), NotTranslated> {
        let Self { provider, client, terms } = self;
        let mut put = |piece: Piece<'_>| client.take(piece, terms, out);
        match provider {
            Provider::Chat(reader) => reader.event(data, &mut put),
            Provider::Messages(reader) => reader.event(name, data, &mut put),
        }
    }

    /// The end of the provider's bytes. Some servers leave out their last event: if the model has ended, the
    /// end is written. If not, nothing is written.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        let Self { provider, client, terms } = self;
        let mut put = |piece: Piece<'_>| client.take(piece, terms, out);
        // No writer fails at an end.
        let _ = provider.end(&mut put);
    }

    /// The number of the next event, which is its `sequence_number` in Responses.
    pub const fn next_number(&self) -> u64 {
        match &self.client.writer {
            ClientWriter::Responses(writer) => writer.next_number(),
            _ => 0,
        }
    }
}

/// The reader of the provider's dialect.
#[derive(Debug)]
enum Provider {
    Chat(ChatReader),
    Messages(MessagesReader),
}

impl Provider {
    fn end(&mut self, put: Put<'_>) -> Taken {
        match self {
            Self::Chat(reader) => reader.end(put),
            Self::Messages(reader) => reader.end(put),
        }
    }
}

/// The client's side: decides what of an answer it sees, and writes it.
#[derive(Debug)]
struct Client {
    writer: ClientWriter,
    /// The calls that have begun.
    calls: u64,
}

/// The writer of the client's dialect.
#[derive(Debug)]
enum ClientWriter {
    Chat(ChatStream),
    ChatPlain(ChatPlain),
    Messages(MessagesStream),
    MessagesPlain(MessagesPlain),
    Responses(ResponsesWriter),
}

impl Client {
    fn stream(way: Translation) -> Self {
        Self::new(match way.from() {
            Endpoint::Messages => ClientWriter::Messages(MessagesStream::default()),
            Endpoint::Responses => ClientWriter::Responses(ResponsesWriter::stream()),
            _ => ClientWriter::Chat(ChatStream::default()),
        })
    }

    fn plain(way: Translation) -> Self {
        Self::new(match way.from() {
            Endpoint::Messages => ClientWriter::MessagesPlain(MessagesPlain::default()),
            Endpoint::Responses => ClientWriter::Responses(ResponsesWriter::plain()),
            _ => ClientWriter::ChatPlain(ChatPlain::default()),
        })
    }

    const fn new(writer: ClientWriter) -> Self {
        Self { writer, calls: 0 }
    }

    fn take(&mut self, piece: Piece<'_>, terms: &AnswerTerms, out: &mut Vec<u8>) -> Taken {
        match piece {
            Piece::Start(head) if head.id.len().max(head.model.len()) > MAX_HEAD => Err(NotTranslated),
            Piece::Reasoning(_) if terms.reasoning != ReasoningPolicy::Keep => Ok(()),
            Piece::Call(call) => self.call(call, terms, out),
            piece => self.writer.take(piece, terms, out),
        }
    }

    /// Gives a call the id and the name that the client can use.
    fn call(&mut self, call: Call<'_>, terms: &AnswerTerms, out: &mut Vec<u8>) -> Taken {
        let is_of_messages =
            matches!(self.writer, ClientWriter::Messages(_) | ClientWriter::MessagesPlain(_));
        let id = match call.id {
            b"" => Some(made_call_id(terms.seed, self.calls)),
            id if is_of_messages => fitting_call_id(id),
            _ => None,
        };
        self.calls += 1;
        let renamed = terms.context.renamed(call.name);
        let call = Call {
            id: id.as_deref().unwrap_or(call.id),
            name: renamed.map_or(call.name, |tool| &tool.client),
            namespace: renamed.and_then(|tool| tool.namespace.as_deref()),
            is_custom: terms.context.is_custom(call.name),
        };
        self.writer.take(Piece::Call(call), terms, out)
    }
}

impl ClientWriter {
    fn take(&mut self, piece: Piece<'_>, terms: &AnswerTerms, out: &mut Vec<u8>) -> Taken {
        match self {
            Self::Chat(writer) => writer.take(piece, terms, out),
            Self::ChatPlain(writer) => writer.take(piece, terms, out),
            Self::Messages(writer) => writer.take(piece, terms, out),
            Self::MessagesPlain(writer) => writer.take(piece, terms, out),
            Self::Responses(writer) => writer.take(piece, terms, out),
        }
    }
}
