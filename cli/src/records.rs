//! The commands that look at what the filter has decided: records out of a log, as timelines, or against a configuration.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use llm_failsafe::record::{Record, SCHEMA_VERSION};

use crate::{USAGE, replay, source, timeline};

/// The most that is read of one file.
const MAX_FILE_BYTES: u64 = 256 * 1024 * 1024;

#[derive(Default)]
struct Options {
    record: Option<String>,
    config: Option<String>,
    id: Option<String>,
}

/// Whether the command line is one of these commands.
pub fn is_meant(arguments: &[String]) -> bool {
    match arguments.first().map(String::as_str) {
        Some("replay") => true,
        Some("explain") => arguments.iter().any(|option| option == "--record"),
        _ => false,
    }
}

/// Does what the command line says.
pub fn run(arguments: &[String]) -> Result<String, String> {
    let mut rest = arguments.iter().skip(1);
    let mut options = Options::default();
    while let Some(option) = rest.next() {
        let slot = match option.as_str() {
            "--record" => &mut options.record,
            "--config" => &mut options.config,
            "--id" => &mut options.id,
            other => return Err(format!("`{other}` is no option of this command\n\n{USAGE}")),
        };
        *slot = Some(rest.next().cloned().ok_or_else(|| format!("`{option}` needs a value\n\n{USAGE}"))?);
    }
    let file = options.record.ok_or_else(|| format!("`--record FILE` is missing\n\n{USAGE}"))?;
    let text = read(&file)?;
    let records = records(&text, options.id.as_deref()).map_err(|problem| format!("{file}: {problem}"))?;
    let told: Vec<_> = if arguments.first().is_some_and(|command| command == "replay") {
        let config = options.config.ok_or_else(|| format!("`--config FILE` is missing\n\n{USAGE}"))?;
        let loaded = source::load(Path::new(&config))?;
        records.iter().map(|record| replay::compare(record, &loaded.config)).collect()
    } else {
        records.iter().map(timeline::of).collect()
    };
    Ok(told.join("\n"))
}

fn read(path: &str) -> Result<String, String> {
    let mut bytes = Vec::new();
    let result = if path == "-" {
        io::stdin().take(MAX_FILE_BYTES).read_to_end(&mut bytes)
    } else {
        File::open(path).and_then(|file| file.take(MAX_FILE_BYTES).read_to_end(&mut bytes))
    };
    result.map_err(|error| format!("{path}: {error}"))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The records among the lines of a log, also of lines that have something before or behind them.
fn records<'a>(text: &'a str, id: Option<&str>) -> Result<Vec<Record<'a>>, String> {
    let mut found = Vec::new();
    let mut others = 0;
    for line in text.lines() {
        let Some(start) = line.find("{\"schema_version\"") else { continue };
        let end = line.rfind('}').map_or(line.len(), |at| at + 1);
        let json = line.get(start..end).unwrap_or_default();
        let record: Record<'_> =
            serde_json::from_str(json).map_err(|error| format!("a record cannot be read: {error}"))?;
        if record.schema_version != SCHEMA_VERSION {
            let version = record.schema_version;
            return Err(format!(
                "a record has schema version {version}; this program knows {SCHEMA_VERSION}"
            ));
        }
        if id.is_none_or(|id| is_called(&record, id)) {
            found.push(record);
        } else {
            others += 1;
        }
    }
    match (found.is_empty(), others) {
        (false, _) => Ok(found),
        (true, 0) => Err("there is no decision record in it".to_owned()),
        (true, others) => Err(format!("none of the {others} records has this id")),
    }
}

fn is_called(record: &Record<'_>, id: &str) -> bool {
    let own = [&record.request_id, &record.trace_id];
    let providers = record.attempts.iter().map(|attempt| &attempt.provider_request_id);
    own.into_iter().chain(providers).flatten().any(|known| known == id)
}
