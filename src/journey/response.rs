//! The response's callbacks: what follows from each piece of the response to an attempt.

use std::borrow::Cow;
use std::rc::Rc;

use super::conclude::{failed, settle};
use super::exchange::{Exchange, Phase, Sent};
use super::worker::Worker;
use crate::answer::{Appearance, Rejection, Release, strip_provider, strip_reserved};
use crate::attempt::{Passage, Progress, ResponseHead, TrailersEnd, Upstream};
use crate::base::{Decimal, ErrorClass, HeaderBlock, HeaderSink, Timestamp, without_keys};
use crate::breaker::Blame;
use crate::config::{LastError, Mode};
use crate::outcome::{End, StreamEnd};
use crate::provider::MAX_ERROR_BODY;
use crate::record::Metric;
use crate::refusal::{ALL_FAILED, ClientRetry, Refusal};
use crate::report::{self, AttemptInfo, Disclosure};
use crate::request::BodyBuffer;
use crate::retry::{Failed, Next, Received, Stop};
use crate::survey::Survey;

/// The private response header that makes the edge of the loop start another attempt.
pub(super) const RETRY_HEADER: &str = "x-llm-retry";

/// The reason on a response that asks the edge for another attempt. A client sees it only if Envoy declines
/// to make one.
const RETRY_DECLINED: &str = "retry_declined";

/// The reason on a response with which Envoy's own rate limit holds a request back.
const FLEET_RATE_LIMIT: &str = "fleet_rate_limit";

/// What the response's callbacks need of the host.
pub trait ResponseHost: HeaderSink + BodyBuffer {}
impl<H: HeaderSink + BodyBuffer> ResponseHost for H {}

/// What there is of a body that is held.
#[derive(Debug, Clone, Copy)]
pub(super) struct HeldBody {
    /// How many bytes are in the host's buffer; `None` in a callback in which it has none.
    pub(super) bytes: Option<usize>,
    /// Nothing more will come.
    pub(super) is_all: bool,
}

impl Exchange {
    /// The response's headers have come. `upstream` is asked only after an error status, and for a sample of the
    /// others.
    pub fn response_headers<H: ResponseHost>(
        &mut self,
        worker: &mut Worker,
        headers: HeaderBlock,
        end_of_stream: bool,
        now: Timestamp,
        upstream: impl Upstream,
        host: &mut H,
    ) -> Release {
        let sent = match &mut self.phase {
            Phase::Sent(sent) => sent,
            // A header in a response from another path must not make the edge retry. For a request that was not sent
            // yet the response is Envoy's, which may take this filter for crashed.
            Phase::Foreign | Phase::Reading(_) | Phase::Held(_) => {
                strip_reserved(&headers, host);
                return Release::Pass;
            }
            Phase::AtAccount => {
                // What is left of the account's limits is for no client: others use it, too.
                strip_provider(&headers, false, host);
                return Release::Pass;
            }
            _ => return Release::Pass,
        };
        let status = headers.get(":status").and_then(|text| text.parse::<u16>().ok()).unwrap_or(0);
        // The filter's own response after a time limit passes here too. The attempt is past its headers then.
        if (100..200).contains(&status) || !sent.attempt.awaits_headers() {
            return Release::Pass;
        }
        let head = ResponseHead { headers, status, end_of_stream };
        let journey = Rc::clone(&sent.journey);
        if !worker.generation.config.retry_loop {
            // Nobody sends the body again. A provider that answers has read it, or reads no more of it.
            journey.borrow_mut().free_body();
        }
        let could_move = || journey.borrow().could_move(now);
        let target = sent.attempt.start().target;
        let asks_host = !(200..300).contains(&status) || {
            let journey = journey.borrow();
            journey.request.generation.host_samples.borrow_mut().is_due(target, now)
        };
        sent.attempt.note_host(if asks_host { upstream.host() } else { None });
        sent.attempt.note_pause(worker.unnoticed_pause(now), now);
        let progress = sent.attempt.headers(head, now, || upstream.origin(), could_move, host);
        sent.proceed(worker, progress, HeldBody { bytes: None, is_all: end_of_stream }, now, host)
    }

    /// Whether it would help to know the host that has the request: the attempt may be about to fail.
    pub const fn asks_host(&self) -> bool {
        matches!(&self.phase, Phase::Sent(sent) if sent.attempt.asks_host())
    }

    /// The host that has the request, by a hash of its address. `None` if no host has it yet.
    pub const fn note_host(&mut self, host: Option<u64>) {
        if let Phase::Sent(sent) = &mut self.phase {
            sent.attempt.note_host(host);
        }
    }

    /// More of the response has come. `available` is what the host's buffer holds: all of the response so
    /// far while it is held, and only the new part afterwards.
    pub fn response_body<H: ResponseHost>(
        &mut self,
        worker: &mut Worker,
        available: usize,
        end_of_stream: bool,
        now: Timestamp,
        host: &mut H,
    ) -> Release {
        let Phase::Sent(sent) = &mut self.phase else { return Release::Pass };
        let awaited_content = sent.attempt.awaits_content();
        if awaited_content {
            sent.attempt.note_pause(worker.unnoticed_pause(now), now);
        }
        let progress = sent.attempt.chunk(host, available, end_of_stream, now);
        if awaited_content && !sent.attempt.awaits_content() {
            sent.answer_begins(worker, true, now);
        }
        let held = HeldBody { bytes: Some(available), is_all: end_of_stream };
        let release = sent.proceed(worker, progress, held, now, host);
        self.release_if_answered(worker, now);
        release
    }

    /// The response ends with trailers instead of a last piece of body.
    pub fn response_trailers<H: ResponseHost>(
        &mut self,
        worker: &mut Worker,
        now: Timestamp,
        host: &mut H,
    ) -> Release {
        let Phase::Sent(sent) = &mut self.phase else { return Release::Pass };
        match sent.attempt.trailers(host, now) {
            TrailersEnd::OfHeld(held) => self.response_body(worker, held, true, now, host),
            TrailersEnd::Pass => Release::Pass,
            TrailersEnd::Cut => Release::Hold,
        }
    }

    /// What was staged has been released.
    pub fn released(&mut self) {
        if let Phase::Sent(sent) = &mut self.phase {
            sent.attempt.released();
        }
    }

    /// What was to be staged went at once, because the host has no later callback for it.
    pub fn cannot_stage(&mut self) {
        if let Phase::Sent(sent) = &mut self.phase {
            sent.attempt.cannot_stage();
        }
    }

    /// Whether an attempt is under way.
    #[cfg(test)]
    pub(super) fn is_under_way(&self) -> bool {
        matches!(&self.phase, Phase::Sent(sent) if sent.attempt.is_under_way())
    }

    /// Whether the time of the next chunk must be exact to the millisecond: content may pass with it. The host's buffer
    /// holds `available` bytes.
    pub fn needs_exact_time(&self, available: usize) -> bool {
        matches!(&self.phase, Phase::Sent(sent)
            if sent.attempt.awaits_content() && !sent.attempt.holds_all_of(available))
    }
}

impl Sent {
    fn proceed<H: ResponseHost>(
        &mut self,
        worker: &mut Worker,
        progress: Progress,
        held: HeldBody,
        now: Timestamp,
        host: &mut H,
    ) -> Release {
        match progress {
            Progress::Held => Release::Hold,
            Progress::Ignored => Release::Pass,
            Progress::Passes(passage) => self.pass(worker, passage, now),
            Progress::Commits(passage) => {
                self.commits(worker, now, host);
                self.pass(worker, passage, now)
            }
            Progress::Rejected(rejection) => self.reject(worker, rejection, held, now, host),
            Progress::HeldBack => {
                host.set("x-llm-reason", FLEET_RATE_LIMIT);
                worker.tally.count(Metric::FleetRefusals);
                self.attempt.failed(None, FLEET_RATE_LIMIT);
                settle(self, worker, End::Withdrawn, Received::Never, Blame::NEUTRAL, now);
                Release::Pass
            }
        }
    }

    /// The response goes to the client.
    pub(super) fn commits(&self, worker: &mut Worker, now: Timestamp, sink: &mut impl HeaderSink) {
        log::debug!("response of attempt {} goes to the client", self.attempt.slot() + 1);
        worker.tally.count(Metric::AttemptsAnswered);
        if self.journey.borrow().failures.are_owed() {
            self.journey.borrow_mut().is_served(&mut worker.effects(), now);
        }
        self.disclose(sink);
    }

    /// More of the response goes to the client. A stream is settled as soon as its outcome is certain:
    /// clients stop reading at a terminal event, and at an error, so waiting for the end would take both
    /// for clients that merely left.
    pub(super) fn pass(&mut self, worker: &mut Worker, passage: Passage, now: Timestamp) -> Release {
        if let Some(result) = passage.settled {
            self.settle_response(worker, StreamEnd::of(result.err()), now);
        }
        passage.release
    }

    /// A name of a model that the client has made up may be unknown to a provider that does nothing wrong.
    fn blame_for(&self, failure: Failed) -> Blame {
        let made_up = || self.journey.borrow().request.names_model_of(self.attempt.start().target);
        if failure.class == ErrorClass::NotFound && made_up() {
            return Blame::ANSWERED;
        }
        Blame::of(failure.class, failure.hint)
    }

    /// The response is a failure, and the client has got nothing of it.
    pub(super) fn reject<H: ResponseHost>(
        &mut self,
        worker: &mut Worker,
        rejection: Rejection,
        held: HeldBody,
        now: Timestamp,
        host: &mut H,
    ) -> Release {
        let Rejection { failed: failure, appearance, label, message, .. } = rejection;
        let next = failed(self, worker, failure, self.blame_for(failure), now);
        let is_bodiless = matches!(held, HeldBody { bytes: None, is_all: true });
        if is_bodiless
            && matches!(next, Next::Stop(_))
            && let Some(status) = appearance.status_in_place(self.own_status(next, failure))
        {
            // A response without a body cannot be given one in this callback.
            self.attempt.shows_status(status);
            self.in_place = Some(self.answer_in_place(worker, failure, next, status, now));
            return Release::Hold;
        }
        // Nothing of a response without an answer has to pass. Its rest would follow the error.
        let is_final = matches!(next, Next::Stop(_));
        let may_drop_rest = is_final && matches!(appearance, Appearance::Answer { .. });
        let replaceable = held.bytes.filter(|_| held.is_all || may_drop_rest);
        let refusal = self.state_elsewhere(next, now);
        let told = match (&refusal, appearance) {
            (None, Appearance::Foreign { status }) => {
                message.map(|message| Refusal::Told { status, message })
            }
            _ => None,
        };
        let own_status = refusal.as_ref().map(|refusal| refusal.code().0);
        let replacement =
            replaceable.zip(appearance.replacement(own_status.or_else(|| self.own_status(next, failure))));
        let invites = refusal.as_ref().is_some_and(|refusal| !refusal.client_retry().forbids_retries());
        let reason = refusal.as_ref().map_or(ALL_FAILED, |refusal| refusal.code().1);
        let replaced_by = replacement
            .filter(|(held, status)| self.replace_body(*status, refusal.or(told), *held, now, host))
            .map(|(_, status)| own_status.unwrap_or(status));
        if let (None, Some(label)) = (replaced_by, label) {
            host.set("content-type", label);
        }
        if let Some(status) = appearance.status(replaced_by) {
            self.attempt.show_status(status, host);
        }
        if replaced_by.is_none()
            && let Some(bytes) = held.bytes.filter(|_| held.is_all)
        {
            self.hide_keys(bytes, host);
        }
        self.hand_on(worker, failure, next, now, host);
        if replaced_by.is_some() {
            host.set("x-llm-reason", reason);
            // The account may be back sooner than anything says.
            if invites {
                host.remove(b"x-should-retry");
            }
            if !held.is_all {
                self.attempt.drop_rest(now);
            }
        }
        Release::Pass
    }

    /// Marks a failed response for the edge, or completes it for the client.
    fn hand_on(
        &mut self,
        worker: &mut Worker,
        failed: Failed,
        next: Next,
        now: Timestamp,
        sink: &mut impl HeaderSink,
    ) {
        // Disclosed in any case, because the client gets this response if Envoy declines to retry.
        self.disclose(sink);
        report::count_decision(next, &mut worker.tally);
        let Next::Stop(stop) = next else {
            sink.set(RETRY_HEADER, failed.class.name());
            sink.set("x-llm-reason", RETRY_DECLINED);
            self.attempt.discard();
            return;
        };
        let journey = self.journey.borrow();
        journey.advise(stop, failed, now, sink);
        if stop == Stop::NothingLeft
            && let Some(survey) = Survey::take(&journey.request, journey.progress(), now)
        {
            report::tell_ineligible(&survey, sink);
            tell_would_fall_back(&survey, failed, worker, sink);
        }
        drop(journey);
        self.attempt.pass_failure();
    }

    /// The status of the filter's own error, if the operator wants it instead of the provider's.
    fn own_status(&self, next: Next, failed: Failed) -> Option<u16> {
        let journey = self.journey.borrow();
        let own = journey.request.model()?.retry.last_error == LastError::Own;
        match next {
            Next::Stop(stop) if own && stop.is_filter_decision() => {
                Some(report::status_after(Some(failed.class)))
            }
            _ => None,
        }
    }

    /// The refusal that the client gets if only the account that failed has what the request refers to.
    fn state_elsewhere(&self, next: Next, now: Timestamp) -> Option<Refusal> {
        let Next::Stop(stop) = next else { return None };
        self.journey.borrow().state_elsewhere(stop, now)
    }

    /// Replaces the held body with `refusal`, or with an error that lists what was tried.
    fn replace_body<H: ResponseHost>(
        &self,
        status: u16,
        refusal: Option<Refusal>,
        held: usize,
        now: Timestamp,
        host: &mut H,
    ) -> bool {
        let refusal =
            refusal.unwrap_or_else(|| self.journey.borrow().exhausted(status, ClientRetry::Unsaid, now));
        let answer = refusal.answer(self.attempt.dialect());
        if host.replace_front(held, answer.body.as_bytes()).is_err() {
            return false;
        }
        host.set("content-type", "application/json");
        host.set("content-length", &answer.body.len().to_string());
        for (name, value) in &answer.headers {
            host.set(name, value);
        }
        true
    }

    /// Takes keys out of the provider's error: the key that it quotes is the operator's. A client's own key may
    /// stay.
    fn hide_keys<H: ResponseHost>(&self, held: usize, host: &mut H) {
        let journey = self.journey.borrow();
        let config = journey.request.config();
        let account =
            config.target(self.attempt.start().target).and_then(|target| config.account(target.account));
        if held > MAX_ERROR_BODY || account.is_none_or(|account| !account.key.is_own()) {
            return;
        }
        let Ok(body) = host.read(0, held) else { return };
        if let Ok(text) = std::str::from_utf8(&body)
            && let Cow::Owned(hidden) = without_keys(text)
            && host.replace_front(held, hidden.as_bytes()).is_ok()
        {
            host.set("content-length", Decimal::of(hidden.len() as u64).as_str());
        }
    }

    /// Tells the client which target answers, with which model, after how many attempts and why.
    pub(super) fn disclose(&self, sink: &mut impl Disclosure) {
        let journey = self.journey.borrow();
        let info = AttemptInfo {
            target: self.attempt.start().target,
            attempts: journey.attempts(),
            why: self.attempt.fallback_reason(),
            reasoning_dropped: self.attempt.drops_reasoning(),
            translated: self.attempt.start().translated,
            warnings: journey.warnings,
        };
        report::disclose(&journey.request, info, sink);
    }
}

/// In the shadow mode of substitution: says which target would have been asked now.
fn tell_would_fall_back(
    survey: &Survey<'_>,
    failed: Failed,
    worker: &mut Worker,
    sink: &mut impl HeaderSink,
) {
    let model = survey.model();
    if model.substitution.mode != Mode::Shadow || !model.fallback_on.contains(failed.class) {
        return;
    }
    if let Some(target) = survey.would_move_to() {
        worker.tally.count(Metric::FallbackWouldMove);
        sink.set("x-llm-would-fallback", survey.request.target_name(target));
    }
}
