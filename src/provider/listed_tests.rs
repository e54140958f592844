use super::*;
use crate::provider::{
    CREDENTIAL_HEADERS, ProviderKind, credential_header, default_headers, default_host, needs_key,
    request_header, takes_usage_option, upstream_path,
};

/// What the documentation of each vendor says: name, host, the paths of its endpoints. Written by hand, so that a wrong
/// row is noticed.
const DOCUMENTED: [(&str, Option<&str>, &[&str]); Listed::COUNT] = [
    (
        "groq",
        Some("api.groq.com"),
        &["/openai/v1/chat/completions", "/openai/v1/responses", "/openai/v1/audio/speech"],
    ),
    ("xai", Some("api.x.ai"), &["/v1/chat/completions", "/v1/responses", "/v1/images/generations"]),
    ("deepseek", Some("api.deepseek.com"), &["/chat/completions"]),
    (
        "together",
        Some("api.together.ai"),
        &[
            "/v1/chat/completions",
            "/v1/completions",
            "/v1/embeddings",
            "/v1/rerank",
            "/v1/images/generations",
            "/v1/audio/speech",
        ],
    ),
    (
        "fireworks",
        Some("api.fireworks.ai"),
        &[
            "/inference/v1/chat/completions",
            "/inference/v1/completions",
            "/inference/v1/embeddings",
            "/inference/v1/responses",
            "/inference/v1/messages",
        ],
    ),
    (
        "cohere",
        Some("api.cohere.ai"),
        &["/compatibility/v1/chat/completions", "/compatibility/v1/embeddings", "/v2/rerank"],
    ),
    ("moonshot", Some("api.moonshot.ai"), &["/v1/chat/completions"]),
    (
        "dashscope",
        Some("dashscope-intl.aliyuncs.com"),
        &["/compatible-mode/v1/chat/completions", "/compatible-mode/v1/embeddings"],
    ),
    ("bedrock", None, &["/openai/v1/chat/completions", "/openai/v1/responses"]),
    ("vertex", None, &["/chat/completions"]),
    ("vllm", None, SERVER),
    ("sglang", None, SERVER),
    ("ollama", None, SERVER),
    ("lm-studio", None, SERVER),
];

const SERVER: &[&str] = &[
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/embeddings",
    "/v1/responses",
    "/v1/messages",
    "/v1/messages/count_tokens",
    "/v1/moderations",
    "/v1/rerank",
    "/v1/images/generations",
    "/v1/audio/speech",
];

fn paths(kind: ProviderKind, prefix: Option<&str>) -> Vec<String> {
    let path = |endpoint| {
        let mut path = String::new();
        upstream_path(kind, endpoint, prefix, None, "m", None, &mut path).then_some(path)
    };
    Endpoint::ALL.into_iter().filter_map(path).collect()
}

fn kind(name: &str) -> ProviderKind {
    ProviderKind::from_name(name).unwrap()
}

#[test]
fn every_row_has_the_documented_host_and_paths() {
    let listed = ProviderKind::ALL.into_iter().filter(|kind| matches!(kind, ProviderKind::Listed(_)));
    assert!(listed.map(ProviderKind::name).eq(DOCUMENTED.map(|(name, ..)| name)));
    for (name, host, documented) in DOCUMENTED {
        assert_eq!(default_host(kind(name)), host, "{name}");
        assert_eq!(paths(kind(name), None), documented, "{name}");
    }
    let project = "/v1/projects/p/locations/l/endpoints/openapi";
    assert_eq!(paths(kind("vertex"), Some(project)), [format!("{project}/chat/completions")]);
}

#[test]
fn every_row_takes_a_bearer_token_and_is_asked_for_usage() {
    for (name, ..) in DOCUMENTED {
        for endpoint in Endpoint::ALL {
            let (header, scheme) = credential_header(kind(name), endpoint);
            assert_eq!((header, scheme.value("k").as_str()), ("authorization", "Bearer k"), "{name}");
            assert!(CREDENTIAL_HEADERS.contains(&header) && default_headers(kind(name), endpoint).is_empty());
        }
        assert!(takes_usage_option(kind(name)), "{name}");
    }
}

#[test]
fn only_servers_of_the_operator_may_have_no_key() {
    let keyless: Vec<_> =
        ProviderKind::ALL.into_iter().filter(|kind| !needs_key(*kind)).map(ProviderKind::name).collect();
    assert_eq!(keyless, ["openai-compatible", "vllm", "sglang", "ollama", "lm-studio"]);
}

#[test]
fn names_are_those_of_one_kind_and_of_opentelemetry() {
    for (index, one) in ProviderKind::ALL.into_iter().enumerate() {
        for other in ProviderKind::ALL.into_iter().skip(index + 1) {
            assert!(one != other && one.name() != other.name() && one.gen_ai_name() != other.gen_ai_name());
        }
    }
    for (name, of_opentelemetry) in [
        ("groq", "groq"),
        ("xai", "x_ai"),
        ("deepseek", "deepseek"),
        ("cohere", "cohere"),
        ("bedrock", "aws.bedrock"),
        ("vertex", "gcp.vertex_ai"),
    ] {
        assert_eq!(kind(name).gen_ai_name(), of_opentelemetry);
    }
}

#[test]
fn only_vertex_ai_has_the_errors_of_google() {
    for (name, ..) in DOCUMENTED {
        let ProviderKind::Listed(listed) = kind(name) else { panic!("{name} has no row") };
        assert_eq!(listed.row().errors == Errors::Google, name == "vertex", "{name}");
        assert_eq!(kind(name).general(), ProviderKind::OpenAiCompatible);
    }
}

#[test]
fn a_listed_vendors_own_header_goes_to_no_other_listed_vendor() {
    use crate::provider::{RequestHeader, VENDOR_HEADERS};
    for (header, owner) in [("x-grok-conv-id", "xai"), ("x-session-affinity", "fireworks")] {
        let RequestHeader::Vendor(at) = request_header(header.as_bytes()) else { panic!("{header}") };
        let gets = |kind: &ProviderKind| VENDOR_HEADERS[usize::from(at)].is_for(*kind);
        let kinds: Vec<_> = ProviderKind::ALL.into_iter().filter(gets).map(ProviderKind::name).collect();
        assert_eq!(kinds, ["openai-compatible", owner], "{header}");
    }
}
