//! What is known about current models: capabilities, sizes, list prices.
//!
//! The facts come from `catalogue/models.tsv`, which `catalogue/update.py` writes from public data. They are looked up
//! while a configuration is loaded, and never for a request.
//!
//! - `pack`: how the build script packs the file; `table`: how the packed form is read.
//! - `names`: under which names a model is looked up.
//!
//! **Nothing is guessed.** A model is found by its whole name, and only a date at its end may be missing in the catalogue. So
//! `gpt-4o-audio-preview` is not taken for `gpt-4o`.

mod names;
#[cfg(test)]
mod pack;
mod table;
#[cfg(test)]
mod tests;

use crate::base::MicroDollars;
use crate::provider::{CapabilitySet, ProviderKind};
use table::Packed;

const PACKED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/catalogue.bin"));

/// Open models that do not reason, whoever serves them.
const ANY_HOST: &str = "*";

/// What is known about a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Facts {
    /// The capabilities about which something is known.
    pub known: CapabilitySet,
    /// Those of them that the model has.
    pub capabilities: CapabilitySet,
    /// Prompt and output tokens together.
    pub context_window: Option<u64>,
    /// Output tokens of one response.
    pub max_output_tokens: Option<u64>,
    /// Its list price.
    pub price: Option<ListPrice>,
}

/// List prices per million tokens of text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListPrice {
    /// For prompt tokens.
    pub input: MicroDollars,
    /// For prompt tokens from the provider's cache.
    pub cached_input: MicroDollars,
    /// For output tokens.
    pub output: MicroDollars,
    /// A request with more prompt tokens costs more than these prices.
    pub dearer_above: Option<u64>,
}

/// The day of the prices, such as `2026-11-30`.
pub fn as_of() -> &'static str {
    Packed::of(PACKED).map_or("", |packed| packed.date)
}

/// What is known about a model at a provider of this kind and host. A model of another name than its maker's, such as an
/// Azure deployment, is not found.
pub fn find(kind: ProviderKind, host: &str, model: &str) -> Option<Facts> {
    let packed = Packed::of(PACKED)?;
    let tables = names::tables(kind, host);
    let name = names::Name::of(kind, model);
    let at_provider = name.spellings().find_map(|spelling| {
        let facts = tables.into_iter().find_map(|table| packed.find(table, spelling.name))?;
        Some(if spelling.has_price { facts } else { Facts { price: None, ..facts } })
    });
    at_provider.or_else(|| name.without_vendor().find_map(|name| packed.find(ANY_HOST, name)))
}
