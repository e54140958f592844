//! What Envoy holds of a request or a response.

use llm_failsafe::base::{HeaderBlock, HeaderSink};
use llm_failsafe::request::BodyBuffer;

/// The headers and the body of a message.
#[derive(Debug, Default, Clone)]
pub struct Wire {
    headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Wire {
    pub fn new(headers: &[(&str, &str)], body: &[u8]) -> Self {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Self { headers, body: body.to_vec() }
    }

    pub fn block(&self) -> HeaderBlock {
        let headers: Vec<_> = self.headers.iter().map(|(name, value)| (&**name, &**value)).collect();
        HeaderBlock::of(&headers)
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(candidate, _)| candidate == name).map(|(_, value)| value.as_str())
    }
}

impl HeaderSink for Wire {
    fn set(&mut self, name: &str, value: &str) {
        self.remove(name.as_bytes());
        self.headers.push((name.to_owned(), value.to_owned()));
    }

    fn remove(&mut self, name: &[u8]) {
        self.headers.retain(|(candidate, _)| candidate.as_bytes() != name);
    }
}

impl BodyBuffer for Wire {
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
