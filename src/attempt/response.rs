//! The response side of an attempt: headers, body and trailers, up to the commit point and past it.
//!
//! Before the commit point the response has a gatekeeper, afterwards a follower (`src/answer`). Responses
//! with an error status are always held, because only their body tells which failure it is. Of a successful
//! response no more than its beginning is held, and it is read to its end: a 200 and a first token do not
//! make a success.

use std::rc::Rc;
use std::time::Duration;

use super::origin::Origin;
use super::{Answer, Attempt};
use crate::answer::{
    ChunkReport, Follower, Gatekeeper, Rejection, Release, Terms, Verdict, forbid_buffering_of_streams,
    strip_provider, strip_reserved,
};
use crate::balance::{LoadSign, LoadSignal, Pace};
use crate::base::{ErrorClass, HeaderBlock, HeaderSink, Timestamp};
use crate::config::OnBreak;
use crate::outcome::AnsweredBy;
use crate::provider::{self, ProviderKind};
use crate::request::BodyBuffer;
use crate::retry::Received;
use crate::stream::{Alarm, MAX_CHOICES};

/// How long the rest of a response may take that an error has replaced.
const MAX_REST: Duration = Duration::from_secs(1);

/// The headers of a response.
pub struct ResponseHead {
    /// The headers.
    pub headers: HeaderBlock,
    /// The status.
    pub status: u16,
    /// Whether the response has no body.
    pub end_of_stream: bool,
}

/// What a piece of the response means.
pub enum Progress {
    /// The response is still held.
    Held,
    /// Nothing: the response was discarded, or has not begun.
    Ignored,
    /// Envoy's own rate limit held the request back. Its response passes.
    HeldBack,
    /// The response is a failure, and the client has got nothing of it.
    Rejected(Rejection),
    /// The commit point is passed: the client gets what was held.
    Commits(Passage),
    /// The client gets more of the response.
    Passes(Passage),
}

/// What follows from the trailers of a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrailersEnd {
    /// They pass.
    Pass,
    /// They end a response of which so many bytes are held.
    OfHeld(usize),
    /// They end a response in the middle. They are held until the client has been told.
    Cut,
}

/// Bytes that go to the client, and what they show.
pub struct Passage {
    /// How the host releases it.
    pub release: Release,
    /// What the stream has turned out to be, once that is certain.
    pub settled: Option<Result<(), ErrorClass>>,
}

impl Attempt {
    /// Whether the host that has the request could matter and is not known: the attempt's outcome is open.
    pub const fn asks_host(&self) -> bool {
        self.admission.is_some() && self.observed.host.is_none()
    }

    /// The host that had the request is known, by a hash of its address.
    pub const fn note_host(&mut self, host: Option<u64>) {
        self.observed.host = host;
    }

    /// The response's headers have come. `origin` is called only for an error status, and `could_move` only
    /// if it decides whether the response is held. Both are costly.
    pub fn headers(
        &mut self,
        head: ResponseHead,
        now: Timestamp,
        origin: impl FnOnce() -> Origin,
        could_move: impl FnOnce() -> bool,
        sink: &mut impl HeaderSink,
    ) -> Progress {
        let ResponseHead { headers, status, end_of_stream } = head;
        self.watch.bytes_received(now);
        self.observed.headers(status, &headers, now);
        let Some(kind) = self.provider_kind() else { return Progress::Ignored };
        if let Some(under_way) = &mut self.under_way {
            let limits = || provider::rate_limits(kind, &headers, self.request.generation.moment(now));
            let reported = if self.request.endpoint.runs_model() { limits() } else { None };
            under_way.answered(&self.request.generation, reported.as_ref(), now);
        }
        if (200..300).contains(&status) {
            self.strip(&headers, sink);
            forbid_buffering_of_streams(&headers, sink);
            let gatekeeper = self.gatekeeper_of_success(kind, headers, end_of_stream, now);
            return self.begin_answer(gatekeeper, end_of_stream, could_move, now, sink);
        }
        let gatekeeper = match origin() {
            // Envoy's rate limit refused it before any target was asked, and applies to every target.
            Origin::Envoy { .. } if status == 429 => {
                strip_reserved(&headers, sink);
                return self.held_back();
            }
            Origin::Envoy { received } => self.of_envoy(kind, status, &headers, received, sink),
            Origin::NoCluster => {
                self.lacks_cluster = true;
                self.of_envoy(kind, status, &headers, Received::Never, sink)
            }
            Origin::Upstream => {
                self.strip(&headers, sink);
                Gatekeeper::of_error(kind, status, headers).foreign(self.translating.is_some())
            }
        };
        if end_of_stream { self.end_without_body(gatekeeper, now, sink) } else { self.hold(gatekeeper) }
    }

    /// The gatekeeper of a response that Envoy made.
    fn of_envoy(
        &mut self,
        kind: ProviderKind,
        status: u16,
        headers: &HeaderBlock,
        received: Received,
        sink: &mut impl HeaderSink,
    ) -> Gatekeeper {
        strip_reserved(headers, sink);
        self.observed.answered_by = Some(AnsweredBy::Envoy);
        self.observed.unsent = received == Received::Never;
        Gatekeeper::of_envoy(kind, status, received)
    }

    /// Removes the headers that are not for the client.
    fn strip(&self, headers: &HeaderBlock, sink: &mut impl HeaderSink) {
        // Another dialect has other names for rate limits.
        let one_account =
            self.translating.is_none() && self.request.model().is_some_and(|model| model.one_account);
        strip_provider(headers, one_account, sink);
    }

    fn provider_kind(&self) -> Option<ProviderKind> {
        let config = self.request.config();
        Some(config.provider(config.target(self.start.target)?.provider)?.kind)
    }

    /// The gatekeeper of a response with a success status. `None` if its body cannot be read.
    fn gatekeeper_of_success(
        &self,
        kind: ProviderKind,
        headers: HeaderBlock,
        end: bool,
        now: Timestamp,
    ) -> Option<Gatekeeper> {
        let terms = Terms {
            kind,
            endpoint: self.called_endpoint(),
            streamed: self.request.facts.stream,
            gate: self.gate,
            empty_stop: self.request.empty_stop(),
            hides_usage: self.injects_usage,
            model_name: self.request.response_model(),
            learns: self.request.keeps_state() && self.translating.is_none(),
            translate: self
                .translating
                .as_ref()
                .map(|translating| Rc::new(translating.answer(&self.request, now))),
        };
        // A success without a body is not an answer, whatever its type.
        if end { Some(Gatekeeper::of_nothing(kind)) } else { Gatekeeper::of_success(terms, headers) }
    }

    /// Holds the response if it is to be judged. Otherwise it passes.
    fn begin_answer(
        &mut self,
        gatekeeper: Option<Gatekeeper>,
        end: bool,
        could_move: impl FnOnce() -> bool,
        now: Timestamp,
        sink: &mut impl HeaderSink,
    ) -> Progress {
        let gate_is_over = self.gate_is_over(now);
        match gatekeeper {
            Some(mut gatekeeper) => {
                if !gatekeeper.holds(gate_is_over, could_move) {
                    Progress::Commits(self.commit_headers(Some(gatekeeper), end, now, sink))
                } else if end {
                    self.end_without_body(gatekeeper, now, sink)
                } else {
                    self.hold(gatekeeper)
                }
            }
            None => Progress::Commits(self.commit_headers(None, end, now, sink)),
        }
    }

    fn hold(&mut self, gatekeeper: Gatekeeper) -> Progress {
        self.answer = Answer::Held(gatekeeper);
        Progress::Held
    }

    fn held_back(&mut self) -> Progress {
        self.observed.answered_by = Some(AnsweredBy::Envoy);
        self.observed.unsent = true;
        self.observed.held_back = true;
        self.watch.finish();
        self.answer = Answer::Passed(Follower::of_failure());
        Progress::HeldBack
    }

    /// The response has no body: its headers decide.
    fn end_without_body(
        &mut self,
        mut gatekeeper: Gatekeeper,
        now: Timestamp,
        sink: &mut impl HeaderSink,
    ) -> Progress {
        match gatekeeper.end(self.request.generation.wall_time(now)) {
            Verdict::Reject(rejection) => self.reject(rejection),
            Verdict::Hold | Verdict::Commit { .. } => {
                Progress::Commits(self.commit_headers(None, true, now, sink))
            }
        }
    }

    fn reject(&mut self, rejection: Rejection) -> Progress {
        Progress::Rejected(self.noted(rejection))
    }

    /// The rejection, after the record has got what it says.
    pub(super) fn noted(&mut self, mut rejection: Rejection) -> Rejection {
        // If the filter added nothing, the client did.
        rejection.failed.rejects_addition &= self.injects_usage;
        self.observed.stream = rejection.stream;
        self.observed.failure(&rejection.failure);
        rejection
    }

    /// The response passes the commit point with its headers.
    fn commit_headers(
        &mut self,
        gatekeeper: Option<Gatekeeper>,
        end: bool,
        now: Timestamp,
        sink: &mut impl HeaderSink,
    ) -> Passage {
        if end {
            // Headers alone are not content, but a complete response is.
            self.content(0, now);
            self.watch.finish();
        }
        let wants_insertion = self.wants_insertion();
        let follower =
            gatekeeper.map_or_else(Follower::unread, |gatekeeper| gatekeeper.commit(wants_insertion, sink));
        self.answer = Answer::Passed(follower);
        Passage { release: Release::Pass, settled: None }
    }

    /// More of the response has come. The host's buffer holds `available` bytes: while the response is held
    /// all of it, afterwards what has not been released.
    pub fn chunk(
        &mut self,
        host: &mut (impl HeaderSink + BodyBuffer),
        available: usize,
        end: bool,
        now: Timestamp,
    ) -> Progress {
        self.watch.bytes_received(now);
        self.observed.chunk(now);
        if end {
            self.watch.finish();
        }
        if let Answer::Passed(follower) = &mut self.answer {
            let report = follower.chunk(host, available, end);
            return Progress::Passes(self.passage(report, now));
        }
        self.observed.bytes = self.observed.bytes.max(available as u64);
        let Answer::Held(gatekeeper) = &mut self.answer else { return Progress::Ignored };
        match gatekeeper.chunk(host, available, end, self.request.generation.wall_time(now)) {
            Verdict::Hold => {
                if gatekeeper.is_whole() {
                    self.watch.finish_reasons_received(false, now);
                }
                Progress::Held
            }
            Verdict::Reject(rejection) => self.reject(rejection),
            Verdict::Commit { content } => {
                if content {
                    self.content(0, now);
                }
                let report = self.commit(host, |follower, host| follower.pass_held(host, available, end));
                report.map_or(Progress::Ignored, |report| Progress::Commits(self.passage(report, now)))
            }
        }
    }

    /// What is held goes to the client now, outside of the callback in which it came. `None` if nothing is
    /// held.
    pub fn open_gate(
        &mut self,
        host: &mut (impl HeaderSink + BodyBuffer),
        now: Timestamp,
    ) -> Option<Passage> {
        let held = self.held()?;
        let report = self.commit(host, |follower, host| follower.pass_held_outside_callback(host, held))?;
        Some(self.passage(report, now))
    }

    /// The response ends with trailers.
    pub fn trailers(&mut self, host: &mut impl BodyBuffer, now: Timestamp) -> TrailersEnd {
        self.watch.finish();
        match &mut self.answer {
            Answer::Held(gatekeeper) => TrailersEnd::OfHeld(gatekeeper.held()),
            Answer::Passed(follower) => {
                if !follower.end_with_trailers(host) {
                    return TrailersEnd::Pass;
                }
                self.watch.end_by(now, Alarm::Cut);
                TrailersEnd::Cut
            }
            Answer::Awaited | Answer::Discarded => TrailersEnd::Pass,
        }
    }

    /// How many bytes are held, if the response is held.
    pub fn held(&self) -> Option<usize> {
        match &self.answer {
            Answer::Held(gatekeeper) => Some(gatekeeper.held()),
            _ => None,
        }
    }

    /// What was staged has been released.
    pub fn released(&mut self) {
        if let Answer::Passed(follower) = &mut self.answer {
            follower.released();
        }
    }

    /// What was to be staged went at once, because the host has no later callback for it.
    pub fn cannot_stage(&mut self) {
        if let Answer::Passed(follower) = &mut self.answer {
            follower.cannot_stage();
        }
    }

    /// Passes the commit point with what is held.
    pub(super) fn commit<H: HeaderSink>(
        &mut self,
        host: &mut H,
        pass_held: impl FnOnce(&mut Follower, &mut H) -> ChunkReport,
    ) -> Option<ChunkReport> {
        let wants_insertion = self.wants_insertion();
        match std::mem::replace(&mut self.answer, Answer::Awaited) {
            Answer::Held(gatekeeper) => {
                let mut follower = gatekeeper.commit(wants_insertion, host);
                let report = pass_held(&mut follower, host);
                self.answer = Answer::Passed(follower);
                Some(report)
            }
            other => {
                self.answer = other;
                None
            }
        }
    }

    /// Whether the filter may have to insert text into the stream.
    fn wants_insertion(&self) -> bool {
        self.on_break == OnBreak::ErrorEvent || self.keep_alive.is_some()
    }

    pub(super) fn passage(&mut self, report: ChunkReport, now: Timestamp) -> Passage {
        let ChunkReport { release, new_bytes, content, forwarded, settled, finished_choices, is_cut } =
            report;
        self.observed.bytes = self.observed.bytes.saturating_add(new_bytes as u64);
        if let Some(events) = content {
            self.content(events, now);
        }
        if forwarded && let Some(keep_alive) = &mut self.keep_alive {
            keep_alive.bytes_sent(now);
        }
        if self.answer.has_ended_with_notice() {
            // The reset comes one tick later. Otherwise the notice would be lost.
            if !self.watch.is_over() {
                self.watch.end_by(now, Alarm::Idle);
            }
        } else if is_cut {
            self.watch.end_by(now, Alarm::Cut);
        } else if settled.is_some() {
            self.watch.complete(now);
        } else if finished_choices.is_some_and(|finished| finished >= self.choices_asked_for()) {
            self.watch.finish_reasons_received(content.is_some(), now);
        } else {
            self.watch.unfinished(now);
        }
        Passage { release, settled }
    }

    /// How many choices the client has asked for, as far as they can be told apart.
    fn choices_asked_for(&self) -> u32 {
        self.request.facts.n.map_or(1, |n| u32::try_from(n.min(MAX_CHOICES)).unwrap_or(1))
    }

    /// Content has come, in this many events.
    pub(super) fn content(&mut self, events: u64, now: Timestamp) {
        self.watch.content_received(events, now);
        if self.first_content.is_some() {
            return;
        }
        let took = now.since(self.sent_at());
        self.first_content = Some(took);
        self.observed.content_at = Some(now);
        let generation = &self.request.generation;
        let (target, sent_at) = (self.start.target, self.sent_at());
        generation.speeds.borrow_mut().first_content(target, self.request.facts.stream, sent_at, now);
        generation.pending.borrow_mut().first_content(target, took);
        if self.request.facts.stream {
            let sign = LoadSign::Answered(Some(Pace::FirstContent(took)));
            generation.headroom.borrow().note_load(target, LoadSignal { sent_at, at: now, sign });
        }
        let tolerated = generation.config.breaker.slow_first_content;
        self.is_slow = tolerated.is_some_and(|tolerated| took > tolerated);
    }

    /// Replaces the provider's status.
    pub fn show_status(&mut self, status: u16, sink: &mut impl HeaderSink) {
        sink.set(":status", &status.to_string());
        self.shows_status(status);
    }

    /// The client sees this status in place of the provider's.
    pub const fn shows_status(&mut self, status: u16) {
        self.observed.shown_status = Some(status);
    }

    /// The edge discards the response.
    pub fn discard(&mut self) {
        self.answer = Answer::Discarded;
    }

    /// The client gets the failure as it is. Nothing more is read of it.
    pub fn pass_failure(&mut self) {
        self.answer = Answer::Passed(Follower::of_failure());
    }

    /// The client has got an error in place of what came of the response. The rest goes no further, and if it
    /// does not end soon, it is reset.
    pub fn drop_rest(&mut self, now: Timestamp) {
        self.watch.end_by(now.after(MAX_REST), Alarm::Idle);
        self.answer = Answer::Passed(Follower::replaced());
    }
}
