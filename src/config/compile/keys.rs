use std::collections::HashMap;
use std::rc::Rc;

use super::boundaries::Known;
use super::budget;
use super::common::{all_or_none, each, needed, word};
use super::dates::end;
use super::limits::MAX_DIGESTS;
use super::names::Names;
use crate::base::ModelId;
use crate::config::keys::{ClientKey, Digests};
use crate::config::mistakes::{Mistakes, Trail, shown};
use crate::config::raw::{RawClientKey, RawDigests, Section, Words};
use crate::config::retry::Priority;

/// SHA-256 of an empty string (FIPS 180-4), which is the result of hashing an unset variable.
const DIGEST_OF_EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// The outer `None` is a mistake, the inner one an absent section. They must not be confused, because without
/// the section every client is admitted.
pub(super) fn keys(
    section: &Option<Section<RawClientKey>>,
    models: &Names<'_>,
    known: Known<'_>,
    mistakes: &mut Mistakes,
) -> Option<Option<Vec<ClientKey>>> {
    let Some(entries) = section else {
        return if mistakes.holds(&Trail::Root.field("keys")) { None } else { Some(None) };
    };
    if entries.is_empty() {
        mistakes
            .add(&Trail::Root.field("keys"), "is empty; leave it out to let every client use every model");
    }
    let mut holders: HashMap<[u8; 32], String> = HashMap::new();
    let keys = each(section, "keys", mistakes, |name, raw, at, mistakes| {
        let digests = needed(&raw.sha256, "sha256", at, mistakes)
            .and_then(|written| digests(written, &mut holders, name, at, mistakes));
        let expires = raw.expires.as_ref().map(|written| end(written, &at.field("expires"), mistakes));
        let models = allowed_models(raw.models.as_ref(), models, &at.field("models"), mistakes);
        let priorities = Priority::ALL.map(|priority| (priority.name(), priority));
        let priority = word(raw.priority.as_ref(), &priorities, &at.field("priority"), mistakes);
        let budget = budget::budget(raw.budget.as_ref(), at, mistakes);
        let metadata = budget::metadata(raw.metadata.as_ref(), at, mistakes);
        let boundaries = known.of_key(raw, at, mistakes);
        Some(ClientKey {
            name: Rc::from(name),
            digests: digests?,
            expires: expires.flatten(),
            models,
            priority,
            budget,
            metadata,
            boundaries,
        })
    });
    all_or_none(keys).map(Some)
}

/// The digests that are `written`, if none of them is one of the `holders`' digests.
pub(super) fn digests(
    written: &RawDigests,
    holders: &mut HashMap<[u8; 32], String>,
    name: &str,
    at: &Trail<'_>,
    mistakes: &mut Mistakes,
) -> Option<Digests> {
    let at = at.field("sha256");
    let list = match written {
        RawDigests::One(one) => {
            return Some(Digests { first: digest(one, holders, name, &at, mistakes)?, second: None });
        }
        RawDigests::Several(list) => list,
    };
    if list.is_empty() || list.len() > MAX_DIGESTS {
        mistakes.add(
            &at,
            format!("has {} digests, expected one, or {MAX_DIGESTS} while the key is rotated", list.len()),
        );
        return None;
    }
    let digests = list
        .iter()
        .enumerate()
        .map(|(index, written)| digest(written.as_ref()?, holders, name, &at.item(index), mistakes));
    match all_or_none(digests.collect())?.as_slice() {
        [first] => Some(Digests { first: *first, second: None }),
        [first, second] => Some(Digests { first: *first, second: Some(*second) }),
        _ => None,
    }
}

fn digest(
    written: &str,
    holders: &mut HashMap<[u8; 32], String>,
    name: &str,
    at: &Trail<'_>,
    mistakes: &mut Mistakes,
) -> Option<[u8; 32]> {
    let Some(digest) = from_hex(written) else {
        // The text may be a key itself, so it is not shown.
        mistakes.add(at, "is not a SHA-256 digest, expected 64 hexadecimal digits");
        return None;
    };
    if from_hex(DIGEST_OF_EMPTY) == Some(digest) {
        mistakes.add(at, "is the SHA-256 digest of an empty text, expected the digest of a key");
        return None;
    }
    if let Some(other) = holders.get(&digest) {
        mistakes.add_with(at, || format!("is the same digest as that of key `{}`", shown(other)));
        return None;
    }
    holders.insert(digest, name.to_owned());
    Some(digest)
}

fn from_hex(text: &str) -> Option<[u8; 32]> {
    let mut digest = [0; 32];
    if text.len() != 2 * digest.len() {
        return None;
    }
    for (byte, digits) in digest.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let [high, low] = digits else { return None };
        let digit = |ascii: u8| char::from(ascii).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(digest)
}

fn allowed_models(
    words: Option<&Words>,
    models: &Names<'_>,
    at: &Trail<'_>,
    mistakes: &mut Mistakes,
) -> Option<Vec<ModelId>> {
    let words = words?;
    if words.is_empty() {
        mistakes.add(at, "is empty, so the key could use no model; leave it out to allow every model");
    }
    let mut allowed: Vec<ModelId> = Vec::new();
    for (index, word) in words.iter().enumerate() {
        let Some(word) = word else { continue };
        let at = at.item(index);
        let Some(id) = models.find(word, &at, mistakes).and_then(ModelId::from_index) else { continue };
        if allowed.contains(&id) {
            mistakes.add_with(&at, || format!("model `{}` is listed twice", shown(word)));
        } else {
            allowed.push(id);
        }
    }
    Some(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_has_64_hexadecimal_digits_of_either_case() {
        let lower = from_hex(DIGEST_OF_EMPTY).unwrap();
        assert_eq!((lower[0], lower[31]), (0xe3, 0x55));
        assert_eq!(from_hex(&DIGEST_OF_EMPTY.to_uppercase()), Some(lower));
        for text in ["", &"0".repeat(63), &"0".repeat(65), &"g".repeat(64), &"ä".repeat(32)] {
            assert_eq!(from_hex(text), None, "{text}");
        }
    }
}
