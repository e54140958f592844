//! What a translation notes besides the body that it writes.

use std::borrow::Cow;

use super::super::json::Raw;
use super::super::{AnswerContext, Loss, Losses, ReasoningPolicy, RenamedTool};
use super::idents;

/// How many names of tools a request may have that the answer needs to know. A request with more is not
/// translated.
pub(super) const MAX_NOTED_TOOLS: usize = 1024;

/// The losses of a translation, and what its answer needs to know.
#[derive(Debug)]
pub(super) struct Notes {
    pub(super) losses: Losses,
    pub(super) context: AnswerContext,
    pub(super) reasoning: ReasoningPolicy,
    /// Whether there are more names of tools than can be noted.
    pub(super) overflow: bool,
}

impl Notes {
    pub(super) fn new(reasoning: ReasoningPolicy) -> Self {
        Self { losses: Losses::default(), context: AnswerContext::default(), reasoning, overflow: false }
    }

    pub(super) const fn lost(&mut self, loss: Loss) {
        self.losses.add(loss);
    }

    /// Notes `loss` if there is a value and it is none of `defaults`, which are JSON as it is written.
    pub(super) fn lost_unless(&mut self, loss: Loss, value: Option<Raw<'_>>, defaults: &[&str]) {
        if value.is_some_and(|value| !defaults.iter().any(|default| value.bytes() == default.as_bytes())) {
            self.lost(loss);
        }
    }

    /// Notes `loss` if the value says something: it is not `false` and not empty.
    pub(super) fn lost_if_filled(&mut self, loss: Loss, value: Option<Raw<'_>>) {
        let can_be_empty = |value: &Raw<'_>| value.is_string() || value.is_object() || value.is_array();
        let filled = value.filter(|value| value.is_filled() || !can_be_empty(value));
        self.lost_unless(loss, filled, &["false"]);
    }

    /// Notes that the request asks for reasoning.
    pub(super) fn asks_for_reasoning(&mut self) {
        if self.reasoning == ReasoningPolicy::Refuse {
            self.lost(Loss::Reasoning);
        }
    }

    /// The provider's name of the tool that the client calls `name`, within `namespace` if it has one.
    pub(super) fn tool_name<'a>(&mut self, name: Raw<'a>, namespace: Option<Raw<'a>>) -> Cow<'a, [u8]> {
        let provider = idents::tool_name(name, namespace);
        let client = name.escaped().unwrap_or_default();
        if namespace.is_some() || *provider != *client {
            self.rename(&provider, client, namespace.and_then(Raw::escaped));
        }
        provider
    }

    fn rename(&mut self, provider: &[u8], client: &[u8], namespace: Option<&[u8]>) {
        if self.context.renamed(provider).is_some() {
            return;
        }
        if self.context.renamed_tools.len() >= MAX_NOTED_TOOLS {
            self.overflow = true;
            return;
        }
        self.context.renamed_tools.push(RenamedTool {
            provider: provider.into(),
            client: client.into(),
            namespace: namespace.map(Into::into),
        });
    }

    /// Notes that the tool with this name at the provider takes plain text.
    pub(super) fn custom_tool(&mut self, provider: &[u8]) {
        if self.context.is_custom(provider) {
            return;
        }
        if self.context.custom_tools.len() >= MAX_NOTED_TOOLS {
            self.overflow = true;
            return;
        }
        self.context.custom_tools.push(provider.into());
    }
}
