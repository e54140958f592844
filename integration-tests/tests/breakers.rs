//! Circuit breakers on two workers: what opens them, that an open target gets no request, how they recover, and what clients
//! see meanwhile.
//!
//! Each request uses its own connection unless a test says otherwise, so requests reach both workers. Configured times are
//! short and waits are long. Counts are exact.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use integration_tests::SOON;
use integration_tests::client::{Connection, Protocol, Read, Request};
use integration_tests::envoy::Envoy;
use integration_tests::gateway::{Gateway, Shape, compatible};
use integration_tests::provider::{Ending, Event, Outcome, Point, Script, ScriptedProvider, errors};
use integration_tests::scene::{EVERY_WORKER, Scene};
use integration_tests::turns::alone;
use serde_json::{Value, json};
use tokio::task::{JoinHandle, JoinSet};

/// How often the breakers read the shared data.
const REFRESH: Duration = Duration::from_millis(100);

/// `first` with two accounts, `a` with two models and `b` with one; `spare` in reserve.
struct BreakerScene {
    first: ScriptedProvider,
    spare: ScriptedProvider,
    gateway: Gateway,
    envoy: Envoy,
}

impl BreakerScene {
    /// In the loop, with this `breaker` section.
    async fn start(breaker: Value) -> Self {
        Self::with(Shape::Loop, breaker, |_| {}).await
    }

    async fn with(shape: Shape, breaker: Value, change: impl FnOnce(&mut Value)) -> Self {
        let mut configuration = json!({
            "providers": {
                "first": compatible("first"),
                "spare": compatible("spare"),
            },
            "accounts": {
                "a": {"provider": "first", "key": {"value": "sk-a"}},
                "b": {"provider": "first", "key": {"value": "sk-b"}},
                "spare": {"provider": "spare", "key": {"value": "sk-spare"}},
            },
            "targets": {
                "a-small": {"account": "a", "model": "small"},
                "a-large": {"account": "a", "model": "large"},
                "b-small": {"account": "b", "model": "small"},
                "spare": {"account": "spare", "model": "spare"},
            },
            "models": {
                "chat": {"tiers": [["a-small"], ["spare"]]},
                "large": {"tiers": [["a-large"], ["spare"]]},
                "other": {"tiers": [["b-small"], ["spare"]]},
                // One failed request is one failure of its target.
                "lone": {"targets": ["a-small"], "retry": {"attempts_per_target": 1}},
                "anyway": {"targets": ["a-small"], "when_all_open": "try_anyway", "retry": {"attempts_per_target": 1}},
            },
            "breaker": breaker,
        });
        change(&mut configuration);
        let gateway = Gateway::new(shape).plugin(&configuration).concurrency(2).reloadable();
        let Scene { envoy, gateway, providers: [first, spare] } =
            gateway.start_with(["first", "spare"]).await;
        Self { first, spare, gateway, envoy }
    }

    fn asked(&self) -> usize {
        self.first.received().len()
    }

    async fn ask(&self, model: &str) -> Read {
        Request::chat(model, false).ask(self.envoy.port()).await
    }

    /// A message in Anthropic's dialect.
    async fn message(&self, model: &str) -> Read {
        let body =
            json!({"model": model, "max_tokens": 9, "messages": [{"role": "user", "content": "hello"}]});
        Request::post("/v1/messages").json(&body).ask(self.envoy.port()).await
    }

    async fn count(&self, metric: &str) -> u64 {
        self.envoy.count(metric).await
    }

    async fn wait_for(&self, metric: &str, wanted: u64) {
        self.envoy.wait_for_count(metric, wanted).await;
    }

    /// Asks until requests on every worker are answered as wanted.
    async fn until_every_worker(&self, model: &str, wanted: impl Fn(&Read) -> bool) {
        self.envoy.until_every_worker(|| Request::chat(model, false), wanted).await;
    }

    /// Makes `a-small` fail until its breaker opens and both workers know it.
    async fn open_lone(&self) {
        self.first.by_default(errors::openai_500());
        self.until_every_worker("lone", |read| refused_with(read, 503, "all_targets_open")).await;
        self.envoy.expect_count("breaker_opened", 1).await;
    }
}

/// A complete response of this target, with this fallback reason if it is not the first choice.
fn answered(read: &Read, target: &str, fallback: Option<&str>) -> bool {
    let by = (read.header("x-llm-target"), read.header("x-llm-fallback"));
    read.error.is_none() && read.status == 200 && by == (Some(target), fallback)
}

fn refused_with(read: &Read, status: u16, reason: &str) -> bool {
    (read.status.as_u16(), read.header("x-llm-reason")) == (status, Some(reason))
}

fn retry_after(read: &Read) -> u64 {
    read.header("retry-after")
        .and_then(|text| text.parse().ok())
        .unwrap_or_else(|| panic!("{:?}", read.headers))
}

fn error(read: &Read) -> Value {
    read.json()["error"].clone()
}

fn is_from(read: &Read, name: &str) -> bool {
    let body: Value = serde_json::from_slice(&read.bytes()).unwrap_or_default();
    body["choices"][0]["message"]["content"] == format!("hello from {name}")
}

/// Clients that request `chat` continuously, one request after the other.
struct Crowd {
    stop: Arc<AtomicBool>,
    clients: Vec<JoinHandle<Vec<(Instant, bool)>>>,
}

impl Crowd {
    const CLIENTS: usize = 8;
    /// Between a client's response and its next request.
    const PAUSE: Duration = Duration::from_millis(20);

    fn start(port: u16) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let client = |stop: Arc<AtomicBool>| async move {
            let mut seen = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                let read = Request::chat("chat", false).ask(port).await;
                let by_first = read.header("x-llm-target") == Some("a-small");
                let whole = is_from(&read, if by_first { "first" } else { "spare" });
                assert!(
                    read.error.is_none() && read.status == 200 && whole,
                    "{} {}",
                    read.status,
                    read.text()
                );
                seen.push((read.sent_at, by_first));
                tokio::time::sleep(Self::PAUSE).await;
            }
            seen
        };
        let clients = (0..Self::CLIENTS).map(|_| tokio::spawn(client(Arc::clone(&stop)))).collect();
        Self { stop, clients }
    }

    /// When each request was sent, and whether `first` answered it; in order.
    async fn stop(self) -> Vec<(Instant, bool)> {
        self.stop.store(true, Ordering::Relaxed);
        let mut seen = Vec::new();
        for client in self.clients {
            seen.extend(client.await.expect("every response was good"));
        }
        seen.sort();
        seen
    }
}

#[tokio::test]
async fn an_open_target_gets_one_probe_at_a_time_and_recovers_gradually() {
    const CONSECUTIVE: usize = 5;
    const SLOW_START: Duration = Duration::from_secs(2);
    let _alone = alone().await;
    let scene = BreakerScene::start(json!({"open": "1s", "open_max": "4s", "probes": 1, "close_after": 2,
        "consecutive": CONSECUTIVE, "min_requests": 10000, "slow_start": "2s", "probe_lease": "10s"}))
    .await;
    let crowd = Crowd::start(scene.envoy.port());
    scene.first.wait_for(2 * Crowd::CLIENTS, SOON).await;

    scene.first.by_default(errors::openai_500());
    scene.wait_for("breaker_opened", 1).await;
    // From here on responses are slow, so a second probe at the same time would be visible.
    let slowly = Duration::from_millis(150);
    scene.first.by_default(errors::openai_500().delay_headers(slowly));
    scene.wait_for("breaker_reopened", 1).await;
    scene.first.by_default(Script::usual().delay_headers(slowly));
    scene.wait_for("breaker_closed", 1).await;
    let closed_at = Instant::now();
    scene.first.by_default(Script::usual());
    tokio::time::sleep_until((closed_at + SLOW_START + Duration::from_millis(700)).into()).await;
    let full_from = closed_at + SLOW_START;
    let seen = crowd.stop().await;

    // What reached it since the first failure: the run that opened it with the requests in progress, then nothing, then probes.
    let all = scene.first.received();
    let failed_from = seen.windows(2).find(|pair| pair[0].1 && !pair[1].1).expect("an outage")[0].0;
    let outage: Vec<_> = all.iter().filter(|request| request.arrived_at > failed_from).collect();
    let probe = outage
        .windows(2)
        .position(|pair| pair[1].arrived_at - pair[0].arrived_at > Duration::from_millis(600))
        .expect("a pause without requests")
        + 1;
    // A worker sends requests until it next reads the shared data. A success from just before the outage, which each
    // worker reports with that refresh, restarts the run.
    let per_refresh = Crowd::CLIENTS * (REFRESH.as_millis() / Crowd::PAUSE.as_millis()) as usize;
    let bound = CONSECUTIVE * 3 + Crowd::CLIENTS + per_refresh;
    assert!(
        (CONSECUTIVE..=bound).contains(&probe),
        "{probe} requests reached the failing target, bound {bound}"
    );
    let silence = outage[probe].arrived_at - outage[CONSECUTIVE - 1].arrived_at;
    assert!(silence >= Duration::from_millis(950), "probed too early: {silence:?}");

    // One failed probe and two good ones, each after the previous one ended.
    let ends: Vec<_> = outage[probe..probe + 3]
        .iter()
        .map(|request| match request.outcome {
            Outcome::Answered(at) => (request.arrived_at, at),
            other => panic!("{other:?}"),
        })
        .collect();
    assert!(
        ends[1].0 - ends[0].1 >= Duration::from_millis(950),
        "probed again before the open time was over: {ends:?}"
    );
    assert!(ends[2].0 >= ends[1].1, "two probes at a time: {ends:?}");
    assert!(outage[probe + 3].arrived_at >= ends[2].1, "traffic before the breaker closed");

    // The slow start begins at a tenth of the traffic and ends with all of it.
    let share = |from: Instant, to: Instant| {
        let within: Vec<_> = seen.iter().filter(|(at, _)| (from..to).contains(at)).collect();
        assert!(within.len() >= 20, "too few requests to tell: {}", within.len());
        within.iter().filter(|(_, by_first)| *by_first).count() * 100 / within.len()
    };
    let healed_at = ends[2].1;
    let early = share(healed_at, healed_at + SLOW_START / 3);
    let late = share(healed_at + SLOW_START * 2 / 3, healed_at + SLOW_START);
    assert!(early < 55 && late > 55 && early < late, "{early} % early, {late} % late");
    assert_eq!(share(full_from, full_from + SOON), 100);
    scene.envoy.expect_count("breaker_probes", 3).await;
    scene.envoy.expect_count("breaker_opened", 1).await;
    scene.envoy.expect_count("refusals", 0).await;
    scene.envoy.expect_count("shared_data_failed", 0).await;
}

#[tokio::test]
async fn a_rejected_credential_blocks_its_account_and_no_other() {
    let scene = BreakerScene::start(json!({"block": "60s"})).await;
    scene.first.script(errors::openai_401());
    assert!(answered(&scene.ask("chat").await, "spare", Some("auth")));
    scene.until_every_worker("large", |read| answered(read, "spare", Some("blocked"))).await;

    let asked = scene.asked();
    for _ in 0..EVERY_WORKER {
        assert!(answered(&scene.ask("large").await, "spare", Some("blocked")));
        assert!(answered(&scene.ask("chat").await, "spare", Some("blocked")));
        assert!(answered(&scene.ask("other").await, "b-small", None));
        let refused = scene.ask("lone").await;
        assert!(refused_with(&refused, 503, "all_targets_open"), "{}", refused.text());
        assert_eq!(
            error(&refused)["llm_failsafe"]["targets"],
            json!([{"target": "a-small", "reason": "blocked"}])
        );
        assert!((40..=66).contains(&retry_after(&refused)), "{:?}", refused.headers);
    }
    let since = scene.first.received().split_off(asked);
    assert_eq!(since.len(), EVERY_WORKER, "only the other account is asked");
    assert!(since.iter().all(|request| request.header("authorization") == Some("Bearer sk-b")));
    scene.envoy.expect_count("breaker_opened", 1).await;
}

#[tokio::test]
async fn an_unreachable_endpoint_opens_for_all_its_accounts_until_it_is_back() {
    let mut scene =
        BreakerScene::start(json!({"open": "2s", "open_max": "2s", "slow_start": "0s", "close_after": 1}))
            .await;
    scene.first.stop().await;
    for _ in 0..5 {
        assert!(answered(&scene.ask("chat").await, "spare", Some("transport")));
    }
    scene.wait_for("breaker_opened", 1).await;
    // Another model and another account, which have not failed themselves.
    for model in ["large", "other"] {
        scene.until_every_worker(model, |read| answered(read, "spare", Some("open"))).await;
    }
    let connects = || scene.envoy.stat("cluster.first.upstream_cx_connect_fail");
    let probes = scene.count("breaker_probes").await;
    let failed = connects().await.unwrap();
    for _ in 0..EVERY_WORKER {
        assert!(is_from(&scene.ask("other").await, "spare"));
    }
    let new_probes = scene.count("breaker_probes").await - probes;
    assert_eq!(connects().await.unwrap() - failed, new_probes, "only probes reach the endpoint");

    scene.first.restart().await;
    scene.until_every_worker("other", |read| answered(read, "b-small", None)).await;
    assert!(answered(&scene.ask("large").await, "a-large", None));
    scene.envoy.expect_count("breaker_closed", 1).await;
}

#[tokio::test]
async fn a_rate_limit_throttles_on_every_worker_until_it_ends() {
    let scene = BreakerScene::start(json!({})).await;
    scene.first.script(errors::openai_429().header("retry-after", "10"));
    assert!(answered(&scene.ask("chat").await, "spare", Some("rate_limited")));
    let Outcome::Answered(limited_at) = scene.first.wait_for_outcome(0, SOON).await else { panic!() };
    scene.until_every_worker("chat", |read| answered(read, "spare", Some("throttled"))).await;
    assert!(limited_at.elapsed() < Duration::from_secs(9), "too slow to tell: {:?}", limited_at.elapsed());
    let asked = scene.asked();

    let refused = scene.ask("lone").await;
    assert!(refused_with(&refused, 429, "all_targets_throttled"), "{} {}", refused.status, refused.text());
    assert!((1..=10).contains(&retry_after(&refused)), "{:?}", refused.headers);
    assert_eq!(error(&refused)["code"], "all_targets_throttled");
    let list = json!([{"target": "a-small", "reason": "throttled"}]);
    assert_eq!(error(&refused)["llm_failsafe"]["targets"], list);
    let refused = scene.message("lone").await;
    assert!(refused_with(&refused, 429, "all_targets_throttled"), "{} {}", refused.status, refused.text());
    assert_eq!(error(&refused)["type"], "rate_limit_error");
    assert_eq!(error(&refused)["llm_failsafe"]["targets"], list);
    assert!(
        answered(&scene.ask("large").await, "a-large", None),
        "the limit applies to the model, not to the account"
    );
    let asked = asked + 1;

    scene.until_every_worker("chat", |read| answered(read, "a-small", None)).await;
    let waited = scene.first.received()[asked].arrived_at - limited_at;
    assert!(waited >= Duration::from_millis(9900), "asked again after {waited:?}");
    assert_eq!((scene.count("breaker_opened").await, scene.count("breaker_throttled").await), (0, 1));
}

#[tokio::test]
async fn a_lone_open_target_is_refused_in_the_clients_dialect_unless_it_is_tried_anyway() {
    let scene = BreakerScene::start(json!({"open": "60s"})).await;
    scene.open_lone().await;
    let asked = scene.asked();
    for (read, kind) in
        [(scene.ask("lone").await, "service_unavailable_error"), (scene.message("lone").await, "api_error")]
    {
        assert!(refused_with(&read, 503, "all_targets_open"), "{} {}", read.status, read.text());
        assert!((40..=66).contains(&retry_after(&read)), "{:?}", read.headers);
        assert_eq!(read.header("x-llm-retry"), None);
        let error = error(&read);
        assert_eq!(error["type"], kind);
        assert_eq!(error["llm_failsafe"]["targets"], json!([{"target": "a-small", "reason": "open"}]));
    }
    assert_eq!(scene.asked(), asked);

    let failed = scene.ask("anyway").await;
    assert_eq!((failed.status.as_u16(), failed.header("x-llm-fallback")), (500, Some("tried_anyway")));
    scene.first.by_default(Script::usual());
    assert!(answered(&scene.ask("anyway").await, "a-small", Some("tried_anyway")));
    assert_eq!((scene.asked(), scene.count("tried_anyway").await), (asked + 2, 2));
    let refused = scene.ask("lone").await;
    assert!(
        refused_with(&refused, 503, "all_targets_open"),
        "a success of `tried_anyway` does not close the breaker"
    );
}

/// Requests `lone` until the response is no refusal, as clients do after `retry-after`.
fn insist(port: u16) -> JoinHandle<Read> {
    tokio::spawn(async move {
        loop {
            let read = Request::chat("lone", false).ask(port).await;
            if read.header("x-llm-reason").is_none() {
                return read;
            }
        }
    })
}

#[tokio::test]
async fn a_probe_whose_client_leaves_is_replaced() {
    let scene =
        BreakerScene::start(json!({"open": "1s", "open_max": "1s", "close_after": 1, "probe_lease": "60s"}))
            .await;
    let port = scene.envoy.port();
    scene.open_lone().await;
    scene.first.by_default(Script::hang());
    let index = scene.asked();
    let probe = insist(port);
    scene.first.wait_for(index + 1, SOON).await;
    scene.until_every_worker("lone", |read| refused_with(read, 503, "all_targets_open")).await;
    assert_eq!(scene.asked(), index + 1, "one probe at a time");

    scene.first.by_default(Script::usual());
    probe.abort();
    let outcome = scene.first.wait_for_outcome(index, SOON).await;
    assert!(matches!(outcome, Outcome::ClosedByClient(_)), "{outcome:?}");
    // Long before the lease ends.
    let read = tokio::time::timeout(SOON, insist(port)).await.expect("another probe").unwrap();
    assert!(answered(&read, "a-small", None), "{}", read.text());
    scene.wait_for("breaker_closed", 1).await;
    scene.until_every_worker("lone", |read| answered(read, "a-small", None)).await;
}

#[tokio::test]
async fn a_probe_that_outlasts_its_lease_allows_another_probe() {
    let lease = Duration::from_secs(1);
    let scene =
        BreakerScene::start(json!({"open": "1s", "open_max": "1s", "close_after": 1, "probe_lease": "1s"}))
            .await;
    scene.open_lone().await;
    let asked = scene.asked();
    scene.first.by_default(Script::hang());
    let slow = insist(scene.envoy.port());
    scene.first.wait_for(asked + 1, SOON).await;
    scene.first.by_default(Script::usual());
    let read = insist(scene.envoy.port()).await.unwrap();
    assert!(answered(&read, "a-small", None), "{}", read.text());
    let all = scene.first.received();
    let [.., first, second] = &all[..] else { panic!("{all:?}") };
    assert!(second.arrived_at - first.arrived_at >= lease - Duration::from_millis(50));
    assert_eq!(first.outcome, Outcome::InProgress, "the slow probe is not cut off");
    slow.abort();
}

#[tokio::test]
async fn an_open_breaker_stays_open_after_a_new_configuration_and_a_new_vm() {
    // In the loop the next connection over the hop uses a new configuration. In one listener it applies at once.
    for shape in [Shape::Loop, Shape::Single] {
        keeps_its_state(shape).await;
    }
}

async fn keeps_its_state(shape: Shape) {
    let scene = BreakerScene::with(shape, json!({"open": "60s"}), |_| {}).await;
    scene.open_lone().await;
    let asked = scene.asked();
    let vms = "wasm.envoy.wasm.runtime.v8.created";
    let before = scene.envoy.stat(vms).await.unwrap();

    let model = |name: &str| json!({"models": {name: {"targets": ["spare"]}}});
    let reloaded = scene.gateway.clone().configure(&model("new"));
    let restarted = reloaded.clone().configure(&model("newer")).edit(|config| {
        // A different configuration of the VM itself makes Envoy start new VMs.
        let listeners = config["static_resources"]["listeners"].as_array_mut().unwrap();
        let inner = listeners.last_mut().unwrap();
        let manager = &mut inner["filter_chains"][0]["filters"][0]["typed_config"];
        manager["http_filters"][0]["typed_config"]["config"]["vm_config"]["configuration"] =
            json!({"@type": "type.googleapis.com/google.protobuf.StringValue", "value": "another VM"});
    });
    for (gateway, name) in [(reloaded, "new"), (restarted, "newer")] {
        gateway.update(&scene.envoy);
        let (deadline, mut in_a_row) = (Instant::now() + SOON, 0);
        while in_a_row < EVERY_WORKER {
            let served = scene.ask(name).await.status == 200;
            in_a_row = if served { in_a_row + 1 } else { 0 };
            // This holds from the first request that a worker serves with the new configuration.
            let refused = scene.ask("lone").await;
            assert!(refused_with(&refused, 503, "all_targets_open"), "{name}: {}", refused.text());
            assert!(Instant::now() < deadline, "{name} is not served");
        }
        let fallback = scene.ask("chat").await;
        assert!(answered(&fallback, "spare", Some("open")), "{:?}", fallback.headers);
    }
    assert!(scene.envoy.stat(vms).await.unwrap() >= before + 2, "each worker has a new VM");
    assert_eq!(scene.asked(), asked);
    scene.envoy.expect_count("breaker_opened", 1).await;
}

#[tokio::test]
async fn a_hundred_simultaneous_failures_open_the_breaker_once() {
    let scene = BreakerScene::start(json!({"open": "60s", "min_requests": 10000})).await;
    let gate = Duration::from_secs(2);
    scene.first.by_default(errors::openai_500().delay_headers(gate));
    let port = scene.envoy.port();
    let mut clients = JoinSet::new();
    for _ in 0..100 {
        clients.spawn(async move { Request::chat("lone", false).ask(port).await });
    }
    for read in clients.join_all().await {
        assert_eq!(read.status, 500, "{}", read.text());
    }
    assert_eq!(scene.asked(), 100, "all were in progress before the first one failed");
    scene.until_every_worker("lone", |read| refused_with(read, 503, "all_targets_open")).await;
    assert_eq!(scene.asked(), 100);
    for (metric, expected) in [("breaker_opened", 1), ("breaker_reopened", 0), ("shared_data_failed", 0)] {
        assert_eq!(scene.count(metric).await, expected, "{metric}");
    }
}

fn chunk(delta: Value, finish: Option<&str>) -> Event {
    let choice = json!({"index": 0, "delta": delta, "finish_reason": finish});
    Event::data(json!({"id": "c", "object": "chat.completion.chunk", "model": "m", "choices": [choice]}))
}

fn content() -> Event {
    chunk(json!({"content": "hello"}), None)
}

fn error_event() -> Event {
    Event::data(json!({"error": {"message": "overloaded", "type": "server_error", "code": null}}))
}

fn complete() -> Vec<Event> {
    vec![content(), chunk(json!({}), Some("stop")), Event::data("[DONE]")]
}

/// One target for each case, behind the models `case-0`, `case-1`, …
fn cases(count: usize) -> impl FnOnce(&mut Value) {
    move |configuration| {
        for case in 0..count {
            let name = format!("case-{case}");
            configuration["targets"][&name] = json!({"account": "a", "model": name});
            configuration["models"][&name] = json!({"targets": [name], "retry": {"attempts_per_target": 1}});
        }
    }
}

/// What a client does with a stream.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Client {
    Reads,
    /// Like SDKs that raise an exception at an error event, or stop reading at the terminal event.
    LeavesAfter(&'static str),
}

/// Sends one streamed request on a shared connection, so that all of them reach the same worker.
async fn stream(connection: &mut Connection, model: &str, client: Client) {
    stream_under(200, connection, model, client).await;
}

async fn stream_under(status: u16, connection: &mut Connection, model: &str, client: Client) {
    let mut response = connection.send(Request::chat(model, true)).await.unwrap();
    assert_eq!(response.status, status, "{:?}", response.headers);
    let mut text = String::new();
    while let Some(Ok(chunk)) = response.next_chunk().await {
        text.push_str(&String::from_utf8_lossy(&chunk.bytes));
        if let Client::LeavesAfter(word) = client
            && text.contains(word)
        {
            return;
        }
    }
    assert_eq!(client, Client::Reads, "{text}");
}

#[tokio::test]
async fn streams_that_break_after_a_200_open_the_breaker_even_if_the_client_leaves() {
    let hanging = |events: Vec<Event>| {
        let count = events.len();
        Script::stream(events).hang_after_chunks(count)
    };
    let cases_of = [
        // The body ends normally, the dialect's end is missing.
        (Script::stream([content()]), Client::Reads),
        (Script::usual().cut_after_chunks(3), Client::Reads),
        (Script::usual().ending(Ending::Reset(Point::AfterChunks(3))), Client::Reads),
        (Script::stream([content(), error_event()]), Client::Reads),
        (Script::stream([content(), error_event(), Event::data("[DONE]")]), Client::Reads),
        (hanging(vec![content(), error_event()]), Client::LeavesAfter("overloaded")),
        // A lone target's stream is not held, but the filter reads it.
        (Script::stream([error_event()]), Client::Reads),
        // An error body under a 200 gets the status of its error.
        (errors::openrouter_error_under_200(), Client::Reads),
    ];
    let status = |case: usize| if case == 7 { 502 } else { 200 };
    let breaker = json!({"open": "60s", "min_requests": 10000});
    let scene = BreakerScene::with(Shape::Loop, breaker, cases(cases_of.len())).await;
    let mut connection = Connection::open(scene.envoy.port(), Protocol::H2c).await.unwrap();
    for (case, (script, client)) in cases_of.into_iter().enumerate() {
        let model = format!("case-{case}");
        scene.first.by_default(script.clone());
        for failures in 1..=5 {
            stream_under(status(case), &mut connection, &model, client).await;
            let reported = scene.count("breaker_opened").await;
            assert!(reported == case as u64 || failures == 5, "{script:?} tripped after {failures}");
        }
        scene.wait_for("breaker_opened", case as u64 + 1).await;
        // The worker that saw the failures refuses at once.
        let asked = scene.asked();
        let refused = connection.ask(Request::chat(&model, true)).await;
        assert!(refused_with(&refused, 503, "all_targets_open"), "{script:?}: {}", refused.text());
        assert_eq!(scene.asked(), asked, "{script:?}");
    }
}

#[tokio::test]
async fn a_complete_stream_is_a_success_and_the_clients_errors_do_not_count() {
    let whole = complete();
    let hanging = Script::stream(whole.clone()).hang_after_chunks(whole.len());
    let successes = [
        (Script::stream(whole), Client::Reads),
        (Script::usual(), Client::Reads),
        (hanging, Client::LeavesAfter("[DONE]")),
    ];
    let breaker = json!({"open": "60s", "min_requests": 10000});
    let scene = BreakerScene::with(Shape::Loop, breaker, cases(successes.len() + 1)).await;
    let mut connection = Connection::open(scene.envoy.port(), Protocol::H2c).await.unwrap();
    // A success ends a run of failures, so eight failures do not open the breaker.
    for (case, (script, client)) in successes.iter().enumerate() {
        let model = format!("case-{case}");
        for round in 0..2 {
            for _ in 0..4 {
                scene.first.script(Script::stream([content()]));
                stream(&mut connection, &model, Client::Reads).await;
            }
            scene.first.script(script.clone());
            stream(&mut connection, &model, *client).await;
            assert_eq!(scene.count("breaker_opened").await, 0, "{script:?} in round {round}");
        }
    }

    let model = format!("case-{}", successes.len());
    for script in [errors::openai_400(), errors::openai_403(), errors::azure_content_filter()] {
        for _ in 0..6 {
            scene.first.script(script.clone());
            let read = scene.ask(&model).await;
            assert_eq!((read.status.as_u16(), read.header("x-llm-target")), (script.status, Some(&*model)));
        }
    }
    let refused =
        json!({"error": {"message": "declined", "type": "invalid_request_error", "code": "content_filter"}});
    for _ in 0..6 {
        scene.first.script(Script::stream([content(), Event::data(&refused)]));
        stream(&mut connection, &model, Client::Reads).await;
    }
    for _ in 0..6 {
        scene.first.script(Script::stream([content()]).hang_after_chunks(1));
        stream(&mut connection, &model, Client::LeavesAfter("hello")).await;
    }
    scene.wait_for("journeys", 0).await;
    scene.until_every_worker(&model, |read| answered(read, &model, None)).await;
    scene.envoy.expect_count("breaker_opened", 0).await;
}

#[tokio::test]
async fn in_shadow_mode_breakers_count_but_do_not_steer() {
    let scene = BreakerScene::with(Shape::Loop, json!({"open": "60s"}), |configuration| {
        configuration["mode"] = json!("shadow");
    })
    .await;
    scene.first.by_default(errors::openai_500());
    for _ in 0..5 {
        assert_eq!(scene.ask("lone").await.status, 500);
    }
    scene.wait_for("breaker_opened", 1).await;
    scene.first.by_default(Script::usual());
    for (model, metric) in [("lone", "shadow_would_refuse"), ("chat", "shadow_would_move")] {
        let (mut sent, deadline) = (0, Instant::now() + SOON);
        let asked = scene.asked();
        while scene.count(metric).await < EVERY_WORKER as u64 {
            assert!(answered(&scene.ask(model).await, "a-small", None), "traffic is unchanged");
            sent += 1;
            assert!(Instant::now() < deadline, "{metric} does not grow");
        }
        assert_eq!(scene.asked() - asked, sent);
    }
    assert_eq!((scene.count("refusals").await, scene.spare.received().len()), (0, 0));
}

#[tokio::test]
async fn without_the_loop_later_requests_go_to_the_other_account() {
    let breaker = json!({"open": "1s", "open_max": "1s", "close_after": 1, "slow_start": "0s"});
    let scene = BreakerScene::with(Shape::Single, breaker, |_| {}).await;
    scene.first.by_default(errors::openai_500());
    let (mut failed, deadline) = (0, Instant::now() + SOON);
    // Some clients see the failure, because there are no retries here. Once the breaker is open, none do.
    loop {
        let read = scene.ask("chat").await;
        if answered(&read, "spare", Some("open")) {
            break;
        }
        assert_eq!((read.status.as_u16(), read.header("x-llm-target")), (500, Some("a-small")));
        failed += 1;
        assert!(Instant::now() < deadline);
    }
    assert!(failed >= 5 && failed == scene.asked(), "{failed}");
    scene.until_every_worker("chat", |read| answered(read, "spare", Some("open"))).await;
    scene.envoy.expect_count("breaker_opened", 1).await;

    scene.first.by_default(Script::usual());
    scene.until_every_worker("chat", |read| answered(read, "a-small", None)).await;
    scene.envoy.expect_count("breaker_closed", 1).await;
}

#[tokio::test]
async fn two_thousand_requests_with_mixed_failures_lose_no_response_and_no_count() {
    const REQUESTS: usize = 2000;
    const CLIENTS: usize = 50;
    let breaker = json!({"open": "200ms", "open_max": "400ms", "slow_start": "300ms", "close_after": 1,
        "consecutive": 3, "min_requests": 10, "failure_ratio": 0.2});
    let scene = BreakerScene::with(Shape::Loop, breaker, |configuration| {
        configuration["models"]["mixed"] = json!({
            "tiers": [["a-small", "b-small"], ["spare"]], "retry": {"replay_uncertain": "always"},
        });
        configuration["retry_budget"] = json!({"ratio": 10});
    })
    .await;
    // `spare` works, so every failure before the first content can be retried there.
    let failures = [
        errors::openai_500(),
        errors::openai_503(),
        // Without rate-limit headers, which would keep the target out for a second.
        errors::openai_slow_down().header("retry-after-ms", "100"),
        errors::openai_error_event(),
        Script::cut(),
        Script::stream([]),
        Script::usual().cut_after_chunks(1),
    ];
    for number in 0..REQUESTS {
        // Sixty requests without failures and sixty with failures, by turns.
        let failing = number / 60 % 2 == 1 && number % 3 > 0;
        scene.first.script(if failing { failures[number % failures.len()].clone() } else { Script::usual() });
    }
    let port = scene.envoy.port();
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        clients.spawn(async move {
            for number in 0..REQUESTS / CLIENTS {
                let stream = (client + number) % 2 == 0;
                let request = Request::chat("mixed", stream);
                let request = if client % 3 == 0 { request.h2c() } else { request };
                let read = request.ask(port).await;
                let whole = read.error.is_none() && read.status == 200 && read.text().contains("stop");
                assert!(whole, "{} {:?} {:?} {}", read.status, read.error, read.headers, read.text());
            }
        });
    }
    while let Some(client) = clients.join_next().await {
        client.expect("every request got a complete response");
    }
    scene.wait_for("journeys", 0).await;
    let attempts = scene.count("attempts").await;
    assert_eq!(attempts as usize, scene.asked() + scene.spare.received().len());
    assert_eq!(scene.count("requests").await as usize, REQUESTS);
    for metric in ["shared_data_failed", "refusals", "journeys_orphaned", "client_aborts"] {
        assert_eq!(scene.count(metric).await, 0, "{metric}");
    }
    let told = [
        scene.count("breaker_opened").await,
        scene.count("breaker_closed").await,
        scene.count("attempts_failed").await,
        scene.count("breaker_throttled").await,
    ];
    assert!(told[0] > 0 && told[1] > 0, "{told:?}");
}
