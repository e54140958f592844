//! What the filter answers or refuses by itself: the list of models, paths that are no endpoint, and who may use what.

use percent_encoding::percent_decode_str;

use super::addressing;
use super::exchange::{Exchange, Phase, RequestStep};
use super::{LocalAnswer, Refusal, Worker};
use crate::base::{Dialect, HeaderBlock, HeaderSink, ModelId};
use crate::config::{Config, OtherPaths};
use crate::provider;
use crate::request::{Facts, ModelField};
use crate::tenancy;

impl Exchange {
    /// A path that is no endpoint: the list of models, or whatever the operator wants done with the rest.
    pub(super) fn no_endpoint(
        &mut self,
        worker: &mut Worker,
        config: &Config,
        method: &str,
        path: &str,
        headers: &HeaderBlock,
        sink: &mut impl HeaderSink,
    ) -> RequestStep {
        let anthropic = headers.get_bytes("anthropic-version").is_some();
        let dialect = if anthropic { Dialect::Anthropic } else { Dialect::OpenAi };
        if let Some(rest) = path.strip_prefix("/v1/models")
            && (rest.is_empty() || rest.starts_with('/'))
        {
            let key = match authenticated(config, headers) {
                Ok(key) => key,
                Err(refusal) => return self.refuse(worker, refusal, dialect),
            };
            if method != "GET" {
                return self.refuse(worker, Refusal::Method { allowed: "GET" }, dialect);
            }
            let wanted = rest.strip_prefix('/').filter(|name| !name.is_empty());
            return match models(config, key, wanted, dialect) {
                Ok(body) => {
                    self.phase = Phase::Answered;
                    RequestStep::Answer(LocalAnswer { status: 200, headers: Vec::new(), body })
                }
                Err(refusal) => self.refuse(worker, refusal, dialect),
            };
        }
        match &config.other_paths {
            OtherPaths::Refuse => self.refuse(worker, Refusal::UnknownPath, dialect),
            OtherPaths::Cluster(cluster) => {
                if let Err(refusal) = authenticated(config, headers) {
                    return self.refuse(worker, refusal, dialect);
                }
                addressing::strip_private(headers, sink);
                if config.keys.is_some() {
                    for name in provider::CREDENTIAL_HEADERS {
                        sink.remove(name);
                    }
                }
                sink.set(addressing::CLUSTER_HEADER, cluster);
                self.phase = Phase::Foreign;
                RequestStep::Send
            }
        }
    }
}

pub(super) fn authenticated(config: &Config, headers: &HeaderBlock) -> Result<Option<usize>, Refusal> {
    match &config.keys {
        None => Ok(None),
        Some(keys) => tenancy::authenticate(keys, headers).map(Some).ok_or(Refusal::Unauthenticated),
    }
}

fn may_use(config: &Config, key: Option<usize>, model: ModelId) -> bool {
    match (&config.keys, key) {
        (None, _) => true,
        (Some(keys), Some(key)) => keys.get(key).is_some_and(|key| tenancy::may_use(key, model)),
        (Some(_), None) => false,
    }
}

/// The logical model that the body asks for, if the key may use it.
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
fn models(
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
