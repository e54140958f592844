//! What a configuration would decide now for the request of a decision record.
//!
//! The request's needs, the client's limits and the health of each target come from the record. Models, tiers, boundaries and
//! gates come from the configuration. The random choice among the targets of a tier is not repeated, so the comparison covers
//! which targets are eligible, not which one is chosen.

use std::fmt::Write as _;
use std::rc::Rc;

use llm_failsafe::base::{Endpoint, ErrorClass, TargetId, WallTime};
use llm_failsafe::config::{Boundaries, Config, Model};
use llm_failsafe::fallback::{self, ClientLimits, Eligibility, PastAttempts, Translated};
use llm_failsafe::record::{AttemptRecord, CandidateRecord, NeedsRecord, Record};
use llm_failsafe::request::{
    Facts, MediaParts, OutputFormat, Reasoning, StateKind, StateSet, ToolChoice, ToolNeeds,
};

use crate::plural::count;

/// The records for which the configuration would decide otherwise, attempt by attempt. The last line counts all.
pub fn compare(records: &[Record<'_>], config: &Config) -> String {
    let now = format!("{:016x}", config.fingerprint());
    let mut out = String::new();
    let (mut same, mut differing, mut unknown) = (0, 0, 0);
    for record in records {
        let lines = match differences(record, config) {
            Ok(found) if found.is_empty() => {
                same += 1;
                continue;
            }
            Ok(found) => {
                differing += 1;
                found
            }
            Err(reason) => {
                unknown += 1;
                vec![format!("cannot be replayed: {reason}")]
            }
        };
        let id = record.request_id.as_deref().unwrap_or("without an id");
        let _ = writeln!(out, "request {id}: {}", record.outcome);
        let then = &record.policy.config_hash;
        if *then == now {
            let _ = writeln!(out, "  same configuration as then ({now})");
        } else {
            let _ = writeln!(out, "  configuration {then} then, {now} now");
        }
        for line in lines {
            let _ = writeln!(out, "  {line}");
        }
        out.push('\n');
    }
    let requests = |number| count(number, ["request", "requests"]);
    let total = requests(same + differing + unknown);
    let _ = match (differing, unknown) {
        (0, 0) => write!(out, "{total}: nothing differs"),
        _ => write!(out, "{total}: {differing} decided otherwise now, {same} the same"),
    };
    if unknown > 0 {
        let _ = write!(out, ", {unknown} cannot be replayed");
    }
    out
}

fn differences(record: &Record<'_>, config: &Config) -> Result<Vec<String>, String> {
    let needs = record.needs.as_ref().ok_or("the filter had not read the request body")?;
    let name = record.model.as_deref().ok_or("the record has no model")?;
    let endpoint = Endpoint::from_name(&record.endpoint).ok_or("this program does not know the endpoint")?;
    let was_missing = record.outcome_reason.as_deref() == Some("model_not_found");
    // A record has the model's own name, which may be a pattern. A name that was unknown may have a meaning now.
    let own = config.models().iter().find(|model| *model.name == *name);
    let by_any_name = || config.model(config.find_model(name)?.0);
    let Some(model) = own.or_else(by_any_name) else {
        let difference = format!("the model {name} existed then and does not exist now");
        return Ok(if was_missing { Vec::new() } else { vec![difference] });
    };
    let mut found = Vec::new();
    if was_missing {
        found.push(format!("the model {name} exists now, for keys that may use it"));
    }
    let key = record.key_id.as_deref().and_then(|id| {
        let keys = config.keys.as_ref()?;
        keys.iter().find(|key| *key.name == *id)
    });
    if let (Some(id), None) = (record.key_id.as_deref(), key) {
        found.push(format!("the client key {id} does not exist now"));
    }
    let mut asked = fallback::Needs::of(&facts(needs), endpoint);
    // A record does not say what a translation would have lost.
    asked.translated = Translated::whole(endpoint);
    let replay = Replay {
        record,
        config,
        model,
        key: key.map(|key| &key.boundaries),
        client: ClientLimits {
            regions: (!needs.regions.is_empty())
                .then(|| needs.regions.iter().map(|region| Rc::from(&**region)).collect()),
            no_fallback: needs.features.iter().any(|feature| feature == "no_fallback"),
        },
        needs: asked,
    };
    let choices = record.attempts.iter().map(|attempt| (Some(attempt), &attempt.candidates));
    let last = (!record.last_candidates.is_empty()).then_some((None, &record.last_candidates));
    for (number, (attempt, candidates)) in choices.chain(last).enumerate() {
        if !candidates.is_empty() && !replay.choice(number, attempt, candidates, &mut found) {
            break;
        }
    }
    Ok(found)
}

struct Replay<'a> {
    record: &'a Record<'a>,
    config: &'a Config,
    model: &'a Model,
    key: Option<&'a Boundaries>,
    client: ClientLimits,
    needs: fallback::Needs,
}

impl Replay<'_> {
    /// Compares one choice. Returns whether the next one is comparable: it is not if this attempt would go to another tier.
    fn choice(
        &self,
        number: usize,
        attempt: Option<&AttemptRecord<'_>>,
        candidates: &[CandidateRecord<'_>],
        found: &mut Vec<String>,
    ) -> bool {
        let what = attempt.map_or("last choice".to_owned(), |attempt| format!("attempt {}", attempt.number));
        let eligibility = self.eligibility(number, attempt);
        let count = found.len();
        let mut first_tier = None;
        for (tier, targets) in self.model.tiers.iter().enumerate() {
            for id in targets {
                let Some(target) = self.config.target(*id) else { continue };
                let name = &target.name;
                let then = candidates.iter().find(|candidate| candidate.target == **name);
                let gate = eligibility.first_gate(*id).map(fallback::Gate::name);
                let now = gate.or_else(|| then.and_then(recorded_state));
                if now.is_none() {
                    first_tier = first_tier.or(Some(tier));
                }
                let Some(then) = then else {
                    found.push(format!("{what}: {name} is new in tier {tier}, {}", verdict(now)));
                    continue;
                };
                let before = then.rejected.as_deref();
                if before != now {
                    let (before, now) = (verdict(before), verdict(now));
                    found.push(format!("{what}: {name} was {before} then and is {now} now"));
                }
                if then.tier as usize != tier {
                    found.push(format!("{what}: {name} moved from tier {} to tier {tier}", then.tier));
                }
            }
        }
        for gone in candidates.iter().filter(|candidate| !self.has_target(&candidate.target)) {
            found.push(format!("{what}: {} is no longer a target of the model", gone.target));
        }
        if found.len() == count {
            return true;
        }
        found.push(match first_tier {
            Some(tier) => format!("{what}: tier {tier} would be used now"),
            None => format!("{what}: no target would be eligible now"),
        });
        let Some(attempt) = attempt else { return true };
        let used = candidates.iter().find(|candidate| candidate.target == attempt.target);
        if used.map(|candidate| candidate.tier as usize) == first_tier {
            return true;
        }
        found.push(format!("{what}: used {} then; later attempts cannot be compared", attempt.target));
        false
    }

    fn eligibility(&self, number: usize, attempt: Option<&AttemptRecord<'_>>) -> Eligibility<'_> {
        let earlier = self.record.attempts.iter().take(number).filter_map(|attempt| {
            let class = attempt.class.as_deref().and_then(ErrorClass::from_name);
            Some((self.target_named(&attempt.target)?, class))
        });
        let at = attempt.map_or(self.record.duration_ms, |attempt| attempt.start_ms);
        Eligibility {
            config: self.config,
            model: self.model,
            key: self.key,
            client: &self.client,
            needs: &self.needs,
            past: PastAttempts::of(earlier),
            estimates: None,
            now: WallTime::from_millis(self.record.start_unix_ms.saturating_add(at)),
        }
    }

    fn target_named(&self, name: &str) -> Option<TargetId> {
        let index = self.config.targets().iter().position(|target| *target.name == *name)?;
        TargetId::from_index(index)
    }

    fn has_target(&self, name: &str) -> bool {
        self.target_named(name).is_some_and(|id| self.model.tiers.iter().flatten().any(|other| *other == id))
    }
}

fn verdict(reason: Option<&str>) -> String {
    reason.map_or("eligible".to_owned(), |reason| format!("ineligible ({reason})"))
}

/// The recorded reason, if it is one that a replay cannot recompute: health, limits, or an earlier attempt at the target.
fn recorded_state<'r>(candidate: &'r CandidateRecord<'_>) -> Option<&'r str> {
    let reason = candidate.rejected.as_deref()?;
    let is_limit = matches!(reason, "headroom" | "max_pending");
    (reason == "tried" || is_limit || reason == candidate.state).then_some(reason)
}

/// The facts about the request body that the record contains.
fn facts(needs: &NeedsRecord<'_>) -> Facts {
    let has = |name: &str| needs.features.iter().any(|feature| feature == name);
    let state: Vec<_> = StateKind::ALL
        .into_iter()
        .filter(|kind| needs.state.iter().any(|name| name == kind.name()))
        .collect();
    Facts {
        stream: needs.stream,
        include_usage: has("include_usage"),
        tools: ToolNeeds {
            count: needs.tools,
            hosted: has("hosted_tools"),
            strict: has("strict_tools"),
            choice: if has("forced_tool") { ToolChoice::Forced } else { ToolChoice::Free },
            parallel: match (has("parallel_tools"), has("sequential_tools")) {
                (true, _) => Some(true),
                (_, true) => Some(false),
                _ => None,
            },
            legacy_functions: has("legacy_functions"),
        },
        output: match () {
            () if has("other_format") => OutputFormat::Other,
            () if has("json_schema") => OutputFormat::JsonSchema,
            () if has("json_object") => OutputFormat::JsonObject,
            () => OutputFormat::Text,
        },
        media: MediaParts { images: needs.images, audio: needs.audio, files: needs.files },
        audio_output: has("audio_output"),
        image_output: has("image_output"),
        max_output_tokens: needs.max_tokens,
        n: needs.choices,
        logprobs: has("logprobs"),
        seed: has("seed"),
        reasoning: if has("reasoning") { Reasoning::Asked } else { Reasoning::NotAsked },
        sealed_reasoning: has("sealed_reasoning"),
        state: StateSet::of(&state),
        store: match (has("store"), has("no_store")) {
            (true, _) => Some(true),
            (_, true) => Some(false),
            _ => None,
        },
        items: needs.items,
        body_bytes: needs.body_bytes,
        text_bytes: needs.text_bytes,
        media_bytes: needs.media_bytes,
        token_ids: needs.token_ids,
        ..Facts::default()
    }
}

#[cfg(test)]
mod tests {
    use llm_failsafe::config;
    use serde_json::json;

    use super::*;

    #[test]
    fn only_requests_with_differences_are_printed_and_all_are_counted() {
        let config = json!({
            "providers": {"p": {"kind": "openai"}},
            "targets": {"t": {"provider": "p", "model": "m"}},
            "models": {"kept": {"targets": ["t"]}},
        });
        let config = config::load(config.to_string().as_bytes(), &|_| None).unwrap();
        let record = |id: &'static str, model: &'static str| Record {
            request_id: Some(id.into()),
            model: Some(model.into()),
            endpoint: "chat".into(),
            needs: Some(NeedsRecord::default()),
            ..Record::default()
        };
        let unread = Record { needs: None, ..record("id-unread", "kept") };
        let (same, gone) = (record("id-same", "kept"), record("id-gone", "gone"));
        assert_eq!(compare(&[same.clone(), same.clone()], &config), "2 requests: nothing differs");
        let said = compare(&[same, gone, unread.clone()], &config);
        assert!(!said.contains("id-same") && said.starts_with("request id-gone: "), "{said}");
        assert!(said.contains("\n  the model gone existed then and does not exist now\n\n"), "{said}");
        assert!(said.contains("request id-unread: ") && said.contains("\n  cannot be replayed: "), "{said}");
        let last = "\n\n3 requests: 1 decided otherwise now, 1 the same, 1 cannot be replayed";
        assert!(said.ends_with(last), "{said}");
        let said = compare(&[unread], &config);
        assert!(
            said.ends_with("1 request: 0 decided otherwise now, 0 the same, 1 cannot be replayed"),
            "{said}"
        );
    }
}
