//! How much the failures of one request count at the breakers, by what came of all its attempts.

use super::super::test_support::*;
use super::super::{Ending, RequestStep, Worker};
use super::{ANSWER, CHAT, OK_JSON, at};
use crate::base::{TargetId, Timestamp};
use crate::breaker::Scope;

const ERROR: &[u8] = br#"{"error":{"message":"no"}}"#;

/// How an attempt ends.
#[derive(Debug, Clone, Copy)]
enum Attempt {
    Status(&'static str),
    Served,
    ClientLeaves,
}

use Attempt::{ClientLeaves, Served, Status};

fn request(worker: &mut Worker, attempts: &[Attempt], now: Timestamp) {
    for (attempt, number) in attempts.iter().zip(1..) {
        let mut pass = pass_at(worker, loop_request(CHAT, number), br#"{"model":"chat"}"#, 99, now);
        assert_eq!(pass.step, RequestStep::Send, "attempt {number} of {attempts:?}");
        let ending = match attempt {
            Status(status) => {
                pass.answer(worker, &[(":status", status), ("content-type", "application/json")], ERROR);
                Ending::Complete
            }
            Served => {
                pass.answer(worker, OK_JSON, ANSWER);
                Ending::Complete
            }
            ClientLeaves => Ending::ClientGone,
        };
        pass.exchange.finish(worker, ending, now);
    }
    let orphans = worker.journeys.borrow_mut().expire(at(1_000_000_000_000_000));
    orphans.iter().for_each(|journey| worker.end(journey, now));
    assert!(worker.journeys.borrow().is_empty());
}

/// Whole failures in a row at each target, in the order in which they are asked.
fn failures(worker: &Worker) -> [u16; 3] {
    // Targets have the order of their names.
    [1, 2, 0].map(|index| {
        let scope = Scope::Target(TargetId::from_index(index).unwrap());
        worker.generation.health_view.borrow().health(scope).unwrap().consecutive()
    })
}

#[test]
fn the_second_half_of_a_failure_depends_on_the_other_attempts() {
    let crash = Status("500");
    // The half failures that one request leaves at each target.
    let cases: &[(&[Attempt], [u16; 3])] = &[
        // All fail alike.
        (&[crash, crash, crash], [1, 1, 1]),
        (&[crash, Status("502"), crash], [1, 1, 1]),
        (&[Status("504"), Status("504")], [1, 1, 0]),
        // One serves it.
        (&[crash, Served], [2, 0, 0]),
        (&[crash, crash, Served], [2, 2, 0]),
        // They fail in different ways.
        (&[crash, Status("503"), crash], [2, 2, 2]),
        (&[crash, crash, Status("504")], [2, 2, 2]),
        (&[Status("429"), crash, crash], [0, 2, 2]),
        (&[crash, crash, Status("429")], [2, 2, 0]),
        (&[crash, Status("400")], [2, 0, 0]),
        // The edge does not come back, or the client leaves.
        (&[crash], [2, 0, 0]),
        (&[crash, crash], [1, 1, 0]),
        (&[crash, ClientLeaves], [2, 0, 0]),
        (&[crash, crash, ClientLeaves], [1, 1, 0]),
    ];
    for (attempts, halves) in cases {
        let worker = &mut worker(load(CONFIG));
        // Two requests, because the view shows whole failures. Rate limits are over by the second.
        for second in [0, 10] {
            request(worker, attempts, NOW.after(std::time::Duration::from_secs(second)));
        }
        assert_eq!(failures(worker), *halves, "{attempts:?}");
    }
}

#[test]
fn a_hedge_that_still_runs_keeps_the_second_half_open() {
    let worker = &mut worker(load(CONFIG));
    for _ in 0..2 {
        let mut one = pass(worker, loop_request(CHAT, 1), br#"{"model":"chat"}"#, 99);
        let mut two = pass(worker, loop_request(CHAT, 2), br#"{"model":"chat"}"#, 99);
        let mut three = pass(worker, loop_request(CHAT, 3), br#"{"model":"chat"}"#, 99);
        one.answer(worker, &[(":status", "500")], ERROR);
        one.exchange.finish(worker, Ending::Complete, NOW);
        two.answer(worker, &[(":status", "500")], ERROR);
        two.exchange.finish(worker, Ending::Complete, NOW);
        three.answer(worker, OK_JSON, ANSWER);
        three.exchange.finish(worker, Ending::Complete, NOW);
    }
    assert_eq!(failures(worker), [2, 2, 0]);
}

#[test]
fn an_answer_pays_when_it_begins() {
    let worker = &mut worker(load(CONFIG));
    for number in 1..=2 {
        let mut failed = pass(worker, loop_request(CHAT, 1), br#"{"model":"chat"}"#, 99);
        failed.answer(worker, &[(":status", "500")], ERROR);
        failed.exchange.finish(worker, Ending::Complete, NOW);
        let mut served = pass(worker, loop_request(CHAT, 2), br#"{"model":"chat"}"#, 99);
        served.answer(worker, OK_JSON, ANSWER);
        assert_eq!(failures(worker), [number, 0, 0], "before the pass has ended");
        served.exchange.finish(worker, Ending::Complete, NOW);
    }
}
