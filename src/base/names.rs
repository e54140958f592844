/// Whether two byte strings are equal.
///
/// `==` is a call that compares byte by byte in Wasm. Names are short, so a few words decide here.
#[inline]
pub fn same_bytes(one: &[u8], other: &[u8]) -> bool {
    if one.len() != other.len() {
        return false;
    }
    if let (Some(a), Some(b)) = (one.last_chunk::<8>(), other.last_chunk::<8>()) {
        return a == b && one.as_chunks::<8>().0.iter().eq(other.as_chunks::<8>().0);
    }
    if let (Some(a), Some(b)) = (one.first_chunk::<4>(), other.first_chunk::<4>()) {
        return a == b && one.last_chunk::<4>() == other.last_chunk::<4>();
    }
    one.iter().eq(other)
}

/// A hash of a name. Its length, its first and its last bytes tell most names apart.
#[inline(always)]
pub const fn name_hash(name: &[u8]) -> u32 {
    let (first, last) = match (name.first_chunk::<4>(), name.last_chunk::<4>()) {
        (Some(first), Some(last)) => (u32::from_le_bytes(*first), u32::from_le_bytes(*last)),
        _ => match name {
            [a, .., c] => (*a as u32, *c as u32),
            [a] => (*a as u32, 0),
            [] => (0, 0),
        },
    };
    (first ^ last.rotate_left(15) ^ name.len() as u32).wrapping_mul(0x9e37_79b1) >> 16
}

/// The names that have a meaning, with their meanings. One is found with one comparison, usually.
///
/// Made when the program is compiled. More than half of the `SLOTS`, a power of two, must stay free.
#[derive(Debug)]
pub struct Names<T: 'static, const SLOTS: usize> {
    slots: [Option<(&'static [u8], T)>; SLOTS],
}

impl<T: Copy, const SLOTS: usize> Names<T, SLOTS> {
    /// These names.
    ///
    /// # Panics
    /// When the program is compiled: if there are too many names.
    #[allow(clippy::indexing_slicing)]
    pub const fn new(names: &[(&'static [u8], T)]) -> Self {
        assert!(SLOTS.is_power_of_two() && names.len() * 2 < SLOTS, "more slots are needed");
        let mut slots = [None; SLOTS];
        let mut index = 0;
        while index < names.len() {
            let mut slot = Self::first_slot(names[index].0);
            while slots[slot].is_some() {
                slot = (slot + 1) % SLOTS;
            }
            slots[slot] = Some(names[index]);
            index += 1;
        }
        Self { slots }
    }

    /// The meaning of `name`.
    #[inline]
    pub fn get(&self, name: &[u8]) -> Option<T> {
        let mut slot = Self::first_slot(name);
        while let Some(Some((known, meaning))) = self.slots.get(slot) {
            if same_bytes(known, name) {
                return Some(*meaning);
            }
            slot = (slot + 1) % SLOTS;
        }
        None
    }

    /// Where the search for `name` begins.
    #[inline]
    const fn first_slot(name: &[u8]) -> usize {
        name_hash(name) as usize % SLOTS
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NAMES: Names<u8, 8> = Names::new(&[(b"", 0), (b"n", 1), (b"model", 2)]);

    #[test]
    fn exactly_the_names_are_found() {
        for (name, meaning) in
            [("", Some(0)), ("n", Some(1)), ("model", Some(2)), ("m", None), ("models", None)]
        {
            assert_eq!(NAMES.get(name.as_bytes()), meaning, "{name}");
        }
    }

    proptest! {
        #[test]
        fn equal_means_equal_in_every_byte(
            bytes in proptest::collection::vec(any::<u8>(), 0..40), place in any::<prop::sample::Index>()
        ) {
            prop_assert!(same_bytes(&bytes, &bytes.clone()));
            prop_assert!(!same_bytes(&bytes, &[&bytes[..], &[0]].concat()));
            if !bytes.is_empty() {
                let mut other = bytes.clone();
                other[place.index(bytes.len())] ^= 1;
                prop_assert!(!same_bytes(&bytes, &other));
            }
        }

        #[test]
        fn any_other_name_is_unknown(name in proptest::collection::vec(any::<u8>(), 0..20)) {
            let expected = match &*name { b"" => Some(0), b"n" => Some(1), b"model" => Some(2), _ => None };
            prop_assert_eq!(NAMES.get(&name), expected);
        }
    }
}
