//! What `check` says about the model catalogue: which facts about each target come from it, and which are unknown.

use llm_failsafe::catalogue::{self, Facts};
use llm_failsafe::config::{Config, Source, Target};
use llm_failsafe::provider::Capability;

/// A line for each target, below a headline.
pub fn report(config: &Config) -> String {
    let mut report = format!("models, with list prices as of {}:", catalogue::as_of());
    for target in config.targets() {
        report.push_str(&format!("\n  targets.{}: {}", target.name, line(config, target)));
    }
    report
}

fn line(config: &Config, target: &Target) -> String {
    let facts = config
        .provider(target.provider)
        .and_then(|provider| catalogue::find(provider.kind, &provider.host, &target.model));
    let Some(facts) = facts else {
        return format!("`{}` is not in the catalogue{}", target.model, unknown(target));
    };
    let taken = taken(target, &facts);
    let taken = if taken.is_empty() { "nothing".to_owned() } else { taken.join(", ") };
    format!("from the catalogue: {taken}{}", unknown(target))
}

/// The facts that the target has from the catalogue.
fn taken(target: &Target, facts: &Facts) -> Vec<String> {
    let offers = &target.offers;
    let mut taken = Vec::new();
    for (limit, name) in
        [(offers.context_window, "context_window"), (offers.max_output_tokens, "max_output_tokens")]
    {
        if limit.source == Source::Catalogue {
            taken.push(format!("{name} {}", limit.tokens));
        }
    }
    for (word, present) in [("", true), ("no ", false)] {
        let listed = offers.catalogued.iter().filter(|it| offers.capabilities.contains(*it) == present);
        taken.extend(listed.map(|capability| format!("{word}{}", capability.name())));
    }
    if let Some(price) = offers.price.filter(|price| price.source == Source::Catalogue) {
        let mut shown = format!("price ${} input ${} output", price.input, price.output);
        if price.cached_input != price.input {
            shown.push_str(&format!(" ${} cached input", price.cached_input));
        }
        if let Some(tokens) = facts.price.and_then(|price| price.dearer_above) {
            shown.push_str(&format!(" (prompts above {tokens} tokens cost more, which is not counted)"));
        }
        taken.push(shown);
    }
    taken
}

/// What nobody has said about the target. The defaults of its provider kind hold.
fn unknown(target: &Target) -> String {
    let offers = &target.offers;
    let mut unknown: Vec<&str> = Vec::new();
    for (limit, name) in
        [(offers.context_window, "context_window"), (offers.max_output_tokens, "max_output_tokens")]
    {
        if !limit.source.is_known() {
            unknown.push(name);
        }
    }
    if offers.price.is_none() {
        unknown.push("price");
    }
    // Only these have a place in the catalogue. The other ones follow from the provider kind, or are declared.
    let listed = [
        Capability::Tools,
        Capability::JsonSchema,
        Capability::Vision,
        Capability::Files,
        Capability::Reasoning,
    ];
    unknown.extend(listed.into_iter().filter(|it| offers.knows(*it).is_none()).map(Capability::name));
    if unknown.is_empty() { String::new() } else { format!("; unknown: {}", unknown.join(", ")) }
}
