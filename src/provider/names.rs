//! The error types and codes that vendors use, except those of dead accounts (`accounts`) and of refusals
//! that depend on the request (`request_bound`).
//!
//! The narrow names say more than a status, so they decide whatever the status is: a 429 may be a rate limit
//! or an account without money. The broad names say no more than a status, so they count only without one:
//! OpenAI's 401 is an `invalid_request_error` too.

use crate::base::ErrorClass;

/// Names that are narrower than any status.
const NARROW: &[(&str, ErrorClass)] = &[
    ("rate_limit_exceeded", ErrorClass::RateLimited),
    ("rate_limit_error", ErrorClass::RateLimited),
    ("rate_limited", ErrorClass::RateLimited),
    ("slow_down", ErrorClass::RateLimited),
    ("too_many_requests", ErrorClass::RateLimited),
    ("ratelimiterror", ErrorClass::RateLimited),
    ("context_length_exceeded", ErrorClass::ContextLength),
    ("context_window_exceeded", ErrorClass::ContextLength),
    ("exceed_context_size_error", ErrorClass::ContextLength),
    ("content_filter", ErrorClass::ContentPolicy),
    ("content_policy_violation", ErrorClass::ContentPolicy),
    ("image_content_policy_violation", ErrorClass::ContentPolicy),
    ("responsibleaipolicyviolation", ErrorClass::ContentPolicy),
    ("moderation_blocked", ErrorClass::ContentPolicy),
    ("data_inspection_failed", ErrorClass::ContentPolicy),
    ("refusal", ErrorClass::ContentPolicy),
    ("sensitive_words_detected", ErrorClass::ContentPolicy),
    ("prompt_blocked", ErrorClass::ContentPolicy),
    ("server_is_overloaded", ErrorClass::Overloaded),
    ("overloaded_error", ErrorClass::Overloaded),
    ("engine_overloaded_error", ErrorClass::Overloaded),
    ("provider_overloaded", ErrorClass::Overloaded),
    ("overloaded", ErrorClass::Overloaded),
    ("model_not_found", ErrorClass::NotFound),
    ("deploymentnotfound", ErrorClass::NotFound),
    ("not_found_error", ErrorClass::NotFound),
    ("permission_error", ErrorClass::Permission),
    ("unsupported_country_region_territory", ErrorClass::Permission),
    ("request_too_large", ErrorClass::TooLarge),
    ("payload_too_large", ErrorClass::TooLarge),
    ("timeout_error", ErrorClass::Timeout),
    ("deadline_exceeded", ErrorClass::Timeout),
    // Amazon's, from a header.
    ("servicequotaexceededexception", ErrorClass::RateLimited),
    ("throttlingexception", ErrorClass::RateLimited),
    ("modelnotreadyexception", ErrorClass::RateLimited),
    ("accessdeniedexception", ErrorClass::Permission),
    ("resourcenotfoundexception", ErrorClass::NotFound),
    ("modeltimeoutexception", ErrorClass::Timeout),
    ("modelerrorexception", ErrorClass::Server),
    ("modelstreamerrorexception", ErrorClass::Server),
    ("internalserverexception", ErrorClass::Server),
    ("serviceunavailableexception", ErrorClass::Overloaded),
];

/// Names that say no more than a status does.
const BROAD: &[(&str, ErrorClass)] = &[
    ("invalid_request_error", ErrorClass::Invalid),
    ("invalid_request", ErrorClass::Invalid),
    ("invalid_prompt", ErrorClass::Invalid),
    ("invalid_argument", ErrorClass::Invalid),
    ("max_tokens_exceeded", ErrorClass::Invalid),
    ("unprocessable", ErrorClass::Invalid),
    ("validation", ErrorClass::Invalid),
    ("validationexception", ErrorClass::Invalid),
    ("badrequesterror", ErrorClass::Invalid),
    ("bad_request", ErrorClass::Invalid),
    ("failed_precondition", ErrorClass::Permission),
    ("permission_denied", ErrorClass::Permission),
    ("permissiondeniederror", ErrorClass::Permission),
    ("authentication", ErrorClass::Auth),
    ("unauthenticated", ErrorClass::Auth),
    ("not_found", ErrorClass::NotFound),
    ("notfounderror", ErrorClass::NotFound),
    ("resource_exhausted", ErrorClass::RateLimited),
    ("unavailable", ErrorClass::Overloaded),
    ("service_unavailable_error", ErrorClass::Overloaded),
    ("service_unavailable", ErrorClass::Overloaded),
    ("serviceunavailableerror", ErrorClass::Overloaded),
    ("timeout", ErrorClass::Timeout),
    ("server_error", ErrorClass::Server),
    ("server", ErrorClass::Server),
    ("api_error", ErrorClass::Server),
    ("internal", ErrorClass::Server),
    ("internal_error", ErrorClass::Server),
    ("internal_server_error", ErrorClass::Server),
    ("internalservererror", ErrorClass::Server),
    ("provider_unavailable", ErrorClass::Server),
];

/// The class of the first narrow name.
pub(super) fn narrow<'a>(mut names: impl Iterator<Item = &'a str>) -> Option<ErrorClass> {
    names.find_map(|name| look_up(NARROW, name))
}

/// The class of the first broad name.
pub(super) fn broad<'a>(mut names: impl Iterator<Item = &'a str>) -> Option<ErrorClass> {
    names.find_map(|name| look_up(BROAD, name))
}

fn look_up(table: &[(&str, ErrorClass)], name: &str) -> Option<ErrorClass> {
    table.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, class)| *class)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_lower_case() {
        let names: Vec<_> = NARROW.iter().chain(BROAD).map(|(name, _)| *name).collect();
        for (at, name) in names.iter().enumerate() {
            assert!(!names[..at].contains(name), "{name}");
            assert_eq!(*name, name.to_ascii_lowercase());
        }
    }
}
