//! The turns of a Messages conversation.
//!
//! Messages wants a user's turn first, turns of both sides alternating, the results of tools first in a turn,
//! and no turn without content. So neighbours of one side become one turn, and a turn is written when the
//! other side begins.

use super::super::super::json::Writer;

/// The user's turn before a conversation that the assistant begins.
const OPENING: &[u8] = b"(The conversation begins.)";

/// The user's turn after a conversation that the assistant ends. Newer models refuse to go on with an
/// assistant's turn, and older ones would not begin a new one.
const CONTINUE: &[u8] = b"Continue.";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    User,
    Assistant,
}

impl Side {
    const fn role(self) -> &'static [u8] {
        match self {
            Self::User => b"user",
            Self::Assistant => b"assistant",
        }
    }
}

/// How a conversation ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// There are no turns.
    Empty,
    /// With a turn of the user that has no results of tools.
    Question,
    /// With results of tools.
    Results,
    /// With a turn of the assistant.
    Answer,
}

/// Writes the turns as the elements of an array.
#[derive(Debug)]
pub(super) struct Turns<'w> {
    to: &'w mut Writer,
    /// How the conversation ends with the turns that are written.
    written: End,
    /// The side of the turn that is being collected.
    side: Side,
    /// The results of tools in it.
    results: Writer,
    /// The other blocks in it.
    blocks: Writer,
    /// Blocks of a side that has perhaps nothing to say.
    scratch: Writer,
}

impl<'w> Turns<'w> {
    pub(super) fn new(to: &'w mut Writer) -> Self {
        let (results, blocks, scratch) = (Writer::default(), Writer::default(), Writer::default());
        Self { to, written: End::Empty, side: Side::User, results, blocks, scratch }
    }

    /// Adds the blocks that `write` writes to the user's turn.
    pub(super) fn user(&mut self, write: impl FnOnce(&mut Writer)) {
        self.add(Side::User, write);
    }

    /// Adds the blocks that `write` writes to the assistant's turn.
    pub(super) fn assistant(&mut self, write: impl FnOnce(&mut Writer)) {
        self.add(Side::Assistant, write);
    }

    /// Adds the result of a tool, which `write` writes, to the user's turn.
    pub(super) fn result(&mut self, write: impl FnOnce(&mut Writer)) {
        self.begin(Side::User);
        self.results.object(write);
    }

    fn add(&mut self, side: Side, write: impl FnOnce(&mut Writer)) {
        self.scratch.truncate(0);
        write(&mut self.scratch);
        if self.scratch.len() > 0 {
            self.begin(side);
            self.blocks.literal(self.scratch.as_bytes());
        }
    }

    fn begin(&mut self, side: Side) {
        if self.side != side {
            self.complete();
            self.side = side;
        }
    }

    /// How the conversation ends so far.
    fn end(&self) -> End {
        match self.side {
            _ if self.results.len() == 0 && self.blocks.len() == 0 => self.written,
            Side::User if self.results.len() > 0 => End::Results,
            Side::User => End::Question,
            Side::Assistant => End::Answer,
        }
    }

    /// Writes what is left and tells how the conversation ended. A conversation always ends with the user.
    pub(super) fn finish(mut self) -> End {
        let end = self.end();
        match end {
            End::Empty => self.user(|to| write_text(OPENING, to)),
            End::Answer => self.user(|to| write_text(CONTINUE, to)),
            End::Question | End::Results => {}
        }
        self.complete();
        end
    }

    fn complete(&mut self) {
        let end = self.end();
        if end == End::Answer && self.written == End::Empty {
            write_turn(Side::User, self.to, |to| write_text(OPENING, to));
        }
        if self.results.len() > 0 || self.blocks.len() > 0 {
            write_turn(self.side, self.to, |to| {
                for part in [&self.results, &self.blocks] {
                    if part.len() > 0 {
                        to.literal(part.as_bytes());
                    }
                }
            });
        }
        self.written = end;
        self.results.truncate(0);
        self.blocks.truncate(0);
    }
}

fn write_turn(side: Side, to: &mut Writer, content: impl FnOnce(&mut Writer)) {
    to.object(|to| {
        to.key("role").text(side.role());
        to.key("content").array(content);
    });
}

fn write_text(text: &[u8], to: &mut Writer) {
    to.object(|to| {
        to.key("type").text(b"text");
        to.key("text").text(text);
    });
}
