//! What ARCHITECTURE.md and the other pages say about the repository is true, and the configurations that they show work.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use integration_tests::{imports, paths};
use serde::Deserialize as _;
use serde_json::Value;

const BELOW_POLICIES: &[&str] = &["base", "request", "provider", "config", "translate"];
const POLICIES: &[&str] = &["breaker", "balance", "fallback", "ownership", "retry", "stream", "tenancy"];

/// The folders of `src`, lowest first, and what each may import. ARCHITECTURE.md shows the same table.
fn import_table() -> Vec<(&'static str, Vec<&'static str>)> {
    let mut table: Vec<(&'static str, Vec<&'static str>)> = vec![
        ("base", vec![]),
        ("request", vec!["base"]),
        ("provider", vec!["base"]),
        ("catalogue", vec!["base", "provider"]),
        ("translate", vec!["base", "request"]),
        ("config", vec!["base", "provider", "catalogue", "translate"]),
    ];
    table.extend(POLICIES.iter().map(|policy| (*policy, BELOW_POLICIES.to_vec())));
    table.push(("outcome", vec!["base", "provider", "retry", "stream"]));
    push_above_all(&mut table, "record");
    for (folder, allowed) in [
        ("generation", "base config breaker balance fallback record"),
        ("refusal", "base request provider fallback"),
        ("intake", "base request provider translate config balance fallback tenancy generation refusal"),
        ("survey", "base provider config breaker balance fallback retry outcome generation refusal intake"),
        ("admission", "base config breaker balance tenancy outcome record generation intake survey"),
        ("answer", "base request provider translate config retry stream"),
        (
            "attempt",
            "base request provider translate config balance retry stream outcome record generation intake survey \
             admission answer",
        ),
        ("queue", "base config breaker retry intake survey"),
        (
            "report",
            "base provider translate config breaker balance fallback retry tenancy outcome record generation refusal intake survey",
        ),
    ] {
        table.push((folder, allowed.split_whitespace().collect()));
    }
    push_above_all(&mut table, "journey");
    push_above_all(&mut table, "host");
    table
}

/// Adds a folder that may import every folder below it.
fn push_above_all(table: &mut Vec<(&'static str, Vec<&'static str>)>, folder: &'static str) {
    let below = table.iter().map(|(lower, _)| *lower).collect();
    table.push((folder, below));
}

/// The table as ARCHITECTURE.md shows it: the policies in one row, and a long list by its meaning.
fn import_rows() -> String {
    let table = import_table();
    let rows = table.iter().enumerate().filter_map(|(index, (folder, allowed))| {
        let (name, first) = match POLICIES.iter().position(|policy| policy == folder) {
            Some(place) => ("each policy", place == 0),
            None => (*folder, true),
        };
        let allowed = match allowed.len() {
            0 => "nothing".to_owned(),
            count if count == index && count > 4 => "everything above".to_owned(),
            _ => allowed.join(" "),
        };
        first.then(|| format!("{name:<11} <- {allowed}\n"))
    });
    rows.collect()
}

// ---- sources ----

#[test]
fn imports_follow_the_table() {
    let table = import_table();
    let mut wrong = Vec::new();
    for source in sources() {
        let Some(folder) = source.folder() else { continue };
        let allowed = table.iter().find(|(name, _)| *name == folder).map(|(_, allowed)| allowed);
        let allowed = allowed.unwrap_or_else(|| panic!("src/{folder} is not in the table of imports"));
        for (line, imported) in source.crate_paths() {
            if imported != folder && !allowed.contains(&imported.as_str()) {
                wrong.push(format!("{}:{line} imports {imported}", source.name));
            }
        }
        wrong.extend(
            source.ways_out().map(|line| format!("{}:{line} leaves its folder by `super`", source.name)),
        );
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The folders that are crates name each other by `crate::`, or where that is another module, by the crate's name.
#[test]
fn crates_of_src_depend_on_what_the_table_allows() {
    let mut found = 0;
    for (folder, allowed) in import_table() {
        let manifest = paths::root().join("src").join(folder).join("Cargo.toml");
        let Ok(manifest) = fs::read_to_string(manifest) else { continue };
        for line in manifest.lines() {
            let Some((needed, _)) =
                line.strip_prefix("llm-failsafe-").and_then(|line| line.split_once([' ', '.']))
            else {
                continue;
            };
            assert!(allowed.contains(&needed), "src/{folder}/Cargo.toml names {needed}");
            found += 1;
        }
    }
    assert!(found >= 5, "only {found} were found");
}

#[test]
fn no_files_of_src_import_each_other_in_a_circle() {
    let files = sources().into_iter().map(|source| (source.name.clone(), source.code_text())).collect();
    let circles: Vec<_> = imports::circles(&files).iter().map(|circle| circle.join(", ")).collect();
    assert!(circles.is_empty(), "these files import each other in a circle: {circles:#?}");
}

#[test]
fn the_import_table_has_one_direction_and_keeps_policies_apart() {
    let table = import_table();
    for (index, (folder, allowed)) in table.iter().enumerate() {
        let above = |name: &&&str| !table[..index].iter().any(|(lower, _)| lower == *name);
        let upwards: Vec<_> = allowed.iter().filter(above).collect();
        assert!(upwards.is_empty(), "{folder} may import {upwards:?}, which is not below it");
        if POLICIES.contains(folder) {
            assert!(!allowed.iter().any(|name| POLICIES.contains(name)), "{folder} may import a policy");
        }
    }
    let in_table: BTreeSet<_> = table.iter().map(|(folder, _)| (*folder).to_owned()).collect();
    assert_eq!(folders_of_src(), in_table, "the table of imports lists the folders of src");
}

#[test]
fn architecture_shows_the_import_table_and_every_folder() {
    let page = read("ARCHITECTURE.md");
    let table = import_rows();
    assert!(page.contains(&table), "ARCHITECTURE.md must contain\n{table}");
    for folder in folders_of_src() {
        assert!(page.contains(&format!("| `src/{folder}` |")), "the map lacks src/{folder}");
    }
}

#[test]
fn every_folder_has_a_module_comment() {
    for source in sources().iter().filter(|source| source.name.ends_with("/mod.rs")) {
        assert!(source.text.starts_with("//! "), "{} begins without a module doc", source.name);
    }
    for folder in folders_of_src() {
        assert!(
            paths::root().join("src").join(&folder).join("mod.rs").is_file(),
            "src/{folder} has no mod.rs"
        );
    }
}

#[test]
fn only_the_host_uses_envoy_the_clock_the_environment_and_raw_memory() {
    const FORBIDDEN: [&str; 11] = [
        "proxy_wasm",
        "SystemTime",
        "Instant",
        "env::var",
        "RandomState",
        "std::fs",
        "std::net",
        "std::thread",
        "std::process",
        "unsafe ",
        "unsafe_code",
    ];
    let mut wrong = Vec::new();
    for source in sources().iter().filter(|source| source.folder() != Some("host")) {
        for (number, line) in source.code() {
            wrong.extend(
                FORBIDDEN
                    .iter()
                    .filter(|word| line.contains(**word))
                    .map(|word| format!("{}:{number} has `{word}`", source.name)),
            );
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_file_of_integration_tests_is_a_module_of_its_root() {
    let folder = paths::root().join("integration-tests/tests");
    let root = fs::read_to_string(folder.join("main.rs")).unwrap();
    let declared: BTreeSet<_> = root
        .lines()
        .filter_map(|line| line.strip_prefix("mod ")?.strip_suffix(';'))
        .map(String::from)
        .collect();
    let mut found = BTreeSet::new();
    walk(&folder, &mut |path| {
        if path.extension().is_some_and(|extension| extension == "rs") {
            // A file `a.rs` and a file `a/mod.rs` are both the module `a`.
            let module = path.strip_prefix(&folder).unwrap().with_extension("");
            let module = module.to_str().unwrap().trim_end_matches("/mod");
            match module.split_once('/') {
                None => drop(found.insert(module.to_owned())),
                // The root of another test program.
                Some((_, "main")) => {}
                // A part of a module or of such a program, which declares it.
                Some((module, part)) => {
                    let program = folder.join(module).join("main.rs");
                    let root = if program.is_file() { program } else { folder.join(module).join("mod.rs") };
                    let whole = fs::read_to_string(root).unwrap();
                    let declaration = format!("mod {part};");
                    assert!(
                        whole.lines().any(|line| line == declaration),
                        "the root of {module} lacks `{declaration}`"
                    );
                }
            }
        }
    });
    found.remove("main");
    assert_eq!(declared, found, "integration-tests/tests/main.rs must declare every file of its folder");
}

// ---- documentation ----

#[test]
fn every_path_that_the_documentation_names_exists() {
    let root_entries =
        ["src/", "integration-tests/", "docs/", "envoy/", "deploy/", "scripts/", "fuzz/", ".ci/"];
    let extensions = [".rs", ".md", ".yaml", ".toml", ".sh", ".py"];
    let mut missing = Vec::new();
    for page in pages() {
        let text = read(&page);
        for span in code_spans(&text) {
            // Build output under `target` is not in the repository.
            let path_like = !span.contains(char::is_whitespace)
                && !span.starts_with("target/")
                && (root_entries.iter().any(|entry| format!("{span}/").starts_with(entry))
                    || extensions.iter().any(|extension| span.ends_with(extension)));
            if path_like && !paths::root().join(span).exists() {
                missing.push(format!("{page} names `{span}`"));
            }
        }
        let folder = paths::root().join(&page).parent().map(Path::to_path_buf).unwrap_or_default();
        for link in links(&text) {
            let file = link.split('#').next().unwrap_or_default();
            if !file.is_empty() && !file.contains("://") && !folder.join(file).exists() {
                missing.push(format!("{page} links to {link}"));
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
}

/// "`Type::function` (`src/file.rs`)" says where an item is.
#[test]
fn items_are_in_the_files_that_architecture_names_for_them() {
    let page = read("ARCHITECTURE.md");
    let parts: Vec<_> = page.split("```").step_by(2).flat_map(|text| text.split('`')).collect();
    let mut found = 0;
    for parts in parts.windows(3) {
        let [item, between, file] = parts[..] else { continue };
        if between.trim() != "(" || !file.ends_with(".rs") || item.contains('/') {
            continue;
        }
        let name = item.rsplit("::").next().unwrap_or(item);
        let words = ["fn", "struct", "enum"].map(|kind| format!("{kind} {name}"));
        let source = read(file);
        assert!(words.iter().any(|words| source.contains(words)), "{file} does not declare {item}");
        found += 1;
    }
    assert!(found >= 15, "only {found} were found");
}

#[test]
fn the_make_targets_that_the_documentation_names_exist() {
    let makefile = read("Makefile");
    let targets: BTreeSet<_> = makefile
        .lines()
        .filter_map(|line| line.split_once(": ").or_else(|| line.split_once(":")))
        .map(|(target, _)| target)
        .collect();
    for page in pages() {
        let text = read(&page);
        let in_blocks = text.lines().filter(|line| line.starts_with("make "));
        for command in code_spans(&text).into_iter().chain(in_blocks) {
            let words: Vec<_> = command.split_whitespace().skip_while(|word| word.contains('=')).collect();
            if let ["make", target, ..] = words[..] {
                assert!(targets.contains(target), "{page} names `make {target}`");
            }
        }
    }
}

#[test]
fn headers_and_metrics_that_the_documentation_names_are_in_the_code() {
    let code: String = sources().into_iter().map(|source| source.text).collect();
    for page in pages() {
        for span in code_spans(&read(&page)) {
            let name = span.split([':', ' ']).next().unwrap_or(span);
            if name.starts_with("x-llm-")
                && name.chars().all(|c| c.is_ascii_lowercase() || c == '-')
                && name != "x-llm-"
            {
                assert!(code.contains(&format!("\"{name}\"")), "{page} names the header `{name}`");
            }
            if name.starts_with("llm_failsafe_") && name.is_ascii() {
                let name = name.split(['{', ';']).next().unwrap_or(name);
                let known = llm_failsafe::record::Metric::ALL.iter().any(|metric| metric.name() == name)
                    || llm_failsafe::record::Family::ALL.iter().any(|family| family.name() == name);
                assert!(known, "{page} names the metric `{name}`");
            }
        }
    }
}

/// The table of metrics in the documentation is the catalogue with its own comments.
#[test]
fn the_documentation_explains_every_metric_as_the_catalogue_does() {
    let metrics = llm_failsafe::record::Metric::ALL;
    let meanings = meanings_of("src/record/metrics.rs", "catalogue! {", "\";");
    assert_eq!(meanings.len(), metrics.len(), "every metric of the catalogue has a comment");
    let plain = metrics.iter().zip(&meanings).map(|(metric, meaning)| {
        let kind = format!("{:?}", metric.kind()).to_lowercase();
        format!("| `{}` | {kind} | {meaning} |", metric.name())
    });
    let families = llm_failsafe::record::Family::ALL;
    let meanings = meanings_of("src/record/series.rs", "families! {", "];");
    assert_eq!(meanings.len(), families.len(), "every family of the catalogue has a comment");
    let labelled = families.iter().zip(&meanings).map(|(family, meaning)| {
        let kind = format!("{:?}", family.kind()).to_lowercase();
        let labels: Vec<_> =
            family.dims().iter().flat_map(|dim| dim.labels()).map(|label| format!("`{label}`")).collect();
        format!("| `{}` | {kind} | {} | {meaning} |", family.name(), labels.join(", "))
    });
    let rows: Vec<_> = plain.chain(labelled).collect();
    let page = read("docs/operations.md");
    let shown: Vec<_> = page.lines().filter(|line| line.starts_with("| `llm_failsafe_")).collect();
    assert_eq!(shown, rows, "docs/operations.md lists the catalogue:\n{}", rows.join("\n"));
}

/// The comment of each entry of a catalogue.
fn meanings_of(file: &str, begin: &str, end: &str) -> Vec<String> {
    let source = read(file);
    let (mut meanings, mut meaning) = (Vec::new(), Vec::new());
    for line in source.lines().map(str::trim).skip_while(|line| *line != begin) {
        match line.strip_prefix("/// ") {
            Some(words) => meaning.push(words),
            None if line.ends_with(end) && !meaning.is_empty() => {
                meanings.push(std::mem::take(&mut meaning).join(" "))
            }
            None if line == "}" => break,
            None => meaning.clear(),
        }
    }
    meanings
}

#[test]
fn the_shipped_files_tag_every_label_of_the_catalogue() {
    let mut labels: Vec<&str> = Vec::new();
    for label in
        llm_failsafe::record::Family::ALL.iter().flat_map(|family| family.dims()).flat_map(|dim| dim.labels())
    {
        if !labels.contains(label) {
            labels.push(label);
        }
    }
    labels.sort_unstable();
    for file in ["envoy/envoy.yaml", "envoy/single.yaml"] {
        let config: Value = serde_yaml_ng::from_str(&read(file)).unwrap();
        let tags = config["stats_config"]["stats_tags"].as_array().unwrap();
        let mut shipped: Vec<_> = tags.iter().map(|tag| tag["tag_name"].as_str().unwrap()).collect();
        shipped.sort_unstable();
        assert_eq!(shipped, labels, "{file}");
    }
}

#[test]
fn configurations_in_the_documentation_load_or_fail_as_shown() {
    let mut loaded = 0;
    for page in pages() {
        let text = read(&page);
        let blocks = code_blocks(&text);
        for (index, (language, block)) in blocks.iter().enumerate() {
            let Some(plugin) = plugin_configuration(language, block) else { continue };
            let said = blocks.get(index + 1).filter(|(_, next)| next.starts_with("the configuration has "));
            match (load(&plugin), said) {
                (Ok(_), None) => loaded += 1,
                (Err(mistakes), Some((_, shown))) => assert_eq!(mistakes.trim(), shown.trim(), "{page}"),
                (Err(mistakes), None) => panic!("{page}: {mistakes}\n{block}"),
                (Ok(_), Some(_)) => panic!("{page} shows mistakes where there are none:\n{block}"),
            }
        }
    }
    assert!(loaded >= 3, "README.md and docs/configuration.md show configurations, {loaded} were found");
}

#[test]
fn the_readme_shows_a_whole_configuration_for_the_loop() {
    let page = read("README.md");
    let blocks = code_blocks(&page);
    let plugin = blocks.iter().find_map(|(language, block)| plugin_configuration(language, block));
    let config = load(&plugin.expect("a configuration")).unwrap();
    assert!(config.retry_loop);
    assert!(config.model_named("chat").is_some());
}

// ---- shipped files ----

#[test]
fn shipped_configurations_load() {
    for (file, in_loop) in [("envoy/envoy.yaml", true), ("envoy/single.yaml", false)] {
        let config: Value =
            serde_yaml_ng::from_str(&read(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        let mut found = Vec::new();
        filters_in(&config, &mut found);
        assert_eq!(found.len(), 1, "{file} has one llm-failsafe filter");
        let plugin =
            load(&found[0]["configuration"]["value"]).unwrap_or_else(|error| panic!("{file}: {error}"));
        assert_eq!(plugin.retry_loop, in_loop, "{file}");
        let clusters = config["static_resources"]["clusters"].as_array().unwrap();
        for provider in plugin.providers() {
            let known = clusters.iter().any(|cluster| cluster["name"] == provider.cluster);
            assert!(known, "{file} has no cluster {}", provider.cluster);
        }
    }
}

#[test]
fn ci_runs_only_the_test_command_of_the_readme() {
    let script = read(".ci/run");
    let commands: Vec<_> = script
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .filter(|line| !line.starts_with("set ") && !line.starts_with("cd "))
        .collect();
    assert_eq!(commands, ["export CI=true", "exec make test </dev/null"]);
    assert!(read("README.md").contains("\nmake test "));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::metadata(paths::root().join(".ci/run")).unwrap().permissions().mode();
        assert_eq!(mode & 0o111, 0o111, ".ci/run is executable");
    }
}

// ---- reading sources ----

struct Source {
    /// From the root, such as `src/base/ids.rs`.
    name: String,
    text: String,
}

impl Source {
    /// Its folder in `src`; `None` for `src/lib.rs`.
    fn folder(&self) -> Option<&str> {
        self.name.strip_prefix("src/")?.split_once('/').map(|(folder, _)| folder)
    }

    /// Lines with their numbers, without comments.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self.text.lines().enumerate();
        lines.map(|(index, line)| (index + 1, line.split("//").next().unwrap_or_default()))
    }

    fn code_text(&self) -> String {
        self.code().flat_map(|(_, line)| [line, "\n"]).collect()
    }

    /// The first name of every path that begins at the crate's root.
    fn crate_paths(&self) -> Vec<(usize, String)> {
        let mut found = Vec::new();
        let code = self.code_text();
        for (at, _) in code.match_indices("crate::") {
            if code[..at].ends_with(|c: char| c.is_alphanumeric() || matches!(c, '_' | '$')) {
                continue;
            }
            let line = code[..at].matches('\n').count() + 1;
            let rest = &code[at + "crate::".len()..];
            found.extend(first_names(rest).into_iter().map(|name| (line, name)));
        }
        found
    }

    /// Lines with a chain of `super` that reaches the crate's root.
    fn ways_out(&self) -> impl Iterator<Item = usize> {
        let inner = self.name.trim_start_matches("src/").trim_end_matches(".rs").trim_end_matches("/mod");
        let depth = inner.split('/').count();
        // Unit tests in the file are one module deeper, so one more `super` is allowed.
        let tests_from = self.text.lines().position(|line| line.starts_with("mod tests {"));
        self.code().filter_map(move |(number, line)| {
            let in_tests = tests_from.is_some_and(|from| number > from);
            let chain = (1..=depth + 2).take_while(|count| line.contains(&"super::".repeat(*count))).count();
            (chain >= depth + usize::from(in_tests)).then_some(number)
        })
    }
}

/// The first names after `crate::`, which may be a group.
fn first_names(path: &str) -> Vec<String> {
    let word = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let Some(group) = path.strip_prefix('{') else { return vec![word(path)] };
    let (mut names, mut depth, mut item) = (Vec::new(), 0, String::new());
    for c in group.chars() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => names.push(word(std::mem::take(&mut item).trim())),
            _ => {}
        }
        if c != ',' || depth > 0 {
            item.push(c);
        }
    }
    names.push(word(item.trim()));
    names.retain(|name| !name.is_empty());
    names
}

fn sources() -> Vec<Source> {
    let root = paths::root();
    let mut found = Vec::new();
    walk(&root.join("src"), &mut |path| {
        if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
            found.push(Source { name, text: fs::read_to_string(path).unwrap() });
        }
    });
    assert!(found.len() > 20, "only {} sources were found", found.len());
    found
}

fn walk(folder: &Path, visit: &mut impl FnMut(&Path)) {
    let mut entries: Vec<PathBuf> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() { walk(&path, visit) } else { visit(&path) }
    }
}

fn folders_of_src() -> BTreeSet<String> {
    let entries = fs::read_dir(paths::root().join("src")).unwrap().map(Result::unwrap);
    let folders = entries.filter(|entry| entry.path().is_dir());
    folders.map(|entry| entry.file_name().into_string().unwrap()).filter(|name| name != "bin").collect()
}

// ---- reading pages ----

fn read(path: &str) -> String {
    fs::read_to_string(paths::root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn pages() -> Vec<String> {
    let mut pages: Vec<String> =
        ["README.md", "ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"]
            .map(String::from)
            .to_vec();
    walk(&paths::root().join("docs"), &mut |path| {
        if path.extension().is_some_and(|extension| extension == "md") {
            pages.push(path.strip_prefix(paths::root()).unwrap().to_str().unwrap().to_owned());
        }
    });
    pages
}

/// Language and text of every fenced block, without the indentation of its fence.
fn code_blocks(page: &str) -> Vec<(&str, String)> {
    let mut blocks = Vec::new();
    let mut open: Option<(&str, usize, String)> = None;
    for line in page.lines() {
        let indent = line.len() - line.trim_start().len();
        match (&mut open, line.trim_start().strip_prefix("```")) {
            (None, Some(language)) => open = Some((language, indent, String::new())),
            (Some(_), Some(_)) => blocks.extend(open.take().map(|(language, _, text)| (language, text))),
            (Some((_, indent, text)), None) => {
                text.push_str(line.get(*indent..).unwrap_or_default());
                text.push('\n');
            }
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a block is not closed");
    blocks
}

/// The text in single backticks outside fenced blocks.
fn code_spans(page: &str) -> Vec<&str> {
    let outside = page.split("```").step_by(2);
    outside.flat_map(|text| text.split('`').skip(1).step_by(2)).collect()
}

/// The targets of inline links.
fn links(page: &str) -> impl Iterator<Item = &str> {
    page.split("](").skip(1).filter_map(|rest| rest.split(')').next())
}

// ---- configurations ----

/// The filter's configuration in a block: the block itself, or the value of a Struct in it.
fn plugin_configuration(language: &str, block: &str) -> Option<Value> {
    let documents: Vec<Value> = match language {
        "yaml" => serde_yaml_ng::Deserializer::from_str(block)
            .map(|document| Value::deserialize(document).unwrap_or_else(|error| panic!("{error}\n{block}")))
            .collect(),
        "json" => vec![serde_json::from_str(block).unwrap_or_else(|error| panic!("{error}\n{block}"))],
        _ => return None,
    };
    documents.iter().find_map(|value| {
        let value = value.pointer("/configuration/value").unwrap_or(value);
        let has = |member: &&str| value.get(*member).is_some();
        ["providers", "targets", "models"].iter().all(has).then(|| value.clone())
    })
}

/// Loads it with every environment variable set, except for the one that the documentation shows as unset.
fn load(configuration: &Value) -> Result<llm_failsafe::config::Config, String> {
    let env = |name: &str| (name != "ANTHROPIC_KEY_B").then(|| "sk-test".to_owned());
    llm_failsafe::config::load(configuration.to_string().as_bytes(), &env)
        .map_err(|mistakes| mistakes.to_string())
}

fn filters_in(config: &Value, found: &mut Vec<Value>) {
    match config {
        Value::Object(members) => {
            if members.get("name").is_some_and(|name| name == "llm-failsafe")
                && members.contains_key("root_id")
            {
                found.push(config.clone());
            }
            members.values().for_each(|value| filters_in(value, found));
        }
        Value::Array(items) => items.iter().for_each(|item| filters_in(item, found)),
        _ => {}
    }
}
