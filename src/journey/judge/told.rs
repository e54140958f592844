//! What the events of a stream have told.

use super::Verdict;
use crate::base::ErrorClass;
use crate::config::{Gate, GateUntil};
use crate::journey::injected_usage::Unasked;
use crate::provider::{self, Failure, ProviderKind};
use crate::stream::{self, Event, Framer, Meaning, StreamState};

/// A stream as far as it has been read.
pub(super) struct Stream {
    pub(super) framer: Framer,
    pub(super) told: Told,
}

/// What its events have told.
pub(super) struct Told {
    pub(super) kind: ProviderKind,
    pub(super) gate: Gate,
    pub(super) state: StreamState,
    pub(super) failed: Option<ErrorClass>,
    /// How many events with content have come.
    pub(super) content: u64,
    /// What the client is spared.
    pub(super) unasked: Unasked,
}

impl Told {
    /// The first event that is neither empty nor a mere finish decides. What comes after it in the same piece is only noted.
    pub(super) fn judge(&mut self, event: &Event<'_>, verdict: &mut Verdict) {
        if *verdict != Verdict::Open {
            self.follow(event);
            return;
        }
        *verdict = match self.read(event) {
            Meaning::Failed(failure) => {
                let failure = in_band(self.kind, &failure, event.data);
                self.failed = Some(failure.class);
                Verdict::Failure(failure)
            }
            Meaning::Terminal(_) => Verdict::Answer,
            meaning if meaning.is_content() => {
                self.content = self.content.saturating_add(1);
                Verdict::Answer
            }
            _ if self.gate.until == GateUntil::FirstContent => Verdict::Open,
            _ => Verdict::Answer,
        };
    }

    fn read<'e>(&mut self, event: &Event<'e>) -> Meaning<'e> {
        let meaning = self.state.read(event);
        self.unasked.read(event, &meaning);
        meaning
    }

    /// Says whether the event brings content. Of several failures the first is the one.
    pub(super) fn follow(&mut self, event: &Event<'_>) -> bool {
        let meaning = self.read(event);
        if let Meaning::Failed(failure) = &meaning
            && self.failed.is_none()
        {
            self.failed = Some(in_band(self.kind, failure, event.data).class);
        }
        self.content = self.content.saturating_add(u64::from(meaning.is_content()));
        meaning.is_content()
    }
}

pub(super) const fn of_class(class: ErrorClass) -> Failure {
    Failure { class, kind: None, code: None }
}

fn in_band(kind: ProviderKind, failure: &stream::EventFailure<'_>, data: &[u8]) -> Failure {
    let class = match failure {
        stream::EventFailure::Error(_) => {
            if let Some(failure) = provider::classify_event(kind, data) {
                return failure;
            }
            ErrorClass::StreamError
        }
        stream::EventFailure::FinishedInError => ErrorClass::StreamError,
        stream::EventFailure::PromptBlocked => ErrorClass::ContentPolicy,
    };
    Failure { class, kind: None, code: None }
}
