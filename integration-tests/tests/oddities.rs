//! HTTP that no library sends, byte by byte, from providers and from clients. Each request gets one response, none hangs, and
//! nothing stays behind.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use integration_tests::SOON;
use integration_tests::client::{Protocol, Read, Request};
use integration_tests::envoy::Envoy;
use integration_tests::gateway::{Gateway, Shape, edge_host};
use integration_tests::provider::{Script, ScriptedProvider};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// When the provider responds.
#[derive(Clone, Copy, PartialEq, Debug)]
enum When {
    Accepted,
    HeadersRead,
    AllRead,
}

/// What the provider then does with the connection.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Then {
    Close,
    Reset,
    Keep,
}

#[derive(Clone, Debug)]
struct Manner {
    when: When,
    reply: Vec<u8>,
    then: Then,
}

/// A provider that responds in the current manner, byte by byte.
struct RawProvider {
    port: u16,
    manner: Arc<Mutex<Manner>>,
}

impl RawProvider {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let manner =
            Arc::new(Mutex::new(Manner { when: When::Accepted, reply: Vec::new(), then: Then::Close }));
        let shared = Arc::clone(&manner);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(Self::serve(stream, Arc::clone(&shared)));
            }
        });
        Self { port, manner }
    }

    async fn serve(mut stream: TcpStream, shared: Arc<Mutex<Manner>>) {
        let mut got = Vec::new();
        loop {
            let manner = shared.lock().unwrap().clone();
            while !Self::has_come(manner.when, &got) {
                match stream.read_buf(&mut got).await {
                    Ok(1..) => {}
                    _ => return,
                }
            }
            // The manner at the time of the response, not at the time when the connection became idle.
            let Manner { reply, then, .. } = shared.lock().unwrap().clone();
            drop(stream.write_all(&reply).await);
            match then {
                Then::Close => return,
                Then::Reset => return drop(stream.set_zero_linger()),
                Then::Keep => {}
            }
            while !Self::has_come(When::AllRead, &got) {
                match stream.read_buf(&mut got).await {
                    Ok(1..) => {}
                    _ => return,
                }
            }
            got.clear();
        }
    }

    fn has_come(when: When, got: &[u8]) -> bool {
        let Some(head) = got.windows(4).position(|end| end == b"\r\n\r\n") else {
            return when == When::Accepted;
        };
        let text = String::from_utf8_lossy(&got[..head]);
        let length = text.lines().find_map(|line| line.strip_prefix("content-length: "));
        when != When::AllRead || got.len() >= head + 4 + length.map_or(0, |length| length.parse().unwrap())
    }
}

fn gateway(shape: Shape, first: u16, spare: u16) -> Gateway {
    let models = json!({"chat": {"tiers": [["gpt-a"], ["haiku"]]}, "lab/e:1@x": {"targets": ["gpt-a"]}, "bystander": {"targets": ["haiku"]}});
    // The prompts here are long, which is not under test.
    let window = json!({"context_window": 1_000_000_000});
    Gateway::new(shape)
        .configure(
            &json!({"mode": "shadow", "models": models, "targets": {"gpt-a": window, "haiku": window}}),
        )
        .provider("openai", first)
        .provider("anthropic", spare)
}

/// Streams of other clients that are in progress meanwhile. They must not be affected.
#[derive(Default)]
struct Bystanders(Vec<(String, JoinHandle<Read>)>);

impl Bystanders {
    /// Starts another stream and returns once it has begun.
    async fn begin(&mut self, envoy: &Envoy, spare: &ScriptedProvider, case: &str) {
        spare.script(Script::usual().content_chunks(20).delay_chunks(Duration::from_millis(50)));
        let mut stream = Request::chat("bystander", true).send(envoy.port()).await.unwrap();
        stream.next_chunk().await.unwrap().unwrap();
        self.0.push((case.to_owned(), tokio::spawn(stream.read())));
    }

    /// The streams that did not reach their end.
    async fn harmed(self) -> Vec<String> {
        let mut harmed = Vec::new();
        for (case, stream) in self.0 {
            let read = stream.await.unwrap();
            if read.error.is_some() || !read.text().ends_with("data: [DONE]\n\n") {
                harmed.push(format!("the bystander of {case}: {:?} {}", read.error, read.text()));
            }
        }
        harmed
    }
}

const ANSWER: &str = r#"{"choices":[{"message":{"content":"hello from raw"}}]}"#;
const STREAM: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hi\"}}]}\n\ndata: [DONE]\n\n";

fn plain(status: &str, headers: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n{headers}\r\n{body}",
        body.len()
    )
}

/// What a client of the loop gets: the first target's response with this status, or the spare target's, for this reason.
type Expected = Result<u16, &'static str>;

/// Manners of responding, the result of each in the loop, and the status in an ordinary listener.
fn manners() -> Vec<(&'static str, When, String, Then, Expected, u16)> {
    use Then::{Close, Keep, Reset};
    use When::{Accepted, AllRead, HeadersRead};
    let interim = |status: &str, rest: String| format!("HTTP/1.1 {status}\r\n\r\n{rest}");
    let good = || plain("200 OK", "", ANSWER);
    let chunked = |body: &str, end: &str| {
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
        if body.is_empty() {
            format!("{head}{end}")
        } else {
            format!("{head}{:x}\r\n{body}\r\n{end}", body.len())
        }
    };
    let until_closed = |kind: &str, body: &str| {
        format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\nconnection: close\r\n\r\n{body}")
    };
    vec![
        ("100 first", AllRead, interim("100 Continue", good()), Keep, Ok(200), 200),
        ("100 twice", AllRead, interim("100 Continue", interim("100 Continue", good())), Keep, Ok(200), 200),
        ("100 before the body", HeadersRead, interim("100 Continue", good()), Keep, Ok(200), 200),
        ("102 first", AllRead, interim("102 Processing", good()), Keep, Ok(200), 200),
        ("103 first", AllRead, interim("103 Early Hints\r\nlink: x", good()), Keep, Ok(200), 200),
        (
            "100 and a failure",
            AllRead,
            interim("100 Continue", plain("500 No", "", "{}")),
            Keep,
            Err("server"),
            500,
        ),
        ("100 and the end", AllRead, interim("100 Continue", String::new()), Close, Err("transport"), 503),
        ("204", AllRead, "HTTP/1.1 204 No Content\r\n\r\n".into(), Keep, Err("empty"), 502),
        ("304", AllRead, "HTTP/1.1 304 Not Modified\r\n\r\n".into(), Keep, Err("redirected"), 502),
        ("302", AllRead, plain("302 Found", "location: /x\r\n", "{}"), Keep, Err("redirected"), 502),
        ("nothing", AllRead, plain("200 OK", "", ""), Keep, Err("empty"), 502),
        (
            "nothing of no type",
            AllRead,
            "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".into(),
            Keep,
            Err("empty"),
            502,
        ),
        (
            "a huge length",
            AllRead,
            good().replace("length: 5", "length: 92233720368547758075"),
            Close,
            Err("transport"),
            502,
        ),
        (
            "a length past all",
            AllRead,
            good().replace("length: 5", "length: 922337203685477580"),
            Close,
            Err("stream_truncated"),
            0,
        ),
        (
            "keep-alive",
            AllRead,
            plain("200 OK", "connection: keep-alive\r\nkeep-alive: timeout=5\r\n", ANSWER),
            Close,
            Ok(200),
            200,
        ),
        ("te", AllRead, plain("200 OK", "te: gzip\r\n", ANSWER), Close, Ok(200), 200),
        (
            "proxy-connection",
            AllRead,
            plain("200 OK", "proxy-connection: keep-alive\r\n", ANSWER),
            Close,
            Ok(200),
            200,
        ),
        (
            "a named connection header",
            AllRead,
            plain("200 OK", "connection: x-a\r\nx-a: 1\r\n", ANSWER),
            Close,
            Ok(200),
            200,
        ),
        (
            "an upgrade",
            AllRead,
            plain("200 OK", "upgrade: h2c\r\nconnection: upgrade\r\n", ANSWER),
            Close,
            Ok(200),
            200,
        ),
        (
            "a pseudo header",
            AllRead,
            plain("200 OK", ":status: 500\r\n", ANSWER),
            Close,
            Err("transport"),
            502,
        ),
        (
            "a control in a value",
            AllRead,
            plain("200 OK", "x-odd: a\x01b\r\n", ANSWER),
            Close,
            Err("transport"),
            502,
        ),
        ("a length on 204", AllRead, plain("204 No", "", "{}"), Close, Err("transport"), 502),
        (
            "odd trailers",
            AllRead,
            chunked(ANSWER, "0\r\ncontent-length: 5\r\nte: x\r\ntransfer-encoding: x\r\n\r\n"),
            Close,
            Ok(200),
            200,
        ),
        ("closes", Accepted, String::new(), Close, Err("transport"), 503),
        ("resets", Accepted, String::new(), Reset, Err("transport"), 503),
        ("closes in the upload", HeadersRead, String::new(), Close, Err("transport"), 503),
        ("resets in the upload", HeadersRead, String::new(), Reset, Err("transport"), 503),
        ("fails in the upload", HeadersRead, plain("429 No", "", "{}"), Keep, Err("rate_limited"), 429),
        ("answers in the upload", HeadersRead, good(), Keep, Ok(200), 200),
        (
            "HTTP/1.0",
            AllRead,
            until_closed("application/json", ANSWER).replace("1.1", "1.0"),
            Close,
            Ok(200),
            200,
        ),
        ("until closed", AllRead, until_closed("application/json", ANSWER), Close, Ok(200), 200),
        ("a stream until closed", AllRead, until_closed("text/event-stream", STREAM), Close, Ok(200), 200),
        ("TLS", AllRead, "\x16\x03\x01 no HTTP at all\r\n\r\n".into(), Close, Err("transport"), 502),
        ("trailers", AllRead, chunked(ANSWER, "0\r\nx-t: 1\r\n\r\n"), Keep, Ok(200), 200),
        ("only trailers", AllRead, chunked("", "0\r\nx-t: 1\r\n\r\n"), Keep, Err("empty"), 502),
        ("a bad chunk", AllRead, chunked("", "zz\r\n"), Close, Err("stream_truncated"), 0),
        (
            "two lengths",
            AllRead,
            plain("200 OK", "content-length: 5\r\n", ANSWER),
            Close,
            Err("transport"),
            502,
        ),
        (
            "a length and chunks",
            AllRead,
            plain("200 OK", "transfer-encoding: chunked\r\n", "2\r\n{}\r\n0\r\n\r\n"),
            Close,
            Err("transport"),
            502,
        ),
        ("less than its length", AllRead, good().replace("hello", ""), Close, Err("stream_truncated"), 0),
        ("more than its length", AllRead, good() + "and more", Close, Ok(200), 200),
        (
            "huge headers",
            AllRead,
            plain("200 OK", &format!("x-big: {}\r\n", "y".repeat(200_000)), ANSWER),
            Close,
            Err("transport"),
            502,
        ),
        ("status 99", AllRead, plain("99 No", "", "{}"), Close, Err("transport"), 502),
        ("status 999", AllRead, plain("999 No", "", "{}"), Keep, Err("server"), 999),
        ("a zero byte", AllRead, plain("200 OK", "x-odd: a\0b\r\n", ANSWER), Close, Err("transport"), 502),
        (
            "a compressed failure",
            AllRead,
            plain("500 No", "content-encoding: gzip\r\n", "\x1f"),
            Keep,
            Err("server"),
            500,
        ),
        (
            "an endless wait",
            AllRead,
            plain("429 No", "retry-after: 99999999999999999999\r\n", "{}"),
            Keep,
            Err("rate_limited"),
            429,
        ),
    ]
}

#[tokio::test]
async fn any_bytes_from_a_provider_give_the_client_one_response() {
    let (first, spare) = (RawProvider::start().await, ScriptedProvider::start("spare").await);
    let mut wrong = Vec::new();
    for shape in [Shape::Loop, Shape::Single] {
        let envoy = gateway(shape, first.port, spare.port()).start().await;
        let mut bystanders = Bystanders::default();
        for (name, when, reply, then, in_loop, single) in manners() {
            bystanders.begin(&envoy, &spare, name).await;
            *first.manner.lock().unwrap() = Manner { when, reply: reply.into_bytes(), then };
            for (stream, size, protocol) in [
                (false, 10, Protocol::Http1),
                (true, 10, Protocol::H2c),
                (false, 2_000_000, Protocol::Http1),
                (true, 2_000_000, Protocol::H2c),
            ] {
                let case = format!("{name}: {shape:?} {protocol:?} stream {stream}, {size} bytes");
                let turn = json!([{"role": "user", "content": "x".repeat(size)}]);
                let body = json!({"model": "chat", "stream": stream, "messages": turn});
                let request = Request::post("/v1/chat/completions").json(&body);
                let request = request.over(protocol);
                let read = match request.send(envoy.port()).await {
                    Ok(answer) => answer.read().await,
                    Err(error) => {
                        wrong.push(format!("{case}: {error}"));
                        continue;
                    }
                };
                let got = (read.status.as_u16(), read.header("x-llm-target"), read.header("x-llm-fallback"));
                let is_right = match (shape, in_loop) {
                    (Shape::Loop, Ok(status)) => got == (status, Some("gpt-a"), None),
                    (Shape::Loop, Err(reason)) => {
                        got == (200, Some("haiku"), Some(reason))
                            && read.error.is_none()
                            && read.text().contains("spare")
                    }
                    // A plain response that breaks while it is held is answered by Envoy.
                    (Shape::Single, _) if single == 0 => got == (502, None, None) && read.error.is_none(),
                    (Shape::Single, _) => got == (single, Some("gpt-a"), None),
                };
                if !is_right {
                    wrong.push(format!("{case}: {got:?} {:?} {:.99}", read.error, read.text()));
                }
            }
        }
        wrong.extend(bystanders.harmed().await);
        envoy.wait_until_idle().await;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Sends raw bytes and reads until the gateway closes or pauses.
async fn raw(port: u16, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    stream.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    loop {
        let wait = if answer.is_empty() { SOON } else { Duration::from_millis(300) };
        match tokio::time::timeout(wait, stream.read_buf(&mut answer)).await {
            Ok(Ok(1..)) => {}
            _ => return String::from_utf8_lossy(&answer).into_owned(),
        }
    }
}

fn statuses(answer: &str) -> Vec<&str> {
    let after = |line: &str| line.find("HTTP/1.1 ").map(|at| at + 9);
    answer.lines().filter_map(|line| line.get(after(line)?..)?.get(..3)).collect()
}

#[tokio::test]
async fn only_valid_client_requests_reach_a_provider() {
    const CHAT: &str = "/v1/chat/completions";
    let (first, spare) = (ScriptedProvider::start("first").await, ScriptedProvider::start("spare").await);
    let post = |path: &str, headers: &str, body: &str| {
        format!("POST {path} HTTP/1.1\r\nhost: x\r\n{headers}content-length: {}\r\n\r\n{body}", body.len())
    };
    let good = r#"{"model":"chat"}"#;
    let bare = |method: &str, path: &str| format!("{method} {path} HTTP/1.1\r\nhost: x\r\n\r\n");
    let upgrade = "connection: upgrade\r\nupgrade: websocket\r\n";
    // The statuses of the responses, and how many of them came from a provider.
    let cases: Vec<(&str, String, &[&str], usize)> = vec![
        ("two at once", post(CHAT, "", good) + &post(CHAT, "", good), &["200", "200"], 2),
        ("a good one and garbage", post(CHAT, "", good) + "garbage\r\n\r\n", &["200", "400"], 1),
        ("HTTP/1.0", post(CHAT, "", good).replace("1.1", "1.0"), &["426"], 0),
        ("HTTP/0.9", format!("GET {CHAT}\r\n\r\n"), &["426"], 0),
        ("an upgrade", post(CHAT, upgrade, good), &["403"], 0),
        (
            "an h2c upgrade",
            post(
                CHAT,
                "connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n",
                good,
            ),
            &["200"],
            1,
        ),
        ("HEAD", bare("HEAD", CHAT), &["405"], 0),
        ("OPTIONS", bare("OPTIONS", CHAT), &["405"], 0),
        ("TRACE", bare("TRACE", CHAT), &["405"], 0),
        ("a method of its own", bare("BREW", CHAT), &["400"], 0),
        ("HEAD of the models", bare("HEAD", "/v1/models"), &["200"], 0),
        ("CONNECT", "CONNECT x:443 HTTP/1.1\r\nhost: x:443\r\n\r\n".into(), &["404"], 0),
        ("a body on GET", post("/v1/models", "", good).replace("POST", "GET"), &["200"], 0),
        ("GET with a body", post(CHAT, "", good).replace("POST", "GET"), &["405"], 0),
        ("a slash at the end", post("/v1/chat/completions/", "", good), &["200"], 1),
        ("two slashes", post("//v1/chat/completions", "", good), &["200"], 1),
        ("two slashes within", post("/v1//chat/completions", "", good), &["200"], 1),
        ("a dot", post("/v1/./chat/completions", "", good), &["404"], 0),
        ("two dots", post("/v1/x/../chat/completions", "", good), &["404"], 0),
        ("capitals", post("/V1/Chat/Completions", "", good), &["404"], 0),
        ("an encoded slash", post("/v1/chat%2Fcompletions", "", good), &["404"], 0),
        ("an encoded letter", post("/v1/ch%61t/completions", "", good), &["404"], 0),
        ("a parameter", post("/v1/chat/completions;v=1", "", good), &["404"], 0),
        ("a zero byte", post("/v1/chat/completions%00", "", good), &["404"], 0),
        ("a query", post("/v1/chat/completions?model=other&x=%00", "", good), &["200"], 1),
        ("an absolute form", post("http://x/v1/chat/completions", "", good), &["200"], 1),
        ("no host", post(CHAT, "", good).replace("host: x\r\n", ""), &["400"], 0),
        ("a length that is none", post(CHAT, "", good).replace("length: 16", "length: -1"), &["400"], 0),
        ("expecting something else", post(CHAT, "expect: a miracle\r\n", good), &["200"], 1),
        (
            "chunks with an extension",
            format!(
                "POST {CHAT} HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n10;x=y\r\n{good}\r\n0\r\n\r\n"
            ),
            &["200"],
            1,
        ),
        (
            "a bad chunk",
            format!("POST {CHAT} HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n"),
            &["400"],
            0,
        ),
        ("another transfer coding wished", post(CHAT, "te: gzip\r\n", good), &["200"], 1),
        ("trailers wished", post(CHAT, "te: trailers\r\n", good), &["200"], 1),
        (
            "connection headers",
            post(CHAT, "keep-alive: 5\r\nproxy-connection: keep-alive\r\n", good),
            &["200"],
            1,
        ),
        ("named connection headers", post(CHAT, "connection: x-a, host\r\nx-a: 1\r\n", good), &["400"], 0),
        ("an odd host", post(CHAT, "", good).replace("host: x", "host: x y"), &["400"], 0),
        ("a host with a path", post(CHAT, "", good).replace("host: x", "host: x/y?z"), &["400"], 0),
        ("a pseudo header", post(CHAT, ":path: /other\r\n", good), &["400"], 0),
        ("a protocol", post(CHAT, ":protocol: websocket\r\n", good), &["400"], 0),
        ("other letters in a path", post("/v1/chat/completions?é", "", good), &["400"], 0),
        ("a fragment", post("/v1/chat/completions#x", "", good), &["400"], 0),
        ("priorities", post(CHAT, "priority: u=9, i=?7\r\n", good), &["200"], 1),
        ("a tab in a value", post(CHAT, "x-odd: a\tb\r\n", good), &["200"], 1),
        ("a control in a value", post(CHAT, "x-odd: a\x01b\r\n", good), &["400"], 0),
        ("a cookie", post(CHAT, "cookie: a=\"b; c\"; ;;\r\n", good), &["200"], 1),
        ("an escaped model", post(CHAT, "", r#"{"model":"ch\u0061t"}"#), &["200"], 1),
        ("a model written in escapes", post(CHAT, "", r#"{"model":"lab\/\u0065:1@x"}"#), &["200"], 1),
        ("a model with a zero", post(CHAT, "", r#"{"model":"chat\u0000"}"#), &["404"], 0),
        ("a model with a raw zero", post(CHAT, "", "{\"model\":\"chat\0\"}"), &["400"], 0),
        ("half a character", post(CHAT, "", r#"{"model":"\ud800"}"#), &["400"], 0),
        ("a model with a line break", post(CHAT, "", r#"{"model":"chat\r\nx-llm-target: y"}"#), &["404"], 0),
        ("a model in capitals", post(CHAT, "", r#"{"model":"CHAT"}"#), &["404"], 0),
        (
            "a very long model",
            post(CHAT, "", &format!(r#"{{"model":"{}"}}"#, "m".repeat(1 << 20))),
            &["400"],
            0,
        ),
        ("a mark before the JSON", post(CHAT, "", "\u{feff}{\"model\":\"chat\"}"), &["400"], 0),
    ];
    let mut wrong = Vec::new();
    for shape in [Shape::Loop, Shape::Single] {
        let envoy = gateway(shape, first.port(), spare.port()).start().await;
        let mut bystanders = Bystanders::default();
        for (name, request, expected, asked) in &cases {
            bystanders.begin(&envoy, &spare, name).await;
            let before = first.received().len();
            let answer = raw(envoy.port(), request.as_bytes()).await;
            let reached = first.received().len() - before;
            if statuses(&answer) != *expected || reached != *asked {
                wrong.push(format!("{shape:?} {name}: {reached} asked, {answer:.300}"));
            }
        }
        wrong.extend(bystanders.harmed().await);
        envoy.wait_until_idle().await;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n----\n"));
    for request in first.received() {
        let body: Value = serde_json::from_slice(&request.body).unwrap();
        assert_eq!(body["model"], "gpt-4.1-mini");
        assert!(request.path.starts_with(CHAT), "{}", request.path);
    }
}

#[tokio::test]
async fn a_message_that_http2_forbids_ends_only_its_own_request() {
    let (first, spare) = (RawProvider::start().await, ScriptedProvider::start("spare").await);
    // Without the routes of the edge that sort such requests out.
    let gateway = gateway(Shape::Loop, first.port, spare.port()).edit(|config| {
        edge_host(config)["routes"].as_array_mut().unwrap().retain(|route| route.get("route").is_some());
    });
    let envoy = gateway.start().await;
    let mut bystanders = Bystanders::default();
    for head in ["host: x\r\ncontent-length: 18446744073709551615", "host:\r\ncontent-length: 0"] {
        bystanders.begin(&envoy, &spare, head).await;
        let request = format!("POST /v1/chat/completions HTTP/1.1\r\n{head}\r\n\r\n");
        let answer = raw(envoy.port(), request.as_bytes()).await;
        assert_eq!(statuses(&answer), ["502"], "{head}: {answer}");
        let body: Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
        assert_eq!((&body["type"], &body["error"]["code"]), (&json!("error"), &json!("not_carried")));
    }
    bystanders.begin(&envoy, &spare, "101").await;
    let switch = b"HTTP/1.1 101 Go\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n".to_vec();
    *first.manner.lock().unwrap() = Manner { when: When::AllRead, reply: switch, then: Then::Close };
    let answer = Request::chat("chat", false).send(envoy.port()).await.unwrap();
    assert_eq!((answer.status.as_u16(), answer.header("x-llm-target")), (200, Some("haiku")));
    assert_eq!(bystanders.harmed().await, [""; 0]);
    envoy.wait_until_idle().await;
}
