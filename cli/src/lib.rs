//! What the filter makes of a configuration and of a request, told without Envoy.
//!
//! `check` reads a configuration as the filter does and lists every mistake, and what is allowed but probably not meant.
//! `explain` takes one request through the filter's own scanner and gates and says who may answer it, and who not and why.
//! With a decision record `explain` tells what was decided and why, and `replay` what would be decided now.
//! All of it calls the library that the filter is built from; nothing is decided here.

mod arguments;
mod check;
mod explain;
mod moment;
mod records;
mod replay;
mod source;
mod timeline;

use llm_failsafe::base::Timestamp;

use arguments::{Arguments, Command};

/// How the program is used.
pub const USAGE: &str = "\
llm-failsafe check --config FILE
    Reads a configuration as the filter does: JSON or YAML, or an envoy.yaml with the plugin in it. Lists every mistake, and
    warns of what is allowed but probably not meant.

llm-failsafe explain --config FILE --request FILE [options]
    Who may answer the request in FILE (a JSON body), and who not and why.
    --path PATH        what is called (default /v1/chat/completions)
    --key NAME         the client key of the configuration that it comes with
    --region LIST      as the client's x-llm-region
    --no-fallback      as the client's x-llm-no-fallback
    --down TARGET      as if this target were not to be asked; may be given several times
    --json             for programs

llm-failsafe explain --record FILE [--id ID]
    The decision records in FILE as timelines: lines of JSON as Envoy's access log writes them, also among others; `-` for
    standard input. ID is that of a request, of its trace, or of a provider's request; without one all records are taken.

llm-failsafe replay --record FILE --config FILE [--id ID]
    What the configuration would do with the same requests in the same state of health, as far as it differs.

A variable that the configuration takes a key from need not be set.";

/// Does what the arguments (without the program's name) say, at this moment, and returns what is to be printed.
///
/// # Errors
/// What is wrong with the arguments, the files or the configuration, in words for the user.
pub fn run(arguments: &[String], now: Timestamp) -> Result<String, String> {
    if records::is_meant(arguments) {
        return records::run(arguments);
    }
    let arguments = Arguments::parse(arguments)?;
    let loaded = source::load(&arguments.config)?;
    match &arguments.command {
        Command::Check => Ok(check::report(&loaded, now)),
        Command::Explain(question) => explain::report(&loaded.config, question, now),
    }
}
