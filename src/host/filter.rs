//! One HTTP stream: hands the callbacks to its exchange and carries out the steps.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::Action;

use super::abi::{self, Buffer, Level, Map};
use super::calls;
use super::root::{Shared, TICK};
use super::wire::Wire;
use crate::base::{Dialect, HeaderBlock, Timestamp};
use crate::journey::{
    AlarmStep, Ending, Exchange, LocalAnswer, Origin, RequestStep, ResponseStep, Worker, Written,
};
use crate::stream::Deadlines;

/// Where Envoy's rate-limit filter finds what a request took: `%FILTER_STATE(wasm.llm_tokens:PLAIN)%`.
const TOKENS: &str = "llm_tokens";
/// And whose it is.
const KEY: &str = "llm_key";
/// Where Envoy's access log finds a request's record: `%FILTER_STATE(wasm.llm_record:PLAIN)%`.
const RECORD: &str = "llm_record";

/// What stands in the queue of releases where no stream's id does: the lines are to be looked at.
const LINES: &[u8] = b"lines";

thread_local! {
    /// The time as it was last read.
    static CLOCK: Cell<Timestamp> = Cell::default();
    /// The streams of this VM that wait for something. They belong to the VM and not to a root context, so that a change of
    /// the configuration leaves no stream without its clock.
    static WAITING: RefCell<Waiting> = RefCell::default();
}

#[derive(Default)]
struct Waiting {
    streams: HashMap<u32, Rc<RefCell<Stream>>>,
    deadlines: Deadlines<u32>,
    /// Of these the ones that stand in a line. As many as there may be in all lines.
    in_line: HashSet<u32>,
}

/// Has every stream looked at whose time has come.
pub fn look_at_streams(now: Timestamp) {
    // Taken out first: a stream that is entered again while this goes on waits for the next tick.
    let mut due: Vec<_> = WAITING.with_borrow_mut(|waiting| {
        let Waiting { streams, deadlines, .. } = waiting;
        std::iter::from_fn(|| deadlines.next_due(now))
            .filter_map(|id| Some((id, Rc::clone(streams.get(&id)?))))
            .collect()
    });
    // Those who wait in a line go in its order.
    due.sort_by_key(|(_, stream)| stream.try_borrow().ok().and_then(|stream| stream.exchange.place()));
    for (id, stream) in due {
        let Ok(mut stream) = stream.try_borrow_mut() else { continue };
        if abi::set_effective_context(id).is_ok() {
            stream.look(now);
        }
        stream.wait(id);
    }
}

/// Has those looked at who stand in a line, in its order: an attempt has ended, so there may be a place.
pub fn look_at_lines() {
    let now = now();
    let mut waiting: Vec<_> = WAITING.with_borrow(|waiting| {
        let Waiting { streams, in_line, .. } = waiting;
        in_line.iter().filter_map(|id| Some((*id, Rc::clone(streams.get(id)?)))).collect()
    });
    waiting.sort_by_key(|(_, stream)| stream.try_borrow().ok().and_then(|stream| stream.exchange.place()));
    for (id, stream) in waiting {
        let Ok(mut stream) = stream.try_borrow_mut() else { continue };
        if abi::set_effective_context(id).is_ok() {
            stream.wake(|exchange, worker, wire| exchange.wake_early(worker, now, wire));
        }
    }
}

/// Releases what a stream has staged.
pub fn release(id: u32) {
    let Some(stream) = WAITING.with_borrow(|waiting| waiting.streams.get(&id).map(Rc::clone)) else { return };
    let Ok(mut stream) = stream.try_borrow_mut() else { return };
    if abi::set_effective_context(id).is_ok() && abi::resume_response().is_ok() {
        stream.exchange.released();
    }
}

/// The stream context.
pub struct Filter {
    id: u32,
    stream: Rc<RefCell<Stream>>,
}

impl Filter {
    /// A stream of a configured filter. Without a configuration, which Envoy never lets happen, it lets everything pass.
    pub fn new(id: u32, shared: Option<Rc<Shared>>) -> Self {
        let stream = Stream {
            id,
            shared,
            exchange: Exchange::default(),
            answer_complete: false,
            entered: None,
            in_line: false,
        };
        Self { id, stream: Rc::new(RefCell::new(stream)) }
    }

    /// Runs a callback, and sees to it that the stream is looked at when its time comes.
    fn callback(&self, run: impl FnOnce(&mut Stream) -> Action) -> Action {
        // Envoy never calls back while it is being called, so the stream is free.
        let Ok(mut stream) = self.stream.try_borrow_mut() else { return Action::Continue };
        let action = run(&mut stream);
        stream.note_line();
        // What is due later than entered is found out when the entry comes up; what is due sooner must be entered anew.
        let due = stream.exchange.due();
        if due.is_some_and(|due| stream.entered.is_none_or(|entered| due < entered)) {
            WAITING.with_borrow_mut(|waiting| {
                if let Some(entered) = stream.entered {
                    waiting.deadlines.cancel(entered, self.id);
                } else {
                    waiting.streams.insert(self.id, Rc::clone(&self.stream));
                }
            });
            stream.wait(self.id);
        }
        action
    }
}

struct Stream {
    id: u32,
    shared: Option<Rc<Shared>>,
    exchange: Exchange,
    answer_complete: bool,
    /// Where the stream stands among the deadlines.
    entered: Option<Timestamp>,
    /// Whether it is among those that stand in a line.
    in_line: bool,
}

impl Stream {
    /// Enters the stream among those that stand in a line, or takes it out.
    fn note_line(&mut self) {
        let in_line = self.exchange.place().is_some();
        if in_line != self.in_line {
            self.in_line = in_line;
            WAITING.with_borrow_mut(|waiting| {
                if in_line {
                    waiting.in_line.insert(self.id)
                } else {
                    waiting.in_line.remove(&self.id)
                };
            });
        }
    }

    /// A held request may go.
    fn wake(&mut self, run: impl FnOnce(&mut Exchange, &mut Worker, &mut Wire) -> RequestStep) {
        let step = self.take_request_step(run);
        self.note_line();
        if step == Some(RequestStep::Send) {
            let _ = abi::resume_request();
        } else if let Some(RequestStep::Answer(local)) = step {
            answer(&local);
        }
    }

    /// Enters the stream among the deadlines, if it waits for anything.
    fn wait(&mut self, id: u32) {
        self.entered = self.exchange.due();
        if let Some(at) = self.entered {
            WAITING.with_borrow_mut(|waiting| waiting.deadlines.enter(at, id));
        }
    }

    /// Something may have taken too long.
    fn look(&mut self, now: Timestamp) {
        if self.exchange.is_held() {
            self.wake(|exchange, worker, wire| exchange.wake(worker, now, wire));
            return;
        }
        match self.step(|exchange, worker| exchange.alarm(worker, now)) {
            Some(AlarmStep::Answer(local)) => answer(&local),
            Some(AlarmStep::Tell(notice)) => put_in(&notice),
            Some(AlarmStep::KeepAlive(text)) => put_in(text),
            Some(AlarmStep::OpenGate) => {
                let mut wire = Wire::response();
                self.step(|exchange, worker| exchange.open_gate(worker, now, &mut wire));
                let _ = abi::resume_response();
            }
            Some(AlarmStep::Reset) => {
                let _ = abi::reset_response();
            }
            Some(AlarmStep::Wait) | None => {}
        }
    }

    /// Runs one step of the exchange.
    fn step<T>(&mut self, run: impl FnOnce(&mut Exchange, &mut Worker) -> T) -> Option<T> {
        let shared = self.shared.as_ref()?;
        let mut worker = shared.worker.borrow_mut();
        let result = run(&mut self.exchange, &mut worker);
        shared.counted(&mut worker.tally);
        for line in worker.log.drain(..) {
            abi::log(Level::Warn, &format!("llm-failsafe: {line}"));
        }
        // Not here: the streams that may go now are others than the one whose callback this is.
        if worker.lines.take_freed()
            && let Some(queue) = shared.releases
        {
            let _ = abi::enqueue(queue, LINES);
        }
        calls::report();
        Some(result)
    }

    fn request_step(
        &mut self,
        run: impl FnOnce(&mut Exchange, &mut Worker, &mut Wire) -> RequestStep,
    ) -> Action {
        match self.take_request_step(run) {
            Some(RequestStep::Send) | None => Action::Continue,
            Some(RequestStep::Hold) => Action::Pause,
            Some(RequestStep::Answer(local)) => {
                answer(&local);
                Action::Pause
            }
        }
    }

    fn take_request_step(
        &mut self,
        run: impl FnOnce(&mut Exchange, &mut Worker, &mut Wire) -> RequestStep,
    ) -> Option<RequestStep> {
        let mut wire = Wire::request();
        let step = self.step(|exchange, worker| {
            let step = run(exchange, worker, &mut wire);
            // A request whose headers could not be changed might carry the client's key to a provider.
            if wire.failed && !matches!(step, RequestStep::Answer(_)) {
                exchange.abandon(worker, Dialect::OpenAi, now())
            } else {
                step
            }
        });
        if let Some(key) = self.exchange.take_key() {
            // A request that cannot be charged goes all the same: the filter behind lets pass what it has no descriptor for.
            let _ = abi::set_property(KEY, &key);
        }
        step
    }

    fn response_step(
        &mut self,
        run: impl FnOnce(&mut Exchange, &mut Worker, &mut Wire) -> ResponseStep,
    ) -> Action {
        let mut wire = Wire::response();
        match self.step(|exchange, worker| run(exchange, worker, &mut wire)) {
            Some(ResponseStep::Hold) => Action::Pause,
            Some(ResponseStep::Stage) => {
                let queue = self.shared.as_ref().and_then(|shared| shared.releases);
                let staged = queue.is_some_and(|queue| abi::enqueue(queue, &self.id.to_le_bytes()).is_ok());
                if staged {
                    return Action::Pause;
                }
                self.exchange.cannot_stage();
                Action::Continue
            }
            Some(ResponseStep::Flow) => {
                let _ = abi::resume_response();
                Action::Pause
            }
            Some(ResponseStep::Pass) | None => Action::Continue,
        }
    }
}

impl Context for Filter {}

impl HttpContext for Filter {
    fn on_http_request_headers(&mut self, _count: usize, end_of_stream: bool) -> Action {
        let headers = abi::headers(Map::Request).unwrap_or_default();
        self.callback(|stream| {
            stream.request_step(|exchange, worker, wire| {
                exchange.request_headers(worker, &headers, end_of_stream, now(), wire)
            })
        })
    }

    fn on_http_request_body(&mut self, available: usize, end_of_stream: bool) -> Action {
        self.callback(|stream| {
            // With its end the request is sent, and from then on its provider's time is measured.
            let at = if end_of_stream { now() } else { about_now() };
            stream.request_step(|exchange, worker, wire| {
                exchange.request_body(worker, available, end_of_stream, at, wire)
            })
        })
    }

    fn on_http_request_trailers(&mut self, _count: usize) -> Action {
        self.callback(|stream| {
            stream.request_step(|exchange, worker, wire| exchange.request_trailers(worker, now(), wire))
        })
    }

    fn on_http_response_headers(&mut self, _count: usize, end_of_stream: bool) -> Action {
        let headers = abi::headers(Map::Response).unwrap_or_default();
        self.callback(|stream| {
            stream.answer_complete = end_of_stream;
            stream.response_step(|exchange, worker, wire| {
                exchange.response_headers(worker, headers, end_of_stream, now(), origin, wire)
            })
        })
    }

    fn on_http_response_body(&mut self, available: usize, end_of_stream: bool) -> Action {
        self.callback(|stream| {
            stream.answer_complete = end_of_stream;
            let at = if stream.exchange.awaits_content() { now() } else { about_now() };
            stream.response_step(|exchange, worker, wire| {
                exchange.response_body(worker, available, end_of_stream, at, wire)
            })
        })
    }

    fn on_http_response_trailers(&mut self, _count: usize) -> Action {
        self.callback(|stream| {
            stream.answer_complete = true;
            stream
                .response_step(|exchange, worker, wire| exchange.response_trailers(worker, about_now(), wire))
        })
    }

    fn on_log(&mut self) {
        let Ok(mut stream) = self.stream.try_borrow_mut() else { return };
        WAITING.with_borrow_mut(|waiting| {
            waiting.streams.remove(&self.id);
            waiting.in_line.remove(&self.id);
            if let Some(at) = stream.entered.take() {
                waiting.deadlines.cancel(at, self.id);
            }
        });
        let ending = if stream.answer_complete { Ending::Complete } else { ending() };
        if let Some(Some(record)) = stream.step(|exchange, worker| exchange.finish(worker, ending, now())) {
            // A record that Envoy would not take is not worth more than the stream, which is over.
            let _ = abi::set_property(RECORD, &record.json);
            if record.log {
                log_record(&record);
            }
        }
        if let Some(tokens) = stream.exchange.tokens() {
            // Without it the rate-limit filter charges nothing; the stream is over, and nothing else can be done.
            let _ = abi::set_property(TOKENS, &tokens.to_string());
        }
    }
}

/// Puts a record into Envoy's log.
pub fn log_record(record: &Written) {
    let level = if record.failed { Level::Warn } else { Level::Info };
    abi::log(level, &format!("llm-failsafe record: {}", record.json));
}

/// The time as the host has it now.
pub fn now() -> Timestamp {
    let now = Timestamp::from_millis(abi::now_ns() / 1_000_000);
    CLOCK.set(now);
    now
}

/// No earlier than now as long as the tick comes in time, and at most one tick later: enough for whatever takes its time in
/// seconds, and one call of the host less in every callback. Being late rather than early, it lets no limit run out too soon.
fn about_now() -> Timestamp {
    let read = CLOCK.get();
    if read == Timestamp::default() { now() } else { read.after(TICK) }
}

fn answer(local: &LocalAnswer) {
    let mut headers = Vec::with_capacity(local.headers.len() + 1);
    if !local.headers.iter().any(|(name, _)| *name == "content-type") {
        headers.push(("content-type", "application/json"));
    }
    headers.extend(local.headers.iter().map(|(name, value)| (*name, value.as_str())));
    let block = HeaderBlock::encode(&headers);
    let _ = abi::send_response(local.status, &block, local.body.as_bytes());
}

/// Sends this to the client of a stream on which nothing moves.
fn put_in(text: &str) {
    let put = abi::write_buffer(Buffer::ResponseBody, 0, 0, text.as_bytes());
    let _ = put.and_then(|()| abi::resume_response());
}

/// Envoy says how it came by an answer in the response code details.
fn origin() -> Origin {
    Origin::of(abi::property("response\0code_details").as_deref())
}

/// Envoy's response flags for a client that closed its connection (DC), reset its stream (DR) or broke the protocol (DPE),
/// which ends all that is on its connection.
const CLIENT_GONE: u64 = 1 << 14 | 1 << 28 | 1 << 18;

/// How a stream ended whose answer was not complete.
fn ending() -> Ending {
    let flags =
        abi::property("response\0flags").and_then(|bytes| Some(u64::from_le_bytes(bytes.try_into().ok()?)));
    if flags.is_some_and(|flags| flags & CLIENT_GONE != 0) {
        Ending::ClientGone
    } else {
        Ending::UpstreamGone
    }
}
