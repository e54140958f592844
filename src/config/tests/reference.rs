//! Checks `docs/configuration.md`.

use super::*;
use crate::provider;

const REFERENCE: &str = include_str!("../../../docs/configuration.md");

fn fenced(language: &str) -> Vec<&'static str> {
    let opening = format!("```{language}\n");
    REFERENCE.split(opening.as_str()).skip(1).map(|rest| rest.split("```").next().unwrap()).collect()
}

#[test]
fn the_examples_of_the_reference_load_and_its_report_is_real() {
    let [good, bad] = fenced("json")[..] else { panic!("two JSON examples") };
    let env = |name: &str| Some(format!("key-of-{name}")).filter(|_| name != "ANTHROPIC_KEY_B");
    load(good.as_bytes(), &env).unwrap();
    let report = load(bad.as_bytes(), &env).unwrap_err().to_string();
    assert_eq!(fenced("text"), [format!("{report}\n")]);
}

/// A row of the table of kinds says what the filter does.
#[test]
fn the_reference_documents_the_address_of_every_kind() {
    for kind in ProviderKind::ALL {
        let host = provider::default_host(kind).unwrap_or("none");
        let prefix = match provider::default_prefix(kind) {
            None => "none, required",
            Some("") => "none",
            Some(prefix) => prefix,
        };
        let beginning = format!("| `{}` | {host} | {prefix}", kind.name());
        let row = REFERENCE.lines().find(|line| line.starts_with(&beginning));
        let endpoints = row.unwrap_or_else(|| panic!("no row `{beginning}`")).rsplit(" | ").next().unwrap();
        for endpoint in Endpoint::ALL {
            let stated = endpoints == "all |" || endpoints.contains(&format!("`{}`", endpoint.name()));
            let supported = provider::endpoints(kind).contains(endpoint);
            assert_eq!(stated, supported, "{} {}", kind.name(), endpoint.name());
        }
    }
}

#[test]
fn the_reference_documents_all_kinds_endpoints_and_error_classes() {
    let kinds = ProviderKind::ALL.into_iter().map(ProviderKind::name);
    let names = kinds.chain(Endpoint::ALL.into_iter().map(Endpoint::name));
    for name in names.chain(ErrorClass::ALL.into_iter().map(ErrorClass::name)) {
        assert!(REFERENCE.contains(&format!("`{name}`")), "docs/configuration.md lacks `{name}`");
    }
}
