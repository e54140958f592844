//! The pieces of which every answer consists, whatever its dialect.
//!
//! The reader of a provider's dialect puts them one after another, and the writer of the client's dialect takes
//! them. So each dialect is read once and written once. Texts are the insides of JSON strings as the provider
//! wrote them: a writer copies them with their escapes.
//!
//! A reader keeps this order: `Start` first, the `Arguments` of a call directly behind it, `Finish` once behind
//! all content, `End` once and last.

use super::finish::Finish;
use super::terms::NotTranslated;
use crate::base::usage::Usage;

/// A piece of an answer.
#[derive(Debug, Clone, Copy)]
pub(super) enum Piece<'a> {
    /// The provider has begun to answer.
    Start(Head<'a>),
    /// Text for the user.
    Text(&'a [u8]),
    /// The model's words for that it does not answer.
    Refusal(&'a [u8]),
    /// A source of the text so far.
    Citation(Citation<'a>),
    /// Plain reasoning.
    Reasoning(&'a [u8]),
    /// A call of a tool begins.
    Call(Call<'a>),
    /// Arguments of the last call: a part of a JSON text.
    Arguments(&'a [u8]),
    /// What has been used so far. It replaces what was said before.
    Usage(Usage),
    /// The model has ended.
    Finish(Finish<'a>),
    /// The provider has ended.
    End,
}

/// What names an answer.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Head<'a> {
    /// The provider's id; empty if it has none.
    pub id: &'a [u8],
    /// The provider's name of the model.
    pub model: &'a [u8],
}

/// A page of the web that a part of the text relies on.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Citation<'a> {
    /// Its address.
    pub url: &'a [u8],
    /// Its title.
    pub title: &'a [u8],
    /// Where in the text the part begins.
    pub start: u64,
    /// Where in the text the part ends.
    pub end: u64,
}

/// A call of a tool.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Call<'a> {
    /// Its id.
    pub id: &'a [u8],
    /// The name of the tool.
    pub name: &'a [u8],
    /// The namespace of the tool, in Responses.
    pub namespace: Option<&'a [u8]>,
    /// Whether the tool takes plain text, which is in the argument `input`.
    pub is_custom: bool,
}

/// What becomes of a piece.
pub(super) type Taken = Result<(), NotTranslated>;

/// Where a reader puts its pieces.
pub(super) type Put<'p> = &'p mut dyn FnMut(Piece<'_>) -> Taken;
