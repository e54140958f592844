//! When to look which host of a target's cluster had a success.
//!
//! A breaker needs to know whether other hosts serve while one fails. To ask Envoy costs more than most callbacks, so
//! only one success a second is looked at, per target and worker.

use std::time::Duration;

use crate::base::{TargetId, Timestamp};
use crate::config::Config;

/// One success is looked at in this time.
const EVERY: Duration = Duration::from_secs(1);

/// When a success of each target was last looked at.
#[derive(Debug)]
pub struct HostSamples {
    last: Vec<Option<Timestamp>>,
}

impl HostSamples {
    /// Nothing has been looked at.
    pub fn new(config: &Config) -> Self {
        Self { last: vec![None; config.targets().len()] }
    }

    /// Whether the host of this success is to be looked at. If so, that is noted.
    pub fn is_due(&mut self, target: TargetId, now: Timestamp) -> bool {
        let Some(last) = self.last.get_mut(target.index()) else { return false };
        // A clock that stepped back must not end the samples.
        let is_due = last.is_none_or(|last| now < last || now.since(last) >= EVERY);
        if is_due {
            *last = Some(now);
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    #[test]
    fn one_success_a_second_is_looked_at_per_target() {
        let json = r#"{"providers": {"p": {"kind": "openai"}}, "models": {"m": {"targets": ["t", "u"]}}, "targets": {
            "t": {"provider": "p", "model": "m", "key": {"value": "sk-x"}}, "u": {"provider": "p", "model": "n"}}}"#;
        let mut samples = HostSamples::new(&config::load(json.as_bytes(), &|_| None).unwrap());
        let [t, u, other] = [0, 1, 2].map(|index| TargetId::from_index(index).unwrap());
        let at = |ms: u64| Timestamp::from_millis(1_000_000 + ms);
        let due = [(t, 0), (t, 1), (u, 1), (t, 999), (t, 1000), (t, 1500), (t, 500), (t, 600), (other, 0)]
            .map(|(target, ms)| samples.is_due(target, at(ms)));
        assert_eq!(due, [true, false, true, false, true, false, true, false, false]);
    }
}
