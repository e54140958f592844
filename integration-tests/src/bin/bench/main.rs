//! Measures what the filter costs: Envoy's CPU time per request and per chunk of a stream, and the latency of streams, compared
//! with the same Envoy without the filter.
//!
//! It reports speed and never asserts it. `docs/performance.md` explains the method and the results.

mod cpu;
mod latency;
mod load;
mod pin;
mod provider;
mod report;
mod setup;
mod step;
mod trace;
mod vm;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use integration_tests::traffic::Workload;
use load::Load;
use provider::Provider;
use report::{Measured, Report};
use setup::{Running, Setup};

/// Rounds of each workload. The first ones are warm-up and are not counted.
const ROUNDS: usize = 24;
const WARM_UP: usize = 2;

/// No round begins after this time.
const TIME_LIMIT: Duration = Duration::from_secs(200);

/// The set-ups take turns often, because other load on the machine varies.
const CHAT: Share = Share { workload: Workload::Chat, exchanges: 2_048, turns: 8 };
const STREAM: Share = Share { workload: Workload::Stream { chunks: CHUNKS }, exchanges: 32, turns: 4 };
const CHUNKS: usize = 500;

/// Exchanges at the beginning of each turn that are not measured.
const BRIEF: usize = 16;

const USAGE: &str =
    "usage: bench [--against other.wasm]… [--only chat|stream], or: bench --count-instructions";

fn main() {
    let options = Options::read();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    if options.count_instructions {
        return runtime.block_on(async { vm::print(&Provider::start().await).await });
    }
    pin::for_load();
    let report = runtime.block_on(run(options));
    report.print();
    report.save();
}

#[derive(Default)]
struct Options {
    /// Other builds of the filter, measured in the same run.
    against: Vec<PathBuf>,
    /// The only workload to measure.
    only: Option<String>,
    /// Counts machine instructions instead.
    count_instructions: bool,
}

impl Options {
    fn read() -> Self {
        let mut options = Self::default();
        let mut arguments = std::env::args().skip(1);
        while let Some(name) = arguments.next() {
            if name == "--count-instructions" {
                options.count_instructions = true;
                continue;
            }
            let value = arguments.next().expect(USAGE);
            match name.as_str() {
                "--against" => options.against.push(std::env::current_dir().expect("a folder").join(value)),
                "--only" if value == "chat" || value == "stream" => options.only = Some(value),
                _ => panic!("{USAGE}"),
            }
        }
        options
    }

    fn wants(&self, name: &str) -> bool {
        self.only.as_deref().is_none_or(|only| only == name)
    }
}

async fn run(options: Options) -> Report {
    let start = Instant::now();
    let provider = Provider::start().await;
    let mut setups = Vec::new();
    for setup in Setup::all(&options.against) {
        setups.push(setup.start(provider.port()).await);
    }

    let mut workloads = Vec::new();
    for (name, share, until) in [("chat", CHAT, TIME_LIMIT / 2), ("stream", STREAM, TIME_LIMIT)] {
        if options.wants(name) {
            let left = until.saturating_sub(start.elapsed());
            workloads.push((share.workload, measure(&provider, &setups, share, left).await));
        }
    }

    let latency =
        if options.wants("stream") { latency::measure(&provider, &setups).await } else { Vec::new() };
    let mut memory = Vec::new();
    for running in &setups {
        memory.push(running.envoy.stat("wasmcustom.llm_failsafe_wasm_memory_bytes").await);
    }
    let setups = setups.into_iter().map(|running| running.setup).collect();
    Report { setups, workloads, latency, memory, elapsed: start.elapsed() }
}

/// The load of each set-up in a round.
struct Share {
    workload: Workload,
    exchanges: usize,
    turns: usize,
}

/// In each round every set-up gets the same load in turns. Each round begins with a different set-up.
async fn measure(provider: &Provider, setups: &[Running], share: Share, limit: Duration) -> Measured {
    let Share { workload, exchanges, turns } = share;
    let start = Instant::now();
    let mut loads = Vec::new();
    for running in setups {
        loads.push(Load::connect(running.envoy.port(), provider).await);
    }
    let mut measured = Measured::new(setups.len());
    for round in 0..ROUNDS {
        let mut used = vec![Duration::ZERO; setups.len()];
        let mut taken = vec![Duration::ZERO; setups.len()];
        for turn in 0..turns * setups.len() {
            let at = (round + turn) % setups.len();
            let pid = setups[at].envoy.pid();
            // Warms the processor's caches after the turns of other set-ups.
            loads[at].send(workload.brief(), BRIEF).await;
            let before = cpu::settled(pid).await;
            let begun = Instant::now();
            loads[at].send(workload, exchanges / turns).await;
            taken[at] += begun.elapsed();
            used[at] += cpu::settled(pid).await.saturating_sub(before);
        }
        if round >= WARM_UP {
            measured.add(&used, &taken, exchanges * workload.units());
        }
        eprint!("\r{}: round {} of {ROUNDS} ", workload.name(), round + 1);
        if start.elapsed() > limit {
            break;
        }
    }
    eprintln!();
    measured
}
