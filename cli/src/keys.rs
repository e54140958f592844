//! New keys, and the digests of keys.

use std::io::{self, Read as _};
use std::path::Path;

use llm_failsafe::config::{self, Config, Digests};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::arguments::NewKey;
use crate::source;

/// What every key begins with, so that people and scanners recognise it.
const PREFIX: &str = "sk-llm-";
/// The random part, in bytes. Nobody guesses 192 bits.
const RANDOM_BYTES: usize = 24;
/// The filter accepts no longer key.
const MAX_KEY_BYTES: usize = 1024;

/// Makes a key. Its digest and the lines to paste follow it.
pub fn add(new: &NewKey) -> Result<String, String> {
    let old = match &new.config {
        Some(path) => digests_of(new, path)?,
        None => None,
    };
    let (key, digest) = generate()?;
    is_accepted(new, &digest)?;
    let entry = entry(new, &digest, old.as_ref());
    let place = if new.operator { "`operator: keys:`" } else { "`keys:`" };
    let what = match &old {
        None => format!("Write this below {place} in the filter's configuration:"),
        Some(_) => format!(
            "Write these fields into the entry `{}` below {place}; both keys are valid then:",
            new.name
        ),
    };
    let then = match &old {
        None => "",
        Some(_) => "\n\nWhen no client uses the old key any more, remove the first digest.",
    };
    Ok(format!(
        "{key}\n\nThis is the key. It is shown only now. Its digest is\n{digest}\n\n{what}\n\n{entry}{then}"
    ))
}

/// A new key and its digest.
pub fn generate() -> Result<(String, String), String> {
    let mut random = [0; RANDOM_BYTES];
    getrandom::fill(&mut random)
        .map_err(|error| format!("the operating system gives no random bytes: {error}"))?;
    let key = format!("{PREFIX}{}", hex(&random));
    let digest = hex(&Sha256::digest(&key));
    Ok((key, digest))
}

/// The digest of the key on standard input.
pub fn hash() -> Result<String, String> {
    let mut bytes = Vec::new();
    let most = u64::try_from(MAX_KEY_BYTES).unwrap_or(u64::MAX).saturating_add(2);
    io::stdin().take(most).read_to_end(&mut bytes).map_err(|error| format!("standard input: {error}"))?;
    digest(&bytes)
}

/// Spaces and line breaks around the key do not count, as in the filter.
fn digest(bytes: &[u8]) -> Result<String, String> {
    let key = bytes.trim_ascii();
    if key.is_empty() {
        return Err("there is no key on standard input".to_owned());
    }
    if key.len() > MAX_KEY_BYTES {
        return Err(format!("the key has more than {MAX_KEY_BYTES} bytes, which the filter does not accept"));
    }
    if !key.iter().all(u8::is_ascii_graphic) {
        return Err("the key has characters that clients cannot send in a header".to_owned());
    }
    Ok(hex(&Sha256::digest(key)))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The digests of the key with this name, if the configuration has one.
fn digests_of(new: &NewKey, path: &Path) -> Result<Option<Digests>, String> {
    let Config { keys, operators, .. } = &source::load(path)?.config;
    let digests = if new.operator {
        operators.iter().find(|key| *key.name == *new.name).map(|key| key.digests)
    } else {
        keys.iter().flatten().find(|key| *key.name == *new.name).map(|key| key.digests)
    };
    if digests.is_some_and(|digests| digests.second.is_some()) {
        return Err(format!(
            "{}: the key `{}` is being replaced already: it has two digests; remove the old one first",
            path.display(),
            new.name
        ));
    }
    Ok(digests)
}

/// Asks the filter itself whether it accepts the name and the date.
fn is_accepted(new: &NewKey, digest: &str) -> Result<(), String> {
    let mut entry = json!({"sha256": digest});
    if let Some(expires) = &new.expires {
        entry["expires"] = json!(expires);
    }
    let mut named = json!({});
    named[&new.name] = entry;
    let mut configuration = json!({
        "providers": {"p": {"kind": "openai"}},
        "targets": {"t": {"provider": "p", "model": "m"}},
        "models": {"m": {"targets": ["t"]}},
    });
    if new.operator {
        configuration["operator"] = json!({"keys": named});
    } else {
        configuration["keys"] = named;
    }
    let loaded = config::load(configuration.to_string().as_bytes(), &|_| None);
    loaded.map(drop).map_err(|mistakes| {
        let lines: Vec<_> =
            mistakes.iter().map(|mistake| format!("{}: {}", mistake.path, mistake.problem)).collect();
        lines.join("\n")
    })
}

fn entry(new: &NewKey, digest: &str, old: Option<&Digests>) -> String {
    let digests = match old {
        None => format!("\"{digest}\""),
        Some(old) => format!("[\"{}\", \"{digest}\"]", hex(&old.first)),
    };
    let expires = new.expires.as_ref().map(|date| format!("\n    expires: \"{date}\"")).unwrap_or_default();
    format!("  {}:\n    sha256: {digests}{expires}", new.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new(name: &str) -> NewKey {
        NewKey { name: name.to_owned(), ..NewKey::default() }
    }

    #[test]
    fn a_new_key_is_random_and_its_entry_is_its_digest() {
        let (one, two) = (add(&new("team")).unwrap(), add(&new("team")).unwrap());
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
            assert!(add(&new).unwrap_err().contains(problem), "{name}");
        }
        let operator = NewKey { operator: true, expires: Some("2027-01-31".to_owned()), ..new("anna") };
        let text = add(&operator).unwrap();
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
        let text = add(&of("team")).unwrap();
        let digest = digest(text.lines().next().unwrap().as_bytes()).unwrap();
        assert!(text.contains(&format!("    sha256: [\"{old}\", \"{digest}\"]")), "{text}");
        assert!(text.contains("remove the first digest"), "{text}");
        assert!(add(&of("other")).unwrap().contains("Write this below `keys:`"));
        with(json!([old, "cd".repeat(32)]));
        assert!(add(&of("team")).unwrap_err().contains("is being replaced already"));
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
}
