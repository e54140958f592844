//! Envoy's shared data: one process-wide map for all workers of a `vm_id`.

use super::abi::{self, Declined};
use crate::base::{Store, StoreError, Stored};

/// The ABI's statuses for a key that is not there and for a lost race.
const NOT_FOUND: i32 = 1;
const CAS_MISMATCH: i32 = 8;

/// The shared data.
pub struct SharedData;

impl Store for SharedData {
    fn read(&mut self, key: &str) -> Result<Option<Stored>, StoreError> {
        match abi::shared_data(key) {
            Ok((bytes, cas)) => Ok(Some(Stored { bytes, cas })),
            Err(Declined(NOT_FOUND)) => Ok(None),
            Err(Declined(_)) => Err(StoreError::Failed),
        }
    }

    fn write(&mut self, key: &str, bytes: &[u8], cas: u32) -> Result<(), StoreError> {
        abi::set_shared_data(key, bytes, cas).map_err(|Declined(status)| {
            if status == CAS_MISMATCH { StoreError::Changed } else { StoreError::Failed }
        })
    }
}
