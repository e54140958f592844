//! One real request, explained.

use serde_json::{Value, json};

use super::client::{Answer, Client};
use super::note::Note;

/// Asks the model for one word.
pub fn examine(client: &Client, url: &str, key: Option<&str>, model: &str) -> Vec<Note> {
    let body = json!({
        "model": model,
        "messages": [{"role": "user", "content": "Answer with the word: ok"}],
        "max_tokens": 16,
    });
    match client.post(&format!("{url}/v1/chat/completions"), key, &body) {
        Ok(answer) => explain(model, &answer),
        Err(why) => vec![
            Note::problem(format!("a request for `{model}` got no answer: {why}"))
                .see("docs/operations.md#clients-get-errors"),
        ],
    }
}

fn explain(model: &str, answer: &Answer) -> Vec<Note> {
    let header = |name| answer.header(name).unwrap_or("unknown");
    let attempts = header("x-llm-attempts");
    if answer.status == 200 {
        let text = format!(
            "a request for `{model}` was answered by target `{}`, attempt {attempts}",
            header("x-llm-target")
        );
        let Some(reason) = answer.header("x-llm-fallback") else { return vec![Note::good(text)] };
        let from = answer
            .header("x-llm-fallback-from")
            .map(|from| format!(" instead of `{from}`"))
            .unwrap_or_default();
        return vec![
            Note::hint(format!("{text}{from}: {reason}")).see("docs/operations.md#fallbacks-and-breakers"),
        ];
    }
    let error = &answer.json()["error"];
    let message = error["message"].as_str().map(|message| format!(": {message}")).unwrap_or_default();
    let reason = answer.reason().map(|reason| format!(" ({reason})")).unwrap_or_default();
    let text = format!("a request for `{model}` failed with status {}{reason}{message}", answer.status);
    let mut notes = vec![Note::problem(text).see("docs/operations.md#reasons")];
    notes.extend(error["llm_failsafe"]["targets"].as_array().into_iter().flatten().map(target));
    notes
}

/// Why one target did not answer.
fn target(entry: &Value) -> Note {
    let text = |value: &Value| value.as_str().unwrap_or("unknown").to_owned();
    let gates = entry["gates"].as_array().into_iter().flatten();
    let gates: String = gates
        .map(|gate| {
            format!(
                "; {}: needed {}, offered {}",
                text(&gate["gate"]),
                text(&gate["needed"]),
                text(&gate["offered"])
            )
        })
        .collect();
    Note::hint(format!("target `{}`: {}{gates}", text(&entry["target"]), text(&entry["reason"])))
}
