//! The CPU time of a process, as counted by the kernel's scheduler.

use std::fs;
use std::time::Duration;

/// How long Envoy may work after a response was sent: logging, deleting streams.
const AFTERMATH: Duration = Duration::from_millis(3);

/// The CPU time of all threads of a process, once it is idle.
///
/// `schedstat` counts nanoseconds at every context switch, so it is exact for an idle process. `stat` counts ticks of ten
/// milliseconds. Envoy ends no thread while it serves.
pub async fn settled(pid: u32) -> Duration {
    tokio::time::sleep(AFTERMATH).await;
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("Linux and a running process");
    let nanoseconds = tasks.map(|task| {
        let path = task.expect("a thread").path().join("schedstat");
        let text = fs::read_to_string(path).expect("a kernel with scheduler statistics");
        text.split(' ').next().and_then(|first| first.parse::<u64>().ok()).expect("a number of nanoseconds")
    });
    Duration::from_nanos(nanoseconds.sum())
}
