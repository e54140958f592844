//! The clients, and how each of them judges what it gets.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use integration_tests::SOON;
use integration_tests::client::{ClientError, Connection, Protocol, Read, Request};
use llm_failsafe::base::{Random as _, SplitMix64};
use serde_json::{Value, json};

use super::faults::{BEGIN, END};

/// No request may take longer, however many faults it meets.
const HANGS_AFTER: Duration = SOON;
/// One request in so many is large.
const LARGE_ONE_IN: u64 = 20;
const LARGE: usize = 200_000;

/// What came of a request for its client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// A whole answer.
    Complete,
    /// An error in the client's dialect, with its status and the gateway's reason.
    Error(u16, String),
    /// The client sees that its answer has broken off.
    Broken(String),
    /// The client left.
    Left,
    /// None of these: a failure of the gateway.
    Wrong(String),
}

/// A request.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Its trace id.
    pub id: u64,
    pub what: What,
    pub began: Instant,
    pub ended: Instant,
    pub end: End,
}

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub struct What {
    pub path: &'static str,
    pub model: &'static str,
    pub stream: bool,
}

const CHAT: &str = "/v1/chat/completions";
const MESSAGES: &str = "/v1/messages";
const RESPONSES: &str = "/v1/responses";

impl What {
    fn choose(random: &mut SplitMix64) -> Self {
        let (path, model) = match random.below(10) {
            0..4 => (CHAT, "chat"),
            4..6 => (CHAT, "busy"),
            6..8 => (MESSAGES, "messages"),
            _ => (RESPONSES, "responses"),
        };
        Self { path, model, stream: random.below(3) > 0 }
    }

    /// All ways to ask each target, one by one.
    pub fn of_targets() -> Vec<Self> {
        let chat = ["gpt", "claude", "large", "local"].map(|model| (CHAT, model));
        let other = [(MESSAGES, "claude"), (MESSAGES, "relay"), (RESPONSES, "gpt"), (RESPONSES, "local")];
        chat.into_iter().chain(other).map(|(path, model)| Self { path, model, stream: true }).collect()
    }

    pub fn request(self, text: &str) -> Request {
        let turns = json!([{"role": "user", "content": text}]);
        let turns_are = if self.path == RESPONSES { "input" } else { "messages" };
        let mut body = json!({"model": self.model, "stream": self.stream, turns_are: turns});
        if self.path == MESSAGES {
            body["max_tokens"] = json!(64);
        }
        Request::post(self.path).json(&body)
    }

    /// What the client of this dialect takes a response for.
    pub fn judge(self, read: &Read) -> End {
        if matches!(read.error, Some(ClientError::Silent)) {
            return End::Wrong(format!("{} and then nothing for {HANGS_AFTER:?}", read.status));
        }
        if read.status != 200 {
            return self.judge_error(read);
        }
        if let Some(error) = &read.error {
            // Over HTTP/1.1 the break can follow the end of the stream, which is what the client stops at.
            return End::Broken(error.to_string());
        }
        if self.stream { judge_stream(read) } else { judge_document(read) }
    }

    fn judge_error(self, read: &Read) -> End {
        if let Some(error) = &read.error {
            return End::Broken(format!("{}: {error}", read.status));
        }
        let body: Value = serde_json::from_slice(&read.bytes()).unwrap_or_default();
        let is_of_dialect = body.pointer("/error/message").is_some_and(Value::is_string)
            && (self.path != MESSAGES || body["type"] == "error");
        if is_of_dialect {
            let reason = read.header("x-llm-reason").or(body["error"]["code"].as_str()).unwrap_or("provider");
            End::Error(read.status.as_u16(), reason.to_owned())
        } else {
            End::Wrong(format!("{} with {:?} {:?}", read.status, read.text(), read.headers))
        }
    }
}

const TEXT_OF_EVENT: [&str; 3] = ["/choices/0/delta/content", "/delta/text", "/delta"];
const TEXT_OF_DOCUMENT: [&str; 3] =
    ["/choices/0/message/content", "/content/0/text", "/output/0/content/0/text"];

fn text_at(value: &Value, places: &[&str]) -> Option<String> {
    places.iter().find_map(|place| value.pointer(place)?.as_str().map(str::to_owned))
}

fn is_whole(text: &str) -> bool {
    text.starts_with(BEGIN) && text.ends_with(END)
}

fn judge_document(read: &Read) -> End {
    let body: Value = serde_json::from_slice(&read.bytes()).unwrap_or_default();
    match text_at(&body, &TEXT_OF_DOCUMENT) {
        Some(text) if is_whole(&text) => End::Complete,
        _ => End::Wrong(format!("no whole answer: {:?}", read.text())),
    }
}

fn judge_stream(read: &Read) -> End {
    let data = read.data();
    let is_end = |event: &String| {
        event == "[DONE]" || event.contains("\"message_stop\"") || event.contains("\"response.completed\"")
    };
    let events: Vec<Value> = data.iter().filter_map(|event| serde_json::from_str(event).ok()).collect();
    let text: String = events.iter().filter_map(|event| text_at(event, &TEXT_OF_EVENT)).collect();
    let failed = events.iter().any(|event| {
        event["error"].is_object() || event["type"] == "error" || event["type"] == "response.failed"
    });
    let ends = data.iter().filter(|event| is_end(event)).count();
    match (ends, failed) {
        (1, false) if is_whole(&text) && data.last().is_some_and(is_end) => End::Complete,
        (0, true) => End::Broken("an error event".to_owned()),
        _ => End::Wrong(format!("no whole stream, but a normal end: {:?}", read.text())),
    }
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let What { path, model, stream } = self.what;
        let took = self.ended.saturating_duration_since(self.began);
        write!(f, "request {:x} ({path} {model} stream={stream}, {took:?}): {:?}", self.id, self.end)
    }
}

/// Asks one thing after the other until `over` is set. Even clients speak HTTP/1.1, odd ones HTTP/2. Some connections are used
/// again and some are not.
pub async fn ask_on(
    port: u16,
    client: u64,
    first_id: u64,
    mut random: SplitMix64,
    over: Arc<AtomicBool>,
) -> Vec<Asked> {
    let protocol = if client.is_multiple_of(2) { Protocol::Http1 } else { Protocol::H2c };
    // A quarter of the clients leaves mostly, the others seldom.
    let leaves_one_in = if client.is_multiple_of(4) { 2 } else { 12 };
    let (mut connection, mut asked) = (None, Vec::new());
    let mut id = first_id;
    while !over.load(Ordering::Relaxed) {
        id += 1;
        let what = What::choose(&mut random);
        let leaves = random.below(leaves_one_in) == 0;
        let patience = if leaves { Duration::from_millis(20 + random.below(400)) } else { HANGS_AFTER };
        let filling = if random.below(LARGE_ONE_IN) == 0 { LARGE } else { 20 };
        let traceparent = format!("00-{id:032x}-{id:016x}-01");
        let request = what.request(&"x".repeat(filling)).header("traceparent", &traceparent);
        let began = Instant::now();
        let one = ask(port, protocol, &mut connection, request.patience(HANGS_AFTER));
        let end = match tokio::time::timeout(patience, one).await {
            Err(_) if leaves => End::Left,
            Err(_) => End::Wrong(format!("no end after {HANGS_AFTER:?}")),
            Ok(Ok(read)) => what.judge(&read),
            Ok(Err(ClientError::Broken(error))) => End::Broken(format!("no answer: {error}")),
            Ok(Err(error)) => End::Wrong(format!("no answer: {error}")),
        };
        // Over HTTP/2 a client that leaves may go on with its connection.
        if !matches!(end, End::Complete | End::Error(..))
            && (protocol == Protocol::Http1 || random.below(2) == 0)
            || random.below(4) == 0
        {
            connection = None;
        }
        asked.push(Asked { id, what, began, ended: Instant::now(), end });
        tokio::time::sleep(Duration::from_millis(random.below(60))).await;
    }
    asked
}

async fn ask(
    port: u16,
    protocol: Protocol,
    connection: &mut Option<Connection>,
    request: Request,
) -> Result<Read, ClientError> {
    let connection = match connection {
        Some(connection) => connection,
        None => connection.insert(Connection::open(port, protocol).await?),
    };
    Ok(connection.send(request).await?.read().await)
}
