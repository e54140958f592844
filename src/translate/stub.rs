//! Stands in for the translations until they are merged.

use std::rc::Rc;

use super::{AnswerContext, ReasoningPolicy, Translation};

/// What the answer needs besides the provider's bytes.
#[derive(Debug, Clone)]
pub struct AnswerTerms {
    /// What the request has shown.
    pub context: AnswerContext,
    /// The client's name for the model.
    pub model: Option<Rc<str>>,
    /// Seconds since 1970.
    pub created: u64,
    /// For ids.
    pub seed: u64,
    /// What becomes of reasoning.
    pub reasoning: ReasoningPolicy,
}

/// Stub.
pub fn translate_answer(_way: Translation, body: &[u8], _terms: &AnswerTerms) -> Option<Vec<u8>> {
    Some(body.to_vec())
}

/// The event cannot be translated.
#[derive(Debug)]
pub struct NotTranslated;

/// Stub.
#[derive(Debug)]
pub struct StreamTranslator;

impl StreamTranslator {
    /// Stub.
    pub fn new(_way: Translation, _terms: AnswerTerms) -> Self {
        Self
    }

    /// Stub.
    pub fn event(&mut self, _name: &[u8], _data: &[u8], _out: &mut Vec<u8>) -> Result<(), NotTranslated> {
        Ok(())
    }

    /// Stub.
    pub fn finish(&mut self, _out: &mut Vec<u8>) {}

    /// Stub.
    pub fn next_number(&self) -> u64 {
        0
    }
}
