//! Reads and changes a WebAssembly module, as far as tests need it.

const EXPORTS: u8 = 7;
const IMPORTS: u8 = 2;
const CODE: u8 = 10;
const FUNCTION: u8 = 0;

/// Reads a LEB128 number.
fn number(module: &[u8], at: &mut usize) -> usize {
    let (mut value, mut shift) = (0, 0);
    loop {
        let byte = module[*at];
        *at += 1;
        value |= usize::from(byte & 0x7f) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            return value;
        }
    }
}

fn name<'m>(module: &'m [u8], at: &mut usize) -> &'m [u8] {
    let length = number(module, at);
    *at += length;
    &module[*at - length..*at]
}

/// The offset of a section's contents.
fn section(module: &[u8], wanted: u8) -> usize {
    let mut at = 8;
    loop {
        let kind = module[at];
        at += 1;
        let length = number(module, &mut at);
        if kind == wanted {
            return at;
        }
        at += length;
    }
}

/// The exported functions: their names and indices.
///
/// # Panics
/// If the bytes are no module with exports.
pub fn exports(module: &[u8]) -> Vec<(String, usize)> {
    let mut at = section(module, EXPORTS);
    let mut functions = Vec::new();
    for _ in 0..number(module, &mut at) {
        let name = String::from_utf8_lossy(name(module, &mut at)).into_owned();
        let kind = module[at];
        at += 1;
        let index = number(module, &mut at);
        if kind == FUNCTION {
            functions.push((name, index));
        }
    }
    functions
}

/// Overwrites the body of an exported function with a trap.
///
/// # Panics
/// If the module does not export the function, or imports anything but functions.
pub fn trap(module: &mut [u8], export: &str) {
    let mut at = section(module, IMPORTS);
    let imported = number(module, &mut at);
    for _ in 0..imported {
        name(module, &mut at);
        name(module, &mut at);
        assert_eq!(module[at], FUNCTION, "only functions are imported");
        at += 1;
        number(module, &mut at);
    }
    let exports = exports(module);
    let function = exports.iter().find(|(name, _)| name == export);
    let (_, function) = function.unwrap_or_else(|| panic!("{export} is not exported"));
    let mut at = section(module, CODE);
    number(module, &mut at);
    for _ in imported..*function {
        let length = number(module, &mut at);
        at += length;
    }
    let length = number(module, &mut at);
    let body = &mut module[at..at + length];
    let (no_locals, unreachable, nop, end) = (0x00, 0x00, 0x01, 0x0b);
    body.fill(nop);
    body[0] = no_locals;
    body[1] = unreachable;
    body[length - 1] = end;
}
