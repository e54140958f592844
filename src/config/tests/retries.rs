//! Retries and queues.

use serde_json::json;

use super::*;

#[test]
fn every_field_of_the_retry_policy_is_applied() {
    let retry = json!({
        "attempts": 4, "attempts_per_target": 3, "backoff": {"base": "50ms", "max": "1s"},
        "retry_after_cap": "0s",
        "replay_uncertain": "never", "last_error": "own", "max_cost": 0.05,
        "queue": {"max_wait": "1s", "max_waiting": 7, "max_waiting_bytes": "2KiB"},
    });
    let priced = with(smallest(), "/targets/gpt/price", json!({"input": 1, "output": 2}));
    let config = load_json(&with(priced, "/models/chat/retry", retry)).unwrap();
    let policy = config.models()[0].retry;
    let queue = policy.queue.unwrap();
    assert_eq!((policy.attempts, policy.attempts_per_target), (4, 3));
    assert_eq!((policy.backoff.base.as_millis(), policy.backoff.max.as_millis()), (50, 1000));
    assert!(policy.retry_after_cap.is_zero());
    assert_eq!((policy.replay_uncertain, policy.last_error), (Replay::Never, LastError::Own));
    assert_eq!((queue.max_wait.as_millis(), queue.max_waiting, queue.max_waiting_bytes), (1000, 7, 2048));
    assert_eq!(policy.max_cost.unwrap().micros(), 50_000);
    let usual = load_json(&smallest()).unwrap();
    assert_eq!(usual.models()[0].retry, RetryPolicy::default());
    assert_eq!(usual.retry_budget, RetryBudget::default());
    let waits = load_json(&with(smallest(), "/models/chat/when_all_open", json!("queue"))).unwrap();
    assert_eq!(waits.models()[0].retry.queue, Some(QueuePolicy::default()));
    let long =
        load_json(&with(smallest(), "/models/chat/retry", json!({"backoff": {"base": "5s"}}))).unwrap();
    assert_eq!(long.models()[0].retry.backoff.max.as_secs(), 5, "the default of the maximum is raised");
}

#[test]
fn mistakes_are_reported_with_their_paths() {
    for (at, written, expected) in [
        (
            "/models/chat/retry/attempts_per_target",
            json!(11),
            "models.chat.retry.attempts_per_target: is 11, expected 1 to 10",
        ),
        (
            "/models/chat/retry/backoff",
            json!({"base": "2s", "max": "1s"}),
            "models.chat.retry.backoff.max: is 1s, expected 2s to 1m",
        ),
        (
            "/models/chat/retry/retry_after_cap",
            json!("1h"),
            "models.chat.retry.retry_after_cap: is 1h, expected 0s to 10m",
        ),
        (
            "/models/chat/retry/queue",
            json!({"max_waiting": 0}),
            "models.chat.retry.queue.max_waiting: is 0, expected 1 to 10000",
        ),
        (
            "/models/chat/retry/queue",
            json!({"max_waiting_bytes": "1B"}),
            "models.chat.retry.queue.max_waiting_bytes: is 1 bytes, expected 1KiB to 1024MiB",
        ),
        (
            "/models/chat/retry/max_cost",
            json!(0),
            "models.chat.retry.max_cost: is 0, expected US dollars, more than 0 and at most 10000000",
        ),
        (
            "/models/chat/retry/max_cost",
            json!(0.05),
            "models.chat.retry.max_cost: needs a `price` for each target of the model, but \
             target `gpt` has none",
        ),
        ("/retry_budget", json!({"ratio": -1}), "retry_budget.ratio: is -1, expected 0 to 10"),
        ("/retry_budget", json!({"floor": 10_001}), "retry_budget.floor: is 10001, expected 0 to 10000"),
    ] {
        // The catalogue has no price of this model.
        let mut config = with(smallest(), "/targets/gpt/model", json!("my-model"));
        if at.starts_with("/models/chat/retry/") {
            config = with(config, "/models/chat/retry", json!({}));
        }
        let mistakes = load_json(&with(config, at, written)).unwrap_err().to_string();
        assert!(mistakes.contains(expected), "{mistakes}");
    }
}
