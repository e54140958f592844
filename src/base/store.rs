//! Data that all workers share, and how one of them changes it without losing what another has done.

/// How often a change is tried again after a lost race. With `w` workers, a worker loses at most `w − 1` times in a row to
/// others that each make one change, so this is generous.
pub const MAX_TRIES: usize = 16;

/// The compare-and-swap value that creates a record: shared data accepts any non-zero one where there is no record, and
/// this one is never given out to a record before 2³² − 1 changes.
pub const CREATE: u32 = u32::MAX;

/// Data that all workers share, with compare-and-swap.
pub trait Store {
    /// The record under `key`; `None` where there is none.
    ///
    /// # Errors
    /// When the host declines.
    fn read(&mut self, key: &str) -> Result<Option<Stored>, StoreError>;

    /// Writes the record if it is still the one that was read with `cas`.
    ///
    /// # Errors
    /// [`StoreError::Changed`] when it is not; [`StoreError::Failed`] when the host declines.
    fn write(&mut self, key: &str, bytes: &[u8], cas: u32) -> Result<(), StoreError>;
}

/// A record as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// What a write must show to be accepted.
    pub cas: u32,
}

/// Why a record was not read or written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreError {
    /// Another worker has changed it.
    Changed,
    /// The host declined.
    Failed,
}

/// Reads, decides, writes; a lost race starts again from what the winner wrote, and only the last decision counts.
///
/// `decide` gets the record's bytes, if there is one, and gives its result with what is to be written, or `None` where
/// nothing changes. The whole is `None` after [`MAX_TRIES`] lost races or when the host declines: then nothing is shared.
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
