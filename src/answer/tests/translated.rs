//! Answers that the client gets in another dialect.

use std::rc::Rc;

use serde_json::{Value, json};

use super::*;
use crate::answer::{Translate, Verdict};
use crate::translate::{AnswerTerms, Translation};

fn translating(way: Translation, streamed: bool) -> Terms {
    let translate = Translate { way, terms: AnswerTerms::default() };
    Terms { streamed, translate: Some(Rc::new(translate)), ..terms(way.to()) }
}

fn message() -> Value {
    json!({"id": "msg_1", "type": "message", "role": "assistant", "model": "m",
        "content": [{"type": "text", "text": "hello"}], "stop_reason": "end_turn", "stop_sequence": null,
        "usage": {"input_tokens": 3, "output_tokens": 5}})
}

#[test]
fn a_plain_answer_is_translated_as_a_whole() {
    let headers = HeaderBlock::of(&[("content-type", "application/json"), ("content-length", "9")]);
    let mut gatekeeper =
        Gatekeeper::of_success(translating(Translation::ChatToMessages, false), headers).unwrap();
    let mut wire = FakeWire { body: message().to_string().into_bytes(), ..FakeWire::default() };
    let available = wire.body.len();
    let verdict = gatekeeper.chunk(&mut wire, available, true, NOW.wall());
    assert_eq!(verdict, Verdict::Commit { content: true });
    let mut follower = gatekeeper.commit(false, &mut wire);
    let _ = follower.pass_held(&mut wire, available, true);
    let answer: Value = serde_json::from_slice(&wire.body).unwrap();
    assert_eq!(answer["choices"][0]["message"]["content"], "hello", "{answer}");
}

#[test]
fn a_long_plain_answer_is_translated_when_it_is_complete_whatever_follows() {
    let mut answer = message();
    let text = "x".repeat(20_000);
    answer["content"][0]["text"] = json!(text);
    let answer = answer.to_string().into_bytes();
    let mut gatekeeper =
        Gatekeeper::of_success(translating(Translation::ChatToMessages, false), HeaderBlock::of(OK_JSON))
            .unwrap();
    let (beginning, rest) = answer.split_at(19_000);
    let mut wire = FakeWire { body: beginning.to_vec(), ..FakeWire::default() };
    let verdict = gatekeeper.chunk(&mut wire, beginning.len(), false, NOW.wall());
    assert_eq!(verdict, Verdict::Commit { content: true });
    let mut follower = gatekeeper.commit(false, &mut wire);
    let report = follower.pass_held(&mut wire, beginning.len(), false);
    assert_eq!((report.release, wire.body.len()), (Release::Hold, 0));
    wire.body = rest.to_vec();
    let report = follower.chunk(&mut wire, rest.len(), false);
    assert_eq!((report.release, report.finished_choices), (Release::Pass, Some(u32::MAX)));
    assert!(!follower.end_with_trailers(&mut wire));
    let report = follower.chunk(&mut wire, 0, true);
    assert_eq!(report.release, Release::Pass);
    let answer: Value = serde_json::from_slice(&wire.body).unwrap();
    assert_eq!(answer["choices"][0]["message"]["content"], text, "{answer}");
}
