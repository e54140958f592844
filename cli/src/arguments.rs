//! The command line.

use std::path::PathBuf;

use crate::USAGE;

/// What is to be done.
pub enum Command {
    /// Look at the configuration alone.
    Check,
    /// Look at it with a request.
    Explain(Question),
}

/// A request, and what else a client would say with it.
#[derive(Default)]
pub struct Question {
    /// Its body.
    pub request: PathBuf,
    /// What is called.
    pub path: String,
    /// The name of the client's key.
    pub key: Option<String>,
    /// `x-llm-region`.
    pub region: Option<String>,
    /// `x-llm-no-fallback`.
    pub no_fallback: bool,
    /// Targets that are not to be asked.
    pub down: Vec<String>,
    /// Whether programs shall read the answer.
    pub json: bool,
}

/// The command line, taken apart.
pub struct Arguments {
    /// The configuration.
    pub config: PathBuf,
    /// What is to be done with it.
    pub command: Command,
}

impl Arguments {
    pub fn parse(arguments: &[String]) -> Result<Self, String> {
        let mut rest = arguments.iter();
        let command = rest.next().map(String::as_str);
        let explains = match command {
            Some("check") => false,
            Some("explain") => true,
            Some(other) => return Err(format!("`{other}` is no command\n\n{USAGE}")),
            None => return Err(USAGE.to_owned()),
        };
        let (mut config, mut request) = (None, None);
        let mut question = Question { path: "/v1/chat/completions".to_owned(), ..Question::default() };
        while let Some(option) = rest.next() {
            let mut value =
                || rest.next().cloned().ok_or_else(|| format!("`{option}` needs a value\n\n{USAGE}"));
            match option.as_str() {
                "--config" => config = Some(value()?),
                "--request" if explains => request = Some(value()?),
                "--path" if explains => question.path = value()?,
                "--key" if explains => question.key = Some(value()?),
                "--region" if explains => question.region = Some(value()?),
                "--down" if explains => question.down.push(value()?),
                "--no-fallback" if explains => question.no_fallback = true,
                "--json" if explains => question.json = true,
                other => return Err(format!("`{other}` is no option of this command\n\n{USAGE}")),
            }
        }
        let config = config.ok_or_else(|| format!("`--config FILE` is missing\n\n{USAGE}"))?;
        let command = if explains {
            question.request =
                request.ok_or_else(|| format!("`--request FILE` is missing\n\n{USAGE}"))?.into();
            Command::Explain(question)
        } else {
            Command::Check
        };
        Ok(Self { config: config.into(), command })
    }
}
