use super::*;

/// In 2025.
const NOW: WallTime = WallTime::from_millis(1_750_000_000_000);

fn new(name: &str) -> NewKey {
    NewKey { name: name.to_owned(), ..NewKey::default() }
}

#[test]
fn a_new_key_is_random_and_its_entry_is_its_digest() {
    let (one, two) = (add(&new("team"), NOW).unwrap(), add(&new("team"), NOW).unwrap());
    let key = |text: &str| text.lines().next().unwrap().to_owned();
    assert_ne!(key(&one), key(&two));
    assert!(key(&one).starts_with(PREFIX) && key(&one).len() == PREFIX.len() + 2 * RANDOM_BYTES, "{one}");
    let digest = digest(key(&one).as_bytes()).unwrap();
    assert!(one.ends_with(&format!("\n  team:\n    sha256: \"{digest}\"")), "{one}");
    assert_eq!(one.matches(&key(&one)).count(), 1, "it is shown once");
}

#[test]
fn name_and_date_are_those_that_the_filter_accepts() {
    for (name, expires, problem) in [
        ("a b", None, "a name is 1 to 64 letters"),
        ("team", Some("31.1.2027"), "keys.team.expires: is neither a date nor a time"),
    ] {
        let new = NewKey { expires: expires.map(str::to_owned), ..new(name) };
        assert!(add(&new, NOW).unwrap_err().contains(problem), "{name}");
    }
    let operator = NewKey { operator: true, expires: Some("2027-01-31".to_owned()), ..new("anna") };
    let text = add(&operator, NOW).unwrap();
    assert!(
        text.contains("below `operator: keys:`") && text.ends_with("\n    expires: \"2027-01-31\""),
        "{text}"
    );
}

#[test]
fn a_key_that_exists_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config");
    let old = "ab".repeat(32);
    let with = |sha256: serde_json::Value| {
        let config = json!({
            "providers": {"p": {"kind": "openai"}},
            "targets": {"t": {"provider": "p", "model": "m"}},
            "models": {"m": {"targets": ["t"]}},
            "keys": {"team": {"sha256": sha256}},
        });
        std::fs::write(&file, config.to_string()).unwrap();
    };
    let of = |name: &str| NewKey { config: Some(file.clone()), ..new(name) };
    with(json!(old));
    let text = add(&of("team"), NOW).unwrap();
    let digest = digest(text.lines().next().unwrap().as_bytes()).unwrap();
    assert!(text.contains(&format!("    sha256: [\"{old}\", \"{digest}\"]")), "{text}");
    assert!(text.contains("remove the first digest"), "{text}");
    assert!(add(&of("other"), NOW).unwrap().contains("Write this below `keys:`"));
    with(json!([old, "cd".repeat(32)]));
    assert!(add(&of("team"), NOW).unwrap_err().contains("is being replaced already"));
}

/// A configuration with this section.
fn configured(section: &str, value: &serde_json::Value) -> serde_json::Value {
    let mut config = json!({
        "providers": {"p": {"kind": "openai"}},
        "targets": {"t": {"provider": "p", "model": "m"}},
        "models": {"m": {"targets": ["t"]}},
    });
    config[section] = value.clone();
    config
}

/// What is said about `new`, with this section in the configuration.
fn said(section: &str, value: &serde_json::Value, new: NewKey) -> String {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config");
    std::fs::write(&file, configured(section, value).to_string()).unwrap();
    add(&NewKey { config: Some(file), ..new }, NOW).unwrap()
}

#[test]
fn an_expired_key_stays_invalid_when_it_is_replaced() {
    let old = "ab".repeat(32);
    for sha256 in [json!(old), json!([old, "cd".repeat(32)])] {
        let section = json!({"team": {"sha256": sha256, "expires": "2025-01-01"}});
        let expires = Some("2027-01-01".to_owned());
        let text = said("keys", &section, NewKey { expires, ..new("team") });
        let digest = digest(text.lines().next().unwrap().as_bytes()).unwrap();
        assert!(!text.contains(&old) && !text.contains("both keys"), "{text}");
        let entry = format!("\n  team:\n    sha256: \"{digest}\"\n    expires: \"2027-01-01\"");
        assert!(text.ends_with(&entry), "{text}");
        let text = said("keys", &section, new("team"));
        assert!(text.contains("Remove `expires`"), "{text}");
    }
}

#[test]
fn an_end_in_the_past_is_refused() {
    for operator in [false, true] {
        let of = |date: &str| {
            let expires = Some(date.to_owned());
            add(&NewKey { operator, expires, ..new("team") }, NOW)
        };
        let problem = of("2025-01-01").unwrap_err();
        assert!(problem.starts_with("--expires 2025-01-01 is in the past"), "{problem}");
        assert!(of("2027-01-01").is_ok());
    }
}

#[test]
fn the_block_of_an_operator_without_a_name_is_replaced_as_a_whole() {
    let (old, older) = ("ab".repeat(32), "cd".repeat(32));
    let single = |more: serde_json::Value| {
        let mut section = json!({"sha256": old});
        section.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        section
    };
    let cases = [
        // The section, the name, the names afterwards, and whether the old key is among the digests.
        (single(json!({})), "bob", vec!["bob", "operator"], true),
        (single(json!({"expires": "2026-01-31"})), "bob", vec!["bob", "operator"], true),
        (single(json!({"sha256": [old, older]})), "bob", vec!["bob", "operator"], true),
        (single(json!({"expires": "2025-01-01"})), "bob", vec!["bob"], false),
        (single(json!({})), "operator", vec!["operator"], true),
        (single(json!({"expires": "2026-01-31"})), "operator", vec!["operator"], true),
        (single(json!({"expires": "2025-01-01"})), "operator", vec!["operator"], false),
    ];
    for (section, name, names, keeps) in cases {
        let text = said("operator", &section, NewKey { operator: true, ..new(name) });
        assert!(text.contains("Replace the whole block `operator:`"), "{text}");
        let load = |section: &serde_json::Value| {
            config::load(configured("operator", section).to_string().as_bytes(), &|_| None).unwrap()
        };
        let (_, block) = text.split_once("\noperator:\n").unwrap();
        let block = block.split("\n\n").next().unwrap();
        let block: serde_json::Value = serde_yaml_ng::from_str(block).unwrap();
        let after = load(&block).operators;
        assert_eq!(after.iter().map(|key| &*key.name).collect::<Vec<_>>(), names, "{text}");
        assert_eq!(text.contains(&old), keeps, "{text}");
        assert_eq!(text.contains("remove the first digest"), keeps && name == "operator", "{text}");
        if keeps {
            let before = load(&section).operators;
            let first = after.iter().find(|key| &*key.name == "operator").unwrap();
            assert_eq!(before[0].expires, first.expires, "{text}");
            assert_eq!(before[0].digests == first.digests, name == "bob", "{text}");
        }
    }
    let named = json!({"keys": {"anna": {"sha256": old}}});
    let text = said("operator", &named, NewKey { operator: true, ..new("bob") });
    assert!(text.contains("Write this below `operator: keys:`"), "{text}");
}

#[test]
fn the_digest_is_that_of_the_key_without_the_line_break() {
    let expected = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
    for text in ["test", "test\n", " test\r\n"] {
        assert_eq!(digest(text.as_bytes()), Ok(expected.to_owned()), "{text:?}");
    }
    for text in ["", "\n", "two words", "tést"] {
        assert!(digest(text.as_bytes()).is_err(), "{text:?}");
    }
    assert!(digest(&[b'x'; MAX_KEY_BYTES]).is_ok());
    assert!(digest(&[b'x'; MAX_KEY_BYTES + 1]).unwrap_err().contains("more than 1024 bytes"));
}
