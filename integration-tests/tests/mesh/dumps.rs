//! `llm-failsafe check` with what the control planes print: it finds what they drop without a word.

use std::fs;

use integration_tests::provider::ScriptedProvider;
use llm_failsafe::base::WallTime;
use serde_json::Value;

use crate::gateway_objects::{Folder, filter, the, translation};

/// What `check` says about a dump. The file that Envoy watches is beside it.
pub fn check(dump: &str, filter: Option<&str>) -> Result<String, String> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("dump.json");
    fs::write(&file, dump).unwrap();
    if let Some(filter) = filter {
        fs::write(folder.path().join("filter.yaml"), filter).unwrap();
    }
    let arguments = ["check", "--config", file.to_str().unwrap()];
    llm_failsafe_cli::run(arguments, WallTime::default()).map_err(|failure| failure.to_string())
}

/// What `check` finds in the translated objects, without their patches that `is_dropped` says.
fn found(objects: &[Value], is_dropped: impl Fn(&Value) -> bool) -> String {
    let mut objects = objects.to_vec();
    for object in &mut objects {
        if object["kind"] == "EnvoyPatchPolicy" {
            object["spec"]["jsonPatches"].as_array_mut().unwrap().retain(|patch| !is_dropped(patch));
        }
    }
    let dump = translation(&objects).to_string();
    check(&dump, Some(&filter(&objects))).unwrap_or_else(|mistakes| mistakes)
}

#[tokio::test]
async fn a_patch_that_is_dropped_is_found() {
    let [openai, other] = [ScriptedProvider::start("openai").await, ScriptedProvider::start("other").await];
    let objects = Folder::new([&openai, &other], &[]).objects();
    let good = found(&objects, |_| false);
    assert!(good.starts_with("good: 2 models, 3 targets") && !good.contains("lacks"), "{good}");
    let mut silent = Vec::new();
    for policy in ["llm-failsafe-additions", "llm-failsafe-edge"] {
        for patch in the(&objects, "EnvoyPatchPolicy", policy)["spec"]["jsonPatches"].as_array().unwrap() {
            let report = found(&objects, |it| it == patch);
            if report == good {
                silent.push(patch["operation"]["path"].to_string());
            }
        }
    }
    assert_eq!(silent, Vec::<String>::new());
}
