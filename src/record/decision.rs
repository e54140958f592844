//! The decision record as a reader sees it: its members, their names and units, and its maximum size.
//!
//! The filter itself writes records without these types (`write.rs`), and tests keep the two consistent.
//! Names with a dot are from OpenTelemetry's conventions, all others are this project's. Times are in
//! milliseconds; points in time are offsets from `start_unix_ms`. `docs/decision-record.schema.json`
//! describes the same as a JSON Schema, and tests keep the two consistent.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Schema version. It increases when a member changes its meaning or is removed, not when one is added.
pub const SCHEMA_VERSION: u32 = 1;

/// The most attempts in a record: as many as a configuration can permit.
pub const MAX_ATTEMPTS: usize = 16;

/// The most candidates in a record, over all choices.
pub const MAX_CANDIDATES: usize = 64;

/// The most closed gates in a record, over all candidates.
pub const MAX_GATES: usize = 32;

/// The longest text about a gate, in bytes. A longer one is truncated and ends with `…`.
pub const MAX_GATE_TEXT: usize = 128;

/// The maximum size of a record, in bytes.
pub const MAX_RECORD_BYTES: usize = 64 * 1024;

/// Text from the configuration or the program, or read back.
pub type Text<'a> = Cow<'a, str>;

/// The record of one client request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
pub struct Record<'a> {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// When the request's headers came, in milliseconds since the Unix epoch.
    pub start_unix_ms: u64,
    /// Time from the headers to the end.
    pub duration_ms: u64,
    /// The id that Envoy gave the request (`x-request-id` within the gateway).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<Text<'a>>,
    /// W3C trace id, 32 hexadecimal digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<Text<'a>>,
    /// The span that the filter was called in, 16 hexadecimal digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent_span_id: Option<Text<'a>>,
    /// The client key's name in the configuration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_id: Option<Text<'a>>,
    /// Metadata that the configuration lists for the key, such as a team or a cost centre.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub key_metadata: BTreeMap<Text<'a>, Text<'a>>,
    /// Hash of the session or end-user name, 16 hexadecimal digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_hash: Option<Text<'a>>,
    /// The configuration and mode that decided.
    pub policy: PolicyRecord<'a>,
    /// The endpoint that was called: `chat`, `responses`, …
    pub endpoint: Text<'a>,
    /// OpenTelemetry's name of the operation.
    #[serde(rename = "gen_ai.operation.name")]
    pub operation: Text<'a>,
    /// The model that the client requested, by its name in the configuration. An unknown model is shown only if it
    /// looks like a model name.
    #[serde(rename = "gen_ai.request.model", skip_serializing_if = "Option::is_none")]
    pub model: Option<Text<'a>>,
    /// What the client called it, if that is another name: an alias, or one that a pattern or the default serves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested_name: Option<Text<'a>>,
    /// What the request needs of a target. Omitted if its body could not be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub needs: Option<NeedsRecord<'a>>,
    /// The attempts in the order in which they were made.
    pub attempts: Vec<AttemptRecord<'a>>,
    /// The candidates of a choice that found no target.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub last_candidates: Vec<CandidateRecord<'a>>,
    /// Attempts made before this record began, because a worker lost what it knew.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub forgotten_attempts: u32,
    /// The result: `served`, `fell_back`, `queued`, `refused`, `client_abort` or `broken`.
    pub outcome: Text<'a>,
    /// The reason, if it was not simply served.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome_reason: Option<Text<'a>>,
    /// The status that the client received from the filter.
    #[serde(rename = "http.response.status_code", skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The target that responded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<Text<'a>>,
    /// The model that responded, by its provider's name.
    #[serde(rename = "gen_ai.response.model", skip_serializing_if = "Option::is_none")]
    pub response_model: Option<Text<'a>>,
    /// Seconds from sending the first attempt to the first content for the client.
    #[serde(rename = "gen_ai.response.time_to_first_chunk", skip_serializing_if = "Option::is_none")]
    pub time_to_first_chunk: Option<f64>,
    /// Why the response ended.
    #[serde(rename = "gen_ai.response.finish_reasons", default, skip_serializing_if = "Vec::is_empty")]
    pub finish_reasons: Vec<Text<'a>>,
    /// The tokens of the response.
    #[serde(flatten)]
    pub usage: Option<UsageRecord>,
    /// The cost of all attempts, as far as usage and prices are known. Omitted if none is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost: Option<Cost<'a>>,
    /// An attempt was billable, and its provider did not report the usage.
    #[serde(default, skip_serializing_if = "is_false")]
    pub usage_missing: bool,
    /// Number of attempts that may have been billed. More than one may mean a double charge.
    pub attempts_maybe_billed: u32,
    /// What was truncated at its limit.
    #[serde(default, skip_serializing_if = "Cut::is_none")]
    pub cut: Cut,
}

/// The configuration and the mode that decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct PolicyRecord<'a> {
    /// The configuration's fingerprint, 16 hexadecimal digits.
    pub config_hash: Text<'a>,
    /// `enforce` or `shadow`.
    pub mode: Text<'a>,
    /// Whether the filter is in the retry loop.
    pub retry_loop: bool,
    /// The filter's version.
    pub filter_version: Text<'a>,
}

/// What a request needs of a target, as far as routing considers it. An omitted member is not needed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct NeedsRecord<'a> {
    /// The response is to be streamed.
    #[serde(rename = "gen_ai.request.stream")]
    pub stream: bool,
    /// The longest response requested, in tokens.
    #[serde(rename = "gen_ai.request.max_tokens", skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<u64>,
    /// `n`: number of choices requested.
    #[serde(rename = "gen_ai.request.choice.count", skip_serializing_if = "Option::is_none")]
    pub choices: Option<u64>,
    /// Bytes of the request's body.
    pub body_bytes: u64,
    /// Bytes of text in it.
    pub text_bytes: u64,
    /// Bytes of media in it.
    #[serde(default, skip_serializing_if = "is_zero_u64")]
    pub media_bytes: u64,
    /// Tokens given as numbers.
    #[serde(default, skip_serializing_if = "is_zero_u64")]
    pub token_ids: u64,
    /// Messages, input items or prompts.
    pub items: u32,
    /// Tools declared.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub tools: u32,
    /// Image parts.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub images: u32,
    /// Audio parts.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub audio: u32,
    /// Document or video parts.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub files: u32,
    /// Other needs, by name: `hosted_tools`, `strict_tools`, `forced_tool`, `parallel_tools`,
    /// `sequential_tools`, `legacy_functions`, `json_object`, `json_schema`, `other_format`, `audio_output`,
    /// `image_output`, `logprobs`, `seed`, `reasoning`, `sealed_reasoning`, `include_usage`, `store`,
    /// `no_store`, `no_fallback`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub features: Vec<Text<'a>>,
    /// Regions to which the client restricts its data.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub regions: Vec<Text<'a>>,
    /// State at one provider that it refers to: `previous_response`, `file`, …
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub state: Vec<Text<'a>>,
}

/// One attempt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
pub struct AttemptRecord<'a> {
    /// 1, 2, …
    pub number: u32,
    /// The target's name in the configuration.
    pub target: Text<'a>,
    /// The account's name in the configuration.
    pub account: Text<'a>,
    /// The provider's name in the configuration.
    pub provider: Text<'a>,
    /// OpenTelemetry's name of the vendor.
    #[serde(rename = "gen_ai.provider.name")]
    pub vendor: Text<'a>,
    /// The requested model, by its provider's name.
    #[serde(rename = "gen_ai.request.model")]
    pub model: Text<'a>,
    /// The target's region, if declared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<Text<'a>>,
    /// The provider's host.
    #[serde(rename = "server.address")]
    pub host: Text<'a>,
    /// Why this target: `first_choice`, or what excluded the targets before it.
    pub why: Text<'a>,
    /// How it was chosen among the candidates of its tier: `weighted`, `least_pending`, `fastest`, `cheapest`
    /// or `sticky`. Omitted for the least bad target.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub balance: Option<Text<'a>>,
    /// It probed a breaker that was not closed.
    #[serde(default, skip_serializing_if = "is_false")]
    pub probe: bool,
    /// Encrypted reasoning was removed from the request, because the account could not read it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub reasoning_dropped: bool,
    /// The translation of the request: `messages>chat` and the like.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub translated: Option<Text<'a>>,
    /// What the translation lost.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lost: Vec<Text<'a>>,
    /// The candidates of the choice.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub candidates: Vec<CandidateRecord<'a>>,
    /// How long the request was held before it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wait_ms: Option<u64>,
    /// When it was sent.
    pub start_ms: u64,
    /// When the response headers came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub headers_ms: Option<u64>,
    /// When the first content came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_content_ms: Option<u64>,
    /// When it ended.
    pub end_ms: u64,
    /// Status of the response.
    #[serde(rename = "http.response.status_code", skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Origin of the response: `provider`, `envoy` (without a response from the provider) or `filter` (after
    /// a timeout).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answered_by: Option<Text<'a>>,
    /// How it ended: `answered`, `failed` before the client saw any of it, `broken` after that,
    /// `client_abort`, `abandoned`.
    pub end: Text<'a>,
    /// The class of its failure.
    #[serde(rename = "error.type", skip_serializing_if = "Option::is_none")]
    pub class: Option<Text<'a>>,
    /// The provider's type and code of the failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider_error: Option<ProviderError<'a>>,
    /// The provider's id of the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider_request_id: Option<Text<'a>>,
    /// How long the provider asked to wait.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
    /// Bytes received of the response body.
    pub response_bytes: u64,
    /// Figures of a stream.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream: Option<StreamRecord<'a>>,
    /// The tokens that its provider reported.
    #[serde(flatten)]
    pub usage: Option<UsageRecord>,
    /// Their cost by the target's price, in millionths of a dollar.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost_micro_usd: Option<u64>,
    /// The decision after its failure: `elsewhere`, or why it was the last attempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub then: Option<Text<'a>>,
    /// Whether the provider may have billed it: `no`, `maybe`, `likely`.
    pub billed: Text<'a>,
}

/// A provider's description of a failure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct ProviderError<'a> {
    /// Its type.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<Text<'a>>,
    /// Its code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<Text<'a>>,
}

/// Figures of a stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct StreamRecord<'a> {
    /// Number of events.
    pub events: u64,
    /// A lower bound of the longest time without a byte. The true value is up to 200 ms higher.
    pub longest_gap_ms: u64,
    /// `complete`, `unfinished`, `no_terminal`, `truncated`, `failed` or `unwatched`.
    pub end: Text<'a>,
}

/// A target that was considered for an attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct CandidateRecord<'a> {
    /// Its name in the configuration.
    pub target: Text<'a>,
    /// Its tier, starting at 0.
    pub tier: u32,
    /// Its health: `closed`, `slow_start`, `half_open`, `open`, `blocked`, `throttled`, `forced_open`,
    /// `drained`.
    pub state: Text<'a>,
    /// Until when it gets no requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until_ms: Option<u64>,
    /// Why it was excluded: a gate, its health, its limits (`headroom`, `max_pending`), or `tried`. Omitted
    /// if it could have been chosen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rejected: Option<Text<'a>>,
    /// The limit on attempts in flight that it had reached, if it was excluded for that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_pending: Option<u32>,
    /// Every gate that rejected it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gates: Vec<ClosedGate<'a>>,
}

/// A gate that rejected a candidate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct ClosedGate<'a> {
    /// Its name.
    pub gate: Text<'a>,
    /// What was needed.
    pub needed: Text<'a>,
    /// What the target offers.
    pub offered: Text<'a>,
}

/// Tokens as in OpenTelemetry's conventions: input includes cached tokens, output includes reasoning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct UsageRecord {
    /// Input tokens.
    #[serde(rename = "gen_ai.usage.input_tokens")]
    pub input: u64,
    /// Output tokens.
    #[serde(rename = "gen_ai.usage.output_tokens")]
    pub output: u64,
    /// Input tokens read from a cache.
    #[serde(rename = "gen_ai.usage.cache_read.input_tokens")]
    pub cached: u64,
    /// Input tokens written to a cache.
    #[serde(rename = "gen_ai.usage.cache_creation.input_tokens")]
    pub cache_creation: u64,
    /// Output tokens spent on reasoning.
    #[serde(rename = "gen_ai.usage.reasoning.output_tokens")]
    pub reasoning: u64,
}

/// The cost of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct Cost<'a> {
    /// Millionths of a dollar.
    pub micro_usd: u64,
    /// Fingerprint of the configuration with the prices.
    pub price_version: Text<'a>,
    /// Whether all cost is known: usage and price of every attempt that may have been billed.
    pub complete: bool,
}

/// What was truncated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct Cut {
    /// Candidates beyond [`MAX_CANDIDATES`].
    #[serde(default, skip_serializing_if = "is_zero")]
    pub candidates: u32,
    /// Gates beyond [`MAX_GATES`].
    #[serde(default, skip_serializing_if = "is_zero")]
    pub gates: u32,
    /// Attempts beyond [`MAX_ATTEMPTS`].
    #[serde(default, skip_serializing_if = "is_zero")]
    pub attempts: u32,
}

impl Cut {
    fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

impl Record<'_> {
    /// The record as one line of JSON, as serde writes it. `None` if serialization fails, which no value of these types causes.
    pub fn to_json(&self) -> Option<String> {
        serde_json::to_string(self).ok()
    }
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde's signature
const fn is_zero(number: &u32) -> bool {
    *number == 0
}

#[allow(clippy::trivially_copy_pass_by_ref)]
const fn is_zero_u64(number: &u64) -> bool {
    *number == 0
}

#[allow(clippy::trivially_copy_pass_by_ref)]
const fn is_false(truth: &bool) -> bool {
    !*truth
}
