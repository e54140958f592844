//! Asks a running gateway for its state, and explains in words what is wrong and what to do.
//!
//! 1. `gateway`: does it answer, and is it llm-failsafe?
//! 2. `status`: the status report for operators.
//! 3. `counters`: Envoy's counters, from its admin interface.
//! 4. `ask`: one real request, if that is wanted.
//!
//! What cannot be asked, because a key or an address is missing, is named.

mod ask;
mod client;
mod counters;
mod gateway;
mod note;
mod state;
mod status;
mod words;

use crate::Failure;
use crate::arguments::Patient;
use client::Client;
use note::{Kind, Note};

/// The report on a gateway without problems.
///
/// # Errors
/// [`Failure::Problems`] with the report if there are problems, [`Failure::Input`] if the file with certificates is wrong.
pub fn report(patient: &Patient) -> Result<String, Failure> {
    let client = Client::new(patient.ca.as_deref()).map_err(Failure::Input)?;
    let from_environment = |name: &str| std::env::var(name).ok().filter(|value| !value.trim().is_empty());
    let key = patient.key.clone().or_else(|| from_environment("LLM_FAILSAFE_KEY"));
    let operator_key = patient.operator_key.clone().or_else(|| from_environment("LLM_FAILSAFE_OPERATOR_KEY"));
    let notes = examine(&client, patient, key.as_deref(), operator_key.as_deref());
    let verdict = note::verdict(&notes);
    let lines: Vec<_> = notes.iter().map(Note::to_string).collect();
    let report = format!("{}\n{}\n\n{verdict}", patient.url, lines.join("\n"));
    let has_problems = notes.iter().any(|note| note.kind == Kind::Problem);
    if has_problems { Err(Failure::Problems(report)) } else { Ok(report) }
}

fn examine(client: &Client, patient: &Patient, key: Option<&str>, operator_key: Option<&str>) -> Vec<Note> {
    let (mut notes, is_ours) = gateway::examine(client, &patient.url, key);
    let mut is_state_known = false;
    if is_ours {
        let (about_state, is_known) = status::examine(client, &patient.url, operator_key);
        notes.extend(about_state);
        is_state_known = is_known;
    }
    match &patient.admin {
        Some(admin) => notes.extend(counters::examine(client, admin, is_state_known)),
        None => notes.push(
            Note::unchecked("Envoy's counters (missing clusters, rejected configurations, crashes)")
                .advise("give Envoy's admin interface with --admin URL"),
        ),
    }
    if let Some(model) = patient.ask.as_ref().filter(|_| is_ours) {
        notes.extend(ask::examine(client, &patient.url, key, model));
    }
    notes
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    /// GitHub's anchor of a heading.
    fn anchor(heading: &str) -> String {
        let text = heading.trim_start_matches('#').trim().to_lowercase();
        text.chars()
            .filter_map(|letter| match letter {
                ' ' => Some('-'),
                letter if letter.is_alphanumeric() || "-_".contains(letter) => Some(letter),
                _ => None,
            })
            .collect()
    }

    #[test]
    fn every_section_that_the_doctor_names_exists() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut named = 0;
        for file in std::fs::read_dir(root.join("src/doctor")).unwrap() {
            let source = std::fs::read_to_string(file.unwrap().path()).unwrap();
            let is_link =
                |text: &&str| !text.starts_with('.') && text.contains(".md#") && !text.contains(' ');
            let links = source.split('"').filter(is_link);
            for link in links {
                let (page, section) = link.split_once('#').unwrap();
                let page =
                    std::fs::read_to_string(root.join("..").join(page)).unwrap_or_else(|_| panic!("{link}"));
                let headings = page.lines().filter(|line| line.starts_with('#')).map(anchor);
                assert!(headings.into_iter().any(|heading| heading == section), "{link}");
                named += 1;
            }
        }
        assert!(named > 15, "{named} links were found");
    }
}
