//! A request whose headers and body are being read.

use std::rc::Rc;
use std::time::Duration;

use super::ClientRequest;
use super::address::address_hash;
use super::headers::{CallHeaders, Wishes, loop_headers};
use super::held_bytes::{HeldBytes, Hold};
use super::journey_id::JourneyId;
use super::models;
use super::own_routing::restricted_routing;
use super::paths::Called;
use crate::balance::{Session, SessionHints};
use crate::base::{Endpoint, HeaderBlock, HeaderSink, KnownOwner, Timestamp};
use crate::config::{Balance, Config, Model, Priority};
use crate::fallback::{ClientLimits, Needs, Translated};
use crate::generation::Generation;
use crate::refusal::Refusal;
use crate::request::{BodyBuffer, Facts, References, Scanner, Tracks};
use crate::tenancy::{self, NoKey};
use crate::translate::{ReasoningPolicy, losses_of};

/// The most of a body that is read in one piece. It bounds the memory that a body of any size takes in the
/// VM.
const WINDOW: usize = 64 * 1024;

/// The most of a body that is kept in the VM before it is complete.
const MAX_KEPT_EARLY: usize = 4 * 1024;

/// A request whose body is being read.
pub struct Reading {
    generation: Rc<Generation>,
    endpoint: Endpoint,
    path_model: Option<Box<str>>,
    call: CallHeaders,
    scanner: Scanner,
    seen: usize,
    hold: Hold,
    window: Option<Vec<u8>>,
    /// The body has a member. Noted only if the path names the model.
    has_member: bool,
    client_key: Option<usize>,
    address: Option<u64>,
    session_hints: SessionHints,
    client_limits: ClientLimits,
    patience: Option<Duration>,
    priority: Priority,
    id: Option<JourneyId>,
    earlier_attempts: u8,
}

/// What the edge of the retry loop says about a pass.
///
/// It is read only if the configuration says `retry_loop: true`. In an ordinary listener no edge removes
/// these headers, so a client could send `x-llm-journey` and `x-envoy-attempt-count` itself.
#[derive(Debug, Clone, Copy)]
pub struct LoopPass {
    /// The journey's id, if there is a retry loop.
    pub id: Option<JourneyId>,
    /// The number of the attempt, from 1.
    pub attempt: u8,
}

impl LoopPass {
    /// The only pass of a request in an ordinary listener.
    pub const FIRST: Self = Self { id: None, attempt: 1 };

    /// Reads what the edge of the retry loop says.
    pub fn read(headers: &HeaderBlock) -> Self {
        let (id, attempt) = loop_headers(headers);
        Self { id, attempt }
    }
}

/// A request that was understood.
pub struct Understood {
    /// The request.
    pub request: Rc<ClientRequest>,
    /// Its body.
    pub body: HeldBody,
    /// What decides how it is addressed.
    pub call: CallHeaders,
    /// The id of its journey, if there is a retry loop.
    pub id: Option<JourneyId>,
    /// The place that its body takes in Envoy's buffers.
    pub hold: Hold,
}

/// A whole body in the host's buffer.
#[derive(Debug)]
pub struct HeldBody {
    /// Its length.
    pub len: usize,
    /// The body itself if it fits into one window, so that it is not read again to write the model into it.
    pub window: Option<Vec<u8>>,
}

impl Reading {
    /// Checks a request's headers, in the order in which a client would fix its mistakes, and removes those that no
    /// provider may have. `held` counts the bodies of this worker.
    pub fn begin(
        generation: &Rc<Generation>,
        called: Called,
        pass: LoopPass,
        headers: &HeaderBlock,
        client_key: Option<usize>,
        held: &Rc<HeldBytes>,
        sink: &mut impl HeaderSink,
    ) -> Result<Box<Self>, Refusal> {
        let config = &*generation.config;
        if headers.get("content-encoding").is_some_and(|coding| !coding.eq_ignore_ascii_case("identity")) {
            return Err(Refusal::Encoding);
        }
        let Called { endpoint, spelling, model: path_model } = called;
        let announced = headers.get("content-length").and_then(|text| text.parse::<u64>().ok());
        let limit = config.limits.max_body_bytes;
        if announced.is_some_and(|length| length > limit) {
            return Err(Refusal::TooLarge { limit });
        }
        let key = client_key.and_then(|position| config.keys.as_ref()?.get(position));
        let Wishes { no_fallback, patience, regions, priority } = Wishes::read(headers, key)?;
        let hold = held.begin();
        // Better now than after it has sent a part of it.
        if announced.is_some_and(|length| !hold.has_room(length, config.limits.max_held_bytes)) {
            return Err(Refusal::MemoryFull);
        }
        let tells_by_address = config.keys.is_none() && config.breaker.unanswered > 0;
        let address = if tells_by_address { address_hash(headers) } else { None };
        let call = CallHeaders::take(headers, config, sink).spelled(spelling);
        let tracks = Tracks {
            beginning: config.tracks_conversations
                || (config.tracks_state && endpoint == Endpoint::Responses),
            references: config.tracks_state,
        };
        Ok(Box::new(Self {
            generation: Rc::clone(generation),
            endpoint,
            path_model,
            call,
            scanner: Scanner::tracking(tracks),
            seen: 0,
            hold,
            window: None,
            has_member: false,
            client_key,
            address,
            session_hints: SessionHints::read(headers, key.map(|key| &*key.name)),
            client_limits: ClientLimits { regions, no_fallback },
            patience,
            priority,
            id: pass.id,
            earlier_attempts: pass.attempt.saturating_sub(1),
        }))
    }

    /// The endpoint that was called.
    pub const fn endpoint(&self) -> Endpoint {
        self.endpoint
    }

    /// Scans what is new in the host's buffer, window by window. `is_all` says that nothing follows.
    pub fn read(
        &mut self,
        available: usize,
        is_all: bool,
        host: &mut impl BodyBuffer,
    ) -> Result<(), Refusal> {
        let limits = self.generation.config.limits;
        let length = u64::try_from(available).unwrap_or(u64::MAX);
        if length > limits.max_body_bytes {
            return Err(Refusal::TooLarge { limit: limits.max_body_bytes });
        }
        if !self.hold.grow_to(length, limits.max_held_bytes) {
            return Err(Refusal::MemoryFull);
        }
        while self.seen < available {
            let window =
                host.read(self.seen, WINDOW.min(available - self.seen)).map_err(|_| Refusal::Internal)?;
            if window.is_empty() {
                return Err(Refusal::Internal);
            }
            self.scanner.feed(&window).map_err(Refusal::Body)?;
            // Only an object without a member has no quote.
            self.has_member |= self.path_model.is_some() && window.contains(&b'"');
            self.seen += window.len();
            // A body that is not yet complete is kept only if it is short. Otherwise each client that sends slowly would
            // cost the VM a window.
            if window.len() == available && (is_all || window.len() <= MAX_KEPT_EARLY) {
                self.window = Some(window);
            } else {
                self.window = None;
                host.reuse(window);
            }
        }
        Ok(())
    }

    /// The body is complete. `note` gets its facts even if the request is refused. `owner` is asked who owns the
    /// state that the request refers to, if it refers to any and its model has several owners. `body` is asked for
    /// the whole body, if a target of its model needs a translation.
    pub fn finish(
        mut self: Box<Self>,
        now: Timestamp,
        note: impl FnOnce(&Facts),
        owner: impl FnOnce(&References) -> Option<KnownOwner>,
        body: impl FnOnce(usize) -> Option<Vec<u8>>,
    ) -> Result<Understood, Refusal> {
        let facts = self.scanner.finish().map_err(Refusal::Body)?;
        note(&facts);
        let config = &*self.generation.config;
        let (model, asked_name) =
            models::logical_model(config, &facts, self.path_model.as_deref(), self.client_key)?;
        if self.path_model.is_some() && !self.has_member {
            return Err(Refusal::NoModel);
        }
        if let Some(model) = config.model(model) {
            let key = self.client_key.and_then(|position| config.keys.as_ref()?.get(position));
            if let Some(members) = restricted_routing(facts.routing, model, key) {
                return Err(Refusal::OwnRouting { members });
            }
        }
        let session = config.model(model).and_then(|model| self.session(model, &facts));
        let mut needs = Needs::of(&facts, self.endpoint);
        if config.model(model).is_some_and(|model| model.has_many_owners) {
            needs.owner = facts.references.as_deref().and_then(owner);
        }
        if config.model(model).is_some_and(|model| model.translated.contains(self.endpoint)) {
            let is_small = self.seen as u64 <= config.limits.max_translated_bytes;
            let read = if is_small && self.window.is_none() { body(self.seen) } else { None };
            let body = self.window.as_deref().or(read.as_deref());
            needs.translated = translated(config, self.endpoint, self.seen, body);
        }
        let request = Rc::new(ClientRequest {
            generation: Rc::clone(&self.generation),
            endpoint: self.endpoint,
            model,
            asked_name,
            spelling: self.call.spelling,
            needs,
            facts,
            session,
            client_key: self.client_key,
            address: self.address,
            client_limits: std::mem::take(&mut self.client_limits),
            began: now,
            patience: self.patience,
            priority: self.priority,
            forgotten: self.earlier_attempts,
        });
        let mut call = std::mem::take(&mut self.call);
        call.length = call.length.map(|_| self.seen);
        let body = HeldBody { len: self.seen, window: self.window.take() };
        Ok(Understood { request, body, call, id: self.id, hold: self.hold })
    }
}

impl Reading {
    /// The session by which the request is balanced. Responses are stored for the next turn, so with several owners
    /// the turns of a conversation have to choose alike, the first one included.
    fn session(&self, model: &Model, facts: &Facts) -> Option<Session> {
        let keeps_state = model.has_many_owners && self.endpoint == Endpoint::Responses;
        if model.balance != Balance::Weighted || !keeps_state {
            return self.session_hints.session(&model.balance, facts.affinity);
        }
        let conversation = facts.references.as_deref().and_then(References::conversation);
        conversation.map(Session::of).or_else(|| self.session_hints.conversation(facts.affinity))
    }
}

/// What a request with this body would lose in each translation. One that is too large has none.
#[cold]
#[inline(never)]
pub fn translated(config: &Config, endpoint: Endpoint, length: usize, body: Option<&[u8]>) -> Translated {
    let is_small = length as u64 <= config.limits.max_translated_bytes;
    let body = body.filter(|_| is_small);
    Translated::of(endpoint, |way| losses_of(way, body?, ReasoningPolicy::Drop).ok())
}

/// The client's key, by its position in the configuration; `None` if no keys are configured.
pub fn authenticate(
    generation: &Generation,
    headers: &HeaderBlock,
    now: Timestamp,
) -> Result<Option<usize>, NoKey> {
    let Some(keys) = &generation.config.keys else { return Ok(None) };
    tenancy::authenticate(keys, headers, generation.wall_time(now)).map(Some)
}

impl From<NoKey> for Refusal {
    fn from(why: NoKey) -> Self {
        match why {
            NoKey::Unknown => Self::Unauthenticated,
            NoKey::Expired(_) => Self::KeyExpired,
        }
    }
}
