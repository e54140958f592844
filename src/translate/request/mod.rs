//! Requests: one walk over a client's body writes the provider's and notes what is lost.
//!
//! The members of an object are read once and dispatched by name. A value that both dialects have is copied as
//! it is written. What the provider is known to refuse is not sent: it is put in the form that the provider
//! takes, or it is a [`Loss`](super::Loss).

pub(super) mod arguments;
mod chat_model;
mod chat_parts;
mod chat_settings;
mod chat_to_messages;
mod claude;
mod definitions;
mod effort;
pub(super) mod idents;
mod media;
mod messages_to_chat;
mod notes;
mod responses_to_chat;
mod schema;
mod terms;
#[cfg(test)]
mod tests;

use super::json::Raw;
use super::{Losses, ReasoningPolicy, Translation};
use chat_model::ChatModel;
use claude::Claude;
use notes::Notes;
pub use terms::{RequestTerms, TranslatedRequest, Untranslatable};

/// The limit of the answer where only losses are asked for.
const ANY_LIMIT: u64 = 1 << 16;

/// Translates the body of a request, which must have passed [`Scanner`](llm_failsafe_request::Scanner): values are
/// copied without a check.
///
/// # Errors
/// The request has no translation, whatever may be lost.
pub fn translate_request(
    way: Translation,
    body: &[u8],
    terms: &RequestTerms<'_>,
) -> Result<TranslatedRequest, Untranslatable> {
    let chat_model = match way {
        Translation::ResponsesToMessages => chat_model::ONWARD,
        _ => ChatModel::named(terms.model),
    };
    walk(way, body, terms, (Claude::named(terms.model), chat_model))
}

/// What the translation of this request loses at a model that takes all that its dialect has. With
/// [`ReasoningPolicy::Refuse`], to ask for reasoning is a loss.
///
/// # Errors
/// The request has no translation, whatever may be lost.
pub fn losses_of(
    way: Translation,
    body: &[u8],
    reasoning: ReasoningPolicy,
) -> Result<Losses, Untranslatable> {
    let terms = RequestTerms { model: "", max_output_tokens: ANY_LIMIT, reasoning };
    let chat_model = ChatModel { onward: way == Translation::ResponsesToMessages, ..chat_model::ONWARD };
    walk(way, body, &terms, (claude::ANY, chat_model)).map(|translated| translated.losses)
}

fn walk(
    way: Translation,
    body: &[u8],
    terms: &RequestTerms<'_>,
    (claude, chat_model): (Claude, ChatModel),
) -> Result<TranslatedRequest, Untranslatable> {
    let body = Raw::of(body).filter(|body| body.is_object()).ok_or(Untranslatable::NotAnObject)?;
    let mut notes = Notes::new(terms.reasoning);
    let body = match way {
        Translation::ChatToMessages => chat_to_messages::translate(body, terms, claude, &mut notes)?,
        Translation::MessagesToChat => messages_to_chat::translate(body, terms, chat_model, &mut notes)?,
        Translation::ResponsesToChat => responses_to_chat::translate(body, terms, chat_model, &mut notes)?,
        Translation::ResponsesToMessages => {
            let chat = responses_to_chat::translate(body, terms, chat_model, &mut notes)?;
            let chat = Raw::of(&chat).ok_or(Untranslatable::NotAnObject)?;
            chat_to_messages::translate(chat, terms, claude, &mut notes)?
        }
    };
    if notes.overflow {
        return Err(Untranslatable::TooManyTools);
    }
    Ok(TranslatedRequest { body, context: notes.context, losses: notes.losses })
}
