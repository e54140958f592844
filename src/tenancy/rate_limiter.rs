//! A token bucket, which limits the requests of operators.
//!
//! Each worker has its own. The limit keeps a runaway script from taking a worker's time. A count shared by
//! all workers would cost a compare-and-swap per report and protect nothing more. Wrong keys are not limited
//! and lock out no operator: keys are long and random, and a guess costs one hash.

use crate::base::Timestamp;

/// The limits of a token bucket.
#[derive(Debug, Clone, Copy)]
pub struct RateLimit {
    /// Uses at once.
    pub burst: u32,
    /// Uses per second afterwards.
    pub per_second: u32,
}

/// What is left of a [`RateLimit`] on one worker. It starts full.
#[derive(Debug)]
pub struct RateLimiter {
    rate: RateLimit,
    /// In thousandths of a use.
    left: u64,
    at: Timestamp,
}

impl RateLimiter {
    /// A full bucket.
    pub const fn new(rate: RateLimit) -> Self {
        Self { rate, left: rate.burst as u64 * 1000, at: Timestamp::from_millis(0) }
    }

    /// Takes one use. Otherwise returns the whole seconds until one is available.
    pub fn take(&mut self, now: Timestamp) -> Result<(), u64> {
        // A clock that stepped back grants nothing for that time and continues from there.
        let passed = u64::try_from(now.since(self.at).as_millis()).unwrap_or(u64::MAX);
        let gained = passed.saturating_mul(u64::from(self.rate.per_second));
        self.left = self.left.saturating_add(gained).min(u64::from(self.rate.burst) * 1000);
        self.at = now;
        match self.left.checked_sub(1000) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => {
                let per_second = u64::from(self.rate.per_second).max(1) * 1000;
                Err((1000 - self.left).div_ceil(per_second).max(1))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: RateLimit = RateLimit { burst: 3, per_second: 2 };

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_millis(1_700_000_000_000 + ms)
    }

    fn granted(allowance: &mut RateLimiter, asked: usize, now: Timestamp) -> usize {
        (0..asked).filter(|_| allowance.take(now).is_ok()).count()
    }

    #[test]
    fn allows_a_burst_and_then_a_rate() {
        let mut allowance = RateLimiter::new(RATE);
        assert_eq!(granted(&mut allowance, 10, at(0)), 3);
        assert_eq!(granted(&mut allowance, 10, at(499)), 0);
        assert_eq!(allowance.take(at(499)), Err(1));
        assert_eq!(granted(&mut allowance, 10, at(1000)), 2);
        assert_eq!(granted(&mut allowance, 10, at(1_000_000)), 3, "no more is saved up than the burst");
    }

    #[test]
    fn a_clock_that_steps_back_neither_grants_uses_nor_locks_out() {
        let mut allowance = RateLimiter::new(RATE);
        assert_eq!(granted(&mut allowance, 10, at(1_000_000)), 3);
        assert_eq!(granted(&mut allowance, 10, at(0)), 0);
        assert_eq!(granted(&mut allowance, 10, at(1000)), 2);
    }
}
