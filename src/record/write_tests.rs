//! Random records are written as serde writes them (`RecordBuilder::to_json` compares each with the
//! reference), and readers understand them.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use crate::translate::{Loss, Losses, Translation};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::base::{Endpoint, ErrorClass, HeaderBlock, ModelId, Random, SplitMix64, TargetId, Timestamp};
use crate::config::{self, AskedName, FoundBy};
use crate::fallback::ClientLimits;
use crate::outcome::{AnsweredBy, Id, Observed};
use crate::provider::Objection;
use crate::request::{
    Affinity, Facts, MediaParts, OutputFormat, Reasoning, StateKind, StateSet, ToolChoice, ToolNeeds,
};
use crate::stream::{FinishReason, StreamEnding, StreamFacts, Usage};

/// Times beyond this are not written as serde writes a float.
const LATEST: u64 = 10_u64.pow(15);

const STATES: [&str; 4] = ["closed", "open", "slow_start", "drained"];
const TARGETS: usize = 5;

fn fragments(redact: &str, mode: &str, retry_loop: bool) -> Rc<Fragments> {
    let config = json!({
        "providers": {
            "openai": {"kind": "openai"},
            "other": {"kind": "openai-compatible", "host": "llm.example"},
        },
        "targets": {
            "a": {"provider": "openai", "model": "m", "key": {"value": "k"}},
            "b": {"provider": "openai", "model": "vendor/m:free", "price": {"input": 1, "output": 3}},
            "c": {"provider": "other", "model": "m3", "region": "eu", "price": {"input": 0.3, "output": 9}},
            "d": {"provider": "other", "model": "m", "region": "us"},
            "e": {"provider": "other", "model": "vendor/*", "region": "us"},
        },
        "models": {
            "chat": {"tiers": [["a", "b"], ["c"], ["d"]]},
            "meta/*": {"targets": ["e"]},
        },
        "keys": {
            "plain": {"sha256": "0".repeat(64)},
            "team": {
                "sha256": "1".repeat(64),
                "metadata": {"team": "a \"b\"", "cost-centre": "grün\\", "empty": ""},
            },
        },
        "record": {"redact": redact},
        "mode": mode,
        "retry_loop": retry_loop,
    });
    let config = config::load(config.to_string().as_bytes(), &|_| None).unwrap();
    Rc::new(Fragments::new(Rc::new(config)))
}

/// Makes records.
struct Maker(SplitMix64);

impl Maker {
    fn below(&mut self, bound: u64) -> u64 {
        self.0.below(bound)
    }

    /// True for one of `n`.
    fn one_of(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    fn maybe<T>(&mut self, make: impl FnOnce(&mut Self) -> T) -> Option<T> {
        self.one_of(2).then(|| make(self))
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }

    /// Small, large or as large as it gets.
    fn number(&mut self) -> u64 {
        let bits = self.below(65);
        self.0.next_u64().checked_shr(bits as u32).unwrap_or(0)
    }

    fn at(&mut self) -> Timestamp {
        let span = self.pick(&[10, 3_000, 100_000, LATEST]);
        Timestamp::from_millis(self.below(span))
    }

    fn span(&mut self) -> Duration {
        let micros = self.number();
        Duration::from_micros(micros)
    }

    fn text(&mut self) -> String {
        let alphabet = [
            'a', 'B', '7', '-', ' ', '"', '\\', '\n', '\t', '\u{8}', '\u{c}', '\u{1f}', '\u{7f}', 'é', '…',
            '😀',
        ];
        let plain = self.one_of(2);
        let len = self.pick(&[0, 1, 7, 8, 9, 40]);
        (0..len).map(|_| if plain { 'x' } else { self.pick(&alphabet) }).collect()
    }

    fn id(&mut self) -> Id {
        let len = 1 + self.below(MAX_ID_LEN) as usize;
        let text: Vec<u8> = (0..len).map(|_| b'!' + self.below(94) as u8).collect();
        Id::of(&text).unwrap()
    }

    fn usage(&mut self) -> Usage {
        Usage {
            input: self.number(),
            cached_input: self.number(),
            cache_creation: self.number(),
            output: self.number(),
            reasoning: self.number(),
        }
    }

    fn facts(&mut self) -> Facts {
        let usual = self.one_of(2);
        let count = |maker: &mut Self| if usual { 0 } else { maker.below(3) };
        let (media_bytes, token_ids, [tools, images, audio, files]) =
            (count(self), count(self), [(); 4].map(|()| count(self) as u32));
        let flag = |maker: &mut Self| !usual && maker.one_of(3);
        let [hosted, strict, legacy_functions, audio_output, image_output] = [(); 5].map(|()| flag(self));
        let [logprobs, seed, sealed_reasoning, include_usage, stream] = [(); 5].map(|()| flag(self));
        let odd = !usual;
        let states: Vec<_> = StateKind::ALL.into_iter().filter(|_| odd && self.one_of(4)).collect();
        Facts {
            stream: stream || self.one_of(2),
            include_usage,
            tools: ToolNeeds {
                count: tools,
                hosted,
                strict,
                choice: if flag(self) { ToolChoice::Forced } else { ToolChoice::Free },
                parallel: if odd { self.maybe(|maker| maker.one_of(2)) } else { None },
                legacy_functions,
            },
            output: if odd {
                self.pick(&[
                    OutputFormat::Text,
                    OutputFormat::JsonObject,
                    OutputFormat::JsonSchema,
                    OutputFormat::Other,
                ])
            } else {
                OutputFormat::Text
            },
            media: MediaParts { images, audio, files },
            audio_output,
            image_output,
            max_output_tokens: self.maybe(Self::number),
            n: self.maybe(Self::number),
            logprobs,
            seed,
            reasoning: if flag(self) { Reasoning::Asked } else { Reasoning::NotAsked },
            sealed_reasoning,
            state: StateSet::of(&states),
            store: if odd { self.maybe(|maker| maker.one_of(2)) } else { None },
            affinity: Affinity {
                prompt_cache_key: self.maybe(Self::number),
                user: self.maybe(Self::number),
                metadata_user: self.maybe(Self::number),
                conversation: self.maybe(Self::number),
            },
            items: self.below(40) as u32,
            body_bytes: self.number(),
            text_bytes: self.number(),
            media_bytes,
            token_ids,
            ..Facts::default()
        }
    }

    fn observed(&mut self) -> Observed {
        Observed {
            host: None,
            headers_at: self.maybe(Self::at),
            content_at: self.maybe(Self::at),
            heard_at: self.maybe(Self::at),
            longest_gap: self.span(),
            status: self.maybe(|maker| maker.below(600) as u16),
            shown_status: self.maybe(|maker| maker.below(600) as u16),
            answered_by: self
                .maybe(|maker| maker.pick(&[AnsweredBy::Provider, AnsweredBy::Envoy, AnsweredBy::Filter])),
            error: if self.one_of(3) {
                (self.maybe(|maker| maker.text().into()), self.maybe(|maker| maker.text().into()))
            } else {
                (None, None)
            },
            provider_request_id: self.maybe(Self::id),
            hint: self.maybe(Self::span),
            bytes: self.number(),
            stream: self.maybe(|maker| StreamFacts {
                events: maker.number(),
                ending: maker.pick(&[
                    StreamEnding::Complete,
                    StreamEnding::Unfinished,
                    StreamEnding::NoTerminal,
                    StreamEnding::Truncated,
                    StreamEnding::Failed,
                    StreamEnding::Unwatched,
                ]),
            }),
            unsent: self.one_of(2),
            held_back: self.one_of(2),
        }
    }

    fn choice(&mut self, record: &mut RecordBuilder) {
        for _ in 0..=self.below(2) {
            if self.one_of(2) && record.choose_among_healthy() {
                continue;
            }
            let most = self.pick(&[1, 3, 3, 40]);
            let candidates: Vec<_> = (0..self.below(most)).map(|_| self.candidate()).collect();
            record.choose_among(candidates.into_iter());
        }
    }

    fn candidate(&mut self) -> CandidateBuilder {
        let state = self.pick(&STATES);
        let until = self.maybe(Self::at);
        let rejected = self.maybe(|maker| maker.pick(&["tried", "open", "tools"]));
        let limit = self.maybe(|maker| maker.below(1000) as u32);
        let candidate = CandidateBuilder::new(self.target(), self.below(256) as u8, (state, until), rejected)
            .with_limit(limit);
        let gates = if self.one_of(4) { self.below(4) } else { 0 };
        let long = self.one_of(4);
        candidate.with_gates((0..gates).map(|_| Objection {
            gate: "tools",
            needed: self.text().repeat(if long { 9 } else { 1 }),
            offered: self.text(),
        }))
    }

    fn target(&mut self) -> TargetId {
        TargetId::from_index(self.below(TARGETS as u64) as usize).unwrap()
    }

    fn attempt(&mut self, record: &mut RecordBuilder, slot: usize) {
        self.choice(record);
        let mut start = AttemptStart::new(slot, self.target(), self.at());
        start.why = self.maybe(|maker| maker.pick(&["server", "open", "dialect"]));
        start.balance = self.maybe(|maker| maker.pick(&["weighted", "cheapest"]));
        start.probe = self.one_of(4);
        start.reasoning_dropped = self.one_of(4);
        let lost = [Losses::default(), Losses::MINOR, Losses::default().with(Loss::Logprobs)];
        let lost = self.pick(&lost);
        start.translated = self.maybe(|maker| (maker.pick(&Translation::ALL), lost));
        record.held_since = self.maybe(Self::at);
        let start = record.attempt_starts(start);
        let ends = [
            AttemptEnd::Answered,
            AttemptEnd::Answered,
            AttemptEnd::Failed,
            AttemptEnd::Broken,
            AttemptEnd::ClientAbort,
            AttemptEnd::Abandoned,
        ];
        record.attempt_ended(AttemptEntry {
            start,
            observed: self.observed(),
            end: self.pick(&ends),
            class: self.maybe(|maker| maker.pick(&ErrorClass::ALL)),
            usage: self.maybe(Self::usage),
            usage_missing: self.one_of(4),
            finish: self.maybe(|maker| {
                maker.pick(&[FinishReason::Stop, FinishReason::ToolCalls, FinishReason::Other])
            }),
            then: self.maybe(|maker| maker.pick(&["elsewhere", "deadline"])),
            ended_at: self.at(),
        });
    }

    fn identity(&mut self) -> Identity {
        let trace = self.maybe(|maker| {
            let traceparent = format!("00-{:032x}-{:016x}-01", maker.below(9) + 1, maker.number());
            Identity::read(&HeaderBlock::of(&[("traceparent", &traceparent)])).trace
        });
        Identity {
            request_id: self.maybe(Self::id),
            trace: trace.flatten(),
            session: self.maybe(|maker| maker.text().into()),
        }
    }

    fn record(&mut self) -> RecordBuilder {
        let redact = self.pick(&["standard", "standard", "strict"]);
        let mode = self.pick(&["enforce", "shadow"]);
        let fragments = fragments(redact, mode, self.one_of(2));
        let endpoint = self.pick(&Endpoint::ALL);
        let mut record = RecordBuilder::new(fragments, endpoint, self.identity(), self.at().moment());
        record.key = self.maybe(|maker| maker.below(2) as usize);
        record.client_limits = ClientLimits {
            regions: self.maybe(|maker| (0..maker.below(3)).map(|_| maker.text().into()).collect()),
            no_fallback: self.one_of(4),
        };
        if self.one_of(8) {
            record.refusal = Some((self.pick(&[400, 503]), "no_target"));
        }
        record.model = match self.below(6) {
            0 => RequestedModel::Nothing,
            1 => RequestedModel::Unknown(self.pick(&["gpt-9", "sk-1", "say hello"]).into()),
            number => RequestedModel::Known(ModelId::from_index(number as usize % 2).unwrap()),
        };
        record.asked_name = self.maybe(|maker| AskedName {
            text: maker
                .pick(&["meta/llama:free", "meta/sk-proj-0123456789abcdef0123", "say \"hello\""])
                .into(),
            found: maker.pick(&[FoundBy::Alias, FoundBy::Pattern(5), FoundBy::Default]),
        });
        if !self.one_of(8) {
            record.read(&self.facts());
        }
        let attempts = self.pick(&[0, 1, 1, 1, 2, 3, 20]);
        // The edge may hedge, so that attempts end in another order.
        let mut slots: Vec<usize> = (0..attempts).collect();
        if self.one_of(3) {
            slots.reverse();
        }
        for slot in slots {
            self.attempt(&mut record, slot);
        }
        if self.one_of(4) {
            self.choice(&mut record);
        }
        record.forgotten = if self.one_of(6) { self.below(256) as u8 } else { 0 };
        record.client_gone = self.one_of(8);
        record.broke = if self.one_of(8) { Some(NO_NEXT_ATTEMPT) } else { None };
        record
    }
}

const MAX_ID_LEN: u64 = crate::outcome::MAX_ID as u64;

fn record_of(seed: u64) -> (Vec<u8>, Value) {
    let mut maker = Maker(SplitMix64::new(seed));
    let record = maker.record();
    let now = maker.at();
    let json = record.to_json(now);
    let value = serde_json::from_slice(&json).unwrap();
    (json, value)
}

proptest! {
    #[test]
    fn every_record_is_written_as_by_serde_and_can_be_read(seed: u64) {
        // `to_json` compares with the reference.
        let (json, _) = record_of(seed);
        let read: Record<'_> = serde_json::from_slice(&json).unwrap();
        let again = read.to_json().unwrap();
        prop_assert_eq!(again.as_bytes(), json);
    }
}

/// The names of all members, also of inner objects.
fn names(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                found.insert(name.clone());
                if name != "key_metadata" {
                    names(value, found);
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|value| names(value, found)),
        _ => {}
    }
}

#[test]
fn random_records_have_every_member_and_every_feature() {
    let mut found = BTreeSet::new();
    let mut features = BTreeSet::new();
    for seed in 0..400 {
        let (_, record) = record_of(seed);
        names(&record, &mut found);
        let named = record["needs"]["features"].as_array().into_iter().flatten();
        features.extend(named.map(|name| name.as_str().unwrap().to_owned()));
    }
    // The same for a record with every member, as a reader declares it, is compared with the schema in
    // integration-tests/tests/records.rs.
    let schema: Value = serde_json::from_str(include_str!("../../docs/decision-record.schema.json")).unwrap();
    let mut declared = BTreeSet::new();
    properties(&schema, &mut declared);
    let missing: Vec<_> = declared.difference(&found).collect();
    assert!(missing.is_empty(), "no random record has {missing:?}");
    assert_eq!(features.len(), 19, "{features:?}");
}

fn properties(schema: &Value, declared: &mut BTreeSet<String>) {
    let Some(members) = schema.as_object() else { return };
    if let Some(properties) = members.get("properties").and_then(Value::as_object) {
        for (name, inner) in properties {
            declared.insert(name.clone());
            self::properties(inner, declared);
        }
    }
    for inner in members.get("$defs").and_then(Value::as_object).into_iter().flat_map(|defs| defs.values()) {
        properties(inner, declared);
    }
}
