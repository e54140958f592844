//! What a client's path means, in whichever spelling the client uses.
//!
//! SDKs, gateways and copied settings spell one endpoint in many ways: without `/v1`, with a slash too many,
//! below `/openai` or `/anthropic`, or by Azure's deployments. All of them mean one endpoint, and the path that
//! a provider gets is made from the endpoint alone.
//!
//! Nothing is decoded to find an endpoint. A path that only becomes one by decoding is refused, and never
//! goes on to the cluster for other paths: that cluster may decode it, and the request would reach an endpoint
//! without the checks of a request for a model.

use percent_encoding::percent_decode_str;

use crate::base::{Dialect, Endpoint, nearest};
use crate::refusal::PathHint;

/// The path of the health check, which needs no key.
pub const HEALTH: &str = "/llm-failsafe/health";

/// The list of models.
const MODELS: &str = "/v1/models";

/// What a 404 names besides the endpoints.
const OTHERS: [&str; 2] = [MODELS, HEALTH];

/// The first segment of the operators' paths.
const OPERATORS: &str = "llm-failsafe";

/// Words of known paths.
const TELLING: [&str; 10] = [
    "completions",
    "embeddings",
    "responses",
    "messages",
    "moderations",
    "rerank",
    "generations",
    "speech",
    "models",
    OPERATORS,
];

/// The first segments of what lives at one account at OpenAI and Anthropic.
const RESOURCES: [&str; 13] = [
    "assistants",
    "batches",
    "containers",
    "conversations",
    "evals",
    "files",
    "fine_tuning",
    "skills",
    "threads",
    "uploads",
    "vector_stores",
    "videos",
    "voices",
];

/// A path that is decoded more often than this is one that hides something.
const MAX_DECODINGS: usize = 4;

/// What a client's path means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientPath {
    /// An endpoint for models.
    Endpoint(Called),
    /// Anything else.
    Other(OtherPath),
}

/// A path that is no endpoint for models.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OtherPath {
    /// The list of models, or one of them.
    Models {
        /// The name of the one, as it is written.
        wanted: Option<String>,
        /// The dialect that the path names, if it does.
        dialect: Option<Dialect>,
    },
    /// The health check.
    Health,
    /// A response that a provider keeps, or something about it.
    Response(KeptResponse),
    /// Something else that lives at one account: a file, a batch. What follows the version in its path.
    Resource(String),
    /// None of these.
    Unknown {
        /// What the client may have meant.
        hint: PathHint,
        /// Whether it hides a known path, so that it goes nowhere else either.
        hides_known: bool,
    },
}

/// A request about a response that a provider keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptResponse {
    /// The response's id.
    pub id: String,
    /// What follows the version in the path.
    pub rest: String,
    /// The methods that the path takes.
    pub methods: &'static str,
}

/// An endpoint, and how a client has called it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Called {
    /// The endpoint.
    pub endpoint: Endpoint,
    /// How the path is spelled.
    pub spelling: Spelling,
    /// The model that the path names, decoded.
    pub model: Option<Box<str>>,
}

/// How a client spells an endpoint's path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Spelling {
    /// As the endpoint's own path.
    #[default]
    Usual,
    /// As Azure's dated versions do, with an `api-version` that says how to read the path.
    Azure,
    /// Otherwise.
    Other,
}

impl Called {
    /// The endpoint by its own path.
    pub const fn usual(endpoint: Endpoint) -> Self {
        Self { endpoint, spelling: Spelling::Usual, model: None }
    }
}

/// What `path` (without its query) means.
pub fn client_path(path: &str) -> ClientPath {
    if let Some(endpoint) = Endpoint::of_path(path) {
        return ClientPath::Endpoint(Called::usual(endpoint));
    }
    other_spelling(path)
}

#[cold]
#[inline(never)]
fn other_spelling(path: &str) -> ClientPath {
    let segments = segments(path);
    known(&segments).unwrap_or_else(|| {
        let text = decoded(path);
        let revealed = text.as_deref().map(resolved);
        let is_known = |segments: &Vec<String>| {
            known(segments).is_some() || segments.first().is_some_and(|first| first == OPERATORS)
        };
        let hidden = text.as_deref().is_none_or(is_ambiguous) || revealed.as_ref().is_none_or(is_known);
        if !hidden && let Some(kept) = at_an_account(&segments) {
            return ClientPath::Other(kept);
        }
        let revealed: Vec<&str> = revealed.iter().flatten().map(String::as_str).collect();
        ClientPath::Other(OtherPath::Unknown { hint: hint(&revealed), hides_known: hidden })
    })
}

/// The parts between slashes. Several slashes count as one, and one at the end does not count.
fn segments(path: &str) -> Vec<&str> {
    path.split('/').filter(|segment| !segment.is_empty()).collect()
}

/// The path with these segments, if it is known.
fn known<S: AsRef<str>>(segments: &[S]) -> Option<ClientPath> {
    let segments: Vec<&str> = segments.iter().map(AsRef::as_ref).collect();
    if segments.iter().copied().eq(parts(HEALTH)) {
        return Some(ClientPath::Other(OtherPath::Health));
    }
    let (dialect, rest) = match segments.as_slice() {
        ["openai", rest @ ..] => (Some(Dialect::OpenAi), rest),
        ["anthropic", rest @ ..] => (Some(Dialect::Anthropic), rest),
        rest => (None, rest),
    };
    if let (Some(Dialect::OpenAi), ["deployments", rest @ ..]) = (dialect, rest) {
        return deployment(rest);
    }
    let (rest, spelling) = match rest {
        ["v1", rest @ ..] => (rest, Spelling::Other),
        // Cohere's version of it, which others have, too.
        ["v2", rest @ ..] if *rest == ["rerank"] => (rest, Spelling::Other),
        rest if dialect == Some(Dialect::OpenAi) => (rest, Spelling::Azure),
        rest => (rest, Spelling::Other),
    };
    if let ["models", name @ ..] = rest {
        let wanted = (!name.is_empty()).then(|| name.join("/"));
        return Some(ClientPath::Other(OtherPath::Models { wanted, dialect }));
    }
    let endpoint =
        Endpoint::ALL.into_iter().find(|endpoint| operation(*endpoint).eq(rest.iter().copied()))?;
    let speaks = dialect.is_none_or(|dialect| dialect == endpoint.dialect());
    speaks.then_some(ClientPath::Endpoint(Called { endpoint, spelling, model: None }))
}

/// What lives at one account: a response that was made there, or another resource. No server may understand such a path
/// in another way, because the account's credential goes with it.
fn at_an_account(segments: &[&str]) -> Option<OtherPath> {
    let (vendor, rest) = match segments {
        ["openai" | "anthropic", rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    let (version, rest) = match rest {
        ["v1", rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    if !rest.iter().all(|segment| is_plain(segment)) {
        return None;
    }
    let written = || format!("/{}", rest.join("/"));
    let response = |id: &str, methods| {
        Some(OtherPath::Response(KeptResponse { id: id.to_owned(), rest: written(), methods }))
    };
    match rest {
        // A response with this id would be a strange one.
        ["responses", "compact"] => None,
        ["responses", id] => response(id, "GET, DELETE"),
        ["responses", id, "cancel"] => response(id, "POST"),
        ["responses", id, "input_items"] => response(id, "GET"),
        // Without a version or a vendor it may be a path of the operator's own.
        _ if !version && !vendor => None,
        ["messages", "batches", ..] => Some(OtherPath::Resource(written())),
        [first, ..] if RESOURCES.contains(first) => Some(OtherPath::Resource(written())),
        _ => None,
    }
}

/// The longest segment of such a path. Ids are much shorter.
const MAX_SEGMENT: usize = 256;

/// Whether a segment means the same to everybody.
fn is_plain(segment: &str) -> bool {
    let has_only_plain =
        segment.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':'));
    has_only_plain && segment.len() <= MAX_SEGMENT && !matches!(segment, "." | "..")
}

/// Azure's path: a model, which may have slashes, and an operation.
fn deployment(rest: &[&str]) -> Option<ClientPath> {
    let (endpoint, model) = Endpoint::ALL
        .into_iter()
        .filter(|endpoint| endpoint.dialect() == Dialect::OpenAi)
        .filter_map(|endpoint| Some((endpoint, without_end(rest, operation(endpoint))?)))
        // `chat/completions` ends with `completions`.
        .min_by_key(|(_, model)| model.len())?;
    let model = percent_decode_str(&model.join("/")).decode_utf8().ok()?.into();
    Some(ClientPath::Endpoint(Called { endpoint, spelling: Spelling::Azure, model: Some(model) }))
}

/// What comes before `end`, which must not be all.
fn without_end<'a, 's>(
    segments: &'a [&'s str],
    end: impl Iterator<Item = &'static str>,
) -> Option<&'a [&'s str]> {
    let end: Vec<&str> = end.collect();
    segments.strip_suffix(end.as_slice()).filter(|rest| !rest.is_empty())
}

/// The segments of an endpoint's path after `/v1`.
fn operation(endpoint: Endpoint) -> impl Iterator<Item = &'static str> {
    parts(endpoint.client_path()).skip(1)
}

fn parts(path: &'static str) -> impl Iterator<Item = &'static str> {
    path.split('/').skip(1)
}

/// The path decoded and in lower case. `None` if it was encoded too often.
fn decoded(path: &str) -> Option<String> {
    let mut text = path.to_ascii_lowercase();
    let mut decodings = 0;
    while text.contains('%') {
        let decoded = percent_decode_str(&text).decode_utf8_lossy().to_ascii_lowercase();
        if decoded == text {
            break;
        }
        if decodings == MAX_DECODINGS {
            return None;
        }
        decodings += 1;
        text = decoded;
    }
    Some(text)
}

/// Whether servers may disagree about a decoded path that names a part of a known one: where it ends, or which
/// segments its dots take away.
fn is_ambiguous(text: &str) -> bool {
    let has_dots = || text.split(['/', '\\', ';']).any(|segment| matches!(segment.trim(), "." | ".."));
    let is_odd =
        text.contains(['?', '#', ';', '\\']) || text.bytes().any(|it| it.is_ascii_control()) || has_dots();
    let words = || text.split(|it: char| !it.is_ascii_alphanumeric() && it != '-');
    is_odd && words().any(|word| TELLING.contains(&word))
}

/// The segments that a server may make of a decoded path: with backslashes as slashes, without parameters of segments,
/// and with its dots resolved.
fn resolved(text: &str) -> Vec<String> {
    let mut resolved: Vec<String> = Vec::new();
    // A decoded question mark may begin a query.
    let text = text.split(['?', '#']).next().unwrap_or_default();
    for segment in text.split(['/', '\\']) {
        match segment.split(';').next().unwrap_or_default().trim() {
            "" | "." => {}
            ".." => drop(resolved.pop()),
            plain => resolved.push(plain.to_owned()),
        }
    }
    resolved
}

/// What the client may have meant by these segments.
fn hint(segments: &[&str]) -> PathHint {
    if let Some(unserved) = unserved(segments) {
        return PathHint::NotServed(unserved);
    }
    if let [OPERATORS, rest @ ..] = segments {
        let is_near = nearest(&rest.join("/"), ["health"].into_iter()).is_some();
        return if is_near { PathHint::Near(HEALTH) } else { PathHint::Operators };
    }
    let ends_with = |known: &&str| {
        let end: Vec<&str> = known.split('/').skip(2).collect();
        segments.ends_with(&end)
    };
    // The longest comes first of those that end alike.
    let by_end = known_paths().filter(|known| *known != HEALTH).find(ends_with);
    let written = format!("/{}", segments.join("/"));
    by_end.or_else(|| nearest(&written, known_paths())).map_or(PathHint::None, PathHint::Near)
}

/// What a 404 names.
fn known_paths() -> impl Iterator<Item = &'static str> {
    Endpoint::ALL.into_iter().map(Endpoint::client_path).chain(OTHERS)
}

/// The endpoint of a vendor that the filter does not have.
fn unserved(segments: &[&str]) -> Option<&'static str> {
    let rest = match segments {
        ["openai" | "anthropic", rest @ ..] => rest,
        rest => rest,
    };
    let rest = if let ["v1", rest @ ..] = rest { rest } else { rest };
    (rest == ["responses", "compact"]).then_some("/v1/responses/compact")
}

#[cfg(test)]
#[path = "paths_tests.rs"]
mod tests;
