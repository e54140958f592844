//! Under which names a model is looked up, and in which tables.

use crate::provider::{self, ProviderKind};

/// Hosts that answer as the same provider. The catalogue has the second name.
const SAME_HOST: [(&str, &str); 1] = [("api.together.ai", "api.together.xyz")];

/// What OpenRouter's names may end with if only the choice of the provider differs.
const ROUTES: [&str; 4] = [":exacto", ":floor", ":nitro", ":online"];

/// The tables of a provider, the first choice first.
pub(super) fn tables(kind: ProviderKind, host: &str) -> [&str; 2] {
    let table = match kind {
        ProviderKind::OpenAiCompatible => of_host(host),
        ProviderKind::Listed(_) => of_host(provider::default_host(kind).unwrap_or(host)),
        kind => kind.name(),
    };
    // OpenAI's models can do the same at Azure, and have the same list price.
    let second = if kind == ProviderKind::AzureOpenAi { ProviderKind::OpenAi.name() } else { table };
    [table, second]
}

/// The table of a host. Kinds with rules of their own have a table with their name.
fn of_host(host: &str) -> &str {
    let own = ProviderKind::ALL.into_iter().filter(|kind| !matches!(kind, ProviderKind::Listed(_)));
    let of_kind = own.into_iter().find(|kind| provider::default_host(*kind) == Some(host));
    let same = SAME_HOST.into_iter().find(|(other, _)| *other == host);
    of_kind.map(ProviderKind::name).or(same.map(|(_, host)| host)).unwrap_or(host)
}

/// A name under which to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Spelling<'a> {
    pub(super) name: &'a str,
    /// Whether the price found there is the model's own.
    pub(super) has_price: bool,
}

/// The name of a target's model.
pub(super) struct Name {
    lower: String,
    /// Where the part of `lower` begins and ends that names a model.
    from: usize,
    to: usize,
    has_price: bool,
}

impl Name {
    pub(super) fn of(kind: ProviderKind, model: &str) -> Self {
        let lower = model.to_ascii_lowercase();
        let mut name = Self { from: 0, to: lower.len(), has_price: true, lower };
        if let Some(base) = name.lower.strip_prefix("ft:") {
            // A fine-tuned model, such as `ft:gpt-4o-mini:organisation::id`. It costs more than its base.
            let length = base.find(':').unwrap_or(base.len());
            name.from = name.lower.len().saturating_sub(base.len());
            name.to = name.from.saturating_add(length);
            name.has_price = false;
        } else if kind == ProviderKind::Gemini && name.lower.starts_with("models/") {
            name.from = "models/".len();
        }
        name
    }

    fn text(&self) -> &str {
        self.lower.get(self.from..self.to).unwrap_or_default()
    }

    /// The names under which to look at its own provider, the most exact one first.
    pub(super) fn spellings(&self) -> impl Iterator<Item = Spelling<'_>> {
        let exact = self.text();
        let routed = ROUTES.iter().find_map(|route| exact.strip_suffix(route));
        let own = [Some(exact), undated(exact)].into_iter().flatten();
        let own = own.map(|name| Spelling { name, has_price: self.has_price });
        own.chain(routed.map(|name| Spelling { name, has_price: false }))
    }

    /// The names under which to look whoever serves the model.
    pub(super) fn without_vendor(&self) -> impl Iterator<Item = &str> {
        let exact = self.text();
        let own = exact.rsplit_once('/').map_or(exact, |(_, own)| own);
        [Some(own), undated(own)].into_iter().flatten()
    }
}

/// The name without the date of a snapshot or `-latest` at its end. `catalogue/update.py` knows the same rule.
fn undated(name: &str) -> Option<&str> {
    if let Some(plain) = name.strip_suffix("-latest") {
        return Some(plain);
    }
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    // `-20250929` or `@20250929`
    if let Some((plain, date)) = name.len().checked_sub(9).and_then(|at| name.split_at_checked(at))
        && let Some(date) = date.strip_prefix(['-', '@'])
        && date.starts_with("20")
        && digits(date)
    {
        return Some(plain);
    }
    // `-2024-08-06`
    let (plain, date) = name.split_at_checked(name.len().checked_sub(11)?)?;
    let mut parts = date.strip_prefix('-')?.split('-');
    let lengths = [4, 2, 2];
    let is_date = lengths
        .into_iter()
        .all(|length| parts.next().is_some_and(|part| part.len() == length && digits(part)));
    is_date.then_some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_or_latest_at_the_end_is_left_out_and_nothing_else() {
        for (name, plain) in [
            ("gpt-4o-2024-08-06", Some("gpt-4o")),
            ("claude-sonnet-4-5-20250929", Some("claude-sonnet-4-5")),
            ("claude-sonnet-4-5@20250929", Some("claude-sonnet-4-5")),
            ("claude-3-7-sonnet-latest", Some("claude-3-7-sonnet")),
            ("gpt-4o", None),
            ("gpt-4-0613", None),
            ("mistral-large-2411", None),
            ("gpt-4o-audio-preview", None),
            ("model-12345678", None),
            ("-2024-8-06x", None),
            ("a-20ä40806", None),
            ("ä", None),
            ("", None),
        ] {
            assert_eq!(undated(name), plain, "{name}");
        }
    }

    #[test]
    fn a_fine_tuned_model_is_looked_up_as_its_base_without_a_price() {
        let name = Name::of(ProviderKind::OpenAi, "ft:GPT-4o-mini-2024-07-18:acme::abc");
        let expected =
            ["gpt-4o-mini-2024-07-18", "gpt-4o-mini"].map(|name| Spelling { name, has_price: false });
        assert_eq!(name.spellings().collect::<Vec<_>>(), expected);
        assert_eq!(Name::of(ProviderKind::OpenAi, "ft:").text(), "");
    }

    #[test]
    fn a_host_of_a_kind_has_the_table_of_the_kind() {
        let of = |host| tables(ProviderKind::OpenAiCompatible, host)[0];
        assert_eq!(of("api.openai.com"), "openai");
        assert_eq!(of("api.together.ai"), "api.together.xyz");
        assert_eq!(of("llm.internal"), "llm.internal");
        assert_eq!(tables(ProviderKind::AzureOpenAi, "x.openai.azure.com"), ["azure-openai", "openai"]);
    }
}
