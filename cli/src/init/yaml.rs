//! Text in YAML.

use std::net::Ipv4Addr;

use serde_yaml_ng::Value;

/// How long a line of a tree may be.
const WIDTH: usize = 120;

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

/// A tree with this many spaces before each line. What fits is on one line.
pub fn tree(tree: &Value, spaces: usize) -> String {
    indented(&block(tree, WIDTH.saturating_sub(spaces)).join("\n"), spaces)
}

/// The lines of a tree. A list or a mapping that is not empty has at least one line for each of its parts.
fn block(tree: &Value, width: usize) -> Vec<String> {
    let inside = width.saturating_sub(2);
    let mut lines = Vec::new();
    match tree {
        Value::Mapping(fields) if !fields.is_empty() => {
            for (name, value) in fields {
                let name = flow(name);
                let on_one_line = format!("{name}: {}", flow(value));
                if on_one_line.len() <= width || !has_parts(value) {
                    lines.push(on_one_line);
                    continue;
                }
                lines.push(format!("{name}:"));
                let before = if value.is_sequence() { "" } else { "  " };
                lines.extend(block(value, inside).iter().map(|line| format!("{before}{line}")));
            }
        }
        Value::Sequence(items) if !items.is_empty() => {
            for item in items {
                let flow = flow(item);
                let of_item = if flow.len() <= inside { vec![flow] } else { block(item, inside) };
                let before = std::iter::once("- ").chain(std::iter::repeat("  "));
                lines.extend(of_item.iter().zip(before).map(|(line, before)| format!("{before}{line}")));
            }
        }
        other => lines.push(flow(other)),
    }
    lines
}

fn has_parts(tree: &Value) -> bool {
    match tree {
        Value::Mapping(fields) => !fields.is_empty(),
        Value::Sequence(items) => !items.is_empty(),
        _ => false,
    }
}

/// A tree on one line.
pub fn flow(tree: &Value) -> String {
    match tree {
        Value::Null => "null".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(value) => text(value),
        Value::Sequence(items) => {
            let items: Vec<_> = items.iter().map(flow).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Mapping(fields) if fields.is_empty() => "{}".to_owned(),
        Value::Mapping(fields) => {
            let fields: Vec<_> =
                fields.iter().map(|(name, value)| format!("{}: {}", flow(name), flow(value))).collect();
            format!("{{ {} }}", fields.join(", "))
        }
        Value::Tagged(tagged) => flow(&tagged.value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_is_read_back_as_it_was() {
        let given = "a: { '@type': x.y/Z, on: [yes, 'y', 1, 0.5, true, '1', ''], text: \"two\\nlines # no comment\" }
long:
- name: 012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789
  more: [{ a: {}, b: [] }, [012345678901234567890123456789012345678901234567890123456789, 012345678901234567890123456789012345]]
- [aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa, bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb]
empty: {}
";
        let given: Value = serde_yaml_ng::from_str(given).unwrap();
        let written = tree(&given, 2);
        assert_eq!(serde_yaml_ng::from_str::<Value>(&written).unwrap(), given, "{written}");
        assert!(written.lines().all(|line| line.starts_with("  ")), "{written}");
        assert!(written.contains("\"on\": [\"yes\", \"y\", 1, 0.5, true, \"1\", \"\"]"), "{written}");
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
