//! The host's header maps and body buffers as the core sees them.

use super::abi::{self, Buffer, Map};
use super::failure::HostError;
use crate::base::{HeaderBlock, HeaderSink};
use crate::request::BodyBuffer;

/// Headers that Envoy writes itself into a local response.
const REWRITTEN: [&[u8]; 4] = [b"content-length", b"transfer-encoding", b"date", b"server"];

/// The longest held response that is sent as a local one. A response is judged long before it is so long.
const MAX_DELIVERED: usize = 256 * 1024;

/// One direction of a stream: its headers and its body.
pub struct Wire {
    map: Map,
    buffer: Buffer,
    /// The first change of a header that failed. The message must then not go on as if its headers had changed.
    pub failed: Option<HostError>,
}

impl Wire {
    pub const fn request() -> Self {
        Self { map: Map::Request, buffer: Buffer::RequestBody, failed: None }
    }

    pub const fn response() -> Self {
        Self { map: Map::Response, buffer: Buffer::ResponseBody, failed: None }
    }

    /// Sends the held response as a local one, which ends.
    pub fn send_held(&mut self) -> Result<(), HostError> {
        let headers = abi::headers(self.map)?;
        let status = headers.get(":status").and_then(|text| text.parse().ok()).unwrap_or(200);
        let ends = |name: &[u8]| name.starts_with(b":") || REWRITTEN.contains(&name);
        let kept = headers.iter().filter(|(name, _)| !ends(name));
        let kept: Vec<_> = kept
            .filter_map(|(name, value)| std::str::from_utf8(name).ok().zip(std::str::from_utf8(value).ok()))
            .collect();
        let body = abi::read_buffer(self.buffer, 0, MAX_DELIVERED + 1)?;
        if body.len() > MAX_DELIVERED {
            return Err(HostError(abi::INTERNAL_FAILURE));
        }
        abi::send_response(status, &HeaderBlock::encode(&kept), &body)
    }

    fn note(&mut self, result: Result<(), HostError>) {
        if let Err(error) = result {
            self.failed.get_or_insert(error);
        }
    }
}

impl HeaderSink for Wire {
    fn set(&mut self, name: &str, value: &str) {
        self.note(abi::set_header(self.map, name, value));
    }

    fn remove(&mut self, name: &[u8]) {
        self.note(abi::remove_header(self.map, name));
    }
}

impl BodyBuffer for Wire {
    type Error = HostError;

    fn read(&mut self, start: usize, len: usize) -> Result<Vec<u8>, HostError> {
        abi::read_buffer(self.buffer, start, len)
    }

    fn replace_front(&mut self, len: usize, with: &[u8]) -> Result<(), HostError> {
        abi::write_buffer(self.buffer, 0, len, with)
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), HostError> {
        abi::write_buffer(self.buffer, usize::MAX, 0, bytes)
    }

    fn reuse(&mut self, bytes: Vec<u8>) {
        abi::give_back(bytes);
    }
}
