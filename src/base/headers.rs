use super::names::same_bytes;

/// How many headers of one block are read. Envoy itself rejects more than 100 by default.
pub const MAX_HEADERS: usize = 1024;

/// A header map as the host passes it: one block of bytes, read in place.
///
/// The map is read whole and once, because each read copies bytes into the VM and allocates there. Headers
/// are changed one by one ([`HeaderSink`]): that is cheap, and writing the whole map back would touch
/// headers that have not changed.
///
/// Layout (proxy-wasm ABI 0.2.1): a little-endian `u32` count, then for each header the two `u32` lengths of
/// name and value, then for each header name, NUL, value, NUL. Names are lower case. A malformed block yields
/// the headers before the first malformed one. The lengths come first, so a search passes over most headers
/// without looking at their text.
///
/// Most searches are for headers that are not there. [`NameMarks`] answers nearly all of these at once.
#[derive(Debug, Default)]
pub struct HeaderBlock {
    bytes: Vec<u8>,
    /// How many headers of the block are well-formed and read.
    count: usize,
    marks: NameMarks,
}

/// A mark for each name of a block. A name whose mark is missing is not there; one whose mark is set may be.
#[derive(Debug, Default)]
struct NameMarks([u32; NameMarks::WORDS]);

impl NameMarks {
    const WORDS: usize = 8;

    /// The word and the bit that stand for a name. Its length, its first and its last bytes tell most names apart.
    #[inline(always)]
    const fn place(name: &[u8]) -> (usize, u32) {
        let mut hash = name.len() as u32 * 7;
        if let [.., before, last] = name {
            hash ^= (*last as u32) << 3 ^ *before as u32;
        }
        if let [_, second, third, ..] = name {
            hash ^= (*third as u32) << 2 ^ (*second as u32) << 1;
        }
        ((hash >> 5) as usize % Self::WORDS, 1 << (hash & 31))
    }

    fn add(&mut self, name: &[u8]) {
        let (word, bit) = Self::place(name);
        if let Some(word) = self.0.get_mut(word) {
            *word |= bit;
        }
    }

    /// Inlined, because where the name is a constant its place is one too.
    #[inline(always)]
    fn may_have(&self, name: &[u8]) -> bool {
        let (word, bit) = Self::place(name);
        self.0.get(word).is_none_or(|word| word & bit != 0)
    }
}

/// The headers of a block that are not read yet.
struct Headers<'a> {
    lengths: std::slice::Iter<'a, [u8; 8]>,
    text: &'a [u8],
}

impl<'a> Headers<'a> {
    /// The first headers of a block, at most `most`.
    fn first(bytes: &'a [u8], most: usize) -> Self {
        Self::of(bytes, most).unwrap_or(Self { lengths: [].iter(), text: &[] })
    }

    fn of(bytes: &'a [u8], most: usize) -> Option<Self> {
        let (count, rest) = bytes.split_first_chunk()?;
        let count = u32::from_le_bytes(*count) as usize;
        let (lengths, text) = rest.split_at_checked(count.checked_mul(8)?)?;
        let (lengths, _) = lengths.as_chunks();
        Some(Self { lengths: lengths.get(..most).unwrap_or(lengths).iter(), text })
    }
}

impl<'a> Iterator for Headers<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (name, value) = lengths(*self.lengths.next()?);
        let (name, rest) = self.text.split_at_checked(name)?;
        let (value, rest) = rest.get(1..)?.split_at_checked(value)?;
        // The NUL after the last value may be missing.
        self.text = rest.get(1..).unwrap_or_default();
        Some((name, value))
    }
}

/// The values of the headers with one name. The headers were checked when the block was parsed, so their lengths can
/// be added up, and the text of few of them is looked at.
struct Named<'a, 'n> {
    name: &'n [u8],
    headers: Headers<'a>,
    /// Where the next header begins.
    at: usize,
}

impl<'a> Iterator for Named<'a, '_> {
    type Item = &'a [u8];

    #[inline(never)]
    fn next(&mut self) -> Option<&'a [u8]> {
        let Self { name, headers: Headers { lengths: all, text }, at } = self;
        for both in all {
            let (name_length, value_length) = lengths(*both);
            let start = *at;
            *at += name_length + value_length + 2;
            if name_length == name.len() {
                let (found, value) = text.get(start..)?.split_at_checked(name_length)?;
                if same_bytes(found, name) {
                    return value.get(1..)?.get(..value_length);
                }
            }
        }
        None
    }
}

/// The lengths of a name and its value.
const fn lengths([a, b, c, d, e, f, g, h]: [u8; 8]) -> (usize, usize) {
    (u32::from_le_bytes([a, b, c, d]) as usize, u32::from_le_bytes([e, f, g, h]) as usize)
}

impl HeaderBlock {
    /// A block as the host passes it.
    pub fn parse(bytes: Vec<u8>) -> Self {
        let mut marks = NameMarks::default();
        let count = Headers::first(&bytes, MAX_HEADERS).map(|(name, _)| marks.add(name)).count();
        Self { bytes, count, marks }
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
        Headers::first(&self.bytes, self.count)
    }

    /// Whether there may be a header with this lower-case name. If not, there is none.
    #[inline(always)]
    fn may_have(&self, name: &str) -> bool {
        self.marks.may_have(name.as_bytes())
    }

    /// The first value of the header with this lower-case name.
    #[inline(always)]
    pub fn get_bytes<'a>(&'a self, name: &str) -> Option<&'a [u8]> {
        if self.may_have(name) { self.find(name) } else { None }
    }

    #[inline(never)]
    fn find<'a>(&'a self, name: &str) -> Option<&'a [u8]> {
        self.all(name).next()
    }

    /// The values of all headers with this lower-case name, in order.
    pub fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        let most = if self.may_have(name) { self.count } else { 0 };
        Named { name: name.as_bytes(), headers: Headers::first(&self.bytes, most), at: 0 }
    }

    /// The first value of the header with this lower-case name, if it is UTF-8.
    #[inline(always)]
    pub fn get<'a>(&'a self, name: &str) -> Option<&'a str> {
        if self.may_have(name) { self.find_text(name) } else { None }
    }

    #[inline(never)]
    fn find_text<'a>(&'a self, name: &str) -> Option<&'a str> {
        self.find(name).and_then(|value| std::str::from_utf8(value).ok())
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

    #[test]
    fn a_malformed_block_yields_the_headers_before_the_first_malformed_one() {
        let block = HeaderBlock::encode(&[("a", "1"), ("b", "22"), ("c", "333")]);
        let names = |bytes: &[u8]| {
            HeaderBlock::parse(bytes.to_vec()).iter().map(|(name, _)| name.to_vec()).collect::<Vec<_>>()
        };
        assert_eq!(names(&block), [b"a", b"b", b"c"]);
        assert_eq!(names(&block[..block.len() - 1]), [b"a", b"b", b"c"], "only the last NUL is missing");
        assert_eq!(names(&block[..block.len() - 2]), [b"a", b"b"]);
        let mut long_name = block.clone();
        long_name[12] = 200;
        assert_eq!(names(&long_name), [b"a"]);
        let mut many = block.clone();
        many[..4].fill(0xff);
        assert_eq!(names(&many), Vec::<Vec<u8>>::new());
        assert_eq!(names(&block[..20]), Vec::<Vec<u8>>::new(), "the lengths are cut off");
        assert_eq!(names(&[]), Vec::<Vec<u8>>::new());
    }

    #[test]
    fn no_more_headers_than_the_limit_are_read() {
        let block = HeaderBlock::of(&vec![("a", "1"); MAX_HEADERS + 1]);
        assert_eq!(block.iter().count(), MAX_HEADERS);
    }

    #[test]
    fn a_name_is_found_whatever_other_names_are_there() {
        let names: Vec<String> = (1..40).map(|length| "x-".repeat(length) + &length.to_string()).collect();
        for name in &names {
            let block = HeaderBlock::of(&[(name, "1"), ("a", "2")]);
            for other in &names {
                assert_eq!(block.get(other), (other == name).then_some("1"), "{other}");
            }
            assert_eq!(block.get(""), None);
        }
    }

    proptest! {
        #[test]
        fn every_header_is_found(names in proptest::collection::vec("[a-z-]{0,20}", 0..12)) {
            let headers: Vec<_> = names.iter().map(|name| (name.as_str(), "1")).collect();
            let block = HeaderBlock::of(&headers);
            for name in &names {
                prop_assert_eq!(block.get_bytes(name), Some(&b"1"[..]));
            }
        }

        #[test]
        fn a_search_finds_what_a_walk_finds(
            headers in proptest::collection::vec(("[ab]{0,3}|[a-z-]{8,20}", "[a-z]{0,9}"), 0..12),
            cut in any::<prop::sample::Index>(),
            (place, byte) in (any::<prop::sample::Index>(), any::<u8>()),
        ) {
            let headers: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            let whole = HeaderBlock::encode(&headers);
            let mut damaged = whole.clone();
            damaged[place.index(whole.len())] = byte;
            for bytes in [&whole[..], &whole[..cut.index(whole.len())], &damaged] {
                let block = HeaderBlock::parse(bytes.to_vec());
                for (name, _) in &headers {
                    let of_name = block.iter().filter(|(other, _)| *other == name.as_bytes());
                    let walked: Vec<_> = of_name.map(|(_, value)| value).collect();
                    prop_assert_eq!(block.get_bytes(name), walked.first().copied());
                    prop_assert_eq!(block.all(name).collect::<Vec<_>>(), walked);
                }
            }
        }

        #[test]
        fn any_bytes_are_parsed_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let block = HeaderBlock::parse(bytes);
            for (name, value) in block.iter() {
                prop_assert!(name.len() + value.len() <= 200);
            }
        }
    }
}
