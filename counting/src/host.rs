//! The host: what Envoy is to the module, made of memory.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;

use integration_tests::gateway::PROVIDER_KEYS;
use wasmi::{Caller, Engine, Error, ExternType, Linker, Memory, Module, TypedFunc};

use crate::instrument::ALLOCATE;

const OK: i32 = 0;
const NOT_FOUND: i32 = 1;
const CAS_MISMATCH: i32 = 8;
const INFO: u32 = 2;

/// The buffers and header maps that the ABI numbers.
pub const REQUEST: usize = 0;
pub const RESPONSE: usize = 1;
const RESPONSE_HEADERS: i32 = 2;
const PLUGIN_CONFIGURATION: i32 = 7;
const HTTP_RESPONSE: i32 = 1;

pub type Headers = Vec<(String, String)>;

/// The side of a stream: request or response.
#[derive(Debug, Default)]
pub struct Side {
    pub headers: Headers,
    pub body: Vec<u8>,
    /// Since the last callback, the module has released what it held.
    pub released: bool,
}

/// What the module sees, and what it did.
#[derive(Debug, Default)]
pub struct Host {
    pub configuration: Vec<u8>,
    pub sides: [Side; 2],
    /// Wall time in nanoseconds.
    pub time: u64,
    pub properties: BTreeMap<String, Vec<u8>>,
    shared: BTreeMap<Vec<u8>, (Vec<u8>, u32)>,
    metrics: BTreeMap<Vec<u8>, u32>,
    values: Vec<u64>,
    pub queue: VecDeque<Vec<u8>>,
    random: u64,
    /// Calls since the last [`Host::take`], by name.
    calls: BTreeMap<&'static str, u64>,
    /// Bytes that were copied into the module's memory.
    copied: u64,
    /// Errors that the module logged.
    pub errors: Vec<String>,
}

impl Host {
    /// The calls and the copied bytes since the last time.
    pub fn take(&mut self) -> (BTreeMap<&'static str, u64>, u64) {
        (std::mem::take(&mut self.calls), std::mem::take(&mut self.copied))
    }

    fn map(&mut self, map: i32) -> &mut Headers {
        let side = if map == RESPONSE_HEADERS { RESPONSE } else { REQUEST };
        &mut self.sides[side].headers
    }

    fn buffer(&mut self, buffer: i32) -> Option<&mut Vec<u8>> {
        match buffer {
            0 | 1 => Some(&mut self.sides[buffer as usize].body),
            PLUGIN_CONFIGURATION => Some(&mut self.configuration),
            _ => None,
        }
    }
}

type Call<'a> = Caller<'a, Host>;

fn memory(caller: &Call) -> Result<Memory, Error> {
    caller.get_export("memory").and_then(|export| export.into_memory()).ok_or(Error::new("no memory"))
}

fn read(caller: &Call, at: u32, size: u32) -> Result<Vec<u8>, Error> {
    let mut bytes = vec![0; size as usize];
    memory(caller)?.read(caller, at as usize, &mut bytes)?;
    Ok(bytes)
}

fn text(caller: &Call, at: u32, size: u32) -> Result<String, Error> {
    Ok(String::from_utf8_lossy(&read(caller, at, size)?).into_owned())
}

fn write(caller: &mut Call, at: u32, bytes: &[u8]) -> Result<(), Error> {
    memory(caller)?.write(&mut *caller, at as usize, bytes)?;
    Ok(())
}

/// Hands over bytes: in a block that the module allocates for them.
fn hand_over(caller: &mut Call, bytes: &[u8], data: u32, size: u32) -> Result<i32, Error> {
    let mut block = 0_u32;
    if !bytes.is_empty() {
        let allocate = caller.get_export(ALLOCATE).and_then(|export| export.into_func());
        let allocate: TypedFunc<u32, u32> = allocate.ok_or(Error::new("no allocator"))?.typed(&*caller)?;
        block = allocate.call(&mut *caller, bytes.len() as u32)?;
        write(caller, block, bytes)?;
        caller.data_mut().copied += bytes.len() as u64;
    }
    write(caller, data, &block.to_le_bytes())?;
    write(caller, size, &(bytes.len() as u32).to_le_bytes())?;
    Ok(OK)
}

/// Defines functions of the ABI, by their names without `proxy_`. Every call of them is counted.
macro_rules! define {
    ($linker:ident, $($name:literal = |$call:ident $(, $argument:tt: $type:ty)*| $body:block)*) => {
        $($linker.func_wrap(
            "env",
            concat!("proxy_", $name),
            |mut $call: Call $(, $argument: $type)*| -> Result<i32, Error> {
                *$call.data_mut().calls.entry($name).or_default() += 1;
                $body
            },
        )?;)*
    };
}

/// A header map in the form of the ABI.
fn encoded(headers: &Headers) -> Vec<u8> {
    let mut out = (headers.len() as u32).to_le_bytes().to_vec();
    for (name, value) in headers {
        out.extend((name.len() as u32).to_le_bytes());
        out.extend((value.len() as u32).to_le_bytes());
    }
    for text in headers.iter().flat_map(|(name, value)| [name, value]) {
        out.extend(text.as_bytes());
        out.push(0);
    }
    out
}

fn decoded(bytes: &[u8]) -> Option<Headers> {
    let number = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?) as usize);
    let count = number(0)?;
    let mut at = 4 + 8 * count;
    let mut piece = |length: usize| {
        let piece = String::from_utf8_lossy(bytes.get(at..at + length)?).into_owned();
        at += length + 1;
        Some(piece)
    };
    (0..count).map(|n| Some((piece(number(4 + 8 * n)?)?, piece(number(8 + 8 * n)?)?))).collect()
}

/// All functions that the module may import.
pub fn linker(engine: &Engine, module: &Module) -> Result<Linker<Host>, Error> {
    let mut linker = Linker::new(engine);
    headers(&mut linker)?;
    bodies(&mut linker)?;
    streams(&mut linker)?;
    properties(&mut linker)?;
    shared(&mut linker)?;
    metrics(&mut linker)?;
    system(&mut linker)?;
    others(&mut linker, module)?;
    Ok(linker)
}

fn headers(linker: &mut Linker<Host>) -> Result<(), Error> {
    define! { linker,
        "get_header_map_pairs" = |c, map: i32, data: u32, size: u32| {
            let bytes = encoded(c.data_mut().map(map));
            hand_over(&mut c, &bytes, data, size)
        }
        "set_header_map_pairs" = |c, map: i32, data: u32, size: u32| {
            let headers = decoded(&read(&c, data, size)?).ok_or(Error::new("not a header map"))?;
            *c.data_mut().map(map) = headers;
            Ok(OK)
        }
        "get_header_map_value" = |c, map: i32, name: u32, name_size: u32, data: u32, size: u32| {
            let name = text(&c, name, name_size)?;
            let found = c
                .data_mut()
                .map(map)
                .iter()
                .find(|(other, _)| *other == name)
                .map(|(_, value)| value.clone());
            match found {
                Some(value) => hand_over(&mut c, value.as_bytes(), data, size),
                None => Ok(NOT_FOUND),
            }
        }
        "replace_header_map_value" = |c, map: i32, name: u32, name_size: u32, value: u32, value_size: u32| {
            let header = (text(&c, name, name_size)?, text(&c, value, value_size)?);
            let headers = c.data_mut().map(map);
            match headers.iter_mut().find(|(other, _)| *other == header.0) {
                Some(found) => *found = header,
                None => headers.push(header),
            }
            Ok(OK)
        }
        "add_header_map_value" = |c, map: i32, name: u32, name_size: u32, value: u32, value_size: u32| {
            let header = (text(&c, name, name_size)?, text(&c, value, value_size)?);
            c.data_mut().map(map).push(header);
            Ok(OK)
        }
        "remove_header_map_value" = |c, map: i32, name: u32, size: u32| {
            let name = text(&c, name, size)?;
            c.data_mut().map(map).retain(|(other, _)| *other != name);
            Ok(OK)
        }
    }
    Ok(())
}

/// The part of a buffer that a call is about.
fn within(bytes: &[u8], start: u32, length: u32) -> Range<usize> {
    let start = (start as usize).min(bytes.len());
    start..start.saturating_add(length as usize).min(bytes.len())
}

fn bodies(linker: &mut Linker<Host>) -> Result<(), Error> {
    define! { linker,
        "get_buffer_bytes" = |c, buffer: i32, start: u32, most: u32, data: u32, size: u32| {
            let Some(bytes) = c.data_mut().buffer(buffer) else { return Ok(NOT_FOUND) };
            let bytes = bytes[within(bytes, start, most)].to_vec();
            hand_over(&mut c, &bytes, data, size)
        }
        "set_buffer_bytes" = |c, buffer: i32, start: u32, length: u32, data: u32, size: u32| {
            let new = read(&c, data, size)?;
            let Some(bytes) = c.data_mut().buffer(buffer) else { return Ok(NOT_FOUND) };
            bytes.splice(within(bytes, start, length), new);
            Ok(OK)
        }
    }
    Ok(())
}

fn streams(linker: &mut Linker<Host>) -> Result<(), Error> {
    define! { linker,
        "continue_stream" = |c, stream: i32| {
            let side = if stream == HTTP_RESPONSE { RESPONSE } else { REQUEST };
            c.data_mut().sides[side].released = true;
            Ok(OK)
        }
        "set_effective_context" = |c, _: u32| {
            Ok(OK)
        }
        "register_shared_queue" = |c, _: u32, _: u32, id: u32| {
            write(&mut c, id, &1_u32.to_le_bytes())?;
            Ok(OK)
        }
        "enqueue_shared_queue" = |c, _: u32, data: u32, size: u32| {
            let item = read(&c, data, size)?;
            c.data_mut().queue.push_back(item);
            Ok(OK)
        }
        "dequeue_shared_queue" = |c, _: u32, data: u32, size: u32| {
            match c.data_mut().queue.pop_front() {
                Some(item) => hand_over(&mut c, &item, data, size),
                None => Ok(NOT_FOUND),
            }
        }
    }
    Ok(())
}

fn properties(linker: &mut Linker<Host>) -> Result<(), Error> {
    define! { linker,
        "get_property" = |c, path: u32, path_size: u32, data: u32, size: u32| {
            let path = text(&c, path, path_size)?;
            match c.data().properties.get(&path).cloned() {
                Some(value) => hand_over(&mut c, &value, data, size),
                None => Ok(NOT_FOUND),
            }
        }
        "set_property" = |c, path: u32, path_size: u32, data: u32, size: u32| {
            let path = format!("wasm.{}", text(&c, path, path_size)?);
            let value = read(&c, data, size)?;
            c.data_mut().properties.insert(path, value);
            Ok(OK)
        }
    }
    Ok(())
}

fn shared(linker: &mut Linker<Host>) -> Result<(), Error> {
    define! { linker,
        "get_shared_data" = |c, key: u32, key_size: u32, data: u32, size: u32, cas: u32| {
            let key = read(&c, key, key_size)?;
            let Some((value, number)) = c.data().shared.get(&key).cloned() else { return Ok(NOT_FOUND) };
            write(&mut c, cas, &number.to_le_bytes())?;
            hand_over(&mut c, &value, data, size)
        }
        "set_shared_data" = |c, key: u32, key_size: u32, data: u32, size: u32, cas: u32| {
            let (key, value) = (read(&c, key, key_size)?, read(&c, data, size)?);
            let shared = &mut c.data_mut().shared;
            // As in Envoy: a value that does not exist is created, whatever number the module gives.
            let number = shared.get(&key).map(|(_, number)| *number);
            if cas != 0 && number.is_some_and(|number| number != cas) {
                return Ok(CAS_MISMATCH);
            }
            shared.insert(key, (value, number.unwrap_or(0) + 1));
            Ok(OK)
        }
    }
    Ok(())
}

fn metrics(linker: &mut Linker<Host>) -> Result<(), Error> {
    define! { linker,
        "define_metric" = |c, _: i32, name: u32, size: u32, id: u32| {
            let name = read(&c, name, size)?;
            let host = c.data_mut();
            let new = host.metrics.len() as u32;
            let number = *host.metrics.entry(name).or_insert(new);
            host.values.resize(host.metrics.len(), 0);
            write(&mut c, id, &number.to_le_bytes())?;
            Ok(OK)
        }
        "increment_metric" = |c, id: u32, offset: i64| {
            let Some(value) = c.data_mut().values.get_mut(id as usize) else { return Ok(NOT_FOUND) };
            *value = value.wrapping_add_signed(offset);
            Ok(OK)
        }
        "record_metric" = |c, id: u32, new: u64| {
            let Some(value) = c.data_mut().values.get_mut(id as usize) else { return Ok(NOT_FOUND) };
            *value = new;
            Ok(OK)
        }
        "get_metric" = |c, id: u32, value: u32| {
            let Some(found) = c.data().values.get(id as usize).copied() else { return Ok(NOT_FOUND) };
            write(&mut c, value, &found.to_le_bytes())?;
            Ok(OK)
        }
    }
    Ok(())
}

fn system(linker: &mut Linker<Host>) -> Result<(), Error> {
    define! { linker,
        "get_current_time_nanoseconds" = |c, at: u32| {
            let time = c.data().time;
            write(&mut c, at, &time.to_le_bytes())?;
            Ok(OK)
        }
        "get_log_level" = |c, at: u32| {
            write(&mut c, at, &INFO.to_le_bytes())?;
            Ok(OK)
        }
        "log" = |c, level: u32, message: u32, size: u32| {
            let line = text(&c, message, size)?;
            if level > INFO {
                c.data_mut().errors.push(line);
            }
            Ok(OK)
        }
        "set_tick_period_milliseconds" = |c, _: u32| {
            Ok(OK)
        }
    }
    let wasi = "wasi_snapshot_preview1";
    linker.func_wrap(wasi, "clock_time_get", |mut c: Call, _: i32, _: i64, at: u32| {
        *c.data_mut().calls.entry("clock_time_get").or_default() += 1;
        let time = c.data().time;
        write(&mut c, at, &time.to_le_bytes())?;
        Ok::<i32, Error>(OK)
    })?;
    linker.func_wrap(wasi, "random_get", |mut c: Call, at: u32, size: u32| {
        let mut bytes = Vec::new();
        while bytes.len() < size as usize {
            let random = &mut c.data_mut().random;
            *random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            bytes.extend(random.to_be_bytes());
        }
        write(&mut c, at, &bytes[..size as usize])?;
        Ok::<i32, Error>(OK)
    })?;
    linker.func_wrap(wasi, "environ_sizes_get", |mut c: Call, count: u32, size: u32| {
        let bytes: usize = environment().iter().map(Vec::len).sum();
        write(&mut c, count, &(PROVIDER_KEYS.len() as u32).to_le_bytes())?;
        write(&mut c, size, &(bytes as u32).to_le_bytes())?;
        Ok::<i32, Error>(OK)
    })?;
    linker.func_wrap(wasi, "environ_get", |mut c: Call, mut pointers: u32, mut at: u32| {
        for variable in environment() {
            write(&mut c, pointers, &at.to_le_bytes())?;
            write(&mut c, at, &variable)?;
            pointers += 4;
            at += variable.len() as u32;
        }
        Ok::<i32, Error>(OK)
    })?;
    linker.func_wrap(wasi, "fd_write", |mut c: Call, _: i32, vectors: u32, count: u32, written: u32| {
        let mut total = 0;
        for at in 0..count {
            let vector = read(&c, vectors + 8 * at, 8)?;
            let number =
                |from: usize| u32::from_le_bytes(vector[from..from + 4].try_into().unwrap_or_default());
            let line = text(&c, number(0), number(4))?;
            c.data_mut().errors.push(line);
            total += number(4);
        }
        write(&mut c, written, &total.to_le_bytes())?;
        Ok::<i32, Error>(OK)
    })?;
    linker.func_wrap(wasi, "proc_exit", |_: Call, code: i32| Err::<(), Error>(Error::i32_exit(code)))?;
    Ok(())
}

fn environment() -> Vec<Vec<u8>> {
    PROVIDER_KEYS.iter().map(|(name, value)| format!("{name}={value}\0").into_bytes()).collect()
}

/// What else the module imports. The replay needs none of it, so a call is an error.
fn others(linker: &mut Linker<Host>, module: &Module) -> Result<(), Error> {
    for import in module.imports() {
        let (namespace, name) = (import.module(), import.name().to_owned());
        if let ExternType::Func(signature) = import.ty() {
            let call = name.clone();
            let defined = linker.func_new(namespace, &name, signature.clone(), move |_, _, _| {
                Err(Error::new(format!("the host of the replay does not have {call}")))
            });
            // Those above are defined already.
            drop(defined);
        }
    }
    Ok(())
}
