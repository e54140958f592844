//! What was sent and what it cost, as the test itself has seen it. The filter's own counts play no part in it.

use super::script::{OWNERS, Setup, TARGETS};

/// The tokens of every prompt.
pub(super) const INPUT: u64 = 2;

#[derive(Default)]
pub(super) struct Expected {
    journeys: Vec<Journey>,
    attempts: Vec<Attempt>,
}

struct Journey {
    has_budget: bool,
    attempts: Vec<usize>,
}

struct Attempt {
    /// Its position among [`TARGETS`], once its body has shown it.
    target: Option<usize>,
    max_tokens: u64,
    took: Took,
}

/// What an attempt took.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Took {
    /// The estimate: it is under way, or its end does not tell.
    Estimate,
    /// What its provider reported.
    Reported,
    /// Nothing: its provider cannot charge for it.
    Nothing,
    /// Nothing, and it was never really sent.
    Withdrawn,
}

/// What a key has used.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Used {
    pub(super) requests: u64,
    pub(super) tokens: u64,
    pub(super) micro_dollars: u64,
}

/// The output that a provider reports for a request.
pub(super) const fn reported_output(max_tokens: u64) -> u64 {
    max_tokens / 3 + 1
}

impl Expected {
    pub(super) fn begin_journey(&mut self, has_budget: bool) -> usize {
        self.journeys.push(Journey { has_budget, attempts: Vec::new() });
        self.journeys.len() - 1
    }

    /// The filter lets a request go.
    pub(super) fn sent(&mut self, journey: usize, max_tokens: u64) -> usize {
        self.attempts.push(Attempt { target: None, max_tokens, took: Took::Estimate });
        let attempt = self.attempts.len() - 1;
        self.journeys[journey].attempts.push(attempt);
        attempt
    }

    pub(super) fn goes_to(&mut self, attempt: usize, model: &str) {
        self.attempts[attempt].target = TARGETS.iter().position(|(name, ..)| *name == model);
        assert!(self.attempts[attempt].target.is_some(), "no target {model}");
    }

    pub(super) fn took(&mut self, attempt: usize, took: Took) {
        let known = &mut self.attempts[attempt].took;
        // What the provider has reported is charged, whatever follows.
        if *known != Took::Reported {
            *known = took;
        }
    }

    /// Requests and tokens that count at an owner of limits.
    pub(super) fn counts(&self, owner: usize) -> (u64, u64) {
        let (section, name, _) = OWNERS[owner];
        let at_owner = |attempt: &&Attempt| {
            let (target, account, ..) = TARGETS[attempt.target.unwrap()];
            name == if section == "targets" { target } else { account }
        };
        let sent = self.attempts.iter().filter(|attempt| attempt.took != Took::Withdrawn);
        sent.filter(at_owner).fold((0, 0), |(requests, tokens), attempt| {
            let (input, output) = attempt.tokens();
            (requests + 1, tokens + input + output)
        })
    }

    /// What all journeys have used of their key's budget.
    pub(super) fn used(&self) -> Used {
        let mut used = Used::default();
        for journey in self.journeys.iter().filter(|journey| journey.has_budget) {
            let attempts = journey.attempts.iter().map(|attempt| &self.attempts[*attempt]);
            let sent: Vec<_> = attempts.filter(|attempt| attempt.took != Took::Withdrawn).collect();
            used.requests += u64::from(!sent.is_empty());
            for attempt in sent {
                let (input, output) = attempt.tokens();
                let (.., input_price, output_price) = TARGETS[attempt.target.unwrap()];
                used.tokens += input + output;
                used.micro_dollars += input * input_price + output * output_price;
            }
        }
        used
    }
}

impl Attempt {
    /// Input and output that are charged.
    const fn tokens(&self) -> (u64, u64) {
        match self.took {
            Took::Estimate => (INPUT, self.max_tokens),
            Took::Reported => (INPUT, reported_output(self.max_tokens)),
            Took::Nothing | Took::Withdrawn => (0, 0),
        }
    }
}

/// Which counts of an owner are exact.
pub(super) fn exact(setup: &Setup, owner: usize) -> (bool, bool) {
    let limits = setup.limits[owner];
    // Tokens are only corrected where they are limited.
    (limits.counts(), limits.tokens.is_some())
}
