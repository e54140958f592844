//! Responses that the filter makes itself, in the client's dialect: errors and the list of logical models.

use std::rc::Rc;

use serde_json::{Value, json};

use super::error_body::truncate;
use crate::base::Dialect;

/// How many rejected targets an error lists. The number of further ones is given as `more_targets`.
pub const MAX_REJECTED: usize = 32;

/// How many objections an error lists for one target.
pub const MAX_OBJECTIONS: usize = 8;

/// The longest error message, in bytes. A message may quote what the client sent.
const MAX_MESSAGE: usize = 1024;

/// The owner of logical models in OpenAI's model list.
const OWNER: &str = "llm-failsafe";

/// Anthropic's reference asks for the epoch when a model's release date is unknown. A logical model has none.
const EPOCH: &str = "1970-01-01T00:00:00Z";

/// An error that the filter makes itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalError {
    /// The HTTP status, 400 to 599.
    pub status: u16,
    /// The machine-readable reason: `model_not_found`, `invalid_json`, `no_target`, …
    pub code: &'static str,
    /// The reason in one sentence; cut after 1024 bytes. The advice of the rejected targets follows.
    pub message: String,
    /// The targets that were rejected, in the order they were checked.
    pub rejected: Vec<Rejected>,
    /// The exhausted budget of the client's key, if that is the reason.
    pub budget: Option<&'static str>,
}

/// A target that was rejected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// Its name in the configuration.
    pub target: Rc<str>,
    /// The name of the reason.
    pub reason: &'static str,
    /// Every gate that the target does not pass, if more than the reason is known. At most [`MAX_OBJECTIONS`]
    /// are listed in the error.
    pub objections: Vec<Objection>,
    /// What can be done about it, in sentences for the message of the error.
    pub advice: Vec<String>,
}

/// A gate that a target does not pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Objection {
    /// The name of the gate.
    pub gate: &'static str,
    /// What the request needs.
    pub needed: String,
    /// What the target offers.
    pub offered: String,
}

impl Rejected {
    /// A rejected target with only a reason.
    pub const fn new(target: Rc<str>, reason: &'static str) -> Self {
        Self { target, reason, objections: Vec::new(), advice: Vec::new() }
    }

    fn body(&self) -> Value {
        let mut body = json!({"target": *self.target, "reason": self.reason});
        let objections = self.objections.iter().take(MAX_OBJECTIONS);
        let objections: Vec<_> = objections
            .map(|objection| {
                let (needed, offered) = (&objection.needed, &objection.offered);
                json!({"gate": objection.gate, "needed": needed, "offered": offered})
            })
            .collect();
        if let Some(members) = body.as_object_mut().filter(|_| !objections.is_empty()) {
            members.insert("gates".to_owned(), Value::from(objections));
        }
        body
    }
}

impl LocalError {
    /// An error without rejected targets.
    pub fn new(status: u16, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), rejected: Vec::new(), budget: None }
    }

    /// The JSON body for clients of `dialect`. In both dialects the error has an additional member
    /// `llm_failsafe`: an object with `reason`, `budget`, `targets` and `more_targets`. Each target has
    /// `target`, `reason` and `gates`, and each gate has `gate`, `needed` and `offered`. `budget`, `targets`,
    /// `more_targets` and `gates` are omitted if they are empty.
    pub fn body(&self, dialect: Dialect) -> String {
        let message = self.whole_message();
        let own = self.own();
        let body = match dialect {
            Dialect::OpenAi => json!({"error": {
                "message": message,
                "type": openai_type(self.status),
                "param": null,
                "code": self.code,
                "llm_failsafe": own,
            }}),
            Dialect::Anthropic => json!({"type": "error", "error": {
                "type": anthropic_type(self.status),
                "message": message,
                "llm_failsafe": own,
            }}),
        };
        body.to_string()
    }

    /// The message with as much advice as fits. The same advice is given once, and no sentence is cut.
    fn whole_message(&self) -> String {
        let mut message = truncate(&self.message, MAX_MESSAGE).to_owned();
        let mut given = Vec::new();
        for advice in self.rejected.iter().flat_map(|rejected| &rejected.advice) {
            if given.contains(&advice) {
                continue;
            }
            if message.len() + 1 + advice.len() > MAX_MESSAGE {
                break;
            }
            message.push(' ');
            message.push_str(advice);
            given.push(advice);
        }
        message
    }

    fn own(&self) -> Value {
        let mut own = json!({"reason": self.code});
        if let (Some(members), Some(budget)) = (own.as_object_mut(), self.budget) {
            members.insert("budget".to_owned(), Value::from(budget));
        }
        let listed = self.rejected.iter().take(MAX_REJECTED);
        let targets: Vec<_> = listed.map(Rejected::body).collect();
        if let Some(members) = own.as_object_mut().filter(|_| !targets.is_empty()) {
            members.insert("targets".to_owned(), Value::from(targets));
            let more = self.rejected.len().saturating_sub(MAX_REJECTED);
            if more > 0 {
                members.insert("more_targets".to_owned(), Value::from(more));
            }
        }
        own
    }
}

/// OpenAI's error type for a status.
const fn openai_type(status: u16) -> &'static str {
    match status {
        401 => "authentication_error",
        402 => "insufficient_quota",
        403 => "permission_error",
        408 | 504 => "timeout_error",
        429 => "rate_limit_error",
        503 | 529 => "service_unavailable_error",
        500.. => "server_error",
        _ => "invalid_request_error",
    }
}

/// Anthropic's error type for a status. A 503 is no `overloaded_error`: Anthropic sends that with 529, and Claude
/// Code comes again after it in spite of `x-should-retry: false`.
const fn anthropic_type(status: u16) -> &'static str {
    match status {
        401 => "authentication_error",
        402 => "billing_error",
        403 => "permission_error",
        404 => "not_found_error",
        408 | 504 => "timeout_error",
        409 => "conflict_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        529 => "overloaded_error",
        500.. => "api_error",
        _ => "invalid_request_error",
    }
}

/// The response body for `GET /v1/models` with these logical models.
pub fn models_list<'a>(dialect: Dialect, names: impl IntoIterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.into_iter().collect();
    let data: Vec<_> = names.iter().map(|name| model(dialect, name)).collect();
    let list = match dialect {
        Dialect::OpenAi => json!({"object": "list", "data": data}),
        Dialect::Anthropic => json!({
            "data": data,
            "has_more": false,
            "first_id": names.first(),
            "last_id": names.last(),
        }),
    };
    list.to_string()
}

/// The response body for `GET /v1/models/{name}`.
pub fn model_object(dialect: Dialect, name: &str) -> String {
    model(dialect, name).to_string()
}

fn model(dialect: Dialect, name: &str) -> Value {
    match dialect {
        Dialect::OpenAi => json!({"id": name, "object": "model", "created": 0, "owned_by": OWNER}),
        Dialect::Anthropic => json!({"type": "model", "id": name, "display_name": name, "created_at": EPOCH}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parsed(body: &str) -> Value {
        serde_json::from_str(body).unwrap()
    }

    fn refusal(targets: usize) -> LocalError {
        let rejected = (0..targets).map(|n| Rejected::new(Rc::from(format!("t{n}")), "breaker_open"));
        LocalError { rejected: rejected.collect(), ..LocalError::new(503, "no_target", "No target is free.") }
    }

    #[test]
    fn openai_errors_have_message_type_param_and_code() {
        assert_eq!(
            parsed(&LocalError::new(404, "model_not_found", "No model \"x\".").body(Dialect::OpenAi)),
            json!({"error": {
                "message": "No model \"x\".",
                "type": "invalid_request_error",
                "param": null,
                "code": "model_not_found",
                "llm_failsafe": {"reason": "model_not_found"},
            }})
        );
    }

    #[test]
    fn anthropic_errors_have_type_and_message() {
        assert_eq!(
            parsed(&refusal(1).body(Dialect::Anthropic)),
            json!({"type": "error", "error": {
                "type": "api_error",
                "message": "No target is free.",
                "llm_failsafe": {
                    "reason": "no_target",
                    "targets": [{"target": "t0", "reason": "breaker_open"}],
                },
            }})
        );
    }

    #[test]
    fn the_error_type_follows_the_status() {
        for (status, openai, anthropic) in [
            (400, "invalid_request_error", "invalid_request_error"),
            (401, "authentication_error", "authentication_error"),
            (402, "insufficient_quota", "billing_error"),
            (403, "permission_error", "permission_error"),
            (404, "invalid_request_error", "not_found_error"),
            (405, "invalid_request_error", "invalid_request_error"),
            (409, "invalid_request_error", "conflict_error"),
            (413, "invalid_request_error", "request_too_large"),
            (429, "rate_limit_error", "rate_limit_error"),
            (500, "server_error", "api_error"),
            (502, "server_error", "api_error"),
            (503, "service_unavailable_error", "api_error"),
            (504, "timeout_error", "timeout_error"),
            (529, "service_unavailable_error", "overloaded_error"),
        ] {
            let type_for =
                |dialect| parsed(&LocalError::new(status, "c", "m").body(dialect))["error"]["type"].clone();
            assert_eq!(type_for(Dialect::OpenAi), openai, "{status}");
            assert_eq!(type_for(Dialect::Anthropic), anthropic, "{status}");
        }
    }

    #[test]
    fn the_list_of_rejected_targets_is_bounded_and_gives_the_number_of_the_rest() {
        let own = |targets| parsed(&refusal(targets).body(Dialect::OpenAi))["error"]["llm_failsafe"].clone();
        assert_eq!(own(MAX_REJECTED)["targets"].as_array().unwrap().len(), MAX_REJECTED);
        assert_eq!(own(MAX_REJECTED)["more_targets"], Value::Null);
        assert_eq!(own(MAX_REJECTED + 5)["targets"].as_array().unwrap().len(), MAX_REJECTED);
        assert_eq!(own(MAX_REJECTED + 5)["more_targets"], 5);
    }

    #[test]
    fn the_message_has_whole_sentences_of_advice_up_to_its_limit() {
        let advice = |n: usize| format!("Advice {n} {}.", "x".repeat(100));
        let message = |targets: usize| {
            let mut refusal = refusal(targets);
            for (n, rejected) in refusal.rejected.iter_mut().enumerate() {
                rejected.advice = vec!["The same for all.".to_owned(), advice(n)];
            }
            let body = parsed(&refusal.body(Dialect::OpenAi));
            body["error"]["message"].as_str().unwrap().to_owned()
        };
        assert_eq!(message(0), "No target is free.");
        assert_eq!(message(2), format!("No target is free. The same for all. {} {}", advice(0), advice(1)));
        let most = message(MAX_REJECTED);
        assert!(most.len() <= MAX_MESSAGE && most.len() + advice(0).len() + 1 > MAX_MESSAGE, "{most}");
        assert!(most.ends_with("x."), "{most}");
        let mut exact = refusal(1);
        exact.rejected[0].advice = vec!["y".repeat(MAX_MESSAGE - exact.message.len() - 1), "z".to_owned()];
        let body = parsed(&exact.body(Dialect::OpenAi));
        let shown = body["error"]["message"].as_str().unwrap();
        assert!(shown.len() == MAX_MESSAGE && shown.ends_with('y'));
    }

    #[test]
    fn model_lists_have_the_shape_of_their_dialect() {
        assert_eq!(
            parsed(&models_list(Dialect::OpenAi, ["chat", "fast"])),
            json!({"object": "list", "data": [
                {"id": "chat", "object": "model", "created": 0, "owned_by": "llm-failsafe"},
                {"id": "fast", "object": "model", "created": 0, "owned_by": "llm-failsafe"},
            ]})
        );
        let entry =
            |id| json!({"type": "model", "id": id, "display_name": id, "created_at": "1970-01-01T00:00:00Z"});
        assert_eq!(
            parsed(&models_list(Dialect::Anthropic, ["chat", "fast"])),
            json!({
                "data": [entry("chat"), entry("fast")],
                "has_more": false,
                "first_id": "chat",
                "last_id": "fast",
            })
        );
        assert_eq!(
            parsed(&models_list(Dialect::Anthropic, [])),
            json!({"data": [], "has_more": false, "first_id": null, "last_id": null})
        );
        assert_eq!(parsed(&model_object(Dialect::Anthropic, "chat")), entry("chat"));
    }

    proptest! {
        #[test]
        fn a_body_is_valid_json_with_a_short_message_for_any_message(message in "\\PC{0,3000}") {
            for dialect in [Dialect::OpenAi, Dialect::Anthropic] {
                let body = parsed(&LocalError::new(400, "invalid_json", message.clone()).body(dialect));
                let shown = body["error"]["message"].as_str().unwrap();
                prop_assert!(message.starts_with(shown));
                prop_assert!(shown.len() <= MAX_MESSAGE && shown.len() + 4 > message.len().min(MAX_MESSAGE));
            }
        }
    }
}
