//! The provider's last word on one account's limits for one model.
//!
//! A word counts what the provider had seen when it answered. What is on its way and unanswered then is not in it, so that
//! is taken off besides; what was answered without a word is taken off the last one. Of two words the later one holds:
//! limits refill, so a lower one is not always the truer. After the reset the limit is taken to be whole.

use std::time::Duration;

use crate::base::{Store, Timestamp, update};
use crate::provider::{Meter, RateLimit, RateLimits};

/// A word from further in the future was spoken before the clock stepped back.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(5);

const VERSION: u8 = 1;
const WORD_BYTES: usize = 4 * 8;
const RECORD_BYTES: usize = 1 + Meter::COUNT * WORD_BYTES;
/// Stands for a limit that was not said.
const UNSAID: u64 = u64::MAX;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Word {
    left: RateLimit,
    said_at: Timestamp,
}

/// What the provider said last, by meter.
#[derive(Debug)]
pub struct ReportedLimits {
    key: Box<str>,
    words: [Option<Word>; Meter::COUNT],
    /// The others do not know it yet.
    fresh: bool,
}

impl ReportedLimits {
    /// Nothing yet; `key` names the shared record.
    pub fn new(key: Box<str>) -> Self {
        Self { key, words: [None; Meter::COUNT], fresh: false }
    }

    /// The provider has spoken.
    pub fn hear(&mut self, headroom: &RateLimits, now: Timestamp) {
        for (word, left) in self.words.iter_mut().zip(headroom) {
            if let Some(left) = left {
                *word = Some(Word { left: *left, said_at: now });
                self.fresh = true;
            }
        }
    }

    /// A request has been answered, or lost, without a word.
    pub fn spend(&mut self, need: [u64; Meter::COUNT], now: Timestamp) {
        for (word, need) in self.words.iter_mut().zip(need) {
            if let Some(word) = word.as_mut().filter(|word| now < word.left.reset) {
                word.left.remaining = word.left.remaining.saturating_sub(need);
                word.said_at = word.said_at.max(now);
                self.fresh = true;
            }
        }
    }

    /// What is left of a limit at `now`; `None` where nothing is known.
    pub fn left(&self, meter: Meter, now: Timestamp) -> Option<RateLimit> {
        let word = (*self.words.get(meter as usize)?)?;
        if word.said_at.since(now) > CLOCK_TOLERANCE {
            return None;
        }
        if now < word.left.reset {
            return Some(word.left);
        }
        word.left.limit.map(|limit| RateLimit { remaining: limit, ..word.left })
    }

    /// Shares what the others do not know and learns what they do.
    pub fn exchange(&mut self, store: &mut dyn Store) {
        let words = self.words;
        let shared = if std::mem::take(&mut self.fresh) {
            update(store, &self.key, |bytes| {
                let merged = merge(bytes.and_then(decode).unwrap_or_default(), words);
                (merged, Some(encode(merged)))
            })
        } else {
            store.read(&self.key).ok().flatten().and_then(|stored| decode(&stored.bytes))
        };
        if let Some(shared) = shared {
            self.words = merge(words, shared);
        }
    }
}

fn merge(
    mut one: [Option<Word>; Meter::COUNT],
    other: [Option<Word>; Meter::COUNT],
) -> [Option<Word>; Meter::COUNT] {
    let order = |word: &Word| (word.said_at, std::cmp::Reverse(word.left.remaining));
    for (word, other) in one.iter_mut().zip(other) {
        *word = [*word, other].into_iter().flatten().max_by_key(order);
    }
    one
}

fn encode(words: [Option<Word>; Meter::COUNT]) -> [u8; RECORD_BYTES] {
    let mut bytes = [0; RECORD_BYTES];
    if let Some((version, rest)) = bytes.split_first_mut() {
        *version = VERSION;
        for (place, word) in rest.chunks_exact_mut(WORD_BYTES).zip(words) {
            let Some(Word { left, said_at }) = word else { continue };
            let limit = left.limit.unwrap_or(UNSAID);
            let numbers = [limit, left.remaining, left.reset.as_millis(), said_at.as_millis()];
            for (place, number) in place.chunks_exact_mut(8).zip(numbers) {
                place.copy_from_slice(&number.to_le_bytes());
            }
        }
    }
    bytes
}

fn decode(bytes: &[u8]) -> Option<[Option<Word>; Meter::COUNT]> {
    let (version, rest) = bytes.split_first()?;
    if *version != VERSION || bytes.len() != RECORD_BYTES {
        return None;
    }
    let mut words = [None; Meter::COUNT];
    for (word, place) in words.iter_mut().zip(rest.chunks_exact(WORD_BYTES)) {
        let mut numbers =
            place.chunks_exact(8).filter_map(|eight| Some(u64::from_le_bytes(eight.try_into().ok()?)));
        let mut next = || numbers.next();
        let (limit, remaining, reset, said_at) = (next()?, next()?, next()?, next()?);
        // A word of the epoch was never spoken.
        if said_at > 0 {
            let limit = (limit != UNSAID).then_some(limit);
            let left = RateLimit { limit, remaining, reset: Timestamp::from_millis(reset) };
            *word = Some(Word { left, said_at: Timestamp::from_millis(said_at) });
        }
    }
    Some(words)
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;
    use crate::base::memory::{Memory, Shelf};
    use proptest::prelude::*;

    fn s(seconds: u64) -> Timestamp {
        Timestamp::from_millis(1_000_000_000 + seconds * 1000)
    }

    fn requests(limit: Option<u64>, remaining: u64, reset: Timestamp) -> RateLimits {
        [Some(RateLimit { limit, remaining, reset }), None, None, None]
    }

    fn remaining(told: &ReportedLimits, now: Timestamp) -> Option<u64> {
        told.left(Meter::Requests, now).map(|left| left.remaining)
    }

    #[test]
    fn a_word_holds_until_its_reset_and_then_the_limit_is_whole() {
        let mut told = ReportedLimits::new("k".into());
        assert_eq!(remaining(&told, s(0)), None);
        told.hear(&requests(Some(10), 3, s(30)), s(0));
        told.spend([1, 0, 0, 0], s(1));
        assert_eq!(remaining(&told, s(29)), Some(2));
        assert_eq!(remaining(&told, s(30)), Some(10));
        told.hear(&requests(None, 0, s(60)), s(31));
        assert_eq!((remaining(&told, s(59)), remaining(&told, s(60))), (Some(0), None));
        assert_eq!(told.left(Meter::Tokens, s(31)), None);
    }

    #[test]
    fn the_clock_may_step_back() {
        let mut told = ReportedLimits::new("k".into());
        told.hear(&requests(Some(10), 0, s(90)), s(60));
        assert_eq!(remaining(&told, s(10)), None, "nobody has said this yet");
    }

    #[test]
    fn the_later_word_holds_for_every_worker() {
        let shelf: Rc<std::cell::RefCell<Shelf>> = Rc::default();
        let mut stores = [Memory::on(Rc::clone(&shelf)), Memory::on(shelf)];
        let mut workers = [ReportedLimits::new("k".into()), ReportedLimits::new("k".into())];
        workers[0].hear(&requests(Some(10), 7, s(60)), s(1));
        workers[1].hear(&requests(Some(10), 8, s(60)), s(0));
        for _ in 0..2 {
            for (worker, store) in workers.iter_mut().zip(&mut stores) {
                worker.exchange(store);
            }
        }
        assert_eq!([remaining(&workers[0], s(2)), remaining(&workers[1], s(2))], [Some(7); 2]);
        workers[1].spend([2, 0, 0, 0], s(2));
        for worker in [1, 0] {
            workers[worker].exchange(&mut stores[worker]);
        }
        assert_eq!(remaining(&workers[0], s(2)), Some(5));
    }

    proptest! {
        #[test]
        fn any_record_is_read_or_passed_over(mut bytes in proptest::collection::vec(any::<u8>(), RECORD_BYTES), cut in 0..=RECORD_BYTES) {
            prop_assert!(decode(&bytes[..cut]).is_none() || cut == RECORD_BYTES);
            bytes[0] = VERSION;
            let words = decode(&bytes).unwrap();
            prop_assert_eq!(decode(&encode(words)), Some(words));
        }
    }
}
