//! Requests through one or several passes, against a host made of memory.

mod admissions;
mod admitted;
mod alarms;
mod at_account;
mod attempts;
mod balance;
mod balancing;
mod budgets;
mod ceilings;
mod disclosure;
mod ends;
mod faults;
mod gates;
mod guide;
mod health;
mod holds;
mod hop;
mod injected_usage;
mod labels;
mod memory;
mod outages;
mod patience;
mod poison;
mod queues;
mod quiet;
mod renaming;
mod requests;
mod responses;
mod settlements;
mod silence;
mod translation;
mod usage;
mod waits;

use super::test_support::*;
use super::{Ending, RequestStep, Worker};
use crate::base::Timestamp;

const CHAT: &str = "/v1/chat/completions";
const OK_JSON: &[(&str, &str)] = &[(":status", "200"), ("content-type", "application/json")];
const OK_STREAM: &[(&str, &str)] =
    &[(":status", "200"), ("content-type", "text/event-stream; charset=utf-8")];
const ANSWER: &[u8] = br#"{"id":"x","choices":[{"message":{"content":"hi"}}]}"#;

fn at(ms: u64) -> Timestamp {
    Timestamp::from_millis(ms)
}

fn first(worker: &mut Worker) -> Pass {
    pass(worker, loop_request(CHAT, 1), br#"{"messages":[],"model":"chat"}"#, 1000)
}

fn again(worker: &mut Worker, attempt: u8) -> Pass {
    pass(worker, loop_request(CHAT, attempt), br#"{"messages":[],"model":"chat"}"#, 7)
}

fn refusal(step: &RequestStep) -> (u16, serde_json::Value) {
    let RequestStep::Answer(LocalAnswer { status, body, .. }) = step else { panic!("{step:?}") };
    (*status, serde_json::from_str(body).unwrap())
}
