use std::ops::RangeInclusive;

use super::common::number;
use crate::config::duration::TimeSpan;
use crate::config::mistakes::{Mistakes, Trail, shown};

/// Reads the fields of the mapping at `at` and adds their mistakes.
pub(super) struct FieldReader<'a> {
    pub(super) at: Trail<'a>,
    pub(super) mistakes: &'a mut Mistakes,
}

impl FieldReader<'_> {
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

    /// The same, or 0 for never.
    pub(super) fn count_or_never<T: Into<u64> + TryFrom<u64> + Copy>(
        &mut self,
        name: &str,
        written: Option<u64>,
        default: T,
        most: u64,
    ) -> T {
        let count = number(written, default.into(), 0..=most, &self.at.field(name), self.mistakes);
        T::try_from(count).unwrap_or(default)
    }

    /// A duration within `bounds`.
    pub(super) fn span(
        &mut self,
        name: &str,
        written: Option<TimeSpan>,
        default: TimeSpan,
        bounds: RangeInclusive<TimeSpan>,
    ) -> TimeSpan {
        let span = written.unwrap_or(default);
        if bounds.contains(&span) {
            return span;
        }
        let (least, most) = (bounds.start(), bounds.end());
        self.mistakes.add(&self.at.field(name), format!("is {span}, expected {least} to {most}"));
        default
    }

    /// A share above 0 and up to 1, in 1/1000. It is never rounded down to zero, because every request would
    /// reach a share of zero.
    pub(super) fn permille(&mut self, name: &str, written: Option<f64>, default: u16) -> u16 {
        let Some(ratio) = written else { return default };
        if !(ratio > 0.0 && ratio <= 1.0) {
            self.mistakes.add(
                &self.at.field(name),
                format!("is {}, expected more than 0 and at most 1", shown(&ratio.to_string())),
            );
            return default;
        }
        // Between 1 and 1000, where the cast is exact.
        (ratio * 1000.0).round().max(1.0) as u16
    }
}
