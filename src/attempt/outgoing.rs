//! A request on its way out: addressed to a target, with the target's model in its body, or translated into the
//! target's dialect.

use super::addressing::address_to;
use super::translating::Translating;
use crate::base::{Decimal, HeaderSink, TargetId, Timestamp};
use crate::intake::{CallHeaders, ClientRequest, HeldBody};
use crate::request::{BodyBuffer, BodyEdit, StreamEditor};

/// The body of a request, as far as the host has it.
#[derive(Debug)]
pub enum OutgoingBody<'a> {
    /// All of it. What is known of it is used up by the edit.
    Whole(&'a mut HeldBody),
    /// So much of it. Unless that is all, the rest is edited as it streams by.
    Begun {
        /// How many bytes the host has.
        len: usize,
        /// Whether nothing follows.
        is_all: bool,
    },
}

/// A request that is addressed, and edited as far as its body has come.
pub struct Outgoing {
    /// What edits the rest of the body.
    pub editor: Option<Box<StreamEditor>>,
    /// Whether the filter added a request for usage to the body.
    pub injects_usage: bool,
    /// How it is translated, if it is.
    pub translating: Option<Translating>,
}

/// Where a request goes, and what goes with it.
#[derive(Debug, Clone, Copy)]
pub struct Destination {
    /// The target.
    pub target: TargetId,
    /// Whether its encrypted reasoning is removed, because it cannot be read there.
    pub drops_reasoning: bool,
}

/// Addresses a request to a target and writes the target's model into its body. `None` if the host refused
/// a change: then the request must not be sent.
pub fn prepare<H: HeaderSink + BodyBuffer>(
    request: &ClientRequest,
    to: Destination,
    call: &CallHeaders,
    body: OutgoingBody<'_>,
    now: Timestamp,
    host: &mut H,
) -> Option<Outgoing> {
    let config = request.config();
    let target = config.target(to.target)?;
    let model = request.model_at(target);
    let translating = Translating::of(config, target, request, call.length.is_some());
    let endpoint = translating.as_ref().map_or(request.endpoint, |translating| translating.way().to());
    if !address_to(config, (target, &model), (request.endpoint, endpoint), call, host) {
        return None;
    }
    if let Some(translating) = translating {
        return translated(translating, body, host);
    }
    let mut edit = BodyEdit::of_model(&request.facts, model).or_adding_it(&request.facts);
    // A streamed chat reports usage only on request, and without it budgets would have to guess.
    if request.lacks_usage() && request.generation.usage_option.is_asked(to.target, now) {
        edit = edit.asking_for_usage(&request.facts);
    }
    if to.drops_reasoning {
        edit = edit.without(request.facts.references.as_ref()?.removable()?);
    }
    let injects_usage = edit.asks_for_usage();
    if edit.is_noop() {
        return Some(Outgoing { editor: None, injects_usage, translating: None });
    }
    if let Some(old) = call.length {
        let new = edit.new_length(old);
        if new != old {
            host.set("content-length", Decimal::of(new as u64).as_str());
        }
    }
    let editor = match body {
        OutgoingBody::Whole(HeldBody { len, window }) => {
            match window.take() {
                Some(window) => edit.apply_known(host, window),
                None => edit.apply_held(host, *len),
            }
            .ok()?;
            None
        }
        OutgoingBody::Begun { len, .. } => {
            let mut editor = Box::new(StreamEditor::new(edit));
            if len > 0 {
                editor.edit_chunk(host, len).ok()?;
            }
            Some(editor)
        }
    };
    Some(Outgoing { editor, injects_usage, translating: None })
}

/// Translates what there is of the body, if that is all of it.
#[cold]
#[inline(never)]
fn translated<H: HeaderSink + BodyBuffer>(
    mut translating: Translating,
    body: OutgoingBody<'_>,
    host: &mut H,
) -> Option<Outgoing> {
    match body {
        OutgoingBody::Whole(HeldBody { len, window }) => translating.translate(host, *len, window.take())?,
        OutgoingBody::Begun { len, is_all: true } => translating.translate(host, len, None)?,
        OutgoingBody::Begun { len, is_all: false } => translating.hold(len),
    }
    Some(Outgoing { editor: None, injects_usage: false, translating: Some(translating) })
}
