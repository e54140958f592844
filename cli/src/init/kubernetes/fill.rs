//! Puts values into templates.

/// A place of a template, and what stands there.
pub type Value<'v> = (&'v str, String);

/// The template with the values in their places.
///
/// A place is `@name@`. Alone on its line it stands for whole lines, or for none.
pub fn fill(template: &str, values: &[Value<'_>]) -> String {
    let mut text = String::new();
    for line in template.lines() {
        let place = line.strip_prefix('@').and_then(|rest| rest.strip_suffix('@'));
        if let Some((_, block)) = values.iter().find(|(name, _)| Some(*name) == place) {
            text.push_str(block);
            continue;
        }
        let filled = values
            .iter()
            .fold(line.to_owned(), |line, (name, value)| line.replace(&format!("@{name}@"), value));
        text.push_str(&filled);
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_word_or_whole_lines() {
        let template = "a: @x@ and @x@\n@lines@\n  b: @y@\n@nothing@\nmail@x\n";
        let values = [
            ("x", "1".to_owned()),
            ("y", "@x".to_owned()),
            ("lines", "  c: 2\n  d: 3\n".to_owned()),
            ("nothing", String::new()),
        ];
        assert_eq!(fill(template, &values), "a: 1 and 1\n  c: 2\n  d: 3\n  b: @x\nmail@x\n");
    }
}
