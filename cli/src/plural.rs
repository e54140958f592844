//! Numbers with their nouns.

/// A number with its noun. `nouns` has the forms for one and for several.
pub fn count(number: u64, nouns: [&str; 2]) -> String {
    let [one, several] = nouns;
    format!("{number} {}", if number == 1 { one } else { several })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_thing_is_not_several() {
        let models = |number| count(number, ["model", "models"]);
        assert_eq!([models(0), models(1), models(2)], ["0 models", "1 model", "2 models"]);
    }
}
