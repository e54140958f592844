//! One pass of the filter: the answer's half.

use super::Worker;
use super::attempt::{AnswerPhase, Attempt};
use super::exchange::{Exchange, Phase};
use super::flow::Passing;
use super::judge::{Judge, Verdict};
use super::origin::Origin;
use super::outcome::{End, StreamEnd};
use super::plan::Detour;
use super::refusal::ALL_FAILED;
use super::renaming::Rename;
use crate::base::{ErrorClass, HeaderBlock, HeaderSink, Timestamp};
use crate::breaker::Blame;
use crate::config::OnBreak;
use crate::provider::{Failure, ProviderKind};
use crate::record::{AnsweredBy, AttemptEnd, Metric};
use crate::request::BodyBuffer;
use crate::retry::Received;

/// The private response header that makes the edge of the loop start another attempt.
pub(super) const RETRY_HEADER: &str = "x-llm-retry";

/// What a request is refused for that Envoy's own rate limit holds back.
const FLEET_RATE_LIMIT: &str = "fleet_rate_limit";

/// The status of a failure that its provider's status calls a success.
const BAD_GATEWAY: u16 = 502;

/// What the answer's half needs of the host.
pub trait ResponseHost: HeaderSink + BodyBuffer {}
impl<H: HeaderSink + BodyBuffer> ResponseHost for H {}

/// What the host does next with the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResponseStep {
    /// Hold headers and body, and go on reading.
    Hold,
    /// Let everything go that is held, and what follows.
    Pass,
    /// Hold what there is and release it by itself, in a callback of another kind: see [`Exchange::released`].
    Stage,
    /// Hold what there is and release it in this callback.
    Flow,
}

impl Exchange {
    /// The answer's headers have come. `origin` is asked only where the status says failure.
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
            // The filter's own answers bear no such header, and nothing of a foreign answer may make the edge ask again.
            Phase::Foreign => {
                strip_ours(&headers, sink);
                return ResponseStep::Pass;
            }
            _ => return ResponseStep::Pass,
        };
        let status = headers.get(":status").and_then(|text| text.parse::<u16>().ok()).unwrap_or(0);
        if (100..200).contains(&status) {
            return ResponseStep::Pass;
        }
        // An answer of the filter's own, after an alarm, comes by here too.
        if !matches!(attempt.answer, AnswerPhase::Awaited) {
            return ResponseStep::Pass;
        }
        attempt.watch.bytes_received(now);
        attempt.log.headers(status, &headers, now);
        strip_ours(&headers, sink);
        let Some(kind) = attempt.provider_kind() else { return ResponseStep::Pass };
        attempt.hear_limits(kind, &headers, now);
        if (200..300).contains(&status) {
            stream_headers(&headers, sink);
            let (endpoint, streamed) = {
                let journey = attempt.journey.borrow();
                (journey.endpoint, journey.facts.stream)
            };
            let announced = headers.get_bytes("content-length").is_some();
            let mut judge = Judge::of_success(kind, endpoint, headers, streamed, attempt.gate);
            if attempt.asked_usage {
                judge = judge.map(Judge::sparing_usage);
            }
            if let Some(to) = attempt.journey.borrow().answered_as() {
                judge = judge.map(|judge| judge.renaming(Rename { to, announced }));
            }
            // A 200 without a body is no answer, whatever type it would have had.
            if judge.is_none() && status == 200 && end_of_stream {
                judge = Some(Judge::of_nothing(kind, endpoint));
            }
            // Where a failure could lead nowhere else, nothing is gained by holding a stream: it can tell of it in its course.
            // A plain answer can do so by its status only, which goes first.
            let late = attempt.gate_is_over(now);
            let hold = judge.as_ref().is_some_and(|judge| {
                let journey = attempt.journey.borrow();
                !judge.opens_at_once(late)
                    && (journey.could_move(now) || (journey.config.retry_loop && judge.is_plain()))
            });
            return match judge {
                Some(judge) if (hold || judge.is_page()) && end_of_stream => {
                    attempt.end_without_body(worker, judge, now, sink)
                }
                // A page is no answer wherever it leads, but all of it has to be here before an error can take its place.
                Some(judge) if hold || judge.is_page() => attempt.hold(judge),
                judge => {
                    // Headers are no content: a stream that is not held may think as long as one that is.
                    if end_of_stream {
                        attempt.content(now);
                        attempt.watch.finish();
                    }
                    attempt.pass(worker, judge.map_or(Passing::Unread, Passing::of), now, sink)
                }
            };
        }
        let judge = match origin() {
            // A rate limit of Envoy's own, behind this filter: nobody was asked, and it holds for every target.
            Origin::Envoy { .. } if status == 429 => return attempt.held_back(worker, now, sink),
            Origin::Envoy { received } => {
                attempt.log.answered_by = Some(AnsweredBy::Envoy);
                attempt.log.unsent = received == Received::Never;
                Judge::of_envoys(kind, status, received)
            }
            Origin::Upstream => Judge::of_failure(kind, status, headers),
        };
        if end_of_stream { attempt.end_without_body(worker, judge, now, sink) } else { attempt.hold(judge) }
    }

    /// More of the answer has come. `available` is what the host's buffer holds: while the answer is held all of it so
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
        attempt.watch.bytes_received(now);
        attempt.log.heard(now);
        attempt.log.bytes = match &attempt.answer {
            AnswerPhase::Passed(passing) => attempt.log.bytes.saturating_add(passing.fresh(available) as u64),
            _ => attempt.log.bytes.max(available as u64),
        };
        if end_of_stream {
            attempt.watch.finish();
        }
        let judge = match &mut attempt.answer {
            AnswerPhase::Judged(judge) => judge,
            AnswerPhase::Passed(passing) => {
                let (content, step) = match passing {
                    Passing::Stream(flow) => flow.chunk(host, available, end_of_stream),
                    Passing::Plain(plain) => plain.chunk(host, available, end_of_stream),
                    // What cannot be read is watched for silence only.
                    Passing::Unread => (true, ResponseStep::Pass),
                };
                if content {
                    attempt.content(now);
                }
                attempt.note_moved(now);
                attempt.settle(worker, now);
                return step;
            }
            AnswerPhase::Awaited | AnswerPhase::Discarded => return ResponseStep::Pass,
        };
        match judge.read(host, available, end_of_stream) {
            Verdict::Open => ResponseStep::Hold,
            Verdict::Answer => {
                let AnswerPhase::Judged(judge) = std::mem::replace(&mut attempt.answer, AnswerPhase::Awaited)
                else {
                    return ResponseStep::Pass;
                };
                attempt.content_events = judge.content_events();
                if judge.has_content() {
                    attempt.content(now);
                }
                let step = attempt.pass(worker, Passing::of(*judge), now, host);
                let step = match &mut attempt.answer {
                    AnswerPhase::Passed(Passing::Stream(flow)) => flow.pass(host, available, end_of_stream),
                    AnswerPhase::Passed(Passing::Plain(plain)) => plain.pass(host, available, end_of_stream),
                    _ => step,
                };
                attempt.note_moved(now);
                step
            }
            Verdict::Failure(failure) => {
                attempt.log.stream = judge.stream_facts();
                attempt.log.said(&failure);
                let failed = judge.failed(failure.class, now);
                let envoys = judge.envoys_status();
                let unfit = judge.looks_like_success().then_some(BAD_GATEWAY);
                let meant = judge.is_error_object().then(|| meant_status(&failure));
                let next = attempt.failed(worker, failed, now);
                let own = attempt.own_status(next, failed).or(unfit);
                // Envoy's own text ("upstream connect error …") is none of the client's dialect. What is still to come would
                // follow the error that stands in the place of what has.
                let replaced = match envoys.or(own) {
                    Some(status) if end_of_stream => attempt.replace_body(status, available, now, host),
                    _ => false,
                };
                if let (None, Some(status)) = (envoys, own.filter(|_| replaced).or(unfit).or(meant)) {
                    attempt.show_status(status, host);
                }
                attempt.hand_on(worker, failed, next, now, host);
                if replaced {
                    host.set("x-llm-reason", ALL_FAILED);
                }
                ResponseStep::Pass
            }
        }
    }

    /// What was staged has been released.
    pub fn released(&mut self) {
        if let Phase::Sent(attempt) = &mut self.phase
            && let AnswerPhase::Passed(Passing::Stream(flow)) = &mut attempt.answer
        {
            flow.released();
        }
    }

    /// What was to be staged went at once, because the host has no other callback for it.
    pub fn cannot_stage(&mut self) {
        if let Phase::Sent(attempt) = &mut self.phase
            && let AnswerPhase::Passed(Passing::Stream(flow)) = &mut attempt.answer
        {
            flow.leave_unprimed();
        }
    }

    /// The answer ends with trailers instead of a last piece of body.
    pub fn response_trailers<H: ResponseHost>(
        &mut self,
        worker: &mut Worker,
        now: Timestamp,
        host: &mut H,
    ) -> ResponseStep {
        let Phase::Sent(attempt) = &mut self.phase else { return ResponseStep::Pass };
        attempt.watch.finish();
        let AnswerPhase::Judged(judge) = &attempt.answer else { return ResponseStep::Pass };
        let held = judge.seen();
        self.response_body(worker, held, true, now, host)
    }
}

impl Attempt {
    fn provider_kind(&self) -> Option<ProviderKind> {
        let journey = self.journey.borrow();
        let config = &journey.config;
        Some(config.provider(config.target(self.target)?.provider)?.kind)
    }

    /// Envoy did not send the request; its answer passes.
    fn held_back(&mut self, worker: &mut Worker, now: Timestamp, sink: &mut impl HeaderSink) -> ResponseStep {
        sink.set("x-llm-reason", FLEET_RATE_LIMIT);
        worker.tally.count(Metric::FleetRefusals);
        self.log.answered_by = Some(AnsweredBy::Envoy);
        self.log.unsent = true;
        self.log.then = Some(FLEET_RATE_LIMIT);
        self.log.ends(AttemptEnd::Failed, Some(ErrorClass::RateLimited));
        self.watch.finish();
        self.report(worker, End::Withdrawn, Blame::NEUTRAL, now);
        self.answer = AnswerPhase::Passed(Passing::Unread);
        ResponseStep::Pass
    }

    /// Another status takes the place of the provider's.
    fn show_status(&mut self, status: u16, sink: &mut impl HeaderSink) {
        sink.set(":status", &status.to_string());
        self.log.shown_status = Some(status);
    }

    fn hold(&mut self, judge: Judge) -> ResponseStep {
        self.answer = AnswerPhase::Judged(Box::new(judge));
        ResponseStep::Hold
    }

    /// The answer has no body: its headers decide.
    fn end_without_body(
        &mut self,
        worker: &mut Worker,
        mut judge: Judge,
        now: Timestamp,
        sink: &mut impl HeaderSink,
    ) -> ResponseStep {
        match judge.end() {
            Verdict::Failure(failure) => {
                let failed = judge.failed(failure.class, now);
                self.log.stream = judge.stream_facts();
                self.log.said(&failure);
                if judge.looks_like_success() {
                    self.show_status(BAD_GATEWAY, sink);
                }
                self.fail(worker, failed, now, sink)
            }
            Verdict::Open | Verdict::Answer => {
                self.content(now);
                self.watch.finish();
                self.pass(worker, Passing::Unread, now, sink)
            }
        }
    }

    /// Part of the answer has come.
    fn content(&mut self, now: Timestamp) {
        if self.first_content.is_none() {
            let took = now.since(self.sent_at);
            self.first_content = Some(took);
            self.log.content_at = Some(now);
            let journey = self.journey.borrow();
            let streamed = journey.facts.stream;
            journey.speeds.borrow_mut().first_content(self.target, streamed, self.sent_at, now);
            journey.pending.borrow_mut().first_content(self.target, took);
            let tolerated = journey.config.breaker.slow_first_content;
            self.slow = tolerated.is_some_and(|tolerated| took > tolerated);
        }
        let read = match &self.answer {
            AnswerPhase::Judged(judge) => judge.content_events(),
            AnswerPhase::Passed(passing) => passing.follower().map_or(0, Judge::content_events),
            AnswerPhase::Awaited | AnswerPhase::Discarded => 0,
        };
        let events = read.saturating_sub(self.content_events);
        self.content_events = self.content_events.max(read);
        self.watch.content_received(events, now);
    }

    /// The answer goes to the client.
    pub(super) fn pass(
        &mut self,
        worker: &mut Worker,
        mut passing: Passing,
        now: Timestamp,
        sink: &mut impl HeaderSink,
    ) -> ResponseStep {
        worker.tally.count(Metric::AttemptsAnswered);
        match &mut passing {
            Passing::Stream(flow) => {
                if self.on_break == OnBreak::ErrorEvent || self.keep_alive.is_some() {
                    flow.prime();
                }
                // A notice at its end may make it longer than its provider announced.
                sink.remove("content-length");
            }
            Passing::Plain(plain) if plain.is_renamed() => sink.remove("content-length"),
            Passing::Plain(_) | Passing::Unread => {}
        }
        self.disclose(sink);
        self.answer = AnswerPhase::Passed(passing);
        self.settle(worker, now);
        ResponseStep::Pass
    }

    /// Reports a stream as soon as it is certain what it has come to: clients stop reading at a terminal event, and the
    /// more so at an error, so waiting for the end would take both for clients that merely left.
    fn settle(&mut self, worker: &mut Worker, now: Timestamp) {
        let AnswerPhase::Passed(passing) = &self.answer else { return };
        if let Some(outcome) = passing.settled() {
            // Nothing more is owed. A provider that does not end the connection is left to Envoy's idle timeout.
            self.watch.finish();
            self.report_answer(worker, StreamEnd::of(outcome.err()), now);
        }
    }

    /// Tells the client who answers, with which model, after how many attempts and why.
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

/// Where the client is told who answers: the provider's headers, or those of an answer made here.
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

/// The status of an error that its provider sent under a 200: a client that goes by the status would take it for an answer.
fn meant_status(failure: &Failure) -> u16 {
    let told = failure.code.as_deref().and_then(|code| code.parse().ok());
    told.filter(|status| (400..600).contains(status)).unwrap_or(match failure.class {
        ErrorClass::Auth => 401,
        ErrorClass::Permission => 403,
        ErrorClass::NotFound => 404,
        ErrorClass::TooLarge => 413,
        ErrorClass::Invalid | ErrorClass::ContextLength | ErrorClass::ContentPolicy => 400,
        ErrorClass::RateLimited | ErrorClass::QuotaExhausted => 429,
        ErrorClass::Overloaded => 503,
        ErrorClass::Timeout => 504,
        ErrorClass::Server
        | ErrorClass::Transport
        | ErrorClass::ClientAbort
        | ErrorClass::StreamTruncated
        | ErrorClass::StreamError
        | ErrorClass::StreamStalled => BAD_GATEWAY,
    })
}

/// What is between the provider and the client must neither keep a stream nor wait until it has all of it. `x-accel-buffering`
/// is what nginx and those who follow it go by.
fn stream_headers(headers: &HeaderBlock, sink: &mut impl HeaderSink) {
    let media_type = headers.get("content-type").unwrap_or_default();
    if media_type.split(';').next().is_some_and(|name| name.trim().eq_ignore_ascii_case("text/event-stream"))
    {
        if headers.get("cache-control").is_none() {
            sink.set("cache-control", "no-cache");
        }
        sink.set("x-accel-buffering", "no");
    }
}

/// What a provider says under our names would be taken for ours, and what it says under Envoy's would be taken for the
/// inner listener's: at a 429 with `x-envoy-ratelimited`, as a provider behind an Envoy gives it, the edge would not retry.
/// A `te`, which no answer should have, is what Envoy passes on from HTTP/1 although HTTP/2 forbids it: it would break the hop.
fn strip_ours(headers: &HeaderBlock, sink: &mut impl HeaderSink) {
    for (name, _) in headers.iter() {
        if (name.starts_with(b"x-llm-") || name.starts_with(b"x-envoy-") || name == b"te")
            && let Ok(name) = std::str::from_utf8(name)
        {
            sink.remove(name);
        }
    }
}
