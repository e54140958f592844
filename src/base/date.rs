//! Days of the Gregorian calendar, and dates and times as text.

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

/// The number of days of `month`, which is 1 to 12.
pub fn days_in(year: i64, month: i64) -> i64 {
    match month {
        2 => 28 + i64::from(is_leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 to a date; negative for earlier dates.
pub fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    let before_year = |year: i64| {
        let past = year - 1;
        past * 365 + past.div_euclid(4) - past.div_euclid(100) + past.div_euclid(400)
    };
    let months: i64 = (1..month).map(|month| days_in(year, month)).sum();
    before_year(year) - before_year(1970) + months + day - 1
}

/// A date such as `2026-12-31`, in days since the epoch; `None` also for dates before 1970.
pub fn date_days(text: &str) -> Option<u64> {
    let [year, month, day] = numbers(text, '-', [4, 2, 2])?;
    let is_possible = (1..=12).contains(&month) && (1..=days_in(year, month)).contains(&day);
    u64::try_from(is_possible.then(|| days_since_epoch(year, month, day))?).ok()
}

/// An RFC 3339 timestamp in milliseconds since the epoch. It may have any offset, either letter case, and any
/// number of fractional digits, of which three count. `None` also for times before 1970.
pub fn rfc3339_ms(text: &str) -> Option<u64> {
    let (date, time) = text.split_once(['T', 't', ' '])?;
    let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
    let (clock, zone) = time.split_at_checked(time.find(['Z', 'z', '+', '-'])?)?;
    let (clock, fraction) = clock.split_once('.').map_or((clock, None), |(clock, part)| (clock, Some(part)));
    let [hour, minute, second] = numbers(clock, ':', [2, 2, 2])?;
    // A leap second counts as the first second of the next minute.
    let is_possible = (1..=12).contains(&month)
        && (1..=days_in(year, month)).contains(&day)
        && hour <= 23
        && minute <= 59
        && second <= 60;
    if !is_possible {
        return None;
    }
    let minutes = (days_since_epoch(year, month, day) * 24 + hour) * 60 + minute - offset_minutes(zone)?;
    let ms = (minutes * 60 + second) * 1000 + fraction.map_or(Some(0), fraction_ms)?;
    u64::try_from(ms).ok()
}

/// Splits `text` at `separator` into unsigned numbers of exactly these lengths.
fn numbers<const N: usize>(text: &str, separator: char, lengths: [usize; N]) -> Option<[i64; N]> {
    let mut parts = text.split(separator);
    let mut numbers = [0; N];
    for (number, length) in numbers.iter_mut().zip(lengths) {
        *number = digits(parts.next().filter(|part| part.len() == length)?)?;
    }
    parts.next().is_none().then_some(numbers)
}

fn digits(text: &str) -> Option<i64> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}

fn fraction_ms(fraction: &str) -> Option<i64> {
    if fraction.is_empty() || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits(&format!("{:0<3}", fraction.get(..3).unwrap_or(fraction)))
}

/// The offset of local time from UTC, in minutes: `Z`, `+02:00`, `-07:30`.
fn offset_minutes(zone: &str) -> Option<i64> {
    if zone.eq_ignore_ascii_case("z") {
        return Some(0);
    }
    let (sign, offset) = match zone.strip_prefix('-') {
        Some(offset) => (-1, offset),
        None => (1, zone.strip_prefix('+')?),
    };
    let [hours, minutes] = numbers(offset, ':', [2, 2])?;
    (hours <= 23 && minutes <= 59).then_some(sign * (hours * 60 + minutes))
}
