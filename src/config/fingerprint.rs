use serde_json::Value;

use crate::base::{FNV_BASIS, fnv1a};

/// A hash of the configuration that is the same on every worker, host and version of the filter: FNV-1a of
/// its JSON with sorted names, no spaces and whole numbers as integers. Credentials and header values are
/// left out, so the hash may be published.
pub(super) fn fingerprint(tree: &Value) -> u64 {
    let mut public = tree.clone();
    for section in ["accounts", "targets"] {
        for entry in entries(&mut public, section) {
            if let Some(value) = entry.pointer_mut("/key/value") {
                value.take();
            }
        }
    }
    for provider in entries(&mut public, "providers") {
        for value in entries(provider, "headers") {
            value.take();
        }
    }
    fnv1a(FNV_BASIS, public.to_string().as_bytes())
}

fn entries<'a>(tree: &'a mut Value, section: &str) -> impl Iterator<Item = &'a mut Value> {
    tree.get_mut(section).and_then(Value::as_object_mut).into_iter().flat_map(serde_json::Map::values_mut)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_fingerprint_is_fnv_1a_of_the_sorted_text() {
        assert_eq!(fingerprint(&json!({})), 0x08f4_4b07_b590_1a25);
        assert_eq!(fingerprint(&json!({"b": "x", "a": [1, true]})), 0xc915_9745_ff45_4f53);
    }

    #[test]
    fn credentials_and_header_values_do_not_change_the_fingerprint() {
        let with = |secret: &str, header: &str, variable: &str| {
            fingerprint(&json!({
                "providers": {"p": {"headers": {"x-a": header}}},
                "accounts": {"a": {"key": {"value": secret}}},
                "targets": {"t": {"key": {"value": secret}}, "u": {"key": {"env": variable}}},
            }))
        };
        assert_eq!(with("one", "two", "X"), with("three", "four", "X"));
        assert_ne!(with("one", "two", "X"), with("one", "two", "Y"));
    }
}
