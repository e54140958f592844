use super::mistakes::shown;
use crate::base::nearest;

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

#[cfg(test)]
mod tests {
    use super::*;

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
    fn long_lists_are_cut() {
        let names: Vec<String> = (0..20).map(|n| format!("target-number-{n}")).collect();
        let hint = hint("q", names.iter().map(String::as_str));
        assert!(hint.ends_with("`target-number-7` or 12 more"), "{hint}");
    }
}
