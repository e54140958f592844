//! Configured limits of accounts and targets.

use super::*;

#[test]
fn accounts_and_targets_have_limits_of_their_own() {
    let mut config = full();
    config["accounts"]["openai-a"]["limits"] =
        json!({"requests_per_minute": 60, "tokens_per_minute": 90_000.0});
    config["accounts"]["openai-a"]["quota_pool"] = json!("research");
    config["targets"]["az"]["limits"] = json!({"max_pending": 20});
    let config = load_json(&config).unwrap();
    let account = config.accounts().iter().find(|account| &*account.name == "openai-a").unwrap();
    let limits = Quota { requests_per_minute: Some(60), tokens_per_minute: Some(90_000), max_pending: None };
    assert_eq!((account.limits, account.quota_pool.as_deref()), (limits, Some("research")));
    let target = config.targets().iter().find(|target| &*target.name == "az").unwrap();
    assert_eq!(target.limits, Quota { max_pending: Some(MaxPending::Fixed(20)), ..Quota::default() });
    assert!(!target.limits.counts_anything() && account.limits.counts_anything());
    let own = config.account(target.account).unwrap();
    assert_eq!(
        (own.limits, &own.quota_pool),
        (Quota::default(), &None),
        "the target's limits do not apply to its account"
    );
}

#[test]
fn mistakes_are_reported_with_their_paths() {
    for (pointer, value, expected) in [
        (
            "/targets/az/limits",
            json!({"requests_per_minute": 0}),
            "targets.az.limits.requests_per_minute: is 0, expected 1 to 1000000000000",
        ),
        (
            "/accounts/openai-a/limits",
            json!({"max_pending": 1_000_001}),
            "accounts.openai-a.limits.max_pending: is 1000001, expected 1 to 1000000",
        ),
        (
            "/accounts/openai-a/limits",
            json!({"rpm": 1}),
            "accounts.openai-a.limits.rpm: unknown field `rpm`, expected one of \
             `requests_per_minute`, `tokens_per_minute`, `max_pending`",
        ),
    ] {
        check(&with(full(), pointer, value), &[expected]);
    }
    assert!(load_json(&with(full(), "/accounts/openai-a/quota_pool", json!("two words"))).is_err());
}

#[test]
fn max_pending_is_a_number_or_bounds() {
    let adaptive = |min, max| MaxPending::Adaptive(PendingBounds { min, max });
    for (value, expected) in [
        (json!(7), MaxPending::Fixed(7)),
        (json!(7.0), MaxPending::Fixed(7)),
        (json!("7.0"), MaxPending::Fixed(7)),
        (json!({"adaptive": true, "max": 64}), adaptive(1, 64)),
        (json!({"adaptive": true, "min": 2.0, "max": "2"}), adaptive(2, 2)),
        (json!({"adaptive": true, "min": 1, "max": 1_000_000}), adaptive(1, 1_000_000)),
    ] {
        let config = load_json(&with(full(), "/targets/az/limits", json!({"max_pending": value}))).unwrap();
        let target = config.targets().iter().find(|target| &*target.name == "az").unwrap();
        assert_eq!(target.limits.max_pending, Some(expected), "{value}");
    }
}

#[test]
fn mistakes_in_an_adaptive_limit_are_reported_with_their_paths() {
    let number_or_mapping = "expected a whole number or a mapping such as `{ adaptive: true, max: 64 }`";
    for (value, path, problem) in [
        (json!(2.5), "", format!("found a number, {number_or_mapping}")),
        (json!(-1), "", format!("found a number, {number_or_mapping}")),
        (json!("many"), "", format!("found text, {number_or_mapping}")),
        (json!(true), "", format!("found a boolean, {number_or_mapping}")),
        (json!([1]), "", format!("found a list, {number_or_mapping}")),
        (json!({"adaptive": true}), ".max", "is missing".into()),
        (
            json!({"max": 9}),
            ".adaptive",
            "is missing, expected `true`; for a fixed limit write a number as `max_pending`".into(),
        ),
        (
            json!({"adaptive": false, "max": 9}),
            ".adaptive",
            "is `false`, expected `true`; for a fixed limit write a number as `max_pending`".into(),
        ),
        (json!({"adaptive": true, "min": 0, "max": 9}), ".min", "is 0, expected 1 to 1000000".into()),
        (json!({"adaptive": true, "max": 1_000_001}), ".max", "is 1000001, expected 1 to 1000000".into()),
        (json!({"adaptive": true, "min": 10, "max": 9}), ".min", "is 10, which is more than `max`, 9".into()),
        (
            json!({"adaptive": true, "max": 9, "maximum": 9}),
            ".maximum",
            "unknown field `maximum`, expected one of `adaptive`, `min`, `max`".into(),
        ),
        (
            json!({"adaptive": true, "max": 9.5}),
            ".max",
            "found 9.5, expected a whole number, zero or more".into(),
        ),
    ] {
        let expected = format!("targets.az.limits.max_pending{path}: {problem}");
        check(&with(full(), "/targets/az/limits", json!({"max_pending": value})), &[&expected]);
    }
    let at_account = json!({"max_pending": {"adaptive": true, "max": 9}});
    check(
        &with(full(), "/accounts/openai-a/limits", at_account),
        &[
            "accounts.openai-a.limits.max_pending: only a target can have an adaptive limit, because models answer at \
           different speeds; write a number here",
        ],
    );
}
