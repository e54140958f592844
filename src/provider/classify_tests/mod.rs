//! Tables of what providers send, one file per provider. Every line states the class it must be read as.

mod accounts;
mod hostile;
mod listed;

use serde_json::json;

use super::*;
use ErrorClass::*;

/// The tables, the provider kind they are read with, and the lines they must have at least: a status and its
/// class.
const TABLES: [(ProviderKind, &str, &str); 8] = [
    (
        ProviderKind::OpenAi,
        include_str!("openai.txt"),
        "400 context_length, 400 invalid, 400 content_policy, 401 auth, 403 permission, 404 not_found, \
         429 rate_limited, 429 quota_exhausted, 429 unsuitable, 404 state_not_found, 409 conflict, 500 server, 503 overloaded, 503 \
         rate_limited, 200 server, event server",
    ),
    (
        ProviderKind::AzureOpenAi,
        include_str!("azure.txt"),
        "400 content_policy, 400 context_length, 401 auth, 403 permission, 404 not_found, 408 timeout, \
         429 rate_limited, 429 quota_exhausted, 500 server, 200 none, event none, event content_policy",
    ),
    (
        ProviderKind::Anthropic,
        include_str!("anthropic.txt"),
        "400 invalid, 400 quota_exhausted, 400 context_length, 401 auth, 402 quota_exhausted, 403 \
         permission, 404 not_found, 409 conflict, 413 too_large, 429 rate_limited, 429 quota_exhausted, 500 \
         server, 504 timeout, 529 overloaded, 200 overloaded, event overloaded, event rate_limited, event \
         server, event timeout",
    ),
    (
        ProviderKind::Gemini,
        include_str!("gemini.txt"),
        "400 invalid, 400 auth, 400 permission, 400 context_length, 402 quota_exhausted, 403 permission, \
         404 not_found, 429 rate_limited, 429 quota_exhausted, 429 model_quota, 500 server, 503 overloaded, \
         504 timeout, 200 overloaded, event rate_limited",
    ),
    (
        ProviderKind::OpenAiCompatible,
        include_str!("bedrock.txt"),
        "400 invalid, 400 context_length, 400 rate_limited, 403 permission, 403 auth, 404 not_found, 408 \
         timeout, 424 server, 429 rate_limited, 500 server, 503 overloaded",
    ),
    (
        ProviderKind::Mistral,
        include_str!("mistral.txt"),
        "400 invalid, 400 context_length, 401 auth, 402 quota_exhausted, 403 permission, 404 not_found, \
         422 invalid, 429 rate_limited, 429 overloaded, 500 server, 502 server, 503 overloaded, 504 \
         timeout, 200 rate_limited, event stream_error",
    ),
    (
        ProviderKind::OpenRouter,
        include_str!("openrouter.txt"),
        "400 invalid, 400 context_length, 401 auth, 402 quota_exhausted, 402 unsuitable, 403 \
         content_policy, 403 permission, 404 not_found, 408 timeout, 429 rate_limited, 502 server, 503 \
         overloaded, 503 unsuitable, 529 overloaded, 200 server, 200 rate_limited, event server, event overloaded",
    ),
    (
        ProviderKind::OpenAiCompatible,
        include_str!("compatible.txt"),
        "400 context_length, 400 invalid, 401 auth, 404 not_found, 413 unsuitable, 429 overloaded, 429 \
         quota_exhausted, 500 server, 502 server, 503 overloaded, 200 invalid, 200 context_length, 200 \
         server, event invalid, event server, event stream_error",
    ),
];

/// A line of a table.
struct Row<'t> {
    status: &'t str,
    class: &'t str,
    names: [Option<&'t str>; 2],
    headers: HeaderBlock,
    body: &'t str,
}

fn rows(table: &str) -> impl Iterator<Item = Row<'_>> {
    table.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).map(|line| {
        let cells: Vec<_> = line.splitn(6, '|').map(str::trim).collect();
        let [status, class, kind, code, headers, body] = cells[..] else { panic!("not six cells: {line}") };
        let headers: Vec<_> = headers
            .split(';')
            .filter_map(|header| header.split_once(':'))
            .map(|(name, value)| (name.trim(), value.trim()))
            .collect();
        let name = |cell| Some(cell).filter(|cell| *cell != "-");
        Row { status, class, names: [name(kind), name(code)], headers: HeaderBlock::of(&headers), body }
    })
}

impl Row<'_> {
    fn read(&self, kind: ProviderKind, body: &[u8]) -> Option<Failure> {
        match self.status {
            "200" => failure_in_success(kind, &self.headers, body),
            "event" => classify_event(kind, body),
            status => Some(classify(kind, status.parse().unwrap(), &self.headers, body)),
        }
    }

    #[track_caller]
    fn check(&self, found: Option<&Failure>) {
        assert_eq!(self.mistake(found), None);
    }

    fn mistake(&self, found: Option<&Failure>) -> Option<String> {
        let class = found.map_or("none", |failure| failure.class.name());
        let names = found.map_or([None; 2], |failure| [failure.kind.as_deref(), failure.code.as_deref()]);
        let is_right = (class, names) == (self.class, self.names);
        (!is_right).then(|| format!("{class} {names:?} for {} {} {}", self.status, self.class, self.body))
    }
}

#[test]
fn every_line_of_every_table_has_the_stated_class() {
    let mistakes: Vec<_> = TABLES
        .into_iter()
        .flat_map(|(kind, table, _)| rows(table).map(move |row| (kind, row)))
        .filter_map(|(kind, row)| row.mistake(row.read(kind, row.body.as_bytes()).as_ref()))
        .collect();
    assert!(mistakes.is_empty(), "{mistakes:#?}");
}

#[test]
fn the_tables_have_every_required_line() {
    for (kind, table, wanted) in TABLES {
        let lines: Vec<_> = rows(table).map(|row| format!("{} {}", row.status, row.class)).collect();
        for line in wanted.split(',').map(str::trim) {
            assert!(lines.iter().any(|found| found == line), "{kind:?}: {line}");
        }
    }
}

#[test]
fn geminis_errors_have_the_same_class_inside_an_array() {
    let (kind, table, _) = TABLES[3];
    for row in rows(table).filter(|row| !row.body.starts_with('[')) {
        row.check(row.read(kind, format!("[{}\n]", row.body).as_bytes()).as_ref());
    }
}

#[test]
fn openrouters_errors_have_the_same_class_with_a_200_and_in_a_stream() {
    let (kind, table, _) = TABLES[6];
    for row in rows(table).filter(|row| row.status != "event") {
        row.check(failure_in_success(kind, &row.headers, row.body.as_bytes()).as_ref());
        if row.headers.get("retry-after").is_none() {
            row.check(classify_event(kind, row.body.as_bytes()).as_ref());
        }
    }
}

fn none() -> HeaderBlock {
    HeaderBlock::default()
}

fn check(kind: ProviderKind, status: u16, body: &str, expected: ErrorClass) -> Failure {
    let failure = classify(kind, status, &none(), body.as_bytes());
    assert_eq!(failure.class, expected, "{kind:?} {status} {body}");
    failure
}

#[test]
fn without_a_readable_body_the_status_alone_decides() {
    for (status, expected) in [
        (300, Redirected),
        (302, Redirected),
        (304, Redirected),
        (308, Redirected),
        (399, Redirected),
        (400, Invalid),
        (401, Auth),
        (402, QuotaExhausted),
        (403, Permission),
        (404, NotFound),
        (405, Invalid),
        (408, Timeout),
        (409, Conflict),
        (410, NotFound),
        (413, TooLarge),
        (415, Invalid),
        (422, Invalid),
        (424, Server),
        (425, Server),
        (429, RateLimited),
        (431, Invalid),
        (451, Permission),
        (498, Overloaded),
        (499, Server),
        (500, Server),
        (501, Server),
        (502, Server),
        (503, Overloaded),
        (504, Timeout),
        (520, Server),
        (524, Timeout),
        (529, Overloaded),
        (599, Server),
        (999, Server),
    ] {
        for kind in ProviderKind::ALL {
            let failure = classify(kind, status, &none(), b"");
            assert_eq!(failure, Failure { class: expected, kind: None, code: None }, "{kind:?} {status}");
        }
    }
}

#[test]
fn a_response_that_only_mentions_errors_is_not_a_failure() {
    let answers = [
        json!({"id": "1", "object": "chat.completion", "choices": [{"index": 0, "finish_reason": "stop",
            "message": {"role": "assistant", "content": "{\"error\":{\"type\":\"server_error\"}}",
            "refusal": null}}]}),
        json!({"choices": [{"finish_reason": "tool_calls",
            "message": {"tool_calls": [{"function": {"name": "error", "arguments": "{}"}}]}}]}),
        json!({"choices": [{"finish_reason": "stop", "message": {"error": {"message": "not mine"}}}]}),
        json!({"object": "response", "status": "completed", "error": null, "output": [{"type": "message",
            "error": {"code": "x"}}]}),
        json!({"object": "response", "status": "in_progress", "error": null}),
        json!({"type": "response.created", "response": {"object": "response", "status": "in_progress",
            "error": null}}),
        json!({"type": "message", "role": "assistant", "content": [{"type": "tool_use", "name": "error",
            "input": {"error": {"type": "x"}}}]}),
        json!({"type": "content_block_delta", "delta": {"type": "text_delta", "text": "\"error\""}}),
        json!({"choices": [], "error": ""}),
        json!({"choices": [], "error": {"code": null, "message": ""}}),
        json!({"choices": [], "error": false}),
        json!([{"id": "error"}, {"error": {"message": "only the first counts"}}]),
        json!("error"),
        json!({"choices": [{"finish_reason": "content_filter"}],
            "prompt_filter_results": [{"content_filter_results": {"error": {"code": "content_filter_error",
            "message": "m"}}}]}),
    ];
    for kind in ProviderKind::ALL {
        for answer in &answers {
            assert_eq!(failure_in_success(kind, &none(), answer.to_string().as_bytes()), None, "{answer}");
            assert_eq!(classify_event(kind, answer.to_string().as_bytes()), None, "{answer}");
        }
        assert_eq!(classify_event(kind, b"[DONE]"), None);
    }
}
