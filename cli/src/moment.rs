//! Timestamps as text, such as `2026-11-24 16:23:38.114Z`.

/// UTC date and time for milliseconds since the Unix epoch. The algorithm is Howard Hinnant's `civil_from_days`.
pub fn written(unix_ms: u64) -> String {
    let (days, ms) = (unix_ms / 86_400_000, unix_ms % 86_400_000);
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}.{:03}Z", ms % 1000)
}

#[cfg(test)]
mod tests {
    use super::written;

    #[test]
    fn known_timestamps_are_formatted() {
        assert_eq!(written(0), "1970-01-01 00:00:00.000Z");
        assert_eq!(written(951_782_400_000), "2000-02-29 00:00:00.000Z");
        assert_eq!(written(1_700_000_000_123), "2023-11-14 22:13:20.123Z");
        assert_eq!(written(4_107_542_399_999), "2100-02-28 23:59:59.999Z");
    }
}
