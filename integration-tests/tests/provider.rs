//! Everything that a script can make a scripted provider do, seen from a client without Envoy.

use std::time::{Duration, Instant};

use integration_tests::SOON;
use integration_tests::body::Piece;
use integration_tests::client::{ClientError, Connection, Protocol, Request};
use integration_tests::provider::{
    Ending, Event, Outcome, Point, RefusedPort, Script, ScriptedProvider, errors,
};
use serde_json::{Value, json};

fn last_json(data: &[String]) -> Value {
    serde_json::from_str(data.last().expect("an event")).expect("JSON")
}

#[tokio::test]
async fn every_dialect_answers_plain_and_streamed_with_the_providers_name() {
    let provider = ScriptedProvider::start("alpha").await;
    let cases = [
        ("/v1/chat/completions", "/choices/0/message/content"),
        ("/v1/completions", "/choices/0/text"),
        ("/v1/responses", "/output/0/content/0/text"),
        ("/v1/messages", "/content/0/text"),
        ("/v1beta/models/gemini-2.5-flash:generateContent", "/candidates/0/content/parts/0/text"),
    ];
    for (path, text) in cases {
        let answer =
            Request::post(path).json(&json!({ "model": "m-1" })).send(provider.port()).await.unwrap();
        assert_eq!(answer.status, 200, "{path}");
        let document = answer.json().await;
        assert_eq!(document.pointer(text), Some(&json!("hello from alpha")), "{path}: {document}");
    }
    let streams = [
        ("/v1/chat/completions", "[DONE]"),
        ("/v1/completions", "[DONE]"),
        ("/v1/responses", "response.completed"),
        ("/v1/messages", "message_stop"),
        ("/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse", "STOP"),
    ];
    for (path, terminal) in streams {
        let request = Request::post(path).json(&json!({ "model": "m-1", "stream": true }));
        let read = request.ask(provider.port()).await;
        assert!(read.error.is_none(), "{path}");
        assert_eq!(read.header("content-type"), Some("text/event-stream; charset=utf-8"), "{path}");
        assert!(read.data().last().unwrap().contains(terminal), "{path}: {}", read.text());
    }
    let request = Request::post("/v1/embeddings").json(&json!({ "model": "e", "input": ["a", "b"] }));
    let rows = request.send(provider.port()).await.unwrap().json().await;
    assert_eq!(rows["data"].as_array().unwrap().len(), 2);
    assert_eq!(Request::get("/nowhere").send(provider.port()).await.unwrap().status, 404);
}

#[tokio::test]
async fn a_chat_stream_ends_with_usage_only_when_asked() {
    let provider = ScriptedProvider::start("alpha").await;
    provider.by_default(Script::usual().tokens(70, 30).content_chunks(5));
    let plain = Request::chat("m", true).ask(provider.port()).await.data();
    // role, five content chunks, finish, [DONE]
    assert_eq!(plain.len(), 8);
    assert!(plain.iter().all(|data| !data.contains("usage")));
    let asked = json!({ "model": "m", "stream": true, "stream_options": { "include_usage": true } });
    let request = Request::post("/v1/chat/completions").json(&asked);
    let data = request.ask(provider.port()).await.data();
    assert_eq!(data.len(), 9);
    let usage = last_json(&data[..8]);
    assert_eq!((&usage["choices"], &usage["usage"]["total_tokens"]), (&json!([]), &json!(100)));
}

#[tokio::test]
async fn a_request_is_kept_as_it_arrived() {
    let provider = ScriptedProvider::start("alpha").await;
    let body = vec![b'x'; 3 * 1024 * 1024];
    let request =
        Request::post("/v1/embeddings?a=b").header("X-One", "1").header("x-two", "2").bytes(body.clone());
    request.send(provider.port()).await.unwrap().text().await;
    let seen = &provider.received()[0];
    assert_eq!((seen.method.as_str(), seen.path.as_str()), ("POST", "/v1/embeddings?a=b"));
    assert_eq!((seen.header("x-one"), seen.header("x-two")), (Some("1"), Some("2")));
    assert!(seen.body_complete);
    assert_eq!((seen.body_length, seen.body.len()), (3 * 1024 * 1024, 1024 * 1024));
    // sha256 of three MiB of `x`, by Python's hashlib.
    assert_eq!(seen.body_sha256, "3bea8a9a07c1e8dcaa4c1b816815c35a29b4fb585ba6ecc70ea44840a794cfb3");
    assert!(matches!(seen.outcome, Outcome::Answered(_)));
}

#[tokio::test]
async fn scripts_are_used_in_order_and_then_the_default() {
    let provider = ScriptedProvider::start("alpha").await;
    provider.script(errors::openai_429()).script(errors::anthropic_529()).by_default(Script::status(503));
    let mut seen = Vec::new();
    for _ in 0..4 {
        let answer = Request::chat("m", false).send(provider.port()).await.unwrap();
        let hint = answer.header("retry-after").map(str::to_owned);
        seen.push((answer.status.as_u16(), hint, answer.json().await["error"]["type"].clone()));
    }
    assert_eq!(seen[0], (429, Some("1".to_owned()), json!("requests")));
    assert_eq!(seen[1], (529, None, json!("overloaded_error")));
    assert_eq!(seen[2], seen[3]);
    assert_eq!(seen[3].0, 503);
}

#[tokio::test]
async fn delays_come_where_the_script_says() {
    let provider = ScriptedProvider::start("alpha").await;
    let ms = Duration::from_millis;
    provider.script(Script::usual().delay_headers(ms(80)).delay_body(ms(60)).delay_chunks(ms(40)));
    let read = Request::chat("m", true).ask(provider.port()).await;
    assert!(read.headers_at - read.sent_at >= ms(80));
    assert!(read.chunks[0].at - read.headers_at >= ms(50));
    assert_eq!(read.chunks.len(), 6, "one chunk per event");
    assert!(read.chunks[5].at - read.chunks[0].at >= ms(5 * 40 - 10));
}

#[tokio::test]
async fn a_split_body_arrives_whole_in_small_chunks() {
    let provider = ScriptedProvider::start("alpha").await;
    provider.script(Script::usual().split(7).delay_chunks(Duration::from_millis(1)));
    let read = Request::chat("m", true).ask(provider.port()).await;
    assert!(read.chunks.len() > 20, "{} chunks", read.chunks.len());
    assert_eq!(read.data().last().unwrap(), "[DONE]");
    assert!(read.data().concat().contains("alpha"));
}

#[tokio::test]
async fn a_cut_sends_exactly_the_scripted_part() {
    for protocol in [Protocol::Http1, Protocol::H2c] {
        let provider = ScriptedProvider::start("alpha").await;
        provider.script(Script::usual().cut_after_bytes(100)).script(Script::usual().cut_after_chunks(2));
        for stream in [false, true] {
            let request = Request::chat("m", stream);
            let request = request.over(protocol);
            let read = request.ask(provider.port()).await;
            assert_eq!(read.status, 200);
            assert!(matches!(read.error, Some(ClientError::Broken(_))), "{protocol:?} {:?}", read.error);
            if stream {
                assert_eq!(read.data().len(), 2, "{protocol:?}");
            } else {
                assert_eq!(read.bytes().len(), 100, "{protocol:?}");
            }
        }
        assert!(provider.received().iter().all(|seen| matches!(seen.outcome, Outcome::BrokenByProvider(_))));
    }
}

#[tokio::test]
async fn a_cut_or_reset_before_the_headers_leaves_no_response() {
    for protocol in [Protocol::Http1, Protocol::H2c] {
        for script in [
            Script::cut(),
            Script::reset(),
            Script::usual().ending(Ending::AbortStream(Point::BeforeHeaders)),
        ] {
            let provider = ScriptedProvider::start("alpha").await;
            provider.script(script.clone());
            let request = Request::chat("m", false);
            let request = request.over(protocol);
            let error = request.send(provider.port()).await.expect_err("no response");
            let error = format!("{error:?}");
            let is_reset = error.contains("ConnectionReset");
            let wanted = script == Script::reset();
            assert_eq!(is_reset, wanted, "{protocol:?} {:?}: {error}", script.ending);
            assert!(provider.received()[0].body_complete);
        }
    }
}

#[tokio::test]
async fn an_aborted_stream_does_not_affect_other_streams_of_its_connection() {
    let provider = ScriptedProvider::start("alpha").await;
    provider.script(Script::usual().ending(Ending::AbortStream(Point::AfterChunks(2))));
    let mut connection = Connection::open(provider.port(), Protocol::H2c).await.unwrap();
    let broken = connection.ask(Request::chat("m", true)).await;
    assert_eq!(broken.data().len(), 2);
    assert!(broken.error.is_some());
    let whole = connection.ask(Request::chat("m", true)).await;
    assert_eq!(whole.data().last().unwrap(), "[DONE]");
    assert_eq!(provider.received()[1].version, "HTTP/2.0");
}

#[tokio::test]
async fn a_client_that_leaves_is_noticed_in_every_phase() {
    for protocol in [Protocol::Http1, Protocol::H2c] {
        let scripts = [
            Script::hang(),
            Script::usual().hang_after_chunks(2),
            Script::usual().ending(Ending::Hang(Point::AfterBytes(0))),
            Script::hang().ignoring_request_body(),
            Script::usual().hang_after_chunks(2).ignoring_request_body(),
            Script::usual().delay_headers(Duration::from_secs(60)),
            Script::usual().delay_chunks(Duration::from_secs(60)),
        ];
        for script in scripts {
            let provider = ScriptedProvider::start("alpha").await;
            provider.script(script.clone());
            let port = provider.port();
            let client = tokio::spawn(async move {
                let request = Request::chat("m", true);
                let request = request.over(protocol);
                let _read = request.ask(port).await;
            });
            provider.wait_for(1, SOON).await;
            tokio::time::sleep(Duration::from_millis(60)).await;
            let what = format!("{protocol:?} {script:?}");
            assert_eq!(provider.received()[0].outcome, Outcome::InProgress, "{what}");
            let gone_at = Instant::now();
            client.abort();
            let outcome = provider.wait_for_outcome(0, SOON).await;
            let Outcome::ClosedByClient(noticed_at) = outcome else { panic!("{what}: {outcome:?}") };
            assert!(noticed_at - gone_at < Duration::from_secs(5), "{what}");
        }
    }
}

#[tokio::test]
async fn an_upload_that_breaks_off_is_seen_as_incomplete() {
    let provider = ScriptedProvider::start("alpha").await;
    let pieces = vec![Piece::now("{\"model\":"), Piece::after(Duration::from_secs(60), "\"m\"}")];
    let request = Request::post("/v1/chat/completions").pieces(pieces);
    let port = provider.port();
    let client = tokio::spawn(async move { request.send(port).await.map(|_| ()) });
    provider
        .wait_until(SOON, |all| all.first().filter(|seen| seen.body_length == 9).map(|_| ()))
        .await
        .unwrap();
    client.abort();
    assert!(matches!(provider.wait_for_outcome(0, SOON).await, Outcome::ClosedByClient(_)));
    assert!(!provider.received()[0].body_complete);
}

#[tokio::test]
async fn an_ignored_request_body_is_not_read() {
    let provider = ScriptedProvider::start("alpha").await;
    provider.script(Script::status(413).ignoring_request_body());
    let request = Request::post("/v1/messages").bytes(vec![b'x'; 64 * 1024]);
    let answer = request.send(provider.port()).await.unwrap();
    assert_eq!(answer.status, 413);
    assert_eq!((provider.received()[0].body_length, provider.received()[0].body_complete), (0, false));
}

#[tokio::test]
async fn a_refused_port_refuses_and_a_stopped_provider_restarts_on_its_port() {
    let refused = RefusedPort::reserve();
    let error = Request::chat("m", false).send(refused.port()).await.expect_err("the port refuses");
    assert!(matches!(&error, ClientError::Connect(io) if io.kind() == std::io::ErrorKind::ConnectionRefused));

    let mut provider = ScriptedProvider::start("alpha").await;
    provider.script(Script::usual().hang_after_chunks(1));
    let streaming = Request::chat("m", true).send(provider.port()).await.unwrap();
    provider.stop().await;
    assert!(streaming.read().await.error.is_some());
    assert!(matches!(provider.received()[0].outcome, Outcome::BrokenByProvider(_)));
    let error = Request::chat("m", false).send(provider.port()).await.expect_err("stopped");
    assert!(matches!(error, ClientError::Connect(_)));
    provider.restart().await;
    assert_eq!(Request::chat("m", false).send(provider.port()).await.unwrap().status, 200);
}

#[tokio::test]
async fn scripted_events_and_bytes_are_sent_unchanged() {
    let provider = ScriptedProvider::start("alpha").await;
    provider
        .script(Script::stream([Event::named("ping", "{}"), Event::data("[DONE]")]))
        .script(Script::usual().bytes(&b"\xff\x00"[..]).header("content-type", "image/png"));
    let stream = Request::chat("m", true).send(provider.port()).await.unwrap();
    assert_eq!(stream.text().await, "event: ping\ndata: {}\n\ndata: [DONE]\n\n");
    let read = Request::chat("m", true).ask(provider.port()).await;
    assert_eq!((read.bytes(), read.header("content-type")), (vec![0xff, 0], Some("image/png")));
    assert_eq!(read.header("content-length"), Some("2"));
}
