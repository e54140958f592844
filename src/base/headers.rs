use super::names::{name_hash, same_bytes};

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
/// the headers before the first malformed one.
///
/// Most searches are for headers that are not there. [`Places`] answers nearly all of these at once, and says where the
/// others are.
#[derive(Debug, Default)]
pub struct HeaderBlock {
    bytes: Vec<u8>,
    /// How many headers of the block are well-formed and read.
    count: usize,
    /// Where their text begins.
    text: usize,
    /// In a box, because a block is moved often.
    places: Box<Places>,
}

/// Where the headers of a block are, by a hash of their names.
#[derive(Debug)]
struct Places([Place; Places::SLOTS]);

/// The first header whose name has a hash, if there is one.
///
/// From the lowest bit: whether there is one, whether there are more of this hash, its number, where its text begins.
#[derive(Debug, Default, Clone, Copy)]
struct Place(u32);

impl Place {
    const IS_THERE: u32 = 1;
    const HAS_MORE: u32 = 2;
    const NUMBER: u32 = 2;
    const START: u32 = 2 + MAX_HEADERS.trailing_zeros();

    fn of(number: usize, start: usize) -> Self {
        match u32::try_from(start) {
            Ok(start) if start < 1 << (u32::BITS - Self::START) => {
                Self(start << Self::START | (number as u32) << Self::NUMBER | Self::IS_THERE)
            }
            // It begins too far behind, so it is searched from the first one on.
            _ => Self(Self::IS_THERE | Self::HAS_MORE),
        }
    }

    #[inline(always)]
    const fn is_empty(self) -> bool {
        self.0 == 0
    }

    const fn has_more(self) -> bool {
        self.0 & Self::HAS_MORE != 0
    }

    const fn number(self) -> usize {
        (self.0 >> Self::NUMBER) as usize % MAX_HEADERS
    }

    const fn start(self) -> usize {
        (self.0 >> Self::START) as usize
    }
}

impl Default for Places {
    fn default() -> Self {
        Self([Place::default(); Self::SLOTS])
    }
}

impl Places {
    const SLOTS: usize = 64;

    fn add(&mut self, name: &[u8], number: usize, start: usize) {
        if let Some(place) = self.0.get_mut(name_hash(name) as usize % Self::SLOTS) {
            if place.is_empty() {
                *place = Place::of(number, start);
            } else {
                place.0 |= Place::HAS_MORE;
            }
        }
    }

    /// Inlined, because where the name is a constant its hash is one too.
    #[inline(always)]
    fn of(&self, name: &str) -> Place {
        self.0.get(name_hash(name.as_bytes()) as usize % Self::SLOTS).copied().unwrap_or_default()
    }
}

/// The lengths and the text of a block's headers. `None` if the lengths are cut off.
fn parts(bytes: &[u8]) -> Option<(&[[u8; 8]], &[u8])> {
    let (count, rest) = bytes.split_first_chunk()?;
    let count = u32::from_le_bytes(*count) as usize;
    let (lengths, text) = rest.split_at_checked(count.checked_mul(8)?)?;
    Some((lengths.as_chunks().0, text))
}

/// The lengths of a name and its value.
const fn split(both: [u8; 8]) -> (usize, usize) {
    let both = u64::from_le_bytes(both);
    (both as u32 as usize, (both >> 32) as usize)
}

impl HeaderBlock {
    /// A block as the host passes it.
    pub fn parse(bytes: Vec<u8>) -> Self {
        let mut places = Box::<Places>::default();
        let (lengths, text) = parts(&bytes).unwrap_or_default();
        let (mut count, mut start) = (0, 0);
        for both in lengths.iter().take(MAX_HEADERS) {
            let (name, value) = split(*both);
            // The NUL after the last value may be missing. The sum fits into 64 bits.
            let end = start as u64 + name as u64 + 1 + value as u64;
            let Some(found) = text.get(start..).and_then(|rest| rest.get(..name)) else { break };
            if end > text.len() as u64 {
                break;
            }
            places.add(found, count, start);
            start += name + value + 2;
            count += 1;
        }
        let text = bytes.len() - text.len();
        Self { bytes, count, text, places }
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
        self.iter_from(0, 0)
    }

    fn iter_from(&self, first: usize, mut start: usize) -> impl Iterator<Item = (&[u8], &[u8])> {
        (first..self.count).map_while(move |number| {
            let (name, value) = self.at(number, start)?;
            start += name.len() + value.len() + 2;
            Some((name, value))
        })
    }

    /// The header with this number, whose text begins at `start`. Both are those of a header that was checked when the block
    /// was parsed.
    #[inline]
    fn at(&self, number: usize, start: usize) -> Option<(&[u8], &[u8])> {
        let (name, value) = split(*self.bytes.get(4 + 8 * number..)?.first_chunk()?);
        let (name, rest) = self.bytes.get(self.text + start..)?.split_at_checked(name)?;
        Some((name, rest.get(1..)?.get(..value)?))
    }

    /// The first value of the header with this lower-case name.
    #[inline(always)]
    pub fn get_bytes<'a>(&'a self, name: &str) -> Option<&'a [u8]> {
        let place = self.places.of(name);
        if place.is_empty() { None } else { self.find(place, name) }
    }

    #[inline(never)]
    fn find<'a>(&'a self, place: Place, name: &str) -> Option<&'a [u8]> {
        let (found, value) = self.at(place.number(), place.start())?;
        if same_bytes(found, name.as_bytes()) {
            Some(value)
        } else if place.has_more() {
            self.search(place, name).next()
        } else {
            None
        }
    }

    /// The values of all headers with this lower-case name, in order.
    pub fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        // Nearly always there is none or one.
        let place = self.places.of(name);
        let one = if place.is_empty() || place.has_more() { None } else { self.find(place, name) };
        one.into_iter().chain(place.has_more().then(|| self.search(place, name)).into_iter().flatten())
    }

    /// The same, from the first header with this hash on.
    fn search<'a>(&'a self, place: Place, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.iter_from(place.number(), place.start())
            .filter(move |(found, _)| same_bytes(found, name.as_bytes()))
            .map(|(_, value)| value)
    }

    /// The first value of the header with this lower-case name, if it is UTF-8.
    #[inline(always)]
    pub fn get<'a>(&'a self, name: &str) -> Option<&'a str> {
        let place = self.places.of(name);
        if place.is_empty() { None } else { self.find_text(place, name) }
    }

    #[inline(never)]
    fn find_text<'a>(&'a self, place: Place, name: &str) -> Option<&'a str> {
        self.find(place, name).and_then(|value| std::str::from_utf8(value).ok())
    }
}

/// A header map that can be changed: the host's, or a recording in a test.
pub trait HeaderSink {
    /// Sets the header to exactly this value.
    fn set(&mut self, name: &str, value: &str);
    /// Removes every header with this lower-case name.
    fn remove(&mut self, name: &[u8]);
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
    fn headers_are_found_behind_any_others() {
        let long = "x".repeat(3 << 20);
        let mut headers = vec![("a", "1"), ("b", &long), ("c", "2"), ("b", "3"), ("c", "4")];
        headers.extend([("d", "5"); MAX_HEADERS - 6]);
        headers.extend([("e", "6"), ("f", "7")]);
        let block = HeaderBlock::of(&headers);
        let all = |name: &str| block.all(name).collect::<Vec<_>>();
        assert_eq!(all("a"), [b"1"]);
        assert_eq!(all("b"), [long.as_bytes(), b"3"]);
        assert_eq!(all("c"), [b"2", b"4"]);
        assert_eq!(all("d").len(), MAX_HEADERS - 6);
        assert_eq!(all("e"), [b"6"]);
        assert_eq!(all("f"), Vec::<&[u8]>::new(), "it is beyond the limit");
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
