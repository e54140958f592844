//! Reads the packed catalogue. What cannot be read counts as absent.
//!
//! It is read while a configuration is loaded, so its functions are not inlined: they shall be small.

use super::facts::{Facts, ListPrice};
use crate::base::MicroDollars;
use crate::provider::{Capability, CapabilitySet};

/// The capabilities that the catalogue has, in the order of their bits.
pub(super) const CAPABILITIES: [Capability; 8] = [
    Capability::Tools,
    Capability::JsonSchema,
    Capability::Vision,
    Capability::Audio,
    Capability::AudioOutput,
    Capability::ImageOutput,
    Capability::Files,
    Capability::Reasoning,
];

/// The length of the date.
const DATE: usize = 10;

/// The packed catalogue. `pack` describes its form.
#[derive(Clone, Copy)]
pub(super) struct Packed<'a> {
    pub(super) date: &'a str,
    capabilities: Reader<'a>,
    sizes: Reader<'a>,
    prices: Reader<'a>,
    tables: Reader<'a>,
}

impl<'a> Packed<'a> {
    pub(super) fn of(bytes: &'a [u8]) -> Option<Self> {
        let (date, rest) = bytes.split_at_checked(DATE)?;
        let mut rest = Reader(rest);
        let mut list = || rest.section().map(Reader);
        let (capabilities, sizes, prices) = (list()?, list()?, list()?);
        Some(Self { date: str::from_utf8(date).ok()?, capabilities, sizes, prices, tables: rest })
    }

    /// The facts about the model with exactly this name.
    #[inline(never)]
    pub(super) fn find(self, table: &str, model: &str) -> Option<Facts> {
        let mut found = None;
        self.each(table, |name, facts| {
            if name == model.as_bytes() {
                found = Some(facts);
            }
        });
        self.facts(found?)
    }

    /// The names of all tables.
    #[cfg(test)]
    pub(super) fn tables(self) -> impl Iterator<Item = &'a [u8]> {
        let mut rest = self.tables;
        std::iter::from_fn(move || {
            let name = rest.section()?;
            rest.section()?;
            Some(name)
        })
    }

    /// Calls `visit` with each model of a table and the places of its facts.
    pub(super) fn each(self, table: &str, mut visit: impl FnMut(&[u8], Places)) -> Option<()> {
        let mut tables = self.tables;
        let mut rows = loop {
            let (name, rows) = (tables.section()?, tables.section()?);
            if name == table.as_bytes() {
                break Reader(rows);
            }
        };
        let mut name = Vec::new();
        while !rows.0.is_empty() {
            name.truncate(usize::try_from(rows.number()?).ok()?);
            name.extend_from_slice(rows.section()?);
            visit(
                &name,
                Places { capabilities: rows.number()?, sizes: rows.number()?, price: rows.number()? },
            );
        }
        Some(())
    }

    #[inline(never)]
    pub(super) fn facts(self, places: Places) -> Option<Facts> {
        let mut capabilities = self.capabilities.after(places.capabilities, 2)?;
        let (known, has) = (capabilities.number()?, capabilities.number()?);
        let mut sizes = self.sizes.after(places.sizes, 2)?;
        let (context_window, max_output_tokens) = (sizes.known()?, sizes.known()?);
        let mut price = self.prices.after(places.price, 4)?;
        let (input, cached, output) = (price.known()?, price.known()?, price.known()?);
        let dearer_above = price.known()?;
        let price = input.zip(output).map(|(input, output)| ListPrice {
            input: MicroDollars::new(input),
            cached_input: MicroDollars::new(cached.unwrap_or(input)),
            output: MicroDollars::new(output),
            dearer_above,
        });
        Some(Facts { known: set(known), capabilities: set(has), context_window, max_output_tokens, price })
    }
}

/// Where the facts about a model are in their lists.
#[derive(Clone, Copy)]
pub(super) struct Places {
    capabilities: u64,
    sizes: u64,
    price: u64,
}

fn set(bits: u64) -> CapabilitySet {
    let all = CAPABILITIES.into_iter().enumerate();
    all.fold(CapabilitySet::default(), |set, (bit, capability)| set.with(capability, bits >> bit & 1 == 1))
}

#[derive(Clone, Copy)]
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    #[inline(never)]
    fn number(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    /// A number that may be unknown. The outer `None` is one that cannot be read.
    fn known(&mut self) -> Option<Option<u64>> {
        Some(self.number()?.checked_sub(1))
    }

    #[inline(never)]
    fn section(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.number()?).ok()?;
        let (section, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(section)
    }

    /// What follows the first `entries`, of `numbers` each.
    fn after(mut self, entries: u64, numbers: u64) -> Option<Self> {
        for _ in 0..entries.checked_mul(numbers)? {
            self.number()?;
        }
        Some(self)
    }
}
