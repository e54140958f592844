//! What came of an attempt: one value, made once, that goes to all who learn from it.
//!
//! It is made as soon as the end is certain, which for a stream is its terminal event. Budgets, estimates, balance and
//! the record hang on [`Journey::learn`] and nowhere else; the breakers are told in the same moment ([`Attempt::report`]).

use std::time::Duration;

use super::attempt::{AnswerPhase, Attempt};
use super::flow::Passing;
use super::{Journey, Worker};
use crate::base::{ErrorClass, TargetId, Timestamp};
use crate::config::Config;
use crate::record::{Family, Metric, Tally, class_place};
use crate::retry::Received;
use crate::stream::{FinishReason, Usage};

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Its answer went to the client, whole as far as it could be read.
    Complete,
    /// It failed, before or after part of the answer went to the client ([`Outcome::passed`]).
    Failed(ErrorClass),
    /// The client left.
    ClientGone,
    /// The filter could not do its part, and answered itself.
    Withdrawn,
}

/// How a stream ended that a client was reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamEnd {
    /// By the rules of its dialect.
    Complete,
    /// Its provider ended it before that.
    Truncated,
    /// Its provider said within it that it failed.
    Failed(ErrorClass),
    /// It went silent, or brought too little.
    Stalled(ErrorClass),
    /// The request's total ran out.
    OutOfTime,
    /// Its provider, or the network, broke it off.
    BrokenOff,
    /// The client left.
    ClientGone,
}

impl StreamEnd {
    /// What is left when a stream's provider has nothing more to say.
    pub fn of(failure: Option<ErrorClass>) -> Self {
        match failure {
            None => Self::Complete,
            Some(ErrorClass::StreamTruncated) => Self::Truncated,
            Some(class) => Self::Failed(class),
        }
    }

    /// The failure that it is; `None` for none.
    pub const fn failure(self) -> Option<ErrorClass> {
        match self {
            Self::Complete | Self::ClientGone => None,
            Self::Truncated | Self::BrokenOff => Some(ErrorClass::StreamTruncated),
            Self::Failed(class) | Self::Stalled(class) => Some(class),
            Self::OutOfTime => Some(ErrorClass::Timeout),
        }
    }

    const fn metric(self) -> Metric {
        match self {
            Self::Complete => Metric::StreamsComplete,
            Self::Truncated => Metric::StreamsTruncated,
            Self::Failed(_) => Metric::StreamsFailed,
            Self::Stalled(_) => Metric::StreamsStalled,
            Self::OutOfTime => Metric::StreamsOutOfTime,
            Self::BrokenOff => Metric::StreamsBrokenOff,
            Self::ClientGone => Metric::StreamsAbandoned,
        }
    }
}

/// What came of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// How it ended.
    pub end: End,
    /// Whether the provider got the request.
    pub received: Received,
    /// Whether any of the answer went to the client.
    pub passed: bool,
    /// The tokens that the provider said it took; `None` when it said nothing, which is not none. Of an answer that is not
    /// [`Complete`](End::Complete) it is what had been said until then, and the bill may be higher.
    pub usage: Option<Usage>,
    /// Why the answer ended, in the provider's words.
    pub finish: Option<FinishReason>,
    /// From sending the request to its first content; `None` when there was none.
    pub first_content: Option<Duration>,
    /// The longest time without a byte of a stream; `None` where there was no content, and of a plain answer.
    pub longest_gap: Option<Duration>,
    /// From sending the request to its end.
    pub took: Duration,
}

impl Outcome {
    /// Whether there was something to pay for and the provider has not said how much.
    pub const fn usage_is_missing(&self) -> bool {
        self.first_content.is_some() && self.usage.is_none()
    }

    /// Whether the provider may charge for it, which is the one rule for all that counts tokens and money: what certainly never
    /// arrived costs nothing, nor what the provider itself refused or gave up before anything of an answer came; what was lost
    /// after it may have been taken on counts.
    pub const fn may_be_billed(&self) -> bool {
        match self.end {
            End::Complete | End::ClientGone => true,
            End::Withdrawn => false,
            End::Failed(_) => self.first_content.is_some() || matches!(self.received, Received::Perhaps),
        }
    }

    /// Counts it with its target's name.
    fn count_at(&self, config: &Config, target: TargetId, tally: &mut Tally) {
        let at = target.index();
        let ms = |span: Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        // In the order of `OUTCOMES`.
        let end = match self.end {
            End::Complete => 0,
            End::ClientGone => 1,
            End::Withdrawn => 2,
            End::Failed(class) => class_place(3, class),
        };
        tally.label(config, Family::AttemptsByOutcome, (at, end), 1);
        if matches!(self.end, End::Failed(_)) && self.passed {
            tally.label(config, Family::AttemptsBroken, (at, 0), 1);
        }
        if let Some(first) = self.first_content {
            tally.observe(config, Family::FirstContent, at, ms(first));
        }
        if let Some(gap) = self.longest_gap {
            tally.observe(config, Family::LongestGap, at, ms(gap));
        }
        if self.end == End::Complete {
            tally.observe(config, Family::Duration, at, ms(self.took));
        }
        if self.usage_is_missing() {
            tally.label(config, Family::UsageMissing, (at, 0), 1);
        }
        let Some(usage) = self.usage else { return };
        // In the order of `TOKENS`.
        let kinds = [usage.input, usage.cached_input, usage.cache_creation, usage.output, usage.reasoning];
        for (kind, tokens) in kinds.into_iter().enumerate() {
            tally.label(config, Family::Tokens, (at, kind), tokens);
        }
        if let Some(price) = config.target(target).and_then(|target| target.offers.price) {
            // The record's own function, so that the two never disagree.
            let cost = price.with_cached(usage.input, usage.cached_input, usage.output);
            tally.label(config, Family::Cost, (at, 0), cost.micros());
        }
    }

    fn count(&self, tally: &mut Tally) {
        if self.usage_is_missing() {
            tally.count(Metric::UsageMissing);
        }
        let Some(usage) = self.usage else { return };
        for (metric, tokens) in [
            (Metric::TokensInput, usage.input),
            (Metric::TokensCachedInput, usage.cached_input),
            (Metric::TokensCacheCreation, usage.cache_creation),
            (Metric::TokensOutput, usage.output),
            (Metric::TokensReasoning, usage.reasoning),
        ] {
            tally.add(metric, i64::try_from(tokens).unwrap_or(i64::MAX));
        }
    }
}

impl Attempt {
    /// Counts how the stream ended that the client was reading, if it was. To be called before it is reported, for of
    /// several ends the first is the one.
    pub(super) fn count_end(&self, worker: &mut Worker, end: StreamEnd) {
        if self.tickets.is_some() && matches!(self.answer, AnswerPhase::Passed(Passing::Stream(_))) {
            worker.tally.count(end.metric());
        }
    }

    /// What has come of it if it ends so.
    pub(super) fn outcome(&self, end: End, received: Received, now: Timestamp) -> Outcome {
        let read = match &self.answer {
            AnswerPhase::Judged(judge) => Some(&**judge),
            AnswerPhase::Passed(passing) => passing.follower(),
            AnswerPhase::Awaited | AnswerPhase::Discarded => None,
        };
        Outcome {
            end,
            received,
            passed: matches!(self.answer, AnswerPhase::Passed(_)),
            usage: read.and_then(|judge| judge.usage()),
            finish: read.and_then(|judge| judge.finish_reason()),
            first_content: self.first_content,
            longest_gap: self
                .first_content
                .filter(|_| self.journey.borrow().facts.stream)
                .map(|_| self.log.longest_gap),
            took: now.since(self.sent_at),
        }
    }
}

impl Journey {
    /// Takes in what came of the attempt in `slot`, once for each.
    pub(super) fn learn(&mut self, worker: &mut Worker, slot: usize, outcome: Outcome, now: Timestamp) {
        outcome.count(&mut worker.tally);
        let Some(tried) = self.tried.get_mut(slot) else { return };
        tried.outcome = Some(outcome);
        let (attempt, target) = (*tried, tried.target);
        outcome.count_at(&self.config, target, &mut worker.tally);
        // How large images and files are is no matter of the tokenizer's.
        if let (Some(usage), true) = (outcome.usage, self.needs.size.is_text()) {
            self.estimates.learn(target, self.needs.size.tokens(), usage.input);
        }
        if let (End::Complete, false, Some(usage)) = (outcome.end, self.facts.stream, outcome.usage) {
            self.speeds.borrow_mut().answered(target, outcome.took, usage.output, now);
        }
        self.settle_limits(worker, attempt, &outcome, now);
    }
}
