//! Whether the gateway answers, and whether it is llm-failsafe.

use super::client::{Answer, Client};
use super::note::Note;

/// What `/v1/models` says, and whether llm-failsafe answers.
pub fn examine(client: &Client, url: &str, key: Option<&str>) -> (Vec<Note>, bool) {
    let answer = match client.get(&format!("{url}/v1/models"), key) {
        Ok(answer) => answer,
        Err(why) => {
            let is_tls = why.contains("certificate");
            let note = Note::problem(format!("the gateway cannot be reached: {why}"));
            if is_tls {
                return (vec![note], false);
            }
            let note = note.advise("check the address and the port, whether Envoy runs, and whether https is right; see the listener in Envoy's file");
            return (vec![note], false);
        }
    };
    let body = answer.json();
    let listed: Vec<_> = body["data"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|model| model["owned_by"] == "llm-failsafe")
        .collect();
    if answer.status == 200 && !listed.is_empty() {
        let names: Vec<_> = listed.iter().filter_map(|model| model["id"].as_str()).collect();
        return (
            vec![Note::good(format!("llm-failsafe answers; models for {}: {}", whom(key), names.join(", ")))],
            true,
        );
    }
    let page = "docs/keys-and-budgets.md";
    let note = match (answer.status, answer.reason(), key) {
        (_, Some("invalid_api_key"), None) => {
            Note::good("llm-failsafe answers; it wants a client key, see --key")
        }
        (_, Some("invalid_api_key"), Some(_)) => Note::problem("the gateway does not know this client key")
            .advise("compare `llm-failsafe keys hash` with `sha256` in the configuration")
            .see(page),
        (_, Some("expired_api_key"), _) => Note::problem("this client key has expired")
            .advise("make a new one with `llm-failsafe keys add`, or change `expires`")
            .see(page),
        (_, Some(reason), _) => {
            Note::problem(format!("llm-failsafe answers with {} ({reason})", answer.described()))
        }
        (200, None, _) if body["data"].as_array().is_some_and(Vec::is_empty) => {
            Note::hint("an empty list of models; is this key limited to models that are gone?")
        }
        (_, None, _) => return (vec![foreign(&answer)], false),
    };
    (vec![note], true)
}

fn whom(key: Option<&str>) -> &'static str {
    if key.is_some() { "this key" } else { "everyone" }
}

/// Something else answers.
fn foreign(answer: &Answer) -> Note {
    let what = format!("this is not llm-failsafe: /v1/models gave {}", answer.described());
    let is_envoy = answer.header("server") == Some("envoy");
    let advice = if answer.body.contains("admin commands") || answer.body.contains("invalid path. admin") {
        "this is Envoy's admin interface: give the address that clients use, and this one as --admin"
    } else if is_envoy && answer.status == 404 {
        "Envoy has no route or no filter for this: is llm-failsafe among the http_filters of this listener?"
    } else if is_envoy && matches!(answer.status, 500 | 503) {
        "Envoy answers itself: its log says whether the filter failed to load, or the inner listener or the cluster `loop` is missing"
    } else {
        "check the address, and whether a proxy in front answers instead"
    };
    Note::problem(what).advise(advice).see("README.md#put-it-into-your-own-envoy")
}
