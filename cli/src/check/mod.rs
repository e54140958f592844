//! What is wrong with a valid configuration, and with the Envoy file around it.
//!
//! A mistake keeps Envoy from starting or makes requests fail. A warning is about something that works but is
//! probably not intended. What the file does not show, because Envoy gets it from elsewhere, is named as such.

mod catalogue;
mod envoy;
mod finding;
mod keys;
mod models;
mod substitutes;

use llm_failsafe::base::WallTime;

use crate::plural::count;
use crate::source::Loaded;
use finding::{Finding, Severity};

/// What ends within four weeks causes a warning.
const SOON_MS: u64 = 28 * 24 * 60 * 60 * 1000;

/// The report on a configuration without mistakes, with all warnings.
///
/// # Errors
/// The report on an Envoy file with mistakes.
pub fn report(loaded: &Loaded, now: WallTime) -> Result<String, String> {
    let config = &loaded.config;
    let findings = loaded.envoy.as_ref().map(|file| envoy::findings(file, config, &loaded.variables));
    let findings = findings.unwrap_or_default();
    let of = |severity| findings.iter().filter(move |it| it.severity == severity).map(Finding::to_string);
    let mut warnings = models::warnings(config, now);
    warnings.extend(substitutes::warnings(config, now));
    warnings.extend(keys::warnings(config, now));
    let unset = loaded.variables.iter().filter(|variable| !variable.is_set);
    for variable in
        unset.filter(|variable| is_set_by_whoever_checks(loaded) && !is_in_file(loaded, &variable.name))
    {
        let name = &variable.name;
        warnings.push(format!("the environment variable `{name}` is not set here; the gateway needs it"));
    }
    warnings.extend(of(Severity::Warning));
    let mistakes: Vec<_> = of(Severity::Mistake).collect();
    let (models, targets) = (config.models().len(), config.targets().len());
    let head = match mistakes.len() {
        0 => format!(
            "good: {}, {}, {}",
            count(models as u64, ["model", "models"]),
            count(targets as u64, ["target", "targets"]),
            in_number(&warnings)
        ),
        1 => "the Envoy file has 1 mistake:".to_owned(),
        number => format!("the Envoy file has {number} mistakes:"),
    };
    let mut report = listed(head, &mistakes);
    if !mistakes.is_empty() && !warnings.is_empty() {
        report.push_str(&format!("\nand {}:", in_number(&warnings)));
    }
    report = listed(report, &warnings);
    let unknown: Vec<_> = of(Severity::Unknown).collect();
    if !unknown.is_empty() {
        report = listed(report + "\nnot checked:", &unknown);
    }
    if !mistakes.is_empty() {
        return Err(report);
    }
    Ok(format!("{report}\n{}", catalogue::report(config)))
}

fn in_number(warnings: &[String]) -> String {
    count(warnings.len() as u64, ["warning", "warnings"])
}

fn listed(head: String, lines: &[String]) -> String {
    lines.iter().fold(head, |text, line| text + "\n  " + line)
}

/// Whether the variables are to be set where `check` runs. Manifests set them in a pod, and a running Envoy has them.
fn is_set_by_whoever_checks(loaded: &Loaded) -> bool {
    loaded.envoy.as_ref().is_none_or(|envoy| envoy.set_elsewhere.is_none() && !envoy.is_dump)
}

/// Whether the Envoy file itself gives the variable a value.
fn is_in_file(loaded: &Loaded, variable: &str) -> bool {
    let positions = loaded.envoy.iter().flat_map(crate::envoy::Envoy::positions);
    positions.into_iter().any(|position| position.plugin.set_here.iter().any(|name| name == variable))
}
