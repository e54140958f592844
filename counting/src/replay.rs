//! Replays the bench's traffic and counts what each callback costs.

use std::collections::BTreeMap;

use integration_tests::gateway::Shape;
use integration_tests::traffic::{self, Workload};
use wasmi::{Engine, Instance, Module, Store, Val};

use crate::host::{self, Headers, Host, REQUEST, RESPONSE};
use crate::instrument::{self, ALLOCATE, ALLOCATIONS, INSTRUCTIONS};

const ROOT: u32 = 1;
const QUEUE: u32 = 1;
/// Exchanges before counting. Tables and buffers of the filter have then reached their sizes.
const WARM_UP: usize = 200;
/// Counted exchanges. The median counts, because a few stages depend on which target was chosen.
const COUNTED: usize = 15;
/// Content chunks of a stream. The first one comes with the role event and counts as a stage of its own.
const CHUNKS: usize = 12;
const MICROSECOND: u64 = 1_000;
const TICK: u64 = 100_000 * MICROSECOND;
const START: u64 = 1_800_000_000_000_000_000;

/// What one callback costs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// WebAssembly instructions; those without code (such as `block` and `end`) are left out.
    pub instructions: u64,
    pub allocations: u64,
    /// Bytes that the host copied into the VM.
    pub copied: u64,
    /// Whether the filter holds what it got.
    pub holds: bool,
    /// Host calls by name, without `proxy_`.
    pub calls: BTreeMap<String, u64>,
}

impl Counts {
    /// The number of host calls.
    pub fn host_calls(&self) -> u64 {
        self.calls.values().sum()
    }

    /// Adds those of another callback.
    pub fn add(&mut self, other: &Self) {
        self.instructions += other.instructions;
        self.allocations += other.allocations;
        self.copied += other.copied;
        for (name, number) in &other.calls {
            *self.calls.entry(name.clone()).or_default() += number;
        }
    }
}

/// A kind of exchange and what its stages cost, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scene {
    pub name: String,
    pub stages: Vec<(String, Counts)>,
}

/// The stage of a later content chunk.
pub const CHUNK: &str = "SSE chunk";
/// The stages that are not part of an exchange.
pub const TICKS: [&str; 2] = ["tick after it", "idle tick"];

impl Scene {
    /// What one exchange costs, without ticks and later chunks.
    pub fn total(&self) -> Counts {
        let mut total = Counts::default();
        for (stage, counts) in &self.stages {
            if stage != CHUNK && !TICKS.contains(&stage.as_str()) {
                total.add(counts);
            }
        }
        total
    }

    /// What one stage costs.
    pub fn stage(&self, name: &str) -> Option<&Counts> {
        self.stages.iter().find(|(stage, _)| stage == name).map(|(_, counts)| counts)
    }
}

/// Counts every scene.
pub fn count_all(module: &[u8]) -> Result<Vec<Scene>, String> {
    let mut scenes = count(module)?;
    scenes.push(count_translated(module)?);
    Ok(scenes)
}

/// Counts a stream that is translated for a client of Messages, in one listener.
fn count_translated(module: &[u8]) -> Result<Scene, String> {
    let shape = Shape::Single;
    let mut filter =
        Filter::load(module, shape, &traffic::translating_gateway(shape).configuration().to_string())?;
    let workload = Workload::Translated { chunks: CHUNKS };
    for _ in 0..WARM_UP {
        filter.exchange(workload)?;
    }
    let exchanges: Result<Vec<_>, _> = (0..COUNTED).map(|_| filter.exchange(workload)).collect();
    match filter.store.data().errors.first() {
        Some(error) => Err(format!("the filter logged: {error}")),
        None => Ok(Scene { name: TRANSLATED.to_owned(), stages: medians(&exchanges?) }),
    }
}

/// The name of the scene in which a stream is translated.
pub const TRANSLATED: &str = "translated stream, one listener";

/// Counts a chat request and a stream, in one listener and in the retry loop.
pub fn count(module: &[u8]) -> Result<Vec<Scene>, String> {
    let mut scenes = Vec::new();
    for (place, shape) in [("one listener", Shape::Single), ("retry loop", Shape::Loop)] {
        let mut filter = Filter::load(module, shape, &traffic::gateway(shape).configuration().to_string())?;
        let stream = Workload::Stream { chunks: CHUNKS };
        for at in 0..WARM_UP {
            filter.exchange(if at % 4 == 3 { stream } else { Workload::Chat })?;
            if at % 8 == 7 {
                filter.tick(TICKS[0])?;
            }
        }
        for (kind, workload) in [("chat request", Workload::Chat), ("stream", stream)] {
            let mut exchanges = Vec::new();
            for _ in 0..COUNTED {
                let mut stages = filter.exchange(workload)?;
                stages.push(filter.tick(TICKS[0])?);
                stages.push(filter.tick(TICKS[1])?);
                exchanges.push(stages);
            }
            scenes.push(Scene { name: format!("{kind}, {place}"), stages: medians(&exchanges) });
        }
        if let Some(error) = filter.store.data().errors.first() {
            return Err(format!("the filter logged: {error}"));
        }
    }
    Ok(scenes)
}

type Stages = Vec<(String, Counts)>;

/// For each stage the exchange with the median of the instructions. All chunks are one stage.
fn medians(exchanges: &[Stages]) -> Stages {
    let mut all: Vec<(String, Vec<&Counts>)> = Vec::new();
    for (name, counts) in exchanges.iter().flatten() {
        match all.iter_mut().find(|(other, _)| other == name) {
            Some((_, list)) => list.push(counts),
            None => all.push((name.clone(), vec![counts])),
        }
    }
    let median = |mut list: Vec<&Counts>| {
        list.sort_by_key(|counts| counts.instructions);
        list[list.len() / 2].clone()
    };
    all.into_iter().map(|(name, list)| (name, median(list))).collect()
}

/// The module in its VM.
struct Filter {
    store: Store<Host>,
    instance: Instance,
    shape: Shape,
    contexts: u32,
}

impl Filter {
    fn load(module: &[u8], shape: Shape, configuration: &str) -> Result<Self, String> {
        let text = |error: wasmi::Error| error.to_string();
        let module = instrument::with_counters(module)?;
        let engine = Engine::default();
        let module = Module::new(&engine, &module).map_err(text)?;
        let mut store = Store::new(&engine, Host::default());
        let instance = host::linker(&engine, &module)
            .and_then(|linker| linker.instantiate_and_start(&mut store, &module));
        let mut filter = Self { store, instance: instance.map_err(text)?, shape, contexts: ROOT };
        filter.start(configuration)?;
        Ok(filter)
    }

    fn start(&mut self, configuration: &str) -> Result<(), String> {
        let host = self.store.data_mut();
        host.time = START;
        host.configuration = configuration.as_bytes().to_vec();
        let size = host.configuration.len() as u32;
        for (part, number) in [("major_number", 1_u64), ("minor_number", 40), ("patch", 0)] {
            let path = format!("xds\0node\0user_agent_build_version\0version\0{part}");
            host.properties.insert(path, number.to_le_bytes().to_vec());
        }
        host.properties.insert("response\0code_details".to_owned(), b"via_upstream".to_vec());
        self.call("_initialize", &[])?;
        self.counts_allocations()?;
        self.call("proxy_on_context_create", &[ROOT, 0])?;
        self.call("proxy_on_vm_start", &[ROOT, 0])?;
        match self.call("proxy_on_configure", &[ROOT, size])? {
            Some(1) => Ok(()),
            _ => Err(format!("the filter refused its configuration: {:?}", self.store.data().errors)),
        }
    }

    /// Makes sure that the counter is in the right function.
    fn counts_allocations(&mut self) -> Result<(), String> {
        let before = self.counter(ALLOCATIONS);
        self.call(ALLOCATE, &[24])?;
        match self.counter(ALLOCATIONS) - before {
            1 => Ok(()),
            other => {
                Err(format!("one allocation counts as {other}: the allocator was not found in the module"))
            }
        }
    }

    fn counter(&self, name: &str) -> u64 {
        let counter = self.instance.get_global(&self.store, name).map(|counter| counter.get(&self.store));
        counter.and_then(|value| value.i64()).unwrap_or_default() as u64
    }

    /// Calls an export; `None` if there is none of that name or it returns nothing.
    fn call(&mut self, export: &str, arguments: &[u32]) -> Result<Option<i32>, String> {
        let Some(function) = self.instance.get_func(&self.store, export) else { return Ok(None) };
        let arguments: Vec<Val> = arguments.iter().map(|number| Val::I32(*number as i32)).collect();
        let mut results = vec![Val::I32(0); function.ty(&self.store).results().len()];
        let called = function.call(&mut self.store, &arguments, &mut results);
        called.map_err(|error| format!("{export}: {error}; {:?}", self.store.data().errors))?;
        Ok(results.first().and_then(Val::i32))
    }

    /// Calls an export and counts.
    fn counted(&mut self, export: &str, arguments: &[u32]) -> Result<(Option<i32>, Counts), String> {
        self.store.data_mut().time += 20 * MICROSECOND;
        self.store.data_mut().take();
        let (instructions, allocations) = (self.counter(INSTRUCTIONS), self.counter(ALLOCATIONS));
        let result = self.call(export, arguments)?;
        let (calls, copied) = self.store.data_mut().take();
        let counts = Counts {
            instructions: self.counter(INSTRUCTIONS) - instructions,
            allocations: self.counter(ALLOCATIONS) - allocations,
            copied,
            holds: result == Some(1) && (export.ends_with("headers") || export.ends_with("body")),
            calls: calls.into_iter().map(|(name, number)| (name.to_owned(), number)).collect(),
        };
        Ok((result, counts))
    }

    fn tick(&mut self, name: &str) -> Result<(String, Counts), String> {
        self.store.data_mut().time += TICK;
        let (_, counts) = self.counted("proxy_on_tick", &[ROOT])?;
        Ok((name.to_owned(), counts))
    }

    /// One request with its response, as Envoy shows it to the filter.
    fn exchange(&mut self, workload: Workload) -> Result<Stages, String> {
        self.contexts += 1;
        let id = self.contexts;
        let mut exchange = Exchange { id, stages: Vec::new(), filter: self };
        exchange.run("context create", "proxy_on_context_create", &[id, ROOT])?;
        exchange.request(workload)?;
        if workload.other_events() > 0 {
            exchange.streamed_response(workload)?;
        } else {
            let (head, body) = split(&traffic::chat_answer());
            exchange.response_headers(&head)?;
            exchange.piece(RESPONSE, "response body", &body, false)?;
            exchange.piece(RESPONSE, "response end", &[], true)?;
        }
        exchange.run("log", "proxy_on_log", &[id])?;
        exchange.run("done", "proxy_on_done", &[id])?;
        exchange.run("delete", "proxy_on_delete", &[id])?;
        let record = exchange.filter.store.data_mut().properties.remove("wasm.llm_record");
        let record = String::from_utf8(record.unwrap_or_default()).unwrap_or_default();
        if !record.contains(r#""outcome":"served""#) {
            return Err(format!("the filter did not serve the request; its record: {record:?}"));
        }
        Ok(exchange.stages)
    }
}

struct Exchange<'a> {
    id: u32,
    stages: Stages,
    filter: &'a mut Filter,
}

impl Exchange<'_> {
    /// One callback, and those that it asks for.
    fn run(&mut self, stage: &str, export: &str, arguments: &[u32]) -> Result<Option<i32>, String> {
        let (result, mut counts) = self.filter.counted(export, arguments)?;
        // One callback empties the queue; a module without it leaves the items.
        if !self.filter.store.data().queue.is_empty() {
            counts.add(&self.filter.counted("proxy_on_queue_ready", &[ROOT, QUEUE])?.1);
            self.filter.store.data_mut().queue.clear();
        }
        self.stages.push((stage.to_owned(), counts));
        Ok(result)
    }

    fn request(&mut self, workload: Workload) -> Result<(), String> {
        let (head, body) = split(&workload.request(0));
        let mut headers: Headers = [(":method", "POST"), (":path", workload.path()), (":scheme", "http")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .to_vec();
        headers.extend(fields(&head).into_iter().map(|(name, value)| match name.as_str() {
            "host" => (":authority".to_owned(), value),
            _ => (name, value),
        }));
        // What Envoy adds to a request of this machine.
        headers.push(("x-forwarded-proto".to_owned(), "http".to_owned()));
        headers.push(("x-envoy-internal".to_owned(), "true".to_owned()));
        headers.push(("x-request-id".to_owned(), format!("7c9e6679-7425-40de-944b-{:012x}", self.id)));
        if self.filter.shape == Shape::Loop {
            headers.push(("x-llm-journey".to_owned(), format!("550e8400-e29b-41d4-a716-{:012x}", self.id)));
            headers.push(("x-envoy-attempt-count".to_owned(), "1".to_owned()));
        }
        let count = headers.len() as u32;
        let side = &mut self.filter.store.data_mut().sides[REQUEST];
        *side = host::Side { headers, ..Default::default() };
        self.run("request headers", "proxy_on_request_headers", &[self.id, count, 0])?;
        self.piece(REQUEST, "request body", &body, false)?;
        self.piece(REQUEST, "request end", &[], true)
    }

    fn response_headers(&mut self, head: &str) -> Result<(), String> {
        let mut headers: Headers = vec![(":status".to_owned(), "200".to_owned())];
        headers.extend(fields(head).into_iter().filter(|(name, _)| name != "transfer-encoding"));
        let count = headers.len() as u32;
        let host = self.filter.store.data_mut();
        host.time += 1_000 * MICROSECOND;
        host.sides[RESPONSE] = host::Side { headers, ..Default::default() };
        self.run("response headers", "proxy_on_response_headers", &[self.id, count, 0])?;
        Ok(())
    }

    fn streamed_response(&mut self, workload: Workload) -> Result<(), String> {
        let (head, _) = split(&traffic::stream_beginning());
        self.response_headers(&head)?;
        let (role, content) = (traffic::role_event(), traffic::content_event());
        self.piece(RESPONSE, "first content", format!("{role}{content}").as_bytes(), false)?;
        for _ in 1..CHUNKS {
            self.piece(RESPONSE, CHUNK, content.as_bytes(), false)?;
        }
        if matches!(workload, Workload::Translated { .. }) {
            self.piece(RESPONSE, "finish reason", traffic::finish_event().as_bytes(), false)?;
        }
        self.piece(RESPONSE, "[DONE]", traffic::END_EVENT.as_bytes(), false)?;
        self.piece(RESPONSE, "response end", &[], true)
    }

    /// A piece of a body. What the filter holds stays in the buffer.
    fn piece(&mut self, side: usize, stage: &str, bytes: &[u8], end: bool) -> Result<(), String> {
        let export = if side == REQUEST { "proxy_on_request_body" } else { "proxy_on_response_body" };
        let state = &mut self.filter.store.data_mut().sides[side];
        state.body.extend(bytes);
        state.released = false;
        let size = state.body.len() as u32;
        let held = self.run(stage, export, &[self.id, size, u32::from(end)])? == Some(1);
        let state = &mut self.filter.store.data_mut().sides[side];
        if !held || state.released {
            state.body.clear();
        } else if end {
            return Err(format!("{stage}: the filter holds what is complete"));
        }
        Ok(())
    }
}

/// Head and body of a message as it is on the wire.
fn split(message: &[u8]) -> (String, Vec<u8>) {
    let at = message.windows(4).position(|four| four == b"\r\n\r\n").unwrap_or(message.len());
    (String::from_utf8_lossy(&message[..at]).into_owned(), message.get(at + 4..).unwrap_or_default().to_vec())
}

/// The header fields of a head, with names in lower case.
fn fields(head: &str) -> Headers {
    let lines = head.lines().skip(1).filter_map(|line| line.split_once(": "));
    lines.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect()
}
