//! Server-sent events for the client.

use std::mem;

use super::super::json::Writer;

/// Appends an event with its name, which is also the `type` in its data.
pub(super) fn push_typed(name: &str, out: &mut Vec<u8>, members: impl FnOnce(&mut Writer)) {
    out.extend_from_slice(b"event: ");
    out.extend_from_slice(name.as_bytes());
    out.push(b'\n');
    push_data(out, |to| {
        to.object(|to| {
            to.key("type").inside(name.as_bytes());
            members(to);
        });
    });
}

/// Appends the data of an event and ends the event.
pub(super) fn push_data(out: &mut Vec<u8>, data: impl FnOnce(&mut Writer)) {
    out.extend_from_slice(b"data: ");
    let mut to = Writer::after(mem::take(out));
    data(&mut to);
    *out = to.into_bytes();
    out.extend_from_slice(b"\n\n");
}
