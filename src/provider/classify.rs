//! From what a provider answered to a class of failure.
//!
//! In this order: the vendor's own rules, names that are narrower than a status, words about the context window, the
//! status, and without one the names that say as much as a status would. Words decide only what a client could not
//! turn against others by having itself quoted: never that an account is to be blocked.

use super::report::{Report, bounded};
use super::{ProviderKind, anthropic, gemini, mistral, names, openai, openrouter};
use crate::base::{ErrorClass, HeaderBlock};

/// How a request failed, and what the provider called it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What policies go by.
    pub class: ErrorClass,
    /// The provider's type of error, at most [`MAX_NAME`](super::MAX_NAME) bytes.
    pub kind: Option<Box<str>>,
    /// The provider's code, a number as its digits, at most [`MAX_NAME`](super::MAX_NAME) bytes.
    pub code: Option<Box<str>>,
}

/// What is known about a failure.
#[derive(Clone, Copy)]
pub(super) struct Said<'a> {
    pub(super) report: &'a Report,
    /// The status of the answer, or the one its error states under a success.
    pub(super) status: Option<u16>,
    /// Whether the provider named a time to wait.
    pub(super) retry_after: bool,
    /// What a header calls the error.
    header: Option<&'a str>,
}

impl<'a> Said<'a> {
    fn under(headers: &'a HeaderBlock, report: &'a Report, status: Option<u16>) -> Self {
        let retry_after = ["retry-after", "retry-after-ms", "x-ms-retry-after-ms"]
            .into_iter()
            .any(|name| headers.get(name).is_some());
        Self { report, status, retry_after, header: amazons_name(headers) }
    }

    /// The type: the body's, or the header's.
    fn kind(&self) -> Option<&'a str> {
        self.report.kind().or(self.header)
    }
}

/// How Amazon calls an error, without the namespace before and the address behind it:
/// `com.amazon.coral.availability#ThrottlingException:http://…`.
fn amazons_name(headers: &HeaderBlock) -> Option<&str> {
    let value = headers.get("x-amzn-errortype")?;
    let name = value.split(':').next()?;
    name.rsplit('#').next().map(str::trim).filter(|name| !name.is_empty())
}

/// How the request failed that was answered with `status`, `headers` and `body`.
///
/// Of the body the first [`MAX_ERROR_BODY`](super::MAX_ERROR_BODY) bytes count, and only as JSON; where they tell
/// nothing, the status alone decides.
pub fn classify(kind: ProviderKind, status: u16, headers: &HeaderBlock, body: &[u8]) -> Failure {
    let report = Report::of_failure(body);
    let status = if status < 300 { report.status() } else { Some(status) };
    failure(kind, Said::under(headers, &report, status), ErrorClass::Server)
}

/// The failure that the complete body of a successful answer turns out to be, if it is one: an error object under a
/// 200, in any vendor's shape. A code that is a status acts as the status.
pub fn failure_in_success(kind: ProviderKind, headers: &HeaderBlock, body: &[u8]) -> Option<Failure> {
    let report = Report::of_success(body)?;
    let status = report.status();
    Some(failure(kind, Said::under(headers, &report, status), ErrorClass::Server))
}

/// The failure that a stream's event with this data reports, if it does; [`ErrorClass::StreamError`] when it does not
/// say which.
pub fn classify_event(kind: ProviderKind, event_data: &[u8]) -> Option<Failure> {
    let report = Report::of_success(event_data)?;
    let said = Said { report: &report, status: report.status(), retry_after: false, header: None };
    Some(failure(kind, said, ErrorClass::StreamError))
}

fn failure(kind: ProviderKind, said: Said, otherwise: ErrorClass) -> Failure {
    let code = said.report.code();
    let names = || code.as_deref().into_iter().chain(said.report.kind()).chain(said.header);
    let class = vendor_class(kind, &said)
        .or_else(|| names::telling(names()))
        .or_else(|| context_length(&said))
        .or_else(|| said.status.map(by_status))
        .or_else(|| names::broad(names()))
        .unwrap_or(otherwise);
    Failure { class, kind: said.kind().and_then(bounded), code: code.as_deref().and_then(bounded) }
}

fn vendor_class(kind: ProviderKind, said: &Said) -> Option<ErrorClass> {
    match kind {
        ProviderKind::OpenAi | ProviderKind::AzureOpenAi | ProviderKind::OpenAiCompatible => {
            openai::class(said)
        }
        ProviderKind::Anthropic => anthropic::class(said),
        ProviderKind::Gemini => gemini::class(said),
        ProviderKind::OpenRouter => openrouter::class(said),
        ProviderKind::Mistral => mistral::class(said),
    }
}

/// How servers without a code for it say that a prompt does not fit, in lower case: Anthropic, Gemini, vLLM and
/// Mistral, vLLM since 0.16, SGLang, llama.cpp, Bedrock.
const DOES_NOT_FIT: [&str; 9] = [
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

fn context_length(said: &Said) -> Option<ErrorClass> {
    let possible = said.status.is_none_or(|status| matches!(status, 400 | 413 | 422));
    let says_so = |text: &str| {
        let text = text.to_ascii_lowercase();
        DOES_NOT_FIT.iter().any(|phrase| text.contains(phrase))
    };
    // OpenRouter hands on the upstream's words beside its own.
    let words = [said.report.message(), said.report.text(&["metadata", "raw"]).unwrap_or_default()];
    (possible && words.into_iter().any(says_so)).then_some(ErrorClass::ContextLength)
}

/// What a status says by itself.
///
/// A redirect is a server failure: these APIs do not redirect, so something in front of the provider answered, and the
/// request was not done. 409 and 425 ask to be sent again, 424 is a model that failed. 499 is a provider that believes
/// its caller left; a caller that did leave would not see it. 498 is Groq's want of capacity. 522 and 524 are Cloudflare's timeouts.
fn by_status(status: u16) -> ErrorClass {
    match status {
        401 => ErrorClass::Auth,
        402 => ErrorClass::QuotaExhausted,
        403 | 451 => ErrorClass::Permission,
        404 | 410 => ErrorClass::NotFound,
        408 | 504 | 522 | 524 => ErrorClass::Timeout,
        413 => ErrorClass::TooLarge,
        429 => ErrorClass::RateLimited,
        498 | 503 | 529 => ErrorClass::Overloaded,
        409 | 424 | 425 | 499 => ErrorClass::Server,
        400..=497 => ErrorClass::Invalid,
        _ => ErrorClass::Server,
    }
}

#[cfg(test)]
#[path = "classify_tests/mod.rs"]
mod tests;
