//! One client request across its attempts: the only place that sees all policies.
//!
//! A *journey* is one client request; an *attempt* is one pass of the filter, driven by an [`Exchange`]. In the retry
//! loop the edge starts a pass for each attempt, and the [`Journeys`] of the worker join them by the id that the edge
//! gave the request. In an ordinary listener every journey has one attempt and is kept nowhere.
//!
//! This folder orders the policies' answers; it makes no decision that one of them could make.

mod addressing;
mod advice;
mod alarm;
mod attempt;
mod conclusion;
mod exchange;
mod failing;
mod flow;
mod headroom;
mod health;
mod hold;
mod ineligible;
mod injected_usage;
mod judge;
mod local;
mod operator;
mod origin;
mod outcome;
mod plan;
mod reading;
mod recording;
mod refusal;
mod registry;
mod remaining;
mod renaming;
mod response;
mod showing;
mod spending;
#[cfg(test)]
mod test_support;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

pub use alarm::AlarmStep;
pub use exchange::{Ending, Exchange, RequestHost, RequestStep};
pub use hold::Queues;
pub use ineligible::Ineligible;
pub use origin::Origin;
pub use outcome::{End, Outcome};
pub use plan::Tried;
pub use recording::{SharedRecord, Written};
pub use refusal::{LocalAnswer, Refusal};
pub use registry::{JourneyId, Journeys, ORPHAN_AFTER, SharedJourney};
pub use response::{ResponseHost, ResponseStep};

use operator::OperatorRateLimit;

use crate::balance::{Headroom, Session, SpeedView};
use crate::base::{ClassSet, Endpoint, ModelId, Random, SplitMix64, Store, TargetId, Timestamp};
use crate::breaker::{Blame, HealthView, Pending};
use crate::config::{ClientKey, Config, Mode, Model, Priority, ResponseModel, StreamPolicy};
use crate::fallback::{Calibration, ClientLimits, Eligibility, Needs, PastAttempts};
use crate::provider::Capability;
use crate::record::{Metric, Tally};
use crate::request::Facts;
use crate::retry::{self, Failed, Next, Permission, Received, Retries, Spent, Stop};
use health::{Clinic, Tickets};
use plan::{Choice, Detour, Load, Wanted};
use spending::Spending;

/// What every pass through one configured filter shares on one worker.
pub struct Worker {
    /// The configuration that new requests are served by. A journey keeps the one it began with.
    pub config: Rc<Config>,
    /// The journeys of this worker, whichever configuration they began with.
    pub journeys: Rc<RefCell<Journeys>>,
    /// What this worker knows of the health of the configuration's scopes.
    pub health_view: Rc<RefCell<HealthView>>,
    /// How many attempts are under way where.
    pub pending: Rc<RefCell<Pending>>,
    /// What is known of how targets count tokens.
    pub estimates: Rc<Calibration>,
    /// How fast targets answer.
    pub speeds: Rc<RefCell<SpeedView>>,
    /// How much of targets' limits is left.
    pub headroom: Rc<RefCell<Headroom>>,
    /// Who waits for which model until somebody is free. Queues that are empty are not kept.
    pub lines: Queues,
    /// What this worker adds to the retry budget, and takes from it.
    pub retries: Retries,
    /// The data that all workers share.
    pub store: Box<dyn Store>,
    /// Where choices get their randomness.
    pub rng: SplitMix64,
    /// Envoy's version, where it tells.
    pub envoy: Option<String>,
    /// How often operators may still be served.
    pub operator_limit: OperatorRateLimit,
    /// Queues for the host's log that it has not been given yet.
    pub log: Vec<String>,
    /// What the gauges with labels show, as far as this worker knows.
    pub shown: Vec<usize>,
    /// What has been counted and not yet handed to the host.
    pub tally: Tally,
}

impl Worker {
    /// A worker of which nothing has been asked yet. It knows at once what the others have shared: after a change of the
    /// configuration its very first request must not go to a target that is open.
    pub fn new(
        config: Config,
        journeys: Rc<RefCell<Journeys>>,
        mut store: Box<dyn Store>,
        mut rng: SplitMix64,
    ) -> Self {
        let mut health_view = HealthView::new(&config);
        health_view.refresh(&mut *store);
        let health_view = Rc::new(RefCell::new(health_view));
        let pending = Rc::new(RefCell::new(Pending::new(&config, rng.next_u64())));
        let estimates = Rc::new(Calibration::new(&config));
        let mut speeds = SpeedView::new(&config);
        speeds.exchange(&mut *store);
        let speeds = Rc::new(RefCell::new(speeds));
        let mut headroom = Headroom::new(&config);
        headroom.exchange(&mut *store);
        let headroom = Rc::new(RefCell::new(headroom));
        let tally = Tally::new(&config);
        Self {
            config: Rc::new(config),
            journeys,
            health_view,
            pending,
            estimates,
            speeds,
            headroom,
            lines: Queues::default(),
            retries: Retries::default(),
            store,
            rng,
            envoy: None,
            operator_limit: OperatorRateLimit::default(),
            log: Vec::new(),
            shown: Vec::new(),
            tally,
        }
    }

    /// Does what is due by time alone, and returns the records of requests whose next attempt never came: no access log
    /// will ask for those. To be called about every 100 ms.
    pub fn tick(&mut self, now: Timestamp) -> Vec<Written> {
        let orphans = self.journeys.borrow_mut().expire(now);
        let records = self.write_orphans(&orphans, now);
        for orphan in orphans {
            orphan.borrow_mut().settle(self, now);
            self.tally.count(Metric::JourneysOrphaned);
            self.tally.add(Metric::Journeys, -1);
        }
        let mut health_view = self.health_view.borrow_mut();
        let failed = health_view.flush(&mut *self.store, &self.config.breaker, now);
        if failed > 0 {
            self.tally.add(Metric::SharedDataFailed, i64::try_from(failed).unwrap_or(i64::MAX));
        }
        health_view.refresh(&mut *self.store);
        let mut pending = self.pending.borrow_mut();
        pending.set_queues(self.config.models().iter().map(|model| self.lines.queued(&model.name)));
        pending.exchange(&mut *self.store, now);
        drop(pending);
        self.estimates.exchange(&mut *self.store);
        self.speeds.borrow_mut().exchange(&mut *self.store);
        self.headroom.borrow_mut().exchange(&mut *self.store);
        if !self.retries.flush(&mut *self.store, now) {
            self.tally.count(Metric::SharedDataFailed);
        }
        drop(health_view);
        self.show(now);
        records
    }
}

/// One client request across its attempts.
#[derive(Debug)]
pub struct Journey {
    config: Rc<Config>,
    /// The health view that goes with the configuration: its ids are the configuration's.
    health_view: Rc<RefCell<HealthView>>,
    /// Likewise.
    pending: Rc<RefCell<Pending>>,
    /// Likewise.
    speeds: Rc<RefCell<SpeedView>>,
    /// Likewise.
    headroom: Rc<RefCell<Headroom>>,
    endpoint: Endpoint,
    model: ModelId,
    facts: Facts,
    /// What it has in common with the requests that shall go where it goes.
    session: Option<Session>,
    /// What follows from them for whoever answers.
    needs: Needs,
    /// The client's key, by its position in the configuration.
    client_key: Option<usize>,
    /// What the client allows.
    client_limits: ClientLimits,
    /// What is known of how targets count tokens.
    estimates: Rc<Calibration>,
    /// When its first attempt was begun.
    began: Timestamp,
    /// How long the client gives it, where it says so.
    timeout: Option<Duration>,
    tried: Vec<Tried>,
    /// The request's record.
    record: Option<SharedRecord>,
    /// Attempts that Envoy counted but this worker knows nothing of, after a crash of the VM or a change of its code.
    forgotten: u8,
    /// Whether a failure may become another attempt: there is a loop, the journey is kept, the client allows it.
    /// What it has taken of its key's budgets, where the key has any.
    spending: Option<Spending>,
    permission: Permission,
    /// What was decided after the last failure, if that was to go on: the next pass need not ask again.
    granted: Option<Next>,
    /// The last failure.
    failed: Option<Failed>,
    /// Why nothing more was to be tried after it, if so.
    gave_up: Option<Stop>,
    /// Who goes before it, and whom it goes before, where it has to wait.
    priority: Priority,
    /// Who alone may get the next attempt.
    only: Option<TargetId>,
    /// How often the request was sent again although a provider might have taken it on.
    replays: u8,
}

impl Journey {
    fn model(&self) -> Option<&Model> {
        self.config.model(self.model)
    }

    /// What its answer's body is to give as the model, if not what the provider says.
    fn answered_as(&self) -> Option<Rc<str>> {
        let model = self.model()?;
        (model.response_model == ResponseModel::Logical).then(|| Rc::clone(&model.name))
    }

    /// What the answer of `target` may take, and how it is passed on.
    fn stream_policy(&self, target: TargetId) -> StreamPolicy {
        let reasoning = self.config.target(target).is_some_and(|target| {
            let offers = &target.offers;
            // A kind of provider that vouches for it has some models that do; only the mark says that this one does.
            offers.declared.contains(Capability::Reasoning)
                && offers.capabilities.contains(Capability::Reasoning)
        });
        self.model().map(|model| model.stream).unwrap_or_default().narrowed(reasoning, self.timeout)
    }

    /// The client's key, where keys are configured.
    fn client_key(&self) -> Option<&ClientKey> {
        self.config.keys.as_ref()?.get(self.client_key?)
    }

    /// Attempts made so far.
    fn attempts(&self) -> u8 {
        u8::try_from(self.tried.len()).unwrap_or(u8::MAX).saturating_add(self.forgotten)
    }

    /// What the boundaries are asked about.
    fn case(&self, now: Timestamp) -> Option<Eligibility<'_>> {
        self.case_after(&self.tried, now)
    }

    /// The same once these attempts have been made.
    fn case_after(&self, tried: &[Tried], now: Timestamp) -> Option<Eligibility<'_>> {
        Some(Eligibility {
            config: &self.config,
            model: self.model()?,
            key: self.client_key().map(|key| &key.boundaries),
            client: &self.client_limits,
            needs: &self.needs,
            past: PastAttempts::of(tried.iter().map(|tried| (tried.target, tried.failure))),
            estimates: Some(&self.estimates),
            now,
        })
    }

    fn wanted(&self, now: Timestamp) -> Option<Wanted<'_>> {
        Some(Wanted {
            model: self.model()?,
            session: self.session,
            streamed: self.facts.stream,
            load: Load { pending: &self.pending, speeds: &self.speeds, headroom: &self.headroom },
            tried: &self.tried,
            returning: false,
            only: self.only,
            ceiling: self.spend_ceiling(),
            case: self.case(now)?,
        })
    }

    fn anyone_left(&self, now: Timestamp) -> bool {
        self.wanted(now)
            .is_some_and(|wanted| wanted.anyone_left(&self.config, &self.health_view.borrow(), now))
    }

    /// When the client's whole request must be over.
    fn deadline(&self) -> Timestamp {
        let policy = self.model().map(|model| model.stream).unwrap_or_default();
        self.began.after(policy.narrowed(false, self.timeout).total)
    }

    /// Decides what follows the failure of the attempt in `slot`, and notes both.
    fn after_failure(&mut self, worker: &mut Worker, slot: usize, failed: Failed, now: Timestamp) -> Next {
        if let Some(tried) = self.tried.get_mut(slot) {
            tried.failure = Some(failed.class);
            tried.returns = retry::may_return(failed.class, failed.should_retry);
        }
        self.failed = Some(failed);
        self.only = None;
        let next = self.decide(worker, slot, failed, now);
        let next = self.within_budget(worker, next, now);
        if matches!(next, Next::Again { .. })
            && self.model().is_some_and(|model| !model.fallback_on.contains(failed.class))
        {
            self.only = self.tried.get(slot).map(|tried| tried.target);
        }
        self.gave_up = match next {
            Next::Stop(stop) => Some(stop),
            _ => None,
        };
        if self.gave_up.is_none() {
            self.granted = Some(next);
            self.replays = self.replays.saturating_add(u8::from(failed.received == Received::Perhaps));
        }
        next
    }

    /// The same, unless too much of all that this Envoy sends would be a further attempt.
    fn within_budget(&self, worker: &mut Worker, next: Next, now: Timestamp) -> Next {
        match next {
            Next::Stop(_) => return next,
            Next::Wait { .. } if !self.may_wait(worker) => return Next::Stop(Stop::QueueFull),
            _ => {}
        }
        let grant = worker.retries.take(&mut *worker.store, &self.config.retry_budget, now);
        if !grant.shared {
            worker.tally.count(Metric::SharedDataFailed);
        }
        if grant.allowed { next } else { Next::Stop(Stop::RetryBudget) }
    }

    fn decide(&self, worker: &mut Worker, slot: usize, failed: Failed, now: Timestamp) -> Next {
        let (Some(wanted), Some(tried)) = (self.wanted(now), self.tried.get(slot)) else {
            return Next::Stop(Stop::NothingLeft);
        };
        let spent = Spent {
            attempts: self.attempts(),
            at_target: wanted.attempts_at(tried.target),
            replays: self.replays,
            deadline: self.deadline(),
            stateful: !self.facts.state.is_empty(),
        };
        let policy = (&wanted.model.retry, wanted.model.fallback_on);
        let draw = worker.rng.next_u64();
        let next = |wanted: Wanted<'_>| {
            let left = wanted.left(&self.config, &self.health_view.borrow(), tried.target, now);
            retry::after_failure(policy, failed, self.permission, spent, left, (now, draw))
        };
        match next(wanted) {
            // With more money there would have been somebody.
            Next::Stop(_)
                if wanted.ceiling.is_some()
                    && !matches!(next(Wanted { ceiling: None, ..wanted }), Next::Stop(_)) =>
            {
                Next::Stop(Stop::SpendCeiling)
            }
            next => next,
        }
    }

    /// Whether any failure of the attempt that runs could still become another attempt.
    fn could_move(&self, now: Timestamp) -> bool {
        self.permission == Permission::Granted
            && self.model().is_some_and(|model| {
                self.attempts() < model.retry.attempts && model.fallback_on != ClassSet::default()
            })
            && self.anyone_left(now)
    }

    /// Who gets the next attempt.
    fn choose(&self, worker: &mut Worker, now: Timestamp) -> Choice {
        let Worker { store, rng, tally, .. } = worker;
        let health_view = &mut *self.health_view.borrow_mut();
        let mut clinic = Clinic { config: &self.config, health_view, store: &mut **store, tally, now };
        let Some(wanted) = self.wanted(now) else { return Choice::Nobody };
        let choice = wanted.choose(&mut clinic, rng);
        if wanted.model.substitution.mode == Mode::Shadow {
            let metric = match choice {
                Choice::Well(target, _) | Choice::Anyway(target, _) => {
                    (!wanted.case.admits(target)).then_some(Metric::FallbackWouldReject)
                }
                Choice::Nobody => {
                    wanted.would_move_to(&self.config, health_view, now).map(|_| Metric::FallbackWouldMove)
                }
            };
            metric.into_iter().for_each(|metric| tally.count(metric));
        }
        choice
    }

    /// Takes in how an attempt ended.
    fn report(&self, worker: &mut Worker, target: TargetId, tickets: Tickets, blame: Blame, now: Timestamp) {
        let Worker { store, rng, tally, .. } = worker;
        let health_view = &mut *self.health_view.borrow_mut();
        let jitter = rng.next_u64();
        Clinic { config: &self.config, health_view, store: &mut **store, tally, now }
            .report(target, tickets, blame, jitter);
    }

    /// Why the target that is chosen now is not the one that would have been asked first: the failure that led to it, or
    /// what kept the first tier out.
    fn detour(&self, chosen: TargetId, now: Timestamp) -> Option<Detour> {
        let mut elsewhere = self.tried.iter().rev().filter(|attempt| attempt.target != chosen);
        match elsewhere.find_map(|attempt| Some((attempt.failure?, attempt.target))) {
            Some((class, target)) => Some(Detour { reason: class.name(), from: Some(target) }),
            None if self.forgotten > 0 => Some(Detour { reason: "unknown", from: None }),
            None => {
                self.wanted(now)?.first_tier_obstacle(&self.config, &self.health_view.borrow(), chosen, now)
            }
        }
    }
}
