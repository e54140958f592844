//! Every end of a pass settles its budget reservation, in one listener and in the retry loop.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use serde_json::json;
use sha2::{Digest, Sha256};

use super::super::registry::ORPHAN_AFTER;
use super::super::test_support::*;
use super::super::{AlarmStep, Ending, Exchange, RequestStep, Worker};
use super::{CHAT, OK_JSON, OK_STREAM};
use crate::base::memory::{Memory, Shelf};
use crate::base::{Dialect, HeaderBlock, Store, Timestamp};
use crate::record::Metric;
use crate::tenancy::{BudgetKind, Ledger};

const BODY: &[u8] = br#"{"messages":[],"model":"chat","max_tokens":96}"#;
const STREAM: &[u8] = br#"{"messages":[],"model":"chat","max_tokens":96,"stream":true}"#;
/// Two tokens of text and 96 of the response.
const ESTIMATE: u64 = 98;
const BUDGET: &str = "llm-failsafe/budget/team";
/// An event with content and the usage so far, 12 tokens.
const CONTENT_WITH_USAGE: &[u8] = b"data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hi\"}}],\
    \"usage\":{\"prompt_tokens\":7,\"completion_tokens\":5}}\n\n";

/// A worker with one key, one target that takes one request at a time, and a queue.
struct Setup {
    shape: Shape,
    worker: Worker,
    shelf: Rc<RefCell<Shelf>>,
    requests: u32,
}

impl Setup {
    fn new(shape: Shape) -> Self {
        let sha256: String = Sha256::digest(b"client-key").iter().map(|byte| format!("{byte:02x}")).collect();
        let shelf: Rc<RefCell<Shelf>> = Rc::default();
        let config = config_with(json!({
            "retry_loop": shape != Shape::OneListener,
            "keys": {"team": {"sha256": sha256, "budget": {"tokens_per_day": 1000}}},
            "targets": {"gpt-a": {"account": "a", "model": "gpt-real", "reasoning": false, "limits": {"max_pending": 1}}},
            "models": {"chat": {"targets": ["gpt-a"], "retry": {"queue": {}}}},
        }));
        Self { shape, worker: worker_on(config, Memory::on(Rc::clone(&shelf))), shelf, requests: 0 }
    }

    /// The headers of a new request.
    fn headers(&mut self) -> FakeWire {
        self.requests += 1;
        let mut request = loop_request(CHAT, 1);
        if self.shape == Shape::LoopUnkept {
            request.headers.retain(|(name, _)| name != "x-llm-journey");
        } else {
            request.set_journey(&format!("{:032x}", self.requests));
        }
        request
    }

    fn ask(&mut self, body: &[u8]) -> Pass {
        let request = self.headers();
        let mut pass = pass(&mut self.worker, request, body, 1000);
        if pass.step == RequestStep::Hold {
            pass.request.body = body.to_vec();
        }
        pass
    }

    fn sent(&mut self, body: &[u8]) -> Pass {
        let pass = self.ask(body);
        assert_eq!(pass.step, RequestStep::Send, "{:?}", self.shape);
        assert_eq!(self.used(), ESTIMATE, "{:?}: reserved while it is under way", self.shape);
        pass
    }

    fn finish(&mut self, exchange: &mut Exchange, ending: Ending) {
        exchange.finish(&mut self.worker, ending, NOW);
        // In the loop a failed request waits for its next attempt, which does not come here.
        self.worker.tick(NOW.after(ORPHAN_AFTER + Duration::from_secs(1)));
        assert!(self.worker.journeys.borrow().is_empty(), "{:?}", self.shape);
    }

    fn used(&self) -> u64 {
        let stored = Memory::on(Rc::clone(&self.shelf)).read(BUDGET).unwrap();
        stored.map_or(0, |stored| {
            Ledger::decode(&stored.bytes).unwrap().used_at(BudgetKind::TokensPerDay, NOW.moment())
        })
    }

    /// Checks that no request waits and no attempt is under way.
    fn assert_nothing_under_way(&mut self) {
        assert!(self.worker.queues.is_empty(), "{:?}", self.shape);
        let mut gauges = [0, 0, 0];
        self.worker.tally.drain(|metric, delta| {
            for (sum, gauge) in
                gauges.iter_mut().zip([Metric::Waiting, Metric::AttemptsInFlight, Metric::Journeys])
            {
                if metric == gauge {
                    *sum += delta;
                }
            }
        });
        assert_eq!(gauges, [0, 0, 0], "{:?}: waiting, in flight, journeys", self.shape);
    }
}

fn seconds(seconds: u64) -> Timestamp {
    NOW.after(Duration::from_secs(seconds))
}

/// Abandons the request as the host does when it cannot change a header.
fn abandon(worker: &mut Worker, pass: &mut Pass) {
    let step = pass.exchange.abandon(worker, Dialect::OpenAi, NOW);
    assert!(matches!(step, RequestStep::Answer(_)), "{step:?}");
}

#[test]
fn a_client_that_leaves_before_its_request_is_complete_has_reserved_nothing() {
    for shape in SHAPES {
        let mut setup = Setup::new(shape);
        let mut request = setup.headers();
        let mut exchange = Exchange::default();
        let block = request.block();
        exchange.request_headers(&mut setup.worker, &block, false, NOW, &mut request);
        request.body = BODY[..20].to_vec();
        exchange.request_body(&mut setup.worker, 20, false, NOW, &mut request);
        setup.finish(&mut exchange, Ending::ClientGone);
        assert_eq!(setup.used(), 0, "{shape:?}");
        setup.assert_nothing_under_way();
    }
}

#[test]
fn a_client_that_leaves_before_the_headers_settles_the_estimate() {
    for shape in SHAPES {
        let mut setup = Setup::new(shape);
        let mut sent = setup.sent(BODY);
        setup.finish(&mut sent.exchange, Ending::ClientGone);
        assert_eq!(setup.used(), ESTIMATE, "{shape:?}");
        setup.assert_nothing_under_way();
    }
}

#[test]
fn a_client_that_leaves_mid_stream_settles_the_usage_reported_so_far() {
    for shape in SHAPES {
        let mut setup = Setup::new(shape);
        let mut sent = setup.sent(STREAM);
        let (block, worker) = (HeaderBlock::of(OK_STREAM), &mut setup.worker);
        sent.exchange.response_headers(worker, block, false, NOW, || Origin::Upstream, &mut sent.response);
        sent.response.body = CONTENT_WITH_USAGE.to_vec();
        sent.exchange.response_body(worker, CONTENT_WITH_USAGE.len(), false, NOW, &mut sent.response);
        setup.finish(&mut sent.exchange, Ending::ClientGone);
        assert_eq!(setup.used(), 12, "{shape:?}");
        setup.assert_nothing_under_way();
    }
}

#[test]
fn a_provider_that_breaks_off_settles_the_estimate() {
    for shape in SHAPES {
        let mut setup = Setup::new(shape);
        let mut sent = setup.sent(BODY);
        setup.finish(&mut sent.exchange, Ending::UpstreamGone);
        assert_eq!(setup.used(), ESTIMATE, "{shape:?}: the provider may have received it");
        setup.assert_nothing_under_way();
    }
}

#[test]
fn a_response_made_by_the_filter_settles_the_estimate() {
    for shape in SHAPES {
        let mut setup = Setup::new(shape);
        let mut sent = setup.sent(STREAM);
        let step = sent.exchange.alarm(&mut setup.worker, seconds(60));
        assert!(matches!(step, AlarmStep::Answer(_)), "{shape:?}: {step:?}");
        setup.finish(&mut sent.exchange, Ending::Complete);
        assert_eq!(setup.used(), ESTIMATE, "{shape:?}: the provider may have received it");
        setup.assert_nothing_under_way();
    }
}

#[test]
fn a_request_abandoned_by_the_host_returns_its_tokens() {
    for shape in SHAPES {
        let mut setup = Setup::new(shape);
        let mut sent = setup.sent(BODY);
        abandon(&mut setup.worker, &mut sent);
        setup.finish(&mut sent.exchange, Ending::Complete);
        assert_eq!(setup.used(), 0, "{shape:?}");
        setup.assert_nothing_under_way();
        setup.sent(BODY);
    }
}

#[test]
fn an_abandoned_later_attempt_settles_what_the_earlier_one_took() {
    let mut setup = Setup::new(Shape::Loop);
    let mut failed = setup.sent(BODY);
    failed.answer(&mut setup.worker, &[(":status", "500"), ("content-type", "application/json")], b"{}");
    failed.exchange.finish(&mut setup.worker, Ending::Complete, NOW);
    let mut request = loop_request(CHAT, 2);
    request.set_journey(&format!("{:032x}", setup.requests));
    let mut second = pass(&mut setup.worker, request, BODY, 1000);
    assert_eq!(second.step, RequestStep::Hold, "it backs off");
    second.request.body = BODY.to_vec();
    assert_eq!(second.exchange.wake(&mut setup.worker, seconds(10), &mut second.request), RequestStep::Send);
    abandon(&mut setup.worker, &mut second);
    setup.finish(&mut second.exchange, Ending::Complete);
    assert_eq!(setup.used(), 0);
    setup.assert_nothing_under_way();
}

#[test]
fn a_client_that_leaves_while_held_has_reserved_nothing() {
    for shape in SHAPES {
        let mut setup = Setup::new(shape);
        let mut sent = setup.sent(BODY);
        let mut held = setup.ask(BODY);
        assert_eq!(held.step, RequestStep::Hold, "{shape:?}");
        held.exchange.finish(&mut setup.worker, Ending::ClientGone, NOW);
        assert_eq!(setup.used(), ESTIMATE, "{shape:?}: only the request under way has reserved");
        sent.answer(&mut setup.worker, OK_JSON, super::ANSWER);
        setup.finish(&mut sent.exchange, Ending::Complete);
        setup.assert_nothing_under_way();
    }
}

#[test]
fn a_request_abandoned_as_it_leaves_the_queue_returns_its_tokens() {
    for shape in SHAPES {
        let mut setup = Setup::new(shape);
        let mut sent = setup.sent(BODY);
        let mut held = setup.ask(BODY);
        assert_eq!(held.step, RequestStep::Hold, "{shape:?}");
        sent.answer(&mut setup.worker, &[(":status", "400"), ("content-type", "application/json")], b"{}");
        sent.exchange.finish(&mut setup.worker, Ending::Complete, NOW);
        assert_eq!(setup.used(), 0, "{shape:?}");
        let step = held.exchange.wake_early(&mut setup.worker, NOW, &mut held.request);
        assert_eq!(step, RequestStep::Send, "{shape:?}");
        assert_eq!(setup.used(), ESTIMATE, "{shape:?}");
        abandon(&mut setup.worker, &mut held);
        setup.finish(&mut held.exchange, Ending::Complete);
        assert_eq!(setup.used(), 0, "{shape:?}");
        setup.assert_nothing_under_way();
    }
}

#[test]
fn a_request_abandoned_while_held_leaves_the_queue() {
    let mut setup = Setup::new(Shape::Loop);
    let mut failed = setup.sent(BODY);
    failed.answer(&mut setup.worker, &[(":status", "429"), ("retry-after", "2")], b"{}");
    failed.exchange.finish(&mut setup.worker, Ending::Complete, NOW);
    let mut request = loop_request(CHAT, 2);
    request.set_journey(&format!("{:032x}", setup.requests));
    let mut second = pass(&mut setup.worker, request, BODY, 1000);
    assert_eq!(second.step, RequestStep::Hold);
    assert!(second.exchange.position().is_some(), "it waits in a queue");
    abandon(&mut setup.worker, &mut second);
    setup.finish(&mut second.exchange, Ending::Complete);
    assert_eq!(setup.used(), 0);
    setup.assert_nothing_under_way();
}

#[test]
fn an_abandoned_request_is_answered_in_its_own_dialect() {
    let worker = &mut worker(load(CONFIG));
    let body = br#"{"model":"chat","max_tokens":5,"messages":[]}"#;
    for (path, is_anthropic) in [(CHAT, false), ("/v1/messages", true)] {
        let mut sent = pass(worker, loop_request(path, 1), body, 1000);
        assert_eq!(sent.step, RequestStep::Send, "{path}");
        let RequestStep::Answer(answer) = sent.exchange.abandon(worker, Dialect::OpenAi, NOW) else {
            panic!("{path} is answered")
        };
        let body: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!(body["type"] == "error", is_anthropic, "{path}: {body}");
        sent.exchange.finish(worker, Ending::Complete, NOW);
    }
}
