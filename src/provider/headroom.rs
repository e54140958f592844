//! What providers say is left of their rate limits, on good answers and on bad ones.

use std::time::Duration;

use super::ProviderKind;
use super::hints::{asked_for, decimal, go_duration_ms, rfc3339_ms};
use crate::base::{HeaderBlock, Timestamp};

/// When a limit is taken to be full again whose provider says in no way when: limits go by the minute.
const USUAL_RESET: Duration = Duration::from_secs(60);

/// The longest time until a reset that is believed; a longer one is cut to it.
const MAX_RESET: Duration = Duration::from_secs(24 * 60 * 60);

/// What a provider counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meter {
    /// Requests.
    Requests,
    /// Tokens of prompt and answer.
    Tokens,
    /// Tokens of the prompt.
    InputTokens,
    /// Tokens of the answer.
    OutputTokens,
}

impl Meter {
    /// How many there are.
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

/// What is left of one limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Left {
    /// The whole limit, if the provider says it.
    pub limit: Option<u64>,
    /// What is left of it.
    pub remaining: u64,
    /// When it is full again.
    pub reset: Timestamp,
}

/// What is left, by [`Meter`].
pub type Headroom = [Option<Left>; Meter::COUNT];

/// Reads `x-ratelimit-{limit,remaining,reset}-{requests,tokens}` (OpenAI and those who follow it; the reset is a Go duration
/// or seconds) and `anthropic-ratelimit-{requests,tokens,input-tokens,output-tokens}-{limit,remaining,reset}` (the reset is
/// RFC 3339). What is negative, no number, or of a limit of nothing has not been said; with Azure neither has a remainder of
/// 0, which it sends where it does not count. Of what is used up, or has no reset, `retry-after` tells
/// when there is something again. `None` where nothing is said at all.
pub fn headroom(kind: ProviderKind, headers: &HeaderBlock, now: Timestamp) -> Option<Headroom> {
    let mut records = [RecordBuilder::default(); Meter::COUNT];
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
        let record = Meter::of_name(meter).and_then(|meter| records.get_mut(meter as usize));
        let (Some(record), Ok(value)) = (record, std::str::from_utf8(value)) else { continue };
        let value = value.trim_ascii();
        match what {
            // Rounded down by the cast.
            b"limit" => record.limit = decimal(value).map(|limit| limit as u64),
            b"remaining" => record.remaining = decimal(value).map(|left| left as u64),
            b"reset" => record.reset = reset(value, now),
            _ => {}
        }
    }
    let least = u64::from(kind == ProviderKind::AzureOpenAi);
    let headroom = records.map(|record| record.finish(least, now, || asked_for(headers, now)));
    headroom.iter().any(Option::is_some).then_some(headroom)
}

#[derive(Clone, Copy, Default)]
struct RecordBuilder {
    limit: Option<u64>,
    remaining: Option<u64>,
    reset: Option<Timestamp>,
}

impl RecordBuilder {
    /// `asked` is when the provider asks the client to come back.
    fn finish(self, least: u64, now: Timestamp, asked: impl Fn() -> Option<Duration>) -> Option<Left> {
        let remaining = self.remaining.filter(|remaining| *remaining >= least)?;
        if self.limit == Some(0) {
            return None;
        }
        let asked = || asked().map(|wait| now.after(wait));
        let reset = match self.reset {
            // A limit may be full again only long after there is something of it, which is when the client may come back.
            Some(reset) if remaining == 0 => asked().map_or(reset, |asked| asked.min(reset)),
            Some(reset) => reset,
            None => asked().unwrap_or_else(|| now.after(USUAL_RESET)),
        };
        Some(Left { limit: self.limit, remaining, reset: reset.min(now.after(MAX_RESET)) })
    }
}

/// A moment in RFC 3339, or a time from now in seconds or as a Go duration.
fn reset(text: &str, now: Timestamp) -> Option<Timestamp> {
    let ms = decimal(text).map(|seconds| seconds * 1000.0).or_else(|| go_duration_ms(text));
    if let Some(ms) = ms {
        // Rounded up, because a moment too early is refused; a cast saturates.
        return Some(now.after(Duration::from_millis(ms.ceil() as u64)));
    }
    rfc3339_ms(text).map(Timestamp::from_millis)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

    fn read(kind: ProviderKind, headers: &[(&str, &str)]) -> Option<Headroom> {
        headroom(kind, &HeaderBlock::of(headers), NOW)
    }

    fn left(limit: Option<u64>, remaining: u64, reset_ms: u64) -> Option<Left> {
        Some(Left { limit, remaining, reset: NOW.after(Duration::from_millis(reset_ms)) })
    }

    #[test]
    fn openais_headers_say_both_limits() {
        let headers = [
            ("x-ratelimit-limit-requests", "500"),
            ("x-ratelimit-limit-tokens", "200000"),
            ("x-ratelimit-remaining-requests", "499"),
            ("x-ratelimit-remaining-tokens", "199950"),
            ("x-ratelimit-reset-requests", "120ms"),
            ("x-ratelimit-reset-tokens", "6m0.5s"),
            ("x-request-id", "r"),
        ];
        let wanted = [left(Some(500), 499, 120), left(Some(200_000), 199_950, 360_500), None, None];
        assert_eq!(read(ProviderKind::OpenAi, &headers), Some(wanted));
        assert_eq!(read(ProviderKind::OpenAiCompatible, &headers), Some(wanted));
    }

    #[test]
    fn anthropics_headers_say_up_to_four() {
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
            left(Some(50), 0, 60_000),
            left(None, 1000, 60_000),
            left(Some(40_000), 39_000, 60_000),
            left(Some(8000), 8000, 60_000),
        ];
        assert_eq!(read(ProviderKind::Anthropic, &headers), Some(wanted));
    }

    #[test]
    fn azures_minus_one_and_nothing_are_not_said() {
        for nothing in ["-1", "0"] {
            let headers =
                [("x-ratelimit-remaining-requests", nothing), ("x-ratelimit-remaining-tokens", "900")];
            let wanted = [None, left(None, 900, 60_000), None, None];
            assert_eq!(read(ProviderKind::AzureOpenAi, &headers), Some(wanted));
        }
        let used_up = [("x-ratelimit-remaining-requests", "0"), ("x-ratelimit-reset-requests", "30")];
        assert_eq!(read(ProviderKind::OpenAi, &used_up), Some([left(None, 0, 30_000), None, None, None]));
    }

    #[test]
    fn when_the_client_may_come_back_there_is_something_again() {
        let read = |more: &[(&str, &str)]| {
            let headers = [&[("x-ratelimit-remaining-requests", "0"), ("retry-after", "2")], more].concat();
            read(ProviderKind::OpenAi, &headers).unwrap()[0]
        };
        assert_eq!(read(&[]), left(None, 0, 2000));
        assert_eq!(read(&[("x-ratelimit-reset-requests", "6m0s")]), left(None, 0, 2000));
        assert_eq!(read(&[("x-ratelimit-reset-requests", "1s")]), left(None, 0, 1000));
        assert_eq!(read(&[("retry-after-ms", "500")]), left(None, 0, 500));
        // Of what is not used up the reset counts.
        let some_left = [
            ("x-ratelimit-remaining-requests", "3"),
            ("x-ratelimit-reset-requests", "6m0s"),
            ("retry-after", "2"),
        ];
        let got = self::read(ProviderKind::OpenAi, &some_left);
        assert_eq!(got, Some([left(None, 3, 360_000), None, None, None]));
    }

    #[test]
    fn what_makes_no_sense_is_not_said() {
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
        assert_eq!(read(ProviderKind::OpenAi, &far), Some([left(None, 1, day), None, None, None]));
    }

    proptest! {
        #[test]
        fn any_headers_are_harmless(name in "(x-ratelimit-|anthropic-ratelimit-)[a-z-]{0,20}", value in "\\PC{0,30}") {
            let _ = read(ProviderKind::OpenAi, &[(&name, &value)]);
        }
    }
}
