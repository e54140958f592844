//! Translation between the dialects of clients and providers.
//!
//! A client of one dialect can then be served by a provider of another. A [`Translation`] names the way of the
//! request; the answer goes the opposite way. Requests have three direct ways. The fourth, Responses to Messages, is
//! two of them in a row, so that each rule is written once.
//!
//! Everything here is a pure function of bytes. What the other dialect cannot express is a [`Loss`]. It is
//! named before the request is sent, and the gate `translation` decides whether it is allowed.
//!
//! **A break stays a break.** A stream's proper end goes to the client only after the provider has sent its own.

mod answer;
mod context;
mod json;
mod losses;
mod reasoning;
mod request;

pub use answer::{AnswerTerms, NotTranslated, StreamTranslator, translate_answer};
pub use context::{AnswerContext, RenamedTool};
pub use losses::{Loss, Losses};
pub use reasoning::ReasoningPolicy;
pub use request::{RequestTerms, TranslatedRequest, Untranslatable, losses_of, translate_request};

use crate::base::Endpoint;

// So that paths are the same in every crate of `src`.
#[cfg(test)]
use crate as translate;
use llm_failsafe_base as base;

/// The way of a request: from the client's dialect to the provider's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Translation {
    /// `/v1/chat/completions` to `/v1/messages`.
    ChatToMessages,
    /// `/v1/messages` to `/v1/chat/completions`.
    MessagesToChat,
    /// `/v1/responses` to `/v1/chat/completions`.
    ResponsesToChat,
    /// `/v1/responses` to `/v1/messages`, by way of `/v1/chat/completions`.
    ResponsesToMessages,
}

impl Translation {
    /// Every translation, in the order of the documentation.
    pub const ALL: [Self; 4] =
        [Self::ChatToMessages, Self::MessagesToChat, Self::ResponsesToChat, Self::ResponsesToMessages];

    /// The translation for a client of `from` at a provider that has `to`; `None` if there is none.
    pub fn between(from: Endpoint, to: Endpoint) -> Option<Self> {
        Self::ALL.into_iter().find(|translation| translation.from() == from && translation.to() == to)
    }

    /// The endpoint that the client called.
    pub const fn from(self) -> Endpoint {
        match self {
            Self::ChatToMessages => Endpoint::Chat,
            Self::MessagesToChat => Endpoint::Messages,
            Self::ResponsesToChat | Self::ResponsesToMessages => Endpoint::Responses,
        }
    }

    /// The endpoint that the provider gets.
    pub const fn to(self) -> Endpoint {
        match self {
            Self::ChatToMessages | Self::ResponsesToMessages => Endpoint::Messages,
            Self::MessagesToChat | Self::ResponsesToChat => Endpoint::Chat,
        }
    }

    /// Its name in headers and records.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ChatToMessages => "chat>messages",
            Self::MessagesToChat => "messages>chat",
            Self::ResponsesToChat => "responses>chat",
            Self::ResponsesToMessages => "responses>messages",
        }
    }
}
