//! What becomes of reasoning in a translation.

/// What a translation does with reasoning that only another dialect can name in the same way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ReasoningPolicy {
    /// Reasoning of earlier turns is not sent, and that of the answer is not shown.
    #[default]
    Drop,
    /// Plain reasoning is carried over where both dialects have a place for it. Signed and encrypted
    /// reasoning is dropped.
    Keep,
    /// A request that has reasoning or asks for it is not translated, unless the loss is allowed.
    Refuse,
}
