//! One stream: runs the steps of its exchange and carries them out, in callbacks of its own and at moments in between.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use super::failure::{self, Call, HostError, StreamControl};
use super::shared::Shared;
use super::streams::Streams;
use super::wire::Wire;
use super::{abi, clock, logger};
use crate::answer::Release;
use crate::base::{Dialect, HeaderBlock, Timestamp, digest};
use crate::journey::{AlarmStep, Ending, Exchange, RequestStep, Worker};
use crate::refusal::LocalAnswer;
use crate::report::Written;

/// The name under which Envoy's rate-limit filter finds the client's key: `%FILTER_STATE(wasm.llm_key:PLAIN)%`.
const KEY: &str = "llm_key";

/// The item of the wake-up queue that means all queued requests. Any other item is the id of a stream.
const QUEUED: &[u8] = b"queued";

/// How many streams each tick looks at to find those that Envoy has deleted.
const CHECKED_PER_TICK: usize = 32;
/// After so many that are still there, the rest of a tick's checks is saved: with thousands of streams one check takes Envoy
/// up to half a millisecond.
const OPEN_PER_TICK: usize = 2;
/// The ABI's status for a context that does not exist.
const BAD_ARGUMENT: i32 = 2;

/// What Envoy does next with headers or a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i32)]
pub enum Action {
    Continue = 0,
    Pause = 1,
}

thread_local! {
    static STREAMS: RefCell<Streams<Stream>> = RefCell::default();
}

/// Creates a stream. `shared` is `None` without a configuration, which Envoy never lets happen; then everything passes.
pub fn create(id: u32, shared: Option<Rc<Shared>>) {
    STREAMS.with_borrow_mut(|streams| streams.add(id, Rc::new(RefCell::new(Stream::new(id, shared)))));
}

/// The stream of a context.
pub fn get(id: u32) -> Option<Rc<RefCell<Stream>>> {
    STREAMS.with_borrow(|streams| streams.get(id))
}

/// Whether Envoy has deleted a context. Any other status, such as that of a call that is withheld, says nothing.
pub fn is_deleted(id: u32) -> bool {
    abi::set_effective_context(id) == Err(HostError(BAD_ARGUMENT))
}

/// Ends streams that Envoy has deleted without their last callback (`proxy_on_log`). In a listener that does not happen. As
/// a filter of an upstream cluster, every stream ends so.
pub fn sweep(now: Timestamp) {
    let mut open = 0;
    for _ in 0..CHECKED_PER_TICK {
        let Some((id, stream)) = STREAMS.with_borrow_mut(Streams::next_to_check) else { return };
        if !is_deleted(id) {
            open += 1;
            if open == OPEN_PER_TICK {
                return;
            }
            continue;
        }
        let Ok(mut stream) = stream.try_borrow_mut() else { continue };
        log::warn!("stream {id}: Envoy has deleted it without its last callback");
        stream.forget();
        // It is not known how it ended, so no target is blamed.
        stream.finish(Ending::ClientGone, now);
    }
}

/// The VM could do nothing for this long before `now`: no time limit counts it.
pub fn excuse(pause: Duration, now: Timestamp) {
    for stream in STREAMS.with_borrow(Streams::all) {
        if let Ok(mut stream) = stream.try_borrow_mut() {
            stream.exchange.excuse(pause, now);
        }
    }
    super::shared::excuse_journeys(pause, now);
}

/// Looks at every stream that is due.
pub fn wake_due(now: Timestamp) {
    let mut due = STREAMS.with_borrow_mut(|streams| streams.take_due(now));
    // Requests in a queue keep its order.
    due.sort_by_key(|(_, stream)| stream.try_borrow().ok().and_then(|stream| stream.exchange.position()));
    for (_, stream) in due {
        let Ok(mut stream) = stream.try_borrow_mut() else { continue };
        if stream.select() {
            stream.on_due(now);
        }
        stream.schedule();
    }
}

/// Looks at every queued request, in the order of the queues. An attempt has ended, so there may be room for another.
pub fn wake_queued() {
    let now = clock::now();
    let mut queued = STREAMS.with_borrow(Streams::queued);
    queued.sort_by_key(|(_, stream)| stream.try_borrow().ok().and_then(|stream| stream.exchange.position()));
    for (_, stream) in queued {
        let Ok(mut stream) = stream.try_borrow_mut() else { continue };
        if stream.select() {
            stream.wake(|exchange, worker, wire| exchange.wake_early(worker, now, wire));
        }
    }
}

/// Releases the first chunk of a stream.
pub fn release(id: u32) {
    let Some(stream) = get(id) else { return };
    let Ok(mut stream) = stream.try_borrow_mut() else { return };
    if stream.select() && stream.resume_response() {
        stream.exchange.released();
        stream.decided("first chunk released");
    } else {
        // The next chunk takes it along, or the stream's idle timeout ends the wait.
        stream.exchange.cannot_stage();
    }
}

/// Logs a record.
pub fn log_record(record: &Written) {
    let level = if record.failed { log::Level::Warn } else { log::Level::Info };
    log::log!(target: logger::RECORDS, level, "{}", String::from_utf8_lossy(&record.json));
}

/// One stream.
pub struct Stream {
    id: u32,
    shared: Option<Rc<Shared>>,
    pub exchange: Exchange,
    pub response_complete: bool,
    /// When its last piece of body came.
    pub ended_at: Option<Timestamp>,
    /// A local response was sent in place of the request, which must not go on.
    answered: bool,
    /// When the stream is looked at next.
    scheduled: Option<Timestamp>,
    queued: bool,
    /// The last decision that was logged.
    decision: &'static str,
}

/// A hash of the address of the upstream host that has the request.
pub fn upstream_host() -> Option<u64> {
    abi::property("upstream\0address").filter(|address| !address.is_empty()).map(|it| digest(&it))
}

impl Stream {
    fn new(id: u32, shared: Option<Rc<Shared>>) -> Self {
        Self {
            id,
            shared,
            exchange: Exchange::default(),
            response_complete: false,
            ended_at: None,
            answered: false,
            scheduled: None,
            queued: false,
            decision: "",
        }
    }

    /// Runs a callback, and then schedules the stream.
    pub fn callback(this: &RefCell<Self>, run: impl FnOnce(&mut Self) -> Action) -> Action {
        // Envoy does not call back during a call, so the stream is not borrowed.
        let Ok(mut stream) = this.try_borrow_mut() else { return Action::Continue };
        let action = run(&mut stream);
        stream.update_queued();
        // A moment that moves on needs nothing: the stream is scheduled again when the earlier moment comes.
        let due = stream.exchange.due();
        if due.is_some_and(|due| stream.scheduled.is_none_or(|scheduled| due < scheduled)) {
            if let Some(scheduled) = stream.scheduled {
                STREAMS.with_borrow_mut(|streams| streams.unschedule(stream.id, scheduled));
            }
            stream.schedule();
        }
        action
    }

    /// Runs a step of the request.
    pub fn request_step(
        &mut self,
        run: impl FnOnce(&mut Exchange, &mut Worker, &mut Wire) -> RequestStep,
    ) -> Action {
        if self.answered {
            return Action::Pause;
        }
        match self.checked_request_step(run) {
            None => Action::Continue,
            Some(RequestStep::Send) => {
                self.decided("request sent on");
                Action::Continue
            }
            Some(RequestStep::Hold) => {
                self.decided("request held");
                Action::Pause
            }
            Some(RequestStep::Answer(local)) => {
                self.answered = true;
                self.answer(&local);
                Action::Pause
            }
        }
    }

    /// Answers a request whose headers cannot be read.
    pub fn unreadable(&mut self, error: HostError) -> Action {
        self.call_failed(Call::ReadHeaders, error);
        self.request_step(|exchange, worker, _| exchange.abandon(worker, Dialect::OpenAi, clock::now()))
    }

    /// Runs a step of the response.
    pub fn response_step(
        &mut self,
        run: impl FnOnce(&mut Exchange, &mut Worker, &mut Wire) -> Release,
    ) -> Action {
        let mut wire = Wire::response();
        let step = self.step(|exchange, worker| run(exchange, worker, &mut wire));
        if let Some(error) = wire.failed {
            self.call_failed(Call::ChangeHeaders, error);
        }
        match step {
            Some(Release::Hold) => {
                self.decided("response held");
                Action::Pause
            }
            Some(Release::Stage) if self.stage() => {
                self.decided("first chunk held until the next callback");
                Action::Pause
            }
            Some(Release::Stage) => {
                self.exchange.cannot_stage();
                Action::Continue
            }
            // If it cannot be resumed, it is passed on the ordinary way; then nothing can be added to the stream between
            // its chunks.
            Some(Release::Flow) if self.resume_response() => Action::Pause,
            Some(Release::Pass) => {
                self.decided("response passed on");
                Action::Continue
            }
            Some(Release::Flow) | None => Action::Continue,
        }
    }

    /// Runs a step of the exchange.
    pub fn step<T>(&mut self, run: impl FnOnce(&mut Exchange, &mut Worker) -> T) -> Option<T> {
        let shared = self.shared.as_ref()?;
        let mut worker = shared.worker.borrow_mut();
        let result = run(&mut self.exchange, &mut worker);
        shared.flush_if_due(&mut worker.tally);
        let freed = worker.queues.take_freed();
        drop(worker);
        // Other streams cannot be resumed in a callback of this one. If this fails, they are looked at on the next tick.
        if freed
            && let Some(queue) = shared.wakeups
            && let Err(error) = abi::enqueue(queue, QUEUED)
        {
            shared.call_failed(Call::Enqueue, error);
        }
        Some(result)
    }

    /// Forgets the stream, which has ended.
    pub fn forget(&mut self) {
        let scheduled = self.scheduled.take();
        STREAMS.with_borrow_mut(|streams| streams.remove(self.id, scheduled));
    }

    /// Ends its exchange. Returns the request's record with its last pass, after logging it if it is to be logged.
    pub fn finish(&mut self, ending: Ending, now: Timestamp) -> Option<Written> {
        let record = self.step(|exchange, worker| exchange.finish(worker, ending, now))??;
        if record.log {
            log_record(&record);
        }
        Some(record)
    }

    fn checked_request_step(
        &mut self,
        run: impl FnOnce(&mut Exchange, &mut Worker, &mut Wire) -> RequestStep,
    ) -> Option<RequestStep> {
        let mut wire = Wire::request();
        let step = self.step(|exchange, worker| {
            let step = run(exchange, worker, &mut wire);
            // A request whose headers did not change might carry the client's key to a provider.
            if wire.failed.is_some() && !matches!(step, RequestStep::Answer(_)) {
                exchange.abandon(worker, Dialect::OpenAi, clock::now())
            } else {
                step
            }
        });
        if let Some(error) = wire.failed {
            self.call_failed(Call::ChangeHeaders, error);
        }
        if let Some(key) = self.exchange.take_key() {
            // Without it, the rate-limit filter has no descriptor for the request and lets it pass.
            let _ = abi::set_property(KEY, key.as_bytes());
        }
        step
    }

    /// Asks for a callback of another kind, which releases the first chunk.
    fn stage(&mut self) -> bool {
        let Some(queue) = self.shared.as_ref().and_then(|shared| shared.wakeups) else { return false };
        self.made(Call::Enqueue, abi::enqueue(queue, &self.id.to_le_bytes()))
    }

    /// Tries to send a request that is held.
    fn wake(&mut self, run: impl FnOnce(&mut Exchange, &mut Worker, &mut Wire) -> RequestStep) {
        let step = self.checked_request_step(run);
        self.update_queued();
        match step {
            Some(RequestStep::Send) => {
                self.decided("held request released");
                let mut control = self.control();
                failure::resume_request(&mut control, || {
                    match self
                        .step(|exchange, worker| exchange.abandon(worker, Dialect::OpenAi, clock::now()))
                    {
                        Some(RequestStep::Answer(local)) => Some(local),
                        _ => None,
                    }
                });
            }
            Some(RequestStep::Answer(local)) => {
                self.answered = true;
                self.answer(&local);
            }
            Some(RequestStep::Hold) | None => {}
        }
    }

    /// The moment has come that the stream was scheduled for.
    fn on_due(&mut self, now: Timestamp) {
        if self.exchange.is_held() {
            self.wake(|exchange, worker, wire| exchange.wake(worker, now, wire));
            return;
        }
        self.note_host();
        match self.step(|exchange, worker| exchange.alarm(worker, now)) {
            Some(AlarmStep::Answer(local)) => self.answer(&local),
            Some(AlarmStep::Tell(notice)) => {
                self.decided("error event added; reset follows");
                self.inject(&notice);
            }
            Some(AlarmStep::KeepAlive(text)) => self.inject(text),
            Some(AlarmStep::OpenGate) => {
                let mut wire = Wire::response();
                self.step(|exchange, worker| exchange.open_gate(worker, now, &mut wire));
                if let Some(error) = wire.failed {
                    self.call_failed(Call::ChangeHeaders, error);
                }
                self.decided("held response released");
                // If this fails, the next chunk takes it along, or the stream's idle timeout ends the wait.
                self.resume_response();
            }
            Some(AlarmStep::Deliver) => self.deliver(now),
            Some(AlarmStep::Reset) => {
                self.decided("reset");
                failure::reset(&mut self.control());
            }
            Some(AlarmStep::Wait) | None => {}
        }
    }

    /// Before an attempt fails: one dead host of several opens no breaker.
    pub fn note_host(&mut self) {
        if self.exchange.asks_host() {
            self.exchange.note_host(upstream_host());
        }
    }

    /// Ends a complete response that its provider leaves open. A local response is the only one that the filter can
    /// end, so what is held becomes one.
    fn deliver(&mut self, now: Timestamp) {
        let mut wire = Wire::response();
        if self.step(|exchange, worker| exchange.deliver(worker, now, &mut wire)).is_none() {
            return;
        }
        self.decided("held response delivered");
        let sent = match wire.failed {
            Some(error) => Err(error),
            None => wire.send_held(),
        };
        if !self.made(Call::SendResponse, sent) {
            self.resume_response();
        }
    }

    fn answer(&mut self, local: &LocalAnswer) {
        log::debug!("stream {}: answered by the filter with status {}", self.id, local.status);
        failure::answer(&mut self.control(), local);
    }

    /// Adds `text` to a response of which nothing is in Envoy's buffer.
    fn inject(&mut self, text: &str) {
        let written = abi::write_buffer(abi::Buffer::ResponseBody, 0, 0, text.as_bytes());
        if self.made(Call::Inject, written) {
            self.resume_response();
        }
    }

    /// Resumes the response, and returns whether that worked.
    fn resume_response(&mut self) -> bool {
        self.made(Call::ResumeResponse, abi::resume_response())
    }

    /// Makes the calls that follow act on this stream. If that fails, it is tried again on the next tick.
    fn select(&mut self) -> bool {
        self.made(Call::SelectStream, abi::set_effective_context(self.id))
    }

    /// Whether a call worked. If not, it is counted and logged.
    fn made(&self, call: Call, result: Result<(), HostError>) -> bool {
        result.map_err(|error| self.call_failed(call, error)).is_ok()
    }

    fn call_failed(&self, call: Call, error: HostError) {
        self.control().failed(call, error);
    }

    fn control(&self) -> Control {
        Control { shared: self.shared.clone() }
    }

    /// Enters the stream among those that wait in a queue, or takes it out.
    fn update_queued(&mut self) {
        let queued = self.exchange.position().is_some();
        if queued != self.queued {
            self.queued = queued;
            STREAMS.with_borrow_mut(|streams| streams.set_queued(self.id, queued));
        }
    }

    /// Schedules the stream for the moment that it is due, if it waits for anything.
    fn schedule(&mut self) {
        self.scheduled = self.exchange.due();
        if let Some(at) = self.scheduled {
            STREAMS.with_borrow_mut(|streams| streams.schedule(self.id, at));
        }
    }

    /// Logs a decision, once for several chunks in a row.
    fn decided(&mut self, decision: &'static str) {
        if log::log_enabled!(log::Level::Debug) && self.decision != decision {
            self.decision = decision;
            log::debug!("stream {}: {decision}", self.id);
        }
    }
}

/// The calls that end or resume the selected stream.
struct Control {
    shared: Option<Rc<Shared>>,
}

impl StreamControl for Control {
    fn resume_request(&mut self) -> Result<(), HostError> {
        abi::resume_request()
    }

    fn send_response(&mut self, answer: &LocalAnswer) -> Result<(), HostError> {
        let mut headers = Vec::with_capacity(answer.headers.len() + 1);
        if !answer.headers.iter().any(|(name, _)| *name == "content-type") {
            headers.push(("content-type", "application/json"));
        }
        headers.extend(answer.headers.iter().map(|(name, value)| (*name, value.as_str())));
        abi::send_response(answer.status, &HeaderBlock::encode(&headers), answer.body.as_bytes())
    }

    fn reset(&mut self) -> Result<(), HostError> {
        abi::reset_stream()
    }

    fn failed(&mut self, call: Call, error: HostError) {
        match &self.shared {
            Some(shared) => shared.call_failed(call, error),
            None => log::warn!("a call failed without a configuration (status {})", error.0),
        }
    }
}
