//! What goes into a request's record, and when it comes out: with the pass that ends the journey, or with the tick that
//! finds that its next pass never came.

use std::cell::RefCell;
use std::rc::Rc;

use super::attempt::{AnswerPhase, Attempt};
use super::exchange::{Exchange, Phase};
use super::ineligible::all_objections;
use super::judge::Judge;
use super::{Journey, SharedJourney, Worker};
use crate::base::{Random, Timestamp};
use crate::breaker::Availability;
use crate::config::{Mode, RecordLog};
use crate::record::{
    AttemptEnd, CandidateBuilder, ENDS, Family, NO_NEXT_ATTEMPT, REASONS, RecordBuilder, RequestResult,
    RequestedModel, place,
};
use crate::retry::Next;

/// At most this many records of orphans come out of one tick: they go into Envoy's log, which must not drown in them. Those
/// beyond are only counted.
pub const MAX_ORPHANS_WRITTEN: usize = 10;

/// The record of a request as all its passes share it.
pub type SharedRecord = Rc<RefCell<RecordBuilder>>;

/// A record that is complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// The record: JSON in one line.
    pub json: String,
    /// Whether it belongs into Envoy's log, too.
    pub log: bool,
    /// Whether the request was not simply served.
    pub failed: bool,
}

impl Worker {
    /// The record of a request that is over, if it is to be recorded.
    pub(super) fn write(&mut self, record: &SharedRecord, now: Timestamp) -> Option<Written> {
        let record = record.try_borrow().ok()?;
        let policy = record.config.record;
        let (outcome, reason) = record.result();
        if let RequestedModel::Known(model) = record.model {
            let end = place(ENDS, record.metric_result());
            self.tally.label(&record.config, Family::RequestsByEnd, (model.index(), end), 1);
            if outcome == RequestResult::FellBack {
                let why = place(REASONS, reason.unwrap_or_default());
                self.tally.label(&record.config, Family::Fallbacks, (model.index(), why), 1);
            }
        }
        let failed = outcome != RequestResult::Served || record.has_moved();
        // Drawn only where it can matter: with everything or nothing recorded the draw is spared.
        let wanted = failed
            || match policy.sample_millionths {
                0 => false,
                1_000_000 => true,
                share => self.rng.below(1_000_000) < u64::from(share),
            };
        if !wanted {
            return None;
        }
        let log = match policy.log {
            RecordLog::Off => false,
            RecordLog::Failures => failed,
            RecordLog::All => true,
        };
        Some(Written { json: record.record(now).to_json()?, log, failed })
    }
}

impl Worker {
    /// The records of requests whose next attempt never came.
    pub(super) fn write_orphans(&mut self, orphans: &[SharedJourney], now: Timestamp) -> Vec<Written> {
        let records = orphans.iter().filter_map(|journey| journey.try_borrow().ok()?.record.clone());
        records
            .take(MAX_ORPHANS_WRITTEN)
            .filter_map(|record| {
                record.try_borrow_mut().ok()?.broke = Some(NO_NEXT_ATTEMPT);
                self.write(&record, now)
            })
            .collect()
    }
}

impl Exchange {
    /// Whether it matters to the millisecond when the next piece of the answer comes.
    pub fn awaits_content(&self) -> bool {
        matches!(&self.phase, Phase::Sent(attempt) if attempt.first_content.is_none())
    }

    /// The request's record, if it has one.
    pub(super) fn note(&self, note: impl FnOnce(&mut RecordBuilder)) {
        if let Some(record) = &self.record
            && let Ok(mut record) = record.try_borrow_mut()
        {
            note(&mut record);
        }
    }
}

impl Journey {
    pub(super) fn note(&self, note: impl FnOnce(&mut RecordBuilder)) {
        if let Some(record) = &self.record
            && let Ok(mut record) = record.try_borrow_mut()
        {
            note(&mut record);
        }
    }

    /// What there is to choose from now.
    pub(super) fn note_choice(&self, now: Timestamp) {
        let Some(wanted) = self.wanted(now) else { return };
        let health_view = self.health_view.borrow();
        self.note(|record| {
            record.choose_among(wanted.survey(&self.config, &health_view, now).map(|seen| {
                let state = match seen.availability {
                    Availability::Available { permille: 1000 } => ("closed", None),
                    Availability::Available { .. } => ("slow_start", None),
                    Availability::Probe => ("half_open", None),
                    Availability::Unavailable(unfit) => (unfit.name(), unfit.until()),
                };
                // In shadow mode neither health nor limits keep anybody out.
                let enforced = self.config.mode == Mode::Enforce;
                let unfit = match seen.availability {
                    Availability::Unavailable(unfit) if enforced => Some(unfit.name()),
                    _ => None,
                };
                let short = seen.short.filter(|_| enforced && unfit.is_none());
                let until = state.1.or(short.map(|shortage| shortage.until));
                let rejected = seen
                    .gate
                    .or_else(|| seen.tried.then_some("tried"))
                    .or(unfit)
                    .or(short.map(|shortage| shortage.of.name()));
                let candidate = CandidateBuilder::new(seen.target, seen.tier, (state.0, until), rejected);
                // Words are made only for who is out of the question.
                match seen.gate {
                    Some(_) => candidate.with_gates(all_objections(&wanted.case, seen.target)),
                    None => candidate,
                }
            }));
        });
    }
}

impl Attempt {
    /// The client left. What had been certain before stays; a stream that has told of its failure is broken, for that is why
    /// clients leave it.
    pub(super) fn note_client_gone(&mut self) {
        if let AnswerPhase::Passed(passing) = &self.answer {
            self.log.stream = passing.follower().and_then(Judge::stream_facts);
            if let Some(Err(class)) = passing.settled() {
                self.log.ends(AttemptEnd::Broken, Some(class));
            }
        }
        self.log.ends(AttemptEnd::ClientAbort, None);
    }
}

/// What a record says was decided after a failure.
pub(super) const fn name_of(next: Next) -> &'static str {
    match next {
        Next::Elsewhere(_) => "elsewhere",
        Next::Again { .. } => "again",
        Next::Wait { .. } => "wait",
        Next::Stop(stop) => stop.name(),
    }
}
