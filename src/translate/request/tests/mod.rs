//! Tests of whole requests.

mod arbitrary;
mod chat_to_messages;
mod messages_to_chat;
mod models;
mod responses_to_chat;
mod round_trips;
mod rules;
mod sessions;

use serde_json::{Value, json};

use super::super::{Loss, Losses, ReasoningPolicy, Translation};
use super::{RequestTerms, TranslatedRequest, losses_of, translate_request};

/// A model of Messages and a model of chat that take every setting.
const CLAUDE: &str = "claude-haiku-4-5";
const CHAT: &str = "gpt-4o";

fn terms(model: &str, reasoning: ReasoningPolicy) -> RequestTerms<'_> {
    RequestTerms { model, max_output_tokens: 4096, reasoning }
}

fn translated(way: Translation, model: &str, body: &Value) -> TranslatedRequest {
    let body = serde_json::to_vec(body).unwrap();
    translate_request(way, &body, &terms(model, ReasoningPolicy::Drop)).unwrap()
}

fn body(translated: &TranslatedRequest) -> Value {
    let text = String::from_utf8_lossy(&translated.body);
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// The members of `from` over those of `onto`.
fn merged(onto: Value, from: Value) -> Value {
    let (Value::Object(mut all), Value::Object(more)) = (onto, from) else { panic!("no objects") };
    all.extend(more);
    Value::Object(all)
}

fn names(losses: Losses) -> Vec<&'static str> {
    losses.iter().map(Loss::name).collect()
}

/// Checks that the request with the members of `input` becomes one with exactly the members of `expected`,
/// beside those that every request has, and that this loses `losses`.
fn check(way: Translation, model: &str, input: Value, expected: Value, losses: &[Loss]) {
    let (rest, made) = match way {
        Translation::ChatToMessages => {
            (json!({"model": "m", "messages": [{"role": "user", "content": "Hi"}]}), MESSAGES)
        }
        Translation::MessagesToChat => (
            json!({"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": "Hi"}]}),
            CHAT_LIMITED,
        ),
        Translation::ResponsesToChat => (json!({"model": "m", "input": "Hi"}), CHAT_PLAIN),
        Translation::ResponsesToMessages => (json!({"model": "m", "input": "Hi"}), MESSAGES),
    };
    let input = merged(rest, input);
    let found = translated(way, model, &input);
    let mut expected = merged(serde_json::from_str(made).unwrap(), expected);
    expected["model"] = json!(model);
    if way == Translation::MessagesToChat && super::ChatModel::named(model).limit != "max_tokens" {
        let members = expected.as_object_mut().unwrap();
        let limit = members.remove("max_tokens").unwrap();
        members.insert("max_completion_tokens".into(), limit);
    }
    assert_eq!(body(&found), expected, "{input:#}");
    assert_eq!(names(found.losses), names(losses.iter().copied().collect()), "{input:#}");
    if [CLAUDE, CHAT].contains(&model) {
        let bytes = serde_json::to_vec(&input).unwrap();
        let any_model = losses_of(way, &bytes, ReasoningPolicy::Drop).unwrap();
        assert!(any_model.without(found.losses).is_empty(), "{:?} of {input:#}", names(any_model));
    }
}

const MESSAGES: &str =
    r#"{"max_tokens":4096,"messages":[{"role":"user","content":[{"type":"text","text":"Hi"}]}]}"#;
const CHAT_LIMITED: &str = r#"{"max_tokens":5,"messages":[{"role":"user","content":"Hi"}]}"#;
const CHAT_PLAIN: &str = r#"{"messages":[{"role":"user","content":"Hi"}]}"#;

/// The `messages` that the request with these `messages` gets.
fn messages(way: Translation, messages: Value) -> (Value, Option<Value>, Vec<&'static str>) {
    let model = if way.to() == crate::base::Endpoint::Messages { CLAUDE } else { CHAT };
    let member = if way.from() == crate::base::Endpoint::Responses { "input" } else { "messages" };
    let found = translated(way, model, &json!({"model": "m", member: messages}));
    let body = body(&found);
    (body["messages"].clone(), body.get("system").cloned(), names(found.losses))
}

#[test]
fn what_has_no_conversation_is_not_translated() {
    use super::Untranslatable;
    for way in Translation::ALL {
        let translate =
            |body: &str| translate_request(way, body.as_bytes(), &terms(CLAUDE, ReasoningPolicy::Drop));
        for body in ["", "[]", "7", "{\"a\":1", "{} {}"] {
            assert_eq!(translate(body), Err(Untranslatable::NotAnObject), "{body}");
        }
        for body in ["{}", r#"{"messages":[],"input":[]}"#, r#"{"messages":{},"input":{}}"#] {
            assert_eq!(translate(body), Err(Untranslatable::NoMessages), "{way:?} {body}");
        }
    }
}

#[test]
fn the_last_of_several_members_counts() {
    let body =
        br#"{"messages":[],"temperature":0.1,"temperature":0.2,"messages":[{"role":"user","content":"a"}]}"#;
    let found =
        translate_request(Translation::ChatToMessages, body, &terms(CLAUDE, ReasoningPolicy::Drop)).unwrap();
    assert_eq!(super::tests::body(&found)["temperature"], json!(0.2));
}

#[test]
fn too_many_renamed_tools_are_no_request() {
    let tools: Vec<_> = (0..=super::notes::MAX_NOTED_TOOLS)
        .map(|number| json!({"type": "function", "function": {"name": format!("a.{number}")}}))
        .collect();
    let body = json!({"messages": [{"role": "user", "content": "a"}], "tools": tools}).to_string();
    let found = translate_request(
        Translation::ChatToMessages,
        body.as_bytes(),
        &terms(CLAUDE, ReasoningPolicy::Drop),
    );
    assert_eq!(found, Err(super::Untranslatable::TooManyTools));
}
