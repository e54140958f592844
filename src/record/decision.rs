//! The decision record as it is written: its members, their names and units, and how large it may become.
//!
//! Names with a dot are those of OpenTelemetry's conventions; all others are this project's. Times are milliseconds, as an
//! offset from `start_unix_ms` where they say when. `docs/decision-record.schema.json` says the same as a JSON Schema, and
//! tests hold the two together.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The version of the members below. It grows when one of them changes its meaning or vanishes, not when one is added.
pub const SCHEMA_VERSION: u32 = 1;

/// Attempts that one record lists at most: as many as a configuration can allow.
pub const MAX_ATTEMPTS: usize = 16;

/// Candidates that one record lists at most, over all choices.
pub const MAX_CANDIDATES: usize = 64;

/// Gates that one record lists at most as not passed, over all candidates.
pub const MAX_GATES: usize = 32;

/// The longest text of what a gate needed or was offered, in bytes; a longer one is cut and ends with `…`.
pub const MAX_GATE_TEXT: usize = 128;

/// No record is longer than this, in bytes, whatever came in.
pub const MAX_RECORD_BYTES: usize = 64 * 1024;

/// The record of a request that its first choice served fits into this.
const USUAL_BYTES: usize = 2048;

/// Text that is either the configuration's or the program's, or was read back.
pub type Text<'a> = Cow<'a, str>;

/// Everything about one client request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
pub struct Record<'a> {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// When the request's headers came, in milliseconds since the Unix epoch.
    pub start_unix_ms: u64,
    /// From then to the end.
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
    /// What the configuration says beside the key: a team, a cost centre.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub key_metadata: BTreeMap<Text<'a>, Text<'a>>,
    /// A hash of what names the session or the end user, 16 hexadecimal digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_hash: Option<Text<'a>>,
    /// What decided.
    pub policy: PolicyRecord<'a>,
    /// The endpoint that was called: `chat`, `responses`, …
    pub endpoint: Text<'a>,
    /// OpenTelemetry's name for it.
    #[serde(rename = "gen_ai.operation.name")]
    pub operation: Text<'a>,
    /// The model that the client asked for. One that nobody configured is there only as far as it looks like a name.
    #[serde(rename = "gen_ai.request.model", skip_serializing_if = "Option::is_none")]
    pub model: Option<Text<'a>>,
    /// What the request needs of a target; absent when its body could not be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub needs: Option<NeedsRecord<'a>>,
    /// The attempts in the order in which they were made.
    pub attempts: Vec<AttemptRecord<'a>>,
    /// What was looked at when nobody could be asked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub last_candidates: Vec<CandidateRecord<'a>>,
    /// Attempts that were made before this record began: a worker lost what it knew.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub forgotten_attempts: u32,
    /// What became of the request: `served`, `fell_back`, `queued`, `refused`, `client_abort` or `broken`.
    pub outcome: Text<'a>,
    /// Why it was not simply served.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome_reason: Option<Text<'a>>,
    /// The status that the client got, if it got one from here.
    #[serde(rename = "http.response.status_code", skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The target that answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<Text<'a>>,
    /// The model that answered, by its provider's name.
    #[serde(rename = "gen_ai.response.model", skip_serializing_if = "Option::is_none")]
    pub response_model: Option<Text<'a>>,
    /// Seconds from the first attempt that was sent to the first content that went to the client.
    #[serde(rename = "gen_ai.response.time_to_first_chunk", skip_serializing_if = "Option::is_none")]
    pub time_to_first_chunk: Option<f64>,
    /// Why the answer ended.
    #[serde(rename = "gen_ai.response.finish_reasons", default, skip_serializing_if = "Vec::is_empty")]
    pub finish_reasons: Vec<Text<'a>>,
    /// The tokens of the answer.
    #[serde(flatten)]
    pub usage: Option<UsageRecord>,
    /// What all attempts together cost, as far as their usage and prices are known; absent where neither is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost: Option<Cost<'a>>,
    /// Some attempt had something to pay for, and its provider has not said how much.
    #[serde(default, skip_serializing_if = "is_false")]
    pub usage_missing: bool,
    /// How many attempts may have been billed, as far as can be told from here. More than one: perhaps twice.
    pub attempts_maybe_billed: u32,
    /// What was cut off at its limit.
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
    /// Whether the filter sits in the retry loop.
    pub retry_loop: bool,
    /// The filter's version.
    pub filter_version: Text<'a>,
}

/// What a request needs of a target, as far as routing knows it. A member that is absent is not needed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct NeedsRecord<'a> {
    /// The answer is to be streamed.
    #[serde(rename = "gen_ai.request.stream")]
    pub stream: bool,
    /// The longest answer that was asked for.
    #[serde(rename = "gen_ai.request.max_tokens", skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<u64>,
    /// `n`: how many answers.
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
    /// Tools that it declares.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub tools: u32,
    /// Images, audio and files.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub images: u32,
    /// Parts that are sound.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub audio: u32,
    /// Parts that are documents or video.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub files: u32,
    /// What else it needs, by name: `hosted_tools`, `strict_tools`, `forced_tool`, `parallel_tools`, `sequential_tools`,
    /// `legacy_functions`, `json_object`, `json_schema`, `other_format`, `audio_output`, `image_output`, `logprobs`, `seed`,
    /// `reasoning`, `sealed_reasoning`, `include_usage`, `store`, `no_store`, `no_fallback`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub features: Vec<Text<'a>>,
    /// Where the client wants its data worked on, if it says so.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub regions: Vec<Text<'a>>,
    /// What it refers to that lives at one provider: `previous_response`, `file`, …
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub state: Vec<Text<'a>>,
}

/// One attempt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
pub struct AttemptRecord<'a> {
    /// 1, 2, …
    pub number: u32,
    /// Its name in the configuration.
    pub target: Text<'a>,
    /// Likewise.
    pub account: Text<'a>,
    /// The provider's name in the configuration.
    pub provider: Text<'a>,
    /// OpenTelemetry's name for the vendor.
    #[serde(rename = "gen_ai.provider.name")]
    pub vendor: Text<'a>,
    /// The model that was asked for, by its provider's name.
    #[serde(rename = "gen_ai.request.model")]
    pub model: Text<'a>,
    /// Where it is served, if the configuration says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<Text<'a>>,
    /// The host it was asked for at.
    #[serde(rename = "server.address")]
    pub host: Text<'a>,
    /// Why this target: `first_choice`, or what stood in the way of the ones before it.
    pub why: Text<'a>,
    /// How it was chosen among the candidates of its tier: `weighted`, `least_pending`, `fastest`, `cheapest` or `sticky`. Absent
    /// where the least bad one was taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub balance: Option<Text<'a>>,
    /// It probed a breaker that is not closed.
    #[serde(default, skip_serializing_if = "is_false")]
    pub probe: bool,
    /// What there was to choose from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub candidates: Vec<CandidateRecord<'a>>,
    /// How long the request had been held for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wait_ms: Option<u64>,
    /// When it was sent.
    pub start_ms: u64,
    /// When the answer's headers came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub headers_ms: Option<u64>,
    /// When the first content came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_content_ms: Option<u64>,
    /// When it was over.
    pub end_ms: u64,
    /// The answer's status.
    #[serde(rename = "http.response.status_code", skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Who gave it: `provider`, `envoy` (which could not get one from the provider) or `filter` (when time had run out).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answered_by: Option<Text<'a>>,
    /// How it ended: `answered`, `failed` before the client saw anything of it, `broken` after that, `client_abort`, `abandoned`.
    pub end: Text<'a>,
    /// The class of its failure.
    #[serde(rename = "error.type", skip_serializing_if = "Option::is_none")]
    pub class: Option<Text<'a>>,
    /// What the provider called it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider_error: Option<ProviderError<'a>>,
    /// The provider's id of the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider_request_id: Option<Text<'a>>,
    /// How long the provider asked to be left alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
    /// Bytes of the answer's body, as far as they came.
    pub response_bytes: u64,
    /// What came of the stream, if it was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream: Option<StreamRecord<'a>>,
    /// The tokens that its provider said it took.
    #[serde(flatten)]
    pub usage: Option<UsageRecord>,
    /// What these cost by the target's price, in millionths of a dollar.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost_micro_usd: Option<u64>,
    /// What was decided after it failed: `elsewhere`, or why it was the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub then: Option<Text<'a>>,
    /// Whether the provider may have charged for it: `no`, `maybe`, `likely`.
    pub billed: Text<'a>,
}

/// A provider's words for a failure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct ProviderError<'a> {
    /// Its type.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<Text<'a>>,
    /// Its code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<Text<'a>>,
}

/// What came of a stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct StreamRecord<'a> {
    /// Events.
    pub events: u64,
    /// The longest time without a byte of it, at least; up to a fifth of a second more.
    pub longest_gap_ms: u64,
    /// `complete`, `unfinished`, `no_terminal`, `truncated`, `failed` or `unwatched`.
    pub end: Text<'a>,
}

/// One target that was looked at when one was chosen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct CandidateRecord<'a> {
    /// Its name in the configuration.
    pub target: Text<'a>,
    /// Its tier, the first being 0.
    pub tier: u32,
    /// Its health: `closed`, `slow_start`, `half_open`, `open`, `blocked`, `throttled`, `forced_open`, `drained`.
    pub state: Text<'a>,
    /// Until when it is not to be asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until_ms: Option<u64>,
    /// Why it was out of the question: a gate, its health, its limits (`headroom`, `max_pending`), or `tried`. Absent for those
    /// that could have been chosen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rejected: Option<Text<'a>>,
    /// Every gate that it did not pass.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gates: Vec<ClosedGate<'a>>,
}

/// A gate that a candidate did not pass.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct ClosedGate<'a> {
    /// Its name.
    pub gate: Text<'a>,
    /// What was needed there.
    pub needed: Text<'a>,
    /// What the target offers instead.
    pub offered: Text<'a>,
}

/// Tokens, in the sense of OpenTelemetry's conventions: input with what was cached, output with reasoning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct UsageRecord {
    /// Input tokens.
    #[serde(rename = "gen_ai.usage.input_tokens")]
    pub input: u64,
    /// Output tokens.
    #[serde(rename = "gen_ai.usage.output_tokens")]
    pub output: u64,
    /// Of the input, what was read from a cache.
    #[serde(rename = "gen_ai.usage.cache_read.input_tokens")]
    pub cached: u64,
    /// Of the input, what was written to one.
    #[serde(rename = "gen_ai.usage.cache_creation.input_tokens")]
    pub cache_creation: u64,
    /// Of the output, what was spent on reasoning.
    #[serde(rename = "gen_ai.usage.reasoning.output_tokens")]
    pub reasoning: u64,
}

/// What a request cost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct Cost<'a> {
    /// Millionths of a dollar.
    pub micro_usd: u64,
    /// The prices by which: those of the configuration with this fingerprint.
    pub price_version: Text<'a>,
    /// Whether all of it is known: no attempt may have been billed whose usage or price is not.
    pub complete: bool,
}

/// How much is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct Cut {
    /// Candidates past [`MAX_CANDIDATES`].
    #[serde(default, skip_serializing_if = "is_zero")]
    pub candidates: u32,
    /// Gates past [`MAX_GATES`].
    #[serde(default, skip_serializing_if = "is_zero")]
    pub gates: u32,
    /// Attempts past [`MAX_ATTEMPTS`].
    #[serde(default, skip_serializing_if = "is_zero")]
    pub attempts: u32,
}

impl Cut {
    fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

impl Record<'_> {
    /// The record as one line of JSON; `None` only if the serialiser fails, which it does for no value of these types.
    pub fn to_json(&self) -> Option<String> {
        let mut line = Vec::with_capacity(USUAL_BYTES);
        serde_json::to_writer(&mut line, self).ok()?;
        String::from_utf8(line).ok()
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
