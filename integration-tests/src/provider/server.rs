//! The server of a scripted provider.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use super::accounts::Accounts;
use super::answers::{self, Answer, Form};
use super::capacity::{Beyond, Capacity};
use super::quota::{Quota, Used};
use super::received::{Log, Outcome, ReceivedRequest};
use super::script::{Content, Ending, Event, Script};
use super::scripted_body::{Aborted, Exchange, ScriptedBody};
use super::wire::{Break, Wire, WireHandle, WireIo};
use crate::body::{PacedBody, Piece};

/// How long a restart may wait for its previous port.
const REBIND_LIMIT: Duration = Duration::from_secs(5);

struct State {
    name: String,
    log: Arc<Log>,
    scripts: Mutex<Scripts>,
    quota: Mutex<Option<Used>>,
    capacity: Arc<Capacity>,
    accounts: Mutex<Option<Accounts>>,
}

struct Scripts {
    queue: VecDeque<Script>,
    default: Script,
}

impl State {
    fn next_script(&self) -> Script {
        let mut scripts = self.scripts.lock().unwrap();
        let script = scripts.queue.pop_front().unwrap_or_else(|| scripts.default.clone());
        match &mut *self.quota.lock().unwrap() {
            Some(used) => used.apply(script, Instant::now()),
            None => script,
        }
    }
}

/// A model provider on a port of its own. It stops when dropped.
pub struct ScriptedProvider {
    port: u16,
    state: Arc<State>,
    server: Option<JoinHandle<()>>,
}

impl ScriptedProvider {
    /// Starts a provider. Its responses say `hello from <name>`.
    pub async fn start(name: &str) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let port = listener.local_addr().expect("a bound listener").port();
        let scripts = Mutex::new(Scripts { queue: VecDeque::new(), default: Script::usual() });
        let state = Arc::new(State {
            name: name.to_owned(),
            log: Arc::new(Log::new()),
            scripts,
            quota: Mutex::new(None),
            capacity: Capacity::unlimited(),
            accounts: Mutex::new(None),
        });
        let server = Some(tokio::spawn(accept(listener, Arc::clone(&state))));
        Self { port, state, server }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.state.name
    }

    /// Its port on 127.0.0.1. It stays the same over [`stop`](Self::stop) and [`restart`](Self::restart).
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Queues a script for the next request without one.
    pub fn script(&self, script: Script) -> &Self {
        self.state.scripts.lock().unwrap().queue.push_back(script);
        self
    }

    /// Sets the script for requests when none is queued.
    pub fn by_default(&self, script: Script) -> &Self {
        self.state.scripts.lock().unwrap().default = script;
        self
    }

    /// Sets a rate limit.
    pub fn limit(&self, quota: Quota) -> &Self {
        *self.state.quota.lock().unwrap() = Some(Used::nothing_of(quota));
        self
    }

    /// From now on serves this many requests at a time. Others are refused, or wait.
    pub fn serve(&self, at_once: usize, beyond: Beyond) -> &Self {
        self.state.capacity.set(at_once, beyond);
        self
    }

    /// The number of requests that were refused because too many were served already.
    pub fn turned_away(&self) -> usize {
        self.state.capacity.refused()
    }

    /// From now on each account keeps its own responses, items and encrypted reasoning.
    pub fn keep_conversations(&self) -> &Self {
        self.state.accounts.lock().unwrap().get_or_insert_default();
        self
    }

    /// From now on the account with this key fails for responses, or answers again.
    pub fn set_account_down(&self, key: &str, down: bool) {
        let mut accounts = self.state.accounts.lock().unwrap();
        accounts.get_or_insert_default().set_down(&format!("Bearer {key}"), down);
    }

    /// The number of requests that the rate limit refused.
    pub fn refused(&self) -> usize {
        self.state.quota.lock().unwrap().as_ref().map_or(0, Used::refused)
    }

    /// All requests so far, in order of arrival.
    pub fn received(&self) -> Vec<ReceivedRequest> {
        self.state.log.snapshot()
    }

    /// Removes the recorded requests. None may be in progress.
    pub fn forget_received(&self) {
        self.state.log.clear();
    }

    /// Waits until this many requests have arrived, at least their headers.
    ///
    /// # Panics
    /// If they do not arrive in time.
    pub async fn wait_for(&self, count: usize, limit: Duration) -> Vec<ReceivedRequest> {
        self.wait_until(limit, |all| (all.len() >= count).then(|| all.to_vec()))
            .await
            .unwrap_or_else(|| panic!("{}: {count} requests wanted, got {:#?}", self.name(), self.received()))
    }

    /// Waits until the request of this index has ended, and returns how.
    ///
    /// # Panics
    /// If it does not end in time.
    pub async fn wait_for_outcome(&self, index: usize, limit: Duration) -> Outcome {
        let over = |all: &[ReceivedRequest]| {
            all.get(index).map(|request| request.outcome).filter(|outcome| *outcome != Outcome::InProgress)
        };
        self.wait_until(limit, over).await.unwrap_or_else(|| {
            panic!("{}: request {index} has not ended: {:#?}", self.name(), self.received())
        })
    }

    /// Waits until `wanted` returns a value for the requests; `None` if it does not in time.
    pub async fn wait_until<T>(
        &self,
        limit: Duration,
        wanted: impl FnMut(&[ReceivedRequest]) -> Option<T>,
    ) -> Option<T> {
        self.state.log.wait_until(limit, wanted).await
    }

    /// Breaks all connections and refuses new ones.
    pub async fn stop(&mut self) {
        let Some(server) = self.server.take() else { return };
        for (index, request) in self.received().iter().enumerate() {
            if request.outcome == Outcome::InProgress {
                self.state.log.close(index, Outcome::BrokenByProvider(Instant::now()));
            }
        }
        server.abort();
        drop(server.await);
    }

    /// Serves again on the same port with the queued scripts.
    ///
    /// # Panics
    /// If another process has taken the port meanwhile.
    pub async fn restart(&mut self) {
        self.stop().await;
        let deadline = Instant::now() + REBIND_LIMIT;
        let listener = loop {
            match TcpListener::bind(("127.0.0.1", self.port)).await {
                Ok(listener) => break listener,
                Err(error) => assert!(Instant::now() < deadline, "port {}: {error}", self.port),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        self.server = Some(tokio::spawn(accept(listener, Arc::clone(&self.state))));
    }
}

impl Drop for ScriptedProvider {
    fn drop(&mut self) {
        if let Some(server) = &self.server {
            server.abort();
        }
    }
}

/// A port that refuses connections while this value lives: it is bound, but nothing listens.
pub struct RefusedPort {
    port: u16,
    _socket: TcpSocket,
}

impl RefusedPort {
    /// Reserves a port.
    pub fn reserve() -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind(([127, 0, 0, 1], 0).into()).expect("a free port");
        let port = socket.local_addr().expect("a bound socket").port();
        Self { port, _socket: socket }
    }

    /// The port number.
    pub fn port(&self) -> u16 {
        self.port
    }
}

async fn accept(listener: TcpListener, state: Arc<State>) {
    // Dropped with this task, together with every connection.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => if let Ok((stream, _)) = accepted {
                drop(stream.set_nodelay(true));
                connections.spawn(serve(stream, Arc::clone(&state)));
            },
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
        }
    }
}

async fn serve(stream: TcpStream, state: Arc<State>) {
    let wire = Wire::new(stream);
    let handle = WireHandle::new(&wire);
    let service = service_fn(move |request| answer(request, Arc::clone(&state), handle.clone()));
    let builder = auto::Builder::new(TokioExecutor::new());
    let connection = builder.serve_connection(TokioIo::new(WireIo(Arc::clone(&wire))), service);
    // The connection is dropped at the end of select!, because hyper must not write to a broken one.
    let was_broken = tokio::select! {
        _ = connection => false,
        () = wire.broken() => true,
    };
    if was_broken {
        wire.hang_up().await;
    }
}

async fn answer(
    request: Request<Incoming>,
    state: Arc<State>,
    wire: WireHandle,
) -> Result<Response<ScriptedBody>, Aborted> {
    let (head, body) = request.into_parts();
    let exchange = Exchange { log: Arc::clone(&state.log), index: state.log.open(&head) };
    let script = state.next_script();
    let path = head.uri.path().to_owned();
    // An unread body stays with this function, so that hyper does not drain it.
    let (request_body, unread) = if script.ignore_request_body {
        (Vec::new(), Some(body))
    } else {
        (read(body, &exchange).await?, None)
    };
    let (script, served) = state.capacity.serve(script).await;
    if script.delay_headers_ms > 0 {
        tokio::time::sleep(Duration::from_millis(script.delay_headers_ms)).await;
    }
    drop(served);
    if script.ending.is_before_headers() {
        return Err(end_without_answer(script.ending, &wire, exchange, unread.is_some()).await);
    }
    let answer = match script.status {
        200..=299 => {
            let credential = head.headers.get("authorization").and_then(|value| value.to_str().ok());
            match &mut *state.accounts.lock().unwrap() {
                Some(accounts) if path.ends_with("/responses") => {
                    accounts.answer(&state.name, credential.unwrap_or(""), &path, &request_body, &script)
                }
                _ => answers::usual(&state.name, exchange.index, &path, &request_body, &script),
            }
        }
        status => answers::error(&path, status),
    };
    let (response, pieces, declared_length) = compose(&script, answer);
    let kept = script.ending.keep(pieces);
    // A body ends at its declared length, so a response that breaks off after its body must not declare one.
    let kept_bytes: u64 = kept.iter().map(|piece| piece.bytes.len() as u64).sum();
    let declared_length =
        declared_length.filter(|length| script.ending == Ending::Complete || kept_bytes < *length);
    let pieces = PacedBody::new(kept, declared_length);
    let body = ScriptedBody::new(pieces, script.ending, wire, exchange);
    let body = if unread.is_some() { body.watching_the_socket() } else { body };
    Ok(response.body(body).expect("a response"))
}

async fn read(mut body: Incoming, exchange: &Exchange) -> Result<Vec<u8>, Aborted> {
    let mut whole = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            exchange.close(Outcome::ClosedByClient(Instant::now()));
            return Err(Aborted);
        };
        if let Ok(bytes) = frame.into_data() {
            exchange.log.body_bytes(exchange.index, &bytes);
            whole.extend_from_slice(&bytes);
        }
    }
    exchange.log.body_complete(exchange.index);
    Ok(whole)
}

async fn end_without_answer(
    ending: Ending,
    wire: &WireHandle,
    exchange: Exchange,
    watch_socket: bool,
) -> Aborted {
    let break_with = match ending {
        Ending::Cut(_) => Some(Break::Close),
        Ending::Reset(_) => Some(Break::Reset),
        Ending::AbortStream(_) => None,
        Ending::Hang(_) | Ending::Complete | Ending::Trailers(_) => {
            // hyper drops this future when the client leaves, but it does not notice that while a body is unread.
            if watch_socket {
                wire.clone().peer_closed().await;
                exchange.close(Outcome::ClosedByClient(Instant::now()));
                return Aborted;
            }
            std::future::pending().await
        }
    };
    exchange.close(Outcome::BrokenByProvider(Instant::now()));
    if let Some(how) = break_with {
        wire.break_now(how);
        // The connection's task ends this. Otherwise hyper might answer 500 first.
        std::future::pending::<()>().await;
    }
    Aborted
}

/// The head of the response, its body in pieces, and the length to declare, if any.
fn compose(script: &Script, answer: Answer) -> (hyper::http::response::Builder, Vec<Piece>, Option<u64>) {
    let (content_type, status, pieces, is_stream) = match &script.body {
        Content::Usual => {
            let status = if script.status == 200 { answer.status } else { script.status };
            match answer.form {
                Form::Plain(document) => {
                    ("application/json", status, vec![Piece::now(document.to_string())], false)
                }
                Form::Stream(events) => {
                    ("text/event-stream; charset=utf-8", status, event_pieces(&events), true)
                }
            }
        }
        Content::Text(text) => {
            ("text/plain; charset=utf-8", script.status, vec![Piece::now(text.clone())], false)
        }
        Content::Json(json) => ("application/json", script.status, vec![Piece::now(json.to_string())], false),
        Content::Events(events) => {
            ("text/event-stream; charset=utf-8", script.status, event_pieces(events), true)
        }
        Content::Chunks(chunks) => {
            let piece = |chunk: &super::script::TextChunk| {
                Piece::after(Duration::from_millis(chunk.after_ms), chunk.text.clone())
            };
            ("text/event-stream; charset=utf-8", script.status, chunks.iter().map(piece).collect(), true)
        }
        Content::Pieces(pieces) => ("application/octet-stream", script.status, pieces.clone(), true),
    };
    let length = pieces.iter().map(|piece| piece.bytes.len() as u64).sum();
    let mut response = Response::builder().status(status);
    let headers = response.headers_mut().expect("a valid status");
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    for (name, value) in &answer.headers {
        headers.insert(*name, HeaderValue::from_str(value).expect("a header value"));
    }
    for (name, value) in &script.headers {
        let name = HeaderName::from_bytes(name.as_bytes()).expect("a header name");
        headers.insert(name, HeaderValue::from_str(value).expect("a header value"));
    }
    let declared = (!is_stream || headers.contains_key(CONTENT_LENGTH)).then_some(length);
    (response, pace(script, pieces), declared)
}

fn event_pieces(events: &[Event]) -> Vec<Piece> {
    events.iter().map(|event| Piece::now(event.to_wire())).collect()
}

/// Splits and delays as the script says.
fn pace(script: &Script, pieces: Vec<Piece>) -> Vec<Piece> {
    let mut pieces = match script.split {
        None => pieces,
        Some(size) => {
            let whole: Bytes = pieces.iter().flat_map(|piece| piece.bytes.iter().copied()).collect();
            whole.chunks(size.max(1)).map(|part| Piece::now(Bytes::copy_from_slice(part))).collect()
        }
    };
    for (index, piece) in pieces.iter_mut().enumerate() {
        let pause = if index == 0 { script.delay_body_ms } else { script.delay_chunk_ms };
        piece.after += Duration::from_millis(pause);
    }
    pieces
}
