//! What providers and clients see in requests and responses: hosts, paths and keys, and no header that is only for the client,
//! Envoy or the filter.

use std::time::Duration;

use integration_tests::client::{Protocol, Request};
use integration_tests::gateway::{Gateway, Shape, connection_manager};
use integration_tests::provider::{ReceivedRequest, Script, ScriptedProvider, errors};
use integration_tests::scene::Scene;
use serde_json::{Value, json};

const SHAPES: [Shape; 2] = [Shape::Loop, Shape::Single];

/// Headers that a provider must not see, or that must not control Envoy or the filter.
const UNWELCOME: [(&str, &str); 53] = [
    ("openai-organization", "org-of-the-client"),
    ("openai-project", "proj-of-the-client"),
    ("authorization", "Bearer client-secret"),
    ("x-api-key", "client-secret"),
    ("api-key", "client-secret"),
    ("x-goog-api-key", "client-secret"),
    ("proxy-authorization", "Basic client-secret"),
    ("cookie", "session=client-secret"),
    ("x-forwarded-for", "10.1.2.3"),
    ("x-forwarded-proto", "https"),
    ("x-forwarded-host", "intranet.test"),
    ("x-forwarded-client-cert", "By=me"),
    ("forwarded", "for=10.1.2.3"),
    ("via", "1.1 intranet"),
    ("x-real-ip", "10.1.2.3"),
    ("true-client-ip", "10.1.2.3"),
    ("cf-connecting-ip", "10.1.2.3"),
    ("cf-ray", "0"),
    ("cf-access-jwt-assertion", "client-secret"),
    ("cdn-loop", "cloudflare"),
    ("x-amzn-oidc-data", "client-secret"),
    ("x-amzn-oidc-accesstoken", "client-secret"),
    ("x-auth-request-access-token", "client-secret"),
    ("x-auth-request-email", "anna@team.test"),
    ("x-goog-iap-jwt-assertion", "client-secret"),
    ("x-goog-user-project", "project-of-the-client"),
    ("x-ms-client-principal", "client-secret"),
    ("x-azure-clientip", "10.1.2.3"),
    ("baggage", "user=anna"),
    ("referer", "https://intranet.test/"),
    ("origin", "https://intranet.test"),
    ("accept-language", "de"),
    ("sec-fetch-site", "cross-site"),
    ("x-anything", "client-secret"),
    ("x-request-id", "00000000-0000-4000-8000-000000000001"),
    ("te", "trailers"),
    ("x-envoy-max-retries", "0"),
    ("x-envoy-retry-on", "5xx"),
    ("x-envoy-retriable-status-codes", "200"),
    ("x-envoy-upstream-rq-timeout-ms", "1"),
    ("x-envoy-upstream-rq-per-try-timeout-ms", "1"),
    ("x-envoy-expected-rq-timeout-ms", "1"),
    ("x-envoy-hedge-on-per-try-timeout", "true"),
    ("x-envoy-attempt-count", "9"),
    ("x-envoy-external-address", "10.1.2.3"),
    ("x-envoy-internal", "true"),
    ("x-envoy-original-path", "/elsewhere"),
    ("x-llm-journey", "00000000-0000-4000-8000-000000000002"),
    ("x-llm-cluster", "elsewhere"),
    ("x-llm-strip-cluster", "elsewhere"),
    ("x-llm-retry", "server"),
    ("x-llm-session", "s1"),
    ("x-llm-target", "elsewhere"),
];

/// The headers that a provider sees when a chat request has all unwelcome ones.
const WELCOME: [&str; 8] = [
    "accept",
    "accept-encoding",
    "authorization",
    "content-length",
    "content-type",
    "host",
    "user-agent",
    "x-stainless-lang",
];

fn unwelcome_chat(stream: bool, protocol: Protocol) -> Request {
    let request = Request::chat("chat", stream)
        .header("accept", "application/json")
        .header("accept-encoding", "gzip, br")
        .header("user-agent", "OpenAI/Python")
        .header("x-stainless-lang", "python");
    let request = request.over(protocol);
    UNWELCOME.into_iter().fold(request, |request, (name, value)| request.header(name, value))
}

fn names(request: &ReceivedRequest) -> Vec<&str> {
    let mut names: Vec<_> = request.headers.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    names
}

fn assert_clean(request: &ReceivedRequest, host: &str, key: &str) {
    assert_eq!(names(request), WELCOME, "{request:#?}");
    assert_eq!(request.header("host"), Some(host));
    assert_eq!(request.header("authorization"), Some(key));
    assert_eq!(
        request.header("accept-encoding"),
        Some("identity"),
        "the filter must be able to read the response"
    );
    assert!(!format!("{request:?}").contains("client-secret"), "{request:#?}");
}

#[tokio::test]
async fn a_provider_sees_only_the_request_itself() {
    for shape in SHAPES {
        let gateway = Gateway::new(shape)
            .configure(&json!({"mode": "shadow", "models": {"chat": {"tiers": [["gpt-a"], ["haiku"]]}}}));
        let scene = gateway.start_with([("a", "openai"), ("b", "anthropic")]).await;
        let Scene { envoy, providers: [a, b], .. } = scene;
        // With this delay the client's own timeout header of 1 ms would end the request if it had an effect.
        let slowly = |script: Script| script.delay_headers(Duration::from_millis(50));
        for protocol in [Protocol::Http1, Protocol::H2c] {
            for stream in [false, true] {
                a.script(slowly(Script::usual()));
                let answer = unwelcome_chat(stream, protocol).send(envoy.port()).await.unwrap();
                assert_eq!(answer.status, 200, "{shape:?} {protocol:?}");
                assert_eq!(answer.header("x-llm-target"), Some("gpt-a"));
                assert_eq!(
                    answer.header("x-llm-attempts"),
                    Some("1"),
                    "the client's attempt count has no effect"
                );
                assert!(answer.text().await.contains("from a") || stream);
            }
            // The client's retry headers have no effect either.
            a.script(slowly(errors::openai_500()));
            let answer = unwelcome_chat(false, protocol).send(envoy.port()).await.unwrap();
            match shape {
                Shape::Loop => assert_eq!(answer.header("x-llm-target"), Some("haiku")),
                Shape::Single => assert_eq!(answer.status, 500),
            }
        }
        let seen = a.received();
        assert_eq!(seen.len(), 6, "{shape:?}: one attempt each");
        for request in &seen {
            assert_clean(request, "api.openai.com", "Bearer sk-openai-a-secret");
            assert_eq!(request.path, "/v1/chat/completions");
            assert_eq!(request.json()["model"], "gpt-4.1-mini");
        }
        for request in &b.received() {
            assert_clean(request, "api.anthropic.com", "Bearer sk-ant-secret");
            assert_eq!(request.json()["model"], "claude-haiku-4-5");
        }
        assert_eq!(b.received().len(), if shape == Shape::Loop { 2 } else { 0 });
    }
}

/// Without `route_strips_headers` the filter removes everything itself, and any route will do.
#[tokio::test]
async fn the_filter_strips_requests_itself_if_the_route_does_not() {
    for shape in SHAPES {
        let gateway = Gateway::new(shape)
            .configure(&json!({"route_strips_headers": false, "models": {"chat": {"tiers": [["gpt-a"]]}}}));
        let gateway = gateway.edit(|config| drop(stripping_route(config, shape)));
        let scene = gateway.start_with([("a", ["openai", "anthropic"])]).await;
        let answer = unwelcome_chat(false, Protocol::Http1).send(scene.envoy.port()).await.unwrap();
        assert_eq!(answer.status, 200, "{shape:?}");
        assert_clean(&scene.providers[0].received()[0], "api.openai.com", "Bearer sk-openai-a-secret");
    }
}

/// If the filter leaves headers to a route that does not strip, no provider gets the request.
#[tokio::test]
async fn a_request_never_leaves_through_a_route_that_does_not_strip() {
    for shape in SHAPES {
        let gateway = Gateway::new(shape).configure(&json!({"models": {"chat": {"tiers": [["gpt-a"]]}}}));
        let gateway = gateway.edit(|config| drop(stripping_route(config, shape)));
        let scene = gateway.start_with([("a", ["openai", "anthropic"])]).await;
        let answer = unwelcome_chat(false, Protocol::Http1).send(scene.envoy.port()).await.unwrap();
        assert_eq!(answer.status, 503, "{shape:?}");
        assert_eq!(scene.providers[0].received().len(), 0, "{shape:?}");
    }
}

/// Takes out the route that strips.
fn stripping_route(config: &mut Value, shape: Shape) -> Value {
    let listener = if shape == Shape::Loop { 1 } else { 0 };
    let host = &mut connection_manager(config, listener)["route_config"]["virtual_hosts"][0];
    let routes = host["routes"].as_array_mut().unwrap();
    let strips = |route: &Value| route["route"]["cluster_header"] == "x-llm-strip-cluster";
    let at = routes.iter().position(strips).unwrap();
    routes.remove(at)
}

#[tokio::test]
async fn a_provider_cannot_forge_the_filters_headers() {
    for shape in SHAPES {
        let gateway = Gateway::new(shape).configure(
            &json!({"models": {"chat": {"tiers": [["gpt-a"]], "retry": {"attempts_per_target": 1}}}}),
        );
        let scene = gateway.start_with([("a", ["openai", "anthropic"])]).await;
        let Scene { envoy, providers: [a], .. } = scene;
        for script in [Script::usual(), errors::openai_400(), errors::openai_500()] {
            for stream in [false, true] {
                let script = script
                    .clone()
                    .header("x-llm-target", "forged")
                    .header("x-llm-fallback", "forged")
                    .header("x-llm-reason", "forged")
                    .header("x-llm-retry", "forged")
                    .header("openai-processing-ms", "7")
                    .header("x-ratelimit-remaining-tokens", "90000");
                a.script(script);
                let answer = Request::chat("chat", stream).send(envoy.port()).await.unwrap();
                let mut names: Vec<_> = answer.headers.keys().map(|name| name.as_str()).collect();
                // Envoy sets the framing, and the time that the edge of the loop measured.
                let envoys = ["content-length", "transfer-encoding", "x-envoy-upstream-service-time"];
                names.retain(|name| !envoys.contains(name));
                names.sort_unstable();
                let of_streams = ["cache-control", "x-accel-buffering"];
                let is_stream = stream && answer.status == 200;
                assert_eq!(of_streams.map(|name| answer.header(name).is_some()), [is_stream; 2], "{shape:?}");
                let of_the_end = ["x-llm-reason", "x-should-retry"].map(|name| answer.header(name));
                let gave_up = shape == Shape::Loop && answer.status == 500;
                let told = if gave_up { [Some("nothing_left"), Some("false")] } else { [None; 2] };
                assert_eq!(of_the_end, told, "{shape:?} {}", answer.status);
                names.retain(|name| {
                    !of_streams.contains(name) && !["x-llm-reason", "x-should-retry"].contains(name)
                });
                let expected = [
                    "content-type",
                    "date",
                    "openai-processing-ms",
                    "server",
                    "x-llm-attempts",
                    "x-llm-model",
                    "x-llm-target",
                    "x-ratelimit-remaining-tokens",
                    "x-request-id",
                ];
                assert_eq!(names, expected, "{shape:?} {}", answer.status);
                assert_eq!(answer.header("x-llm-target"), Some("gpt-a"));
                assert_eq!(answer.header("openai-processing-ms"), Some("7"));
            }
        }
    }
}

/// A request and how it arrives at the provider.
struct Arrival {
    model: &'static str,
    path: &'static str,
    arrives_at: &'static str,
    host: &'static str,
    key: (&'static str, &'static str),
}

const BEARER: (&str, &str) = ("authorization", "Bearer provider-secret");

const fn arrival(
    model: &'static str,
    path: &'static str,
    arrives_at: &'static str,
    host: &'static str,
) -> Arrival {
    Arrival { model, path, arrives_at, host, key: BEARER }
}

fn arrivals() -> Vec<Arrival> {
    let azure = ("api-key", "provider-secret");
    let claude = ("x-api-key", "provider-secret");
    let (chat, embeddings) = ("/v1/chat/completions", "/v1/embeddings");
    let dated = "/openai/deployments/real%2Fmodel/chat/completions?api-version=2024-10-21";
    let dated_rows = "/openai/deployments/real%2Fmodel/embeddings?api-version=2024-10-21";
    let google = "generativelanguage.googleapis.com";
    vec![
        arrival("openai", chat, chat, "api.openai.com"),
        arrival("openai", "/v1/completions", "/v1/completions", "api.openai.com"),
        arrival("openai", embeddings, embeddings, "api.openai.com"),
        arrival("openai", "/v1/responses?include[]=x", "/v1/responses?include[]=x", "api.openai.com"),
        Arrival { key: azure, ..arrival("azure", chat, "/openai/v1/chat/completions", "azure.test") },
        Arrival { key: azure, ..arrival("azure-dated", chat, dated, "azure.test") },
        Arrival { key: azure, ..arrival("azure-dated", embeddings, dated_rows, "azure.test") },
        arrival("anthropic", chat, chat, "api.anthropic.com"),
        Arrival { key: claude, ..arrival("anthropic", "/v1/messages", "/v1/messages", "api.anthropic.com") },
        Arrival {
            key: claude,
            ..arrival("anthropic", "/v1/messages?beta=true", "/v1/messages?beta=true", "api.anthropic.com")
        },
        arrival("gemini", chat, "/v1beta/openai/chat/completions", google),
        arrival("gemini", embeddings, "/v1beta/openai/embeddings", google),
        arrival("openrouter", chat, "/api/v1/chat/completions", "openrouter.ai"),
        arrival("openrouter", "/v1/messages", "/api/v1/messages", "openrouter.ai"),
        arrival("mistral", chat, chat, "api.mistral.ai"),
        arrival("compatible", chat, "/proxy/llm/chat/completions", "vllm.test:8000"),
        arrival("compatible", "/v1/completions", "/proxy/llm/completions", "vllm.test:8000"),
    ]
}

#[tokio::test]
async fn each_kind_of_provider_gets_its_path_host_and_key() {
    let mut configuration = json!({
        "providers": {
            "openai": {"kind": "openai"},
            "azure": {"kind": "azure-openai", "host": "azure.test"},
            "azure-dated": {"kind": "azure-openai", "host": "azure.test", "api_version": "2024-10-21"},
            "anthropic": {"kind": "anthropic"},
            "gemini": {"kind": "gemini"},
            "openrouter": {"kind": "openrouter", "headers": {"http-referer": "https://team.test"}},
            "mistral": {"kind": "mistral"},
            "compatible": {"kind": "openai-compatible", "host": "vllm.test:8000", "path_prefix": "/proxy/llm"},
        },
        "targets": {},
        "models": {},
    });
    for (name, provider) in configuration["providers"].clone().as_object().unwrap() {
        assert!(provider.is_object());
        configuration["providers"][name]["cluster"] = json!("provider");
        configuration["targets"][name] =
            json!({"provider": name, "key": {"value": "provider-secret"}, "model": "real/model"});
        configuration["models"][name] = json!({"targets": [name]});
    }
    for shape in SHAPES {
        let gateway = Gateway::new(shape).plugin(&configuration);
        let Scene { envoy, providers: [provider], .. } = gateway.start_with(["provider"]).await;
        for arrival in arrivals() {
            let before = provider.received().len();
            check_arrival(envoy.port(), &provider, &arrival).await;
            assert_eq!(provider.received().len(), before + 1);
        }
        let versions = [("2023-01-01", "2023-01-01"), ("", "2023-06-01")];
        for (sent, seen) in versions {
            let request = Request::post("/v1/messages").json(&json!({"model": "anthropic", "max_tokens": 1}));
            let request = if sent.is_empty() { request } else { request.header("anthropic-version", sent) };
            assert_eq!(request.send(envoy.port()).await.unwrap().status, 200);
            assert_eq!(provider.received().last().unwrap().header("anthropic-version"), Some(seen));
        }
    }
}

async fn check_arrival(port: u16, provider: &ScriptedProvider, arrival: &Arrival) {
    let body = json!({"messages": [{"role": "user", "content": "hi \u{1F600}"}], "input": "hi", "model": arrival.model,
        "max_tokens": 5, "metadata": {"model": "not this one"}});
    let request = Request::post(arrival.path)
        .json(&body)
        .header("authorization", "Bearer client-secret")
        .header("x-api-key", "client-secret");
    let answer = request.send(port).await.unwrap();
    let case = format!("{} {}", arrival.model, arrival.path);
    assert_eq!(answer.status, 200, "{case}");
    let seen = provider.received().pop().unwrap();
    assert_eq!((seen.method.as_str(), seen.path.as_str()), ("POST", arrival.arrives_at), "{case}");
    assert_eq!(seen.header("host"), Some(arrival.host), "{case}");
    let credentials = ["authorization", "x-api-key", "api-key", "x-goog-api-key"];
    let sent: Vec<_> = credentials.into_iter().filter_map(|name| Some((name, seen.header(name)?))).collect();
    assert_eq!(sent, [arrival.key], "{case}");
    assert_eq!(
        seen.header("anthropic-version").is_some(),
        arrival.host == "api.anthropic.com" && arrival.path != "/v1/chat/completions",
        "{case}"
    );
    assert_eq!(seen.header("http-referer").is_some(), arrival.model == "openrouter", "{case}");
    let mut expected: Value = body;
    expected["model"] = json!("real/model");
    assert_eq!(seen.json(), expected, "{case}: only the model changes");
    assert_eq!(seen.header("content-length"), Some(seen.body_length.to_string().as_str()), "{case}");
}
