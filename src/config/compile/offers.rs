use std::rc::Rc;

use super::common::number;
use super::text;
use crate::base::MicroDollars;
use crate::catalogue::{self, ListPrice};
use crate::config::mistakes::{Mistakes, Trail, shown};
use crate::config::offers::{Offers, Price, Source, TokenLimit};
use crate::config::raw::{Mapping, RawPrice, RawTarget};
use crate::provider::{self, Capability, CapabilitySet, ProviderKind};

/// The maximum number of tokens of a context window or a response.
const MAX_TOKENS: u64 = 1_000_000_000;
const MAX_QUALITY: u64 = 100;
/// The maximum price in dollars per million tokens. A higher price is probably in the wrong unit.
const MAX_PRICE: f64 = 100_000.0;

/// The declared capabilities and terms. The default is what the model catalogue knows, and otherwise the profile of the
/// provider kind.
pub(super) fn offers(
    raw: &RawTarget,
    kind: ProviderKind,
    host: &str,
    at: &Trail<'_>,
    mistakes: &mut Mistakes,
) -> Option<Offers> {
    let profile = provider::profile(kind);
    let model = raw.model.as_deref().unwrap_or_default();
    let facts = catalogue::find(kind, host, model).unwrap_or_default();
    let mut capabilities = profile.capabilities;
    let (mut declared, mut catalogued) = (CapabilitySet::default(), CapabilitySet::default());
    for capability in Capability::ALL {
        if let Some(present) = written(raw, capability) {
            capabilities = capabilities.with(capability, present);
            declared = declared.with(capability, true);
        } else if facts.known.contains(capability) {
            capabilities = capabilities.with(capability, facts.capabilities.contains(capability));
            catalogued = catalogued.with(capability, true);
        }
    }
    let mut tokens = |name, written: Option<u64>, known: Option<u64>, assumed| TokenLimit {
        tokens: number(written, known.unwrap_or(assumed), 1..=MAX_TOKENS, &at.field(name), mistakes),
        source: match (written, known) {
            (Some(_), _) => Source::Declared,
            (None, Some(_)) => Source::Catalogue,
            (None, None) => Source::Assumed,
        },
    };
    let context_window =
        tokens("context_window", raw.context_window, facts.context_window, profile.context_window);
    let max_output_tokens = tokens(
        "max_output_tokens",
        raw.max_output_tokens,
        facts.max_output_tokens,
        profile.max_output_tokens,
    );
    let region = raw.region.as_ref();
    let region = region.map(|region| text::checked(region, text::region, &at.field("region"), mistakes));
    let quality =
        raw.quality.map(|quality| number(Some(quality), 1, 1..=MAX_QUALITY, &at.field("quality"), mistakes));
    let price = raw.price.as_ref().map(|Mapping(raw)| price(raw, &at.field("price"), mistakes));
    Some(Offers {
        capabilities,
        declared,
        catalogued,
        streaming: raw.streaming,
        context_window,
        max_output_tokens,
        region: without_mistake(region)?.map(Rc::from),
        zero_retention: raw.zero_retention,
        training_opt_out: raw.training_opt_out,
        price: without_mistake(price)?.or(facts.price.map(listed)),
        quality: quality.and_then(|quality| u8::try_from(quality).ok()),
    })
}

/// An optional value, or `None` if it is a mistake.
fn without_mistake<T>(written: Option<Option<T>>) -> Option<Option<T>> {
    match written {
        Some(None) => None,
        other => Some(other.flatten()),
    }
}

const fn written(raw: &RawTarget, capability: Capability) -> Option<bool> {
    match capability {
        Capability::Tools => raw.tools,
        Capability::ParallelTools => raw.parallel_tools,
        Capability::StrictTools => raw.strict_tools,
        Capability::HostedTools => raw.hosted_tools,
        Capability::JsonSchema => raw.json_schema,
        Capability::JsonObject => raw.json_object,
        Capability::Vision => raw.vision,
        Capability::Audio => raw.audio,
        Capability::AudioOutput => raw.audio_output,
        Capability::ImageOutput => raw.image_output,
        Capability::Files => raw.files,
        Capability::Reasoning => raw.reasoning,
        Capability::Logprobs => raw.logprobs,
        Capability::Seed => raw.seed,
        Capability::N => raw.n,
    }
}

fn price(raw: &RawPrice, at: &Trail<'_>, mistakes: &mut Mistakes) -> Option<Price> {
    let input = dollars(raw.input, &at.field("input"), mistakes);
    let output = dollars(raw.output, &at.field("output"), mistakes);
    let cached_input = match raw.cached_input {
        Some(_) => dollars(raw.cached_input, &at.field("cached_input"), mistakes),
        None => input,
    };
    Some(Price { input: input?, output: output?, cached_input: cached_input?, source: Source::Declared })
}

/// The price of the model catalogue.
const fn listed(price: ListPrice) -> Price {
    let ListPrice { input, cached_input, output, .. } = price;
    Price { input, output, cached_input, source: Source::Catalogue }
}

/// A required amount.
pub(super) fn dollars(written: Option<f64>, at: &Trail<'_>, mistakes: &mut Mistakes) -> Option<MicroDollars> {
    let Some(written) = written else {
        mistakes.add(at, "is missing, expected US dollars");
        return None;
    };
    if !(0.0..=MAX_PRICE).contains(&written) {
        let written = shown(&written.to_string());
        mistakes.add(at, format!("is {written}, expected US dollars, 0 to {MAX_PRICE}"));
        return None;
    }
    MicroDollars::from_dollars(written)
}
