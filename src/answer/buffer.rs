//! Reading the host's buffer in bounded pieces.

use crate::request::BodyBuffer;

/// The most that is read from the host at once. It bounds what a response of any size costs the VM.
pub(super) const WINDOW: usize = 16 * 1024;

/// Reads the first `len` bytes of the buffer, at most `window` at once. `read` may take them. If they came in
/// one piece and were not taken, they are returned, so that they need not be read again.
pub(super) fn read_windows<B: BodyBuffer>(
    host: &mut B,
    len: usize,
    window: usize,
    mut read: impl FnMut(&mut Vec<u8>),
) -> Result<Option<Vec<u8>>, B::Error> {
    let mut at = 0;
    while at < len {
        let mut bytes = host.read(at, window.min(len - at))?;
        if bytes.is_empty() {
            break;
        }
        at += bytes.len();
        read(&mut bytes);
        if bytes.len() == len {
            return Ok(Some(bytes));
        }
    }
    Ok(None)
}

/// The first `len` bytes of the buffer.
pub(super) fn read_all<B: BodyBuffer>(host: &mut B, len: usize) -> Result<Vec<u8>, B::Error> {
    if len == 0 { Ok(Vec::new()) } else { host.read(0, len) }
}

/// A buffer without its first bytes, which stay as they are.
pub(super) struct After<'h, H> {
    pub(super) host: &'h mut H,
    pub(super) skipped: usize,
}

impl<H: BodyBuffer> BodyBuffer for After<'_, H> {
    type Error = H::Error;

    fn read(&mut self, start: usize, len: usize) -> Result<Vec<u8>, H::Error> {
        self.host.read(self.skipped.saturating_add(start), len)
    }

    fn replace_front(&mut self, len: usize, with: &[u8]) -> Result<(), H::Error> {
        if self.skipped == 0 {
            return self.host.replace_front(len, with);
        }
        let mut front = read_all(self.host, self.skipped)?;
        front.extend_from_slice(with);
        self.host.replace_front(self.skipped.saturating_add(len), &front)
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), H::Error> {
        self.host.append(bytes)
    }

    fn reuse(&mut self, bytes: Vec<u8>) {
        self.host.reuse(bytes);
    }
}
