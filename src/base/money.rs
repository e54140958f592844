//! Amounts of money in whole millionths of a US dollar, because token prices are far below a cent.

use std::fmt;

use super::product::saturating_product;

/// An amount in millionths of a US dollar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct MicroDollars(u64);

impl MicroDollars {
    /// Zero.
    pub const ZERO: Self = Self(0);

    /// An amount of `micros` millionths.
    pub const fn new(micros: u64) -> Self {
        Self(micros)
    }

    /// The nearest amount to this many dollars, saturating; `None` if it is negative or not finite.
    pub fn from_dollars(dollars: f64) -> Option<Self> {
        // The cast saturates.
        (dollars.is_finite() && dollars >= 0.0).then(|| Self((dollars * 1e6).round() as u64))
    }

    /// The amount in millionths.
    pub const fn micros(self) -> u64 {
        self.0
    }

    /// The saturating sum.
    pub const fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// The cost of `tokens` at this price per million tokens, rounded up.
    pub const fn for_tokens(self, tokens: u64) -> Self {
        // Whole millions are multiplied separately, so that the product saturates only when the result does.
        let (millions, rest) = (tokens / 1_000_000, tokens % 1_000_000);
        let whole = saturating_product(self.0, millions);
        Self(whole.saturating_add(saturating_product(self.0, rest).div_ceil(1_000_000)))
    }

    /// This amount times `permille`/1000, rounded down.
    pub const fn times_permille(self, permille: u64) -> Self {
        let (thousands, rest) = (self.0 / 1000, self.0 % 1000);
        Self(thousands.saturating_mul(permille).saturating_add(rest.saturating_mul(permille) / 1000))
    }
}

/// In dollars, without trailing zeros: `0.4`, `12`, `0.000125`.
impl fmt::Display for MicroDollars {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (dollars, micros) = (self.0 / 1_000_000, self.0 % 1_000_000);
        if micros == 0 {
            return write!(f, "{dollars}");
        }
        let decimals = format!("{micros:06}");
        write!(f, "{dollars}.{}", decimals.trim_end_matches('0'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dollars_are_displayed_as_they_were_written() {
        for (dollars, shown) in
            [(0.0, "0"), (0.4, "0.4"), (12.0, "12"), (0.000_125, "0.000125"), (1.6, "1.6")]
        {
            assert_eq!(MicroDollars::from_dollars(dollars).unwrap().to_string(), shown);
        }
        for none in [-0.1, f64::NAN, f64::INFINITY] {
            assert_eq!(MicroDollars::from_dollars(none), None);
        }
    }

    #[test]
    fn a_price_is_per_million_tokens_and_a_cost_rounds_up() {
        let price = MicroDollars::new(400_000);
        assert_eq!(price.for_tokens(1_000_000), price);
        assert_eq!(price.for_tokens(2_500_000), MicroDollars::new(1_000_000));
        assert_eq!(price.for_tokens(1), MicroDollars::new(1));
        assert_eq!(price.for_tokens(0), MicroDollars::ZERO);
        assert_eq!(MicroDollars::new(u64::MAX).for_tokens(u64::MAX), MicroDollars::new(u64::MAX));
    }

    #[test]
    fn times_permille_multiplies_by_thousandths_and_rounds_down() {
        assert_eq!(MicroDollars::new(1_500).times_permille(2_000), MicroDollars::new(3_000));
        assert_eq!(MicroDollars::new(999).times_permille(1_500), MicroDollars::new(1_498));
        assert_eq!(MicroDollars::new(u64::MAX).times_permille(2_000), MicroDollars::new(u64::MAX));
    }
}
