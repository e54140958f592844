//! The upstream path of a request.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::request_headers::takes_parameter;
use super::table::{default_prefix, prefix_of, route};
use super::{ProviderKind, Route};
use crate::base::Endpoint;

const AZURE_DEPLOYMENTS_PREFIX: &str = "/openai";

const API_VERSION: &str = "api-version";

/// Appends the path and query of `endpoint` at `kind` to `out`. Returns false and leaves `out` unchanged if
/// `kind` does not support the endpoint.
///
/// - `path_prefix` replaces the vendor's default prefix (`/v1`, `/api/v1`, …; on Azure `/openai` before
///   deployments and `/openai/v1` otherwise).
/// - `api_version` is used by Azure only. A dated one (`2024-10-21`) selects the deployment named `model`,
///   any other (`preview`) the v1 API with that parameter, and none the v1 API.
/// - `client_query` is the client's query string without its question mark. Of it those parameters are kept that
///   the endpoint has, but no `api-version` when the operator sets one, and to Azure no dated one.
pub fn upstream_path(
    kind: ProviderKind,
    endpoint: Endpoint,
    path_prefix: Option<&str>,
    api_version: Option<&str>,
    model: &str,
    client_query: Option<&str>,
    out: &mut String,
) -> bool {
    let Some(route) = route(kind, endpoint) else { return false };
    let api_version = api_version.filter(|_| kind == ProviderKind::AzureOpenAi);
    if api_version.is_some_and(is_dated) {
        push_azure_dated(endpoint, path_prefix, model, route, out);
    } else {
        push_prefix(path_prefix.or_else(|| prefix_of(kind, endpoint)).unwrap_or_default(), out);
        out.push_str(route.operation);
    }
    push_query(kind, api_version, client_query, |name| takes_parameter(kind, endpoint, name), out);
    true
}

/// Appends the path and query of something that lives at one account: a stored response, a file, a batch.
/// `rest` is what follows the version in the client's path. The client's parameters are kept, but no `api-version`
/// when the operator sets one, and to Azure no dated one.
pub fn resource_path(
    kind: ProviderKind,
    path_prefix: Option<&str>,
    api_version: Option<&str>,
    rest: &str,
    client_query: Option<&str>,
    out: &mut String,
) {
    let api_version = api_version.filter(|_| kind == ProviderKind::AzureOpenAi);
    let usual =
        if api_version.is_some_and(is_dated) { Some(AZURE_DEPLOYMENTS_PREFIX) } else { default_prefix(kind) };
    push_prefix(path_prefix.or(usual).unwrap_or_default(), out);
    out.push_str(rest);
    push_query(kind, api_version, client_query, |_| true, out);
}

/// Azure's dated versions use the deployment paths, its named ones (`v1`, `preview`, `latest`) the v1 API.
fn is_dated(api_version: &str) -> bool {
    api_version.starts_with(|first: char| first.is_ascii_digit())
}

fn push_azure_dated(
    endpoint: Endpoint,
    path_prefix: Option<&str>,
    model: &str,
    route: Route,
    out: &mut String,
) {
    push_prefix(path_prefix.unwrap_or(AZURE_DEPLOYMENTS_PREFIX), out);
    // The Responses API names the deployment in the body only.
    if endpoint != Endpoint::Responses {
        out.push_str("/deployments/");
        push_encoded(model, out);
    }
    out.push_str(route.operation);
}

fn push_prefix(prefix: &str, out: &mut String) {
    let prefix = prefix.trim_end_matches('/');
    if !prefix.is_empty() && !prefix.starts_with('/') {
        out.push('/');
    }
    out.push_str(prefix);
}

fn push_query(
    kind: ProviderKind,
    api_version: Option<&str>,
    client_query: Option<&str>,
    takes: impl Fn(&str) -> bool,
    out: &mut String,
) {
    let mut separator = '?';
    if let Some(version) = api_version {
        out.push(separator);
        out.push_str(API_VERSION);
        out.push('=');
        push_encoded(version, out);
        separator = '&';
    }
    let client_query = client_query.unwrap_or_default();
    for parameter in client_query.split('&').filter(|parameter| !parameter.is_empty()) {
        let name = parameter.split('=').next().unwrap_or_default();
        // A dated version belongs to deployments, and no path of the v1 API takes one.
        let value = parameter.split_once('=').map_or("", |(_, value)| value);
        let is_replaced = name == API_VERSION
            && (api_version.is_some() || kind == ProviderKind::AzureOpenAi && is_dated(value));
        if is_replaced || !takes(name) {
            continue;
        }
        out.push(separator);
        out.push_str(parameter);
        separator = '&';
    }
}

/// Everything except letters, digits and the unreserved marks of RFC 3986.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Appends `text` as one path segment or query value.
fn push_encoded(text: &str, out: &mut String) {
    out.extend(utf8_percent_encode(text, RESERVED));
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    struct Case {
        prefix: Option<&'static str>,
        version: Option<&'static str>,
        model: &'static str,
        query: Option<&'static str>,
    }

    const PLAIN: Case = Case { prefix: None, version: None, model: "m", query: None };

    fn path(kind: ProviderKind, endpoint: Endpoint, case: Case) -> Option<String> {
        let mut out = String::new();
        upstream_path(kind, endpoint, case.prefix, case.version, case.model, case.query, &mut out)
            .then_some(out)
    }

    fn check(kind: ProviderKind, endpoint: Endpoint, case: Case, expected: &str) {
        assert_eq!(path(kind, endpoint, case).as_deref(), Some(expected));
    }

    #[test]
    fn a_resource_keeps_its_path_and_parameters_below_the_vendors_prefix() {
        let path = |kind, prefix, version, query| {
            let mut out = String::new();
            resource_path(kind, prefix, version, "/files/file-1/content", query, &mut out);
            out
        };
        use ProviderKind::{Anthropic, AzureOpenAi, OpenAi};
        for (kind, prefix, version, query, expected) in [
            (OpenAi, None, None, Some("limit=2&after=x"), "/v1/files/file-1/content?limit=2&after=x"),
            (OpenAi, Some("/proxy"), None, None, "/proxy/files/file-1/content"),
            (Anthropic, None, Some("2024-10-21"), None, "/v1/files/file-1/content"),
            (AzureOpenAi, None, None, Some("api-version=2024-10-21"), "/openai/v1/files/file-1/content"),
            (
                AzureOpenAi,
                None,
                Some("2024-10-21"),
                Some("api-version=2020-01-01&limit=2"),
                "/openai/files/file-1/content?api-version=2024-10-21&limit=2",
            ),
        ] {
            assert_eq!(path(kind, prefix, version, query), expected);
        }
    }

    #[test]
    fn each_vendor_has_its_own_paths() {
        use Endpoint::{Chat, Completions, Embeddings, Messages, Responses};
        for (kind, endpoint, expected) in [
            (ProviderKind::OpenAi, Chat, "/v1/chat/completions"),
            (ProviderKind::OpenAi, Completions, "/v1/completions"),
            (ProviderKind::OpenAi, Embeddings, "/v1/embeddings"),
            (ProviderKind::OpenAi, Responses, "/v1/responses"),
            (ProviderKind::AzureOpenAi, Chat, "/openai/v1/chat/completions"),
            (ProviderKind::AzureOpenAi, Responses, "/openai/v1/responses"),
            (ProviderKind::Anthropic, Messages, "/v1/messages"),
            (ProviderKind::Anthropic, Chat, "/v1/chat/completions"),
            (ProviderKind::Gemini, Chat, "/v1beta/openai/chat/completions"),
            (ProviderKind::Gemini, Embeddings, "/v1beta/openai/embeddings"),
            (ProviderKind::OpenRouter, Chat, "/api/v1/chat/completions"),
            (ProviderKind::OpenRouter, Responses, "/api/v1/responses"),
            (ProviderKind::OpenRouter, Messages, "/api/v1/messages"),
            (ProviderKind::Mistral, Chat, "/v1/chat/completions"),
            (ProviderKind::OpenAiCompatible, Messages, "/v1/messages"),
        ] {
            check(kind, endpoint, PLAIN, expected);
        }
    }

    #[test]
    fn an_unsupported_endpoint_leaves_the_output_unchanged() {
        let mut out = String::from("kept");
        assert!(!upstream_path(ProviderKind::OpenAi, Endpoint::Messages, None, None, "m", None, &mut out));
        assert!(!upstream_path(
            ProviderKind::Mistral,
            Endpoint::Completions,
            None,
            None,
            "m",
            None,
            &mut out
        ));
        assert_eq!(out, "kept");
    }

    #[test]
    fn azures_dated_versions_use_deployment_paths() {
        let azure = ProviderKind::AzureOpenAi;
        let dated = |model| Case { version: Some("2024-10-21"), model, ..PLAIN };
        check(
            azure,
            Endpoint::Chat,
            dated("gpt 4/ü"),
            "/openai/deployments/gpt%204%2F%C3%BC/chat/completions?api-version=2024-10-21",
        );
        check(
            azure,
            Endpoint::Embeddings,
            dated("emb-3.1"),
            "/openai/deployments/emb-3.1/embeddings?api-version=2024-10-21",
        );
        check(azure, Endpoint::Responses, dated("gpt"), "/openai/responses?api-version=2024-10-21");
    }

    #[test]
    fn azures_named_versions_use_the_v1_api() {
        let case = Case { version: Some("preview"), ..PLAIN };
        check(
            ProviderKind::AzureOpenAi,
            Endpoint::Responses,
            case,
            "/openai/v1/responses?api-version=preview",
        );
    }

    #[test]
    fn other_vendors_ignore_an_api_version() {
        let case = Case { version: Some("2024-10-21"), ..PLAIN };
        check(ProviderKind::OpenAi, Endpoint::Chat, case, "/v1/chat/completions");
    }

    #[test]
    fn a_configured_prefix_replaces_the_default() {
        for (prefix, expected) in [
            ("/proxy/openai", "/proxy/openai/chat/completions"),
            ("/proxy/", "/proxy/chat/completions"),
            ("proxy", "/proxy/chat/completions"),
            ("", "/chat/completions"),
        ] {
            check(
                ProviderKind::OpenAiCompatible,
                Endpoint::Chat,
                Case { prefix: Some(prefix), ..PLAIN },
                expected,
            );
        }
        check(
            ProviderKind::AzureOpenAi,
            Endpoint::Chat,
            Case { prefix: Some("/apim/openai"), version: Some("2024-06-01"), ..PLAIN },
            "/apim/openai/deployments/m/chat/completions?api-version=2024-06-01",
        );
    }

    #[test]
    fn a_known_parameter_is_kept_and_the_operators_version_takes_precedence() {
        check(
            ProviderKind::Anthropic,
            Endpoint::Messages,
            Case { query: Some("beta=true&key=secret&flag"), ..PLAIN },
            "/v1/messages?beta=true",
        );
        check(
            ProviderKind::AzureOpenAi,
            Endpoint::Chat,
            Case {
                version: Some("2024-06-01"),
                query: Some("api-version=2020-01-01&API-VERSION=x&a=b&&flag"),
                ..PLAIN
            },
            "/openai/deployments/m/chat/completions?api-version=2024-06-01",
        );
        check(
            ProviderKind::AzureOpenAi,
            Endpoint::Chat,
            Case { query: Some("api-version=preview"), ..PLAIN },
            "/openai/v1/chat/completions?api-version=preview",
        );
        check(
            ProviderKind::AzureOpenAi,
            Endpoint::Chat,
            Case { query: Some("api-version=2024-10-21"), ..PLAIN },
            "/openai/v1/chat/completions",
        );
        check(
            ProviderKind::OpenAiCompatible,
            Endpoint::Chat,
            Case { query: Some("api-version=2024-10-21"), ..PLAIN },
            "/v1/chat/completions?api-version=2024-10-21",
        );
        check(
            ProviderKind::OpenAi,
            Endpoint::Chat,
            Case { query: Some(""), ..PLAIN },
            "/v1/chat/completions",
        );
    }

    proptest! {
        #[test]
        fn any_model_name_becomes_one_path_segment_of_plain_ascii(model in ".*") {
            let mut out = String::new();
            let version = Some("2024-06-01");
            upstream_path(ProviderKind::AzureOpenAi, Endpoint::Chat, None, version, &model, None, &mut out);
            prop_assert!(out.bytes().all(|byte| byte.is_ascii_graphic()));
            prop_assert_eq!(out.matches('/').count(), 5);
            prop_assert_eq!(out.matches('?').count(), 1);
        }
    }
}
