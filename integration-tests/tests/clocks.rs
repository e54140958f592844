//! Steps of the clock and pauses of the whole process: they end no stream, open no breaker, and delay no time limit by more
//! than the pause.

use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use integration_tests::SOON;
use integration_tests::client::{Read, Request, Response};
use integration_tests::clock::SteppedClock;
use integration_tests::envoy::Envoy;
use integration_tests::gateway::{Gateway, Shape, compatible};
use integration_tests::provider::{Script, ScriptedProvider};
use integration_tests::records;
use integration_tests::scene::Scene;
use serde_json::{Value, json};

/// By how many seconds the wall clock is set wrong.
const STEPS: [i64; 4] = [3600, -3600, 35, -35];

/// A model with one target. A single failure opens its breaker.
fn gateway(shape: Shape, stream: &Value) -> Gateway {
    Gateway::new(shape)
        .plugin(&json!({
            "providers": {"first": compatible("first")},
            "targets": {"first": {"provider": "first", "model": "m"}},
            "models": {"chat": {"tiers": [["first"]], "stream": stream, "retry": {"attempts": 1}}},
            "breaker": {"consecutive": 1},
        }))
        .concurrency(1)
}

/// A stream that lasts about two seconds.
fn slow_stream() -> Script {
    Script::usual().content_chunks(20).delay_chunks(Duration::from_millis(100))
}

async fn begin(envoy: &Envoy) -> Response {
    let mut response = Request::chat("chat", true).send(envoy.port()).await.unwrap();
    response.next_chunk().await.unwrap().unwrap();
    response
}

fn assert_complete(read: &Read, case: &str) {
    assert!(
        read.error.is_none() && read.text().contains("[DONE]"),
        "{case}: {:?} {}",
        read.error,
        read.text()
    );
}

fn assert_stalled(read: &Read) {
    assert!(read.text().contains("stream_stalled") && !read.text().contains("[DONE]"), "{}", read.text());
}

/// No breaker has opened: the next request is sent at once.
async fn assert_untroubled(envoy: &Envoy, first: &ScriptedProvider, case: &str) {
    let asked = first.received().len();
    let read = Request::chat("chat", false).ask(envoy.port()).await;
    assert_eq!(read.status, 200, "{case}: {}", read.text());
    assert_eq!(first.received().len(), asked + 1, "{case}");
}

fn unix_seconds() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap()
}

/// A plain request whose answer the provider delays, and `change` as soon as it has arrived there.
async fn plain_during(
    envoy: &Envoy,
    first: &ScriptedProvider,
    delay: Duration,
    change: impl Future<Output = ()>,
) -> Read {
    first.script(Script::usual().delay_headers(delay));
    let arrives = first.wait_for(first.received().len() + 1, SOON);
    let (read, ()) = tokio::join!(Request::chat("chat", false).ask(envoy.port()), async {
        arrives.await;
        change.await;
    });
    read
}

#[tokio::test]
async fn a_step_of_the_clock_ends_no_stream_and_opens_no_breaker() {
    let clock = SteppedClock::new();
    let limits = json!({"first_content": "3s", "idle": "2s", "content_idle": "3s", "answer": "3s"});
    let gateway = clock.of(gateway(Shape::Loop, &limits));
    let Scene { envoy, providers: [first], .. } = gateway.start_with(["first"]).await;
    for step in STEPS {
        let case = format!("{step:+} s");
        first.script(slow_stream());
        let streamed = begin(&envoy).await;
        let delay = Duration::from_secs(1);
        let plain = plain_during(&envoy, &first, delay, async { clock.set_wall(step) }).await;
        assert_eq!(plain.status, 200, "{case}: {}", plain.text());
        assert_complete(&streamed.read().await, &case);
        assert_untroubled(&envoy, &first, &case).await;
        clock.set_wall(0);
    }
}

#[tokio::test]
async fn a_step_back_delays_no_limit_and_records_show_the_calendar() {
    let clock = SteppedClock::new();
    let gateway = clock.of(gateway(Shape::Loop, &json!({"idle": "1s"})));
    let Scene { envoy, providers: [first], .. } = gateway.start_with(["first"]).await;
    first.script(Script::usual().content_chunks(5).hang_after_chunks(3));
    let streamed = begin(&envoy).await;
    clock.set_wall(-3600);
    let began = Instant::now();
    assert_stalled(&streamed.read().await);
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());

    // The breaker is open now, whatever the clock says.
    clock.set_wall(3600);
    let refused = Request::chat("chat", false).ask(envoy.port()).await;
    assert_eq!(refused.status, 503, "{}", refused.text());
    // The next tick reads the calendar.
    let expected = unix_seconds() + 3600;
    let is_later = |record: &Value| (record["start_unix_ms"].as_i64().unwrap() / 1000 - expected).abs() < 600;
    let deadline = Instant::now() + SOON;
    while !records::so_far(&envoy).iter().any(is_later) {
        assert!(Instant::now() < deadline, "no record shows the new time");
        Request::chat("chat", false).ask(envoy.port()).await;
    }
}

/// Stops Envoy's process for this long.
async fn stop_for(envoy: &Envoy, pause: Duration) {
    signal(envoy, "-STOP");
    tokio::time::sleep(pause).await;
    signal(envoy, "-CONT");
}

fn signal(envoy: &Envoy, signal: &str) {
    assert!(Command::new("kill").args([signal, &envoy.pid().to_string()]).status().unwrap().success());
}

/// While the process is stopped for longer than every limit, a stream goes on, an answer comes, and one begins.
async fn check_pause(shape: Shape) {
    let limits = json!({"first_content": "2s", "idle": "1s", "content_idle": "1s", "answer": "2s"});
    let Scene { envoy, providers: [first], .. } = gateway(shape, &limits).start_with(["first"]).await;
    first.script(slow_stream());
    let streamed = begin(&envoy).await;
    let asked = first.received().len();
    first.script(slow_stream().delay_headers(Duration::from_secs(1)));
    let late = Request::chat("chat", true).ask(envoy.port());
    let pause = async {
        first.wait_for(asked + 1, SOON).await;
        let delay = Duration::from_secs(1);
        plain_during(&envoy, &first, delay, stop_for(&envoy, Duration::from_secs(3))).await
    };
    let (late, plain, streamed) = tokio::join!(late, pause, streamed.read());
    assert_complete(&streamed, "a stream");
    assert_complete(&late, "a stream that had not begun");
    assert_eq!(plain.status, 200, "{}", plain.text());
    assert_untroubled(&envoy, &first, "after the pause").await;

    // A stream that has really stalled still ends.
    first.script(Script::usual().content_chunks(5).hang_after_chunks(3));
    let stalled = begin(&envoy).await;
    stop_for(&envoy, Duration::from_secs(1)).await;
    assert_stalled(&stalled.read().await);
}

/// Whether the bytes are read before the tick that notices the pause is up to the operating system.
#[tokio::test]
async fn a_pause_before_the_first_content_is_not_slowness() {
    let check = async |shape| {
        let gateway = gateway(shape, &json!({})).configure(&json!({"breaker": {"slow_first_content": "1s"}}));
        let Scene { envoy, providers: [first], .. } = gateway.start_with(["first"]).await;
        first.script(Script::usual().delay_headers(Duration::from_millis(300)));
        for asked in 1..=2 {
            let answer = tokio::spawn(Request::chat("chat", true).ask(envoy.port()));
            first.wait_for(asked, SOON).await;
            stop_for(&envoy, Duration::from_millis(1600)).await;
            assert_complete(&answer.await.unwrap(), "a stream that began in the pause");
        }
        assert_untroubled(&envoy, &first, "after the pauses").await;
    };
    tokio::join!(check(Shape::Loop), check(Shape::Single));
}

#[tokio::test]
async fn a_stopped_process_ends_no_stream_in_the_loop() {
    check_pause(Shape::Loop).await;
}

#[tokio::test]
async fn a_stopped_process_ends_no_stream_in_an_ordinary_listener() {
    check_pause(Shape::Single).await;
}

/// Both clocks step by a minute, which is what a process sees that was stopped for so long.
#[tokio::test]
async fn a_minute_that_a_process_misses_ends_no_stream() {
    let clock = SteppedClock::new();
    let limits = json!({"first_content": "5s", "idle": "5s", "content_idle": "5s", "answer": "5s"});
    let gateway = clock.of(gateway(Shape::Loop, &limits));
    let Scene { envoy, providers: [first], .. } = gateway.start_with(["first"]).await;
    first.script(slow_stream());
    let streamed = begin(&envoy).await;
    let plain = plain_during(&envoy, &first, Duration::from_secs(1), async { clock.miss(60) }).await;
    assert_eq!(plain.status, 200, "{}", plain.text());
    assert_complete(&streamed.read().await, "a stream");
    assert_untroubled(&envoy, &first, "after the minute").await;
}
