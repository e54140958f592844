//! The id of a journey.

/// The id that the edge gave a client request: the UUID of `%UNIQUE_ID%`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct JourneyId(u128);

impl JourneyId {
    /// Reads a UUID in its usual form with hyphens, or as 32 hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > 36 {
            return None;
        }
        // Two halves, because Wasm has no shift of 128 bits.
        let mut halves = [0_u64; 2];
        let mut digits = 0;
        for byte in text.bytes().filter(|byte| *byte != b'-') {
            let half = halves.get_mut(digits / 16)?;
            *half = (*half << 4) | u64::from(char::from(byte).to_digit(16)?);
            digits += 1;
        }
        let [high, low] = halves.map(u128::from);
        (digits == 32).then_some(Self((high << 64) | low))
    }
}

#[cfg(test)]
mod tests {
    use super::JourneyId;

    #[test]
    fn only_uuids_are_journey_ids() {
        let parse = JourneyId::parse;
        assert_eq!(parse("00000000-0000-0000-0000-0000000000ff"), Some(JourneyId(255)));
        assert_eq!(parse("000000000000000000000000000000FF"), Some(JourneyId(255)));
        for bad in ["", "ff", "0000000000000000000000000000000g", &"0".repeat(33), &"0-".repeat(20), "ü"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
