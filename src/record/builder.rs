//! The record of a request while it is served: plain values. They become text only when the request is over.

use std::rc::Rc;
use std::time::Duration;

use super::decision::{MAX_ATTEMPTS, MAX_CANDIDATES, MAX_GATE_TEXT, MAX_GATES};
use super::fragments::{Fragments, ModelFragments};
use crate::base::{Endpoint, ErrorClass, HeaderBlock, ModelId, Moment, TargetId, Timestamp, WallTime};
use crate::config::{AskedName, Config};
use crate::fallback::ClientLimits;
use crate::outcome::{End, Id, Observed, Outcome};
use crate::provider::Objection;
use crate::request::{Facts, ModelField, UsageSpots};
use crate::stream;
use crate::translate::{Losses, Translation};

/// The state of a target whose breaker is closed.
pub(super) const HEALTHY: &str = "closed";

/// A session's name longer than this is cut before it is hashed.
const MAX_SESSION: usize = 256;

/// What is known of one client request so far.
#[derive(Debug)]
pub struct RecordBuilder {
    /// The configuration that serves it.
    pub(super) fragments: Rc<Fragments>,
    /// When the request's headers came.
    pub began: Timestamp,
    /// The date of that.
    pub(super) started: WallTime,
    /// The endpoint that was called.
    pub endpoint: Endpoint,
    /// What the request can be found by.
    pub identity: Identity,
    /// The client's key, by its position in the configuration.
    pub key: Option<usize>,
    /// The model that it asks for.
    pub model: RequestedModel,
    /// The name by which it asks for the model, if that is not the model's own.
    pub asked_name: Option<AskedName>,
    /// The facts of its body, without positions.
    pub(super) needs: Option<Facts>,
    /// What the client allows.
    pub client_limits: ClientLimits,
    /// The attempts that are over, in the order in which they were made.
    pub(super) attempts: Vec<AttemptEntry>,
    pub(super) candidates: Vec<CandidateBuilder>,
    /// Nothing spoke against any target in the first choice, so its candidates are not listed.
    pub(super) all_healthy: bool,
    /// How many choices have led to an attempt.
    pub(super) choices: u8,
    /// Where the candidates of a choice begin that has not led to an attempt.
    pub(super) open_choice: Option<usize>,
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
    pub(super) cut_attempts: u32,
    pub(super) cut_choices: CutChoices,
    /// The same before the last choice.
    pub(super) cut_before: CutChoices,
}

/// What was cut because of the limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
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
    pub request_id: Option<Id>,
    /// `traceparent`.
    pub trace: Option<Trace>,
    /// `x-llm-session`.
    pub session: Option<Box<str>>,
}

impl Identity {
    /// Reads it from a request's headers.
    pub fn read(headers: &HeaderBlock) -> Self {
        // If a header comes several times, the last one counts.
        Self {
            request_id: headers.all("x-request-id").last().and_then(Id::of),
            trace: headers.all("traceparent").last().and_then(Trace::of),
            session: headers.all("x-llm-session").last().map(|value| {
                let value = value.get(..MAX_SESSION).unwrap_or(value);
                String::from_utf8_lossy(value).into()
            }),
        }
    }
}

/// Trace and parent span of a `traceparent`, as written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trace {
    id: [u8; 32],
    span: [u8; 16],
}

impl Trace {
    /// Reads a `traceparent` of any version (W3C Trace Context: `{version}-{trace}-{span}-{flags}`).
    fn of(value: &[u8]) -> Option<Self> {
        let (id, after) = value.get(3..)?.split_first_chunk()?;
        let (span, _) = after.strip_prefix(b"-")?.split_first_chunk()?;
        let hex = |text: &[u8]| text.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let is_told = hex(id) && hex(span) && id.iter().any(|digit| *digit != b'0');
        is_told.then_some(Self { id: *id, span: *span })
    }

    pub(super) const fn id(&self) -> &[u8] {
        &self.id
    }

    pub(super) const fn span(&self) -> &[u8] {
        &self.span
    }
}

/// A target in a choice.
#[derive(Debug, Clone)]
pub struct CandidateBuilder {
    /// The number of the choice.
    pub(super) choice: u8,
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
    /// The limit on attempts in flight that it had reached.
    pub(super) limit: Option<u32>,
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
        Self { choice: 0, target, tier, state, until, rejected, limit: None, gates: Vec::new() }
    }

    /// Whether nothing speaks against it.
    pub fn is_healthy(&self) -> bool {
        let Self { choice: _, target: _, tier: _, state, until, rejected, limit: _, gates } = self;
        *state == HEALTHY && until.is_none() && rejected.is_none() && gates.is_empty()
    }

    /// Adds the limit on attempts in flight that it had reached.
    pub fn with_limit(self, limit: Option<u32>) -> Self {
        Self { limit, ..self }
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
    /// Whether encrypted reasoning was removed from the request.
    pub reasoning_dropped: bool,
    /// How the request is translated for it, and what is lost, if it is.
    pub translated: Option<(Translation, Losses)>,
    /// When it is sent.
    pub sent_at: Timestamp,
}

impl AttemptStart {
    /// An attempt that is sent now as the first choice.
    pub const fn new(slot: usize, target: TargetId, now: Timestamp) -> Self {
        Self {
            slot,
            choice: 0,
            waited: None,
            target,
            why: None,
            balance: None,
            probe: false,
            reasoning_dropped: false,
            translated: None,
            sent_at: now,
        }
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
    /// Whether it ended with a complete response.
    pub(super) fn is_answered(&self) -> bool {
        self.end == AttemptEnd::Answered
    }

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
    pub const fn new(fragments: Rc<Fragments>, endpoint: Endpoint, identity: Identity, now: Moment) -> Self {
        Self {
            fragments,
            began: now.at,
            started: now.wall,
            endpoint,
            identity,
            key: None,
            model: RequestedModel::Nothing,
            asked_name: None,
            needs: None,
            client_limits: ClientLimits { regions: None, no_fallback: false },
            attempts: Vec::new(),
            candidates: Vec::new(),
            all_healthy: false,
            choices: 0,
            open_choice: None,
            held_since: None,
            forgotten: 0,
            client_gone: false,
            broke: None,
            refusal: None,
            cut_attempts: 0,
            cut_choices: CutChoices { candidates: 0, gates: 0 },
            cut_before: CutChoices { candidates: 0, gates: 0 },
        }
    }

    /// The configuration that serves the request.
    pub fn config(&self) -> &Config {
        self.fragments.config()
    }

    /// The body has been read.
    pub fn read(&mut self, facts: &Facts) {
        self.needs = Some(Facts {
            model: ModelField::Absent,
            model_spans: Default::default(),
            usage_spots: UsageSpots::default(),
            references: None,
            ..*facts
        });
    }

    /// The facts of its body; `None` when it could not be read.
    pub const fn needs(&self) -> Option<&Facts> {
        self.needs.as_ref()
    }

    /// Notes that a choice is among all of the model's targets and that nothing speaks against any of them.
    /// That is the usual first choice, so it is not listed. `false` if it must be listed.
    pub fn choose_among_healthy(&mut self) -> bool {
        if self.choices > 0 || self.model_fragments().is_none_or(|model| model.healthy.is_empty()) {
            return false;
        }
        self.begin_choice();
        self.all_healthy = true;
        true
    }

    /// Notes the targets of a choice.
    pub fn choose_among(&mut self, candidates: impl Iterator<Item = CandidateBuilder>) {
        self.begin_choice();
        let unlisted = self.healthy_choice(Some(0)).map_or(0, |model| model.targets);
        self.candidates.reserve_exact(candidates.size_hint().0.min(MAX_CANDIDATES));
        let mut room =
            MAX_GATES.saturating_sub(self.candidates.iter().map(|candidate| candidate.gates.len()).sum());
        for mut candidate in candidates {
            if self.candidates.len().saturating_add(unlisted) >= MAX_CANDIDATES {
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

    /// An earlier choice that led to no attempt is replaced: a request that is held chooses again and again.
    fn begin_choice(&mut self) {
        let start = *self.open_choice.get_or_insert(self.candidates.len());
        self.candidates.truncate(start);
        self.cut_choices = self.cut_before;
        self.all_healthy &= self.choices > 0;
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

    /// An attempt is over. Of simultaneous attempts, the later one may end first.
    pub fn attempt_ended(&mut self, attempt: AttemptEntry) {
        if self.attempts.len() >= MAX_ATTEMPTS {
            self.cut_attempts = self.cut_attempts.saturating_add(1);
            return;
        }
        // Most requests have one attempt.
        self.attempts.reserve_exact(1);
        let before = self.attempts.iter().take_while(|other| other.start.slot <= attempt.start.slot).count();
        self.attempts.insert(before, attempt);
    }

    /// Whether there was more than one attempt.
    pub const fn has_moved(&self) -> bool {
        self.attempts.len() > 1
    }

    /// The attempts that are over, in the order in which they were made.
    pub(super) fn attempts(&self) -> &[AttemptEntry] {
        &self.attempts
    }

    /// The number of an attempt, from 1.
    pub(super) fn number_of(&self, slot: usize) -> u64 {
        (slot as u64).saturating_add(1).saturating_add(self.forgotten.into())
    }

    /// Whether an earlier attempt went to the same target.
    pub(super) fn was_tried_before(&self, attempt: &AttemptEntry) -> bool {
        let AttemptStart { slot, target, .. } = attempt.start;
        self.attempts.iter().any(|other| other.start.slot < slot && other.start.target == target)
    }

    /// Whether the last choice has led to no attempt.
    pub(super) const fn has_open_choice(&self) -> bool {
        self.open_choice.is_some()
    }

    /// The model, if nothing spoke against any of its targets in this choice. `None` means the last choice.
    pub(super) fn healthy_choice(&self, choice: Option<u8>) -> Option<&ModelFragments> {
        if self.all_healthy && choice.unwrap_or(self.choices) == 0 { self.model_fragments() } else { None }
    }

    fn model_fragments(&self) -> Option<&ModelFragments> {
        let RequestedModel::Known(model) = self.model else { return None };
        self.fragments.model(model)
    }

    /// The listed targets of a choice. `None` means the last choice, if it has led to no attempt.
    pub(super) fn listed(&self, choice: Option<u8>) -> impl Iterator<Item = &CandidateBuilder> {
        let start = if choice.is_some() { Some(0) } else { self.open_choice };
        let candidates = start.and_then(|start| self.candidates.get(start..)).unwrap_or_default();
        candidates.iter().filter(move |candidate| choice.is_none_or(|choice| candidate.choice == choice))
    }

    /// The numbers of cut attempts, and of cut candidates and gates.
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
