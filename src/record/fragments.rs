//! The parts of records that depend on nothing but the configuration. They are written once, when it is
//! loaded.

use std::rc::Rc;

use super::decision::MAX_CANDIDATES;
use super::line::Line;
use crate::base::{Endpoint, ModelId, TargetId, VERSION};
use crate::config::{ClientKey, Config, Mode, Model, Redact, Target};

/// A configuration, and JSON of it that its records consist of.
#[derive(Debug)]
pub struct Fragments {
    config: Rc<Config>,
    /// For each endpoint: the policy and the endpoint.
    endpoints: [Fragment; Endpoint::ALL.len()],
    /// For each client key: its name and metadata. None if records omit them.
    keys: Vec<Fragment>,
    models: Vec<ModelFragments>,
    targets: Vec<TargetFragments>,
    /// What follows the cost.
    pub(super) price_version: Fragment,
}

type Fragment = Box<[u8]>;

#[derive(Debug)]
pub(super) struct ModelFragments {
    /// Its name as the one that was requested.
    pub(super) requested: Fragment,
    /// All of its targets as candidates that nothing speaks against. Empty if they are too many.
    pub(super) healthy: Fragment,
    /// How many they are.
    pub(super) targets: usize,
}

#[derive(Debug)]
pub(super) struct TargetFragments {
    /// As the target of an attempt, up to the reason for it.
    pub(super) attempted: Fragment,
    /// The same before and after the model, if a client's text becomes part of the model's name.
    around_model: Option<(Fragment, Fragment)>,
    /// As a candidate, up to its tier.
    pub(super) candidate: Fragment,
    /// As the target that responded.
    pub(super) responded: Fragment,
    /// Its model as the one that responded.
    pub(super) response_model: Fragment,
}

impl Fragments {
    /// The fragments of a configuration.
    pub fn new(config: Rc<Config>) -> Self {
        let keys = config.keys.iter().flatten().filter(|_| config.record.redact != Redact::Strict);
        Self {
            endpoints: Endpoint::ALL.map(|endpoint| fragment(|line| policy(line, &config, endpoint))),
            keys: keys.map(|one| fragment(|line| key(line, one))).collect(),
            models: config.models().iter().map(|model| ModelFragments::new(&config, model)).collect(),
            targets: config.targets().iter().map(|target| TargetFragments::new(&config, target)).collect(),
            price_version: fragment(|line| {
                line.hex(b",\"price_version\":\"", config.price_version());
                line.raw(b",\"complete\":");
            }),
            config,
        }
    }

    /// The configuration.
    pub const fn config(&self) -> &Rc<Config> {
        &self.config
    }

    pub(super) fn endpoint(&self, endpoint: Endpoint) -> &[u8] {
        self.endpoints.get(endpoint as usize).map_or(&[], |fragment| fragment)
    }

    pub(super) fn key(&self, key: usize) -> &[u8] {
        self.keys.get(key).map_or(&[], |fragment| fragment)
    }

    pub(super) fn model(&self, model: ModelId) -> Option<&ModelFragments> {
        self.models.get(model.index())
    }

    pub(super) fn target(&self, target: TargetId) -> Option<&TargetFragments> {
        self.targets.get(target.index())
    }
}

fn fragment(write: impl FnOnce(&mut Line)) -> Fragment {
    let mut line = Line::new();
    write(&mut line);
    line.into_bytes().into_boxed_slice()
}

fn policy(line: &mut Line, config: &Config, endpoint: Endpoint) {
    line.hex(b",\"policy\":{\"config_hash\":\"", config.fingerprint());
    line.word(b",\"mode\":\"", mode_name(config.mode));
    line.raw(if config.retry_loop { b",\"retry_loop\":true" } else { b",\"retry_loop\":false" });
    line.word(b",\"filter_version\":\"", VERSION);
    line.word(b"},\"endpoint\":\"", endpoint.name());
    line.word(b",\"gen_ai.operation.name\":\"", operation_name(endpoint));
}

fn key(line: &mut Line, key: &ClientKey) {
    line.text(b",\"key_id\":\"", key.name.as_bytes());
    let mut before: &[u8] = b",\"key_metadata\":{\"";
    for (name, value) in &key.metadata {
        line.text(before, name.as_bytes());
        line.text(b":\"", value.as_bytes());
        before = b",\"";
    }
    if !key.metadata.is_empty() {
        line.raw(b"}");
    }
}

impl ModelFragments {
    fn new(config: &Config, model: &Model) -> Self {
        let targets: Vec<_> = (0_u64..)
            .zip(&model.tiers)
            .flat_map(|(tier, ids)| ids.iter().map(move |id| (tier, *id)))
            .collect();
        let healthy = fragment(|line| {
            let mut before: &[u8] = b"[";
            for (tier, target) in &targets {
                line.raw(before);
                candidate(line, config.target(*target).map_or("", |target| &target.name));
                line.number(b"", *tier);
                line.raw(b",\"state\":\"closed\"}");
                before = b",";
            }
            line.raw(b"]");
        });
        let listed = (1..=MAX_CANDIDATES).contains(&targets.len());
        Self {
            requested: fragment(|line| line.text(REQUESTED, model.name.as_bytes())),
            healthy: if listed { healthy } else { Fragment::default() },
            targets: targets.len(),
        }
    }
}

/// What precedes the name of a requested model.
const REQUESTED: &[u8] = b",\"gen_ai.request.model\":\"";

fn candidate(line: &mut Line, name: &str) {
    line.text(b"{\"target\":\"", name.as_bytes());
    line.raw(b",\"tier\":");
}

impl TargetFragments {
    fn new(config: &Config, target: &Target) -> Self {
        let before_model = |line: &mut Line| {
            let account = config.account(target.account).map_or("", |account| &account.name);
            line.text(b",\"target\":\"", target.name.as_bytes());
            line.text(b",\"account\":\"", account.as_bytes());
            if let Some(provider) = config.provider(target.provider) {
                line.text(b",\"provider\":\"", provider.name.as_bytes());
                line.word(b",\"gen_ai.provider.name\":\"", provider.kind.gen_ai_name());
            }
        };
        let after_model = |line: &mut Line| {
            if let Some(region) = &target.offers.region {
                line.text(b",\"region\":\"", region.as_bytes());
            }
            if let Some(provider) = config.provider(target.provider) {
                line.text(b",\"server.address\":\"", provider.host.as_bytes());
            }
            line.raw(b",\"why\":\"");
        };
        let (before, after) = (fragment(before_model), fragment(after_model));
        let attempted = fragment(|line| {
            line.raw(&before);
            line.text(REQUESTED, target.model.as_bytes());
            line.raw(&after);
        });
        Self {
            attempted,
            around_model: target.takes_rest.then_some((before, after)),
            candidate: fragment(|line| candidate(line, &target.name)),
            responded: fragment(|line| line.text(b",\"target\":\"", target.name.as_bytes())),
            response_model: fragment(|line| {
                line.text(b",\"gen_ai.response.model\":\"", target.model.as_bytes());
            }),
        }
    }

    /// An attempt at it, with this model in place of the one with a star.
    #[cold]
    #[inline(never)]
    pub(super) fn write_attempted(&self, line: &mut Line, model: &str) {
        let Some((before, after)) = &self.around_model else { return line.raw(&self.attempted) };
        line.raw(before);
        line.text(REQUESTED, model.as_bytes());
        line.raw(after);
    }
}

pub(super) const fn mode_name(mode: Mode) -> &'static str {
    match mode {
        Mode::Enforce => "enforce",
        Mode::Shadow => "shadow",
    }
}

/// `gen_ai.operation.name`.
pub(super) const fn operation_name(endpoint: Endpoint) -> &'static str {
    match endpoint {
        Endpoint::Chat | Endpoint::Responses | Endpoint::Messages => "chat",
        Endpoint::Completions => "text_completion",
        Endpoint::Images | Endpoint::Speech => "generate_content",
        // The conventions have no name for these.
        Endpoint::Embeddings | Endpoint::CountTokens | Endpoint::Moderations | Endpoint::Rerank => {
            endpoint.name()
        }
    }
}
