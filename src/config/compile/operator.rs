use std::collections::HashMap;
use std::rc::Rc;

use super::common::{all_or_none, needed};
use super::dates::end;
use super::keys::digests;
use super::limits::MAX_OPERATOR_KEYS;
use super::names::{NameRule, Names};
use crate::config::keys::OperatorKey;
use crate::config::mistakes::{Mistakes, Trail};
use crate::config::raw::{Mapping, RawOperator};

/// The name of the operator if there is only one key and it has no name.
const ONLY_OPERATOR: &str = "operator";

/// The operators' keys; none if the section is absent. `None` is a mistake and must not be confused with an
/// absent section.
pub(super) fn operators(
    raw: Option<&Mapping<RawOperator>>,
    mistakes: &mut Mistakes,
) -> Option<Vec<OperatorKey>> {
    let at = Trail::Root.field("operator");
    let Some(Mapping(raw)) = raw else {
        return if mistakes.holds(&at) { None } else { Some(Vec::new()) };
    };
    if mistakes.holds(&at.field("keys")) || mistakes.holds(&at.field("sha256")) {
        return None;
    }
    let mut holders = HashMap::new();
    if raw.sha256.is_some() && raw.keys.is_some() {
        mistakes.add(&at, "has both `sha256` and `keys`, expected one; move the digest into `keys`");
        return None;
    }
    if raw.expires.is_some() && raw.keys.is_some() {
        mistakes.add(&at.field("expires"), "has no effect beside `keys`; write it at each key that expires");
        return None;
    }
    let expires = |written: &Option<String>, at: &Trail<'_>, mistakes: &mut Mistakes| {
        written.as_ref().and_then(|written| end(written, &at.field("expires"), mistakes))
    };
    let Some(named) = &raw.keys else {
        let written = needed(&raw.sha256, "sha256", &at, mistakes)?;
        let digests = digests(written, &mut holders, ONLY_OPERATOR, &at, mistakes)?;
        let expires = expires(&raw.expires, &at, mistakes);
        return Some(vec![OperatorKey { name: Rc::from(ONLY_OPERATOR), digests, expires }]);
    };
    let at = at.field("keys");
    Names::within("key", &at, &raw.keys, MAX_OPERATOR_KEYS, NameRule::Plain, mistakes);
    if named.is_empty() {
        mistakes.add(&at, "is empty; leave out `operator` to have no operators");
        return None;
    }
    let keys: Vec<_> = named
        .iter()
        .map(|(name, entry)| {
            let Mapping(raw) = entry.as_ref()?;
            let at = at.field(name);
            let written = needed(&raw.sha256, "sha256", &at, mistakes)?;
            let digests = digests(written, &mut holders, name, &at, mistakes)?;
            let expires = expires(&raw.expires, &at, mistakes);
            Some(OperatorKey { name: Rc::from(name.as_str()), digests, expires })
        })
        .collect();
    all_or_none(keys)
}

#[cfg(test)]
mod tests {
    use crate::base::WallTime;
    use crate::config::{self, Config};
    use serde_json::{Value, json};

    fn load(operator: Value) -> Result<Config, String> {
        let config = json!({
            "providers": {"openai": {"kind": "openai"}},
            "targets": {"gpt": {"provider": "openai", "model": "m"}},
            "models": {"chat": {"targets": ["gpt"]}},
            "keys": {"team": {"sha256": "ab".repeat(32)}},
            "operator": operator,
        });
        config::load(config.to_string().as_bytes(), &|_| None).map_err(|mistakes| mistakes.to_string())
    }

    fn names(operator: Value) -> Vec<String> {
        load(operator).unwrap().operators.iter().map(|key| key.name.to_string()).collect()
    }

    #[test]
    fn a_single_key_needs_no_name() {
        assert_eq!(names(json!({"sha256": "cd".repeat(32)})), ["operator"]);
        let two = json!({"keys": {"anna": {"sha256": "cd".repeat(32)}, "bert": {"sha256": "ef".repeat(32)}}});
        assert_eq!(names(two), ["anna", "bert"]);
        assert_eq!(
            names(json!({"sha256": "ab".repeat(32)})),
            ["operator"],
            "a client's key may also be an operator's key"
        );
    }

    #[test]
    fn a_key_may_have_two_digests_and_an_end() {
        let two = json!(["cd".repeat(32), "ef".repeat(32)]);
        for operator in [
            json!({"sha256": two, "expires": "2027-01-31"}),
            json!({"keys": {"anna": {"sha256": two, "expires": "2027-02-01T00:00:00Z"}}}),
        ] {
            let config = load(operator).unwrap();
            let key = &config.operators[0];
            assert_eq!((key.digests.first, key.digests.second), ([0xcd; 32], Some([0xef; 32])));
            assert_eq!(key.expires, Some(WallTime::from_millis(1_801_440_000_000)));
        }
    }

    #[test]
    fn a_mistake_is_reported_and_not_taken_for_an_absent_section() {
        let named = |entry: Value| json!({"keys": {"anna": entry}});
        for (operator, expected) in [
            (json!({}), "operator.sha256: is missing"),
            (
                json!({"sha256": "op-secret"}),
                "operator.sha256: is not a SHA-256 digest, expected 64 hexadecimal digits",
            ),
            (json!({"keys": {}}), "operator.keys: is empty"),
            (named(json!({})), "operator.keys.anna.sha256: is missing"),
            (named(json!({"sha256": ""})), "operator.keys.anna.sha256: is not a SHA-256 digest"),
            (json!({"keys": {"a b": {"sha256": "cd".repeat(32)}}}), "a name is 1 to 64 letters"),
            (json!({"sha256": "cd".repeat(32), "keys": {}}), "operator: has both `sha256` and `keys`"),
            (
                json!({"keys": {"a": {"sha256": "cd".repeat(32)}}, "expires": "2027-01-31"}),
                "operator.expires: has no effect",
            ),
            (
                json!({"sha256": "cd".repeat(32), "expires": "soon"}),
                "operator.expires: is neither a date nor a time",
            ),
            (named(json!({"sha256": []})), "operator.keys.anna.sha256: has 0 digests"),
            (json!({"password": "x"}), "operator.password: "),
            (json!("op-secret"), "operator: "),
            (json!({"keys": 5}), "operator.keys: "),
        ] {
            let mistakes = load(operator.clone()).unwrap_err();
            assert!(mistakes.contains(expected), "{operator}: {mistakes}");
            assert!(!mistakes.contains("op-secret"), "{mistakes}");
        }
        let twice = json!({"keys": {"a": {"sha256": "cd".repeat(32)}, "b": {"sha256": "cd".repeat(32)}}});
        assert!(
            load(twice)
                .unwrap_err()
                .contains("operator.keys.b.sha256: is the same digest as that of key `a`")
        );
        let many: serde_json::Map<_, _> =
            (0..33).map(|n| (format!("n{n}"), json!({"sha256": format!("{n:064x}")}))).collect();
        assert!(
            load(json!({"keys": many})).unwrap_err().contains("operator.keys: has 33 entries, at most 32")
        );
    }
}
