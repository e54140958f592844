//! What the readers of both dialects need.

use super::terms::NotTranslated;
use crate::base::json::{Json, NotJson, Read};

/// The data of chat's last event. Relays send it in other dialects, too.
pub(super) const DONE: &[u8] = b"[DONE]";

/// How far an answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Default)]
pub(super) enum Stage {
    /// Nothing has come.
    #[default]
    Awaited,
    /// The provider answers.
    Begun,
    /// The model has ended. Only counts may follow.
    Finished,
    /// The provider has ended.
    Ended,
}

impl From<NotJson> for NotTranslated {
    fn from(_: NotJson) -> Self {
        Self
    }
}

/// The error inside the reader of JSON that stands for [`NotTranslated`].
pub(super) const fn fail(_: NotTranslated) -> NotJson {
    NotJson
}

/// The inside of a string; empty for another value. A line end in it would break the event that it is copied
/// into, and JSON has none there.
pub(super) fn inside<'e>(json: &mut Json<'e>) -> Read<&'e [u8]> {
    let text = json.text()?.unwrap_or_default();
    let has_control = text.iter().fold(false, |has, byte| has | (*byte < b' '));
    if has_control { Err(NotJson) } else { Ok(text) }
}
