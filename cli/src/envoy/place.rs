//! A value in an Envoy file, with its path.

use std::time::Duration;

use serde_json::Value;

/// What is absent.
const NOTHING: &Value = &Value::Null;

/// The configuration of a filter.
pub(super) const CONTENT: &str = "typed_config";
/// The member of a mapping that comes from elsewhere: it says from where.
pub(super) const FROM: &str = "llm-failsafe: content from";

/// A value in an Envoy file, with its path. An absent field is a place without a value.
#[derive(Clone)]
pub struct Place<'a> {
    value: &'a Value,
    /// Such as `static_resources.listeners[0].name`.
    pub path: String,
}

impl<'a> Place<'a> {
    /// The whole file.
    pub const fn root(value: &'a Value) -> Self {
        Self { value, path: String::new() }
    }

    /// The field with this name. Envoy also reads it in camel case.
    pub fn field(&self, name: &str) -> Self {
        let value = self.value.get(name).or_else(|| self.value.get(camel_case(name)));
        let dot = if self.path.is_empty() { "" } else { "." };
        Self::of(value.unwrap_or(NOTHING), || format!("{}{dot}{name}", self.path))
    }

    /// A value that is here, unless it says that it comes from elsewhere.
    fn of(value: &'a Value, here: impl FnOnce() -> String) -> Self {
        let path = value.get(FROM).and_then(Value::as_str).map_or_else(here, str::to_owned);
        Self { value, path }
    }

    /// The field at the end of these steps.
    pub fn at(&self, steps: &[&str]) -> Self {
        steps.iter().fold(self.clone(), |place, step| place.field(step))
    }

    /// The items of a list.
    pub fn items(&self) -> Vec<Self> {
        let items = self.value.as_array().into_iter().flatten().enumerate();
        items.map(|(index, value)| Self::of(value, || format!("{}[{index}]", self.path))).collect()
    }

    /// All fields.
    pub fn members(&self) -> Vec<Self> {
        let names = self.value.as_object().into_iter().flatten().map(|(name, _)| name);
        names.map(|name| self.field(name)).collect()
    }

    /// The fields of a mapping whose names are free, such as those of variables or extensions.
    pub fn entries(&self) -> Vec<(&'a str, Self)> {
        let entries = self.value.as_object().into_iter().flatten();
        entries
            .map(|(name, value)| (name.as_str(), Self { value, path: format!("{}[\"{name}\"]", self.path) }))
            .collect()
    }

    /// The paths of all settings inside, in Envoy's own spelling. What is written as the default is none: Envoy leaves it
    /// out when it prints its configuration. Lists are settings as a whole.
    pub fn settings(&self) -> Vec<String> {
        let mut found = Vec::new();
        for (name, place) in self.entries().into_iter().filter(|(name, _)| !name.starts_with('@')) {
            // The names of extensions are not in camel case.
            let name = if name.contains('.') { name.to_owned() } else { snake_case(name) };
            match place.value {
                Value::Object(_) => {
                    found.extend(place.settings().iter().map(|inside| format!("{name}.{inside}")));
                    found.push(name);
                }
                value if is_default(value) => {}
                _ => found.push(name),
            }
        }
        found
    }

    /// The value itself.
    pub const fn value(&self) -> &'a Value {
        self.value
    }

    /// Whether it is in the file.
    pub fn exists(&self) -> bool {
        !self.value.is_null()
    }

    /// Whether it is `true`.
    pub fn is_true(&self) -> bool {
        self.value == &Value::Bool(true)
    }

    /// Its text.
    pub fn text(&self) -> Option<&'a str> {
        self.value.as_str()
    }

    /// The texts of a list.
    pub fn texts(&self) -> Vec<String> {
        self.items().iter().filter_map(|item| Some(item.text()?.to_owned())).collect()
    }

    /// A whole number, which may be written as text.
    pub fn number(&self) -> Option<u64> {
        self.value.as_u64().or_else(|| self.text()?.parse().ok())
    }

    /// A duration such as `0.25s`, the only form that Envoy reads.
    pub fn duration(&self) -> Option<Duration> {
        let seconds: f64 = self.text()?.strip_suffix('s')?.parse().ok()?;
        Duration::try_from_secs_f64(seconds).ok()
    }

    /// The configuration of an extension and the last part of its type. A `TypedStruct` is read as what it stands for.
    pub fn extension(&self) -> (Self, &'a str) {
        let of = |name| self.field(name).text().unwrap_or_default();
        let wrapped = self.field("type_url").text();
        let config = if wrapped.is_some() { self.field("value") } else { self.clone() };
        let kind = wrapped.unwrap_or_else(|| of("@type"));
        (config, kind.rsplit(['.', '/']).next().unwrap_or_default())
    }
}

fn is_default(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty() || text == "0s",
        Value::Array(items) => items.is_empty(),
        Value::Bool(true) | Value::Object(_) => false,
    }
}

fn snake_case(name: &str) -> String {
    let letter = |c: char| c.is_ascii_uppercase().then_some('_').into_iter().chain([c.to_ascii_lowercase()]);
    name.chars().flat_map(letter).collect()
}

fn camel_case(name: &str) -> String {
    let mut parts = name.split('_');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |mut text, part| {
        let mut letters = part.chars();
        text.extend(letters.next().map(|letter| letter.to_ascii_uppercase()));
        text + letters.as_str()
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_place_knows_its_path_and_reads_both_spellings() {
        let file = json!({"staticResources": {"listeners": [{"per_connection_buffer_limit_bytes": "7"}]}});
        let listeners = Place::root(&file).at(&["static_resources", "listeners"]).items();
        let limit = listeners[0].field("per_connection_buffer_limit_bytes");
        assert_eq!(limit.path, "static_resources.listeners[0].per_connection_buffer_limit_bytes");
        assert_eq!(limit.number(), Some(7));
        assert!(!listeners[0].field("name").exists());
    }

    #[test]
    fn settings_are_what_is_not_the_default() {
        let file = json!({
            "@type": "x",
            "fooBar": {"a": 1, "b_c": false, "d": [], "envoy.x.HttpOptions": {"e": "0s", "f": "1s"}},
            "list": [{"g": 1}],
            "empty": {},
        });
        let mut settings = Place::root(&file).settings();
        settings.sort();
        let expected = [
            "empty",
            "foo_bar",
            "foo_bar.a",
            "foo_bar.envoy.x.HttpOptions",
            "foo_bar.envoy.x.HttpOptions.f",
            "list",
        ];
        assert_eq!(settings, expected);
    }

    #[test]
    fn durations_are_read_as_envoy_writes_them() {
        for (text, expected) in [
            ("900s", Some(900_000)),
            ("0.25s", Some(250)),
            ("0s", Some(0)),
            ("5m", None),
            ("-1s", None),
            ("s", None),
        ] {
            let value = json!(text);
            assert_eq!(Place::root(&value).duration().map(|it| it.as_millis()), expected, "{text}");
        }
    }

    #[test]
    fn a_typed_struct_is_what_it_stands_for() {
        let plain =
            json!({"@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm", "config": 1});
        let wrapped = json!({"@type": "type.googleapis.com/xds.type.v3.TypedStruct",
            "type_url": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm", "value": {"config": 1}});
        for value in [plain, wrapped] {
            let (config, kind) = Place::root(&value).extension();
            assert_eq!((config.field("config").number(), kind), (Some(1), "Wasm"));
        }
    }
}
