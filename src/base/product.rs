/// The product, or [`u64::MAX`] if that is too small for it.
///
/// [`u64::saturating_mul`] makes a product of 128 bits, which Wasm does not have. Nearly all factors have 32 bits.
#[inline]
pub const fn saturating_product(one: u64, other: u64) -> u64 {
    if (one | other) >> 32 == 0 { one * other } else { wide(one, other) }
}

#[cold]
const fn wide(one: u64, other: u64) -> u64 {
    one.saturating_mul(other)
}

#[cfg(test)]
mod tests {
    use super::saturating_product;

    #[test]
    fn a_product_is_exact_until_it_saturates() {
        const HALF: u64 = u32::MAX as u64;
        for one in [0, 1, 7, HALF, HALF + 1, HALF + 2, u64::MAX / 2, u64::MAX] {
            for other in [0, 1, 2, 1000, HALF, HALF + 1, u64::MAX] {
                assert_eq!(saturating_product(one, other), one.saturating_mul(other), "{one} * {other}");
            }
        }
    }
}
