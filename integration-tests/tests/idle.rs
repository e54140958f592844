//! What many open streams without data cost a real Envoy: CPU time and memory.

use std::fs;
use std::time::Duration;

use integration_tests::client::{Connection, Protocol, Request};
use integration_tests::gateway::{Gateway, Shape};
use integration_tests::provider::{Event, Script};
use integration_tests::scene::Scene;
use integration_tests::turns::alone;
use serde_json::json;

const STREAMS: usize = 2_000;
/// The edge allows this many streams per connection.
const PER_CONNECTION: usize = 1_000;
const CONTENT: &str =
    r#"{"id":"c","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"hi"}}]}"#;

/// The CPU time that Envoy uses within this time. It does not depend on other load of the machine.
async fn cpu_within(pid: u32, time: Duration) -> Duration {
    let used = || -> Duration {
        let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
        let nanoseconds = tasks.map(|task| {
            let text = fs::read_to_string(task.unwrap().path().join("schedstat")).unwrap();
            text.split(' ').next().unwrap().parse::<u64>().unwrap()
        });
        Duration::from_nanos(nanoseconds.sum())
    };
    let before = used();
    tokio::time::sleep(time).await;
    used() - before
}

#[tokio::test(flavor = "multi_thread")]
async fn two_thousand_idle_streams_use_almost_no_cpu() {
    let _alone = alone().await;
    // A keep-alive is work. On a slow machine the first ones would be due while the test measures.
    let stream = json!({"idle": "10m", "keep_alive": "10m"});
    let gateway = Gateway::new(Shape::Loop)
        .configure(&json!({"models": {"chat": {"tiers": [["gpt-a"], ["haiku"]], "stream": stream}}}));
    let scene = gateway.start_with([("all", ["openai", "anthropic"])]).await;
    let Scene { envoy, providers: [provider], .. } = scene;
    provider.by_default(Script::stream([Event::data(CONTENT), Event::data(CONTENT)]).hang_after_chunks(1));
    let time = Duration::from_secs(5);
    let alone = cpu_within(envoy.pid(), time).await;
    let before = envoy.resident_bytes();
    let mut connections = Vec::new();
    let mut open = Vec::new();
    while open.len() < STREAMS {
        let mut connection = Connection::open(envoy.port(), Protocol::H2c).await.unwrap();
        for _ in 0..PER_CONNECTION {
            let request = Request::chat("chat", true).h2c();
            let mut response = connection.send(request).await.unwrap();
            let first = response.next_chunk().await.unwrap().unwrap();
            assert!(String::from_utf8_lossy(&first.bytes).contains("hi"));
            open.push(response);
        }
        connections.push(connection);
    }
    envoy.expect_count("attempts_in_flight", STREAMS as u64).await;
    let of_one = (envoy.resident_bytes() - before) / STREAMS;
    println!("each stream takes {} KB", of_one / 1000);
    assert!(of_one < 100_000, "{of_one} bytes per stream");
    // What opening the streams has left to do (logs, freed memory) may reach into the first measurement.
    let mut with_streams = Duration::MAX;
    for _ in 0..3 {
        with_streams = with_streams.min(cpu_within(envoy.pid(), time).await);
        println!("in {time:?}: {alone:?} alone, {with_streams:?} with {STREAMS} streams");
        if with_streams < alone + time / 20 {
            break;
        }
    }
    assert!(with_streams < alone + time / 20, "{with_streams:?} instead of {alone:?}");
    envoy.expect_count("attempts_in_flight", STREAMS as u64).await;
}
