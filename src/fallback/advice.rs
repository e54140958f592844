//! What an operator can do about a gate that rejects a target: one or two sentences for the message of a refusal.
//!
//! They name the target, what was asked, what it offers, and the line to write. Most refusals are met by newcomers,
//! who have declared nothing yet.

use super::eligibility::{Eligibility, TargetContext};
use super::gate::Gate;
use super::trust::Denial;
use crate::base::TargetId;
use crate::config::{Boundaries, Mode};
use crate::provider::Capability;
use crate::translate::{Loss, Losses, Translation};

impl<'a> Eligibility<'a> {
    /// For each gate that rejects `target`: why, and what to write if it should pass.
    pub fn advice(self, target: TargetId) -> impl Iterator<Item = String> {
        // What serves other endpoints only is of interest if nothing serves this one.
        let is_beside =
            !self.serves_endpoint(target) && self.first_tier().iter().any(|id| self.serves_endpoint(*id));
        let candidate = self.candidate(target).filter(|_| !is_beside);
        let is_unused = self.model.substitution.mode == Mode::Shadow && !self.is_first_choice(target);
        let unused = candidate.filter(|_| is_unused).map(|candidate| {
            format!(
                "`{}` is a substitute, and {} uses none.",
                candidate.target.name,
                self.rule("mode: shadow")
            )
        });
        let gates = self.refusing_gates(target).filter(move |_| !is_unused);
        unused.into_iter().chain(gates.filter_map(move |gate| Some(self.advise(gate, candidate?))))
    }

    fn advise(&self, gate: Gate, candidate: TargetContext<'a>) -> String {
        let target = candidate.target;
        let (name, offers) = (&target.name, &target.offers);
        let (needed, offered) =
            (self.needed(gate, candidate, &self.enforced_boundaries()), self.offered(gate, candidate));
        match gate {
            Gate::Dialect => {
                let ways = Translation::ALL.into_iter().filter(|way| way.from() == self.needs.endpoint);
                let could = ways.map(Translation::to).any(|to| candidate.provider.endpoints.contains(to));
                let translate = if could {
                    " To have it translated, declare `translate: true` at the target."
                } else {
                    ""
                };
                format!(
                    "`{name}` does not serve the endpoint `{needed}`, only {offered}. Add a target to the model \
                     whose provider serves it.{translate}"
                )
            }
            Gate::Translation => match self.losses(candidate).and_then(|losses| losses.too_much) {
                None => format!(
                    "The request would have to be translated for `{name}`, and it cannot be: {needed}. Correct it, or \
                     add a target whose provider takes `{}`.",
                    self.needs.endpoint.name()
                ),
                Some(lost) => {
                    let names = |losses: Losses| losses.iter().map(Loss::name).collect::<Vec<_>>().join(", ");
                    let allowed = target.translates.map_or(Losses::MINOR, |rules| rules.allowed);
                    // The whole list, so that the line can take the place of the one that is there.
                    let all = lost.union(allowed.without(Losses::MINOR));
                    format!(
                        "The request would be translated for `{name}` and lose {}. To allow that, write \
                         `allow: [{}]` into the target's `translate`.",
                        names(lost),
                        names(all)
                    )
                }
            },
            Gate::ProviderList => format!(
                "`{name}` is at the provider `{offered}`, which {} does not allow. To allow it, change that list.",
                self.places(gate, candidate)
            ),
            Gate::TargetList => {
                format!(
                    "{} does not allow `{name}`. To allow it, change that list.",
                    self.places(gate, candidate)
                )
            }
            Gate::Residency if offers.region.is_none() => self.undeclared(gate, candidate, "region", &needed),
            Gate::Residency => self.against(
                (gate, candidate),
                &format!("`{name}` processes data in `{offered}`"),
                &needed,
                "add its region there",
            ),
            Gate::ZeroRetention => self.required(gate, candidate, "zero_retention", offers.zero_retention),
            Gate::Training => self.required(gate, candidate, "training_opt_out", offers.training_opt_out),
            Gate::Quality if offers.quality.is_none() => self.undeclared(gate, candidate, "quality", &needed),
            Gate::Quality => self.against(
                (gate, candidate),
                &format!("`{name}` has the quality {offered}"),
                &needed,
                "lower it there",
            ),
            Gate::PriceCeiling | Gate::RequestCost if offers.price.is_none() => {
                self.undeclared(gate, candidate, "price", &needed)
            }
            Gate::PriceCeiling | Gate::RequestCost => self.against(
                (gate, candidate),
                &format!("`{name}` costs {offered}"),
                &needed,
                "raise it there",
            ),
            Gate::Capability(capability) => self.without_capability(candidate, capability, &needed),
            Gate::Streaming => format!(
                "`{name}` does not stream, because `streaming: false` is declared. If it does, declare \
                 `streaming: true` at the target."
            ),
            Gate::ContextWindow => format!(
                "The request needs {needed}, and the `context_window` of `{name}` is {offered}. If it is larger, \
                 declare `context_window` at the target."
            ),
            Gate::MaxOutput => format!(
                "The request asks for a response of {needed}, and the `max_output_tokens` of `{name}` are \
                 {offered}. If it can give more, declare `max_output_tokens` at the target."
            ),
            Gate::State => format!(
                "`{name}` (account `{}`) does not have what the request refers to ({needed}). Only the account \
                 that has it can take the request.",
                self.account(candidate)
            ),
            Gate::SealedReasoning if self.needs.sealed_reasoning => format!(
                "`{name}` cannot read the signed reasoning of the conversation. Only {needed} can take the request."
            ),
            Gate::SealedReasoning => format!(
                "`{name}` cannot read the encrypted reasoning of the conversation, only {needed} can. To let other \
                 accounts go on without it, write {}.",
                self.rule("sealed_reasoning: drop")
            ),
            Gate::NoFallback => {
                format!("`{name}` is a substitute, and the header `x-llm-no-fallback` allows none.")
            }
            Gate::LeaveAccount | Gate::LeaveProvider => format!(
                "`{name}` is {offered}, and {} does not list the failure. To allow it, list it there.",
                self.rule(gate.name())
            ),
            Gate::LargerWindow => format!(
                "The prompt was too long for another target, and `{name}` needs a larger `context_window` \
                 ({needed}); it has {offered}. If it is larger, declare `context_window` at the target."
            ),
            Gate::PriceRatio
                if offers.price.is_none() || self.first_targets().any(|it| it.offers.price.is_none()) =>
            {
                format!(
                    "`{name}` and the first choice need a `price`, because {} compares them. Declare \
                     `price: {{ input: …, output: … }}` at both targets.",
                    self.rule("max_price_ratio")
                )
            }
            Gate::PriceRatio => format!(
                "`{name}` costs {offered}, and {} allows {needed}. To allow it, raise that number.",
                self.rule("max_price_ratio")
            ),
            Gate::BillingOwner => format!(
                "`{name}` is billed to {offered}, and {} asks for {needed}. If it is the same, declare \
                 `billing_owner` at both accounts.",
                self.rule("same_billing_owner")
            ),
            Gate::PairNotApproved => format!(
                "`{name}` has no {needed}. To approve it, add `{{ from: {}, to: {name} }}` to {}.",
                self.first_targets().next().map_or("…", |first| &first.name),
                self.rule("approved")
            ),
            Gate::PairExpired => format!(
                "`{name}` needs {needed}, and its approval has expired. To extend it, change its `until` in {}.",
                self.rule("approved")
            ),
        }
    }

    fn without_capability(
        &self,
        candidate: TargetContext<'a>,
        capability: Capability,
        needed: &str,
    ) -> String {
        let (name, field) = (&candidate.target.name, capability.name());
        let of_request = if capability == Capability::N { format!(" ({needed})") } else { String::new() };
        let declare = format!("If it does, declare `{field}: true` at the target.");
        match self.denial(candidate, capability) {
            Denial::Unknown => format!("`{name}` does not offer `{field}`{of_request}. {declare}"),
            Denial::Catalogued => format!(
                "`{name}` does not offer `{field}`{of_request}, as far as the model catalogue knows. {declare}"
            ),
            Denial::Declared => format!(
                "`{name}` does not offer `{field}`{of_request}, because `{field}: false` is declared. {declare}"
            ),
            Denial::Dropped => format!(
                "`{name}` does not offer `{field}`{of_request}: its provider's {} endpoint drops it without an \
                 error, which no declaration changes. Use another endpoint, or another target.",
                self.called_endpoint(candidate).name()
            ),
        }
    }

    /// A property that a boundary asks for and the target must declare as true.
    fn required(
        &self,
        gate: Gate,
        candidate: TargetContext<'a>,
        field: &str,
        declared: Option<bool>,
    ) -> String {
        let name = &candidate.target.name;
        match declared {
            None => format!(
                "`{name}` does not declare `{field}`, which {} requires. If it offers that, declare \
                 `{field}: true` at the target.",
                self.places(gate, candidate)
            ),
            Some(_) => format!(
                "`{name}` declares `{field}: false`, and {} requires it. To allow the target, remove that boundary.",
                self.places(gate, candidate)
            ),
        }
    }

    fn undeclared(&self, gate: Gate, candidate: TargetContext<'a>, field: &str, needed: &str) -> String {
        let line = if field == "price" { "price: { input: …, output: … }" } else { field };
        format!(
            "`{}` does not declare its `{field}`, and {} asks for {needed}. Declare `{line}` at the target.",
            candidate.target.name,
            self.places(gate, candidate)
        )
    }

    /// A boundary that excludes the target for what is known of it. Only an operator can lift it, unless the
    /// client has set it.
    fn against(&self, at: (Gate, TargetContext<'a>), fact: &str, needed: &str, change: &str) -> String {
        let (gate, candidate) = at;
        let places = self.places(gate, candidate);
        let is_by_operator = self.enforced_boundaries().iter().any(|set| self.violates(set, gate, candidate));
        let advice = if is_by_operator { format!(" To allow it, {change}.") } else { String::new() };
        format!("{fact}, and {places} asks for {needed}.{advice}")
    }

    /// Where the boundaries are written that exclude the candidate at this gate.
    fn places(&self, gate: Gate, candidate: TargetContext<'a>) -> String {
        let (at_model, at_key) = fields(gate);
        let violates = |set: &Boundaries| self.violates(set, gate, candidate);
        let is_enforced = self.model.substitution.mode == Mode::Enforce;
        let model = (is_enforced && violates(&self.model.boundaries)).then(|| self.rule(at_model));
        let key = self.key.is_some_and(violates).then(|| format!("`{at_key}` of the client's key"));
        let client = (gate == Gate::Residency && self.is_outside_client_regions(candidate))
            .then(|| "the header `x-llm-region`".to_owned());
        let places: Vec<_> = [model, key, client].into_iter().flatten().collect();
        places.join(" or ")
    }

    /// A rule of the model.
    fn rule(&self, written: &str) -> String {
        format!("`models.{}.fallback.{written}`", self.model.name)
    }

    fn account(&self, candidate: TargetContext<'a>) -> &'a str {
        self.config.account(candidate.target.account).map_or("", |account| &account.name)
    }
}

/// The fields of a boundary, at a model and at a client's key.
const fn fields(gate: Gate) -> (&'static str, &'static str) {
    match gate {
        Gate::ProviderList => ("providers", "providers"),
        Gate::TargetList => ("targets", "targets"),
        Gate::Residency => ("region", "regions"),
        Gate::ZeroRetention => ("zero_retention", "zero_retention"),
        Gate::Training => ("training_opt_out", "training_opt_out"),
        Gate::Quality => ("min_quality", "min_quality"),
        Gate::PriceCeiling => ("max_price", "max_price"),
        _ => ("max_request_cost", "max_request_cost"),
    }
}
