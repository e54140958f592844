//! Two providers behind one Envoy in the retry loop: `first`, which a script makes fail, and `spare`.

use std::time::Duration;

use integration_tests::client::{Protocol, Read, Request};
use integration_tests::envoy::Envoy;
use integration_tests::gateway::{Gateway, Shape};
use integration_tests::provider::{Script, ScriptedProvider};
use serde_json::{Value, json};

/// How long anything that must happen may take.
pub const SOON: Duration = Duration::from_secs(5);

/// The kinds of provider that `first` plays, each the first choice of the logical model of its name.
const KINDS: [&str; 7] =
    ["openai", "azure-openai", "anthropic", "gemini", "mistral", "openrouter", "openai-compatible"];

/// What a client asks: an endpoint and a logical model, plain or streamed.
#[derive(Clone, Copy, Debug)]
pub struct Ask {
    pub path: &'static str,
    pub model: &'static str,
    pub stream: bool,
}

/// A chat completion of this model.
pub const fn chat(model: &'static str) -> Ask {
    Ask { path: "/v1/chat/completions", model, stream: false }
}

/// A message in Anthropic's dialect.
pub const fn messages() -> Ask {
    Ask { path: "/v1/messages", model: "anthropic", stream: false }
}

impl Ask {
    /// The same, streamed.
    pub const fn streamed(self) -> Self {
        Self { stream: true, ..self }
    }

    /// Sends it and reads the answer to its end.
    pub async fn send(self, port: u16, protocol: Protocol) -> Read {
        let turn = json!([{"role": "user", "content": "say hello"}]);
        let body = json!({"model": self.model, "messages": turn, "input": turn, "max_tokens": 16, "stream": self.stream});
        let request = Request::post(self.path).json(&body);
        let request = if protocol == Protocol::H2c { request.h2c() } else { request };
        request.send(port).await.unwrap().read().await
    }
}

/// The filter's configuration for one model of each kind, with `spare` behind it.
pub fn configuration() -> Value {
    let mut configuration = json!({
        // Dozens of failures are played with one target here: breakers would soon send everything past it.
        "mode": "shadow",
        "providers": {"spare": {"kind": "openai-compatible", "cluster": "spare", "host": "spare.test"}},
        "targets": {"spare": {"provider": "spare", "model": "spare-model"}},
        "models": {},
    });
    for kind in KINDS {
        configuration["providers"][kind] = json!({"kind": kind, "cluster": "first", "host": "first.test"});
        configuration["targets"][kind] = json!({"provider": kind, "model": format!("{kind}-model")});
        configuration["models"][kind] = json!({"tiers": [[kind], ["spare"]]});
    }
    configuration
}

/// The whole scene.
pub struct Scene {
    pub first: ScriptedProvider,
    pub spare: ScriptedProvider,
    pub envoy: Envoy,
}

impl Scene {
    /// Starts it, with what else the cluster of `first` shall have.
    pub async fn start(cluster: &Value) -> Self {
        let (first, spare) = (ScriptedProvider::start("first").await, ScriptedProvider::start("spare").await);
        let gateway = Gateway::new(Shape::Loop)
            .plugin(&configuration())
            .cluster("first", first.port(), cluster)
            .provider("spare", spare.port());
        Self { first, spare, envoy: gateway.start().await }
    }

    /// `first` does as scripted; the client must get one whole answer of `spare`, whichever HTTP it speaks.
    pub async fn check_moves(&self, ask: Ask, script: &Script, reason: &str) {
        for protocol in [Protocol::Http1, Protocol::H2c] {
            let case = format!("{ask:?} {protocol:?} {reason} {script:?}");
            let (asked, helped) = (self.first.received().len(), self.spare.received().len());
            self.first.script(script.clone());
            let read = ask.send(self.envoy.port(), protocol).await;
            assert_eq!(said(&read, ask.stream), "hello from spare", "{case}");
            assert_answered_by_spare(&read, reason, &case);
            assert_eq!(self.first.received().len(), asked + 1, "{case}");
            assert_eq!(self.spare.received().len(), helped + 1, "{case}");
            assert_eq!(self.spare.received()[helped].json()["model"], "spare-model", "{case}");
        }
    }
}

/// What the response headers say when `spare` answered in the place of another target.
pub fn assert_answered_by_spare(read: &Read, reason: &str, case: &str) {
    assert_eq!(read.status, 200, "{case}: {}", read.text());
    assert_eq!(read.header("x-llm-target"), Some("spare"), "{case}");
    assert_eq!(read.header("x-llm-model"), Some("spare-model"), "{case}");
    assert_eq!(read.header("x-llm-attempts"), Some("2"), "{case}");
    assert_eq!(read.header("x-llm-fallback"), Some(reason), "{case}");
    assert_eq!(read.header("x-llm-retry"), None, "{case}");
}

/// The text of a whole answer in either dialect. Two answers in one body, or half of one, are no whole answer.
pub fn said(read: &Read, stream: bool) -> String {
    assert!(read.error.is_none(), "{:?} after {}", read.error, read.text());
    if !stream {
        let answer: Value = serde_json::from_slice(&read.bytes()).unwrap_or_default();
        let text = ["/choices/0/message/content", "/content/0/text", "/output/0/content/0/text"]
            .iter()
            .find_map(|place| answer.pointer(place)?.as_str());
        return text.unwrap_or_else(|| panic!("no answer: {} {}", read.status, read.text())).to_owned();
    }
    let events = read.data();
    let last = events.last().unwrap_or_else(|| panic!("no events: {} {}", read.status, read.text()));
    let is_end = |event: &String| {
        event == "[DONE]" || event.contains("\"message_stop\"") || event.contains("\"response.completed\"")
    };
    assert!(is_end(last) && events.iter().filter(|event| is_end(event)).count() == 1, "{events:#?}");
    let pieces = events.iter().filter_map(|event| serde_json::from_str::<Value>(event).ok());
    let text = |event: Value| {
        let delta = ["/choices/0/delta/content", "/delta/text", "/delta"]
            .iter()
            .find_map(|place| event.pointer(place)?.as_str().map(str::to_owned));
        delta.unwrap_or_default()
    };
    pieces.map(text).collect()
}
