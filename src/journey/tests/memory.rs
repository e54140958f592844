//! `limits.max_held_bytes`: what bodies take in Envoy's buffers, and what is refused.

use serde_json::json;

use super::*;
use crate::record::Metric;

const SMALL: usize = 64 * 1024;
const LIMIT: u64 = 300 * 1024;

/// A request of `length` bytes.
fn body(length: usize) -> Vec<u8> {
    let (head, tail) = (r#"{"model":"chat","messages":[],"user":""#, r#""}"#);
    let padding = "x".repeat(length - head.len() - tail.len());
    [head, &padding, tail].concat().into_bytes()
}

fn tight(in_loop: bool) -> Worker {
    let limits = json!({"max_body": "200KiB", "max_held_bytes": "300KiB"});
    super::super::test_support::worker(config_with(json!({"limits": limits, "retry_loop": in_loop})))
}

fn send(worker: &mut Worker, number: u8, length: usize) -> Pass {
    let mut request = loop_request(CHAT, 1);
    request.set_journey(&format!("ffffffff-ffff-ffff-ffff-ffffffffff{number:02}"));
    pass(worker, request, &body(length), 50_000)
}

fn held(worker: &Worker) -> u64 {
    worker.journeys.borrow().bodies().held()
}

#[test]
fn a_large_body_beyond_the_limit_gets_503_and_a_small_one_passes() {
    let worker = &mut tight(true);
    let first = send(worker, 1, 200 * 1024);
    assert_eq!((&first.step, held(worker)), (&RequestStep::Send, 200 * 1024));
    let refused = send(worker, 2, 101 * 1024);
    let RequestStep::Answer(answer) = &refused.step else { panic!("{:?}", refused.step) };
    assert_eq!(answer.status, 503);
    for header in [("x-llm-reason", "memory_full"), ("retry-after", "5")] {
        assert!(answer.headers.iter().any(|(name, value)| (*name, &**value) == header), "{answer:?}");
    }
    assert_eq!(held(worker), 200 * 1024, "it holds nothing");
    let fits = send(worker, 3, 100 * 1024);
    assert_eq!((fits.step, held(worker)), (RequestStep::Send, LIMIT));
    let small = send(worker, 4, SMALL);
    assert_eq!((small.step, held(worker)), (RequestStep::Send, LIMIT + SMALL as u64));
    assert_eq!(counted(worker, Metric::HeldRefusals), 1);
}

#[test]
fn a_body_without_a_length_is_refused_when_it_outgrows_the_limit() {
    let worker = &mut tight(true);
    let _first = send(worker, 1, 200 * 1024);
    let mut request = loop_request(CHAT, 1);
    request.set_journey("ffffffff-ffff-ffff-ffff-ffffffffff02");
    let mut exchange = super::super::Exchange::default();
    let block = request.block();
    let mut step = exchange.request_headers(worker, &block, false, NOW, &mut request);
    let (body, mut sizes) = (body(150 * 1024), Vec::new());
    for chunk in body.chunks(20 * 1024) {
        request.body.extend_from_slice(chunk);
        step = exchange.request_body(worker, request.body.len(), false, NOW, &mut request);
        if step != RequestStep::Hold {
            break;
        }
        sizes.push(request.body.len());
    }
    assert_eq!((refusal(&step).0, sizes.last()), (503, Some(&(100 * 1024))));
    assert_eq!(held(worker), 200 * 1024);
}

/// In the loop the edge has the body until the request is over, in one listener only the provider needs it.
#[test]
fn a_body_is_given_back_once_when_envoy_needs_it_no_longer() {
    for (in_loop, after_headers) in [(true, 100_000), (false, 0)] {
        let worker = &mut tight(in_loop);
        let mut sent = send(worker, 1, 100_000);
        assert_eq!(held(worker), 100_000);
        sent.answer(worker, OK_JSON, ANSWER);
        assert_eq!(held(worker), after_headers, "loop {in_loop}");
        sent.exchange.finish(worker, Ending::Complete, NOW);
        assert_eq!(held(worker), 0, "loop {in_loop}");
    }
}

#[test]
fn between_two_attempts_a_body_stays_counted_and_an_orphan_gives_it_back() {
    let worker = &mut tight(true);
    let mut sent = send(worker, 1, 100_000);
    sent.answer(worker, &[(":status", "500")], b"{}");
    assert!(sent.response.get("x-llm-retry").is_some());
    sent.exchange.finish(worker, Ending::Complete, NOW);
    assert_eq!(held(worker), 100_000);
    worker.tick(NOW);
    assert_eq!(counted(worker, Metric::HeldBytes), 100_000);
    worker.tick(NOW.after(super::super::registry::ORPHAN_AFTER));
    assert_eq!(held(worker), 0);
}

#[test]
fn a_client_that_leaves_while_it_sends_gives_its_place_back() {
    let worker = &mut tight(false);
    let mut request = loop_request(CHAT, 1);
    let mut exchange = super::super::Exchange::default();
    let block = request.block();
    exchange.request_headers(worker, &block, false, NOW, &mut request);
    request.body = body(90_000)[..80_000].to_vec();
    assert_eq!(exchange.request_body(worker, 80_000, false, NOW, &mut request), RequestStep::Hold);
    assert_eq!(held(worker), 80_000);
    exchange.finish(worker, Ending::ClientGone, NOW);
    assert_eq!(held(worker), 0);
}
