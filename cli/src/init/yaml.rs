//! Text in YAML.

use std::net::Ipv4Addr;

use serde_yaml_ng::Value;

/// Words that YAML 1.1, which Envoy reads, takes for something else than text.
const WORDS: [&str; 9] = ["y", "n", "yes", "no", "on", "off", "true", "false", "null"];

/// A text as a value or a name, with quotes if it could be read as something else.
pub fn text(text: &str) -> String {
    let is_word = text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "_-./".contains(c))
        && !WORDS.contains(&text.to_ascii_lowercase().as_str());
    if is_word || text.parse::<Ipv4Addr>().is_ok() {
        return text.to_owned();
    }
    // JSON's quotes and escapes are YAML's, too.
    serde_json::Value::from(text).to_string()
}

/// A list on one line.
pub fn list<'t>(texts: impl IntoIterator<Item = &'t str>) -> String {
    let texts: Vec<_> = texts.into_iter().map(text).collect();
    format!("[{}]", texts.join(", "))
}

/// A block with this many more spaces before each line.
pub fn indented(block: &str, spaces: usize) -> String {
    let indent = |line: &str| {
        if line.is_empty() { "\n".to_owned() } else { format!("{}{line}\n", " ".repeat(spaces)) }
    };
    block.lines().map(indent).collect()
}

/// A tree in block style. Every text in it is read back as one, also by YAML 1.1.
pub fn block(tree: &Value) -> String {
    let mut lines = String::new();
    match tree {
        Value::Mapping(fields) if !fields.is_empty() => {
            for (name, value) in fields {
                lines.push_str(&field(&scalar(name), value));
            }
        }
        Value::Sequence(items) if !items.is_empty() => {
            for item in items {
                let item = block(item);
                // The first line stands beside the dash, the others below it.
                lines.push_str(&format!("- {}", indented(&item, 2).trim_start()));
            }
        }
        _ => lines = format!("{}\n", scalar(tree)),
    }
    lines
}

/// A field with its value beside it or below it.
fn field(name: &str, value: &Value) -> String {
    match value {
        Value::Mapping(fields) if !fields.is_empty() => format!("{name}:\n{}", indented(&block(value), 2)),
        Value::Sequence(items) if !items.is_empty() => format!("{name}:\n{}", block(value)),
        _ => format!("{name}: {}\n", scalar(value)),
    }
}

/// A value that fits on the line.
fn scalar(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Number(value) => value.to_string(),
        Value::String(value) => text(value),
        Value::Sequence(_) => "[]".to_owned(),
        Value::Mapping(_) => "{}".to_owned(),
        Value::Tagged(tagged) => scalar(&tagged.value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_read_back_as_it_was() {
        let given = "{a: {on: [1, [x, [2.5, {}], []], {b: c, \"4.1\": [{d: e}]}]}, f: \"two\\nlines\", g: {}, h: true, i: null, j: \"yes\"}";
        let tree: Value = serde_yaml_ng::from_str(given).unwrap();
        let written = block(&tree);
        assert_eq!(serde_yaml_ng::from_str::<Value>(&written).unwrap(), tree, "{written}");
        for line in [
            "  \"on\":",
            "  - 1",
            "  - b: c",
            "    \"4.1\":",
            "    - d: e",
            "f: \"two\\nlines\"",
            "g: {}",
            "j: \"yes\"",
        ] {
            assert!(written.lines().any(|it| it == line), "{line}:\n{written}");
        }
    }

    #[test]
    fn text_is_read_back_as_it_was() {
        for (given, expected) in [
            ("openai-a", "openai-a"),
            ("meta-llama/Llama-3.3-70B", "meta-llama/Llama-3.3-70B"),
            ("127.0.0.1", "127.0.0.1"),
            ("4.1", "\"4.1\""),
            ("1e5", "\"1e5\""),
            ("2024-10-21", "\"2024-10-21\""),
            ("NO", "\"NO\""),
            ("Null", "\"Null\""),
            ("a:b", "\"a:b\""),
            ("a b # c", "\"a b # c\""),
            ("quote\"", "\"quote\\\"\""),
            ("", "\"\""),
        ] {
            assert_eq!(text(given), expected);
            let read: serde_yaml_ng::Value = serde_yaml_ng::from_str(expected).unwrap();
            assert_eq!(read.as_str(), Some(given));
        }
    }
}
