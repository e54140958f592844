//! What is known about current models: capabilities, sizes, list prices.
//!
//! The facts come from `catalogue/models.tsv`, which `catalogue/update.py` writes from public data. They are looked up
//! while a configuration is loaded, and never for a request.
//!
//! - `facts`: what can be known. `pack`: how the build script packs the file; `table`: how the packed form is read.
//! - `names`: under which names a model is looked up.
//!
//! **Nothing is guessed.** A model is found by its whole name, and only a date at its end may be missing in the catalogue. So
//! `gpt-4o-audio-preview` is not taken for `gpt-4o`.

mod facts;
mod names;
#[cfg(test)]
mod pack;
mod table;
#[cfg(test)]
mod tests;

// So that paths are the same in every crate of `src`.
use llm_failsafe_base as base;
use llm_failsafe_provider as provider;

use crate::base::{FNV_BASIS, fnv1a};
use crate::provider::ProviderKind;
pub use facts::{Facts, ListPrice};
use table::Packed;

const PACKED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/catalogue.bin"));

/// Open models that do not reason, whoever serves them.
const ANY_HOST: &str = "*";

/// The day of the prices, such as `2026-11-30`.
pub fn as_of() -> &'static str {
    Packed::of(PACKED).map_or("", |packed| packed.date)
}

/// A number that differs if the catalogue does.
pub fn version() -> u64 {
    fnv1a(FNV_BASIS, PACKED)
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
