//! The limits on what one scan accepts and keeps.

/// The deepest nesting of objects and arrays that is accepted. It is serde_json's limit, so that what passes
/// here can be parsed there.
pub const MAX_DEPTH: u8 = 127;

/// How many top-level members named `model` a body may have. Duplicate keys are legal JSON and parsers differ
/// in which one they take, so each is rewritten. A body with more than this many is rejected.
pub const MAX_MODEL_MEMBERS: usize = 8;

/// How many places of a body may have to change to ask for usage. A body with more is left as it is.
pub const MAX_USAGE_SPOTS: usize = 8;

/// How many texts at the beginning of a conversation identify it.
pub const MAX_OPENING_TEXTS: u32 = 16;

/// How many references to state are noted of the items in `input`: those of the last items.
pub const MAX_ITEM_REFERENCES: usize = 8;

/// How many references to state are noted besides those of items: the first ones, and always the previous
/// response and the conversation.
pub const MAX_NAMED_REFERENCES: usize = 4;

/// How many items with encrypted reasoning can be removed from a request. If it has more, all of them stay.
pub const MAX_SEALED_ITEMS: usize = 1024;
