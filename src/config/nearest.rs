use super::mistakes::shown;

/// The longest name that is compared. Longer ones are rarely typed by hand, and the cost grows with the
/// square.
const MAX_COMPARED: usize = 64;
/// The maximum number of alternatives that are listed if none is close.
const MAX_LISTED: usize = 8;

/// A hint for a name that is not one of `known`: the nearest name if one is close, otherwise a list of them.
/// It begins with a comma because it continues a sentence. It is empty if `known` is.
pub(super) fn hint<'a>(written: &str, known: impl Iterator<Item = &'a str> + Clone) -> String {
    if let Some(name) = nearest(written, known.clone()) {
        return format!(", did you mean `{}`?", shown(name));
    }
    let listed: Vec<String> =
        known.clone().take(MAX_LISTED).map(|name| format!("`{}`", shown(name))).collect();
    let rest = known.count().saturating_sub(listed.len());
    match (listed.as_slice(), rest) {
        ([], _) => String::new(),
        ([only], 0) => format!(", expected {only}"),
        (_, 0) => format!(", expected one of {}", listed.join(", ")),
        _ => format!(", expected one of {} or {rest} more", listed.join(", ")),
    }
}

/// The known name nearest to `written`, if at most a third of it is mistyped.
fn nearest<'a>(written: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
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
    fn a_hint_gives_the_nearest_name_or_a_list() {
        let known = ["weight", "account", "model"];
        let hint_for = |written| hint(written, known.into_iter());
        assert_eq!(hint_for("wieght"), ", did you mean `weight`?");
        assert_eq!(hint_for("region"), ", expected one of `weight`, `account`, `model`");
        assert_eq!(hint("x", ["cluster"].into_iter()), ", expected `cluster`");
        assert_eq!(hint("x", std::iter::empty()), "");
    }

    #[test]
    fn a_name_of_one_letter_is_not_near_to_another_one() {
        assert_eq!(nearest("x", ["a", "b"].into_iter()), None);
    }

    #[test]
    fn long_lists_are_cut() {
        let names: Vec<String> = (0..20).map(|n| format!("target-number-{n}")).collect();
        let hint = hint("q", names.iter().map(String::as_str));
        assert!(hint.ends_with("`target-number-7` or 12 more"), "{hint}");
    }
}
