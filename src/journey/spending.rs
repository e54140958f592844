//! What a request takes of its key's budgets: an estimate before it is sent, what it really took when it is over.

use std::rc::Rc;

use super::outcome::Outcome;
use super::plan::{SpendCeiling, Tried};
use super::{Journey, Refusal, Worker};
use crate::base::{MicroDollars, TargetId, Timestamp, Tokens};
use crate::config::Config;
use crate::record::Metric;
use crate::stream::Usage;
use crate::tenancy::{self, Amount, BudgetKind, BudgetSet, Granted, Reservation};

/// What a request has reserved.
#[derive(Debug)]
pub(super) struct Spending {
    key: Rc<str>,
    reservation: Reservation,
    /// The budgets that it brings to the key's mark.
    warnings: BudgetSet,
}

/// What these tokens come to at a target; one without a price costs nothing that could be counted.
fn amount_of(tokens: Tokens, config: &Config, target: TargetId) -> Amount {
    let price = config.target(target).and_then(|target| target.offers.price);
    let cost = price.map_or(MicroDollars::ZERO, |price| price.of(tokens.input, tokens.output));
    Amount { tokens: tokens.total(), cost }
}

impl Journey {
    /// Takes what an attempt at `target` is estimated to take out of the key's budgets.
    pub(super) fn reserve(
        &mut self,
        worker: &mut Worker,
        target: TargetId,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let Some((key, budget)) = self.client_key().and_then(|key| Some((key, key.budget?))) else {
            return Ok(());
        };
        let amount = amount_of(self.expected(target), &self.config, target);
        match tenancy::reserve(&mut *worker.store, &key.name, &budget, amount, now) {
            Some(Ok(Granted { reservation, warnings })) => {
                if !warnings.is_empty() {
                    worker.tally.count(Metric::BudgetWarnings);
                }
                self.spending = Some(Spending { key: Rc::clone(&key.name), reservation, warnings });
                Ok(())
            }
            Some(Err(exhausted)) => {
                worker.tally.count(Metric::BudgetRefusals);
                let wait_s = exhausted.wait.map(|wait| wait.as_millis().div_ceil(1000).max(1));
                let wait_s = wait_s.map(|seconds| u64::try_from(seconds).unwrap_or(u64::MAX));
                Err(Refusal::BudgetExhausted { budget: exhausted.which.name(), wait_s })
            }
            // Budgets that cannot be counted are no reason to refuse a request.
            None => {
                worker.tally.count(Metric::SharedDataFailed);
                Ok(())
            }
        }
    }

    /// The budgets that the request brings to the key's mark, for the client to read; `None` where there are none.
    pub(super) fn budget_warnings(&self) -> Option<String> {
        let warnings = self.spending.as_ref()?.warnings;
        let names: Vec<_> = warnings.kinds().map(BudgetKind::name).collect();
        (!names.is_empty()).then(|| names.join(","))
    }

    /// The request is over: what its attempts really took is put in the place of what was reserved.
    pub(super) fn settle(&mut self, worker: &mut Worker, now: Timestamp) {
        let Some(spending) = self.spending.take() else { return };
        let mut actual = Amount::default();
        for attempt in &self.tried {
            let taken = self.taken(attempt);
            actual.tokens = actual.tokens.saturating_add(taken.tokens);
            actual.cost = actual.cost.plus(taken.cost);
        }
        if !tenancy::settle(&mut *worker.store, &spending.key, spending.reservation, actual, now) {
            worker.tally.count(Metric::SharedDataFailed);
        }
    }

    /// What one attempt took: what its provider said, nothing where it never got it or said that it failed, and the estimate
    /// where nobody knows.
    fn taken(&self, attempt: &Tried) -> Amount {
        match attempt.outcome {
            Some(Outcome { usage: Some(usage), .. }) => self.amount(attempt.target, &usage),
            Some(outcome) if !outcome.may_be_billed() => Amount::default(),
            _ => amount_of(attempt.expected, &self.config, attempt.target),
        }
    }

    /// What `usage` at a target comes to.
    fn amount(&self, target: TargetId, usage: &Usage) -> Amount {
        let tokens = usage.input.saturating_add(usage.output);
        let price = self.config.target(target).and_then(|target| target.offers.price);
        let cost = price.map_or(MicroDollars::ZERO, |price| {
            price.with_cached(usage.input, usage.cached_input, usage.output)
        });
        Amount { tokens, cost }
    }

    /// Whose request it is, where Envoy's rate-limit filter wants to know.
    pub(super) fn key_to_tell(&self) -> Option<Rc<str>> {
        let key = self.client_key().filter(|_| self.config.fleet_rate_limit)?;
        Some(Rc::clone(&key.name))
    }

    /// The tokens of the attempt in `slot`, where Envoy's rate-limit filter wants to know them.
    pub(super) fn tokens_to_tell(&self, slot: usize) -> Option<u64> {
        if !self.config.fleet_rate_limit {
            return None;
        }
        let usage = self.tried.get(slot)?.outcome?.usage?;
        Some(usage.input.saturating_add(usage.output))
    }

    /// The tokens that the request is expected to take at `target`: the estimate that the boundaries go by, without their
    /// margin.
    pub(super) fn expected(&self, target: TargetId) -> Tokens {
        self.needs.expected(target, Some(&self.estimates))
    }

    /// What a further attempt must fit under; `None` where there is no limit, and for the first attempt.
    pub(super) fn spend_ceiling(&self) -> Option<SpendCeiling> {
        let most = self.model()?.retry.max_cost.filter(|_| !self.tried.is_empty())?;
        let cost = |attempt: &Tried| self.taken(attempt).cost;
        let spent = self.tried.iter().map(cost).fold(MicroDollars::ZERO, MicroDollars::plus);
        Some(SpendCeiling { spent, most })
    }
}
