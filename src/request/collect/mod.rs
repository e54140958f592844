//! Collects facts from what the lexer reads.
//!
//! Only containers that have a meaning get a frame; for all others only the depth is counted. A value
//! replaces the value of an earlier duplicate, so every container first resets what its members set.

mod references;
mod tally;
mod tracker;
mod values;

use self::tally::{AllTurns, Options, Tools, Turns};
use self::tracker::ReferenceTracker;
use super::error::ScanError;
use super::facts::{Facts, ModelField, StateKind};
use super::lexer::Sink;
use super::limits::MAX_MODEL_MEMBERS;
use super::spot::{Spot, TurnsKey};
use super::text::{Kept, Want};
use super::token::{Container, Span, Value};
use crate::base::{Few, Names, ShortText};

/// What is noted of a conversation, which is a large part of the cost of a scan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tracks {
    /// A hash of its beginning.
    pub beginning: bool,
    /// Its references to state at an account.
    pub references: bool,
}

/// An open container that has a meaning.
#[derive(Debug, Clone, Copy, Default)]
struct Frame {
    spot: Spot,
    container: Container,
    kind: Kind,
    signed: bool,
    /// Whether it is a message of the user.
    is_user: bool,
    /// Bytes of a source's `data`. They are text or media, depending on a `type` that may come later.
    held: usize,
}

/// The kind of a part or source, from its `type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Kind {
    #[default]
    Plain,
    Image,
    Audio,
    File,
    Thinking,
    RedactedThinking,
    ItemReference,
    Reasoning,
}

impl Kind {
    fn of(kind: &[u8]) -> Self {
        KINDS.get(kind).unwrap_or_default()
    }
}

static KINDS: Names<Kind, 64> = Names::new(&[
    (b"image_url", Kind::Image),
    (b"input_image", Kind::Image),
    (b"image", Kind::Image),
    (b"computer_screenshot", Kind::Image),
    (b"input_audio", Kind::Audio),
    (b"audio_url", Kind::Audio),
    (b"audio", Kind::Audio),
    (b"file", Kind::File),
    (b"input_file", Kind::File),
    (b"document", Kind::File),
    (b"container_upload", Kind::File),
    (b"video_url", Kind::File),
    (b"input_video", Kind::File),
    (b"thinking", Kind::Thinking),
    (b"redacted_thinking", Kind::RedactedThinking),
    (b"item_reference", Kind::ItemReference),
    (b"reasoning", Kind::Reasoning),
]);

/// Frames that need no memory of their own: those of a message whose content is a list of parts, and of one part.
const USUAL_DEPTH: usize = 6;

/// Collects the facts of one body.
#[derive(Debug)]
pub(super) struct Collector {
    frames: Few<Frame, USUAL_DEPTH>,
    /// The number of open containers without a meaning.
    skipped: u8,
    /// The meaning of the next value.
    next: Spot,
    turns_key: TurnsKey,
    turns: AllTurns,
    tools: Tools,
    options: Options,
    facts: Facts,
    /// Whether the beginning of the conversation is hashed.
    hashes_conversations: bool,
    /// Notes references to state, if that is wanted.
    references: Option<ReferenceTracker>,
}

impl Collector {
    pub(super) fn tracking(tracks: Tracks) -> Self {
        let references = tracks.references.then(ReferenceTracker::default);
        Self { hashes_conversations: tracks.beginning, references, ..Self::new() }
    }

    pub(super) fn new() -> Self {
        Self {
            hashes_conversations: true,
            references: None,
            frames: Few::default(),
            skipped: 0,
            next: Spot::Root,
            turns_key: TurnsKey::Messages,
            turns: AllTurns::default(),
            tools: Tools::default(),
            options: Options::default(),
            facts: Facts::default(),
        }
    }

    pub(super) fn finish(&mut self, body_bytes: usize) -> Facts {
        let facts = &mut self.facts;
        facts.body_bytes = body_bytes as u64;
        self.turns.add_to(facts);
        self.tools.add_to(facts);
        self.options.add_to(facts);
        if let Some(tracker) = self.references.take() {
            tracker.add_to(facts);
        }
        std::mem::take(facts)
    }

    fn note_model(&mut self, value: Value<'_>, span: Span) -> Result<(), ScanError> {
        if self.facts.model_spans.len() >= MAX_MODEL_MEMBERS {
            return Err(ScanError::TooManyModels { offset: span.start });
        }
        self.facts.model_spans.push(span);
        self.facts.model = match value {
            Value::Text { kept: Kept::Text(name), .. } => match std::str::from_utf8(name) {
                Ok(name) => ModelField::Text { value: ShortText::from(name) },
                Err(_) => ModelField::NotText,
            },
            Value::Text { kept: Kept::TooLong, .. } => ModelField::TooLong,
            _ => ModelField::NotText,
        };
        Ok(())
    }

    fn note_usage(&mut self, value: Value<'_>, span: Span) {
        if self.next == Spot::StreamOptions {
            self.facts.include_usage = false;
            self.facts.usage_spots.options(value, span);
        } else {
            self.facts.include_usage = matches!(value, Value::Bool(true));
            self.facts.usage_spots.include_usage(span);
        }
    }

    fn count_text(&mut self, length: usize) {
        let bytes = match self.next {
            _ if self.skipped > 0 => &mut self.facts.text_bytes,
            Spot::Media => &mut self.facts.media_bytes,
            Spot::SourceData => {
                if let Some(frame) = self.frames.last_mut() {
                    frame.held = frame.held.saturating_add(length);
                }
                return;
            }
            _ => &mut self.facts.text_bytes,
        };
        *bytes = bytes.saturating_add(length as u64);
    }

    fn end_part(&mut self, frame: &Frame) {
        let turns = self.turns();
        let media = &mut turns.media;
        match frame.kind {
            Kind::Plain | Kind::Reasoning => {}
            Kind::Image => media.images = media.images.saturating_add(1),
            Kind::Audio => media.audio = media.audio.saturating_add(1),
            Kind::File => media.files = media.files.saturating_add(1),
            Kind::Thinking => turns.sealed |= frame.signed,
            Kind::RedactedThinking => turns.sealed = true,
            Kind::ItemReference => turns.state = turns.state.with(StateKind::StoredItem, true),
        }
    }

    fn end_source(&mut self, frame: &Frame) {
        let bytes = match frame.kind {
            Kind::Plain => &mut self.facts.text_bytes,
            _ => &mut self.facts.media_bytes,
        };
        *bytes = bytes.saturating_add(frame.held as u64);
    }

    /// Ends the beginning of the conversation after the user's first turn.
    fn end_turn(&mut self, is_users: bool) {
        let parent = self.frames.last().map(|frame| (frame.spot, frame.container));
        if let Some((Spot::Turns(key), Container::Array)) = parent
            && is_users
            && !key.is_system()
        {
            self.turns().opening.end();
        }
    }

    const fn turns(&mut self) -> &mut Turns {
        self.turns.of(self.turns_key)
    }
}

impl Sink for Collector {
    #[inline]
    fn key(&mut self, key: Option<&[u8]>) {
        if self.skipped > 0 {
            return;
        }
        let within = self.frames.last().map_or(Spot::Other, |frame| frame.spot);
        if within == Spot::StreamOptions {
            self.facts.usage_spots.option();
        }
        self.next = key.map_or(Spot::Other, |key| within.member(key));
    }

    #[inline]
    fn want(&self) -> Want {
        match self.next {
            _ if self.skipped > 0 => Want::Length,
            Spot::User | Spot::PromptCacheKey | Spot::MetadataUser => Want::Hash,
            Spot::Turns(_) if self.hashes_conversations => Want::Opening,
            Spot::Part | Spot::PartText
                if self.hashes_conversations && self.turns.is_opening(self.turns_key) =>
            {
                Want::Opening
            }
            Spot::PartId
            | Spot::Encrypted
            | Spot::PreviousResponse
            | Spot::Conversation
            | Spot::ConversationId
            | Spot::Container
            | Spot::CachedContent
            | Spot::GoogleCachedContent
            | Spot::StoredId
            | Spot::FileId
            | Spot::ToolFile
            | Spot::ToolContainer
                if self.references.is_some() =>
            {
                Want::Opening
            }
            Spot::Model
            | Spot::N
            | Spot::TopLogprobs
            | Spot::OutputTokens(_)
            | Spot::Modality
            | Spot::ToolType
            | Spot::ToolExecution
            | Spot::ToolEnvironmentType
            | Spot::ToolChoice
            | Spot::ToolChoiceType
            | Spot::FormatType(_)
            | Spot::ReasoningEffort
            | Spot::ReasoningInnerEffort
            | Spot::ThinkingType
            | Spot::PartType
            | Spot::PartRole
            | Spot::SourceType => Want::Text,
            _ => Want::Length,
        }
    }

    #[inline]
    fn scalar(&mut self, value: Value<'_>, span: Span) -> Result<(), ScanError> {
        if let Value::Text { length, .. } = value {
            self.count_text(length);
        }
        match self.next {
            _ if self.skipped > 0 => {}
            Spot::Model => self.note_model(value, span)?,
            Spot::ModelInOtherCase => return Err(ScanError::ModelInOtherCase { offset: span.start }),
            Spot::StreamOptions | Spot::IncludeUsage => self.note_usage(value, span),
            _ => {
                self.note(value);
                if self.is_reference() {
                    self.note_reference(value, span);
                }
            }
        }
        Ok(())
    }

    fn open(&mut self, container: Container, start: usize) -> Result<(), ScanError> {
        if self.skipped > 0 {
            self.skipped = self.skipped.saturating_add(1);
            return Ok(());
        }
        let spot = self.next;
        match spot {
            Spot::Model => self.note_model(Value::Opening(container), Span { start, end: start })?,
            Spot::ModelInOtherCase => return Err(ScanError::ModelInOtherCase { offset: start }),
            Spot::StreamOptions | Spot::IncludeUsage => {
                self.note_usage(Value::Opening(container), Span { start, end: start });
            }
            Spot::Root => self.facts.usage_spots.root(start),
            _ => self.note(Value::Opening(container)),
        }
        if spot == Spot::Other {
            self.skipped = 1;
            return Ok(());
        }
        if self.is_reference() {
            self.note_reference(Value::Opening(container), Span { start, end: start });
        }
        let kind = if spot == Spot::Source { Kind::File } else { Kind::Plain };
        self.frames.push(Frame { spot, container, kind, signed: false, is_user: false, held: 0 });
        self.next = if container == Container::Array { spot.element() } else { Spot::Other };
        Ok(())
    }

    fn close(&mut self, end: usize) {
        if self.skipped > 0 {
            self.skipped -= 1;
            return;
        }
        if let Some(frame) = self.frames.pop() {
            match (frame.spot, frame.container) {
                (Spot::Model, _) => {
                    if let Some(span) = self.facts.model_spans.last_mut() {
                        span.end = end;
                    }
                }
                (Spot::IncludeUsage, _) => self.facts.usage_spots.include_usage_ends(end),
                (Spot::Part, Container::Object) => {
                    self.end_part(&frame);
                    self.end_turn(frame.is_user);
                }
                (Spot::Source, Container::Object) => self.end_source(&frame),
                (Spot::Tool, Container::Object) => self.tools.end_tool(),
                _ => {}
            }
            if self.references.is_some() && self.turns_key == TurnsKey::Input {
                self.end_reference(&frame, end);
            }
        }
        // An array continues with elements. In an object, the next key gives the meaning of the next value.
        self.next = match self.frames.last() {
            Some(frame) if frame.container == Container::Array => frame.spot.element(),
            _ => Spot::Other,
        };
    }
}
