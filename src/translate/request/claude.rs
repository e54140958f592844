//! What the models of Anthropic take. Later ones refuse what earlier ones required, so a request must know
//! which model it is for.
//!
//! Models of others that speak Messages have copied the oldest form, and ignore what they do not know.

/// What a model takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Claude {
    pub(super) thinking: Thinking,
    /// Whether it knows the effort `xhigh`.
    pub(super) xhigh: bool,
    /// Whether it takes `temperature`, `top_p` and `top_k`.
    pub(super) sampling: bool,
}

/// How a model thinks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Thinking {
    /// Not at all.
    Never,
    /// With `type: enabled` and a budget of tokens.
    Budget,
    /// With `type: adaptive` and an effort. It is off unless asked for.
    Adaptive,
    /// The same, but it is on unless it is `disabled`.
    AdaptiveUnlessDisabled,
    /// The same, but it is always on. Then no tool can be forced.
    Always,
}

/// A version, major and minor.
type Version = (u8, u8);

/// The first version of each generation, and what it takes. The last one stands for all later ones.
const GENERATIONS: [(Version, Claude); 6] = [
    ((0, 0), Claude { thinking: Thinking::Never, xhigh: false, sampling: true }),
    ((3, 7), Claude { thinking: Thinking::Budget, xhigh: false, sampling: true }),
    ((4, 6), Claude { thinking: Thinking::Adaptive, xhigh: false, sampling: true }),
    ((4, 7), Claude { thinking: Thinking::Adaptive, xhigh: true, sampling: false }),
    ((5, 0), Claude { thinking: Thinking::AdaptiveUnlessDisabled, xhigh: true, sampling: false }),
    ((5, 1), NEWEST),
];

/// Takes all that the dialect has.
pub(super) const ANY: Claude = Claude { thinking: Thinking::Adaptive, xhigh: true, sampling: true };

const NEWEST: Claude = Claude { thinking: Thinking::Always, xhigh: true, sampling: false };

/// Families that think always, whatever their version.
const ALWAYS_THINKING: [&str; 2] = ["fable", "mythos"];

impl Claude {
    /// What the model with this name takes. A name of Anthropic's without a version is that of the newest.
    pub(super) fn named(model: &str) -> Self {
        let model = model.to_ascii_lowercase();
        let Some((_, name)) = model.split_once("claude") else {
            return Self { thinking: Thinking::Budget, xhigh: false, sampling: true };
        };
        if ALWAYS_THINKING.iter().any(|family| name.contains(family)) {
            return NEWEST;
        }
        let Some(version) = version(name) else { return NEWEST };
        let generation = GENERATIONS.iter().rev().find(|(first, _)| *first <= version);
        generation.map_or(NEWEST, |(_, claude)| *claude)
    }
}

/// The first number of a name, and the number right behind it. A date is no version.
fn version(name: &str) -> Option<Version> {
    let mut words = name.split(|character: char| !character.is_ascii_alphanumeric());
    let major = words.find_map(number)?;
    Some((major, words.next().and_then(number).unwrap_or(0)))
}

fn number(word: &str) -> Option<u8> {
    word.parse().ok().filter(|number| *number < 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_all_platforms_are_read() {
        for (model, thinking, sampling) in [
            ("claude-3-5-haiku-20241022", Thinking::Never, true),
            ("anthropic.claude-3-haiku-20240307-v1:0", Thinking::Never, true),
            ("claude-3-7-sonnet-20250219", Thinking::Budget, true),
            ("claude-opus-4-20250514", Thinking::Budget, true),
            ("claude-opus-4@20250514", Thinking::Budget, true),
            ("us.anthropic.claude-haiku-4-5-20251001-v1:0", Thinking::Budget, true),
            ("anthropic.claude-opus-4-6-v1", Thinking::Adaptive, true),
            ("anthropic/claude-sonnet-4.6", Thinking::Adaptive, true),
            ("anthropic/claude-4.7-opus", Thinking::Adaptive, false),
            ("claude-opus-4-8", Thinking::Adaptive, false),
            ("claude-sonnet-5", Thinking::AdaptiveUnlessDisabled, false),
            ("claude-opus-5", Thinking::AdaptiveUnlessDisabled, false),
            ("claude-opus-5-5", Thinking::Always, false),
            ("claude-fable-5", Thinking::Always, false),
            ("claude-mythos-preview", Thinking::Always, false),
            ("claude-latest", Thinking::Always, false),
            ("claude-opus-7", Thinking::Always, false),
            ("kimi-k2", Thinking::Budget, true),
            ("", Thinking::Budget, true),
        ] {
            let claude = Claude::named(model);
            assert_eq!((claude.thinking, claude.sampling), (thinking, sampling), "{model}");
        }
        assert!(Claude::named("claude-opus-4-7").xhigh && !Claude::named("claude-opus-4-6").xhigh);
    }
}
