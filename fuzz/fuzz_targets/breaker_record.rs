//! Circuit breaker state in shared data: any bytes decode to a valid state or to nothing.
//!
//! Input: eight bytes of time, then the stored state.

#![no_main]

use libfuzzer_sys::fuzz_target;
use llm_failsafe::base::{ErrorClass, Timestamp};
use llm_failsafe::breaker::{Availability, Command, Health, HealthSignal, RECORD_BYTES, Witness};
use llm_failsafe::config::BreakerPolicy;

fuzz_target!(|input: &[u8]| {
    let Some((now, record)) = input.split_first_chunk() else { return };
    let now = Timestamp::from_millis(u64::from_le_bytes(*now));
    let Some(health) = Health::decode(record) else { return };
    assert_eq!(record.len(), RECORD_BYTES);
    assert_eq!(Health::decode(&health.encode()).as_ref(), Some(&health));

    let policy = BreakerPolicy::default();
    let availability = health.availability(&policy, now);
    let mut probed = health.clone();
    assert_eq!(probed.take_lease(&policy, now).is_some(), availability == Availability::Probe);
    let ticket = probed.ticket();
    probed.report(&policy, ticket, HealthSignal::Throttled(None), now, u64::MAX);
    probed.report(&policy, ticket, HealthSignal::Failure(ErrorClass::Server), now, u64::MAX);
    probed.successes(&policy, ticket, (u16::MAX, Witness::default()), now);
    assert_eq!(Health::decode(&probed.encode()).as_ref(), Some(&probed));

    // An operator can reset every state.
    let mut reset = health;
    reset.command(Command::Reset, now);
    assert_eq!(reset.availability(&policy, now), Availability::Available { permille: 1000 });
});
