//! A mask says what the gates say.

use proptest::prelude::*;

use super::properties::{STRENGTHS, some_targets};
use super::*;
use crate::base::{KnownOwner, ModelId};
use crate::config::Boundaries;
use crate::fallback::Translated;
use crate::provider::CapabilitySet;
use crate::request::StateSet;
use crate::translate::{Loss, Losses};

const NAMES: [&str; 4] = ["first", "other", "near", "far"];

/// Needs of every kind. Rare ones are rare, so that many requests pass.
fn some_needs() -> impl Strategy<Value = Needs> {
    let capability = prop::option::weighted(0.2, prop::sample::select(Capability::ALL.to_vec()));
    let tokens =
        prop::sample::select(vec![None, Some(0), Some(100), Some(4_096), Some(4_097), Some(u64::MAX)]);
    (
        prop::sample::select(Endpoint::ALL.to_vec()),
        (capability.clone(), capability),
        any::<bool>(),
        prop::sample::select(vec![0_u64, 9_000, 28_672, 28_673, 70_000, u64::MAX]),
        tokens,
        prop::bool::weighted(0.1),
        prop::bool::weighted(0.1),
        prop_oneof![8 => Just(Encrypted::No), 1 => Just(Encrypted::Removable), 1 => Just(Encrypted::Stuck)],
        prop::option::weighted(0.8, prop::option::weighted(0.3, prop::sample::select(Loss::ALL.to_vec()))),
    )
        .prop_map(
            |(
                endpoint,
                (one, other),
                streamed,
                bytes,
                asked_output,
                state,
                sealed_reasoning,
                encrypted,
                lost,
            )| {
                let translated =
                    Translated::of(endpoint, |_| lost.map(|loss| loss.into_iter().collect::<Losses>()));
                let capabilities = [one, other].into_iter().flatten();
                Needs {
                    endpoint,
                    capabilities: capabilities.fold(CapabilitySet::default(), |set, one| set.with(one, true)),
                    streamed,
                    size: PromptSize { text_bytes: bytes, ..PromptSize::default() },
                    asked_output,
                    answers: 1,
                    state: if state { StateSet::ALL } else { StateSet::default() },
                    sealed_reasoning,
                    encrypted,
                    owner: None,
                    translated,
                }
            },
        )
}

/// The configuration of `some_targets` in which `far` is at a vendor that drops some parameters. `other` may
/// not stream.
fn config_of(targets: &Value, levels: &[usize], expires: bool, other_streams: bool) -> Config {
    let mut fallback = json!({});
    for ((name, strengths), level) in STRENGTHS.iter().zip(levels) {
        let written = level.checked_sub(1).map_or("", |level| strengths[level]);
        if !written.is_empty() {
            fallback[*name] = serde_json::from_str(written).unwrap();
        }
    }
    if expires {
        fallback["approved"] = json!([{"from": "first", "to": "far", "until": "2026-06-01"}]);
    }
    let mut config = config_json(targets.clone(), fallback);
    config["providers"]["far"] = json!({"kind": "anthropic"});
    config["targets"]["far"]["translate"] = json!({"allow": ["logprobs", "seed"]});
    config["targets"]["other"]["streaming"] = json!(other_streams);
    load(&config)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn a_mask_says_what_the_gates_say(
        targets in some_targets(),
        levels in prop::collection::vec(prop_oneof![14 => Just(0_usize), 1 => Just(1), 1 => Just(2)], STRENGTHS.len()),
        (expires, other_streams) in (prop::bool::weighted(0.1), any::<bool>()),
        needs in some_needs(),
        no_fallback in any::<bool>(),
        region in prop::option::weighted(0.2, prop::sample::select(vec!["eu", "us"])),
        bounded_key in prop::option::weighted(0.3, any::<bool>()),
        past in prop::collection::vec(
            (0..4_usize, prop::option::of(prop::sample::select(
                vec![
                    ErrorClass::Server, ErrorClass::Timeout, ErrorClass::ContextLength, ErrorClass::StateNotFound
                ]
            ))),
            0..3
        ),
        learned in prop::option::of(0..4_usize),
        (owner, mixed) in (prop::option::weighted(0.2, 0..4_usize), any::<bool>()),
    ) {
        let config = config_of(&targets, &levels, expires, other_streams);
        let owner = owner.and_then(|index| {
            let owner = config.account(config.target(target(&config, NAMES[index]))?.account)?.owner;
            Some(KnownOwner { owner, mixed })
        });
        let needs = Needs { owner, ..needs };
        let model = &config.models()[0];
        let client = ClientLimits { regions: region.map(|region| vec![Rc::from(region)]), no_fallback };
        let key = bounded_key.map(|bounded| Boundaries { zero_retention: bounded, ..Boundaries::default() });
        let estimates = Calibration::new(&config);
        for index in learned.iter().cycle().take(50) {
            estimates.learn(target(&config, NAMES[*index]), 1_000, 2_000);
        }
        let past: Vec<_> = past.iter().map(|(index, class)| (target(&config, NAMES[*index]), *class)).collect();
        let eligibility = Eligibility {
            config: &config,
            model,
            key: key.as_ref(),
            client: &client,
            needs: &needs,
            past: PastAttempts::of(past.iter().copied()),
            estimates: Some(&estimates),
            now: NOON.wall(),
        };
        let failures = || past.iter().map(|(_, class)| *class);
        let asked = NeedsMask::of(&needs, key.as_ref(), &client, failures());
        // What only the gates know.
        let is_ordinary = region.is_none()
            && bounded_key != Some(true)
            && past.is_empty()
            && needs.owner.is_none()
            && needs.encrypted == Encrypted::No
            && model.boundaries.max_request_cost.is_none()
            && (needs.translated.is_harmless() || needs.capabilities.is_empty())
            && !expires;
        let masks = GateMasks::of(&config);
        let ids: Vec<_> = model.tiers.iter().flatten().copied().collect();
        let masks = masks.of_model(ModelId::from_index(0).unwrap());
        prop_assert_eq!(masks.len(), ids.len());
        for (id, mask) in ids.into_iter().zip(masks) {
            let input = needs.expected(id, Some(&estimates)).input;
            let passes = mask.passes(&asked, input);
            let gate = eligibility.first_gate(id);
            prop_assert!(gate.is_none() || !passes, "{:?}", gate);
            if is_ordinary {
                prop_assert_eq!(passes, gate.is_none(), "{:?}", gate);
            }
        }
    }
}

/// After a failure in the retry loop a mask still answers, unless rules compare with what was tried.
#[test]
fn a_mask_answers_for_a_later_attempt() {
    let passes = |fallback: Value, class: ErrorClass| {
        let config = config(json!({}), fallback);
        let needs = chat(json!({}));
        let asked = NeedsMask::of(&needs, None, &ClientLimits::default(), std::iter::once(Some(class)));
        let masks = GateMasks::of(&config);
        let far = &masks.of_model(ModelId::from_index(0).unwrap())[3];
        far.passes(&asked, 10)
    };
    assert!(passes(json!({}), ErrorClass::Server));
    assert!(!passes(json!({}), ErrorClass::ContextLength), "the windows are compared");
    assert!(!passes(json!({"leave_provider": ["server"]}), ErrorClass::Server));
}
