//! The callbacks that this module exports. Envoy skips a callback that a module does not export, and each one that it makes
//! costs every request, so only those are here that are needed.
//!
//! Two are left out on purpose. `proxy_on_done` could only delay the end of a context. `proxy_on_delete` would be one more
//! call per request, and `proxy_on_log` is the last one of a stream already. What Envoy deletes without that call is found
//! on the tick (`stream::sweep` and [`sweep`]).
#![allow(unsafe_code)]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use super::abi;
use super::filter;
use super::root::{self, Root};
use super::stream::{self, Action, Stream};

type SharedRoot = Rc<RefCell<Root>>;

thread_local! {
    /// The root contexts: one for each configuration that this VM runs.
    static ROOTS: RefCell<BTreeMap<u32, SharedRoot>> = const { RefCell::new(BTreeMap::new()) };
}

fn root(id: u32) -> Option<SharedRoot> {
    ROOTS.with_borrow(|roots| roots.get(&id).map(Rc::clone))
}

/// Forgets the root contexts that Envoy has deleted.
fn sweep() {
    ROOTS.with_borrow_mut(|roots| roots.retain(|id, _| !stream::is_deleted(*id)));
}

unsafe extern "C" {
    fn __wasm_call_ctors();
}

/// Envoy calls it once, when it starts the VM.
#[unsafe(no_mangle)]
extern "C" fn _initialize() {
    // SAFETY: a module of this kind has to run its constructors itself, once and before all else.
    unsafe { __wasm_call_ctors() };
    root::start_logging();
}

/// Its name tells Envoy which version of the ABI this module speaks. It is not called.
#[unsafe(no_mangle)]
const extern "C" fn proxy_abi_version_0_2_1() {}

/// Envoy asks for memory to pass bytes in. `abi::take` takes it over.
#[unsafe(no_mangle)]
extern "C" fn proxy_on_memory_allocate(size: usize) -> *mut u8 {
    abi::give_block(size)
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_context_create(id: u32, parent: u32) {
    if parent == 0 {
        ROOTS.with_borrow_mut(|roots| roots.insert(id, Rc::new(RefCell::new(Root::new()))));
        return;
    }
    let shared = ROOTS.with_borrow(|roots| roots.get(&parent)?.try_borrow().ok()?.shared());
    stream::create(id, shared);
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_configure(id: u32, _size: usize) -> i32 {
    // Without a root context there is no configuration to accept.
    let Some(root) = root(id) else { return 0 };
    let accepted = root.try_borrow_mut().is_ok_and(|mut root| root.on_configure());
    accepted.into()
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_tick(id: u32) {
    if let Some(root) = root(id)
        && let Ok(mut root) = root.try_borrow_mut()
    {
        root.on_tick();
    }
    sweep();
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_queue_ready(_root: u32, queue: u32) {
    root::on_queue_ready(queue);
}

/// A stream that is not known was forgotten with its last callback. Then nothing is to be done.
fn on_stream(id: u32, run: impl FnOnce(&RefCell<Stream>) -> Action) -> i32 {
    stream::get(id).map_or(Action::Continue, |stream| run(&stream)) as i32
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_request_headers(id: u32, _count: usize, end_of_stream: i32) -> i32 {
    on_stream(id, |stream| filter::on_request_headers(stream, end_of_stream != 0))
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_request_body(id: u32, available: usize, end_of_stream: i32) -> i32 {
    on_stream(id, |stream| filter::on_request_body(stream, available, end_of_stream != 0))
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_request_trailers(id: u32, _count: usize) -> i32 {
    on_stream(id, filter::on_request_trailers)
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_response_headers(id: u32, _count: usize, end_of_stream: i32) -> i32 {
    on_stream(id, |stream| filter::on_response_headers(stream, end_of_stream != 0))
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_response_body(id: u32, available: usize, end_of_stream: i32) -> i32 {
    on_stream(id, |stream| filter::on_response_body(stream, available, end_of_stream != 0))
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_response_trailers(id: u32, _count: usize) -> i32 {
    on_stream(id, filter::on_response_trailers)
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_log(id: u32) {
    if let Some(stream) = stream::get(id) {
        filter::on_log(&stream);
    }
}
