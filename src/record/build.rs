//! Turns what was collected about a request into its record.

use sha2::{Digest, Sha256};

use super::builder::{AttemptEnd, AttemptEntry, CandidateBuilder, RecordBuilder, RequestedModel};
use super::decision::{
    AttemptRecord, CandidateRecord, ClosedGate, Cost, Cut, NeedsRecord, PolicyRecord, ProviderError, Record,
    SCHEMA_VERSION, StreamRecord,
};
use super::decision::{Text, UsageRecord};
use crate::base::{Endpoint, ErrorClass, MicroDollars, Timestamp};
use crate::config::{ClientKey, Mode, Redact};
use crate::fallback::ClientLimits;
use crate::outcome::AnsweredBy;
use crate::request::{Facts, OutputFormat, Reasoning, ToolChoice};
use crate::stream;

/// The longest unknown model name that is shown. Anything longer is not a name.
const MAX_UNKNOWN_MODEL: usize = 64;

/// The result of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestResult {
    /// A complete response from the first choice.
    Served,
    /// A complete response from another target.
    FellBack,
    /// A complete response from the first choice after waiting for it.
    Queued,
    /// An error of the filter or of the last provider.
    Refused,
    /// The client left before it had a complete response.
    ClientAbort,
    /// An incomplete response, or none that is known of.
    Broken,
}

impl RequestResult {
    /// The name in records.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Served => "served",
            Self::FellBack => "fell_back",
            Self::Queued => "queued",
            Self::Refused => "refused",
            Self::ClientAbort => "client_abort",
            Self::Broken => "broken",
        }
    }
}

/// Another attempt was requested and never came: Envoy declined it, or the client left in between.
pub const NO_NEXT_ATTEMPT: &str = "no_next_attempt";

/// The request did not end, and the client did not leave: Envoy gave it up.
pub const REQUEST_INCOMPLETE: &str = "request_incomplete";

impl RecordBuilder {
    /// The result of the request, and its reason.
    pub fn result(&self) -> (RequestResult, Option<&'static str>) {
        if let Some((_, code)) = self.refusal {
            return (RequestResult::Refused, Some(code));
        }
        if let Some(reason) = self.broke {
            return (RequestResult::Broken, Some(reason));
        }
        if self.client_gone {
            return (RequestResult::ClientAbort, None);
        }
        let attempts = self.in_order();
        // Of two simultaneous attempts, the one with a response counts.
        let answered = attempts.iter().find(|attempt| attempt.end == AttemptEnd::Answered);
        let Some(attempt) = answered.or(attempts.last()) else { return (RequestResult::ClientAbort, None) };
        let class = attempt.class.map(ErrorClass::name);
        match attempt.end {
            AttemptEnd::Answered => match attempt.start.why {
                Some(why) => (RequestResult::FellBack, Some(why)),
                None if attempt.start.slot == 0 && attempt.start.waited.is_some() => {
                    (RequestResult::Queued, None)
                }
                None => (RequestResult::Served, None),
            },
            AttemptEnd::ClientAbort => (RequestResult::ClientAbort, None),
            AttemptEnd::Broken => (RequestResult::Broken, class),
            AttemptEnd::Failed | AttemptEnd::Abandoned => (RequestResult::Refused, class),
        }
    }

    /// The result for metrics. Refusals caused by the request itself or by its key's limits are counted
    /// separately as `declined`.
    pub fn metric_result(&self) -> &'static str {
        let (outcome, reason) = self.result();
        let class = reason.and_then(ErrorClass::from_name);
        let own = match self.refusal {
            Some((status, code)) => status < 500 && code != "all_targets_throttled",
            None => matches!(
                class,
                Some(
                    ErrorClass::Invalid
                        | ErrorClass::TooLarge
                        | ErrorClass::ContextLength
                        | ErrorClass::ContentPolicy
                )
            ),
        };
        if outcome == RequestResult::Refused && own { "declined" } else { outcome.name() }
    }

    /// The record of a request that ended at `now`.
    pub fn record(&self, now: Timestamp) -> Record<'_> {
        let config = &*self.config;
        let strict = config.record.redact == Redact::Strict;
        let (outcome, reason) = self.result();
        let attempts = self.in_order();
        let answered = attempts.iter().find(|attempt| attempt.end == AttemptEnd::Answered);
        let last = answered.or(attempts.last()).copied().filter(|_| self.refusal.is_none());
        let target = last.and_then(|attempt| config.target(attempt.start.target));
        let first_sent = attempts.first().map(|attempt| attempt.start.sent_at);
        let content_at = last.and_then(|attempt| attempt.observed.content_at);
        let (cut_attempts, cut_choices) = self.cut();
        let (trace, span) = self.identity.trace.as_deref().and_then(|ids| ids.split_once('-')).unzip();
        let billed = attempts.iter().filter(|attempt| self.billed(attempt) != Billed::No).count();
        // Attempts that a worker has forgotten may have been billed, too.
        let billed = billed.saturating_add(self.forgotten.into());
        Record {
            schema_version: SCHEMA_VERSION,
            start_unix_ms: self.began.as_millis(),
            duration_ms: self.offset(now),
            request_id: self.identity.request_id.as_deref().map(Text::from),
            trace_id: trace.map(Text::from),
            parent_span_id: span.map(Text::from),
            key_id: self.key().filter(|_| !strict).map(|key| (*key.name).into()),
            key_metadata: self
                .key()
                .filter(|_| !strict)
                .iter()
                .flat_map(|key| &key.metadata)
                .map(|(name, value)| (name.as_str().into(), value.as_str().into()))
                .collect(),
            session_hash: self.session_hash().filter(|_| !strict).map(Text::from),
            policy: PolicyRecord {
                config_hash: self.config_hash(),
                mode: mode(config.mode).into(),
                retry_loop: config.retry_loop,
                filter_version: env!("CARGO_PKG_VERSION").into(),
            },
            endpoint: self.endpoint.name().into(),
            operation: operation(self.endpoint).into(),
            model: self.model_name(strict),
            needs: self.needs().map(|facts| needs(facts, &self.client_limits)),
            attempts: attempts.iter().filter_map(|attempt| self.attempt_record(attempt)).collect(),
            last_candidates: self.last_candidates().filter_map(|one| self.candidate(one)).collect(),
            forgotten_attempts: u32::from(self.forgotten),
            outcome: outcome.name().into(),
            outcome_reason: reason.map(Text::from),
            status: self
                .refusal
                .map(|(status, _)| status)
                .or(last.and_then(|attempt| attempt.observed.shown_status.or(attempt.observed.status))),
            target: target.map(|target| (*target.name).into()),
            response_model: target.filter(|_| answered.is_some()).map(|target| (*target.model).into()),
            time_to_first_chunk: first_sent
                .zip(content_at)
                .map(|(sent, content)| ms(content.since(sent)) as f64 / 1000.0),
            finish_reasons: last
                .and_then(|attempt| attempt.finish)
                .map(|reason| reason.name().into())
                .into_iter()
                .collect(),
            usage: last.and_then(|attempt| attempt.usage).map(usage),
            cost: self.cost(&attempts),
            usage_missing: attempts.iter().any(|attempt| attempt.usage_missing),
            attempts_maybe_billed: u32::try_from(billed).unwrap_or(u32::MAX),
            cut: Cut { candidates: cut_choices.candidates, gates: cut_choices.gates, attempts: cut_attempts },
        }
    }

    fn offset(&self, at: Timestamp) -> u64 {
        ms(at.since(self.began))
    }

    fn key(&self) -> Option<&ClientKey> {
        self.config.keys.as_deref()?.get(self.key?)
    }

    /// The session name is hashed because it may be a person's name or address.
    fn session_hash(&self) -> Option<String> {
        let mut hash = Sha256::new_with_prefix(b"llm-failsafe session\0");
        if let Some(session) = &self.identity.session {
            hash.update(session.as_bytes());
        } else {
            let affinity = self.needs()?.affinity;
            let named = affinity.prompt_cache_key.or(affinity.user).or(affinity.metadata_user)?;
            hash.update(named.to_le_bytes());
        }
        let [a, b, c, d, e, f, g, h, ..] = <[u8; 32]>::from(hash.finalize());
        Some(format!("{:016x}", u64::from_be_bytes([a, b, c, d, e, f, g, h])))
    }

    fn model_name(&self, strict: bool) -> Option<Text<'_>> {
        match &self.model {
            RequestedModel::Nothing => None,
            RequestedModel::Known(model) => Some((*self.config.model(*model)?.name).into()),
            RequestedModel::Unknown(name) => (!strict && looks_like_a_model(name)).then(|| (**name).into()),
        }
    }

    fn attempt_record(&self, attempt: &AttemptEntry) -> Option<AttemptRecord<'_>> {
        let config = &*self.config;
        let target = config.target(attempt.start.target)?;
        let provider = config.provider(target.provider)?;
        let (kind, code) = &attempt.observed.error;
        let said = |text: &Option<Box<str>>| text.as_deref().map(|text| text.to_owned().into());
        let again = self
            .in_order()
            .iter()
            .any(|other| other.start.slot < attempt.start.slot && other.start.target == attempt.start.target);
        let slot = u32::try_from(attempt.start.slot).unwrap_or(u32::MAX);
        Some(AttemptRecord {
            number: slot.saturating_add(1).saturating_add(u32::from(self.forgotten)),
            target: (*target.name).into(),
            account: (*config.account(target.account)?.name).into(),
            provider: (*provider.name).into(),
            vendor: provider.kind.gen_ai_name().into(),
            model: (*target.model).into(),
            region: target.offers.region.as_deref().map(Text::from),
            host: provider.host.as_str().into(),
            why: attempt.start.why.unwrap_or(if again { "again" } else { "first_choice" }).into(),
            balance: attempt.start.balance.map(Text::from),
            probe: attempt.start.probe,
            candidates: self.candidates_of(attempt).filter_map(|one| self.candidate(one)).collect(),
            wait_ms: attempt.start.waited.map(ms),
            start_ms: self.offset(attempt.start.sent_at),
            headers_ms: attempt.observed.headers_at.map(|at| self.offset(at)),
            first_content_ms: attempt.observed.content_at.map(|at| self.offset(at)),
            end_ms: self.offset(attempt.ended_at),
            status: attempt.observed.status,
            answered_by: attempt.observed.answered_by.map(|by| by.name().into()),
            end: attempt.end.name().into(),
            class: attempt.class.map(|class| class.name().into()),
            provider_error: (kind.is_some() || code.is_some())
                .then(|| ProviderError { kind: said(kind), code: said(code) }),
            provider_request_id: said(&attempt.observed.provider_request_id),
            retry_after_ms: attempt.observed.hint.map(ms),
            response_bytes: attempt.observed.bytes,
            stream: attempt.observed.stream.map(|stream| StreamRecord {
                events: stream.events,
                longest_gap_ms: ms(attempt.observed.longest_gap),
                end: ending(stream.ending).into(),
            }),
            usage: attempt.usage.map(usage),
            cost_micro_usd: self.cost_of(attempt).map(MicroDollars::micros),
            then: attempt.then.map(Text::from),
            billed: self.billed(attempt).name().into(),
        })
    }

    fn cost_of(&self, attempt: &AttemptEntry) -> Option<MicroDollars> {
        let (usage, price) = (attempt.usage?, self.config.target(attempt.start.target)?.offers.price?);
        Some(price.with_cached(usage.input, usage.cached_input, usage.output))
    }

    fn cost(&self, attempts: &[&AttemptEntry]) -> Option<Cost<'_>> {
        let known = attempts.iter().filter_map(|attempt| self.cost_of(attempt)).reduce(MicroDollars::plus)?;
        let complete = self.forgotten == 0
            && attempts
                .iter()
                .all(|attempt| self.billed(attempt) == Billed::No || self.cost_of(attempt).is_some());
        Some(Cost { micro_usd: known.micros(), price_version: self.config_hash(), complete })
    }

    fn config_hash(&self) -> Text<'static> {
        format!("{:016x}", self.config.fingerprint()).into()
    }

    fn candidate<'d>(&'d self, candidate: &'d CandidateBuilder) -> Option<CandidateRecord<'d>> {
        Some(CandidateRecord {
            target: (*self.config.target(candidate.target)?.name).into(),
            tier: u32::from(candidate.tier),
            state: candidate.state.into(),
            until_ms: candidate.until.map(|until| self.offset(until)),
            rejected: candidate.rejected.map(Text::from),
            gates: candidate
                .gates
                .iter()
                .map(|closed| ClosedGate {
                    gate: closed.gate.into(),
                    needed: closed.needed.as_str().into(),
                    offered: closed.offered.as_str().into(),
                })
                .collect(),
        })
    }

    /// Whether the provider may have billed the attempt. In doubt it may: a provider may have processed a
    /// request whose response was lost.
    fn billed(&self, attempt: &AttemptEntry) -> Billed {
        match attempt.end {
            AttemptEnd::Abandoned => Billed::No,
            AttemptEnd::Answered | AttemptEnd::Broken => Billed::Likely,
            AttemptEnd::ClientAbort if attempt.observed.content_at.is_some() => Billed::Likely,
            AttemptEnd::ClientAbort => Billed::Maybe,
            AttemptEnd::Failed if attempt.observed.unsent => Billed::No,
            AttemptEnd::Failed => match attempt.class {
                Some(
                    ErrorClass::Overloaded
                    | ErrorClass::RateLimited
                    | ErrorClass::QuotaExhausted
                    | ErrorClass::Auth
                    | ErrorClass::Permission
                    | ErrorClass::NotFound
                    | ErrorClass::Invalid
                    | ErrorClass::TooLarge
                    | ErrorClass::ContextLength
                    | ErrorClass::ModelQuota
                    | ErrorClass::Unsuitable
                    | ErrorClass::StateNotFound
                    | ErrorClass::Conflict,
                ) if attempt.observed.answered_by == Some(AnsweredBy::Provider) => Billed::No,
                _ => Billed::Maybe,
            },
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Billed {
    No,
    Maybe,
    Likely,
}

impl Billed {
    const fn name(self) -> &'static str {
        match self {
            Self::No => "no",
            Self::Maybe => "maybe",
            Self::Likely => "likely",
        }
    }
}

fn ms(span: std::time::Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

const fn mode(mode: Mode) -> &'static str {
    match mode {
        Mode::Enforce => "enforce",
        Mode::Shadow => "shadow",
    }
}

/// `gen_ai.operation.name`.
const fn operation(endpoint: Endpoint) -> &'static str {
    match endpoint {
        Endpoint::Chat | Endpoint::Responses | Endpoint::Messages => "chat",
        Endpoint::Completions => "text_completion",
        Endpoint::Embeddings => "embeddings",
    }
}

const fn ending(ending: stream::StreamEnding) -> &'static str {
    match ending {
        stream::StreamEnding::Complete => "complete",
        stream::StreamEnding::Unfinished => "unfinished",
        stream::StreamEnding::NoTerminal => "no_terminal",
        stream::StreamEnding::Truncated => "truncated",
        stream::StreamEnding::Failed => "failed",
        stream::StreamEnding::Unwatched => "unwatched",
    }
}

const fn usage(usage: stream::Usage) -> UsageRecord {
    UsageRecord {
        input: usage.input,
        output: usage.output,
        cached: usage.cached_input,
        cache_creation: usage.cache_creation,
        reasoning: usage.reasoning,
    }
}

fn needs<'a>(facts: &Facts, limits: &'a ClientLimits) -> NeedsRecord<'a> {
    let tools = &facts.tools;
    let features = [
        ("hosted_tools", tools.hosted),
        ("strict_tools", tools.strict),
        ("forced_tool", tools.choice == ToolChoice::Forced),
        ("parallel_tools", tools.parallel == Some(true)),
        ("sequential_tools", tools.parallel == Some(false)),
        ("legacy_functions", tools.legacy_functions),
        ("json_object", facts.output == OutputFormat::JsonObject),
        ("json_schema", facts.output == OutputFormat::JsonSchema),
        ("other_format", facts.output == OutputFormat::Other),
        ("audio_output", facts.audio_output),
        ("image_output", facts.image_output),
        ("logprobs", facts.logprobs),
        ("seed", facts.seed),
        ("reasoning", facts.reasoning == Reasoning::Asked),
        ("sealed_reasoning", facts.sealed_reasoning),
        ("include_usage", facts.include_usage),
        ("store", facts.store == Some(true)),
        ("no_store", facts.store == Some(false)),
        ("no_fallback", limits.no_fallback),
    ];
    NeedsRecord {
        stream: facts.stream,
        max_tokens: facts.max_output_tokens,
        choices: facts.n,
        body_bytes: facts.body_bytes,
        text_bytes: facts.text_bytes,
        media_bytes: facts.media_bytes,
        token_ids: facts.token_ids,
        items: facts.items,
        tools: tools.count,
        images: facts.media.images,
        audio: facts.media.audio,
        files: facts.media.files,
        features: features.iter().filter(|(_, wanted)| *wanted).map(|(name, _)| (*name).into()).collect(),
        regions: limits.regions.iter().flatten().map(|region| (**region).into()).collect(),
        state: facts.state.kinds().map(|kind| kind.name().into()).collect(),
    }
}

/// A client may put anything into `model` by mistake, so only a plausible model name is shown.
fn looks_like_a_model(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:/@".contains(&byte);
    let a_key = name.starts_with("sk-") || name.len() > MAX_UNKNOWN_MODEL;
    !name.is_empty() && !a_key && name.bytes().all(plain)
}
