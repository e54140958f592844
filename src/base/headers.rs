use std::ops::Range;

/// How many headers of one block are indexed. Envoy itself rejects more than 100 by default.
pub const MAX_HEADERS: usize = 1024;

/// A header map as the host passes it: one block of bytes, indexed in place.
///
/// The map is read whole and once, because each read copies bytes into the VM and allocates there. Headers
/// are changed one by one ([`HeaderSink`]): that is cheap, and writing the whole map back would touch
/// headers that have not changed.
///
/// Layout (proxy-wasm ABI 0.2.1): a little-endian `u32` count, then for each header the two `u32` lengths of
/// name and value, then for each header name, NUL, value, NUL. Names are lower case. A malformed block yields
/// the headers before the first malformed one.
#[derive(Debug, Default)]
pub struct HeaderBlock {
    bytes: Vec<u8>,
    entries: Vec<(Range<usize>, Range<usize>)>,
}

impl HeaderBlock {
    /// Indexes a block.
    pub fn parse(bytes: Vec<u8>) -> Self {
        let mut entries = Vec::new();
        let word = |at: usize| -> Option<usize> {
            let four: [u8; 4] = bytes.get(at..at.checked_add(4)?)?.try_into().ok()?;
            usize::try_from(u32::from_le_bytes(four)).ok()
        };
        let count = word(0).unwrap_or(0).min(MAX_HEADERS);
        entries.reserve(count.min(bytes.len() / 10));
        let mut text_at =
            word(0).and_then(|all| all.checked_mul(8)).and_then(|lengths| lengths.checked_add(4));
        for index in 0..count {
            let entry = (|| {
                let start = text_at?;
                let name_len = word(4 + index * 8)?;
                let value_len = word(8 + index * 8)?;
                let name = start..start.checked_add(name_len)?;
                let value_start = name.end.checked_add(1)?;
                let value = value_start..value_start.checked_add(value_len)?;
                (value.end <= bytes.len()).then_some((name, value))
            })();
            let Some((name, value)) = entry else { break };
            text_at = value.end.checked_add(1);
            entries.push((name, value));
        }
        Self { bytes, entries }
    }

    /// The block of these headers.
    pub fn of(headers: &[(&str, &str)]) -> Self {
        Self::parse(Self::encode(headers))
    }

    /// These headers in the layout that host and filter exchange.
    pub fn encode(headers: &[(&str, &str)]) -> Vec<u8> {
        let mut bytes = (headers.len() as u32).to_le_bytes().to_vec();
        for (name, value) in headers {
            bytes.extend((name.len() as u32).to_le_bytes());
            bytes.extend((value.len() as u32).to_le_bytes());
        }
        for (name, value) in headers {
            bytes.extend(name.bytes());
            bytes.push(0);
            bytes.extend(value.bytes());
            bytes.push(0);
        }
        bytes
    }

    /// Every header in order: name and value as bytes.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.entries
            .iter()
            .filter_map(|(name, value)| Some((self.bytes.get(name.clone())?, self.bytes.get(value.clone())?)))
    }

    /// The first value of the header with this lower-case name.
    pub fn get_bytes(&self, name: &str) -> Option<&[u8]> {
        self.iter().find(|(candidate, _)| *candidate == name.as_bytes()).map(|(_, value)| value)
    }

    /// The first value of the header with this lower-case name, if it is UTF-8.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.get_bytes(name).and_then(|value| std::str::from_utf8(value).ok())
    }
}

/// A header map that can be changed: the host's, or a recording in a test.
pub trait HeaderSink {
    /// Sets the header to exactly this value.
    fn set(&mut self, name: &str, value: &str);
    /// Removes every header with this name.
    fn remove(&mut self, name: &str);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn encoded_headers_are_found() {
        let block = HeaderBlock::of(&[(":path", "/v1/x"), ("a", ""), ("b", "1"), ("b", "2")]);
        assert_eq!(block.get(":path"), Some("/v1/x"));
        assert_eq!(block.get("a"), Some(""));
        assert_eq!(block.get("b"), Some("1"));
        assert_eq!(block.get("c"), None);
        assert_eq!(block.iter().count(), 4);
    }

    #[test]
    fn a_value_that_is_not_utf8_is_available_only_as_bytes() {
        let mut bytes = 1u32.to_le_bytes().to_vec();
        bytes.extend(1u32.to_le_bytes());
        bytes.extend(1u32.to_le_bytes());
        bytes.extend([b'a', 0, 0xff, 0]);
        let block = HeaderBlock::parse(bytes);
        assert_eq!(block.get("a"), None);
        assert_eq!(block.get_bytes("a"), Some(&[0xff][..]));
    }

    proptest! {
        #[test]
        fn any_bytes_are_parsed_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let block = HeaderBlock::parse(bytes);
            for (name, value) in block.iter() {
                prop_assert!(name.len() + value.len() <= 200);
            }
        }
    }
}
