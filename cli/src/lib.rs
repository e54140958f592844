//! What the filter would do with a configuration, a request or a decision record, without Envoy; keys for it; and what is wrong
//! with a running gateway.
//!
//! - `init` writes an Envoy configuration from a few answers.
//! - `check` reads a configuration as the filter does, and the Envoy file around it. It lists every mistake, and settings that
//!   are probably not intended.
//! - `explain` lists the eligible targets for one request, and why the others are ineligible. With `--record` it prints
//!   decision records as timelines.
//! - `replay` compares decision records with what a configuration would decide now.
//! - `keys` makes keys for clients and operators.
//! - `log-pipe` passes Envoy's output on without ever letting Envoy wait.
//! - `doctor` asks a running gateway for its state and explains what is wrong.
//!
//! All decisions come from the library that the filter is built from; this crate makes none of its own.

mod arguments;
mod bounded_yaml;
mod check;
mod doctor;
mod envoy;
mod explain;
mod failure;
mod init;
mod keys;
mod log_pipe;
mod moment;
mod plural;
mod records;
mod replay;
mod source;
mod timeline;

use std::ffi::OsString;

use llm_failsafe::base::WallTime;

use arguments::Command;
pub use failure::Failure;

/// Runs the program with `arguments` (without the program's name) and returns the text for standard output.
///
/// # Errors
/// [`Failure::Usage`] for a wrong command line, [`Failure::Input`] for a problem with a file, a configuration or a request,
/// [`Failure::Problems`] for a gateway with problems.
pub fn run<A>(arguments: impl IntoIterator<Item = A>, now: WallTime) -> Result<String, Failure>
where
    A: Into<OsString>,
{
    let report = match arguments::parse(arguments)? {
        Command::Print(text) => return Ok(text),
        Command::Init(wish) => return init::run(wish),
        Command::Check { config } => source::load(&config).and_then(|loaded| check::report(&loaded, now)),
        Command::Explain { config, question } => {
            source::load(&config).and_then(|loaded| explain::report(&loaded.config, &question, now))
        }
        Command::Timelines(selection) => records::timelines(&selection),
        Command::Replay { config, selection } => records::replays(&selection, &config),
        Command::AddKey(new) => keys::add(&new, now),
        Command::HashKey => keys::hash(),
        Command::LogPipe { max } => log_pipe::run(max),
        Command::Doctor(patient) => return doctor::report(&patient),
    };
    report.map_err(Failure::Input)
}
