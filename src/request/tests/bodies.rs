//! Generates realistic and hostile bodies: every member that the scan knows, with expected and unexpected
//! values, in any order, duplicated, escaped, nested and spaced in every way.

use proptest::prelude::*;
use serde_json::Value;

/// JSON that keeps the order and the duplicates of members.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Json {
    Bare(String),
    Text(String),
    Array(Vec<Json>),
    Object(Vec<(String, Json)>),
}

const ROOT_KEYS: &[&str] = &[
    "model",
    "stream",
    "stream_options",
    "messages",
    "input",
    "prompt",
    "system",
    "instructions",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "mcp_servers",
    "web_search_options",
    "functions",
    "response_format",
    "output_format",
    "output_config",
    "text",
    "modalities",
    "max_tokens",
    "max_completion_tokens",
    "max_output_tokens",
    "n",
    "logprobs",
    "top_logprobs",
    "seed",
    "reasoning_effort",
    "reasoning",
    "thinking",
    "previous_response_id",
    "conversation",
    "background",
    "container",
    "cached_content",
    "extra_body",
    "store",
    "user",
    "prompt_cache_key",
    "metadata",
    "temperature",
    "models",
    "fallbacks",
    "fallback_models",
    "route",
    "preset",
    "provider",
];
const OPTION_KEYS: &[&str] = &[
    "type",
    "include_usage",
    "strict",
    "function",
    "container",
    "vector_store_ids",
    "file_ids",
    "format",
    "effort",
    "enabled",
    "summary",
    "execution",
    "environment",
    "container_id",
    "google",
    "cached_content",
    "user_id",
    "id",
    "disable_parallel_tool_use",
    "name",
    "model",
];
const PART_KEYS: &[&str] = &[
    "type",
    "type",
    "type",
    "content",
    "content",
    "output",
    "image_url",
    "input_audio",
    "file",
    "file_data",
    "source",
    "file_id",
    "audio",
    "signature",
    "encrypted_content",
    "thought_signature",
    "reasoning_details",
    "tool_calls",
    "extra_content",
    "data",
    "url",
    "id",
    "text",
    "role",
    "input",
];
const WORDS: &[&str] = &[
    "",
    "function",
    "custom",
    "web_search",
    "shell",
    "tool_search",
    "bash_20250124",
    "computer",
    "client",
    "local",
    "text",
    "json_object",
    "json_schema",
    "xml",
    "none",
    "auto",
    "required",
    "audio",
    "disabled",
    "enabled",
    "low",
    "image_url",
    "input_image",
    "image",
    "input_audio",
    "file",
    "input_file",
    "document",
    "thinking",
    "redacted_thinking",
    "item_reference",
    "tool_result",
    "base64",
    "user",
    "gpt-4.1-mini",
];

fn leaf() -> impl Strategy<Value = Json> {
    let bare = prop_oneof![
        3 => Just("true"), 2 => Just("false"), 2 => Just("null"), 1 => Just("0"), 1 => Just("-0"),
        1 => Just("4096"), 1 => Just("-17"), 1 => Just("1.5"), 1 => Just("1e3"), 1 => Just("2.5E-3"),
        1 => Just("18446744073709551615"),
        1 => Just("18446744073709551616"), 1 => Just("0.0"),
    ];
    prop_oneof![
        3 => bare.prop_map(|text| Json::Bare(text.to_owned())),
        1 => any::<i64>().prop_map(|number| Json::Bare(number.to_string())),
        4 => proptest::sample::select(WORDS).prop_map(|word| Json::Text(word.to_owned())),
        2 => "\\PC{0,12}".prop_map(Json::Text),
        1 => any::<String>().prop_map(Json::Text),
        1 => (250..262_usize).prop_map(|length| Json::Text("m".repeat(length))),
    ]
}

fn members(
    keys: &'static [&'static str],
    value: impl Strategy<Value = Json>,
    most: usize,
) -> impl Strategy<Value = Json> {
    let key = prop_oneof![
        20 => proptest::sample::select(keys).prop_map(str::to_owned),
        1 => any::<String>(),
    ];
    proptest::collection::vec((key, value), 0..most).prop_map(Json::Object)
}

fn list(value: impl Strategy<Value = Json>) -> impl Strategy<Value = Json> {
    proptest::collection::vec(value, 0..4).prop_map(Json::Array)
}

fn nested(keys: &'static [&'static str], levels: usize, most: usize) -> BoxedStrategy<Json> {
    let mut value = leaf().boxed();
    for _ in 0..levels {
        value = prop_oneof![
            2 => leaf(),
            1 => list(value.clone()),
            3 => members(keys, value.clone(), most),
            2 => list(members(keys, value, most)),
        ]
        .boxed();
    }
    value
}

/// Any body that is an object.
pub(super) fn body() -> impl Strategy<Value = Json> {
    let value = prop_oneof![
        3 => leaf(),
        3 => nested(OPTION_KEYS, 3, 4),
        3 => list(members(PART_KEYS, nested(PART_KEYS, 3, 4), 4)),
    ];
    members(ROOT_KEYS, value, 10)
}

/// How to write a body: random bits decide on spaces and escapes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Style(pub(super) u64);

impl Style {
    fn draw(&mut self, choices: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % choices
    }
}

impl Json {
    pub(super) fn write(&self, mut style: Style) -> String {
        let mut out = String::new();
        self.write_to(&mut out, &mut style);
        out
    }

    fn write_to(&self, out: &mut String, style: &mut Style) {
        write_space(out, style);
        match self {
            Self::Bare(text) => out.push_str(text),
            Self::Text(text) => write_text(text, out, style),
            Self::Array(elements) => {
                out.push('[');
                for (index, element) in elements.iter().enumerate() {
                    out.push_str(if index > 0 { "," } else { "" });
                    element.write_to(out, style);
                }
                write_space(out, style);
                out.push(']');
            }
            Self::Object(members) => {
                out.push('{');
                for (index, (key, value)) in members.iter().enumerate() {
                    out.push_str(if index > 0 { "," } else { "" });
                    write_space(out, style);
                    write_text(key, out, style);
                    write_space(out, style);
                    out.push(':');
                    value.write_to(out, style);
                }
                write_space(out, style);
                out.push('}');
            }
        }
        write_space(out, style);
    }

    /// The value of the last member `key`.
    pub(super) fn last(&self, key: &str) -> Option<&Self> {
        self.all(key).last()
    }

    /// The values of all members `key`.
    pub(super) fn all(&self, key: &str) -> impl Iterator<Item = &Self> {
        let members = if let Self::Object(members) = self { members.as_slice() } else { &[] };
        members.iter().filter(move |(name, _)| name == key).map(|(_, value)| value)
    }

    pub(super) fn elements(&self) -> &[Self] {
        if let Self::Array(elements) = self { elements } else { &[] }
    }

    pub(super) fn text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    pub(super) fn is(&self, bare: &str) -> bool {
        matches!(self, Self::Bare(text) if text == bare)
    }

    const fn is_container(&self) -> bool {
        matches!(self, Self::Array(_) | Self::Object(_))
    }

    /// Removes the duplicates within top-level members, except for a `type` that is not a container: the
    /// content of larger parts counts whether or not a duplicate follows.
    pub(super) fn with_duplicates_at_the_top_only(self) -> Self {
        match self {
            Self::Object(members) => Self::Object(
                members.into_iter().map(|(key, value)| (key, value.without_duplicates())).collect(),
            ),
            other => other,
        }
    }

    fn without_duplicates(self) -> Self {
        match self {
            Self::Array(elements) => {
                Self::Array(elements.into_iter().map(Self::without_duplicates).collect())
            }
            Self::Object(members) => {
                let mut kept: Vec<(String, Self)> = Vec::new();
                for (key, value) in members {
                    if key == "type" && !value.is_container() {
                        kept.retain(|(other, earlier)| other != "type" || !earlier.is_container());
                        kept.push((key, value));
                    } else if kept.iter().all(|(other, _)| *other != key) {
                        kept.push((key, value.without_duplicates()));
                    }
                }
                Self::Object(kept)
            }
            other => other,
        }
    }
}

impl From<Value> for Json {
    fn from(value: Value) -> Self {
        match value {
            Value::String(text) => Self::Text(text),
            Value::Array(elements) => Self::Array(elements.into_iter().map(Self::from).collect()),
            Value::Object(members) => {
                Self::Object(members.into_iter().map(|(key, value)| (key, value.into())).collect())
            }
            bare => Self::Bare(bare.to_string()),
        }
    }
}

fn write_space(out: &mut String, style: &mut Style) {
    out.push_str(match style.draw(12) {
        0 => " ",
        1 => "\n  ",
        2 => "\r\n\t",
        _ => "",
    });
}

fn write_text(text: &str, out: &mut String, style: &mut Style) {
    out.push('"');
    for character in text.chars() {
        match character {
            _ if style.draw(16) == 0 => {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    let upper = style.draw(2) == 0;
                    out.push_str(&if upper { format!("\\u{unit:04X}") } else { format!("\\u{unit:04x}") });
                }
            }
            '/' if style.draw(2) == 0 => out.push_str("\\/"),
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\0'..' ' => out.push_str(&format!("\\u{:04x}", u32::from(character))),
            _ => out.push(character),
        }
    }
    out.push('"');
}
