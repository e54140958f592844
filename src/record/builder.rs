//! The record of a request while it is served: plain values. They become text only when the request is over.

use std::rc::Rc;
use std::time::Duration;

use super::decision::{MAX_ATTEMPTS, MAX_CANDIDATES, MAX_GATE_TEXT, MAX_GATES};
use crate::base::{Endpoint, ErrorClass, HeaderBlock, ModelId, ShortText, TargetId, Timestamp};
use crate::config::Config;
use crate::fallback::ClientLimits;
use crate::outcome::{End, Observed, Outcome, id_of};
use crate::provider::Objection;
use crate::request::{Facts, ModelField, UsageSpots};
use crate::stream;

/// A session's name longer than this is cut before it is hashed.
const MAX_SESSION: usize = 256;

/// What is known of one client request so far.
#[derive(Debug)]
pub struct RecordBuilder {
    /// The configuration that serves it.
    pub config: Rc<Config>,
    /// When the request's headers came.
    pub began: Timestamp,
    /// The endpoint that was called.
    pub endpoint: Endpoint,
    /// What the request can be found by.
    pub identity: Identity,
    /// The client's key, by its position in the configuration.
    pub key: Option<usize>,
    /// The model that it asks for.
    pub model: RequestedModel,
    /// The facts of its body, without positions.
    needs: Option<Facts>,
    /// What the client allows.
    pub client_limits: ClientLimits,
    /// The attempts that are over, in the order in which they ended.
    attempts: Vec<AttemptEntry>,
    candidates: Vec<CandidateBuilder>,
    /// How many choices have led to an attempt.
    choices: u8,
    /// Where the candidates of a choice begin that has not led to an attempt.
    open_choice: Option<usize>,
    /// Since when the request is held.
    pub held_since: Option<Timestamp>,
    /// Attempts of which this worker knows nothing but the number.
    pub forgotten: u8,
    /// The client left while the request was held.
    pub client_gone: bool,
    /// Why it ended, if neither an attempt nor a refusal says so.
    pub broke: Option<&'static str>,
    /// The status and reason with which the filter refused it.
    pub refusal: Option<(u16, &'static str)>,
    cut_attempts: u32,
    cut_choices: CutChoices,
    /// The same before the last choice.
    cut_before: CutChoices,
}

/// What was cut because of the limits.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct CutChoices {
    pub(super) candidates: u32,
    pub(super) gates: u32,
}

/// The model that the client asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum RequestedModel {
    /// None that could be read.
    #[default]
    Nothing,
    /// A configured model.
    Known(ModelId),
    /// A model that is not configured, or that the key may not use.
    Unknown(Box<str>),
}

/// What a request can be found by.
#[derive(Debug, Default)]
pub struct Identity {
    /// `x-request-id` as Envoy set it.
    pub request_id: Option<ShortText>,
    /// Trace and parent span of `traceparent`, as written.
    pub trace: Option<Box<str>>,
    /// `x-llm-session`.
    pub session: Option<Box<str>>,
}

impl Identity {
    /// Reads it from a request's headers.
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

/// `{trace}-{span}` of a `traceparent` of any version (W3C Trace Context: `{version}-{trace}-{span}-{flags}`).
fn trace_of(value: &[u8]) -> Option<Box<str>> {
    let ids = std::str::from_utf8(value.get(3..52)?).ok()?;
    let hex = |text: &str| text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let (trace, span) = ids.split_once('-')?;
    let told = trace.len() == 32 && hex(trace) && hex(span) && trace.bytes().any(|digit| digit != b'0');
    told.then(|| ids.into())
}

/// A target in a choice.
#[derive(Debug, Clone)]
pub struct CandidateBuilder {
    /// The number of the choice.
    choice: u8,
    /// The target.
    pub target: TargetId,
    /// Its tier.
    pub tier: u8,
    /// Its health.
    pub state: &'static str,
    /// When it may be asked again.
    pub until: Option<Timestamp>,
    /// Why it was not eligible.
    pub rejected: Option<&'static str>,
    /// Every gate that it does not pass.
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

    /// Adds the gates that it does not pass.
    pub fn with_gates(self, gates: impl Iterator<Item = Objection>) -> Self {
        Self { gates: gates.collect(), ..self }
    }
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AttemptEnd {
    /// The filter gave it up before it was really made.
    #[default]
    Abandoned,
    /// With a complete response.
    Answered,
    /// With a failure, before the client got any part of a response.
    Failed,
    /// With a failure, after part of the response had gone to the client.
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

/// What is known of an attempt when it is sent.
#[derive(Debug, Clone, Copy)]
pub struct AttemptStart {
    /// Its position among the attempts of its request, from 0.
    pub slot: usize,
    /// The choice that led to it.
    pub(super) choice: u8,
    /// How long the request had been held for it.
    pub waited: Option<Duration>,
    /// The target it goes to.
    pub target: TargetId,
    /// Why this target, if it was not the first choice.
    pub why: Option<&'static str>,
    /// The strategy that chose it.
    pub balance: Option<&'static str>,
    /// Whether it probes a breaker.
    pub probe: bool,
    /// When it is sent.
    pub sent_at: Timestamp,
}

impl AttemptStart {
    /// An attempt that is sent now as the first choice.
    pub const fn new(slot: usize, target: TargetId, now: Timestamp) -> Self {
        Self { slot, choice: 0, waited: None, target, why: None, balance: None, probe: false, sent_at: now }
    }
}

/// An attempt that is over.
#[derive(Debug)]
pub struct AttemptEntry {
    /// What was known of it when it was sent.
    pub start: AttemptStart,
    /// What was observed of its response.
    pub observed: Observed,
    /// How it ended.
    pub end: AttemptEnd,
    /// The class of its failure.
    pub class: Option<ErrorClass>,
    /// The tokens that the provider reported.
    pub usage: Option<stream::Usage>,
    /// Whether tokens were used and the provider has not reported how many.
    pub usage_missing: bool,
    /// Why its response ended.
    pub finish: Option<stream::FinishReason>,
    /// What was decided after it failed.
    pub then: Option<&'static str>,
    /// When it was over.
    pub ended_at: Timestamp,
}

impl AttemptEntry {
    /// The entry of an attempt with this outcome.
    pub fn of(
        start: AttemptStart,
        observed: Observed,
        outcome: Option<&Outcome>,
        then: Option<&'static str>,
        ended_at: Timestamp,
    ) -> Self {
        let (end, class) = match outcome.map(|outcome| (outcome.end, outcome.passed)) {
            _ if observed.held_back => (AttemptEnd::Failed, Some(ErrorClass::RateLimited)),
            None | Some((End::Withdrawn, _)) => (AttemptEnd::Abandoned, None),
            Some((End::Complete, _)) => (AttemptEnd::Answered, None),
            Some((End::ClientGone, _)) => (AttemptEnd::ClientAbort, None),
            Some((End::Failed(class), false)) => (AttemptEnd::Failed, Some(class)),
            Some((End::Failed(class), true)) => (AttemptEnd::Broken, Some(class)),
        };
        Self {
            start,
            observed,
            end,
            class,
            usage: outcome.and_then(|outcome| outcome.usage),
            usage_missing: outcome.is_some_and(Outcome::usage_is_missing),
            finish: outcome.and_then(|outcome| outcome.finish),
            then,
            ended_at,
        }
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
            model_spans: Default::default(),
            usage_spots: UsageSpots::default(),
            ..*facts
        });
    }

    /// The facts of its body; `None` when it could not be read.
    pub const fn needs(&self) -> Option<&Facts> {
        self.needs.as_ref()
    }

    /// Notes the targets of a choice. An earlier choice that led to no attempt is replaced: a request that is held chooses
    /// again and again.
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

    /// The choice just made has led to an attempt, which is sent now.
    pub fn attempt_starts(&mut self, start: AttemptStart) -> AttemptStart {
        let waited = self.held_since.take().map(|since| start.sent_at.since(since));
        let start = AttemptStart { choice: self.choices, waited, ..start };
        self.choices = self.choices.saturating_add(1);
        self.open_choice = None;
        self.cut_before = self.cut_choices;
        start
    }

    /// An attempt is over.
    pub fn attempt_ended(&mut self, attempt: AttemptEntry) {
        if self.attempts.len() < MAX_ATTEMPTS {
            self.attempts.push(attempt);
        } else {
            self.cut_attempts = self.cut_attempts.saturating_add(1);
        }
    }

    /// Whether there was more than one attempt.
    pub const fn has_moved(&self) -> bool {
        self.attempts.len() > 1
    }

    /// The attempts that are over, in the order in which they were made.
    pub(super) fn in_order(&self) -> Vec<&AttemptEntry> {
        let mut attempts: Vec<_> = self.attempts.iter().collect();
        attempts.sort_by_key(|attempt| attempt.start.slot);
        attempts
    }

    /// The targets of the choice that led to `attempt`.
    pub(super) fn candidates_of(&self, attempt: &AttemptEntry) -> impl Iterator<Item = &CandidateBuilder> {
        let choice = attempt.start.choice;
        self.candidates.iter().filter(move |candidate| candidate.choice == choice)
    }

    /// The targets of a last choice that led to no attempt.
    pub(super) fn last_candidates(&self) -> impl Iterator<Item = &CandidateBuilder> {
        self.open_choice.and_then(|start| self.candidates.get(start..)).into_iter().flatten()
    }

    pub(super) const fn cut(&self) -> (u32, CutChoices) {
        (self.cut_attempts, self.cut_choices)
    }
}

/// Cuts a text to [`MAX_GATE_TEXT`] and marks the cut.
fn cut_text(text: &mut String) {
    const MARK: char = '…';
    if text.len() > MAX_GATE_TEXT {
        let most = MAX_GATE_TEXT.saturating_sub(MARK.len_utf8());
        let end = (0..=most).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        text.truncate(end);
        text.push(MARK);
    }
}
