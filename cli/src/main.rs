//! `llm-failsafe check` and `llm-failsafe explain`.

use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use llm_failsafe::base::Timestamp;
use llm_failsafe_cli::run;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = Timestamp::from_millis(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX));
    match run(&arguments, now) {
        Ok(report) => {
            println!("{report}");
            ExitCode::SUCCESS
        }
        Err(problem) => {
            eprintln!("{problem}");
            ExitCode::FAILURE
        }
    }
}
