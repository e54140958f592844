//! Metrics with labels: one series for each combination of configured names and words of this catalogue.
//!
//! All series are defined once, when the configuration is loaded. After that a series is a number. So
//! counting formats no text. Data from clients and providers never becomes a label, because it could fill
//! Envoy's memory. A request that began under an earlier configuration counts nothing here: its numbers
//! would mean other series.
//!
//! Envoy's Wasm ABI has no labels. They are part of the name, such as
//! `llm_failsafe_attempts_by_outcome;target=gpt-a;outcome=server`, and the bootstrap's `stats_tags` turn
//! them into labels. The separators are `;` and `=` because no configured name contains them; names of
//! models contain dots. Istio's own tags read `target=.=gpt-a;.;outcome=.=server;.;` before the name
//! (`metric_labels`).

use super::metric_kind::MetricKind;
use super::orders::ScopeKind;
use crate::base::{AccountId, ErrorClass, ModelId, ProviderId, TargetId};
use crate::breaker::Scope;
use crate::config::{Config, MetricLabels};

/// Maximum number of series of one configuration. A family that would exceed it is left out.
pub const MAX_SERIES: usize = 20_000;

/// What a family has a series for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dim {
    /// Every target, account and endpoint: the labels `scope` and `name`.
    Scope,
    /// Every target.
    Target,
    /// Every logical model.
    Model,
    /// Every operator's key.
    Operator,
    /// One label with a fixed list of values.
    Words(&'static [&'static str], &'static [&'static str]),
}

impl Dim {
    /// Its labels.
    pub const fn labels(self) -> &'static [&'static str] {
        match self {
            Self::Scope => &["scope", "name"],
            Self::Target => &["target"],
            Self::Model => &["model"],
            Self::Operator => &["key"],
            Self::Words(label, _) => label,
        }
    }

    fn size(self, config: &Config) -> usize {
        match self {
            Self::Scope => config.targets().len() + config.accounts().len() + config.providers().len(),
            Self::Target => config.targets().len(),
            Self::Model => config.models().len(),
            Self::Operator => config.operators.len(),
            Self::Words(_, words) => words.len(),
        }
    }

    /// Writes the labels of one value.
    fn write(self, config: &Config, place: usize, labels: &mut String) {
        let mut label = |label: &str, value: &str| {
            // The separators before the label, before its value and behind it.
            let [before, between, behind] = match config.metric_labels {
                MetricLabels::Envoy => [";", "=", ""],
                MetricLabels::Istio => ["", "=.=", ";.;"],
            };
            [before, label, between, value, behind].iter().for_each(|part| labels.push_str(part));
        };
        match self {
            Self::Scope => {
                let (targets, accounts) = (config.targets(), config.accounts());
                let of_accounts = place.saturating_sub(targets.len());
                let of_endpoints = of_accounts.saturating_sub(accounts.len());
                let (kind, value) = match (targets.get(place), accounts.get(of_accounts)) {
                    (Some(target), _) => (ScopeKind::Target, &target.name),
                    (None, Some(account)) => (ScopeKind::Account, &account.name),
                    (None, None) => match config.providers().get(of_endpoints) {
                        Some(endpoint) => (ScopeKind::Endpoint, &endpoint.name),
                        None => return,
                    },
                };
                label("scope", kind.name());
                label("name", value);
            }
            Self::Target => {
                if let Some(target) = config.targets().get(place) {
                    label("target", &target.name);
                }
            }
            Self::Model => {
                if let Some(model) = config.models().get(place) {
                    label("model", &model.name);
                }
            }
            Self::Operator => {
                if let Some(key) = config.operators.get(place) {
                    label("key", &key.name);
                }
            }
            Self::Words(_, words) => {
                if let (Some(name), Some(word)) = (self.labels().first(), words.get(place)) {
                    label(name, word);
                }
            }
        }
    }
}

/// The outcomes of an attempt: three that are no failure, then the failure classes.
pub const OUTCOMES: &[&str] = &with_classes::<3, { 3 + CLASSES }>(["complete", "client_gone", "withdrawn"]);
/// Why the first choice did not answer a request: what made it ineligible, or the class of its failure.
pub const REASONS: &[&str] = &with_classes::<9, { 9 + CLASSES }>([
    "other",
    "open",
    "throttled",
    "blocked",
    "slow_start",
    "forced_open",
    "drained",
    "dialect",
    "tried_anyway",
]);
/// The outcomes of a request.
pub const ENDS: &[&str] = &["served", "fell_back", "queued", "refused", "declined", "broken", "client_abort"];
/// State changes of a breaker.
pub const CHANGES: &[&str] = &["opened", "reopened", "closed", "throttled"];
/// Kinds of tokens.
pub const TOKENS: &[&str] = &["input", "cached_input", "cache_creation", "output", "reasoning"];
/// Orders of operators.
pub const ORDERS: &[&str] = &["force-open", "force-close", "drain", "probe", "undo", "reset"];

const CLASSES: usize = ErrorClass::ALL.len();

/// The given words, followed by every failure class.
const fn with_classes<const OWN: usize, const ALL: usize>(own: [&'static str; OWN]) -> [&'static str; ALL] {
    let mut words = [""; ALL];
    let mut index = 0;
    while index < ALL {
        #[allow(clippy::indexing_slicing, reason = "at compile time")]
        let word = if index < OWN { own[index] } else { ErrorClass::ALL[index - OWN].name() };
        #[allow(clippy::indexing_slicing, reason = "at compile time")]
        {
            words[index] = word;
        }
        index += 1;
    }
    words
}

macro_rules! families {
    ($($(#[doc = $doc:literal])+ $variant:ident, $kind:ident, $name:literal, [$($dim:expr),+];)+) => {
        /// The families of metrics with labels.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Family {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl Family {
            /// The whole catalogue, in the order of the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The name under which Envoy exports it.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// Counter, gauge or histogram.
            pub const fn kind(self) -> MetricKind {
                match self { $(Self::$variant => MetricKind::$kind,)+ }
            }

            /// The dimensions, at most two. The family has a series for each combination.
            pub const fn dims(self) -> &'static [Dim] {
                match self { $(Self::$variant => &[$($dim),+],)+ }
            }
        }
    };
}

families! {
    /// State of each breaker: 0 closed, 1 forced closed, 2 half-open, 3 throttled, 4 drained, 5 forced open, 6 open, 7 blocked.
    BreakerState, Gauge, "llm_failsafe_breaker_state", [Dim::Scope];
    /// Targets of the model that accept requests now, by their breakers.
    TargetsFit, Gauge, "llm_failsafe_model_targets_fit", [Dim::Model];
    /// Requests in the queue of each model now.
    WaitingByModel, Gauge, "llm_failsafe_waiting_by_model", [Dim::Model];
    /// How many attempts may be in flight at each target now (`max_pending`); 0 without a limit.
    PendingLimit, Gauge, "llm_failsafe_pending_limit", [Dim::Target];
    /// State changes of each breaker.
    BreakerChanges, Counter, "llm_failsafe_breaker_changes", [Dim::Scope, Dim::Words(&["to"], CHANGES)];
    /// Requests that probed each breaker.
    ProbesByName, Counter, "llm_failsafe_breaker_probes_by_name", [Dim::Scope];
    /// Requests by outcome, as in the decision record: `served` by the first choice, `fell_back` to another target, `queued` for the first choice, `refused` because no target could answer, `declined` because of the request itself or its key's budget, `broken` in the middle of the response, `client_abort`.
    RequestsByEnd, Counter, "llm_failsafe_requests_by_end", [Dim::Model, Dim::Words(&["outcome"], ENDS)];
    /// Requests answered by another target than the first choice, by reason.
    Fallbacks, Counter, "llm_failsafe_fallbacks", [Dim::Model, Dim::Words(&["reason"], REASONS)];
    /// Attempts at each target by outcome: `complete`, `client_gone`, `withdrawn` by the filter itself, or a failure class.
    AttemptsByOutcome, Counter, "llm_failsafe_attempts_by_outcome", [Dim::Target, Dim::Words(&["outcome"], OUTCOMES)];
    /// Failed attempts whose client had already received part of the response: a 200 with a broken stream.
    AttemptsBroken, Counter, "llm_failsafe_attempts_broken", [Dim::Target];
    /// Attempts with content at each target whose provider reported no token usage.
    UsageMissing, Counter, "llm_failsafe_usage_missing_by_target", [Dim::Target];
    /// Tokens that the provider of each target reported. `cached_input` and `cache_creation` are part of `input`, `reasoning` is part of `output`.
    Tokens, Counter, "llm_failsafe_tokens_by_target", [Dim::Target, Dim::Words(&["kind"], TOKENS)];
    /// Cost of these tokens by the target's `price`, in millionths of a US dollar.
    Cost, Counter, "llm_failsafe_cost_microdollars", [Dim::Target];
    /// Time from sending an attempt to its first content, in milliseconds.
    FirstContent, Histogram, "llm_failsafe_first_content_milliseconds", [Dim::Target];
    /// Longest time without a byte in a stream that had content, in milliseconds. The real gap may be up to 200 ms longer.
    LongestGap, Histogram, "llm_failsafe_longest_gap_milliseconds", [Dim::Target];
    /// Time from sending an attempt to the end of its complete response, in milliseconds.
    Duration, Histogram, "llm_failsafe_attempt_milliseconds", [Dim::Target];
    /// Orders by operator key.
    OrdersByKey, Counter, "llm_failsafe_operator_orders_by_key", [Dim::Operator, Dim::Words(&["order"], ORDERS)];
}

/// The numbers of all series of a configuration.
#[derive(Debug)]
pub struct Series {
    fingerprint: u64,
    /// The first number of each family and the size of its second dimension; `None` if the family was left out.
    families: Vec<Option<(usize, usize)>>,
    total: usize,
    scopes: [usize; 2],
}

impl Series {
    /// The series of `config`.
    pub fn new(config: &Config) -> Self {
        let mut total = 0_usize;
        let families = Family::ALL
            .iter()
            .map(|family| {
                let mut sizes = family.dims().iter().map(|dim| dim.size(config));
                let (first, second) = (sizes.next().unwrap_or(0), sizes.next().unwrap_or(1));
                let end = total.saturating_add(first.saturating_mul(second));
                if end > MAX_SERIES {
                    return None;
                }
                let begin = std::mem::replace(&mut total, end);
                Some((begin, second))
            })
            .collect();
        let scopes = [config.targets().len(), config.accounts().len()];
        Self { fingerprint: config.fingerprint(), families, total, scopes }
    }

    /// The number of series.
    pub const fn len(&self) -> usize {
        self.total
    }

    /// Whether there are no series.
    pub const fn is_empty(&self) -> bool {
        self.total == 0
    }

    /// The families that were left out.
    pub fn left_out(&self) -> impl Iterator<Item = Family> {
        Family::ALL.iter().zip(&self.families).filter(|(_, place)| place.is_none()).map(|(family, _)| *family)
    }

    /// Calls `sink` with the kind and the full name of each series, in the order of their numbers.
    pub fn define(&self, config: &Config, mut sink: impl FnMut(MetricKind, &str)) {
        for (family, place) in Family::ALL.iter().zip(&self.families) {
            let Some((_, second_size)) = *place else { continue };
            let mut dims = family.dims().iter().copied();
            let Some(first) = dims.next() else { continue };
            let second = dims.next();
            for place in 0..first.size(config) {
                for inner in 0..second_size {
                    let mut labels = String::new();
                    first.write(config, place, &mut labels);
                    if let Some(second) = second {
                        second.write(config, inner, &mut labels);
                    }
                    let name = match config.metric_labels {
                        MetricLabels::Envoy => [family.name(), &labels].concat(),
                        MetricLabels::Istio => [&labels, family.name()].concat(),
                    };
                    sink(family.kind(), &name);
                }
            }
        }
    }

    /// The number of one series. `None` if the family was left out, if a place does not exist, or for another
    /// configuration: a journey that began before an update is counted without labels only.
    pub fn number(&self, config: &Config, family: Family, first: usize, second: usize) -> Option<usize> {
        if config.fingerprint() != self.fingerprint {
            return None;
        }
        let (begin, second_size) = (*self.families.get(family as usize)?)?;
        let number = begin.checked_add(first.checked_mul(second_size)?)?.checked_add(second)?;
        (second < second_size && number < self.total).then_some(number)
    }

    /// The place of a scope among all.
    pub const fn scope(&self, scope: Scope) -> usize {
        let [targets, accounts] = self.scopes;
        match scope {
            Scope::Target(id) => id.index(),
            Scope::Account(id) => targets + id.index(),
            Scope::Endpoint(id) => targets + accounts + id.index(),
        }
    }

    /// Every scope, in the order of their places.
    pub fn all_scopes(config: &Config) -> impl Iterator<Item = Scope> {
        let targets = (0..config.targets().len()).filter_map(TargetId::from_index).map(Scope::Target);
        let accounts = (0..config.accounts().len()).filter_map(AccountId::from_index).map(Scope::Account);
        let endpoints = (0..config.providers().len()).filter_map(ProviderId::from_index).map(Scope::Endpoint);
        targets.chain(accounts).chain(endpoints)
    }

    /// Every target.
    pub fn all_targets(config: &Config) -> impl Iterator<Item = TargetId> {
        (0..config.targets().len()).filter_map(TargetId::from_index)
    }

    /// Every model.
    pub fn all_models(config: &Config) -> impl Iterator<Item = ModelId> {
        (0..config.models().len()).filter_map(ModelId::from_index)
    }
}

/// The place of a word in its list, or 0 if the list does not contain it.
pub fn place(words: &[&str], word: &str) -> usize {
    words.iter().position(|known| *known == word).unwrap_or(0)
}

/// The place of a failure class in a list that begins with `own` other words.
pub const fn class_place(own: usize, class: ErrorClass) -> usize {
    own + class as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::breaker::Command;
    use crate::config;
    use serde_json::{Value, json};

    fn load(targets: usize, models: &[&str]) -> Config {
        let target =
            |n: usize| (format!("t{n}"), json!({"provider": "p", "model": "m", "key": {"value": "k"}}));
        let targets: serde_json::Map<String, Value> = (0..targets).map(target).collect();
        let models: serde_json::Map<String, Value> =
            models.iter().map(|name| ((*name).to_owned(), json!({"targets": ["t0"]}))).collect();
        let config = json!({"providers": {"p": {"kind": "openai"}}, "targets": targets, "models": models});
        config::load(config.to_string().as_bytes(), &|_| None).unwrap()
    }

    #[test]
    fn istio_finds_labels_before_the_name() {
        let config = json!({"providers": {"p": {"kind": "openai"}}, "metric_labels": "istio",
            "targets": {"t0": {"provider": "p", "model": "m", "key": {"value": "k"}}},
            "models": {"gpt-4.1": {"targets": ["t0"]}}});
        let config = config::load(config.to_string().as_bytes(), &|_| None).unwrap();
        let names = names(&config);
        for name in [
            "model=.=gpt-4.1;.;outcome=.=fell_back;.;llm_failsafe_requests_by_end",
            "scope=.=endpoint;.;name=.=p;.;llm_failsafe_breaker_state",
        ] {
            assert!(names.iter().any(|it| it == name), "{name}");
        }
        assert!(names.iter().all(|name| name.contains("=.=") && name.contains(";.;llm_failsafe_")));
    }

    fn names(config: &Config) -> Vec<String> {
        let mut names = Vec::new();
        Series::new(config).define(config, |_, name| names.push(name.to_owned()));
        names
    }

    #[test]
    fn each_series_has_a_unique_name_at_its_number() {
        let config = load(3, &["gpt-4.1", "meta/llama:free"]);
        let (names, series) = (names(&config), Series::new(&config));
        assert_eq!(names.len(), series.len());
        let mut unique = names.clone();
        unique.sort_unstable();
        unique.dedup();
        assert_eq!(unique.len(), names.len());
        let name_of =
            |family, first, second| names[series.number(&config, family, first, second).unwrap()].as_str();
        assert_eq!(name_of(Family::BreakerState, 4, 0), "llm_failsafe_breaker_state;scope=account;name=t1");
        assert_eq!(name_of(Family::BreakerState, 6, 0), "llm_failsafe_breaker_state;scope=endpoint;name=p");
        assert_eq!(
            name_of(Family::RequestsByEnd, 0, 1),
            "llm_failsafe_requests_by_end;model=gpt-4.1;outcome=fell_back"
        );
        let server = class_place(3, ErrorClass::Server);
        assert_eq!(
            name_of(Family::AttemptsByOutcome, 2, server),
            "llm_failsafe_attempts_by_outcome;target=t2;outcome=server"
        );
        let endpoint = ProviderId::from_index(0).unwrap();
        assert_eq!(series.scope(Scope::Endpoint(endpoint)), 6);
    }

    #[test]
    fn a_series_that_does_not_exist_has_no_number() {
        let config = load(3, &["chat"]);
        let series = Series::new(&config);
        assert_eq!(series.number(&config, Family::Fallbacks, 0, REASONS.len()), None);
        assert_eq!(series.number(&config, Family::OrdersByKey, 0, 0), None, "there are no operators");
        assert_eq!(
            series.number(&load(4, &["chat"]), Family::BreakerState, 0, 0),
            None,
            "another configuration"
        );
    }

    #[test]
    fn a_large_configuration_leaves_families_out_to_stay_within_the_limit() {
        let config = load(config::MAX_TARGETS, &["chat"]);
        let series = Series::new(&config);
        assert!(series.len() <= MAX_SERIES && names(&config).len() == series.len());
        assert!(series.left_out().count() < Family::ALL.len() / 2, "more than half of the families remain");
        assert!(series.number(&config, Family::BreakerState, 0, 0).is_some());
    }

    #[test]
    fn label_values_match_the_names_of_their_types() {
        assert_eq!(ORDERS, Command::ALL.map(Command::name));
        for class in ErrorClass::ALL {
            assert_eq!(OUTCOMES[class_place(3, class)], class.name());
            assert!(REASONS.contains(&class.name()));
        }
        assert_eq!(REASONS[place(REASONS, "never heard of")], "other");
        for words in [OUTCOMES, REASONS, ENDS, CHANGES, TOKENS, ORDERS] {
            assert!(
                words
                    .iter()
                    .all(|word| word.bytes().all(|byte| byte.is_ascii_lowercase() || b"_-".contains(&byte)))
            );
        }
    }
}
