//! Text in YAML.

use std::net::Ipv4Addr;

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

#[cfg(test)]
mod tests {
    use super::*;

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
