//! The reference for what `write.rs` writes: the same record as a tree, which serde writes. In unit tests
//! every record is compared with it.

use super::builder::{AttemptEnd, AttemptEntry, CandidateBuilder, HEALTHY, RecordBuilder, RequestedModel};
use super::decision::{
    AttemptRecord, CandidateRecord, ClosedGate, Cost, Cut, NeedsRecord, PolicyRecord, ProviderError, Record,
    SCHEMA_VERSION, StreamRecord, Text, UsageRecord,
};
use super::fragments::{mode_name, operation_name};
use super::redaction::looks_like_a_model;
use super::write::ending_name;
use crate::base::{MicroDollars, TargetId, Timestamp, VERSION, millis as ms};
use crate::config::{ClientKey, Redact};
use crate::fallback::ClientLimits;
use crate::request::{Facts, OutputFormat, Reasoning, ToolChoice};
use crate::stream;

impl RecordBuilder {
    pub(super) fn compare_with_reference(&self, json: &[u8], now: Timestamp) {
        let reference = serde_json::to_string(&self.reference(now)).unwrap();
        assert_eq!(std::str::from_utf8(json).unwrap(), reference, "as serde writes it");
    }

    /// The record of a request that ended at `now`.
    pub(super) fn reference(&self, now: Timestamp) -> Record<'_> {
        let config = self.config();
        let strict = config.record.redact == Redact::Strict;
        let (outcome, reason) = self.result();
        let attempts = self.attempts();
        let answered = attempts.iter().find(|attempt| attempt.end == AttemptEnd::Answered);
        let last = answered.or(attempts.last()).filter(|_| self.refusal.is_none());
        let target = last.and_then(|attempt| config.target(attempt.start.target));
        let first_sent = attempts.first().map(|attempt| attempt.start.sent_at);
        let content_at = last.and_then(|attempt| attempt.observed.content_at);
        let (cut_attempts, cut_choices) = self.cut();
        let trace = self.identity.trace.as_ref();
        let cost = self.cost().map(|(known, complete)| Cost {
            micro_usd: known.micros(),
            price_version: format!("{:016x}", config.price_version()).into(),
            complete,
        });
        Record {
            schema_version: SCHEMA_VERSION,
            start_unix_ms: self.started.as_millis(),
            duration_ms: self.offset(now),
            request_id: self.identity.request_id.as_ref().map(|id| text(id.as_bytes())),
            trace_id: trace.map(|trace| text(trace.id())),
            parent_span_id: trace.map(|trace| text(trace.span())),
            key_id: self.key().filter(|_| !strict).map(|key| (*key.name).into()),
            key_metadata: self
                .key()
                .filter(|_| !strict)
                .iter()
                .flat_map(|key| &key.metadata)
                .map(|(name, value)| (name.as_str().into(), value.as_str().into()))
                .collect(),
            session_hash: self.session_hash().filter(|_| !strict).map(|hash| format!("{hash:016x}").into()),
            policy: PolicyRecord {
                config_hash: self.config_hash(),
                mode: mode_name(config.mode).into(),
                retry_loop: config.retry_loop,
                filter_version: VERSION.into(),
            },
            endpoint: self.endpoint.name().into(),
            operation: operation_name(self.endpoint).into(),
            model: self.model_name(strict),
            requested_name: self.shown_name().map(|asked| text(asked.text.as_bytes())),
            needs: self.needs().map(|facts| needs(facts, &self.client_limits)),
            attempts: attempts.iter().map(|attempt| self.attempt_record(attempt)).collect(),
            last_candidates: self.last_candidates(),
            forgotten_attempts: u32::from(self.forgotten),
            outcome: outcome.name().into(),
            outcome_reason: reason.map(Text::from),
            status: self
                .refusal
                .map(|(status, _)| status)
                .or(last.and_then(|attempt| attempt.observed.shown_status.or(attempt.observed.status))),
            target: target.map(|target| (*target.name).into()),
            response_model: last
                .filter(|_| answered.is_some())
                .and_then(|attempt| self.model_at(attempt.start.target)),
            time_to_first_chunk: first_sent
                .zip(content_at)
                .map(|(sent, content)| ms(content.since(sent)) as f64 / 1000.0),
            finish_reasons: last
                .and_then(|attempt| attempt.finish)
                .map(|reason| reason.name().into())
                .into_iter()
                .collect(),
            usage: last.and_then(|attempt| attempt.usage).map(usage),
            cost,
            usage_missing: attempts.iter().any(|attempt| attempt.usage_missing),
            attempts_maybe_billed: self.maybe_billed(),
            cut: Cut { candidates: cut_choices.candidates, gates: cut_choices.gates, attempts: cut_attempts },
        }
    }

    fn key(&self) -> Option<&ClientKey> {
        self.config().keys.as_deref()?.get(self.key?)
    }

    fn model_name(&self, strict: bool) -> Option<Text<'_>> {
        match &self.model {
            RequestedModel::Nothing => None,
            RequestedModel::Known(model) => Some((*self.config().model(*model)?.name).into()),
            RequestedModel::Unknown(name) => (!strict && looks_like_a_model(name)).then(|| (**name).into()),
        }
    }

    fn model_at(&self, target: TargetId) -> Option<Text<'_>> {
        match self.made_up_model(target) {
            Some(model) => Some(model.to_string().into()),
            None => Some((*self.config().target(target)?.model).into()),
        }
    }

    fn attempt_record<'d>(&'d self, attempt: &'d AttemptEntry) -> AttemptRecord<'d> {
        let config = self.config();
        let target = config.target(attempt.start.target).unwrap();
        let provider = config.provider(target.provider).unwrap();
        let (kind, code) = &attempt.observed.error;
        let said = |text: &Option<Box<str>>| text.as_deref().map(|text| text.to_owned().into());
        let again = self
            .attempts()
            .iter()
            .any(|other| other.start.slot < attempt.start.slot && other.start.target == attempt.start.target);
        let slot = u32::try_from(attempt.start.slot).unwrap_or(u32::MAX);
        AttemptRecord {
            number: slot.saturating_add(1).saturating_add(u32::from(self.forgotten)),
            target: (*target.name).into(),
            account: (*config.account(target.account).unwrap().name).into(),
            provider: (*provider.name).into(),
            vendor: provider.kind.gen_ai_name().into(),
            model: self.model_at(attempt.start.target).unwrap(),
            region: target.offers.region.as_deref().map(Text::from),
            host: provider.host.as_str().into(),
            why: attempt.start.why.unwrap_or(if again { "again" } else { "first_choice" }).into(),
            balance: attempt.start.balance.map(Text::from),
            probe: attempt.start.probe,
            reasoning_dropped: attempt.start.reasoning_dropped,
            translated: attempt.start.translated.map(|(way, _)| way.name().into()),
            lost: attempt
                .start
                .translated
                .map(|(_, lost)| lost.iter().map(|loss| loss.name().into()).collect())
                .unwrap_or_default(),
            candidates: self.candidates_of(attempt),
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
            provider_request_id: attempt.observed.provider_request_id.as_ref().map(|id| text(id.as_bytes())),
            retry_after_ms: attempt.observed.hint.map(ms),
            response_bytes: attempt.observed.bytes,
            stream: attempt.observed.stream.map(|stream| StreamRecord {
                events: stream.events,
                longest_gap_ms: ms(attempt.observed.longest_gap),
                end: ending_name(stream.ending).into(),
            }),
            usage: attempt.usage.map(usage),
            cost_micro_usd: self.cost_of(attempt).map(MicroDollars::micros),
            then: attempt.then.map(Text::from),
            billed: attempt.billed().name().into(),
        }
    }

    fn candidates_of(&self, attempt: &AttemptEntry) -> Vec<CandidateRecord<'_>> {
        let choice = attempt.start.choice;
        if choice == 0 && self.all_healthy {
            return self.healthy();
        }
        let of_choice = self.candidates.iter().filter(|candidate| candidate.choice == choice);
        of_choice.map(|candidate| self.candidate(candidate)).collect()
    }

    fn last_candidates(&self) -> Vec<CandidateRecord<'_>> {
        match self.open_choice {
            None => Vec::new(),
            Some(0) if self.choices == 0 && self.all_healthy => self.healthy(),
            Some(start) => {
                self.candidates[start..].iter().map(|candidate| self.candidate(candidate)).collect()
            }
        }
    }

    /// Every target of the model, as a candidate that nothing speaks against.
    fn healthy(&self) -> Vec<CandidateRecord<'_>> {
        let RequestedModel::Known(model) = self.model else { panic!("a choice without a model") };
        let tiers = (0..).zip(&self.config().model(model).unwrap().tiers);
        let targets = tiers.flat_map(|(tier, targets)| targets.iter().map(move |target| (tier, *target)));
        targets
            .map(|(tier, target)| CandidateRecord {
                target: (*self.config().target(target).unwrap().name).into(),
                tier,
                state: HEALTHY.into(),
                ..CandidateRecord::default()
            })
            .collect()
    }

    fn config_hash(&self) -> Text<'static> {
        format!("{:016x}", self.config().fingerprint()).into()
    }

    fn candidate<'d>(&'d self, candidate: &'d CandidateBuilder) -> CandidateRecord<'d> {
        CandidateRecord {
            target: (*self.config().target(candidate.target).unwrap().name).into(),
            tier: u32::from(candidate.tier),
            state: candidate.state.into(),
            until_ms: candidate.until.map(|until| self.offset(until)),
            rejected: candidate.rejected.map(Text::from),
            max_pending: candidate.limit,
            gates: candidate
                .gates
                .iter()
                .map(|closed| ClosedGate {
                    gate: closed.gate.into(),
                    needed: closed.needed.as_str().into(),
                    offered: closed.offered.as_str().into(),
                })
                .collect(),
        }
    }
}

fn text(bytes: &[u8]) -> Text<'_> {
    std::str::from_utf8(bytes).unwrap().into()
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
