//! The decision records in Envoy's access log. Each is validated against the published schema.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::SOON;
use crate::envoy::Envoy;
use crate::paths;

/// The records so far on Envoy's standard output, to which the shipped configurations write them.
///
/// # Panics
/// If one does not match the schema.
pub fn so_far(envoy: &Envoy) -> Vec<Value> {
    of_log(&envoy.log())
}

/// The records of an access log in this text.
///
/// # Panics
/// If one does not match the schema.
pub fn of_log(log: &str) -> Vec<Value> {
    parsed(whole_lines(log).filter(|line| line.starts_with("{\"schema_version\"")))
}

/// The records that the filter itself wrote to Envoy's log.
///
/// # Panics
/// If one does not match the schema.
pub fn logged(log: &str) -> Vec<Value> {
    // Some versions of Envoy add a source location to each line. A record ends with its last brace.
    let records = whole_lines(log).filter_map(|line| {
        let (_, record) = line.split_once("llm-failsafe record: ")?;
        record.get(..=record.rfind('}')?)
    });
    parsed(records)
}

/// All lines except one that is still being written.
fn whole_lines(log: &str) -> impl Iterator<Item = &str> {
    log.rsplit_once('\n').map_or("", |(whole, _)| whole).lines()
}

fn parsed<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<Value> {
    let records: Vec<Value> = lines
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    for record in &records {
        check(record);
    }
    records
}

/// Waits until there are this many records and returns them.
///
/// # Panics
/// If they do not appear, or if there are more.
pub async fn wait_for(envoy: &Envoy, count: usize) -> Vec<Value> {
    let deadline = Instant::now() + SOON;
    loop {
        let records = so_far(envoy);
        if records.len() >= count {
            assert_eq!(records.len(), count, "more records than expected: {records:#?}");
            return records;
        }
        assert!(Instant::now() < deadline, "{count} records expected, there are {records:#?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The published schema.
///
/// # Panics
/// If it cannot be read.
pub fn schema() -> Value {
    let text =
        std::fs::read_to_string(paths::root().join("docs/decision-record.schema.json")).expect("the schema");
    serde_json::from_str(&text).expect("the schema is JSON")
}

/// Checks that a record matches the schema.
///
/// # Panics
/// If it is not.
pub fn check(record: &Value) {
    let validator = jsonschema::validator_for(&schema()).expect("a schema");
    let wrong: Vec<_> =
        validator.iter_errors(record).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert!(wrong.is_empty(), "{wrong:#?} in {record:#}");
}
