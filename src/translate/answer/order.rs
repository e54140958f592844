//! Puts the pieces of a chat answer one after another.
//!
//! A chat server may go on with a call of a tool after it has begun the next one. The clients' dialects have one
//! thing after another, so what comes too early waits: until the arguments of the open call are whole, or until
//! the answer ends. In ordinary streams nothing waits.

use std::mem;

use super::arguments::{Brackets, Unit, Units};
use super::piece::{Call, Piece, Put, Taken};
use super::terms::NotTranslated;

/// The most calls of tools in an answer.
pub(super) const MAX_CALLS: usize = 256;
/// The most bytes that wait for the end of a call.
pub(super) const MAX_WAITING: usize = 1 << 20;
/// The most things that wait for the end of a call.
const MAX_QUEUE: usize = 2 * MAX_CALLS;

/// A part of a call as a server sends it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct CallPart<'a> {
    /// The number of the call. Some servers leave it out.
    pub index: Option<u64>,
    /// The id; empty in all parts but the first.
    pub id: &'a [u8],
    /// The name of the tool; empty in all parts but the first.
    pub name: &'a [u8],
    /// More arguments.
    pub arguments: &'a [u8],
}

impl CallPart<'_> {
    const fn is_empty(&self) -> bool {
        self.id.is_empty() && self.name.is_empty() && self.arguments.is_empty()
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Order {
    calls: Vec<Known>,
    /// The position of the call that is open.
    open: Option<usize>,
    brackets: Brackets,
    queue: Vec<Waiting>,
    /// The bytes that wait.
    waiting: usize,
}

/// A call that has begun.
#[derive(Debug)]
struct Known {
    index: Option<u64>,
    id: Box<[u8]>,
    name: Box<[u8]>,
    state: State,
}

#[derive(Debug)]
enum State {
    /// With the arguments that have come.
    Waiting(Vec<u8>),
    Open,
    Done,
}

#[derive(Debug)]
enum Waiting {
    Text(Kind, Vec<u8>),
    /// The call at this position.
    Call(usize),
}

/// The kinds of text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Refusal,
    Reasoning,
}

impl Kind {
    const fn piece(self, text: &[u8]) -> Piece<'_> {
        match self {
            Self::Text => Piece::Text(text),
            Self::Refusal => Piece::Refusal(text),
            Self::Reasoning => Piece::Reasoning(text),
        }
    }
}

impl Order {
    /// Whether the answer has called a tool.
    pub(super) const fn has_calls(&self) -> bool {
        !self.calls.is_empty()
    }

    /// Takes text that is not empty.
    pub(super) fn text(&mut self, kind: Kind, text: &[u8], put: Put<'_>) -> Taken {
        if self.queue.is_empty() && self.may_end_call() {
            self.end_call();
            return put(kind.piece(text));
        }
        self.wait(text.len())?;
        if let Some(Waiting::Text(last, waiting)) = self.queue.last_mut()
            && *last == kind
        {
            waiting.extend_from_slice(text);
            return Ok(());
        }
        self.enqueue(Waiting::Text(kind, text.to_vec()))
    }

    /// Takes a part of a call.
    pub(super) fn call(&mut self, part: &CallPart<'_>, put: Put<'_>) -> Taken {
        let at = match self.position(part) {
            Some(at) => at,
            None if part.is_empty() => return Ok(()),
            None => self.begin(part)?,
        };
        let Some(call) = self.calls.get_mut(at) else { return Err(NotTranslated) };
        match &mut call.state {
            State::Open => {
                self.brackets.take(part.arguments);
                put_arguments(part.arguments, put)?;
            }
            State::Done if is_blank(part.arguments) => {}
            State::Done => return Err(NotTranslated),
            State::Waiting(arguments) => {
                arguments.extend_from_slice(part.arguments);
                if call.name.is_empty() {
                    call.name = part.name.into();
                }
                if call.id.is_empty() {
                    call.id = part.id.into();
                }
                self.wait(part.arguments.len())?;
            }
        }
        self.advance(false, put)
    }

    /// The answer has ended, so nothing has to wait any longer.
    pub(super) fn finish(&mut self, put: Put<'_>) -> Taken {
        self.advance(true, put)
    }

    /// The call to which a part belongs; `None` if it begins one.
    fn position(&self, part: &CallPart<'_>) -> Option<usize> {
        let at = match part.index {
            Some(index) => self.calls.iter().rposition(|call| call.index == Some(index))?,
            None => self.calls.len().checked_sub(1)?,
        };
        let call = self.calls.get(at)?;
        // Some servers number all calls alike, or not at all, and send each of them in one part.
        let has_other_id = !part.id.is_empty() && !call.id.is_empty() && *call.id != *part.id;
        let is_whole =
            matches!(call.state, State::Done) || (self.open == Some(at) && self.brackets.are_closed());
        let is_unnumbered = part.index.is_none() && part.id.is_empty() && is_whole;
        let begins = !part.name.is_empty() && !call.name.is_empty() && (has_other_id || is_unnumbered);
        (!begins).then_some(at)
    }

    fn begin(&mut self, part: &CallPart<'_>) -> Result<usize, NotTranslated> {
        let at = self.calls.len();
        if at >= MAX_CALLS {
            return Err(NotTranslated);
        }
        let state = State::Waiting(Vec::new());
        self.calls.push(Known { index: part.index, id: part.id.into(), name: part.name.into(), state });
        self.enqueue(Waiting::Call(at))?;
        Ok(at)
    }

    /// Puts what need not wait.
    fn advance(&mut self, is_end: bool, put: Put<'_>) -> Taken {
        while !self.queue.is_empty() && (is_end || self.may_end_call()) && (is_end || self.is_first_named()) {
            self.end_call();
            match self.queue.remove(0) {
                Waiting::Text(kind, text) => {
                    self.waiting -= text.len();
                    put(kind.piece(&text))?;
                }
                Waiting::Call(at) => self.open(at, put)?,
            }
        }
        Ok(())
    }

    fn open(&mut self, at: usize, put: Put<'_>) -> Taken {
        let Some(call) = self.calls.get_mut(at).filter(|call| !call.name.is_empty()) else {
            return Err(NotTranslated);
        };
        if let State::Waiting(arguments) = mem::replace(&mut call.state, State::Open) {
            self.open = Some(at);
            self.waiting -= arguments.len();
            self.brackets = Brackets::default();
            self.brackets.take(&arguments);
            put(Piece::Call(Call { id: &call.id, name: &call.name, ..Call::default() }))?;
            put_arguments(&arguments, put)?;
        }
        Ok(())
    }

    fn may_end_call(&self) -> bool {
        self.open.is_none() || self.brackets.are_closed()
    }

    fn is_first_named(&self) -> bool {
        match self.queue.first() {
            Some(Waiting::Call(at)) => self.calls.get(*at).is_some_and(|call| !call.name.is_empty()),
            _ => true,
        }
    }

    fn end_call(&mut self) {
        if let Some(call) = self.open.take().and_then(|at| self.calls.get_mut(at)) {
            call.state = State::Done;
        }
    }

    fn enqueue(&mut self, waiting: Waiting) -> Taken {
        if self.queue.len() >= MAX_QUEUE {
            return Err(NotTranslated);
        }
        self.queue.push(waiting);
        Ok(())
    }

    const fn wait(&mut self, bytes: usize) -> Taken {
        self.waiting = self.waiting.saturating_add(bytes);
        if self.waiting > MAX_WAITING { Err(NotTranslated) } else { Ok(()) }
    }
}

fn is_blank(arguments: &[u8]) -> bool {
    Units::of(arguments).all(|unit| matches!(unit, Unit::Byte(b' ' | b'\n' | b'\r' | b'\t')))
}

fn put_arguments(arguments: &[u8], put: Put<'_>) -> Taken {
    if arguments.is_empty() { Ok(()) } else { put(Piece::Arguments(arguments)) }
}
