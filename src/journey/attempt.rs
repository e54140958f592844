//! One attempt: who gets it, and how it is sent.

use std::rc::Rc;
use std::time::Duration;

use super::addressing::{self, Address};
use super::advice::Again;
use super::exchange::{Exchange, Phase, RequestHost, RequestStep};
use super::flow::Passing;
use super::hold::Held;
use super::judge::Judge;
use super::local;
use super::plan::{Choice, Detour};
use super::reading::Reading;
use super::{Journey, JourneyId, Refusal, SharedJourney, Tickets, Tried, Worker};
use crate::base::{Endpoint, ErrorClass, HeaderBlock, HeaderSink, TargetId, Timestamp};
use crate::breaker::Blame;
use crate::config::{Balance, Gate, OnBreak};
use crate::fallback::{ClientLimits, Needs};
use crate::record::{AttemptBuilder, Metric, RequestedModel};
use crate::request::{BodyEdit, StreamEditor};
use crate::retry::{Next, Permission, Stop};
use crate::stream::{KeepAlive, Watch};

/// Why the least bad target was asked.
const TRIED_ANYWAY: &str = "tried_anyway";

/// A request that went to a target.
pub(super) struct Attempt {
    pub(super) journey: SharedJourney,
    pub(super) target: TargetId,
    /// Which entry of the journey's list this attempt is.
    pub(super) slot: usize,
    /// What it holds of its breakers until it has reported its outcome, which it does once.
    pub(super) tickets: Option<Tickets>,
    /// Why this target was not the first choice, if it was not.
    pub(super) detour: Option<Detour>,
    pub(super) sent_at: Timestamp,
    /// Its answer has not begun, so its provider may not have counted it yet.
    pub(super) answer_awaited: bool,
    pub(super) watch: Watch,
    pub(super) gate: Gate,
    /// When its client is to hear something again, where that is wanted.
    pub(super) keep_alive: Option<KeepAlive>,
    pub(super) on_break: OnBreak,
    /// How long its first content took, once that has come.
    pub(super) first_content: Option<Duration>,
    /// How many events with content the clocks have been told of.
    pub(super) content_events: u64,
    /// Its first content took longer than the breakers tolerate.
    pub(super) slow: bool,
    /// It was asked to tell its usage and the client did not ask, so the client does not get that event.
    pub(super) asked_usage: bool,
    pub(super) editor: Option<StreamEditor>,
    pub(super) answer: AnswerPhase,
    /// What the record will say of it.
    pub(super) log: AttemptBuilder,
}

/// How far the answer to an attempt is.
pub(super) enum AnswerPhase {
    /// Nothing has come.
    Awaited,
    /// Headers and body are held until it is clear what they are.
    Judged(Box<Judge>),
    /// It goes to the client. What was not read to its end before is still read, because only that tells whether it was
    /// a good answer.
    Passed(Passing),
    /// It failed and is thrown away by the edge, which starts another attempt.
    Discarded,
}

/// A journey with the target of its next attempt.
pub(super) struct Picked {
    pub(super) journey: SharedJourney,
    pub(super) target: TargetId,
    pub(super) tickets: Tickets,
    pub(super) detour: Option<Detour>,
    pub(super) asked_usage: bool,
}

impl Exchange {
    /// The body has been read: who gets it?
    pub(super) fn first_attempt<H: RequestHost>(
        &mut self,
        worker: &mut Worker,
        reading: Reading,
        now: Timestamp,
        host: &mut H,
    ) -> RequestStep {
        let Reading {
            config,
            endpoint,
            address,
            scanner,
            seen,
            window,
            has_length,
            client_key,
            session_hints,
            no_fallback,
            timeout,
            regions,
            priority,
            id,
            earlier_attempts,
        } = reading;
        let dialect = endpoint.dialect();
        let facts = match scanner.finish() {
            Ok(facts) => facts,
            Err(error) => return self.refuse(worker, Refusal::Body(error), dialect),
        };
        self.note(|record| record.read(&facts));
        let model = match local::logical_model(&config, &facts, client_key) {
            Ok(model) => model,
            Err(refusal) => {
                if let Refusal::UnknownModel { name } = &refusal {
                    self.note(|record| record.model = RequestedModel::Unknown(name.as_str().into()));
                }
                return self.refuse(worker, refusal, dialect);
            }
        };
        self.note(|record| {
            record.model = RequestedModel::Known(model);
            record.forgotten = earlier_attempts;
        });
        let session =
            config.model(model).and_then(|model| session_hints.session(&model.balance, facts.affinity));
        let client_limits = ClientLimits { regions, no_fallback };
        self.note(|record| record.client_limits.clone_from(&client_limits));
        let mut journey = Journey {
            config: Rc::clone(&config),
            health_view: Rc::clone(&worker.health_view),
            pending: Rc::clone(&worker.pending),
            speeds: Rc::clone(&worker.speeds),
            headroom: Rc::clone(&worker.headroom),
            endpoint,
            model,
            needs: Needs::of(&facts, endpoint),
            facts,
            session,
            client_key,
            client_limits,
            estimates: Rc::clone(&worker.estimates),
            began: now,
            timeout,
            tried: Vec::new(),
            record: self.record.clone(),
            forgotten: earlier_attempts,
            spending: None,
            permission: Permission::Denied(Stop::NoRetryLoop),
            granted: None,
            failed: None,
            gave_up: None,
            only: None,
            priority,
            replays: 0,
        };
        let attempts = if no_fallback { 1 } else { journey.model().map_or(1, |model| model.retry.attempts) };
        if earlier_attempts >= attempts {
            let again = journey.again(Stop::AttemptsUsedUp, now);
            let refusal = Refusal::exhausted(&journey, 503, again, now);
            return self.refuse_after(worker, refusal, &journey);
        }
        // Nobody overtakes those who wait, not even where somebody is free just now.
        let picked = if journey.is_behind_others(worker, now) {
            Err(Refusal::queue("queue_full", &journey, now))
        } else {
            self.pick(worker, &journey, now)
        };
        let (target, tickets, detour) = match picked {
            Ok(picked) => picked,
            Err(refusal) => {
                let Some(until) = journey.queued_until(worker, now) else {
                    return self.refuse(worker, refusal, dialect);
                };
                let shared = self.keep(worker, id, journey, no_fallback);
                let length = has_length.then_some(seen);
                let held = Held {
                    address,
                    length,
                    buffered: seen,
                    complete: true,
                    ..Held::in_line(shared, now, until)
                };
                self.note(|record| record.held_since = Some(now));
                return self.hold(worker, held, now);
            }
        };
        if let Err(refusal) = journey.reserve(worker, target, now) {
            journey.report(worker, target, tickets, Blame::NEUTRAL, now);
            return self.refuse(worker, refusal, dialect);
        }
        let edit = journey.address_to(target, &address, has_length.then_some(seen), host);
        let ready = |edit: &BodyEdit| match &window {
            _ if edit.is_noop() => true,
            Some(body) => edit.apply_known(host, body).is_ok(),
            None => edit.apply_held(host, seen).is_ok(),
        };
        let Some(edit) = edit.filter(ready) else {
            journey.report(worker, target, tickets, Blame::NEUTRAL, now);
            journey.settle(worker, now);
            return self.refuse(worker, Refusal::Internal, dialect);
        };
        let journey = self.keep(worker, id, journey, no_fallback);
        let asked_usage = edit.asks_for_usage();
        self.send(worker, Picked { journey, target, tickets, detour, asked_usage }, None, now)
    }

    /// A pass after a failed one: the needs are known, so the body is not read but only edited on its way.
    pub(super) fn next_attempt(
        &mut self,
        worker: &mut Worker,
        shared: SharedJourney,
        headers: &HeaderBlock,
        now: Timestamp,
        sink: &mut impl HeaderSink,
    ) -> RequestStep {
        let (granted, hedges) = {
            let mut journey = shared.borrow_mut();
            // The attempt before has not failed: the edge hedges against its being slow.
            let hedges = journey.tried.last().is_some_and(|last| last.failure.is_none());
            (journey.granted.take(), hedges)
        };
        self.record.clone_from(&shared.borrow().record);
        if let Some(Next::Again { at } | Next::Wait { until: at }) = granted {
            addressing::strip_private(headers, sink);
            let until = shared.borrow().held_until(at, now);
            let held = Held {
                address: Address::of(headers),
                length: announced(headers),
                at,
                ..Held::in_line(shared, at, until)
            };
            let held = if matches!(granted, Some(Next::Wait { .. })) { held } else { held.alone() };
            self.note(|record| record.held_since = Some(now));
            return self.hold(worker, held, now);
        }
        let journey = shared.borrow();
        let allowed = granted.is_some() || (hedges && journey.could_move(now));
        let dialect = journey.endpoint.dialect();
        let picked = if allowed { self.pick(worker, &journey, now).ok() } else { None };
        let Some((target, tickets, detour)) = picked else {
            let status = status_after(journey.tried.last().and_then(|last| last.failure));
            // Where a further attempt was wanted, whoever it was meant for has become unwell since.
            let gave_up = if granted.is_some() { Some(Stop::NothingLeft) } else { journey.gave_up };
            let again = gave_up.map_or(Again::Unsaid, |stop| journey.again(stop, now));
            let refusal = Refusal::exhausted(&journey, status, again, now);
            return self.refuse_after(worker, refusal, &journey);
        };
        addressing::strip_private(headers, sink);
        let Some(edit) = journey.address_to(target, &Address::of(headers), announced(headers), sink) else {
            journey.report(worker, target, tickets, Blame::NEUTRAL, now);
            return self.refuse(worker, Refusal::Internal, dialect);
        };
        drop(journey);
        let asked_usage = edit.asks_for_usage();
        let editor = (!edit.is_noop()).then(|| StreamEditor::new(edit));
        self.send(worker, Picked { journey: shared, target, tickets, detour, asked_usage }, editor, now)
    }

    /// Chooses a target, or says why there is none.
    pub(super) fn pick(
        &self,
        worker: &mut Worker,
        journey: &Journey,
        now: Timestamp,
    ) -> Result<(TargetId, Tickets, Option<Detour>), Refusal> {
        // Whoever was held is looked at on a tick, which may come after its time.
        if now >= journey.deadline() {
            return Err(Refusal::out_of_time(journey, now));
        }
        journey.note_choice(now);
        match journey.choose(worker, now) {
            Choice::Well(target, tickets) => Ok((target, tickets, journey.detour(target, now))),
            Choice::Anyway(target, tickets) => {
                worker.tally.count(Metric::TriedAnyway);
                Ok((target, tickets, Some(Detour { reason: TRIED_ANYWAY, from: None })))
            }
            Choice::Nobody => Err(Refusal::nobody(journey, now)),
        }
    }

    pub(super) fn send(
        &mut self,
        worker: &mut Worker,
        picked: Picked,
        editor: Option<StreamEditor>,
        now: Timestamp,
    ) -> RequestStep {
        let Picked { journey, target, tickets, detour, asked_usage } = picked;
        let reason = detour.map(|detour| detour.reason);
        let (slot, watch, policy, log) = {
            let mut journey = journey.borrow_mut();
            let expected = journey.expected(target);
            journey.tried.push(Tried::new(target, expected));
            journey.pending.borrow_mut().begin(target, expected);
            journey.speeds.borrow_mut().begin(target, now);
            let policy = journey.stream_policy(target);
            let watch = Watch::start(policy, journey.facts.stream, journey.began, now);
            let slot = journey.tried.len().saturating_sub(1);
            let mut log = AttemptBuilder::new(slot, target, reason, now);
            log.probe = tickets.is_probe();
            log.balance = journey.strategy().filter(|_| reason != Some(TRIED_ANYWAY));
            journey.note(|record| record.sends(&mut log));
            (slot, watch, policy, log)
        };
        self.key = journey.borrow().key_to_tell();
        if slot == 0 {
            worker.retries.count_request();
        }
        worker.tally.count(Metric::Attempts);
        worker.tally.add(Metric::AttemptsInFlight, 1);
        self.phase = Phase::Sent(Box::new(Attempt {
            journey,
            target,
            slot,
            tickets: Some(tickets),
            detour,
            sent_at: now,
            watch,
            gate: policy.gate,
            keep_alive: policy.keep_alive.map(|every| KeepAlive::new(every, now)),
            on_break: policy.on_break,
            first_content: None,
            content_events: 0,
            answer_awaited: true,
            slow: false,
            asked_usage,
            editor,
            answer: AnswerPhase::Awaited,
            log,
        }));
        RequestStep::Send
    }

    /// Keeps the journey for later attempts, where there can be any.
    fn keep(
        &mut self,
        worker: &mut Worker,
        id: Option<JourneyId>,
        journey: Journey,
        no_fallback: bool,
    ) -> SharedJourney {
        let limit = journey.config.limits.max_journeys;
        let shared = Rc::new(std::cell::RefCell::new(journey));
        if let Some(id) = id {
            if worker.journeys.borrow_mut().begin(id, Rc::clone(&shared), limit) {
                self.kept_as = Some(id);
                shared.borrow_mut().permission =
                    if no_fallback { Permission::Denied(Stop::ClientForbids) } else { Permission::Granted };
                worker.tally.add(Metric::Journeys, 1);
            } else {
                shared.borrow_mut().permission = Permission::Denied(Stop::JourneysFull);
                worker.tally.count(Metric::JourneysFull);
            }
        }
        shared
    }
}

/// The status of an answer made here after this failure.
pub(super) const fn status_after(failure: Option<ErrorClass>) -> u16 {
    match failure {
        Some(ErrorClass::RateLimited) => 429,
        Some(ErrorClass::Timeout | ErrorClass::StreamStalled) => 504,
        _ => 503,
    }
}

/// The length that the client announced.
fn announced(headers: &HeaderBlock) -> Option<usize> {
    headers.get("content-length").and_then(|text| text.parse().ok())
}

impl Journey {
    /// The name of the strategy that chooses; a request without a session goes by weight.
    fn strategy(&self) -> Option<&'static str> {
        let strategy = &self.model()?.balance;
        let by_weight = matches!(strategy, Balance::Sticky { .. }) && self.session.is_none();
        Some(if by_weight { Balance::Weighted.name() } else { strategy.name() })
    }

    /// Whether the answer is a stream that says what it took only where that is asked for, and it is not.
    const fn lacks_usage(&self) -> bool {
        let says_unasked = !matches!(self.endpoint, Endpoint::Chat | Endpoint::Completions);
        self.facts.stream && !self.facts.include_usage && !says_unasked
    }

    /// Until when a request is held that is to be tried at `at`: somebody else may be faster to take what is free then.
    fn held_until(&self, at: Timestamp, now: Timestamp) -> Timestamp {
        let cap = self.model().map(|model| model.retry).unwrap_or_default().retry_after_cap;
        now.after(cap).min(self.deadline()).max(at)
    }

    /// Addresses the request to `target` and returns what has to change in the body. `length` is the length that the
    /// client announced, if it did.
    pub(super) fn address_to(
        &self,
        target: TargetId,
        address: &Address,
        length: Option<usize>,
        sink: &mut impl HeaderSink,
    ) -> Option<BodyEdit> {
        let target = self.config.target(target)?;
        if !addressing::address_to(&self.config, target, self.endpoint, address, sink) {
            return None;
        }
        let mut edit = BodyEdit::of_model(&self.facts, &target.model);
        if self.lacks_usage() && self.config.provider(target.provider)?.asks_usage {
            edit = edit.asking_for_usage(&self.facts);
        }
        if let Some(length) = length
            && !edit.is_noop()
        {
            sink.set("content-length", &edit.new_length(length).to_string());
        }
        Some(edit)
    }
}
