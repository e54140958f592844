//! New keys, and the digests of keys.

use std::io::{self, Read as _};
use std::path::Path;

use llm_failsafe::base::WallTime;
use llm_failsafe::config::{self, Config, Digests};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::arguments::NewKey;
use crate::{moment, source};

/// What every key begins with, so that people and scanners recognise it.
const PREFIX: &str = "sk-llm-";
/// The random part, in bytes. Nobody guesses 192 bits.
const RANDOM_BYTES: usize = 24;
/// The name of the operator whose key has none, in the filter's log.
const ONLY_OPERATOR: &str = "operator";
/// The filter accepts no longer key.
const MAX_KEY_BYTES: usize = 1024;

/// Makes a key. Its digest and the lines to paste follow it.
pub fn add(new: &NewKey, now: WallTime) -> Result<String, String> {
    let known = match &new.config {
        Some(path) => Known::read(new, path, now)?,
        None => Known::default(),
    };
    let (key, digest) = generate()?;
    is_accepted(new, &digest, now)?;
    let todo = todo(new, &digest, &known);
    Ok(format!(
        "{key}

This is the key. It is shown only now. Its digest is
{digest}

{todo}"
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

/// What the configuration has already.
#[derive(Default)]
struct Known {
    /// The key with the same name.
    same: Option<Old>,
    /// The operator's key that has no name because it is the only one (`operator: { sha256: … }`).
    unnamed: Option<Old>,
}

/// A key of the configuration.
struct Old {
    digests: Digests,
    expires: Option<WallTime>,
    has_expired: bool,
}

impl Old {
    fn of(digests: Digests, expires: Option<WallTime>, now: WallTime) -> Self {
        Self { digests, expires, has_expired: expires.is_some_and(|end| end <= now) }
    }

    fn hex(&self) -> Vec<String> {
        let Digests { first, second } = &self.digests;
        [Some(first), second.as_ref()].into_iter().flatten().map(|digest| hex(digest)).collect()
    }

    /// Its end as the configuration writes it.
    fn end(&self) -> Option<String> {
        let written = moment::written(self.expires?.as_millis());
        Some(written.replace(' ', "T").replace(".000Z", "Z"))
    }
}

impl Known {
    fn read(new: &NewKey, path: &Path, now: WallTime) -> Result<Self, String> {
        let loaded = source::load(path)?;
        let Config { keys, operators, .. } = &loaded.config;
        let name = new.name.as_str();
        let same = if new.operator {
            let key = operators.iter().find(|key| *key.name == *name);
            key.map(|key| Old::of(key.digests, key.expires, now))
        } else {
            let key = keys.iter().flatten().find(|key| *key.name == *name);
            key.map(|key| Old::of(key.digests, key.expires, now))
        };
        // An expired key is replaced at once, so its digests do not matter.
        if same.as_ref().is_some_and(|old| old.digests.second.is_some() && !old.has_expired) {
            return Err(format!(
                "{}: the key `{name}` is being replaced already: it has two digests; remove the old one first",
                path.display(),
            ));
        }
        let is_unnamed = new.operator && loaded.has_unnamed_operator;
        let only = operators.first().filter(|_| is_unnamed);
        Ok(Self { same, unnamed: only.map(|key| Old::of(key.digests, key.expires, now)) })
    }
}

/// What to write into the configuration.
fn todo(new: &NewKey, digest: &str, known: &Known) -> String {
    let name = &new.name;
    let place = if new.operator { "`operator: keys:`" } else { "`keys:`" };
    let remove = "\n\nWhen nobody uses the old key any more, remove the first digest.";
    let (what, then) = match &known.same {
        None => (format!("Write this below {place} in the filter's configuration:"), ""),
        Some(old) if old.has_expired => (
            format!(
                "The key `{name}` has expired, so only the new key is valid then. Write these fields into its entry \
                 below {place}, instead of the old ones:"
            ),
            if new.expires.is_none() { "\n\nRemove `expires` there: the new key has no end." } else { "" },
        ),
        Some(_) => (
            format!("Write these fields into the entry `{name}` below {place}; both keys are valid then:"),
            remove,
        ),
    };
    let live = known.same.as_ref().filter(|old| !old.has_expired);
    let mut digests = live.map(Old::hex).unwrap_or_default();
    digests.push(digest.to_owned());
    // Both keys of one entry have the same end. Without a new one it stays.
    let expires = new.expires.clone().or_else(|| live.and_then(Old::end));
    let entry = entry(name, &digests, expires.as_deref());
    let Some(unnamed) = &known.unnamed else { return format!("{what}\n\n{entry}{then}") };
    // The filter accepts `sha256` or `keys`, not both.
    let mut entries = Vec::new();
    if known.same.is_none() && !unnamed.has_expired {
        entries.push(self::entry(ONLY_OPERATOR, &unnamed.hex(), unnamed.end().as_deref()));
    }
    entries.push(entry);
    let entries = entries.join("\n");
    let (both, then) = if live.is_some() { ("; both keys are valid then", remove) } else { ("", "") };
    format!(
        "Replace the whole block `operator:` in the filter's configuration with this{both}:\n\n\
         operator:\n  keys:\n{}{then}",
        indented(&entries)
    )
}

fn entry(name: &str, digests: &[String], expires: Option<&str>) -> String {
    let digests = match digests {
        [one] => format!("\"{one}\""),
        several => format!("[\"{}\"]", several.join("\", \"")),
    };
    let expires = expires.map(|date| format!("\n    expires: \"{date}\"")).unwrap_or_default();
    format!("  {name}:\n    sha256: {digests}{expires}")
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
}

/// Asks the filter itself whether it accepts the name and the date. The date must be in the future.
fn is_accepted(new: &NewKey, digest: &str, now: WallTime) -> Result<(), String> {
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
    let loaded = config::load(configuration.to_string().as_bytes(), &|_| None).map_err(|mistakes| {
        let lines: Vec<_> =
            mistakes.iter().map(|mistake| format!("{}: {}", mistake.path, mistake.problem)).collect();
        lines.join("\n")
    })?;
    let clients = loaded.keys.iter().flatten().map(|key| key.expires);
    let end = clients.chain(loaded.operators.iter().map(|key| key.expires)).flatten().next();
    match (end, &new.expires) {
        (Some(end), Some(written)) if end <= now => {
            let now = moment::written(now.as_millis());
            Err(format!("--expires {written} is in the past, so the key would never be valid (now: {now})"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
#[path = "keys_tests.rs"]
mod tests;
