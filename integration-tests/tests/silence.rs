//! A target that falls silent, and clients that leave it: together they have it probed, one of them alone does not.

use std::net::Ipv4Addr;
use std::time::Duration;

use integration_tests::client::{Read, Request};
use integration_tests::gateway::{Gateway, Shape, compatible};
use integration_tests::provider::{Script, ScriptedProvider};
use integration_tests::scene::Scene;
use integration_tests::{SOON, sha256};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

/// Longer than the second after which a client that leaves has waited.
const WAIT: Duration = Duration::from_millis(1_100);

/// What tells the gateway's clients apart.
#[derive(Clone, Copy)]
enum By {
    Key,
    Address,
}

/// A request of one of two clients, which claims to come from somewhere else each time.
fn request(by: By, client: u8, nth: usize) -> Request {
    let claimed = format!("192.0.2.{nth}");
    let request = Request::chat("chat", true).header("x-forwarded-for", &claimed);
    match by {
        By::Key => request.header("authorization", &format!("Bearer key-{client}")),
        By::Address => {
            let request = request.header("x-envoy-external-address", &claimed);
            request.from(Ipv4Addr::new(127, 0, 0, client))
        }
    }
}

fn is_by(read: &Read, target: &str) -> bool {
    read.status == 200 && read.header("x-llm-target") == Some(target)
}

/// Starts requests of one client at a target that does not answer.
async fn begin(
    port: u16,
    by: By,
    client: u8,
    count: usize,
    first: &ScriptedProvider,
) -> Vec<JoinHandle<Read>> {
    let asked = first.received().len();
    let send = |nth| tokio::spawn(async move { request(by, client, nth).ask(port).await });
    let waiting = (0..count).map(send).collect();
    first.wait_for(asked + count, SOON).await;
    waiting
}

/// Their client waits, and leaves.
async fn leave(waiting: Vec<JoinHandle<Read>>, first: &ScriptedProvider) {
    tokio::time::sleep(WAIT).await;
    waiting.iter().for_each(JoinHandle::abort);
    for index in 0..first.received().len() {
        first.wait_for_outcome(index, SOON).await;
    }
}

async fn is_probed_once_clients_left(shape: Shape, by: By) {
    let mut plugin: Value = json!({
        "providers": {"first": compatible("first"), "spare": compatible("spare")},
        "targets": {
            "first": {"provider": "first", "model": "first-model"},
            "spare": {"provider": "spare", "model": "spare-model"},
        },
        "models": {"chat": {"tiers": [["first"], ["spare"]]}},
    });
    if matches!(by, By::Key) {
        let key = |name: &str| json!({"sha256": sha256(name)});
        plugin["keys"] = json!({"one": key("key-1"), "two": key("key-2")});
    }
    let Scene { envoy, providers: [first, spare], .. } =
        Gateway::new(shape).plugin(&plugin).start_with(["first", "spare"]).await;
    let port = envoy.port();
    first.by_default(Script::hang());

    let lonely = begin(port, by, 1, 6, &first).await;
    leave(lonely, &first).await;
    // More than one at a time, so these are no probes.
    let others = begin(port, by, 2, 2, &first).await;
    envoy.expect_count("breaker_opened", 0).await;
    leave(others, &first).await;
    envoy.wait_for_count("breaker_opened", 1).await;

    let probe = begin(port, by, 1, 1, &first).await;
    let asked = first.received().len();
    for nth in 0..4 {
        let read = request(by, 2, nth).ask(port).await;
        assert!(is_by(&read, "spare"), "{} {}", read.status, read.text());
    }
    assert_eq!((first.received().len(), spare.received().len()), (asked, 4), "one probe at a time");

    first.by_default(Script::usual());
    probe.iter().for_each(JoinHandle::abort);
    first.wait_for_outcome(asked - 1, SOON).await;
    let probed = async { while !is_by(&request(by, 1, 0).ask(port).await, "first") {} };
    tokio::time::timeout(SOON, probed).await.expect("the next probe is answered");
    envoy.wait_for_count("breaker_closed", 1).await;
    for nth in 0..4 {
        assert!(is_by(&request(by, 2, nth).ask(port).await, "first"), "it serves again");
    }
}

#[tokio::test]
async fn a_silent_target_is_probed_once_two_clients_have_left_and_never_for_one() {
    tokio::join!(
        is_probed_once_clients_left(Shape::Loop, By::Key),
        is_probed_once_clients_left(Shape::Loop, By::Address),
        is_probed_once_clients_left(Shape::Single, By::Address),
    );
}
