//! A provider that keeps the conversations of each account apart, as OpenAI does with `/v1/responses`: ids and encrypted
//! reasoning of one account are unknown to another. The credential tells the accounts apart.

use std::collections::{HashMap, HashSet};

use serde_json::{Value, json};

use super::answers::{self, Answer, Form};
use super::script::{Event, Script};

/// The accounts of one provider, by credential.
#[derive(Default)]
pub struct Accounts {
    kept: HashMap<String, HashSet<String>>,
    down: HashSet<String>,
    next: usize,
}

impl Accounts {
    /// From now on the account with this credential fails, or answers again.
    pub fn set_down(&mut self, credential: &str, down: bool) {
        if down {
            self.down.insert(credential.to_owned());
        } else {
            self.down.remove(credential);
        }
    }

    /// The answer to a request for a response.
    pub fn answer(
        &mut self,
        name: &str,
        credential: &str,
        path: &str,
        body: &[u8],
        script: &Script,
    ) -> Answer {
        if self.down.contains(credential) {
            return answers::error(path, 500);
        }
        let request: Value = serde_json::from_slice(body).unwrap_or_default();
        let kept = self.kept.entry(credential.to_owned()).or_default();
        if let Some(answer) = unknown(&request, kept) {
            return answer;
        }
        self.next += 1;
        let nth = self.next;
        let encrypted = format!("gAAA{credential}{nth}");
        let mut answer = answers::usual(name, nth, path, body, script);
        let reasoning = |done: bool| {
            let text = if done { json!(encrypted) } else { Value::Null };
            json!({"id": format!("rs_{name}-{nth}"), "type": "reasoning", "summary": [], "encrypted_content": text})
        };
        let asked = request["include"]
            .as_array()
            .is_some_and(|list| list.contains(&json!("reasoning.encrypted_content")));
        let add = |output: &mut Value| {
            if let Some(items) = output.as_array_mut().filter(|items| !items.is_empty()) {
                items.insert(0, reasoning(asked));
            }
        };
        match &mut answer.form {
            Form::Plain(document) => add(&mut document["output"]),
            Form::Stream(events) => {
                let mut payloads: Vec<Value> =
                    events.iter().map(|event| serde_json::from_str(&event.data).expect("JSON")).collect();
                for payload in &mut payloads {
                    if payload["output_index"].is_number() {
                        payload["output_index"] = json!(1);
                    }
                    add(&mut payload["response"]["output"]);
                    if payload["response"].as_object().is_some_and(|response| response.len() == 1) {
                        payload.as_object_mut().expect("an object").remove("response");
                    }
                }
                let item = |kind: &str, item: Value| json!({"type": kind, "output_index": 0, "item": item});
                payloads.splice(
                    2..2,
                    [
                        item("response.output_item.added", reasoning(false)),
                        item("response.output_item.done", reasoning(asked)),
                    ],
                );
                *events = payloads
                    .into_iter()
                    .enumerate()
                    .map(|(number, mut payload)| {
                        payload["sequence_number"] = json!(number);
                        let name = payload["type"].as_str().unwrap_or_default().to_owned();
                        Event::named(&name, payload)
                    })
                    .collect();
            }
        }
        kept.insert(encrypted.clone());
        if request["store"] != json!(false) {
            kept.extend(["resp", "rs", "msg"].map(|kind| format!("{kind}_{name}-{nth}")));
        }
        answer
    }
}

/// The error for something that the account does not keep.
fn unknown(request: &Value, kept: &HashSet<String>) -> Option<Answer> {
    let missing = |text: &Value| text.as_str().filter(|text| !kept.contains(*text)).map(str::to_owned);
    if let Some(id) = missing(&request["previous_response_id"]) {
        let message = format!("Previous response with id '{id}' not found.");
        return Some(error(400, &message, "previous_response_not_found"));
    }
    for item in request["input"].as_array().into_iter().flatten() {
        let is_sealed = item["encrypted_content"].is_string();
        if missing(&item["encrypted_content"]).is_some() {
            let message = "The encrypted content could not be verified.";
            return Some(error(400, message, "invalid_encrypted_content"));
        }
        let is_stored = item["type"] == "item_reference" || (item["type"] == "reasoning" && !is_sealed);
        if let Some(id) = missing(&item["id"]).filter(|_| is_stored) {
            let mut answer = error(404, &format!("Item with id '{id}' not found."), "");
            if let Form::Plain(body) = &mut answer.form {
                body["error"]["code"] = Value::Null;
            }
            return Some(answer);
        }
    }
    None
}

fn error(status: u16, message: &str, code: &str) -> Answer {
    let body = json!({"error": {"message": message, "type": "invalid_request_error", "param": "input", "code": code}});
    Answer { status, headers: Vec::new(), form: Form::Plain(body) }
}
