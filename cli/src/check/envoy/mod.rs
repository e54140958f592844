//! The Envoy file around the filter: one file for each family of rules.
//!
//! Each rule takes the facts of the file and returns what it finds. A file that is unusual but works causes no
//! mistake.

mod access;
mod buffers;
mod clusters;
mod environment;
mod filter;
mod local_replies;
mod operation;
mod retry_loop;
mod shipped;
mod stripping;
mod time_limits;
mod unused;

use llm_failsafe::config::Config;

use super::finding::Finding;
use crate::envoy::{Envoy, Position};
use crate::source::Variable;

/// Everything that the rules read.
#[derive(Clone, Copy)]
struct Subject<'a> {
    file: &'a Envoy,
    /// Where the filter is in the file.
    positions: &'a [Position<'a>],
    config: &'a Config,
    /// The variables that the configuration reads keys from.
    variables: &'a [Variable],
}

/// What the rules find.
pub(super) fn findings(file: &Envoy, config: &Config, variables: &[Variable]) -> Vec<Finding> {
    let positions = file.positions();
    let subject = Subject { file, positions: &positions, config, variables };
    let rules: [fn(Subject<'_>) -> Vec<Finding>; 12] = [
        unused::findings,
        filter::findings,
        environment::findings,
        clusters::findings,
        retry_loop::findings,
        local_replies::findings,
        operation::findings,
        stripping::findings,
        buffers::findings,
        time_limits::findings,
        access::findings,
        shipped::findings,
    ];
    rules.iter().flat_map(|rule| rule(subject)).collect()
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
