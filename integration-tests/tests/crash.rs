//! A crash of the filter's VM. The filter has no way to crash on request. These tests overwrite its callback that releases the
//! first content of a stream with a trap, so streams crash the VM and plain responses do not.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use integration_tests::SOON;
use integration_tests::client::Request;
use integration_tests::crash::{crash, crashing_module as crashing_at_trailers, use_module};
use integration_tests::envoy::Envoy;
use integration_tests::gateway::{Gateway, Shape, connection_manager, edge_host};
use integration_tests::module;
use integration_tests::paths;
use integration_tests::provider::{Script, ScriptedProvider, errors};
use integration_tests::records;
use integration_tests::scene::Scene;
use serde_json::{Value, json};
use tempfile::{NamedTempFile, TempDir};

fn crashing_module(dir: &Path) -> PathBuf {
    let mut bytes = std::fs::read(paths::wasm()).unwrap();
    module::trap(&mut bytes, "proxy_on_queue_ready");
    let path = dir.join("crashing.wasm");
    std::fs::write(&path, bytes).unwrap();
    path
}

/// The gateway with the crashing module instead of the filter, and the folder of the module.
pub(crate) async fn can_crash(gateway: Gateway) -> (Scene<2>, TempDir) {
    can_crash_as(gateway, 1).await
}

/// The same with the filter in another listener.
async fn can_crash_as(gateway: Gateway, listener: usize) -> (Scene<2>, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let module = crashing_module(dir.path());
    let gateway = gateway.edit(|config| use_module(config, listener, &module));
    (gateway.start_with([("first", "openai"), ("spare", "anthropic")]).await, dir)
}

/// A stream whose first content comes alone. It crashes the VM, and one that comes all at once does not.
pub(crate) fn in_pieces() -> Script {
    Script::usual().delay_chunks(Duration::from_millis(300))
}

#[tokio::test]
async fn after_a_crash_pending_requests_end_new_ones_are_served_and_breakers_stay_open() {
    let models = json!({
        "chat": {"tiers": [["gpt-a"], ["haiku"]]},
        "broken": {"targets": ["gpt-b"]},
        // Sent again, it crashes the next VM, too, whenever its first content comes alone once more.
        "stream": {"targets": ["haiku"], "retry": {"replay_uncertain": "never"}},
    });
    let gateway = Gateway::new(Shape::Loop)
        .configure(&json!({"models": models, "breaker": {"consecutive": 1, "open": "60s"}}));
    let (scene, _module) = can_crash(gateway).await;
    let Scene { envoy, providers: [first, spare], .. } = scene;
    let port = envoy.port();

    // One breaker is open, and another request is in progress.
    first.script(errors::openai_500());
    assert_eq!(Request::chat("broken", false).send(port).await.unwrap().status, 500);
    first.script(Script::usual().delay_headers(Duration::from_secs(1)));
    let under_way = tokio::spawn(async move { Request::chat("chat", false).ask(port).await });
    first.wait_for(2, SOON).await;

    // It does not matter how the stream that crashes the VM ends, but it must end.
    spare.script(in_pieces());
    Request::chat("stream", true).ask(port).await;
    envoy.wait_for_log("unreachable").await;
    // The pending request is sent once more.
    let answer = under_way.await.unwrap();
    assert_eq!((answer.status.as_u16(), answer.header("x-llm-attempts")), (200, Some("2")));

    // Envoy starts a new VM for a new request, at most once a second.
    let served = async || Request::chat("chat", false).send(port).await.unwrap().status == 200;
    let deadline = Instant::now() + SOON;
    while !served().await {
        assert!(Instant::now() < deadline, "no new VM");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    for _ in 0..3 {
        let answer = Request::chat("chat", false).send(port).await.unwrap();
        assert_eq!((answer.status.as_u16(), answer.header("x-llm-target")), (200, Some("gpt-a")));
        let refused = Request::chat("broken", false).send(port).await.unwrap();
        assert_eq!(
            (refused.status.as_u16(), refused.header("x-llm-reason")),
            (503, Some("all_targets_open"))
        );
    }
    // One crash, one new VM, in every version of Envoy.
    let crashes = envoy.log().matches("proxy_on_queue_ready failed").count();
    assert_eq!((crashes, envoy.stat("wasm.llm-failsafe.vm_reload_success").await), (1, Some(1)));
}

/// The access log that docs/operations.md shows for the edge.
fn documented_access_log() -> Value {
    let page = std::fs::read_to_string(paths::root().join("docs/operations.md")).unwrap();
    let block = page.split("```yaml\n").find(|block| block.starts_with("  access_log:\n")).unwrap();
    let value: Value = serde_yaml_ng::from_str(block.split("```").next().unwrap()).unwrap();
    value["access_log"].clone()
}

/// The matching lines of Envoy's output, once there are this many.
async fn lines(envoy: &Envoy, count: usize, wanted: impl Fn(&str) -> bool) -> Vec<String> {
    let deadline = Instant::now() + SOON;
    loop {
        let lines: Vec<_> = envoy.log().lines().filter(|line| wanted(line)).map(str::to_owned).collect();
        if lines.len() >= count {
            return lines;
        }
        assert!(Instant::now() < deadline, "{lines:#?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn requests_lost_in_a_crash_have_no_record_but_access_logs_report_them() {
    let once = json!({"replay_uncertain": "never"});
    let models = json!({
        "chat": {"tiers": [["gpt-a"]], "retry": once}, "stream": {"targets": ["haiku"], "retry": once},
    });
    let gateway = Gateway::new(Shape::Loop)
        .configure(&json!({"models": models}))
        .edit(|config| connection_manager(config, 0)["access_log"] = documented_access_log());
    let (scene, _module) = can_crash(gateway).await;
    let Scene { envoy, providers: [first, spare], .. } = scene;
    let port = envoy.port();

    // One request waits for its response while the first content of another crashes the VM.
    first.script(Script::usual().delay_headers(Duration::from_secs(2)));
    let waits = tokio::spawn(async move { Request::chat("chat", false).ask(port).await });
    first.wait_for(1, SOON).await;
    spare.script(in_pieces());
    let streams = Request::chat("stream", true).ask(port).await;
    for answer in [streams, waits.await.unwrap()] {
        assert_eq!((answer.status.as_u16(), answer.header("x-llm-reason")), (503, Some("attempt_lost")));
        assert_eq!((answer.header("x-llm-target"), answer.header("x-llm-attempts")), (None, Some("1")));
    }
    let served = Request::chat("chat", false).ask(port).await;
    assert_eq!(served.status, 200);

    // The log of the inner listener has the upstream of each lost request and its duration.
    let lost = lines(&envoy, 2, |line| line.contains("filter_crashed")).await;
    let lost: Vec<Value> = lost.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    for (provider, cluster) in [(&first, "openai"), (&spare, "anthropic")] {
        let line = lost.iter().find(|line| line["cluster"] == cluster).unwrap();
        assert_eq!((&line["path"], &line["status"]), (&json!("/v1/chat/completions"), &json!(503)));
        assert_eq!(line["host"], format!("127.0.0.1:{}", provider.port()));
        assert!(
            line["request_bytes"].as_u64().unwrap() > 50,
            "the request was sent and may be billed: {line}"
        );
    }
    assert!(lost.iter().any(|line| line["duration_ms"].as_u64().unwrap() >= 1_500), "{lost:#?}");
    // The log of the edge has their ids and no target.
    let naked = lines(&envoy, 2, |line| line.contains(" 503 ")).await;
    assert_eq!(naked.len(), 2, "{naked:#?}");
    for line in &naked {
        let (_, id) = line.split_once(" id=").unwrap();
        assert_eq!(id.split(' ').next().unwrap().len(), 36, "{line}");
        assert!(line.contains("target=- attempts=1 fallback=- from=- reason=attempt_lost"), "{line}");
    }
    // The refusals have records, too. They count the lost attempts and know nothing of them.
    let records = records::wait_for(&envoy, 3).await;
    let lost = records.iter().filter(|record| record["forgotten_attempts"] == 1);
    assert_eq!(lost.map(|record| &record["attempts_maybe_billed"]).collect::<Vec<_>>(), [&json!(1); 2]);
    let served = records.iter().find(|record| record["outcome"] == "served").unwrap();
    assert_eq!(served["target"], "gpt-a");
    let prometheus = envoy.prometheus().await;
    assert!(prometheus.contains("envoy_wasm_llm_failsafe_vm_reload_success{} 1"), "the alert's counter");
}

/// Envoy's own back-off is a millisecond, too short to place a crash into it. Here the edge waits as long as a response
/// header says.
#[tokio::test]
async fn the_record_of_the_second_attempt_reports_a_crash_before_it() {
    let models = json!({"chat": {"tiers": [["gpt-a"], ["gpt-b"]]}, "stream": {"targets": ["haiku"]}});
    let gateway = Gateway::new(Shape::Loop)
        .configure(&json!({
            "models": models,
            "targets": {"gpt-a": {"price": {"input": 1.0, "output": 1.0}}},
        }))
        .edit(|config| {
            edge_host(config)["retry_policy"]["rate_limited_retry_back_off"] = json!({
                "reset_headers": [{"name": "x-test-request-id", "format": "SECONDS"}], "max_interval": "10s",
            });
        });
    let (scene, _module) = can_crash(gateway).await;
    let Scene { envoy, providers: [first, spare], .. } = scene;
    let port = envoy.port();
    first.script(errors::openai_500().header("x-test-request-id", "3"));
    let asked = tokio::spawn(async move { Request::chat("chat", false).ask(port).await });
    first.wait_for_outcome(0, SOON).await;
    spare.script(in_pieces());
    Request::chat("stream", true).ask(port).await;
    envoy.wait_for_log("unreachable").await;
    let answer = asked.await.unwrap();
    assert_eq!((answer.status.as_u16(), answer.header("x-llm-attempts")), (200, Some("2")));
    assert_eq!(answer.header("x-llm-fallback"), Some("unknown"));

    let of_chat = |record: &Value| record["gen_ai.request.model"] == "chat";
    let deadline = Instant::now() + SOON;
    let record = loop {
        if let Some(record) = records::so_far(&envoy).into_iter().find(of_chat) {
            break record;
        }
        assert!(Instant::now() < deadline, "{}", envoy.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    // The provider saw two requests. The record has all of the second and counts the first.
    let known = first.received();
    assert_eq!(known.len(), 2);
    assert_eq!(record["forgotten_attempts"], 1, "{record:#}");
    let [attempt] = &record["attempts"].as_array().unwrap()[..] else { panic!("{record:#}") };
    assert_eq!((&attempt["number"], &attempt["why"]), (&json!(2), &json!("unknown")));
    assert_eq!(attempt["gen_ai.request.model"], known[1].json()["model"]);
    assert_eq!(attempt["provider_request_id"], "req_first-1");
    assert_eq!((&record["outcome"], &record["outcome_reason"]), (&json!("fell_back"), &json!("unknown")));
    // The first attempt may have been billed.
    assert_eq!(record["attempts_maybe_billed"], 2, "{record:#}");
    assert_eq!(record["cost"]["complete"], false, "{record:#}");
}

/// Without the loop nothing is sent again.
#[tokio::test]
async fn in_an_ordinary_listener_a_lost_request_gets_a_body() {
    let models = json!({"chat": {"tiers": [["gpt-a"]]}, "stream": {"targets": ["haiku"]}});
    let (scene, _module) =
        can_crash_as(Gateway::new(Shape::Single).configure(&json!({"models": models})), 0).await;
    let Scene { envoy, providers: [first, spare], .. } = scene;
    let port = envoy.port();
    first.script(Script::usual().delay_headers(Duration::from_secs(1)));
    let lost = tokio::spawn(async move { Request::chat("chat", false).ask(port).await });
    first.wait_for(1, SOON).await;
    spare.script(in_pieces());
    let crashes = Request::chat("stream", true).send(port).await;
    envoy.wait_for_log("unreachable").await;
    drop(crashes);
    let lost = lost.await.unwrap();
    assert_eq!(lost.status, 503);
    assert_eq!(
        (&lost.json()["type"], &lost.json()["error"]["code"]),
        (&json!("error"), &json!("filter_crashed"))
    );
    for gauge in ["attempts_in_flight", "journeys"] {
        envoy.wait_for_count(gauge, 0).await;
    }
}

/// A request that crashes the VM before it is sent is repeated twice, and no more.
#[tokio::test]
async fn a_request_that_crashes_every_vm_ends_with_a_body() {
    let dir = tempfile::tempdir().unwrap();
    let mut bytes = std::fs::read(paths::wasm()).unwrap();
    module::trap(&mut bytes, "proxy_on_request_body");
    let module = dir.path().join("crashing.wasm");
    std::fs::write(&module, bytes).unwrap();
    let gateway = Gateway::new(Shape::Loop).edit(|config| use_module(config, 1, &module));
    let scene = gateway.start_with([("first", "openai"), ("spare", "anthropic")]).await;
    let answer = Request::chat("chat", false).ask(scene.port()).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["error"]["code"]), (503, &json!("filter_crashed")));
    assert_eq!((answer.header("x-llm-retry"), answer.header("x-llm-retry-wait")), (None, None));
    let repeated = scene.envoy.stat("cluster.loop.upstream_rq_retry").await;
    assert_eq!(repeated, Some(2));
    assert_eq!(scene.providers[0].received().len(), 0);
}

/// A gateway whose VM [`crash`] crashes. After a crash nothing tells Envoy of a request for which nothing comes, until its idle
/// limit is over. It is longer than the time for which a crashed VM keeps its places.
async fn with_idle_limit(gateway: Gateway, listener: usize) -> (Envoy, ScriptedProvider, NamedTempFile) {
    let module = crashing_at_trailers();
    let gateway = gateway.edit(|config| {
        connection_manager(config, listener)["stream_idle_timeout"] = json!("4s");
        use_module(config, listener, module.path());
    });
    let Scene { envoy, providers: [first], .. } = gateway.start_with([("first", "openai")]).await;
    (envoy, first, module)
}

#[tokio::test]
async fn a_request_that_hears_nothing_after_a_crash_is_sent_again_at_the_idle_limit() {
    let models = json!({
        "chat": {"tiers": [["gpt-a"]]},
        "once": {"tiers": [["gpt-a"]], "retry": {"replay_uncertain": "never"}},
        "busy": {"targets": ["gpt-b"], "retry": {"queue": {"max_wait": "30s"}}},
    });
    let configuration = json!({"models": models, "targets": {"gpt-b": {"limits": {"max_pending": 1}}}});
    let gateway = Gateway::new(Shape::Loop).configure(&configuration);
    let (envoy, first, _module) = with_idle_limit(gateway, 1).await;
    let port = envoy.port();
    let ask = |model| tokio::spawn(async move { Request::chat(model, false).ask(port).await });

    // Three requests are at a silent provider, and one waits in the queue behind one of them.
    for _ in 0..3 {
        first.script(Script::hang());
    }
    let asked = ["chat", "once", "busy"].map(ask);
    first.wait_for(3, SOON).await;
    let queued = ask("busy");
    envoy.wait_for_count("waiting", 1).await;
    let began = Instant::now();
    assert!(crash(&envoy, SOON).await);

    let [chat, once, busy] = asked;
    for (case, again) in [("chat", chat), ("busy", busy), ("queued", queued)] {
        let read = again.await.unwrap();
        assert_eq!(read.status, 200, "{case}: {}", read.text());
        assert_eq!(read.header("x-llm-attempts"), Some("2"), "{case}");
    }
    let lost = once.await.unwrap();
    assert_eq!((lost.status.as_u16(), lost.header("x-llm-reason")), (503, Some("attempt_lost")));
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    // Beside the request that crashed the VM.
    assert_eq!(lines(&envoy, 5, |line| line.contains("filter_crashed")).await.len(), 5);
    for gauge in ["attempts_in_flight", "journeys", "waiting"] {
        envoy.wait_for_count(gauge, 0).await;
    }
}

#[tokio::test]
async fn in_an_ordinary_listener_a_request_that_hears_nothing_gets_a_body_at_the_idle_limit() {
    let gateway = Gateway::new(Shape::Single).configure(&json!({"models": {"chat": {"tiers": [["gpt-a"]]}}}));
    let (envoy, first, _module) = with_idle_limit(gateway, 0).await;
    let port = envoy.port();
    first.script(Script::hang());
    let lost = tokio::spawn(async move { Request::chat("chat", false).ask(port).await });
    first.wait_for(1, SOON).await;
    assert!(crash(&envoy, SOON).await);
    let lost = lost.await.unwrap();
    // Which of them depends on whether Envoy asks the crashed filter once more.
    let code = &lost.json()["error"]["code"];
    assert!(
        [(503, json!("filter_crashed")), (504, json!("idle_timeout"))]
            .contains(&(lost.status.as_u16(), code.clone()))
    );
    assert_eq!(lost.json()["type"], "error");
}
