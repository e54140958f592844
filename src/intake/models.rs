//! The logical models that a client may use, and their list at `/v1/models`.

use percent_encoding::percent_decode_str;

use crate::base::{Dialect, ModelId};
use crate::config::{AskedName, Config};
use crate::provider;
use crate::refusal::Refusal;
use crate::request::{Facts, MAX_KEPT_BYTES, ModelField};
use crate::tenancy;

/// Whether the client with this key may use a model.
pub(super) fn may_use(config: &Config, key: Option<usize>, model: ModelId) -> bool {
    match (&config.keys, key) {
        (None, _) => true,
        (Some(keys), Some(key)) => keys.get(key).is_some_and(|key| tenancy::may_use(key, model)),
        (Some(_), None) => false,
    }
}

/// The logical model that a request asks for, if the key may use it: the one that its path names, or else its
/// body. The name is returned if it is not the model's own.
pub(super) fn logical_model(
    config: &Config,
    facts: &Facts,
    path_model: Option<&str>,
    key: Option<usize>,
) -> Result<(ModelId, Option<AskedName>), Refusal> {
    let name = match (path_model, &facts.model) {
        (Some(name), _) if name.len() > MAX_KEPT_BYTES => return Err(Refusal::ModelNotText),
        (Some(name), _) => name,
        (None, ModelField::Text { value, .. }) => value,
        (None, ModelField::Absent) => return Err(Refusal::NoModel),
        (None, ModelField::NotText | ModelField::TooLong) => return Err(Refusal::ModelNotText),
    };
    config
        .find_model(name)
        .filter(|(model, _)| may_use(config, key, *model))
        .ok_or_else(|| Refusal::UnknownModel { name: name.to_string() })
}

/// The body of `GET /v1/models` or `GET /v1/models/{wanted}`.
///
/// The list has names and aliases, because clients show it and choose from it. A single model exists if a request
/// for it would be accepted, whichever way its name leads to a model.
pub(super) fn list(
    config: &Config,
    key: Option<usize>,
    wanted: Option<&str>,
    dialect: Dialect,
) -> Result<String, Refusal> {
    let Some(wanted) = wanted else {
        let usable = config.model_names.listed().filter(|(_, model)| may_use(config, key, *model));
        return Ok(provider::models_list(dialect, usable.map(|(name, _)| name)));
    };
    // SDKs escape the slash of a name like `meta-llama/llama`.
    let decoded = percent_decode_str(wanted).decode_utf8().ok();
    decoded
        .filter(|name| name.len() <= MAX_KEPT_BYTES)
        .filter(|name| config.find_model(name).is_some_and(|(model, _)| may_use(config, key, model)))
        .map(|name| provider::model_object(dialect, &name))
        .ok_or_else(|| Refusal::UnknownModel { name: wanted.to_owned() })
}
