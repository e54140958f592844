//! The configuration as it was written. Every field may be absent; `compile` checks which fields are required
//! and what they may contain. A `None` in a list or section stands for a value that has already been reported
//! as a mistake.
//!
//! None of these types can be printed, because some contain credentials.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use super::numeric::{decimal, whole};
use serde::Deserialize;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::duration::{Linger, TimeSpan};
use super::max_pending::RawMaxPending;
use super::size::Size;
use super::translate::RawTranslate;

/// Entries, sorted by name.
pub(super) type Section<T> = BTreeMap<String, Option<Mapping<T>>>;
/// A list of words.
pub(super) type Words = Vec<Option<String>>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawConfig {
    pub providers: Option<Section<RawProvider>>,
    pub accounts: Option<Section<RawAccount>>,
    pub targets: Option<Section<RawTarget>>,
    pub models: Option<Section<RawModel>>,
    pub keys: Option<Section<RawClientKey>>,
    pub operator: Option<Mapping<RawOperator>>,
    pub other_paths: Option<RawOtherPaths>,
    pub resources: Option<Mapping<RawResources>>,
    pub limits: Option<Mapping<RawLimits>>,
    pub breaker: Option<Mapping<RawBreaker>>,
    pub retry_budget: Option<Mapping<RawRetryBudget>>,
    pub mode: Option<String>,
    pub metric_labels: Option<String>,
    pub record: Option<Mapping<RawRecord>>,
    pub retry_loop: Option<bool>,
    pub route_strips_headers: Option<bool>,
    pub fleet_rate_limit: Option<bool>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawProvider {
    pub kind: Option<String>,
    pub cluster: Option<String>,
    pub host: Option<String>,
    pub path_prefix: Option<String>,
    pub api_version: Option<String>,
    pub endpoints: Option<Words>,
    pub usage: Option<String>,
    pub headers: Option<BTreeMap<String, Option<String>>>,
    pub forward_headers: Option<Words>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawAccount {
    pub provider: Option<String>,
    pub key: Option<Mapping<RawCredential>>,
    pub cluster: Option<String>,
    pub billing_owner: Option<String>,
    pub limits: Option<Mapping<RawQuota>>,
    pub quota_pool: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawCredential {
    pub env: Option<String>,
    pub value: Option<String>,
    pub injected: Option<bool>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawTarget {
    pub account: Option<String>,
    pub provider: Option<String>,
    pub key: Option<Mapping<RawCredential>>,
    pub model: Option<String>,
    #[serde(default, deserialize_with = "whole")]
    pub weight: Option<u64>,
    pub limits: Option<Mapping<RawQuota>>,
    pub translate: Option<RawTranslate>,
    pub tools: Option<bool>,
    pub parallel_tools: Option<bool>,
    pub strict_tools: Option<bool>,
    pub hosted_tools: Option<bool>,
    pub json_schema: Option<bool>,
    pub json_object: Option<bool>,
    pub vision: Option<bool>,
    pub audio: Option<bool>,
    pub audio_output: Option<bool>,
    pub image_output: Option<bool>,
    pub files: Option<bool>,
    pub reasoning: Option<bool>,
    pub logprobs: Option<bool>,
    pub seed: Option<bool>,
    pub n: Option<bool>,
    pub streaming: Option<bool>,
    #[serde(default, deserialize_with = "whole")]
    pub context_window: Option<u64>,
    #[serde(default, deserialize_with = "whole")]
    pub max_output_tokens: Option<u64>,
    pub region: Option<String>,
    pub zero_retention: Option<bool>,
    pub training_opt_out: Option<bool>,
    pub price: Option<Mapping<RawPrice>>,
    #[serde(default, deserialize_with = "whole")]
    pub quality: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawPrice {
    #[serde(default, deserialize_with = "decimal")]
    pub input: Option<f64>,
    #[serde(default, deserialize_with = "decimal")]
    pub output: Option<f64>,
    #[serde(default, deserialize_with = "decimal")]
    pub cached_input: Option<f64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawQuota {
    #[serde(default, deserialize_with = "whole")]
    pub requests_per_minute: Option<u64>,
    #[serde(default, deserialize_with = "whole")]
    pub tokens_per_minute: Option<u64>,
    pub max_pending: Option<RawMaxPending>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawModel {
    pub aliases: Option<Words>,
    pub default: Option<bool>,
    pub tiers: Option<Vec<Option<Words>>>,
    pub targets: Option<Words>,
    pub balance: Option<Mapping<RawBalance>>,
    pub fallback: Option<Mapping<RawFallback>>,
    pub retry: Option<Mapping<RawRetry>>,
    pub when_all_open: Option<String>,
    pub response_model: Option<String>,
    pub stream: Option<Mapping<RawStream>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawStream {
    pub first_content: Option<TimeSpan>,
    pub idle: Option<TimeSpan>,
    pub content_idle: Option<TimeSpan>,
    pub answer: Option<TimeSpan>,
    pub total: Option<TimeSpan>,
    pub min_rate: Option<Mapping<RawMinRate>>,
    pub gate: Option<Mapping<RawGate>>,
    pub keep_alive: Option<TimeSpan>,
    pub on_break: Option<String>,
    pub linger: Option<Linger>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawBalance {
    pub strategy: Option<String>,
    pub by: Option<Words>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawGate {
    pub until: Option<String>,
    pub max_bytes: Option<Size>,
    pub max_time: Option<TimeSpan>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawMinRate {
    #[serde(default, deserialize_with = "whole")]
    pub events: Option<u64>,
    pub window: Option<TimeSpan>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct RawFallback {
    pub on: Option<Words>,
    pub mode: Option<String>,
    pub leave_account: Option<Words>,
    pub leave_provider: Option<Words>,
    pub context_length: Option<String>,
    pub content_policy: Option<String>,
    pub sealed_reasoning: Option<String>,
    pub empty_stop: Option<String>,
    #[serde(default, deserialize_with = "decimal")]
    pub max_price_ratio: Option<f64>,
    pub same_billing_owner: Option<bool>,
    pub approved: Option<Vec<Option<Mapping<RawApproval>>>>,
    pub region: Option<Words>,
    pub zero_retention: Option<String>,
    pub training_opt_out: Option<String>,
    pub providers: Option<Mapping<RawAccess>>,
    pub targets: Option<Mapping<RawAccess>>,
    #[serde(default, deserialize_with = "whole")]
    pub min_quality: Option<u64>,
    pub max_price: Option<Mapping<RawCeiling>>,
    #[serde(default, deserialize_with = "decimal")]
    pub max_request_cost: Option<f64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawAccess {
    pub allow: Option<Words>,
    pub deny: Option<Words>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawCeiling {
    #[serde(default, deserialize_with = "decimal")]
    pub input: Option<f64>,
    #[serde(default, deserialize_with = "decimal")]
    pub output: Option<f64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawApproval {
    pub from: Option<String>,
    pub to: Option<String>,
    pub until: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawRetry {
    #[serde(default, deserialize_with = "whole")]
    pub attempts: Option<u64>,
    #[serde(default, deserialize_with = "whole")]
    pub attempts_per_target: Option<u64>,
    pub backoff: Option<Mapping<RawBackoff>>,
    pub retry_after_cap: Option<TimeSpan>,
    pub replay_uncertain: Option<String>,
    pub last_error: Option<String>,
    #[serde(default, deserialize_with = "decimal")]
    pub max_cost: Option<f64>,
    pub queue: Option<Mapping<RawQueue>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawQueue {
    pub max_wait: Option<TimeSpan>,
    #[serde(default, deserialize_with = "whole")]
    pub max_waiting: Option<u64>,
    pub max_waiting_bytes: Option<Size>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawRetryBudget {
    #[serde(default, deserialize_with = "decimal")]
    pub ratio: Option<f64>,
    #[serde(default, deserialize_with = "whole")]
    pub floor: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawBackoff {
    pub base: Option<TimeSpan>,
    pub max: Option<TimeSpan>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawClientKey {
    pub sha256: Option<RawDigests>,
    pub expires: Option<String>,
    pub models: Option<Words>,
    pub regions: Option<Words>,
    pub zero_retention: Option<String>,
    pub training_opt_out: Option<String>,
    pub providers: Option<Mapping<RawAccess>>,
    pub targets: Option<Mapping<RawAccess>>,
    #[serde(default, deserialize_with = "whole")]
    pub min_quality: Option<u64>,
    pub max_price: Option<Mapping<RawCeiling>>,
    #[serde(default, deserialize_with = "decimal")]
    pub max_request_cost: Option<f64>,
    pub priority: Option<String>,
    pub budget: Option<Mapping<RawBudget>>,
    pub metadata: Option<BTreeMap<String, Option<String>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawBudget {
    #[serde(default, deserialize_with = "whole")]
    pub requests_per_minute: Option<u64>,
    #[serde(default, deserialize_with = "whole")]
    pub tokens_per_minute: Option<u64>,
    #[serde(default, deserialize_with = "whole")]
    pub tokens_per_day: Option<u64>,
    #[serde(default, deserialize_with = "decimal")]
    pub usd_per_day: Option<f64>,
    #[serde(default, deserialize_with = "decimal")]
    pub warn_at: Option<f64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawOperator {
    pub sha256: Option<RawDigests>,
    pub expires: Option<String>,
    pub keys: Option<Section<RawOperatorKey>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawOperatorKey {
    pub sha256: Option<RawDigests>,
    pub expires: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawLimits {
    pub max_body: Option<Size>,
    pub max_held_bytes: Option<Size>,
    pub max_translated_body: Option<Size>,
    #[serde(default, deserialize_with = "whole")]
    pub max_journeys: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawBreaker {
    pub window: Option<TimeSpan>,
    #[serde(default, deserialize_with = "whole")]
    pub min_requests: Option<u64>,
    #[serde(default, deserialize_with = "decimal")]
    pub failure_ratio: Option<f64>,
    #[serde(default, deserialize_with = "whole")]
    pub consecutive: Option<u64>,
    #[serde(default, deserialize_with = "whole")]
    pub unanswered: Option<u64>,
    pub open: Option<TimeSpan>,
    pub open_max: Option<TimeSpan>,
    pub block: Option<TimeSpan>,
    pub block_max: Option<TimeSpan>,
    #[serde(default, deserialize_with = "whole")]
    pub probes: Option<u64>,
    #[serde(default, deserialize_with = "whole")]
    pub close_after: Option<u64>,
    pub probe_lease: Option<TimeSpan>,
    pub slow_start: Option<TimeSpan>,
    pub slow_start_alone: Option<String>,
    pub slow_first_content: Option<TimeSpan>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawRecord {
    #[serde(default, deserialize_with = "decimal")]
    pub sample_successes: Option<f64>,
    pub log: Option<String>,
    pub redact: Option<String>,
}

/// The digest of a key, or a list of them while the key is rotated.
pub(super) enum RawDigests {
    One(String),
    Several(Words),
}

pub(super) enum RawOtherPaths {
    Word(String),
    Fields(RawDestination),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawDestination {
    pub cluster: Option<String>,
    pub account: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawResources {
    pub account: Option<String>,
}

/// A struct that must be written as a mapping. serde's own implementation would also accept a list of the
/// fields' values. In a box, all sections are maps of values of one size, and share the code for that.
pub(super) struct Mapping<T>(pub(super) Box<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Mapping<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Fields<T> {
            type Value = Mapping<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a mapping")
            }

            fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<Mapping<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(fields)).map(|fields| Mapping(Box::new(fields)))
            }
        }
        deserializer.deserialize_map(Fields(PhantomData))
    }
}

impl<'de> Deserialize<'de> for RawOtherPaths {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct WordOrFields;
        impl<'de> Visitor<'de> for WordOrFields {
            type Value = RawOtherPaths;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`refuse` or a mapping with the field `cluster` or `account`")
            }

            fn visit_str<E: Error>(self, word: &str) -> Result<RawOtherPaths, E> {
                Ok(RawOtherPaths::Word(word.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<RawOtherPaths, A::Error> {
                RawDestination::deserialize(MapAccessDeserializer::new(fields)).map(RawOtherPaths::Fields)
            }
        }
        deserializer.deserialize_any(WordOrFields)
    }
}

impl<'de> Deserialize<'de> for RawDigests {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextOrList;
        impl<'de> Visitor<'de> for TextOrList {
            type Value = RawDigests;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text or a list")
            }

            fn visit_str<E: Error>(self, digest: &str) -> Result<RawDigests, E> {
                Ok(RawDigests::One(digest.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, digests: A) -> Result<RawDigests, A::Error> {
                Words::deserialize(SeqAccessDeserializer::new(digests)).map(RawDigests::Several)
            }
        }
        deserializer.deserialize_any(TextOrList)
    }
}

#[cfg(test)]
mod tests {
    use super::super::translate::RawTranslation;
    use super::*;

    const REFERENCE: &str = include_str!("../../docs/configuration.md");

    /// The fields of `T`, from serde's error about an unknown one.
    fn fields<T: for<'de> Deserialize<'de>>() -> Vec<String> {
        let Err(error) = serde_json::from_str::<T>(r#"{"?": 0}"#) else { panic!("`?` was accepted") };
        let error = error.to_string();
        let names: Vec<String> = error.split('`').skip(3).step_by(2).map(str::to_owned).collect();
        assert!(!names.is_empty(), "{error}");
        names
    }

    #[test]
    fn the_reference_documents_every_field() {
        let all = [
            fields::<RawConfig>(),
            fields::<RawProvider>(),
            fields::<RawAccount>(),
            fields::<RawCredential>(),
            fields::<RawTarget>(),
            fields::<RawPrice>(),
            fields::<RawTranslation>(),
            fields::<RawQuota>(),
            fields::<RawModel>(),
            fields::<RawBalance>(),
            fields::<RawFallback>(),
            fields::<RawAccess>(),
            fields::<RawCeiling>(),
            fields::<RawApproval>(),
            fields::<RawRetry>(),
            fields::<RawBackoff>(),
            fields::<RawQueue>(),
            fields::<RawRetryBudget>(),
            fields::<RawStream>(),
            fields::<RawGate>(),
            fields::<RawMinRate>(),
            fields::<RawClientKey>(),
            fields::<RawBudget>(),
            fields::<RawOperator>(),
            fields::<RawOperatorKey>(),
            fields::<RawLimits>(),
            fields::<RawBreaker>(),
            fields::<RawRecord>(),
            fields::<RawDestination>(),
            fields::<RawResources>(),
        ];
        for field in all.iter().flatten() {
            assert!(REFERENCE.contains(&format!("`{field}`")), "docs/configuration.md lacks `{field}`");
        }
    }
}
