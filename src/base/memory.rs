//! Shared data in memory, for tests.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use super::{Store, StoreError, Stored};

/// The shared data of all workers.
#[derive(Debug, Default)]
pub struct Shelf {
    /// By key.
    pub records: HashMap<String, Stored>,
    last_cas: u32,
}

impl Shelf {
    /// Empty data after `last_cas` changes.
    pub fn after_changes(last_cas: u32) -> Self {
        Self { last_cas, ..Self::default() }
    }

    /// Like Envoy, counts the changes of all keys together, from 1, and skips 0.
    fn next_cas(&mut self) -> u32 {
        self.last_cas = self.last_cas.checked_add(1).unwrap_or(1);
        self.last_cas
    }
}

/// Runs between a worker's read and its write, in place of another worker.
type Interference<'w> = Box<dyn FnMut() + 'w>;

/// One worker's access to the shared data.
#[derive(Default)]
pub struct Memory<'w> {
    /// What it reads and writes.
    pub shelf: Rc<RefCell<Shelf>>,
    /// What another worker does between a read and a write.
    pub before_write: Option<Interference<'w>>,
    /// How often it was read or written.
    pub calls: usize,
    /// Whether reading fails.
    pub broken: bool,
}

impl Memory<'_> {
    /// On data of its own.
    pub fn new() -> Self {
        Self::default()
    }

    /// On data that others have, too.
    pub fn on(shelf: Rc<RefCell<Shelf>>) -> Self {
        Self { shelf, ..Self::default() }
    }
}

impl Store for Memory<'_> {
    fn read(&mut self, key: &str) -> Result<Option<Stored>, StoreError> {
        self.calls += 1;
        if self.broken {
            return Err(StoreError::Failed);
        }
        Ok(self.shelf.borrow().records.get(key).cloned())
    }

    /// Like Envoy, accepts any `cas` for a key without a record. In Envoy a `cas` of zero overwrites, which
    /// no caller may want.
    fn write(&mut self, key: &str, bytes: &[u8], cas: u32) -> Result<(), StoreError> {
        self.calls += 1;
        assert_ne!(cas, 0, "a write without compare-and-swap");
        if let Some(interfere) = &mut self.before_write {
            interfere();
        }
        let mut shelf = self.shelf.borrow_mut();
        if shelf.records.get(key).is_some_and(|stored| stored.cas != cas) {
            return Err(StoreError::Changed);
        }
        let cas = shelf.next_cas();
        shelf.records.insert(key.to_owned(), Stored { bytes: bytes.to_vec(), cas });
        Ok(())
    }
}
