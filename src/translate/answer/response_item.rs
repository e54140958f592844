//! The items of a response's output.
//!
//! A text, a refusal and a thought each are an item with one part. A call is an item without parts.

use super::super::json::Writer;
use super::custom_input::CustomInput;
use super::ids::push_item_id;
use super::piece::{Call, Citation};

/// An item that is being written.
#[derive(Debug)]
pub(super) struct Item {
    /// What it is.
    pub kind: Kind,
    /// Its id.
    pub id: Box<[u8]>,
    /// Its place in the output.
    pub index: u64,
    /// The call, if it is one.
    call: OwnedCall,
    /// The sources of a text, with commas.
    citations: Writer,
    /// How many sources there are.
    citation_count: u64,
    /// Reads the text out of the arguments of a custom tool.
    pub input: CustomInput,
}

/// A call of a tool.
#[derive(Debug, Default)]
struct OwnedCall {
    id: Box<[u8]>,
    name: Box<[u8]>,
    namespace: Option<Box<[u8]>>,
}

/// The kinds of items.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Refusal,
    Reasoning,
    Function,
    Custom,
}

/// The names that events of an item have.
#[derive(Debug, Clone, Copy)]
pub(super) struct Names {
    /// The prefix of its id.
    prefix: &'static str,
    /// The event of a piece.
    pub delta: &'static str,
    /// The event of the whole.
    pub done: &'static str,
    /// The member of the whole.
    pub text: &'static str,
    /// Its part, if it has one.
    pub part: Option<PartNames>,
}

/// The names that events of a part have.
#[derive(Debug, Clone, Copy)]
pub(super) struct PartNames {
    /// The event of its beginning.
    pub added: &'static str,
    /// The event of its end.
    pub done: &'static str,
    /// The member that says which part it is.
    pub index: &'static str,
}

const CONTENT: Option<PartNames> = Some(PartNames {
    added: "response.content_part.added",
    done: "response.content_part.done",
    index: "content_index",
});

const SUMMARY: Option<PartNames> = Some(PartNames {
    added: "response.reasoning_summary_part.added",
    done: "response.reasoning_summary_part.done",
    index: "summary_index",
});

impl Kind {
    pub(super) const fn names(self) -> Names {
        match self {
            Self::Text => Names {
                prefix: "msg_",
                delta: "response.output_text.delta",
                done: "response.output_text.done",
                text: "text",
                part: CONTENT,
            },
            Self::Refusal => Names {
                prefix: "msg_",
                delta: "response.refusal.delta",
                done: "response.refusal.done",
                text: "refusal",
                part: CONTENT,
            },
            // Clients show summaries. Many do not read the reasoning itself.
            Self::Reasoning => Names {
                prefix: "rs_",
                delta: "response.reasoning_summary_text.delta",
                done: "response.reasoning_summary_text.done",
                text: "text",
                part: SUMMARY,
            },
            Self::Function => Names {
                prefix: "fc_",
                delta: "response.function_call_arguments.delta",
                done: "response.function_call_arguments.done",
                text: "arguments",
                part: None,
            },
            Self::Custom => Names {
                prefix: "ctc_",
                delta: "response.custom_tool_call_input.delta",
                done: "response.custom_tool_call_input.done",
                text: "input",
                part: None,
            },
        }
    }
}

/// How far an item is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    Begun,
    Completed,
    Incomplete,
}

impl Status {
    const fn name(self) -> &'static str {
        match self {
            Self::Begun => "in_progress",
            Self::Completed => "completed",
            Self::Incomplete => "incomplete",
        }
    }
}

impl Item {
    /// An item of text.
    pub(super) fn new(kind: Kind, index: u64, seed: u64) -> Self {
        let mut id = Vec::new();
        push_item_id(kind.names().prefix, seed, index, &mut id);
        Self {
            kind,
            id: id.into(),
            index,
            call: OwnedCall::default(),
            citations: Writer::default(),
            citation_count: 0,
            input: CustomInput::default(),
        }
    }

    /// The item of a call.
    pub(super) fn of_call(call: &Call<'_>, index: u64, seed: u64) -> Self {
        let kind = if call.is_custom { Kind::Custom } else { Kind::Function };
        let call = OwnedCall {
            id: call.id.into(),
            name: call.name.into(),
            namespace: call.namespace.map(Into::into),
        };
        Self { call, ..Self::new(kind, index, seed) }
    }

    /// Adds a source, and returns its number.
    pub(super) fn cite(&mut self, citation: &Citation<'_>) -> u64 {
        write_citation(citation, &mut self.citations);
        self.citation_count += 1;
        self.citation_count - 1
    }

    /// How many bytes the item keeps besides its text.
    pub(super) const fn len(&self) -> usize {
        self.citations.len()
    }

    /// Writes the part with its text.
    pub(super) fn write_part(&self, text: &[u8], to: &mut Writer) {
        to.object(|to| match self.kind {
            Kind::Refusal => {
                to.key("type").literal(b"\"refusal\"");
                to.key("refusal").inside(text);
            }
            Kind::Reasoning => {
                to.key("type").literal(b"\"summary_text\"");
                to.key("text").inside(text);
            }
            Kind::Text | Kind::Function | Kind::Custom => {
                to.key("type").literal(b"\"output_text\"");
                to.key("text").inside(text);
                to.key("annotations").array(|to| to.fragment(self.citations.as_bytes()));
                to.key("logprobs").literal(b"[]");
            }
        });
    }

    /// Writes the item with its text.
    pub(super) fn write(&self, status: Status, text: &[u8], to: &mut Writer) {
        to.object(|to| {
            to.key("id").inside(&self.id);
            match self.kind {
                Kind::Reasoning => {
                    to.key("type").literal(b"\"reasoning\"");
                    self.write_parts("summary", status, text, to);
                }
                Kind::Text | Kind::Refusal => {
                    to.key("type").literal(b"\"message\"");
                    to.key("status").inside(status.name().as_bytes());
                    to.key("role").literal(b"\"assistant\"");
                    self.write_parts("content", status, text, to);
                }
                Kind::Function => self.write_call("function_call", status, text, to),
                Kind::Custom => self.write_call("custom_tool_call", status, text, to),
            }
        });
    }

    fn write_parts(&self, key: &str, status: Status, text: &[u8], to: &mut Writer) {
        to.key(key).array(|to| {
            if status != Status::Begun {
                self.write_part(text, to);
            }
        });
    }

    fn write_call(&self, kind: &str, status: Status, text: &[u8], to: &mut Writer) {
        to.key("type").inside(kind.as_bytes());
        to.key("status").inside(status.name().as_bytes());
        to.key("call_id").inside(&self.call.id);
        to.key("name").inside(&self.call.name);
        if let Some(namespace) = &self.call.namespace {
            to.key("namespace").inside(namespace);
        }
        to.key(self.kind.names().text).inside(text);
    }
}

/// Writes an annotation of a text.
pub(super) fn write_citation(citation: &Citation<'_>, to: &mut Writer) {
    to.object(|to| {
        to.key("type").literal(b"\"url_citation\"");
        to.key("start_index").count(citation.start);
        to.key("end_index").count(citation.end);
        to.key("url").inside(citation.url);
        to.key("title").inside(citation.title);
    });
}
