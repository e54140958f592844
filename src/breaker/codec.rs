//! The shared record of a scope: fixed size, little endian, with a version.
//!
//! Records outlive the VM and the filter version that wrote them. A record of another version, or with an
//! impossible value, reads as empty: forgetting health is harmless, misreading it is not.

use std::sync::LazyLock;

use super::halves::Run;
use super::health::Health;
use super::keys::Keys;
use super::starts::Ramp;
use super::state::{BreakerPhase, Lease, MAX_PROBES, Order, Throttle, TripReason, TripRule};
use super::unanswered::UnansweredRun;
use super::window::{BUCKETS, Bucket, Window};
use crate::base::{EndpointFamily, ErrorClass, Timestamp};

const VERSION: u8 = 4;

/// Size of the record of one breaker.
pub const RECORD_BYTES: usize = 19 + 12 + 17 + 8 + 12 * BUCKETS + 1 + 22 + 18 * MAX_PROBES;

/// The breakers of one scope, by family. They share a record, so that those of a family cost nothing where
/// nobody asks for it, and an order reaches all of them at once.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Healths {
    generation: Health,
    /// The others, in the order of [`EndpointFamily::ALL`], up to the last that says anything. Most scopes have none,
    /// and every tick reads all of them.
    others: Vec<Health>,
}

/// A breaker of which nothing is known.
static FRESH: LazyLock<Health> = LazyLock::new(Health::default);

impl Healths {
    pub(super) fn of(&self, family: EndpointFamily) -> &Health {
        match (family as usize).checked_sub(1) {
            None => &self.generation,
            Some(place) => self.others.get(place).unwrap_or(&FRESH),
        }
    }

    /// How many families of [`EndpointFamily::ALL`] come before those of which nothing is known.
    pub(super) fn known(&self) -> usize {
        1 + self.others.len()
    }

    pub(super) fn of_mut(&mut self, family: EndpointFamily) -> &mut Health {
        let Some(place) = (family as usize).checked_sub(1) else { return &mut self.generation };
        if self.others.len() <= place {
            self.others.resize_with(place + 1, Health::default);
        }
        self.others.get_mut(place).unwrap_or(&mut self.generation)
    }

    /// Forgets the last breakers of which nothing is known.
    pub(super) fn trim(&mut self) {
        while self.others.last().is_some_and(|health| *health == *FRESH) {
            self.others.pop();
        }
    }

    /// One record after the other.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = self.generation.encode().to_vec();
        bytes.extend(self.others.iter().flat_map(Health::encode));
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (generation, rest) = bytes.split_first_chunk::<RECORD_BYTES>()?;
        let mut healths = Self { generation: Health::decode(generation)?, ..Self::default() };
        let records = rest.chunks(RECORD_BYTES);
        if records.len() >= EndpointFamily::COUNT {
            return None;
        }
        for record in records {
            healths.others.push(Health::decode(record)?);
        }
        healths.trim();
        Some(healths)
    }
}

impl Health {
    /// This state as a record.
    pub fn encode(&self) -> [u8; RECORD_BYTES] {
        let mut out = Writer { bytes: [0; RECORD_BYTES], at: 0 };
        out.u8(VERSION);
        out.u32(self.generation);
        out.u16(self.run.halves);
        out.u16(self.run.keys.to_bits());
        out.u16(self.run.hosts.to_bits());
        out.u16(self.run.number);
        out.u16(self.unanswered.count);
        out.u16(self.unanswered.keys.to_bits());
        out.u8(self.trips);
        out.u16(self.ramp.usual);
        out.u64(self.ramp.slot);
        out.u16(self.ramp.started);
        let throttle = self.throttle;
        out.u8(u8::from(throttle.is_some()));
        let throttle = throttle.unwrap_or(Throttle {
            since: Timestamp::default(),
            until: Timestamp::default(),
            strikes: 0,
        });
        out.time(throttle.since);
        out.time(throttle.until);
        out.u8(throttle.strikes);
        out.u64(self.window.head);
        for bucket in self.window.buckets {
            out.u16(bucket.successes);
            out.u16(bucket.halves);
            out.u16(bucket.succeeded.to_bits());
            out.u16(bucket.failed.to_bits());
            out.u16(bucket.served_by.to_bits());
            out.u16(bucket.failed_at.to_bits());
        }
        out.u8(match self.order {
            None => 0,
            Some(Order::ForcedOpen) => 1,
            Some(Order::ForcedClosed) => 2,
            Some(Order::Drained) => 3,
        });
        out.phase(&self.phase);
        out.bytes
    }

    /// The state in a record; `None` unless it is a record of this version.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut input = Reader { bytes };
        if bytes.len() != RECORD_BYTES || input.u8()? != VERSION {
            return None;
        }
        let generation = input.u32()?;
        let run = Run {
            halves: input.u16()?,
            keys: Keys::from_bits(input.u16()?),
            hosts: Keys::from_bits(input.u16()?),
            number: input.u16()?,
        };
        let unanswered = UnansweredRun { count: input.u16()?, keys: Keys::from_bits(input.u16()?) };
        let trips = input.u8()?;
        let ramp = Ramp { usual: input.u16()?, slot: input.u64()?, started: input.u16()? };
        let throttled = flag(input.u8()?)?;
        let throttle = Throttle { since: input.time()?, until: input.time()?, strikes: input.u8()? };
        let mut window = Window { head: input.u64()?, ..Window::default() };
        for bucket in &mut window.buckets {
            *bucket = Bucket {
                successes: input.u16()?,
                halves: input.u16()?,
                succeeded: Keys::from_bits(input.u16()?),
                failed: Keys::from_bits(input.u16()?),
                served_by: Keys::from_bits(input.u16()?),
                failed_at: Keys::from_bits(input.u16()?),
            };
        }
        let order = match input.u8()? {
            0 => None,
            1 => Some(Order::ForcedOpen),
            2 => Some(Order::ForcedClosed),
            3 => Some(Order::Drained),
            _ => return None,
        };
        let phase = input.phase()?;
        let throttle = throttled.then_some(throttle);
        Some(Self { generation, phase, window, run, unanswered, trips, ramp, throttle, order })
    }
}

struct Writer {
    bytes: [u8; RECORD_BYTES],
    at: usize,
}

impl Writer {
    fn put<const N: usize>(&mut self, value: [u8; N]) {
        if let Some(slot) = self.bytes.get_mut(self.at..self.at + N) {
            slot.copy_from_slice(&value);
        }
        self.at += N;
    }

    fn u8(&mut self, value: u8) {
        self.put([value]);
    }

    fn u16(&mut self, value: u16) {
        self.put(value.to_le_bytes());
    }

    fn u32(&mut self, value: u32) {
        self.put(value.to_le_bytes());
    }

    fn u64(&mut self, value: u64) {
        self.put(value.to_le_bytes());
    }

    fn time(&mut self, value: Timestamp) {
        self.u64(value.as_millis());
    }

    /// 1 tag, 1 rule, 1 class, 8 since, 8 until, 2 serial, 1 successes, then the leases. The serial of a
    /// lease is never 0.
    fn phase(&mut self, phase: &BreakerPhase) {
        let none = TripReason { rule: TripRule::Ratio, class: ErrorClass::Server };
        let mut no_leases = [None; MAX_PROBES];
        let (tag, reason, since, until, serial, successes, leases) = match phase {
            BreakerPhase::Closed { since, ramp } => {
                (u8::from(*ramp), none, *since, Timestamp::default(), 0, 0, &mut no_leases)
            }
            BreakerPhase::Open { reason, since, until } => (2, *reason, *since, *until, 0, 0, &mut no_leases),
            BreakerPhase::HalfOpen { reason, since, leases, serial, successes } => {
                no_leases = *leases;
                (3, *reason, *since, Timestamp::default(), *serial, *successes, &mut no_leases)
            }
        };
        self.u8(tag);
        self.u8(reason.rule as u8);
        self.u8(reason.class as u8);
        self.time(since);
        self.time(until);
        self.u16(serial);
        self.u8(successes);
        for lease in leases {
            let lease = lease.unwrap_or(Lease {
                serial: 0,
                since: Timestamp::default(),
                until: Timestamp::default(),
            });
            self.u16(lease.serial);
            self.time(lease.since);
            self.time(lease.until);
        }
    }
}

struct Reader<'b> {
    bytes: &'b [u8],
}

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (value, rest) = self.bytes.split_first_chunk::<N>()?;
        self.bytes = rest;
        Some(*value)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take::<1>().map(|[value]| value)
    }

    fn u16(&mut self) -> Option<u16> {
        self.take().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }

    fn time(&mut self) -> Option<Timestamp> {
        self.u64().map(Timestamp::from_millis)
    }

    fn phase(&mut self) -> Option<BreakerPhase> {
        let tag = self.u8()?;
        let rule = match self.u8()? {
            0 => TripRule::Consecutive,
            1 => TripRule::Ratio,
            2 => TripRule::Blocked,
            3 => TripRule::Probe,
            4 => TripRule::Unanswered,
            _ => return None,
        };
        let class = *ErrorClass::ALL.get(usize::from(self.u8()?))?;
        let reason = TripReason { rule, class };
        let (since, until) = (self.time()?, self.time()?);
        let (serial, successes) = (self.u16()?, self.u8()?);
        let mut leases = [None; MAX_PROBES];
        for slot in &mut leases {
            let lease = Lease { serial: self.u16()?, since: self.time()?, until: self.time()? };
            *slot = (lease.serial != 0).then_some(lease);
        }
        match tag {
            0 | 1 => Some(BreakerPhase::Closed { since, ramp: tag == 1 }),
            2 => Some(BreakerPhase::Open { reason, since, until }),
            3 => Some(BreakerPhase::HalfOpen { reason, since, leases, serial, successes }),
            _ => None,
        }
    }
}

const fn flag(byte: u8) -> Option<bool> {
    match byte {
        0 => Some(false),
        1 => Some(true),
        _ => None,
    }
}
