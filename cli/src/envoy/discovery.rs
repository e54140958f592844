//! The filter in a file of its own: Envoy's extension configuration discovery.

use serde_json::{Value, json};

use super::place::{CONTENT, FROM, Place};

const WASM: &str = "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm";

/// Puts Wasm filters from watched files in the place of the references to these files. What comes from a server stays away.
///
/// Returns the files.
///
/// # Errors
/// The file cannot be read, or has no filter with the name.
pub fn follow(tree: &mut Value, read: &dyn Fn(&str) -> Result<Value, String>) -> Result<Vec<String>, String> {
    if let Some((path, name)) = reference(tree) {
        let file = read(&path)?;
        let resources = Place::root(&file).field("resources").items();
        let found = resources.iter().find(|resource| resource.field("name").text() == Some(name.as_str()));
        let config = found.map(|resource| resource.field("typed_config"));
        let Some(config) = config.filter(Place::exists) else {
            return Err(format!("{path}: has no resource `{name}` with a typed_config"));
        };
        put_content(tree, &name, config.value(), &format!("{path}: {}", config.path));
        return Ok(vec![path]);
    }
    let inside: Vec<_> = match tree {
        Value::Object(members) => members.values_mut().collect(),
        Value::Array(items) => items.iter_mut().collect(),
        _ => Vec::new(),
    };
    let mut files = Vec::new();
    for value in inside {
        files.extend(follow(value, read)?);
    }
    Ok(files)
}

/// Replaces a reference to a filter by the filter.
pub(super) fn put_content(tree: &mut Value, name: &str, content: &Value, from: &str) {
    let mut content = content.clone();
    if let Some(members) = content.as_object_mut() {
        members.insert(FROM.to_owned(), from.into());
    }
    *tree = json!({"name": name, CONTENT: content});
}

/// The name of a Wasm filter that Envoy gets by discovery.
pub(super) fn discovered<'t>(filter: &Place<'t>) -> Option<&'t str> {
    let kinds = filter.at(&["config_discovery", "type_urls"]).texts();
    kinds.iter().any(|kind| kind == WASM).then(|| filter.field("name").text()).flatten()
}

/// The path and the name of a Wasm filter that is in a file.
fn reference(tree: &Value) -> Option<(String, String)> {
    let place = Place::root(tree);
    let name = discovered(&place)?;
    let source = place.at(&["config_discovery", "config_source"]);
    let path = source.at(&["path_config_source", "path"]).text().or_else(|| source.field("path").text())?;
    Some((path.to_owned(), name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(source: &Value) -> Value {
        json!({"http_filters": [
            {"name": "one", "config_discovery": {"type_urls": [WASM], "config_source": source}},
            {"name": "router"},
        ]})
    }

    #[test]
    fn a_filter_in_a_file_is_read_as_if_it_were_in_the_envoy_file() {
        let resources =
            json!({"resources": [{"name": "two"}, {"name": "one", "typed_config": {"config": 1}}]});
        for source in [
            json!({"path_config_source": {"path": "filter.yaml"}}),
            json!({"pathConfigSource": {"path": "filter.yaml"}}),
            json!({"path": "filter.yaml"}),
        ] {
            let mut tree = file(&source);
            let read = |path: &str| {
                assert_eq!(path, "filter.yaml");
                Ok(resources.clone())
            };
            assert_eq!(follow(&mut tree, &read).unwrap(), ["filter.yaml"]);
            let filter = &Place::root(&tree).field("http_filters").items()[0];
            let config = filter.field("typed_config").field("config");
            assert_eq!(config.number(), Some(1));
            assert_eq!(config.path, "filter.yaml: resources[1].typed_config.config");
            assert_eq!(tree["http_filters"][1], json!({"name": "router"}));
        }
        let mut tree = file(&json!({"ads": {}}));
        let before = tree.clone();
        assert!(follow(&mut tree, &|_| Err("not asked for".to_owned())).unwrap().is_empty());
        assert_eq!(tree, before);
    }

    #[test]
    fn a_file_without_the_filter_is_a_mistake() {
        let mut tree = file(&json!({"path": "filter.yaml"}));
        for resources in
            [json!({}), json!({"resources": [{"name": "two", "typed_config": {}}, {"name": "one"}]})]
        {
            let problem = follow(&mut tree, &|_| Ok(resources.clone())).unwrap_err();
            assert_eq!(problem, "filter.yaml: has no resource `one` with a typed_config");
        }
        assert_eq!(follow(&mut tree, &|_| Err("gone".to_owned())).unwrap_err(), "gone");
    }
}
