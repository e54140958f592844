//! Recognises refusals that depend on the request: this target cannot serve it, but is well. Sources are
//! public reports (repository#number) and the vendors' documents.

use super::evidence::Evidence;
use super::wording::Wording;
use crate::base::ErrorClass;

/// Codes and types with one meaning, in lower case.
const CODES: &[(&str, ErrorClass)] = &[
    // OpenAI: the client's organisation or project header does not go with the key (codex#1000).
    ("mismatched_organization", ErrorClass::Unsuitable),
    ("mismatched_project", ErrorClass::Unsuitable),
    ("invalid_organization", ErrorClass::Unsuitable),
    ("invalid_project", ErrorClass::Unsuitable),
    // OpenAI: the client's own tool server failed.
    ("external_connector_error", ErrorClass::Unsuitable),
    // OpenAI and Azure: this model does not do that.
    ("unsupported_parameter", ErrorClass::Unsuitable),
    ("unsupported_value", ErrorClass::Unsuitable),
    ("operationnotsupported", ErrorClass::Unsuitable),
    // OpenRouter: smaller requests are still served.
    ("weight_exceeds_budget", ErrorClass::Unsuitable),
    ("in_flight_budget_exhausted", ErrorClass::RateLimited),
    // OpenAI: things stored at the account, and reasoning that only it can read.
    ("previous_response_not_found", ErrorClass::StateNotFound),
    ("invalid_encrypted_content", ErrorClass::StateNotFound),
    ("conversation_locked", ErrorClass::Conflict),
    ("conflict_error", ErrorClass::Conflict),
];

/// Things that a provider stores for an account.
const STORED: &[&str] = &[
    " response ",
    " item ",
    " items ",
    " conversation ",
    " prompt ",
    " file ",
    " files ",
    " vector store ",
    " container ",
    " thread ",
    " assistant ",
    " batch ",
    " upload ",
    " cachedcontent ",
    " cached content ",
    " encrypted content ",
    " skill ",
];

/// That such a thing is not there.
const GONE: &[&str] = &[
    " not found ",
    " does not exist ",
    " doesnt exist ",
    " may not exist ",
    " no such ",
    " could not be found ",
    " no longer exists ",
    " has expired ",
    " is expired ",
    " was deleted ",
    " has been deleted ",
    " could not be verified ",
    " could not be decrypted ",
];

/// What is about the model and not about something stored.
const MODEL: &[&str] =
    &[" model ", " models ", " deployment ", " endpoint ", " endpoints ", " url ", " format "];

/// How the ids of stored things begin at OpenAI, Anthropic and their relays.
const IDS: &[&str] = &[
    "resp_",
    "rs_",
    "msg_",
    "conv_",
    "pmpt_",
    "file-",
    "file_",
    "vs_",
    "cntr_",
    "container_",
    "fc_",
    "asst_",
    "thread_",
    "batch_",
    "ig_",
    "ws_",
    "upload_",
    "skill_",
];

/// That a target lacks something, where the sentence names it.
const UNSUPPORTED: &[&str] = &[
    " not support ",
    " not supported ",
    " doesnt support ",
    " unsupported ",
    " only supported ",
    " only supports ",
    " does not work with ",
    " not compatible with ",
    " no endpoints found ",
];

/// What it may lack. A parameter's value is not among it: that is the request's mistake.
const FEATURES: &[&str] = &[
    " tool ",
    " tools ",
    " function calling ",
    " functions ",
    " image ",
    " images ",
    " vision ",
    " audio ",
    " video ",
    " file ",
    " files ",
    " pdf ",
    " document ",
    " documents ",
    " json schema ",
    " json mode ",
    " response format ",
    " structured output ",
    " structured outputs ",
    " stream ",
    " streaming ",
    " logprobs ",
    " reasoning ",
    " thinking ",
    " system ",
    " developer ",
    " embedding ",
    " embeddings ",
    " chat ",
    " completions ",
    " chatcompletion ",
    " completion ",
    " responses ",
    " batch ",
    " web search ",
    " multimodal ",
    " modality ",
    " modalities ",
    " multiple choices ",
    " prefill ",
    " chat template ",
    " caching ",
];

/// Sentences that say it without naming it.
const NOT_HERE: &[&str] = &[
    " not supported with this model ",
    " not supported by this model ",
    " not supported for this model ",
    " not supported by the model ",
    " not supported for the model ",
    " is not a multimodal model ",
    " does not accept image ",
    " at most 0 image",
    " tool choice requires ",
    // OpenRouter: nobody behind it may take this request (claude-code-router#419, zed#36094).
    " meets your routing requirements ",
    " no allowed providers are available ",
    " matching your data policy ",
    " matching your guardrail",
    " handle the requested parameters ",
    // OpenAI: the client's header (codex#1000).
    " organization header should match ",
    " project header should match ",
];

/// The account has some money left, but not for a request of this size (oh-my-pi#9569, opencode#12219).
const TOO_EXPENSIVE: &[&str] =
    &[" fewer max tokens ", " can only afford ", " prompt tokens limit exceeded ", " lower max tokens "];
const NOTHING_LEFT: &[&str] = &[" can only afford 0 ", " only afford 0 "];

/// The account's rate limit would not admit this request even if it were full.
const LARGER_THAN_RATE_LIMIT: &[&str] = &[" request too large for "];

/// Anthropic bills long contexts apart (claude-code#41054).
const LONG_CONTEXT: &[&str] = &[" long context "];

/// The client's own tool server.
const TOOL_SERVER: &[&str] = &[" mcp server ", " mcp servers "];

/// The class of a refusal that depends on the request; `None` for any other error.
pub(super) fn class(evidence: &Evidence) -> Option<ErrorClass> {
    let wording = Wording::of(evidence.body.message());
    // Another part of the filter takes the option back that it has added itself.
    let is_own = evidence.body.message().contains("stream_options")
        || evidence.param().is_some_and(|param| param.starts_with("stream_options"));
    if is_own {
        return None;
    }
    by_code(evidence)
        .or_else(|| stored(evidence, &wording))
        .or_else(|| size(evidence, &wording))
        .or_else(|| feature(evidence, &wording))
        .or_else(|| (evidence.status == Some(409)).then_some(ErrorClass::Conflict))
}

fn by_code(evidence: &Evidence) -> Option<ErrorClass> {
    evidence.names().find_map(|name| {
        let known = CODES.iter().find(|(code, _)| code.eq_ignore_ascii_case(name)).map(|(_, class)| *class);
        known.or_else(|| {
            let words = Wording::of_code(name);
            // `container_expired` and the like.
            let is_gone = words.has(GONE) || words.has(&[" expired ", " missing "]);
            (words.has(STORED) && is_gone && !words.has(MODEL)).then_some(ErrorClass::StateNotFound)
        })
    })
}

/// Something that the request refers to is not there, or this account cannot read it.
fn stored(evidence: &Evidence, wording: &Wording) -> Option<ErrorClass> {
    let names_it = wording.sentences().iter().any(|sentence| {
        let has = |words: &[&str]| words.iter().any(|word| sentence.contains(word));
        has(STORED) && has(GONE) && !has(MODEL)
    });
    let is_missing = match evidence.status? {
        404 | 410 => names_it || evidence.param().is_some_and(|param| param != "model"),
        400 => names_it && (has_id(evidence.body.message()) || wording.has(&[" encrypted content "])),
        // Gemini hides whether a file or a cached content exists.
        403 => names_it && wording.has(&[" permission ", " cachedcontent ", " cached content "]),
        _ => false,
    };
    is_missing.then_some(ErrorClass::StateNotFound)
}

/// Whether a text names the id of something stored.
fn has_id(text: &str) -> bool {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '-'));
    words.filter(|word| word.len() > 8).any(|word| IDS.iter().any(|id| word.starts_with(id)))
}

/// The request is too large, too long or too expensive for what is left of the account.
fn size(evidence: &Evidence, wording: &Wording) -> Option<ErrorClass> {
    let is_too_expensive = matches!(evidence.status, None | Some(400 | 402 | 403 | 429))
        && wording.has(TOO_EXPENSIVE)
        && !wording.has(NOTHING_LEFT);
    let is_long = matches!(evidence.status, Some(400 | 402 | 403 | 429))
        && wording.has(LONG_CONTEXT)
        && wording.has(&[" required ", " not available ", " not yet available ", " requires "]);
    let is_larger = matches!(evidence.status, Some(413 | 429)) && wording.has(LARGER_THAN_RATE_LIMIT);
    (is_too_expensive || is_long || is_larger).then_some(ErrorClass::Unsuitable)
}

/// This target lacks something that the request needs, or the client's own part of it failed.
fn feature(evidence: &Evidence, wording: &Wording) -> Option<ErrorClass> {
    let lacks = || {
        wording.sentences().iter().any(|sentence| {
            let has = |words: &[&str]| words.iter().any(|word| sentence.contains(word));
            has(UNSUPPORTED) && has(FEATURES)
        })
    };
    let is_unsuitable = match evidence.status? {
        400 | 404 | 405 | 415 | 422 | 501 => wording.has(NOT_HERE) || wording.has(TOOL_SERVER) || lacks(),
        424 => wording.has(TOOL_SERVER),
        401 | 402 | 403 | 503 => wording.has(NOT_HERE),
        _ => false,
    };
    is_unsuitable.then_some(ErrorClass::Unsuitable)
}
