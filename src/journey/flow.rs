//! A stream on its way to the client: passed on as it comes, up to the end of the last whole event.
//!
//! An error event can be added only between two events, so the beginning of an event waits here for its rest. That costs a
//! copy where a provider's chunk ends within an event, and nothing where it ends with one, as nearly all do.

use super::injected_usage;
use super::judge::Judge;
use super::renaming::{Plain, Renaming};
use super::response::ResponseStep;
use crate::base::ErrorClass;
use crate::request::BodyBuffer;

/// The most of an incomplete event that waits. What is longer passes on in pieces.
pub const MAX_WAITING: usize = 64 * 1024;

/// What goes to the client, and what is still to be learned from it.
pub enum Passing {
    /// Nothing: it has been read to its end, or cannot be read.
    Unread,
    /// JSON, which says somewhere what it took, and of which only the end tells whether it was an error object.
    Plain(Plain),
    /// A stream.
    Stream(Box<Flow>),
}

impl Passing {
    /// What is to be followed of an answer that `judge` has looked at.
    pub fn of(judge: Judge) -> Self {
        let is_stream = judge.open_event().is_some();
        match judge.into_follower() {
            Some(follower) if is_stream => Self::Stream(Box::new(Flow::new(follower))),
            Some(follower) => Self::Plain(Plain::new(follower)),
            None => Self::Unread,
        }
    }

    /// Whether its notice is out.
    pub const fn is_told(&self) -> bool {
        matches!(self, Self::Stream(flow) if matches!(flow.priming, Priming::Told))
    }

    /// What it has come to, as soon as that is certain.
    pub fn settled(&self) -> Option<Result<(), ErrorClass>> {
        match self {
            Self::Stream(flow) => flow.follower.settled(),
            Self::Unread | Self::Plain(_) => None,
        }
    }

    /// The judge of what is still read.
    pub fn follower(&self) -> Option<&Judge> {
        match self {
            Self::Stream(flow) => Some(&flow.follower),
            Self::Plain(plain) => Some(plain.judge()),
            Self::Unread => None,
        }
    }

    /// How much of what the host's buffer holds has come just now.
    pub const fn fresh(&self, available: usize) -> usize {
        match self {
            Self::Stream(flow) => match flow.priming {
                Priming::Staged(staged) => available.saturating_sub(staged),
                _ => available,
            },
            Self::Plain(plain) => plain.fresh(available),
            Self::Unread => available,
        }
    }

    /// Whether what has ended here was no good answer, and what was wrong with it.
    pub fn ended_badly(&mut self) -> Option<ErrorClass> {
        match self {
            Self::Stream(flow) => flow.follower.ended_badly(),
            Self::Plain(plain) => plain.judge_mut().ended_badly(),
            Self::Unread => None,
        }
    }
}

/// Whether the host's buffer can be reached when no chunk comes, so that a notice can be put into a silent stream.
///
/// It can while every chunk is held and released again. In its own callback a chunk can be released so from the second
/// on; the first has to wait for a callback of another kind (Envoy's shared queue), one turn of the event loop later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Priming {
    /// Not wanted.
    Off,
    /// Wanted; nothing has been passed on.
    Wanted,
    /// So many bytes of the first chunk wait to be released.
    Staged(usize),
    /// It can.
    Primed,
    /// The notice is out; nothing may follow it.
    Told,
}

/// A stream that is passed on.
pub struct Flow {
    follower: Box<Judge>,
    /// What puts another name of the model into it; mostly nobody does.
    renaming: Option<Box<Renaming>>,
    /// The beginning of an event that has come and not been passed on.
    waiting: Vec<u8>,
    /// The beginning of the event that is coming has been passed on already.
    torn: bool,
    priming: Priming,
    /// Something has been passed on that [`Flow::take_moved`] has not told of.
    moved: bool,
}

impl Flow {
    /// A stream of which nothing has been passed on; `follower` may have read its beginning.
    fn new(follower: Box<Judge>) -> Self {
        let renaming = follower.renaming_of_stream();
        Self { follower, renaming, waiting: Vec::new(), torn: false, priming: Priming::Off, moved: false }
    }

    /// Sees to it that a notice can be put into the stream at any time.
    pub fn prime(&mut self) {
        self.priming = Priming::Wanted;
    }

    /// Reads what is new in the host's buffer, and leaves in it what is to be passed on. Says whether content was in it, and
    /// how the host is to release it.
    pub fn chunk(&mut self, host: &mut impl BodyBuffer, available: usize, end: bool) -> (bool, ResponseStep) {
        match self.priming {
            Priming::Told => {
                let _ = host.replace_front(available, &[]);
                (false, ResponseStep::Flow)
            }
            // The first chunk has not been released yet and stands before the new one.
            Priming::Staged(staged) => {
                let mut behind = Behind { host, skipped: staged };
                let new = available.saturating_sub(staged);
                self.next(&mut behind, new, end)
            }
            Priming::Off | Priming::Wanted | Priming::Primed => self.next(host, available, end),
        }
    }

    fn next(&mut self, host: &mut impl BodyBuffer, available: usize, end: bool) -> (bool, ResponseStep) {
        if self.renaming.is_some()
            && let Ok(bytes) = read_all(host, available)
        {
            let content = self.follower.follow_window(&bytes);
            let left = self.arrange_renamed(host, bytes, end);
            self.moved |= left > 0;
            return (content, self.release(left, end));
        }
        let content = self.follower.follow(host, available);
        (content, self.pass(host, available, end))
    }

    /// The same for what the follower has read already.
    pub fn pass(&mut self, host: &mut impl BodyBuffer, available: usize, end: bool) -> ResponseStep {
        let left = self.arrange(host, available, end);
        self.moved |= left > 0;
        self.release(left, end)
    }

    /// Arranges what has been held until now, all of it read, for the host to release it outside of its own callback.
    /// From then on the stream is as one that has been primed, wanted or not.
    pub fn open(&mut self, host: &mut impl BodyBuffer, held: usize) {
        if held > 0 {
            self.moved |= self.arrange(host, held, false) > 0;
            self.priming = Priming::Primed;
        }
    }

    /// Whether anything has been passed on since this was last asked.
    pub fn take_moved(&mut self) -> bool {
        std::mem::take(&mut self.moved)
    }

    fn release(&mut self, left: usize, end: bool) -> ResponseStep {
        match self.priming {
            Priming::Off => ResponseStep::Pass,
            // The whole stream at once: nothing will have to be put into it. Or nothing of it yet.
            Priming::Wanted if end || left == 0 => ResponseStep::Pass,
            Priming::Wanted => {
                self.priming = Priming::Staged(left);
                ResponseStep::Stage
            }
            Priming::Staged(_) => {
                self.priming = Priming::Primed;
                ResponseStep::Flow
            }
            Priming::Primed | Priming::Told => ResponseStep::Flow,
        }
    }

    /// No notice can be put into this stream.
    pub fn leave_unprimed(&mut self) {
        self.priming = Priming::Off;
    }

    /// The first chunk has been released.
    pub fn released(&mut self) {
        if matches!(self.priming, Priming::Staged(_)) {
            self.priming = Priming::Primed;
        }
    }

    /// What to put into the stream to keep it open, if anything can be.
    pub fn keep_alive(&self) -> Option<&'static str> {
        if self.priming == Priming::Primed && !self.torn { self.follower.keep_alive() } else { None }
    }

    /// The notice that the stream is to end with now, if one can be put into it. Nothing is passed on after it.
    pub fn tell(&mut self, class: ErrorClass) -> Option<String> {
        if self.priming != Priming::Primed || self.torn {
            return None;
        }
        self.priming = Priming::Told;
        self.waiting.clear();
        self.follower.notice(class)
    }

    /// Leaves in the buffer what is to be passed on, and says how much that is where it is not the end.
    fn arrange(&mut self, host: &mut impl BodyBuffer, available: usize, end: bool) -> usize {
        if self.renaming.is_some() {
            let Ok(bytes) = read_all(host, available) else { return self.give_up(available) };
            return self.arrange_renamed(host, bytes, end);
        }
        let Some(open) = self.follower.open_event() else { return available };
        let failure = if end { self.follower.ended_badly() } else { None };
        let available = self.without_unasked(host, available);
        if end {
            self.finish(host, available, open, failure);
            return available;
        }
        let begun_here = open <= available;
        if open > MAX_WAITING || (self.torn && !begun_here && open > 0) {
            self.torn = true;
            return available.saturating_add(self.put_back(host));
        }
        self.torn = false;
        if open == 0 {
            available.saturating_add(self.put_back(host))
        } else if begun_here {
            // Only the front of the host's buffer can be replaced, so its end is cut off by replacing all of it.
            let Ok(mut chunk) = read_all(host, available) else { return self.give_up(available) };
            let rest = chunk.split_off(available.saturating_sub(open));
            self.waiting.append(&mut chunk);
            let passed = std::mem::replace(&mut self.waiting, rest);
            if host.replace_front(available, &passed).is_err() {
                return self.give_up(available);
            }
            passed.len()
        } else {
            let Ok(chunk) = read_all(host, available) else { return self.give_up(available) };
            if host.replace_front(available, &[]).is_err() {
                return self.give_up(available);
            }
            self.waiting.extend_from_slice(&chunk);
            0
        }
    }

    /// The same for a stream into which another name is put. `bytes` are all that is in the host's buffer, read by the
    /// follower.
    fn arrange_renamed(&mut self, host: &mut impl BodyBuffer, bytes: Vec<u8>, end: bool) -> usize {
        let available = bytes.len();
        let Some(renaming) = &mut self.renaming else { return available };
        let open = self.follower.open_event().unwrap_or_default();
        let failure = if end { self.follower.ended_badly() } else { None };
        let notice = failure
            .filter(|class| *class == ErrorClass::StreamTruncated)
            .and_then(|class| self.follower.notice(class));
        let cuts = self.follower.take_unasked();
        renaming.read(&bytes);
        let waited = self.waiting.len();
        let mut all = if waited == 0 {
            bytes
        } else {
            self.waiting.extend_from_slice(&bytes);
            std::mem::take(&mut self.waiting)
        };
        let begun_here = open <= all.len();
        let held = if end {
            renaming.finish();
            // What is cut off in the middle of an event goes, and a notice comes in its place.
            if notice.is_some() && begun_here { open } else { 0 }
        } else if open > MAX_WAITING || !begun_here {
            self.torn = true;
            renaming.open_name().min(all.len())
        } else {
            self.torn = false;
            open
        };
        let start = self.follower.position().saturating_sub(all.len() as u64);
        let kept = all.len().saturating_sub(held);
        let passed = all.get(..kept).unwrap_or_default();
        let changed = renaming.apply(passed, start, &cuts);
        let left = changed.map_or(kept, <[u8]>::len);
        if (changed.is_some() || waited > 0 || held > 0)
            && host.replace_front(available, changed.unwrap_or(passed)).is_err()
        {
            // Nobody's fault but the host's: what is in its buffer passes with the names that the provider gave.
            self.renaming = None;
            all.truncate(waited);
            self.waiting = all;
            return self.give_up(available);
        }
        if end {
            if let Some(notice) = notice {
                // An event whose beginning is out already is ended first.
                let _ = if begun_here { Ok(()) } else { host.append(b"\n\n") };
                let _ = host.append(notice.as_bytes());
            }
        } else if held > 0 {
            all.drain(..kept);
            self.waiting = all;
        }
        left
    }

    /// Takes out what the client has not asked for, and says how much is in the buffer then: with what waited, if anything
    /// was taken out.
    fn without_unasked(&mut self, host: &mut impl BodyBuffer, available: usize) -> usize {
        let cuts = self.follower.take_unasked();
        if cuts.is_empty() {
            return available;
        }
        let Ok(chunk) = read_all(host, available) else { return self.give_up(available) };
        let waited = self.waiting.len();
        self.waiting.extend_from_slice(&chunk);
        let start = self.follower.position().saturating_sub(self.waiting.len() as u64);
        let kept = injected_usage::without(&self.waiting, start, &cuts);
        if host.replace_front(available, &kept).is_err() {
            self.waiting.truncate(waited);
            return self.give_up(available);
        }
        self.waiting.clear();
        kept.len()
    }

    /// What came last is in the buffer. A stream that ended in the middle is told so at its last whole event.
    fn finish(
        &mut self,
        host: &mut impl BodyBuffer,
        available: usize,
        open: usize,
        failure: Option<ErrorClass>,
    ) {
        let Some(class) = failure.filter(|class| *class == ErrorClass::StreamTruncated) else {
            self.put_back(host);
            return;
        };
        let Some(notice) = self.follower.notice(class) else {
            self.put_back(host);
            return;
        };
        if self.torn && open > available {
            // Its beginning is out already: end it, so that the notice is an event of its own.
            let _ = host.append(b"\n\n");
        } else {
            let Ok(mut all) = read_all(host, available) else { return };
            self.waiting.append(&mut all);
            let whole = self.waiting.len().saturating_sub(open);
            self.waiting.truncate(whole);
            if host.replace_front(available, &self.waiting).is_err() {
                return;
            }
        }
        self.waiting.clear();
        let _ = host.append(notice.as_bytes());
    }

    /// What waited goes before what has come, and how much that was.
    fn put_back(&mut self, host: &mut impl BodyBuffer) -> usize {
        let waited = self.waiting.len();
        if waited > 0 && host.replace_front(0, &self.waiting).is_ok() {
            self.waiting.clear();
        }
        waited
    }

    /// The host does not do its part: what is in its buffer passes as it is.
    const fn give_up(&mut self, available: usize) -> usize {
        self.torn = true;
        available
    }
}

/// A buffer without its first bytes, which have been seen to.
pub(super) struct Behind<'h, H> {
    pub(super) host: &'h mut H,
    pub(super) skipped: usize,
}

impl<H: BodyBuffer> BodyBuffer for Behind<'_, H> {
    type Error = H::Error;

    fn read(&mut self, start: usize, len: usize) -> Result<Vec<u8>, H::Error> {
        self.host.read(self.skipped.saturating_add(start), len)
    }

    fn replace_front(&mut self, len: usize, with: &[u8]) -> Result<(), H::Error> {
        let mut front = read_all(self.host, self.skipped)?;
        front.extend_from_slice(with);
        self.host.replace_front(self.skipped.saturating_add(len), &front)
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), H::Error> {
        self.host.append(bytes)
    }
}

fn read_all<B: BodyBuffer>(host: &mut B, available: usize) -> Result<Vec<u8>, B::Error> {
    if available == 0 { Ok(Vec::new()) } else { host.read(0, available) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Endpoint, HeaderBlock};
    use crate::config::Gate;
    use crate::journey::test_support::FakeWire;
    use crate::provider::ProviderKind;
    use proptest::prelude::*;

    const CHUNK: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"héllo\"}}]}\r\n\r\n";
    const FINISH: &str =
        "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";

    fn flow() -> Flow {
        let headers = HeaderBlock::of(&[("content-type", "text/event-stream")]);
        let judge =
            Judge::of_success(ProviderKind::OpenAi, Endpoint::Chat, headers, true, Gate::default()).unwrap();
        Flow::new(judge.into_follower().unwrap())
    }

    /// Passes `stream` in pieces that end at these places, and returns what the client gets of each.
    fn pass(stream: &[u8], cuts: &[usize]) -> Vec<Vec<u8>> {
        let mut flow = flow();
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (stream.len() + 1)).collect();
        cuts.push(stream.len());
        cuts.sort_unstable();
        let mut start = 0;
        let mut out = Vec::new();
        for (index, cut) in cuts.iter().enumerate() {
            let mut host = FakeWire { body: stream[start..*cut].to_vec(), ..FakeWire::default() };
            let _ = flow.chunk(&mut host, cut - start, index + 1 == cuts.len());
            start = *cut;
            out.push(host.body);
        }
        out
    }

    proptest! {
        #[test]
        fn a_whole_stream_arrives_byte_for_byte(
            events in 0_usize..20, cuts in proptest::collection::vec(any::<usize>(), 0..30)
        ) {
            let stream = [CHUNK.repeat(events).as_bytes(), b": keep-alive\n\n", FINISH.as_bytes()].concat();
            prop_assert_eq!(pass(&stream, &cuts).concat(), stream);
        }

        #[test]
        fn what_was_passed_on_always_ends_with_a_whole_event(
            cuts in proptest::collection::vec(any::<usize>(), 0..30)
        ) {
            let stream = CHUNK.repeat(5).replace("\r\n", "\n");
            let pieces = pass(stream.as_bytes(), &cuts);
            let mut passed = Vec::new();
            for piece in &pieces[..pieces.len() - 1] {
                passed.extend_from_slice(piece);
                prop_assert!(passed.is_empty() || passed.ends_with(b"\n\n"));
            }
        }

        #[test]
        fn a_truncated_stream_ends_with_a_notice_after_its_last_whole_event(
            keep in 0_usize..400, cuts in proptest::collection::vec(any::<usize>(), 0..30)
        ) {
            let stream = CHUNK.repeat(6);
            let keep = keep.min(stream.len() - 1);
            let whole = stream.as_bytes()[..keep].windows(4).rposition(|end| end == b"\r\n\r\n").map_or(0, |at| at + 4);
            let out = String::from_utf8(pass(&stream.as_bytes()[..keep], &cuts).concat()).unwrap();
            let (passed, notice) = out.split_once("data: {\"error\"").unwrap();
            // The last carriage return alone ends an event; the line feed after it may not have come.
            prop_assert!(passed.len() >= whole && (passed.is_empty() || passed.trim_end_matches('\n').ends_with("\r\n\r")));
            prop_assert!(stream.starts_with(passed));
            prop_assert!(notice.contains("stream_truncated") && notice.ends_with("\n\n"));
            prop_assert!(!out.contains("[DONE]"));
        }
    }

    #[test]
    fn an_event_too_long_to_wait_passes_on_and_is_ended_before_a_notice() {
        let long =
            format!("data: {{\"choices\":[{{\"delta\":{{\"content\":\"{}", "x".repeat(2 * MAX_WAITING));
        let cuts: Vec<_> = (1..200).map(|n| n * 1000).filter(|cut| *cut < long.len()).collect();
        let out = pass(long.as_bytes(), &cuts);
        let longest = out.iter().map(Vec::len).max().unwrap();
        assert!(longest <= MAX_WAITING + 2000, "{longest}");
        let out = String::from_utf8(out.concat()).unwrap();
        let rest = out.strip_prefix(&long).unwrap();
        assert!(rest.starts_with("\n\ndata: {\"error\""), "{rest}");
    }

    #[test]
    fn a_failure_that_the_provider_has_told_of_needs_no_notice() {
        let told = [CHUNK, "data: {\"error\":{\"message\":\"no\"}}\n\n"].concat();
        assert_eq!(pass(told.as_bytes(), &[10, 90]).concat(), told.as_bytes());
    }

    #[test]
    fn a_primed_stream_is_staged_once_flows_then_and_is_told_between_two_events() {
        let mut flow = flow();
        flow.prime();
        let piece = |flow: &mut Flow, body: &str, before: &str| {
            let mut host = FakeWire { body: [before, body].concat().into_bytes(), ..FakeWire::default() };
            let available = host.body.len();
            let (_, step) = flow.chunk(&mut host, available, false);
            (step, String::from_utf8(host.body).unwrap())
        };
        let (half, rest) = CHUNK.split_at(20);
        assert_eq!(piece(&mut flow, half, ""), (ResponseStep::Pass, String::new()), "nothing to release yet");
        let first = [rest, half].concat();
        assert_eq!(piece(&mut flow, &first, ""), (ResponseStep::Stage, CHUNK.to_owned()));
        assert_eq!(flow.tell(ErrorClass::StreamStalled), None, "not before the first chunk is out");
        // The second chunk comes before the first has been released, and stands behind it.
        assert_eq!(piece(&mut flow, rest, CHUNK), (ResponseStep::Flow, CHUNK.repeat(2)));
        flow.released();
        assert_eq!(piece(&mut flow, half, ""), (ResponseStep::Flow, String::new()));
        assert!(flow.tell(ErrorClass::StreamStalled).unwrap().contains("stream_stalled"));
        assert_eq!(
            piece(&mut flow, rest, ""),
            (ResponseStep::Flow, String::new()),
            "nothing follows a notice"
        );
        assert_eq!(flow.tell(ErrorClass::StreamStalled), None, "it is told once");
    }
}
