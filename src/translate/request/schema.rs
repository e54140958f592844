//! Which JSON schemas a provider enforces.
//!
//! Both makers enforce schemas that forbid additional properties. Beyond that OpenAI wants every property to
//! be required, and Anthropic refuses keywords that bound numbers and lengths. A schema that one enforces may
//! make the other refuse the whole request.

use super::super::json::Raw;

/// How many subschemas are looked at. A schema with more counts as not enforced; the makers allow fewer.
const MAX_SUBSCHEMAS: usize = 10_000;

/// How many subschemas may wait to be looked at.
const MAX_WAITING: usize = 10_000;

/// How deep subschemas may be in each other. Each level is read once more, so this bounds the time.
const MAX_LEVELS: usize = 32;

/// Keywords of which the value is a subschema or a list of them.
const SUBSCHEMAS: [&str; 5] = ["items", "anyOf", "allOf", "oneOf", "additionalProperties"];

/// Keywords of which the value is an object of named subschemas.
const NAMED_SUBSCHEMAS: [&str; 3] = ["properties", "$defs", "definitions"];

/// Keywords that Anthropic refuses.
const REFUSED_BY_ANTHROPIC: [&str; 17] = [
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minLength",
    "maxLength",
    "maxItems",
    "uniqueItems",
    "contains",
    "minProperties",
    "maxProperties",
    "patternProperties",
    "propertyNames",
    "oneOf",
    "not",
    "if",
];

/// Keywords that OpenAI refuses.
const REFUSED_BY_OPENAI: [&str; 10] = [
    "allOf",
    "oneOf",
    "not",
    "if",
    "then",
    "else",
    "dependentRequired",
    "dependentSchemas",
    "patternProperties",
    "default",
];

/// Whether Anthropic enforces `schema`.
pub(super) fn anthropic_enforces(schema: Raw<'_>) -> bool {
    every_subschema(schema, |subschema| {
        is_closed(subschema) && !has_one_of(subschema, &REFUSED_BY_ANTHROPIC) && needs_few_items(subschema)
    })
}

/// Whether OpenAI enforces `schema`.
pub(super) fn openai_enforces(schema: Raw<'_>) -> bool {
    every_subschema(schema, |subschema| {
        is_closed(subschema) && !has_one_of(subschema, &REFUSED_BY_OPENAI) && requires_all(subschema)
    })
}

/// Whether it is the schema of an object. OpenAI takes no other for an answer.
pub(super) fn is_of_object(schema: Raw<'_>) -> bool {
    schema.get("type").is_some_and(|kind| kind.is("object"))
}

fn has_one_of(schema: Raw<'_>, keywords: &[&str]) -> bool {
    schema.members().any(|(key, _)| keywords.iter().any(|name| is_key(key, name)))
}

/// Anthropic takes no other `minItems` than zero and one.
fn needs_few_items(schema: Raw<'_>) -> bool {
    schema.get("minItems").is_none_or(|least| least.count().is_some_and(|least| least <= 1))
}

/// Whether a schema of objects forbids additional properties.
fn is_closed(schema: Raw<'_>) -> bool {
    let is_object =
        schema.get("properties").is_some() || schema.get("type").is_some_and(|kind| kind.is("object"));
    !is_object || schema.get("additionalProperties").is_some_and(Raw::is_false)
}

fn requires_all(schema: Raw<'_>) -> bool {
    let properties = schema.get("properties").map_or(0, |properties| properties.members().count());
    properties == schema.get("required").map_or(0, |required| required.items().count())
}

/// Whether `holds` for `schema` and all schemas in it.
fn every_subschema<'a>(schema: Raw<'a>, holds: impl Fn(Raw<'a>) -> bool) -> bool {
    let mut waiting = vec![(schema, 0)];
    for _ in 0..MAX_SUBSCHEMAS {
        let Some((next, level)) = waiting.pop() else { return true };
        if next.is_object() && !holds(next) || level > MAX_LEVELS || waiting.len() > MAX_WAITING {
            return false;
        }
        let mut wait = |inner: Raw<'a>| waiting.push((inner, level + 1));
        next.items().for_each(&mut wait);
        for (key, value) in next.members() {
            if NAMED_SUBSCHEMAS.iter().any(|name| is_key(key, name)) {
                value.members().for_each(|(_, named)| wait(named));
            } else if SUBSCHEMAS.iter().any(|name| is_key(key, name)) {
                wait(value);
            }
        }
    }
    false
}

fn is_key(key: &[u8], name: &str) -> bool {
    key == name.as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn enforced(schema: &str) -> (bool, bool) {
        let schema = Raw::of(schema.as_bytes()).unwrap();
        (anthropic_enforces(schema), openai_enforces(schema))
    }

    #[test]
    fn each_maker_enforces_what_it_knows() {
        let closed = r#""additionalProperties":false"#;
        for (schema, anthropic, openai) in [
            (format!(r#"{{"type":"object",{closed}}}"#), true, true),
            (r#"{"type":"object"}"#.into(), false, false),
            (
                format!(r#"{{"type":"object","properties":{{"a":{{}}}},"required":["a"],{closed}}}"#),
                true,
                true,
            ),
            (format!(r#"{{"type":"object","properties":{{"a":{{}}}},{closed}}}"#), true, false),
            (r#"{"type":"integer","minimum":1}"#.into(), false, true),
            (r#"{"type":"array","items":{"type":"object"}}"#.into(), false, false),
            (r#"{"anyOf":[{"type":"string"},{"type":"number","maximum":2}]}"#.into(), false, true),
            (r#"{"type":"array","minItems":1}"#.into(), true, true),
            (r#"{"type":"array","minItems":2}"#.into(), false, true),
            (r#"{"allOf":[{"type":"string"}]}"#.into(), true, false),
            // A property may have the name of a keyword.
            (
                format!(
                    r#"{{"type":"object","properties":{{"minimum":{{}}}},"required":["minimum"],{closed}}}"#
                ),
                true,
                true,
            ),
        ] {
            assert_eq!(enforced(&schema), (anthropic, openai), "{schema}");
        }
    }

    #[test]
    fn a_schema_that_is_too_deep_is_not_enforced() {
        let nested = |levels| format!("{}{{}}{}", r#"{"items":"#.repeat(levels), "}".repeat(levels));
        let enforced = |levels| anthropic_enforces(Raw::of(nested(levels).as_bytes()).unwrap());
        assert!(enforced(MAX_LEVELS));
        assert!(!enforced(MAX_LEVELS + 1) && !enforced(2000));
    }
}
