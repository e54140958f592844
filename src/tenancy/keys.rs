//! Finds the key of a request and the models that it may use.

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::base::{HeaderBlock, ModelId, WallTime};
use crate::config::{ClientKey, Digests, OperatorKey};

/// A longer credential matches no key.
const MAX_CREDENTIAL_BYTES: usize = 1024;

/// Why a request has no valid key. The number is the position of the key that has expired.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoKey {
    /// It carries no known key.
    Unknown,
    /// It carries a known key after its `expires`.
    Expired(usize),
}

impl NoKey {
    /// The position of the key that has expired.
    pub const fn expired(self) -> Option<usize> {
        match self {
            Self::Unknown => None,
            Self::Expired(position) => Some(position),
        }
    }
}

/// The index in `keys` of the client key that the request carries.
///
/// `authorization: Bearer`, `x-api-key`, `api-key` and `x-goog-api-key` are checked in this order. SDKs for different
/// dialects send different headers and some send two, so the first valid credential counts.
pub fn authenticate(keys: &[ClientKey], headers: &HeaderBlock, now: WallTime) -> Result<usize, NoKey> {
    let bearer = headers.get("authorization").and_then(bearer_token);
    let others = ["x-api-key", "api-key", "x-goog-api-key"].map(|name| headers.get(name));
    let mut refused = NoKey::Unknown;
    for credential in [bearer].into_iter().chain(others).flatten() {
        let Some(index) = find(keys.iter().map(|key| &key.digests), credential.trim()) else { continue };
        if keys.get(index).is_some_and(|key| is_valid(key.expires, now)) {
            return Ok(index);
        }
        refused = NoKey::Expired(index);
    }
    Err(refused)
}

/// The operator whose key the request carries. Only `authorization: Bearer` is checked: a browser never sends
/// it by itself, so a foreign page cannot use an operator's browser.
pub fn operator<'a>(
    keys: &'a [OperatorKey],
    headers: &HeaderBlock,
    now: WallTime,
) -> Result<&'a OperatorKey, NoKey> {
    let token = headers.get("authorization").and_then(bearer_token).ok_or(NoKey::Unknown)?;
    let index = find(keys.iter().map(|key| &key.digests), token.trim()).ok_or(NoKey::Unknown)?;
    keys.get(index).filter(|key| is_valid(key.expires, now)).ok_or(NoKey::Expired(index))
}

fn is_valid(expires: Option<WallTime>, now: WallTime) -> bool {
    expires.is_none_or(|end| now < end)
}

fn bearer_token(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token)
}

/// Compares every digest of every key, whichever matches, each in constant time.
fn find<'a>(keys: impl Iterator<Item = &'a Digests>, credential: &str) -> Option<usize> {
    if credential.is_empty() || credential.len() > MAX_CREDENTIAL_BYTES {
        return None;
    }
    let digest = Sha256::digest(credential.as_bytes());
    let mut found = None;
    for (index, known) in keys.enumerate() {
        for known in [Some(&known.first), known.second.as_ref()].into_iter().flatten() {
            if bool::from(known.as_slice().ct_eq(digest.as_slice())) {
                found = Some(index);
            }
        }
    }
    found
}

/// Whether `key` may use `model`.
pub fn may_use(key: &ClientKey, model: ModelId) -> bool {
    key.models.as_ref().is_none_or(|models| models.contains(&model))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: WallTime = WallTime::from_millis(1_780_000_000_000);

    fn digest(secret: &str) -> [u8; 32] {
        Sha256::digest(secret.as_bytes()).into()
    }

    fn digests(secret: &str) -> Digests {
        Digests { first: digest(secret), second: None }
    }

    fn key(name: &str, secret: &str, models: Option<Vec<ModelId>>) -> ClientKey {
        ClientKey {
            name: name.into(),
            digests: digests(secret),
            expires: None,
            models,
            boundaries: Default::default(),
            priority: crate::config::Priority::Normal,
            budget: None,
            metadata: Vec::new(),
        }
    }

    #[test]
    fn a_key_is_found_in_each_header_that_sdks_use() {
        let keys = [key("a", "sk-a", None), key("b", "sk-b", None)];
        let check = |headers: &[(&str, &str)]| authenticate(&keys, &HeaderBlock::of(headers), NOW).ok();
        assert_eq!(check(&[("authorization", "Bearer sk-b")]), Some(1));
        assert_eq!(check(&[("authorization", "bearer  sk-a")]), Some(0));
        assert_eq!(check(&[("x-api-key", "sk-a")]), Some(0));
        assert_eq!(check(&[("api-key", "sk-b")]), Some(1));
        assert_eq!(check(&[("x-goog-api-key", "sk-b")]), Some(1));
        assert_eq!(check(&[("authorization", "Bearer nonsense"), ("x-api-key", "sk-b")]), Some(1));
    }

    #[test]
    fn anything_else_matches_no_key() {
        let keys = [key("a", "sk-a", None)];
        let check = |headers: &[(&str, &str)]| authenticate(&keys, &HeaderBlock::of(headers), NOW).ok();
        assert_eq!(check(&[]), None);
        assert_eq!(check(&[("authorization", "Basic sk-a")]), None);
        assert_eq!(check(&[("authorization", "sk-a")]), None);
        assert_eq!(check(&[("authorization", "Bearer ")]), None);
        assert_eq!(check(&[("x-api-key", "sk-A")]), None);
        assert_eq!(check(&[("x-api-key", &"x".repeat(MAX_CREDENTIAL_BYTES + 1))]), None);
    }

    #[test]
    fn a_key_that_is_rotated_has_two_texts() {
        let mut rotated = key("a", "sk-old", None);
        rotated.digests.second = Some(digest("sk-new"));
        let keys = [key("b", "sk-b", None), rotated];
        let check = |text| authenticate(&keys, &HeaderBlock::of(&[("x-api-key", text)]), NOW);
        assert_eq!((check("sk-old"), check("sk-new"), check("sk-b")), (Ok(1), Ok(1), Ok(0)));
        assert_eq!(check("sk-other"), Err(NoKey::Unknown));
    }

    #[test]
    fn a_key_is_refused_from_its_end_on() {
        let at = |ms: u64| WallTime::from_millis(NOW.as_millis() + ms);
        let mut ends = key("a", "sk-a", None);
        ends.expires = Some(at(1000));
        let keys = [key("b", "sk-b", None), ends];
        let check = |headers: &[(&str, &str)], ms| authenticate(&keys, &HeaderBlock::of(headers), at(ms));
        assert_eq!(check(&[("x-api-key", "sk-a")], 999), Ok(1));
        assert_eq!(check(&[("x-api-key", "sk-a")], 1000), Err(NoKey::Expired(1)));
        let two = [("authorization", "Bearer sk-a"), ("x-api-key", "sk-b")];
        assert_eq!((check(&two, 999), check(&two, 1000)), (Ok(1), Ok(0)), "the first valid one counts");
        let with_unknown = [("authorization", "Bearer sk-a"), ("x-api-key", "sk-x")];
        assert_eq!(check(&with_unknown, 1000), Err(NoKey::Expired(1)));

        let keys = [OperatorKey { name: "a".into(), digests: digests("op-a"), expires: Some(at(1000)) }];
        let check = |ms| operator(&keys, &HeaderBlock::of(&[("authorization", "Bearer op-a")]), at(ms)).err();
        assert_eq!((check(999), check(1000)), (None, Some(NoKey::Expired(0))));
    }

    #[test]
    fn only_a_bearer_token_identifies_an_operator() {
        let keys = [("a", "op-a"), ("b", "op-b")].map(|(name, secret)| OperatorKey {
            name: name.into(),
            digests: digests(secret),
            expires: None,
        });
        let check = |name, value| {
            operator(&keys, &HeaderBlock::of(&[(name, value)]), NOW).ok().map(|key| key.name.to_string())
        };
        assert_eq!(check("authorization", "Bearer op-b").as_deref(), Some("b"));
        assert_eq!(check("authorization", "Basic op-b"), None);
        assert_eq!(check("authorization", "Bearer "), None);
        assert_eq!(check("x-api-key", "op-b"), None);
        assert_eq!(check("cookie", "op-b"), None);
    }

    #[test]
    fn a_list_of_models_permits_only_these() {
        let [first, second] = [0, 1].map(|index| ModelId::from_index(index).unwrap());
        assert!(may_use(&key("a", "x", None), second));
        assert!(may_use(&key("a", "x", Some(vec![first])), first));
        assert!(!may_use(&key("a", "x", Some(vec![first])), second));
        assert!(!may_use(&key("a", "x", Some(Vec::new())), first));
    }
}
