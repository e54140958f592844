//! Reads the events of a stream, before the commit point and after it.

use std::ops::Range;

use super::first_bytes::{Shape, shape};
use super::injected_usage::InjectedUsage;
use super::report::AnswerFacts;
use super::translated::{Translate, TranslatedStream};
use crate::base::{ErrorClass, HeaderBlock};
use crate::config::EmptyStop;
use crate::provider::{self, Failure, ProviderKind};
use crate::stream::{
    self, Event, EventFailure, Framer, Made, Meaning, Pattern, StreamDialect, StreamEnding, StreamState,
    Substance,
};

/// What one event means for the answer.
#[derive(Debug)]
pub(super) enum Sign {
    /// It brings part of the answer, or may do so.
    Content,
    /// It ends the stream, or the answer.
    Terminal,
    /// It shows that the provider failed.
    Failed(Failure),
    /// Anything else: the role, a finish reason, usage.
    Other,
}

/// A stream as far as it has been read.
pub(super) struct StreamReader {
    framer: Framer,
    events: Events,
    pattern: Pattern,
    /// Its bytes are compressed.
    is_unread: bool,
}

/// What the events have said.
struct Events {
    kind: ProviderKind,
    state: StreamState,
    empty_stop: EmptyStop,
    /// The first failure that an event reported or was.
    failed: Option<ErrorClass>,
    /// Where the first event begins that no client takes for a failure although it is one.
    disguised: Option<u64>,
    /// Present if the client did not ask for usage and the filter did.
    injected_usage: Option<InjectedUsage>,
    /// Present if it is to be learned what the provider keeps of the answer.
    made: Option<Box<Made>>,
    /// Present if the client gets it in another dialect.
    translated: Option<Box<TranslatedStream>>,
}

impl StreamReader {
    /// A stream of which nothing has come.
    pub(super) fn new(
        kind: ProviderKind,
        dialect: StreamDialect,
        hide_usage: bool,
        empty_stop: EmptyStop,
    ) -> Self {
        let state = StreamState::new(dialect);
        let injected_usage = hide_usage.then(InjectedUsage::default);
        let events = Events {
            kind,
            state,
            empty_stop,
            failed: None,
            disguised: None,
            injected_usage,
            made: None,
            translated: None,
        };
        Self { framer: Framer::new(), events, pattern: Pattern::default(), is_unread: false }
    }

    /// The same, and it notes what the provider keeps of the answer.
    pub(super) fn learning(mut self, learns: bool) -> Self {
        self.events.made = learns.then(Box::default);
        self
    }

    /// The same, and it is translated for the client.
    pub(super) fn translating(mut self, translate: Option<&Translate>) -> Self {
        self.events.translated = translate.and_then(TranslatedStream::new).map(Box::new);
        self
    }

    /// Whether the client gets it in another dialect.
    pub(super) const fn is_translated(&self) -> bool {
        self.events.translated.is_some()
    }

    /// What has been translated since the last call.
    pub(super) fn take_translated(&mut self) -> Vec<u8> {
        self.events.translated.as_mut().map(|translated| translated.take()).unwrap_or_default()
    }

    /// Takes back what [`take_translated`](Self::take_translated) has returned.
    pub(super) fn reuse(&mut self, translated: Vec<u8>) {
        if let Some(events) = &mut self.events.translated {
            events.reuse(translated);
        }
    }

    /// The provider's bytes are over, and the stream was complete.
    pub(super) fn finish_translation(&mut self) {
        if let Some(translated) = &mut self.events.translated {
            translated.finish();
        }
    }

    /// What the provider keeps of the answer, if that is noted.
    pub(super) fn made(&self) -> Option<&Made> {
        self.events.made.as_deref()
    }

    /// The same without the short way for events that repeat an earlier one.
    #[cfg(test)]
    pub(super) fn without_pattern(self) -> Self {
        Self { pattern: Pattern::disabled(), ..self }
    }

    /// Whether an event repeats the remembered one.
    #[cfg(test)]
    pub(super) fn repeats(&mut self, event: &[u8]) -> bool {
        self.pattern.repeated_by(event).is_some()
    }

    /// Reads the next bytes and reports each event that they complete.
    pub(super) fn feed(&mut self, window: &[u8], mut on_event: impl FnMut(Sign)) {
        let rest = self.pass_repeated(window, &mut on_event);
        if rest.is_empty() {
            return;
        }
        let Self { framer, events, pattern, .. } = self;
        if let Some(injected) = &mut events.injected_usage {
            injected.window_begins(framer, rest);
        }
        let from = framer.position();
        let mut content = None;
        framer.feed(rest, |event| {
            let sign = events.read(&event);
            // An event that names an item is not remembered: the next one names another item.
            let names = events.made.as_mut().is_some_and(|made| made.read(&event));
            if events.state.is_content_only() && !names && events.translated.is_none() {
                content = Some(event.start..event.end);
            }
            on_event(sign);
        });
        // An event that began in an earlier window is not in this one.
        let place = |offset: u64| usize::try_from(offset.checked_sub(from)?).ok();
        let content = content.and_then(|event| rest.get(place(event.start)?..place(event.end)?));
        if let Some(event) = content {
            pattern.learn(event);
        }
    }

    /// Passes the events at the start of `window` that repeat an earlier one with content. Returns the rest.
    fn pass_repeated<'w>(&mut self, window: &'w [u8], on_event: &mut impl FnMut(Sign)) -> &'w [u8] {
        let mut rest = window;
        while self.framer.is_between_events()
            && let Some(length) = self.pattern.repeated_by(rest)
            && self.framer.pass(length)
        {
            self.events.state.repeat();
            on_event(Sign::Content);
            rest = rest.get(length..).unwrap_or_default();
        }
        rest
    }

    /// Reads the next bytes of a stream that is passed on. Says how many events with content they complete,
    /// if they bring content at all.
    pub(super) fn follow(&mut self, window: &[u8]) -> Option<u64> {
        if self.position() == 0 {
            self.look_at_beginning(window);
        }
        if self.is_unread {
            return Some(0);
        }
        let mut content = 0_u64;
        self.feed(window, |sign| content += u64::from(matches!(sign, Sign::Content)));
        // An event too large to be read counts as content.
        (content > 0 || self.framer.is_passing_over()).then_some(content)
    }

    /// The first bytes of a stream that was not held show whether it is one at all.
    fn look_at_beginning(&mut self, window: &[u8]) {
        match shape(window, false) {
            Some(Shape::Compressed) if self.is_translated() => {
                self.events.failed = Some(ErrorClass::Malformed);
                self.events.disguised = Some(0);
            }
            Some(Shape::Compressed) => self.is_unread = true,
            Some(Shape::Json) => {
                let failure = self.events.stated(window).unwrap_or(Failure::of(ErrorClass::Malformed));
                self.events.failed = Some(failure.class);
                self.events.disguised = Some(0);
            }
            _ => {}
        }
    }

    /// Whether it passes unread.
    pub(super) const fn is_unread(&self) -> bool {
        self.is_unread
    }

    /// The stream is over; an event that was cut off is reported if it can be read.
    pub(super) fn finish(&mut self, mut on_event: impl FnMut(Sign)) {
        let Self { framer, events, .. } = self;
        framer.finish(|event| on_event(events.read(&event)));
    }

    /// Bytes read so far.
    pub(super) const fn position(&self) -> u64 {
        self.framer.position()
    }

    /// How many bytes of an incomplete event have come.
    pub(super) fn open_event(&self) -> usize {
        usize::try_from(self.framer.tail_len()).unwrap_or(usize::MAX)
    }

    /// The ranges to remove that were found since the last call.
    pub(super) fn take_cuts(&mut self) -> Vec<Range<u64>> {
        self.events.injected_usage.as_mut().map(InjectedUsage::take_cuts).unwrap_or_default()
    }

    /// Whether an event has failed in the format of its dialect, so that clients take it for a failure.
    pub(super) const fn has_failed_openly(&self) -> bool {
        self.events.failed.is_some() && self.events.disguised.is_none()
    }

    /// How many bytes have come since the beginning of the first event that no client takes for a failure
    /// although it is one.
    pub(super) fn since_disguised_failure(&self) -> Option<usize> {
        let bytes = self.position().saturating_sub(self.events.disguised?);
        Some(usize::try_from(bytes).unwrap_or(usize::MAX))
    }

    /// The result of the stream, once it is certain.
    pub(super) fn settled(&self) -> Option<Result<(), ErrorClass>> {
        match self.events.failed {
            Some(class) => Some(Err(class)),
            None => self.events.state.is_over().then_some(Ok(())),
        }
    }

    /// The number of choices with a finish reason, once every choice that has begun has one.
    pub(super) const fn finished_choices(&self) -> Option<u32> {
        self.events.state.finished_choices()
    }

    /// The failure of a stream that ends here, if it is one. Call [`finish`](Self::finish) first.
    pub(super) fn failure_at_end(&self) -> Option<ErrorClass> {
        if self.is_unread {
            return None;
        }
        match self.events.state.ending() {
            _ if self.events.failed.is_some() => self.events.failed,
            StreamEnding::Truncated if self.position() == 0 => Some(ErrorClass::Empty),
            StreamEnding::Truncated => Some(ErrorClass::StreamTruncated),
            StreamEnding::Failed => Some(ErrorClass::StreamError),
            StreamEnding::Unwatched => None,
            // The answer has its finish reason. Some servers omit the terminal event, which harms no client.
            StreamEnding::Complete | StreamEnding::Unfinished | StreamEnding::NoTerminal => {
                self.events.is_empty().then_some(ErrorClass::Empty)
            }
        }
    }

    /// The event that ends the stream for the client with a failure of `class`.
    pub(super) fn notice(&self, class: ErrorClass) -> String {
        match &self.events.translated {
            Some(translated) => stream::notice(translated.client(), class, translated.next_number()),
            None => stream::notice(self.dialect(), class, self.events.state.events()),
        }
    }

    /// The dialect of its events.
    pub(super) const fn dialect(&self) -> StreamDialect {
        self.events.state.dialect()
    }

    /// The dialect of its client.
    pub(super) fn client_dialect(&self) -> StreamDialect {
        self.events.translated.as_ref().map_or(self.dialect(), |translated| translated.client())
    }

    /// What the events have said about the answer so far.
    pub(super) fn facts(&self) -> AnswerFacts {
        let state = &self.events.state;
        AnswerFacts { usage: state.usage(), finish: state.finish_reason(), stream: Some(state.facts()) }
    }
}

impl Events {
    fn read(&mut self, event: &Event<'_>) -> Sign {
        let was_over = self.state.is_over();
        let sign = self.judge(event);
        // After the proper end clients read nothing more.
        if !was_over
            && self.failed.is_none()
            && let Some(translated) = &mut self.translated
            && translated.event(event).is_err()
        {
            return self.fail(Failure::of(ErrorClass::Malformed), event, false);
        }
        sign
    }

    fn judge(&mut self, event: &Event<'_>) -> Sign {
        let meaning = self.state.read(event);
        if let Some(injected) = &mut self.injected_usage {
            injected.event(event, &meaning);
        }
        match &meaning {
            Meaning::Failed(failure) => {
                let is_open = matches!(failure, EventFailure::Error(_) | EventFailure::PromptBlocked);
                // Clients that read the finish reason see the failure, and the others got all there is.
                let is_seen =
                    is_open || *failure == EventFailure::FinishedInError && self.state.has_content();
                let failure = self.classify(failure, event.data);
                self.fail(failure, event, is_seen)
            }
            Meaning::Malformed => self.fail(Failure::of(ErrorClass::Malformed), event, false),
            Meaning::Terminal(_) if self.is_empty() => {
                self.fail(Failure::of(ErrorClass::Empty), event, false)
            }
            Meaning::Terminal(_) => Sign::Terminal,
            // It is an answer although no content has come: a filter stopped it, or reasoning used the limit.
            Meaning::Finished { with_content: false } if !self.is_empty() => Sign::Terminal,
            meaning if meaning.is_content() => Sign::Content,
            _ => Sign::Other,
        }
    }

    /// An event is a failure. `is_seen` says whether clients take it for one.
    fn fail(&mut self, failure: Failure, event: &Event<'_>, is_seen: bool) -> Sign {
        // The provider's own event is not translated.
        let is_seen = is_seen && self.translated.is_none();
        if self.failed.is_none() {
            self.failed = Some(failure.class);
            self.disguised = (!is_seen).then_some(event.start);
        }
        Sign::Failed(failure)
    }

    /// Whether the stream has no answer if it ends here.
    fn is_empty(&self) -> bool {
        match self.state.substance() {
            Substance::Answer => false,
            Substance::EmptyStop => self.empty_stop == EmptyStop::Fail,
            Substance::Nothing => self.failed.is_none(),
        }
    }

    /// The failure that an object states, in any format.
    fn stated(&self, data: &[u8]) -> Option<Failure> {
        let headers = HeaderBlock::default();
        let flat = || provider::flat_failure(self.kind, &headers, data, ErrorClass::StreamError);
        provider::classify_event(self.kind, data).or_else(flat)
    }

    fn classify(&self, failure: &EventFailure<'_>, data: &[u8]) -> Failure {
        let stated = match failure {
            EventFailure::Error(_) => self.stated(data),
            EventFailure::Flat(error) => self.stated(error),
            EventFailure::FinishedInError => None,
            EventFailure::PromptBlocked => Some(Failure::of(ErrorClass::ContentPolicy)),
        };
        stated.unwrap_or(Failure::of(ErrorClass::StreamError))
    }
}
