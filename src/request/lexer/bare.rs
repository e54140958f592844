//! Numbers and literals: values without quotes.

use super::literal::Literal;
use super::{Lexer, Sink, State};
use crate::request::error::ScanError;
use crate::request::number::NumberState;
use crate::request::token::{Span, Value};

impl Lexer {
    /// Begins a number or literal.
    #[inline]
    pub(super) fn bare<S: Sink>(
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
    pub(super) fn number<S: Sink>(
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
    pub(super) fn literal<S: Sink>(
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
}
