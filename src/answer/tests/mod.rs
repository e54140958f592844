//! Responses in pieces, against an in-memory host.

mod gates;
mod injected_usage;
mod long_chunks;
mod renaming;
mod repeats;
mod stated_errors;
mod streams;
mod translated;

use super::{Follower, Gatekeeper, Release, Terms};
use crate::base::{Endpoint, HeaderBlock, Timestamp};
use crate::config::{EmptyStop, HoldPolicy};
use crate::provider::ProviderKind;
use crate::request::test_support::FakeWire;

const OK_JSON: &[(&str, &str)] = &[(":status", "200"), ("content-type", "application/json")];
const OK_STREAM: &[(&str, &str)] = &[(":status", "200"), ("content-type", "text/event-stream")];

const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

/// A streamed request to an OpenAI provider.
fn terms(endpoint: Endpoint) -> Terms {
    let (kind, gate) = (ProviderKind::OpenAi, HoldPolicy::default());
    Terms {
        kind,
        endpoint,
        streamed: true,
        gate,
        empty_stop: EmptyStop::Fail,
        hides_usage: false,
        model_name: None,
        learns: false,
        translate: None,
    }
}

/// The follower of a response that was not held.
fn follower(terms: Terms, headers: &[(&str, &str)], wants_insertion: bool) -> Follower {
    let gatekeeper = Gatekeeper::of_success(terms, HeaderBlock::of(headers)).unwrap();
    gatekeeper.commit(wants_insertion, &mut FakeWire::default())
}

/// What the client gets of a response that is cut at these places, one entry for each piece. Staged bytes
/// stay in the host's buffer. Every other time the next piece comes before they have been released.
fn passed(mut follower: Follower, response: &[u8], cuts: &[usize]) -> Vec<Vec<u8>> {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (response.len() + 1)).collect();
    cuts.push(response.len());
    cuts.sort_unstable();
    let (mut start, mut out, mut host) = (0, Vec::new(), FakeWire::default());
    for (index, cut) in cuts.iter().enumerate() {
        host.body.extend_from_slice(&response[start..*cut]);
        let available = host.body.len();
        let report = follower.chunk(&mut host, available, index + 1 == cuts.len());
        assert_eq!(report.new_bytes, cut - start, "each byte is reported once");
        start = *cut;
        out.push(match report.release {
            Release::Hold => Vec::new(),
            Release::Stage if index % 2 == 0 => Vec::new(),
            Release::Stage => {
                follower.released();
                std::mem::take(&mut host.body)
            }
            Release::Pass | Release::Flow => std::mem::take(&mut host.body),
        });
    }
    out.push(host.body);
    out
}
