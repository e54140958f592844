/// The digits of `u64::MAX`.
const MAX_DIGITS: usize = 20;

/// A number as text, without an allocation and without the formatter, which is a lot of code for a digit.
#[derive(Debug, Clone, Copy)]
pub struct Decimal {
    digits: [u8; MAX_DIGITS],
    first: usize,
}

impl Decimal {
    /// The text of `number`.
    pub fn of(mut number: u64) -> Self {
        let mut digits = [b'0'; MAX_DIGITS];
        let mut first = MAX_DIGITS;
        let mut places = digits.iter_mut().rev();
        // A digit is below ten, so the casts lose nothing. With 32 bits a division by ten is one multiplication.
        while number > u32::MAX.into() {
            places.next().into_iter().for_each(|place| *place = b'0' + (number % 10) as u8);
            first -= 1;
            number /= 10;
        }
        let mut number = number as u32;
        for place in places {
            *place = b'0' + (number % 10) as u8;
            first -= 1;
            number /= 10;
            if number == 0 {
                break;
            }
        }
        Self { digits, first }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }

    /// The text as bytes.
    pub fn as_bytes(&self) -> &[u8] {
        self.digits.get(self.first..).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_number_in_decimal_digits() {
        const HALF: u64 = u32::MAX as u64;
        let edges = [0, 1, 9, 10, 99, 100, 2048, 1_000_000_007, HALF, HALF + 1, u64::MAX / 10];
        for number in edges.into_iter().chain([u64::MAX - 1, u64::MAX]) {
            assert_eq!(Decimal::of(number).as_str(), number.to_string());
        }
    }
}
