//! A JSON lexer as a state machine: any chunking of a text gives the same events.
//!
//! Why not a parser from a library? Those need the whole body, and Wasm memory that has grown for a large
//! body never shrinks. This machine holds a state, a bit per open container, and the current string if the
//! sink wants it.

mod bare;
mod literal;
mod strings;

use super::error::ScanError;
use super::limits::MAX_DEPTH;
use super::number::NumberState;
use super::text::{Gatherer, Want};
use super::token::{Container, Span, Value};
use literal::Literal;

/// Receives what the lexer reads, in the order of the body.
pub trait Sink {
    /// A key of the innermost object; `None` if it is too long or cannot be decoded.
    fn key(&mut self, key: Option<&[u8]>);
    /// What the sink needs of the string or number that begins now.
    fn want(&self) -> Want;
    /// A value that is not a container.
    ///
    /// # Errors
    /// Stops the lexer.
    fn scalar(&mut self, value: Value<'_>, span: Span) -> Result<(), ScanError>;
    /// An object or array begins at `start`.
    ///
    /// # Errors
    /// Stops the lexer.
    fn open(&mut self, container: Container, start: usize) -> Result<(), ScanError>;
    /// The innermost object or array ends before `end`.
    fn close(&mut self, end: usize);
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Key,
    Value,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Start,
    FirstKey,
    NextKey,
    Colon,
    Value,
    FirstElement,
    AfterValue,
    String(Role),
    Escape(Role),
    Unicode { role: Role, digits: u8, unit: u16 },
    Number(NumberState),
    Literal { literal: Literal, read: u8 },
    End,
}

/// The state machine.
#[derive(Debug)]
pub struct Lexer {
    state: State,
    /// One bit per open container, the innermost in the lowest bit; 1 is an object.
    containers: u128,
    depth: u8,
    /// The length of all earlier windows.
    base: usize,
    /// Where the current value began.
    value_start: usize,
    gatherer: Gatherer,
}

impl Lexer {
    /// A lexer at the start of a text.
    pub const fn new() -> Self {
        Self {
            state: State::Start,
            containers: 0,
            depth: 0,
            base: 0,
            value_start: 0,
            gatherer: Gatherer::new(),
        }
    }

    /// Reads one window and reports its content to `sink`.
    ///
    /// # Errors
    /// The text cannot become a JSON object any more, or the sink returned an error.
    pub fn feed<S: Sink>(&mut self, window: &[u8], sink: &mut S) -> Result<(), ScanError> {
        let mut at = 0;
        while let Some(&byte) = window.get(at) {
            at = match (self.state, byte) {
                (State::FirstKey | State::NextKey, b'"') => self.key(window, at + 1, sink)?,
                (State::Value | State::FirstElement, b'"') => self.text(window, at + 1, sink)?,
                (State::String(role), _) => self.string(role, window, at, 0, sink)?,
                (State::Number(number), _) => self.number(number, window, at, 0, sink)?,
                (State::Escape(role), _) => self.escape(role, byte, at)?,
                (State::Unicode { role, digits, unit }, _) => self.unicode(role, digits, unit, byte, at)?,
                (State::Literal { literal, read }, _) => self.literal(literal, read, window, at, sink)?,
                (_, b' ' | b'\n' | b'\r' | b'\t') => at + 1,
                (State::Value | State::FirstElement, b't' | b'f' | b'n' | b'-' | b'0'..=b'9') => {
                    self.bare(byte, window, at, sink)?
                }
                (between, _) => {
                    self.between(between, byte, at, sink)?;
                    at + 1
                }
            };
        }
        self.base = self.base.saturating_add(window.len());
        Ok(())
    }

    /// Resets the lexer to the start of a text.
    pub const fn restart(&mut self) {
        self.state = State::Start;
        self.containers = 0;
        self.depth = 0;
        self.base = 0;
    }

    /// Where the current string value began; `None` if the lexer is not in one.
    pub const fn open_string(&self) -> Option<usize> {
        match self.state {
            State::String(Role::Value)
            | State::Escape(Role::Value)
            | State::Unicode { role: Role::Value, .. } => Some(self.value_start),
            _ => None,
        }
    }

    /// Ends the text and returns its length.
    ///
    /// # Errors
    /// The text is empty or incomplete.
    pub fn finish(&self) -> Result<usize, ScanError> {
        match self.state {
            State::End => Ok(self.base),
            State::Start => Err(ScanError::Empty),
            _ => Err(ScanError::Truncated { offset: self.base }),
        }
    }

    /// Reads a byte that is neither white space nor part of a string, number or literal.
    #[inline]
    fn between<S: Sink>(&mut self, state: State, byte: u8, at: usize, sink: &mut S) -> Result<(), ScanError> {
        match (state, byte) {
            (State::Colon, b':') => self.state = State::Value,
            (State::AfterValue, b',') => self.comma(),
            (State::AfterValue, b'}') if self.in_object() => self.close(at, sink),
            (State::AfterValue, b']') if !self.in_object() => self.close(at, sink),
            (State::FirstKey, b'}') | (State::FirstElement, b']') => self.close(at, sink),
            (State::Start | State::Value | State::FirstElement, b'{') => {
                self.open(Container::Object, at, sink)?;
            }
            (State::Value | State::FirstElement, b'[') => self.open(Container::Array, at, sink)?,
            _ => return Err(self.unexpected(byte, at)),
        }
        Ok(())
    }

    const fn comma(&mut self) {
        self.state = if self.in_object() { State::NextKey } else { State::Value };
    }

    fn open<S: Sink>(&mut self, container: Container, at: usize, sink: &mut S) -> Result<(), ScanError> {
        let start = self.base + at;
        if self.depth >= MAX_DEPTH {
            return Err(ScanError::TooDeep { offset: start });
        }
        self.depth += 1;
        self.containers = self.containers << 1 | u128::from(container == Container::Object);
        sink.open(container, start)?;
        self.state = match container {
            Container::Object => State::FirstKey,
            Container::Array => State::FirstElement,
        };
        Ok(())
    }

    fn close<S: Sink>(&mut self, at: usize, sink: &mut S) {
        self.depth = self.depth.saturating_sub(1);
        self.containers >>= 1;
        sink.close(self.base + at + 1);
        self.state = if self.depth == 0 { State::End } else { State::AfterValue };
    }

    const fn in_object(&self) -> bool {
        self.containers & 1 == 1
    }

    #[cold]
    #[inline(never)]
    fn unexpected(&self, byte: u8, at: usize) -> ScanError {
        let offset = self.base + at;
        let expected = match self.state {
            State::Start => {
                return match byte {
                    b'[' | b'"' | b'-' | b'0'..=b'9' | b't' | b'f' | b'n' => {
                        ScanError::NotAnObject { offset }
                    }
                    _ => ScanError::NotJson { offset, expected: "an object" },
                };
            }
            State::FirstKey => "a key or }",
            State::NextKey => "a key",
            State::Colon => "a colon",
            State::FirstElement => "a value or ]",
            State::AfterValue if self.in_object() => "a comma or }",
            State::AfterValue => "a comma or ]",
            State::End => "nothing after the object",
            _ => "a value",
        };
        ScanError::NotJson { offset, expected }
    }

    const fn not_json(&self, at: usize, expected: &'static str) -> ScanError {
        ScanError::NotJson { offset: self.base + at, expected }
    }
}

impl Default for Lexer {
    fn default() -> Self {
        Self::new()
    }
}
