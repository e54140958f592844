//! An OpenTelemetry collector as Envoy sends to one: OTLP over gRPC, with OpenTelemetry's own protobuf messages.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};

const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Default)]
struct Received {
    spans: Vec<Span>,
    logs: Vec<LogRecord>,
}

/// A running collector; it ends when dropped.
pub struct Collector {
    port: u16,
    received: Arc<Mutex<Received>>,
    task: JoinHandle<()>,
}

impl Collector {
    /// Starts one on a free port.
    ///
    /// # Panics
    /// If there is no port.
    pub async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let port = listener.local_addr().expect("a bound socket").port();
        let received = Arc::new(Mutex::new(Received::default()));
        let shared = Arc::clone(&received);
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((socket, _)) = listener.accept().await {
                let received = Arc::clone(&shared);
                let service = service_fn(move |request| answer(request, Arc::clone(&received)));
                let server = http2::Builder::new(TokioExecutor::new());
                connections.spawn(server.serve_connection(TokioIo::new(socket), service));
            }
        });
        Self { port, received, task }
    }

    /// Its port.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Waits until there are so many spans and log records.
    ///
    /// # Panics
    /// If they do not come.
    pub async fn wait_for(&self, spans: usize, logs: usize) -> (Vec<Span>, Vec<LogRecord>) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let (seen_spans, seen_logs) = {
                let received = self.received.lock().expect("no panic in between");
                (received.spans.clone(), received.logs.clone())
            };
            if seen_spans.len() >= spans && seen_logs.len() >= logs {
                return (seen_spans, seen_logs);
            }
            assert!(
                Instant::now() < deadline,
                "{spans} spans and {logs} logs expected: {seen_spans:#?} {seen_logs:#?}"
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The text of an attribute.
pub fn text<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a str> {
    let value = attributes.iter().find(|attribute| attribute.key == key)?.value.as_ref()?;
    match value.value.as_ref()? {
        any_value::Value::StringValue(text) => Some(text),
        _ => None,
    }
}

/// An id in hexadecimal digits.
pub fn hex(id: &[u8]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

async fn answer(
    request: Request<Incoming>,
    received: Arc<Mutex<Received>>,
) -> Result<Response<Reply>, Infallible> {
    let path = request.uri().path().to_owned();
    let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    // gRPC: one byte of flags, four of length, then the message.
    let message = body.get(5..).unwrap_or_default();
    let mut received = received.lock().expect("no panic in between");
    if path.ends_with("TraceService/Export") {
        let request = ExportTraceServiceRequest::decode(message).expect("spans in OTLP");
        let scopes = request.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
        received.spans.extend(scopes.flat_map(|scope| scope.spans));
    } else if path.ends_with("LogsService/Export") {
        let request = ExportLogsServiceRequest::decode(message).expect("logs in OTLP");
        let scopes = request.resource_logs.into_iter().flat_map(|resource| resource.scope_logs);
        received.logs.extend(scopes.flat_map(|scope| scope.log_records));
    }
    let reply = Reply { frames: 0 };
    Ok(Response::builder().header("content-type", "application/grpc").body(reply).expect("a response"))
}

/// An empty message and the trailers that say it went well.
struct Reply {
    frames: u8,
}

impl Body for Reply {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.frames += 1;
        Poll::Ready(match self.frames {
            1 => Some(Ok(Frame::data(Bytes::from_static(&[0; 5])))),
            2 => {
                let mut trailers = HeaderMap::new();
                trailers.insert("grpc-status", "0".parse().expect("a value"));
                Some(Ok(Frame::trailers(trailers)))
            }
            _ => None,
        })
    }
}
