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
        fill_line(line, values, &mut text);
        text.push('\n');
    }
    text
}

/// Reads the line once, so what stands in a value is not taken for a place.
fn fill_line(mut line: &str, values: &[Value<'_>], text: &mut String) {
    while let Some((before, after)) = line.split_once('@') {
        text.push_str(before);
        let found = values.iter().find_map(|(name, value)| {
            let rest = after.strip_prefix(name)?.strip_prefix('@')?;
            Some((value, rest))
        });
        match found {
            Some((value, rest)) => {
                text.push_str(value);
                line = rest;
            }
            None => {
                text.push('@');
                line = after;
            }
        }
    }
    text.push_str(line);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_word_or_whole_lines() {
        let template = "a: @x@ and @x@\n@lines@\n  b: @y@z@x@\n@nothing@\nmail@x\n";
        let values = [
            ("x", "1".to_owned()),
            ("y", "@x@".to_owned()),
            ("lines", "  c: 2\n  d: 3\n".to_owned()),
            ("nothing", String::new()),
        ];
        assert_eq!(fill(template, &values), "a: 1 and 1\n  c: 2\n  d: 3\n  b: @x@z1\nmail@x\n");
    }
}
