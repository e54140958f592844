//! Failover that exists on paper only: everyday requests that no other target of the model can take.

use std::cell::OnceCell;
use std::fmt::Write as _;

use llm_failsafe::base::{Endpoint, ErrorClass, TargetId, WallTime};
use llm_failsafe::config::{Config, Model};
use llm_failsafe::fallback::{ClientLimits, Eligibility, Needs, PastAttempts, Translated};
use llm_failsafe::request::{Facts, Scanner};
use llm_failsafe::translate::{ReasoningPolicy, losses_of};
use serde_json::{Value, json};

/// The words of a long prompt. It has about 40,000 tokens.
const LONG_PROMPT_WORDS: usize = 30_000;

/// A kind of request that clients send every day.
struct Everyday {
    name: &'static str,
    needs: Needs,
}

/// Models whose first tier serves everyday requests that no other target could take if it failed.
pub(super) fn warnings(config: &Config, now: WallTime) -> Vec<String> {
    let requests = OnceCell::new();
    let models = config.models().iter().filter(|model| model.tiers.iter().flatten().count() > 1);
    models.filter_map(|model| warning(config, model, requests.get_or_init(everyday), now)).collect()
}

fn warning(config: &Config, model: &Model, requests: &[Everyday], now: WallTime) -> Option<String> {
    let served: Vec<_> = requests
        .iter()
        .filter_map(|request| {
            let case = Case { config, model, needs: &request.needs, now };
            let servers: Vec<_> =
                model.tiers.first()?.iter().copied().filter(|target| case.admits(*target, None)).collect();
            let first = *servers.first()?;
            Some((request, case, servers, first))
        })
        .collect();
    let without: Vec<_> = served
        .iter()
        .filter(|(_, case, servers, _)| servers.iter().all(|server| !case.has_substitute(*server)))
        .collect();
    let all_are_lost = without.len() == served.len();
    // That no other target has the endpoint is a warning of its own (`models.rs`).
    let without: Vec<_> = without
        .into_iter()
        .filter(|(_, case, _, first)| all_are_lost || case.others_support_it(*first))
        .collect();
    let (_, case, _, first) = without.first()?;
    let name = &model.name;
    let mut text = if all_are_lost {
        format!(
            "models.{name}: failover exists on paper only: no other target can take what the first tier serves"
        )
    } else {
        let mut text = format!("models.{name}: no target can replace the first tier for these requests");
        for endpoint in Endpoint::ALL {
            let kinds = without.iter().filter(|(request, ..)| request.needs.endpoint == endpoint);
            let kinds: Vec<_> = kinds.map(|(request, ..)| request.name).collect();
            if !kinds.is_empty() {
                let _ = write!(text, "; at `{}`: {}", endpoint.name(), kinds.join(", "));
            }
        }
        text
    };
    if let Some(reason) = case.objection(*first) {
        let _ = write!(text, " ({reason})");
    }
    Some(text)
}

/// One request at one model.
struct Case<'a> {
    config: &'a Config,
    model: &'a Model,
    needs: &'a Needs,
    now: WallTime,
}

impl Case<'_> {
    /// Runs `ask` on the library's gates, for a request that has failed at `failed`.
    fn gates<T>(&self, failed: Option<TargetId>, ask: impl FnOnce(&Eligibility<'_>) -> T) -> T {
        let client = ClientLimits::default();
        let past = PastAttempts::of(failed.into_iter().map(|target| (target, Some(ErrorClass::Server))));
        let Self { config, model, needs, now } = *self;
        ask(&Eligibility { config, model, key: None, client: &client, needs, past, estimates: None, now })
    }

    /// Rules that are on trial (`mode: shadow`) count, because they are to be enforced.
    fn admits(&self, target: TargetId, failed: Option<TargetId>) -> bool {
        self.gates(failed, |gates| gates.admits(target))
    }

    fn others(&self, than: TargetId) -> impl Iterator<Item = TargetId> {
        self.model.tiers.iter().flatten().copied().filter(move |target| *target != than)
    }

    fn others_support_it(&self, than: TargetId) -> bool {
        let mut others = self.others(than).filter_map(|other| self.config.target(other));
        others.any(|other| self.config.serves(other, self.needs.endpoint))
    }

    fn has_substitute(&self, failed: TargetId) -> bool {
        self.others(failed).any(|other| self.admits(other, Some(failed)))
    }

    /// Why the last of the other targets does not take the request.
    fn objection(&self, failed: TargetId) -> Option<String> {
        let other = self.others(failed).last()?;
        let name = &self.config.target(other)?.name;
        self.gates(Some(failed), |gates| {
            let closed = gates.violations(other).next()?;
            Some(format!(
                "`{name}`: {}, needed {}, offered {}",
                closed.gate.name(),
                closed.needed,
                closed.offered
            ))
        })
    }
}

fn everyday() -> Vec<Everyday> {
    let mut requests = Vec::new();
    for endpoint in [Endpoint::Chat, Endpoint::Messages, Endpoint::Responses] {
        for (name, body) in bodies(endpoint) {
            if let Some(facts) = facts(&body) {
                let mut needs = Needs::of(&facts, endpoint);
                let body = body.to_string();
                needs.translated = Translated::of(endpoint, |way| {
                    losses_of(way, body.as_bytes(), ReasoningPolicy::Drop).ok()
                });
                requests.push(Everyday { name, needs });
            }
        }
    }
    requests
}

/// The facts that the filter reads from a body.
fn facts(body: &Value) -> Option<Facts> {
    let mut scanner = Scanner::new();
    scanner.feed(body.to_string().as_bytes()).ok()?;
    scanner.finish().ok()
}

fn bodies(endpoint: Endpoint) -> Vec<(&'static str, Value)> {
    let schema = json!({"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": false});
    let said = |content: Value| {
        let turns = json!([{"role": "user", "content": content}]);
        let list = if endpoint == Endpoint::Responses { "input" } else { "messages" };
        let mut body = json!({"model": "m"});
        if endpoint == Endpoint::Messages {
            body["max_tokens"] = json!(1024);
        }
        body[list] = turns;
        body
    };
    let plain = said(json!("hello"));
    let with = |name: &str, value: Value| {
        let mut body = plain.clone();
        body[name] = value;
        body
    };
    let (image, tool, format) = match endpoint {
        Endpoint::Messages => (
            json!([{"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}}]),
            json!({"name": "f", "input_schema": schema}),
            None,
        ),
        Endpoint::Responses => (
            json!([{"type": "input_image", "image_url": "data:image/png;base64,iVBORw0KGgo="}]),
            json!({"type": "function", "name": "f", "parameters": schema}),
            Some((
                "text",
                json!({"format": {"type": "json_schema", "name": "a", "schema": schema, "strict": true}}),
            )),
        ),
        _ => (
            json!([{"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}]),
            json!({"type": "function", "function": {"name": "f", "parameters": schema}}),
            Some((
                "response_format",
                json!({"type": "json_schema", "json_schema": {"name": "a", "schema": schema, "strict": true}}),
            )),
        ),
    };
    let long = said(json!("a long story ".repeat(LONG_PROMPT_WORDS / 3)));
    let mut bodies = vec![
        ("plain", plain.clone()),
        ("streams", with("stream", json!(true))),
        ("tools", with("tools", json!([tool]))),
        ("an image", said(image)),
        ("a long prompt", long),
    ];
    bodies.extend(format.map(|(name, value)| ("JSON schema", with(name, value))));
    bodies
}

#[cfg(test)]
mod tests {
    use llm_failsafe::provider::Capability;

    use super::*;

    const NOW: WallTime = WallTime::from_millis(1_780_920_000_000);

    /// Warnings about a model with these tiers. Target `a` can do everything; the others have these fields in addition.
    fn warnings_of(tiers: Value, others: &[(&str, Value)], fallback: Value) -> Vec<String> {
        let all = json!({
            "provider": "one", "model": "m", "tools": true, "strict_tools": true, "parallel_tools": true, "vision": true,
            "json_schema": true, "streaming": true, "context_window": 1_000_000, "region": "us",
        });
        let mut config = json!({
            "providers": {
                "one": {"kind": "openai-compatible", "host": "a.test", "endpoints": ["chat"]},
                "two": {"kind": "openai-compatible", "host": "b.test"},
                "claude": {"kind": "anthropic", "endpoints": ["messages"]},
            },
            "targets": {"a": all},
            "models": {"chat": {"tiers": tiers, "fallback": fallback}},
        });
        for (name, fields) in others {
            let mut target = all.clone();
            for (field, value) in fields.as_object().unwrap() {
                target[field] = value.clone();
            }
            config["targets"][name] = target;
        }
        let config = llm_failsafe::config::load(config.to_string().as_bytes(), &|_| None).unwrap();
        warnings(&config, NOW)
    }

    #[test]
    fn every_everyday_request_is_one_that_the_filter_can_read() {
        for endpoint in [Endpoint::Chat, Endpoint::Messages, Endpoint::Responses] {
            for (name, body) in bodies(endpoint) {
                assert!(facts(&body).is_some(), "{name} at {endpoint:?}");
            }
        }
        let needs: Vec<_> = everyday().into_iter().map(|request| request.needs).collect();
        assert!(needs.iter().any(|needs| needs.streamed));
        assert!(needs.iter().any(|needs| needs.size.tokens() > 20_000));
        for capability in [Capability::Tools, Capability::Vision, Capability::JsonSchema] {
            assert!(needs.iter().any(|needs| needs.capabilities.contains(capability)), "{capability:?}");
        }
    }

    #[test]
    fn a_target_that_can_do_the_same_is_a_substitute_in_any_tier() {
        let other = ("b", json!({"provider": "two"}));
        assert_eq!(warnings_of(json!([["a"], ["b"]]), std::slice::from_ref(&other), json!({})), [""; 0]);
        assert_eq!(warnings_of(json!([["a", "b"]]), &[other], json!({})), [""; 0]);
        assert_eq!(
            warnings_of(json!([["a"]]), &[], json!({})),
            [""; 0],
            "one target has no tiers to fall back to"
        );
    }

    #[test]
    fn requests_that_no_other_target_can_take_are_named() {
        let poor = ("b", json!({"provider": "two", "vision": false, "context_window": 16_000}));
        let found = warnings_of(json!([["a"], ["b"]]), &[poor], json!({}));
        let [one] = found.as_slice() else { panic!("{found:#?}") };
        let start = "models.chat: no target can replace the first tier for these requests; at `chat`: an image, a long prompt";
        assert!(one.starts_with(start), "{one}");
        assert!(one.contains("(`b`: "), "{one}");
    }

    #[test]
    fn failover_exists_on_paper_only_if_nothing_can_be_taken_over() {
        let abroad = json!({"provider": "two", "region": "eu"});
        let other_dialect = json!({"provider": "claude"});
        for (other, fallback) in [(abroad, json!({"region": ["us"]})), (other_dialect, json!({}))] {
            let found = warnings_of(json!([["a"], ["b"]]), &[("b", other)], fallback);
            let [one] = found.as_slice() else { panic!("{found:#?}") };
            assert!(one.starts_with("models.chat: failover exists on paper only"), "{one}");
        }
    }

    #[test]
    fn rules_on_trial_are_judged_as_if_they_were_enforced() {
        let (abroad, at_home) = (json!({"provider": "two", "region": "eu"}), json!({"provider": "two"}));
        let fallback = json!({"region": ["us"], "mode": "shadow"});
        assert_eq!(warnings_of(json!([["a"], ["b"]]), &[("b", abroad)], fallback.clone()).len(), 1);
        assert_eq!(warnings_of(json!([["a"], ["b"]]), &[("b", at_home)], fallback), [""; 0]);
    }
}
