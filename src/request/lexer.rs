//! A JSON lexer as a state machine: any chunking of a text gives the same events.
//!
//! Why not a parser from a library? Those need the whole body, and Wasm memory that has grown for a large
//! body never shrinks. This machine holds a state, a bit per open container, and the current string if the
//! sink wants it.

use super::error::ScanError;
use super::limits::MAX_DEPTH;
use super::number::NumberState;
use super::plain_run::plain_run;
use super::text::{Gatherer, Kept, MAX_KEPT_BYTES, Want};
use super::token::{Container, Span, Value};

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
enum Literal {
    True,
    False,
    Null,
}

impl Literal {
    const fn text(self) -> &'static [u8] {
        match self {
            Self::True => b"true",
            Self::False => b"false",
            Self::Null => b"null",
        }
    }

    const fn value(self) -> Value<'static> {
        match self {
            Self::True => Value::Bool(true),
            Self::False => Value::Bool(false),
            Self::Null => Value::Null,
        }
    }
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

    /// Reads a key that begins at `at`, and its colon if that follows. Nearly every key is complete in the window
    /// and has no escapes: it is read at once.
    #[inline]
    fn key<S: Sink>(&mut self, window: &[u8], at: usize, sink: &mut S) -> Result<usize, ScanError> {
        let rest = window.get(at..).unwrap_or_default();
        let plain = plain_run(rest);
        let [b'"', after @ ..] = rest.get(plain..).unwrap_or_default() else {
            self.gatherer.begin(Want::Text);
            return self.string(Role::Key, window, at, plain, sink);
        };
        let key = rest.get(..plain).filter(|key| key.len() <= MAX_KEPT_BYTES);
        sink.key(key);
        let colon = matches!(after, [b':', ..]);
        self.state = if colon { State::Value } else { State::Colon };
        Ok(at + plain + 1 + usize::from(colon))
    }

    /// Reads a text value that begins at `at`, and the comma after it if that follows.
    #[inline]
    fn text<S: Sink>(&mut self, window: &[u8], at: usize, sink: &mut S) -> Result<usize, ScanError> {
        let start = (self.base + at).saturating_sub(1);
        let want = sink.want();
        let rest = window.get(at..).unwrap_or_default();
        let plain = plain_run(rest);
        let [b'"', after @ ..] = rest.get(plain..).unwrap_or_default() else {
            self.value_start = start;
            self.gatherer.begin(want);
            return self.string(Role::Value, window, at, plain, sink);
        };
        let end = at + plain + 1;
        let kept = Kept::of_whole(want, rest.get(..plain).unwrap_or_default());
        sink.scalar(Value::Text { kept, length: plain }, Span { start, end: self.base + end })?;
        let comma = matches!(after, [b',', ..]);
        if comma {
            self.comma();
        } else {
            self.state = State::AfterValue;
        }
        Ok(end + usize::from(comma))
    }

    /// Reads on in a string to its end or to that of the window. `plain` bytes from `at` are known to be plain.
    fn string<S: Sink>(
        &mut self,
        role: Role,
        window: &[u8],
        at: usize,
        plain: usize,
        sink: &mut S,
    ) -> Result<usize, ScanError> {
        let (stop, last) = self.gather(role, window, at, plain)?;
        let Some(last) = last else { return Ok(stop) };
        let (kept, length) = self.gatherer.finish(last);
        match role {
            Role::Key => {
                sink.key(if let Kept::Text(key) = kept { Some(key) } else { None });
                self.state = State::Colon;
            }
            Role::Value => {
                let span = Span { start: self.value_start, end: self.base + stop };
                sink.scalar(Value::Text { kept, length }, span)?;
                self.state = State::AfterValue;
            }
        }
        Ok(stop)
    }

    /// Gathers a string to its end or to that of the window. Returns where to go on, and the last plain bytes if the
    /// string has ended; these are not gathered.
    #[inline(never)]
    fn gather<'w>(
        &mut self,
        role: Role,
        window: &'w [u8],
        mut at: usize,
        mut plain: usize,
    ) -> Result<(usize, Option<&'w [u8]>), ScanError> {
        loop {
            let rest = window.get(at..).unwrap_or_default();
            if plain == 0 {
                plain = plain_run(rest);
            }
            let (run, rest) = rest.split_at_checked(plain).unwrap_or_default();
            at += plain;
            plain = 0;
            match rest {
                [b'"', ..] => return Ok((at + 1, Some(run))),
                // Escapes are common, so a complete one is read here without a state change.
                [b'\\', escape @ ..] => {
                    self.gatherer.plain(run);
                    self.state = State::String(role);
                    match (escape, escape.get(1..5).and_then(utf16_unit)) {
                        ([b'u', ..], Some(unit)) => {
                            self.gatherer.unit(unit);
                            at += 6;
                        }
                        ([b'u', ..] | [], _) => {
                            self.state = State::Escape(role);
                            return Ok((at + 1, None));
                        }
                        ([simple, ..], _) => at = self.escape(role, *simple, at + 1)?,
                    }
                }
                [_, ..] => return Err(self.not_json(at, "no control character in a string")),
                [] => {
                    self.gatherer.plain(run);
                    self.state = State::String(role);
                    return Ok((at, None));
                }
            }
        }
    }

    fn escape(&mut self, role: Role, byte: u8, at: usize) -> Result<usize, ScanError> {
        let meant = match byte {
            b'"' | b'\\' | b'/' => byte,
            b'b' => 0x08,
            b'f' => 0x0c,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => {
                self.state = State::Unicode { role, digits: 0, unit: 0 };
                return Ok(at + 1);
            }
            _ => return Err(self.not_json(at, "a valid JSON escape")),
        };
        self.gatherer.plain(&[meant]);
        self.state = State::String(role);
        Ok(at + 1)
    }

    #[cold]
    #[inline(never)]
    fn unicode(
        &mut self,
        role: Role,
        digits: u8,
        unit: u16,
        byte: u8,
        at: usize,
    ) -> Result<usize, ScanError> {
        let value = hex_value(byte).ok_or_else(|| self.not_json(at, "four hexadecimal digits"))?;
        let unit = unit << 4 | u16::from(value);
        if digits == 3 {
            self.gatherer.unit(unit);
            self.state = State::String(role);
        } else {
            self.state = State::Unicode { role, digits: digits + 1, unit };
        }
        Ok(at + 1)
    }

    /// Begins a number or literal.
    #[inline]
    fn bare<S: Sink>(
        &mut self,
        byte: u8,
        window: &[u8],
        at: usize,
        sink: &mut S,
    ) -> Result<usize, ScanError> {
        self.value_start = self.base + at;
        let literal = match byte {
            b't' => Literal::True,
            b'f' => Literal::False,
            b'n' => Literal::Null,
            _ => {
                let number = NumberState::begin(byte).ok_or_else(|| self.unexpected(byte, at))?;
                self.gatherer.begin(sink.want());
                return self.number(number, window, at, 1, sink);
            }
        };
        self.literal(literal, 1, window, at + 1, sink)
    }

    /// Reads on in a number whose bytes begin at `at`, `taken` of them already in `number`.
    fn number<S: Sink>(
        &mut self,
        mut number: NumberState,
        window: &[u8],
        at: usize,
        mut taken: usize,
        sink: &mut S,
    ) -> Result<usize, ScanError> {
        let rest = window.get(at..).unwrap_or_default();
        let ended = loop {
            match rest.get(taken) {
                None => break false,
                Some(&byte) => match number.next(byte) {
                    Some(next) => number = next,
                    None => break true,
                },
            }
            taken += 1;
        };
        let stop = at + taken;
        let text = rest.get(..taken).unwrap_or_default();
        if !ended {
            self.gatherer.plain(text);
            self.state = State::Number(number);
            return Ok(stop);
        }
        if !number.may_end() {
            return Err(self.not_json(stop, "a digit"));
        }
        let span = Span { start: self.value_start, end: self.base + stop };
        let (kept, _) = self.gatherer.finish(text);
        sink.scalar(Value::Number(kept), span)?;
        self.state = State::AfterValue;
        Ok(stop)
    }

    /// Reads on in a literal of which `read` bytes have been read.
    fn literal<S: Sink>(
        &mut self,
        literal: Literal,
        mut read: u8,
        window: &[u8],
        mut at: usize,
        sink: &mut S,
    ) -> Result<usize, ScanError> {
        let rest = literal.text().get(usize::from(read)..).unwrap_or_default();
        for expected in rest {
            match window.get(at) {
                Some(byte) if byte == expected => {}
                Some(_) => return Err(self.not_json(at, "true, false or null")),
                None => {
                    self.state = State::Literal { literal, read };
                    return Ok(at);
                }
            }
            (at, read) = (at + 1, read + 1);
        }
        sink.scalar(literal.value(), Span { start: self.value_start, end: self.base + at })?;
        self.state = State::AfterValue;
        Ok(at)
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

fn utf16_unit(digits: &[u8]) -> Option<u16> {
    digits.iter().try_fold(0, |unit, digit| Some(unit << 4 | u16::from(hex_value(*digit)?)))
}

const fn hex_value(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}
