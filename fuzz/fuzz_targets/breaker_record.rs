//! Circuit breaker state in shared data: any bytes decode to a valid state or to nothing.
//!
//! Input: eight bytes of time, then the stored state.

#![no_main]

use libfuzzer_sys::fuzz_target;
use llm_failsafe::base::{ErrorClass, Timestamp};
use llm_failsafe::breaker::{Command, Health, Outcome, RECORD_BYTES, Standing};
use llm_failsafe::config::BreakerPolicy;

fuzz_target!(|input: &[u8]| {
    let Some((now, record)) = input.split_first_chunk() else { return };
    let now = Timestamp::from_millis(u64::from_le_bytes(*now));
    let Some(health) = Health::decode(record) else { return };
    assert_eq!(record.len(), RECORD_BYTES);
    assert_eq!(Health::decode(&health.encode()).as_ref(), Some(&health));

    let policy = BreakerPolicy::default();
    let standing = health.standing(&policy, now);
    let mut probed = health.clone();
    assert_eq!(probed.take_lease(&policy, now).is_some(), standing == Standing::Probe);
    let ticket = probed.ticket();
    probed.report(&policy, ticket, Outcome::Throttled(None), now, u64::MAX);
    probed.report(&policy, ticket, Outcome::Failure(ErrorClass::Server), now, u64::MAX);
    probed.successes(&policy, ticket, u16::MAX, now);
    assert_eq!(Health::decode(&probed.encode()).as_ref(), Some(&probed));

    // An operator can reset every state.
    let mut reset = health;
    reset.command(Command::Reset, now);
    assert_eq!(reset.standing(&policy, now), Standing::Fit { permille: 1000 });
});
