//! Data that all workers share, and how a worker changes it without losing another worker's change.

/// How often a change is tried after lost races. With `w` workers that each make one change, a worker loses
/// at most `w − 1` times in a row, so this is generous.
pub const MAX_TRIES: usize = 16;

/// The compare-and-swap value that creates a record. The host accepts any non-zero value for a key without a
/// record, and no record gets this value before 2³² − 1 changes.
pub const CREATE: u32 = u32::MAX;

/// Data that all workers share, with compare-and-swap.
pub trait Store {
    /// The record under `key`, if there is one.
    ///
    /// # Errors
    /// The host call failed.
    fn read(&mut self, key: &str) -> Result<Option<Stored>, StoreError>;

    /// Writes the record if it has not changed since it was read with `cas`.
    ///
    /// # Errors
    /// [`StoreError::Changed`] if it has changed; [`StoreError::Failed`] if the host call failed.
    fn write(&mut self, key: &str, bytes: &[u8], cas: u32) -> Result<(), StoreError>;
}

/// A record that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// The compare-and-swap value for the next write.
    pub cas: u32,
}

/// Why a record was not read or written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreError {
    /// Another worker has changed it.
    Changed,
    /// The host call failed.
    Failed,
}

/// Reads a record, calls `decide` and writes the result. After a lost race it starts again with the winner's
/// record, so only the last decision counts.
///
/// `decide` gets the record's bytes, if there is a record. It returns its result and the bytes to write, or
/// `None` to write nothing. `update` returns `None`, and has written nothing, after [`MAX_TRIES`] lost races
/// or a failed host call.
pub fn update<T, W: AsRef<[u8]>>(
    store: &mut dyn Store,
    key: &str,
    mut decide: impl FnMut(Option<&[u8]>) -> (T, Option<W>),
) -> Option<T> {
    for _ in 0..MAX_TRIES {
        let stored = store.read(key).ok()?;
        let (bytes, cas) =
            stored.as_ref().map_or((None, CREATE), |stored| (Some(stored.bytes.as_slice()), stored.cas));
        let (result, write) = decide(bytes);
        let Some(write) = write else { return Some(result) };
        match store.write(key, write.as_ref(), cas) {
            Ok(()) => return Some(result),
            Err(StoreError::Changed) => {}
            Err(StoreError::Failed) => return None,
        }
    }
    None
}
