//! Scenes that several modules use.

use integration_tests::client::{Protocol, Read, Request};
use integration_tests::envoy::Envoy;
use integration_tests::gateway::{Gateway, Shape, compatible};
use integration_tests::provider::{Script, ScriptedProvider};
use integration_tests::python;
use serde_json::{Value, json};

/// The kinds of provider that `first` plays. Each is the first choice of the logical model of its name.
const KINDS: [&str; 7] =
    ["openai", "azure-openai", "anthropic", "gemini", "mistral", "openrouter", "openai-compatible"];

/// A request: an endpoint and a logical model, plain or streamed.
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
    /// The same request, streamed.
    pub const fn streamed(self) -> Self {
        Self { stream: true, ..self }
    }

    /// Sends it and reads the response to its end.
    pub async fn send(self, port: u16, protocol: Protocol) -> Read {
        let turn = json!([{"role": "user", "content": "say hello"}]);
        let body = json!({"model": self.model, "messages": turn, "input": turn, "max_tokens": 16, "stream": self.stream});
        let request = Request::post(self.path).json(&body);
        let request = request.over(protocol);
        request.ask(port).await
    }
}

/// The filter's configuration with one model for each kind, and `spare` as its second tier.
pub fn configuration() -> Value {
    let mut configuration = json!({
        // One target fails dozens of times here. Open breakers would skip it.
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

/// `first` and `spare` before one Envoy.
pub struct FirstAndSpare {
    pub first: ScriptedProvider,
    pub spare: ScriptedProvider,
    pub envoy: Envoy,
}

impl FirstAndSpare {
    /// The usual configuration.
    pub async fn start() -> Self {
        Self::with(|_| {}, |gateway| gateway).await
    }

    /// The usual configuration with changes to the filter's configuration and to Envoy's.
    pub async fn with(configure: impl FnOnce(&mut Value), change: impl FnOnce(Gateway) -> Gateway) -> Self {
        let mut configuration = configuration();
        configure(&mut configuration);
        let gateway = change(Gateway::new(Shape::Loop).plugin(&configuration));
        let scene = gateway.start_with(["first", "spare"]).await;
        let [first, spare] = scene.providers;
        Self { first, spare, envoy: scene.envoy }
    }

    /// Checks that the client gets one complete response of `spare` when `first` does this, over HTTP/1 and HTTP/2.
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

/// Checks the response headers after `spare` substituted for another target.
pub fn assert_answered_by_spare(read: &Read, reason: &str, case: &str) {
    assert_eq!(read.status, 200, "{case}: {}", read.text());
    assert_eq!(read.header("x-llm-target"), Some("spare"), "{case}");
    assert_eq!(read.header("x-llm-model"), Some("spare-model"), "{case}");
    assert_eq!(read.header("x-llm-attempts"), Some("2"), "{case}");
    assert_eq!(read.header("x-llm-fallback"), Some(reason), "{case}");
    assert_eq!(read.header("x-llm-retry"), None, "{case}");
}

/// The text of a complete response in any dialect. Panics for two responses in one body, or for half of one.
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

/// The shipped loop with these time limits for streams. The model `chat` has a target of `first` and then one of `spare`.
pub async fn with_stream_limits(stream: Value) -> integration_tests::scene::Scene<2> {
    let models = json!({"chat": {"tiers": [["gpt-a"], ["haiku"]], "stream": stream}});
    let gateway = Gateway::new(Shape::Loop).configure(&json!({"mode": "shadow", "models": models}));
    gateway.start_with([("first", "openai"), ("spare", "anthropic")]).await
}

/// One provider that speaks every dialect and serves both targets of `chat`.
pub fn one_provider(shape: Shape, stream: &Value) -> Gateway {
    Gateway::new(shape).plugin(&json!({
        "mode": "shadow",
        "providers": {"all": compatible("all")},
        "targets": {"one": {"provider": "all", "model": "m"}, "two": {"provider": "all", "model": "m"}},
        "models": {"chat": {"tiers": [["one"], ["two"]], "stream": stream}},
    }))
}

/// Checks that each of the vendors' SDKs raises an error when it gets an incomplete stream from this gateway.
pub async fn check_that_sdks_raise(port: u16) {
    let base_url = format!("http://127.0.0.1:{port}");
    let output = python::run("sdk_cut_stream.py", &[("BASE_URL", &base_url)]).await.expect_success();
    let lines: Vec<Value> = output.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 3, "{output}");
    for line in lines {
        assert!(line["came"].as_u64().unwrap() > 0, "{line}");
        assert!(line["error"].is_string(), "{line}: an incomplete response looked complete");
    }
}
