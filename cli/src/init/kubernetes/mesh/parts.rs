//! The parts of the Envoy file as trees, with the names that they have beside other people's.

use serde_yaml_ng::Value;

use super::super::super::description::Description;
use super::super::super::envoy_file;

/// The parts that the template names. Clusters of providers have their names from the description.
const NAMES: [(&str, &str); 3] = [("listeners", "edge"), ("listeners", "inner"), ("clusters", "loop")];

/// What a control plane adds to Envoy.
pub struct Parts {
    /// The listener for clients.
    pub edge: Value,
    /// The internal listener with the filter, which is in the place that `inner_with` fills.
    pub inner: Value,
    /// The cluster that leads to the inner listener.
    pub to_inner: Value,
    /// The clusters that lead to providers.
    pub providers: Vec<Value>,
    /// The filter: its name and `typed_config`.
    pub filter: Value,
    /// `stats_tags` of the bootstrap.
    pub stats_tags: Value,
}

impl Parts {
    /// The parts of this gateway.
    pub fn of(description: &Description) -> Self {
        let text = envoy_file::text(description);
        let mut tree: Value =
            serde_yaml_ng::from_str(&text).unwrap_or_else(|error| unreachable!("the Envoy file: {error}"));
        let [edge, mut inner, to_inner] = NAMES.map(|(kind, name)| {
            let mut part = taken(&mut tree["static_resources"][kind], name);
            rename(&mut part, description);
            remove_nulls(&mut part);
            part
        });
        let filter = std::mem::replace(first_filter(&mut inner), Value::Null);
        let providers = tree["static_resources"]["clusters"].as_sequence().cloned().unwrap_or_default();
        Self {
            edge,
            inner,
            to_inner,
            providers,
            filter,
            stats_tags: tree["stats_config"]["stats_tags"].clone(),
        }
    }

    /// The inner listener with this in the place of the filter, such as its discovery.
    pub fn inner_with(&self, filter: Value) -> Value {
        let mut inner = self.inner.clone();
        *first_filter(&mut inner) = filter;
        inner
    }
}

/// The HTTP connection manager of a listener.
pub fn manager(listener: &mut Value) -> &mut Value {
    &mut listener["filter_chains"][0]["filters"][0]["typed_config"]
}

fn first_filter(listener: &mut Value) -> &mut Value {
    &mut manager(listener)["http_filters"][0]
}

fn taken(list: &mut Value, name: &str) -> Value {
    let found = list.as_sequence_mut().and_then(|list| {
        let at = list.iter().position(|it| it["name"] == name)?;
        Some(list.remove(at))
    });
    found.unwrap_or_else(|| unreachable!("the Envoy file has {name}"))
}

/// Removes fields without a value. Control planes keep them at first and lose them with the next update, and then Envoy makes
/// the listener anew.
fn remove_nulls(tree: &mut Value) {
    match tree {
        Value::Sequence(items) => items.iter_mut().for_each(remove_nulls),
        Value::Mapping(fields) => {
            fields.retain(|_, value| !value.is_null());
            fields.values_mut().for_each(remove_nulls);
        }
        _ => {}
    }
}

/// Gives the prefix to all values that are a name of the template.
fn rename(tree: &mut Value, description: &Description) {
    match tree {
        Value::String(text) if NAMES.iter().any(|(_, name)| name == text) => {
            *text = description.in_envoy(text);
        }
        Value::Sequence(items) => items.iter_mut().for_each(|item| rename(item, description)),
        Value::Mapping(fields) => {
            for (name, value) in fields.iter_mut() {
                // In the filter's configuration a name is the user's own.
                if name != "configuration" {
                    rename(value, description);
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Tagged(_) => {}
    }
}
