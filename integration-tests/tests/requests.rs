//! Requests from clients: invalid ones are refused in the client's dialect and reach no provider, valid ones arrive in any
//! framing, and client keys open only their models.

use bytes::Bytes;
use hyper::body::Frame;
use hyper::client::conn::http2;
use hyper::header::HeaderMap;
use hyper::{Method, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use integration_tests::SOON;
use integration_tests::body::{Frames, Piece};
use integration_tests::client::{Request, Response};
use integration_tests::envoy::Envoy;
use integration_tests::gateway::{Gateway, Shape};
use integration_tests::provider::{ScriptedProvider, errors};
use integration_tests::sha256;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

const CHAT: &str = "/v1/chat/completions";
const MESSAGES: &str = "/v1/messages";
const SHAPES: [Shape; 2] = [Shape::Loop, Shape::Single];

/// The shipped configuration with one scripted provider behind all clusters.
fn gateway(shape: Shape, provider: &ScriptedProvider) -> Gateway {
    Gateway::new(shape).provider("openai", provider.port()).provider("anthropic", provider.port())
}

/// A POST with this body.
fn post(path: &str, body: impl Into<Bytes>) -> Request {
    Request::post(path).header("content-type", "application/json").bytes(body)
}

/// Checks a refusal of the filter: status, reason, and a JSON error in the dialect of the path. Returns the message.
async fn check_refused(what: &str, path: &str, answer: Response, status: u16, reason: &str) -> String {
    assert_eq!((answer.status.as_u16(), answer.header("x-llm-reason")), (status, Some(reason)), "{what}");
    assert_eq!(answer.header("content-type"), Some("application/json"), "{what}");
    for private in ["x-llm-retry", "x-llm-target", "x-llm-cluster", "x-llm-attempts"] {
        assert_eq!(answer.header(private), None, "{what}: {private}");
    }
    let body = answer.json().await;
    if path == MESSAGES {
        assert_eq!(body["type"], "error", "{what}: {body}");
        assert!(body["error"]["type"].is_string() && body["error"].get("code").is_none(), "{what}: {body}");
    } else {
        assert_eq!(body["error"]["code"], reason, "{what}: {body}");
        assert!(body.get("type").is_none() && body["error"].get("param").is_some(), "{what}: {body}");
    }
    body["error"]["message"].as_str().unwrap_or_else(|| panic!("{what}: no message in {body}")).to_owned()
}

#[tokio::test]
async fn a_bad_body_is_refused_in_the_clients_dialect_and_reaches_no_provider() {
    let deep = format!(r#"{{"model":"chat","messages":{}"#, "[".repeat(100_000));
    let bodies: [(&str, &str, u16, &str); 13] = [
        ("not JSON", "say hello", 400, "invalid_json"),
        ("cut short", r#"{"model":"chat","messages":["#, 400, "invalid_json"),
        ("text after it", r#"{"model":"chat"} {}"#, 400, "invalid_json"),
        ("an array", r#"[{"model":"chat"}]"#, 400, "invalid_json"),
        ("a string", r#""chat""#, 400, "invalid_json"),
        ("too deep", &deep, 400, "invalid_json"),
        ("no body", "", 400, "invalid_json"),
        ("white space", " \r\n ", 400, "invalid_json"),
        ("no model", r#"{"messages":[{"model":"chat"}]}"#, 400, "model_missing"),
        ("a number for a model", r#"{"model":7}"#, 400, "model_not_a_string"),
        ("null for a model", r#"{"model":null}"#, 400, "model_not_a_string"),
        ("a model in another case", r#"{"model":"chat","Model":"gpt-5"}"#, 400, "invalid_json"),
        ("an unknown model", r#"{"model":"gpt-4.1-mini"}"#, 404, "model_not_found"),
    ];
    let provider = ScriptedProvider::start("alpha").await;
    for shape in SHAPES {
        let envoy = gateway(shape, &provider).start().await;
        for (what, body, status, reason) in bodies {
            for path in [CHAT, MESSAGES] {
                let answer = post(path, body.to_owned()).send(envoy.port()).await.unwrap();
                check_refused(what, path, answer, status, reason).await;
            }
        }
        let empty = Request::post(CHAT).h2c().send(envoy.port()).await.unwrap();
        check_refused("an h2 request that ends with its headers", CHAT, empty, 400, "invalid_json").await;
        let unknown = Request::chat("gpt-9", true).send(envoy.port()).await.unwrap();
        let message = check_refused("streamed", CHAT, unknown, 404, "model_not_found").await;
        assert!(message.contains("gpt-9"), "{message}");
        envoy.expect_count("refusals", 28).await;
    }
    assert!(provider.received().is_empty(), "{:?}", provider.received());
}

/// OpenRouter would answer with a model that the key may not use.
#[tokio::test]
async fn what_a_request_chooses_at_a_router_passes_only_where_nothing_is_restricted() {
    let provider = ScriptedProvider::start("router").await;
    for shape in SHAPES {
        let plugin = json!({
            "providers": {"router": {"kind": "openrouter", "cluster": "router", "host": "router.test"}},
            "targets": {"mini": {"provider": "router", "model": "openai/gpt-4.1-mini", "region": "eu", "key": {"value": "sk-own"}}},
            "models": {"chat": {"targets": ["mini"]}},
            "keys": {
                "free": {"sha256": sha256("sk-free")},
                "models": {"sha256": sha256("sk-models"), "models": ["chat"]},
                "eu": {"sha256": sha256("sk-eu"), "regions": ["eu"]},
            },
        });
        let envoy = Gateway::new(shape).plugin(&plugin).provider("router", provider.port()).start().await;
        for (key, member, passes) in [
            ("sk-free", r#""models":["openai/gpt-5"]"#, true),
            ("sk-free", r#""provider":{"only":["azure"]}"#, true),
            ("sk-models", r#""models":["openai/gpt-5"]"#, false),
            ("sk-models", r#""preset":"mine""#, false),
            ("sk-models", r#""provider":{"only":["azure"]}"#, true),
            ("sk-models", r#""models":[],"route":null"#, true),
            ("sk-eu", r#""provider":{"only":["azure"]}"#, false),
        ] {
            let before = provider.received().len();
            let body = format!(r#"{{"model":"chat","messages":[],{member}}}"#);
            let answer = post(CHAT, body).header("authorization", &format!("Bearer {key}"));
            let answer = answer.send(envoy.port()).await.unwrap();
            if passes {
                assert_eq!(answer.status, 200, "{key} {member}");
                let sent = String::from_utf8(provider.received().pop().unwrap().body).unwrap();
                assert!(sent.ends_with(&format!("{member}}}")), "{key}: {sent}");
            } else {
                let message = check_refused(key, CHAT, answer, 403, "routing_not_allowed").await;
                assert!(message.contains("Leave it out"), "{message}");
            }
            assert_eq!(provider.received().len() - before, usize::from(passes), "{key} {member}");
        }
    }
}

#[tokio::test]
async fn the_last_of_two_model_members_counts_and_both_are_replaced() {
    let provider = ScriptedProvider::start("alpha").await;
    for shape in SHAPES {
        let envoy = gateway(shape, &provider).start().await;
        let body = r#"{"model":"nope","messages":[],"mo\u0064el":"chat"}"#;
        let answer = post(CHAT, body).send(envoy.port()).await.unwrap();
        assert_eq!(answer.status, 200);
        let answer = post(CHAT, r#"{"model":"chat","messages":[],"model":"nope"}"#).send(envoy.port()).await;
        check_refused("the last is unknown", CHAT, answer.unwrap(), 404, "model_not_found").await;
    }
    for received in provider.received() {
        let sent = r#"{"model":"gpt-4.1-mini","messages":[],"mo\u0064el":"gpt-4.1-mini"}"#;
        assert_eq!(String::from_utf8(received.body).unwrap(), sent);
    }
    assert_eq!(provider.received().len(), 2);
}

#[tokio::test]
async fn the_filter_refuses_a_too_large_body_in_every_framing() {
    let provider = ScriptedProvider::start("alpha").await;
    let body = format!(r#"{{"model":"chat","input":"{}"}}"#, "x".repeat(2_000_000));
    let limit = json!({"limits": {"max_body": "1MiB"}});
    for shape in SHAPES {
        let envoy = gateway(shape, &provider).configure(&limit).start().await;
        for path in [CHAT, MESSAGES] {
            let announced = post(path, body.clone());
            let chunked = Request::post(path).pieces(pieces(body.as_bytes(), 100_000));
            let requests = [
                ("announced", announced),
                ("announced, h2", post(path, body.clone()).h2c()),
                ("chunked", chunked),
                ("chunked, h2", Request::post(path).pieces(pieces(body.as_bytes(), 100_000)).h2c()),
            ];
            for (how, request) in requests {
                let what = format!("{shape:?} {path} {how}");
                let answer = request.send(envoy.port()).await.unwrap_or_else(|e| panic!("{what}: {e}"));
                let message = check_refused(&what, path, answer, 413, "request_too_large").await;
                assert!(message.contains("1048576 bytes"), "{message}");
            }
        }
        let fits = post(CHAT, r#"{"model":"chat"}"#.to_owned() + &" ".repeat((1 << 20) - 16))
            .send(envoy.port())
            .await
            .unwrap();
        assert_eq!(fits.status, 200);
    }
    assert_eq!(provider.received().len(), 2, "only the bodies that fit");
}

#[tokio::test]
async fn other_methods_paths_and_codings_are_refused() {
    let provider = ScriptedProvider::start("alpha").await;
    for shape in SHAPES {
        let envoy = gateway(shape, &provider).start().await;
        let zipped = |path| post(path, &b"\x1f\x8b\x08\0\0"[..]).header("content-encoding", "gzip");
        let with = |method: Method, path: &str| Request::new(method, path);
        let cases = [
            ("gzip", CHAT, zipped(CHAT), 415, "unsupported_content_encoding"),
            ("gzip", MESSAGES, zipped(MESSAGES), 415, "unsupported_content_encoding"),
            ("GET", CHAT, with(Method::GET, CHAT), 405, "method_not_allowed"),
            ("PUT", MESSAGES, with(Method::PUT, MESSAGES), 405, "method_not_allowed"),
            ("POST", "/v1/models", post("/v1/models", "{}"), 405, "method_not_allowed"),
            ("POST", "/v1/files", post("/v1/files", r#"{"model":"chat"}"#), 404, "unknown_path"),
            ("GET", "/", Request::get("/"), 404, "unknown_path"),
            ("GET", "/v1/modelsx", Request::get("/v1/modelsx"), 404, "unknown_path"),
        ];
        for (method, path, request, status, reason) in cases {
            let what = format!("{method} {path}");
            let answer = request.send(envoy.port()).await.unwrap();
            let allow = match (status, path) {
                (405, "/v1/models") => Some("GET, HEAD"),
                (405, _) => Some("POST"),
                _ => None,
            };
            assert_eq!(answer.header("allow"), allow, "{what}");
            check_refused(&what, path, answer, status, reason).await;
        }
    }
    assert!(provider.received().is_empty());
}

#[tokio::test]
async fn other_paths_pass_unchanged_to_their_cluster() {
    let provider = ScriptedProvider::start("alpha").await;
    let files = ScriptedProvider::start("files").await;
    for shape in SHAPES {
        let envoy = gateway(shape, &provider)
            .provider("files", files.port())
            .configure(&json!({"other_paths": {"cluster": "files"}, "keys": {"team": key("sk-team", None)}}))
            .start()
            .await;
        let upload = |key: &str| {
            post("/v1/files?purpose=batch", &b"\0not JSON \xff"[..])
                .header("authorization", key)
                .header("x-envoy-retry-on", "5xx")
                .header("x-llm-cluster", "openai")
        };
        let answer = upload("Bearer sk-team").send(envoy.port()).await.unwrap();
        assert_eq!(answer.header("x-llm-attempts"), None, "no target was asked");
        let stranger = upload("Bearer sk-other").send(envoy.port()).await.unwrap();
        check_refused("a stranger", "/v1/files", stranger, 401, "invalid_api_key").await;
    }
    let received = files.received();
    assert_eq!(received.len(), 2);
    for request in received {
        assert_eq!((request.method.as_str(), request.path.as_str()), ("POST", "/v1/files?purpose=batch"));
        assert_eq!(request.body, b"\0not JSON \xff");
        let private = |(name, value): &(String, String)| {
            value.contains("sk-team") || name.starts_with("x-envoy") || name.starts_with("x-llm")
        };
        assert!(!request.headers.iter().any(private), "{:?}", request.headers);
    }
    assert!(provider.received().is_empty());
}

/// A client key in the configuration.
fn key(secret: &str, models: Option<&[&str]>) -> Value {
    let digest = sha256(secret);
    models.map_or_else(|| json!({"sha256": digest}), |models| json!({"sha256": digest, "models": models}))
}

/// Two keys: one for every model, one for `chat` alone.
fn with_keys(shape: Shape, provider: &ScriptedProvider) -> Gateway {
    gateway(shape, provider).configure(&json!({
        "models": {"chat": {"tiers": [["gpt-a"], ["haiku"]]}, "lab/large:1": {"targets": ["haiku"]}},
        "keys": {"everything": key("sk-everything", None), "chat-only": key("sk-chat-only", Some(&["chat"]))},
    }))
}

#[tokio::test]
async fn client_keys_open_their_models_and_reach_no_provider() {
    let provider = ScriptedProvider::start("alpha").await;
    for shape in SHAPES {
        let envoy = with_keys(shape, &provider).start().await;
        let ask = |path: &str, model: &str, name: &str, value: &str| {
            post(path, json!({"model": model, "max_tokens": 9, "messages": []}).to_string())
                .header(name, value)
        };
        for path in [CHAT, MESSAGES] {
            for (name, value) in [
                ("accept", "*/*"),
                ("authorization", "Bearer sk-other"),
                ("authorization", "Basic c2stY2hhdC1vbmx5"),
                ("x-api-key", "sk-everything "),
                ("x-api-key", ""),
            ] {
                // White space around a header value is ignored.
                let expected = if value == "sk-everything " { 200 } else { 401 };
                let answer = ask(path, "chat", name, value).send(envoy.port()).await.unwrap();
                if expected == 401 {
                    check_refused(&format!("{name}: {value}"), path, answer, 401, "invalid_api_key").await;
                } else {
                    assert_eq!(answer.status, 200);
                }
            }
            let bearer = ask(path, "chat", "authorization", "Bearer sk-chat-only").send(envoy.port()).await;
            assert_eq!(bearer.unwrap().status, 200);
            let header = ask(path, "lab/large:1", "x-api-key", "sk-everything").send(envoy.port()).await;
            assert_eq!(header.unwrap().status, 200);
            let other =
                ask(path, "lab/large:1", "x-api-key", "sk-chat-only").send(envoy.port()).await.unwrap();
            check_refused("not its model", path, other, 404, "model_not_found").await;
        }
        // A failover with the key in every header that can carry one.
        provider.script(errors::openai_500());
        let everywhere = ask(CHAT, "chat", "authorization", "Bearer sk-chat-only")
            .header("x-api-key", "sk-chat-only")
            .header("api-key", "sk-chat-only");
        let answer = everywhere.send(envoy.port()).await.unwrap();
        assert_eq!(answer.status, if shape == Shape::Loop { 200 } else { 500 });
    }
    let received = provider.received();
    assert_eq!(received.len(), 2 * 6 + 3);
    let tells = |(_, value): &(String, String)| ["sk-chat", "sk-every"].iter().any(|key| value.contains(key));
    for request in received {
        assert!(!request.headers.iter().any(tells), "{:?}", request.headers);
        let own = request.header("x-api-key").or_else(|| request.header("authorization")).unwrap();
        assert!(
            ["sk-ant-secret", "Bearer sk-openai-a-secret", "Bearer sk-ant-secret"].contains(&own),
            "{own}"
        );
    }
}

#[tokio::test]
async fn the_filter_lists_a_keys_models_in_the_clients_dialect() {
    let provider = ScriptedProvider::start("alpha").await;
    for shape in SHAPES {
        let envoy = with_keys(shape, &provider).start().await;
        let get = async |path: &str, key: &str, anthropic: bool| {
            let request = Request::get(path).header("authorization", &format!("Bearer {key}"));
            let request = if anthropic { request.header("anthropic-version", "2023-06-01") } else { request };
            request.send(envoy.port()).await.unwrap()
        };
        let ids = |list: &Value| -> Vec<String> {
            list["data"].as_array().unwrap().iter().map(|m| m["id"].as_str().unwrap().to_owned()).collect()
        };
        for anthropic in [false, true] {
            let all = get("/v1/models?limit=100", "sk-everything", anthropic).await.json().await;
            assert_eq!(ids(&all), ["chat", "lab/large:1"]);
            assert_eq!(ids(&get("/v1/models", "sk-chat-only", anthropic).await.json().await), ["chat"]);
            for path in ["/v1/models/lab/large:1", "/v1/models/lab%2Flarge%3a1?beta=true"] {
                let one = get(path, "sk-everything", anthropic).await.json().await;
                assert_eq!(one["id"], "lab/large:1", "{path}");
                let (member, kind) = if anthropic { ("type", "model") } else { ("object", "model") };
                assert_eq!(one[member], kind, "{one}");
            }
            let dialect = if anthropic { MESSAGES } else { CHAT };
            let hidden = get("/v1/models/lab/large:1", "sk-chat-only", anthropic).await;
            check_refused("hidden", dialect, hidden, 404, "model_not_found").await;
            let stranger = get("/v1/models", "sk-other", anthropic).await;
            check_refused("a stranger", dialect, stranger, 401, "invalid_api_key").await;
        }
        let list = get("/v1/models", "sk-everything", false).await.json().await;
        assert_eq!((&list["object"], &list["data"][0]["object"]), (&json!("list"), &json!("model")));
        let list = get("/v1/models", "sk-everything", true).await.json().await;
        assert_eq!((&list["has_more"], &list["first_id"]), (&json!(false), &json!("chat")));
    }
    assert!(provider.received().is_empty());
}

fn pieces(body: &[u8], size: usize) -> Vec<Piece> {
    body.chunks(size).map(|part| Piece::now(Bytes::copy_from_slice(part))).collect()
}

#[tokio::test]
async fn a_body_arrives_whole_in_pieces_of_any_size() {
    let a = ScriptedProvider::start("alpha").await;
    let b = ScriptedProvider::start("beta").await;
    let body = r#"{"messages":[{"role":"user","content":"é \"model\": \u00e9"}],"model":"chat","n":1}"#;
    let edited = |model: &str| body.replace(r#""chat""#, &format!("{model:?}"));
    for shape in SHAPES {
        let tiers = json!({"mode": "shadow", "models": {"chat": {"tiers": [["gpt-a"], ["haiku"]]}}});
        let gateway = Gateway::new(shape).provider("openai", a.port()).provider("anthropic", b.port());
        let envoy = gateway.configure(&tiers).start().await;
        for size in [1, 2, 7, 40, 1000] {
            for h2 in [false, true] {
                let failover = shape == Shape::Loop && size != 40;
                if failover {
                    a.script(errors::openai_500());
                }
                let request = Request::post(CHAT).pieces(pieces(body.as_bytes(), size));
                let request = if h2 { request.h2c() } else { request };
                let answer = request.send(envoy.port()).await.unwrap();
                assert_eq!(answer.status, 200);
                assert_eq!(answer.header("x-llm-target"), Some(if failover { "haiku" } else { "gpt-a" }));
            }
        }
    }
    for (provider, count, model) in [(&a, 20, "gpt-4.1-mini"), (&b, 8, "claude-haiku-4-5")] {
        assert_eq!(provider.received().len(), count);
        for received in provider.received() {
            assert_eq!(String::from_utf8(received.body.clone()).unwrap(), edited(model));
            // The client sent no content-length, so there is none or the right one.
            let length = received.header("content-length").map(|length| length.parse().unwrap());
            assert!(length.is_none_or(|length: u64| length == received.body_length), "{received:?}");
        }
    }
}

#[tokio::test]
async fn trailers_end_a_request() {
    let provider = ScriptedProvider::start("alpha").await;
    for shape in SHAPES {
        let tiers = json!({"mode": "shadow", "models": {"chat": {"tiers": [["gpt-a"], ["haiku"]]}}});
        let envoy = gateway(shape, &provider).configure(&tiers).start().await;
        let send = async |frames: Vec<&'static str>| {
            let io = TokioIo::new(TcpStream::connect(("127.0.0.1", envoy.port())).await.unwrap());
            let (mut sender, driver) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
            let driver = tokio::spawn(driver);
            let mut trailers = HeaderMap::new();
            trailers.insert("x-checksum", "1".parse().unwrap());
            let data = frames.into_iter().map(|data| Frame::data(Bytes::from(data)));
            let all = Frames(data.chain([Frame::trailers(trailers)]).collect());
            let request = hyper::Request::post(format!("http://gateway{CHAT}")).body(all);
            let answer = sender.send_request(request.unwrap()).await.unwrap();
            driver.abort();
            (answer.status(), answer.headers().get("x-llm-reason").is_some())
        };
        assert_eq!(send(vec![r#"{"model":"#, r#""chat"}"#]).await, (StatusCode::OK, false));
        if shape == Shape::Loop {
            provider.script(errors::openai_500());
            assert_eq!(send(vec![r#"{"model":"chat"}"#]).await, (StatusCode::OK, false));
        }
        assert_eq!(send(vec![r#"{"model":"#]).await, (StatusCode::BAD_REQUEST, true));
        assert_eq!(send(vec![]).await, (StatusCode::BAD_REQUEST, true));
    }
    let models: Vec<_> = provider.received().iter().map(|request| request.json()["model"].clone()).collect();
    assert_eq!(models, ["gpt-4.1-mini", "gpt-4.1-mini", "claude-haiku-4-5", "gpt-4.1-mini"]);
}

/// Sends raw bytes and reads the status line of the response.
async fn raw(port: u16, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    stream.write_all(request).await.unwrap();
    let mut status = String::new();
    let mut lines = BufReader::new(stream);
    tokio::time::timeout(SOON, lines.read_line(&mut status)).await.expect("a response").unwrap();
    status
}

#[tokio::test]
async fn expect_100_continue_is_answered() {
    let provider = ScriptedProvider::start("alpha").await;
    for shape in SHAPES {
        let envoy = gateway(shape, &provider).start().await;
        let mut stream = TcpStream::connect(("127.0.0.1", envoy.port())).await.unwrap();
        let body = r#"{"model":"chat"}"#;
        let head = format!(
            "POST {CHAT} HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut go_on = [0; 25];
        tokio::time::timeout(SOON, stream.read_exact(&mut go_on))
            .await
            .expect("an interim response")
            .unwrap();
        assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
        stream.write_all(body.as_bytes()).await.unwrap();
        let mut answer = String::new();
        tokio::time::timeout(SOON, stream.read_to_string(&mut answer)).await.expect("a response").unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    }
    assert!(provider.received().iter().all(|request| request.header("expect").is_none()));
    assert_eq!(provider.received().len(), 2);
}

/// Envoy's statistics of VMs and their reloads.
async fn vms(envoy: &Envoy) -> Vec<String> {
    let all = envoy.admin("/stats").await;
    let of_vms = |line: &&str| line.contains("wasm.runtime.v8") || line.contains("vm_reload");
    all.lines().filter(of_vms).map(str::to_owned).collect()
}

#[tokio::test]
async fn invalid_utf8_in_client_headers_crashes_nothing() {
    let provider = ScriptedProvider::start("alpha").await;
    for shape in SHAPES {
        let envoy = with_keys(shape, &provider).start().await;
        let before = vms(&envoy).await;
        assert!(!before.is_empty());
        let key = "authorization: Bearer sk-chat-only\r\n";
        let odd: [(&[u8], &str); 9] = [
            (b"x-odd: \xff\xfe\x80\r\n", "200"),
            (b"x-odd:\r\nx-odd: 1\r\nx-odd: \xc3\r\n", "200"),
            (b"x-llm-session: \xff\r\nx-llm-no-fallback: \xff\r\nx-llm-timeout: \xff\r\n", "200"),
            (b"x-llm-journey: \xff\r\nx-envoy-attempt-count: \xff\r\n", "200"),
            (b"x-api-key: \xff\r\napi-key: \xff\r\n", "200"),
            (b"content-type: \xff\r\naccept: \xff\r\n", "200"),
            (b"x_odd!#$%&'*+.^`|~: 1\r\n", "200"),
            (b"content-length: 16\r\n", "400"),
            (b"transfer-encoding: chunked\r\n", "400"),
        ];
        for (header, status) in odd {
            let mut request =
                format!("POST {CHAT} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{key}").into_bytes();
            request.extend_from_slice(header);
            request.extend_from_slice(b"content-length: 16\r\n\r\n{\"model\":\"chat\"}");
            let answer = raw(envoy.port(), &request).await;
            let what = String::from_utf8_lossy(header);
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{shape:?} {what}: {answer}");
        }
        let unknown =
            format!("POST {CHAT} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 16\r\n");
        let mut unknown = unknown.into_bytes();
        unknown.extend_from_slice(b"authorization: Bearer \xff\xfe\r\n\r\n{\"model\":\"chat\"}");
        assert!(raw(envoy.port(), &unknown).await.starts_with("HTTP/1.1 401"));
        let good = Request::chat("chat", false).header("authorization", "Bearer sk-chat-only");
        assert_eq!(good.send(envoy.port()).await.unwrap().status, 200);
        assert_eq!(vms(&envoy).await, before);
    }
}

#[tokio::test]
async fn invalid_utf8_in_a_providers_headers_passes() {
    const ODD_ANSWER: &str = r#"{"choices":[{"message":{"content":"hello"}}]}"#;
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let answers = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 4096];
            while !String::from_utf8_lossy(&request).contains("gpt-4.1-mini") {
                if stream.read(&mut request).await.unwrap() == 0 {
                    break;
                }
            }
            let head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-odd-request-id: \xff\xfe\r\nx-llm-odd: \xff\r\n";
            stream.write_all(head).await.unwrap();
            stream.write_all(b"retry-after: \xff\r\ncontent-length: 45\r\n\r\n").await.unwrap();
            stream.write_all(ODD_ANSWER.as_bytes()).await.unwrap();
        }
    });
    for shape in SHAPES {
        let envoy = Gateway::new(shape).provider("openai", port).provider("anthropic", port).start().await;
        let before = vms(&envoy).await;
        let answer = Request::chat("chat", false).send(envoy.port()).await.unwrap();
        assert_eq!(answer.status, 200);
        assert_eq!(answer.headers["x-odd-request-id"].as_bytes(), b"\xff\xfe");
        assert!(!answer.headers.contains_key("x-llm-odd"));
        assert_eq!(answer.text().await, ODD_ANSWER);
        assert_eq!(vms(&envoy).await, before);
    }
    answers.abort();
}
