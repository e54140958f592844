//! Whether and how requests are translated for a target.

use std::fmt;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, Visitor};

use crate::base::{Endpoint, EndpointSet};
use crate::provider::ProviderKind;
use llm_failsafe_translate::{Losses, ReasoningPolicy, Translation};

/// How requests are translated for a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TranslateRules {
    /// What may be lost.
    pub allowed: Losses,
    /// What becomes of reasoning.
    pub reasoning: ReasoningPolicy,
}

impl TranslateRules {
    /// How a request to `endpoint` is translated for a provider of `kind` that serves these endpoints, if it is. Messages come first at Anthropic, whose
    /// own chat endpoint drops what it does not know, and chat everywhere else.
    pub(super) fn way(
        self,
        kind: ProviderKind,
        served: EndpointSet,
        endpoint: Endpoint,
    ) -> Option<Translation> {
        let is_anthropic = kind == ProviderKind::Anthropic;
        let drops = is_anthropic && endpoint == Endpoint::Chat;
        if served.contains(endpoint) && !drops {
            return None;
        }
        let order = if is_anthropic {
            [Endpoint::Messages, Endpoint::Chat]
        } else {
            [Endpoint::Chat, Endpoint::Messages]
        };
        let mut offered = order.into_iter().filter(|to| served.contains(*to));
        offered.find_map(|to| Translation::between(endpoint, to))
    }
}

/// What was written: `true`, `false`, or a mapping.
pub(super) enum RawTranslate {
    Plain(bool),
    Rules(RawTranslation),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawTranslation {
    pub allow: Option<Vec<Option<String>>>,
    pub reasoning: Option<String>,
}

impl<'de> Deserialize<'de> for RawTranslate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct FlagOrRules;
        impl<'de> Visitor<'de> for FlagOrRules {
            type Value = RawTranslate;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`true`, `false` or a mapping such as `{ allow: [logprobs] }`")
            }

            fn visit_bool<E: Error>(self, flag: bool) -> Result<RawTranslate, E> {
                Ok(RawTranslate::Plain(flag))
            }

            fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<RawTranslate, A::Error> {
                RawTranslation::deserialize(MapAccessDeserializer::new(fields)).map(RawTranslate::Rules)
            }
        }
        deserializer.deserialize_any(FlagOrRules)
    }
}
