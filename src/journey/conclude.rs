//! How attempts and passes end, and what learns from it.
//!
//! If a provider resets the stream while its response is held, Envoy answers 502 past all filters.
//! `local_reply_config` in `envoy/envoy.yaml` puts `x-llm-retry` on that response, so the edge retries. The
//! decision is made here, when the pass ends, and the next pass acts on it.

use std::rc::Rc;

use super::exchange::{Ending, Exchange, Phase, RequestStep, Sent};
use super::worker::Worker;
use crate::attempt::{Closed, Ended};
use crate::base::{Dialect, ErrorClass, KnownOwner, Timestamp};
use crate::breaker::Blame;
use crate::intake::ClientRequest;
use crate::outcome::{End, Outcome, StreamEnd};
use crate::ownership;
use crate::record::{Metric, REQUEST_INCOMPLETE};
use crate::refusal::Refusal;
use crate::report::{self, Written};
use crate::retry::{Failed, Next, Received};

/// Settles an attempt: every part of the filter that learns from attempts does so here, once.
pub(super) fn settle(
    sent: &mut Sent,
    worker: &mut Worker,
    end: End,
    received: Received,
    blame: Blame,
    now: Timestamp,
) {
    sent.attempt.note_pause(worker.unnoticed_pause(now), now);
    let Some(Ended { outcome, mut admission }) = sent.attempt.end(end, received, now) else { return };
    let request = Rc::clone(&sent.journey.borrow().request);
    let target = sent.attempt.start().target;
    let blame = sent.complete_blame(worker, &outcome, blame, now);
    let reserved = if end == End::Withdrawn {
        let is_only_one = !sent.journey.borrow().was_sent_besides(sent.attempt.slot());
        let reserved = if is_only_one { None } else { admission.hand_over_reservation() };
        admission.cancel(&request.generation, &mut worker.effects(), now);
        reserved
    } else {
        let journey = &mut *sent.journey.borrow_mut();
        if !journey.can_ask_others() {
            journey.failures.count_whole();
        }
        let failures = &mut journey.failures;
        admission.settle(&request.generation, &outcome, blame, failures, &mut worker.effects(), now)
    };
    sent.journey.borrow_mut().attempt_ended(sent.attempt.slot(), outcome, reserved);
    if sent.attempt.lacks_cluster() || request.generation.missing_clusters.has_any() {
        note_cluster(sent, &request, received, worker, now);
    }
    report::count_outcome(&outcome, request.config(), target, &mut worker.tally);
    learn(&request, sent, &outcome, now);
    if request.keeps_state() || request.model().is_some_and(|model| model.has_many_owners) {
        learn_owner(&request, sent, &outcome, worker, now);
    }
    // Its place is free, however long its provider keeps the stream open.
    sent.leave(worker, now);
    log::debug!("attempt {} at {}: {:?}", sent.attempt.slot() + 1, request.target_name(target), outcome.end);
}

/// Learns whether Envoy has the cluster of the attempt's provider.
#[cold]
#[inline(never)]
fn note_cluster(
    sent: &Sent,
    request: &ClientRequest,
    received: Received,
    worker: &mut Worker,
    now: Timestamp,
) {
    let (config, known) = (request.config(), &request.generation.missing_clusters);
    let Some(target) = config.target(sent.attempt.start().target) else { return };
    let id = target.provider;
    if !sent.attempt.lacks_cluster() {
        if known.is_missing(id)
            && received != Received::Never
            && let Some(provider) = config.provider(id)
        {
            known.reached(id, &provider.cluster, worker.effects().store);
        }
        return;
    }
    let Some(provider) = config.provider(id) else { return };
    if known.missed(id, &provider.cluster, worker.effects().store, now) {
        log::warn!(
            "Envoy has no cluster `{}`, so target `{}` cannot be asked. Define it in Envoy's configuration, or write \
             the name of another as `providers.{}.cluster`",
            provider.cluster,
            target.name,
            provider.name
        );
    }
}

/// What an attempt teaches about its target: how it counts tokens, and how fast it answers.
fn learn(request: &ClientRequest, sent: &Sent, outcome: &Outcome, now: Timestamp) {
    let Some(usage) = outcome.usage else { return };
    let (generation, target) = (&request.generation, sent.attempt.start().target);
    // Images and files are not counted by a tokenizer.
    if request.needs.size.is_text() {
        generation.estimates.learn(target, request.needs.size.tokens(), usage.input);
    }
    if outcome.end == End::Complete && !request.facts.stream {
        generation.speeds.borrow_mut().answered(target, outcome.took, usage.output, now);
    }
}

/// What an answer and a request that succeeded teach about the owner of a conversation's state.
#[inline(never)]
fn learn_owner(request: &ClientRequest, sent: &Sent, outcome: &Outcome, worker: &mut Worker, now: Timestamp) {
    let config = request.config();
    let target = config.target(sent.attempt.start().target);
    let Some(account) = target.and_then(|target| config.account(target.account)) else { return };
    let known = KnownOwner { owner: account.owner, mixed: sent.attempt.drops_reasoning() };
    let mut shared = true;
    if let Some(made) = sent.attempt.made() {
        shared &= ownership::remember(&mut *worker.store, made.digests(), known, now);
    }
    // A model of one owner needs no memory of what its requests refer to.
    let could_go_elsewhere = request.model().is_some_and(|model| model.has_many_owners);
    let is_new = request.needs.owner.is_none_or(|before| before.owner != known.owner) && !known.mixed;
    if let Some(references) = request.facts.references.as_deref()
        && outcome.end == End::Complete
        && could_go_elsewhere
        && is_new
    {
        shared &= ownership::remember(&mut *worker.store, references.digests(), known, now);
    }
    worker.effects().note_shared(shared);
}

/// An attempt failed before the client got anything of its response. Decides what follows.
#[cold]
#[inline(never)]
pub(super) fn failed(
    sent: &mut Sent,
    worker: &mut Worker,
    failed: Failed,
    blame: Blame,
    now: Timestamp,
) -> Next {
    worker.tally.count(Metric::AttemptsFailed);
    if failed.class == ErrorClass::NotFound {
        worker.tally.count(Metric::ModelNotFound);
    }
    let mut failed = failed;
    failed.may_drop_reasoning = failed.class == ErrorClass::StateNotFound
        && !sent.attempt.drops_reasoning()
        && sent.journey.borrow().request.may_drop_reasoning();
    if failed.rejects_addition {
        ask_no_more_for_usage(sent, worker, now);
    }
    settle(sent, worker, End::Failed(failed.class), failed.received, blame, now);
    let slot = sent.attempt.slot();
    let next = sent.journey.borrow_mut().after_failure(&mut worker.failure_context(), slot, failed, now);
    if matches!(next, Next::Stop(_)) {
        sent.journey.borrow_mut().attempts_are_over(&mut worker.effects(), now);
    }
    sent.attempt.failed(failed.hint, report::decision_name(next));
    next
}

/// The target rejected the request for usage that the filter had added.
fn ask_no_more_for_usage(sent: &Sent, worker: &mut Worker, now: Timestamp) {
    let (request, target) = (Rc::clone(&sent.journey.borrow().request), sent.attempt.start().target);
    let option = &request.generation.usage_option;
    if option.is_asked(target, now) {
        log::warn!(
            "target {} rejects `stream_options`, so its streams are not asked for usage. To silence this: `usage: leave` \
             at its provider",
            request.target_name(target)
        );
    }
    option.rejected(target, worker.effects().store, now);
}

impl Sent {
    /// A response that went to the client has come to this end.
    pub(super) fn settle_response(&mut self, worker: &mut Worker, end: StreamEnd, now: Timestamp) {
        self.count_stream_end(worker, end);
        let failure = end.failure();
        let slow = self.attempt.is_slow().then_some(ErrorClass::Timeout);
        let blame = failure.or(slow).map_or(Blame::SUCCESS, |class| Blame::of(class, None));
        let (end, received) = match failure {
            None => (End::Complete, Received::Answered),
            Some(class) => (End::Failed(class), Failed::of(class).received),
        };
        settle(self, worker, end, received, blame, now);
    }

    /// Counts the end of a stream that the client was reading. Only the first end counts.
    pub(super) fn count_stream_end(&self, worker: &mut Worker, end: StreamEnd) {
        if self.attempt.is_open_stream() {
            report::count_stream_end(end, &mut worker.tally);
        }
    }

    /// The host's stream is over. Says whether the edge may start another attempt.
    fn conclude(&mut self, worker: &mut Worker, ending: Ending, now: Timestamp) -> bool {
        let closed = self.attempt.close();
        self.leave(worker, now);
        let is_over = matches!(closed, Closed::Discarded | Closed::Passed { complete: true });
        if ending == Ending::ClientGone && !is_over {
            worker.tally.count(Metric::ClientAborts);
            self.count_stream_end(worker, StreamEnd::ClientGone);
            // After a pause the provider's answer may have come, and the client may have left in vain.
            let paused = self.attempt.was_excused() || worker.unnoticed_pause(now).is_some();
            let blame = if paused { Blame::NEUTRAL } else { Blame::CLIENT_LEFT };
            settle(self, worker, End::ClientGone, Received::Perhaps, blame, now);
            return false;
        }
        let class = match closed {
            Closed::Discarded => return true,
            Closed::Passed { .. } => {
                if self.attempt.is_unread() {
                    worker.tally.count(Metric::AnswersUnread);
                }
                let end = match ending {
                    Ending::UpstreamGone => StreamEnd::BrokenOff,
                    Ending::HopClosed => StreamEnd::HopClosed,
                    Ending::Complete | Ending::ClientGone => StreamEnd::of(self.attempt.finish_response()),
                };
                self.settle_response(worker, end, now);
                return false;
            }
            Closed::BeforeHeaders | Closed::WhileHeld if ending == Ending::HopClosed => ErrorClass::HopClosed,
            // Before the headers the endpoint is in doubt; after them it could be reached, so the target is.
            Closed::BeforeHeaders => ErrorClass::Transport,
            Closed::WhileHeld => ErrorClass::StreamTruncated,
        };
        // Whether another pass follows is Envoy's decision. If one does, it acts on this.
        failed(self, worker, Failed::of(class), Blame::of(class, None), now);
        true
    }

    /// The attempt is no longer under way, so another may take its place.
    fn leave(&mut self, worker: &mut Worker, now: Timestamp) {
        if self.attempt.leave(now) {
            worker.tally.add(Metric::AttemptsInFlight, -1);
            worker.queues.free_one();
        }
    }

    fn hand_in(&mut self, now: Timestamp) {
        let entry = self.attempt.take_entry(now);
        self.journey.borrow().note(|record| record.attempt_ended(entry));
    }
}

impl Exchange {
    /// The host could not do what a step needs, so the request must not go on. It is answered instead, and
    /// everything that it has taken is returned. `unread` is the dialect of the answer to a request of which
    /// nothing has been read.
    #[cold]
    #[inline(never)]
    pub fn abandon(&mut self, worker: &mut Worker, unread: Dialect, now: Timestamp) -> RequestStep {
        let dialect = match std::mem::take(&mut self.phase) {
            Phase::Sent(mut sent) => {
                settle(&mut sent, worker, End::Withdrawn, Received::Never, Blame::NEUTRAL, now);
                let dialect = sent.attempt.dialect();
                sent.hand_in(now);
                dialect
            }
            Phase::Held(held) => {
                let dialect = held.journey.borrow().request.endpoint.dialect();
                held.leave(worker);
                dialect
            }
            Phase::Reading(reading) => reading.endpoint().dialect(),
            Phase::Fresh | Phase::Foreign | Phase::AtAccount | Phase::Answered => unread,
        };
        self.refuse(worker, Refusal::Internal, dialect)
    }

    /// The stream is over. With the last pass of a request its record comes out, if it is to be recorded.
    pub fn finish(&mut self, worker: &mut Worker, ending: Ending, now: Timestamp) -> Option<Written> {
        let ending = match ending {
            Ending::HopClosed if !worker.generation.config.retry_loop => Ending::ClientGone,
            other => other,
        };
        let phase = std::mem::take(&mut self.phase);
        let kept_as = self.kept_as.take();
        let mut unkept = None;
        let expects_another = match phase {
            Phase::Sent(mut sent) => {
                let expects_another = sent.conclude(worker, ending, now);
                self.tokens = sent.tokens_to_charge();
                let journey = Rc::clone(&sent.journey);
                sent.hand_in(now);
                unkept = Some(journey).filter(|_| kept_as.is_none());
                expects_another
            }
            Phase::Reading(_) => {
                self.note_incomplete(worker, ending);
                false
            }
            Phase::Held(held) if ending == Ending::HopClosed && kept_as.is_some() => {
                // The edge sends it again, and it waits on.
                held.journey.borrow_mut().grant(held.waits_for());
                held.leave(worker);
                true
            }
            Phase::Held(held) => {
                held.leave(worker);
                self.note_incomplete(worker, ending);
                if ending == Ending::ClientGone {
                    self.note(|record| record.client_gone = true);
                }
                false
            }
            Phase::Fresh | Phase::Foreign | Phase::AtAccount | Phase::Answered => false,
        };
        let is_kept = kept_as.is_some();
        let left = kept_as.and_then(|id| worker.journeys.borrow_mut().leave(id, expects_another, now));
        if left.is_some() {
            worker.tally.add(Metric::Journeys, -1);
        }
        let is_over = !is_kept || left.is_some();
        if let Some(journey) = left.or(unkept) {
            worker.end(&journey, now);
        }
        let record = self.record.take()?;
        if is_over { report::write(&record, &mut worker.effects(), now) } else { None }
    }

    /// Once the response has come to its end, the request is over for everything but its stream, which its
    /// provider may keep open: its journey ends, and its reservation is settled.
    pub(super) fn release_if_answered(&mut self, worker: &mut Worker, now: Timestamp) {
        let Phase::Sent(sent) = &self.phase else { return };
        if !sent.attempt.is_answered() {
            return;
        }
        let journey = match self.kept_as {
            None => Rc::clone(&sent.journey),
            Some(id) => {
                let Some(journey) = worker.journeys.borrow_mut().answered(id) else { return };
                worker.tally.add(Metric::Journeys, -1);
                self.kept_as = None;
                journey
            }
        };
        worker.end(&journey, now);
    }

    /// The stream ended before the request could be sent.
    #[cold]
    #[inline(never)]
    fn note_incomplete(&self, worker: &mut Worker, ending: Ending) {
        if ending == Ending::ClientGone {
            worker.tally.count(Metric::ClientAborts);
        } else {
            self.note(|record| record.broke = Some(REQUEST_INCOMPLETE));
        }
    }

    /// The client key that Envoy's rate-limit filter is to charge. To be taken once.
    pub fn take_key(&mut self) -> Option<Rc<str>> {
        self.key.take()
    }

    /// The tokens that Envoy's rate-limit filter is to charge for this pass. Known when the pass is over.
    pub const fn tokens(&self) -> Option<u64> {
        self.tokens
    }
}

impl Sent {
    fn tokens_to_charge(&self) -> Option<u64> {
        let journey = self.journey.borrow();
        if !journey.request.config().fleet_rate_limit {
            return None;
        }
        let usage = journey.tried().get(self.attempt.slot())?.outcome?.usage?;
        Some(usage.input.saturating_add(usage.output))
    }
}
