//! The shared record of a key: fixed size, little endian, with a version. Another version reads as empty.

use super::budget::{Amount, Ledger, SLICES};
use crate::base::MicroDollars;

const VERSION: u8 = 1;
const SLICE_BYTES: usize = 4 + 8;

/// Size of every record.
pub const RECORD_BYTES: usize = 1 + 8 + SLICE_BYTES * SLICES + 8 + 8 + 8;

impl Ledger {
    /// This state as a record.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(RECORD_BYTES);
        bytes.push(VERSION);
        bytes.extend(self.head.to_le_bytes());
        for (requests, tokens) in self.slices {
            bytes.extend(requests.to_le_bytes());
            bytes.extend(tokens.to_le_bytes());
        }
        bytes.extend(self.day.to_le_bytes());
        bytes.extend(self.day_used.tokens.to_le_bytes());
        bytes.extend(self.day_used.cost.micros().to_le_bytes());
        bytes
    }

    /// The state in a record; `None` unless it is a record of this version.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        if bytes.len() != RECORD_BYTES {
            return None;
        }
        let (version, mut rest) = bytes.split_first()?;
        if *version != VERSION {
            return None;
        }
        let mut ledger = Self { head: u64::from_le_bytes(take(&mut rest)?), ..Self::default() };
        for slice in &mut ledger.slices {
            *slice = (u32::from_le_bytes(take(&mut rest)?), u64::from_le_bytes(take(&mut rest)?));
        }
        ledger.day = u64::from_le_bytes(take(&mut rest)?);
        ledger.day_used = Amount {
            tokens: u64::from_le_bytes(take(&mut rest)?),
            cost: MicroDollars::new(u64::from_le_bytes(take(&mut rest)?)),
        };
        Some(ledger)
    }
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (value, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(*value)
}
