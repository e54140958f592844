//! Aliases, patterns and the default model.

use super::*;

fn models(models: Value) -> Value {
    let mut config = smallest();
    let mut star = config["targets"].as_object().unwrap().values().next().unwrap().clone();
    star["model"] = json!("vendor/*");
    config["targets"]["star"] = star;
    config["models"] = models;
    config
}

fn target() -> String {
    smallest()["targets"].as_object().unwrap().keys().next().unwrap().clone()
}

#[test]
fn each_name_means_one_model() {
    let fixed = target();
    let simple = |more: Value| {
        let mut model = json!({"targets": [&*fixed]});
        for (name, value) in more.as_object().unwrap() {
            model[name] = value.clone();
        }
        model
    };
    let many: Vec<String> = (0..=MAX_ALIASES).map(|number| format!("alias-{number}")).collect();
    for (written, expected) in [
        (
            json!({"a": simple(json!({"aliases": ["b"]})), "b": simple(json!({}))}),
            "models.a.aliases[0]: `b` is the name of a model",
        ),
        (json!({"a": simple(json!({"aliases": ["a"]}))}), "models.a.aliases[0]: `a` is the name of a model"),
        (
            json!({"a": simple(json!({"aliases": ["c"]})), "b": simple(json!({"aliases": ["d", "c"]}))}),
            "models.b.aliases[1]: `c` is also an alias of the model `a`",
        ),
        (
            json!({"a": simple(json!({"aliases": ["c", "c"]}))}),
            "models.a.aliases[1]: `c` is also an alias of the model `a`",
        ),
        (
            json!({"a": simple(json!({"aliases": ["c/*"]}))}),
            "models.a.aliases[0]: is a pattern; make it a model of its own",
        ),
        (
            json!({"a": simple(json!({"aliases": ["two words"]}))}),
            "models.a.aliases[0]: a model's name is 1 to 128 letters, digits, `_`, `-`, `.`, `:`, `/` or `@`, the first a \
             letter or digit; a pattern has a `*` at its end",
        ),
        (json!({"a": simple(json!({"aliases": []}))}), "models.a.aliases: has 0 entries, expected 1 to 64"),
        (
            json!({"a": simple(json!({"aliases": many}))}),
            "models.a.aliases: has 65 entries, expected 1 to 64",
        ),
        (
            json!({"a": simple(json!({"default": true})), "b": simple(json!({"default": true}))}),
            "models.b.default: is already set for the model `a`",
        ),
        (
            json!({"a/*": simple(json!({"default": true}))}),
            "models[\"a/*\"].default: cannot be set for a pattern, which says itself which names it serves",
        ),
        (
            json!({"a": {"targets": ["star"]}}),
            "models.a: has the target `star`, whose `model` has a `*`; only a model whose name ends with `*` can fill it in",
        ),
    ] {
        check(&models(written), &[expected]);
    }
    assert!(load_json(&models(json!({"a": simple(json!({"aliases": &many[1..]}))}))).is_ok());
    assert!(load_json(&models(json!({"*": {"targets": ["star", &*fixed]}}))).is_ok());
}

#[test]
fn a_target_s_model_has_at_most_one_star() {
    let pattern = |model: &str| {
        with(models(json!({"a/*": {"targets": ["star"]}})), "/targets/star/model", json!(model))
    };
    for good in ["*", "vendor/*", "*:free", &format!("{}*", "x".repeat(127))] {
        assert!(load_json(&pattern(good)).is_ok(), "{good}");
    }
    for bad in ["**", "a*b*", &format!("{}*", "x".repeat(128))] {
        assert!(load_json(&pattern(bad)).is_err(), "{bad}");
    }
}

#[test]
fn a_key_is_allowed_models_by_their_own_names_only() {
    let fixed = target();
    let mut config = models(json!({
        "chat": {"targets": [&*fixed], "aliases": ["gpt-4o"]},
        "open/*": {"targets": ["star"]},
    }));
    config["keys"] = json!({"team": {"sha256": "ab".repeat(32), "models": ["chat", "open/*"]}});
    assert!(load_json(&config).is_ok());
    config["keys"]["team"]["models"] = json!(["gpt-4o"]);
    assert!(load_json(&config).is_err());
}
