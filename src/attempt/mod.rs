//! One attempt: a request that was sent to a target, and its response.
//!
//! An attempt is a state machine that knows neither its journey nor the worker. Events go in, and what they
//! mean comes out as a value: a [`Progress`] for a piece of the response (`response.rs`), a [`Due`] for a
//! moment (`time_limits.rs`). It ends with one [`Outcome`], made once by [`Attempt::end`] (`ending.rs`).
//! `src/journey` decides what follows from them.

mod addressing;
mod deliver;
mod ending;
mod origin;
mod outgoing;
mod patience;
mod response;
mod time_limits;
mod translating;
mod under_way;

pub use addressing::address_to_account;
pub use ending::{Closed, Ended};
pub use origin::{Origin, Upstream};
pub use outgoing::{Destination, Outgoing, OutgoingBody, prepare};
pub use response::{Passage, Progress, ResponseHead, TrailersEnd};
pub use time_limits::{Due, class_of};
pub use translating::Translating;

use std::rc::Rc;
use std::time::Duration;

use patience::Patience;
use under_way::UnderWay;

use crate::admission::Admission;
use crate::answer::{Follower, Gatekeeper};
use crate::base::{Dialect, Endpoint, HeaderSink};
use crate::config::{HoldPolicy, OnBreak};
use crate::intake::ClientRequest;
use crate::outcome::{Observed, Outcome};
use crate::record::AttemptStart;
use crate::request::{BodyBuffer, StreamEditor};
use crate::stream::{KeepAlive, Watch};
use crate::survey::FallbackReason;

/// A request that was sent to a target.
pub struct Attempt {
    request: Rc<ClientRequest>,
    start: AttemptStart,
    why: Option<FallbackReason>,
    /// What it has taken. `None` once its outcome is certain.
    admission: Option<Admission>,
    /// `None` once the host's stream is over.
    under_way: Option<UnderWay>,
    outcome: Option<Outcome>,
    observed: Observed,
    /// What was decided after its failure, for the record.
    then: Option<&'static str>,
    answer: Answer,
    watch: Watch,
    /// Counts until the client gets the first byte of the response.
    patience: Option<Patience>,
    gate: HoldPolicy,
    /// For how long this worker could read nothing.
    excused: Duration,
    /// The part of a pause that no tick has noticed yet.
    unnoticed: Duration,
    keep_alive: Option<KeepAlive>,
    on_break: OnBreak,
    first_content: Option<Duration>,
    is_slow: bool,
    /// Envoy does not have the cluster that it was to go to.
    lacks_cluster: bool,
    injects_usage: bool,
    editor: Option<Box<StreamEditor>>,
    translating: Option<Box<Translating>>,
}

/// What becomes of the request's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyStep {
    /// It is sent.
    Send,
    /// It is held until all of it has come.
    Hold,
    /// The host refused a change, so the request must not go on.
    Abandon,
}

/// How far the response is.
enum Answer {
    /// Nothing has come.
    Awaited,
    /// Headers and body are held until it is clear what they are.
    Held(Gatekeeper),
    /// It goes to the client and is read to its end, because only the end shows whether it was a success.
    Passed(Follower),
    /// It failed. The edge discards it and starts another attempt.
    Discarded,
}

impl Answer {
    fn has_ended_with_notice(&self) -> bool {
        matches!(self, Self::Passed(follower) if follower.has_ended_with_notice())
    }
}

impl Attempt {
    /// A request that is sent now.
    pub fn send(
        request: Rc<ClientRequest>,
        start: AttemptStart,
        admission: Admission,
        outgoing: Outgoing,
    ) -> Self {
        let (target, now) = (start.target, start.sent_at);
        let policy = request.stream_policy(target);
        Self {
            under_way: Some(UnderWay::begin(&request, target, admission.expected(), now)),
            why: admission.fallback_reason(),
            admission: Some(admission),
            outcome: None,
            observed: Observed::default(),
            then: None,
            answer: Answer::Awaited,
            watch: Watch::start(policy, request.facts.stream, request.began, now),
            patience: Patience::of(&request, now),
            gate: policy.gate,
            excused: Duration::ZERO,
            unnoticed: Duration::ZERO,
            keep_alive: policy.keep_alive.map(|every| KeepAlive::new(every, now)),
            on_break: policy.on_break,
            first_content: None,
            is_slow: false,
            lacks_cluster: false,
            injects_usage: outgoing.injects_usage,
            editor: outgoing.editor,
            translating: outgoing.translating.map(Box::new),
            request,
            start,
        }
    }

    /// Its position among the attempts of its request.
    pub const fn slot(&self) -> usize {
        self.start.slot
    }

    /// What was decided about it when it was sent.
    pub const fn start(&self) -> AttemptStart {
        self.start
    }

    /// Whether the request's encrypted reasoning was removed.
    pub const fn drops_reasoning(&self) -> bool {
        self.start.reasoning_dropped
    }

    /// Why it is not at the target that would have been asked first.
    pub const fn fallback_reason(&self) -> Option<FallbackReason> {
        self.why
    }

    /// The client's dialect.
    pub fn dialect(&self) -> Dialect {
        self.request.endpoint.dialect()
    }

    /// More of the request's body has come: the host's buffer holds `available` bytes of it.
    pub fn body(
        &mut self,
        host: &mut (impl HeaderSink + BodyBuffer),
        available: usize,
        is_all: bool,
    ) -> BodyStep {
        let done = match &mut self.translating {
            Some(translating) if translating.awaits_body() => {
                if !is_all {
                    translating.hold(available);
                    return BodyStep::Hold;
                }
                let done = translating.translate(host, available, None).is_some();
                self.start.translated = Some(translating.recorded());
                done
            }
            _ => self.editor.as_mut().is_none_or(|editor| editor.edit_chunk(host, available).is_ok()),
        };
        if done { BodyStep::Send } else { BodyStep::Abandon }
    }

    /// The request ends with trailers, so the body that is held is all of it.
    pub fn request_trailers(&mut self, host: &mut (impl HeaderSink + BodyBuffer)) -> BodyStep {
        match self.translating.as_ref().filter(|translating| translating.awaits_body()) {
            Some(translating) => self.body(host, translating.held(), true),
            None => BodyStep::Send,
        }
    }

    /// Whether the request is held until its whole body has come, because it must be translated.
    pub fn awaits_body(&self) -> bool {
        self.translating.as_ref().is_some_and(|translating| translating.awaits_body())
    }

    /// The endpoint that the target is called at.
    fn called_endpoint(&self) -> Endpoint {
        self.translating.as_ref().map_or(self.request.endpoint, |translating| translating.way().to())
    }

    /// Whether its response has not begun.
    pub const fn awaits_headers(&self) -> bool {
        matches!(self.answer, Answer::Awaited)
    }

    /// Whether a response that is not over is held, of which so many bytes have come.
    pub fn holds_all_of(&self, available: usize) -> bool {
        matches!(&self.answer, Answer::Held(gatekeeper) if gatekeeper.holds_all_of(available))
    }

    /// Whether any byte of a response's body has come.
    pub const fn has_body(&self) -> bool {
        self.observed.bytes > 0
    }

    /// Whether it has brought no content yet.
    pub const fn awaits_content(&self) -> bool {
        self.first_content.is_none()
    }
}
