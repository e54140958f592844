//! What becomes of reasoning in a translation.

/// What becomes of reasoning that a conversation or an answer shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ReasoningPolicy {
    /// It is left out.
    #[default]
    Drop,
    /// It is kept where the other dialect has a place for it and nobody has signed it.
    Keep,
    /// A conversation that has some is not translated.
    Refuse,
}
