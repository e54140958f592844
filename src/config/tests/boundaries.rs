//! The boundaries of models and keys.

use super::*;
use crate::base::{MicroDollars, ProviderId, TargetId, WallTime};

fn with_fallback(fallback: Value) -> Value {
    with(full(), "/models/chat/fallback", fallback)
}

#[test]
fn a_model_without_boundaries_has_none() {
    let config = load_json(&smallest()).unwrap();
    assert_eq!(config.models()[0].boundaries, Boundaries::default());
    assert_eq!(config.models()[0].substitution, SubstitutionRules::default());
}

#[test]
fn boundaries_are_kept_as_written() {
    let config = load_json(&with_fallback(json!({
        "region": ["US", "eu-1"], "zero_retention": "required", "training_opt_out": "required",
        "providers": {"allow": ["openai", "azure"]}, "targets": {"deny": ["local"]}, "min_quality": 2,
        "max_price": {"input": "0.5", "output": 3}, "max_request_cost": 0.25, "max_price_ratio": "1.5",
        "same_billing_owner": true, "leave_account": ["server"], "leave_provider": [], "mode": "shadow",
        "approved": [{"from": "gpt-a", "to": "az", "until": "2026-12-31"}, {"from": "gpt-a", "to": "local"}],
    })))
    .unwrap();
    let model = config.model(config.model_named("chat").unwrap()).unwrap();
    let set = &model.boundaries;
    assert_eq!(
        set.regions.as_ref().unwrap().iter().map(|region| &**region).collect::<Vec<_>>(),
        ["us", "eu-1"]
    );
    assert!(set.zero_retention && set.training_opt_out);
    let [azure, openai, vllm] = [0, 1, 2].map(|index| ProviderId::from_index(index).unwrap());
    assert!(set.providers.admits(&azure) && set.providers.admits(&openai) && !set.providers.admits(&vllm));
    let [az, gpt, local] = [0, 1, 2].map(|index| TargetId::from_index(index).unwrap());
    assert!(set.targets.admits(&az) && set.targets.admits(&gpt) && !set.targets.admits(&local));
    assert_eq!((set.min_quality, set.max_request_cost), (Some(2), Some(MicroDollars::new(250_000))));
    assert_eq!(set.max_price.input, Some(MicroDollars::new(500_000)));
    assert_eq!(set.max_price.output, Some(MicroDollars::new(3_000_000)));
    let substitution = &model.substitution;
    assert_eq!(
        (substitution.max_price_permille, substitution.same_billing_owner, substitution.mode),
        (Some(1500), true, Mode::Shadow)
    );
    assert_eq!(substitution.leave_account, Some(ClassSet::of(&[ErrorClass::Server])));
    assert_eq!(substitution.leave_provider, Some(ClassSet::default()));
    let end = WallTime::from_millis(1_798_761_600_000); // 2027-01-01T00:00:00Z
    assert_eq!(
        substitution.approved.as_deref().unwrap(),
        [Approval { from: gpt, to: az, until: Some(end) }, Approval { from: gpt, to: local, until: None }]
    );
}

#[test]
fn two_error_classes_have_fields_that_do_not_affect_the_others() {
    let on = |fallback: Value| {
        let config = load_json(&with_fallback(fallback)).unwrap();
        let on = config.model(config.model_named("chat").unwrap()).unwrap().fallback_on;
        [ErrorClass::Server, ErrorClass::ContextLength, ErrorClass::ContentPolicy]
            .map(|class| on.contains(class))
    };
    assert_eq!(on(json!({})), [true, false, false]);
    assert_eq!(on(json!({"context_length": "larger_window"})), [true, true, false]);
    assert_eq!(on(json!({"content_policy": "elsewhere"})), [true, false, true]);
    assert_eq!(on(json!({"content_policy": "stop", "context_length": "stop"})), [true, false, false]);
    assert_eq!(on(json!({"on": ["context_length"]})), [false, true, false]);
    check(
        &with_fallback(
            json!({"on": ["context_length"], "context_length": "stop", "content_policy": "elsewere"}),
        ),
        &[
            "models.chat.fallback.content_policy: `elsewere` is not a valid value, did you mean `elsewhere`?",
            "models.chat.fallback.context_length: is `stop`, but `on` lists `context_length`",
        ],
    );
}

#[test]
fn every_mistake_in_boundaries_is_reported_with_its_path() {
    check(
        &with_fallback(json!({
            "region": ["us", "US", "a b"], "zero_retention": true, "providers": {"allow": [],
            "deny": ["opnai"]},
            "targets": {"deny": ["local", "local"]}, "min_quality": 0, "max_price": {"input": -1},
            "max_request_cost": 1_000_000, "max_price_ratio": 0, "leave_account": ["serve"],
            "mode": "enforced",
            "approved": [
                {"from": "gpt-a", "to": "az", "until": "31.12.2026"}, {"from": "gpt-a", "to": "az"},
                {"from": "gpt-a"},
                {"from": "gpt-a", "to": "lokal"},
            ],
        })),
        &[
            "models.chat.fallback.approved[0].until: is not a date, expected one such as `2026-12-31`",
            "models.chat.fallback.approved[1]: repeats an earlier pair",
            "models.chat.fallback.approved[2].to: is missing",
            "models.chat.fallback.approved[3].to: no target is called `lokal`, did you mean `local`?",
            "models.chat.fallback.leave_account[0]: `serve` is not an error class, did you mean `server`?",
            "models.chat.fallback.max_price.input: is -1, expected US dollars, 0 to 100000",
            "models.chat.fallback.max_price_ratio: is 0, expected more than 0 and at most 1000",
            "models.chat.fallback.max_request_cost: is 1000000, expected US dollars, 0 to 100000",
            "models.chat.fallback.min_quality: is 0, expected 1 to 100",
            "models.chat.fallback.mode: `enforced` is not a valid value, did you mean `enforce`?",
            "models.chat.fallback.providers.allow: is empty, so nothing is allowed; leave it out \
             to allow all",
            "models.chat.fallback.providers.deny[0]: no provider is called `opnai`, did you mean `openai`?",
            "models.chat.fallback.region[1]: region `US` is listed twice",
            "models.chat.fallback.region[2]: is not valid, expected a region such as `eu` or \
             `us-east-1`: 1 to 64 letters, digits, `.`, `_` or `-`",
            "models.chat.fallback.targets.deny[1]: `local` is listed twice",
            "models.chat.fallback.zero_retention: found a boolean, expected text (YAML needs \
             quotes around it)",
        ],
    );
}

#[test]
fn a_key_has_boundaries_but_no_substitution_rules() {
    let config = load_json(&with(full(), "/keys/team-a/regions", json!(["eu"]))).unwrap();
    let keys = config.keys.as_ref().unwrap();
    assert_eq!(keys[0].boundaries.regions.as_ref().unwrap().len(), 1);
    assert_eq!(keys[1].boundaries, Boundaries::default());
    let rule = load_json(&with(full(), "/keys/team-a/max_price_ratio", json!(2))).unwrap_err().to_string();
    assert!(rule.contains("keys.team-a.max_price_ratio: unknown field `max_price_ratio`"), "{rule}");
    check(
        &with(full(), "/keys/team-a/regions", json!([])),
        &["keys.team-a.regions: has 0 regions, expected 1 to 64"],
    );
}
