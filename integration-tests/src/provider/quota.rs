//! A provider's rate limit: a number of requests per window, reported in OpenAI's headers or not.

use std::time::{Duration, Instant};

use super::errors;
use super::script::Script;

/// A limit on requests. Windows follow each other. The first one begins with the first request.
#[derive(Clone, Copy, Debug)]
pub struct Quota {
    /// Requests per window.
    pub limit: u64,
    /// The length of a window.
    pub window: Duration,
    /// Whether responses report the remaining requests.
    pub tells: bool,
}

/// The used part of a limit.
#[derive(Debug)]
pub(super) struct Used {
    quota: Quota,
    since: Instant,
    requests: u64,
    refused: usize,
}

impl Used {
    pub(super) fn nothing_of(quota: Quota) -> Self {
        Self { quota, since: Instant::now(), requests: 0, refused: 0 }
    }

    pub(super) fn refused(&self) -> usize {
        self.refused
    }

    /// The response to a request that would get `script`: that, or a 429.
    pub(super) fn apply(&mut self, script: Script, now: Instant) -> Script {
        let Quota { limit, window, tells } = self.quota;
        if self.requests == 0 || now.duration_since(self.since) >= window {
            (self.since, self.requests) = (now, 0);
        }
        let script = if self.requests < limit {
            self.requests += 1;
            script
        } else {
            self.refused += 1;
            errors::openai_429()
        };
        if !tells {
            return script;
        }
        let reset = window.saturating_sub(now.duration_since(self.since));
        script
            .header("x-ratelimit-limit-requests", &limit.to_string())
            .header("x-ratelimit-remaining-requests", &(limit - self.requests).to_string())
            .header("x-ratelimit-reset-requests", &format!("{}ms", reset.as_millis() + 1))
    }
}
