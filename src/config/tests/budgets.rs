//! Budgets and metadata of client keys.

use super::*;
use crate::base::MicroDollars;

const DIGEST: &str = "7c0fb6ad1b4a8d3f2f6f35fbe0ae47ec6a3b67c1de6a6a54c5f7a8e9d0c1b2a3";

fn with_key(fields: Value) -> Value {
    let mut key = fields;
    key["sha256"] = json!(DIGEST);
    let mut config = with(smallest(), "/keys", json!({ "team": key }));
    config["targets"]["gpt"]["price"] = json!({"input": 1, "output": 2});
    config
}

#[test]
fn budgets_are_applied_as_configured_and_absent_without_a_section() {
    let budget = json!({
        "requests_per_minute": 60, "tokens_per_minute": "100000", "tokens_per_day": 5_000_000,
        "usd_per_day": 12.5, "warn_at": 0.8,
    });
    let config = load_json(&with_key(json!({ "budget": budget, "metadata": {"team": "search"} }))).unwrap();
    let key = &config.keys.as_ref().unwrap()[0];
    assert_eq!(
        key.budget,
        Some(Budget {
            requests_per_minute: Some(60),
            tokens_per_minute: Some(100_000),
            tokens_per_day: Some(5_000_000),
            usd_per_day: Some(MicroDollars::new(12_500_000)),
            warn_permille: Some(800),
        })
    );
    assert_eq!(key.metadata, [("team".to_owned(), "search".to_owned())]);
    let config = load_json(&with_key(json!({}))).unwrap();
    assert_eq!(config.keys.as_ref().unwrap()[0].budget, None);
}

#[test]
fn every_mistake_in_a_key_is_reported() {
    let long = "x".repeat(257);
    let budget = json!({"requests_per_minute": 0, "usd_per_day": -1, "warn_at": 2});
    let key = json!({"budget": budget, "metadata": {"a b": "c", "d": long}});
    check(
        &with_key(key),
        &[
            "keys.team.budget.requests_per_minute: is 0, expected 1 to 10000000",
            "keys.team.budget.usd_per_day: is -1, expected US dollars, more than 0 and at most 10000000",
            "keys.team.budget.warn_at: is 2, expected more than 0 and at most 1",
            "keys.team.metadata.d: is not a valid value, expected at most 256 bytes on one line",
            "keys.team.metadata[\"a b\"]: is not a valid name, expected 1 to 64 letters, digits, \
             `_`, `-` or `.`",
        ],
    );
    check(
        &with_key(json!({"budget": {"warn_at": 0.5}})),
        &["keys.team.budget: has no limit; leave it out or set at least one limit"],
    );
}

#[test]
fn the_fleet_rate_limit_needs_keys() {
    assert!(
        load_json(&with(with_key(json!({})), "/fleet_rate_limit", json!(true))).unwrap().fleet_rate_limit
    );
    check(
        &with(smallest(), "/fleet_rate_limit", json!(true)),
        &["fleet_rate_limit: needs `keys`: without keys there is nothing to count the usage for"],
    );
}

#[test]
fn a_cost_budget_needs_the_prices_of_all_targets() {
    let mut config = with_key(json!({"budget": {"usd_per_day": 1}}));
    load_json(&config).unwrap();
    config["targets"]["gpt"].as_object_mut().unwrap().remove("price");
    load_json(&config).expect("the catalogue has a price of `gpt-4.1-mini`");
    config["targets"]["gpt"]["model"] = json!("my-model");
    check(
        &config,
        &["keys.team.budget.usd_per_day: needs a `price` for each target that the key may use, \
            but target `gpt` has none"],
    );
}
