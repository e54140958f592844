use std::ops::RangeInclusive;

use super::number;
use crate::config::duration::Span;
use crate::config::mistakes::{Mistakes, Trail, shown};

/// The section while it is compiled.
pub(super) struct Section<'a> {
    pub(super) at: Trail<'a>,
    pub(super) mistakes: &'a mut Mistakes,
}

impl Section<'_> {
    /// A whole number from 1 to `most`.
    pub(super) fn count<T: Into<u64> + TryFrom<u64> + Copy>(
        &mut self,
        name: &str,
        written: Option<u64>,
        default: T,
        most: u64,
    ) -> T {
        let count = number(written, default.into(), 1..=most, &self.at.field(name), self.mistakes);
        T::try_from(count).unwrap_or(default)
    }

    /// A length of time within these bounds.
    pub(super) fn span(
        &mut self,
        name: &str,
        written: Option<Span>,
        default: Span,
        bounds: RangeInclusive<Span>,
    ) -> Span {
        let span = written.unwrap_or(default);
        if bounds.contains(&span) {
            return span;
        }
        let (least, most) = (bounds.start(), bounds.end());
        self.mistakes.add(&self.at.field(name), format!("is {span}, expected {least} to {most}"));
        default
    }

    /// A share above 0 and up to 1, in 1/1000. A share that rounds to nothing is the least there is: it must
    /// not become one that every request reaches.
    pub(super) fn permille(&mut self, name: &str, written: Option<f64>, default: u16) -> u16 {
        let Some(ratio) = written else { return default };
        if !(ratio > 0.0 && ratio <= 1.0) {
            self.mistakes.add(
                &self.at.field(name),
                format!("is {}, expected more than 0 and at most 1", shown(&ratio.to_string())),
            );
            return default;
        }
        // Between 1 and 1000, which the cast keeps.
        (ratio * 1000.0).round().max(1.0) as u16
    }
}
