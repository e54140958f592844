//! A request whose body is being read.

use std::rc::Rc;
use std::time::Duration;

use super::addressing::Address;
use super::{JourneyId, Refusal};
use crate::balance::SessionHints;
use crate::base::{Endpoint, HeaderBlock};
use crate::config::{self, ClientKey, Config, Priority};
use crate::fallback::ClientLimits;
use crate::request::{BodyBuffer, Scanner};

/// The most of a request body that is looked at in one piece. It bounds what a body of any size costs the VM.
const WINDOW: usize = 64 * 1024;

/// A request whose body is being read.
pub(super) struct Reading {
    pub(super) config: Rc<Config>,
    pub(super) endpoint: Endpoint,
    pub(super) address: Address,
    pub(super) scanner: Scanner,
    pub(super) seen: usize,
    /// The body, while it fits into one window: it is needed once more, to put the model in.
    pub(super) window: Option<Vec<u8>>,
    pub(super) has_length: bool,
    pub(super) client_key: Option<usize>,
    pub(super) session_hints: SessionHints,
    pub(super) no_fallback: bool,
    pub(super) timeout: Option<Duration>,
    /// Where the client allows its data to be worked on.
    pub(super) regions: Option<Vec<Rc<str>>>,
    pub(super) priority: Priority,
    pub(super) id: Option<JourneyId>,
    pub(super) earlier_attempts: u8,
}

impl Reading {
    /// Scans what is new in the buffer, window by window.
    pub(super) fn read(&mut self, available: usize, host: &mut impl BodyBuffer) -> Result<(), Refusal> {
        let limit = self.config.limits.max_body_bytes;
        if u64::try_from(available).unwrap_or(u64::MAX) > limit {
            return Err(Refusal::TooLarge { limit });
        }
        while self.seen < available {
            let window =
                host.read(self.seen, WINDOW.min(available - self.seen)).map_err(|_| Refusal::Internal)?;
            if window.is_empty() {
                return Err(Refusal::Internal);
            }
            self.scanner.feed(&window).map_err(Refusal::Body)?;
            let is_first = self.seen == 0;
            self.seen += window.len();
            self.window = is_first.then_some(window);
        }
        Ok(())
    }
}

/// The journey's id and the number of the attempt, as the edge of the loop gives them.
pub(super) fn loop_headers(headers: &HeaderBlock) -> (Option<JourneyId>, u8) {
    let id = headers.get("x-llm-journey").and_then(JourneyId::parse);
    let attempt = headers.get("x-envoy-attempt-count").and_then(|count| count.parse().ok()).unwrap_or(1);
    (id, attempt)
}

/// The regions that the client lists in `x-llm-region`. A list that cannot be read must not count as none: who means to
/// keep data somewhere would lose that by a slip.
pub(super) fn regions(headers: &HeaderBlock) -> Result<Option<Vec<Rc<str>>>, Refusal> {
    if headers.get_bytes("x-llm-region").is_none() {
        return Ok(None);
    }
    let text = headers.get("x-llm-region").ok_or(Refusal::Region)?;
    ClientLimits::regions_in(text).map(Some).ok_or(Refusal::Region)
}

/// Whether the client wants no substitute (`x-llm-no-fallback`). Who says so in some other word, or once more beside a `false`,
/// must not lose by a slip what it asked for: only `false` and `0` say no.
pub(super) fn forbids_fallback(headers: &HeaderBlock) -> bool {
    let mut said = headers.iter().filter(|(name, _)| *name == b"x-llm-no-fallback");
    said.any(|(_, value)| {
        let value = value.trim_ascii();
        value != b"0" && !value.eq_ignore_ascii_case(b"false")
    })
}

/// Where the client's request stands in a line (`x-llm-priority`): as it asks, but no higher than its key may. Without keys
/// everybody may ask for anything.
pub(super) fn priority(headers: &HeaderBlock, key: Option<&ClientKey>) -> Priority {
    let asked = headers.get("x-llm-priority").map(str::trim_ascii);
    let asked = Priority::ALL.into_iter().find(|priority| asked == Some(priority.name()));
    let most = key.map_or(Priority::High, |key| key.priority);
    asked.unwrap_or_default().min(most)
}

/// How long the client gives its request (`x-llm-timeout`): a duration as the configuration has them, or seconds without a
/// unit. `Err` for what is neither, or nothing.
pub(super) fn timeout(headers: &HeaderBlock) -> Result<Option<Duration>, Refusal> {
    let Some(text) = headers.get("x-llm-timeout") else { return Ok(None) };
    let text = text.trim();
    let limit = config::duration(text).or_else(|| config::duration(&format!("{text}s")));
    limit.filter(|limit| !limit.is_zero()).map(Some).ok_or(Refusal::InvalidTimeout)
}
