//! Collects what happens to a request as plain values. No text is made of them before its end.

use std::rc::Rc;
use std::time::Duration;

use super::decision::{MAX_ATTEMPTS, MAX_CANDIDATES, MAX_GATE_TEXT, MAX_GATES, MAX_ID};
use crate::base::{Endpoint, ErrorClass, HeaderBlock, ModelId, TargetId, Timestamp};
use crate::config::Config;
use crate::fallback::ClientLimits;
use crate::provider::{Failure, Objection};
use crate::request::{Facts, ModelField, UsageSpots};
use crate::stream;

/// The headers with a provider's id of a request: of OpenAI, Anthropic, Azure, AWS and OpenRouter. Azure also
/// sends the first two, with its own values. Its support asks for `apim-request-id`, so the last header wins.
const REQUEST_ID_HEADERS: [&str; 5] =
    ["x-request-id", "request-id", "apim-request-id", "x-amzn-requestid", "x-generation-id"];

/// How late the reported arrival of a piece of a response may be.
const TICK: Duration = Duration::from_millis(100);

/// A longer session name is truncated before it is hashed.
const MAX_SESSION: usize = 256;

/// What is known so far about one client request.
#[derive(Debug)]
pub struct RecordBuilder {
    /// The configuration that serves it.
    pub config: Rc<Config>,
    /// When the request's headers came.
    pub began: Timestamp,
    /// The endpoint that was called.
    pub endpoint: Endpoint,
    /// The identifiers of the request.
    pub identity: Identity,
    /// Index of the client's key in the configuration.
    pub key: Option<usize>,
    /// The requested model.
    pub model: RequestedModel,
    /// What it needs, without the positions in its body.
    needs: Option<Facts>,
    /// What the client permits.
    pub client_limits: ClientLimits,
    /// Attempts that have ended, in the order of their ends.
    attempts: Vec<AttemptBuilder>,
    candidates: Vec<CandidateBuilder>,
    /// Choices that led to an attempt.
    choices: u8,
    /// Index of the first candidate of a choice that has not led to an attempt.
    open_choice: Option<usize>,
    /// When the request was put on hold.
    pub held_since: Option<Timestamp>,
    /// Attempts made before this record began.
    pub forgotten: u8,
    /// The client left while the request was held.
    pub client_gone: bool,
    /// Why it broke off, if neither an attempt nor the filter's own response says so.
    pub broke: Option<&'static str>,
    /// The filter's own response.
    pub refusal: Option<(u16, &'static str)>,
    cut_attempts: u32,
    cut_choices: CutChoices,
    /// The same before the last choice.
    cut_before: CutChoices,
}

/// What choices had beyond the limits.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct CutChoices {
    pub(super) candidates: u32,
    pub(super) gates: u32,
}

/// The model that the client requested.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum RequestedModel {
    /// None, or none that was understood.
    #[default]
    Nothing,
    /// A configured model.
    Known(ModelId),
    /// An unknown model, or one that the key may not use.
    Unknown(Box<str>),
}

/// Identifiers by which a request can be found.
#[derive(Debug, Default)]
pub struct Identity {
    /// `x-request-id` as Envoy set it.
    pub request_id: Option<Box<str>>,
    /// Trace and parent span as written in `traceparent`.
    pub trace: Option<Box<str>>,
    /// `x-llm-session`.
    pub session: Option<Box<str>>,
}

impl Identity {
    /// Reads them from the headers of a request.
    pub fn read(headers: &HeaderBlock) -> Self {
        let mut identity = Self::default();
        for (name, value) in headers.iter() {
            let slot = match name {
                b"x-request-id" => &mut identity.request_id,
                b"traceparent" => {
                    identity.trace = trace_of(value);
                    continue;
                }
                b"x-llm-session" => {
                    let value = value.get(..MAX_SESSION).unwrap_or(value);
                    identity.session = Some(String::from_utf8_lossy(value).into());
                    continue;
                }
                _ => continue,
            };
            *slot = id_of(value);
        }
        identity
    }
}

/// An identifier that can be shown: short, visible ASCII.
fn id_of(value: &[u8]) -> Option<Box<str>> {
    let text = std::str::from_utf8(value).ok()?;
    let fits = !text.is_empty() && text.len() <= MAX_ID && text.bytes().all(|byte| byte.is_ascii_graphic());
    fits.then(|| text.into())
}

/// `{trace}-{span}` of a `traceparent` of any version (W3C Trace Context:
/// `{version}-{trace}-{span}-{flags}`).
fn trace_of(value: &[u8]) -> Option<Box<str>> {
    let ids = std::str::from_utf8(value.get(3..52)?).ok()?;
    let hex = |text: &str| text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let (trace, span) = ids.split_once('-')?;
    let told = trace.len() == 32 && hex(trace) && hex(span) && trace.bytes().any(|digit| digit != b'0');
    told.then(|| ids.into())
}

/// A target that was considered.
#[derive(Debug, Clone)]
pub struct CandidateBuilder {
    /// The choice that it was part of.
    choice: u8,
    /// The target.
    pub target: TargetId,
    /// Its tier.
    pub tier: u8,
    /// Its health.
    pub state: &'static str,
    /// Until when it gets no requests.
    pub until: Option<Timestamp>,
    /// Why it was excluded.
    pub rejected: Option<&'static str>,
    /// Every gate that rejects it.
    pub(super) gates: Vec<Objection>,
}

impl CandidateBuilder {
    /// A target of the current choice.
    pub const fn new(
        target: TargetId,
        tier: u8,
        (state, until): (&'static str, Option<Timestamp>),
        rejected: Option<&'static str>,
    ) -> Self {
        Self { choice: 0, target, tier, state, until, rejected, gates: Vec::new() }
    }

    /// The same with every gate that rejects it.
    pub fn with_gates(self, gates: impl Iterator<Item = Objection>) -> Self {
        Self { gates: gates.collect(), ..self }
    }
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AttemptEnd {
    /// It was given up here before it was really made.
    #[default]
    Abandoned,
    /// With a whole answer.
    Answered,
    /// With a failure of which the client has seen nothing but, at most, the failure itself.
    Failed,
    /// After part of the answer had gone to the client.
    Broken,
    /// The client left.
    ClientAbort,
}

impl AttemptEnd {
    /// The name in records.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Abandoned => "abandoned",
            Self::Answered => "answered",
            Self::Failed => "failed",
            Self::Broken => "broken",
            Self::ClientAbort => "client_abort",
        }
    }
}

/// Who gave an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnsweredBy {
    /// The provider.
    Provider,
    /// Envoy, which could not get one from the provider.
    Envoy,
    /// The filter, when time had run out.
    Filter,
}

impl AnsweredBy {
    /// The name in records.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Provider => "provider",
            Self::Envoy => "envoy",
            Self::Filter => "filter",
        }
    }
}

/// What came of a stream.
#[derive(Debug, Clone, Copy)]
pub struct StreamFacts {
    /// Its events.
    pub events: u64,
    /// How it ended.
    pub ending: stream::StreamEnding,
}

/// One attempt as it goes.
#[derive(Debug)]
pub struct AttemptBuilder {
    /// Its place among the journey's attempts, from 0.
    pub slot: usize,
    /// Which choice led to it.
    pub(super) choice: u8,
    /// How long the request had been held for it.
    pub waited: Option<Duration>,
    /// To whom it went.
    pub target: TargetId,
    /// Why this target, if it was not the first choice.
    pub why: Option<&'static str>,
    /// The strategy that chose it.
    pub balance: Option<&'static str>,
    /// It probes a breaker.
    pub probe: bool,
    /// When it was sent.
    pub sent_at: Timestamp,
    /// When the answer's headers came.
    pub headers_at: Option<Timestamp>,
    /// When its first content came.
    pub content_at: Option<Timestamp>,
    /// When it was over.
    pub ended_at: Timestamp,
    /// When the last piece of its answer came.
    pub(super) heard_at: Option<Timestamp>,
    /// The longest time between two pieces.
    pub longest_gap: Duration,
    /// The answer's status.
    pub status: Option<u16>,
    /// What the client sees in its place, where it called a failure a success.
    pub shown_status: Option<u16>,
    /// Who gave it.
    pub answered_by: Option<AnsweredBy>,
    /// How it ended.
    pub end: AttemptEnd,
    /// The class of its failure.
    pub class: Option<ErrorClass>,
    /// The provider's type and code of the failure.
    pub said: (Option<Box<str>>, Option<Box<str>>),
    /// The provider's id of the request.
    pub provider_request_id: Option<Box<str>>,
    /// How long the provider asked to be left alone.
    pub hint: Option<Duration>,
    /// Bytes of the answer's body.
    pub bytes: u64,
    /// What came of its stream.
    pub stream: Option<StreamFacts>,
    /// The tokens that its answer said it took.
    pub usage: Option<stream::Usage>,
    /// There was something to pay for, and the provider has not said how much.
    pub usage_missing: bool,
    /// Why its answer ended.
    pub finish: Option<stream::FinishReason>,
    /// What was decided after it failed.
    pub then: Option<&'static str>,
    /// The provider never got the request.
    pub unsent: bool,
}

impl AttemptBuilder {
    /// An attempt that is sent now.
    pub const fn new(slot: usize, target: TargetId, why: Option<&'static str>, now: Timestamp) -> Self {
        Self {
            slot,
            choice: 0,
            waited: None,
            target,
            why,
            balance: None,
            probe: false,
            sent_at: now,
            headers_at: None,
            content_at: None,
            ended_at: now,
            heard_at: None,
            longest_gap: Duration::ZERO,
            status: None,
            shown_status: None,
            answered_by: None,
            end: AttemptEnd::Abandoned,
            class: None,
            said: (None, None),
            provider_request_id: None,
            hint: None,
            bytes: 0,
            stream: None,
            usage: None,
            usage_missing: false,
            finish: None,
            then: None,
            unsent: false,
        }
    }

    /// The answer's headers have come.
    pub fn headers(&mut self, status: u16, headers: &HeaderBlock, now: Timestamp) {
        self.headers_at = Some(now);
        self.status = Some(status);
        self.answered_by = Some(AnsweredBy::Provider);
        self.provider_request_id = headers
            .iter()
            .filter(|(name, _)| REQUEST_ID_HEADERS.iter().any(|known| known.as_bytes() == *name))
            .filter_map(|(_, value)| id_of(value))
            .last();
    }

    /// A piece of the answer has come. `now` may be up to `TICK` late, so a gap is at least what is left
    /// without that.
    pub fn heard(&mut self, now: Timestamp) {
        if let Some(before) = self.heard_at {
            self.longest_gap = self.longest_gap.max(now.since(before).saturating_sub(TICK));
        }
        self.heard_at = Some(now);
    }

    /// It is certain how it ends; of several words the first counts.
    pub fn ends(&mut self, end: AttemptEnd, class: Option<ErrorClass>) {
        if self.end == AttemptEnd::Abandoned {
            self.end = end;
            self.class = class.or(self.class);
        }
    }

    /// An answer that was passed on has ended, with or without a failure.
    pub fn passed_to_its_end(&mut self, stream: Option<StreamFacts>, failure: Option<ErrorClass>) {
        self.stream = stream.or(self.stream);
        let end = if failure.is_some() { AttemptEnd::Broken } else { AttemptEnd::Answered };
        self.ends(end, failure);
    }

    /// What the provider calls its failure.
    pub fn said(&mut self, failure: &Failure) {
        self.said = (failure.kind.clone(), failure.code.clone());
    }
}

impl RecordBuilder {
    /// The record of a request whose headers have come.
    pub fn new(config: Rc<Config>, endpoint: Endpoint, identity: Identity, now: Timestamp) -> Self {
        Self {
            config,
            began: now,
            endpoint,
            identity,
            key: None,
            model: RequestedModel::Nothing,
            needs: None,
            client_limits: ClientLimits::default(),
            attempts: Vec::new(),
            candidates: Vec::new(),
            choices: 0,
            open_choice: None,
            held_since: None,
            forgotten: 0,
            client_gone: false,
            broke: None,
            refusal: None,
            cut_attempts: 0,
            cut_choices: CutChoices::default(),
            cut_before: CutChoices::default(),
        }
    }

    /// The body has been read.
    pub fn read(&mut self, facts: &Facts) {
        self.needs = Some(Facts {
            model: ModelField::Absent,
            model_spans: Vec::new(),
            usage_spots: UsageSpots::default(),
            ..*facts
        });
    }

    /// What the request needs; `None` if its body could not be read.
    pub const fn needs(&self) -> Option<&Facts> {
        self.needs.as_ref()
    }

    /// A choice is made among these candidates. It replaces a previous choice that found no target, because a
    /// held request chooses again and again.
    pub fn choose_among(&mut self, candidates: impl Iterator<Item = CandidateBuilder>) {
        let start = *self.open_choice.get_or_insert(self.candidates.len());
        self.candidates.truncate(start);
        self.cut_choices = self.cut_before;
        let mut room =
            MAX_GATES.saturating_sub(self.candidates.iter().map(|candidate| candidate.gates.len()).sum());
        for mut candidate in candidates {
            if self.candidates.len() >= MAX_CANDIDATES {
                self.cut_choices.candidates = self.cut_choices.candidates.saturating_add(1);
                continue;
            }
            let more = u32::try_from(candidate.gates.len().saturating_sub(room)).unwrap_or(u32::MAX);
            self.cut_choices.gates = self.cut_choices.gates.saturating_add(more);
            candidate.gates.truncate(room);
            for gate in &mut candidate.gates {
                cut_text(&mut gate.needed);
                cut_text(&mut gate.offered);
            }
            room = room.saturating_sub(candidate.gates.len());
            self.candidates.push(CandidateBuilder { choice: self.choices, ..candidate });
        }
    }

    /// The last choice has led to `attempt`, which is sent now.
    pub fn sends(&mut self, attempt: &mut AttemptBuilder) {
        attempt.choice = self.choices;
        attempt.waited = self.held_since.take().map(|since| attempt.sent_at.since(since));
        self.choices = self.choices.saturating_add(1);
        self.open_choice = None;
        self.cut_before = self.cut_choices;
    }

    /// An attempt has ended.
    pub fn ended(&mut self, attempt: AttemptBuilder) {
        if self.attempts.len() < MAX_ATTEMPTS {
            self.attempts.push(attempt);
        } else {
            self.cut_attempts = self.cut_attempts.saturating_add(1);
        }
    }

    /// Whether the request took more than one attempt.
    pub const fn has_moved(&self) -> bool {
        self.attempts.len() > 1
    }

    /// The attempts that have ended, in the order in which they were made.
    pub(super) fn in_order(&self) -> Vec<&AttemptBuilder> {
        let mut attempts: Vec<_> = self.attempts.iter().collect();
        attempts.sort_by_key(|attempt| attempt.slot);
        attempts
    }

    /// The candidates of the choice that led to `attempt`.
    pub(super) fn candidates_of(&self, attempt: &AttemptBuilder) -> impl Iterator<Item = &CandidateBuilder> {
        let choice = attempt.choice;
        self.candidates.iter().filter(move |candidate| candidate.choice == choice)
    }

    /// The candidates of a last choice that found no target.
    pub(super) fn last_candidates(&self) -> impl Iterator<Item = &CandidateBuilder> {
        self.open_choice.and_then(|start| self.candidates.get(start..)).into_iter().flatten()
    }

    pub(super) const fn cut(&self) -> (u32, CutChoices) {
        (self.cut_attempts, self.cut_choices)
    }
}

/// Truncates a text to [`MAX_GATE_TEXT`] and marks the end.
fn cut_text(text: &mut String) {
    const MARK: char = '…';
    if text.len() > MAX_GATE_TEXT {
        let most = MAX_GATE_TEXT.saturating_sub(MARK.len_utf8());
        let end = (0..=most).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        text.truncate(end);
        text.push(MARK);
    }
}
