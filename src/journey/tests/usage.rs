//! The usage that a response reports is counted once, for any chunking and any end.

use serde_json::{Value, json};

use super::super::test_support::*;
use super::super::{Ending, Worker};
use super::{ANSWER, CHAT, OK_JSON, OK_STREAM, first};
use crate::base::HeaderBlock;
use crate::record::Metric;

/// Input, cached input, cache creation, output, reasoning; attempts whose usage is missing.
fn learned(worker: &mut Worker) -> [i64; 6] {
    let mut counts = [0; 6];
    worker.tally.drain(|metric, delta| {
        let place = match metric {
            Metric::TokensInput => 0,
            Metric::TokensCachedInput => 1,
            Metric::TokensCacheCreation => 2,
            Metric::TokensOutput => 3,
            Metric::TokensReasoning => 4,
            Metric::UsageMissing => 5,
            _ => return,
        };
        counts[place] += delta;
    });
    counts
}

const COUNTED: [i64; 6] = [19, 4, 0, 10, 3, 0];
const MISSING: [i64; 6] = [0, 0, 0, 0, 0, 1];

fn plain(text: &str) -> Value {
    json!({"choices": [{"message": {"content": text}, "finish_reason": "stop"}], "usage": {
        "prompt_tokens": 19, "completion_tokens": 10, "prompt_tokens_details": {"cached_tokens": 4},
        "completion_tokens_details": {"reasoning_tokens": 3}}})
}

/// Sends the response in pieces as the host does. Held bytes stay in its buffer. Returns the most that was
/// held at once.
fn answer(
    worker: &mut Worker,
    pass: &mut Pass,
    headers: &[(&str, &str)],
    body: &[u8],
    piece: usize,
) -> usize {
    let block = HeaderBlock::of(headers);
    pass.exchange.response_headers(worker, block, false, NOW, || Origin::Upstream, &mut pass.response);
    let pieces = body.chunks(piece).count();
    let mut held = 0;
    for (index, chunk) in body.chunks(piece).enumerate() {
        pass.response.body.extend_from_slice(chunk);
        let available = pass.response.body.len();
        let last = index + 1 == pieces;
        let step = pass.exchange.response_body(worker, available, last, NOW, &mut pass.response);
        if step == Release::Hold {
            held = held.max(available);
        } else {
            pass.response.body.clear();
            pass.exchange.released();
        }
    }
    held
}

/// One worker holds responses until they are judged. The other has no retry loop and holds nothing.
fn workers() -> [Worker; 2] {
    [worker(load(CONFIG)), worker(config_with(json!({"retry_loop": false})))]
}

#[test]
fn usage_of_a_plain_response_of_any_size_is_read_without_holding_more() {
    for text in [10, 16 * 1024, 300_000] {
        let body = plain(&"x".repeat(text)).to_string();
        for piece in [1000, 16 * 1024, body.len()] {
            for (index, mut worker) in workers().into_iter().enumerate() {
                let mut sent = first(&mut worker);
                let held = answer(&mut worker, &mut sent, OK_JSON, body.as_bytes(), piece);
                assert!(held <= 16 * 1024, "{held}");
                sent.exchange.finish(&mut worker, Ending::Complete, NOW);
                assert_eq!(learned(&mut worker), COUNTED, "{text} in {piece}, worker {index}");
            }
        }
    }
}

const STREAM: &str = concat!(
    "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hi\"}}]}\n\n",
    "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n",
    "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":19,\"completion_tokens\":10,\"prompt_tokens_details\":",
    "{\"cached_tokens\":4},\"completion_tokens_details\":{\"reasoning_tokens\":3}}}\n\n",
    "data: [DONE]\n\n"
);

#[test]
fn usage_of_a_stream_counts_once_at_its_terminal_event() {
    for piece in [1, 50, STREAM.len()] {
        for mut worker in workers() {
            let mut sent = first(&mut worker);
            answer(&mut worker, &mut sent, OK_STREAM, STREAM.as_bytes(), piece);
            assert_eq!(learned(&mut worker), COUNTED, "counted before the connection ends");
            // A client that closes after the terminal event has not left early.
            sent.exchange.finish(&mut worker, Ending::ClientGone, NOW);
            assert_eq!(learned(&mut worker), [0; 6]);
        }
    }
}

#[test]
fn unreported_usage_counts_as_missing_not_as_zero() {
    let stream = b"data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hi\"},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";
    let packed = &[(":status", "200"), ("content-type", "application/json"), ("content-encoding", "gzip")];
    let packed_body = plain("x").to_string();
    for (headers, body) in
        [(OK_JSON, ANSWER), (OK_STREAM, stream.as_slice()), (packed, packed_body.as_bytes())]
    {
        for mut worker in workers() {
            let mut sent = first(&mut worker);
            sent.answer(&mut worker, headers, body);
            sent.exchange.finish(&mut worker, Ending::Complete, NOW);
            assert_eq!(learned(&mut worker), MISSING, "{}", String::from_utf8_lossy(body));
        }
    }
}

#[test]
fn a_response_that_breaks_off_counts_the_usage_reported_so_far_or_as_missing() {
    let (head, _) = STREAM.split_at(STREAM.find("data: {\"choices\":[],").unwrap());
    let (said, _) = STREAM.split_at(STREAM.find("data: [DONE]").unwrap());
    for ending in [Ending::ClientGone, Ending::UpstreamGone] {
        for (stream, expected) in [(head, MISSING), (said, COUNTED)] {
            for mut worker in workers() {
                let mut sent = first(&mut worker);
                let block = HeaderBlock::of(OK_STREAM);
                let wire = &mut sent.response;
                sent.exchange.response_headers(&mut worker, block, false, NOW, || Origin::Upstream, wire);
                wire.body = stream.as_bytes().to_vec();
                sent.exchange.response_body(&mut worker, stream.len(), false, NOW, wire);
                assert_eq!(learned(&mut worker), [0; 6], "nothing is counted before the end");
                sent.exchange.finish(&mut worker, ending, NOW);
                assert_eq!(learned(&mut worker), expected, "{ending:?}");
            }
        }
    }
}

#[test]
fn a_failure_without_content_is_not_missing_usage() {
    let worker = &mut worker(load(CONFIG));
    for (attempt, headers, body) in [
        (1, &[(":status", "500")][..], &b"{}"[..]),
        (2, OK_JSON, br#"{"error":{"message":"no"}}"#),
        (3, OK_STREAM, b"data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\"}}]}\n\n"),
    ] {
        let mut sent = pass(worker, loop_request(CHAT, attempt), br#"{"model":"chat"}"#, 99);
        sent.answer(worker, headers, body);
        sent.exchange.finish(worker, Ending::Complete, NOW);
        assert_eq!(learned(worker), [0; 6], "attempt {attempt}");
    }
    let mut sent = first(worker);
    sent.exchange.finish(worker, Ending::ClientGone, NOW);
    assert_eq!(learned(worker), [0; 6]);
}
