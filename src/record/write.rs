//! Writes the record of a request, once, from what was collected and from the configuration's fragments.
//!
//! This is the only writer. Nearly all requests are served by their first choice, so what others need is in
//! functions of their own, which then stay out of the processor's caches. Every structure is taken apart
//! without `..`, so that the compiler asks what becomes of a new field. In unit tests each record is compared
//! with one that serde writes (`reference.rs`).

use super::builder::{
    AttemptEnd, AttemptEntry, AttemptStart, CandidateBuilder, CutChoices, Identity, RecordBuilder,
    RequestedModel,
};
use super::decision::SCHEMA_VERSION;
use super::line::Line;
use super::redaction::looks_like_a_model;
use crate::base::{ErrorClass, Timestamp, millis};
use crate::fallback::ClientLimits;
use crate::outcome::Observed;
use crate::provider::Objection;
use crate::request::{Facts, MediaParts, OutputFormat, Reasoning, StateKind, ToolChoice, ToolNeeds};
use crate::stream::{StreamEnding, StreamFacts, Usage};

impl RecordBuilder {
    /// The record of a request that ended at `now`: JSON in one line.
    pub fn to_json(&self, now: Timestamp) -> Vec<u8> {
        let mut line = Line::new();
        self.write(&mut line, now);
        let json = line.into_bytes();
        #[cfg(test)]
        self.compare_with_reference(&json, now);
        json
    }

    fn write(&self, line: &mut Line, now: Timestamp) {
        let Self {
            fragments,
            began: _,
            started,
            endpoint,
            identity: Identity { request_id, trace, session: _ },
            key,
            model,
            asked_name,
            needs,
            client_limits,
            attempts,
            candidates: _,
            all_healthy: _,
            choices: _,
            open_choice: _,
            held_since: _,
            forgotten,
            client_gone: _,
            broke: _,
            refusal: _,
            cut_attempts: _,
            cut_choices: _,
            cut_before: _,
        } = self;
        line.number(b"{\"schema_version\":", SCHEMA_VERSION.into());
        line.number(b",\"start_unix_ms\":", started.as_millis());
        line.number(b",\"duration_ms\":", self.offset(now));
        if let Some(id) = request_id {
            line.text(b",\"request_id\":\"", id.as_bytes());
        }
        if let Some(trace) = trace {
            line.text(b",\"trace_id\":\"", trace.id());
            line.text(b",\"parent_span_id\":\"", trace.span());
        }
        if let Some(key) = key {
            line.raw(fragments.key(*key));
        }
        if let Some(hash) = self.session_hash().filter(|_| !self.is_strict()) {
            line.hex(b",\"session_hash\":\"", hash);
        }
        line.raw(fragments.endpoint(*endpoint));
        match model {
            RequestedModel::Nothing => {}
            RequestedModel::Known(model) => {
                line.raw(fragments.model(*model).map_or(&[], |model| &model.requested));
            }
            RequestedModel::Unknown(name) => self.write_unknown_model(line, name),
        }
        if asked_name.is_some()
            && let Some(asked) = self.shown_name()
        {
            line.text(b",\"requested_name\":\"", asked.text.as_bytes());
        }
        if let Some(facts) = needs {
            write_needs(line, facts, client_limits);
        }
        self.write_attempts(line, attempts);
        if self.has_open_choice() {
            self.write_candidates(line, b",\"last_candidates\":", None);
        }
        line.unless_zero(b",\"forgotten_attempts\":", (*forgotten).into());
        self.write_result(line);
    }

    fn write_attempts(&self, line: &mut Line, attempts: &[AttemptEntry]) {
        let mut before: &[u8] = b",\"attempts\":[";
        for attempt in attempts {
            line.raw(before);
            self.write_attempt(line, attempt);
            before = b",";
        }
        line.raw(if attempts.is_empty() { b",\"attempts\":[]" } else { b"]" });
    }

    /// What the client got.
    fn write_result(&self, line: &mut Line) {
        let (result, reason) = self.result();
        line.word(b",\"outcome\":\"", result.name());
        if let Some(reason) = reason {
            line.word(b",\"outcome_reason\":\"", reason);
        }
        if let Some((status, _)) = self.refusal {
            line.number(b",\"http.response.status_code\":", status.into());
        } else if let Some(attempt) = self.telling() {
            self.write_response(line, attempt);
        }
        if let Some((cost, is_complete)) = self.cost() {
            line.number(b",\"cost\":{\"micro_usd\":", cost.micros());
            line.raw(&self.fragments.price_version);
            line.raw(if is_complete { b"true}" } else { b"false}" });
        }
        if self.attempts().iter().any(|attempt| attempt.usage_missing) {
            line.raw(b",\"usage_missing\":true");
        }
        line.number(b",\"attempts_maybe_billed\":", self.maybe_billed().into());
        if self.cut() != (0, CutChoices::default()) {
            self.write_cut(line);
        }
        line.raw(b"}");
    }

    /// What the client got of an attempt.
    fn write_response(&self, line: &mut Line, attempt: &AttemptEntry) {
        let observed = &attempt.observed;
        line.maybe(
            b",\"http.response.status_code\":",
            observed.shown_status.or(observed.status).map(u64::from),
        );
        if let Some(target) = self.fragments.target(attempt.start.target) {
            line.raw(&target.responded);
            if attempt.is_answered() {
                match self.made_up_model(attempt.start.target) {
                    None => line.raw(&target.response_model),
                    Some(model) => line.text(b",\"gen_ai.response.model\":\"", model.as_bytes()),
                }
            }
        }
        // Attempts are in their order.
        if let (Some(first), Some(content_at)) = (self.attempts().first(), observed.content_at) {
            let waited = millis(content_at.since(first.start.sent_at));
            line.seconds(b",\"gen_ai.response.time_to_first_chunk\":", waited);
        }
        if let Some(reason) = attempt.finish {
            line.word(b",\"gen_ai.response.finish_reasons\":[\"", reason.name());
            line.raw(b"]");
        }
        if let Some(usage) = attempt.usage {
            write_usage(line, usage);
        }
    }

    fn write_attempt(&self, line: &mut Line, attempt: &AttemptEntry) {
        let AttemptEntry {
            start:
                AttemptStart {
                    slot,
                    choice,
                    waited,
                    target,
                    why,
                    balance,
                    probe,
                    reasoning_dropped,
                    translated,
                    sent_at,
                },
            observed,
            end,
            class,
            usage,
            usage_missing: _,
            finish: _,
            then,
            ended_at,
        } = attempt;
        line.number(b"{\"number\":", self.number_of(*slot));
        if let Some(fragments) = self.fragments.target(*target) {
            match self.made_up_model(*target) {
                None => line.raw(&fragments.attempted),
                Some(model) => fragments.write_attempted(line, &model),
            }
        }
        let first = || if self.was_tried_before(attempt) { "again" } else { "first_choice" };
        line.word(b"", why.unwrap_or_else(first));
        if let Some(strategy) = balance {
            line.word(b",\"balance\":\"", strategy);
        }
        if *probe {
            line.raw(b",\"probe\":true");
        }
        if *reasoning_dropped {
            line.raw(b",\"reasoning_dropped\":true");
        }
        if let Some((way, lost)) = translated {
            line.word(b",\"translated\":\"", way.name());
            let mut before: &[u8] = b",\"lost\":[\"";
            for loss in lost.iter() {
                line.word(before, loss.name());
                before = b",\"";
            }
            if !lost.is_empty() {
                line.raw(b"]");
            }
        }
        self.write_candidates(line, b",\"candidates\":", Some(*choice));
        line.maybe(b",\"wait_ms\":", waited.map(millis));
        line.number(b",\"start_ms\":", self.offset(*sent_at));
        self.write_observed(line, observed, (*end, *class), *ended_at);
        if let Some(usage) = usage {
            write_usage(line, *usage);
        }
        if let Some(cost) = self.cost_of(attempt) {
            line.number(b",\"cost_micro_usd\":", cost.micros());
        }
        if let Some(then) = then {
            line.word(b",\"then\":\"", then);
        }
        line.word(b",\"billed\":\"", attempt.billed().name());
        line.raw(b"}");
    }

    /// The response to an attempt and its end.
    fn write_observed(
        &self,
        line: &mut Line,
        observed: &Observed,
        (end, class): (AttemptEnd, Option<ErrorClass>),
        ended_at: Timestamp,
    ) {
        let Observed {
            headers_at,
            content_at,
            heard_at: _,
            host: _,
            longest_gap,
            status,
            shown_status: _,
            answered_by,
            error,
            provider_request_id,
            hint,
            bytes,
            stream,
            unsent: _,
            held_back: _,
        } = observed;
        line.maybe(b",\"headers_ms\":", headers_at.map(|at| self.offset(at)));
        line.maybe(b",\"first_content_ms\":", content_at.map(|at| self.offset(at)));
        line.number(b",\"end_ms\":", self.offset(ended_at));
        line.maybe(b",\"http.response.status_code\":", status.map(u64::from));
        if let Some(by) = answered_by {
            line.word(b",\"answered_by\":\"", by.name());
        }
        line.word(b",\"end\":\"", end.name());
        if let Some(class) = class {
            line.word(b",\"error.type\":\"", class.name());
        }
        if let (kind @ Some(_), code) | (kind, code @ Some(_)) = error {
            write_error(line, kind.as_deref(), code.as_deref());
        }
        if let Some(id) = provider_request_id {
            line.text(b",\"provider_request_id\":\"", id.as_bytes());
        }
        line.maybe(b",\"retry_after_ms\":", hint.map(millis));
        line.number(b",\"response_bytes\":", *bytes);
        if let Some(StreamFacts { events, ending }) = *stream {
            line.number(b",\"stream\":{\"events\":", events);
            line.number(b",\"longest_gap_ms\":", millis(*longest_gap));
            line.word(b",\"end\":\"", ending_name(ending));
            line.raw(b"}");
        }
    }

    /// The candidates of a choice; `None` for the last one, which led to no attempt.
    fn write_candidates(&self, line: &mut Line, before: &[u8], choice: Option<u8>) {
        if let Some(model) = self.healthy_choice(choice) {
            line.raw(before);
            line.raw(&model.healthy);
        } else {
            self.write_listed(line, before, choice);
        }
    }

    #[cold]
    fn write_listed(&self, line: &mut Line, before: &[u8], choice: Option<u8>) {
        let mut is_first = true;
        for candidate in self.listed(choice) {
            line.raw(if is_first { before } else { b"," });
            line.raw(if is_first { b"[" } else { b"" });
            self.write_candidate(line, candidate);
            is_first = false;
        }
        line.raw(if is_first { b"" } else { b"]" });
    }

    fn write_candidate(&self, line: &mut Line, candidate: &CandidateBuilder) {
        let CandidateBuilder { choice: _, target, tier, state, until, rejected, limit, gates } = candidate;
        let name = self.fragments.target(*target).map_or(&[][..], |target| &target.candidate);
        line.number(name, (*tier).into());
        line.word(b",\"state\":\"", state);
        line.maybe(b",\"until_ms\":", until.map(|until| self.offset(until)));
        if let Some(rejected) = rejected {
            line.word(b",\"rejected\":\"", rejected);
        }
        line.maybe(b",\"max_pending\":", limit.map(u64::from));
        let mut before: &[u8] = b",\"gates\":[{\"gate\":\"";
        for Objection { gate, needed, offered } in gates {
            line.word(before, gate);
            line.text(b",\"needed\":\"", needed.as_bytes());
            line.text(b",\"offered\":\"", offered.as_bytes());
            line.raw(b"}");
            before = b",{\"gate\":\"";
        }
        line.raw(if gates.is_empty() { b"}" } else { b"]}" });
    }

    #[cold]
    fn write_unknown_model(&self, line: &mut Line, name: &str) {
        if !self.is_strict() && looks_like_a_model(name) {
            line.text(b",\"gen_ai.request.model\":\"", name.as_bytes());
        }
    }

    #[cold]
    fn write_cut(&self, line: &mut Line) {
        let (attempts, CutChoices { candidates, gates }) = self.cut();
        let mut before: &[u8] = b",\"cut\":{\"";
        for (name, count) in [("candidates", candidates), ("gates", gates), ("attempts", attempts)] {
            if count > 0 {
                line.word(before, name);
                line.number(b":", count.into());
                before = b",\"";
            }
        }
        line.raw(b"}");
    }

    /// Milliseconds since the request's headers came.
    pub(super) fn offset(&self, at: Timestamp) -> u64 {
        at.as_millis().saturating_sub(self.began.as_millis())
    }
}

#[cold]
fn write_error(line: &mut Line, kind: Option<&str>, code: Option<&str>) {
    let mut before: &[u8] = b",\"provider_error\":{\"";
    for (name, value) in [("type", kind), ("code", code)] {
        if let Some(value) = value {
            line.word(before, name);
            line.text(b":\"", value.as_bytes());
            before = b",\"";
        }
    }
    line.raw(b"}");
}

#[inline(never)]
fn write_usage(line: &mut Line, usage: Usage) {
    let Usage { input, cached_input, cache_creation, output, reasoning } = usage;
    line.number(b",\"gen_ai.usage.input_tokens\":", input);
    line.number(b",\"gen_ai.usage.output_tokens\":", output);
    line.number(b",\"gen_ai.usage.cache_read.input_tokens\":", cached_input);
    line.number(b",\"gen_ai.usage.cache_creation.input_tokens\":", cache_creation);
    line.number(b",\"gen_ai.usage.reasoning.output_tokens\":", reasoning);
}

/// The names of needs that a request has or has not, in the order of [`features`].
const FEATURES: [&str; 19] = [
    "hosted_tools",
    "strict_tools",
    "forced_tool",
    "parallel_tools",
    "sequential_tools",
    "legacy_functions",
    "json_object",
    "json_schema",
    "other_format",
    "audio_output",
    "image_output",
    "logprobs",
    "seed",
    "reasoning",
    "sealed_reasoning",
    "include_usage",
    "store",
    "no_store",
    "no_fallback",
];

fn write_needs(line: &mut Line, facts: &Facts, limits: &ClientLimits) {
    // What is left out here is not recorded, or is among the features.
    let Facts {
        model: _,
        model_spans: _,
        routing: _,
        stream,
        include_usage: _,
        usage_spots: _,
        tools,
        output: _,
        media: MediaParts { images, audio, files },
        audio_output: _,
        image_output: _,
        max_output_tokens,
        n,
        logprobs: _,
        seed: _,
        reasoning: _,
        sealed_reasoning: _,
        state,
        store: _,
        affinity: _,
        items,
        body_bytes,
        text_bytes,
        media_bytes,
        token_ids,
        references: _,
    } = facts;
    let ClientLimits { regions, no_fallback } = limits;
    line.raw(if *stream {
        b",\"needs\":{\"gen_ai.request.stream\":true"
    } else {
        b",\"needs\":{\"gen_ai.request.stream\":false"
    });
    line.maybe(b",\"gen_ai.request.max_tokens\":", *max_output_tokens);
    line.maybe(b",\"gen_ai.request.choice.count\":", *n);
    line.number(b",\"body_bytes\":", *body_bytes);
    line.number(b",\"text_bytes\":", *text_bytes);
    line.unless_zero(b",\"media_bytes\":", *media_bytes);
    line.unless_zero(b",\"token_ids\":", *token_ids);
    line.number(b",\"items\":", (*items).into());
    line.unless_zero(b",\"tools\":", tools.count.into());
    line.unless_zero(b",\"images\":", (*images).into());
    line.unless_zero(b",\"audio\":", (*audio).into());
    line.unless_zero(b",\"files\":", (*files).into());
    let features = features(facts, *no_fallback);
    if features.contains(&true) {
        let named = FEATURES.iter().zip(features).filter(|(_, wanted)| *wanted).map(|(name, _)| *name);
        write_list(line, b",\"features\":[\"", named);
    }
    if let Some(regions) = regions {
        write_list(line, b",\"regions\":[\"", regions.iter().map(|region| &**region));
    }
    if !state.is_empty() {
        write_list(line, b",\"state\":[\"", state.kinds().map(StateKind::name));
    }
    line.raw(b"}");
}

/// Which of [`FEATURES`] a request needs.
fn features(facts: &Facts, no_fallback: bool) -> [bool; FEATURES.len()] {
    let ToolNeeds { count: _, hosted, strict, choice, parallel, legacy_functions } = facts.tools;
    [
        hosted,
        strict,
        choice == ToolChoice::Forced,
        parallel == Some(true),
        parallel == Some(false),
        legacy_functions,
        facts.output == OutputFormat::JsonObject,
        facts.output == OutputFormat::JsonSchema,
        facts.output == OutputFormat::Other,
        facts.audio_output,
        facts.image_output,
        facts.logprobs,
        facts.seed,
        facts.reasoning == Reasoning::Asked,
        facts.sealed_reasoning,
        facts.include_usage,
        facts.store == Some(true),
        facts.store == Some(false),
        no_fallback,
    ]
}

#[cold]
fn write_list<'t>(line: &mut Line, mut before: &[u8], texts: impl Iterator<Item = &'t str>) {
    let mut is_empty = true;
    for text in texts {
        line.text(before, text.as_bytes());
        before = b",\"";
        is_empty = false;
    }
    if !is_empty {
        line.raw(b"]");
    }
}

pub(super) const fn ending_name(ending: StreamEnding) -> &'static str {
    match ending {
        StreamEnding::Complete => "complete",
        StreamEnding::Unfinished => "unfinished",
        StreamEnding::NoTerminal => "no_terminal",
        StreamEnding::Truncated => "truncated",
        StreamEnding::Failed => "failed",
        StreamEnding::Unwatched => "unwatched",
    }
}
