//! The program as a user runs it: exit codes, and what goes to which stream.

use std::io::{Read as _, Write as _};
use std::process::{Command, Output, Stdio};

fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_llm-failsafe"))
}

fn run(arguments: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } = program().args(arguments).output().unwrap();
    (status.code().unwrap(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

const CONFIGURATION: &str = r#"{
    "providers": {"a": {"kind": "openai-compatible", "cluster": "a", "host": "a.test"}},
    "targets": {"one": {"provider": "a", "model": "m"}},
    "models": {"chat": {"targets": ["one"]}}
}"#;

fn file(folder: &tempfile::TempDir, name: &str, text: &str) -> String {
    let path = folder.path().join(name);
    std::fs::write(&path, text).unwrap();
    path.into_os_string().into_string().unwrap()
}

#[test]
fn help_and_version_go_to_standard_output_with_exit_code_0() {
    for subcommand in ["", "init", "check", "explain", "replay", "keys", "log-pipe", "doctor"] {
        for option in ["--help", "--version"] {
            let arguments: Vec<_> = [subcommand, option].into_iter().filter(|it| !it.is_empty()).collect();
            let (code, out, err) = run(&arguments);
            assert_eq!((code, err.as_str()), (0, ""), "{arguments:?}");
            assert!(out.contains(if option == "--help" { "Usage: llm-failsafe" } else { "0." }), "{out}");
        }
    }
}

#[test]
fn usage_errors_go_to_standard_error_with_exit_code_2() {
    for arguments in [
        &[][..],
        &["chek"],
        &["init"],
        &["init", "--provider", "openai"],
        &["check"],
        &["check", "--config"],
        &["check", "--confg", "x"],
        &["explain"],
        &["explain", "--config", "x"],
        &["replay"],
        &["replay", "--record", "x"],
        &["keys"],
        &["keys", "add"],
        &["log-pipe", "--max", "1B"],
        &["doctor"],
        &["doctor", "gateway:10000"],
    ] {
        let (code, out, err) = run(arguments);
        assert_eq!((code, out.as_str()), (2, ""), "{arguments:?}");
        assert!(!err.is_empty(), "{arguments:?}");
    }
}

#[test]
fn problems_with_files_go_to_standard_error_with_exit_code_1() {
    let folder = tempfile::tempdir().unwrap();
    let (good, bad) = (file(&folder, "good", CONFIGURATION), file(&folder, "bad", "{}"));
    for arguments in [
        &["check", "--config", "/nowhere"][..],
        &["check", "--config", &bad],
        &["explain", "--config", &good, "--request", "/nowhere"],
        &["explain", "--config", &good, "--request", &bad],
        &["explain", "--record", "/nowhere"],
        &["replay", "--record", &bad, "--config", &good],
        &["keys", "add", "no name"],
        &["keys", "add", "team", "--config", "/nowhere"],
        &["doctor", "http://127.0.0.1:1", "--ca", "/nowhere"],
    ] {
        let (code, out, err) = run(arguments);
        assert_eq!((code, out.as_str()), (1, ""), "{arguments:?}");
        assert!(!err.is_empty(), "{arguments:?}");
    }
}

#[test]
fn success_has_exit_code_0() {
    let folder = tempfile::tempdir().unwrap();
    let config = file(&folder, "config", CONFIGURATION);
    let request = file(&folder, "request", r#"{"model": "chat", "messages": []}"#);
    for arguments in
        [&["check", "--config", &config][..], &["explain", "--config", &config, "--request", &request]]
    {
        let (code, out, err) = run(arguments);
        assert_eq!((code, err.as_str()), (0, ""), "{arguments:?}");
        assert!(out.ends_with('\n') && out.len() > 1, "{out}");
    }
}

#[test]
fn records_are_read_from_standard_input() {
    let mut child = program()
        .args(["explain", "--record", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"not a record\n").unwrap();
    let mut err = String::new();
    child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1));
    assert!(err.contains("contains no decision record"), "{err}");
}

#[test]
fn a_key_is_hashed_from_standard_input() {
    let mut child =
        program().args(["keys", "hash"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"test\n").unwrap();
    let Output { status, stdout, .. } = child.wait_with_output().unwrap();
    let expected = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\n";
    assert_eq!((status.code(), String::from_utf8(stdout).unwrap().as_str()), (Some(0), expected));
}

#[test]
fn the_report_on_a_gateway_with_problems_goes_to_standard_output_with_exit_code_1() {
    // Nothing listens at a port that was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (code, out, err) = run(&["doctor", &format!("http://127.0.0.1:{port}")]);
    assert_eq!((code, err.as_str()), (1, ""), "{out}");
    assert!(out.contains("PROBLEM: the gateway cannot be reached") && out.ends_with("1 problem\n"), "{out}");
}

#[test]
fn closed_standard_output_is_not_an_error() {
    let mut child = program().arg("--help").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let mut err = String::new();
    child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
    assert_eq!((child.wait().unwrap().code(), err.as_str()), (Some(0), ""));
}

/// What nobody reads does not hold up who writes, and later the reader gets whole lines and how many are missing.
#[test]
fn log_pipe_takes_everything_although_nobody_reads() {
    const LINES: usize = 200_000;
    let mut child = program()
        .args(["log-pipe", "--max", "1MiB"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    for number in 0..LINES {
        writeln!(input, "{{\"line\":{number},\"text\":\"{}\"}}", "x".repeat(100)).unwrap();
    }
    let mut output = child.stdout.take().unwrap();
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        output.read_to_string(&mut text).unwrap();
        text
    });
    drop(input);
    let text = reader.join().unwrap();
    assert!(child.wait().unwrap().success());
    let (mut got, mut missing) = (0, 0);
    for line in text.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        if line["event"] == "log_lines_dropped" {
            missing += line["lines"].as_u64().unwrap();
        } else {
            assert_eq!(line["line"], got + missing, "the report stands where lines are missing");
            got += 1;
        }
    }
    assert!(missing > 0 && got > 1000, "{got} and {missing}");
    assert_eq!(got + missing, LINES as u64);
}
