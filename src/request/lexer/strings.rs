//! Keys and text values, which may be cut anywhere by the end of a window.

use super::{Lexer, Role, Sink, State};
use crate::request::error::ScanError;
use crate::request::plain_run::plain_run;
use crate::request::text::{Kept, MAX_KEPT_BYTES, Want};
use crate::request::token::{Span, Value};

impl Lexer {
    /// Reads a key that begins at `at`, and its colon if that follows. Nearly every key is complete in the window
    /// and has no escapes: it is read at once.
    #[inline]
    pub(super) fn key<S: Sink>(
        &mut self,
        window: &[u8],
        at: usize,
        sink: &mut S,
    ) -> Result<usize, ScanError> {
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
    pub(super) fn text<S: Sink>(
        &mut self,
        window: &[u8],
        at: usize,
        sink: &mut S,
    ) -> Result<usize, ScanError> {
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
    pub(super) fn string<S: Sink>(
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

    pub(super) fn escape(&mut self, role: Role, byte: u8, at: usize) -> Result<usize, ScanError> {
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
    pub(super) fn unicode(
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
