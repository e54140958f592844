//! How long the client waits for the first byte of its response.
//!
//! A client that gives up looks like one that no longer wants its answer, and its SDK asks again. So while
//! another target remains, an attempt gets half of the time that is left, and the client's time bounds all
//! attempts together. Once the client has got a byte, its patience limits nothing.

use std::time::Duration;

use crate::base::Timestamp;
use crate::intake::ClientRequest;

/// How long before the end of the client's patience a held stream is released.
const RELEASED_BEFORE: Duration = Duration::from_secs(1);

/// The client's patience, as far as one attempt may use it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    until: Timestamp,
    /// When half of it is used; `None` once there is no other target.
    half: Option<Timestamp>,
}

impl Patience {
    /// For an attempt that is sent now. `None` if the client has not said how long it waits.
    pub(super) fn of(request: &ClientRequest, now: Timestamp) -> Option<Self> {
        let until = request.began.after(request.patience?);
        Some(Self { until, half: Some(now.after(until.since(now) / 2)) })
    }

    /// Nothing could be read for this long.
    pub(super) fn excuse(&mut self, pause: Duration) {
        self.until = self.until.after(pause);
        self.half = self.half.map(|half| half.after(pause));
    }

    /// When the attempt has used what it may.
    pub(super) fn due(&self) -> Timestamp {
        self.half.unwrap_or(self.until)
    }

    /// Whether only the attempt's half is used.
    pub(super) fn is_half(&self, now: Timestamp) -> bool {
        self.half.is_some() && now < self.until
    }

    /// There is no other target, so the attempt may use all of it.
    pub(super) const fn use_all(&mut self) {
        self.half = None;
    }

    /// When a stream that is held is released, so that the client gets something in time.
    pub(super) fn release_at(&self) -> Timestamp {
        Timestamp::from_millis(self.until.as_millis().saturating_sub(RELEASED_BEFORE.as_millis() as u64))
    }
}
