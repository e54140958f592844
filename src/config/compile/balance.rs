use crate::config::balance::{Balance, SessionKey};
use crate::config::mistakes::{Mistakes, Trail, shown};
use crate::config::nearest::hint;
use crate::config::raw::{Mapping, RawBalance, Words};

use super::common::word;

pub(super) fn balance(raw: Option<&Mapping<RawBalance>>, at: &Trail<'_>, mistakes: &mut Mistakes) -> Balance {
    let Some(Mapping(raw)) = raw else { return Balance::default() };
    #[derive(Clone, Copy, Default, PartialEq)]
    enum Strategy {
        #[default]
        Weighted,
        LeastPending,
        Fastest,
        Cheapest,
        Sticky,
    }
    let strategies = [
        ("weighted", Strategy::Weighted),
        ("least_pending", Strategy::LeastPending),
        ("fastest", Strategy::Fastest),
        ("cheapest", Strategy::Cheapest),
        ("sticky", Strategy::Sticky),
    ];
    let strategy = word(raw.strategy.as_ref(), &strategies, &at.field("strategy"), mistakes);
    let by_at = at.field("by");
    if raw.by.is_some() && strategy != Strategy::Sticky && !mistakes.holds(&at.field("strategy")) {
        mistakes.add(&by_at, "applies only to `strategy: sticky`");
    }
    match strategy {
        Strategy::Weighted => Balance::Weighted,
        Strategy::LeastPending => Balance::LeastPending,
        Strategy::Fastest => Balance::Fastest,
        Strategy::Cheapest => Balance::Cheapest,
        Strategy::Sticky => Balance::Sticky { by: session_keys(raw.by.as_ref(), &by_at, mistakes) },
    }
}

fn session_keys(words: Option<&Words>, at: &Trail<'_>, mistakes: &mut Mistakes) -> Vec<SessionKey> {
    let Some(words) = words else { return SessionKey::ALL.to_vec() };
    if words.is_empty() {
        mistakes.add(at, "is empty, expected at least one");
    }
    let mut keys = Vec::new();
    for (index, word) in words.iter().enumerate() {
        let Some(word) = word else { continue };
        let found = SessionKey::ALL.into_iter().find(|key| key.name() == word);
        match found {
            Some(key) if keys.contains(&key) => {
                mistakes.add_with(&at.item(index), || format!("`{word}` is listed twice"));
            }
            Some(key) => keys.push(key),
            None => {
                let near = hint(word, SessionKey::ALL.into_iter().map(SessionKey::name));
                mistakes.add(&at.item(index), format!("`{}` is not a session key{near}", shown(word)));
            }
        }
    }
    keys
}
