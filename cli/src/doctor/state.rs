//! The status report, as far as the doctor reads it. Members that a version does not have are absent.

use serde::Deserialize;

/// The format that is known.
pub const SCHEMA: u64 = 1;

/// The report.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Status {
    pub schema: u64,
    pub now_ms: u64,
    pub versions: Versions,
    pub mode: String,
    pub retry_loop: bool,
    pub models: Vec<Model>,
    pub targets: Vec<Scope>,
    pub accounts: Vec<Scope>,
    pub endpoints: Vec<Scope>,
    pub load: Load,
    pub retry_budget: RetryBudget,
    pub budgets: Vec<KeyBudgets>,
    pub orders: Vec<Order>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Load {
    pub held_bytes: u64,
    /// Of one worker.
    pub max_held_bytes: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Versions {
    pub llm_failsafe: String,
    /// Of a release.
    pub commit: Option<String>,
    pub configuration: String,
    pub envoy: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Model {
    pub name: String,
    pub fit: u64,
    pub of: u64,
    pub queue: Option<Queue>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Queue {
    pub waiting: u64,
    pub since_ms: Option<u64>,
    pub max_waiting: u64,
}

/// A target, an account or an endpoint.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Scope {
    pub name: String,
    pub state: String,
    pub reason: Option<Reason>,
    pub since_ms: Option<u64>,
    pub until_ms: Option<u64>,
    pub trips: u64,
    pub consecutive_failures: u64,
    pub share_permille: Option<u64>,
    pub headroom: Vec<Limit>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Reason {
    pub rule: String,
    pub failure: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Limit {
    pub of: String,
    pub by: String,
    pub left: Option<u64>,
    pub reset_ms: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct RetryBudget {
    pub used: u64,
    pub allowed: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct KeyBudgets {
    pub key: String,
    pub budgets: Vec<Used>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Used {
    pub budget: String,
    pub used: u64,
    pub limit: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Order {
    pub by: String,
    pub scope: String,
    pub name: String,
    pub order: String,
}
