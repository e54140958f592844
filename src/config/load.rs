use super::compile::compile;
use super::compiled::Config;
use super::fingerprint::fingerprint;
use super::mistakes::{Mistakes, Trail};
use super::read::{EMPTY, read};
use super::shape::fit;

/// Loads a configuration from JSON text or from the protobuf bytes of a `google.protobuf.Struct`. `env` looks
/// up an environment variable.
///
/// # Errors
/// All mistakes in the configuration.
pub fn load(bytes: &[u8], env: &dyn Fn(&str) -> Option<String>) -> Result<Config, Mistakes> {
    let mut mistakes = Mistakes::default();
    let config = build(bytes, env, &mut mistakes);
    match config {
        Some(config) if mistakes.is_empty() => Ok(config),
        _ => {
            if mistakes.is_empty() {
                mistakes.add(&Trail::Root, "was rejected without a reason; this is a bug in the filter");
            }
            Err(mistakes.sorted())
        }
    }
}

fn build(bytes: &[u8], env: &dyn Fn(&str) -> Option<String>, mistakes: &mut Mistakes) -> Option<Config> {
    let tree = read(bytes, mistakes)?;
    if tree.as_object().is_some_and(serde_json::Map::is_empty) {
        mistakes.add(&Trail::Root, EMPTY);
        return None;
    }
    let fingerprint = fingerprint(&tree);
    let raw = fit(tree, mistakes)?;
    compile(&raw, fingerprint, env, mistakes)
}
