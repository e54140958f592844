//! Reads the plugin's bytes into one tree of values. They are JSON text or a protobuf Struct.

use std::fmt;

use prost::Message;
use prost_types::value::Kind;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::mistakes::{Mistakes, Trail};

/// The largest accepted configuration, in bytes.
pub const MAX_BYTES: usize = 1024 * 1024;
/// The deepest accepted nesting of mappings and lists. Today's fields need six levels. prost rejects a Struct
/// at 34 levels (a hundred messages, three per level), and both forms must accept the same.
pub const MAX_NESTING: usize = 32;
/// The largest number up to which a double represents every whole number.
const MAX_WHOLE: f64 = 9_007_199_254_740_992.0;
/// The first byte of every non-empty Struct: field 1, length-delimited.
const STRUCT_TAG: u8 = 0x0a;

pub(super) const EMPTY: &str = "is empty; it needs at least one provider, one target and one model, such as \
    {\"providers\": {\"openai\": {\"kind\": \"openai\"}}, \
    \"targets\": {\"gpt\": {\"provider\": \"openai\", \"key\": {\"env\": \"OPENAI_KEY\"}, \
    \"model\": \"gpt-4.1-mini\"}}, \
    \"models\": {\"chat\": {\"targets\": [\"gpt\"]}}}";

/// Reads JSON text or the protobuf bytes of a `google.protobuf.Struct`. Envoy passes a `StringValue` as plain
/// text and a Struct undecoded. Returns `None` and adds a mistake if the bytes are neither.
pub(super) fn read(bytes: &[u8], mistakes: &mut Mistakes) -> Option<Value> {
    if bytes.len() > MAX_BYTES {
        mistakes.add(&Trail::Root, format!("has {} bytes, at most {MAX_BYTES} are allowed", bytes.len()));
        return None;
    }
    let first = bytes.trim_ascii_start().first();
    if first.is_none() {
        mistakes.add(&Trail::Root, EMPTY);
        return None;
    }
    let mut problem = String::from(
        "is neither JSON text nor a google.protobuf.Struct; YAML works only where Envoy reads it, under \
         `configuration: { \"@type\": type.googleapis.com/google.protobuf.Struct, value: … }`",
    );
    if first == Some(&b'{') {
        match from_json(bytes) {
            Ok((value, found)) => {
                *mistakes = found;
                return Some(value);
            }
            Err(error) => problem = format!("cannot be read as JSON: {error}"),
        }
    }
    // A Struct whose first entry has 123 bytes also begins with "\n{", so it may still be a Struct.
    if let Some(fields) = decode_struct(bytes) {
        return Some(from_fields(fields, 1, &Trail::Root, mistakes));
    }
    mistakes.add(&Trail::Root, problem);
    None
}

fn decode_struct(bytes: &[u8]) -> Option<prost_types::Struct> {
    if bytes.first() != Some(&STRUCT_TAG) {
        return None;
    }
    prost_types::Struct::decode(bytes).ok().filter(|fields| !fields.fields.is_empty())
}

/// The recursion is bounded by prost's own limit and by `MAX_NESTING`.
fn from_fields(fields: prost_types::Struct, depth: usize, at: &Trail<'_>, mistakes: &mut Mistakes) -> Value {
    let fields = fields.fields.into_iter();
    Value::Object(
        fields
            .map(|(name, value)| {
                let value = from_kind(value.kind, depth, &at.field(&name), mistakes);
                (name, value)
            })
            .collect(),
    )
}

fn from_kind(kind: Option<Kind>, depth: usize, at: &Trail<'_>, mistakes: &mut Mistakes) -> Value {
    match kind {
        None | Some(Kind::NullValue(_)) => null(at, mistakes),
        Some(Kind::BoolValue(value)) => Value::Bool(value),
        Some(Kind::StringValue(text)) => Value::String(text),
        Some(Kind::NumberValue(number)) => whole_or_decimal(number).unwrap_or_else(|| {
            mistakes.add(at, "is not a finite number");
            Value::Null
        }),
        Some(Kind::StructValue(_) | Kind::ListValue(_)) if depth >= MAX_NESTING => {
            mistakes.add(at, TOO_DEEP);
            Value::Null
        }
        Some(Kind::StructValue(fields)) => from_fields(fields, depth + 1, at, mistakes),
        Some(Kind::ListValue(items)) => {
            let items = items.values.into_iter().enumerate();
            Value::Array(
                items
                    .map(|(index, item)| from_kind(item.kind, depth + 1, &at.item(index), mistakes))
                    .collect(),
            )
        }
    }
}

const TOO_DEEP: &str = "nested more than 32 levels deep";

/// An empty value is a mistake and not the default: if all entries of `keys:` are commented out, access must
/// not become open to everyone.
fn null(at: &Trail<'_>, mistakes: &mut Mistakes) -> Value {
    mistakes.add(at, "is empty, expected a value; leave it out for its default");
    Value::Null
}

/// Turns a whole double into an integer, because all numbers of a Struct are doubles and JSON may have `3.0`.
/// `None` for NaN and infinities.
fn whole_or_decimal(number: f64) -> Option<Value> {
    if number.fract() == 0.0 && number.abs() <= MAX_WHOLE {
        return Some(Value::from(number as i64));
    }
    Number::from_f64(number).map(Value::Number)
}

/// The tree of a JSON text, and the mistakes that do not prevent reading it.
fn from_json(bytes: &[u8]) -> Result<(Value, Mistakes), serde_json::Error> {
    let mut mistakes = Mistakes::default();
    let mut text = serde_json::Deserializer::from_slice(bytes);
    let value = Node { at: &Trail::Root, depth: 0, mistakes: &mut mistakes }.deserialize(&mut text)?;
    text.end()?;
    Ok((value, mistakes))
}

/// Reads one value. Unlike serde_json's own reader it reports duplicate names.
struct Node<'a> {
    at: &'a Trail<'a>,
    depth: usize,
    mistakes: &'a mut Mistakes,
}

impl Node<'_> {
    fn deeper<E: Error>(&self) -> Result<usize, E> {
        if self.depth >= MAX_NESTING { Err(E::custom(TOO_DEEP)) } else { Ok(self.depth + 1) }
    }
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        whole_or_decimal(value).ok_or_else(|| E::custom("not a finite number"))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value, E> {
        Ok(Value::String(text.to_owned()))
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(null(self.at, self.mistakes))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let depth = self.deeper()?;
        let mut list = Vec::new();
        loop {
            let at = self.at.item(list.len());
            let seed = Node { at: &at, depth, mistakes: &mut *self.mistakes };
            let Some(item) = items.next_element_seed(seed)? else { return Ok(Value::Array(list)) };
            list.push(item);
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let depth = self.deeper()?;
        let mut map = Map::new();
        while let Some(name) = fields.next_key::<String>()? {
            let at = self.at.field(&name);
            if map.contains_key(&name) {
                self.mistakes.add(&at, "is written twice");
            }
            let value = fields.next_value_seed(Node { at: &at, depth, mistakes: &mut *self.mistakes })?;
            map.insert(name, value);
        }
        Ok(Value::Object(map))
    }
}
