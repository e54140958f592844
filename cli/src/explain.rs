//! One request: what it needs, who may answer it, and what would follow each failure.

use std::fmt::Write;

use llm_failsafe::base::{Endpoint, ErrorClass, TargetId, Timestamp};
use llm_failsafe::config::{Boundaries, Config, Mode, Model};
use llm_failsafe::fallback::{ClientLimits, Eligibility, Needs, PastAttempts};
use llm_failsafe::request::{Facts, ModelField, Scanner};
use serde_json::{Value, json};

use crate::arguments::Question;

/// Answers the question.
pub fn report(config: &Config, question: &Question, now: Timestamp) -> Result<String, String> {
    let asked = Asked::read(config, question)?;
    let answer = asked.answer(now);
    Ok(if question.json { format!("{answer:#}") } else { in_words(&answer) })
}

struct Asked<'a> {
    config: &'a Config,
    model: &'a Model,
    key: Option<&'a Boundaries>,
    client: ClientLimits,
    needs: Needs,
    down: Vec<TargetId>,
}

impl<'a> Asked<'a> {
    fn read(config: &'a Config, question: &Question) -> Result<Self, String> {
        let endpoint = Endpoint::of_path(&question.path)
            .ok_or_else(|| format!("`{}` is none of the paths that are served", question.path))?;
        let path = question.request.display();
        let body = std::fs::read(&question.request).map_err(|error| format!("{path}: {error}"))?;
        let facts = scan(&body).map_err(|error| format!("{path}: {error}"))?;
        let ModelField::Text { value: name, .. } = &facts.model else {
            return Err(format!("{path}: names no model"));
        };
        let id = config.model_named(name);
        let model = id.and_then(|id| config.model(id));
        let model = model.ok_or_else(|| format!("{path}: no model is called `{name}`"))?;
        let key = match &question.key {
            None => None,
            Some(name) => {
                let key = config.keys.iter().flatten().find(|key| *key.name == **name);
                let key = key.ok_or_else(|| format!("no key is called `{name}`"))?;
                if key.models.as_ref().is_some_and(|models| !id.is_some_and(|id| models.contains(&id))) {
                    return Err(format!("the key `{name}` may not use the model `{}`", model.name));
                }
                Some(&key.boundaries)
            }
        };
        let regions = question.region.as_ref().map(|list| {
            ClientLimits::regions_in(list).ok_or_else(|| format!("`{list}` is no list of regions"))
        });
        let regions = regions.transpose()?;
        let down = question.down.iter().map(|name| {
            let index = config.targets().iter().position(|target| *target.name == **name);
            index.and_then(TargetId::from_index).ok_or_else(|| format!("no target is called `{name}`"))
        });
        Ok(Self {
            config,
            model,
            key,
            client: ClientLimits { regions, no_fallback: question.no_fallback },
            needs: Needs::of(&facts, endpoint),
            down: down.collect::<Result<_, _>>()?,
        })
    }

    fn case(&self, past: PastAttempts, now: Timestamp) -> Eligibility<'_> {
        let Self { config, model, key, client, needs, .. } = self;
        Eligibility { config, model, key: *key, client, needs, past, estimates: None, now }
    }

    fn name(&self, target: TargetId) -> &str {
        self.config.target(target).map_or("", |target| &target.name)
    }

    /// The targets of the first tier in which somebody may be asked: one of them gets the attempt.
    fn next(&self, past: PastAttempts, tried: Option<TargetId>, now: Timestamp) -> Vec<TargetId> {
        let case = self.case(past, now);
        let admitted = |target: TargetId| match self.model.substitution.mode {
            Mode::Enforce => case.admits(target),
            Mode::Shadow => case.admits_without_fallback_rules(target),
        };
        let may =
            |target: &TargetId| admitted(*target) && !self.down.contains(target) && tried != Some(*target);
        let tiers = self.model.tiers.iter().map(|tier| tier.iter().copied().filter(may).collect::<Vec<_>>());
        tiers.into_iter().find(|tier| !tier.is_empty()).unwrap_or_default()
    }

    fn answer(&self, now: Timestamp) -> Value {
        let case = self.case(PastAttempts::default(), now);
        let tiers = self.model.tiers.iter().enumerate();
        let candidates = tiers.flat_map(|(tier, targets)| targets.iter().map(move |target| (tier, *target)));
        let candidates: Vec<_> = candidates
            .map(|(tier, target)| {
                let gates: Vec<_> = case
                    .violations(target)
                    .map(|told| json!({"gate": told.gate.name(), "needed": told.needed, "offered": told.offered}))
                    .collect();
                json!({
                    "target": self.name(target), "tier": tier + 1, "down": self.down.contains(&target),
                    "admitted": gates.is_empty(), "gates": gates,
                })
            })
            .collect();
        let names =
            |targets: &[TargetId]| targets.iter().map(|target| self.name(*target)).collect::<Vec<_>>();
        let first = self.next(PastAttempts::default(), None, now);
        let mut after = serde_json::Map::new();
        if let Some(asked) = first.first() {
            for class in ErrorClass::ALL.into_iter().filter(|class| *class != ErrorClass::ClientAbort) {
                let past = PastAttempts::of(std::iter::once((*asked, Some(class))));
                let moves = self.model.fallback_on.contains(class)
                    && !self.client.no_fallback
                    && self.model.retry.attempts > 1;
                let next = if moves { self.next(past, Some(*asked), now) } else { Vec::new() };
                after.insert(class.name().to_owned(), json!({"moves": moves, "next": names(&next)}));
            }
        }
        let needs = &self.needs;
        json!({
            "model": &*self.model.name,
            "endpoint": needs.endpoint.name(),
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

fn scan(body: &[u8]) -> Result<Facts, String> {
    let mut scanner = Scanner::new();
    scanner.feed(body).map_err(|error| error.to_string())?;
    scanner.finish().map_err(|error| error.to_string())
}

/// The same for people. Writing to a string does not fail.
fn in_words(answer: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let list = |value: &Value| {
        let words: Vec<_> = value.as_array().into_iter().flatten().map(text).collect();
        if words.is_empty() { "nothing".to_owned() } else { words.join(", ") }
    };
    let needs = &answer["needs"];
    let mut out = format!("{} at {}\n\nneeds\n", text(&answer["model"]), text(&answer["endpoint"]));
    let _ = writeln!(out, "  to be able to do   {}", list(&needs["capabilities"]));
    let asked = &needs["asked_output_tokens"];
    let asked = if asked.is_null() { "no length".to_owned() } else { format!("{asked} tokens") };
    let _ = writeln!(out, "  prompt, answer     about {} tokens, {asked}", needs["estimated_input_tokens"]);
    let _ = writeln!(out, "  state elsewhere    {}", list(&needs["state"]));
    out.push_str("\ncandidates\n");
    for candidate in answer["candidates"].as_array().into_iter().flatten() {
        let verdict = match (candidate["admitted"] == true, candidate["down"] == true) {
            (true, false) => "may be asked",
            (true, true) => "may, but is down",
            (false, _) => "may not",
        };
        let _ = writeln!(out, "  tier {}  {:<20} {verdict}", candidate["tier"], text(&candidate["target"]));
        for gate in candidate["gates"].as_array().into_iter().flatten() {
            let (name, needed, offered) =
                (text(&gate["gate"]), text(&gate["needed"]), text(&gate["offered"]));
            let _ = writeln!(out, "          {name}: needs {needed}; has {offered}");
        }
    }
    if answer["on_trial"] == true {
        out.push_str(
            "\nThe model's fallback is on trial: its first tier answers whatever the model's gates say.\n",
        );
    }
    let first = &answer["first"];
    if first.as_array().is_none_or(Vec::is_empty) {
        out.push_str("\nNobody is left: it is refused before anybody is asked.");
        return out;
    }
    let _ = writeln!(out, "\nfirst asked: {}\n\nif {} fails\n", list(first), text(&first[0]));
    for (class, then) in answer["after"].as_object().into_iter().flatten() {
        let then = if then["moves"] != true {
            "the client gets the failure".to_owned()
        } else if then["next"].as_array().is_none_or(Vec::is_empty) {
            "nobody else may be asked".to_owned()
        } else {
            list(&then["next"])
        };
        let _ = writeln!(out, "  {class:<17} {then}");
    }
    out.trim_end().to_owned()
}
