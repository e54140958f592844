//! A small HTTP client that records when each chunk arrived. Dropping a response closes its connection at once.

use std::error::Error as StdError;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinHandle;

use crate::body::{PacedBody, Piece};

/// How long the client waits for a response's headers or its next chunk.
pub const PATIENCE: Duration = crate::SOON;

/// The HTTP version of the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2 without TLS, by prior knowledge.
    H2c,
}

/// Why there is no response or no more of it.
#[derive(Debug)]
pub enum ClientError {
    /// The connection could not be opened.
    Connect(std::io::Error),
    /// The connection or the stream broke.
    Broken(hyper::Error),
    /// No data came within [`PATIENCE`] or the request's own limit.
    Silent,
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(error) => write!(f, "could not connect: {error}"),
            Self::Broken(error) => write!(f, "broken: {error}"),
            Self::Silent => f.write_str("no data came in time"),
        }
    }
}

impl StdError for ClientError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Connect(error) => Some(error),
            Self::Broken(error) => Some(error),
            Self::Silent => None,
        }
    }
}

enum RequestBody {
    Whole(Bytes),
    Paced(Vec<Piece>),
}

/// A request to be sent.
pub struct Request {
    method: Method,
    path: String,
    headers: HeaderMap,
    body: RequestBody,
    protocol: Protocol,
    patience: Duration,
    from: Ipv4Addr,
}

impl Request {
    /// A request of any method without a body.
    pub fn new(method: Method, path: &str) -> Self {
        let body = RequestBody::Whole(Bytes::new());
        let (headers, protocol, patience) = (HeaderMap::new(), Protocol::Http1, PATIENCE);
        Self { method, path: path.to_owned(), headers, body, protocol, patience, from: Ipv4Addr::LOCALHOST }
    }

    /// A GET.
    pub fn get(path: &str) -> Self {
        Self::new(Method::GET, path)
    }

    /// A POST without a body.
    pub fn post(path: &str) -> Self {
        Self::new(Method::POST, path)
    }

    /// An OpenAI chat completion with one user message, streamed or not.
    pub fn chat(model: &str, stream: bool) -> Self {
        let messages = serde_json::json!([{ "role": "user", "content": "say hello" }]);
        Self::post("/v1/chat/completions")
            .json(&serde_json::json!({ "model": model, "messages": messages, "stream": stream }))
    }

    /// Adds a header. Earlier ones of the same name are kept.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        let name = HeaderName::from_bytes(name.as_bytes()).expect("a header name");
        self.headers.append(name, HeaderValue::from_str(value).expect("a header value"));
        self
    }

    /// Sets a JSON body.
    pub fn json(mut self, body: &Value) -> Self {
        self.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        self.bytes(body.to_string())
    }

    /// Sets a body that is sent with its content-length.
    pub fn bytes(mut self, body: impl Into<Bytes>) -> Self {
        self.body = RequestBody::Whole(body.into());
        self
    }

    /// Sets a body that is sent piece by piece, without content-length.
    pub fn pieces(mut self, pieces: Vec<Piece>) -> Self {
        self.body = RequestBody::Paced(pieces);
        self
    }

    /// Sends over HTTP/2 without TLS (only for [`Request::send`]; a [`Connection`] has its own protocol).
    pub fn h2c(mut self) -> Self {
        self.protocol = Protocol::H2c;
        self
    }

    /// Sends over this protocol (only for [`Request::send`]).
    pub fn over(mut self, protocol: Protocol) -> Self {
        self.protocol = protocol;
        self
    }

    /// How long to wait for the response's headers instead of [`PATIENCE`].
    pub fn patience(mut self, limit: Duration) -> Self {
        self.patience = limit;
        self
    }

    /// Sends from this address of this machine (only for [`Request::send`]).
    pub fn from(mut self, address: Ipv4Addr) -> Self {
        self.from = address;
        self
    }

    /// Sends the request on its own connection, which closes when the response is dropped.
    pub async fn send(self, port: u16) -> Result<Response, ClientError> {
        let mut connection = Connection::open_from(self.from, port, self.protocol).await?;
        let mut response = connection.send(self).await?;
        response.connection = Some(connection);
        Ok(response)
    }

    /// Sends the request on its own connection and reads the response until it ends or breaks off.
    ///
    /// # Panics
    /// If no response begins.
    pub async fn ask(self, port: u16) -> Read {
        self.send(port).await.unwrap_or_else(|error| panic!("no response: {error}")).read().await
    }

    fn into_hyper(self, port: u16, protocol: Protocol) -> hyper::Request<PacedBody> {
        let uri = match protocol {
            Protocol::Http1 => self.path,
            Protocol::H2c => format!("http://127.0.0.1:{port}{}", self.path),
        };
        let body = match self.body {
            RequestBody::Whole(bytes) => PacedBody::whole(bytes),
            RequestBody::Paced(pieces) => PacedBody::new(pieces, None),
        };
        let mut request =
            hyper::Request::builder().method(self.method).uri(uri).body(body).expect("a request");
        *request.headers_mut() = self.headers;
        if protocol == Protocol::Http1 && !request.headers().contains_key("host") {
            let host = HeaderValue::from_str(&format!("127.0.0.1:{port}")).expect("a header value");
            request.headers_mut().insert("host", host);
        }
        request
    }
}

enum Sender {
    Http1(http1::SendRequest<PacedBody>),
    Http2(http2::SendRequest<PacedBody>),
}

/// One connection to a port of this machine. Dropping it closes it, even with requests in flight.
pub struct Connection {
    port: u16,
    sender: Sender,
    driver: JoinHandle<()>,
}

impl Connection {
    /// Connects.
    pub async fn open(port: u16, protocol: Protocol) -> Result<Self, ClientError> {
        Self::open_from(Ipv4Addr::LOCALHOST, port, protocol).await
    }

    async fn open_from(from: Ipv4Addr, port: u16, protocol: Protocol) -> Result<Self, ClientError> {
        let stream = connect(from, port).await.map_err(ClientError::Connect)?;
        stream.set_nodelay(true).map_err(ClientError::Connect)?;
        let io = TokioIo::new(stream);
        let (sender, driver) = match protocol {
            Protocol::Http1 => {
                let (sender, driver) = http1::handshake(io).await.map_err(ClientError::Broken)?;
                (Sender::Http1(sender), tokio::spawn(async move { drop(driver.await) }))
            }
            Protocol::H2c => {
                let (sender, driver) =
                    http2::handshake(TokioExecutor::new(), io).await.map_err(ClientError::Broken)?;
                (Sender::Http2(sender), tokio::spawn(async move { drop(driver.await) }))
            }
        };
        Ok(Self { port, sender, driver })
    }

    /// Sends a request and reads the response until it ends or breaks off.
    ///
    /// # Panics
    /// If no response begins.
    pub async fn ask(&mut self, request: Request) -> Read {
        self.send(request).await.unwrap_or_else(|error| panic!("no response: {error}")).read().await
    }

    /// Sends a request and waits for the response's headers. Over HTTP/1 the previous response must have been read.
    pub async fn send(&mut self, request: Request) -> Result<Response, ClientError> {
        let sent_at = Instant::now();
        let patience = request.patience;
        let exchange = async {
            match &mut self.sender {
                Sender::Http1(sender) => {
                    sender.ready().await?;
                    sender.send_request(request.into_hyper(self.port, Protocol::Http1)).await
                }
                Sender::Http2(sender) => {
                    sender.ready().await?;
                    sender.send_request(request.into_hyper(self.port, Protocol::H2c)).await
                }
            }
        };
        let response = tokio::time::timeout(patience, exchange)
            .await
            .map_err(|_| ClientError::Silent)?
            .map_err(ClientError::Broken)?;
        let (head, body) = response.into_parts();
        Ok(Response {
            status: head.status,
            headers: head.headers,
            sent_at,
            headers_at: Instant::now(),
            body,
            connection: None,
        })
    }
}

async fn connect(from: Ipv4Addr, port: u16) -> std::io::Result<TcpStream> {
    let to = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    if from == Ipv4Addr::LOCALHOST {
        return TcpStream::connect(to).await;
    }
    let socket = TcpSocket::new_v4()?;
    socket.bind((from, 0).into())?;
    socket.connect(to).await
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// A piece of a response body.
#[derive(Clone, Debug)]
pub struct Chunk {
    /// The bytes.
    pub bytes: Bytes,
    /// When it was read.
    pub at: Instant,
}

/// A response whose body may not have arrived yet. Dropping it closes its connection, or resets its stream on a shared
/// HTTP/2 connection.
#[derive(Debug)]
pub struct Response {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// When the request was sent.
    pub sent_at: Instant,
    /// When the headers were read.
    pub headers_at: Instant,
    body: Incoming,
    connection: Option<Connection>,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("port", &self.port).finish_non_exhaustive()
    }
}

impl Response {
    /// A header's value, if there is one and it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The next chunk; `None` after a normal end.
    pub async fn next_chunk(&mut self) -> Option<Result<Chunk, ClientError>> {
        loop {
            let frame = match tokio::time::timeout(PATIENCE, self.body.frame()).await {
                Err(_) => return Some(Err(ClientError::Silent)),
                Ok(None) => return None,
                Ok(Some(Err(error))) => return Some(Err(ClientError::Broken(error))),
                Ok(Some(Ok(frame))) => frame,
            };
            if let Ok(bytes) = frame.into_data() {
                return Some(Ok(Chunk { bytes, at: Instant::now() }));
            }
        }
    }

    /// Reads until the body ends or breaks off.
    pub async fn read(mut self) -> Read {
        let mut chunks = Vec::new();
        let mut error = None;
        while let Some(next) = self.next_chunk().await {
            match next {
                Ok(chunk) => chunks.push(chunk),
                Err(broken) => {
                    error = Some(broken);
                    break;
                }
            }
        }
        Read {
            status: self.status,
            headers: self.headers,
            sent_at: self.sent_at,
            headers_at: self.headers_at,
            ended_at: Instant::now(),
            chunks,
            error,
        }
    }

    /// Reads the whole body as text.
    ///
    /// # Panics
    /// If the body breaks off.
    pub async fn text(self) -> String {
        let read = self.read().await;
        assert!(read.error.is_none(), "the body broke off after {:?}: {:?}", read.text(), read.error);
        read.text()
    }

    /// Reads the whole body as JSON.
    ///
    /// # Panics
    /// If the body breaks off or is not JSON.
    pub async fn json(self) -> Value {
        let text = self.text().await;
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("not JSON ({error}): {text}"))
    }
}

/// A response that has been read until it ended or broke off.
#[derive(Debug)]
pub struct Read {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// When the request was sent.
    pub sent_at: Instant,
    /// When the headers were read.
    pub headers_at: Instant,
    /// When the body ended.
    pub ended_at: Instant,
    /// The body as it was read.
    pub chunks: Vec<Chunk>,
    /// How it broke off; `None` for a normal end.
    pub error: Option<ClientError>,
}

impl Read {
    /// The body's bytes.
    pub fn bytes(&self) -> Vec<u8> {
        self.chunks.iter().flat_map(|chunk| chunk.bytes.iter().copied()).collect()
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes()).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// If it is not JSON.
    pub fn json(&self) -> Value {
        let text = self.text();
        serde_json::from_str(&text)
            .unwrap_or_else(|error| panic!("{}: not JSON ({error}): {text}", self.status))
    }

    /// The payloads of the `data:` lines, `[DONE]` included.
    pub fn data(&self) -> Vec<String> {
        self.text()
            .lines()
            .filter_map(|line| line.strip_prefix("data:"))
            .map(|data| data.trim().to_owned())
            .collect()
    }

    /// A header's value, if there is one and it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}
