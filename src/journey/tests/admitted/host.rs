//! A host whose calls fail on demand, and shared data that other workers change.

use std::cell::RefCell;
use std::rc::Rc;

use super::super::super::test_support::FakeWire;
use crate::base::memory::{Memory, Shelf};
use crate::base::{HeaderSink, Store};
use crate::request::BodyBuffer;

/// The request on a host whose calls may fail.
pub(super) struct Wire {
    pub(super) fake: FakeWire,
    /// So many calls still work; `None` for all of them.
    pub(super) header_changes: Option<u32>,
    pub(super) body_edits: Option<u32>,
    /// Whether the change of a header has failed.
    pub(super) failed: bool,
}

impl Wire {
    fn change(&mut self, change: impl FnOnce(&mut FakeWire)) {
        if works(&mut self.header_changes) {
            change(&mut self.fake);
        } else {
            self.failed = true;
        }
    }
}

fn works(left: &mut Option<u32>) -> bool {
    let works = *left != Some(0);
    *left = left.map(|left| left.saturating_sub(1));
    works
}

impl HeaderSink for Wire {
    fn set(&mut self, name: &str, value: &str) {
        self.change(|fake| fake.set(name, value));
    }

    fn remove(&mut self, name: &[u8]) {
        self.change(|fake| fake.remove(name));
    }
}

impl BodyBuffer for Wire {
    type Error = ();

    fn read(&mut self, start: usize, len: usize) -> Result<Vec<u8>, ()> {
        self.fake.read(start, len)
    }

    fn replace_front(&mut self, len: usize, with: &[u8]) -> Result<(), ()> {
        if works(&mut self.body_edits) { self.fake.replace_front(len, with) } else { Err(()) }
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), ()> {
        if works(&mut self.body_edits) { self.fake.append(bytes) } else { Err(()) }
    }
}

/// A worker's access to the shared data. Before every `lost`th write another worker writes the same record.
pub(super) fn store(shelf: &Rc<RefCell<Shelf>>, lost: Option<u32>) -> Memory<'static> {
    let mut memory = Memory::on(Rc::clone(shelf));
    if let Some(lost) = lost {
        let (mut other, mut writes) = (Memory::on(Rc::clone(shelf)), 0);
        memory.before_write = Some(Box::new(move || {
            writes += 1;
            if writes % lost != 0 {
                return;
            }
            let records: Vec<_> = other.shelf.borrow().records.clone().into_iter().collect();
            for (key, stored) in records {
                other.write(&key, &stored.bytes, stored.cas).unwrap();
            }
        }));
    }
    memory
}
