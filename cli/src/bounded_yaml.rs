//! Reads YAML into a tree of bounded size.
//!
//! An alias repeats what it names, and aliases of aliases multiply. So a short file could fill the memory.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// The most values that a file may have, with those that its aliases repeat. The largest configuration has some ten
/// thousand, a configuration dump of a mesh some hundred thousand.
const MAX_VALUES: usize = 2_000_000;
/// The most bytes that its texts may have together.
const MAX_TEXT: usize = 64 << 20;

/// The tree of a YAML text.
pub fn parse(text: &str) -> Result<Value, String> {
    let left = Left { values: Cell::new(MAX_VALUES), text: Cell::new(MAX_TEXT) };
    let documents = &mut serde_yaml_ng::Deserializer::from_str(text);
    let Some(document) = documents.next() else { return Ok(Value::Null) };
    let tree = Node(&left).deserialize(document).map_err(|error| error.to_string())?;
    match documents.next() {
        None => Ok(tree),
        Some(_) => Err("has several YAML documents, expected one".to_owned()),
    }
}

/// What may still be added.
struct Left {
    values: Cell<usize>,
    text: Cell<usize>,
}

impl Left {
    fn take<E: Error>(of: &Cell<usize>, amount: usize, what: fmt::Arguments<'_>) -> Result<(), E> {
        let rest = of.get().checked_sub(amount);
        of.set(rest.ok_or_else(|| {
            E::custom(format_args!("has more than {what}, with those that aliases repeat"))
        })?);
        Ok(())
    }

    fn value<E: Error>(&self) -> Result<(), E> {
        Self::take(&self.values, 1, format_args!("{MAX_VALUES} values"))
    }

    fn text<E: Error>(&self, text: &str) -> Result<(), E> {
        Self::take(&self.text, text.len(), format_args!("{MAX_TEXT} bytes of text"))
    }
}

#[derive(Clone, Copy)]
struct Node<'l>(&'l Left);

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.0.value()?;
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value without a tag")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        self.0.text(value)?;
        Ok(Value::from(value))
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(self)? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            self.0.text(&name)?;
            map.insert(name, members.next_value_seed(self)?);
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_is_what_serde_reads() {
        for text in [
            "",
            "a: {b: [1, -2, 2.5, true, ~, .nan, 18446744073709551615], 3: 'x', yes: \"3\"}\n",
            "x: &x {a: 1}\ny: [*x, *x]\nz: |\n  text\n",
            "{\"a\": [{}], \"a\": null}",
        ] {
            let expected: Value = serde_yaml_ng::from_str(text).unwrap();
            assert_eq!(parse(text).unwrap(), expected, "{text}");
        }
        for text in ["a: !tag b", "a: [", "a: 1\n---\nb: 2\n", "*x"] {
            assert!(serde_yaml_ng::from_str::<Value>(text).is_err() && parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn aliases_repeat_values_up_to_the_limit() {
        let text = |items: usize, aliases: usize| {
            format!("a: &a [{}]\nb:\n{}", "1,".repeat(items), "- *a\n".repeat(aliases))
        };
        // The map, two lists, and each list of items with its items.
        let values = |items: usize, aliases: usize| 2 + (items + 1) * (aliases + 1);
        assert_eq!(values(1997, 1000), MAX_VALUES);
        assert!(parse(&text(1997, 1000)).is_ok());
        let problem = parse(&text(1998, 1000)).unwrap_err();
        assert!(problem.contains("more than 2000000 values, with those that aliases repeat"), "{problem}");
        assert!(parse(&text(1000, 100_000)).is_err());
    }

    #[test]
    fn aliases_repeat_text_up_to_the_limit() {
        let text = |length: usize| format!("a: &a {}\nb:\n{}", "x".repeat(length), "- *a\n".repeat(63));
        // The names `a` and `b` count, too.
        assert!(parse(&text((1 << 20) - 1)).is_ok());
        let problem = parse(&text(1 << 20)).unwrap_err();
        assert!(problem.contains("more than 67108864 bytes of text"), "{problem}");
    }
}
