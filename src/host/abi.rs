//! The host's functions (proxy-wasm ABI 0.2.1). Each returns its status.
//!
//! There is an SDK for this ABI. Its wrappers panic on a status that they do not expect, and a panic ends the VM with all its
//! streams; its dispatcher exports every callback. So the calls are made here, and the callbacks are in `dispatch`.
#![allow(unsafe_code)]

use std::cell::Cell;
use std::mem::ManuallyDrop;
use std::ptr::null_mut;
use std::time::Duration;

use super::failure::HostError;
use crate::base::HeaderBlock;
use crate::record::MetricKind;

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

#[link(wasm_import_module = "env")]
unsafe extern "C" {
    fn proxy_log(level: i32, message: *const u8, size: usize) -> i32;
    fn proxy_get_log_level(level: *mut i32) -> i32;
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

#[link(wasm_import_module = "wasi_snapshot_preview1")]
unsafe extern "C" {
    fn clock_time_get(clock: i32, precision: i64, time: *mut u64) -> i32;
}

/// WASI's number of the clock that never steps.
const MONOTONIC: i32 = 1;

fn check(status: i32) -> Result<(), HostError> {
    if status == 0 { Ok(()) } else { Err(HostError(status)) }
}

/// The ABI's status for an internal failure. Here: bytes in memory that this module has not given, or more than it takes.
pub const INTERNAL_FAILURE: i32 = 10;

/// The longest block that is kept for the next call: most chunks of a stream, header maps and small bodies fit.
const MAX_SPARE: usize = 8 * 1024;

thread_local! {
    /// A block for the host's next bytes, so that a chunk of a stream needs no allocation.
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    /// Address and capacity of the block that the host got last. [`take`] needs the capacity.
    static GIVEN: Cell<(usize, usize)> = const { Cell::new((0, 0)) };
}

/// A block of `size` bytes for the host. The host fills it and hands it over: [`take`] takes it back.
pub fn give_block(size: usize) -> *mut u8 {
    let mut block = SPARE.take();
    if block.capacity() < size {
        SPARE.set(block);
        block = Vec::with_capacity(size);
    }
    let mut block = ManuallyDrop::new(block);
    GIVEN.set((block.as_mut_ptr().addr(), block.capacity()));
    block.as_mut_ptr()
}

/// Keeps a block that is not needed any more for the host's next bytes.
pub fn give_back(mut block: Vec<u8>) {
    let kept = SPARE.take();
    if block.capacity() <= MAX_SPARE && block.capacity() > kept.capacity() {
        block.clear();
        SPARE.set(block);
    } else {
        SPARE.set(kept);
    }
}

/// Takes over bytes that the host has allocated in this VM. A null pointer becomes an empty vector.
fn take(call: impl FnOnce(*mut *mut u8, *mut usize) -> i32) -> Result<Vec<u8>, HostError> {
    let mut data: *mut u8 = null_mut();
    let mut size = 0_usize;
    check(call(&raw mut data, &raw mut size))?;
    if data.is_null() {
        return Ok(Vec::new());
    }
    // The host asks for a block at most once in a call, so the last one is this one.
    let (given, capacity) = GIVEN.take();
    if given != data.addr() || size > capacity {
        return Err(HostError(INTERNAL_FAILURE));
    }
    // SAFETY: `give_block` made this block with this capacity and forgot it. The host has filled `size` bytes and hands it
    // over.
    Ok(unsafe { Vec::from_raw_parts(data, size, capacity) })
}

/// Writes a line to Envoy's log.
pub fn log(level: log::Level, message: &str) {
    let level = match level {
        log::Level::Trace => 0,
        log::Level::Debug => 1,
        log::Level::Info => 2,
        log::Level::Warn => 3,
        log::Level::Error => 4,
    };
    // SAFETY: the host reads `message` during the call.
    let _ = check(unsafe { proxy_log(level, message.as_ptr(), message.len()) });
}

/// The level of Envoy's logger for Wasm, as the ABI numbers it.
pub fn log_level() -> Result<i32, HostError> {
    let mut level = 0;
    // SAFETY: the host writes one i32 during the call.
    check(unsafe { proxy_get_log_level(&raw mut level) })?;
    Ok(level)
}

/// Wall time in nanoseconds since the epoch; zero if the host does not return one.
pub fn now_ns() -> u64 {
    let mut time = 0;
    // SAFETY: the host writes one u64 during the call.
    let _ = check(unsafe { proxy_get_current_time_nanoseconds(&raw mut time) });
    time
}

/// Nanoseconds on a clock that does not step. All threads of the process read the same one.
pub fn monotonic_ns() -> Result<u64, HostError> {
    let mut time = 0;
    // SAFETY: the host writes one u64 during the call.
    check(unsafe { clock_time_get(MONOTONIC, 0, &raw mut time) })?;
    Ok(time)
}

/// Asks for a tick of the root context every `period`.
pub fn set_tick(period: Duration) -> Result<(), HostError> {
    let ms = u32::try_from(period.as_millis()).unwrap_or(u32::MAX);
    // SAFETY: plain numbers.
    check(unsafe { proxy_set_tick_period_milliseconds(ms) })
}

/// At most `len` bytes of a buffer from `start` on.
pub fn read_buffer(buffer: Buffer, start: usize, len: usize) -> Result<Vec<u8>, HostError> {
    // SAFETY: the host writes a pointer and a size during the call.
    take(|data, size| unsafe { proxy_get_buffer_bytes(buffer as i32, start, len, data, size) })
}

/// Replaces `len` bytes from `start` on. A `start` of 0 replaces the front; at or past the end, this appends.
pub fn write_buffer(buffer: Buffer, start: usize, len: usize, bytes: &[u8]) -> Result<(), HostError> {
    // SAFETY: the host reads `bytes` during the call.
    check(unsafe { proxy_set_buffer_bytes(buffer as i32, start, len, bytes.as_ptr(), bytes.len()) })
}

/// A whole header map.
pub fn headers(map: Map) -> Result<HeaderBlock, HostError> {
    // SAFETY: the host writes a pointer and a size during the call.
    take(|data, size| unsafe { proxy_get_header_map_pairs(map as i32, data, size) }).map(HeaderBlock::parse)
}

/// Sets a header to one value.
pub fn set_header(map: Map, name: &str, value: &str) -> Result<(), HostError> {
    // SAFETY: the host reads name and value during the call.
    check(unsafe {
        proxy_replace_header_map_value(map as i32, name.as_ptr(), name.len(), value.as_ptr(), value.len())
    })
}

/// Removes a header.
pub fn remove_header(map: Map, name: &[u8]) -> Result<(), HostError> {
    // SAFETY: the host reads the name during the call.
    check(unsafe { proxy_remove_header_map_value(map as i32, name.as_ptr(), name.len()) })
}

/// A property of the stream. NUL separates the parts of `path`.
pub fn property(path: &str) -> Option<Vec<u8>> {
    // SAFETY: the host reads the path and writes a pointer and a size during the call.
    take(|data, size| unsafe { proxy_get_property(path.as_ptr(), path.len(), data, size) }).ok()
}

/// Sets a property of the stream. Envoy keeps it as the filter state `wasm.{path}`, which the access log can print.
pub fn set_property(path: &str, value: &[u8]) -> Result<(), HostError> {
    // SAFETY: the host reads path and value during the call.
    check(unsafe { proxy_set_property(path.as_ptr(), path.len(), value.as_ptr(), value.len()) })
}

/// Answers the client in place of the provider. `headers` is encoded as the ABI wants it.
pub fn send_response(status: u16, headers: &[u8], body: &[u8]) -> Result<(), HostError> {
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

/// A record of the shared data, with the compare-and-swap number that a write needs.
pub fn shared_data(key: &str) -> Result<(Vec<u8>, u32), HostError> {
    let mut cas = 0;
    // SAFETY: the host reads the key and writes a pointer, a size and one u32 during the call.
    let bytes = take(|data, size| unsafe {
        proxy_get_shared_data(key.as_ptr(), key.len(), data, size, &raw mut cas)
    })?;
    Ok((bytes, cas))
}

/// Replaces a record if it still has the number `cas`. A `cas` of 0 replaces it in any case.
pub fn set_shared_data(key: &str, bytes: &[u8], cas: u32) -> Result<(), HostError> {
    // SAFETY: the host reads key and bytes during the call.
    check(unsafe { proxy_set_shared_data(key.as_ptr(), key.len(), bytes.as_ptr(), bytes.len(), cas) })
}

/// Makes the following calls act on another stream than the one of this callback.
pub fn set_effective_context(context: u32) -> Result<(), HostError> {
    // SAFETY: a plain number.
    check(unsafe { proxy_set_effective_context(context) })
}

/// Resumes a response that was held.
pub fn resume_response() -> Result<(), HostError> {
    const HTTP_RESPONSE: i32 = 1;
    // SAFETY: a plain number.
    check(unsafe { proxy_continue_stream(HTTP_RESPONSE) })
}

/// Resumes a request that was held.
pub fn resume_request() -> Result<(), HostError> {
    const HTTP_REQUEST: i32 = 0;
    // SAFETY: a plain number.
    check(unsafe { proxy_continue_stream(HTTP_REQUEST) })
}

/// Registers a queue. Envoy calls `on_queue_ready` of this root context when it has an item.
pub fn register_queue(name: &str) -> Result<u32, HostError> {
    let mut id = 0;
    // SAFETY: the host reads the name and writes one u32 during the call.
    check(unsafe { proxy_register_shared_queue(name.as_ptr(), name.len(), &raw mut id) })?;
    Ok(id)
}

/// Adds an item to a queue.
pub fn enqueue(queue: u32, item: &[u8]) -> Result<(), HostError> {
    // SAFETY: the host reads the item during the call.
    check(unsafe { proxy_enqueue_shared_queue(queue, item.as_ptr(), item.len()) })
}

/// Removes the first item of a queue.
pub fn dequeue(queue: u32) -> Result<Vec<u8>, HostError> {
    // SAFETY: the host writes a pointer and a size during the call.
    take(|data, size| unsafe { proxy_dequeue_shared_queue(queue, data, size) })
}

/// Resets the stream: the response to the client and the request to the provider.
pub fn reset_stream() -> Result<(), HostError> {
    const HTTP_RESPONSE: i32 = 1;
    // SAFETY: a plain number.
    check(unsafe { proxy_close_stream(HTTP_RESPONSE) })
}

/// Returns the id of the metric with this name; defines it if it is new.
pub fn define_metric(kind: MetricKind, name: &str) -> Result<u32, HostError> {
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

/// Adds to a counter or a gauge.
pub fn add_metric(id: u32, delta: i64) -> Result<(), HostError> {
    // SAFETY: plain numbers.
    check(unsafe { proxy_increment_metric(id, delta) })
}

/// Sets a gauge, or adds a value to a histogram.
pub fn record_metric(id: u32, value: u64) -> Result<(), HostError> {
    // SAFETY: plain numbers.
    check(unsafe { proxy_record_metric(id, value) })
}

/// Raises a gauge to `value`, unless it is higher already.
pub fn raise_gauge(id: u32, value: u64) -> Result<(), HostError> {
    let mut current = 0;
    // SAFETY: the host writes one u64 during the first call; plain numbers in the second.
    check(unsafe { proxy_get_metric(id, &raw mut current) })?;
    if current < value { check(unsafe { proxy_record_metric(id, value) }) } else { Ok(()) }
}
