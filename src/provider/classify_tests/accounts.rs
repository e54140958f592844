//! Dead accounts, refusals that depend on the request, and what must not be taken for either.

use super::*;

/// A table: the class that a line states, and what it was taken for.
fn mistakes(table: &str) -> Vec<String> {
    let lines = table.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let rows = lines.filter_map(|line| {
        let cells: Vec<_> = line.splitn(6, '|').map(str::trim).collect();
        let [kind, status, class, headers, source, body] = cells[..] else { panic!("not six cells: {line}") };
        assert!(!source.is_empty(), "no source: {line}");
        let kind = ProviderKind::from_name(kind).unwrap_or(ProviderKind::OpenAiCompatible);
        let headers: Vec<_> = headers.split(';').filter_map(|header| header.split_once(": ")).collect();
        let headers = HeaderBlock::of(&headers);
        let found = match status {
            "200" => failure_in_success(kind, &headers, body.as_bytes()),
            "event" => classify_event(kind, body.as_bytes()),
            status => Some(classify(kind, status.parse().unwrap(), &headers, body.as_bytes())),
        };
        let found = found.map_or("none", |failure| failure.class.name());
        (found != class).then(|| format!("{found} instead of {class}: {status} {body}"))
    });
    rows.collect()
}

fn count(table: &str) -> usize {
    table.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).count()
}

const DEAD: &str = include_str!("dead_accounts.txt");
const ALIVE: &str = include_str!("living_accounts.txt");
const REQUESTS: &str = include_str!("request_bound.txt");

#[test]
fn dead_accounts_are_recognised() {
    assert_eq!(mistakes(DEAD), Vec::<String>::new());
    assert!(count(DEAD) >= 60);
}

#[test]
fn what_only_sounds_like_a_dead_account_blocks_none() {
    assert_eq!(mistakes(ALIVE), Vec::<String>::new());
    assert!(count(ALIVE) >= 40);
    for line in ALIVE.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        assert!(!line.contains("| auth ") && !line.contains("| quota_exhausted "), "{line}");
    }
}

#[test]
fn refusals_that_depend_on_the_request_are_recognised() {
    assert_eq!(mistakes(REQUESTS), Vec::<String>::new());
    assert!(count(REQUESTS) >= 40);
}

/// Every phrase of every vendor is recognised under each status that it may come with, in the shapes in which
/// relays pass it on.
#[test]
fn every_phrase_of_the_vendors_is_recognised() {
    for (phrase, class) in super::super::accounts::phrases() {
        for status in [400, 403, 412] {
            for body in [
                json!({"error": {"message": phrase, "type": "invalid_request_error", "code": null}}),
                json!({"type": "error", "error": {"type": "permission_error", "message": phrase}}),
                json!({"error": phrase}),
                json!({"message": phrase}),
                json!({"detail": phrase}),
                json!({"code": 40_000, "msg": phrase}),
                json!({"errors": [{"message": phrase}]}),
                json!([{"error": {"message": phrase}}]),
                json!(phrase),
            ] {
                check(ProviderKind::OpenAiCompatible, status, &body.to_string(), class);
            }
            check(ProviderKind::OpenAiCompatible, status, phrase, class);
        }
    }
}

/// The same phrases quote a client, or stand in an ordinary mistake of the request.
#[test]
fn no_phrase_of_the_vendors_blocks_an_account_when_it_is_the_client_s() {
    for (phrase, _) in super::super::accounts::phrases() {
        for message in [
            format!("Invalid value: '{phrase}'."),
            format!("Invalid value for `{phrase}`"),
            format!("messages.0.content: {phrase}"),
            format!("Your prompt was flagged: {phrase}"),
            format!("The tool \"{phrase}\" is not known"),
            format!("Unknown parameter {phrase}"),
        ] {
            let body = json!({"error": {"message": message, "type": "invalid_request_error"}}).to_string();
            check(ProviderKind::OpenAi, 400, &body, Invalid);
        }
        let body = json!({"error": {"message": phrase, "param": "messages", "code": null}}).to_string();
        check(ProviderKind::OpenAi, 400, &body, Invalid);
        let body = json!({"error": {"message": phrase, "code": "content_filter"}}).to_string();
        check(ProviderKind::OpenAi, 400, &body, ContentPolicy);
    }
}

#[test]
fn an_account_is_dead_only_under_the_statuses_that_vendors_use_for_it() {
    let body = json!({"error": {"message": "Your account is suspended."}}).to_string();
    for status in [400, 401, 402, 403, 412, 429] {
        let class = classify(ProviderKind::OpenAiCompatible, status, &none(), body.as_bytes()).class;
        assert!(matches!(class, Auth | QuotaExhausted), "{status}");
    }
    for status in [404, 408, 413, 422, 500, 502, 503, 529] {
        let class = classify(ProviderKind::OpenAiCompatible, status, &none(), body.as_bytes()).class;
        assert!(!matches!(class, Auth | QuotaExhausted), "{status}");
    }
}

#[test]
fn only_the_beginning_of_a_message_is_read() {
    let late = format!("{} Your account is suspended.", "Please contact us. ".repeat(60));
    check(ProviderKind::OpenAi, 403, &json!({"error": {"message": late}}).to_string(), Permission);
}

/// A code is enough, whatever the message says; a number needs a fitting status.
#[test]
fn every_code_of_the_vendors_is_recognised() {
    for (code, class) in super::super::accounts::codes() {
        for body in [
            json!({"error": {"message": "Denied.", "type": "error", "code": code}}),
            json!({"error": {"message": "Denied.", "type": code}}),
            json!({"error": {"message": "Denied.", "details": [{"reason": code}]}}),
            json!({"code": code, "message": "Denied."}),
            json!({"error": code, "message": "Denied."}),
            json!({"code": code.to_uppercase(), "msg": "Denied."}),
        ] {
            for status in [400, 403, 429] {
                check(ProviderKind::OpenAiCompatible, status, &body.to_string(), class);
            }
        }
    }
    let number = json!({"error": {"code": "1113", "message": "m"}}).to_string();
    check(ProviderKind::OpenAiCompatible, 500, &number, Server);
}

#[test]
fn the_page_on_providers_names_every_vendor_and_existing_tests() {
    const PAGE: &str = include_str!("../../../docs/providers.md");
    const HINTS: &str = concat!(include_str!("../hints_tests.rs"), include_str!("../body_hints_tests.rs"));
    const OWN: &str = include_str!("accounts.rs");
    const TABLES: [&str; 11] = [
        "anthropic.txt",
        "azure.txt",
        "bedrock.txt",
        "compatible.txt",
        "gemini.txt",
        "mistral.txt",
        "openai.txt",
        "openrouter.txt",
        "dead_accounts.txt",
        "living_accounts.txt",
        "request_bound.txt",
    ];
    let rows: Vec<Vec<&str>> = PAGE
        .lines()
        .skip_while(|line| !line.starts_with("| vendor |"))
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .map(|line| line.split('|').map(str::trim).collect())
        .collect();
    for vendor in super::super::accounts::vendors() {
        assert!(rows.iter().any(|row| row[1] == vendor), "the page lacks {vendor}");
    }
    for row in rows {
        for cell in &row[2..4] {
            let tests: Vec<_> = cell.split(", ").map(|test| test.trim_matches('`')).collect();
            for test in tests {
                let exists = TABLES.contains(&test)
                    || [HINTS, OWN].iter().any(|file| file.contains(&format!("fn {test}(")));
                assert!(exists, "{}: {test}", row[1]);
            }
        }
    }
}
