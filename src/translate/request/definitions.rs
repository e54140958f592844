//! The definitions of tools in a translated request.

use super::super::Loss;
use super::super::json::Writer;
use super::notes::Notes;

/// The definitions that are written so far.
#[derive(Debug, Default)]
pub(super) struct Definitions {
    elements: Writer,
    names: Vec<Box<[u8]>>,
}

impl Definitions {
    /// Adds the definition of the tool `name`, of which `write` writes the members.
    pub(super) fn add(&mut self, name: &[u8], write: impl FnOnce(&mut Writer)) {
        self.names.push(name.into());
        self.elements.object(write);
    }

    /// Whether there are none.
    pub(super) const fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Whether `name` may be chosen. A provider refuses the choice of a tool that it does not know, such as one
    /// that was left out.
    pub(super) fn may_choose(&self, name: &[u8], notes: &mut Notes) -> bool {
        let defined = self.names.iter().any(|defined| **defined == *name);
        if !defined {
            notes.lost(Loss::ToolChoice);
        }
        defined
    }

    /// Writes the `tool_choice` of chat that forces the function `name`, if it may be chosen.
    pub(super) fn write_chosen_function(&self, name: &[u8], to: &mut Writer, notes: &mut Notes) {
        if self.may_choose(name, notes) {
            to.key("tool_choice").object(|to| {
                to.key("type").text(b"function");
                to.key("function").object(|to| to.key("name").text(name));
            });
        }
    }

    /// Writes `tools`, if there are any.
    pub(super) fn write(&self, to: &mut Writer) {
        if !self.is_empty() {
            to.key("tools").array(|to| to.literal(self.elements.as_bytes()));
        }
    }
}
