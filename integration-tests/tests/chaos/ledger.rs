//! Compares what clients, providers and decision records know of each request.
//!
//! What a crash of a VM may take is stated here: the record of a request that was under way when a VM crashed, or the attempts
//! before the crash, which its record then counts as forgotten. Nothing else may be missing.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use integration_tests::envoy::Envoy;
use integration_tests::provider::ScriptedProvider;
use integration_tests::records;
use serde_json::Value;

use super::clients::{Asked, End};
use super::faults::Played;

/// A request of so long before or after a crash may have met it, too: Envoy hears late that a client has left, and a worker is
/// without a VM for a while.
const AROUND_CRASH: Duration = Duration::from_secs(2);
/// After a client has left between two attempts, the VM waits so long for the next one before it writes the record.
const ORPHAN: Duration = Duration::from_secs(6);
/// Validating a record takes milliseconds, so only so many of a round are.
const VALIDATED: usize = 20;

/// Reads Envoy's output from where it stopped.
#[derive(Default)]
pub struct LogReader {
    offset: u64,
    text: String,
}

impl LogReader {
    /// Reads what is new.
    pub fn read(&mut self, envoy: &Envoy) {
        self.text.push_str(&envoy.log_from(&mut self.offset));
    }

    /// The round is over.
    pub fn forget(&mut self) {
        self.text.clear();
    }

    fn lines(&self) -> impl Iterator<Item = &str> {
        self.text.rsplit_once('\n').map_or("", |(whole, _)| whole).lines()
    }

    /// The records of requests of the clients, by trace id.
    fn records(&self) -> HashMap<u64, Vec<Value>> {
        let mut records: HashMap<u64, Vec<Value>> = HashMap::new();
        for (count, line) in self.lines().filter_map(record_in).enumerate() {
            let record: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
            if count < VALIDATED {
                records::check(&record);
            }
            if let Some(id) = record["trace_id"].as_str().and_then(|id| u64::from_str_radix(id, 16).ok()) {
                records.entry(id).or_default().push(record);
            }
        }
        records
    }
}

/// The record in a line: of the access log, or of Envoy's log for a request whose client left between two attempts.
fn record_in(line: &str) -> Option<&str> {
    if line.starts_with("{\"schema_version\"") {
        return Some(line);
    }
    let (_, record) = line.split_once("llm-failsafe record: ")?;
    record.get(..=record.rfind('}')?)
}

/// What does not fit, and how much was compared.
pub struct Ledger {
    pub problems: Vec<String>,
    pub summary: String,
}

/// What is known of one request beside its client.
struct Known<'l> {
    /// The providers that it reached, and as which of their requests.
    visits: &'l [(&'l str, usize)],
    records: &'l [Value],
    /// A VM crashed while it was under way.
    met_crash: bool,
}

impl Ledger {
    pub fn new(asked: &[Asked], providers: &[ScriptedProvider], log: &LogReader, played: &Played) -> Self {
        let mut visits: HashMap<u64, Vec<(&str, usize)>> = HashMap::new();
        for provider in providers {
            for (index, received) in provider.received().iter().enumerate() {
                let trace = received.header("traceparent").and_then(|trace| trace.split('-').nth(1));
                if let Some(id) = trace.and_then(|id| u64::from_str_radix(id, 16).ok()) {
                    visits.entry(id).or_default().push((provider.name(), index));
                }
            }
        }
        let records = log.records();
        let mut problems = Vec::new();
        let (mut reached, mut listed, mut forgotten, mut lost) = (0, 0, 0, 0);
        for one in asked {
            let known = Known {
                visits: visits.get(&one.id).map_or(&[], Vec::as_slice),
                records: records.get(&one.id).map_or(&[], Vec::as_slice),
                met_crash: played.crashes.iter().any(|crash| meets(one, *crash)),
            };
            reached += known.visits.len();
            listed += known.records.iter().map(attempts).sum::<u64>();
            forgotten += known.records.iter().map(|record| count(record, "forgotten_attempts")).sum::<u64>();
            lost += if known.records.is_empty() { known.visits.len() } else { 0 };
            problems.extend(known.problems(one).into_iter().map(|problem| {
                let records: Vec<_> = known.records.iter().map(Value::to_string).collect();
                format!("{one}\n  {problem}\n  at {:?}, records {records:#?}", known.visits)
            }));
        }
        let panics = log.lines().filter(|line| line.contains("panicked") || line.contains("assert failure"));
        problems.extend(panics.map(str::to_owned));
        let ends = |wanted: fn(&End) -> bool| asked.iter().filter(|one| wanted(&one.end)).count();
        let mut errors: BTreeMap<&str, usize> = BTreeMap::new();
        for one in asked {
            if let End::Error(_, reason) = &one.end {
                *errors.entry(reason).or_default() += 1;
            }
        }
        let slowest = asked.iter().map(|one| one.ended - one.began).max().unwrap_or_default();
        let summary = format!(
            "{} requests: {} whole, {} errors, {} broken, {} left. Providers got {reached}; records list {listed} attempts \
             and forgot {forgotten}; {lost} were lost with {} crashes. The slowest request took {slowest:?}. Errors: {errors:?}",
            asked.len(),
            ends(|end| *end == End::Complete),
            ends(|end| matches!(end, End::Error(..))),
            ends(|end| matches!(end, End::Broken(_))),
            ends(|end| *end == End::Left),
            played.crashed,
        );
        Self { problems, summary }
    }
}

fn meets(one: &Asked, (began, ended): (Instant, Instant)) -> bool {
    let recorded = if matches!(one.end, End::Left) { one.ended + ORPHAN } else { one.ended };
    one.began <= ended + AROUND_CRASH && recorded + AROUND_CRASH >= began
}

fn count(record: &Value, name: &str) -> u64 {
    record[name].as_u64().unwrap_or(0)
}

fn attempts(record: &Value) -> u64 {
    let listed = record["attempts"].as_array().map_or(0, Vec::len) as u64;
    listed + record.pointer("/cut/attempts").and_then(Value::as_u64).unwrap_or(0)
}

impl Known<'_> {
    fn problems(&self, one: &Asked) -> Vec<String> {
        let mut problems = Vec::new();
        if let End::Wrong(why) = &one.end {
            problems.push(why.clone());
        }
        match self.records {
            [] => {
                let never_came = self.visits.is_empty() && matches!(one.end, End::Left | End::Broken(_));
                if !self.met_crash && !never_came {
                    problems.push("it has no record".to_owned());
                }
            }
            [record] => self.compare(one, record, &mut problems),
            _ => problems.push("it has several records".to_owned()),
        }
        problems
    }

    fn compare(&self, one: &Asked, record: &Value, problems: &mut Vec<String>) {
        let forgotten = count(record, "forgotten_attempts");
        if forgotten > 0 && !self.met_crash {
            problems.push("attempts are forgotten without a crash".to_owned());
        }
        if self.visits.len() as u64 > attempts(record) + forgotten {
            problems.push("providers got it more often than its record says".to_owned());
        }
        let listed = record["attempts"].as_array().map_or(&[][..], Vec::as_slice);
        for attempt in listed {
            // An answer names the request that it is for.
            if let Some(id) = attempt["provider_request_id"].as_str()
                && !self.visits.iter().any(|(name, index)| id == format!("req_{name}-{index}"))
            {
                problems.push(format!("attempt with the answer to another request: {id}"));
            }
        }
        let answered = listed.iter().filter(|attempt| attempt["answered_by"] == "provider").count();
        if answered > self.visits.len() {
            problems.push("its record has answers of providers that did not get it".to_owned());
        }
        let outcome = record["outcome"].as_str().unwrap_or_default();
        let agrees = match &one.end {
            End::Complete => ["served", "fell_back", "queued"].contains(&outcome),
            End::Error(status, _) => record["http.response.status_code"] == *status,
            End::Broken(_) => ["broken", "client_abort"].contains(&outcome),
            End::Left | End::Wrong(_) => true,
        };
        if !agrees && !self.met_crash {
            problems.push("its record disagrees with its client".to_owned());
        }
    }
}
