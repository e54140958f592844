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
    assert_eq!(target.limits, Quota { max_pending: Some(20), ..Quota::default() });
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
