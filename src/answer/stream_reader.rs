//! Reads the events of a stream, before the commit point and after it.

use std::ops::Range;

use super::injected_usage::InjectedUsage;
use super::report::AnswerFacts;
use crate::base::ErrorClass;
use crate::provider::{self, Failure, ProviderKind};
use crate::stream::{self, Event, Framer, Meaning, Pattern, StreamDialect, StreamEnding, StreamState};

/// What one event means for the answer.
#[derive(Debug)]
pub(super) enum Sign {
    /// It brings part of the answer, or may do so.
    Content,
    /// It ends the stream.
    Terminal,
    /// It says that the provider failed.
    Failed(Failure),
    /// Anything else: the role, a finish reason, usage.
    Other,
}

/// A stream as far as it has been read.
pub(super) struct StreamReader {
    framer: Framer,
    events: Events,
    pattern: Pattern,
}

/// What the events have said.
struct Events {
    kind: ProviderKind,
    state: StreamState,
    /// The first failure that an event reported.
    failed: Option<ErrorClass>,
    /// Present if the client did not ask for usage and the filter did.
    injected_usage: Option<InjectedUsage>,
}

impl StreamReader {
    /// A stream of which nothing has come.
    pub(super) fn new(kind: ProviderKind, dialect: StreamDialect, hide_usage: bool) -> Self {
        let state = StreamState::new(dialect);
        let injected_usage = hide_usage.then(InjectedUsage::default);
        let events = Events { kind, state, failed: None, injected_usage };
        Self { framer: Framer::new(), events, pattern: Pattern::default() }
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
        let Self { framer, events, pattern } = self;
        if let Some(injected) = &mut events.injected_usage {
            injected.window_begins(framer, rest);
        }
        let from = framer.position();
        let mut content = None;
        framer.feed(rest, |event| {
            let sign = events.read(&event);
            if events.state.is_content_only() {
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
        let mut content = 0_u64;
        self.feed(window, |sign| content += u64::from(matches!(sign, Sign::Content)));
        // An event too large to be read counts as content.
        (content > 0 || self.framer.is_passing_over()).then_some(content)
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

    /// The first failure that an event reported.
    pub(super) const fn failed(&self) -> Option<ErrorClass> {
        self.events.failed
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
        match self.events.state.ending() {
            StreamEnding::Truncated => Some(ErrorClass::StreamTruncated),
            StreamEnding::Failed => Some(self.events.failed.unwrap_or(ErrorClass::StreamError)),
            // The answer has its finish reason. Some servers omit the terminal event, which harms no client.
            StreamEnding::Complete
            | StreamEnding::Unfinished
            | StreamEnding::NoTerminal
            | StreamEnding::Unwatched => None,
        }
    }

    /// The event that ends the stream for the client with a failure of `class`.
    pub(super) fn notice(&self, class: ErrorClass) -> String {
        stream::notice(self.dialect(), class, self.events.state.events())
    }

    /// The dialect of its events.
    pub(super) const fn dialect(&self) -> StreamDialect {
        self.events.state.dialect()
    }

    /// What the events have said about the answer so far.
    pub(super) fn facts(&self) -> AnswerFacts {
        let state = &self.events.state;
        AnswerFacts { usage: state.usage(), finish: state.finish_reason(), stream: Some(state.facts()) }
    }
}

impl Events {
    fn read(&mut self, event: &Event<'_>) -> Sign {
        let meaning = self.state.read(event);
        if let Some(injected) = &mut self.injected_usage {
            injected.event(event, &meaning);
        }
        match &meaning {
            Meaning::Failed(failure) => {
                let failure = self.classify(failure, event.data);
                self.failed = self.failed.or(Some(failure.class));
                Sign::Failed(failure)
            }
            Meaning::Terminal(_) => Sign::Terminal,
            meaning if meaning.is_content() => Sign::Content,
            _ => Sign::Other,
        }
    }

    fn classify(&self, failure: &stream::EventFailure<'_>, data: &[u8]) -> Failure {
        let class = match failure {
            stream::EventFailure::Error(_) => {
                if let Some(failure) = provider::classify_event(self.kind, data) {
                    return failure;
                }
                ErrorClass::StreamError
            }
            stream::EventFailure::FinishedInError => ErrorClass::StreamError,
            stream::EventFailure::PromptBlocked => ErrorClass::ContentPolicy,
        };
        Failure { class, kind: None, code: None }
    }
}
