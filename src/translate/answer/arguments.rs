//! The arguments of calls: JSON texts, which chat carries as strings and Messages as objects.

use super::super::json::Writer;

/// The member under which arguments that are no JSON object reach a client that expects one. Anthropic's
/// documentation of fine-grained tool streaming names it.
const INVALID: &str = "INVALID_JSON";

/// The deepest nesting of arguments that are given to a client as an object.
const MAX_DEPTH: u32 = 128;

/// Writes arguments as an object.
pub(super) fn write_object(text: &[u8], to: &mut Writer) {
    match text.trim_ascii() {
        b"" => to.literal(b"{}"),
        json if json.first() == Some(&b'{') && is_json(json) => to.literal(json),
        _ => to.object(|to| to.key(INVALID).text(text)),
    }
}

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

/// Whether `text` is JSON. It is strict, because what passes here is written to the client as it is.
fn is_json(text: &[u8]) -> bool {
    std::str::from_utf8(text).is_ok() && Checker { rest: text, depth: 0, objects: 0 }.check().is_some()
}

/// Checks JSON without recursion.
struct Checker<'a> {
    rest: &'a [u8],
    depth: u32,
    /// One bit for each open bracket, the innermost lowest: whether it is an object.
    objects: u128,
}

impl Checker<'_> {
    fn check(mut self) -> Option<()> {
        loop {
            let is_opened = self.open_or_value()?;
            if !is_opened && !self.close_and_separate()? {
                self.skip_space();
                return self.rest.is_empty().then_some(());
            }
        }
    }

    /// Reads a value, or the beginning of one that has values in it.
    fn open_or_value(&mut self) -> Option<bool> {
        self.skip_space();
        match self.rest {
            [bracket @ (b'{' | b'['), rest @ ..] => {
                self.rest = rest;
                self.open(*bracket == b'{')
            }
            [b'"', ..] => self.string().map(|()| false),
            _ => self.scalar().map(|()| false),
        }
    }

    /// Opens a bracket. `false` if it is closed at once.
    fn open(&mut self, is_object: bool) -> Option<bool> {
        self.depth += 1;
        self.objects = self.objects << 1 | u128::from(is_object);
        if self.depth > MAX_DEPTH {
            return None;
        }
        if self.eat(self.closing()) {
            self.close();
            return Some(false);
        }
        if is_object {
            self.key()?;
        }
        Some(true)
    }

    /// Reads what follows a value. `false` if it is the end.
    fn close_and_separate(&mut self) -> Option<bool> {
        while self.depth > 0 {
            if self.eat(b',') {
                if self.is_object() {
                    self.key()?;
                }
                return Some(true);
            }
            if !self.eat(self.closing()) {
                return None;
            }
            self.close();
        }
        Some(false)
    }

    const fn is_object(&self) -> bool {
        self.objects & 1 == 1
    }

    const fn closing(&self) -> u8 {
        if self.is_object() { b'}' } else { b']' }
    }

    const fn close(&mut self) {
        self.depth -= 1;
        self.objects >>= 1;
    }

    fn key(&mut self) -> Option<()> {
        self.skip_space();
        self.string()?;
        self.eat(b':').then_some(())
    }

    fn string(&mut self) -> Option<()> {
        let mut rest = self.rest.strip_prefix(b"\"")?;
        loop {
            rest = match rest {
                [b'"', rest @ ..] => {
                    self.rest = rest;
                    return Some(());
                }
                [b'\\', b'u', a, b, c, d, rest @ ..]
                    if [a, b, c, d].iter().all(|digit| digit.is_ascii_hexdigit()) =>
                {
                    rest
                }
                [b'\\', b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', rest @ ..] => rest,
                [b'\\' | 0..0x20, ..] | [] => return None,
                [_, rest @ ..] => rest,
            };
        }
    }

    fn scalar(&mut self) -> Option<()> {
        for word in [b"true".as_slice(), b"false", b"null"] {
            if let Some(rest) = self.rest.strip_prefix(word) {
                self.rest = rest;
                return Some(());
            }
        }
        self.number()
    }

    fn number(&mut self) -> Option<()> {
        self.rest = self.rest.strip_prefix(b"-").unwrap_or(self.rest);
        match self.rest {
            [b'0', rest @ ..] => self.rest = rest,
            _ => self.digits()?,
        }
        if let Some(rest) = self.rest.strip_prefix(b".") {
            self.rest = rest;
            self.digits()?;
        }
        if let [b'e' | b'E', rest @ ..] = self.rest {
            self.rest = match rest {
                [b'+' | b'-', rest @ ..] => rest,
                rest => rest,
            };
            self.digits()?;
        }
        Some(())
    }

    fn digits(&mut self) -> Option<()> {
        let count = self.rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.rest = self.rest.get(count..)?;
        (count > 0).then_some(())
    }

    fn eat(&mut self, byte: u8) -> bool {
        self.skip_space();
        let rest = self.rest.strip_prefix(&[byte]);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn skip_space(&mut self) {
        while let [b' ' | b'\n' | b'\r' | b'\t', rest @ ..] = self.rest {
            self.rest = rest;
        }
    }
}

#[cfg(test)]
#[path = "tests/arguments_tests.rs"]
mod tests;
