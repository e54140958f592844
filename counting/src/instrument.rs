//! Makes a built module count its instructions and allocations, without a special build: puts counters into its code.
//!
//! Instructions are counted exactly: each stretch of code without a branch or a branch's target begins with adding its length.
//! (The interpreter's own meter charges whole blocks, also what a branch skips.)

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;

use wasmparser::{ExternalKind, FunctionBody, Operator, Parser, Payload, TypeRef};

/// The exported globals with the numbers of executed instructions and of allocations.
pub const INSTRUCTIONS: &str = "counted_instructions";
pub const ALLOCATIONS: &str = "counted_allocations";
/// The export through which the host gets memory, so it calls the allocator.
pub const ALLOCATE: &str = "proxy_on_memory_allocate";

const GLOBAL_SECTION: u8 = 6;
const EXPORT_SECTION: u8 = 7;
const CODE_SECTION: u8 = 10;
/// A global: a 64-bit integer that can change and begins as zero.
const ZERO: &[u8] = &[0x7e, 0x01, 0x42, 0x00, 0x0b];

/// What the search and the change need to know of a module.
#[derive(Default)]
struct Layout<'a> {
    sections: Vec<(u8, Range<usize>)>,
    imported: u32,
    globals: u32,
    exports: BTreeMap<&'a str, u32>,
    bodies: Vec<FunctionBody<'a>>,
}

/// The module with counters. Instructions that make no code (`block`, `loop`, `else`, `end`, `nop`, `drop`) do not count. A new
/// block counts as an allocation, also one that a block moves to when it grows. A block that grows where it is does not.
pub fn with_counters(module: &[u8]) -> Result<Vec<u8>, String> {
    let layout = Layout::of(module).map_err(|error| error.to_string())?;
    let allocator = layout.allocator()?;
    let mut out = module.get(..8).ok_or("not a module")?.to_vec();
    for (id, range) in &layout.sections {
        let content = &module[range.clone()];
        let content = match *id {
            GLOBAL_SECTION => two_more(content, [ZERO, ZERO].concat())?,
            EXPORT_SECTION => {
                two_more(content, [layout.export(INSTRUCTIONS, 0), layout.export(ALLOCATIONS, 1)].concat())?
            }
            CODE_SECTION => layout.code(module, allocator).map_err(|error| error.to_string())?,
            _ => content.to_vec(),
        };
        out.push(*id);
        push_number(&mut out, content.len());
        out.extend(content);
    }
    Ok(out)
}

impl<'a> Layout<'a> {
    fn of(module: &'a [u8]) -> wasmparser::Result<Self> {
        let mut layout = Self::default();
        for payload in Parser::new(0).parse_all(module) {
            let payload = payload?;
            layout.sections.extend(payload.as_section());
            match payload {
                Payload::ImportSection(imports) => {
                    for import in imports {
                        layout.imported += u32::from(matches!(import?.ty, TypeRef::Func(_)));
                    }
                }
                Payload::GlobalSection(globals) => layout.globals = globals.count(),
                Payload::ExportSection(exports) => {
                    for export in exports {
                        let export = export?;
                        if export.kind == ExternalKind::Func {
                            layout.exports.insert(export.name, export.index);
                        }
                    }
                }
                Payload::CodeSectionEntry(body) => layout.bodies.push(body),
                _ => {}
            }
        }
        Ok(layout)
    }

    /// The functions that a function calls directly, and whether it makes the memory grow.
    fn looks(&self, function: u32) -> wasmparser::Result<(BTreeSet<u32>, bool)> {
        let mut calls = BTreeSet::new();
        let mut grows = false;
        let Some(body) = function.checked_sub(self.imported).and_then(|at| self.bodies.get(at as usize))
        else {
            return Ok((calls, false));
        };
        for operator in body.get_operators_reader()? {
            match operator? {
                Operator::Call { function_index } => drop(calls.insert(function_index)),
                Operator::MemoryGrow { .. } => grows = true,
                _ => {}
            }
        }
        Ok((calls, grows))
    }

    /// The allocator that the filter calls is the function with the most callers on the shortest way from the host's entrance to
    /// where the memory grows. What it calls itself, for blocks that it does not keep, has few.
    fn allocator(&self) -> Result<u32, String> {
        let entrance = *self.exports.get(ALLOCATE).ok_or(format!("the module does not export {ALLOCATE}"))?;
        let mut came_from = BTreeMap::from([(entrance, entrance)]);
        let mut next = VecDeque::from([entrance]);
        while let Some(function) = next.pop_front() {
            let (calls, grows) = self.looks(function).map_err(|error| error.to_string())?;
            if grows {
                let way = std::iter::successors(Some(function), |at| {
                    came_from.get(at).copied().filter(|from| from != at)
                });
                let callers = self.callers().map_err(|error| error.to_string())?;
                let callers = |at: &u32| callers.get(at).copied().unwrap_or_default();
                return way.max_by_key(callers).ok_or_else(|| "no allocator".to_owned());
            }
            for call in calls {
                came_from.entry(call).or_insert_with(|| {
                    next.push_back(call);
                    function
                });
            }
        }
        Err("no function makes the memory grow".to_owned())
    }

    /// How many functions call each one directly.
    fn callers(&self) -> wasmparser::Result<BTreeMap<u32, usize>> {
        let mut callers = BTreeMap::new();
        for function in (self.imported..).take(self.bodies.len()) {
            for call in self.looks(function)?.0 {
                *callers.entry(call).or_default() += 1;
            }
        }
        Ok(callers)
    }

    fn export(&self, name: &str, counter: u32) -> Vec<u8> {
        let mut entry = Vec::new();
        push_number(&mut entry, name.len());
        entry.extend(name.as_bytes());
        entry.push(0x03);
        push_number(&mut entry, (self.globals + counter) as usize);
        entry
    }

    /// The code section with counting code.
    fn code(&self, module: &[u8], allocator: u32) -> wasmparser::Result<Vec<u8>> {
        let mut out = Vec::new();
        push_number(&mut out, self.bodies.len());
        for (at, body) in (self.imported..).zip(&self.bodies) {
            let mut code = Vec::new();
            let range = body.range();
            let mut copied = range.start;
            for (start, length) in stretches(body)? {
                code.extend(&module[copied..start]);
                if at == allocator && copied == range.start {
                    code.extend(self.adding(1, 1));
                }
                if length > 0 {
                    code.extend(self.adding(0, length));
                }
                copied = start;
            }
            code.extend(&module[copied..range.end]);
            push_number(&mut out, code.len());
            out.extend(code);
        }
        Ok(out)
    }

    /// Code that adds to a counter: `global.get`, `i64.const`, `i64.add`, `global.set`.
    fn adding(&self, counter: u32, number: usize) -> Vec<u8> {
        let global = (self.globals + counter) as usize;
        let mut code = vec![0x23];
        push_number(&mut code, global);
        code.push(0x42);
        push_signed(&mut code, number);
        code.extend([0x7c, 0x24]);
        push_number(&mut code, global);
        code
    }
}

/// Where each stretch of code begins, and how many instructions it has. All of a stretch is executed, or nothing of it.
fn stretches(body: &FunctionBody) -> wasmparser::Result<Vec<(usize, usize)>> {
    let operators = body.get_operators_reader()?;
    let mut all = vec![(operators.original_position(), 0)];
    let mut ended = false;
    for operator in operators.into_iter_with_offsets() {
        let (operator, offset) = operator?;
        if std::mem::take(&mut ended) {
            all.push((offset, 0));
        }
        if let Some((_, length)) = all.last_mut() {
            *length += usize::from(!is_free(&operator));
        }
        ended = ends_stretch(&operator);
    }
    Ok(all)
}

fn is_free(operator: &Operator) -> bool {
    use Operator::{Block, Drop, Else, End, Loop, Nop};
    matches!(operator, Block { .. } | Loop { .. } | Else | End | Nop | Drop)
}

fn ends_stretch(operator: &Operator) -> bool {
    use Operator::{Br, BrIf, BrTable, Else, End, If, Loop, Return, Unreachable};
    matches!(
        operator,
        Loop { .. }
            | If { .. }
            | Else
            | End
            | Br { .. }
            | BrIf { .. }
            | BrTable { .. }
            | Return
            | Unreachable
    )
}

/// The content of a section with two more entries.
fn two_more(content: &[u8], new: Vec<u8>) -> Result<Vec<u8>, String> {
    let (entries, length) = number(content).ok_or("a section without entries")?;
    let mut out = Vec::new();
    push_number(&mut out, entries + 2);
    out.extend(&content[length..]);
    out.extend(new);
    Ok(out)
}

/// Reads an unsigned number (LEB128) and its length.
fn number(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut value = 0;
    for (at, byte) in bytes.iter().take(5).enumerate() {
        value |= usize::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Some((value, at + 1));
        }
    }
    None
}

fn push_number(out: &mut Vec<u8>, mut value: usize) {
    loop {
        let low = (value & 0x7f) as u8;
        value >>= 7;
        if value == 0 {
            return out.push(low);
        }
        out.push(low | 0x80);
    }
}

/// As [`push_number`], for a place where the number has a sign.
fn push_signed(out: &mut Vec<u8>, mut value: usize) {
    while value > 0x3f {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use wasmi::{Engine, Linker, Module, Store};

    use super::{INSTRUCTIONS, number, push_number, push_signed, two_more, with_counters};

    /// A module: `proxy_on_memory_allocate(n)` loops n times and then lets the memory grow.
    const MODULE: &[u8] = &[
        0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00, // magic, version
        0x01, 0x06, 0x01, 0x60, 0x01, 0x7f, 0x01, 0x7f, // type: (i32) -> i32
        0x03, 0x02, 0x01, 0x00, // one function
        0x05, 0x03, 0x01, 0x00, 0x01, // memory
        0x06, 0x06, 0x01, 0x7f, 0x01, 0x41, 0x00, 0x0b, // one global
        0x07, 0x1c, 0x01, 0x18, // one export
        b'p', b'r', b'o', b'x', b'y', b'_', b'o', b'n', b'_', b'm', b'e', b'm', b'o', b'r', b'y', b'_', b'a',
        b'l', b'l', b'o', b'c', b'a', b't', b'e', 0x00, 0x00, //
        0x0a, 0x1e, 0x01, 0x1c, 0x00, // one body without locals
        0x03, 0x40, // loop
        0x20, 0x00, 0x41, 0x7f, 0x6a, 0x22, 0x00, // n = n - 1
        0x0d, 0x00, // br_if 0
        0x0b, // end
        0x02, 0x40, 0x41, 0x00, 0x0d, 0x00, 0x41, 0x00, 0x40, 0x00, 0x1a,
        0x0b, // block: a branch that is not taken; grow
        0x41, 0x05, 0x0b, // 5
    ];

    fn counted(n: i32) -> i64 {
        let module = with_counters(MODULE).expect("a module");
        let engine = Engine::default();
        let module = Module::new(&engine, &module).expect("a valid module");
        let mut store = Store::new(&engine, ());
        let instance = Linker::new(&engine).instantiate_and_start(&mut store, &module).expect("an instance");
        let function = instance.get_typed_func::<i32, i32>(&store, super::ALLOCATE).expect("the function");
        assert_eq!(function.call(&mut store, n).expect("no trap"), 5, "the result is as before");
        let get = |name| {
            instance.get_global(&store, name).and_then(|global| global.get(&store).i64()).expect("a counter")
        };
        assert_eq!(get(super::ALLOCATIONS), 1);
        get(INSTRUCTIONS)
    }

    #[test]
    fn executed_instructions_are_counted_exactly() {
        // Five in each pass of the loop, four after it (the drop is free), and the last constant.
        assert_eq!(counted(1), 5 + 4 + 1);
        assert_eq!(counted(100), 500 + 4 + 1);
    }

    #[test]
    fn signed_numbers_keep_their_sign() {
        let bytes = |value| {
            let mut out = Vec::new();
            push_signed(&mut out, value);
            out
        };
        assert_eq!(
            [bytes(63), bytes(64), bytes(8_191), bytes(8_192)],
            [vec![63], vec![0xc0, 0], vec![0xff, 0x3f], vec![0x80, 0xc0, 0]]
        );
    }

    #[test]
    fn numbers_are_read_as_they_are_written() {
        for value in [0, 1, 127, 128, 300, 16_383, 16_384, 2_000_000] {
            let mut bytes = Vec::new();
            push_number(&mut bytes, value);
            assert_eq!(number(&bytes), Some((value, bytes.len())));
        }
        assert_eq!(number(&[0x80]), None);
    }

    #[test]
    fn a_section_gets_two_more_entries() {
        assert_eq!(two_more(&[1, 0xaa], vec![0xbb, 0xcc]), Ok(vec![3, 0xaa, 0xbb, 0xcc]));
        assert!(two_more(&[], vec![0xbb]).is_err());
    }
}
