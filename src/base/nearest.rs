/// The longest name that is compared. Longer ones are rarely typed by hand, and the cost grows with the
/// square.
const MAX_COMPARED: usize = 64;

/// The known name nearest to `written`, if at most a third of it is mistyped.
pub fn nearest<'a>(written: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let length = written.chars().count();
    let tolerated = (length / 3).max(1);
    known
        .filter_map(|name| Some((distance(written, name)?, name)))
        .filter(|(distance, name)| *distance <= tolerated && *distance < name.chars().count())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// The optimal string alignment distance of two names: the number of inserted, deleted, replaced or swapped
/// characters. Letter case does not count. `None` if either name is too long.
fn distance(a: &str, b: &str) -> Option<usize> {
    let (a, b) = (letters(a)?, letters(b)?);
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    let mut a_previous = None;
    for (row, &from) in a.iter().enumerate() {
        let mut current = vec![row + 1];
        let mut b_previous = None;
        for (column, &to) in b.iter().enumerate() {
            let replace = last.get(column)? + usize::from(from != to);
            let delete = last.get(column + 1)? + 1;
            let insert = current.last()? + 1;
            let mut best = replace.min(delete).min(insert);
            if a_previous == Some(to) && b_previous == Some(from) {
                best = best.min(before_last.get(column.checked_sub(1)?)? + 1);
            }
            current.push(best);
            b_previous = Some(to);
        }
        before_last = std::mem::replace(&mut last, current);
        a_previous = Some(from);
    }
    last.last().copied()
}

fn letters(name: &str) -> Option<Vec<char>> {
    let letters: Vec<char> = name.chars().take(MAX_COMPARED + 1).map(|c| c.to_ascii_lowercase()).collect();
    (letters.len() <= MAX_COMPARED).then_some(letters)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_single_edits_and_swapped_neighbours() {
        for (a, b, edits) in [
            ("weight", "weight", 0),
            ("wieght", "weight", 1),
            ("Weight", "weight", 0),
            ("weigth", "weight", 1),
            ("", "abc", 3),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(distance(a, b), Some(edits), "{a} {b}");
            assert_eq!(distance(b, a), Some(edits), "{b} {a}");
        }
        assert_eq!(distance(&"a".repeat(65), "a"), None);
    }

    #[test]
    fn a_name_of_one_letter_is_not_near_to_another_one() {
        assert_eq!(nearest("x", ["a", "b"].into_iter()), None);
    }
}
