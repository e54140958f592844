use std::rc::Rc;
use std::time::Duration;

use super::*;
use crate::base::{Endpoint, ErrorClass, HeaderBlock, TargetId, Timestamp};
use crate::config::{self, AskedName, FoundBy};
use crate::outcome::{AnsweredBy, End, MAX_ID, Observed, Outcome};
use crate::provider::{Failure, Objection};
use crate::retry::Received;

const BEGAN: u64 = 1_700_000_000_000;

fn at(ms: u64) -> Timestamp {
    Timestamp::from_millis(BEGAN.saturating_add(ms))
}

fn config(record: &str) -> Rc<Fragments> {
    let name = "n".repeat(64);
    let text = format!(
        r#"{{
          "providers": {{"{name}": {{"kind": "openai", "host": "{host}.example"}}}},
          "targets": {{"{name}": {{
                "provider": "{name}", "model": "{model}", "price": {{"input": 1, "output": 10}}}}}},
          "models": {{"chat": {{"targets": ["{name}"]}}}},
          "record": {record}
        }}"#,
        host = "h".repeat(60),
        model = "m".repeat(200),
    );
    let config = config::load(text.as_bytes(), &|_| None).unwrap();
    Rc::new(Fragments::new(Rc::new(config)))
}

/// The record as a reader sees it.
fn read(record: &RecordBuilder, now: Timestamp) -> Record<'static> {
    serde_json::from_slice(&record.to_json(now)).unwrap()
}

fn record(record: &str, headers: &[(&str, &str)]) -> RecordBuilder {
    RecordBuilder::new(
        config(record),
        Endpoint::Chat,
        Identity::read(&HeaderBlock::of(headers)),
        at(0).moment(),
    )
}

fn target() -> TargetId {
    TargetId::from_index(0).unwrap()
}

fn attempt(slot: usize, end: AttemptEnd, class: Option<ErrorClass>) -> AttemptEntry {
    let start = AttemptStart::new(slot, target(), at(1));
    let entry = AttemptEntry::of(start, Observed::default(), None, None, at(2));
    AttemptEntry { end, class, ..entry }
}

const fn outcome(end: End, passed: bool) -> Outcome {
    Outcome {
        end,
        received: Received::Answered,
        passed,
        usage: None,
        finish: None,
        first_content: None,
        longest_gap: None,
        took: Duration::ZERO,
        host: None,
    }
}

#[test]
fn a_record_is_bounded_and_says_what_was_truncated() {
    let id = "i".repeat(MAX_ID);
    let mut record = record("{}", &[("x-request-id", &id)]);
    for slot in 0..MAX_ATTEMPTS + 3 {
        let blocked = ("forced_open", Some(at(u64::MAX / 2)));
        record.choose_among((0..10).map(|_| {
            let closed =
                || Objection { gate: "max_price_ratio", needed: "\\".repeat(999), offered: "ä".repeat(999) };
            let candidate = CandidateBuilder::new(target(), 255, blocked, Some("max_price_ratio"));
            candidate.with_gates((0..2).map(|_| closed()))
        }));
        let now = at(u64::MAX / 2);
        let mut start = AttemptStart::new(slot, target(), now);
        start.why = Some("quota_exhausted");
        let start = record.attempt_starts(start);
        let mut observed = Observed::default();
        (observed.hint, observed.bytes) = (Some(Duration::MAX), u64::MAX);
        observed.headers(200, &HeaderBlock::of(&[("x-request-id", &id)]), now);
        let name: Option<Box<str>> = Some("\\\"".repeat(crate::provider::MAX_NAME / 2).into());
        observed.failure(&Failure { class: ErrorClass::Server, kind: name.clone(), code: name });
        let usage = crate::stream::Usage { input: u64::MAX, output: u64::MAX, ..Default::default() };
        let broken = outcome(End::Failed(ErrorClass::StreamTruncated), true);
        let broken = Outcome { usage: Some(usage), ..broken };
        record.attempt_ended(AttemptEntry::of(start, observed, Some(&broken), None, now));
    }
    let written = record.to_json(at(u64::MAX));
    let record: Record<'_> = serde_json::from_slice(&written).unwrap();
    assert_eq!(record.attempts.len(), MAX_ATTEMPTS);
    let candidates = (MAX_ATTEMPTS + 3) * 10;
    assert_eq!((record.cut.attempts, record.cut.candidates as usize), (3, candidates - MAX_CANDIDATES));
    let gates: Vec<_> =
        record.attempts.iter().flat_map(|one| &one.candidates).flat_map(|one| &one.gates).collect();
    assert_eq!((gates.len(), record.cut.gates as usize), (MAX_GATES, 2 * MAX_CANDIDATES - MAX_GATES));
    for text in gates.iter().flat_map(|closed| [&closed.needed, &closed.offered]) {
        assert!(text.len() <= MAX_GATE_TEXT && text.ends_with('…'), "{text}");
    }
    let json = record.to_json().unwrap();
    assert!(json.len() <= MAX_RECORD_BYTES, "{} bytes", json.len());
    assert_eq!(json.as_bytes(), written, "what was written can be read");
}

#[test]
fn results_follow_from_the_attempts() {
    let check = |attempts: Vec<AttemptEntry>, expected: (RequestResult, Option<&str>)| {
        let mut record = record("{}", &[]);
        attempts.into_iter().for_each(|attempt| record.attempt_ended(attempt));
        assert_eq!(record.result(), expected);
    };
    let answered = |slot| attempt(slot, AttemptEnd::Answered, None);
    let failed = |slot, class| attempt(slot, AttemptEnd::Failed, Some(class));
    check(vec![], (RequestResult::ClientAbort, None));
    check(vec![answered(0)], (RequestResult::Served, None));
    check(vec![failed(0, ErrorClass::Server), answered(1)], (RequestResult::Served, None));
    let mut elsewhere = answered(1);
    elsewhere.start.why = Some("server");
    check(vec![failed(0, ErrorClass::Server), elsewhere], (RequestResult::FellBack, Some("server")));
    let mut waited = answered(0);
    waited.start.waited = Some(Duration::from_secs(1));
    check(vec![waited], (RequestResult::Queued, None));
    check(vec![failed(0, ErrorClass::Invalid)], (RequestResult::Refused, Some("invalid")));
    let broken = attempt(0, AttemptEnd::Broken, Some(ErrorClass::StreamStalled));
    check(vec![broken], (RequestResult::Broken, Some("stream_stalled")));
    check(vec![attempt(0, AttemptEnd::ClientAbort, None)], (RequestResult::ClientAbort, None));
    // Of two simultaneous attempts the one with a response counts, whichever ended last.
    check(vec![answered(1), attempt(0, AttemptEnd::ClientAbort, None)], (RequestResult::Served, None));
}

#[test]
fn the_end_of_an_attempt_follows_from_its_outcome() {
    let failed = ErrorClass::Timeout;
    for (end, passed, expected) in [
        (End::Complete, true, (AttemptEnd::Answered, None)),
        (End::Failed(failed), false, (AttemptEnd::Failed, Some(failed))),
        (End::Failed(failed), true, (AttemptEnd::Broken, Some(failed))),
        (End::ClientGone, true, (AttemptEnd::ClientAbort, None)),
        (End::Withdrawn, false, (AttemptEnd::Abandoned, None)),
    ] {
        let start = AttemptStart::new(0, target(), at(1));
        let outcome = outcome(end, passed);
        let entry = AttemptEntry::of(start, Observed::default(), Some(&outcome), None, at(2));
        assert_eq!((entry.end, entry.class), expected, "{end:?}");
    }
}

#[test]
fn an_uncertain_attempt_counts_as_possibly_billed() {
    let billed = |mut one: AttemptEntry, by: Option<AnsweredBy>| {
        one.observed.answered_by = by;
        let mut record = record("{}", &[]);
        record.attempt_ended(one);
        let record = read(&record, at(3));
        assert_eq!(record.attempts_maybe_billed, u32::from(record.attempts[0].billed != "no"));
        record.attempts[0].billed.to_string()
    };
    let failed = |class| attempt(0, AttemptEnd::Failed, Some(class));
    let provider = Some(AnsweredBy::Provider);
    assert_eq!(billed(attempt(0, AttemptEnd::Answered, None), provider), "likely");
    assert_eq!(billed(attempt(0, AttemptEnd::ClientAbort, None), None), "maybe");
    assert_eq!(billed(failed(ErrorClass::RateLimited), provider), "no");
    assert_eq!(billed(failed(ErrorClass::Auth), provider), "no");
    assert_eq!(billed(failed(ErrorClass::Server), provider), "maybe");
    assert_eq!(billed(failed(ErrorClass::Timeout), Some(AnsweredBy::Filter)), "maybe");
    assert_eq!(billed(failed(ErrorClass::Overloaded), Some(AnsweredBy::Envoy)), "maybe");
    let mut unsent = failed(ErrorClass::Transport);
    unsent.observed.unsent = true;
    assert_eq!(billed(unsent, Some(AnsweredBy::Envoy)), "no");
}

#[test]
fn the_cost_comes_from_usage_and_says_whether_it_is_complete() {
    let usage = crate::stream::Usage { input: 1_000_000, output: 100_000, ..Default::default() };
    let paid = AttemptEntry { usage: Some(usage), ..attempt(1, AttemptEnd::Answered, None) };
    let mut record = record("{}", &[]);
    record.attempt_ended(paid);
    let cost = read(&record, at(3)).cost.unwrap();
    assert_eq!((cost.micro_usd, cost.complete), (2_000_000, true));
    record.attempt_ended(attempt(0, AttemptEnd::Failed, Some(ErrorClass::Timeout)));
    let cost = read(&record, at(3)).cost.unwrap();
    assert_eq!((cost.micro_usd, cost.complete), (2_000_000, false), "the lost one may have cost something");
}

#[test]
fn forgotten_attempts_count_as_possibly_billed() {
    let usage = crate::stream::Usage { input: 1_000_000, ..Default::default() };
    let mut record = record("{}", &[]);
    record.forgotten = 2;
    record.attempt_ended(AttemptEntry { usage: Some(usage), ..attempt(0, AttemptEnd::Answered, None) });
    let record = read(&record, at(3));
    assert_eq!((record.forgotten_attempts, record.attempts_maybe_billed), (2, 3));
    assert_eq!(record.attempts[0].number, 3);
    assert!(!record.cost.unwrap().complete);
}

#[test]
fn a_choice_without_a_target_is_replaced_by_the_next() {
    let mut record = record("{}", &[]);
    for state in ["open", "half_open", "closed"] {
        record.choose_among(std::iter::once(CandidateBuilder::new(target(), 0, (state, None), None)));
        let last = read(&record, at(1)).last_candidates.into_iter().map(|one| one.state.to_string());
        assert_eq!(last.collect::<Vec<_>>(), [state]);
    }
    record.held_since = Some(at(0));
    let start = record.attempt_starts(AttemptStart::new(0, target(), at(1)));
    record.attempt_ended(AttemptEntry { start, ..attempt(0, AttemptEnd::Answered, None) });
    let record = read(&record, at(2));
    assert_eq!(record.last_candidates, []);
    assert_eq!(record.attempts[0].candidates.len(), 1);
    assert_eq!(record.attempts[0].wait_ms, Some(1));
}

#[test]
fn only_printable_identifiers_are_kept() {
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let read = |headers: &[(&str, &str)]| Identity::read(&HeaderBlock::of(headers));
    let identity = read(&[("x-request-id", "r-1"), ("traceparent", trace), ("x-llm-session", "s")]);
    assert_eq!(identity.request_id.unwrap().as_bytes(), b"r-1");
    let read_trace = identity.trace.unwrap();
    assert_eq!((read_trace.id(), read_trace.span()), (&trace.as_bytes()[3..35], &trace.as_bytes()[36..52]));
    let long = "x".repeat(MAX_ID + 1);
    for id in ["", "two words", "line\nbreak", "ä", &long] {
        assert!(read(&[("x-request-id", id)]).request_id.is_none(), "{id:?}");
    }
    for bad in
        ["", "00-", "00-zz", &trace.replace('0', "z"), &trace.replace("-b7", "_b7"), &trace.to_uppercase()]
    {
        assert_eq!(read(&[("traceparent", bad)]).trace, None, "{bad:?}");
    }
}

#[test]
fn strict_redaction_omits_what_could_identify_a_person() {
    for (policy, shown) in [(r#"{"redact": "standard"}"#, true), (r#"{"redact": "strict"}"#, false)] {
        let mut record = record(policy, &[("x-llm-session", "alice@example.com"), ("x-request-id", "r")]);
        record.model = RequestedModel::Unknown("gpt-9".into());
        let record = read(&record, at(1));
        assert_eq!(record.session_hash.is_some(), shown);
        assert_eq!(record.model.is_some(), shown);
        assert_eq!(record.request_id.as_deref(), Some("r"));
        assert!(!record.to_json().unwrap().contains("alice"));
    }
}

#[test]
fn only_plausible_model_names_are_shown() {
    for (name, shown) in
        [("meta-llama/llama-3.1:free", true), ("sk-proj-abc", false), ("say hello", false), ("", false)]
    {
        let mut record = record("{}", &[]);
        record.model = RequestedModel::Unknown(name.into());
        assert_eq!(read(&record, at(1)).model.is_some(), shown, "{name}");
    }
}

#[test]
fn what_a_client_calls_its_model_is_shown_if_it_is_configured_or_harmless() {
    let pattern = FoundBy::Pattern(5);
    for (text, found, standard, strict) in [
        ("gpt-4o", FoundBy::Alias, true, true),
        ("meta/llama", pattern, true, false),
        ("meta/sk-proj-0123456789abcdef0123", pattern, false, false),
        ("gpt-9", FoundBy::Default, true, false),
        ("say hello", FoundBy::Default, false, false),
    ] {
        for (policy, shown) in [("standard", standard), ("strict", strict)] {
            let mut record = record(&format!(r#"{{"redact": "{policy}"}}"#), &[]);
            record.asked_name = Some(AskedName { text: text.into(), found });
            let name = read(&record, at(1)).requested_name;
            assert_eq!(name.as_deref(), shown.then_some(text), "{policy}");
        }
    }
}

#[test]
fn a_clock_that_steps_back_makes_no_negative_span() {
    let mut record = record("{}", &[]);
    let start = AttemptStart::new(0, target(), Timestamp::from_millis(5));
    let mut observed = Observed::default();
    observed.chunk(at(10));
    observed.chunk(at(5));
    record.attempt_ended(AttemptEntry::of(start, observed, None, None, at(5)));
    let record = read(&record, Timestamp::from_millis(1));
    assert_eq!((record.duration_ms, record.attempts[0].start_ms), (0, 0));
}
