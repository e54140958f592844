//! Envoy's callbacks for one stream: reads what the core asks for and hands it over.

use std::cell::RefCell;

use super::abi::{self, Map};
use super::clock::{about_now, now};
use super::stream::{Action, Stream, upstream_host};
use crate::attempt::{Origin, Upstream};
use crate::journey::Ending;

/// The name under which Envoy's rate-limit filter finds a request's tokens: `%FILTER_STATE(wasm.llm_tokens:PLAIN)%`.
const TOKENS: &str = "llm_tokens";
/// The name under which Envoy's access log finds a request's record: `%FILTER_STATE(wasm.llm_record:PLAIN)%`.
const RECORD: &str = "llm_record";

/// The request's headers have come.
pub fn on_request_headers(stream: &RefCell<Stream>, end_of_stream: bool) -> Action {
    Stream::callback(stream, |stream| match abi::headers(Map::Request) {
        Ok(headers) => stream.request_step(|exchange, worker, wire| {
            exchange.request_headers(worker, &headers, end_of_stream, now(), wire)
        }),
        Err(error) => stream.unreadable(error),
    })
}

/// More of the request's body has come.
pub fn on_request_body(stream: &RefCell<Stream>, available: usize, end_of_stream: bool) -> Action {
    Stream::callback(stream, |stream| {
        // At its end the request is sent. The provider's time is measured from then on.
        let at = if end_of_stream { now() } else { about_now() };
        stream.request_step(|exchange, worker, wire| {
            exchange.request_body(worker, available, end_of_stream, at, wire)
        })
    })
}

/// The request ends with trailers.
pub fn on_request_trailers(stream: &RefCell<Stream>) -> Action {
    Stream::callback(stream, |stream| {
        stream.request_step(|exchange, worker, wire| exchange.request_trailers(worker, now(), wire))
    })
}

/// The response's headers have come.
pub fn on_response_headers(stream: &RefCell<Stream>, end_of_stream: bool) -> Action {
    let headers = abi::headers(Map::Response).unwrap_or_default();
    Stream::callback(stream, |stream| {
        stream.response_complete = end_of_stream;
        stream.response_step(|exchange, worker, wire| {
            exchange.response_headers(worker, headers, end_of_stream, now(), EnvoyUpstream, wire)
        })
    })
}

/// More of the response has come.
pub fn on_response_body(stream: &RefCell<Stream>, available: usize, end_of_stream: bool) -> Action {
    Stream::callback(stream, |stream| {
        stream.response_complete = end_of_stream;
        // The end of a response is the end of its stream, so it is not read again there.
        let at =
            if end_of_stream || stream.exchange.needs_exact_time(available) { now() } else { about_now() };
        stream.ended_at = end_of_stream.then_some(at);
        stream.response_step(|exchange, worker, wire| {
            exchange.response_body(worker, available, end_of_stream, at, wire)
        })
    })
}

/// The response ends with trailers.
pub fn on_response_trailers(stream: &RefCell<Stream>) -> Action {
    Stream::callback(stream, |stream| {
        stream.response_complete = true;
        stream.response_step(|exchange, worker, wire| exchange.response_trailers(worker, about_now(), wire))
    })
}

/// The stream is over. This is its last callback.
pub fn on_log(stream: &RefCell<Stream>) {
    let Ok(mut stream) = stream.try_borrow_mut() else { return };
    stream.forget();
    let ending = if stream.response_complete { Ending::Complete } else { ending() };
    if ending != Ending::Complete {
        stream.note_host();
    }
    let at = stream.ended_at.unwrap_or_else(now);
    if let Some(record) = stream.finish(ending, at) {
        // If Envoy does not take the record, the stream has ended all the same.
        let _ = abi::set_property(RECORD, &record.json);
    }
    if let Some(tokens) = stream.exchange.tokens() {
        // If Envoy does not take the number, the rate-limit filter charges nothing for this stream.
        let _ = abi::set_property(TOKENS, tokens.to_string().as_bytes());
    }
}

/// Where a response comes from, in Envoy's words.
struct EnvoyUpstream;

impl Upstream for EnvoyUpstream {
    /// Its response code details say it.
    fn origin(self) -> Origin {
        Origin::of(abi::property("response\0code_details").as_deref())
    }

    fn host(&self) -> Option<u64> {
        upstream_host()
    }
}

/// How a stream ended whose response was not complete.
fn ending() -> Ending {
    let flags =
        abi::property("response\0flags").and_then(|bytes| Some(u64::from_le_bytes(bytes.try_into().ok()?)));
    Ending::of(flags, || abi::property("response\0code_details"))
}
