//! The `llm-failsafe` program. The work is done in the library, where tests can call it.

use std::io::{self, ErrorKind, Write as _};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use llm_failsafe::base::WallTime;
use llm_failsafe_cli::{Failure, run};

fn main() -> ExitCode {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = WallTime::from_millis(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX));
    match run(std::env::args_os().skip(1), now) {
        // `log-pipe` has written everything itself.
        Ok(report) if report.is_empty() => ExitCode::SUCCESS,
        Ok(report) => print(&report),
        Err(failure @ Failure::Problems(_)) => {
            print(&failure.to_string());
            ExitCode::from(failure.exit_code())
        }
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::from(failure.exit_code())
        }
    }
}

/// A reader that closes the pipe early, such as `head`, is not an error.
fn print(report: &str) -> ExitCode {
    match writeln!(io::stdout(), "{report}") {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            eprintln!("standard output: {error}");
            ExitCode::FAILURE
        }
        _ => ExitCode::SUCCESS,
    }
}
