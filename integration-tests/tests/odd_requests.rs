//! Requests that are no valid HTTP, or that the hop of the loop cannot carry, and connections on which nothing comes.

use std::time::{Duration, Instant};

use integration_tests::SOON;
use integration_tests::client::{Connection, Protocol, Request};
use integration_tests::envoy::Envoy;
use integration_tests::gateway::{Gateway, Shape};
use integration_tests::paths;
use integration_tests::provider::Script;
use integration_tests::raw_http2::{self, RawHttp2, Seen};
use integration_tests::scene::Scene;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const SHAPES: [Shape; 2] = [Shape::Loop, Shape::Single];
const BODY: &str = r#"{"model":"chat"}"#;

async fn start(shape: Shape) -> Scene<1> {
    let scene = Gateway::new(shape)
        .configure(&json!({"mode": "shadow"}))
        .start_with([("only", ["openai", "anthropic"])])
        .await;
    scene.providers[0].by_default(Script::usual());
    scene
}

/// Sends bytes and reads the response, to the length that its header says.
async fn exchange(envoy: &Envoy, request: &str) -> (u16, Value) {
    let mut stream = TcpStream::connect(("127.0.0.1", envoy.port())).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            if length.is_none_or(|length| body.len() >= length.parse().unwrap()) {
                let status = head.get(9..12).unwrap().parse().unwrap();
                return (status, serde_json::from_str(body).unwrap_or_else(|_| panic!("{request}: {text}")));
            }
        }
        let read = tokio::time::timeout(SOON, stream.read_buf(&mut bytes)).await.unwrap();
        assert!(matches!(read, Ok(1..)), "{request}: {read:?} {}", String::from_utf8_lossy(&bytes));
    }
}

#[tokio::test]
async fn odd_http1_requests_get_400_with_a_body() {
    let chunked = "host: x\r\ntransfer-encoding: chunked\r\ncontent-length: 16";
    let heads = [
        "host:\r\ncontent-length: 16",
        "host: \t\r\ncontent-length: 16",
        "host: user:pw@x\r\ncontent-length: 16",
        "host: user@x\r\ncontent-length: 16",
        "host: @\r\ncontent-length: 16",
        "content-length: 16",
        "host: \u{e9}\r\ncontent-length: 16",
        "host: x\r\ncontent-length: 9223372036854775808",
        "host: x\r\ncontent-length: 18446744073709551615",
        "host: x\r\ncontent-length: 18446744073709551616",
        "host: x\r\ncontent-length: 00018446744073709551615",
        "host: x\r\ncontent-length: -1",
        "host: x\r\ncontent-length: +16",
        "host: x\r\ncontent-length:",
        "host: x\r\ncontent-length: 16\r\ncontent-length: 17",
        "host: x\r\ncontent-length: 16, 17",
        chunked,
    ];
    for shape in SHAPES {
        let Scene { envoy, providers: [only], .. } = start(shape).await;
        let mut wrong = Vec::new();
        for path in ["/v1/chat/completions", "/v1/messages"] {
            for head in heads {
                let body =
                    if head == chunked { format!("10\r\n{BODY}\r\n0\r\n\r\n") } else { BODY.to_owned() };
                let request = format!("POST {path} HTTP/1.1\r\n{head}\r\n\r\n{body}");
                let (status, answer) = exchange(&envoy, &request).await;
                let error = &answer["error"];
                let got = (status, answer["type"].as_str(), error["type"].as_str(), error["code"].as_str());
                let wanted = (400, Some("error"), Some("invalid_request_error"), Some("not_accepted"));
                if got != wanted || error["message"].as_str().is_none_or(str::is_empty) {
                    wrong.push(format!("{shape:?} {path} {head}: {got:?} {answer}"));
                }
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        assert_eq!(only.received().len(), 0);
        // Ordinary requests are not affected, and the filter's own errors keep their body.
        assert_eq!(Request::chat("chat", false).ask(envoy.port()).await.status, 200);
        let refused = Request::post("/v1/chat/completions").bytes("{}").ask(envoy.port()).await;
        assert_eq!(refused.status, 400);
        assert_ne!(refused.json()["error"]["code"], "not_accepted");
    }
}

/// HTTP/2 calls such messages malformed and wants their stream to be reset. Only an empty host gets a response, and only of
/// an older Envoy.
#[tokio::test]
async fn odd_http2_requests_end_alone() {
    let usual = [(":method", "POST"), (":scheme", "http"), (":path", "/v1/chat/completions")];
    let odd: [&[(&str, &str)]; 8] = [
        &[(":authority", "")],
        &[(":authority", "user:pw@x")],
        &[(":authority", "x"), ("host", "user:pw@x")],
        &[(":authority", "x"), ("content-length", "9223372036854775808")],
        &[(":authority", "x"), ("content-length", "-1")],
        &[(":authority", "x"), ("content-length", "16"), ("content-length", "17")],
        &[(":authority", "x"), ("content-length", "16"), ("transfer-encoding", "chunked")],
        &[("content-length", "16")],
    ];
    for shape in SHAPES {
        let Scene { envoy, providers: [only], .. } = start(shape).await;
        only.by_default(Script::usual().delay_headers(Duration::from_millis(500)));
        let mut client = RawHttp2::open(envoy.port()).await;
        let good = [&usual[..], &[(":authority", "x")]].concat();
        assert!(client.write(&raw_http2::request(1, &good, BODY.as_bytes())).await);
        for (stream, more) in (3..).step_by(2).zip(odd) {
            let headers = [&usual[..], more].concat();
            assert!(client.write(&raw_http2::request(stream, &headers, BODY.as_bytes())).await, "{more:?}");
        }
        // A request that is under way on the same connection gets its answer.
        let said = |seen: &Seen| String::from_utf8_lossy(&seen.bodies).into_owned();
        let ended = |seen: &Seen| seen.resets.len() + said(seen).matches("not_accepted").count();
        let is_over = |seen: &Seen| said(seen).contains("hello from only") && ended(seen) == odd.len();
        let seen = client.wait_for(is_over).await;
        assert!(is_over(&seen) && !seen.resets.contains(&1), "{shape:?}: {seen:?} {}", said(&seen));
        assert_eq!(only.received().len(), 1, "{shape:?}");
    }
}

/// Waits until the gateway closes the connection.
async fn closed(mut stream: TcpStream) -> Duration {
    let opened = Instant::now();
    let read = tokio::time::timeout(SOON, stream.read(&mut [0; 64])).await.unwrap();
    assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
    opened.elapsed()
}

#[tokio::test]
async fn connections_without_a_first_request_are_closed_and_idle_ones_are_not() {
    const LIMIT: Duration = Duration::from_secs(1);
    for shape in SHAPES {
        let scene = Gateway::new(shape)
            .edit(|config| {
                config["static_resources"]["listeners"][0]["listener_filters_timeout"] = json!("1s")
            })
            .start_with([("only", ["openai", "anthropic"])])
            .await;
        let port = scene.envoy.port();
        let mut idle = Vec::new();
        for protocol in [Protocol::Http1, Protocol::H2c] {
            let mut connection = Connection::open(port, protocol).await.unwrap();
            assert_eq!(connection.ask(Request::chat("chat", false)).await.status, 200);
            idle.push(connection);
        }
        for first_bytes in ["", "P", "PRI * HTTP"] {
            let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            stream.write_all(first_bytes.as_bytes()).await.unwrap();
            let waited = closed(stream).await;
            assert!(waited >= LIMIT / 2, "{shape:?} {first_bytes:?}: {waited:?}");
        }
        for connection in &mut idle {
            assert_eq!(connection.ask(Request::chat("chat", false)).await.status, 200, "{shape:?}");
        }
    }
}

#[test]
fn the_shipped_files_close_silent_connections_within_30_s() {
    let seconds = |value: &Value| value.as_str().unwrap().strip_suffix('s').unwrap().parse::<u64>().unwrap();
    for file in ["envoy.yaml", "single.yaml", "playground.yaml", "live/envoy.yaml"] {
        let text = std::fs::read_to_string(paths::root().join("envoy").join(file)).unwrap();
        let config: Value = serde_yaml_ng::from_str(&text).unwrap();
        for listener in config["static_resources"]["listeners"].as_array().unwrap() {
            let manager = &listener["filter_chains"][0]["filters"][0]["typed_config"];
            let limit = match listener["name"].as_str().unwrap() {
                "inner" => continue,
                "edge" => {
                    assert_eq!(
                        listener["listener_filters"][0]["name"],
                        "envoy.filters.listener.http_inspector"
                    );
                    &listener["listener_filters_timeout"]
                }
                _ => &manager["common_http_protocol_options"]["idle_timeout"],
            };
            assert!(seconds(limit) <= 30, "{file}: {}", listener["name"]);
        }
    }
}
