//! The host's header maps and body buffers as the core sees them.

use super::abi::{self, Buffer, Map};
use super::failure::HostError;
use crate::base::HeaderSink;
use crate::request::BodyBuffer;

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

    fn remove(&mut self, name: &str) {
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
