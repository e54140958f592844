//! Counts what one request and one chunk of a stream cost in the VM of a real Envoy: machine instructions, and distinct code,
//! which competes with Envoy's own for the processor's caches.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::time::Duration;

use integration_tests::traffic::Workload;
use tokio::net::TcpStream;

use crate::load::Load;
use crate::provider::Provider;
use crate::setup::{Running, Setup};
use crate::step::Stepper;
use crate::trace::{Callback, Cost, VmCode};

/// Requests before counting. V8 has then compiled all of the path with its best compiler.
const WARM_UP: usize = 800;
/// Long enough for several ticks, so that they have handed over what was counted.
const QUIET: Duration = Duration::from_secs(1);
/// Envoy works this long after a response, while it is stepped through: it logs and deletes the stream.
const AFTERMATH: Duration = Duration::from_millis(400);
/// Looks for a tick. On a busy machine one trace may be too short for one.
const LOOKS: usize = 20;
const CHUNKS: usize = 6;
/// The callbacks of a stream in the order in which they come first. A filter need not have the last two.
const STAGES: [&str; 8] = [
    "context create",
    "request headers",
    "request body",
    "response headers",
    "response body",
    "log",
    "done",
    "delete",
];

/// Prints the counts of both set-ups with the filter, or why there are none.
pub async fn print(provider: &Provider) {
    for setup in Setup::with_filter() {
        match count(provider, &setup).await {
            Ok(text) => println!("{text}"),
            Err(error) => return println!("{error}."),
        }
    }
}

async fn count(provider: &Provider, setup: &Setup) -> Result<String, String> {
    let running = setup.start(provider.port()).await;
    let mut load = Load::connect(running.envoy.port(), provider).await;
    load.send(Workload::Chat, WARM_UP).await;
    load.send(Workload::Stream { chunks: 50 }, WARM_UP / 20).await;
    let ticks = ticks(&running).await?;
    let mut of = async |workload| {
        tokio::time::sleep(QUIET).await;
        let mut callbacks = traced(&running, async || load.send(workload, 1).await).await?;
        callbacks.retain(|callback| callback.returned && !ticks.contains(&callback.function));
        Ok::<_, String>(callbacks)
    };
    let chat = of(Workload::Chat).await?;
    let stream = of(Workload::Stream { chunks: CHUNKS }).await?;
    Ok(report(&setup.name, &chat, &stream))
}

/// The functions that Envoy calls while there is no request.
async fn ticks(running: &Running) -> Result<BTreeSet<u64>, String> {
    let mut ticks = BTreeSet::new();
    for _ in 0..LOOKS {
        tokio::time::sleep(QUIET).await;
        ticks.extend(traced(running, async || ()).await?.iter().map(|callback| callback.function));
        ticks.remove(&0);
        if !ticks.is_empty() {
            break;
        }
    }
    Ok(ticks)
}

/// The callbacks while `work` runs.
async fn traced(running: &Running, work: impl AsyncFnOnce()) -> Result<Vec<Callback>, String> {
    let pid = running.envoy.pid();
    let maps =
        fs::read_to_string(format!("/proc/{pid}/maps")).map_err(|error| format!("no memory map: {error}"))?;
    let stepper = Stepper::start(worker(pid).ok_or("Envoy has no thread wrk:worker_0")?)?;
    work().await;
    tokio::time::sleep(AFTERMATH).await;
    stepper.stop();
    // Wakes Envoy's worker, which may sleep.
    let wake = TcpStream::connect(("127.0.0.1", running.envoy.port())).await;
    let steps =
        tokio::task::spawn_blocking(|| stepper.steps()).await.map_err(|error| error.to_string())??;
    drop(wake);
    Ok(VmCode::of(&maps).callbacks(&steps))
}

/// The thread of Envoy's only worker.
fn worker(pid: u32) -> Option<i32> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).ok()?;
    tasks.filter_map(Result::ok).find_map(|task| {
        let name = fs::read_to_string(task.path().join("comm")).ok()?;
        let is_worker = name.starts_with("wrk:worker_0");
        is_worker.then(|| task.file_name().to_str()?.parse().ok())?
    })
}

/// A chat request by stage, and a chunk of a stream.
fn report(name: &str, chat: &[Callback], stream: &[Callback]) -> String {
    let mut text = format!("{name}: in the VM of Envoy, without ticks\n");
    let mut row = |name: &str, cost: Cost, calls: usize| {
        let kilobytes = cost.code_bytes / 1_024;
        let _ = writeln!(
            text,
            "  {name:<18} {:>8} instructions  {kilobytes:>4} KB of code  {calls:>4} calls out",
            cost.instructions
        );
    };
    let calls = |callbacks: &[Callback]| callbacks.iter().map(|callback| callback.calls_out).sum();
    let mut functions = Vec::new();
    for callback in chat {
        if !functions.contains(&callback.function) {
            functions.push(callback.function);
        }
        let at = functions.iter().position(|function| *function == callback.function);
        let stage = at.and_then(|at| STAGES.get(at)).copied().unwrap_or("other");
        row(stage, Cost::of([callback]), callback.calls_out);
    }
    row("chat request", Cost::of(chat), calls(chat));
    if let Some(chunk) = common(stream) {
        row("SSE chunk", Cost::of([chunk]), chunk.calls_out);
    }
    text
}

/// A typical one of the callbacks that a stream has most of: a content chunk.
fn common(callbacks: &[Callback]) -> Option<&Callback> {
    let count = |function| callbacks.iter().filter(|other| other.function == function).count();
    let most = callbacks.iter().map(|callback| callback.function).max_by_key(|function| count(*function))?;
    let mut alike: Vec<_> = callbacks.iter().filter(|callback| callback.function == most).collect();
    alike.sort_by_key(|callback| callback.instructions);
    alike.get(alike.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::{common, report};
    use crate::trace::Callback;

    fn callback(function: u64, instructions: usize) -> Callback {
        Callback { function, instructions, calls_out: 2, returned: true, ..Callback::default() }
    }

    #[test]
    fn stages_have_names_and_a_request_is_their_sum() {
        let chat = [callback(7, 10), callback(3, 20), callback(3, 30)];
        let stream = [callback(7, 10), callback(9, 90), callback(9, 100), callback(9, 300)];
        let text = report("filter", &chat, &stream);
        let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(rows[1][..3], ["context", "create", "10"]);
        assert_eq!(rows[3][..3], ["request", "headers", "30"]);
        assert_eq!(rows[4][..3], ["chat", "request", "60"]);
        assert_eq!(rows[5][..3], ["SSE", "chunk", "100"]);
    }

    #[test]
    fn the_typical_chunk_is_the_median_of_the_most_frequent_callback() {
        let stream = [callback(7, 999), callback(9, 50), callback(9, 70), callback(9, 60)];
        assert_eq!(common(&stream).map(|callback| callback.instructions), Some(60));
        assert_eq!(common(&[]), None);
    }
}
