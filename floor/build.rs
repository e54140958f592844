//! Turns the table of the filter's counts into the calls that this module makes, so that both make the same ones.

// A build script learns where to write from the environment.
#![allow(clippy::disallowed_methods)]

use std::fmt::Write as _;
use std::{env, fs, path::Path};

const TABLE: &str = "../counting/counts.txt";
/// The scenes of the table and the names of their constants.
const SCENES: [(&str, &str); 4] = [
    ("chat request, one listener", "CHAT_SINGLE"),
    ("stream, one listener", "STREAM_SINGLE"),
    ("chat request, retry loop", "CHAT_LOOP"),
    ("stream, retry loop", "STREAM_LOOP"),
];

fn main() {
    println!("cargo:rerun-if-changed={TABLE}");
    let table = fs::read_to_string(TABLE).expect("the table of counts");
    let mut out = String::new();
    for (scene, name) in SCENES {
        let start = table.find(&format!("[{scene}]")).unwrap_or_else(|| panic!("{TABLE} has no [{scene}]"));
        let _ = writeln!(out, "const {name}: Scene = &[");
        for line in table[start..].lines().skip(1).take_while(|line| line.contains('|')) {
            let fields: Vec<&str> = line.split('|').map(str::trim).collect();
            let [stage, _, _, _, held, calls] = fields[..] else { panic!("{TABLE}: {line}") };
            let calls: Vec<String> = calls.split(", ").filter(|call| !call.is_empty()).map(call).collect();
            let _ = writeln!(out, "    ({stage:?}, {}, &[{}]),", held == "holds", calls.join(", "));
        }
        out.push_str("];\n");
    }
    let path = Path::new(&env::var("OUT_DIR").expect("cargo sets it")).join("calls.rs");
    fs::write(path, out).expect("the calls are written");
}

fn call(text: &str) -> String {
    let (name, number) = text.rsplit_once(' ').unwrap_or_else(|| panic!("{TABLE}: {text}"));
    format!("({name:?}, {number})")
}
