//! The tree of values → the raw types: unknown fields and wrong types, all of them.

use serde_json::Value;
use serde_path_to_error::{Path, Segment};

use super::mistakes::{MAX_MISTAKES, Mistakes, push_field, push_item, shown};
use super::nearest::hint;
use super::raw::RawConfig;

/// Fits `tree` into the raw types. Serde stops at its first complaint, so what it complains about is noted
/// and blanked out, and it is asked again: at most once for every mistake that can be reported. `None` when
/// that does not lead to an end.
pub(super) fn fit(mut tree: Value, mistakes: &mut Mistakes) -> Option<RawConfig> {
    for _ in 0..=MAX_MISTAKES {
        let error = match serde_path_to_error::deserialize::<_, RawConfig>(&tree) {
            Ok(raw) => return Some(raw),
            Err(error) => error,
        };
        let complaint = error.inner().to_string();
        mistakes.add_at(written(error.path()), || in_plain_words(&complaint, error.path(), &tree));
        blank(&mut tree, error.path(), is_unknown_field(&complaint))?;
    }
    None
}

fn is_unknown_field(complaint: &str) -> bool {
    complaint.starts_with("unknown field")
}

fn written(path: &Path) -> String {
    let mut text = String::new();
    for segment in path.iter() {
        match segment {
            Segment::Map { key } => push_field(&mut text, key),
            Segment::Seq { index } => push_item(&mut text, *index),
            Segment::Enum { variant } => push_field(&mut text, variant),
            Segment::Unknown => push_field(&mut text, "?"),
        }
    }
    if text.is_empty() { String::from("configuration") } else { text }
}

/// Takes the offending node out of the tree. A field nobody knows goes with its name; anything else leaves a
/// null, so that the entries after it keep their places and its own name stays known to those that refer to
/// it. `None` when there is nothing to take.
fn blank(tree: &mut Value, path: &Path, with_its_name: bool) -> Option<()> {
    let mut steps: Vec<&Segment> = path.iter().collect();
    let last = steps.pop()?;
    let mut parent = tree;
    for step in steps {
        parent = child(parent, step)?;
    }
    if let (Value::Object(fields), Segment::Map { key }, true) = (&mut *parent, last, with_its_name) {
        return fields.remove(key).map(drop);
    }
    let node = child(parent, last)?;
    (!node.take().is_null()).then_some(())
}

fn child<'a>(parent: &'a mut Value, step: &Segment) -> Option<&'a mut Value> {
    match step {
        Segment::Map { key } => parent.get_mut(key),
        Segment::Seq { index } => parent.get_mut(index),
        Segment::Enum { .. } | Segment::Unknown => None,
    }
}

fn node<'a>(tree: &'a Value, path: &Path) -> Option<&'a Value> {
    path.iter().try_fold(tree, |parent, step| match step {
        Segment::Map { key } => parent.get(key),
        Segment::Seq { index } => parent.get(index),
        Segment::Enum { .. } | Segment::Unknown => None,
    })
}

/// Serde's complaint in the words of the configuration. What was written is named by its type only: serde
/// would print the text, and the text may be a credential in the wrong place.
fn in_plain_words(complaint: &str, path: &Path, tree: &Value) -> String {
    if is_unknown_field(complaint) {
        let name = match path.iter().next_back() {
            Some(Segment::Map { key }) => key.as_str(),
            _ => "",
        };
        return unknown_field(complaint, name);
    }
    let is_about_type = complaint.starts_with("invalid type") || complaint.starts_with("invalid value");
    match complaint.rsplit_once(", expected ") {
        Some((_, "a mapping")) if is_about_type => {
            format!("{}{}", wrong_type("a mapping", node(tree, path)), example(path))
        }
        Some((_, expected)) if is_about_type => wrong_type(expected, node(tree, path)),
        _ => complaint.to_owned(),
    }
}

fn unknown_field(complaint: &str, name: &str) -> String {
    let expected = complaint.strip_prefix(&format!("unknown field `{name}`")).unwrap_or_default();
    let known = expected.split('`').skip(1).step_by(2);
    if name == "true" && known.clone().any(|known| known == "on") {
        return String::from(
            "unknown field `true`; a bare `on` is a truth value in YAML 1.1, write \"on\" in quotes",
        );
    }
    if let Some((_, new)) = RENAMED.iter().find(|(old, new)| *old == name && known.clone().any(|k| k == *new))
    {
        return format!("`{name}` is now called `{new}`; write `{new}`");
    }
    format!("unknown field `{}`{}", shown(name), hint(name, known))
}

/// Fields that an earlier version knew by another name.
const RENAMED: [(&str, &str); 2] = [("silence", "idle"), ("content_silence", "content_idle")];

/// How the mapping looks where its short form suggests itself.
fn example(path: &Path) -> &'static str {
    match path.iter().next_back() {
        Some(Segment::Map { key }) if key == "key" => " such as `{ env: OPENAI_KEY }`",
        Some(Segment::Map { key }) if key == "fallback" => " such as `{ on: [server] }`",
        Some(Segment::Map { key }) if key == "balance" => " such as `{ strategy: least_pending }`",
        Some(Segment::Map { key }) if key == "retry" => " such as `{ attempts: 3 }`",
        _ => "",
    }
}

fn wrong_type(expected: &str, found: Option<&Value>) -> String {
    let (wants_number, expected) = match expected {
        "u64" => (true, "a whole number, zero or more"),
        "f64" => (true, "a number"),
        "a string" => (false, "text"),
        "a boolean" => (false, "`true` or `false`"),
        "a sequence" => (false, "a list"),
        "a map" => (false, "a mapping"),
        other => (false, other),
    };
    let found = match found {
        None | Some(Value::Null) => String::from("nothing"),
        Some(Value::Number(number)) if wants_number => number.to_string(),
        // A number with a decimal point, of which Envoy's YAML reader has made text.
        Some(Value::String(text)) if wants_number && text.parse::<f64>().is_ok() => shown(text),
        Some(Value::Number(_)) => String::from("a number"),
        Some(Value::Bool(_)) => String::from("a truth value"),
        Some(Value::String(_)) => String::from("text"),
        Some(Value::Array(_)) => String::from("a list"),
        Some(Value::Object(_)) => String::from("a mapping"),
    };
    let quoting = if expected == "text" && (found == "a number" || found == "a truth value") {
        " (YAML needs quotes around it)"
    } else {
        ""
    };
    format!("found {found}, expected {expected}{quoting}")
}
