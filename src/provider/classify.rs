//! Classifies a provider's error response.
//!
//! A redirect is a failure of its own, whatever its body says. Otherwise the first of these that applies decides: the vendor's own rules; a refusal that depends on the request;
//! a code of a dead account; names narrower than a status; phrases about the context window; words about a
//! dead account; the status; and without a status the names that say as much as one.

use super::error_body::{ErrorBody, truncated_name};
use super::evidence::Evidence;
use super::flat_error::is_flat_error;
use super::listed::Errors;
use super::{ProviderKind, accounts, anthropic, gemini, mistral, names, openai, openrouter, request_bound};
use crate::base::{ErrorClass, HeaderBlock};

/// How a request failed, and what the provider called it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The class that policies use.
    pub class: ErrorClass,
    /// The provider's error type, at most [`MAX_NAME`](super::MAX_NAME) bytes.
    pub kind: Option<Box<str>>,
    /// The provider's error code, at most [`MAX_NAME`](super::MAX_NAME) bytes; a number is kept as its
    /// digits.
    pub code: Option<Box<str>>,
}

impl Failure {
    /// A failure of which only the class is known.
    pub const fn of(class: ErrorClass) -> Self {
        Self { class, kind: None, code: None }
    }

    fn named(class: ErrorClass, evidence: &Evidence) -> Self {
        let code = evidence.body.code();
        Self { class, kind: evidence.kind().and_then(truncated_name), code: code.and_then(truncated_name) }
    }
}

/// The failure of a response with this `status`, `headers` and `body`.
///
/// Only the first [`MAX_ERROR_BODY`](super::MAX_ERROR_BODY) bytes of the body are read, and only as JSON. If
/// they say nothing, the status alone decides.
pub fn classify(kind: ProviderKind, status: u16, headers: &HeaderBlock, body: &[u8]) -> Failure {
    let body = ErrorBody::of_failure(body);
    if (300..400).contains(&status) {
        return Failure::named(by_status(status), &Evidence::from_response(headers, &body, None));
    }
    let status = if status < 300 { body.status() } else { Some(status) };
    failure(kind, Evidence::from_response(headers, &body, status), ErrorClass::Server)
}

/// The failure in the complete body of a successful response, if there is one: an error object under a 200,
/// in any vendor's shape. A code that is an HTTP status is treated as the status.
pub fn failure_in_success(kind: ProviderKind, headers: &HeaderBlock, body: &[u8]) -> Option<Failure> {
    let body = ErrorBody::of_success(body)?;
    Some(failure(kind, Evidence::from_response(headers, &body, body.status()), ErrorClass::Server))
}

/// The failure in the data of a stream event, if there is one. [`ErrorClass::StreamError`] when the event
/// does not say which.
pub fn classify_event(kind: ProviderKind, event_data: &[u8]) -> Option<Failure> {
    let body = ErrorBody::of_success(event_data)?;
    Some(failure(kind, Evidence::from_event(&body, body.status()), ErrorClass::StreamError))
}

/// The failure in an object that has nothing of an answer, if it is an [error](is_flat_error) in a vendor's
/// flat format. `otherwise` is its class if it does not say which.
pub fn flat_failure(
    kind: ProviderKind,
    headers: &HeaderBlock,
    body: &[u8],
    otherwise: ErrorClass,
) -> Option<Failure> {
    let body = is_flat_error(body).then(|| ErrorBody::of_error(body))?;
    Some(failure(kind, Evidence::from_response(headers, &body, body.status()), otherwise))
}

fn failure(kind: ProviderKind, evidence: Evidence, otherwise: ErrorClass) -> Failure {
    let class = gemini::daily_quota(&evidence)
        .or_else(|| vendor_class(kind, &evidence))
        .or_else(|| request_bound::class(&evidence))
        .or_else(|| accounts::by_code(&evidence))
        .or_else(|| named(&evidence))
        .or_else(|| context_length(&evidence))
        .or_else(|| accounts::by_words(&evidence))
        .or_else(|| evidence.status.map(by_status))
        .or_else(|| names::broad(evidence.names()))
        .unwrap_or(otherwise);
    Failure::named(class, &evidence)
}

/// The class of the error's name. Vendors give some names to dead accounts too, and only the message tells.
fn named(evidence: &Evidence) -> Option<ErrorClass> {
    let class = names::narrow(evidence.names())?;
    let dead = match class {
        ErrorClass::Permission | ErrorClass::RateLimited => accounts::by_words(evidence),
        _ => None,
    };
    Some(dead.unwrap_or(class))
}

fn vendor_class(kind: ProviderKind, evidence: &Evidence) -> Option<ErrorClass> {
    match kind {
        ProviderKind::OpenAi | ProviderKind::AzureOpenAi | ProviderKind::OpenAiCompatible => {
            openai::class(evidence)
        }
        ProviderKind::Anthropic => anthropic::class(evidence),
        ProviderKind::Gemini => gemini::class(evidence),
        ProviderKind::OpenRouter => openrouter::class(evidence),
        ProviderKind::Mistral => mistral::class(evidence),
        ProviderKind::Listed(listed) => match listed.row().errors {
            Errors::OpenAi => openai::class(evidence),
            Errors::Google => gemini::class(evidence),
        },
    }
}

/// How servers without a code for it say that a prompt does not fit, in lower case: Anthropic, Gemini, vLLM
/// and Mistral, vLLM since 0.16, SGLang, llama.cpp, Bedrock.
const CONTEXT_LENGTH_PHRASES: [&str; 9] = [
    "prompt is too long",
    "exceed context limit",
    "exceeds the maximum number of tokens allowed",
    "maximum context length",
    "model's context length",
    "context window",
    "exceeds the available context size",
    "context length exceeded",
    "input is too long",
];

fn context_length(evidence: &Evidence) -> Option<ErrorClass> {
    let possible = evidence.status.is_none_or(|status| matches!(status, 400 | 413 | 422));
    let matches_phrase = |text: &str| {
        let text = text.to_ascii_lowercase();
        CONTEXT_LENGTH_PHRASES.iter().any(|phrase| text.contains(phrase))
    };
    // OpenRouter passes on the upstream's message next to its own.
    let messages = [evidence.body.message(), evidence.body.text(&["metadata", "raw"]).unwrap_or_default()];
    (possible && messages.into_iter().any(matches_phrase)).then_some(ErrorClass::ContextLength)
}

/// The class of a status alone.
///
/// These APIs do not redirect, so a proxy in front of the provider sent a 3xx, or its address is wrong. 425 asks for the request to be sent again. 424 is a model that
/// failed. 499 is a provider that believes its client left; a client that did leave would not see it. 498 is
/// Groq's lack of capacity. 522 and 524 are Cloudflare's timeouts.
fn by_status(status: u16) -> ErrorClass {
    match status {
        300..=399 => ErrorClass::Redirected,
        401 => ErrorClass::Auth,
        402 => ErrorClass::QuotaExhausted,
        403 | 451 => ErrorClass::Permission,
        404 | 410 => ErrorClass::NotFound,
        408 | 504 | 522 | 524 => ErrorClass::Timeout,
        413 => ErrorClass::TooLarge,
        429 => ErrorClass::RateLimited,
        498 | 503 | 529 => ErrorClass::Overloaded,
        409 => ErrorClass::Conflict,
        424 | 425 | 499 => ErrorClass::Server,
        400..=497 => ErrorClass::Invalid,
        _ => ErrorClass::Server,
    }
}

#[cfg(test)]
#[path = "classify_tests/mod.rs"]
mod tests;
