//! What is left for a request: whether anybody may still be asked, and when. Choosing among them is `plan`'s.

use std::hash::{DefaultHasher, Hash, Hasher};

use super::plan::{Obstacle, Wait, Wanted};
use crate::balance::{LimitKind, Shortage};
use crate::base::{TargetId, Timestamp};
use crate::breaker::{HealthView, Unavailable};
use crate::config::{Config, Mode, WhenAllOpen};
use crate::fallback::{Eligibility, PastAttempts};
use crate::retry::{Reach, RemainingOptions};

impl Wanted<'_> {
    /// The same for a request that has tried nothing yet.
    pub fn afresh(self) -> Self {
        let case = Eligibility { past: PastAttempts::default(), ..self.case };
        Self { tried: &[], only: None, ceiling: None, returning: false, case, ..self }
    }

    /// What is left for a request whose attempt at `failed` has just failed.
    pub fn left(
        self,
        config: &Config,
        health_view: &HealthView,
        failed: TargetId,
        now: Timestamp,
    ) -> RemainingOptions {
        let blind = self.is_blind(config);
        let may = |target| blind || self.fitness(config, health_view, target, now).is_ok();
        let its_tier = self.model.tiers.iter().find(|tier| tier.contains(&failed));
        let reach = |target: TargetId| {
            let near = its_tier.is_some_and(|tier| tier.contains(&target));
            if near { Reach::Account } else { Reach::Tier }
        };
        let throttled_until = |target| match self.fitness(config, health_view, target, now) {
            Err(Obstacle::Unfit(Unavailable::Throttled { until })) => Some(until),
            Err(Obstacle::Short(shortage)) => Some(shortage.retry_at(now)),
            _ => None,
        };
        let anybody = self.candidates().chain(self.returning().candidates());
        RemainingOptions {
            elsewhere: self.candidates().find(|target| may(*target)).map(reach),
            same: self.returning().is_candidate(failed) && may(failed),
            free_at: anybody.filter_map(throttled_until).min(),
        }
    }

    /// When a request that nobody may take now could be taken. A rate limit ends by itself; for a breaker only a model whose
    /// policy says so waits.
    pub fn wait(self, config: &Config, health_view: &HealthView, now: Timestamp) -> Wait {
        let queues = self.model.when_all_open == WhenAllOpen::Queue;
        let mut soonest = Wait::Never;
        for target in self.candidates() {
            let until = match self.fitness(config, health_view, target, now) {
                Ok(_) => return Wait::None,
                Err(Obstacle::Short(shortage)) => Some(shortage.retry_at(now)),
                Err(Obstacle::Unfit(unfit)) if queues || matches!(unfit, Unavailable::Throttled { .. }) => {
                    unfit.until()
                }
                Err(_) => None,
            };
            soonest = match (soonest, until) {
                (Wait::Until(one), Some(other)) => Wait::Until(one.min(other)),
                (_, Some(other)) => Wait::Until(other),
                (soonest, None) => soonest,
            };
        }
        soonest
    }

    /// A mark of those who may take the request, now or later, whatever ails them: the same for the same targets.
    pub fn those_it_may_have(self) -> u64 {
        let all = self.model.tiers.iter().flatten();
        let may = all.filter(|target| self.is_candidate(**target) || self.returning().is_candidate(**target));
        let mut hasher = DefaultHasher::new();
        may.for_each(|target| target.index().hash(&mut hasher));
        hasher.finish()
    }

    /// Whether what keeps a target from taking the request is how many attempts are under way there.
    pub fn is_short_of_places(self, config: &Config, health_view: &HealthView, now: Timestamp) -> bool {
        let mut anybody = self.candidates().chain(self.returning().candidates());
        anybody.any(|target| {
            let fitness = self.fitness(config, health_view, target, now);
            matches!(fitness, Err(Obstacle::Short(Shortage { of: LimitKind::MaxPending, .. })))
        })
    }

    /// Whether targets are asked whatever ails them.
    fn is_blind(self, config: &Config) -> bool {
        config.mode == Mode::Shadow || self.model.when_all_open == WhenAllOpen::TryAnyway
    }

    /// Whether a further attempt would have somewhere to go, if the one that runs failed now.
    pub fn anyone_left(self, config: &Config, health_view: &HealthView, now: Timestamp) -> bool {
        let blind = self.is_blind(config);
        let once_more = self
            .tried
            .last()
            .is_some_and(|attempt| self.attempts_at(attempt.target) < self.model.retry.attempts_per_target);
        once_more
            || self.candidates().any(|target| blind || self.fitness(config, health_view, target, now).is_ok())
    }
}
