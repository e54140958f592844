//! The results as a Markdown table and as JSON.

use std::fmt::Write as _;
use std::fs;
use std::time::Duration;

use integration_tests::gateway::Shape;
use integration_tests::paths;
use serde_json::{Value, json};

use crate::latency::Latency;
use crate::pin;
use crate::setup::Setup;
use integration_tests::traffic::Workload;

/// The folder for the files, from the repository's root. It is not under version control.
const FOLDER: &str = "target/bench";

/// The rounds of one workload.
pub struct Measured {
    /// For each round: Envoy's CPU time in microseconds per request or chunk for each set-up.
    pub rounds: Vec<Vec<f64>>,
    /// For each set-up: the share of the wall time in which Envoy was busy, per round. If it is low, Envoy waited for
    /// the load.
    pub busy: Vec<Vec<f64>>,
}

pub struct Report {
    pub setups: Vec<Setup>,
    pub workloads: Vec<(Workload, Measured)>,
    /// For each set-up; empty if not measured.
    pub latency: Vec<Latency>,
    /// The Wasm memory of each set-up in bytes.
    pub memory: Vec<Option<u64>>,
    pub elapsed: Duration,
}

/// The median and the extremes of the rounds.
#[derive(Clone, Copy)]
struct Spread {
    median: f64,
    min: f64,
    max: f64,
}

impl Measured {
    pub fn new(setups: usize) -> Self {
        Self { rounds: Vec::new(), busy: vec![Vec::new(); setups] }
    }

    /// Adds a round in which each set-up served this many requests or chunks.
    pub fn add(&mut self, used: &[Duration], taken: &[Duration], units: usize) {
        self.rounds.push(used.iter().map(|used| used.as_secs_f64() * 1e6 / units as f64).collect());
        for (busy, (used, taken)) in self.busy.iter_mut().zip(used.iter().zip(taken)) {
            busy.push(used.as_secs_f64() / taken.as_secs_f64());
        }
    }

    fn cost(&self, setup: usize) -> Spread {
        Spread::of(self.rounds.iter().map(|round| round[setup]).collect())
    }

    /// The ratio to the first set-up in the same round.
    fn ratio(&self, setup: usize) -> Spread {
        Spread::of(self.rounds.iter().map(|round| round[setup] / round[0]).collect())
    }

    fn busy(&self, setup: usize) -> f64 {
        Spread::of(self.busy[setup].clone()).median
    }
}

impl Spread {
    fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let (lower, upper) = (values[(values.len() - 1) / 2], values[values.len() / 2]);
        Self { median: f64::midpoint(lower, upper), min: values[0], max: values[values.len() - 1] }
    }

    fn json(self) -> Value {
        let rounded = |value: f64| (value * 1_000.0).round() / 1_000.0;
        json!({"median": rounded(self.median), "min": rounded(self.min), "max": rounded(self.max)})
    }
}

impl Report {
    /// Writes the table to the terminal.
    pub fn print(&self) {
        println!("{}", self.markdown());
    }

    /// Writes the table and the numbers of every round to [`FOLDER`].
    pub fn save(&self) {
        let folder = paths::root().join(FOLDER);
        fs::create_dir_all(&folder).expect("a folder");
        fs::write(folder.join("bench.md"), self.markdown()).expect("the table is written");
        let json = serde_json::to_string_pretty(&self.json()).expect("JSON");
        fs::write(folder.join("bench.json"), json).expect("the numbers are written");
        println!("This table is in {FOLDER}/bench.md, the numbers of every round in {FOLDER}/bench.json.");
    }

    fn markdown(&self) -> String {
        let mut text = format!("{}\n{}\n", machine(), pin::described());
        for (workload, measured) in &self.workloads {
            let _ = writeln!(
                text,
                "\n| Envoy CPU per {0} | µs | ratio (min to max of {1} rounds) | aim | Wasm memory | busy |\n\
                 |:--|--:|:--|--:|--:|--:|",
                workload.name(),
                measured.rounds.len()
            );
            for (at, setup) in self.setups.iter().enumerate() {
                let ratio = measured.ratio(at);
                let _ = writeln!(
                    text,
                    "| {:<36} | {:>6.1} | {:.2} ({:.2} to {:.2}) | {:>6} | {:>8} | {:>3.0} % |",
                    setup.name,
                    measured.cost(at).median,
                    ratio.median,
                    ratio.min,
                    ratio.max,
                    aim(*workload, setup).map_or(String::from("–"), |aim| format!("≤ {aim}")),
                    self.memory[at].map_or(String::from("–"), |bytes| format!("{} KiB", bytes / 1_024)),
                    measured.busy(at) * 100.0,
                );
            }
        }
        text.push_str(&self.waits());
        let _ = writeln!(text, "\nTook {} s.", self.elapsed.as_secs());
        text
    }

    /// The latency of streams.
    fn waits(&self) -> String {
        let Some(alone) = self.latency.first() else { return String::new() };
        let mut text = String::from(
            "\n| A client of a stream waits, µs | first content: median | added | 99 % | next chunk: median | added | 99 % |\n\
             |:--|--:|--:|--:|--:|--:|--:|\n",
        );
        for (setup, waits) in self.setups.iter().zip(&self.latency) {
            let (first, chunk) = (waits.first(50), waits.chunk(50));
            let _ = writeln!(
                text,
                "| {:<36} | {first:>6.0} | {:>5.0} | {:>6.0} | {chunk:>6.0} | {:>5.0} | {:>6.0} |",
                setup.name,
                first - alone.first(50),
                waits.first(99),
                chunk - alone.chunk(50),
                waits.chunk(99),
            );
        }
        text
    }

    fn json(&self) -> Value {
        let latency = self.setups.iter().zip(&self.latency).map(|(setup, waits)| {
            let both =
                |percent| json!({"first_content": waits.first(percent), "chunk": waits.chunk(percent)});
            json!({"setup": setup.name, "microseconds": {"median": both(50), "99 %": both(99)}})
        });
        let latency: Vec<_> = latency.collect();
        let workloads = self.workloads.iter().map(|(workload, measured)| {
            let setups = self.setups.iter().enumerate().map(|(at, setup)| {
                json!({
                    "setup": setup.name,
                    "microseconds": measured.cost(at).json(),
                    "ratio": measured.ratio(at).json(),
                    "aim": aim(*workload, setup),
                    "wasm_memory_bytes": self.memory[at],
                    "busy": measured.busy(at),
                })
            });
            json!({"per": workload.name(), "setups": setups.collect::<Vec<_>>(), "rounds": measured.rounds})
        });
        json!({"machine": machine(), "workloads": workloads.collect::<Vec<_>>(), "latency": latency, "seconds": self.elapsed.as_secs()})
    }
}

/// The project's upper limit, as a ratio to Envoy without the filter.
fn aim(workload: Workload, setup: &Setup) -> Option<f64> {
    match (workload, setup.shape) {
        _ if !setup.is_ours() => None,
        (Workload::Chat, Shape::Single) => Some(1.8),
        (Workload::Chat, Shape::Loop) => Some(2.55),
        (Workload::Translated { .. }, _) => None,
        (Workload::Stream { .. }, Shape::Single) => Some(1.27),
        (Workload::Stream { .. }, Shape::Loop) => Some(1.47),
    }
}

fn machine() -> String {
    // Once this thread is pinned, the standard library sees one core.
    let cores = match pin::allowed() {
        0 => std::thread::available_parallelism().map_or(0, usize::from),
        allowed => allowed,
    };
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split(": ").nth(1));
    format!("{cores} cores ({}), one Envoy worker, 8 connections", model.unwrap_or("unknown"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Measured, Spread};

    #[test]
    fn ratios_compare_within_a_round() {
        let mut measured = Measured::new(2);
        let micros = |all: [u64; 2]| all.map(Duration::from_micros);
        for (alone, filter) in [(100, 200), (200, 300), (400, 1_000)] {
            measured.add(&micros([alone, filter]), &micros([2 * alone, 2 * filter]), 10);
        }
        let ratio = measured.ratio(1);
        assert_eq!([ratio.min, ratio.median, ratio.max], [1.5, 2.0, 2.5]);
        assert!((measured.cost(0).median - 20.0).abs() < 1e-9, "200 µs for ten requests");
        assert!((measured.busy(1) - 0.5).abs() < 1e-9);
    }

    #[test]
    fn the_median_of_an_even_number_is_between_the_two_in_the_middle() {
        let spread = Spread::of(vec![4.0, 1.0, 3.0, 2.0]);
        assert_eq!([spread.min, spread.median, spread.max], [1.0, 2.5, 4.0]);
    }
}
