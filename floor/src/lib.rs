//! A filter without logic. In each callback it makes the host calls that the filter makes there, with arguments of about the
//! same size, and it holds and releases what the filter holds and releases. `make bench` measures it next to the filter.
//!
//! `build.rs` takes the calls from the table of the filter's counts. What both a chat request and a stream have (such as the
//! end of a response) is as for a chat request.
#![cfg(target_family = "wasm")]

use std::cell::{Cell, RefCell};
use std::ptr::null_mut;

type Scene = &'static [(&'static str, bool, &'static [(&'static str, u32)])];
include!(concat!(env!("OUT_DIR"), "/calls.rs"));

const REQUEST: i32 = 0;
const RESPONSE: i32 = 1;
/// The configuration of the plugin, as the ABI numbers buffers.
const CONFIGURATION: i32 = 7;
const LONGEST_CONFIGURATION: usize = 1 << 20;
const TICK_MS: u32 = 100;

/// The header that decides where a request is routed, and the one if the route removes headers.
const CLUSTER: &str = "x-llm-cluster";
const STRIPPING_CLUSTER: &str = "x-llm-strip-cluster";
/// What the filter changes in the bench's request.
const SET_IN_REQUEST: [(&str, &str); 5] = [
    (CLUSTER, "openai"),
    ("authorization", "Bearer sk-openai-a-secret"),
    (":authority", "api.openai.com"),
    (":path", "/v1/chat/completions"),
    ("x-floor", "1"),
];
const SET_IN_RESPONSE: [(&str, &str); 3] =
    [("x-llm-target", "gpt-a"), ("x-llm-model", "gpt-4.1-mini"), ("x-llm-attempts", "1")];
const REMOVED: [&str; 4] = ["x-llm-journey", "x-request-id", "x-forwarded-for", "x-envoy-attempt-count"];
/// As long as a decision record.
const RECORD: &[u8; 1_400] = &record();
const SERVED: &[u8] = br#"{"outcome":"served","filling":""#;

const fn record() -> [u8; 1_400] {
    let mut record = [b'x'; 1_400];
    let mut at = 0;
    while at < SERVED.len() {
        record[at] = SERVED[at];
        at += 1;
    }
    record
}

#[link(wasm_import_module = "wasi_snapshot_preview1")]
unsafe extern "C" {
    fn clock_time_get(clock: i32, precision: i64, time: *mut u64) -> i32;
}

#[link(wasm_import_module = "env")]
unsafe extern "C" {
    fn proxy_get_current_time_nanoseconds(time: *mut u64) -> i32;
    fn proxy_get_log_level(level: *mut i32) -> i32;
    fn proxy_set_tick_period_milliseconds(period: u32) -> i32;
    fn proxy_get_buffer_bytes(
        buffer: i32,
        start: usize,
        most: usize,
        data: *mut *mut u8,
        size: *mut usize,
    ) -> i32;
    fn proxy_set_buffer_bytes(buffer: i32, start: usize, size: usize, data: *const u8, length: usize) -> i32;
    fn proxy_get_header_map_pairs(map: i32, data: *mut *mut u8, size: *mut usize) -> i32;
    fn proxy_get_header_map_value(
        map: i32,
        name: *const u8,
        length: usize,
        data: *mut *mut u8,
        size: *mut usize,
    ) -> i32;
    fn proxy_replace_header_map_value(
        map: i32,
        name: *const u8,
        length: usize,
        value: *const u8,
        size: usize,
    ) -> i32;
    fn proxy_remove_header_map_value(map: i32, name: *const u8, length: usize) -> i32;
    fn proxy_get_property(path: *const u8, length: usize, data: *mut *mut u8, size: *mut usize) -> i32;
    fn proxy_set_property(path: *const u8, length: usize, data: *const u8, size: usize) -> i32;
    fn proxy_continue_stream(stream: i32) -> i32;
    fn proxy_set_effective_context(context: u32) -> i32;
    fn proxy_register_shared_queue(name: *const u8, length: usize, id: *mut u32) -> i32;
    fn proxy_enqueue_shared_queue(id: u32, data: *const u8, size: usize) -> i32;
    fn proxy_get_shared_data(
        key: *const u8,
        length: usize,
        data: *mut *mut u8,
        size: *mut usize,
        cas: *mut u32,
    ) -> i32;
    fn proxy_set_shared_data(key: *const u8, length: usize, data: *const u8, size: usize, cas: u32) -> i32;
    fn proxy_dequeue_shared_queue(id: u32, data: *mut *mut u8, size: *mut usize) -> i32;
    fn proxy_define_metric(kind: i32, name: *const u8, length: usize, id: *mut u32) -> i32;
    fn proxy_increment_metric(id: u32, offset: i64) -> i32;
    fn proxy_record_metric(id: u32, value: u64) -> i32;
    fn proxy_get_metric(id: u32, value: *mut u64) -> i32;
}

thread_local! {
    static LOOP: Cell<bool> = const { Cell::new(false) };
    static STRIPS: Cell<bool> = const { Cell::new(false) };
    static QUEUE: Cell<u32> = const { Cell::new(0) };
    static COUNTER: Cell<u32> = const { Cell::new(0) };
    static HISTOGRAM: Cell<u32> = const { Cell::new(0) };
    /// The host's bytes go here. There is one block, because no callback reads what an earlier one got.
    static BLOCK: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

unsafe extern "C" {
    fn __wasm_call_ctors();
}

#[unsafe(no_mangle)]
pub extern "C" fn _initialize() {
    unsafe { __wasm_call_ctors() }
}

#[unsafe(no_mangle)]
pub extern "C" fn proxy_abi_version_0_2_1() {}

#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_memory_allocate(size: usize) -> *mut u8 {
    BLOCK.with_borrow_mut(|block| {
        if block.len() < size {
            block.resize(size, 0);
        }
        block.as_mut_ptr()
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_vm_start(_: u32, _: usize) -> i32 {
    1
}

#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_configure(_: u32, _: usize) -> i32 {
    let configuration = taken(|data, size| unsafe {
        proxy_get_buffer_bytes(CONFIGURATION, 0, LONGEST_CONFIGURATION, data, size)
    });
    let names = |name: &[u8]| configuration.windows(name.len()).any(|window| window == name);
    LOOP.set(names(b"retry_loop"));
    STRIPS.set(names(b"route_strips_headers"));
    let (mut queue, mut counter, mut histogram) = (0, 0, 0);
    unsafe {
        proxy_register_shared_queue(b"floor".as_ptr(), 5, &raw mut queue);
        proxy_define_metric(0, b"floor_counter".as_ptr(), 13, &raw mut counter);
        proxy_define_metric(2, b"floor_histogram".as_ptr(), 15, &raw mut histogram);
        proxy_set_tick_period_milliseconds(TICK_MS);
    }
    QUEUE.set(queue);
    COUNTER.set(counter);
    HISTOGRAM.set(histogram);
    1
}

#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_context_create(id: u32, parent: u32) {
    if parent != 0 {
        make(id, "context create", REQUEST, 0);
    }
}

#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_request_headers(id: u32, _: usize, _: i32) -> i32 {
    make(id, "request headers", REQUEST, 0)
}

#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_request_body(id: u32, size: usize, end: i32) -> i32 {
    make(id, if end == 0 { "request body" } else { "request end" }, REQUEST, size)
}

#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_response_headers(id: u32, _: usize, _: i32) -> i32 {
    make(id, "response headers", RESPONSE, 0)
}

#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_response_body(id: u32, size: usize, end: i32) -> i32 {
    make(id, response_stage(size, end != 0), RESPONSE, size)
}

#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_log(id: u32) {
    make(id, "log", RESPONSE, 0);
}

#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_tick(_: u32) {
    make(0, "idle tick", REQUEST, 0);
}

/// In the bench's traffic the size of a piece tells what it is.
fn response_stage(size: usize, end: bool) -> &'static str {
    match size {
        _ if end => "response end",
        900.. => "response body",
        300.. => "first content",
        100.. => "SSE chunk",
        _ => "[DONE]",
    }
}

/// A chunk that is released later, in a callback of another kind: [`proxy_on_queue_ready`]. Envoy ignores a release in the
/// callback that holds the first chunk.
const LATER: [&str; 3] = ["continue_stream", "dequeue_shared_queue", "set_effective_context"];

#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_queue_ready(_: u32, queue: u32) {
    loop {
        let item = taken(|data, size| unsafe { proxy_dequeue_shared_queue(queue, data, size) });
        let Ok(id) = item.try_into() else { return };
        unsafe {
            proxy_set_effective_context(u32::from_le_bytes(id));
            proxy_continue_stream(RESPONSE);
        }
    }
}

/// Makes the calls of a stage. Returns whether the filter holds what it got there.
fn make(id: u32, stage: &str, side: i32, size: usize) -> i32 {
    let (chat, stream) = if LOOP.get() { (CHAT_LOOP, STREAM_LOOP) } else { (CHAT_SINGLE, STREAM_SINGLE) };
    let Some((_, holds, calls)) = chat.iter().chain(stream).find(|(name, ..)| *name == stage) else {
        return 0;
    };
    let released_later = calls.iter().any(|(name, _)| *name == "enqueue_shared_queue");
    for (name, number) in *calls {
        for nth in 0..*number as usize {
            match *name {
                "enqueue_shared_queue" => {
                    let item = id.to_le_bytes();
                    unsafe { proxy_enqueue_shared_queue(QUEUE.get(), item.as_ptr(), item.len()) };
                }
                name if released_later && LATER.contains(&name) => {}
                name => call(name, side, size, nth),
            }
        }
    }
    i32::from(*holds)
}

/// Bytes that the host hands over.
fn taken(call: impl FnOnce(*mut *mut u8, *mut usize) -> i32) -> &'static [u8] {
    let (mut data, mut size) = (null_mut::<u8>(), 0);
    if call(&raw mut data, &raw mut size) != 0 || data.is_null() {
        return &[];
    }
    // SAFETY: the host has filled `size` bytes of the block.
    unsafe { std::slice::from_raw_parts(data, size) }
}

/// Makes one call. What the host says does not matter.
fn call(name: &str, side: i32, size: usize, nth: usize) {
    let path = "response\0code_details";
    let key = "llm_record";
    match name {
        "get_buffer_bytes" => {
            taken(|data, length| unsafe { proxy_get_buffer_bytes(side, 0, size, data, length) });
        }
        // A body stays as it is: its first byte is replaced by itself.
        "set_buffer_bytes" => {
            unsafe { proxy_set_buffer_bytes(side, 0, 1, b"{".as_ptr(), 1) };
        }
        "get_property" => {
            taken(|data, length| unsafe { proxy_get_property(path.as_ptr(), path.len(), data, length) });
        }
        "set_property" => {
            unsafe { proxy_set_property(key.as_ptr(), key.len(), RECORD.as_ptr(), RECORD.len()) };
        }
        _ if name.ends_with("header_map_value") || name.ends_with("header_map_pairs") => {
            header(name, side, nth);
        }
        _ if name.contains("shared") => shared(name),
        _ => plain(name, side),
    }
}

fn plain(name: &str, side: i32) {
    let (mut time, mut level) = (0, 0);
    // SAFETY: the host writes one number during the call, if any.
    unsafe {
        match name {
            "get_current_time_nanoseconds" => proxy_get_current_time_nanoseconds(&raw mut time),
            "clock_time_get" => clock_time_get(1, 0, &raw mut time),
            "get_log_level" => proxy_get_log_level(&raw mut level),
            "continue_stream" => proxy_continue_stream(side),
            // Whether there is such a context does not matter.
            "set_effective_context" => proxy_set_effective_context(0),
            "increment_metric" => proxy_increment_metric(COUNTER.get(), 1),
            "record_metric" => proxy_record_metric(HISTOGRAM.get(), 1),
            "get_metric" => proxy_get_metric(COUNTER.get(), &raw mut time),
            other => panic!("no such call: {other}"),
        };
    }
}

fn header(name: &str, side: i32, nth: usize) {
    // Maps are numbered 0 and 2.
    let map = side * 2;
    let list: &[(&str, &str)] = if side == REQUEST { &SET_IN_REQUEST } else { &SET_IN_RESPONSE };
    let (key, value) = list[nth % list.len()];
    let key = if key == CLUSTER && STRIPS.get() { STRIPPING_CLUSTER } else { key };
    let removed = REMOVED[nth % REMOVED.len()];
    match name {
        "get_header_map_pairs" => {
            taken(|data, size| unsafe { proxy_get_header_map_pairs(map, data, size) });
        }
        "get_header_map_value" => {
            taken(|data, size| unsafe {
                proxy_get_header_map_value(map, key.as_ptr(), key.len(), data, size)
            });
        }
        "remove_header_map_value" => {
            unsafe { proxy_remove_header_map_value(map, removed.as_ptr(), removed.len()) };
        }
        "replace_header_map_value" => {
            unsafe {
                proxy_replace_header_map_value(map, key.as_ptr(), key.len(), value.as_ptr(), value.len())
            };
        }
        other => panic!("no such call: {other}"),
    }
}

fn shared(name: &str) {
    let (key, mut cas) = ("floor", 0);
    match name {
        "get_shared_data" => {
            taken(|data, size| unsafe {
                proxy_get_shared_data(key.as_ptr(), key.len(), data, size, &raw mut cas)
            });
        }
        "set_shared_data" => {
            unsafe { proxy_set_shared_data(key.as_ptr(), key.len(), key.as_ptr(), key.len(), 0) };
        }
        other => panic!("no such call: {other}"),
    }
}
