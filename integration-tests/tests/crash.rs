//! A crash of the filter's VM. The filter has no way to crash that a test could ask for, so this one is given one: its
//! callback for the release of a stream's first content is overwritten with a trap. Streams crash the VM, plain answers do not.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use integration_tests::client::Request;
use integration_tests::gateway::{Gateway, Shape};
use integration_tests::paths;
use integration_tests::provider::{Script, ScriptedProvider, errors};
use serde_json::json;

const SOON: Duration = Duration::from_secs(10);
const EXPORTS: u8 = 7;
const IMPORTS: u8 = 2;
const CODE: u8 = 10;

/// A number in LEB128.
fn number(module: &[u8], at: &mut usize) -> usize {
    let (mut value, mut shift) = (0, 0);
    loop {
        let byte = module[*at];
        *at += 1;
        value |= usize::from(byte & 0x7f) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            return value;
        }
    }
}

fn name<'m>(module: &'m [u8], at: &mut usize) -> &'m [u8] {
    let length = number(module, at);
    *at += length;
    &module[*at - length..*at]
}

/// Where the contents of a section begin.
fn section(module: &[u8], wanted: u8) -> usize {
    let mut at = 8;
    loop {
        let kind = module[at];
        at += 1;
        let length = number(module, &mut at);
        if kind == wanted {
            return at;
        }
        at += length;
    }
}

/// Overwrites the body of an exported function with a trap.
fn trap(module: &mut [u8], export: &str) {
    let mut at = section(module, IMPORTS);
    let mut imported = 0;
    for _ in 0..number(module, &mut at) {
        name(module, &mut at);
        name(module, &mut at);
        assert_eq!(module[at], 0, "only functions are imported");
        at += 1;
        number(module, &mut at);
        imported += 1;
    }
    let mut at = section(module, EXPORTS);
    let mut function = None;
    for _ in 0..number(module, &mut at) {
        let is_wanted = name(module, &mut at) == export.as_bytes();
        at += 1;
        let index = number(module, &mut at);
        function = if is_wanted { Some(index) } else { function };
    }
    let mut at = section(module, CODE);
    number(module, &mut at);
    for _ in imported..function.unwrap_or_else(|| panic!("{export} is not exported")) {
        let length = number(module, &mut at);
        at += length;
    }
    let length = number(module, &mut at);
    let body = &mut module[at..at + length];
    let (no_locals, unreachable, nop, end) = (0x00, 0x00, 0x01, 0x0b);
    body.fill(nop);
    body[0] = no_locals;
    body[1] = unreachable;
    body[length - 1] = end;
}

fn crashing_module(dir: &Path) -> PathBuf {
    let mut module = std::fs::read(paths::wasm()).unwrap();
    trap(&mut module, "proxy_on_queue_ready");
    let path = dir.join("crashing.wasm");
    std::fs::write(&path, module).unwrap();
    path
}

#[tokio::test]
async fn after_a_crash_nobody_waits_in_vain_new_requests_are_served_and_what_is_open_stays_open() {
    let dir = tempfile::tempdir().unwrap();
    let module = crashing_module(dir.path());
    let (first, spare) = (ScriptedProvider::start("first").await, ScriptedProvider::start("spare").await);
    let models = json!({
        "chat": {"tiers": [["gpt-a"], ["haiku"]]},
        "broken": {"targets": ["gpt-b"]},
        "stream": {"targets": ["haiku"]},
    });
    let envoy = Gateway::new(Shape::Loop)
        .configure(&json!({"models": models, "breaker": {"consecutive": 1, "open": "60s"}}))
        .edit(|config| {
            let inner = &mut config["static_resources"]["listeners"][1]["filter_chains"][0]["filters"][0];
            let filter = &mut inner["typed_config"]["http_filters"][0]["typed_config"]["config"];
            filter["vm_config"]["code"]["local"]["filename"] = json!(module);
        })
        .provider("openai", first.port())
        .provider("anthropic", spare.port())
        .start()
        .await;
    let port = envoy.port();

    // A breaker has opened, and another request is under way.
    first.script(errors::openai_500());
    assert_eq!(Request::chat("broken", false).send(port).await.unwrap().status, 500);
    first.script(Script::usual().delay_headers(Duration::from_secs(1)));
    let under_way =
        tokio::spawn(async move { Request::chat("chat", false).send(port).await.unwrap().read().await });
    first.wait_for(2, SOON).await;

    // What comes of the stream that takes the VM with it is open; that it ends is not.
    Request::chat("stream", true).send(port).await.unwrap().read().await;
    envoy.wait_for_log("unreachable").await;
    // Whoever waited for an answer is told that there is none. Envoy says so itself, past all filters.
    assert_eq!(under_way.await.unwrap().status, 503);

    // Envoy makes a new VM for a new request, at most once a second.
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
    assert_eq!(envoy.stat("wasm.llm-failsafe.vm_reload_success").await, Some(1));
}
