//! The command line.

mod definition;

use std::ffi::OsString;
use std::fmt;
use std::iter;
use std::path::PathBuf;

use clap::ArgMatches;

use crate::Failure;
use crate::init::{Manifests, Wish};
use definition::definition;

const NAME: &str = "llm-failsafe";

/// What the command line asks for.
#[derive(Debug, PartialEq)]
pub enum Command {
    /// Print this text: a help page or the version.
    Print(String),
    /// Write a configuration.
    Init(Wish),
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
    /// Make a key.
    AddKey(NewKey),
    /// Print the digest of a key on standard input.
    HashKey,
    /// Pass standard input on, and drop what the output does not take.
    LogPipe {
        /// How many bytes may wait.
        max: usize,
    },
    /// Examine a running gateway.
    Doctor(Patient),
}

/// A key to make.
#[derive(Debug, Default, PartialEq)]
pub struct NewKey {
    /// Its name in the configuration.
    pub name: String,
    /// Until when it is valid, as written.
    pub expires: Option<String>,
    /// Whether it is for an operator.
    pub operator: bool,
    /// The configuration that gets it.
    pub config: Option<PathBuf>,
}

/// A gateway to examine.
#[derive(Default, PartialEq)]
pub struct Patient {
    /// Its address.
    pub url: String,
    /// A client key.
    pub key: Option<String>,
    /// An operator's key.
    pub operator_key: Option<String>,
    /// The address of Envoy's admin interface.
    pub admin: Option<String>,
    /// The model that gets a request.
    pub ask: Option<String>,
    /// The file with certificates to trust.
    pub ca: Option<PathBuf>,
}

/// Leaves out the keys.
impl fmt::Debug for Patient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Patient").field("url", &self.url).field("admin", &self.admin).finish_non_exhaustive()
    }
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
        Some(("init", options)) => Command::Init(wish(options)),
        Some(("check", options)) => Command::Check { config: required(options, "config") },
        Some(("explain", options)) if options.contains_id("record") => Command::Timelines(selection(options)),
        Some(("explain", options)) => {
            Command::Explain { config: required(options, "config"), question: question(options) }
        }
        Some(("replay", options)) => {
            Command::Replay { config: required(options, "config"), selection: selection(options) }
        }
        Some(("keys", options)) => match options.subcommand() {
            Some(("add", options)) => Command::AddKey(new_key(options)),
            _ => Command::HashKey,
        },
        Some(("log-pipe", options)) => Command::LogPipe { max: required(options, "max") },
        Some(("doctor", options)) => Command::Doctor(patient(options)),
        other => unreachable!("{other:?} is not a subcommand"),
    })
}

fn wish(options: &ArgMatches) -> Wish {
    let all = |name: &str| options.get_many(name).unwrap_or_default().cloned().collect();
    Wish {
        providers: all("provider"),
        models: all("model"),
        single: options.get_flag("single"),
        live: options.get_flag("live"),
        kubernetes: options.get_one("kubernetes").and_then(|name: &String| Manifests::from_name(name)),
        module_image: options.get_one("module-image").cloned(),
        keys: all("key"),
        operators: all("operator"),
        listen: required(options, "listen"),
        admin: required(options, "admin"),
        probes: options.get_one("probes").cloned(),
        module: required(options, "module"),
        output: options.get_one("output").cloned(),
        force: options.get_flag("force"),
    }
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

fn new_key(options: &ArgMatches) -> NewKey {
    NewKey {
        name: required(options, "name"),
        expires: options.get_one("expires").cloned(),
        operator: options.get_flag("operator"),
        config: options.get_one("config").cloned(),
    }
}

fn patient(options: &ArgMatches) -> Patient {
    Patient {
        url: required(options, "url"),
        key: options.get_one("key").cloned(),
        operator_key: options.get_one("operator-key").cloned(),
        admin: options.get_one("admin").cloned(),
        ask: options.get_one("ask").cloned(),
        ca: options.get_one("ca").cloned(),
    }
}

fn selection(options: &ArgMatches) -> Selection {
    Selection { file: required(options, "record"), id: options.get_one("id").cloned() }
}

/// The value of an option that the definition requires or gives a default.
fn required<T: Clone + Send + Sync + 'static>(options: &ArgMatches, name: &str) -> T {
    options.get_one(name).cloned().unwrap_or_else(|| unreachable!("--{name} is required"))
}

#[cfg(test)]
mod tests;
