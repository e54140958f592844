//! What goes into the translation of an answer, and how it fails.

use std::rc::Rc;

use super::super::context::AnswerContext;
use super::super::reasoning::ReasoningPolicy;

/// What an answer needs besides the provider's bytes.
#[derive(Debug, Clone, Default)]
pub struct AnswerTerms {
    /// What the request says of the answer.
    pub context: AnswerContext,
    /// The name of the model that the client is to read; the provider's own if `None`.
    pub model: Option<Rc<str>>,
    /// When the answer began, in seconds since 1970.
    pub created: u64,
    /// A random number for the ids that the dialect needs and the provider does not have.
    pub seed: u64,
    /// Whether reasoning is shown. Only [`ReasoningPolicy::Keep`] shows it.
    pub reasoning: ReasoningPolicy,
}

/// The provider sent something that cannot be translated: no JSON, an error, or more than is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotTranslated;
