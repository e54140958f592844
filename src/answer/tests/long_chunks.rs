//! Chunks of any length: what the client gets is the same as from short ones, and the VM reads only windows.

use proptest::prelude::*;

use super::super::{Follower, MAX_HELD_EVENT, MAX_PIECE, Release, Terms};
use super::{OK_STREAM, follower, terms};
use crate::base::Endpoint;
use crate::request::BodyBuffer;
use crate::request::test_support::FakeWire;

/// A host that notes the largest piece that crosses the border to the VM, and refuses one call.
#[derive(Default)]
struct Host {
    wire: FakeWire,
    largest: usize,
    calls: usize,
    refuses: Option<usize>,
}

impl Host {
    fn call(&mut self, size: usize) -> Result<(), ()> {
        self.largest = self.largest.max(size);
        self.calls += 1;
        if self.refuses == Some(self.calls) { Err(()) } else { Ok(()) }
    }
}

impl BodyBuffer for Host {
    type Error = ();

    fn read(&mut self, start: usize, len: usize) -> Result<Vec<u8>, ()> {
        self.call(len)?;
        self.wire.read(start, len)
    }

    fn replace_front(&mut self, len: usize, with: &[u8]) -> Result<(), ()> {
        self.call(with.len())?;
        self.wire.replace_front(len, with)
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), ()> {
        self.call(bytes.len())?;
        self.wire.append(bytes)
    }
}

fn events(numbers: std::ops::Range<usize>, padding: usize) -> String {
    let event = |number: usize| {
        let text = "x".repeat(padding);
        format!(
            "data: {{\"id\":{number},\"model\":\"gpt-real-name\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{text}\"}}}}]}}\n\n"
        )
    };
    numbers.map(event).collect()
}

/// A stream of about `length` bytes with a usage event in its middle, and with one long event.
fn stream(length: usize, long_event: usize, end: &str) -> String {
    const USAGE: &str = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2}}\n\n";
    let half = length / 2 / events(0..1, 50).len() + 1;
    [&events(0..half, 50), &events(0..1, long_event), USAGE, &events(half..2 * half, 50), end].concat()
}

/// What the client gets, and the largest piece that was read or written.
fn passed(mut follower: Follower, sent: &[u8], cuts: &[usize], late: bool) -> (Vec<u8>, usize) {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (sent.len() + 1)).collect();
    cuts.push(sent.len());
    cuts.sort_unstable();
    let (mut start, mut out, mut host) = (0, Vec::new(), Host::default());
    for cut in &cuts {
        host.wire.body.extend_from_slice(&sent[start..*cut]);
        let available = host.wire.body.len();
        let report = follower.chunk(&mut host, available, *cut == sent.len() && start < *cut);
        start = *cut;
        match report.release {
            Release::Hold => {}
            // The next chunk comes before it has been released, and stands behind it.
            Release::Stage if late => {}
            Release::Stage => {
                follower.released();
                out.append(&mut host.wire.body);
            }
            Release::Pass | Release::Flow => out.append(&mut host.wire.body),
        }
    }
    out.append(&mut host.wire.body);
    (out, host.largest)
}

fn of(renamed: bool, hides_usage: bool, wants_insertion: bool) -> Follower {
    let model_name = renamed.then(|| "chat".into());
    follower(Terms { hides_usage, model_name, ..terms(Endpoint::Chat) }, OK_STREAM, wants_insertion)
}

const FINISH: &str =
    "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";
const CUT_OFF: &str = "data: {\"choices\":[{\"ind";
const GARBLED: &str = "data: {\"choices\":[{\"index\":0,\"delta\":oops\n\ndata: more\n\n";

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn long_chunks_pass_like_short_ones_and_are_read_in_windows(
        length in 100_000_usize..600_000,
        long_event in prop_oneof![Just(10), Just(MAX_HELD_EVENT - 200), Just(2 * MAX_HELD_EVENT)],
        end in prop_oneof![Just(FINISH), Just(CUT_OFF), Just(GARBLED)],
        renamed: bool, hides_usage: bool, wants_insertion: bool, late: bool,
        cuts in proptest::collection::vec(any::<usize>(), 0..4),
    ) {
        // A usage event in a long event's wake is cut only if nothing of it has passed, so both orders are the same.
        let sent = stream(length, long_event, end);
        let short: Vec<_> = (1..sent.len() / 5_000).map(|n| n * 5_000).collect();
        let (expected, _) = passed(of(renamed, hides_usage, wants_insertion), sent.as_bytes(), &short, false);
        let (out, largest) = passed(of(renamed, hides_usage, wants_insertion), sent.as_bytes(), &cuts, late);
        prop_assert!(out == expected, "{} and {} bytes", out.len(), expected.len());
        prop_assert_eq!(renamed, !String::from_utf8_lossy(&out).contains("gpt-real-name"));
        prop_assert!(largest <= MAX_PIECE + MAX_HELD_EVENT + 1024, "{}", largest);
    }

    /// If the host refuses a call, the client may see a stream without its end, and never events in another order.
    #[test]
    fn if_the_host_refuses_a_call_the_order_stays(refuses in 1_usize..120, staged: bool) {
        let sent = [&*events(0..2000, 50), FINISH].concat();
        let mut follower = of(true, false, staged);
        let mut host = Host { refuses: Some(refuses), ..Host::default() };
        let (mut out, mut start) = (Vec::new(), 0);
        for end in [sent.len() / 2 + 30, sent.len()] {
            host.wire.body.extend_from_slice(&sent.as_bytes()[start..end]);
            start = end;
            let available = host.wire.body.len();
            if follower.chunk(&mut host, available, end == sent.len()).release != Release::Stage {
                out.append(&mut host.wire.body);
            }
        }
        out.append(&mut host.wire.body);
        let out = String::from_utf8(out).unwrap();
        let whole = out.split("\n\n").filter(|event| event.ends_with("}}]}"));
        let ids = whole.filter_map(|event| event.split_once("{\"id\":")?.1.split_once(',')?.0.parse::<usize>().ok());
        let ids: Vec<_> = ids.collect();
        prop_assert!(ids.is_sorted_by(|a, b| a < b), "{} events", ids.len());
    }
}
