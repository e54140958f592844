//! Prints what a request and a chunk of a stream cost in the filter. With `--update` it writes the table that `make test`
//! compares with.

use counting::{replay, table};
use integration_tests::paths;

const USAGE: &str = "usage: counting [--update]";

fn main() {
    let update = match std::env::args().nth(1).as_deref() {
        None => false,
        Some("--update") => true,
        Some(_) => panic!("{USAGE}"),
    };
    let path = paths::wasm();
    let module = std::fs::read(&path).expect("the module can be read");
    let scenes = replay::count_all(&module).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    println!(
        "{} ({} bytes{})",
        path.display(),
        module.len(),
        if counting::optimized() { "" } else { ", built without wasm-opt" }
    );
    println!("{}", table::report(&scenes));
    if update {
        assert!(
            counting::optimized(),
            "the table is for a module that was built with wasm-opt. Run: make setup build"
        );
        std::fs::write(counting::table_path(), table::text(&scenes)).expect("the table is written");
        println!("written: counting/counts.txt");
    }
}
