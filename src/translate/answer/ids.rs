//! Ids and names of the client's dialect.

use std::borrow::Cow;

use super::super::json::{Raw, escape, quoted};
use super::super::request::idents::call_id;
use super::terms::AnswerTerms;
use crate::base::Decimal;

/// The id of an answer: the provider's own behind the dialect's prefix, so that it can be found at the provider.
pub(super) fn answer_id(prefix: &str, provider: &[u8], seed: u64) -> Box<[u8]> {
    let mut id = Vec::new();
    if !provider.starts_with(prefix.as_bytes()) {
        id.extend_from_slice(prefix.as_bytes());
    }
    if provider.is_empty() {
        push_hex(seed, &mut id);
    } else {
        id.extend_from_slice(provider);
    }
    id.into()
}

/// The name of the model that the client reads.
pub(super) fn model_name<'a>(provider: &'a [u8], terms: &AnswerTerms) -> Cow<'a, [u8]> {
    let Some(model) = &terms.model else { return Cow::Borrowed(provider) };
    let mut name = Vec::with_capacity(model.len());
    escape(model.as_bytes(), &mut name);
    Cow::Owned(name)
}

/// Appends the id of the item of a response at `index`.
pub(super) fn push_item_id(prefix: &str, seed: u64, index: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(prefix.as_bytes());
    push_hex(seed, out);
    out.push(b'_');
    out.extend_from_slice(Decimal::of(index).as_bytes());
}

/// The id of the call of a tool that has none.
pub(super) fn made_call_id(seed: u64, index: u64) -> Vec<u8> {
    let mut id = Vec::new();
    push_item_id("call_", seed, index, &mut id);
    id
}

/// The id of a call in a form that Messages takes back.
pub(super) fn fitting_call_id(id: &[u8]) -> Option<Vec<u8>> {
    Raw::of(&quoted(id)).map(|id| call_id(id).into_owned())
}

fn push_hex(number: u64, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let digit = |shift: u32| HEX.get((number >> shift & 15) as usize).copied().unwrap_or(b'0');
    out.extend((0..16).rev().map(|place| digit(place * 4)));
}
