//! Tests of the translation of answers.

mod accumulate;
mod breaks;
mod chat_provider;
mod messages_provider;
mod plain;
mod properties;
mod sample;

use serde_json::Value;

use super::super::AnswerContext;
use super::super::RenamedTool;
use super::*;

/// An event of the client: its name and its data.
#[derive(Debug, Clone, PartialEq)]
struct ClientEvent {
    name: String,
    data: Value,
}

/// What stands for the `[DONE]` of chat in the data of an event.
const DONE: &str = "[DONE]";

/// Reads a client's stream, which must consist of whole events with JSON in them.
fn client_events(out: &[u8]) -> Vec<ClientEvent> {
    let out = std::str::from_utf8(out).unwrap();
    assert!(out.is_empty() || out.ends_with("\n\n"), "{out}");
    let events = whole_events(out).map(|(name, text)| {
        let data = if text == DONE { Value::from(DONE) } else { serde_json::from_str(text).expect(text) };
        ClientEvent { name: name.to_owned(), data }
    });
    events.collect()
}

/// The whole events of a stream: their names, and their data, which is one line.
fn whole_events(stream: &str) -> impl Iterator<Item = (&str, &str)> {
    let (whole, _) = stream.rsplit_once("\n\n").unwrap_or_default();
    whole.split("\n\n").filter_map(|event| {
        let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name));
        Some((field("event: ").unwrap_or_default(), field("data: ")?))
    })
}

/// Translates the events of a provider's stream, and its end.
fn translate_stream(way: Translation, terms: &AnswerTerms, stream: &str) -> Result<Vec<u8>, NotTranslated> {
    let mut out = Vec::new();
    let mut translator = StreamTranslator::new(way, terms.clone());
    let result = whole_events(stream)
        .try_for_each(|(name, data)| translator.event(name.as_bytes(), data.as_bytes(), &mut out));
    translator.finish(&mut out);
    result.map(|()| out)
}

fn terms() -> AnswerTerms {
    AnswerTerms {
        context: AnswerContext {
            streamed: true,
            include_usage: true,
            custom_tools: vec![(*b"apply_patch").into()],
            renamed_tools: vec![RenamedTool {
                provider: (*b"mcp_lookup").into(),
                client: (*b"lookup").into(),
                namespace: Some((*b"mcp").into()),
            }],
        },
        model: Some("house".into()),
        created: 1_700_000_000,
        seed: 0xabcd,
        reasoning: ReasoningPolicy::Keep,
    }
}

/// Translates a stream and compares it, event by event, with `NAME DATA` lines.
fn check_stream(way: Translation, stream: &str, expected: &str) {
    let out = translate_stream(way, &terms(), stream).unwrap();
    let found: Vec<_> = client_events(&out);
    let expected: Vec<_> = expected
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .map(|line| match line {
            DONE => ClientEvent { name: String::new(), data: DONE.into() },
            _ => {
                let data: Value = serde_json::from_str(line).expect(line);
                let name = data["type"].as_str().unwrap_or_default().to_owned();
                ClientEvent { name, data }
            }
        })
        .collect();
    for (at, (found, expected)) in found.iter().zip(&expected).enumerate() {
        assert_eq!(found, expected, "event {at}");
    }
    assert_eq!(found.len(), expected.len(), "{found:#?}");
}

/// The data of chunks as a stream of chat.
fn chat_stream(lines: &str) -> String {
    lines
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .fold(String::new(), |stream, line| format!("{stream}data: {line}\n\n"))
}

/// Deltas of the first choice as a stream of chat. A line with a quoted reason is the end.
fn chat_deltas(lines: &str) -> String {
    let chunks = lines.lines().map(str::trim).filter(|line| !line.is_empty()).map(|line| match line {
        DONE => DONE.to_owned(),
        _ if line.starts_with('"') => chat_chunk("{}", line),
        _ if line.starts_with("{\"choices\"") => line.to_owned(),
        _ => chat_chunk(line, "null"),
    });
    chat_stream(&chunks.collect::<Vec<_>>().join("\n"))
}

fn chat_chunk(delta: &str, finish: &str) -> String {
    format!(
        r#"{{"id":"c1","object":"chat.completion.chunk","created":1,"model":"m","choices":[{{"index":0,"delta":{delta},"logprobs":null,"finish_reason":{finish}}}],"usage":null}}"#
    )
}

/// The data of events as a stream of Messages.
fn messages_stream(lines: &str) -> String {
    lines.lines().map(str::trim).filter(|line| !line.is_empty()).fold(String::new(), |stream, line| {
        let data: Value = serde_json::from_str(line).expect(line);
        format!("{stream}event: {}\ndata: {line}\n\n", data["type"].as_str().unwrap())
    })
}
