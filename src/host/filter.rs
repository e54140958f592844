//! The context of one stream: hands Envoy's callbacks to the stream.

use std::cell::RefCell;
use std::rc::Rc;

use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::Action;

use super::abi::{self, Map};
use super::clock::{about_now, now};
use super::shared::Shared;
use super::stream::{self, Stream};
use crate::attempt::Origin;
use crate::journey::Ending;

/// The name under which Envoy's rate-limit filter finds a request's tokens: `%FILTER_STATE(wasm.llm_tokens:PLAIN)%`.
const TOKENS: &str = "llm_tokens";
/// The name under which Envoy's access log finds a request's record: `%FILTER_STATE(wasm.llm_record:PLAIN)%`.
const RECORD: &str = "llm_record";

/// The stream context.
pub struct Filter {
    stream: Rc<RefCell<Stream>>,
}

impl Filter {
    pub fn new(id: u32, shared: Option<Rc<Shared>>) -> Self {
        Self { stream: Rc::new(RefCell::new(Stream::new(id, shared))) }
    }

    fn callback(&self, run: impl FnOnce(&mut Stream) -> Action) -> Action {
        Stream::callback(&self.stream, run)
    }
}

impl Context for Filter {}

impl HttpContext for Filter {
    fn on_http_request_headers(&mut self, _count: usize, end_of_stream: bool) -> Action {
        self.callback(|stream| match abi::headers(Map::Request) {
            Ok(headers) => stream.request_step(|exchange, worker, wire| {
                exchange.request_headers(worker, &headers, end_of_stream, now(), wire)
            }),
            Err(error) => stream.unreadable(error),
        })
    }

    fn on_http_request_body(&mut self, available: usize, end_of_stream: bool) -> Action {
        self.callback(|stream| {
            // At its end the request is sent. The provider's time is measured from then on.
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
            stream.response_complete = end_of_stream;
            stream.response_step(|exchange, worker, wire| {
                exchange.response_headers(worker, headers, end_of_stream, now(), origin, wire)
            })
        })
    }

    fn on_http_response_body(&mut self, available: usize, end_of_stream: bool) -> Action {
        self.callback(|stream| {
            stream.response_complete = end_of_stream;
            let at = if stream.exchange.awaits_content() { now() } else { about_now() };
            stream.response_step(|exchange, worker, wire| {
                exchange.response_body(worker, available, end_of_stream, at, wire)
            })
        })
    }

    fn on_http_response_trailers(&mut self, _count: usize) -> Action {
        self.callback(|stream| {
            stream.response_complete = true;
            stream
                .response_step(|exchange, worker, wire| exchange.response_trailers(worker, about_now(), wire))
        })
    }

    fn on_log(&mut self) {
        let Ok(mut stream) = self.stream.try_borrow_mut() else { return };
        stream.stop_waiting();
        let ending = if stream.response_complete { Ending::Complete } else { ending() };
        if let Some(Some(record)) = stream.step(|exchange, worker| exchange.finish(worker, ending, now())) {
            // If Envoy does not take the record, the stream has ended all the same.
            let _ = abi::set_property(RECORD, &record.json);
            if record.log {
                stream::log_record(&record);
            }
        }
        if let Some(tokens) = stream.exchange.tokens() {
            // If Envoy does not take the number, the rate-limit filter charges nothing for this stream.
            let _ = abi::set_property(TOKENS, tokens.to_string().as_bytes());
        }
    }
}

/// Who made the response: the provider or Envoy. Its response code details say it.
fn origin() -> Origin {
    Origin::of(abi::property("response\0code_details").as_deref())
}

/// Envoy's response flags for a client that closed its connection (DC), reset its stream (DR) or violated the protocol (DPE),
/// which ends all streams of its connection.
const CLIENT_GONE: u64 = 1 << 14 | 1 << 28 | 1 << 18;

/// How a stream ended whose response was not complete.
fn ending() -> Ending {
    let flags =
        abi::property("response\0flags").and_then(|bytes| Some(u64::from_le_bytes(bytes.try_into().ok()?)));
    if flags.is_some_and(|flags| flags & CLIENT_GONE != 0) {
        Ending::ClientGone
    } else {
        Ending::UpstreamGone
    }
}
