use std::fmt;

/// The maximum number of mistakes in a report. A longer report says that there are more.
pub const MAX_MISTAKES: usize = 100;
/// The maximum number of characters of a name or value that is shown, so that a report stays readable.
const MAX_SHOWN: usize = 64;

/// A mistake in a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// Its path: `targets.gpt-a.weight`, `models["gpt-4.1"].tiers[0][2]`, or `configuration` for the whole.
    pub path: String,
    /// What is wrong and what was expected. It never contains a credential.
    pub problem: String,
}

/// The mistakes in a configuration, sorted by path; at most [`MAX_MISTAKES`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mistakes {
    list: Vec<Mistake>,
    more: bool,
}

impl Mistakes {
    /// The mistakes, sorted by path.
    pub fn iter(&self) -> std::slice::Iter<'_, Mistake> {
        self.list.iter()
    }

    /// The number of listed mistakes.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there are no mistakes.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Whether there are more mistakes than listed.
    pub fn has_more(&self) -> bool {
        self.more
    }

    /// Adds a mistake. Only the first one at a path is kept, because later ones are usually its consequence.
    pub(super) fn add(&mut self, at: &Trail<'_>, problem: impl Into<String>) {
        self.add_with(at, || problem.into());
    }

    /// Like `add`, but builds the message only if the report has room for it.
    pub(super) fn add_with(&mut self, at: &Trail<'_>, problem: impl FnOnce() -> String) {
        if self.is_full() {
            self.more = true;
            return;
        }
        self.add_at(at.to_string(), problem);
    }

    /// Like `add_with`, with the path as text.
    pub(super) fn add_at(&mut self, path: String, problem: impl FnOnce() -> String) {
        if self.list.iter().any(|mistake| mistake.path == path) {
            return;
        }
        if self.is_full() {
            self.more = true;
            return;
        }
        self.list.push(Mistake { path, problem: problem() });
    }

    /// Whether further mistakes would not be listed.
    pub(super) fn is_full(&self) -> bool {
        self.list.len() >= MAX_MISTAKES
    }

    /// Whether there is a mistake at exactly this path.
    pub(super) fn holds(&self, at: &Trail<'_>) -> bool {
        let path = at.to_string();
        self.list.iter().any(|mistake| mistake.path == path)
    }

    /// Sorts the mistakes by path.
    pub(super) fn sorted(mut self) -> Self {
        self.list.sort_by(|a, b| a.path.cmp(&b.path));
        self
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (count, more) = (self.list.len(), if self.more { "more than " } else { "" });
        let noun = if count == 1 { "mistake" } else { "mistakes" };
        write!(f, "the configuration has {more}{count} {noun}:")?;
        for Mistake { path, problem } in &self.list {
            write!(f, "\n  {path}: {problem}")?;
        }
        if self.more { f.write_str("\n  … and more") } else { Ok(()) }
    }
}

impl std::error::Error for Mistakes {}

/// The path to a place in the configuration. It is converted to text only for a mistake.
#[derive(Debug, Clone, Copy)]
pub(super) enum Trail<'a> {
    /// The whole configuration.
    Root,
    /// A field of a mapping.
    Field(&'a Trail<'a>, &'a str),
    /// An item of a list.
    Item(&'a Trail<'a>, usize),
}

impl Trail<'_> {
    pub(super) fn field<'b>(&'b self, name: &'b str) -> Trail<'b> {
        Trail::Field(self, name)
    }

    pub(super) fn item(&self, index: usize) -> Trail<'_> {
        Trail::Item(self, index)
    }

    /// The recursion is bounded by the nesting that the reader accepts.
    fn write_to(&self, path: &mut String) {
        match self {
            Self::Root => {}
            Self::Field(parent, name) => {
                parent.write_to(path);
                push_field(path, name);
            }
            Self::Item(parent, index) => {
                parent.write_to(path);
                push_item(path, *index);
            }
        }
    }
}

impl fmt::Display for Trail<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut path = String::new();
        self.write_to(&mut path);
        f.write_str(if path.is_empty() { "configuration" } else { &path })
    }
}

/// Appends a field to a path. Names that could be read as several steps are quoted.
pub(super) fn push_field(path: &mut String, name: &str) {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if name.is_empty() || name.len() > MAX_SHOWN || !name.bytes().all(plain) {
        path.push_str(&format!("[\"{}\"]", shown(name)));
        return;
    }
    if !path.is_empty() {
        path.push('.');
    }
    path.push_str(name);
}

/// Appends a list index to a path.
pub(super) fn push_item(path: &mut String, index: usize) {
    path.push_str(&format!("[{index}]"));
}

/// Text for one line of a report, with control characters escaped and a bounded length.
pub(super) fn shown(text: &str) -> String {
    let mut line: String = text.chars().take(MAX_SHOWN).flat_map(char::escape_debug).collect();
    if text.chars().nth(MAX_SHOWN).is_some() {
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_quotes_names_that_could_be_read_as_several_steps() {
        let models = Trail::Root.field("models");
        let model = models.field("gpt-4.1");
        let tiers = model.field("tiers");
        let tier = tiers.item(0);
        assert_eq!(tier.item(2).to_string(), "models[\"gpt-4.1\"].tiers[0][2]");
        assert_eq!(Trail::Root.to_string(), "configuration");
        assert_eq!(Trail::Root.field("").to_string(), "[\"\"]");
    }

    #[test]
    fn shown_text_is_one_short_line() {
        assert_eq!(shown("a\nb\"c"), "a\\nb\\\"c");
        assert_eq!(shown(&"x".repeat(1000)).chars().count(), MAX_SHOWN + 1);
    }

    #[test]
    fn a_full_report_says_that_there_are_more_mistakes() {
        let mut mistakes = Mistakes::default();
        for index in 0..=MAX_MISTAKES {
            mistakes.add(&Trail::Root.item(index), "wrong");
        }
        assert_eq!((mistakes.len(), mistakes.has_more()), (MAX_MISTAKES, true));
        let text = mistakes.sorted().to_string();
        assert!(text.starts_with("the configuration has more than 100 mistakes:\n  [0]: wrong\n"), "{text}");
        assert!(text.ends_with("\n  … and more"), "{text}");
    }

    #[test]
    fn only_the_first_mistake_at_a_path_is_kept() {
        let mut mistakes = Mistakes::default();
        mistakes.add(&Trail::Root.field("a"), "cause");
        mistakes.add(&Trail::Root.field("a"), "consequence");
        assert_eq!(mistakes.to_string(), "the configuration has 1 mistake:\n  a: cause");
    }
}
