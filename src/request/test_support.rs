//! A host's headers and body, made of memory.

use super::BodyBuffer;
use crate::base::{HeaderBlock, HeaderSink};

/// One direction of a stream: headers in order, and the body as the host would buffer it.
#[derive(Debug, Default, Clone)]
pub struct FakeWire {
    /// In order, each with its value.
    pub headers: Vec<(String, String)>,
    /// What is buffered.
    pub body: Vec<u8>,
}

impl FakeWire {
    /// With these headers and no body.
    pub fn new(headers: &[(&str, &str)]) -> Self {
        let headers = headers.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        Self { headers, body: Vec::new() }
    }

    /// Its headers as the host delivers them.
    pub fn block(&self) -> HeaderBlock {
        let headers: Vec<_> =
            self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        HeaderBlock::of(&headers)
    }

    /// Sets the header with the id of the journey.
    pub fn set_journey(&mut self, id: &str) {
        self.set("x-llm-journey", id);
    }

    /// The value of a header.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(candidate, _)| candidate == name).map(|(_, value)| value.as_str())
    }
}

impl HeaderSink for FakeWire {
    fn set(&mut self, name: &str, value: &str) {
        self.remove(name.as_bytes());
        self.headers.push((name.to_owned(), value.to_owned()));
    }

    fn remove(&mut self, name: &[u8]) {
        self.headers.retain(|(candidate, _)| candidate.as_bytes() != name);
    }
}

impl BodyBuffer for FakeWire {
    type Error = ();

    fn read(&mut self, start: usize, len: usize) -> Result<Vec<u8>, ()> {
        let end = start.saturating_add(len).min(self.body.len());
        self.body.get(start..end).map(<[u8]>::to_vec).ok_or(())
    }

    fn replace_front(&mut self, len: usize, with: &[u8]) -> Result<(), ()> {
        let len = len.min(self.body.len());
        self.body.splice(..len, with.iter().copied());
        Ok(())
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), ()> {
        self.body.extend_from_slice(bytes);
        Ok(())
    }
}
