//! How responses end: a complete stream that its provider keeps open, ends in the middle, and breaks that coincide with content.

use std::time::{Duration, Instant};

use crate::dialects::{self, Dialect, wire};
use crate::scenes::{self, FirstAndSpare};
use integration_tests::SOON;
use integration_tests::body::Piece;
use integration_tests::client::{Protocol, Read, Request};
use integration_tests::gateway::{Gateway, Shape};
use integration_tests::provider::{Ending, Event, Outcome, Point, Script};
use integration_tests::records;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const MODEL: &str = "openai-compatible";
const PROTOCOLS: [Protocol; 2] = [Protocol::Http1, Protocol::H2c];

async fn scene(stream: Value, change: impl FnOnce(Gateway) -> Gateway) -> FirstAndSpare {
    FirstAndSpare::with(|configuration| configuration["models"][MODEL]["stream"] = stream, change).await
}

/// The provider `first` speaks HTTP/2.
fn over_http2(gateway: Gateway) -> Gateway {
    let options = json!({"typed_extension_protocol_options": {
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
            "explicit_http_config": {"http2_protocol_options": {}},
        },
    }});
    gateway.cluster_options("first", options)
}

fn request(dialect: &Dialect, stream: bool, protocol: Protocol) -> Request {
    let body = json!({"model": MODEL, "stream": stream, "max_tokens": 5, "messages": [], "input": "hi"});
    Request::post(dialect.path).json(&body).over(protocol)
}

/// A response with this JSON text.
fn plain(text: &str) -> Script {
    Script::usual().text(text).header("content-type", "application/json")
}

/// The first half of a plain response, without a length.
fn half(text: &str) -> Script {
    let half = text[..text.len() / 2].to_owned();
    Script::usual().pieces(vec![Piece::now(half)]).header("content-type", "application/json")
}

/// A plain chat answer of about this many bytes.
fn answer(bytes: usize) -> String {
    let text = "word ".repeat(bytes / 5);
    let message = json!({"role": "assistant", "content": text});
    json!({"id": "c", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}).to_string()
}

/// Whether the client saw that the response broke off. Before 1.37 Envoy resets HTTP/2 streams without an error code.
async fn saw_a_break(scene: &FirstAndSpare, read: &Read, protocol: Protocol) -> bool {
    read.error.is_some() || (protocol == Protocol::H2c && scene.envoy.resets_http2_without_error().await)
}

/// The ends of a stream after which nothing more is to come, and how the attempt is recorded.
fn ends(dialect: &Dialect) -> Vec<(&'static str, Vec<Event>, &'static str)> {
    let begun = [dialect.opening.clone(), vec![dialect.content("hi")]].concat();
    let with = |end: &[Event]| [begun.clone(), end.to_vec()].concat();
    let mut ends = vec![
        ("terminal event", with(&dialect.closing), "served"),
        ("error event", with(std::slice::from_ref(&dialect.error)), "broken"),
    ];
    // The only event of a Responses stream with a finish reason is its terminal event.
    if dialect.closing.len() > 1 {
        ends.push(("finish reason", with(&dialect.closing[..dialect.closing.len() - 1]), "served"));
    }
    ends
}

#[tokio::test]
async fn an_answer_whose_stream_stays_open_is_complete_at_once_and_reset_after_linger() {
    let limits = json!({"linger": "1500ms", "idle": "600ms", "content_idle": "600ms", "first_content": "5s"});
    let scene = scene(limits, |gateway| gateway).await;
    let mut asked = 0;
    let mut completed = 0;
    for dialect in dialects::all() {
        for (end, events, recorded) in ends(&dialect) {
            for pings in [0, 1000] {
                let protocol = PROTOCOLS[asked % 2];
                let case = format!("{} {end} {pings} {protocol:?}", dialect.path);
                let alive = if dialect.path == "/v1/chat/completions" {
                    Event::data("")
                } else {
                    dialect.ping.clone()
                };
                let all = events.iter().cloned().chain(std::iter::repeat_n(alive, pings));
                let script = Script::stream(all).delay_chunks(Duration::from_millis(10));
                let hang = Ending::Hang(Point::AfterChunks(events.len() + pings));
                scene.first.script(script.ending(hang));
                let mut response = request(&dialect, true, protocol).send(scene.envoy.port()).await.unwrap();
                let mut text = Vec::new();
                while !String::from_utf8_lossy(&text).starts_with(&wire(&events)) {
                    text.extend_from_slice(&response.next_chunk().await.unwrap().unwrap().bytes);
                }
                let ended = Instant::now();
                for gauge in ["attempts_in_flight", "journeys"] {
                    scene.envoy.wait_for_count(gauge, 0).await;
                }
                // Waiting for the counts takes time, too.
                assert!(
                    records::so_far(&scene.envoy).len() == asked,
                    "{case}: the stream is open: {:?}",
                    ended.elapsed()
                );
                let read = response.read().await;
                let took = ended.elapsed();
                assert!(saw_a_break(&scene, &read, protocol).await, "{case}");
                assert!(
                    took >= Duration::from_millis(1300) && took < Duration::from_secs(6),
                    "{case}: {took:?}"
                );
                assert!(!read.text().contains("stopped sending"), "{case}: {}", read.text());
                asked += 1;
                completed += usize::from(recorded == "served");
                let record = records::wait_for(&scene.envoy, asked).await.pop().unwrap();
                assert_eq!(record["outcome"], json!(recorded), "{case}: {record:#}");
                assert_eq!(record["attempts"].as_array().unwrap().len(), 1, "{case}");
            }
        }
    }
    scene.envoy.expect_count("streams_complete", completed as u64).await;
    scene.envoy.expect_count("streams_left_open", asked as u64).await;
    scene.envoy.expect_count("alarms", 0).await;
    scene.envoy.expect_count("client_aborts", 0).await;
}

#[tokio::test]
async fn a_plain_response_whose_body_stays_open_is_delivered_and_ends() {
    for shape in [Shape::Loop, Shape::Single] {
        let mut configuration = scenes::configuration();
        configuration["retry_loop"] = json!(shape == Shape::Loop);
        let gateway = Gateway::new(shape).plugin(&configuration);
        let scene = gateway.start_with(["first", "spare"]).await;
        let [first, _] = &scene.providers;
        for (number, protocol) in PROTOCOLS.into_iter().enumerate() {
            let text = answer(10_000);
            let half = text.len() / 2;
            let pieces = [&text[..half], &text[half..], "\n"].map(|text| Piece::now(text.to_owned()));
            let script = Script::usual().pieces(pieces.to_vec()).header("content-type", "application/json");
            let script = script.header("x-request-id", "req-7").header("set-cookie", "no=1");
            first.script(script.ending(Ending::Hang(Point::AfterChunks(3))));
            let read = request(&dialects::chat(), false, protocol).ask(scene.envoy.port()).await;
            assert_eq!((read.status.as_u16(), read.text().trim_end()), (200, &*text), "{:?}", read.error);
            assert!(read.error.is_none(), "{:?}", read.error);
            let took = read.ended_at - read.sent_at;
            assert!(took < Duration::from_secs(6), "{took:?}");
            assert_eq!(read.header("content-type"), Some("application/json"));
            assert_eq!(read.header("x-llm-target"), Some(MODEL));
            assert_eq!(read.header("x-request-id"), Some("req-7"));
            assert_eq!(read.header("set-cookie"), None);
            let record = records::wait_for(&scene.envoy, number + 1).await.pop().unwrap();
            assert_eq!(record["outcome"], "served", "{record:#}");
        }
        scene.envoy.expect_count("streams_left_open", 2).await;
        scene.envoy.expect_count("alarms", 0).await;
    }
}

#[tokio::test]
async fn a_plain_response_without_an_answer_whose_body_stays_open_is_a_failed_attempt() {
    let scene = scene(json!({"answer": "20s"}), |gateway| gateway).await;
    let error = r#"{"error":{"message":"overloaded"}}"#;
    for status in [200, 503, 429] {
        let script = Script::status(status).pieces(vec![Piece::now(error.to_owned())]);
        let script = script.header("content-type", "application/json");
        scene.first.script(script.ending(Ending::Hang(Point::AfterChunks(1))));
        let read = request(&dialects::chat(), false, PROTOCOLS[0]).ask(scene.envoy.port()).await;
        let answered = (read.status.as_u16(), read.header("x-llm-target"));
        assert_eq!(answered, (200, Some("spare")), "{status}: {}", read.text());
        let took = read.ended_at - read.sent_at;
        assert!(took < Duration::from_secs(6), "{status}: {took:?}");
    }
}

#[tokio::test]
async fn a_stream_that_its_provider_may_keep_open_ends_with_the_total() {
    let limits = json!({"linger": "provider", "total": "3s"});
    let scene = scene(limits, |gateway| gateway).await;
    let dialect = dialects::chat();
    let events = dialect.whole(&["hi"]);
    // The provider ends the stream itself, later than any default.
    let script = Script::stream(events.clone()).ending(Ending::Complete);
    scene.first.script(script);
    let read = request(&dialect, true, Protocol::Http1).ask(scene.envoy.port()).await;
    assert!(read.error.is_none() && read.text() == wire(&events), "{}", read.text());
    scene.first.script(Script::stream(events.clone()).hang_after_chunks(events.len()));
    let read = request(&dialect, true, Protocol::Http1).ask(scene.envoy.port()).await;
    let took = read.ended_at - read.sent_at;
    assert!(read.error.is_some() && read.text() == wire(&events), "{}", read.text());
    assert!(took >= Duration::from_secs(3) && took < Duration::from_secs(8), "{took:?}");
    let record = records::wait_for(&scene.envoy, 2).await.pop().unwrap();
    assert_eq!(record["outcome"], "served", "{record:#}");
}

#[tokio::test]
async fn the_total_holds_to_the_last_byte() {
    let scene = scene(json!({"total": "1500ms", "linger": "1h"}), |gateway| gateway).await;
    let dialect = dialects::chat();
    let done = dialect.whole(&["hi"]);
    let trickle = Duration::from_millis(50);
    let words = std::iter::repeat_n(dialect.content("hi"), 1000);
    let comments = std::iter::repeat_n(Event::data(""), 1000);
    let stream = |events| Script::stream(events).delay_chunks(trickle);
    let cases = [
        ("content", true, stream([dialect.opening.clone(), words.collect()].concat()), "broken"),
        ("after the end", true, stream(done.iter().cloned().chain(comments).collect()), "served"),
        ("plain", false, plain(&answer(400_000)).split(4_000).delay_chunks(trickle), "broken"),
    ];
    for (number, (case, streamed, script, outcome)) in cases.into_iter().enumerate() {
        scene.first.script(script);
        let read = request(&dialect, streamed, PROTOCOLS[0]).ask(scene.envoy.port()).await;
        let took = read.ended_at - read.sent_at;
        assert!(read.status == 200 && read.error.is_some(), "{case}: {} {}", read.status, read.text());
        assert!(took >= Duration::from_millis(1500) && took < Duration::from_secs(6), "{case}: {took:?}");
        let record = records::wait_for(&scene.envoy, number + 1).await.pop().unwrap();
        assert_eq!(record["outcome"], outcome, "{case}: {record:#}");
    }
    assert_eq!(scene.spare.received().len(), 0);
}

#[tokio::test]
async fn a_stream_that_ends_with_trailers_too_early_ends_with_an_error() {
    for on_break in ["error_event", "reset"] {
        let scene = scene(json!({"on_break": on_break}), over_http2).await;
        for dialect in dialects::all() {
            for (pieces, pause) in [(1, 0), (3, 20)] {
                for lost in [0, 9] {
                    let protocol = PROTOCOLS[usize::from(lost > 0)];
                    let case = format!("{} {on_break} {pieces} {lost} {protocol:?}", dialect.path);
                    let hi = std::iter::repeat_n(dialect.content("hi"), pieces);
                    let events: Vec<_> = dialect.opening.iter().cloned().chain(hi).collect();
                    let bytes = wire(&events).len() - lost;
                    let ending = Ending::Trailers(Point::AfterBytes(bytes));
                    let script = Script::stream(events.clone()).delay_chunks(Duration::from_millis(pause));
                    scene.first.script(script.ending(ending));
                    let read = request(&dialect, true, protocol).ask(scene.envoy.port()).await;
                    let text = read.text();
                    if pieces == 1 && lost > 0 {
                        // Its only content is incomplete.
                        assert_eq!(read.header("x-llm-fallback"), Some("stream_truncated"), "{case}: {text}");
                        continue;
                    }
                    assert!(!dialect.claims_completion(&text), "{case}: {text}");
                    let told = text.contains("ended the stream before the answer was complete");
                    assert!(told || saw_a_break(&scene, &read, protocol).await, "{case}: {text}");
                    assert!(told || on_break == "reset", "{case}: {text}");
                    assert!(text.contains("hi"), "{case}: {text}");
                }
            }
            // A complete stream passes, and so do its trailers.
            let events = dialect.whole(&["hi"]);
            let ending = Ending::Trailers(Point::AfterChunks(events.len()));
            scene.first.script(Script::stream(events.clone()).ending(ending));
            let read = request(&dialect, true, Protocol::Http1).ask(scene.envoy.port()).await;
            assert!(read.error.is_none() && read.text() == wire(&events), "{}: {read:?}", dialect.path);
        }
        scene.envoy.wait_until_idle().await;
    }
}

#[tokio::test]
async fn a_plain_answer_that_ends_in_the_middle_never_looks_complete() {
    let chat = dialects::chat();
    for http2 in [false, true] {
        let scene = scene(json!({}), if http2 { over_http2 } else { |gateway| gateway }).await;
        for (size, held) in [(400, true), (60_000, false)] {
            let whole = answer(size);
            let middle = Point::AfterBytes(whole.len() / 2);
            let cases = [
                ("a clean end", half(&whole)),
                ("trailers", half(&whole).ending(Ending::Trailers(Point::AfterChunks(1)))),
                ("trailers before the length", plain(&whole).ending(Ending::Trailers(middle))),
                ("FIN", half(&whole).ending(Ending::Cut(middle))),
                ("FIN before the length", plain(&whole).ending(Ending::Cut(middle))),
                ("RST", half(&whole).ending(Ending::Reset(middle))),
                ("RST before the length", plain(&whole).ending(Ending::Reset(middle))),
                ("a reset stream", plain(&whole).ending(Ending::AbortStream(middle))),
            ];
            // The scripted provider cannot send a short body with trailers over HTTP/1.
            let cases = cases.into_iter().filter(|(case, _)| http2 || *case != "trailers before the length");
            for (case, script) in cases {
                for protocol in PROTOCOLS {
                    let case = format!("{case} {size} http2 {http2} {protocol:?}");
                    let helped = scene.spare.received().len();
                    scene.first.script(script.clone());
                    let read = request(&chat, false, protocol).ask(scene.envoy.port()).await;
                    if held {
                        let reason = read.header("x-llm-fallback");
                        assert!(
                            matches!(reason, Some("stream_truncated")),
                            "{case}: {reason:?} {}",
                            read.text()
                        );
                        assert!(read.error.is_none() && read.text().contains("hello from spare"), "{case}");
                        assert_eq!(scene.spare.received().len(), helped + 1, "{case}");
                    } else {
                        let incomplete = serde_json::from_slice::<Value>(&read.bytes()).is_err();
                        assert!(
                            incomplete && saw_a_break(&scene, &read, protocol).await,
                            "{case}: it looks complete"
                        );
                        assert_eq!(scene.spare.received().len(), helped, "{case}");
                    }
                }
            }
        }
        scene.envoy.wait_until_idle().await;
    }
}

/// Content and a break reach Envoy in one read: it is stopped until the provider has sent both.
#[tokio::test]
async fn content_and_a_break_in_one_instant_are_either_passed_on_or_attempted_again() {
    let scene = scene(json!({}), |gateway| gateway).await;
    let pid = Pid::from_raw(scene.envoy.pid() as i32);
    let chat = dialects::chat();
    let events = |count: usize| {
        let hi = std::iter::repeat_n(chat.content("hi"), count);
        Script::stream(chat.opening.iter().cloned().chain(hi))
    };
    for (case, streamed, script, point) in [
        ("held plain answer", false, half(&answer(400)), Point::AfterChunks(1)),
        ("plain answer", false, half(&answer(60_000)), Point::AfterChunks(1)),
        ("held stream", true, events(0), Point::AfterChunks(1)),
        ("first content", true, events(1), Point::AfterChunks(2)),
        ("content", true, events(3), Point::AfterChunks(4)),
        ("a complete stream", true, Script::stream(chat.whole(&["hi"])), Point::AfterChunks(4)),
    ] {
        for ending in [Ending::Reset(point), Ending::Cut(point)] {
            for protocol in PROTOCOLS {
                let case = format!("{case} {ending:?} {protocol:?}");
                let (asked, helped) = (scene.first.received().len(), scene.spare.received().len());
                let slow = script.clone().delay_headers(Duration::from_millis(150)).ending(ending);
                scene.first.script(slow);
                let answer = tokio::spawn(request(&chat, streamed, protocol).ask(scene.envoy.port()));
                scene.first.wait_for(asked + 1, SOON).await;
                tokio::time::sleep(Duration::from_millis(50)).await;
                kill(pid, Signal::SIGSTOP).unwrap();
                let outcome = scene.first.wait_for_outcome(asked, SOON).await;
                tokio::time::sleep(Duration::from_millis(30)).await;
                kill(pid, Signal::SIGCONT).unwrap();
                let read = answer.await.unwrap();
                assert!(matches!(outcome, Outcome::BrokenByProvider(_)), "{case}: {outcome:?}");
                assert_eq!(scene.first.received().len(), asked + 1, "{case}: {}", read.text());
                let text = read.text();
                if scene.spare.received().len() > helped {
                    println!("{case}: attempted again");
                    assert_eq!(scene.spare.received().len(), helped + 1, "{case}");
                    assert!(
                        read.error.is_none() && text.contains("spare") && !text.contains("hi\""),
                        "{case}: {text}"
                    );
                    assert_eq!(read.header("x-llm-fallback"), Some("stream_truncated"), "{case}: {text}");
                    assert_eq!(read.header("x-llm-attempts"), Some("2"), "{case}");
                } else {
                    println!("{case}: passed on");
                    assert!(!case.starts_with("held"), "{case}: {text}");
                    assert_eq!(read.header("x-llm-target"), Some(MODEL), "{case}: {text}");
                    assert!(saw_a_break(&scene, &read, protocol).await, "{case}: {text}");
                }
            }
        }
    }
    scene.envoy.wait_until_idle().await;
}

#[tokio::test]
async fn a_break_reaches_the_client_within_100_ms() {
    let scene = scene(json!({}), |gateway| gateway).await;
    let chat = dialects::chat();
    let events = [chat.opening.clone(), vec![chat.content("hi"), chat.content("there")]].concat();
    for ending in [Ending::Cut(Point::AfterChunks(3)), Ending::Reset(Point::AfterChunks(3))] {
        for protocol in PROTOCOLS {
            let mut fastest = SOON;
            for _ in 0..5 {
                let asked = scene.first.received().len();
                let script = Script::stream(events.clone()).delay_chunks(Duration::from_millis(10));
                scene.first.script(script.ending(ending));
                let read = request(&chat, true, protocol).ask(scene.envoy.port()).await;
                assert!(saw_a_break(&scene, &read, protocol).await, "{ending:?} {protocol:?}");
                let Outcome::BrokenByProvider(at) = scene.first.wait_for_outcome(asked, SOON).await else {
                    panic!()
                };
                fastest = fastest.min(read.ended_at.saturating_duration_since(at));
            }
            println!("{ending:?} {protocol:?}: {fastest:?}");
            assert!(fastest < Duration::from_millis(100), "{ending:?} {protocol:?}: {fastest:?}");
        }
    }
}

/// A client that writes its whole request before it reads, however early the response comes.
async fn upload(port: u16, head: &str, bytes: usize) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let head =
        format!("POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n{head}");
    let written = async {
        stream.write_all(head.as_bytes()).await?;
        let block = [b'x'; 64 * 1024];
        for _ in 0..bytes.div_ceil(block.len()) {
            stream.write_all(&block).await?;
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        std::io::Result::Ok(())
    };
    drop(written.await);
    let mut response = Vec::new();
    // It ends with FIN, or with RST while Envoy has unread data.
    drop(tokio::time::timeout(SOON, stream.read_to_end(&mut response)).await);
    String::from_utf8_lossy(&response).into_owned()
}

#[tokio::test]
async fn an_early_refusal_of_a_large_upload_arrives_whole() {
    let scene = scene(json!({}), |gateway| gateway).await;
    for (status, head, bytes) in [
        (400, "content-length: 10000000\r\n\r\n", 10_000_000),
        (415, "content-encoding: gzip\r\ncontent-length: 10000000\r\n\r\n", 10_000_000),
        (413, "content-length: 40000000\r\n\r\n", 40_000_000),
    ] {
        for _ in 0..5 {
            let response = upload(scene.envoy.port(), head, bytes).await;
            let (head, body) =
                response.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{status}: {response}"));
            assert!(head.starts_with(&format!("HTTP/1.1 {status}")), "{head}");
            let body: Value = serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {body}"));
            assert!(body["error"]["message"].is_string(), "{body}");
        }
    }
}

#[tokio::test]
async fn a_large_answer_arrives_whole_at_a_client_that_pauses() {
    let scene = scene(json!({}), |gateway| gateway).await;
    let whole = answer(30_000_000);
    scene.first.script(plain(&whole));
    let mut response =
        request(&dialects::chat(), false, Protocol::Http1).send(scene.envoy.port()).await.unwrap();
    let mut got = 0;
    let mut paused_at = 0;
    while let Some(chunk) = response.next_chunk().await {
        got += chunk.unwrap().bytes.len();
        // Longer than Envoy waits before it closes a connection.
        if got > paused_at + 5_000_000 {
            paused_at = got;
            tokio::time::sleep(Duration::from_millis(150)).await;
        }
    }
    assert_eq!(got, whole.len());
}
