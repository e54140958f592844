//! The logical models that a client may use, and their list at `/v1/models`.

use percent_encoding::percent_decode_str;

use crate::base::{Dialect, ModelId};
use crate::config::Config;
use crate::provider;
use crate::refusal::Refusal;
use crate::request::{Facts, ModelField};
use crate::tenancy;

fn may_use(config: &Config, key: Option<usize>, model: ModelId) -> bool {
    match (&config.keys, key) {
        (None, _) => true,
        (Some(keys), Some(key)) => keys.get(key).is_some_and(|key| tenancy::may_use(key, model)),
        (Some(_), None) => false,
    }
}

/// The logical model that a body asks for, if the key may use it.
pub(super) fn logical_model(config: &Config, facts: &Facts, key: Option<usize>) -> Result<ModelId, Refusal> {
    let name = match &facts.model {
        ModelField::Text { value, .. } => value,
        ModelField::Absent => return Err(Refusal::NoModel),
        ModelField::NotText | ModelField::TooLong => return Err(Refusal::ModelNotText),
    };
    config
        .model_named(name)
        .filter(|model| may_use(config, key, *model))
        .ok_or_else(|| Refusal::UnknownModel { name: name.to_string() })
}

/// The body of `GET /v1/models` or `GET /v1/models/{wanted}`.
pub(super) fn list(
    config: &Config,
    key: Option<usize>,
    wanted: Option<&str>,
    dialect: Dialect,
) -> Result<String, Refusal> {
    let names = config.models().iter().map(|model| &*model.name);
    let mut usable =
        names.filter(|name| config.model_named(name).is_some_and(|model| may_use(config, key, model)));
    match wanted {
        None => Ok(provider::models_list(dialect, usable)),
        // SDKs escape the slash of a name like `meta-llama/llama`.
        Some(wanted) => percent_decode_str(wanted)
            .decode_utf8()
            .ok()
            .and_then(|wanted| usable.find(|name| *name == wanted))
            .map(|name| provider::model_object(dialect, name))
            .ok_or_else(|| Refusal::UnknownModel { name: wanted.to_owned() }),
    }
}
