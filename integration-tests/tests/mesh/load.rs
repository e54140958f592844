//! Load for a while.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use integration_tests::client::Request;
use tokio::task::JoinHandle;

use super::process::until;

/// Requests without a pause. None may fail.
pub struct Load {
    served: Arc<AtomicUsize>,
    is_over: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl Load {
    pub fn start(port: u16) -> Self {
        let (served, is_over) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let (count, end) = (Arc::clone(&served), Arc::clone(&is_over));
        let task = tokio::spawn(async move {
            while !end.load(Ordering::Relaxed) {
                let answer = Request::chat("small", false).ask(port).await;
                assert_eq!(answer.status, 200, "{}", answer.text());
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
        Self { served, is_over, task }
    }

    /// Waits until more requests have been served.
    pub async fn has_grown(&self) {
        let wanted = self.served.load(Ordering::Relaxed) + 20;
        until("requests are served", async || {
            assert!(!self.task.is_finished(), "a request failed");
            self.served.load(Ordering::Relaxed) >= wanted
        })
        .await;
    }

    pub async fn stop(self) {
        self.is_over.store(true, Ordering::Relaxed);
        self.task.await.expect("no request failed");
        println!("served during the updates: {}", self.served.load(Ordering::Relaxed));
    }
}
