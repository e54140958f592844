//! A provider's rate limit: so many requests in a window, told in headers as OpenAI does or kept to itself.

use std::time::{Duration, Instant};

use super::errors;
use super::script::Script;

/// A limit on requests. Windows follow each other; the first begins with the first request.
#[derive(Clone, Copy, Debug)]
pub struct Quota {
    /// Requests in a window.
    pub limit: u64,
    /// How long a window is.
    pub window: Duration,
    /// Whether answers say what is left.
    pub tells: bool,
}

/// How much of a limit is used.
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

    /// What becomes of a request that would be answered by `script`.
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
