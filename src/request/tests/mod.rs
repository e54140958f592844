//! Compares the scan and the edits with a simple reading of the whole body.

mod bodies;
mod conversations;
mod edits;
mod examples;
mod reference;
mod references;
mod scans;

use super::{Facts, ScanError, Scanner};

/// Scans `body` in windows whose lengths cycle through `cuts`; all at once if `cuts` is empty.
fn scan_in(body: &[u8], cuts: &[usize]) -> Result<Facts, ScanError> {
    let mut scanner = Scanner::new();
    let mut rest = body;
    for cut in cuts.iter().cycle() {
        if rest.is_empty() || cuts.iter().all(|cut| *cut == 0) {
            break;
        }
        let (window, later) = rest.split_at((*cut).min(rest.len()));
        scanner.feed(window)?;
        rest = later;
    }
    scanner.feed(rest)?;
    scanner.finish()
}

fn scan(body: &str) -> Result<Facts, ScanError> {
    scan_in(body.as_bytes(), &[])
}
