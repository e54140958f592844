//! A minimal gRPC service for Envoy: HTTP/2, one message in, one message out, always successful.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::{BufMut, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};

use crate::body::Frames;

/// A running service. It stops when dropped.
pub struct Service {
    port: u16,
    server: JoinHandle<()>,
}

impl Service {
    /// Starts a service on a free port. `answer` gets the method's path and the message, and returns the response message.
    ///
    /// # Panics
    /// If there is no free port.
    pub async fn start(answer: impl Fn(&str, &[u8]) -> Vec<u8> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let port = listener.local_addr().expect("a bound listener").port();
        let server = tokio::spawn(accept(listener, Arc::new(answer)));
        Self { port, server }
    }

    /// Its port on 127.0.0.1.
    pub const fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn accept<A: Fn(&str, &[u8]) -> Vec<u8> + Send + Sync + 'static>(
    listener: TcpListener,
    answer: Arc<A>,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => if let Ok((stream, _)) = accepted {
                let answer = Arc::clone(&answer);
                connections.spawn(async move {
                    let service = service_fn(move |request| reply(request, Arc::clone(&answer)));
                    drop(http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await);
                });
            },
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
        }
    }
}

async fn reply(
    request: Request<Incoming>,
    answer: Arc<impl Fn(&str, &[u8]) -> Vec<u8>>,
) -> Result<Response<Frames>, Infallible> {
    let path = request.uri().path().to_owned();
    let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    // One byte of flags and four bytes of length precede a message.
    let message = answer(&path, body.get(5..).unwrap_or_default());
    let mut framed = BytesMut::new();
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.len()).expect("a short response"));
    framed.put_slice(&message);
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", "0".parse().expect("a header value"));
    let frames = Frames([Frame::data(framed.freeze()), Frame::trailers(trailers)].into());
    let response = Response::builder().header("content-type", "application/grpc").body(frames);
    Ok(response.expect("a response"))
}
