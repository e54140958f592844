//! What an error message says, as sentences of plain lower-case words.
//!
//! A message may quote the client, so quoted text is left out, and only the beginning is read.

/// How much of a message is read, in bytes.
pub(super) const MAX_READ: usize = 512;

/// How many sentences are kept.
pub(super) const MAX_SENTENCES: usize = 4;

/// Stands for a quoted text, so that the words around it do not come together.
const QUOTED: &str = "_";

/// Signs that open a quoted text, and those that close it.
const QUOTES: [(char, char); 7] =
    [('"', '"'), ('\'', '\''), ('`', '`'), ('\u{201c}', '\u{201d}'), ('「', '」'), ('『', '』'), ('«', '»')];

/// Signs that end a sentence. A full stop ends one only before a space.
const ENDS: [char; 8] = ['!', '?', ';', '\n', '。', '！', '？', '；'];

/// The beginning of a message in plain words.
#[derive(Debug, Default)]
pub(super) struct Wording {
    sentences: Vec<String>,
}

impl Wording {
    pub(super) fn of(message: &str) -> Self {
        let message = unwrap_quotes(super::error_body::truncate(message.trim(), MAX_READ));
        let mut sentences = vec![String::from(" ")];
        let mut rest = message.char_indices().peekable();
        let mut before = ' ';
        while let Some((at, c)) = rest.next() {
            let Some(sentence) = sentences.last_mut() else { break };
            if let Some(end) = end_of_quote(message, at, c, before) {
                add_word(sentence, QUOTED);
                while rest.next_if(|(next, _)| *next < end).is_some() {}
                before = ' ';
                continue;
            }
            let next_is_space = rest.peek().is_none_or(|(_, next)| next.is_whitespace());
            if ENDS.contains(&c) || (c == '.' && next_is_space) {
                if sentence.len() > 1 {
                    if sentences.len() == MAX_SENTENCES {
                        break;
                    }
                    sentences.push(String::from(" "));
                }
            } else if c.is_alphanumeric() {
                sentence.extend(c.to_lowercase());
            } else if c != '\'' && c != '\u{2019}' && !sentence.ends_with(' ') {
                sentence.push(' ');
            }
            before = c;
        }
        for sentence in &mut sentences {
            if !sentence.ends_with(' ') {
                sentence.push(' ');
            }
        }
        Self { sentences }
    }

    /// A code as one sentence: `AccountOverdueError` and `account_overdue_error` are the same.
    pub(super) fn of_code(code: &str) -> Self {
        let mut sentence = String::from(" ");
        let mut before = ' ';
        for c in super::error_body::truncate(code, super::MAX_NAME).chars() {
            if !c.is_alphanumeric() || (c.is_uppercase() && before.is_lowercase()) {
                add_space(&mut sentence);
            }
            if c.is_alphanumeric() {
                sentence.extend(c.to_lowercase());
            }
            before = c;
        }
        add_space(&mut sentence);
        Self { sentences: vec![sentence] }
    }

    /// The sentences. Each begins and ends with a space, and has one between two words.
    pub(super) fn sentences(&self) -> &[String] {
        &self.sentences
    }

    /// Whether one of the phrases is in the message. A phrase has spaces around it if it must be whole words.
    pub(super) fn has(&self, phrases: &[&str]) -> bool {
        self.sentences.iter().any(|sentence| phrases.iter().any(|phrase| sentence.contains(phrase)))
    }
}

fn add_space(sentence: &mut String) {
    if !sentence.ends_with(' ') {
        sentence.push(' ');
    }
}

fn add_word(sentence: &mut String, word: &str) {
    add_space(sentence);
    sentence.push_str(word);
    sentence.push(' ');
}

/// A message that is one quoted text is that text.
fn unwrap_quotes(message: &str) -> &str {
    let inner = message.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    inner.filter(|inner| !inner.contains('"')).unwrap_or(message)
}

/// Where the quoted text ends that `c` opens at `at`: after its closing sign, or at the end of the message.
/// `None` if it opens none. An apostrophe within a word is no quote.
fn end_of_quote(message: &str, at: usize, c: char, before: char) -> Option<usize> {
    let (_, close) = *QUOTES.iter().find(|(open, _)| *open == c)?;
    if c == '\'' && before.is_alphanumeric() {
        return None;
    }
    let start = at + c.len_utf8();
    let inside = message.get(start..)?;
    let end = inside.char_indices().find(|(offset, sign)| {
        let after = inside.get(offset + sign.len_utf8()..).and_then(|rest| rest.chars().next());
        *sign == close && (close != '\'' || after.is_none_or(|after| !after.is_alphanumeric()))
    });
    Some(end.map_or(message.len(), |(offset, sign)| start + offset + sign.len_utf8()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_message_becomes_sentences_of_plain_words() {
        for (message, expected) in [
            ("Your account is suspended.", &[" your account is suspended "][..]),
            ("You've no Credits! Please  top-up; now", &[" youve no credits ", " please top up ", " now "]),
            ("See api.example.com/v1. Then stop.", &[" see api example com v1 ", " then stop ", " "]),
            ("Consumer 'api_key:AIza' has been suspended.", &[" consumer _ has been suspended ", " "]),
            ("Invalid \"my account is suspended\" here", &[" invalid _ here "]),
            ("never closed: `my account is suspended", &[" never closed _ "]),
            ("\"Insufficient balance\"", &[" insufficient balance "]),
            ("您的账户已欠费，请充值后重试。", &[" 您的账户已欠费 请充值后重试 ", " "]),
            ("", &[" "]),
        ] {
            let found = Wording::of(message);
            let wanted: Vec<_> = expected.iter().filter(|sentence| sentence.len() > 1).collect();
            let found: Vec<_> = found.sentences().iter().filter(|sentence| sentence.len() > 1).collect();
            assert_eq!(found, wanted, "{message}");
        }
    }

    #[test]
    fn codes_are_split_into_their_words() {
        for code in ["AccountOverdueError", "account_overdue_error", "ACCOUNT-OVERDUE.ERROR"] {
            assert_eq!(Wording::of_code(code).sentences(), [" account overdue error "], "{code}");
        }
        assert_eq!(
            Wording::of_code("AllocationQuota.FreeTierOnly").sentences(),
            [" allocation quota free tier only "]
        );
    }

    #[test]
    fn only_the_beginning_is_read() {
        let long = format!("{} your account is suspended", "a. ".repeat(MAX_READ));
        assert!(Wording::of(&long).sentences().len() <= MAX_SENTENCES);
        assert!(!Wording::of(&long).has(&["suspended"]));
        let long = format!("{} suspended", "a".repeat(MAX_READ));
        assert!(!Wording::of(&long).has(&["suspended"]));
    }

    proptest! {
        #[test]
        fn any_message_becomes_a_bounded_text(message in "\\PC{0,900}") {
            let wording = Wording::of(&message);
            // Lower case may take more bytes than upper case.
            let length: usize = wording.sentences().iter().map(String::len).sum();
            prop_assert!(wording.sentences().len() <= MAX_SENTENCES && length <= 4 * MAX_READ);
            for sentence in wording.sentences() {
                prop_assert!(sentence.starts_with(' ') && sentence.ends_with(' '));
                prop_assert!(!sentence.contains("  "));
            }
        }
    }
}
