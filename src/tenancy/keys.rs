//! Finds the key of a request and the models that it may use.

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::base::{HeaderBlock, ModelId};
use crate::config::{ClientKey, OperatorKey};

/// A longer credential matches no key.
const MAX_CREDENTIAL_BYTES: usize = 1024;

/// The index in `keys` of the client key that the request carries.
///
/// `authorization: Bearer`, `x-api-key`, `api-key` and `x-goog-api-key` are checked in this order. SDKs for different dialects
/// send different headers and some send two, so the first known credential counts.
pub fn authenticate(keys: &[ClientKey], headers: &HeaderBlock) -> Option<usize> {
    let bearer = headers.get("authorization").and_then(bearer_token);
    [bearer]
        .into_iter()
        .chain(["x-api-key", "api-key", "x-goog-api-key"].map(|name| headers.get(name)))
        .flatten()
        .find_map(|credential| find(keys.iter().map(|key| &key.sha256), credential.trim()))
}

/// The operator whose key the request carries. Only `authorization: Bearer` is checked: a browser never sends
/// it by itself, so a foreign page cannot use an operator's browser.
pub fn operator<'a>(keys: &'a [OperatorKey], headers: &HeaderBlock) -> Option<&'a OperatorKey> {
    let token = headers.get("authorization").and_then(bearer_token)?;
    find(keys.iter().map(|key| &key.sha256), token.trim()).and_then(|index| keys.get(index))
}

fn bearer_token(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token)
}

/// Compares every key, whichever matches, each in constant time.
fn find<'a>(digests: impl Iterator<Item = &'a [u8; 32]>, credential: &str) -> Option<usize> {
    if credential.is_empty() || credential.len() > MAX_CREDENTIAL_BYTES {
        return None;
    }
    let digest = Sha256::digest(credential.as_bytes());
    let mut found = None;
    for (index, known) in digests.enumerate() {
        if bool::from(known.as_slice().ct_eq(digest.as_slice())) {
            found = Some(index);
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

    fn key(name: &str, secret: &str, models: Option<Vec<ModelId>>) -> ClientKey {
        ClientKey {
            name: name.into(),
            sha256: Sha256::digest(secret.as_bytes()).into(),
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
        let check = |headers: &[(&str, &str)]| authenticate(&keys, &HeaderBlock::of(headers));
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
        let check = |headers: &[(&str, &str)]| authenticate(&keys, &HeaderBlock::of(headers));
        assert_eq!(check(&[]), None);
        assert_eq!(check(&[("authorization", "Basic sk-a")]), None);
        assert_eq!(check(&[("authorization", "sk-a")]), None);
        assert_eq!(check(&[("authorization", "Bearer ")]), None);
        assert_eq!(check(&[("x-api-key", "sk-A")]), None);
        assert_eq!(check(&[("x-api-key", &"x".repeat(MAX_CREDENTIAL_BYTES + 1))]), None);
    }

    #[test]
    fn only_a_bearer_token_identifies_an_operator() {
        let keys = [("a", "op-a"), ("b", "op-b")].map(|(name, secret)| OperatorKey {
            name: name.into(),
            sha256: Sha256::digest(secret.as_bytes()).into(),
        });
        let check =
            |name, value| operator(&keys, &HeaderBlock::of(&[(name, value)])).map(|key| key.name.to_string());
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
