//! Dates and times at which something ends.

use crate::base::{WallTime, date_days, rfc3339_ms};
use crate::config::mistakes::{Mistakes, Trail};

const MS_PER_DAY: u64 = 24 * 60 * 60 * 1000;

/// The end of a date in UTC.
pub(super) fn end_of_day(text: &str, at: &Trail<'_>, mistakes: &mut Mistakes) -> Option<WallTime> {
    let end = end_of_date(text);
    if end.is_none() {
        mistakes.add(at, "is not a date, expected one such as `2026-12-31`");
    }
    end
}

/// The end of a date in UTC, or a time.
pub(super) fn end(text: &str, at: &Trail<'_>, mistakes: &mut Mistakes) -> Option<WallTime> {
    let end = end_of_date(text).or_else(|| rfc3339_ms(text).map(WallTime::from_millis));
    if end.is_none() {
        mistakes.add(
            at,
            "is neither a date nor a time, expected one such as `2026-12-31` or `2026-12-31T18:00:00Z`",
        );
    }
    end
}

fn end_of_date(text: &str) -> Option<WallTime> {
    date_days(text).map(|days| WallTime::from_millis(days.saturating_add(1).saturating_mul(MS_PER_DAY)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_has_one_format_and_ends_at_midnight_utc() {
        let mut mistakes = Mistakes::default();
        let mut ends = |text| {
            let of_day = end_of_day(text, &Trail::Root, &mut mistakes).map(WallTime::as_millis);
            (of_day, end(text, &Trail::Root, &mut mistakes).map(WallTime::as_millis))
        };
        for (text, ms) in
            [("1970-01-01", MS_PER_DAY), ("2026-12-31", 1_798_761_600_000), ("2024-02-29", 1_709_251_200_000)]
        {
            assert_eq!(ends(text), (Some(ms), Some(ms)), "{text}");
        }
        for bad in [
            "",
            "2026-12-32",
            "2025-02-29",
            "2026-1-1",
            "2026/12/31",
            "+026-12-31",
            "ä026-12-3",
            "1969-12-31",
            "2026-12-31-",
            "tomorrow",
        ] {
            assert_eq!(ends(bad), (None, None), "{bad}");
        }
    }

    #[test]
    fn a_time_ends_where_it_says() {
        let mut mistakes = Mistakes::default();
        for (text, ms) in [
            ("2026-12-31T00:00:00Z", 1_798_675_200_000),
            ("2026-12-31T18:30:00+02:00", 1_798_734_600_000),
            ("2026-12-31t18:30:00.5z", 1_798_741_800_500),
        ] {
            let end = end(text, &Trail::Root, &mut mistakes);
            assert_eq!(end.map(WallTime::as_millis), Some(ms), "{text}");
            assert_eq!(end_of_day(text, &Trail::Root, &mut mistakes), None, "{text}");
        }
        for bad in ["2026-12-31T18:30Z", "2026-12-31T25:00:00Z", "2026-12-31T18:30:00"] {
            assert_eq!(end(bad, &Trail::Root, &mut mistakes), None, "{bad}");
        }
    }
}
