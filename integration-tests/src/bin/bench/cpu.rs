//! The CPU that a process has used, as the kernel's scheduler counts it.

use std::fs;
use std::time::Duration;

/// How long Envoy gets to finish what it does after an answer went out: logging, deleting streams.
const AFTERMATH: Duration = Duration::from_millis(3);

/// The CPU time of all threads of a process, once it has come to rest.
///
/// `schedstat` counts nanoseconds at every switch of context, so for a process at rest it is exact; `stat` counts ticks
/// of ten milliseconds. Envoy ends no thread while it serves.
pub async fn settled(pid: u32) -> Duration {
    tokio::time::sleep(AFTERMATH).await;
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("Linux, and a process that runs");
    let nanoseconds = tasks.map(|task| {
        let path = task.expect("a thread").path().join("schedstat");
        let text = fs::read_to_string(path).expect("a kernel with scheduler statistics");
        text.split(' ').next().and_then(|first| first.parse::<u64>().ok()).expect("a number of nanoseconds")
    });
    Duration::from_nanos(nanoseconds.sum())
}
