//! What a fleet wastes, probes and takes to recover, for fleets of different sizes.
//!
//! `cargo run --profile measure -p scaling -- --update` writes the figures into docs/scaling.md and draws its plots.

mod envoy;
mod fleet;
mod report;
mod wire;

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let updates = match arguments.as_slice() {
        [] => false,
        [one] if one == "--update" => true,
        _ => {
            eprintln!("usage: scaling [--update]");
            return ExitCode::from(2);
        }
    };
    let report = report::make();
    println!("{}", report.tables);
    if updates && let Err(problem) = report.write() {
        eprintln!("error: {problem}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
