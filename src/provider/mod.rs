//! What vendors' APIs look like: paths, credentials, dialects, the shapes of their errors.
//!
//! `table` says who speaks what, `offers` what their models can be relied on for, one file per vendor family what its errors mean, `hints` when to come back, `answer`
//! what the filter says in their dialects. Facts only: what to do about a failure is decided in `retry`, who may be
//! tried in `fallback`.

mod answer;
mod anthropic;
mod classify;
mod gemini;
mod headroom;
mod hints;
mod kind;
mod members;
mod mistral;
mod names;
mod offers;
mod openai;
mod openrouter;
mod path;
mod report;
mod table;

pub use answer::{LocalError, MAX_OBJECTIONS, MAX_REJECTED, Objection, Rejected, model_object, models_list};
pub use classify::{Failure, classify, classify_event, failure_in_success};
pub use headroom::{Headroom, Left, Meter, headroom};
pub use hints::{MAX_HINT, should_retry, wait_hint};
pub use kind::ProviderKind;
pub use offers::{Capability, CapabilitySet, Profile, dropped, profile};
pub use path::upstream_path;
pub use report::{MAX_ERROR_BODY, MAX_NAME};
pub use table::{
    CREDENTIAL_HEADERS, Route, Scheme, credential_header, default_headers, default_host, default_prefix,
    endpoints, route, takes_usage_option,
};
