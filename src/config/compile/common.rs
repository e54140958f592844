//! What compiling one section has in common with compiling another.

use std::ops::RangeInclusive;

use crate::config::mistakes::{Mistakes, Trail, shown};
use crate::config::nearest::hint;
use crate::config::raw::{Mapping, Section};

/// Looks up an environment variable.
pub(super) type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Adds a mistake if a section without entries must have some.
pub(super) fn required<T>(section: &Option<Section<T>>, at: &Trail<'_>, mistakes: &mut Mistakes) {
    match section {
        None => mistakes.add(at, "is missing, at least one entry is needed"),
        Some(entries) if entries.is_empty() => mistakes.add(at, "is empty, at least one entry is needed"),
        Some(_) => {}
    }
}

/// Compiles the entries of a section, sorted by name. Entries with a mistake keep their positions.
pub(super) fn each<T, U>(
    section: &Option<Section<T>>,
    name: &str,
    mistakes: &mut Mistakes,
    mut compile_entry: impl FnMut(&str, &T, &Trail<'_>, &mut Mistakes) -> Option<U>,
) -> Vec<Option<U>> {
    let section_at = Trail::Root.field(name);
    let entries = section.iter().flatten();
    entries
        .map(|(name, entry)| {
            let Mapping(raw) = entry.as_ref()?;
            compile_entry(name, raw, &section_at.field(name), mistakes)
        })
        .collect()
}

pub(super) fn all_or_none<T>(entries: Vec<Option<T>>) -> Option<Vec<T>> {
    entries.into_iter().collect()
}

/// The value of a required field; adds a mistake if it is missing.
pub(super) fn needed<'a, T>(
    field: &'a Option<T>,
    name: &str,
    at: &Trail<'_>,
    mistakes: &mut Mistakes,
) -> Option<&'a T> {
    if field.is_none() {
        mistakes.add(&at.field(name), "is missing");
    }
    field.as_ref()
}

/// A whole number within `bounds`, or the default if it is absent.
pub(super) fn number(
    written: Option<u64>,
    default: u64,
    bounds: RangeInclusive<u64>,
    at: &Trail<'_>,
    mistakes: &mut Mistakes,
) -> u64 {
    let number = written.unwrap_or(default);
    if !bounds.contains(&number) {
        mistakes.add(at, format!("is {number}, expected {} to {}", bounds.start(), bounds.end()));
        return default;
    }
    number
}

/// The meaning of one of the words in `meanings`, or the default if it is absent.
pub(super) fn word<T: Copy + Default>(
    written: Option<&String>,
    meanings: &[(&str, T)],
    at: &Trail<'_>,
    mistakes: &mut Mistakes,
) -> T {
    let Some(written) = written else { return T::default() };
    let found = meanings.iter().find(|(word, _)| *word == written);
    if found.is_none() {
        let near = hint(written, meanings.iter().map(|(word, _)| *word));
        mistakes.add(at, format!("`{}` is not a valid value{near}", shown(written)));
    }
    found.map(|(_, meaning)| *meaning).unwrap_or_default()
}
