//! Decision records in a log: printed as timelines, or compared with a configuration.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use llm_failsafe::record::{Record, SCHEMA_VERSION};

use crate::arguments::Selection;
use crate::{replay, source, timeline};

/// The most that is read of a file.
const MAX_FILE_BYTES: u64 = 256 * 1024 * 1024;

/// The selected records as timelines.
pub fn timelines(selection: &Selection) -> Result<String, String> {
    let log = read(&selection.file)?;
    Ok(select(&log, selection)?.iter().map(timeline::of).collect::<Vec<_>>().join("\n"))
}

/// What the configuration in the file `config` would decide otherwise than the selected records.
pub fn replays(selection: &Selection, config: &Path) -> Result<String, String> {
    let log = read(&selection.file)?;
    let records = select(&log, selection)?;
    let config = source::load(config)?.config;
    Ok(replay::compare(&records, &config))
}

fn read(path: &Path) -> Result<String, String> {
    let mut bytes = Vec::new();
    let read = if path == Path::new("-") {
        io::stdin().take(MAX_FILE_BYTES).read_to_end(&mut bytes)
    } else {
        File::open(path).and_then(|file| file.take(MAX_FILE_BYTES).read_to_end(&mut bytes))
    };
    read.map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn select<'a>(log: &'a str, selection: &Selection) -> Result<Vec<Record<'a>>, String> {
    records(log, selection.id.as_deref())
        .map_err(|problem| format!("{}: {problem}", selection.file.display()))
}

/// The records in a log. A line may have other text before or after the record.
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
        if id.is_none_or(|id| has_id(&record, id)) {
            found.push(record);
        } else {
            others += 1;
        }
    }
    match (found.is_empty(), others) {
        (false, _) => Ok(found),
        (true, 0) => Err("contains no decision record".to_owned()),
        (true, others) => {
            Err(format!("none of the {others} records has the id `{}`", id.unwrap_or_default()))
        }
    }
}

fn has_id(record: &Record<'_>, id: &str) -> bool {
    let own = [&record.request_id, &record.trace_id];
    let providers = record.attempts.iter().map(|attempt| &attempt.provider_request_id);
    own.into_iter().chain(providers).flatten().any(|known| known == id)
}
