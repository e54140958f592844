//! What goes into the translation of a request, and what comes of it.

use thiserror::Error;

use super::super::context::AnswerContext;
use super::super::losses::Losses;
use super::super::reasoning::ReasoningPolicy;

/// What the provider needs in a translated request.
#[derive(Debug, Clone, Copy)]
pub struct RequestTerms<'a> {
    /// The provider's name of the model.
    pub model: &'a str,
    /// `max_tokens` for Messages if the request names no limit. Messages requires one.
    pub max_output_tokens: u64,
    /// What becomes of reasoning.
    pub reasoning: ReasoningPolicy,
}

/// A translated request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TranslatedRequest {
    /// The provider's body.
    pub body: Vec<u8>,
    /// What the translator of the answer needs to know.
    pub context: AnswerContext,
    /// What was lost at this model. [`losses_of`] does not know the model: a model may refuse more than its
    /// dialect.
    pub losses: Losses,
}

/// Why a request has no translation at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Untranslatable {
    /// The body is not a JSON object.
    #[error("the body is not a JSON object")]
    NotAnObject,
    /// There is no conversation in it.
    #[error("the request has no messages")]
    NoMessages,
    /// It has more tools with other names than can be noted.
    #[error("the request has too many tools")]
    TooManyTools,
}
