//! The section `stream` of a model: defaults, bounds and mistakes.

use super::*;

fn policies_of(stream: Value) -> StreamPolicies {
    load_json(&with(smallest(), "/models/chat/stream", stream)).unwrap().models()[0].stream
}

fn stream_of(stream: Value) -> StreamPolicy {
    policies_of(stream).may_reason
}

#[test]
fn every_field_of_the_gate_is_applied() {
    let default = StreamPolicy::default();
    assert_eq!(stream_of(json!({})), default);
    assert_eq!(
        default.gate,
        HoldPolicy { until: HoldUntil::FirstContent, max_bytes: 65_536, max_time: None }
    );
    for (word, until) in [
        ("headers", HoldUntil::Headers),
        ("first_event", HoldUntil::FirstEvent),
        ("first_content", HoldUntil::FirstContent),
    ] {
        let gate = HoldPolicy { until, ..default.gate };
        assert_eq!(stream_of(json!({"gate": {"until": word}})), StreamPolicy { gate, ..default });
    }
    for (written, max_bytes) in [("1KiB", 1024), ("1MiB", 1_048_576)] {
        let gate = HoldPolicy { max_bytes, ..default.gate };
        assert_eq!(stream_of(json!({"gate": {"max_bytes": written}})), StreamPolicy { gate, ..default });
    }
}

/// `first_content`, `idle`, `content_idle`, `answer` and `total` in seconds.
fn seconds(policy: StreamPolicy) -> [u64; 5] {
    [policy.first_content, policy.idle, policy.content_idle, policy.answer, policy.total]
        .map(|time| time.as_secs())
}

#[test]
fn a_target_that_never_reasons_has_shorter_times_unless_they_are_configured() {
    for (written, may_reason, never_reasons) in [
        (json!({}), [120, 120, 120, 600, 900], [30, 30, 120, 120, 900]),
        (json!({"first_content": "7s"}), [7, 120, 120, 600, 900], [7, 30, 120, 120, 900]),
        (json!({"idle": "8s", "content_idle": "9s"}), [120, 8, 9, 600, 900], [30, 8, 9, 120, 900]),
        (json!({"answer": "20s", "total": "40s"}), [120, 120, 120, 20, 40], [30, 30, 120, 20, 40]),
        (json!({"answer": "20m"}), [120, 120, 120, 1200, 1800], [30, 30, 120, 1200, 1800]),
        (json!({"answer": "24h"}), [120, 120, 120, 86_400, 86_400], [30, 30, 120, 86_400, 86_400]),
    ] {
        let policies = policies_of(written.clone());
        assert_eq!(seconds(policies.of_target(true)), may_reason, "{written}");
        assert_eq!(seconds(policies.of_target(false)), never_reasons, "{written}");
        assert_eq!(policies.total().as_secs(), may_reason[4]);
        let others = StreamPolicy {
            first_content: policies.may_reason.first_content,
            idle: policies.may_reason.idle,
            answer: policies.may_reason.answer,
            ..policies.never_reasons
        };
        assert_eq!(others, policies.may_reason, "{written}");
    }
    assert_eq!(policies_of(json!({})), StreamPolicies::default());
}

#[test]
fn a_plain_answer_times_out_before_the_whole_request_by_default() {
    for answer in ["100ms", "1s", "599s", "600s", "601s", "1h", "23h"] {
        let policies = policies_of(json!({"answer": answer}));
        assert!(policies.may_reason.answer < policies.total(), "{answer}");
    }
}

#[test]
fn what_is_declared_or_in_the_catalogue_decides_whether_a_target_may_reason() {
    for (model, declared, may_reason) in [
        ("gpt-4.1-mini", None, false),
        ("gpt-5-mini", None, true),
        ("my-model", None, true),
        ("my-model", Some(false), false),
        ("gpt-4.1-mini", Some(true), true),
        ("gpt-5-mini", Some(false), false),
    ] {
        let mut config = with(smallest(), "/targets/gpt/model", json!(model));
        if let Some(declared) = declared {
            config["targets"]["gpt"]["reasoning"] = json!(declared);
        }
        let offers = load_json(&config).unwrap().targets()[0].offers.clone();
        assert_eq!(offers.may_reason(), may_reason, "{model} {declared:?}");
    }
}

#[test]
fn optional_features_are_off_by_default_and_applied_if_configured() {
    let default = StreamPolicy::default();
    assert_eq!((default.keep_alive, default.min_rate, default.gate.max_time), (None, None, None));
    let stream = json!({
        "keep_alive": "15s", "min_rate": {"events": 5, "window": "20s"}, "gate": {"max_time": "25s"},
    });
    let written = StreamPolicy {
        keep_alive: Some(Duration::from_secs(15)),
        min_rate: Some(MinRate { events: 5, window: Duration::from_secs(20) }),
        gate: HoldPolicy { max_time: Some(Duration::from_secs(25)), ..default.gate },
        ..default
    };
    assert_eq!(stream_of(stream), written);
}

#[test]
fn linger_is_a_duration_or_the_providers_choice() {
    let of = |written: Value| stream_of(written).linger;
    assert_eq!(of(json!({})), Some(Duration::from_secs(5)));
    assert_eq!(of(json!({"linger": "100ms"})), Some(Duration::from_millis(100)));
    assert_eq!(of(json!({"linger": "provider"})), None);
}

#[test]
fn mistakes_are_reported_with_their_paths() {
    for (stream, expected) in [
        (json!({"linger": "50ms"}), "linger: is 50ms, expected 100ms to 1h"),
        (
            json!({"linger": "client"}),
            "linger: `client` is not a duration, expected a number with a unit (ms, s, m or \
             h), such as \"30s\", or \"provider\"",
        ),
        (
            json!({"gate": {"until": "first_contents"}}),
            "gate.until: `first_contents` is not a valid value, did you mean `first_content`?",
        ),
        (json!({"gate": {"max_bytes": "1023B"}}), "gate.max_bytes: is 1023 bytes, expected 1KiB to 1MiB"),
        (json!({"gate": {"max_bytes": "1.1MiB"}}), "gate.max_bytes: is 1153433 bytes, expected 1KiB to 1MiB"),
        (
            json!({"gate": {"max_byte": "64KiB"}}),
            "gate.max_byte: unknown field `max_byte`, did you mean `max_bytes`?",
        ),
        (json!({"gate": {"max_time": "99ms"}}), "gate.max_time: is 99ms, expected 100ms to 1h"),
        (json!({"keep_alive": "900ms"}), "keep_alive: is 900ms, expected 1s to 1h"),
        (json!({"min_rate": {"window": "10s"}}), "min_rate.events: is missing"),
        (json!({"min_rate": {"events": 3}}), "min_rate.window: is missing"),
        (json!({"min_rate": {"events": 0, "window": "10s"}}), "min_rate.events: is 0, expected 1 to 100"),
        (json!({"min_rate": {"events": 101, "window": "10s"}}), "min_rate.events: is 101, expected 1 to 100"),
        (json!({"min_rate": {"events": 3, "window": "2h"}}), "min_rate.window: is 2h, expected 1s to 1h"),
    ] {
        check_change("/models/chat/stream", stream, &format!("models.chat.stream.{expected}"));
    }
}

#[test]
fn old_names_are_rejected_with_the_new_name() {
    let stream = json!({"silence": "20s", "content_silence": "60s", "idle": "20s"});
    let mistakes = load_json(&with(smallest(), "/models/chat/stream", stream)).unwrap_err().to_string();
    for expected in [
        "models.chat.stream.silence: `silence` is now called `idle`; write `idle`",
        "models.chat.stream.content_silence: `content_silence` is now called `content_idle`; \
         write `content_idle`",
    ] {
        assert!(mistakes.contains(expected), "{mistakes}");
    }
    // The old name is an unknown field where the new one does not exist.
    let elsewhere =
        load_json(&with(smallest(), "/models/chat/silence", json!("20s"))).unwrap_err().to_string();
    assert!(elsewhere.contains("unknown field `silence`"), "{elsewhere}");
}
