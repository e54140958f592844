//! The configuration: any bytes give a valid configuration or a list of mistakes. Neither contains a credential.

#![no_main]

use libfuzzer_sys::fuzz_target;
use llm_failsafe::breaker::{self, HealthView};
use llm_failsafe::config::{self, MAX_BYTES, MAX_MISTAKES, MAX_TARGETS};

const KEY: &str = "sk-a-key-of-the-environment";

fuzz_target!(|input: &[u8]| {
    let env = |name: &str| (name.len() % 2 == 0).then(|| KEY.to_owned());
    match config::load(input, &env) {
        Ok(config) => {
            assert!(input.len() <= MAX_BYTES);
            assert!(!format!("{config:?}").contains(KEY));
            assert!((1..=MAX_TARGETS).contains(&config.targets().len()));
            for target in config.targets() {
                let account = config.account(target.account).unwrap();
                assert_eq!(account.provider, target.provider);
                assert!(config.provider(target.provider).is_some() && target.weight > 0);
            }
            for model in config.models() {
                let tiers = &model.tiers;
                assert!(!tiers.is_empty() && tiers.iter().all(|tier| !tier.is_empty()));
                assert!(tiers.iter().flatten().all(|id| config.target(*id).is_some()));
                assert_eq!(
                    config.model_named(&model.name).and_then(|id| config.model(id)).map(|at| &at.name),
                    Some(&model.name)
                );
            }
            let policy = &config.breaker;
            assert!((1..=breaker::MAX_PROBES).contains(&usize::from(policy.probes)));
            assert!(policy.open <= policy.open_max && policy.block <= policy.block_max);
            let _ = HealthView::new(&config);
            let again = config::load(input, &env).unwrap();
            assert_eq!(again.fingerprint(), config.fingerprint());
        }
        Err(mistakes) => {
            let text = mistakes.to_string();
            assert!(!text.is_empty() && !text.contains(KEY));
            assert!(text.lines().count() <= 2 * MAX_MISTAKES, "{text}");
        }
    }
});
