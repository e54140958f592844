//! llm-failsafe: an Envoy filter that makes calls to language models dependable.

pub use llm_failsafe_base as base;
pub use llm_failsafe_catalogue as catalogue;
pub use llm_failsafe_config as config;
pub use llm_failsafe_provider as provider;
pub use llm_failsafe_request as request;
pub use llm_failsafe_translate as translate;

pub mod admission;
pub mod answer;
pub mod attempt;
pub mod balance;
pub mod breaker;
pub mod fallback;
pub mod generation;
#[cfg(any(target_family = "wasm", test))]
mod host;
pub mod intake;
pub mod journey;
pub mod outcome;
pub mod ownership;
pub mod queue;
pub mod record;
pub mod refusal;
pub mod report;
pub mod retry;
pub mod stream;
pub mod survey;
pub mod tenancy;
