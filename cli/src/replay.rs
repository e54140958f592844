//! What the configuration of today would do with a request of yesterday, in the state of health of yesterday.
//!
//! The needs, the client's limits and each target's health come from the record; models, tiers, boundaries and gates from the
//! configuration. The draw among several targets of one tier is not repeated, so what is compared is who might have been asked.

use std::fmt::Write as _;
use std::rc::Rc;

use llm_failsafe::base::{Endpoint, ErrorClass, TargetId, Timestamp};
use llm_failsafe::config::Config;
use llm_failsafe::fallback::{self, ClientLimits, Eligibility, PastAttempts};
use llm_failsafe::record::{AttemptRecord, CandidateRecord, NeedsRecord, Record};
use llm_failsafe::request::{
    Facts, MediaParts, OutputFormat, Reasoning, StateKind, StateSet, ToolChoice, ToolNeeds,
};

/// What is the same and what differs, choice by choice.
pub fn compare(record: &Record<'_>, config: &Config) -> String {
    let mut out = String::new();
    let id = record.request_id.as_deref().unwrap_or("without an id");
    let _ = writeln!(out, "request {id}: {}", record.outcome);
    let now = format!("{:016x}", config.fingerprint());
    if record.policy.config_hash == now {
        let _ = writeln!(out, "  the configuration is the one that decided then ({now})");
    } else {
        let _ = writeln!(out, "  decided then by configuration {}, now by {now}", record.policy.config_hash);
    }
    match differences(record, config) {
        Ok(differences) if differences.is_empty() => out.push_str("  nothing differs\n"),
        Ok(differences) => differences.iter().for_each(|difference| {
            let _ = writeln!(out, "  {difference}");
        }),
        Err(reason) => {
            let _ = writeln!(out, "  cannot be replayed: {reason}");
        }
    }
    out
}

fn differences(record: &Record<'_>, config: &Config) -> Result<Vec<String>, String> {
    let needs = record.needs.as_ref().ok_or("its body had not been read")?;
    let name = record.model.as_deref().ok_or("the record names no model")?;
    let endpoint = Endpoint::from_name(&record.endpoint).ok_or("its endpoint is not known here")?;
    let mut found = Vec::new();
    let Some(model) = config.model_named(name).and_then(|model| config.model(model)) else {
        let was = if record.outcome_reason.as_deref() == Some("model_not_found") {
            "as then"
        } else {
            "then it did"
        };
        return Ok(if was == "as then" {
            found
        } else {
            vec![format!("the model {name} does not exist now; {was}")]
        });
    };
    if record.outcome_reason.as_deref() == Some("model_not_found") {
        found.push(format!("the model {name} exists now (for a key that may use it)"));
    }
    let facts = facts(needs);
    let needs_of = fallback::Needs::of(&facts, endpoint);
    let client = ClientLimits {
        regions: (!needs.regions.is_empty())
            .then(|| needs.regions.iter().map(|region| Rc::from(&**region)).collect()),
        no_fallback: needs.features.iter().any(|feature| feature == "no_fallback"),
    };
    let key = record.key_id.as_deref().and_then(|id| {
        let keys = config.keys.as_ref()?;
        keys.iter().find(|key| *key.name == *id)
    });
    if let (Some(id), None) = (record.key_id.as_deref(), key) {
        found.push(format!("the client key {id} does not exist now"));
    }
    let target_named = |name: &str| {
        let index = config.targets().iter().position(|target| *target.name == *name)?;
        TargetId::from_index(index)
    };
    let choices = record.attempts.iter().map(|attempt| (Some(attempt), &attempt.candidates));
    let last = (!record.last_candidates.is_empty()).then_some((None, &record.last_candidates));
    for (number, (attempt, candidates)) in choices.chain(last).enumerate() {
        let before = record.attempts.iter().take(number).filter_map(|earlier: &AttemptRecord<'_>| {
            Some((target_named(&earlier.target)?, earlier.class.as_deref().and_then(ErrorClass::from_name)))
        });
        let at = attempt.map_or(record.duration_ms, |attempt| attempt.start_ms);
        let case = Eligibility {
            config,
            model,
            key: key.map(|key| &key.boundaries),
            client: &client,
            needs: &needs_of,
            past: PastAttempts::of(before),
            estimates: None,
            now: Timestamp::from_millis(record.start_unix_ms.saturating_add(at)),
        };
        let what = attempt
            .map_or("when nobody could be asked".to_owned(), |attempt| format!("attempt {}", attempt.number));
        if candidates.is_empty() {
            continue;
        }
        let before_count = found.len();
        let mut open_tier = None;
        for (tier, targets) in model.tiers.iter().enumerate() {
            for id in targets {
                let Some(target) = config.target(*id) else { continue };
                let then = candidates.iter().find(|candidate| candidate.target == *target.name);
                let gate = case.first_gate(*id).map(fallback::Gate::name);
                let now = gate.or_else(|| then.and_then(of_health));
                if now.is_none() && open_tier.is_none() {
                    open_tier = Some(tier);
                }
                match then {
                    None => found.push(format!(
                        "{what}: {} is new in tier {tier}{}",
                        target.name,
                        now.map(|reason| format!(", and out of the question: {reason}")).unwrap_or_default()
                    )),
                    Some(then) => {
                        if then.rejected.as_deref() != now {
                            found.push(format!(
                                "{what}: {} was {} and is {} now",
                                target.name,
                                admitted(then.rejected.as_deref()),
                                admitted(now)
                            ));
                        }
                        if then.tier as usize != tier {
                            found.push(format!(
                                "{what}: {} moved from tier {} to tier {tier}",
                                target.name, then.tier
                            ));
                        }
                    }
                }
            }
        }
        for gone in candidates.iter().filter(|candidate| {
            let still = target_named(&candidate.target);
            !still.is_some_and(|id| model.tiers.iter().flatten().any(|other| *other == id))
        }) {
            found.push(format!("{what}: {} is no target of the model now", gone.target));
        }
        if found.len() > before_count {
            found.push(match open_tier {
                Some(tier) => format!("{what}: tier {tier} would be asked now"),
                None => format!("{what}: nobody could be asked now"),
            });
            if let Some(attempt) = attempt {
                let still = candidates.iter().find(|candidate| candidate.target == attempt.target);
                if still.map(|candidate| candidate.tier as usize) != open_tier {
                    found.push(format!(
                        "{what}: {} was asked then; what follows would be another story",
                        attempt.target
                    ));
                    break;
                }
            }
        }
    }
    Ok(found)
}

fn admitted(reason: Option<&str>) -> String {
    reason.map_or("eligible".to_owned(), |reason| format!("out of the question ({reason})"))
}

/// Why a target was not to be asked that a replay cannot find out anew: its health, its limits, or that it had been asked.
fn of_health<'r>(candidate: &'r CandidateRecord<'_>) -> Option<&'r str> {
    let reason = candidate.rejected.as_deref()?;
    let of_limits = matches!(reason, "headroom" | "max_pending");
    (reason == "tried" || of_limits || reason == candidate.state).then_some(reason)
}

/// What the record tells of the request's body.
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
