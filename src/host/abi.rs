//! The host's functions (proxy-wasm ABI 0.2.1), each with its status handed back.
//!
//! The SDK's own wrappers panic on a status they do not expect, and a panic ends the VM with every stream in it. So the
//! SDK dispatches the callbacks, and the calls in the other direction are made here.
#![allow(unsafe_code)]

use std::ptr::null_mut;
use std::time::Duration;

use super::calls;
use crate::base::HeaderBlock;
use crate::record::MetricKind;

/// A call that the host declined, with its status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Declined(pub i32);

/// A buffer of the host.
#[derive(Debug, Clone, Copy)]
#[repr(i32)]
pub enum Buffer {
    RequestBody = 0,
    ResponseBody = 1,
    PluginConfiguration = 7,
}

/// A header map of the host.
#[derive(Debug, Clone, Copy)]
#[repr(i32)]
pub enum Map {
    Request = 0,
    Response = 2,
}

/// How urgent a log line is.
#[derive(Debug, Clone, Copy)]
#[repr(i32)]
pub enum Level {
    Info = 2,
    Warn = 3,
    Error = 4,
}

#[link(wasm_import_module = "env")]
unsafe extern "C" {
    fn proxy_log(level: i32, message: *const u8, size: usize) -> i32;
    fn proxy_get_current_time_nanoseconds(time: *mut u64) -> i32;
    fn proxy_set_tick_period_milliseconds(period: u32) -> i32;
    fn proxy_get_buffer_bytes(
        buffer: i32,
        start: usize,
        max_size: usize,
        data: *mut *mut u8,
        size: *mut usize,
    ) -> i32;
    fn proxy_set_buffer_bytes(
        buffer: i32,
        start: usize,
        size: usize,
        data: *const u8,
        data_size: usize,
    ) -> i32;
    fn proxy_get_header_map_pairs(map: i32, data: *mut *mut u8, size: *mut usize) -> i32;
    fn proxy_replace_header_map_value(
        map: i32,
        name: *const u8,
        name_size: usize,
        value: *const u8,
        value_size: usize,
    ) -> i32;
    fn proxy_remove_header_map_value(map: i32, name: *const u8, name_size: usize) -> i32;
    fn proxy_get_property(path: *const u8, path_size: usize, data: *mut *mut u8, size: *mut usize) -> i32;
    fn proxy_set_property(path: *const u8, path_size: usize, data: *const u8, size: usize) -> i32;
    fn proxy_send_local_response(
        status: u32,
        details: *const u8,
        details_size: usize,
        body: *const u8,
        body_size: usize,
        headers: *const u8,
        headers_size: usize,
        grpc_status: i32,
    ) -> i32;
    fn proxy_get_shared_data(
        key: *const u8,
        key_size: usize,
        data: *mut *mut u8,
        size: *mut usize,
        cas: *mut u32,
    ) -> i32;
    fn proxy_set_shared_data(
        key: *const u8,
        key_size: usize,
        data: *const u8,
        data_size: usize,
        cas: u32,
    ) -> i32;
    fn proxy_set_effective_context(context: u32) -> i32;
    fn proxy_close_stream(stream: i32) -> i32;
    fn proxy_continue_stream(stream: i32) -> i32;
    fn proxy_register_shared_queue(name: *const u8, name_size: usize, id: *mut u32) -> i32;
    fn proxy_enqueue_shared_queue(id: u32, data: *const u8, size: usize) -> i32;
    fn proxy_dequeue_shared_queue(id: u32, data: *mut *mut u8, size: *mut usize) -> i32;
    fn proxy_define_metric(kind: i32, name: *const u8, name_size: usize, id: *mut u32) -> i32;
    fn proxy_increment_metric(id: u32, offset: i64) -> i32;
    fn proxy_record_metric(id: u32, value: u64) -> i32;
    fn proxy_get_metric(id: u32, value: *mut u64) -> i32;
}

/// Every call ends here, which is where it is counted.
fn check(status: i32) -> Result<(), Declined> {
    calls::note();
    if status == 0 { Ok(()) } else { Err(Declined(status)) }
}

/// Bytes that the host allocates in this VM and leaves to us. No bytes come as an empty vector.
fn take(call: impl FnOnce(*mut *mut u8, *mut usize) -> i32) -> Result<Vec<u8>, Declined> {
    let mut data: *mut u8 = null_mut();
    let mut size = 0_usize;
    check(call(&raw mut data, &raw mut size))?;
    if data.is_null() {
        return Ok(Vec::new());
    }
    // SAFETY: the host got this block from `proxy_on_memory_allocate`, which makes it as a vector of exactly `size`
    // bytes, has filled it, and hands it over.
    Ok(unsafe { Vec::from_raw_parts(data, size, size) })
}

/// Writes a line to Envoy's log.
pub fn log(level: Level, message: &str) {
    // SAFETY: the host reads `message` during the call.
    let _ = check(unsafe { proxy_log(level as i32, message.as_ptr(), message.len()) });
}

/// Wall time in nanoseconds since the epoch; zero if the host does not tell.
pub fn now_ns() -> u64 {
    let mut time = 0;
    // SAFETY: the host writes one u64 during the call.
    let _ = check(unsafe { proxy_get_current_time_nanoseconds(&raw mut time) });
    time
}

/// Has the root context called every `period`.
pub fn set_tick(period: Duration) -> Result<(), Declined> {
    let ms = u32::try_from(period.as_millis()).unwrap_or(u32::MAX);
    // SAFETY: plain numbers.
    check(unsafe { proxy_set_tick_period_milliseconds(ms) })
}

/// At most `len` bytes of a buffer from `start` on.
pub fn read_buffer(buffer: Buffer, start: usize, len: usize) -> Result<Vec<u8>, Declined> {
    // SAFETY: the host writes a pointer and a size during the call.
    take(|data, size| unsafe { proxy_get_buffer_bytes(buffer as i32, start, len, data, size) })
}

/// Replaces `len` bytes from `start`: with `start` 0 the front, with `start` at or past the end this appends.
pub fn write_buffer(buffer: Buffer, start: usize, len: usize, bytes: &[u8]) -> Result<(), Declined> {
    // SAFETY: the host reads `bytes` during the call.
    check(unsafe { proxy_set_buffer_bytes(buffer as i32, start, len, bytes.as_ptr(), bytes.len()) })
}

/// A whole header map.
pub fn headers(map: Map) -> Result<HeaderBlock, Declined> {
    // SAFETY: the host writes a pointer and a size during the call.
    take(|data, size| unsafe { proxy_get_header_map_pairs(map as i32, data, size) }).map(HeaderBlock::parse)
}

/// Sets a header to one value.
pub fn set_header(map: Map, name: &str, value: &str) -> Result<(), Declined> {
    // SAFETY: the host reads name and value during the call.
    check(unsafe {
        proxy_replace_header_map_value(map as i32, name.as_ptr(), name.len(), value.as_ptr(), value.len())
    })
}

/// Removes a header.
pub fn remove_header(map: Map, name: &str) -> Result<(), Declined> {
    // SAFETY: the host reads the name during the call.
    check(unsafe { proxy_remove_header_map_value(map as i32, name.as_ptr(), name.len()) })
}

/// A property of the stream; the parts of `path` are separated by NUL. `None` where there is none.
pub fn property(path: &str) -> Option<Vec<u8>> {
    // SAFETY: the host reads the path and writes a pointer and a size during the call.
    take(|data, size| unsafe { proxy_get_property(path.as_ptr(), path.len(), data, size) }).ok()
}

/// Sets a property of the stream. Envoy keeps it as the filter state `wasm.{path}`, which its access log can show.
pub fn set_property(path: &str, value: &str) -> Result<(), Declined> {
    // SAFETY: the host reads path and value during the call.
    check(unsafe { proxy_set_property(path.as_ptr(), path.len(), value.as_ptr(), value.len()) })
}

/// Answers the client in place of the provider. `headers` is a block in the host's own shape.
pub fn send_response(status: u16, headers: &[u8], body: &[u8]) -> Result<(), Declined> {
    let details = b"llm_failsafe";
    // SAFETY: the host reads headers, body and details during the call.
    check(unsafe {
        proxy_send_local_response(
            u32::from(status),
            details.as_ptr(),
            details.len(),
            body.as_ptr(),
            body.len(),
            headers.as_ptr(),
            headers.len(),
            -1,
        )
    })
}

/// A record of the shared data, and what a write must show to replace it.
pub fn shared_data(key: &str) -> Result<(Vec<u8>, u32), Declined> {
    let mut cas = 0;
    // SAFETY: the host reads the key and writes a pointer, a size and one u32 during the call.
    let bytes = take(|data, size| unsafe {
        proxy_get_shared_data(key.as_ptr(), key.len(), data, size, &raw mut cas)
    })?;
    Ok((bytes, cas))
}

/// Replaces a record if it still is the one read with `cas`; zero replaces whatever is there.
pub fn set_shared_data(key: &str, bytes: &[u8], cas: u32) -> Result<(), Declined> {
    // SAFETY: the host reads key and bytes during the call.
    check(unsafe { proxy_set_shared_data(key.as_ptr(), key.len(), bytes.as_ptr(), bytes.len(), cas) })
}

/// Has the calls that follow act on another stream than the one whose callback this is.
pub fn set_effective_context(context: u32) -> Result<(), Declined> {
    // SAFETY: a plain number.
    check(unsafe { proxy_set_effective_context(context) })
}

/// Lets the answer go on that was held.
pub fn resume_response() -> Result<(), Declined> {
    const HTTP_RESPONSE: i32 = 1;
    // SAFETY: a plain number.
    check(unsafe { proxy_continue_stream(HTTP_RESPONSE) })
}

/// Lets the request go on that was held.
pub fn resume_request() -> Result<(), Declined> {
    const HTTP_REQUEST: i32 = 0;
    // SAFETY: a plain number.
    check(unsafe { proxy_continue_stream(HTTP_REQUEST) })
}

/// Makes a queue of which this root context is told when something is in it.
pub fn register_queue(name: &str) -> Result<u32, Declined> {
    let mut id = 0;
    // SAFETY: the host reads the name and writes one u32 during the call.
    check(unsafe { proxy_register_shared_queue(name.as_ptr(), name.len(), &raw mut id) })?;
    Ok(id)
}

/// Puts something into a queue.
pub fn enqueue(queue: u32, item: &[u8]) -> Result<(), Declined> {
    // SAFETY: the host reads the item during the call.
    check(unsafe { proxy_enqueue_shared_queue(queue, item.as_ptr(), item.len()) })
}

/// Takes the first item out of a queue.
pub fn dequeue(queue: u32) -> Result<Vec<u8>, Declined> {
    // SAFETY: the host writes a pointer and a size during the call.
    take(|data, size| unsafe { proxy_dequeue_shared_queue(queue, data, size) })
}

/// Breaks off the answer to the client, and with it the request to the provider.
pub fn reset_response() -> Result<(), Declined> {
    const HTTP_RESPONSE: i32 = 1;
    // SAFETY: a plain number.
    check(unsafe { proxy_close_stream(HTTP_RESPONSE) })
}

/// Defines a metric, or finds the one of that name, and returns its id.
pub fn define_metric(kind: MetricKind, name: &str) -> Result<u32, Declined> {
    let kind = match kind {
        MetricKind::Counter => 0,
        MetricKind::Gauge => 1,
        MetricKind::Histogram => 2,
    };
    let mut id = 0;
    // SAFETY: the host reads the name and writes one u32 during the call.
    check(unsafe { proxy_define_metric(kind, name.as_ptr(), name.len(), &raw mut id) })?;
    Ok(id)
}

/// Adds to a counter, or moves a gauge.
pub fn add_metric(id: u32, delta: i64) -> Result<(), Declined> {
    // SAFETY: plain numbers.
    check(unsafe { proxy_increment_metric(id, delta) })
}

/// Sets a gauge, or gives a histogram a value.
pub fn record_metric(id: u32, value: u64) -> Result<(), Declined> {
    // SAFETY: plain numbers.
    check(unsafe { proxy_record_metric(id, value) })
}

/// Raises a gauge to `value` unless it is higher already.
pub fn raise_gauge(id: u32, value: u64) -> Result<(), Declined> {
    let mut current = 0;
    // SAFETY: the host writes one u64 during the first call; plain numbers in the second.
    check(unsafe { proxy_get_metric(id, &raw mut current) })?;
    if current < value { check(unsafe { proxy_record_metric(id, value) }) } else { Ok(()) }
}
