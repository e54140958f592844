//! The arguments of calls, which come in parts: a JSON text, cut anywhere, in JSON strings.

/// One step of a text that stands in a JSON string.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit<'a> {
    /// A byte of the text.
    Byte(u8),
    /// A character outside ASCII, as the escape that it is written with.
    Escape(&'a [u8]),
    /// A backslash that begins no escape.
    Wrong,
}

/// The text that stands in a JSON string with the inside `escaped`, step by step.
pub(super) struct Units<'a> {
    escaped: &'a [u8],
}

impl<'a> Units<'a> {
    pub(super) const fn of(escaped: &'a [u8]) -> Self {
        Self { escaped }
    }

    fn read_unicode(&mut self) -> Unit<'a> {
        let Some((escape, rest)) = self.escaped.split_at_checked(6) else {
            self.escaped = b"";
            return Unit::Wrong;
        };
        self.escaped = rest;
        let digits = escape.get(2..).unwrap_or_default();
        let code = std::str::from_utf8(digits).ok().and_then(|digits| u32::from_str_radix(digits, 16).ok());
        match code.map(u8::try_from) {
            None => Unit::Wrong,
            Some(Ok(byte)) if byte.is_ascii() => Unit::Byte(byte),
            Some(_) => Unit::Escape(escape),
        }
    }
}

impl<'a> Iterator for Units<'a> {
    type Item = Unit<'a>;

    fn next(&mut self) -> Option<Unit<'a>> {
        let (unit, rest) = match self.escaped {
            [] => return None,
            [b'\\', b'u', ..] => return Some(self.read_unicode()),
            [b'\\', b'n', rest @ ..] => (Unit::Byte(b'\n'), rest),
            [b'\\', b't', rest @ ..] => (Unit::Byte(b'\t'), rest),
            [b'\\', b'r', rest @ ..] => (Unit::Byte(b'\r'), rest),
            [b'\\', b'b', rest @ ..] => (Unit::Byte(0x08), rest),
            [b'\\', b'f', rest @ ..] => (Unit::Byte(0x0c), rest),
            [b'\\', byte @ (b'"' | b'\\' | b'/'), rest @ ..] => (Unit::Byte(*byte), rest),
            [b'\\', rest @ ..] => (Unit::Wrong, rest),
            [byte, rest @ ..] => (Unit::Byte(*byte), rest),
        };
        self.escaped = rest;
        Some(unit)
    }
}

/// Follows arguments that come in parts, and knows whether their object is whole.
#[derive(Debug, Default)]
pub(super) struct Brackets {
    depth: u32,
    has_begun: bool,
    in_string: bool,
    after_backslash: bool,
}

impl Brackets {
    /// Takes the next part, which is the inside of a string.
    pub(super) fn take(&mut self, escaped: &[u8]) {
        for unit in Units::of(escaped) {
            match unit {
                Unit::Byte(byte) => self.take_byte(byte),
                Unit::Escape(_) | Unit::Wrong => self.after_backslash = false,
            }
        }
    }

    const fn take_byte(&mut self, byte: u8) {
        if self.in_string {
            match byte {
                _ if self.after_backslash => self.after_backslash = false,
                b'\\' => self.after_backslash = true,
                b'"' => self.in_string = false,
                _ => {}
            }
            return;
        }
        match byte {
            b'"' => self.in_string = true,
            b'{' | b'[' => {
                self.depth = self.depth.saturating_add(1);
                self.has_begun = true;
            }
            b'}' | b']' => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
    }

    /// Whether a whole object or array has come.
    pub(super) const fn are_closed(&self) -> bool {
        self.has_begun && self.depth == 0
    }
}

#[cfg(test)]
#[path = "tests/arguments_tests.rs"]
mod tests;
