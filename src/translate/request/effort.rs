//! How hard a model is to think.

use super::super::json::Raw;

/// The levels of effort of all dialects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Effort {
    None,
    Minimal,
    Low,
    Medium,
    High,
    XHigh,
    Max,
}

/// Every level: its name, and the budget of thinking tokens that stands for it at models that know no levels.
const LEVELS: [(Effort, &str, u64); 7] = [
    (Effort::None, "none", 0),
    (Effort::Minimal, "minimal", 0),
    (Effort::Low, "low", 2048),
    (Effort::Medium, "medium", 8192),
    (Effort::High, "high", 24_576),
    (Effort::XHigh, "xhigh", 32_768),
    (Effort::Max, "max", 49_152),
];

impl Effort {
    /// The level that a request names.
    pub(super) fn of(name: Raw<'_>) -> Option<Self> {
        LEVELS.iter().find(|(_, known, _)| name.is(known)).map(|(effort, ..)| *effort)
    }

    /// The highest level below xhigh whose budget is at most `budget`, but at least low: a budget asks for
    /// thinking.
    pub(super) fn of_budget(budget: u64) -> Self {
        let levels = [Self::High, Self::Medium];
        levels.into_iter().find(|level| level.budget() <= budget).unwrap_or(Self::Low)
    }

    /// Its name, which is the same in all dialects.
    pub(super) fn name(self) -> &'static str {
        LEVELS.iter().find(|(effort, ..)| *effort == self).map_or("medium", |(_, name, _)| name)
    }

    /// The thinking tokens that stand for it; 0 for no thinking.
    pub(super) fn budget(self) -> u64 {
        LEVELS.iter().find(|(effort, ..)| *effort == self).map_or(0, |(.., budget)| *budget)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_budgets_are_ranked() {
        for (effort, name, _) in LEVELS {
            let quoted = format!("\"{name}\"");
            assert_eq!(Effort::of(Raw::of(quoted.as_bytes()).unwrap()), Some(effort));
        }
        for (budget, effort) in [(1024, Effort::Low), (8192, Effort::Medium), (31_999, Effort::High)] {
            assert_eq!(Effort::of_budget(budget), effort, "{budget}");
        }
    }
}
