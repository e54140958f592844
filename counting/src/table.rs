//! The committed table of counts, and how it is compared with what was counted.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::slice::from_ref;

use crate::replay::{CHUNK, Counts, Scene};

/// The command that writes the table.
pub const UPDATE: &str = "cargo run -q -p counting -- --update";

/// Counts may differ by this share without an update of the table.
const TOLERANCE: f64 = 0.03;

/// The table as text.
pub fn text(scenes: &[Scene]) -> String {
    let mut out = format!(
        "# What each stage of an exchange costs in the filter (docs/performance.md). `make test` compares.\n\
         # To update: {UPDATE}\n\
         # stage | WebAssembly instructions | allocations | bytes copied into the VM | holds? | host calls\n"
    );
    for scene in scenes {
        let _ = writeln!(out, "\n[{}]", scene.name);
        for (stage, counts) in &scene.stages {
            let _ = writeln!(out, "{}", line(stage, counts));
        }
    }
    out
}

/// For people: with totals.
pub fn report(scenes: &[Scene]) -> String {
    let mut out = String::new();
    for scene in scenes {
        let _ = writeln!(
            out,
            "\n{}\n  {:<16} {:>12} {:>11} {:>10}  {:>5}  host calls",
            scene.name, "", "instructions", "allocations", "copied", ""
        );
        let mut row = |name: &str, counts: &Counts| {
            let _ = writeln!(
                out,
                "  {name:<16} {:>12} {:>11} {:>10}  {:>5}  {:>2}{}",
                counts.instructions,
                counts.allocations,
                counts.copied,
                if counts.holds { "holds" } else { "" },
                counts.host_calls(),
                if counts.calls.is_empty() { String::new() } else { format!(": {}", calls(&counts.calls)) },
            );
        };
        for (stage, counts) in &scene.stages {
            row(stage, counts);
        }
        row(if scene.stage(CHUNK).is_some() { "without chunks" } else { "total" }, &scene.total());
    }
    out
}

fn line(stage: &str, counts: &Counts) -> String {
    format!(
        "{stage} | {} | {} | {} | {} | {}",
        counts.instructions,
        counts.allocations,
        counts.copied,
        if counts.holds { "holds" } else { "" },
        calls(&counts.calls)
    )
    .trim_end()
    .to_owned()
}

fn calls(calls: &BTreeMap<String, u64>) -> String {
    calls.iter().map(|(name, number)| format!("{name} {number}")).collect::<Vec<_>>().join(", ")
}

/// Reads a table.
pub fn parse(text: &str) -> Result<Vec<Scene>, String> {
    let mut scenes: Vec<Scene> = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            scenes.push(Scene { name: name.to_owned(), stages: Vec::new() });
            continue;
        }
        let stage = stage(line).ok_or_else(|| format!("not a line of the table: {line}"))?;
        scenes.last_mut().ok_or("a stage before the first [scene]")?.stages.push(stage);
    }
    Ok(scenes)
}

fn stage(line: &str) -> Option<(String, Counts)> {
    let mut fields = line.split('|').map(str::trim);
    let name = fields.next()?.to_owned();
    let mut number = || fields.next()?.parse().ok();
    let (instructions, allocations, copied) = (number()?, number()?, number()?);
    let holds = fields.next()? == "holds";
    let calls = fields.next()?.split(", ").filter(|call| !call.is_empty());
    let call = |call: &str| {
        let (name, number) = call.rsplit_once(' ')?;
        Some((name.to_owned(), number.parse().ok()?))
    };
    let calls = calls.map(call).collect::<Option<_>>()?;
    Some((name, Counts { instructions, allocations, copied, holds, calls }))
}

/// What differs between the table and what was counted: one line for each. Instructions are compared only if the module was
/// built as the one of the table.
pub fn differences(table: &[Scene], counted: &[Scene], instructions: bool) -> Vec<String> {
    let mut out = Vec::new();
    let empty = Scene { name: String::new(), stages: Vec::new() };
    for name in names(table, counted, |scene| vec![scene.name.clone()]) {
        let find = |scenes: &'_ [Scene]| {
            scenes.iter().find(|scene| scene.name == name).cloned().unwrap_or(empty.clone())
        };
        let (before, now) = (find(table), find(counted));
        let stages = |scene: &Scene| scene.stages.iter().map(|(stage, _)| stage.clone()).collect();
        for stage in names(from_ref(&before), from_ref(&now), stages) {
            let of = |scene: &Scene| scene.stage(&stage).cloned().unwrap_or_default();
            for difference in compare(&of(&before), &of(&now), instructions) {
                out.push(format!("{name}, {stage}: {difference}"));
            }
        }
    }
    out
}

/// The names in either, in order, each once.
fn names(left: &[Scene], right: &[Scene], of: impl Fn(&Scene) -> Vec<String>) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for name in left.iter().chain(right).flat_map(of) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

fn compare(before: &Counts, now: &Counts, instructions: bool) -> Vec<String> {
    let mut out = Vec::new();
    let mut number = |what: &str, before: u64, now: u64| {
        let change = now as f64 - before as f64;
        if change.abs() > before as f64 * TOLERANCE {
            let percent = if before == 0 {
                String::new()
            } else {
                format!(", {:+.1} %", change / before as f64 * 100.0)
            };
            out.push(format!("{what} {before} → {now} ({change:+}{percent})"));
        }
    };
    if instructions {
        number("instructions", before.instructions, now.instructions);
    }
    number("allocations", before.allocations, now.allocations);
    number("bytes copied", before.copied, now.copied);
    if before.holds != now.holds {
        out.push(format!("it {} what it gets", if now.holds { "holds" } else { "no longer holds" }));
    }
    let none = 0;
    for name in before.calls.keys().chain(now.calls.keys().filter(|name| !before.calls.contains_key(*name))) {
        let (before, now) = (before.calls.get(name).unwrap_or(&none), now.calls.get(name).unwrap_or(&none));
        if before != now {
            out.push(format!("host calls of {name} {before} → {now}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{differences, parse, report, text};
    use crate::replay::{CHUNK, Counts, Scene};

    fn scene(instructions: u64, allocations: u64, calls: &[(&str, u64)]) -> Vec<Scene> {
        let calls = calls.iter().map(|(name, number)| ((*name).to_owned(), *number)).collect();
        let counts = Counts { instructions, allocations, copied: 7, holds: allocations > 0, calls };
        vec![Scene {
            name: "a, b".to_owned(),
            stages: vec![("log".to_owned(), counts.clone()), (CHUNK.to_owned(), counts)],
        }]
    }

    #[test]
    fn a_table_is_read_as_it_was_written() {
        for scenes in [scene(1_000, 20, &[("log", 1), ("get_property", 2)]), scene(0, 0, &[])] {
            assert_eq!(parse(&text(&scenes)), Ok(scenes));
        }
        assert!(parse("log | 1 | 2 | 3 | | get_property 1").is_err(), "a stage without a scene");
        assert!(parse("[a]\nlog | 1 | 2 | 3 | | get_property").is_err(), "a call without a number");
    }

    #[test]
    fn three_percent_pass_and_more_does_not() {
        let table = scene(1_000, 100, &[("log", 1)]);
        assert_eq!(differences(&table, &scene(1_030, 97, &[("log", 1)]), true), Vec::<String>::new());
        let found = differences(&table, &scene(1_031, 96, &[("log", 1)]), true);
        assert_eq!(found.len(), 4);
        assert_eq!(found[0], "a, b, log: instructions 1000 → 1031 (+31, +3.1 %)");
        assert_eq!(found[1], "a, b, log: allocations 100 → 96 (-4, -4.0 %)");
        assert_eq!(differences(&table, &scene(9_999, 100, &[("log", 1)]), false), Vec::<String>::new());
    }

    #[test]
    fn one_host_call_more_or_another_one_is_a_difference() {
        let table = scene(1_000, 1, &[("get_property", 40)]);
        let found = differences(&table, &scene(1_000, 1, &[("get_property", 41), ("log", 1)]), true);
        assert_eq!(
            found[..2],
            ["a, b, log: host calls of get_property 40 → 41", "a, b, log: host calls of log 0 → 1"]
        );
    }

    #[test]
    fn a_stage_that_comes_or_goes_is_a_difference() {
        let table = scene(1_000, 1, &[("log", 1)]);
        assert!(!differences(&table, &[], true).is_empty());
        assert!(!differences(&[], &table, true).is_empty());
    }

    #[test]
    fn the_report_sums_up_an_exchange_without_its_later_chunks() {
        let text = report(&scene(1_000, 20, &[("log", 1)]));
        let total: Vec<&str> = text.lines().last().unwrap_or_default().split_whitespace().collect();
        assert_eq!(total, ["without", "chunks", "1000", "20", "7", "1:", "log", "1"]);
    }
}
