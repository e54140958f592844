use std::fmt;
use std::ops::Deref;

/// The longest text that needs no memory of its own, in bytes. A UUID and the ids of the providers fit.
const INSIDE: usize = 46;

/// A text that is nearly always short: the name of a model, an id. A short one needs no allocation.
#[derive(Clone)]
pub struct ShortText(Place);

#[derive(Clone)]
enum Place {
    Inside { bytes: [u8; INSIDE], len: u8 },
    Outside(Box<str>),
}

impl ShortText {
    /// The text.
    #[inline]
    pub fn as_str(&self) -> &str {
        match &self.0 {
            // The bytes were a text when they came here.
            Place::Inside { bytes, len } => bytes
                .get(..usize::from(*len))
                .and_then(|bytes| std::str::from_utf8(bytes).ok())
                .unwrap_or_default(),
            Place::Outside(text) => text,
        }
    }

    /// Its bytes. Comparing these is cheaper than comparing texts.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Place::Inside { bytes, len } => bytes.get(..usize::from(*len)).unwrap_or_default(),
            Place::Outside(text) => text.as_bytes(),
        }
    }

    #[cold]
    #[inline(never)]
    fn outside(text: &str) -> Self {
        Self(Place::Outside(text.into()))
    }
}

impl From<&str> for ShortText {
    #[inline]
    fn from(text: &str) -> Self {
        let mut bytes = [0; INSIDE];
        match (bytes.get_mut(..text.len()), u8::try_from(text.len())) {
            (Some(inside), Ok(len)) => {
                inside.copy_from_slice(text.as_bytes());
                Self(Place::Inside { bytes, len })
            }
            _ => Self::outside(text),
        }
    }
}

impl Deref for ShortText {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl PartialEq for ShortText {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for ShortText {}

impl PartialEq<str> for ShortText {
    fn eq(&self, other: &str) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl fmt::Debug for ShortText {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), formatter)
    }
}

impl fmt::Display for ShortText {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_of_any_length_is_kept() {
        for len in [0, 1, INSIDE - 1, INSIDE, INSIDE + 1, 300] {
            let text = "é".repeat(len / 2) + &"x".repeat(len % 2);
            let kept = ShortText::from(text.as_str());
            assert_eq!((kept.as_str(), kept.as_bytes()), (text.as_str(), text.as_bytes()));
            assert_eq!((kept.clone(), kept.to_string()), (kept, text));
            assert_eq!(matches!(ShortText::from(&*"y".repeat(len)).0, Place::Inside { .. }), len <= INSIDE);
        }
    }
}
