//! One request: what it needs, which targets are eligible, and what follows each class of error.

use std::fmt::Write;
use std::io::Read as _;
use std::path::Path;

use llm_failsafe::base::{ErrorClass, TargetId, WallTime};
use llm_failsafe::config::{Boundaries, Config, Mode, Model};
use llm_failsafe::fallback::{ClientLimits, Eligibility, Needs, PastAttempts};
use llm_failsafe::intake::{Called, ClientPath, client_path, restricted_routing, translated};
use llm_failsafe::request::{Facts, ModelField, Scanner};
use serde_json::{Value, json};

use crate::arguments::Question;

/// The explanation, as text or JSON.
pub fn report(config: &Config, question: &Question, now: WallTime) -> Result<String, String> {
    let answer = Request::read(config, question, now)?.answer(now);
    Ok(if question.json { format!("{answer:#}") } else { in_words(&answer) })
}

struct Request<'a> {
    config: &'a Config,
    model: &'a Model,
    key: Option<&'a Boundaries>,
    /// Why the gateway refuses the request before it chooses a target.
    refusal: Option<String>,
    client: ClientLimits,
    needs: Needs,
    down: Vec<TargetId>,
}

impl<'a> Request<'a> {
    fn read(config: &'a Config, question: &Question, now: WallTime) -> Result<Self, String> {
        let ClientPath::Endpoint(Called { endpoint, model: path_model, .. }) = client_path(&question.path)
        else {
            return Err(format!("`{}` is not a path that the filter handles", question.path));
        };
        let path = question.request.display();
        let body = body(&question.request, config.limits.max_body_bytes)?;
        let facts = scan(&body).map_err(|error| format!("{path}: {error}"))?;
        let name = match (&path_model, &facts.model) {
            (Some(name), _) => name,
            (None, ModelField::Text { value, .. }) => value.as_str(),
            _ => return Err(format!("{path}: has no model name")),
        };
        let id = config.find_model(name).map(|(id, _)| id);
        let model = id.and_then(|id| config.model(id));
        let model = model.ok_or_else(|| format!("{path}: no model has the name `{name}`"))?;
        let mut refusal = None;
        let key = match &question.key {
            None if config.keys.is_some() => {
                refusal = Some(
                    "without a client key the gateway answers 401 (invalid_api_key); choose one with --key NAME"
                        .to_owned(),
                );
                None
            }
            None => None,
            Some(name) => {
                let key = config.keys.iter().flatten().find(|key| *key.name == **name);
                let key = key.ok_or_else(|| format!("no key has the name `{name}`"))?;
                if key.models.as_ref().is_some_and(|models| !id.is_some_and(|id| models.contains(&id))) {
                    return Err(format!("the key `{name}` may not use the model `{}`", model.name));
                }
                if key.expires.is_some_and(|end| end <= now) {
                    refusal = Some(format!(
                        "the key `{name}` has expired, so the gateway answers 401 (expired_api_key)"
                    ));
                }
                Some(key)
            }
        };
        if let Some(members) = restricted_routing(facts.routing, model, key).filter(|_| refusal.is_none()) {
            refusal = Some(format!(
                "the request chooses at the provider with {members}, which the restrictions of this model or key do not \
                 allow, so the gateway answers 403 (routing_not_allowed)"
            ));
        }
        let key = key.map(|key| &key.boundaries);
        let regions = question.region.as_ref().map(|list| {
            ClientLimits::regions_in(list).ok_or_else(|| format!("`{list}` is not a list of regions"))
        });
        let regions = regions.transpose()?;
        let down = question.down.iter().map(|name| {
            let index = config.targets().iter().position(|target| *target.name == **name);
            index.and_then(TargetId::from_index).ok_or_else(|| format!("no target has the name `{name}`"))
        });
        let mut needs = Needs::of(&facts, endpoint);
        needs.translated = translated(config, endpoint, body.len(), Some(&body));
        Ok(Self {
            config,
            model,
            key,
            refusal,
            client: ClientLimits { regions, no_fallback: question.no_fallback },
            needs,
            down: down.collect::<Result<_, _>>()?,
        })
    }

    fn eligibility(&self, past: PastAttempts, now: WallTime) -> Eligibility<'_> {
        let Self { config, model, key, client, needs, .. } = self;
        Eligibility { config, model, key: *key, client, needs, past, estimates: None, now }
    }

    fn name(&self, target: TargetId) -> &str {
        self.config.target(target).map_or("", |target| &target.name)
    }

    /// The eligible targets of the first tier that has any. One of them gets the next attempt.
    fn next(&self, past: PastAttempts, tried: Option<TargetId>, now: WallTime) -> Vec<TargetId> {
        let eligibility = self.eligibility(past, now);
        let allowed = |target: TargetId| match self.model.substitution.mode {
            Mode::Enforce => eligibility.admits(target),
            Mode::Shadow => eligibility.admits_without_fallback_rules(target),
        };
        let eligible =
            |target: &TargetId| allowed(*target) && !self.down.contains(target) && tried != Some(*target);
        let tiers =
            self.model.tiers.iter().map(|tier| tier.iter().copied().filter(eligible).collect::<Vec<_>>());
        tiers.into_iter().find(|tier| !tier.is_empty()).unwrap_or_default()
    }

    fn answer(&self, now: WallTime) -> Value {
        let eligibility = self.eligibility(PastAttempts::default(), now);
        let tiers = self.model.tiers.iter().enumerate();
        let candidates = tiers.flat_map(|(tier, targets)| targets.iter().map(move |target| (tier, *target)));
        let candidates: Vec<_> = candidates
            .map(|(tier, target)| {
                let gates: Vec<_> = eligibility
                    .violations(target)
                    .map(|closed| {
                        json!({"gate": closed.gate.name(), "needed": closed.needed, "offered": closed.offered})
                    })
                    .collect();
                let translated = eligibility.translated(target);
                let lost: Vec<_> =
                    translated.iter().flat_map(|(_, lost)| lost.iter()).map(|loss| loss.name()).collect();
                json!({
                    "translated": translated.map(|(way, _)| way.name()), "lost": lost,
                    "target": self.name(target), "tier": tier + 1, "down": self.down.contains(&target),
                    "admitted": gates.is_empty(), "gates": gates,
                })
            })
            .collect();
        let names =
            |targets: &[TargetId]| targets.iter().map(|target| self.name(*target)).collect::<Vec<_>>();
        let first = self.next(PastAttempts::default(), None, now);
        let mut after = serde_json::Map::new();
        if let Some(target) = first.first() {
            for class in ErrorClass::ALL.into_iter().filter(|class| *class != ErrorClass::ClientAbort) {
                let past = PastAttempts::of(std::iter::once((*target, Some(class))));
                let moves = self.model.fallback_on.contains(class)
                    && !self.client.no_fallback
                    && self.model.retry.attempts > 1;
                let next = if moves { self.next(past, Some(*target), now) } else { Vec::new() };
                after.insert(class.name().to_owned(), json!({"moves": moves, "next": names(&next)}));
            }
        }
        let needs = &self.needs;
        json!({
            "model": &*self.model.name,
            "endpoint": needs.endpoint.name(),
            "refusal": self.refusal,
            "needs": {
                "capabilities": needs.capabilities.iter().map(|one| one.name()).collect::<Vec<_>>(),
                "stream": needs.streamed,
                "estimated_input_tokens": needs.size.tokens(),
                "asked_output_tokens": needs.asked_output,
                "answers": needs.answers,
                "state": needs.state.kinds().map(|kind| kind.name()).collect::<Vec<_>>(),
                "sealed_reasoning": needs.sealed_reasoning,
            },
            "on_trial": self.model.substitution.mode == Mode::Shadow,
            "candidates": candidates,
            "first": names(&first),
            "after": after,
        })
    }
}

/// The body in a file. No more is read than the gateway accepts.
fn body(path: &Path, limit: u64) -> Result<Vec<u8>, String> {
    let at = |problem: &str| format!("{}: {problem}", path.display());
    let file = std::fs::File::open(path).map_err(|error| at(&error.to_string()))?;
    let mut body = Vec::new();
    file.take(limit.saturating_add(1)).read_to_end(&mut body).map_err(|error| at(&error.to_string()))?;
    if u64::try_from(body.len()).unwrap_or(u64::MAX) > limit {
        return Err(at(&format!(
            "is larger than {limit} bytes (`limits.max_body`), so the gateway answers 413 (request_too_large)"
        )));
    }
    Ok(body)
}

fn scan(body: &[u8]) -> Result<Facts, String> {
    let mut scanner = Scanner::new();
    scanner.feed(body).map_err(|error| error.to_string())?;
    scanner.finish().map_err(|error| error.to_string())
}

/// The explanation as text. Writing to a string does not fail, so results are ignored.
fn in_words(answer: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let list = |value: &Value| {
        let words: Vec<_> = value.as_array().into_iter().flatten().map(text).collect();
        if words.is_empty() { "none".to_owned() } else { words.join(", ") }
    };
    let needs = &answer["needs"];
    let mut out = format!("{} at {}\n", text(&answer["model"]), text(&answer["endpoint"]));
    if let Some(refusal) = answer["refusal"].as_str() {
        let _ = writeln!(out, "\nREFUSED: {refusal}.\nThe rest is what happens without that.");
    }
    out.push_str("\nneeds\n");
    let _ = writeln!(out, "  capabilities       {}", list(&needs["capabilities"]));
    let limit = &needs["asked_output_tokens"];
    let limit =
        if limit.is_null() { "no output limit".to_owned() } else { format!("at most {limit} output tokens") };
    let _ =
        writeln!(out, "  size               about {} input tokens, {limit}", needs["estimated_input_tokens"]);
    let _ = writeln!(out, "  provider state     {}", list(&needs["state"]));
    out.push_str("\ncandidates\n");
    for candidate in answer["candidates"].as_array().into_iter().flatten() {
        let verdict = match (candidate["admitted"] == true, candidate["down"] == true) {
            (true, false) => "eligible",
            (true, true) => "eligible, but down",
            (false, _) => "ineligible",
        };
        let _ = writeln!(out, "  tier {}  {:<20} {verdict}", candidate["tier"], text(&candidate["target"]));
        if let Some(way) = candidate["translated"].as_str() {
            let _ = writeln!(out, "          translated {way}, loses {}", list(&candidate["lost"]));
        }
        for gate in candidate["gates"].as_array().into_iter().flatten() {
            let (name, needed, offered) =
                (text(&gate["gate"]), text(&gate["needed"]), text(&gate["offered"]));
            let _ = writeln!(out, "          {name}: needed {needed}; offered {offered}");
        }
    }
    if answer["on_trial"] == true {
        out.push_str(
            "\nThe model's fallback is in shadow mode: the first tier is used even if the model's gates reject it.\n",
        );
    }
    let first = &answer["first"];
    if first.as_array().is_none_or(Vec::is_empty) {
        out.push_str("\nNo target is eligible: the request is rejected without an attempt.");
        return out;
    }
    let _ = writeln!(out, "\nfirst attempt: {}\n\nif {} fails with\n", list(first), text(&first[0]));
    for (class, then) in answer["after"].as_object().into_iter().flatten() {
        let then = if then["moves"] != true {
            "no fallback, the client receives the error".to_owned()
        } else if then["next"].as_array().is_none_or(Vec::is_empty) {
            "no other target is eligible".to_owned()
        } else {
            list(&then["next"])
        };
        let _ = writeln!(out, "  {class:<17} {then}");
    }
    out.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use llm_failsafe::config;

    use super::*;

    const NOW: WallTime = WallTime::from_millis(1_750_000_000_000);

    fn said(key: Option<&str>, has_keys: bool, json: bool) -> Result<String, String> {
        let folder = tempfile::tempdir().unwrap();
        let request = folder.path().join("request");
        std::fs::write(&request, json!({"model": "m", "messages": []}).to_string()).unwrap();
        let mut config = json!({
            "providers": {"p": {"kind": "openai"}},
            "targets": {"t": {"provider": "p", "model": "m"}},
            "models": {"m": {"targets": ["t"]}},
        });
        if has_keys {
            config["keys"] = json!({
                "old": {"sha256": "ab".repeat(32), "expires": "2025-01-01"},
                "valid": {"sha256": "cd".repeat(32), "expires": "2027-01-01"},
            });
        }
        let config = config::load(config.to_string().as_bytes(), &|_| None).unwrap();
        let path = "/v1/chat/completions".to_owned();
        let question = Question { request, path, key: key.map(str::to_owned), json, ..Question::default() };
        report(&config, &question, NOW)
    }

    #[test]
    fn a_body_is_read_up_to_the_limit_of_the_gateway() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("request");
        for (length, fits) in [(10, true), (11, false)] {
            std::fs::write(&path, vec![b' '; length]).unwrap();
            match body(&path, 10) {
                Ok(read) => assert!(fits && read.len() == length),
                Err(problem) => assert!(!fits && problem.contains("larger than 10 bytes"), "{problem}"),
            }
        }
        // It has no end.
        assert!(body(Path::new("/dev/zero"), 10).unwrap_err().contains("request_too_large"));
    }

    #[test]
    fn a_request_that_gets_401_is_named() {
        for (key, has_keys, refusal) in [
            (None, false, None),
            (Some("valid"), true, None),
            (None, true, Some("invalid_api_key")),
            (Some("old"), true, Some("expired_api_key")),
        ] {
            let (text, json) = (said(key, has_keys, false).unwrap(), said(key, has_keys, true).unwrap());
            let json: Value = serde_json::from_str(&json).unwrap();
            let named = json["refusal"].as_str();
            assert_eq!(named.is_some(), refusal.is_some(), "{json:#}");
            assert_eq!(text.contains("REFUSED: "), refusal.is_some(), "{text}");
            if let Some(refusal) = refusal {
                assert!(named.unwrap().contains(refusal) && text.contains(refusal), "{text}");
            }
            assert!(text.contains("first attempt: t"), "{text}");
        }
    }
}
