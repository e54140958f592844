//! Envoy's shared data: one process-wide map for all workers of a `vm_id`.

use super::abi;
use super::failure::HostError;
use crate::base::{Store, StoreError, Stored};

/// The ABI's status for a key that does not exist.
const NOT_FOUND: i32 = 1;
/// The ABI's status for a record that has changed since it was read.
const CAS_MISMATCH: i32 = 8;

/// The shared data.
pub struct SharedData;

impl Store for SharedData {
    fn read(&mut self, key: &str) -> Result<Option<Stored>, StoreError> {
        match abi::shared_data(key) {
            Ok((bytes, cas)) => Ok(Some(Stored { bytes, cas })),
            Err(HostError(NOT_FOUND)) => Ok(None),
            Err(HostError(_)) => Err(StoreError::Failed),
        }
    }

    fn write(&mut self, key: &str, bytes: &[u8], cas: u32) -> Result<(), StoreError> {
        abi::set_shared_data(key, bytes, cas).map_err(|HostError(status)| {
            if status == CAS_MISMATCH { StoreError::Changed } else { StoreError::Failed }
        })
    }
}
