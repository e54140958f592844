//! The command line.

use std::ffi::OsString;
use std::iter;
use std::path::PathBuf;

use clap::builder::{PathBufValueParser, TypedValueParser as _};
use clap::{Arg, ArgAction, ArgMatches, Command as Definition};

use crate::Failure;

const NAME: &str = "llm-failsafe";

/// What the command line asks for.
#[derive(Debug, PartialEq)]
pub enum Command {
    /// Print this text: a help page or the version.
    Print(String),
    /// Check a configuration.
    Check {
        /// The configuration.
        config: PathBuf,
    },
    /// Explain what a configuration does with a request.
    Explain {
        /// The configuration.
        config: PathBuf,
        /// The request.
        question: Question,
    },
    /// Print decision records as timelines.
    Timelines(Selection),
    /// Compare decision records with a configuration.
    Replay {
        /// The configuration.
        config: PathBuf,
        /// The records.
        selection: Selection,
    },
}

/// A request, with what the client sends beside its body.
#[derive(Debug, Default, PartialEq)]
pub struct Question {
    /// The file with the request body.
    pub request: PathBuf,
    /// The URL path.
    pub path: String,
    /// The name of the client key.
    pub key: Option<String>,
    /// The value of `x-llm-region`.
    pub region: Option<String>,
    /// Whether the client sends `x-llm-no-fallback`.
    pub no_fallback: bool,
    /// Targets that are treated as unavailable.
    pub down: Vec<String>,
    /// Whether to answer in JSON.
    pub json: bool,
}

/// Which decision records to read.
#[derive(Debug, PartialEq)]
pub struct Selection {
    /// The file; `-` is standard input.
    pub file: PathBuf,
    /// A request, trace or provider request id. `None` selects all records.
    pub id: Option<String>,
}

/// Parses `arguments`, which do not include the program's name.
pub fn parse<A>(arguments: impl IntoIterator<Item = A>) -> Result<Command, Failure>
where
    A: Into<OsString>,
{
    let line = iter::once(OsString::from(NAME)).chain(arguments.into_iter().map(Into::into));
    let matches = match definition().try_get_matches_from(line) {
        Ok(matches) => matches,
        Err(error) => {
            let text = error.render().to_string().trim_end().to_owned();
            return if error.use_stderr() { Err(Failure::Usage(text)) } else { Ok(Command::Print(text)) };
        }
    };
    Ok(match matches.subcommand() {
        Some(("check", options)) => Command::Check { config: required(options, "config") },
        Some(("explain", options)) if options.contains_id("record") => Command::Timelines(selection(options)),
        Some(("explain", options)) => {
            Command::Explain { config: required(options, "config"), question: question(options) }
        }
        Some(("replay", options)) => {
            Command::Replay { config: required(options, "config"), selection: selection(options) }
        }
        other => unreachable!("{other:?} is not a subcommand"),
    })
}

fn question(options: &ArgMatches) -> Question {
    Question {
        request: required(options, "request"),
        path: required(options, "path"),
        key: options.get_one("key").cloned(),
        region: options.get_one("region").cloned(),
        no_fallback: options.get_flag("no-fallback"),
        down: options.get_many("down").unwrap_or_default().cloned().collect(),
        json: options.get_flag("json"),
    }
}

fn selection(options: &ArgMatches) -> Selection {
    Selection { file: required(options, "record"), id: options.get_one("id").cloned() }
}

/// The value of an option that [`definition`] requires or gives a default.
fn required<T: Clone + Send + Sync + 'static>(options: &ArgMatches, name: &str) -> T {
    options.get_one(name).cloned().unwrap_or_else(|| unreachable!("--{name} is required"))
}

fn definition() -> Definition {
    Definition::new(NAME)
        .version(env!("CARGO_PKG_VERSION"))
        .propagate_version(true)
        .about("Checks llm-failsafe configurations and explains decisions, without Envoy")
        .after_help(
            "A configuration is a file in JSON or YAML, or an envoy.yaml that contains the filter. The environment\n\
             variables that it reads keys from need not be set.\n\n\
             Exit codes: 0 success; 1 problem with a file, the configuration or the request; 2 wrong command line.",
        )
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommands([check(), explain(), replay()])
}

fn check() -> Definition {
    subcommand("check")
        .about("Check a configuration")
        .after_help(
            "Reads the configuration as the filter does. Lists every mistake, and warns of settings that are valid\n\
             but probably not intended.",
        )
        .arg(config().required(true))
}

fn explain() -> Definition {
    let request = [
        config().required_unless_present("record"),
        file("request", "Request body (JSON)").required_unless_present("record"),
        text("path", "PATH", "URL path").default_value("/v1/chat/completions"),
        text("key", "NAME", "Client key, by its name in the configuration"),
        text("region", "LIST", "Value of x-llm-region"),
        flag("no-fallback", "Client sends x-llm-no-fallback"),
        text("down", "TARGET", "Treat this target as unavailable; may be repeated").action(ArgAction::Append),
        flag("json", "Print JSON"),
    ];
    let request = request.map(|arg| arg.conflicts_with("record").help_heading("Options for a request"));
    let records =
        [record().required_unless_present("request"), id().requires("record").conflicts_with("request")];
    let records = records.map(|arg| arg.help_heading("Options for decision records"));
    subcommand("explain")
        .about("Explain which targets may serve a request, or print decision records as timelines")
        .override_usage(
            "llm-failsafe explain --config <FILE> --request <FILE> [OPTIONS]\n       \
             llm-failsafe explain --record <FILE> [--id <ID>]",
        )
        .after_help(
            "For a request: lists the eligible targets, why the others are ineligible, and what follows each class\n\
             of error. For decision records: prints each as a timeline.",
        )
        .args(request)
        .args(records)
}

fn replay() -> Definition {
    subcommand("replay")
        .about("Compare decision records with what a configuration would decide now")
        .after_help(
            "Takes the needs of the request and the health of the targets from each record, and decides again with\n\
             the configuration. Prints only what differs.",
        )
        .args([record().required(true), config().required(true), id()])
}

fn subcommand(name: &'static str) -> Definition {
    // As in most programs, the last value of a repeated option counts.
    Definition::new(name).args_override_self(true)
}

fn config() -> Arg {
    file("config", "Configuration (JSON, YAML, or an envoy.yaml that contains it)")
}

fn record() -> Arg {
    file("record", "Log with decision records; - reads standard input; other text is ignored")
}

fn id() -> Arg {
    text("id", "ID", "Only records with this request, trace or provider request id")
}

fn file(name: &'static str, help: &'static str) -> Arg {
    text(name, "FILE", help).value_parser(PathBufValueParser::new().map(PathBuf::from))
}

fn text(name: &'static str, value: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).value_name(value).help(help)
}

fn flag(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).help(help).action(ArgAction::SetTrue)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUBCOMMANDS: [&str; 3] = ["check", "explain", "replay"];

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
        for line in ["--help", "check --help", "explain --help", "replay --help"] {
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
        for (wrong, right) in [("chek", "check"), ("explian", "explain"), ("repaly", "replay")] {
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
        let selection =
            |file: &str, id: Option<&str>| Selection { file: file.into(), id: id.map(str::to_owned) };
        assert_eq!(parse_line("explain --record -"), Ok(Command::Timelines(selection("-", None))));
        assert_eq!(
            parse_line("explain --record a --id 7"),
            Ok(Command::Timelines(selection("a", Some("7"))))
        );
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
}
