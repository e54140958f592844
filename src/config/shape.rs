//! Fits the tree of values into the raw types and reports all unknown fields and wrong types.

use serde_json::Value;
use serde_path_to_error::{Path, Segment};

use super::mistakes::{MAX_MISTAKES, Mistakes, push_field, push_item, shown};
use super::nearest::hint;
use super::raw::RawConfig;

/// Fits `tree` into the raw types. serde stops at the first error. So each error is reported, its value is
/// removed from the tree, and serde runs again, at most once for every mistake that can be reported. `None`
/// if errors remain.
pub(super) fn fit(mut tree: Value, mistakes: &mut Mistakes) -> Option<RawConfig> {
    for _ in 0..=MAX_MISTAKES {
        let error = match serde_path_to_error::deserialize::<_, RawConfig>(&tree) {
            Ok(raw) => return Some(raw),
            Err(error) => error,
        };
        let message = error.inner().to_string();
        mistakes.add_at(written(error.path()), || in_plain_words(&message, error.path(), &tree));
        remove(&mut tree, error.path(), is_unknown_field(&message))?;
    }
    None
}

fn is_unknown_field(message: &str) -> bool {
    message.starts_with("unknown field")
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

/// Removes the value at `path` from the tree. An unknown field is removed with its name. Anything else is
/// replaced by null, so that the entries after it keep their positions and references to its name stay valid.
/// `None` if there is no value to remove.
fn remove(tree: &mut Value, path: &Path, with_its_name: bool) -> Option<()> {
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

/// serde's message in the words of the configuration. It names only the type of what was written, because the
/// text may be a credential in the wrong place.
fn in_plain_words(message: &str, path: &Path, tree: &Value) -> String {
    if is_unknown_field(message) {
        let name = match path.iter().next_back() {
            Some(Segment::Map { key }) => key.as_str(),
            _ => "",
        };
        return unknown_field(message, name);
    }
    let is_about_type = message.starts_with("invalid type") || message.starts_with("invalid value");
    match message.rsplit_once(", expected ") {
        Some((_, "a mapping")) if is_about_type => {
            format!("{}{}", wrong_type("a mapping", node(tree, path)), example(path))
        }
        Some((_, expected)) if is_about_type => wrong_type(expected, node(tree, path)),
        _ => message.to_owned(),
    }
}

fn unknown_field(message: &str, name: &str) -> String {
    let expected = message.strip_prefix(&format!("unknown field `{name}`")).unwrap_or_default();
    let known = expected.split('`').skip(1).step_by(2);
    if name == "true" && known.clone().any(|known| known == "on") {
        return String::from(
            "unknown field `true`; YAML 1.1 reads a bare `on` as a boolean, write \"on\" in quotes",
        );
    }
    if let Some((_, new)) = RENAMED.iter().find(|(old, new)| *old == name && known.clone().any(|k| k == *new))
    {
        return format!("`{name}` is now called `{new}`; write `{new}`");
    }
    format!("unknown field `{}`{}", shown(name), hint(name, known))
}

/// Renamed fields: the old name and the new one.
const RENAMED: [(&str, &str); 2] = [("silence", "idle"), ("content_silence", "content_idle")];

/// An example of the mapping for fields where a short form is a likely mistake.
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
        // A number with a decimal point, which Envoy's YAML reader has turned into text.
        Some(Value::String(text)) if wants_number && text.parse::<f64>().is_ok() => shown(text),
        Some(Value::Number(_)) => String::from("a number"),
        Some(Value::Bool(_)) => String::from("a boolean"),
        Some(Value::String(_)) => String::from("text"),
        Some(Value::Array(_)) => String::from("a list"),
        Some(Value::Object(_)) => String::from("a mapping"),
    };
    let quoting = if expected == "text" && (found == "a number" || found == "a boolean") {
        " (YAML needs quotes around it)"
    } else {
        ""
    };
    format!("found {found}, expected {expected}{quoting}")
}
