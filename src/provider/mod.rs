//! What the vendors' APIs look like: paths, credentials, dialects and errors.
//!
//! - `table`: which endpoints a vendor has and how they are called; `path` builds the upstream path. `listed`: the
//!   rows of vendors and servers that differ from others only in this.
//! - `request_headers`: which of a client's headers and parameters a provider gets; `response_headers`: which of
//!   a provider's headers a client gets.
//! - `offers`: what every model of a vendor can do.
//! - `classify`: which class an error has. One file per vendor family holds that vendor's own rules; `names`
//!   holds the error names that all share; `error_body` reads the error out of a body, and `wording` what its
//!   message says.
//! - `accounts`: how an account is recognised that is dead; `request_bound`: how a refusal that says nothing
//!   about the target.
//! - `flat_error`: how an error looks that has none of the dialects' formats.
//! - `hints`: how long the provider asks clients to wait, in headers; `body_hints`: the same in bodies;
//!   `waits`: the forms in which they write it; `rate_limits`: what it reports of its rate limits.
//! - `answer`: the filter's own responses in the client's dialect.
//!
//! This module only states facts. `retry` decides what to do about a failure, and `fallback` decides which
//! target may be tried.

mod accounts;
mod answer;
mod anthropic;
mod body_hints;
mod classify;
mod error_body;
mod evidence;
mod flat_error;
mod gemini;
mod hint_names;
mod hints;
mod kind;
mod listed;
mod mistral;
mod names;
mod offers;
mod openai;
mod openrouter;
mod path;
mod rate_limits;
mod request_bound;
mod request_headers;
mod response_headers;
mod table;
mod usage_option;
mod waits;
mod wording;

// So that paths are the same in every crate of `src`.
use crate as provider;
use llm_failsafe_base as base;

pub use answer::{LocalError, MAX_OBJECTIONS, MAX_REJECTED, Objection, Rejected, model_object, models_list};
pub use classify::{Failure, classify, classify_event, failure_in_success, flat_failure};
pub use error_body::{MAX_ERROR_BODY, MAX_NAME, error_message};
pub use flat_error::is_flat_error;
pub use hints::{should_retry, wait_hint};
pub use kind::ProviderKind;
pub use offers::{Capability, CapabilitySet, Profile, dropped, members, profile};
pub use path::{resource_path, upstream_path};
pub use rate_limits::{Meter, RateLimit, RateLimits, rate_limits};
pub use request_headers::{RequestHeader, VENDOR_HEADERS, VendorHeader, request_header};
pub use response_headers::{ResponseHeader, is_reserved, response_header};
pub use table::{
    CREDENTIAL_HEADERS, Route, Scheme, credential_header, default_headers, default_host, default_prefix,
    endpoints, native_route, needs_key, route, takes_usage_option,
};
pub use usage_option::rejects_usage_option;
pub use waits::MAX_HINT;
