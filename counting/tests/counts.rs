//! The built filter costs what `counting/counts.txt` says.

use counting::replay::{CHUNK, Scene, TICKS, TRANSLATED};
use counting::{floor_path, optimized, replay, table, table_path};
use integration_tests::paths;

#[test]
fn the_filter_costs_what_the_table_says() {
    let module = std::fs::read(paths::wasm()).expect("the module can be read");
    let counted = replay::count_all(&module).unwrap_or_else(|error| panic!("{error}"));
    let text = std::fs::read_to_string(table_path()).expect("the table can be read");
    let expected = table::parse(&text).unwrap_or_else(|error| panic!("{error}"));
    let optimized = optimized();
    if !optimized {
        println!("built without wasm-opt: instructions not compared");
    }
    let found = table::differences(&expected, &counted, optimized);
    assert!(
        found.is_empty(),
        "the filter's cost has changed:\n  {}\nIf that is intended, say why in the commit, and update the table: {}",
        found.join("\n  "),
        table::UPDATE,
    );
}

#[test]
fn two_runs_count_the_same() {
    let module = std::fs::read(paths::wasm()).expect("the module can be read");
    assert_eq!(replay::count(&module), replay::count(&module));
}

/// `make bench` shows what the host calls alone cost. For that the module without logic has to make the same ones.
#[test]
fn the_floor_makes_the_filters_host_calls() {
    let floor = std::fs::read(floor_path()).expect("dist/floor.wasm is there. Run: scripts/build-floor.sh");
    let calls_only = |mut scenes: Vec<Scene>| {
        scenes.retain(|scene| scene.name != TRANSLATED);
        for scene in &mut scenes {
            let of_stream = [CHUNK, "first content", "[DONE]"];
            // The floor does not tell the other stages of a stream from those of a chat request, and all ticks are alike.
            scene.stages.retain(|(stage, _)| {
                stage != TICKS[0] && (scene.name.starts_with("chat") || of_stream.contains(&stage.as_str()))
            });
            for (_, counts) in &mut scene.stages {
                (counts.instructions, counts.allocations, counts.copied) = (0, 0, 0);
            }
        }
        scenes
    };
    let text = std::fs::read_to_string(table_path()).expect("the table can be read");
    let filter = calls_only(table::parse(&text).unwrap_or_else(|error| panic!("{error}")));
    let floor = calls_only(replay::count(&floor).unwrap_or_else(|error| panic!("{error}")));
    let found = table::differences(&filter, &floor, false);
    assert!(
        found.is_empty(),
        "the floor differs from the table that it is built from. Run: scripts/build-floor.sh\n  {}",
        found.join("\n  "),
    );
}
