//! The parts of the demo: it sends requests, prints the responses, and compares them with the expected ones.

use std::fmt::Display;
use std::io::{IsTerminal, Write, stdout};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use integration_tests::client::{Request, Response};
use integration_tests::envoy::Envoy;
use integration_tests::gateway::{Gateway, PROVIDER_KEYS, Shape};
use integration_tests::provider::{ReceivedRequest, Script, ScriptedProvider};
use integration_tests::{SOON, sha256};
use serde_json::{Value, json};

pub const CLIENT_KEY: &str = "demo-client-key";
pub const TOKEN_EVERY: Duration = Duration::from_millis(120);
const CHAT: &str = "/v1/chat/completions";
/// The pause between requests whose responses are only summarized.
const QUIET_EVERY: Duration = Duration::from_millis(100);
/// The accounts in the order of [`PROVIDER_KEYS`].
const ACCOUNTS: [&str; 3] = ["openai-a", "openai-b", "claude"];

pub struct Demo {
    pub envoy: Envoy,
    pub openai: ScriptedProvider,
    pub anthropic: ScriptedProvider,
    /// Requests that the client has sent.
    pub sent: u64,
    colour: bool,
    /// How many requests of each provider have been printed.
    shown: (usize, usize),
    unexpected: Vec<String>,
}

/// The expected plain response.
pub struct Expected {
    pub status: u16,
    pub headers: &'static [(&'static str, Option<&'static str>)],
    pub body: &'static str,
}

impl Demo {
    pub async fn start() -> Self {
        let openai = ScriptedProvider::start("openai").await;
        let anthropic = ScriptedProvider::start("anthropic").await;
        openai.by_default(usual("This is the scripted OpenAI, which streams word by word like a model."));
        anthropic.by_default(usual("This is the scripted Anthropic, the fallback."));
        let digest = sha256(CLIENT_KEY);
        let gateway = Gateway::new(Shape::Loop)
            .provider("openai", openai.port())
            .provider("anthropic", anthropic.port())
            .configure(&json!({
                // One target per tier, so that every run of the demo is the same.
                "models": { "chat": { "tiers": [["gpt-a"], ["gpt-b"], ["haiku"]] } },
                "keys": { "demo": { "sha256": digest } },
                // Shorter than in production and without slow start, so that the demo is quick.
                "breaker": { "consecutive": 3, "open": "2s", "slow_start": "0s" },
            }));
        let envoy = gateway.start().await;
        let colour = stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Self { envoy, openai, anthropic, sent: 0, colour, shown: (0, 0), unexpected: Vec::new() }
    }

    pub fn heading(&self, title: &str) {
        say(format!("\n{}", self.paint("1", &format!("== {title} =="))));
    }

    pub fn paint(&self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    pub fn expect(&mut self, as_expected: bool, what: impl Display) {
        if !as_expected {
            say(format!("  {} {what}", self.paint("31", "UNEXPECTED:")));
            self.unexpected.push(what.to_string());
        }
    }

    /// Prints the request as a command and sends it.
    pub async fn send(&mut self, body: &str, key: &str) -> Response {
        let port = self.envoy.port();
        say(format!(
            "{}\n{}\n{}",
            self.paint("36", &format!("$ curl -iN http://127.0.0.1:{port}{CHAT} \\")),
            self.paint(
                "36",
                &format!("    -H 'authorization: Bearer {key}' -H 'content-type: application/json' \\")
            ),
            self.paint("36", &format!("    -d '{body}'")),
        ));
        let response = self.ask(body, key).await;
        let waited = response.headers_at.duration_since(response.sent_at).as_millis();
        say(format!("\n  {} after {waited} ms", self.paint("1", &format!("HTTP {}", response.status))));
        for (name, value) in &response.headers {
            if name.as_str().starts_with("x-llm-") {
                say(format!("  {name}: {}", String::from_utf8_lossy(value.as_bytes())));
            }
        }
        response
    }

    /// Sends it and prints nothing.
    async fn ask(&mut self, body: &str, key: &str) -> Response {
        self.sent += 1;
        Request::post(CHAT)
            .header("authorization", &format!("Bearer {key}"))
            .header("content-type", "application/json")
            .bytes(body.to_owned())
            .send(self.envoy.port())
            .await
            .expect("Envoy answers")
    }

    /// Sends it, prints the response and compares it with the expected one.
    pub async fn exchange(&mut self, body: &str, key: &str, expected: Expected) {
        let response = self.send(body, key).await;
        self.compare(&response, &expected);
        let answer = response.json().await;
        let shown = match answer.pointer("/choices/0/message/content").and_then(Value::as_str) {
            Some(content) => format!("\"{content}\""),
            None => answer.to_string(),
        };
        say(format!("  {shown}"));
        self.expect(shown.contains(expected.body), format!("the response contains `{}`", expected.body));
    }

    /// Repeats the same request until a counter of the filter or the answering target is as wanted. Prints which target answered
    /// how many requests and why, and compares that with the expected lines.
    pub async fn ask_until(&mut self, wanted: Wanted, told: &[&str]) {
        let deadline = Instant::now() + SOON;
        let mut runs: Vec<(String, u32)> = Vec::new();
        loop {
            let response = self.ask(&question(false), CLIENT_KEY).await;
            let target = response.header("x-llm-target").unwrap_or("none").to_owned();
            let why = response.header("x-llm-fallback").map(|why| format!(", x-llm-fallback: {why}"));
            let line = format!("x-llm-target: {target}{}", why.unwrap_or_default());
            let attempts = response.header("x-llm-attempts") == Some("1");
            self.expect(response.status == 200 && attempts, "each request succeeds at its first attempt");
            response.read().await;
            match runs.last_mut() {
                Some((last, count)) if *last == line => *count += 1,
                _ => runs.push((line, 1)),
            }
            let there = match wanted {
                Wanted::Target(name) => name == target,
                Wanted::Counter(name, value) => self.counter(name).await == value,
            };
            if there || Instant::now() > deadline {
                self.expect(there, "the awaited result appears");
                break;
            }
            tokio::time::sleep(QUIET_EVERY).await;
        }
        for (line, count) in &runs {
            say(format!("  {count:>3} × {line}"));
        }
        self.expect(runs.iter().map(|(line, _)| line).eq(told), format!("the responses are {told:?}"));
    }

    pub fn compare(&mut self, response: &Response, expected: &Expected) {
        self.expect(response.status == expected.status, format!("the status is {}", expected.status));
        for (name, value) in expected.headers {
            self.expect(response.header(name) == *value, format!("{name} is {value:?}"));
        }
    }

    /// Prints the requests that the providers received since the last call, and compares their accounts with the expected ones.
    /// Equal requests in a row are one line and one account.
    pub fn providers_saw(&mut self, expected: &[&str]) {
        let mut runs: Vec<(String, &str, u32)> = Vec::new();
        let (openai, anthropic) = (self.openai.received(), self.anthropic.received());
        for (provider, new) in
            [("openai", &openai[self.shown.0..]), ("anthropic", &anthropic[self.shown.1..])]
        {
            for request in new {
                let (account, model) = (account_of(request), request.json()["model"].clone());
                let line = format!(
                    "{provider} received: {} {}  model {model}  with the key of {account}",
                    request.method, request.path
                );
                let leaked = request.headers.iter().any(|(_, value)| value.contains(CLIENT_KEY));
                self.expect(!leaked, "no provider sees the client's key");
                match runs.last_mut() {
                    Some((last, _, count)) if *last == line => *count += 1,
                    _ => runs.push((line, account, 1)),
                }
            }
        }
        say("");
        for (line, _, count) in &runs {
            let times = if *count > 1 { format!("  ({count} times)") } else { String::new() };
            say(format!("  {line}{times}"));
        }
        if runs.is_empty() {
            say("  No provider received a request.");
        }
        self.shown = (openai.len(), anthropic.len());
        let accounts: Vec<_> = runs.iter().map(|(_, account, _)| *account).collect();
        self.expect(accounts == expected, format!("the providers receive the keys of {expected:?}"));
    }

    /// Prints and compares the number of connections that OpenAI refused and of breakers that opened.
    pub async fn refused_and_opened(&mut self, refused: u64, opened: u64) {
        let seen = (self.refused().await, self.counter("breaker_opened").await);
        say(format!("  Connections refused by OpenAI: {}   llm_failsafe_breaker_opened: {}", seen.0, seen.1));
        self.expect(
            seen == (refused, opened),
            format!("{refused} connections are refused and {opened} breakers open"),
        );
    }

    /// Connections that OpenAI refused, counted by Envoy. The provider itself does not see them.
    pub async fn refused(&self) -> u64 {
        self.envoy.stat("cluster.openai.upstream_cx_connect_fail").await.unwrap_or(0)
    }

    /// One of the filter's counters.
    pub async fn counter(&self, name: &str) -> u64 {
        self.envoy.count(name).await
    }

    pub async fn end(self, began: Instant) -> ExitCode {
        let Self { envoy, openai, anthropic, unexpected, .. } = self;
        let ports = [envoy.port(), envoy.admin_port(), openai.port(), anthropic.port()];
        let log = envoy.log();
        drop(envoy);
        for mut provider in [openai, anthropic] {
            provider.stop().await;
        }
        let mut running = Vec::new();
        for port in ports {
            if tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
                running.push(port);
            }
        }
        if unexpected.is_empty() && running.is_empty() {
            say(format!(
                "\nAll results are as expected, after {:.1} s. Envoy and the providers are stopped.\n\
                 Next: README.md (use it in your Envoy), docs/configuration.md (all settings),\n\
                 envoy/envoy.yaml (the configuration of this demo, to copy).",
                began.elapsed().as_secs_f32()
            ));
            return ExitCode::SUCCESS;
        }
        eprintln!("\n{} results are not as expected: {unexpected:#?}", unexpected.len());
        eprintln!("ports that still accept connections: {running:?}\nEnvoy's log:\n{log}");
        ExitCode::FAILURE
    }
}

/// When to stop repeating a request.
pub enum Wanted {
    /// This target answered.
    Target(&'static str),
    /// This counter of the filter has this value.
    Counter(&'static str, u64),
}

/// Prints one line at once.
pub fn say(line: impl Display) {
    println!("{line}");
}

fn usual(text: &str) -> Script {
    Script::usual().say(text).delay_chunks(TOKEN_EVERY)
}

pub fn question(stream: bool) -> String {
    let stream = if stream { r#", "stream": true"# } else { "" };
    format!(r#"{{"model": "chat"{stream}, "messages": [{{"role": "user", "content": "Who answers?"}}]}}"#)
}

/// The account whose key the request has.
fn account_of(request: &ReceivedRequest) -> &'static str {
    let carries = |key: &str| request.headers.iter().any(|(_, value)| value.contains(key));
    let known = PROVIDER_KEYS.iter().zip(ACCOUNTS).find(|((_, key), _)| carries(key));
    known.map_or("none", |(_, account)| account)
}

/// Prints each token when it arrives. Returns the text and the times of the tokens.
pub async fn print_tokens(response: &mut Response) -> (String, Vec<Instant>) {
    let (mut wire, mut text, mut arrived) = (String::new(), String::new(), Vec::new());
    print!("  ");
    while let Some(chunk) = response.next_chunk().await {
        let chunk = chunk.expect("the stream continues");
        wire.push_str(&String::from_utf8_lossy(&chunk.bytes));
        while let Some((line, rest)) = wire.split_once('\n') {
            let event = line.strip_prefix("data: ").and_then(|data| serde_json::from_str::<Value>(data).ok());
            let token = event.as_ref().and_then(|event| event.pointer("/choices/0/delta/content")?.as_str());
            if let Some(token) = token.filter(|token| !token.is_empty()) {
                print!("{token}");
                drop(stdout().flush());
                text.push_str(token);
                arrived.push(chunk.at);
            }
            wire = rest.to_owned();
        }
    }
    say("");
    (text, arrived)
}
