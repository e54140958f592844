//! Takes keys out of texts that others wrote.
//!
//! Providers quote the key that they reject: `Incorrect API key provided: sk-ab****yz`. Relays quote it whole.
//! Nobody can list all shapes of keys, so two rules apply. A word is *named* a key by its prefix, by a mask or by the
//! word before it. A word *resembles* one if it is long and mixes letters and digits, as ids do too.

use std::borrow::Cow;

/// What stands in the place of a key.
const REDACTED: &str = "[redacted]";

/// How keys of vendors and clouds begin, and how many characters follow at least. Those that are usual words need
/// more.
const PREFIXES: [(&str, usize); 27] = [
    ("sk-", 4),
    ("sk_", 4),
    ("pk-", 4),
    ("pk_", 4),
    ("rk_", 4),
    ("xai-", 8),
    ("gsk_", 4),
    ("csk-", 4),
    ("hf_", 8),
    ("r8_", 8),
    ("fw_", 8),
    ("nvapi-", 4),
    ("pplx-", 4),
    ("tgp_", 4),
    ("dapi", 16),
    ("AIza", 8),
    ("ya29.", 4),
    ("AKIA", 8),
    ("ASIA", 8),
    ("ABSK", 8),
    ("bedrock-api-key-", 4),
    ("eyJ", 12),
    ("ghp_", 8),
    ("github_pat_", 8),
    ("glpat-", 8),
    ("xoxb-", 8),
    ("ms-", 20),
];

/// So many asterisks in a row hide part of a key.
const MASK: &str = "***";

/// A word without inner marks is a key if it is at least this long and mixes letters and digits.
const LONG_RUN: usize = 16;
/// The same for a word with inner marks that also mixes capitals and small letters. Names of models are shorter.
const LONG_WORD: usize = 40;

/// `text` without anything that looks like a key, for records and logs.
pub fn redacted(text: &str) -> Cow<'_, str> {
    without(text, |word| is_named_key(word) || resembles_key(word))
}

/// `text` without what is named a key. It keeps ids, so that a client can read it.
pub fn without_keys(text: &str) -> Cow<'_, str> {
    without(text, is_named_key)
}

/// Whether a single word looks like a key.
pub fn looks_like_key(word: &str) -> bool {
    matches!(redacted(word), Cow::Owned(_))
}

fn without(text: &str, is_key: impl Fn(&str) -> bool) -> Cow<'_, str> {
    let mut out = String::new();
    let mut copied = 0;
    let mut said = Said::Nothing;
    for (start, word) in words(text) {
        let gap = text.get(copied_end(text, start)..start).unwrap_or_default();
        let follows = match said {
            Said::Scheme => gap == " " && is_no_plain_word(word),
            Said::Member => gap.contains(['=', ':']) && is_no_plain_word(word),
            Said::Nothing => false,
        };
        if follows || is_key(word) {
            out.push_str(text.get(copied..start).unwrap_or_default());
            out.push_str(REDACTED);
            copied = start + word.len();
        }
        said = Said::by(word);
    }
    if copied == 0 {
        return Cow::Borrowed(text);
    }
    out.push_str(text.get(copied..).unwrap_or_default());
    Cow::Owned(out)
}

/// What a word says about the next one.
#[derive(Clone, Copy)]
enum Said {
    Nothing,
    /// `Bearer` and a key.
    Scheme,
    /// `api_key=` and a key.
    Member,
}

impl Said {
    fn by(word: &str) -> Self {
        if word.eq_ignore_ascii_case("bearer") || word.eq_ignore_ascii_case("basic") {
            return Self::Scheme;
        }
        let word = word.to_ascii_lowercase();
        let is_member =
            ["key", "token", "secret", "password", "authorization"].iter().any(|end| word.ends_with(end));
        if is_member { Self::Member } else { Self::Nothing }
    }
}

/// Where the gap before the word at `start` begins.
fn copied_end(text: &str, start: usize) -> usize {
    let before = text.get(..start).unwrap_or_default();
    before.rfind(is_of_word).map_or(0, |last| last + 1)
}

const fn is_of_word(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '-' | '_' | '.' | '+' | '~' | '*')
}

/// The words of a text with their places, without full stops at their ends.
fn words(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let rest = text.get(at..)?;
        let start = at + rest.find(is_of_word)?;
        let rest = text.get(start..)?;
        let len = rest.find(|character| !is_of_word(character)).unwrap_or(rest.len());
        at = start + len;
        Some((start, rest.get(..len)?.trim_end_matches('.')))
    })
}

/// A key after `Bearer` is no word of a sentence: `bearer token is missing`.
fn is_no_plain_word(word: &str) -> bool {
    word.len() >= 6 && word.bytes().any(|byte| byte.is_ascii_digit() || byte == b'*')
}

fn is_named_key(word: &str) -> bool {
    let by_prefix = PREFIXES
        .iter()
        .any(|(prefix, more)| word.strip_prefix(prefix).is_some_and(|rest| rest.len() >= *more));
    by_prefix || (word.contains(MASK) && word.len() > MASK.len())
}

fn resembles_key(word: &str) -> bool {
    let has = |text: &str, of: fn(&u8) -> bool| text.as_bytes().iter().any(of);
    let is_run = |run: &str| {
        run.len() >= LONG_RUN && has(run, u8::is_ascii_alphabetic) && has(run, u8::is_ascii_digit)
    };
    let is_mixed = || {
        word.len() >= LONG_WORD
            && has(word, u8::is_ascii_uppercase)
            && has(word, u8::is_ascii_lowercase)
            && has(word, u8::is_ascii_digit)
    };
    word.split(|character: char| !character.is_ascii_alphanumeric()).any(is_run) || is_mixed()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn keys_are_taken_out_and_the_rest_stays() {
        for (text, expected) in [
            ("Incorrect API key provided: sk-ab12********wxyz.", "Incorrect API key provided: [redacted]."),
            ("Your api key: ****c5d9 is invalid", "Your api key: [redacted] is invalid"),
            ("key sk-proj-AbCd_1234-xyz is wrong", "key [redacted] is wrong"),
            ("AIzaSyA1234567890abcdefghij", "[redacted]"),
            ("xai-0123456789abcdef", "[redacted]"),
            ("gsk_abcd", "[redacted]"),
            ("hf_abcdefgh", "[redacted]"),
            ("Bearer abc123def", "Bearer [redacted]"),
            ("authorization: Bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIi.c2ln", "authorization: Bearer [redacted]"),
            ("/v1/models?key=abc123&alt=sse", "/v1/models?key=[redacted]&alt=sse"),
            ("api_key=\"abc1234\"", "api_key=\"[redacted]\""),
            ("AKIAIOSFODNN7EXAMPLE", "[redacted]"),
            ("0123456789abcdef0123456789abcdef", "[redacted]"),
            ("a key (sk-one1 or sk-two2)", "a key ([redacted] or [redacted])"),
            ("schlüssel sk-grün1234ü", "schlüssel sk-grün1234ü"),
        ] {
            assert_eq!(redacted(text), expected);
        }
    }

    #[test]
    fn names_of_errors_and_models_stay() {
        for text in [
            "",
            "invalid_api_key",
            "context_length_exceeded",
            "insufficient_quota",
            "429",
            "RESOURCE_EXHAUSTED",
            "API key not valid. Please pass a valid API key.",
            "bearer token is missing",
            "gpt-4.1-mini-2025-04-14",
            "claude-haiku-4-5-20251001",
            "meta-llama/Meta-Llama-3.1-405B-Instruct-Turbo",
            "risk-based",
            "***",
            "model `xai-grok` of team",
        ] {
            assert_eq!(redacted(text), text);
        }
    }

    #[test]
    fn a_client_may_read_ids() {
        let text = r#"{"request_id":"req_011CSHoEeqs5C35K2UUqR7Fy","message":"bad key sk-ant-api03-abc"}"#;
        let kept = r#"{"request_id":"req_011CSHoEeqs5C35K2UUqR7Fy","message":"bad key [redacted]"}"#;
        assert_eq!(without_keys(text), kept);
    }

    proptest! {
        #[test]
        fn a_key_is_found_in_any_surroundings(before in "[ -~]{0,20}", after in "[ -~ä]{0,20}") {
            let text = format!("{before} sk-live0123456789abcdefghij {after}");
            prop_assert!(!redacted(&text).contains("sk-live"));
        }

        #[test]
        fn any_text_can_be_redacted_twice(text in "\\PC{0,200}") {
            let once = redacted(&text).into_owned();
            prop_assert_eq!(redacted(&once).into_owned(), once);
        }
    }
}
