//! What is known about a failed response when it is classified.

use super::error_body::ErrorBody;
use crate::base::HeaderBlock;

/// Words that relays write for an absent parameter.
const NO_PARAM: [&str; 2] = ["none", "null"];

#[derive(Clone, Copy)]
pub(super) struct Evidence<'a> {
    pub(super) body: &'a ErrorBody,
    /// The status of the response, or the one that the error states when the response itself is a success.
    pub(super) status: Option<u16>,
    /// Whether the provider gave a time to wait.
    pub(super) retry_after: bool,
    /// The error's name from a header.
    pub(super) header: Option<&'a str>,
}

impl<'a> Evidence<'a> {
    pub(super) fn from_response(headers: &'a HeaderBlock, body: &'a ErrorBody, status: Option<u16>) -> Self {
        let retry_after = ["retry-after", "retry-after-ms", "x-ms-retry-after-ms"]
            .into_iter()
            .any(|name| headers.get(name).is_some());
        Self { body, status, retry_after, header: amazon_error_name(headers) }
    }

    pub(super) const fn from_event(body: &'a ErrorBody, status: Option<u16>) -> Self {
        Self { body, status, retry_after: false, header: None }
    }

    /// What the error is called: its code, its type, the name from a header, and the reasons of a Google error.
    pub(super) fn names(&self) -> impl Iterator<Item = &'a str> {
        let body = self.body;
        body.code().into_iter().chain(body.kind()).chain(self.header).chain(body.reasons())
    }

    /// The member of the request that the error is about.
    pub(super) fn param(&self) -> Option<&'a str> {
        self.body
            .text(&["param"])
            .filter(|param| !NO_PARAM.iter().any(|none| none.eq_ignore_ascii_case(param)))
    }

    /// The error's type, from the body or else from the header.
    pub(super) fn kind(&self) -> Option<&'a str> {
        self.body.kind().or(self.header)
    }
}

/// Amazon's error name without its namespace and address:
/// `com.amazon.coral.availability#ThrottlingException:http://…`.
fn amazon_error_name(headers: &HeaderBlock) -> Option<&str> {
    let value = headers.get("x-amzn-errortype")?;
    let name = value.split(':').next()?;
    name.rsplit('#').next().map(str::trim).filter(|name| !name.is_empty())
}
