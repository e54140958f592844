//! How many requests a provider serves at a time. A request is served while its headers are delayed.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::errors;
use super::script::Script;

/// What happens to requests that come while as many as possible are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beyond {
    /// They get 503.
    Refuse,
    /// They wait.
    Queue,
}

#[derive(Debug)]
struct Service {
    limit: Option<(usize, Beyond)>,
    now: usize,
    refused: usize,
}

/// The requests that are served.
#[derive(Debug)]
pub(super) struct Capacity {
    service: Mutex<Service>,
    freed: Notify,
}

/// Held while a request is served.
pub(super) struct Served(Arc<Capacity>);

impl Capacity {
    pub(super) fn unlimited() -> Arc<Self> {
        let service = Mutex::new(Service { limit: None, now: 0, refused: 0 });
        Arc::new(Self { service, freed: Notify::new() })
    }

    fn service(&self) -> MutexGuard<'_, Service> {
        self.service.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set(&self, at_once: usize, beyond: Beyond) {
        self.service().limit = Some((at_once, beyond));
        self.freed.notify_waiters();
    }

    pub(super) fn refused(&self) -> usize {
        self.service().refused
    }

    /// Serves a request as `script` says, once that is possible, or refuses it.
    pub(super) async fn serve(self: &Arc<Self>, script: Script) -> (Script, Option<Served>) {
        loop {
            let freed = self.freed.notified();
            {
                let mut service = self.service();
                match service.limit {
                    Some((at_once, Beyond::Refuse)) if service.now >= at_once => {
                        service.refused += 1;
                        return (errors::openai_503(), None);
                    }
                    Some((at_once, Beyond::Queue)) if service.now >= at_once => {}
                    _ => {
                        service.now += 1;
                        return (script, Some(Served(Arc::clone(self))));
                    }
                }
            }
            freed.await;
        }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.0.service().now -= 1;
        self.0.freed.notify_waiters();
    }
}
