//! The content of a chat message.

use super::super::json::{Raw, Writer};

/// Collects the parts of a chat message. One text alone is written as a string, which every server takes.
#[derive(Debug, Default)]
pub(super) struct Parts<'a> {
    parts: Writer,
    /// The text, as long as it is the only part.
    alone: Option<Raw<'a>>,
}

impl<'a> Parts<'a> {
    /// Whether there are none.
    pub(super) const fn is_empty(&self) -> bool {
        self.parts.len() == 0
    }

    /// Adds a text, unless it is empty.
    pub(super) fn text(&mut self, text: Raw<'a>) {
        if text.is_string() && text.is_filled() {
            self.alone = self.is_empty().then_some(text);
            write_text(text, &mut self.parts);
        }
    }

    /// Adds the parts of `other`.
    pub(super) fn append(&mut self, other: &Parts<'_>) {
        if !other.is_empty() {
            self.alone = None;
            self.parts.literal(other.parts.as_bytes());
        }
    }

    /// Adds an image with the URL that `url` writes, if it writes one.
    #[must_use]
    pub(super) fn image(&mut self, detail: Option<Raw<'_>>, url: impl FnOnce(&mut Writer) -> bool) -> bool {
        let mut found = false;
        self.part_if(|to| {
            to.key("type").text(b"image_url");
            to.key("image_url").object(|to| {
                to.key("url");
                found = url(to);
                if let Some(detail) = detail {
                    to.key("detail").raw(detail);
                }
            });
            found
        })
    }

    /// Adds a file with the name `name` and the URL that `url` writes, if it writes one.
    #[must_use]
    pub(super) fn file(&mut self, name: Option<Raw<'_>>, url: impl FnOnce(&mut Writer) -> bool) -> bool {
        /// OpenAI wants a name.
        const NAME: &[u8] = b"\"document.pdf\"";
        let mut found = false;
        self.part_if(|to| {
            to.key("type").text(b"file");
            to.key("file").object(|to| {
                to.key("filename").literal(name.map_or(NAME, Raw::bytes));
                to.key("file_data");
                found = url(to);
            });
            found
        })
    }

    /// Adds the part that `write` writes, if it returns true.
    fn part_if(&mut self, write: impl FnOnce(&mut Writer) -> bool) -> bool {
        let before = self.parts.len();
        let mut kept = false;
        self.parts.object(|to| kept = write(to));
        if kept {
            self.alone = None;
        } else {
            self.parts.truncate(before);
        }
        kept
    }

    /// Writes the content: a string, an array, or what `empty` is.
    pub(super) fn write(&self, empty: &[u8], to: &mut Writer) {
        match self.alone {
            _ if self.is_empty() => to.literal(empty),
            Some(text) => to.raw(text),
            None => to.array(|to| to.literal(self.parts.as_bytes())),
        }
    }
}

fn write_text(text: Raw<'_>, to: &mut Writer) {
    to.object(|to| {
        to.key("type").text(b"text");
        to.key("text").raw(text);
    });
}

/// Appends `text` to the inside of a string of paragraphs.
pub(super) fn push_paragraph(text: Raw<'_>, paragraphs: &mut Vec<u8>) {
    let Some(inside) = text.escaped().filter(|inside| !inside.is_empty()) else { return };
    if !paragraphs.is_empty() {
        paragraphs.extend_from_slice(b"\\n\\n");
    }
    paragraphs.extend_from_slice(inside);
}

/// Writes a message that has the role `role` and the content `content`, which is JSON as it is written.
pub(super) fn write_message(role: &str, to: &mut Writer, content: impl FnOnce(&mut Writer)) {
    to.object(|to| {
        to.key("role").text(role.as_bytes());
        content(to.key("content"));
    });
}

/// A message of the assistant that is being collected.
#[derive(Debug, Default)]
pub(super) struct Answer<'a> {
    pub(super) parts: Parts<'a>,
    /// The elements of `tool_calls`.
    pub(super) calls: Writer,
    /// The inside of `reasoning_content`.
    pub(super) reasoning: Vec<u8>,
}

impl Answer<'_> {
    /// Adds a call of which `arguments` writes the arguments.
    pub(super) fn call(&mut self, id: &[u8], name: &[u8], arguments: impl FnOnce(&mut Writer)) {
        self.calls.object(|to| {
            to.key("id").text(id);
            to.key("type").text(b"function");
            to.key("function").object(|to| {
                to.key("name").text(name);
                arguments(to.key("arguments"));
            });
        });
    }

    /// Whether there is nothing in it that could be written. Reasoning alone is no message.
    pub(super) const fn is_empty(&self) -> bool {
        self.parts.is_empty() && self.calls.len() == 0
    }

    /// Writes the message, if there is anything in it.
    pub(super) fn write(&self, to: &mut Writer) {
        if self.is_empty() {
            return;
        }
        to.object(|to| {
            to.key("role").text(b"assistant");
            self.parts.write(b"null", to.key("content"));
            if !self.reasoning.is_empty() {
                to.key("reasoning_content").string(|out| out.extend_from_slice(&self.reasoning));
            }
            if self.calls.len() > 0 {
                to.key("tool_calls").array(|to| to.literal(self.calls.as_bytes()));
            }
        });
    }
}

/// Stands for the content of a result that can only be shown to the model in a message of the user.
pub(super) const MOVED: &[u8] = b"\"(The result is in the next message.)\"";

/// Writes the message that has the result of a tool.
pub(super) fn write_result(id: &[u8], parts: &Parts<'_>, empty: &[u8], to: &mut Writer) {
    to.object(|to| {
        to.key("role").text(b"tool");
        to.key("tool_call_id").text(id);
        parts.write(empty, to.key("content"));
    });
}
