//! Checks of texts that go into request lines and headers.

use crate::config::mistakes::{Mistakes, Trail};

/// Characters of a cluster's name at most.
const MAX_CLUSTER: usize = 256;
/// Characters of a host with its port at most: 253 of a DNS name, a colon, five digits.
const MAX_HOST: usize = 259;
/// Characters of a path prefix at most.
const MAX_PREFIX: usize = 256;
/// Characters of a provider's model name at most.
const MAX_MODEL: usize = 256;
/// Characters of an `api-version` at most.
const MAX_API_VERSION: usize = 64;
/// Characters of a region or of the name of who pays at most.
const MAX_OWN_WORD: usize = 64;

/// A check: the text as it will be used, or what was expected instead.
type Check = fn(&str) -> Result<String, &'static str>;

/// Applies `check` to what is written at `at`. The text is not shown: a key may sit in a URL that was pasted
/// here.
pub(super) fn checked(text: &str, check: Check, at: &Trail<'_>, mistakes: &mut Mistakes) -> Option<String> {
    check(text)
        .map_err(|expected| mistakes.add(at, format!("cannot be used as it is, expected {expected}")))
        .ok()
}

/// Whether `text` has 1 to `max` bytes, all of them visible ASCII.
fn is_visible(text: &str, max: usize) -> bool {
    (1..=max).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// The name of an Envoy cluster: it travels in a header.
pub(super) fn cluster(text: &str) -> Result<String, &'static str> {
    if is_visible(text, MAX_CLUSTER) {
        Ok(text.to_owned())
    } else {
        Err("the name of an Envoy cluster: 1 to 256 visible ASCII characters")
    }
}

/// A host with or without port, in lower case.
pub(super) fn host(text: &str) -> Result<String, &'static str> {
    const EXPECTED: &str = "a host such as `api.openai.com` or `10.0.0.7:8000`, without scheme or path";
    let (name, port) = match text.strip_prefix('[') {
        Some(rest) => rest.split_once(']').ok_or(EXPECTED)?,
        None => text.find(':').and_then(|colon| text.split_at_checked(colon)).unwrap_or((text, "")),
    };
    let of_name = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    let of_address = |byte: u8| byte.is_ascii_hexdigit() || b":.".contains(&byte);
    let is_name =
        if text.starts_with('[') { name.bytes().all(of_address) } else { name.bytes().all(of_name) };
    let is_port = port.is_empty()
        || port.strip_prefix(':').is_some_and(|digits| {
            digits.bytes().all(|byte| byte.is_ascii_digit())
                && digits.parse::<u16>().is_ok_and(|port| port > 0)
        });
    if name.is_empty() || text.len() > MAX_HOST || !is_name || !is_port {
        return Err(EXPECTED);
    }
    Ok(text.to_ascii_lowercase())
}

/// What comes before the operation in a path; `/` alone stands for nothing.
pub(super) fn path_prefix(text: &str) -> Result<String, &'static str> {
    if text == "/" {
        return Ok(String::new());
    }
    let is_path = is_visible(text, MAX_PREFIX) && text.starts_with('/') && !text.ends_with('/');
    if is_path && !text.contains(['?', '#', '\\']) {
        Ok(text.to_owned())
    } else {
        Err("a path such as `/v1`: a slash first, none at the end, no query; `/` alone for no prefix")
    }
}

/// Azure's `api-version`.
pub(super) fn api_version(text: &str) -> Result<String, &'static str> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    if (1..=MAX_API_VERSION).contains(&text.len()) && text.bytes().all(allowed) {
        Ok(text.to_owned())
    } else {
        Err("a version such as `2024-10-21` or `preview`")
    }
}

/// A region, or the name of who pays: words of the operator's own that are compared and shown.
fn own_word(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=MAX_OWN_WORD).contains(&text.len()) && text.bytes().all(allowed)
}

/// Where data is worked on, in lower case.
pub(super) fn region(text: &str) -> Result<String, &'static str> {
    if own_word(text) {
        Ok(text.to_ascii_lowercase())
    } else {
        Err("a region such as `eu` or `us-east-1`: 1 to 64 letters, digits, `.`, `_` or `-`")
    }
}

/// Who pays.
pub(super) fn owner(text: &str) -> Result<String, &'static str> {
    if own_word(text) {
        Ok(text.to_owned())
    } else {
        Err("a name of who pays: 1 to 64 letters, digits, `.`, `_` or `-`")
    }
}

/// What a provider calls a model: it goes into bodies, headers and paths.
pub(super) fn model(text: &str) -> Result<String, &'static str> {
    if is_visible(text, MAX_MODEL) && !text.contains(['"', '\\']) {
        Ok(text.to_owned())
    } else {
        Err(
            "the provider's name of a model: 1 to 256 visible ASCII characters, no quotation marks or backslashes",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(rule: Check, good: &[&str], bad: &[&str]) {
        for text in good {
            assert!(rule(text).is_ok(), "{text}");
        }
        for text in bad {
            assert!(rule(text).is_err(), "{text}");
        }
    }

    #[test]
    fn hosts_have_no_scheme_path_or_odd_port() {
        check(
            host,
            &[
                "api.openai.com",
                "localhost:8000",
                "10.0.0.7",
                "[::1]:8000",
                "[2001:db8::1]",
                "my_svc.ns:65535",
            ],
            &[
                "",
                ":80",
                "https://api.openai.com",
                "a/b",
                "a:",
                "a:0",
                "a:65536",
                "a:+80",
                "a:80:80",
                "::1",
                "[::1",
                "[]",
                "a b",
                "ä",
                "a@b",
            ],
        );
        assert_eq!(host("API.OpenAI.com"), Ok("api.openai.com".into()));
    }

    #[test]
    fn prefixes_begin_with_a_slash_and_do_not_end_with_one() {
        check(
            path_prefix,
            &["/v1", "/api/v1", "/"],
            &["", "v1", "/v1/", "//", "/v1?x=1", "/v1#a", "/v 1", "/v1\n"],
        );
        assert_eq!(path_prefix("/"), Ok(String::new()));
    }

    #[test]
    fn clusters_models_and_versions_are_single_visible_words() {
        check(cluster, &["openai", "outbound|443||api.openai.com"], &["", "a b", "a\r\nb", "ä"]);
        check(
            model,
            &["gpt-4.1-mini", "meta-llama/Llama-3:free", "@cf/x"],
            &["", "a b", "a\"b", "a\\b", &"x".repeat(257)],
        );
        check(api_version, &["2024-10-21", "2025-04-01-preview", "v1"], &["", "a&b", "a b"]);
    }
}
