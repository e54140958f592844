//! Metrics with labels that agree with the decision record or the status report.

use std::time::Duration;

use serde_json::json;

use super::super::test_support::*;
use super::super::{Ending, RequestStep, Worker};
use super::{CHAT, OK_JSON, OK_STREAM};
use crate::base::{HeaderBlock, Timestamp};
use crate::record::{Dim, Family, Sample};

const CONTENT: &[u8] = b"data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hi\"}}]}\n\n";
const END: &[u8] =
    b"data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";

fn ms(ms: u64) -> Timestamp {
    NOW.after(Duration::from_millis(ms))
}

/// The new samples of a family's series since the last call, by label position.
fn samples_of(worker: &mut Worker, family: Family) -> Vec<(usize, Sample)> {
    let config = std::rc::Rc::clone(&worker.generation.config);
    let places = match family.dims() {
        [Dim::Scope] => config.targets().len() + config.accounts().len() + config.providers().len(),
        [Dim::Target] => config.targets().len(),
        _ => config.models().len(),
    };
    let mut samples = Vec::new();
    worker.tally.drain_series(|number, sample| samples.push((number, sample)));
    let series = worker.tally.series();
    let place = |number| (0..places).find(|place| series.number(&config, family, *place, 0) == Some(number));
    samples.into_iter().filter_map(|(number, sample)| Some((place(number)?, sample))).collect()
}

/// A stream with pieces at these moments. It ends at the last one.
fn stream(worker: &mut Worker, pieces: &[(u64, &[u8])], ending: Ending) -> Option<Written> {
    let mut pass = pass(worker, loop_request(CHAT, 1), br#"{"model":"chat","stream":true}"#, 99);
    assert_eq!(pass.step, RequestStep::Send);
    let block = HeaderBlock::of(OK_STREAM);
    pass.exchange.response_headers(worker, block, false, NOW, || Origin::Upstream, &mut pass.response);
    for (at, piece) in pieces.iter().filter(|(_, piece)| !piece.is_empty()) {
        pass.response.body.extend_from_slice(piece);
        let available = pass.response.body.len();
        pass.exchange.response_body(worker, available, false, ms(*at), &mut pass.response);
        pass.response.body.clear();
        pass.exchange.released();
    }
    let last = pieces.last().map_or(0, |(at, _)| *at);
    pass.exchange.finish(worker, ending, ms(last))
}

#[test]
fn the_longest_gap_is_one_sample_per_stream_with_content() {
    let worker = &mut worker(load(CONFIG));
    let gap = Family::LongestGap;
    let gpt_a = 1;
    stream(worker, &[(0, CONTENT), (1_000, CONTENT), (5_100, CONTENT), (5_300, END)], Ending::Complete);
    // The filter reads the clock once per tick, so a gap is reported without one tick.
    assert_eq!(samples_of(worker, gap), [(gpt_a, Sample::Value(4_000))]);
    stream(worker, &[(0, CONTENT), (2_100, CONTENT)], Ending::UpstreamGone);
    assert_eq!(samples_of(worker, gap), [(gpt_a, Sample::Value(2_000))], "a broken stream counts too");
    stream(worker, &[], Ending::ClientGone);
    assert_eq!(samples_of(worker, gap), []);
    // The time without bytes before the end is a gap, and the record says the same.
    let left = stream(worker, &[(0, CONTENT), (500, CONTENT), (3_600, b"")], Ending::ClientGone).unwrap();
    assert_eq!(samples_of(worker, gap), [(gpt_a, Sample::Value(3_000))]);
    let record: serde_json::Value = serde_json::from_slice(&left.json).unwrap();
    assert_eq!(record["attempts"][0]["stream"]["longest_gap_ms"], 3_000, "{record:#}");
    let mut plain = pass(worker, loop_request(CHAT, 1), br#"{"model":"chat"}"#, 99);
    plain.answer(worker, OK_JSON, br#"{"choices":[{"message":{"content":"hi"}}]}"#);
    plain.exchange.finish(worker, Ending::Complete, NOW);
    assert_eq!(samples_of(worker, gap), []);
}

#[test]
fn the_cost_metric_and_the_record_price_cached_input_alike() {
    let price = json!({"input": 1.0, "output": 2.0, "cached_input": 0.1});
    let target = json!({"account": "a", "model": "gpt-real", "price": price});
    let models = json!({"gpt": {"targets": ["gpt-a"]}});
    let worker = &mut worker(config_with(json!({"targets": {"gpt-a": target}, "models": models})));
    let mut sent = pass(worker, loop_request(CHAT, 1), br#"{"model":"gpt"}"#, 99);
    let usage = json!({
        "prompt_tokens": 1000, "completion_tokens": 10, "prompt_tokens_details": {"cached_tokens": 900},
    });
    let body = json!({"choices": [{"message": {"content": "hi"}, "finish_reason": "stop"}], "usage": usage});
    sent.answer(worker, OK_JSON, body.to_string().as_bytes());
    let written = sent.exchange.finish(worker, Ending::Complete, NOW).expect("a record");
    // 100 uncached tokens at a dollar per million, 900 cached ones at a tenth of that, 10 output tokens at
    // two dollars.
    assert_eq!(samples_of(worker, Family::Cost), [(0, Sample::Add(100 + 90 + 20))]);
    let record: serde_json::Value = serde_json::from_slice(&written.json).unwrap();
    assert_eq!(record["cost"]["micro_usd"], 210, "{record:#}");
}

#[test]
fn a_probe_is_counted_only_at_the_breaker_that_it_probes() {
    let worker = &mut worker(config_with(json!({"models": {"gpt": {"targets": ["gpt-a"]}}})));
    let ask = |worker: &mut Worker, now, status: &str| {
        let mut pass = pass_at(worker, loop_request(CHAT, 1), br#"{"model":"gpt"}"#, 99, now);
        if pass.step == RequestStep::Send {
            pass.answer(worker, &[(":status", status), ("content-type", "application/json")], b"{}");
        }
        pass.exchange.finish(worker, Ending::Complete, now);
        let orphans = worker.journeys.borrow_mut().expire(now.after(Duration::from_secs(60)));
        orphans.iter().for_each(|journey| worker.end(journey, now));
    };
    let gpt_a = 1;
    for _ in 0..5 {
        ask(worker, NOW, "500");
    }
    assert_eq!(samples_of(worker, Family::ProbesByName), []);
    ask(worker, ms(40_000), "500");
    assert_eq!(samples_of(worker, Family::ProbesByName), [(gpt_a, Sample::Add(1))]);
}

#[test]
fn the_waiting_gauge_follows_the_queue_of_its_model() {
    let retry = json!({"attempts": 1, "queue": {"max_wait": "5s"}});
    let models = json!({"other": {"targets": ["gpt-b"]}, "queued": {"targets": ["gpt-a"], "retry": retry}});
    let worker = &mut worker(config_with(json!({"models": models})));
    let waiting = Family::WaitingByModel;
    worker.tick(NOW);
    let none = |place| (place, Sample::Value(0));
    assert_eq!(samples_of(worker, waiting), [none(0), none(1)]);
    let arrives = |worker: &mut Worker, number: u8| {
        let mut request = loop_request(CHAT, 1);
        request.set_journey(&format!("{number:032x}"));
        pass(worker, request, br#"{"model":"queued"}"#, 99)
    };
    let mut limited = arrives(worker, 0);
    limited.answer(worker, &[(":status", "429"), ("retry-after", "3")], b"{}");
    limited.exchange.finish(worker, Ending::Complete, NOW);
    let mut held = [arrives(worker, 1), arrives(worker, 2)];
    assert!(held.iter().all(|pass| pass.step == RequestStep::Hold));
    worker.tick(ms(100));
    worker.tick(ms(200));
    assert_eq!(samples_of(worker, waiting), [(1, Sample::Value(2))], "a gauge is set only when it changes");
    for pass in &mut held {
        pass.exchange.finish(worker, Ending::ClientGone, ms(250));
    }
    worker.tick(ms(300));
    assert_eq!(samples_of(worker, waiting), [none(1)]);
}
