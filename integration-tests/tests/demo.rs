//! `make demo` succeeds.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

fn demo() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_demo"));
    command.stdin(Stdio::null());
    command
}

#[test]
fn the_demo_succeeds_within_a_minute_and_without_colour_in_a_pipe() {
    let began = Instant::now();
    let output = demo().output().expect("the demo runs");
    let told = String::from_utf8(output.stdout).expect("text");
    assert!(output.status.success(), "{told}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
    for line in [
        "x-llm-target: gpt-b",
        "x-llm-target: haiku",
        "x-llm-fallback: rate_limited",
        "x-llm-fallback: throttled",
        "x-llm-fallback: transport",
        "x-llm-fallback: open",
        "llm_failsafe_breaker_opened: 1",
        "HTTP 401",
        "All results are as expected",
    ] {
        assert!(told.contains(line), "{line:?} is missing in:\n{told}");
    }
    assert!(!told.contains('\x1b'), "escape sequences in a pipe");
}

#[test]
fn without_the_filter_the_demo_fails_and_says_what_to_run() {
    let output = demo().env("LLM_FAILSAFE_WASM", "dist/no-such.wasm").output().expect("the demo runs");
    assert!(!output.status.success());
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(complaint.contains("make setup build"), "{complaint}");
}
