//! How a target that was down is used again: soon, and without a stampede.

use std::time::{Duration, Instant};

use integration_tests::client::{Read, Request};
use integration_tests::gateway::{Gateway, Shape, compatible};
use integration_tests::provider::{ReceivedRequest, Script, ScriptedProvider, errors};
use integration_tests::scene::Scene;
use integration_tests::turns::alone;
use integration_tests::{SOON, envoy::Envoy};
use serde_json::{Value, json};
use tokio::task::JoinSet;

/// Between two requests of a client.
const PAUSE: Duration = Duration::from_millis(20);

/// `first` and `spare`, with this `breaker` section and these settings of the model `chat`.
async fn two_targets(workers: u32, breaker: Value, model: Value) -> Scene<2> {
    let mut configuration = json!({
        "providers": {"first": compatible("first"), "spare": compatible("spare")},
        "targets": {
            "first": {"provider": "first", "key": {"value": "sk-a"}, "model": "small"},
            "spare": {"provider": "spare", "key": {"value": "sk-b"}, "model": "small"},
        },
        "models": {"chat": model},
        "breaker": breaker,
    });
    configuration["models"]["chat"]["tiers"] = json!([["first"], ["spare"]]);
    Gateway::new(Shape::Loop).plugin(&configuration).concurrency(workers).start_with(["first", "spare"]).await
}

/// Asks until `first` serves, and returns how long that took. Every request is served.
async fn until_first_serves(envoy: &Envoy) -> Duration {
    let began = Instant::now();
    loop {
        let read = Request::chat("chat", false).ask(envoy.port()).await;
        assert_eq!(read.status, 200, "{}", read.text());
        if read.header("x-llm-target") == Some("first") {
            return began.elapsed();
        }
        assert!(began.elapsed() < SOON, "`first` is not used again");
        tokio::time::sleep(PAUSE).await;
    }
}

/// Asks until `first` has been probed in vain so many times.
async fn until_reopened(envoy: &Envoy, times: u64) {
    let began = Instant::now();
    while envoy.count("breaker_reopened").await < times {
        let read = Request::chat("chat", false).ask(envoy.port()).await;
        assert_eq!(read.status, 200, "{}", read.text());
        assert!(began.elapsed() < SOON, "probes are too rare");
        tokio::time::sleep(PAUSE).await;
    }
}

#[tokio::test]
async fn a_long_outage_whose_probes_fail_fast_does_not_delay_the_return() {
    let _alone = alone().await;
    let breaker = json!({"consecutive": 2, "open": "300ms", "open_max": "10m", "slow_start": "0s"});
    let Scene { envoy, providers: [mut first, _spare], .. } = two_targets(2, breaker, json!({})).await;
    // If the open time doubled, the tenth probe would come after five minutes.
    first.by_default(errors::openai_500());
    until_reopened(&envoy, 5).await;
    first.by_default(Script::usual());
    let back = until_first_serves(&envoy).await;
    assert!(back < Duration::from_secs(1), "after errors: {back:?}");

    first.stop().await;
    until_reopened(&envoy, 10).await;
    first.restart().await;
    let back = until_first_serves(&envoy).await;
    assert!(back < Duration::from_secs(1), "after refused connections: {back:?}");
}

#[tokio::test]
async fn a_probe_that_hangs_keeps_others_from_waiting_as_long() {
    let _alone = alone().await;
    let breaker =
        json!({"consecutive": 1, "open": "100ms", "open_max": "10m", "slow_start": "0s", "close_after": 1});
    let model = json!({"stream": {"answer": "500ms"}, "retry": {"attempts_per_target": 1}});
    let Scene { envoy, providers: [first, _spare], .. } = two_targets(2, breaker, model).await;
    first.by_default(Script::hang());
    until_reopened(&envoy, 1).await;
    let asked = first.received().len();
    first.by_default(Script::usual());
    let back = until_first_serves(&envoy).await;
    let probe = first.received()[asked].arrived_at - first.received()[asked - 1].arrived_at;
    assert!(probe >= Duration::from_millis(2_400), "0.5 s for the probe and four times as long: {probe:?}");
    assert!(back < Duration::from_secs(4), "{back:?}");
}

#[tokio::test]
async fn trips_are_forgotten_by_time_alone() {
    let _alone = alone().await;
    let breaker = json!({"window": "1s", "consecutive": 1, "open": "400ms", "open_max": "10m", "close_after": 1,
        "slow_start": "0s"});
    let model = json!({"retry": {"attempts_per_target": 1}});
    let Scene { envoy, providers: [first, _spare], .. } = two_targets(1, breaker, model).await;
    let trip = async || {
        first.script(errors::openai_500());
        let read = Request::chat("chat", false).ask(envoy.port()).await;
        assert_eq!((read.status.as_u16(), read.header("x-llm-target")), (200, Some("spare")));
        until_first_serves(&envoy).await
    };
    let [one, two, three] = [trip().await, trip().await, trip().await];
    assert!(one < Duration::from_millis(790) && two > Duration::from_millis(790), "{one:?} {two:?}");
    assert!(three > Duration::from_millis(1_590), "{three:?}");
    // Closed for longer than the last open time, without a request.
    tokio::time::sleep(Duration::from_millis(1_800)).await;
    let again = trip().await;
    assert!(again < Duration::from_millis(790), "{again:?}");
}

const SLOW_START: Duration = Duration::from_secs(4);

/// A model with a single target that has just been down. It recovers as soon as it is probed.
async fn alone_and_down(breaker: Value, model: Value) -> Scene<1> {
    let mut section = json!({"consecutive": 3, "open": "1s", "close_after": 1, "slow_start": "4s"});
    section.as_object_mut().unwrap().extend(breaker.as_object().unwrap().clone());
    let mut configuration = json!({
        "providers": {"only": compatible("only")},
        "targets": {"only": {"provider": "only", "key": {"value": "sk-a"}, "model": "small"}},
        "models": {"chat": model},
        "breaker": section,
    });
    configuration["models"]["chat"]["targets"] = json!(["only"]);
    let scene = Gateway::new(Shape::Loop).plugin(&configuration).concurrency(2).start_with(["only"]).await;
    for _ in 0..3 {
        scene.providers[0].script(errors::openai_500());
        let read = Request::chat("chat", false).ask(scene.port()).await;
        assert_eq!(read.status, 500, "{}", read.text());
    }
    scene.envoy.expect_count("breaker_opened", 1).await;
    scene.providers[0].forget_received();
    scene
}

/// How many requests came in each part of the slow start, from the probe on.
fn by_part(received: &[ReceivedRequest], parts: u32) -> Vec<usize> {
    let from = received[0].arrived_at;
    let length = SLOW_START / parts;
    let within = |part: u32| {
        let times = received.iter().map(|request| request.arrived_at - from);
        times.filter(|at| (length * part..length * (part + 1)).contains(at)).count()
    };
    (0..parts).map(within).collect()
}

/// Requests at a provider that has just recovered grow from a few to all.
fn assert_ramps(only: &ScriptedProvider) {
    let received = only.received();
    let slots = by_part(&received, 16);
    // The probe, and at most three slots of one or two requests.
    assert!(slots[..2].iter().sum::<usize>() <= 1 + 4, "a stampede: {slots:?}");
    // Each half second allows at most three slots of its own step or the next one.
    for (step, pair) in slots.chunks(2).take(7).enumerate() {
        assert!(pair.iter().sum::<usize>() <= 3 * (1 << (step + 1)), "step {step}: {slots:?}");
    }
    let parts = by_part(&received, 4);
    assert!(parts[0] < parts[1] && parts[1] < parts[2], "{parts:?}");
}

#[tokio::test]
async fn requests_that_waited_for_a_lone_target_return_to_it_gradually() {
    const WAITING: usize = 200;
    let _alone = alone().await;
    let model = json!({"when_all_open": "queue", "retry": {"attempts": 1, "attempts_per_target": 1,
        "queue": {"max_wait": "20s", "max_waiting": 1000}}});
    let scene = alone_and_down(json!({}), model).await;
    let mut clients = JoinSet::new();
    for _ in 0..WAITING {
        let port = scene.port();
        clients.spawn(async move { Request::chat("chat", false).ask(port).await });
    }
    while let Some(read) = clients.join_next().await {
        let read = read.unwrap();
        assert_eq!(read.status, 200, "{}", read.text());
    }
    let [only] = &scene.providers;
    assert_eq!(only.received().len(), WAITING);
    assert_ramps(only);
    let all = only.received()[WAITING - 1].arrived_at - only.received()[0].arrived_at;
    assert!(all < SLOW_START + Duration::from_secs(1), "they wait no longer than that: {all:?}");
    scene.envoy.expect_count("breaker_closed", 1).await;
    scene.envoy.wait_for_count("waiting", 0).await;
}

/// Clients that ask again and again until a slow start is over. Returns what they got.
async fn crowd(port: u16, clients: usize) -> Vec<(Instant, Read)> {
    let until = Instant::now() + SLOW_START + Duration::from_secs(2);
    let mut crowd = JoinSet::new();
    for _ in 0..clients {
        crowd.spawn(async move {
            let mut got = Vec::new();
            while Instant::now() < until {
                let read = Request::chat("chat", false).ask(port).await;
                got.push((Instant::now(), read));
                tokio::time::sleep(PAUSE).await;
            }
            got
        });
    }
    crowd.join_all().await.into_iter().flatten().collect()
}

#[tokio::test]
async fn a_lone_target_that_recovers_refuses_what_it_is_not_ready_for_if_told_so() {
    let _alone = alone().await;
    let retry = json!({"attempts": 1, "attempts_per_target": 1});
    let scene = alone_and_down(json!({"slow_start_alone": "refuse"}), json!({"retry": retry})).await;
    let got = crowd(scene.port(), 8).await;
    let [only] = &scene.providers;
    assert_ramps(only);
    let (mut refused, mut last_refused) = (0, only.received()[0].arrived_at);
    for (at, read) in &got {
        if read.status == 200 {
            continue;
        }
        let reason = read.json()["error"]["llm_failsafe"]["targets"][0]["reason"].clone();
        assert_eq!((read.status.as_u16(), read.header("x-llm-reason")), (503, Some("all_targets_open")));
        let waits: u64 = read.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=2).contains(&waits), "{:?}", read.headers);
        if reason == "slow_start" {
            (refused, last_refused) = (refused + 1, last_refused.max(*at));
        }
    }
    assert!(refused > 20, "{refused}");
    assert!(last_refused < only.received()[0].arrived_at + SLOW_START + Duration::from_millis(500));
}

#[tokio::test]
async fn without_a_queue_a_lone_target_gets_everything_when_it_is_back() {
    let retry = json!({"attempts": 1, "attempts_per_target": 1});
    let scene = alone_and_down(json!({}), json!({"retry": retry})).await;
    scene.envoy.until_every_worker(|| Request::chat("chat", false), |read| read.status == 200).await;
    for _ in 0..20 {
        let read = scene.envoy.ask(Request::chat("chat", false)).await;
        assert_eq!(read.status, 200, "{}", read.text());
    }
}

/// A cluster with three hosts that take turns, and a spare provider.
async fn three_hosts(outlier_detection: Value) -> (Scene<1>, Vec<ScriptedProvider>) {
    let mut hosts = Vec::new();
    for name in ["one", "two", "three"] {
        hosts.push(ScriptedProvider::start(name).await);
    }
    let endpoint = |host: &ScriptedProvider| json!({"endpoint": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": host.port()}}}});
    let endpoints: Vec<_> = hosts.iter().map(endpoint).collect();
    let mut more = json!({"load_assignment": {"endpoints": [{"lb_endpoints": endpoints}]}});
    if !outlier_detection.is_null() {
        more["outlier_detection"] = outlier_detection;
    }
    let configuration = json!({
        "providers": {"pool": compatible("pool"), "spare": compatible("spare")},
        "targets": {
            "pool": {"provider": "pool", "key": {"value": "sk-a"}, "model": "small"},
            "spare": {"provider": "spare", "key": {"value": "sk-b"}, "model": "small"},
        },
        "models": {"chat": {
            "tiers": [["pool"], ["spare"]],
            "retry": {"attempts_per_target": 1},
            "stream": {"first_content": "300ms", "answer": "300ms"},
        }},
        // Two failures in a row are bound to happen, and a third of the requests fail.
        "breaker": {"consecutive": 2, "failure_ratio": 0.2, "min_requests": 10},
        "retry_budget": {"ratio": 10},
    });
    let gateway = Gateway::new(Shape::Loop).plugin(&configuration).concurrency(2).cluster(
        "pool",
        hosts[0].port(),
        &more,
    );
    (gateway.start_with(["spare"]).await, hosts)
}

/// Sends requests, of which each is served, and returns how many the pool has answered.
async fn served_by_pool(port: u16, requests: usize) -> usize {
    let mut by_pool = 0;
    for _ in 0..requests {
        let read = Request::chat("chat", false).ask(port).await;
        assert_eq!(read.status, 200, "{}", read.text());
        by_pool += usize::from(read.header("x-llm-target") == Some("pool"));
    }
    by_pool
}

#[tokio::test]
async fn one_dead_host_of_a_cluster_opens_no_breaker_while_the_others_serve() {
    for refuses in [false, true] {
        let (scene, mut hosts) = three_hosts(Value::Null).await;
        // One success a second is looked at, so that both workers see several hosts.
        for _ in 0..3 {
            assert_eq!(served_by_pool(scene.port(), 20).await, 20);
            tokio::time::sleep(Duration::from_millis(1_050)).await;
        }
        if refuses {
            hosts[1].stop().await;
        } else {
            hosts[1].by_default(errors::openai_500());
        }
        let by_pool = served_by_pool(scene.port(), 120).await;
        assert!((60..=100).contains(&by_pool), "two hosts of three go on: {by_pool}");
        scene.envoy.expect_count("breaker_opened", 0).await;
        assert!(scene.envoy.count("breaker_held").await > 0, "the rules were met");

        // When all are dead, it opens.
        for host in &hosts {
            host.by_default(errors::openai_500());
        }
        let began = Instant::now();
        while scene.envoy.count("breaker_opened").await == 0 {
            assert!(began.elapsed() < SOON, "it does not open");
            served_by_pool(scene.port(), 1).await;
        }
    }
}

/// The filter itself ends these attempts, or sees a stream break under a success status.
#[tokio::test]
async fn one_host_that_hangs_or_breaks_streams_opens_no_breaker_while_the_others_serve() {
    for streams in [false, true] {
        let (scene, hosts) = three_hosts(Value::Null).await;
        for _ in 0..3 {
            assert_eq!(served_by_pool(scene.port(), 20).await, 20);
            tokio::time::sleep(Duration::from_millis(1_050)).await;
        }
        hosts[1].by_default(if streams { Script::usual().cut_after_chunks(3) } else { Script::hang() });
        let mut broken = 0;
        for _ in 0..45 {
            let read = Request::chat("chat", streams).ask(scene.port()).await;
            assert_eq!(read.status, 200, "{}", read.text());
            broken += usize::from(read.error.is_some());
        }
        assert_eq!(broken > 0, streams, "{broken}");
        assert!(hosts[1].received().len() > 20 + 8, "it was asked");
        scene.envoy.expect_count("breaker_opened", 0).await;
        assert!(scene.envoy.count("breaker_held").await > 0, "the rules were met");
    }
}

#[tokio::test]
async fn outlier_detection_ejects_a_dead_host_without_a_breaker() {
    let path = integration_tests::paths::root().join("envoy/self-hosted.yaml");
    let text = std::fs::read_to_string(path).expect("the shipped example");
    let file: Value = serde_yaml_ng::from_str(&text).expect("YAML");
    let (scene, hosts) = three_hosts(file["cluster"]["outlier_detection"].clone()).await;
    served_by_pool(scene.port(), 20).await;
    hosts[1].by_default(errors::openai_500());
    let began = Instant::now();
    while scene.envoy.stat("cluster.pool.outlier_detection.ejections_active").await != Some(1) {
        assert!(began.elapsed() < SOON, "the host is not ejected");
        served_by_pool(scene.port(), 1).await;
    }
    let asked = hosts[1].received().len();
    assert_eq!(served_by_pool(scene.port(), 30).await, 30);
    assert_eq!(hosts[1].received().len(), asked, "it gets no more requests");
    scene.envoy.expect_count("breaker_opened", 0).await;
}
