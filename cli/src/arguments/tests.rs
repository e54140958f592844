use super::*;

const SUBCOMMANDS: [&str; 6] = ["init", "check", "explain", "replay", "keys", "doctor"];

fn parse_line(line: &str) -> Result<Command, Failure> {
    parse(line.split_whitespace())
}

fn printed(line: &str) -> String {
    match parse_line(line) {
        Ok(Command::Print(text)) => text,
        other => panic!("{line}: {other:?}"),
    }
}

fn usage_error(line: &str) -> String {
    match parse_line(line) {
        Err(Failure::Usage(text)) => text,
        other => panic!("{line}: {other:?}"),
    }
}

#[test]
fn clap_accepts_the_definition() {
    definition().debug_assert();
}

#[test]
fn in_kubernetes_the_addresses_are_fixed_and_the_module_is_an_image() {
    let line = "init --provider openai --model chat=openai/m";
    let Ok(Command::Init(wish)) = parse_line(&format!("{line} --kubernetes helm --module-image r/m:1"))
    else {
        panic!("{line}");
    };
    assert_eq!((wish.kubernetes, wish.module_image.as_deref()), (Some(Manifests::Helm), Some("r/m:1")));
    for (more, said) in [
        ("--kubernetes nomad", "kustomize, helm"),
        ("--kubernetes helm --live", "--live"),
        ("--kubernetes helm --listen 0.0.0.0:1", "--listen"),
        ("--kubernetes helm --admin 127.0.0.1:1", "--admin"),
        ("--kubernetes helm --probes 0.0.0.0:1", "--probes"),
        ("--kubernetes helm --module m.wasm", "--module"),
        ("--module-image r/m:1", "--kubernetes"),
    ] {
        let text = usage_error(&format!("{line} {more}"));
        assert!(text.contains(said), "{more}: {text}");
    }
}

#[test]
fn program_help_lists_every_subcommand_and_the_exit_codes() {
    for line in ["--help", "-h", "help"] {
        let text = printed(line);
        for name in SUBCOMMANDS {
            assert!(text.contains(&format!("\n  {name} ")), "{text}");
        }
        assert!(text.contains("Exit codes: 0 success; 1"), "{text}");
    }
}

#[test]
fn subcommand_help_lists_its_options() {
    let options = [
        ("check", vec!["--config <FILE>"]),
        (
            "explain",
            vec![
                "--config <FILE>",
                "--request <FILE>",
                "--path <PATH>",
                "[default: /v1/chat/completions]",
                "--key <NAME>",
                "--region <LIST>",
                "--no-fallback",
                "--down <TARGET>",
                "--json",
                "--record <FILE>",
                "--id <ID>",
            ],
        ),
        ("replay", vec!["--record <FILE>", "--config <FILE>", "--id <ID>"]),
        ("keys", vec!["\n  add ", "\n  hash "]),
        (
            "doctor",
            vec![
                "<URL>",
                "--key <KEY>",
                "--operator-key <KEY>",
                "--admin <URL>",
                "--ask <MODEL>",
                "--ca <FILE>",
            ],
        ),
    ];
    for (name, options) in options {
        for line in [format!("{name} --help"), format!("{name} -h"), format!("help {name}")] {
            let text = printed(&line);
            assert!(text.contains(&format!("Usage: llm-failsafe {name} ")), "{text}");
            for option in &options {
                assert!(text.contains(option), "{line} lacks {option}:\n{text}");
            }
        }
    }
}

#[test]
fn help_fits_a_terminal_of_110_columns() {
    for line in [
        "--help",
        "check --help",
        "explain --help",
        "replay --help",
        "keys --help",
        "keys add --help",
        "doctor --help",
    ] {
        let text = printed(line);
        let longest = text.lines().max_by_key(|line| line.len()).unwrap_or_default();
        assert!(longest.len() <= 110, "{line}: {longest}");
    }
}

#[test]
fn version_is_printed_for_the_program_and_each_subcommand() {
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(printed("--version"), format!("llm-failsafe {version}"));
    assert_eq!(printed("-V"), format!("llm-failsafe {version}"));
    for name in SUBCOMMANDS {
        assert_eq!(printed(&format!("{name} --version")), format!("llm-failsafe-{name} {version}"));
    }
}

#[test]
fn misspelt_subcommand_suggests_the_nearest() {
    for (wrong, right) in
        [("chek", "check"), ("explian", "explain"), ("repaly", "replay"), ("docter", "doctor")]
    {
        let text = usage_error(wrong);
        assert!(text.contains(&format!("unrecognized subcommand '{wrong}'")), "{text}");
        assert!(text.contains("similar subcommand") && text.contains(&format!("'{right}'")), "{text}");
    }
}

#[test]
fn misspelt_option_suggests_the_nearest() {
    let cases = [
        ("check --confg x", "--config"),
        ("explain --requst x", "--request"),
        ("explain --no-fallbak", "--no-fallback"),
        ("replay --recrod x", "--record"),
    ];
    for (line, right) in cases {
        let text = usage_error(line);
        assert!(text.contains("unexpected argument"), "{text}");
        assert!(text.contains(&format!("a similar argument exists: '{right}'")), "{text}");
        assert!(text.contains("Usage: llm-failsafe "), "{text}");
    }
}

#[test]
fn option_of_another_subcommand_is_rejected() {
    for line in ["check --config a --json", "replay --record a --config b --down c", "--config a"] {
        assert!(usage_error(line).contains("unexpected argument"), "{line}");
    }
}

#[test]
fn extra_argument_is_rejected() {
    for line in ["check --config a b", "explain --record a b", "replay --record a --config b c"] {
        assert!(usage_error(line).contains("unexpected argument"), "{line}");
    }
}

#[test]
fn option_without_its_value_is_rejected() {
    let cases = [
        ("check --config", "--config <FILE>"),
        ("explain --config a --request", "--request <FILE>"),
        ("explain --config a --request b --down --json", "--down <TARGET>"),
        ("explain --record a --id", "--id <ID>"),
        ("replay --record --config a", "--record <FILE>"),
    ];
    for (line, option) in cases {
        let text = usage_error(line);
        assert!(text.contains(&format!("a value is required for '{option}'")), "{text}");
    }
}

#[test]
fn missing_options_are_named() {
    let cases = [
        ("check", vec!["--config <FILE>"]),
        ("explain", vec!["--config <FILE>", "--request <FILE>", "--record <FILE>"]),
        ("explain --config a", vec!["--request <FILE>"]),
        ("explain --request a", vec!["--config <FILE>"]),
        ("explain --id a", vec!["--record <FILE>"]),
        ("replay", vec!["--record <FILE>", "--config <FILE>"]),
        ("replay --record a", vec!["--config <FILE>"]),
    ];
    for (line, options) in cases {
        let text = usage_error(line);
        assert!(text.contains("required arguments were not provided"), "{text}");
        for option in options {
            assert!(text.contains(&format!("\n  {option}\n")), "{line} lacks {option}:\n{text}");
        }
    }
}

#[test]
fn no_arguments_print_the_help_as_an_error() {
    assert!(usage_error("").contains("Commands:"));
}

#[test]
fn explain_takes_either_a_request_or_records() {
    for line in [
        "explain --config a --request b --record c",
        "explain --record a --config b",
        "explain --record a --path /v1/messages",
        "explain --record a --json",
        "explain --config a --request b --id c",
    ] {
        let text = usage_error(line);
        assert!(text.contains("cannot be used with") || text.contains("--record <FILE>"), "{text}");
    }
}

#[test]
fn check_is_parsed() {
    assert_eq!(parse_line("check --config a"), Ok(Command::Check { config: "a".into() }));
    assert_eq!(parse_line("check --config=a"), Ok(Command::Check { config: "a".into() }));
}

#[test]
fn explain_of_a_request_has_defaults() {
    let question =
        Question { request: "b".into(), path: "/v1/chat/completions".to_owned(), ..Question::default() };
    let expected = Command::Explain { config: "a".into(), question };
    assert_eq!(parse_line("explain --config a --request b"), Ok(expected));
}

#[test]
fn explain_of_a_request_reads_every_option() {
    let line = "explain --json --config a --request b --path /v1/messages --key k --region eu,us --no-fallback \
                --down c --down d";
    let question = Question {
        request: "b".into(),
        path: "/v1/messages".to_owned(),
        key: Some("k".to_owned()),
        region: Some("eu,us".to_owned()),
        no_fallback: true,
        down: vec!["c".to_owned(), "d".to_owned()],
        json: true,
    };
    assert_eq!(parse_line(line), Ok(Command::Explain { config: "a".into(), question }));
}

#[test]
fn explain_of_records_and_replay_read_a_file_or_standard_input() {
    let selection = |file: &str, id: Option<&str>| Selection { file: file.into(), id: id.map(str::to_owned) };
    assert_eq!(parse_line("explain --record -"), Ok(Command::Timelines(selection("-", None))));
    assert_eq!(parse_line("explain --record a --id 7"), Ok(Command::Timelines(selection("a", Some("7")))));
    let expected = Command::Replay { config: "b".into(), selection: selection("a", Some("7")) };
    assert_eq!(parse_line("replay --record a --config b --id 7"), Ok(expected));
}

#[test]
fn last_value_of_a_repeated_option_counts() {
    assert_eq!(parse_line("check --config a --config b"), Ok(Command::Check { config: "b".into() }));
}

#[test]
fn empty_value_is_a_value() {
    let parsed = parse(["explain", "--config", "a", "--request", "b", "--region", ""]);
    let Ok(Command::Explain { question, .. }) = parsed else { panic!("{parsed:?}") };
    assert_eq!(question.region.as_deref(), Some(""));
}

#[cfg(unix)]
#[test]
fn file_names_need_not_be_utf8() {
    use std::os::unix::ffi::OsStringExt as _;
    let name = OsString::from_vec(vec![b'a', 0xff]);
    let parsed = parse([OsString::from("check"), OsString::from("--config"), name.clone()]);
    assert_eq!(parsed, Ok(Command::Check { config: name.into() }));
}

#[test]
fn keys_are_parsed() {
    let add = NewKey { name: "team".to_owned(), ..NewKey::default() };
    assert_eq!(parse_line("keys add team"), Ok(Command::AddKey(add)));
    let add = NewKey {
        name: "anna".to_owned(),
        expires: Some("2027-01-31".to_owned()),
        operator: true,
        config: Some("a".into()),
    };
    assert_eq!(
        parse_line("keys add anna --operator --expires 2027-01-31 --config a"),
        Ok(Command::AddKey(add))
    );
    assert_eq!(parse_line("keys hash"), Ok(Command::HashKey));
    assert!(usage_error("keys").contains("Commands:"));
    assert!(usage_error("keys add").contains("<NAME>"));
    assert!(usage_error("keys hash sk-llm-on-the-command-line").contains("unexpected argument"));
}

#[test]
fn doctor_takes_the_address_of_a_gateway() {
    for (written, url) in [
        ("http://gateway:10000", "http://gateway:10000"),
        ("http://gateway:10000/", "http://gateway:10000"),
        ("https://llm.example.com/v1", "https://llm.example.com"),
        ("http://[::1]:10000/v1/", "http://[::1]:10000"),
    ] {
        let patient = Patient { url: url.to_owned(), ..Patient::default() };
        assert_eq!(parse_line(&format!("doctor {written}")), Ok(Command::Doctor(patient)));
    }
    for wrong in ["gateway:10000", "ftp://gateway", "http://", "http://gateway/path", "http://key@gateway"] {
        assert!(usage_error(&format!("doctor {wrong}")).contains("invalid value"), "{wrong}");
    }
    assert!(usage_error("doctor http://gateway --admin 127.0.0.1:9901").contains("must begin with"));
}

#[test]
fn doctor_reads_every_option_and_shows_no_key() {
    let line = "doctor http://g --key sk-client --operator-key op-key --admin http://a --ask chat --ca pem";
    let parsed = parse_line(line);
    let expected = Patient {
        url: "http://g".to_owned(),
        key: Some("sk-client".to_owned()),
        operator_key: Some("op-key".to_owned()),
        admin: Some("http://a".to_owned()),
        ask: Some("chat".to_owned()),
        ca: Some("pem".into()),
    };
    let shown = format!("{parsed:?}");
    assert!(!shown.contains("sk-client") && !shown.contains("op-key"), "{shown}");
    assert_eq!(parsed, Ok(Command::Doctor(expected)));
}
