//! What the translator of an answer needs to know of the request.

/// See the module.
#[derive(Debug, Clone, Default)]
pub struct AnswerContext {
    /// The client asked for a stream.
    pub streamed: bool,
}
