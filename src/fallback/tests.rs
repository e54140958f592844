//! What each gate admits and rejects, and what holds for all gates.

mod advice;
mod masks;
mod needs;
mod properties;
mod state;
mod substitution;
mod terms;
mod translation;
mod trust;

use std::rc::Rc;

use serde_json::{Value, json};

use super::*;
use crate::base::{Endpoint, ErrorClass, TargetId, Timestamp};
use crate::config::{self, Config};
use crate::provider::Capability;
use crate::request::{Facts, Scanner};

/// A Monday in 2026, at noon.
const NOON: Timestamp = Timestamp::from_millis(1_780_920_000_000);

/// `first` and `other` are at one provider and account, `far` is at another of each. `near` is at another account with the
/// model of `first`, so it is the equal of the first choice. Nothing is declared.
fn config(targets: Value, fallback: Value) -> Config {
    load(&config_json(targets, fallback))
}

fn config_json(targets: Value, fallback: Value) -> Value {
    let mut config = json!({
        "providers": {
            "near": {"kind": "openai-compatible", "host": "near.test"},
            "far": {"kind": "openai-compatible", "host": "far.test"},
        },
        "accounts": {"a": {"provider": "near"}, "b": {"provider": "far"}, "c": {"provider": "near"}},
        "targets": {
            "first": {"account": "a", "model": "m"},
            "other": {"account": "a", "model": "n"},
            "near": {"account": "c", "model": "m"},
            "far": {"account": "b", "model": "n"},
        },
        "models": {"chat": {"tiers": [["first"], ["other"], ["near"], ["far"]], "fallback": fallback}},
    });
    for (name, fields) in targets.as_object().unwrap() {
        for (field, value) in fields.as_object().unwrap() {
            config["targets"][name][field] = value.clone();
        }
    }
    config
}

fn load(config: &Value) -> Config {
    config::load(config.to_string().as_bytes(), &|_| None).unwrap_or_else(|mistakes| panic!("{mistakes}"))
}

fn target(config: &Config, name: &str) -> TargetId {
    let index = config.targets().iter().position(|target| &*target.name == name).unwrap();
    TargetId::from_index(index).unwrap()
}

fn facts(body: &Value) -> Facts {
    let mut scanner = Scanner::new();
    scanner.feed(body.to_string().as_bytes()).unwrap();
    scanner.finish().unwrap()
}

fn chat(extra: Value) -> Needs {
    let mut body = json!({"model": "chat", "messages": [{"role": "user", "content": "hello"}]});
    for (name, value) in extra.as_object().unwrap() {
        body[name] = value.clone();
    }
    Needs::of(&facts(&body), Endpoint::Chat)
}

/// The gates that reject `name` for a request with these needs, after these failures.
fn closed(config: &Config, name: &str, needs: &Needs, failed: &[(&str, ErrorClass)]) -> Vec<&'static str> {
    closed_for(config, name, needs, failed, &ClientLimits::default(), NOON)
}

fn closed_for(
    config: &Config,
    name: &str,
    needs: &Needs,
    failed: &[(&str, ErrorClass)],
    client: &ClientLimits,
    now: Timestamp,
) -> Vec<&'static str> {
    let past = PastAttempts::of(failed.iter().map(|(name, class)| (target(config, name), Some(*class))));
    let eligibility = Eligibility {
        config,
        model: &config.models()[0],
        key: None,
        client,
        needs,
        past,
        estimates: None,
        now: now.wall(),
    };
    let id = target(config, name);
    let gates: Vec<_> = eligibility.closed_gates(id).map(Gate::name).collect();
    assert_eq!(eligibility.admits(id), gates.is_empty());
    assert_eq!(eligibility.first_gate(id).map(Gate::name), gates.first().copied());
    // Every rejection can be explained in words.
    let violations: Vec<_> = eligibility.violations(id).map(|violation| violation.gate.name()).collect();
    assert_eq!(violations, gates);
    assert!(eligibility.violations(id).all(|gate| !gate.needed.is_empty() && !gate.offered.is_empty()));
    let advice: Vec<_> = eligibility.advice(id).collect();
    assert_eq!(advice.len(), gates.len());
    assert!(
        advice.iter().all(|text| text.contains(&format!("`{name}`")) && text.ends_with('.')),
        "{advice:?}"
    );
    gates
}

const NOTHING: [&str; 0] = [];

#[test]
fn every_gate_has_its_own_name() {
    let mut names: Vec<_> = Gate::all().map(Gate::name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), Gate::all().count());
}

#[test]
fn plain_chat_passes_when_nothing_is_declared() {
    let config = config(json!({}), json!({}));
    let needs =
        chat(json!({"max_tokens": 500, "temperature": 0.2, "stream": true, "n": 1, "tool_choice": "auto"}));
    for name in ["first", "other", "near", "far"] {
        assert_eq!(closed(&config, name, &needs, &[]), NOTHING);
    }
}

#[test]
fn violations_name_what_was_needed_and_what_is_offered() {
    let config = config(
        json!({"other": {"region": "us", "price": {"input": 1, "output": 2}, "tools": false}}),
        json!({"region": ["eu", "ch"], "max_price": {"input": 0.5}}),
    );
    let needs = chat(json!({"tools": [{"type": "function", "function": {"name": "f"}}], "max_tokens": 5000}));
    let (client, past) = (ClientLimits::default(), PastAttempts::default());
    let eligibility = Eligibility {
        config: &config,
        model: &config.models()[0],
        key: None,
        client: &client,
        needs: &needs,
        past,
        estimates: None,
        now: NOON.wall(),
    };
    let violations: Vec<_> = eligibility
        .violations(target(&config, "other"))
        .map(|closed| format!("{}: {} / {}", closed.gate.name(), closed.needed, closed.offered))
        .collect();
    assert_eq!(
        violations,
        [
            "residency: eu or ch / us",
            "price_ceiling: at most $0.5 input / $1 input $2 output",
            "tools: yes / no",
            "max_output: 5000 tokens / 4096 (assumed)",
        ]
    );
}
