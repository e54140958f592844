use crate::base::Timestamp;

/// How often something may happen: a token bucket's numbers.
#[derive(Debug, Clone, Copy)]
pub struct RateLimit {
    /// So many at once.
    pub burst: u32,
    /// Afterwards so many a second.
    pub per_second: u32,
}

/// What is left of a [`Rate`] on one worker. It starts full.
#[derive(Debug)]
pub struct RateLimiter {
    rate: RateLimit,
    /// In thousandths of one use.
    left: u64,
    at: Timestamp,
}

impl RateLimiter {
    /// A full one.
    pub const fn new(rate: RateLimit) -> Self {
        Self { rate, left: rate.burst as u64 * 1000, at: Timestamp::from_millis(0) }
    }

    /// Takes one use, or says after how many whole seconds there is one again.
    pub fn take(&mut self, now: Timestamp) -> Result<(), u64> {
        // A clock that stepped back gives nothing for that time, and goes on from where it is.
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
    fn a_burst_at_once_and_then_a_rate() {
        let mut allowance = RateLimiter::new(RATE);
        assert_eq!(granted(&mut allowance, 10, at(0)), 3);
        assert_eq!(granted(&mut allowance, 10, at(499)), 0);
        assert_eq!(allowance.take(at(499)), Err(1));
        assert_eq!(granted(&mut allowance, 10, at(1000)), 2);
        assert_eq!(granted(&mut allowance, 10, at(1_000_000)), 3, "no more is saved up than the burst");
    }

    #[test]
    fn a_clock_that_steps_back_neither_gives_nor_locks_out() {
        let mut allowance = RateLimiter::new(RATE);
        assert_eq!(granted(&mut allowance, 10, at(1_000_000)), 3);
        assert_eq!(granted(&mut allowance, 10, at(0)), 0);
        assert_eq!(granted(&mut allowance, 10, at(1000)), 2);
    }
}
