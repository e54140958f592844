//! The decision record of a request: what goes into it, and when it is written.

use std::cell::RefCell;
use std::rc::Rc;

use crate::balance::{LimitKind, Room};
use crate::base::{Random, Timestamp};
use crate::breaker::Availability;
use crate::config::{Mode, RecordLog};
use crate::generation::Effects;
use crate::record::{
    CandidateBuilder, ENDS, Family, REASONS, RecordBuilder, RequestResult, RequestedModel, place,
};
use crate::retry::Next;
use crate::survey::{Row, Survey};

/// The record of a request, as all its passes share it.
pub type SharedRecord = Rc<RefCell<RecordBuilder>>;

/// A record that is complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// JSON in one line.
    pub json: Vec<u8>,
    /// Whether Envoy's log gets it, too.
    pub log: bool,
    /// Whether the request was not simply served by its first choice.
    pub failed: bool,
}

/// The record of a request that is over, if it is to be recorded.
pub fn write(record: &SharedRecord, effects: &mut Effects<'_>, now: Timestamp) -> Option<Written> {
    let record = record.try_borrow().ok()?;
    let policy = record.config().record;
    let (result, reason) = record.result();
    if let RequestedModel::Known(model) = record.model {
        let end = place(ENDS, record.metric_result((result, reason)));
        effects.tally.label(record.config(), Family::RequestsByEnd, (model.index(), end), 1);
        if result == RequestResult::FellBack {
            let why = place(REASONS, reason.unwrap_or_default());
            effects.tally.label(record.config(), Family::Fallbacks, (model.index(), why), 1);
        }
    }
    let failed = result != RequestResult::Served || record.has_moved();
    let wanted = failed
        || match policy.sample_millionths {
            0 => false,
            1_000_000 => true,
            share => effects.rng.below(1_000_000) < u64::from(share),
        };
    if !wanted {
        return None;
    }
    let log = match policy.log {
        RecordLog::Off => false,
        RecordLog::Failures => failed,
        RecordLog::All => true,
    };
    Some(Written { json: record.to_json(now), log, failed })
}

/// Notes the targets of a survey.
pub fn note_choice(record: &mut RecordBuilder, survey: &Survey<'_>) {
    // In shadow mode neither health nor limits keep a target out.
    let enforced = survey.request.config().mode == Mode::Enforce;
    let are_healthy = || survey.rows().iter().all(|row| candidate(row, enforced).is_healthy());
    if are_healthy() && record.choose_among_healthy() {
        return;
    }
    record.choose_among(survey.rows().iter().map(|row| {
        let candidate = candidate(row, enforced);
        let candidate = match candidate.rejected {
            Some(reason) if reason == LimitKind::MaxPending.name() => {
                let headroom = survey.request.generation.headroom.borrow();
                candidate.with_limit(headroom.reached_max_pending(row.target))
            }
            _ => candidate,
        };
        // Text is made only for targets that a gate rejects.
        if row.gate.is_some() { candidate.with_gates(survey.objections(row.target)) } else { candidate }
    }));
}

/// A target as the record lists it, without its gates.
fn candidate(row: &Row, enforced: bool) -> CandidateBuilder {
    let (state, until) = match row.health {
        Availability::Available { permille: 1000 } => ("closed", None),
        Availability::Available { .. } => ("slow_start", None),
        Availability::Probe => ("half_open", None),
        Availability::Unavailable(unfit) => (unfit.name(), unfit.until()),
    };
    let unfit = match row.health {
        Availability::Unavailable(unfit) if enforced => Some(unfit.name()),
        _ => None,
    };
    let shortage = match row.room {
        Room::Full(shortage) if enforced && unfit.is_none() => Some(shortage),
        _ => None,
    };
    let until = until.or(shortage.map(|shortage| shortage.until));
    let tried = row.attempts > 0 && !row.may_return;
    let rejected = row
        .gate
        .map(|gate| gate.name())
        .or_else(|| tried.then_some("tried"))
        .or(unfit)
        .or(shortage.map(|shortage| shortage.of.name()));
    CandidateBuilder::new(row.target, row.tier, (state, until), rejected)
}

/// What a record says was decided after a failure.
pub const fn decision_name(next: Next) -> &'static str {
    match next {
        Next::Elsewhere(_) => "elsewhere",
        Next::Again { .. } => "again",
        Next::Wait { .. } => "wait",
        Next::Stop(stop) => stop.name(),
    }
}
