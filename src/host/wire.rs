//! The host's header maps and body buffers as the core sees them.

use super::abi::{self, Buffer, Declined, Map};
use crate::base::HeaderSink;
use crate::request::BodyBuffer;

/// One direction of a stream: its headers and its body.
pub struct Wire {
    map: Map,
    buffer: Buffer,
    /// The host declined to change a header. Whoever finishes the step must not let the message go as if it had.
    pub failed: bool,
}

impl Wire {
    pub const fn request() -> Self {
        Self { map: Map::Request, buffer: Buffer::RequestBody, failed: false }
    }

    pub const fn response() -> Self {
        Self { map: Map::Response, buffer: Buffer::ResponseBody, failed: false }
    }
}

impl HeaderSink for Wire {
    fn set(&mut self, name: &str, value: &str) {
        self.failed |= abi::set_header(self.map, name, value).is_err();
    }

    fn remove(&mut self, name: &str) {
        self.failed |= abi::remove_header(self.map, name).is_err();
    }
}

impl BodyBuffer for Wire {
    type Error = Declined;

    fn read(&mut self, start: usize, len: usize) -> Result<Vec<u8>, Declined> {
        abi::read_buffer(self.buffer, start, len)
    }

    fn replace_front(&mut self, len: usize, with: &[u8]) -> Result<(), Declined> {
        abi::write_buffer(self.buffer, 0, len, with)
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), Declined> {
        abi::write_buffer(self.buffer, usize::MAX, 0, bytes)
    }
}
