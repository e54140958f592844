//! The response's half of one pass: what the journey makes of the headers and the body.

use std::time::Duration;

use super::attempt::{AnswerPhase, Attempt};
use super::attempt_state::{Passage, Progress};
use super::exchange::{Exchange, Phase};
use super::origin::Origin;
use super::outcome::{End, StreamEnd};
use super::plan::Detour;
use super::refusal::ALL_FAILED;
use super::{ResponseStep, Worker};
use crate::answer::{
    Follower, Gatekeeper, HoldTerms, Rejection, Terms, Verdict, forbid_buffering, strip_reserved,
};
use crate::base::{ErrorClass, HeaderBlock, HeaderSink, Timestamp};
use crate::breaker::Blame;
use crate::provider::ProviderKind;
use crate::record::{AnsweredBy, AttemptEnd, Metric};
use crate::request::BodyBuffer;
use crate::retry::Received;

/// The private response header that makes the edge of the loop start another attempt.
pub(super) const RETRY_HEADER: &str = "x-llm-retry";

/// Why a request is refused that Envoy's own rate limit holds back.
const FLEET_RATE_LIMIT: &str = "fleet_rate_limit";

/// What the response's half needs of the host.
pub trait ResponseHost: HeaderSink + BodyBuffer {}
impl<H: HeaderSink + BodyBuffer> ResponseHost for H {}

impl Exchange {
    /// The response's headers have come. `origin` is asked only where the status says failure.
    pub fn response_headers(
        &mut self,
        worker: &mut Worker,
        headers: HeaderBlock,
        end_of_stream: bool,
        now: Timestamp,
        origin: impl FnOnce() -> Origin,
        sink: &mut impl HeaderSink,
    ) -> ResponseStep {
        let attempt = match &mut self.phase {
            Phase::Sent(attempt) => attempt,
            // The filter's own responses bear no reserved header, and none of a foreign one may make the edge ask again.
            Phase::Foreign => {
                strip_reserved(&headers, sink);
                return ResponseStep::Pass;
            }
            _ => return ResponseStep::Pass,
        };
        let status = headers.get(":status").and_then(|text| text.parse::<u16>().ok()).unwrap_or(0);
        // The filter's own response after an alarm comes by here too, when the attempt is past its headers.
        if (100..200).contains(&status) || !matches!(attempt.answer, AnswerPhase::Awaited) {
            return ResponseStep::Pass;
        }
        attempt.headers(status, &headers, now);
        strip_reserved(&headers, sink);
        let Some(kind) = attempt.provider_kind() else { return ResponseStep::Pass };
        attempt.hear_limits(kind, &headers, now);
        if (200..300).contains(&status) {
            forbid_buffering(&headers, sink);
            let gatekeeper = attempt.gatekeeper_of_success(kind, status, headers, end_of_stream);
            return attempt.begin_answer(worker, gatekeeper, end_of_stream, now, sink);
        }
        let gatekeeper = match origin() {
            // A rate limit of Envoy's own, behind this filter: no target was asked, and it holds for every target.
            Origin::Envoy { .. } if status == 429 => return attempt.held_back(worker, now, sink),
            Origin::Envoy { received } => {
                attempt.log.answered_by = Some(AnsweredBy::Envoy);
                attempt.log.unsent = received == Received::Never;
                Gatekeeper::of_envoy(kind, status, received)
            }
            Origin::Upstream => Gatekeeper::of_error(kind, status, headers),
        };
        if end_of_stream {
            attempt.end_without_body(worker, gatekeeper, now, sink)
        } else {
            attempt.hold(gatekeeper)
        }
    }

    /// More of the response has come. `available` is what the host's buffer holds: while the response is held all of it so
    /// far, afterwards just the new part.
    pub fn response_body<H: ResponseHost>(
        &mut self,
        worker: &mut Worker,
        available: usize,
        end_of_stream: bool,
        now: Timestamp,
        host: &mut H,
    ) -> ResponseStep {
        let Phase::Sent(attempt) = &mut self.phase else { return ResponseStep::Pass };
        match attempt.chunk(host, available, end_of_stream, now) {
            Progress::Held => ResponseStep::Hold,
            Progress::Ignored => ResponseStep::Pass,
            Progress::Passes(passage) => attempt.take_in(worker, passage, now),
            Progress::Commits(passage) => {
                attempt.answers(worker, host);
                attempt.take_in(worker, passage, now)
            }
            Progress::Rejected(rejection) => {
                // What is still to come would follow an error in the place of what has come.
                let held = end_of_stream.then_some(available);
                attempt.reject(worker, rejection, held, now, host)
            }
        }
    }

    /// What was staged has been released.
    pub fn released(&mut self) {
        if let Phase::Sent(attempt) = &mut self.phase {
            attempt.released();
        }
    }

    /// What was to be staged went at once, because the host has no other callback for it.
    pub fn cannot_stage(&mut self) {
        if let Phase::Sent(attempt) = &mut self.phase {
            attempt.cannot_stage();
        }
    }

    /// The response ends with trailers instead of a last piece of body.
    pub fn response_trailers<H: ResponseHost>(
        &mut self,
        worker: &mut Worker,
        now: Timestamp,
        host: &mut H,
    ) -> ResponseStep {
        let Phase::Sent(attempt) = &mut self.phase else { return ResponseStep::Pass };
        attempt.watch.over();
        match attempt.held() {
            Some(held) => self.response_body(worker, held, true, now, host),
            None => ResponseStep::Pass,
        }
    }
}

/// A response that says success.
impl Attempt {
    fn provider_kind(&self) -> Option<ProviderKind> {
        let journey = self.journey.borrow();
        let config = &journey.config;
        Some(config.provider(config.target(self.target)?.provider)?.kind)
    }

    /// What judges the response; `None` if its body cannot be read.
    fn gatekeeper_of_success(
        &self,
        kind: ProviderKind,
        status: u16,
        headers: HeaderBlock,
        end: bool,
    ) -> Option<Gatekeeper> {
        let journey = self.journey.borrow();
        let endpoint = journey.endpoint;
        let terms = Terms {
            kind,
            endpoint,
            streamed: journey.facts.stream,
            gate: self.gate,
            hides_usage: self.asked_usage,
            model_name: journey.answered_as(),
        };
        // A 200 without a body is not an answer, whatever its type.
        Gatekeeper::of_success(terms, headers)
            .or_else(|| (status == 200 && end).then(|| Gatekeeper::of_nothing(kind, endpoint)))
    }

    /// Holds the response if it is to be judged, else lets it pass.
    fn begin_answer(
        &mut self,
        worker: &mut Worker,
        gatekeeper: Option<Gatekeeper>,
        end: bool,
        now: Timestamp,
        sink: &mut impl HeaderSink,
    ) -> ResponseStep {
        match gatekeeper {
            Some(gatekeeper) if self.holds(&gatekeeper, now) => {
                if end {
                    self.end_without_body(worker, gatekeeper, now, sink)
                } else {
                    self.hold(gatekeeper)
                }
            }
            gatekeeper => {
                let passage = self.commit_headers(gatekeeper, end, now, sink);
                self.answers(worker, sink);
                self.take_in(worker, passage, now)
            }
        }
    }

    fn holds(&self, gatekeeper: &Gatekeeper, now: Timestamp) -> bool {
        let journey = self.journey.borrow();
        let terms =
            HoldTerms { gate_is_over: self.gate_is_over(now), in_retry_loop: journey.config.retry_loop };
        gatekeeper.holds(terms, || journey.could_move(now))
    }

    /// The response has no body: its headers decide.
    fn end_without_body(
        &mut self,
        worker: &mut Worker,
        mut gatekeeper: Gatekeeper,
        now: Timestamp,
        sink: &mut impl HeaderSink,
    ) -> ResponseStep {
        if let Verdict::Reject(rejection) = gatekeeper.end(now) {
            self.note_rejection(&rejection);
            if let Some(status) = rejection.appearance.status(None) {
                self.show_status(status, sink);
            }
            return self.fail(worker, rejection.failed, now, sink);
        }
        let passage = self.commit_headers(None, true, now, sink);
        self.answers(worker, sink);
        self.take_in(worker, passage, now)
    }

    /// The response goes to the client.
    pub(super) fn answers(&self, worker: &mut Worker, sink: &mut impl HeaderSink) {
        worker.tally.count(Metric::AttemptsAnswered);
        self.disclose(sink);
    }

    /// Takes in what the client gets of the response.
    ///
    /// A stream is reported as soon as it is certain what it has come to. Clients stop reading at a terminal event, and
    /// even more so at an error, so waiting for the end would take both for clients that merely left.
    pub(super) fn take_in(&mut self, worker: &mut Worker, passage: Passage, now: Timestamp) -> ResponseStep {
        let Passage { release, first_content, settled } = passage;
        if let Some(took) = first_content {
            self.tell_first_content(took, now);
        }
        if let Some(outcome) = settled {
            self.report_answer(worker, StreamEnd::of(outcome.err()), now);
        }
        release
    }

    /// Tells the balancing strategies how long the first content took.
    fn tell_first_content(&mut self, took: Duration, now: Timestamp) {
        let journey = self.journey.borrow();
        let streamed = journey.facts.stream;
        journey.pace.borrow_mut().first_content(self.target, streamed, self.sent_at, now);
        journey.pending.borrow_mut().first_content(self.target, took);
        let tolerated = journey.config.breaker.slow_first_content;
        self.slow = tolerated.is_some_and(|tolerated| took > tolerated);
    }

    /// Tells the client which target answers, with which model, after how many attempts and why.
    pub(super) fn disclose(&self, sink: &mut impl Disclosure) {
        let journey = self.journey.borrow();
        let Some(target) = journey.config.target(self.target) else { return };
        sink.tell("x-llm-target", &target.name);
        sink.tell("x-llm-model", &target.model);
        sink.tell("x-llm-attempts", &journey.attempts().to_string());
        if let Some(Detour { reason, from }) = self.detour {
            sink.tell("x-llm-fallback", reason);
            if let Some(from) = from.and_then(|from| journey.config.target(from)) {
                sink.tell("x-llm-fallback-from", &from.name);
            }
        }
        if let Some(warnings) = journey.budget_warnings() {
            sink.tell("x-llm-budget-warning", &warnings);
        }
    }
}

/// A response that is a failure.
impl Attempt {
    /// Envoy did not send the request; its response passes.
    fn held_back(&mut self, worker: &mut Worker, now: Timestamp, sink: &mut impl HeaderSink) -> ResponseStep {
        sink.set("x-llm-reason", FLEET_RATE_LIMIT);
        worker.tally.count(Metric::FleetRefusals);
        self.log.answered_by = Some(AnsweredBy::Envoy);
        self.log.unsent = true;
        self.log.then = Some(FLEET_RATE_LIMIT);
        self.log.ends(AttemptEnd::Failed, Some(ErrorClass::RateLimited));
        self.watch.over();
        self.report(worker, End::Withdrawn, Blame::NOBODY, now);
        self.answer = AnswerPhase::Passed(Follower::unread());
        ResponseStep::Pass
    }

    /// The held response is a failure. `held` is how much of its body is in the host's buffer, if that is all of it.
    fn reject(
        &mut self,
        worker: &mut Worker,
        rejection: Rejection,
        held: Option<usize>,
        now: Timestamp,
        host: &mut impl ResponseHost,
    ) -> ResponseStep {
        self.note_rejection(&rejection);
        let Rejection { failed, appearance, .. } = rejection;
        let next = self.failed(worker, failed, now);
        let replacement = held.zip(appearance.replacement(self.own_status(next, failed)));
        let replaced_by = replacement
            .filter(|(held, status)| self.replace_body(*status, *held, now, host))
            .map(|(_, status)| status);
        if let Some(status) = appearance.status(replaced_by) {
            self.show_status(status, host);
        }
        self.hand_on(worker, failed, next, now, host);
        if replaced_by.is_some() {
            host.set("x-llm-reason", ALL_FAILED);
        }
        ResponseStep::Pass
    }

    /// Another status takes the place of the provider's.
    fn show_status(&mut self, status: u16, sink: &mut impl HeaderSink) {
        sink.set(":status", &status.to_string());
        self.log.shown_status = Some(status);
    }

    fn note_rejection(&mut self, rejection: &Rejection) {
        self.log.stream = rejection.stream;
        self.log.said(&rejection.failure);
    }
}

/// Where the client is told which target answers: in the provider's headers, or in those of a response made here.
pub(super) trait Disclosure {
    fn tell(&mut self, name: &'static str, value: &str);
    /// Takes back what others have told.
    fn untell(&mut self, name: &'static str);
}

impl<S: HeaderSink> Disclosure for S {
    fn tell(&mut self, name: &'static str, value: &str) {
        self.set(name, value);
    }

    fn untell(&mut self, name: &'static str) {
        self.remove(name);
    }
}
