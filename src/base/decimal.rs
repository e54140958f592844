/// A number as text, without an allocation and without the formatter, which is a lot of code for a digit.
#[derive(Debug, Clone, Copy)]
pub struct Decimal {
    digits: [u8; 20],
    first: usize,
}

impl Decimal {
    /// The text of `number`.
    pub fn of(mut number: u64) -> Self {
        let mut digits = [b'0'; 20];
        let mut first = digits.len();
        for (place, digit) in digits.iter_mut().enumerate().rev() {
            // A digit is below ten, so the cast loses nothing.
            *digit = b'0' + (number % 10) as u8;
            number /= 10;
            first = place;
            if number == 0 {
                break;
            }
        }
        Self { digits, first }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        let digits = self.digits.get(self.first..).unwrap_or_default();
        std::str::from_utf8(digits).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_number_in_decimal_digits() {
        for number in [0, 1, 9, 10, 99, 100, 2048, 1_000_000_007, u64::MAX / 10, u64::MAX - 1, u64::MAX] {
            assert_eq!(Decimal::of(number).as_str(), number.to_string());
        }
    }
}
