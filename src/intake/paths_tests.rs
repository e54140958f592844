//! Spellings of paths, and paths that hide one.

use super::*;
use proptest::prelude::*;

fn endpoint(endpoint: Endpoint, spelling: Spelling, model: Option<&str>) -> ClientPath {
    ClientPath::Endpoint(Called { endpoint, spelling, model: model.map(Into::into) })
}

fn models(wanted: Option<&str>, dialect: Option<Dialect>) -> ClientPath {
    ClientPath::Other(OtherPath::Models { wanted: wanted.map(str::to_owned), dialect })
}

#[test]
fn every_spelling_reaches_its_endpoint() {
    use Endpoint::{Chat, Completions, CountTokens, Embeddings, Images, Messages, Rerank, Responses, Speech};
    for (path, expected) in [
        ("/chat/completions", Chat),
        ("/completions", Completions),
        ("/embeddings", Embeddings),
        ("/responses/", Responses),
        ("/messages", Messages),
        ("//v1/chat/completions", Chat),
        ("/v1//chat///completions", Chat),
        ("/v1/chat/completions/", Chat),
        ("/v1/messages//", Messages),
        ("/openai/v1/chat/completions", Chat),
        ("/openai/v1/embeddings/", Embeddings),
        ("/anthropic/v1/messages", Messages),
        ("/anthropic/messages", Messages),
        ("/anthropic/v1/messages/count_tokens/", CountTokens),
        ("/rerank", Rerank),
        ("/v2/rerank", Rerank),
        ("/openai/v1/images/generations", Images),
        ("//audio/speech", Speech),
    ] {
        assert_eq!(client_path(path), endpoint(expected, Spelling::Other, None), "{path}");
    }
    for (path, expected) in [("/openai/chat/completions", Chat), ("/openai/responses", Responses)] {
        assert_eq!(client_path(path), endpoint(expected, Spelling::Azure, None), "{path}");
    }
    for usual in Endpoint::ALL {
        assert_eq!(client_path(usual.client_path()), ClientPath::Endpoint(Called::usual(usual)));
    }
}

#[test]
fn what_lives_at_an_account_is_found_only_in_plain_paths() {
    for (path, id, rest, methods) in [
        ("/v1/responses/resp_1", "resp_1", "/responses/resp_1", "GET, DELETE"),
        ("//openai/v1/responses/resp_1/", "resp_1", "/responses/resp_1", "GET, DELETE"),
        ("/responses/resp_1/cancel", "resp_1", "/responses/resp_1/cancel", "POST"),
        ("/v1/responses/resp_1/input_items", "resp_1", "/responses/resp_1/input_items", "GET"),
    ] {
        let expected = KeptResponse { id: id.to_owned(), rest: rest.to_owned(), methods };
        assert_eq!(client_path(path), ClientPath::Other(OtherPath::Response(expected)), "{path}");
    }
    for (path, rest) in [
        ("/v1/files", "/files"),
        ("/openai/files/file-1/content", "/files/file-1/content"),
        ("/anthropic/v1/messages/batches/b/results", "/messages/batches/b/results"),
        (
            "/v1/fine_tuning/checkpoints/ft:gpt-4o:org::id/permissions",
            "/fine_tuning/checkpoints/ft:gpt-4o:org::id/permissions",
        ),
    ] {
        let expected = OtherPath::Resource(rest.to_owned());
        assert_eq!(client_path(path), ClientPath::Other(expected), "{path}");
    }
    let long = format!("/v1/files/{}", "x".repeat(MAX_SEGMENT + 1));
    for path in
        ["/files", "/v1/files/..", "/v1/files/a%2e", "/v1/responses/a b", "/v1/responses/compact", &long]
    {
        let is_unknown = matches!(client_path(path), ClientPath::Other(OtherPath::Unknown { .. }));
        assert!(is_unknown, "{path}");
    }
}

#[test]
fn azure_s_path_names_the_model() {
    use Endpoint::{Chat, Completions, Embeddings, Images};
    for (path, expected, model) in [
        ("/openai/deployments/gpt/chat/completions", Chat, "gpt"),
        ("//openai/deployments/gpt/chat/completions/", Chat, "gpt"),
        ("/openai/deployments/gpt/completions", Completions, "gpt"),
        ("/openai/deployments/emb-3.1/embeddings", Embeddings, "emb-3.1"),
        ("/openai/deployments/meta%2Fllama%3Afree/chat/completions", Chat, "meta/llama:free"),
        ("/openai/deployments/meta/llama/chat/completions", Chat, "meta/llama"),
        ("/openai/deployments/m%C3%BC/embeddings", Embeddings, "mü"),
        ("/openai/deployments/pic/images/generations", Images, "pic"),
        ("/openai/deployments/..%2F..%2Fx/embeddings", Embeddings, "../../x"),
    ] {
        assert_eq!(client_path(path), endpoint(expected, Spelling::Azure, Some(model)), "{path}");
    }
    for path in [
        "/openai/deployments/chat/completions/",
        "/openai/deployments/gpt",
        "/openai/deployments/gpt/messages",
        "/openai/deployments/%FF/embeddings",
        "/deployments/gpt/chat/completions",
        "/anthropic/deployments/gpt/chat/completions",
    ] {
        let is_served = matches!(client_path(path), ClientPath::Endpoint(Called { endpoint: Chat, .. }));
        assert!(!is_served, "{path}");
    }
}

#[test]
fn lists_of_models_are_found_in_every_spelling() {
    for (path, expected) in [
        ("/v1/models", models(None, None)),
        ("/models/", models(None, None)),
        ("//v1/models//chat", models(Some("chat"), None)),
        ("/v1/models/meta%2Fllama", models(Some("meta%2Fllama"), None)),
        ("/v1/models/meta/llama/", models(Some("meta/llama"), None)),
        ("/openai/v1/models", models(None, Some(Dialect::OpenAi))),
        ("/anthropic/v1/models/chat", models(Some("chat"), Some(Dialect::Anthropic))),
        ("/llm-failsafe/health", ClientPath::Other(OtherPath::Health)),
        ("/llm-failsafe/health/", ClientPath::Other(OtherPath::Health)),
    ] {
        assert_eq!(client_path(path), expected, "{path}");
    }
}

#[test]
fn an_unknown_path_gets_the_nearest_known_one() {
    use PathHint::{Near, None, NotServed, Operators};
    for (path, expected) in [
        ("/v1/chat/completion", Near("/v1/chat/completions")),
        ("/v1/chat", None),
        ("/chat/completion", Near("/v1/chat/completions")),
        ("/v1/v1/messages", Near("/v1/messages")),
        ("/api/v1/chat/completions", Near("/v1/chat/completions")),
        ("/v2/completions", Near("/v1/completions")),
        ("/v1beta/models", Near("/v1/models")),
        ("/v1/embedding", Near("/v1/embeddings")),
        ("/v1/message", Near("/v1/messages")),
        ("/V1/Messages", Near("/v1/messages")),
        ("/openai/v1/messages", Near("/v1/messages")),
        ("/anthropic/v1/chat/completions", Near("/v1/chat/completions")),
        ("/v1/%63hat/completions", Near("/v1/chat/completions")),
        ("/llm-failsafe/healthz", Near("/llm-failsafe/health")),
        ("/llm-failsafe", Operators),
        ("/llm-failsafe/status", Operators),
        ("/v1/messages/count_token", Near("/v1/messages/count_tokens")),
        ("/v2/moderations", Near("/v1/moderations")),
        ("/responses/compact", NotServed("/v1/responses/compact")),
        ("/", None),
        ("", None),
        ("/favicon.ico", None),
        ("/v1/images/edits", None),
    ] {
        let ClientPath::Other(OtherPath::Unknown { hint, .. }) = client_path(path) else {
            panic!("{path} is known")
        };
        assert_eq!(hint, expected, "{path}");
    }
}

/// Whether an unknown path hides a known one.
fn hides(path: &str) -> Option<bool> {
    match client_path(path) {
        ClientPath::Other(OtherPath::Unknown { hides_known, .. }) => Some(hides_known),
        _ => None,
    }
}

#[test]
fn a_path_that_hides_a_known_one_goes_nowhere() {
    for path in [
        "/v1/%63hat/completions",
        "/v1%2Fchat%2fcompletions",
        "/v1/%2563hat/completions",
        "/x/../v1/chat/completions",
        "/x/%2e%2e/v1/messages",
        "/v1/./responses",
        "\\v1\\embeddings",
        "/v1/chat;a=b/completions",
        "/V1/CHAT/completions",
        "/v1/models%2Fchat",
        "/v1/completions%3Fa=b",
        "/x/../v1/messages/count_tokens",
        "/v2/rer%61nk",
        "/v1/embeddings%20",
        "/%252525252525252563",
        "/x%3F/../v1/chat/completions",
        "/x%23/../v1/messages",
        "/v1/chat/completions//..",
        "/v1/messages/..",
        "/v1/chat/completions%00",
        "//llm-failsafe/status",
        "/LLM-Failsafe/providers",
        "/llm%2dfailsafe/",
        "/x/../llm-failsafe/status",
    ] {
        assert_eq!(hides(path), Some(true), "{path}");
    }
    for path in ["/v1/images/edits", "/files/a%20b", "/v1/files/100%25", "/%", "/a/../b", "/%ff"] {
        assert_eq!(hides(path), Some(false), "{path}");
    }
}

/// What a careless server could take a path for.
fn careless(path: &str) -> String {
    let decoded = percent_decode_str(path).decode_utf8_lossy().into_owned();
    let kept: Vec<&str> = decoded.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    kept.join("/")
}

/// Each byte of a text as it is, or encoded.
fn encoded(text: &str, which: &[bool]) -> String {
    let bytes = text.bytes().zip(which.iter().chain(std::iter::repeat(&false)));
    bytes
        .map(|(byte, encode)| if *encode { format!("%{byte:02x}") } else { char::from(byte).to_string() })
        .collect()
}

proptest! {
    /// Otherwise the cluster for other paths could serve a request whose model and key nobody has checked.
    #[test]
    fn no_encoding_takes_an_endpoint_past_the_checks(
        place in 0..Endpoint::ALL.len(),
        which in proptest::collection::vec(any::<bool>(), 24),
        slashes in 0_usize..3,
    ) {
        let path = format!("{}{}", encoded(Endpoint::ALL[place].client_path(), &which), "/".repeat(slashes));
        prop_assert_ne!(hides(&path), Some(false), "{}", path);
    }

    /// Servers disagree about what dots, empty segments and encoded marks do to a path.
    #[test]
    fn no_odd_segment_takes_an_endpoint_past_the_checks(
        place in 0..Endpoint::ALL.len(),
        before in "(/(x|[.]{1,2}|%2e%2e|%3[fF]|%23|;a|%5c|%0a)?){0,4}",
        after in "(/|/[.]{1,2}|%3[fF]a|%23|;a|%5c|%00){0,3}",
    ) {
        let path = format!("{before}{}{after}", Endpoint::ALL[place].client_path());
        prop_assume!(path.starts_with('/'));
        let plain = before.chars().all(|it| matches!(it, '/' | 'x'));
        prop_assume!(!plain || !before.contains('x'));
        prop_assert_ne!(hides(&path), Some(false), "{}", path);
    }

    /// Slashes and vendors' prefixes change neither the endpoint nor the model.
    #[test]
    fn a_spelling_changes_neither_the_endpoint_nor_the_model(
        place in 0..Endpoint::ALL.len(),
        (front, middle, back) in (1_usize..4, 1_usize..4, 0_usize..4),
        (vendor, version) in (any::<bool>(), any::<bool>()),
        model in proptest::option::of("[a-z][a-z0-9./:%-]{0,12}[a-z0-9]"),
    ) {
        let meant = Endpoint::ALL[place];
        let name = if meant.dialect() == Dialect::Anthropic { "anthropic" } else { "openai" };
        let mut parts: Vec<String> = Vec::new();
        let azure = model.filter(|_| meant.dialect() == Dialect::OpenAi);
        if vendor || azure.is_some() {
            parts.push(name.to_owned());
        }
        match &azure {
            Some(model) => parts.extend(["deployments".to_owned(), encoded(model, &[true; 64])]),
            None if version => parts.push("v1".to_owned()),
            None => {}
        }
        parts.extend(operation(meant).map(str::to_owned));
        let path = format!(
            "{}{}{}",
            "/".repeat(front),
            parts.join(&"/".repeat(middle)),
            "/".repeat(back)
        );
        let ClientPath::Endpoint(called) = client_path(&path) else {
            return Err(TestCaseError::fail(format!("{path} is unknown")));
        };
        prop_assert_eq!(called.endpoint, meant);
        prop_assert_eq!(called.model.as_deref(), azure.as_deref());
    }

    #[test]
    fn any_path_means_something_and_never_more_than_a_careless_server_would_read(path in "(/|[a-z0-9%./]){0,40}") {
        if let ClientPath::Endpoint(called) = client_path(&path) {
            let read = careless(&path);
            let end = operation(called.endpoint).collect::<Vec<_>>().join("/");
            prop_assert!(read.ends_with(&end), "{} {}", path, read);
        }
    }
}
