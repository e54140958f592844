//! Explains a rejection in words, for refusals and reports: what was needed and what the target offers.

use std::fmt::Write;

use super::eligibility::{Eligibility, TargetContext};
use super::gate::Gate;
use super::trust::Denial;
use crate::base::{MicroDollars, TargetId};
use crate::config::{Boundaries, Price, TokenLimit};
use crate::provider::Capability;
use crate::translate::{Loss, Losses};

/// Items of a list that are shown.
const MAX_LISTED: usize = 8;

/// A gate that rejects a target, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The gate.
    pub gate: Gate,
    /// What the request or its boundaries require.
    pub needed: String,
    /// What the target offers.
    pub offered: String,
}

impl Eligibility<'_> {
    /// Every gate that rejects `target`, with what was needed and offered.
    pub fn violations(self, target: TargetId) -> impl Iterator<Item = Violation> {
        let candidate = self.candidate(target);
        self.closed_gates(target).filter_map(move |gate| {
            let candidate = candidate?;
            Some(Violation {
                gate,
                needed: self.needed(gate, candidate, &self.boundaries().collect::<Vec<_>>()),
                offered: self.offered(gate, candidate),
            })
        })
    }

    /// Every gate that keeps the request from `target`, with what was needed and offered.
    pub fn refusals(self, target: TargetId) -> impl Iterator<Item = Violation> {
        let candidate = self.candidate(target);
        let sets = self.enforced_boundaries();
        self.refusing_gates(target).filter_map(move |gate| {
            let candidate = candidate?;
            let (needed, offered) = (self.needed(gate, candidate, &sets), self.offered(gate, candidate));
            Some(Violation { gate, needed, offered })
        })
    }

    /// What the request, or one of these boundaries, requires.
    pub(super) fn needed(&self, gate: Gate, candidate: TargetContext<'_>, sets: &[&Boundaries]) -> String {
        let substitution = &self.model.substitution;
        match gate {
            Gate::Dialect => self.needs.endpoint.name().to_owned(),
            Gate::Translation => match self.losses(candidate).and_then(|losses| losses.lost) {
                None => "it is larger than `limits.max_translated_body`, malformed, or without an equal in the other dialect"
                    .to_owned(),
                Some(lost) => listed(lost.iter().map(Loss::name), ", "),
            },
            Gate::ProviderList | Gate::TargetList => "to be on the list".to_owned(),
            // All lists apply, so all are shown.
            Gate::Residency => {
                let lists = sets.iter().filter_map(|set| set.regions.as_ref()).chain(&self.client.regions);
                listed(lists.map(|regions| listed(regions.iter(), " or ")), " and ")
            }
            Gate::ZeroRetention | Gate::Training => "required".to_owned(),
            Gate::Quality => {
                let least = sets.iter().filter_map(|set| set.min_quality).max();
                format!("at least {}", least.unwrap_or(0))
            }
            Gate::PriceCeiling => ceilings(sets),
            Gate::RequestCost => {
                let most = sets.iter().filter_map(|set| set.max_request_cost).min();
                format!("at most ${}", most.unwrap_or_default())
            }
            Gate::Capability(Capability::N) => format!("{} answers", self.needs.answers),
            Gate::Capability(_) | Gate::Streaming => "yes".to_owned(),
            Gate::ContextWindow => match self.needs.asked_output {
                Some(asked) => {
                    format!("about {} tokens and {asked} for the answer", self.input_tokens(candidate.id))
                }
                None => format!("about {} tokens", self.input_tokens(candidate.id)),
            },
            Gate::MaxOutput => format!("{} tokens", self.needs.asked_output.unwrap_or(0)),
            Gate::State => listed(self.needs.state.kinds().map(|kind| kind.name()), " and "),
            Gate::SealedReasoning if self.needs.sealed_reasoning => "the provider that made it".to_owned(),
            Gate::SealedReasoning => "the account that made it".to_owned(),
            Gate::NoFallback => "the first choice".to_owned(),
            Gate::LeaveAccount => "the same account".to_owned(),
            Gate::LeaveProvider => "the same provider".to_owned(),
            Gate::LargerWindow => {
                let failed = self.failed().map(|(failed, _)| failed.offers.context_window.tokens).max();
                format!("declared, more than {} tokens", failed.unwrap_or(0))
            }
            Gate::PriceRatio => {
                let permille = substitution.max_price_permille.unwrap_or(0);
                format!("at most {}.{:03} times {}", permille / 1000, permille % 1000, self.first_prices())
            }
            Gate::BillingOwner => {
                let owners = self.first_targets().map(|first| self.owner(first.account).unwrap_or("unknown"));
                listed(owners, " and ")
            }
            Gate::PairNotApproved | Gate::PairExpired => {
                let names = self.first_targets().map(|first| &*first.name);
                format!("approval as a substitute for {}", listed(names, " or "))
            }
        }
    }

    pub(super) fn offered(&self, gate: Gate, candidate: TargetContext<'_>) -> String {
        let TargetContext { target, provider, .. } = candidate;
        let offers = &target.offers;
        let known = |known: Option<bool>| match known {
            Some(true) => "yes".to_owned(),
            Some(false) => "no".to_owned(),
            None => "unknown".to_owned(),
        };
        match gate {
            Gate::Dialect => {
                let spoken = crate::base::Endpoint::ALL.into_iter();
                listed(
                    spoken.filter(|endpoint| provider.endpoints.contains(*endpoint)).map(|e| e.name()),
                    ", ",
                )
            }
            Gate::Translation => {
                let allowed = target.translates.map_or(Losses::MINOR, |rules| rules.allowed);
                format!("loses only {}", listed(allowed.iter().map(Loss::name), ", "))
            }
            Gate::ProviderList => provider.name.to_string(),
            Gate::TargetList => target.name.to_string(),
            Gate::Residency => offers.region.as_deref().unwrap_or("unknown").to_owned(),
            Gate::ZeroRetention => known(offers.zero_retention),
            Gate::Training => known(offers.training_opt_out),
            Gate::Quality => offers.quality.map_or("unknown".to_owned(), |quality| quality.to_string()),
            Gate::PriceCeiling | Gate::PriceRatio => shown(offers.price),
            Gate::RequestCost => {
                self.cost(candidate).map_or("unknown".to_owned(), |cost| format!("up to ${cost}"))
            }
            Gate::Capability(capability) => match self.denial(candidate, capability) {
                Denial::Declared | Denial::Catalogued => known(Some(false)),
                Denial::Dropped => {
                    format!("dropped by its {} endpoint", self.called_endpoint(candidate).name())
                }
                Denial::Unknown => known(None),
            },
            Gate::Streaming => known(Some(false)),
            Gate::ContextWindow => tokens(self.window(candidate), offers.context_window),
            Gate::LargerWindow => tokens(offers.context_window.tokens, offers.context_window),
            Gate::MaxOutput => tokens(self.longest_response(candidate), offers.max_output_tokens),
            Gate::SealedReasoning if self.needs.sealed_reasoning => format!("provider {}", provider.name),
            Gate::State | Gate::SealedReasoning => self
                .config
                .account(target.account)
                .map_or(String::new(), |account| format!("account {}", account.name)),
            Gate::NoFallback => "a substitute".to_owned(),
            Gate::LeaveAccount => "another account".to_owned(),
            Gate::LeaveProvider => "another provider".to_owned(),
            Gate::BillingOwner => self.owner(target.account).unwrap_or("unknown").to_owned(),
            Gate::PairNotApproved => "none".to_owned(),
            Gate::PairExpired => "expired".to_owned(),
        }
    }

    fn owner(&self, account: crate::base::AccountId) -> Option<&str> {
        self.config.account(account)?.billing_owner.as_deref()
    }

    fn first_prices(&self) -> String {
        listed(self.first_targets().map(|first| shown(first.offers.price)), ", ")
    }
}

/// The lowest of all ceilings.
fn ceilings(sets: &[&Boundaries]) -> String {
    let lowest = |of: fn(&Boundaries) -> Option<MicroDollars>| sets.iter().filter_map(|set| of(set)).min();
    let mut text = String::from("at most");
    for (name, most) in
        [("input", lowest(|set| set.max_price.input)), ("output", lowest(|set| set.max_price.output))]
    {
        if let Some(most) = most {
            // Writing to a string does not fail.
            let _ = write!(text, " ${most} {name}");
        }
    }
    text
}

fn shown(price: Option<Price>) -> String {
    price.map_or("unknown".to_owned(), |price| format!("${} input ${} output", price.input, price.output))
}

/// `compared` is what the gate compares. It differs from the target's own limit if its equal declares another.
fn tokens(compared: u64, own: TokenLimit) -> String {
    if own.source.is_known() || compared != own.tokens {
        compared.to_string()
    } else {
        format!("{compared} (assumed)")
    }
}

/// The items joined, truncated if there are many.
fn listed(words: impl Iterator<Item = impl AsRef<str>>, between: &str) -> String {
    let mut text = String::new();
    for (index, word) in words.enumerate() {
        if index > 0 {
            text.push_str(between);
        }
        if index == MAX_LISTED {
            text.push('…');
            break;
        }
        text.push_str(word.as_ref());
    }
    text
}
