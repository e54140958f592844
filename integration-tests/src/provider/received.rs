//! The requests that a provider received.

use std::fmt;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use tokio::sync::watch;

/// How many bytes of a request body are kept. Longer ones still have their length and hash.
pub const KEPT_BODY_BYTES: usize = 1024 * 1024;

const SHOWN_BODY_BYTES: usize = 2048;

/// How an exchange ended for the provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The request or the response has not ended.
    InProgress,
    /// The whole response was sent.
    Answered(Instant),
    /// The client left before that.
    ClosedByClient(Instant),
    /// The provider broke it off, by its script or because it was stopped.
    BrokenByProvider(Instant),
}

/// A received request.
#[derive(Clone)]
pub struct ReceivedRequest {
    /// The method.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// `HTTP/1.1` or `HTTP/2.0`.
    pub version: String,
    /// All headers, names in lower case, in order of arrival.
    pub headers: Vec<(String, String)>,
    /// The beginning of the body, up to [`KEPT_BODY_BYTES`].
    pub body: Vec<u8>,
    /// How many bytes of the body arrived.
    pub body_length: u64,
    /// SHA-256 of the body in hexadecimal.
    pub body_sha256: String,
    /// Whether the whole body arrived.
    pub body_complete: bool,
    /// When the headers arrived.
    pub arrived_at: Instant,
    /// How it ended.
    pub outcome: Outcome,
}

impl ReceivedRequest {
    /// The first header of a name (given in lower case).
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str())
    }

    /// The body as JSON; null if it is not JSON or too long to keep.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// When the client left early, if it did.
    pub fn closed_at(&self) -> Option<Instant> {
        match self.outcome {
            Outcome::ClosedByClient(at) => Some(at),
            Outcome::InProgress | Outcome::Answered(_) | Outcome::BrokenByProvider(_) => None,
        }
    }
}

impl fmt::Debug for ReceivedRequest {
    /// The body as text and shortened, because failing tests print it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = String::from_utf8_lossy(&self.body[..self.body.len().min(SHOWN_BODY_BYTES)]);
        f.debug_struct("ReceivedRequest")
            .field("request", &format_args!("{} {} {}", self.method, self.path, self.version))
            .field("headers", &self.headers)
            .field("body", &shown)
            .field("body_length", &self.body_length)
            .field("body_complete", &self.body_complete)
            .field("outcome", &self.outcome)
            .finish_non_exhaustive()
    }
}

struct Entry {
    request: ReceivedRequest,
    hasher: Sha256,
}

/// All requests of a provider, in order of arrival.
pub(super) struct Log {
    entries: Mutex<Vec<Entry>>,
    changes: watch::Sender<()>,
}

impl Log {
    pub(super) fn new() -> Self {
        Self { entries: Mutex::new(Vec::new()), changes: watch::Sender::new(()) }
    }

    pub(super) fn snapshot(&self) -> Vec<ReceivedRequest> {
        let entries = self.entries.lock().unwrap();
        let finished = |entry: &Entry| {
            let hash = entry.hasher.clone().finalize();
            let body_sha256 = hash.iter().map(|byte| format!("{byte:02x}")).collect();
            ReceivedRequest { body_sha256, ..entry.request.clone() }
        };
        entries.iter().map(finished).collect()
    }

    pub(super) fn clear(&self) {
        // Exchanges in flight refer to entries by index, so entries are only removed when none is in flight.
        let mut entries = self.entries.lock().unwrap();
        let busy = entries.iter().any(|entry| entry.request.outcome == Outcome::InProgress);
        assert!(!busy, "requests are still in progress");
        entries.clear();
    }

    /// Records a request whose headers arrived. Its index identifies it.
    pub(super) fn open(&self, head: &hyper::http::request::Parts) -> usize {
        let value =
            |value: &hyper::header::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let request = ReceivedRequest {
            method: head.method.to_string(),
            path: head.uri.path_and_query().map_or_else(|| head.uri.to_string(), ToString::to_string),
            version: format!("{:?}", head.version),
            headers: head.headers.iter().map(|(name, v)| (name.as_str().to_owned(), value(v))).collect(),
            body: Vec::new(),
            body_length: 0,
            body_sha256: String::new(),
            body_complete: false,
            arrived_at: Instant::now(),
            outcome: Outcome::InProgress,
        };
        let mut entries = self.entries.lock().unwrap();
        entries.push(Entry { request, hasher: Sha256::new() });
        let index = entries.len() - 1;
        drop(entries);
        self.changes.send_replace(());
        index
    }

    fn update(&self, index: usize, change: impl FnOnce(&mut Entry)) {
        change(&mut self.entries.lock().unwrap()[index]);
        self.changes.send_replace(());
    }

    pub(super) fn body_bytes(&self, index: usize, bytes: &[u8]) {
        self.update(index, |entry| {
            entry.hasher.update(bytes);
            entry.request.body_length += bytes.len() as u64;
            let room = KEPT_BODY_BYTES - entry.request.body.len();
            entry.request.body.extend_from_slice(&bytes[..bytes.len().min(room)]);
        });
    }

    pub(super) fn body_complete(&self, index: usize) {
        self.update(index, |entry| entry.request.body_complete = true);
    }

    /// Sets how an exchange ended. Only the first call counts.
    pub(super) fn close(&self, index: usize, outcome: Outcome) {
        self.update(index, |entry| {
            if entry.request.outcome == Outcome::InProgress {
                entry.request.outcome = outcome;
            }
        });
    }

    /// Waits until the requests are as wanted.
    pub(super) async fn wait_until<T>(
        &self,
        limit: Duration,
        mut wanted: impl FnMut(&[ReceivedRequest]) -> Option<T>,
    ) -> Option<T> {
        let mut changes = self.changes.subscribe();
        let search = async {
            loop {
                if let Some(found) = wanted(&self.snapshot()) {
                    return found;
                }
                changes.changed().await.expect("the sender lives as long as self");
            }
        };
        tokio::time::timeout(limit, search).await.ok()
    }
}
