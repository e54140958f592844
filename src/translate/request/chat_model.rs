//! What the models behind chat completions take.
//!
//! OpenAI's reasoning models refuse what all others know, and other servers refuse what only OpenAI's models
//! know. A server of another maker gets the oldest names, which all of them understand.

use super::effort::Effort;

/// What a model takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ChatModel {
    /// The member that limits the answer.
    pub(super) limit: &'static str,
    /// Whether it takes `temperature` and `top_p`.
    pub(super) sampling: bool,
    /// Whether it takes `stop`.
    pub(super) stop: bool,
    /// Whether it takes `verbosity`.
    pub(super) verbosity: bool,
    /// The lowest and highest effort that it takes; `None` if it takes none.
    pub(super) efforts: Option<(Effort, Effort)>,
    /// Whether it takes tools only if it does not reason, which it does unless told not to.
    pub(super) tools_without_reasoning: bool,
    /// Whether the request goes on to Messages: then parts may stand where OpenAI takes none.
    pub(super) onward: bool,
}

/// A version, major and minor.
type Version = (u8, u8);

/// A request that is translated once more. What the last provider does not take is decided there.
pub(super) const ONWARD: ChatModel = ChatModel {
    limit: "max_completion_tokens",
    sampling: true,
    stop: true,
    verbosity: true,
    efforts: Some((Effort::None, Effort::Max)),
    tools_without_reasoning: false,
    onward: true,
};

const PLAIN: ChatModel = ChatModel {
    limit: "max_tokens",
    sampling: true,
    stop: true,
    verbosity: false,
    efforts: None,
    tools_without_reasoning: false,
    onward: false,
};

const REASONING: ChatModel = ChatModel {
    limit: "max_completion_tokens",
    sampling: false,
    stop: false,
    verbosity: false,
    efforts: Some((Effort::Low, Effort::High)),
    tools_without_reasoning: false,
    onward: false,
};

/// The first version of each generation of GPT that reasons: the efforts that it takes, and whether it takes
/// tools only without reasoning.
const GPT: [(Version, (Effort, Effort), bool); 3] = [
    ((5, 0), (Effort::Minimal, Effort::High), false),
    ((5, 1), (Effort::None, Effort::High), false),
    ((5, 2), (Effort::None, Effort::XHigh), true),
];

/// The beginnings of the names of other makers' models that take `reasoning_effort`.
const OTHERS_WITH_EFFORT: [&str; 4] = ["gpt-oss", "gemini-2.5", "gemini-3", "deepseek-v"];

impl ChatModel {
    /// What the model with this name takes. A part before a slash names the maker.
    pub(super) fn named(model: &str) -> Self {
        let model = model.to_ascii_lowercase();
        let name = model.rsplit('/').next().unwrap_or_default();
        if let Some(version) = gpt_version(name) {
            let generation = GPT.iter().rev().find(|(first, ..)| *first <= version);
            let without = |(_, efforts, without): &(Version, (Effort, Effort), bool)| Self {
                efforts: Some(*efforts),
                tools_without_reasoning: *without,
                verbosity: true,
                ..REASONING
            };
            return generation.map_or(PLAIN, without);
        }
        if is_o_series(name) {
            return REASONING;
        }
        let takes_effort = OTHERS_WITH_EFFORT.iter().any(|begin| name.starts_with(begin));
        let efforts = takes_effort.then_some((Effort::Low, Effort::High));
        Self { efforts, ..PLAIN }
    }

    /// The effort that the model takes in place of `effort`.
    pub(super) fn effort(self, effort: Effort) -> Option<Effort> {
        let (lowest, highest) = self.efforts?;
        Some(effort.clamp(lowest, highest))
    }
}

/// The version of a GPT. Its variants for conversation do not reason.
fn gpt_version(name: &str) -> Option<Version> {
    let version = name.strip_prefix("gpt-").filter(|_| !name.contains("-chat"))?;
    let (number, _) = version.split_once('-').unwrap_or((version, ""));
    let (major, minor) = number.split_once('.').unwrap_or((number, "0"));
    Some((major.parse().ok()?, minor.parse().ok()?))
}

fn is_o_series(name: &str) -> bool {
    matches!(name.as_bytes(), [b'o', b'1'..=b'9'] | [b'o', b'1'..=b'9', b'-', ..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_are_told_apart_by_name() {
        for (model, limit, efforts, tools_without_reasoning) in [
            ("gpt-4o", "max_tokens", None, false),
            ("gpt-4.1-mini", "max_tokens", None, false),
            ("gpt-5", "max_completion_tokens", Some((Effort::Minimal, Effort::High)), false),
            ("openai/gpt-5-mini", "max_completion_tokens", Some((Effort::Minimal, Effort::High)), false),
            ("gpt-5.1-2025-11-13", "max_completion_tokens", Some((Effort::None, Effort::High)), false),
            ("gpt-5.6-terra", "max_completion_tokens", Some((Effort::None, Effort::XHigh)), true),
            ("gpt-6", "max_completion_tokens", Some((Effort::None, Effort::XHigh)), true),
            ("gpt-5-chat-latest", "max_tokens", None, false),
            ("o3", "max_completion_tokens", Some((Effort::Low, Effort::High)), false),
            ("o4-mini", "max_completion_tokens", Some((Effort::Low, Effort::High)), false),
            ("openai/gpt-oss-120b", "max_tokens", Some((Effort::Low, Effort::High)), false),
            ("mistral-large-latest", "max_tokens", None, false),
            ("olmo-3", "max_tokens", None, false),
        ] {
            let found = ChatModel::named(model);
            let expected = (limit, efforts, tools_without_reasoning);
            assert_eq!((found.limit, found.efforts, found.tools_without_reasoning), expected, "{model}");
            assert_eq!(found.sampling, limit == "max_tokens", "{model}");
        }
    }

    #[test]
    fn an_effort_is_cut_to_what_the_model_takes() {
        let cut = |model, effort| ChatModel::named(model).effort(effort);
        assert_eq!(cut("o3", Effort::None), Some(Effort::Low));
        assert_eq!(cut("gpt-5", Effort::Max), Some(Effort::High));
        assert_eq!(cut("gpt-5.6", Effort::Max), Some(Effort::XHigh));
        assert_eq!(cut("gpt-4o", Effort::High), None);
    }
}
