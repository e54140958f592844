//! The rate limits that providers report in the headers of successful and failed responses.

use std::time::Duration;

use super::ProviderKind;
use super::hints::retry_after;
use super::waits::{decimal, epoch_ms, go_duration_ms};
use crate::base::{HeaderBlock, Moment, Timestamp, rfc3339_ms};

/// The assumed time until a limit resets if the provider does not give one: rate limits are usually per
/// minute.
const DEFAULT_RESET: Duration = Duration::from_secs(60);

/// The longest time until a reset; a longer one is cut to it.
const MAX_RESET: Duration = Duration::from_secs(24 * 60 * 60);

/// What a rate limit counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meter {
    /// Requests.
    Requests,
    /// Prompt and output tokens.
    Tokens,
    /// Prompt tokens.
    InputTokens,
    /// Output tokens.
    OutputTokens,
}

impl Meter {
    /// The number of meters.
    pub const COUNT: usize = 4;

    /// All of them.
    pub const ALL: [Self; Self::COUNT] =
        [Self::Requests, Self::Tokens, Self::InputTokens, Self::OutputTokens];

    /// The name shown to operators.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Tokens => "tokens",
            Self::InputTokens => "input_tokens",
            Self::OutputTokens => "output_tokens",
        }
    }

    fn of_name(name: &[u8]) -> Option<Self> {
        match name {
            b"requests" => Some(Self::Requests),
            b"tokens" => Some(Self::Tokens),
            b"input-tokens" => Some(Self::InputTokens),
            b"output-tokens" => Some(Self::OutputTokens),
            _ => None,
        }
    }
}

/// What remains of one limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    /// The limit itself, if the provider reports it.
    pub limit: Option<u64>,
    /// What remains of it.
    pub remaining: u64,
    /// When it resets.
    pub reset: Timestamp,
}

/// What remains of each limit, indexed by [`Meter`].
pub type RateLimits = [Option<RateLimit>; Meter::COUNT];

/// Reads the rate limits from response headers; `None` if there are none:
///
/// - `x-ratelimit-{limit,remaining,reset}-{requests,tokens}` (OpenAI and compatible servers). The reset is a
///   Go duration or seconds.
/// - `anthropic-ratelimit-{requests,tokens,input-tokens,output-tokens}-{limit,remaining,reset}`. The reset is
///   RFC 3339.
///
/// Values that are negative or not numbers are ignored, and so is a limit of zero. Azure sends a remainder of
/// 0 for limits that it does not count, so with Azure that is ignored too. For a limit that is exhausted or
/// has no reset, `retry-after` gives the time when requests may be sent again.
pub fn rate_limits(kind: ProviderKind, headers: &HeaderBlock, now: Moment) -> Option<RateLimits> {
    let mut found = [LimitHeaders::default(); Meter::COUNT];
    for (name, value) in headers.iter() {
        let (what, meter) = if let Some(rest) = name.strip_prefix(b"x-ratelimit-") {
            let Some(at) = rest.iter().position(|byte| *byte == b'-') else { continue };
            let (what, meter) = rest.split_at(at);
            (what, meter.get(1..).unwrap_or_default())
        } else if let Some(rest) = name.strip_prefix(b"anthropic-ratelimit-") {
            let Some(at) = rest.iter().rposition(|byte| *byte == b'-') else { continue };
            let (meter, what) = rest.split_at(at);
            (what.get(1..).unwrap_or_default(), meter)
        } else {
            continue;
        };
        let limit = Meter::of_name(meter).and_then(|meter| found.get_mut(meter as usize));
        let (Some(limit), Ok(value)) = (limit, std::str::from_utf8(value)) else { continue };
        let value = value.trim_ascii();
        match what {
            // The cast rounds down.
            b"limit" => limit.limit = decimal(value).map(|limit| limit as u64),
            b"remaining" => limit.remaining = decimal(value).map(|remaining| remaining as u64),
            b"reset" => limit.reset = reset(value, now),
            _ => {}
        }
    }
    let min_remaining = u64::from(kind == ProviderKind::AzureOpenAi);
    let limits = found.map(|limit| limit.finish(min_remaining, now.at, || retry_after(headers, now.wall)));
    limits.iter().any(Option::is_some).then_some(limits)
}

/// The headers of one limit.
#[derive(Clone, Copy, Default)]
struct LimitHeaders {
    limit: Option<u64>,
    remaining: Option<u64>,
    reset: Option<Timestamp>,
}

impl LimitHeaders {
    fn finish(
        self,
        min_remaining: u64,
        now: Timestamp,
        retry_after: impl Fn() -> Option<Duration>,
    ) -> Option<RateLimit> {
        let remaining = self.remaining.filter(|remaining| *remaining >= min_remaining)?;
        if self.limit == Some(0) {
            return None;
        }
        let retry_at = || retry_after().map(|wait| now.after(wait));
        let reset = match self.reset {
            // The full reset may come long after part of the limit is available again, which is when a client
            // may retry.
            Some(reset) if remaining == 0 => retry_at().map_or(reset, |retry_at| retry_at.min(reset)),
            Some(reset) => reset,
            None => retry_at().unwrap_or_else(|| now.after(DEFAULT_RESET)),
        };
        Some(RateLimit { limit: self.limit, remaining, reset: reset.min(now.after(MAX_RESET)) })
    }
}

/// An RFC 3339 timestamp, a number of seconds or milliseconds since 1970, or a time from now in seconds or as
/// a Go duration.
fn reset(text: &str, now: Moment) -> Option<Timestamp> {
    let on_clock =
        |moment: u64| now.at.after(Duration::from_millis(moment.saturating_sub(now.wall.as_millis())));
    if let Some(moment) = decimal(text).and_then(epoch_ms) {
        return Some(on_clock(moment));
    }
    let ms = decimal(text).map(|seconds| seconds * 1000.0).or_else(|| go_duration_ms(text));
    if let Some(ms) = ms {
        // Rounded up, because a request that comes too early is rejected. The cast saturates.
        return Some(now.at.after(Duration::from_millis(ms.ceil() as u64)));
    }
    rfc3339_ms(text).map(on_clock)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

    fn read(kind: ProviderKind, headers: &[(&str, &str)]) -> Option<RateLimits> {
        rate_limits(kind, &HeaderBlock::of(headers), NOW.moment())
    }

    fn limit(limit: Option<u64>, remaining: u64, reset_ms: u64) -> Option<RateLimit> {
        Some(RateLimit { limit, remaining, reset: NOW.after(Duration::from_millis(reset_ms)) })
    }

    #[test]
    fn openais_headers_report_two_limits() {
        let headers = [
            ("x-ratelimit-limit-requests", "500"),
            ("x-ratelimit-limit-tokens", "200000"),
            ("x-ratelimit-remaining-requests", "499"),
            ("x-ratelimit-remaining-tokens", "199950"),
            ("x-ratelimit-reset-requests", "120ms"),
            ("x-ratelimit-reset-tokens", "6m0.5s"),
            ("x-request-id", "r"),
        ];
        let wanted = [limit(Some(500), 499, 120), limit(Some(200_000), 199_950, 360_500), None, None];
        assert_eq!(read(ProviderKind::OpenAi, &headers), Some(wanted));
        assert_eq!(read(ProviderKind::OpenAiCompatible, &headers), Some(wanted));
    }

    #[test]
    fn anthropics_headers_report_up_to_four_limits() {
        let reset = "2023-11-14T22:14:20Z";
        let headers = [
            ("anthropic-ratelimit-requests-limit", "50"),
            ("anthropic-ratelimit-requests-remaining", "0"),
            ("anthropic-ratelimit-requests-reset", reset),
            ("anthropic-ratelimit-tokens-remaining", "1000"),
            ("anthropic-ratelimit-input-tokens-limit", "40000"),
            ("anthropic-ratelimit-input-tokens-remaining", "39000"),
            ("anthropic-ratelimit-input-tokens-reset", reset),
            ("anthropic-ratelimit-output-tokens-limit", "8000"),
            ("anthropic-ratelimit-output-tokens-remaining", "8000"),
            ("anthropic-ratelimit-output-tokens-reset", "soon"),
            ("anthropic-ratelimit-unified-status", "allowed"),
        ];
        let wanted = [
            limit(Some(50), 0, 60_000),
            limit(None, 1000, 60_000),
            limit(Some(40_000), 39_000, 60_000),
            limit(Some(8000), 8000, 60_000),
        ];
        assert_eq!(read(ProviderKind::Anthropic, &headers), Some(wanted));
    }

    #[test]
    fn azures_remainders_of_minus_one_and_zero_are_ignored() {
        for ignored in ["-1", "0"] {
            let headers =
                [("x-ratelimit-remaining-requests", ignored), ("x-ratelimit-remaining-tokens", "900")];
            let wanted = [None, limit(None, 900, 60_000), None, None];
            assert_eq!(read(ProviderKind::AzureOpenAi, &headers), Some(wanted));
        }
        let used_up = [("x-ratelimit-remaining-requests", "0"), ("x-ratelimit-reset-requests", "30")];
        assert_eq!(read(ProviderKind::OpenAi, &used_up), Some([limit(None, 0, 30_000), None, None, None]));
    }

    #[test]
    fn an_exhausted_limit_resets_at_retry_after_if_that_is_earlier() {
        let read = |more: &[(&str, &str)]| {
            let headers = [&[("x-ratelimit-remaining-requests", "0"), ("retry-after", "2")], more].concat();
            read(ProviderKind::OpenAi, &headers).unwrap()[0]
        };
        assert_eq!(read(&[]), limit(None, 0, 2000));
        assert_eq!(read(&[("x-ratelimit-reset-requests", "6m0s")]), limit(None, 0, 2000));
        assert_eq!(read(&[("x-ratelimit-reset-requests", "1s")]), limit(None, 0, 1000));
        assert_eq!(read(&[("retry-after-ms", "500")]), limit(None, 0, 500));
        // For a limit that is not exhausted, the reset counts.
        let some_left = [
            ("x-ratelimit-remaining-requests", "3"),
            ("x-ratelimit-reset-requests", "6m0s"),
            ("retry-after", "2"),
        ];
        let got = self::read(ProviderKind::OpenAi, &some_left);
        assert_eq!(got, Some([limit(None, 3, 360_000), None, None, None]));
    }

    #[test]
    fn invalid_values_are_ignored_and_long_resets_are_cut() {
        for headers in [
            [("x-ratelimit-limit-requests", "5"), ("x-ratelimit-reset-requests", "1s")],
            [("x-ratelimit-limit-requests", "0"), ("x-ratelimit-remaining-requests", "0")],
            [("x-ratelimit-remaining", "5"), ("x-ratelimit-limit", "5")],
            [("x-ratelimit-remaining-images", "5"), ("anthropic-ratelimit-", "5")],
            [("x-ratelimit-remaining-requests", "many"), ("x-ratelimit-", "5")],
        ] {
            assert_eq!(read(ProviderKind::OpenAi, &headers), None, "{headers:?}");
        }
        let far = [("x-ratelimit-remaining-requests", "1"), ("x-ratelimit-reset-requests", "99999h")];
        let day = 24 * 60 * 60 * 1000;
        assert_eq!(read(ProviderKind::OpenAi, &far), Some([limit(None, 1, day), None, None, None]));
    }

    proptest! {
        #[test]
        fn any_header_is_read_without_a_panic(
            name in "(x-ratelimit-|anthropic-ratelimit-)[a-z-]{0,20}",
            value in "\\PC{0,30}",
        ) {
            let _ = read(ProviderKind::OpenAi, &[(&name, &value)]);
        }
    }
}
