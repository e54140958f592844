//! A request's reservation in its client key's budgets. The estimate is reserved before the request is
//! sent. At its end what it really took replaces the estimate.

use std::rc::Rc;

use crate::base::{MicroDollars, Moment, TargetId, Timestamp, Tokens};
use crate::config::Config;
use crate::generation::Effects;
use crate::intake::ClientRequest;
use crate::record::Metric;
use crate::survey::Tried;
use crate::tenancy::{self, Amount, BudgetSet, Granted, Reservation};

/// What a request has reserved in its key's budgets.
#[derive(Debug)]
#[must_use = "a reservation is released or settled, or the key's budget stays used"]
pub struct Reserved {
    key: Rc<str>,
    reservation: Reservation,
    warnings: BudgetSet,
}

/// A budget that is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exhausted {
    /// The budget's name.
    pub budget: &'static str,
    /// Seconds until the request fits into it; `None` when it never will.
    pub wait_s: Option<u64>,
}

impl Reserved {
    /// Reserves what `request` is expected to take at `target`. `Ok(None)` when the key has no budget, or
    /// when budgets cannot be counted now, which is no reason to refuse a request.
    pub(super) fn take(
        request: &ClientRequest,
        target: TargetId,
        effects: &mut Effects<'_>,
        now: Timestamp,
    ) -> Result<Option<Self>, Exhausted> {
        let Some((key, budget)) = request.client_key().and_then(|key| Some((key, key.budget?))) else {
            return Ok(None);
        };
        let amount = amount_of(request.expected(target), request.config(), target);
        match tenancy::reserve(effects.store, &key.name, &budget, amount, request.generation.moment(now)) {
            Some(Ok(Granted { reservation, warnings })) => {
                if !warnings.is_empty() {
                    effects.tally.count(Metric::BudgetWarnings);
                }
                Ok(Some(Self { key: Rc::clone(&key.name), reservation, warnings }))
            }
            Some(Err(exhausted)) => {
                effects.tally.count(Metric::BudgetRefusals);
                let wait_s = exhausted.wait.map(|wait| wait.as_millis().div_ceil(1000).max(1));
                let wait_s = wait_s.map(|seconds| u64::try_from(seconds).unwrap_or(u64::MAX));
                Err(Exhausted { budget: exhausted.which.name(), wait_s })
            }
            None => {
                effects.note_shared(false);
                Ok(None)
            }
        }
    }

    /// The budgets for which the client gets a warning.
    pub const fn warnings(&self) -> BudgetSet {
        self.warnings
    }

    /// The request was not sent.
    pub fn release(self, effects: &mut Effects<'_>, now: Moment) {
        let released = tenancy::release(effects.store, &self.key, self.reservation, now);
        effects.note_shared(released);
    }

    /// The request is over: what its attempts took replaces the estimate.
    pub fn settle(self, request: &ClientRequest, tried: &[Tried], effects: &mut Effects<'_>, now: Timestamp) {
        if tried.iter().all(Tried::was_withdrawn) {
            return self.release(effects, request.generation.moment(now));
        }
        let mut actual = Amount::default();
        for attempt in tried {
            let taken = taken_by(request, attempt);
            actual.tokens = actual.tokens.saturating_add(taken.tokens);
            actual.cost = actual.cost.plus(taken.cost);
        }
        let settled = tenancy::settle(
            effects.store,
            &self.key,
            self.reservation,
            actual,
            request.generation.moment(now),
        );
        effects.note_shared(settled);
    }
}

/// What the attempts of a request have cost, or may have cost.
pub fn spent_by(request: &ClientRequest, tried: &[Tried]) -> MicroDollars {
    let cost = |attempt: &Tried| taken_by(request, attempt).cost;
    tried.iter().map(cost).fold(MicroDollars::ZERO, MicroDollars::plus)
}

/// What one attempt took: the reported usage, nothing if the provider cannot charge for it, and otherwise
/// the estimate.
fn taken_by(request: &ClientRequest, attempt: &Tried) -> Amount {
    let config = request.config();
    let Some(outcome) = attempt.outcome else { return amount_of(attempt.expected, config, attempt.target) };
    match outcome.usage {
        Some(usage) => {
            let price = config.target(attempt.target).and_then(|target| target.offers.price);
            let cost = price.map_or(MicroDollars::ZERO, |price| {
                price.with_cached(usage.input, usage.cached_input, usage.output)
            });
            Amount { tokens: usage.input.saturating_add(usage.output), cost }
        }
        None if !outcome.may_be_billed() => Amount::default(),
        None => amount_of(attempt.expected, config, attempt.target),
    }
}

/// The tokens and their cost at a target. Without a configured price the cost is 0.
fn amount_of(tokens: Tokens, config: &Config, target: TargetId) -> Amount {
    let price = config.target(target).and_then(|target| target.offers.price);
    let cost = price.map_or(MicroDollars::ZERO, |price| price.of(tokens.input, tokens.output));
    Amount { tokens: tokens.total(), cost }
}
