//! A request that its target gets in another dialect.
//!
//! The body is translated as a whole, so a further attempt, whose body the edge sends once more, waits for it.

use std::rc::Rc;

use crate::answer::Translate;
use crate::base::{Decimal, HeaderSink, Timestamp};
use crate::config::{Config, Target};
use crate::intake::ClientRequest;
use crate::request::BodyBuffer;
use crate::translate::{
    AnswerContext, AnswerTerms, Losses, ReasoningPolicy, RequestTerms, Translation, translate_request,
};

/// A translation for one attempt.
#[derive(Debug)]
pub struct Translating {
    way: Translation,
    model: Rc<str>,
    max_output_tokens: u64,
    reasoning: ReasoningPolicy,
    /// The client announced the length of the body.
    has_length: bool,
    /// A random number, for ids that the provider does not give.
    seed: u64,
    /// What the answer's translator needs of the request. `None` until the body has been translated.
    context: Option<AnswerContext>,
    lost: Losses,
    /// How much of the body has come and is held, while it is awaited.
    held: usize,
}

impl Translating {
    /// The translation that `target` needs for the request, if it needs one.
    pub(super) fn of(
        config: &Config,
        target: &Target,
        request: &ClientRequest,
        has_length: bool,
    ) -> Option<Self> {
        let way = config.translation(target, request.endpoint)?;
        Some(Self {
            way,
            model: request.model_at(target),
            max_output_tokens: target.offers.max_output_tokens.tokens,
            reasoning: target.translates?.reasoning,
            has_length,
            seed: 0,
            context: None,
            lost: Losses::default(),
            held: 0,
        })
    }

    /// Which translation it is.
    pub const fn way(&self) -> Translation {
        self.way
    }

    /// The translation and what it has lost, for the record.
    pub const fn recorded(&self) -> (Translation, Losses) {
        (self.way, self.lost)
    }

    /// The same with this random number for ids that the provider does not give.
    #[must_use]
    pub fn seeded(self, seed: u64) -> Self {
        Self { seed, ..self }
    }

    /// Whether the body has not been translated yet.
    pub const fn awaits_body(&self) -> bool {
        self.context.is_none()
    }

    /// So much of the body has come, and more is to come.
    pub(super) const fn hold(&mut self, len: usize) {
        self.held = len;
    }

    /// How much of the body is held.
    pub(super) const fn held(&self) -> usize {
        self.held
    }

    /// Translates the body, all of which the host holds. `known` is the body, if it has been read. `None` if it
    /// cannot be done; then the request must not be sent.
    pub(super) fn translate(
        &mut self,
        host: &mut (impl HeaderSink + BodyBuffer),
        len: usize,
        known: Option<Vec<u8>>,
    ) -> Option<()> {
        let body = match known {
            Some(body) => body,
            None => host.read(0, len).ok().filter(|body| body.len() == len)?,
        };
        let terms = RequestTerms {
            model: &self.model,
            max_output_tokens: self.max_output_tokens,
            reasoning: self.reasoning,
        };
        let translated = translate_request(self.way, &body, &terms).ok()?;
        host.replace_front(len, &translated.body).ok()?;
        if self.has_length {
            host.set("content-length", Decimal::of(translated.body.len() as u64).as_str());
        }
        self.context = Some(translated.context);
        self.lost = translated.losses;
        Some(())
    }

    /// How the answer is translated.
    pub(super) fn answer(&self, request: &ClientRequest, now: Timestamp) -> Translate {
        let terms = AnswerTerms {
            context: self.context.clone().unwrap_or_default(),
            model: request.response_model(),
            created: request.generation.wall_time(now).as_millis() / 1000,
            seed: self.seed,
            reasoning: self.reasoning,
        };
        Translate { way: self.way, terms }
    }
}
