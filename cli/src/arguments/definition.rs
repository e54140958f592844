//! The options of every command, for clap.

use std::path::PathBuf;

use clap::builder::{PathBufValueParser, TypedValueParser as _};
use clap::{Arg, ArgAction, Command as Definition};

use super::NAME;
use crate::init::Manifests;

pub(super) fn definition() -> Definition {
    Definition::new(NAME)
        .version(env!("CARGO_PKG_VERSION"))
        .propagate_version(true)
        .about("Writes and checks llm-failsafe configurations, explains decisions, makes keys, examines a running gateway")
        .after_help(
            "A configuration is a file in JSON or YAML, or an envoy.yaml that contains the filter. The environment\n\
             variables that it reads keys from need not be set.\n\n\
             Exit codes: 0 success; 1 problem with a file, the configuration, the request or the gateway;\n\
             2 wrong command line.",
        )
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommands([init(), check(), explain(), replay(), keys(), log_pipe(), doctor()])
}

fn init() -> Definition {
    subcommand("init")
        .about("Write an Envoy configuration for your providers and models")
        .after_help(
            "On a terminal it asks for what is missing. It replaces no file unless --force says so, and never a file\n\
             with a provider's key.\n\n\
             A provider is one of:\n  \
               openai                             key in OPENAI_API_KEY; also anthropic, gemini, openrouter, mistral,\n  \
                                                  groq, xai, deepseek, together, fireworks, cohere, moonshot, dashscope\n  \
               openai=KEY_A,KEY_B                 two accounts with their variables; conversations stay at one\n  \
               vllm=http://10.0.0.7:8000          a server with OpenAI's API, without a key\n  \
               cerebras=https://api.cerebras.ai/v1,CEREBRAS_API_KEY\n  \
               eu:azure-openai=https://NAME.openai.azure.com,AZURE_KEY\n\n\
             A model is the name that clients send, and what serves it, the first choice first:\n  \
               chat=openai/gpt-4.1-mini,anthropic/claude-haiku-4-5\n\n\
             With --live, the files are in a folder: start.sh checks and starts them, and keys and configuration\n\
             change without a restart. The names of variables then only say how many accounts there are.\n\n\
             With --kubernetes, the folder is a base for kustomize or a chart for Helm, with the same files in it, or has\n\
             the objects that add the filter to Envoys of Istio or Envoy Gateway.",
        )
        .args([
            text("provider", "PROVIDER", "Provider with its keys; may be repeated").action(ArgAction::Append),
            text("model", "MODEL", "Model with its targets; may be repeated").action(ArgAction::Append),
            text("key", "NAME", "Make a client key and print it once; may be repeated").action(ArgAction::Append),
            text("operator", "NAME", "Make an operator's key and print it once; may be repeated")
                .action(ArgAction::Append),
            flag("single", "An ordinary listener: one attempt per request, no retry loop"),
            flag("live", "Keys and configuration in files that Envoy watches"),
            text("kubernetes", "TOOL", "Manifests for Kubernetes, and what they are for")
                .value_parser(Manifests::NAMES)
                .conflicts_with_all(["live", "listen", "admin", "probes", "module"]),
            text("module-image", "IMAGE", "With --kubernetes, the image with the filter's module")
                .requires("kubernetes"),
            text("listen", "ADDRESS", "Where clients connect").default_value("127.0.0.1:10000"),
            text("admin", "ADDRESS", "Envoy's admin interface").default_value("127.0.0.1:9901"),
            text("probes", "ADDRESS", "Where probes connect; default: the host of --listen and port 10001"),
            text("module", "FILE", "The filter's module").default_value("dist/llm_failsafe.wasm"),
            text("output", "PATH", "File to write, or folder with --live or --kubernetes; default: envoy.yaml, or gateway")
                .value_parser(PathBufValueParser::new().map(PathBuf::from)),
            flag("force", "Replace files"),
        ])
}

fn check() -> Definition {
    subcommand("check")
        .about("Check a configuration")
        .after_help(
            "Reads the configuration as the filter does. Lists every mistake, and warns of settings that are valid\n\
             but probably not intended. In an envoy.yaml it also checks what the filter needs of Envoy: clusters,\n\
             environment variables, the retry loop, buffers, time limits and who can connect. What Envoy gets from\n\
             elsewhere (LDS, RDS, CDS) cannot be checked.\n\n\
             It reads the same from a dump of a running Envoy, and names what Envoy has refused:\n  \
               istioctl proxy-config all POD -o json | llm-failsafe check --config -\n  \
               egctl config envoy-proxy all POD -n NAMESPACE -o json | llm-failsafe check --config -\n  \
               egctl x translate --from gateway-api --to xds -t all -o json -f FILE | llm-failsafe check --config -\n\
             The last one prints only the path of the filter's file, so run it in the folder of filter.yaml.",
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
             the configuration. Prints the requests for which something differs, and at the end how many there are.",
        )
        .args([record().required(true), config().required(true), id()])
}

fn keys() -> Definition {
    subcommand("keys")
        .about("Make keys for clients and operators")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommands([
            subcommand("add")
                .about("Make a new key and print it once, with the lines for the configuration")
                .after_help(
                    "The configuration holds only the digest, so the key cannot be shown again. If the configuration\n\
                     already has the key NAME, the printed entry accepts the old and the new one, unless the old one has\n\
                     expired. No file is changed.",
                )
                .args([
                    name_of_key(),
                    text("expires", "DATE", "Until when the key is valid, such as 2027-01-31 or 2027-01-31T18:00:00Z"),
                    flag("operator", "A key for operators instead of one for clients"),
                    config(),
                ]),
            subcommand("hash").about("Read a key from standard input and print its digest"),
        ])
}

fn name_of_key() -> Arg {
    Arg::new("name")
        .value_name("NAME")
        .help("Name of the key in configuration, records and metrics")
        .required(true)
}

fn doctor() -> Definition {
    subcommand("doctor")
        .about("Ask a running gateway what is wrong, and explain it")
        .after_help(
            "Without keys it can only tell whether the gateway answers. With an operator's key it reads the status\n\
             report, with --admin Envoy's counters. Keys in environment variables are not visible to other users of\n\
             this machine; those on the command line are. Exit code 1 means that there are problems.",
        )
        .args([
            Arg::new("url")
                .value_name("URL")
                .help("Address of the gateway, such as http://gateway:10000")
                .required(true)
                .value_parser(base_url),
            text("key", "KEY", "Client key; default: the environment variable LLM_FAILSAFE_KEY"),
            text("operator-key", "KEY", "Operator's key; default: LLM_FAILSAFE_OPERATOR_KEY"),
            text("admin", "URL", "Envoy's admin interface, such as http://127.0.0.1:9901").value_parser(base_url),
            text("ask", "MODEL", "Send one small request for this model; a provider may charge for it"),
            file("ca", "Certificates (PEM) to trust instead of the well-known ones"),
        ])
}

fn log_pipe() -> Definition {
    subcommand("log-pipe")
        .about("Pass Envoy's output from standard input on, without ever letting Envoy wait")
        .after_help(
            "What standard output does not take waits, up to --max. Whole lines beyond that are dropped. A line of JSON\n\
             says where how many are missing: {\"event\":\"log_lines_dropped\",\"lines\":3}",
        )
        .arg(text("max", "SIZE", "How much may wait").default_value("16MiB").value_parser(memory))
}

/// The bounds of `log-pipe --max`.
const MEMORY: std::ops::RangeInclusive<usize> = 64 * 1024..=1024 * 1024 * 1024;

/// A size in KiB or MiB.
fn memory(text: &str) -> Result<usize, String> {
    let units = [("KiB", 1024), ("MiB", 1024 * 1024)];
    let size = units.into_iter().find_map(|(unit, bytes)| {
        text.strip_suffix(unit)?
            .parse::<usize>()
            .ok()?
            .checked_mul(bytes)
            .filter(|size| MEMORY.contains(size))
    });
    size.ok_or_else(|| "it must be 64KiB to 1024MiB".to_owned())
}

/// The address of a server without the path, as `http://host:port`. Clients are often configured with `/v1`.
fn base_url(text: &str) -> Result<String, String> {
    let written = text.trim_end_matches('/');
    let written = written.strip_suffix("/v1").unwrap_or(written);
    let rest = written.strip_prefix("http://").or_else(|| written.strip_prefix("https://"));
    let rest = rest.ok_or("it must begin with http:// or https://")?;
    if rest.is_empty() || rest.contains(['/', '?', '#', '@', ' ']) {
        return Err("it must be only a host and a port, such as http://gateway:10000".to_owned());
    }
    Ok(written.to_owned())
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
