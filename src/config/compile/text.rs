//! Checks texts that are used in request lines and headers.

use crate::config::mistakes::{Mistakes, Trail};
use crate::config::model_names::{MAX_MODEL_NAME, WILDCARD};

const MAX_CLUSTER: usize = 256;
/// 253 characters of a DNS name, a colon and five digits.
const MAX_HOST: usize = 259;
const MAX_PREFIX: usize = 256;
const MAX_MODEL: usize = 256;
const MAX_API_VERSION: usize = 64;
const MAX_LABEL: usize = 64;

/// A check returns the text as it will be used, or what was expected instead.
type Check = fn(&str) -> Result<String, &'static str>;

/// Applies `check` to `text`. The text is not shown, because it may be a URL that contains a key.
pub(super) fn checked(text: &str, check: Check, at: &Trail<'_>, mistakes: &mut Mistakes) -> Option<String> {
    check(text).map_err(|expected| mistakes.add(at, format!("is not valid, expected {expected}"))).ok()
}

/// Whether `text` has 1 to `max` bytes, all of them visible ASCII.
fn is_visible(text: &str, max: usize) -> bool {
    (1..=max).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// The name of an Envoy cluster, which is sent in a header.
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

/// The part of a path before the operation. `/` alone is an empty prefix.
pub(super) fn path_prefix(text: &str) -> Result<String, &'static str> {
    if text == "/" {
        return Ok(String::new());
    }
    let is_path = is_visible(text, MAX_PREFIX) && text.starts_with('/') && !text.ends_with('/');
    if is_path && !text.contains(['?', '#', '\\']) {
        Ok(text.to_owned())
    } else {
        Err("a path such as `/v1` with a slash at the start, none at the end and no query; `/` \
            alone for no prefix")
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

/// Whether `text` is one of the operator's own labels, which are compared and shown.
fn is_label(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=MAX_LABEL).contains(&text.len()) && text.bytes().all(allowed)
}

/// A region where data is processed, in lower case.
pub(super) fn region(text: &str) -> Result<String, &'static str> {
    if is_label(text) {
        Ok(text.to_ascii_lowercase())
    } else {
        Err("a region such as `eu` or `us-east-1`: 1 to 64 letters, digits, `.`, `_` or `-`")
    }
}

/// A billing owner or a quota pool.
pub(super) fn owner(text: &str) -> Result<String, &'static str> {
    if is_label(text) { Ok(text.to_owned()) } else { Err("a name: 1 to 64 letters, digits, `.`, `_` or `-`") }
}

/// A provider's model name, which is used in bodies, headers and paths.
pub(super) fn model(text: &str) -> Result<String, &'static str> {
    let stars = text.matches(WILDCARD).count();
    // With what a client puts in place of a star it is no longer than any other name.
    let max = if stars == 0 { MAX_MODEL } else { MAX_MODEL - MAX_MODEL_NAME };
    if is_visible(text, max) && !text.contains(['"', '\\']) && stars <= 1 {
        Ok(text.to_owned())
    } else if stars == 0 {
        Err("the provider's model name: 1 to 256 visible ASCII characters, no quotation marks or backslashes")
    } else {
        Err(
            "a model name with one `*` for the rest of the client's name: at most 128 visible ASCII characters, no \
             quotation marks or backslashes",
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
    fn path_prefixes_begin_with_a_slash_and_do_not_end_with_one() {
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
