//! Counts what a request costs in the filter. It runs the built module in an interpreter, with a host made of memory that
//! replays the bench's traffic. The counts do not depend on the machine or on its load.
//!
//! `docs/performance.md` explains what is counted and how to use it.

mod host;
pub mod instrument;
pub mod replay;
pub mod table;

use std::path::PathBuf;

use integration_tests::paths;

/// The committed table.
pub fn table_path() -> PathBuf {
    paths::root().join("counting/counts.txt")
}

/// Whether the module was built with wasm-opt. `scripts/build.sh` then writes the functions' names next to it.
pub fn optimized() -> bool {
    paths::wasm_path().with_extension("symbols").is_file()
}

/// The module without logic.
pub fn floor_path() -> PathBuf {
    paths::root().join("dist/floor.wasm")
}
