//! The offers of targets: defaults per provider kind, overrides and mistakes.

use super::*;
use crate::base::MicroDollars;
use crate::config::Source;
use crate::provider::{Capability, profile};

fn of_kind(kind: &str, fields: Value) -> Value {
    let mut config = with(smallest(), "/providers/openai", json!({"kind": kind, "host": "x.test"}));
    for (name, value) in fields.as_object().unwrap() {
        config["targets"]["gpt"][name] = value.clone();
    }
    config
}

fn offers_of(kind: &str, fields: Value) -> Offers {
    load_json(&of_kind(kind, fields)).unwrap().targets()[0].offers.clone()
}

/// Of a model that the catalogue knows.
fn of_model(kind: &str, model: &str, fields: Value) -> Offers {
    let mut config = of_kind(kind, fields);
    config["targets"]["gpt"]["model"] = json!(model);
    load_json(&config).unwrap().targets()[0].offers.clone()
}

#[test]
fn the_catalogue_fills_what_is_not_declared() {
    let offers = of_model("openai", "o3-mini", json!({}));
    // The profile of the kind says yes, and the catalogue says no.
    assert!(profile(ProviderKind::OpenAi).capabilities.contains(Capability::Vision));
    assert_eq!(offers.knows(Capability::Vision), Some(false));
    assert_eq!(offers.knows(Capability::Reasoning), Some(true));
    // Nobody knows more than the profile.
    assert_eq!(offers.knows(Capability::Seed), None);
    assert!(offers.capabilities.contains(Capability::Seed));
    assert_eq!((offers.context_window.tokens, offers.context_window.source), (200_000, Source::Catalogue));
    assert_eq!(
        (offers.max_output_tokens.tokens, offers.max_output_tokens.source),
        (100_000, Source::Catalogue)
    );
    let price = offers.price.unwrap();
    assert_eq!((price.input, price.source), (MicroDollars::new(1_100_000), Source::Catalogue));
    assert_eq!(
        (price.cached_input, price.output),
        (MicroDollars::new(550_000), MicroDollars::new(4_400_000))
    );
}

#[test]
fn what_is_declared_overrides_the_catalogue() {
    let written = json!({
        "vision": true, "reasoning": false, "context_window": 1000, "max_output_tokens": 100,
        "price": {"input": 9, "output": 8},
    });
    let offers = of_model("openai", "o3-mini", written);
    assert_eq!(
        (offers.knows(Capability::Vision), offers.knows(Capability::Reasoning)),
        (Some(true), Some(false))
    );
    assert!(!offers.catalogued.contains(Capability::Vision) && offers.catalogued.contains(Capability::Tools));
    let sizes = [offers.context_window, offers.max_output_tokens].map(|limit| (limit.tokens, limit.source));
    assert_eq!(sizes, [(1000, Source::Declared), (100, Source::Declared)]);
    let price = offers.price.unwrap();
    // A declared price is not completed by the cached price of the catalogue.
    assert_eq!(
        (price.input, price.cached_input, price.source),
        (MicroDollars::new(9_000_000), MicroDollars::new(9_000_000), Source::Declared)
    );
}

#[test]
fn a_target_without_declarations_has_the_profile_of_its_kind() {
    for kind in ProviderKind::ALL {
        let mut config = of_kind(kind.name(), json!({}));
        config["targets"]["gpt"]["model"] = json!("my-model");
        config["providers"]["openai"]["path_prefix"] = json!("/v1");
        let offers = load_json(&config).unwrap().targets()[0].offers.clone();
        assert_eq!(offers.capabilities, profile(kind).capabilities, "{}", kind.name());
        assert!(offers.declared.is_empty() && offers.catalogued.is_empty());
        assert_eq!(offers.context_window.tokens, profile(kind).context_window);
        assert!(!offers.context_window.source.is_known() && !offers.max_output_tokens.source.is_known());
        assert_eq!((offers.region, offers.price, offers.quality), (None, None, None));
        assert_eq!((offers.zero_retention, offers.training_opt_out), (None, None));
    }
}

#[test]
fn a_declaration_overrides_the_profile_in_both_directions() {
    for capability in Capability::ALL {
        for present in [true, false] {
            for kind in ["openai", "openai-compatible"] {
                let offers = offers_of(kind, json!({ capability.name(): present }));
                assert_eq!(offers.capabilities.contains(capability), present, "{}", capability.name());
                assert_eq!(offers.declared.iter().collect::<Vec<_>>(), [capability]);
            }
        }
    }
}

#[test]
fn terms_sizes_and_prices_are_kept_as_written() {
    let offers = offers_of(
        "openai",
        json!({
            "context_window": 1_047_576, "max_output_tokens": "32768.0", "region": "EU-West.1",
            "zero_retention": true,
            "training_opt_out": false, "quality": 2, "price": {"input": "0.40", "output": 1.6},
        }),
    );
    assert_eq!((offers.context_window.tokens, offers.context_window.source), (1_047_576, Source::Declared));
    assert_eq!(offers.max_output_tokens.tokens, 32_768);
    assert_eq!(offers.region.as_deref(), Some("eu-west.1"), "regions are not case-sensitive");
    assert_eq!((offers.zero_retention, offers.training_opt_out), (Some(true), Some(false)));
    assert_eq!(offers.quality, Some(2));
    let price = offers.price.unwrap();
    assert_eq!((price.input, price.output), (MicroDollars::new(400_000), MicroDollars::new(1_600_000)));
    assert_eq!(price.cached_input, price.input, "cached tokens have the input price by default");
    let cached = offers_of("openai", json!({"price": {"input": 1, "output": 1, "cached_input": 0.000_001}}));
    assert_eq!(cached.price.unwrap().cached_input, MicroDollars::new(1));
}

#[test]
fn every_mistake_in_offers_is_reported_with_its_path() {
    let config = of_kind(
        "openai",
        json!({
            "tools": "yes", "context_window": 0, "max_output_tokens": 1.5, "region": "a b", "quality": 101,
            "price": {"input": -1, "cached_input": 100_001}, "visoin": true,
        }),
    );
    check(
        &config,
        &[
            "targets.gpt.context_window: is 0, expected 1 to 1000000000",
            "targets.gpt.max_output_tokens: found 1.5, expected a whole number, zero or more",
            "targets.gpt.price.cached_input: is 100001, expected US dollars, 0 to 100000",
            "targets.gpt.price.input: is -1, expected US dollars, 0 to 100000",
            "targets.gpt.price.output: is missing, expected US dollars",
            "targets.gpt.quality: is 101, expected 1 to 100",
            "targets.gpt.region: is not valid, expected a region such as `eu` or `us-east-1`: 1 \
             to 64 letters, digits, `.`, `_` or `-`",
            "targets.gpt.tools: found text, expected `true` or `false`",
            "targets.gpt.visoin: unknown field `visoin`, did you mean `vision`?",
        ],
    );
}

#[test]
fn an_account_may_have_a_billing_owner() {
    let config = with(full(), "/accounts/openai-a/billing_owner", json!("team-x"));
    assert_eq!(load_json(&config).unwrap().accounts()[0].billing_owner.as_deref(), Some("team-x"));
    let config = with(full(), "/accounts/openai-a/billing_owner", json!("team x"));
    check(
        &config,
        &["accounts.openai-a.billing_owner: is not valid, expected a name: 1 to 64 letters, \
            digits, `.`, `_` or `-`"],
    );
}

#[test]
fn the_reference_documents_the_profile_of_each_kind() {
    let reference = include_str!("../../../docs/configuration.md");
    for capability in Capability::ALL {
        let row = reference
            .lines()
            .find(|line| line.starts_with(&format!("| `{}` | ", capability.name())))
            .unwrap_or_else(|| panic!("no row for `{}`", capability.name()));
        let kinds = row.rsplit(" | ").next().unwrap();
        for kind in ProviderKind::ALL.map(ProviderKind::general) {
            // A row that begins with "all but" lists the exceptions.
            let stated = kinds.contains(&format!("`{}`", kind.name())) != kinds.starts_with("all but");
            assert_eq!(stated, profile(kind).capabilities.contains(capability), "{row} {}", kind.name());
        }
    }
    for kind in ProviderKind::ALL.map(ProviderKind::general) {
        let profile = profile(kind);
        let numbers = format!("| {} | {} |", profile.context_window, profile.max_output_tokens);
        let stated = |line: &str| line.contains(&format!("`{}`", kind.name())) && line.ends_with(&numbers);
        assert!(reference.lines().any(stated), "{} {numbers}", kind.name());
    }
}
