//! An answer that the client gets in another dialect.
//!
//! The provider's answer is judged as it is. Only what passes is translated: a stream event by event, a plain answer
//! as a whole.

use std::rc::Rc;

use super::buffer::{WINDOW, read_windows};
use crate::request::BodyBuffer;
use crate::stream::{Event, Form, StreamDialect};
use crate::translate::{AnswerTerms, StreamTranslator, Translation, translate_answer};

/// The longest plain answer that is translated. It is kept in the VM until it is over.
pub const MAX_TRANSLATED_ANSWER: usize = 8 * 1024 * 1024;

/// Capacity kept between the chunks of a stream. A Wasm memory never shrinks.
const KEPT_CAPACITY: usize = 16 * 1024;

/// How an answer is translated.
#[derive(Debug, Clone)]
pub struct Translate {
    /// The way of the request.
    pub way: Translation,
    /// What the translator needs.
    pub terms: AnswerTerms,
}

/// An event that cannot be translated, so that the stream ends for its client.
#[derive(Debug)]
pub(super) struct Lost;

/// A stream in the client's dialect, as far as it has been translated and not been passed on.
pub(super) struct TranslatedStream {
    translator: StreamTranslator,
    client: StreamDialect,
    out: Vec<u8>,
}

impl TranslatedStream {
    /// A stream of which nothing has come.
    pub(super) fn new(translate: &Translate) -> Option<Self> {
        let client = StreamDialect::of(translate.way.from())?;
        let translator = StreamTranslator::new(translate.way, translate.terms.clone());
        Some(Self { translator, client, out: Vec::new() })
    }

    /// Translates an event that is no failure.
    pub(super) fn event(&mut self, event: &Event<'_>) -> Result<(), Lost> {
        match event.form {
            Form::Whole => self.translator.event(event.name, event.data, &mut self.out).map_err(|_| Lost),
            // The stream has ended in the middle of it.
            Form::Torn => Ok(()),
            Form::Oversize => Err(Lost),
        }
    }

    /// The provider's stream is over, and it was complete.
    pub(super) fn finish(&mut self) {
        self.translator.finish(&mut self.out);
    }

    /// What has been translated since the last call.
    pub(super) fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    /// Takes back what [`take`](Self::take) has returned, so that the next event may use its memory.
    pub(super) fn reuse(&mut self, mut out: Vec<u8>) {
        if self.out.is_empty() && out.capacity() <= KEPT_CAPACITY {
            out.clear();
            self.out = out;
        }
    }

    /// The dialect of its client.
    pub(super) const fn client(&self) -> StreamDialect {
        self.client
    }

    /// The number of its next event.
    pub(super) fn next_number(&self) -> u64 {
        self.translator.next_number()
    }
}

/// A plain answer that is collected until it can be translated.
pub(super) struct TranslatedPlain {
    translate: Rc<Translate>,
    collected: Vec<u8>,
    /// It is too long, or the host has refused a call. It ends for its client without a proper end.
    is_lost: bool,
    /// The translation has been written. Nothing follows it.
    is_written: bool,
}

impl TranslatedPlain {
    /// An answer of which nothing has come.
    pub(super) const fn new(translate: Rc<Translate>) -> Self {
        Self { translate, collected: Vec::new(), is_lost: false, is_written: false }
    }

    /// Takes the `available` bytes out of the host's buffer. `read` gets each window of them.
    pub(super) fn collect(
        &mut self,
        host: &mut impl BodyBuffer,
        available: usize,
        mut read: impl FnMut(&mut Vec<u8>),
    ) {
        let done = read_windows(host, available, WINDOW, |window| {
            if self.collected.len().saturating_add(window.len()) > MAX_TRANSLATED_ANSWER {
                self.is_lost = true;
            } else if !self.is_lost && !self.is_written {
                self.collected.extend_from_slice(window);
            }
            read(window);
        });
        self.is_lost |= done.is_err() || host.replace_front(available, &[]).is_err();
    }

    /// The answer is over. Puts its translation into the host's buffer. Says how long it is, or that there is none.
    pub(super) fn finish(&mut self, host: &mut impl BodyBuffer) -> Result<usize, Lost> {
        let collected = std::mem::take(&mut self.collected);
        if self.is_lost {
            return Err(Lost);
        }
        let translated =
            translate_answer(self.translate.way, &collected, &self.translate.terms).ok_or(Lost)?;
        host.append(&translated).map_err(|_| Lost)?;
        self.is_written = true;
        Ok(translated.len())
    }

    /// Whether the translation has been written.
    pub(super) const fn is_written(&self) -> bool {
        self.is_written
    }
}
