//! A collector of logs that hangs. The shipped start script lets `llm-failsafe log-pipe` stand between it and Envoy.

use std::io::{BufRead as _, BufReader};

use integration_tests::client::Request;
use integration_tests::envoy::Envoy;
use integration_tests::provider::ScriptedProvider;
use serde_json::Value;

use crate::live_changes::folder;

/// The length of a line of the access log here. A record alone would take thousands of requests to fill the pipe.
const LINE: usize = 400_000;
/// Their lines are twice what `log-pipe` keeps by default (16 MiB).
const REQUESTS: u64 = 80;
/// Envoy's own buffers grow a little with its first requests.
const MORE_MEMORY: u64 = 8 << 20;

/// The bytes that Envoy has allocated.
async fn allocated(envoy: &Envoy) -> u64 {
    let memory: Value = serde_json::from_str(&envoy.admin("/memory").await).unwrap();
    memory["allocated"].as_str().unwrap().parse().unwrap()
}

async fn ask(envoy: &Envoy, count: u64) {
    for _ in 0..count {
        let read = Request::chat("chat", false).ask(envoy.port()).await;
        assert_eq!(read.status, 200, "{}", read.text());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_of_logs_that_hangs_loses_no_request_and_lines_that_are_dropped_are_counted() {
    let (openai, claude) = (ScriptedProvider::start("openai").await, ScriptedProvider::start("claude").await);
    let record = "%FILTER_STATE(wasm.llm_record:PLAIN)%";
    let longer = format!("{record}{}", " ".repeat(LINE));
    let config = folder(&openai, &claude).await.replace(record, &longer).with_kept_output();
    let config = config.env("DRAIN_GRACE_S", "0").env("DRAIN_LIMIT_S", "10");
    let mut envoy = Envoy::start(config).await;

    ask(&envoy, 10).await;
    let before = allocated(&envoy).await;
    ask(&envoy, REQUESTS).await;
    // `log-pipe` takes everything from Envoy, although nobody takes anything from `log-pipe`.
    envoy.wait_for_stat("filesystem.write_total_buffered", |bytes| bytes == 0).await;
    let after = allocated(&envoy).await;
    assert!(after < before + MORE_MEMORY, "{before} bytes, then {after}");

    // The collector works again.
    let output = BufReader::new(envoy.take_output());
    let read = tokio::task::spawn_blocking(move || {
        let (mut records, mut dropped) = (0, 0);
        // The script checks the configuration first, and says what it found.
        let lines = output.lines().map(Result::unwrap).skip_while(|line| !line.starts_with('{'));
        for line in lines {
            let line: Value = serde_json::from_str(&line).expect("a whole line");
            match line["event"].as_str() {
                Some("log_lines_dropped") => dropped += line["lines"].as_u64().unwrap(),
                _ => records += 1,
            }
        }
        (records, dropped)
    });
    ask(&envoy, 10).await;
    envoy.terminate();
    envoy.end().await;
    let (records, dropped) = read.await.unwrap();
    assert_eq!(records + dropped, 10 + REQUESTS + 10, "{records} records and {dropped} dropped");
    assert!(records > 30 && dropped > 30, "{records} records and {dropped} dropped");
}
