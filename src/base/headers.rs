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
/// the headers before the first malformed one. The lengths come first, so a search passes over most headers
/// without looking at their text.
///
/// Most searches are for headers that are not there. [`Places`] answers nearly all of these at once, and says where the
/// others are.
#[derive(Debug, Default)]
pub struct HeaderBlock {
    bytes: Vec<u8>,
    /// How many headers of the block are well-formed and read.
    count: usize,
    places: Places,
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
        let mut places = Places::default();
        let (mut count, mut start) = (0, 0);
        for (name, value) in Headers::first(&bytes, MAX_HEADERS) {
            places.add(name, count, start);
            start += name.len() + value.len() + 2;
            count += 1;
        }
        Self { bytes, count, places }
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

    /// The first value of the header with this lower-case name.
    #[inline(always)]
    pub fn get_bytes<'a>(&'a self, name: &str) -> Option<&'a [u8]> {
        let place = self.places.of(name);
        if place.is_empty() { None } else { self.find(place, name) }
    }

    #[inline(never)]
    fn find<'a>(&'a self, place: Place, name: &str) -> Option<&'a [u8]> {
        self.named(place, name).next()
    }

    /// The values of all headers with this lower-case name, in order.
    pub fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.named(self.places.of(name), name)
    }

    fn named<'a, 'n>(&'a self, place: Place, name: &'n str) -> Named<'a, 'n> {
        let most = if place.is_empty() { 0 } else { self.count };
        let mut headers = Headers::first(&self.bytes, most);
        let lengths = headers.lengths.as_slice().get(place.number()..).unwrap_or_default();
        let lengths = if place.has_more() { lengths } else { lengths.get(..1).unwrap_or_default() };
        headers.lengths = lengths.iter();
        Named { name: name.as_bytes(), headers, at: place.start() }
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
