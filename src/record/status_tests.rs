use super::*;
use crate::base::ErrorClass;
use crate::base::memory::Memory;
use crate::breaker::{Command, HealthSignal, Levels, QueueState};
use crate::config;
use serde_json::{Value, json};
use std::time::Duration;

const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

fn report(config: &Config, health_view: &HealthView, now: Timestamp) -> Value {
    let (mut pending, headroom) = (Pending::new(config, 1), Headroom::new(config));
    pending.first_content(TargetId::from_index(0).unwrap(), Duration::from_millis(120));
    let levels = Levels { attempts: 3, waiting: 2, journeys: 4, held_bytes: 70_000 };
    pending.set_levels(1, levels);
    pending.set_queues(std::iter::once(QueueState { requests: 2, bytes: 9, since: now }));
    let sources = Sources {
        config,
        health_view,
        pending: &pending,
        headroom: &headroom,
        now,
        wall: WallClock::default(),
    };
    let retries = BudgetUse { requests: 10, used: 3, allowed: 2 };
    serde_json::to_value(sources.status(None, retries, Vec::new(), Vec::new(), &[])).unwrap()
}

fn small() -> Config {
    limited(json!(7))
}

fn limited(max_pending: Value) -> Config {
    let config = json!({
        "providers": {"openai": {"kind": "openai"}},
        "accounts": {"a": {"provider": "openai", "key": {"value": "sk-secret"}}},
        "targets": {"gpt": {"account": "a", "model": "m", "limits": {"max_pending": max_pending}}},
        "models": {"chat": {"targets": ["gpt"]}},
    });
    config::load(config.to_string().as_bytes(), &|_| None).unwrap()
}

#[test]
fn a_blocked_account_makes_its_targets_unavailable_and_gives_the_reason() {
    let (config, mut store) = (small(), Memory::new());
    let mut health_view = HealthView::new(&config);
    let well = report(&config, &health_view, NOW);
    assert_eq!((&well["models"][0]["fit"], &well["targets"][0]["state"]), (&json!(1), &json!("closed")));
    assert!(well["targets"][0].get("since_ms").is_none(), "it has never been otherwise");

    let account = find(&config, ScopeKind::Account, "a").unwrap();
    let ticket = health_view.ticket(account).unwrap();
    let outcome = HealthSignal::Blocked(ErrorClass::Auth);
    health_view.report(&mut store, account, &config.breaker, (ticket, outcome), NOW, 0);
    let ill = report(&config, &health_view, NOW);
    assert_eq!(ill["models"][0]["fit"], 0);
    assert_eq!(ill["targets"][0]["state"], "closed", "it is not the target's fault");
    assert_eq!(ill["targets"][0]["fit"], false, "but it is not asked");
    let account_now = &ill["accounts"][0];
    assert_eq!(account_now["state"], "blocked");
    assert_eq!(account_now["reason"], json!({"rule": "blocked", "failure": "auth"}));
    assert_eq!(account_now["until_ms"], json!(NOW.after(config.breaker.block).as_millis()));
    assert!(!ill.to_string().contains("sk-secret"));

    health_view.command(&mut store, account, Command::ForceClosed, NOW);
    let forced = report(&config, &health_view, NOW);
    assert_eq!(forced["models"][0]["fit"], 1);
    let account_now = &forced["accounts"][0];
    assert_eq!((&account_now["state"], &account_now["phase"]), (&json!("forced_closed"), &json!("open")));
}

#[test]
fn an_adaptive_limit_is_shown_as_it_is_now_with_its_bounds() {
    let config = limited(json!({"adaptive": true, "min": 2, "max": 9}));
    let status = report(&config, &HealthView::new(&config), NOW);
    assert_eq!(
        status["targets"][0]["headroom"],
        json!([{"of": "max_pending", "by": "configuration", "limit": 4, "left": 4, "min": 2, "max": 9}])
    );
}

#[test]
fn the_report_contains_latency_limits_queues_load_and_the_retry_budget() {
    let config = small();
    let status = report(&config, &HealthView::new(&config), NOW);
    let target = &status["targets"][0];
    assert_eq!(target["first_content"], json!({"attempts": 1, "mean_ms": 120, "slowest_ms": 120}));
    assert_eq!(
        target["headroom"],
        json!([{"of": "max_pending", "by": "configuration", "limit": 7, "left": 7}])
    );
    let queue = json!({
        "waiting": 2, "bytes": 9, "since_ms": NOW.as_millis(), "max_waiting": 100, "max_wait_ms": 5000,
    });
    assert_eq!(status["models"][0]["queue"], queue);
    let budget = json!({"window_s": 10, "requests": 10, "used": 3, "allowed": 2, "left": 0});
    assert_eq!(status["retry_budget"], budget);
    let load = json!({"attempts": 3, "waiting": 2, "journeys": 4, "held_bytes": 70_000, "max_held_bytes": 512 << 20});
    assert_eq!(status["load"], load);
    assert!(status["accounts"][0].get("headroom").is_none());
}

#[test]
fn the_largest_configuration_still_gets_a_report_of_bounded_size() {
    let long = |prefix: &str, n: usize| format!("{prefix}{n:0>width$}", width = 64 - prefix.len());
    let section = |count: usize, prefix: &str, entry: &dyn Fn(usize) -> Value| -> Value {
        (0..count).map(|n| (long(prefix, n), entry(n))).collect::<serde_json::Map<_, _>>().into()
    };
    let config = json!({
        "providers": section(config::MAX_PROVIDERS, "p", &|_| json!({"kind": "openai"})),
        "accounts": section(config::MAX_ACCOUNTS, "a", &|n| json!({
            "provider": long("p", n % 64), "key": {"value": "k"},
        })),
        "targets": section(config::MAX_TARGETS, "t", &|_| json!({
            "provider": long("p", 0), "model": "m".repeat(64),
        })),
        "models": section(config::MAX_MODELS, "m", &|n| json!({"targets": [long("t", n)]})),
    });
    let config = config::load(config.to_string().as_bytes(), &|_| None).unwrap();
    let health_view = HealthView::new(&config);
    let size = report(&config, &health_view, NOW).to_string().len();
    assert!(size < 1024 * 1024, "{size}");
}
