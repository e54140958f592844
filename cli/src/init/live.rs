//! The folder of a gateway whose keys and configuration change while it runs, in files that Envoy watches.

use super::clusters;
use super::description::{Account, Description, Secret};
use super::envoy_file;
use super::files::NewFile;
use super::yaml;

/// The folder with the providers' keys.
pub const KEYS: &str = "keys";
/// What stands in a file until somebody writes the key. start.sh looks for it.
pub const PLACEHOLDER: &str = "WRITE THE KEY HERE";

const FILTER_START: &str = "          - name: llm-failsafe\n";
const FILTER_CONFIG: &str = "            typed_config:\n";
const FILTER_END: &str = "          - name: envoy.filters.http.router\n";

/// The module as Envoy finds it in a pod.
pub const MODULE_IN_POD: &str = "/opt/llm-failsafe/plugin.wasm";
/// The cluster that leads to Envoy's own metrics.
pub const ADMIN_CLUSTER: &str = "envoy-admin";

const FILTER_HEAD: &str =
    "# The filter and its configuration. Envoy reads this file again when a file is renamed in its folder. It
# keeps the old configuration if the new one has a mistake (docs/live-changes.md).
resources:
- \"@type\": type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig
  name: llm-failsafe
";

const START: &str = include_str!("start.sh");
const ENTRYPOINT: &str = include_str!("../../../envoy/entrypoint.sh");

/// The key file of an account.
pub fn key_file(account: &str) -> String {
    format!("{KEYS}/{account}.yaml")
}

/// All files of the folder of a gateway on a machine.
pub fn files(description: &Description) -> Vec<NewFile> {
    let mut files = configuration(description);
    files.push(NewFile::new("start.sh", START.to_owned()).executable());
    let injected = description.accounts.iter().filter(|account| account.secret == Secret::File);
    files.extend(
        injected.map(|account| NewFile::new(&key_file(&account.name), key(description, account)).secret()),
    );
    files
}

/// The files that are the same for every account: Envoy's, the filter's, and the entry point.
pub fn configuration(description: &Description) -> Vec<NewFile> {
    // Each volume of a pod is a folder, and Envoy watches the filter's.
    let folder = if description.has_pods() { "filter" } else { "." };
    let (envoy, filter) = split(&envoy_file::text(description), folder);
    vec![
        NewFile::new("envoy.yaml", envoy),
        NewFile::new(&filter_file(folder), filter),
        NewFile::new("entrypoint.sh", ENTRYPOINT.to_owned()).executable(),
    ]
}

/// The file with the filter.
pub fn filter(description: &Description) -> String {
    split(&envoy_file::text(description), ".").1
}

fn filter_file(folder: &str) -> String {
    if folder == "." { "filter.yaml".to_owned() } else { format!("{folder}/filter.yaml") }
}

/// What stands in the place of the filter, which is in a file of this folder.
pub fn discovery(folder: &str) -> String {
    format!(
        "          # The filter with its configuration is in a file that Envoy watches.
          - name: llm-failsafe
            config_discovery:
              type_urls: [type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm]
              config_source: {{ path_config_source: {{ path: {file}, watched_directory: {{ path: {folder} }} }} }}
",
        file = filter_file(folder),
    )
}

/// Moves the filter out of the Envoy file.
fn split(text: &str, folder: &str) -> (String, String) {
    let at = |part: &str, from: usize| {
        let found = text.get(from..).and_then(|rest| rest.find(part));
        from + found.unwrap_or_else(|| unreachable!("the Envoy file has {part}"))
    };
    let start = at(FILTER_START, 0);
    let config = at(FILTER_CONFIG, start);
    let end = at(FILTER_END, config);
    // From the depth of a filter to that of a resource.
    let filter = text[config..end]
        .lines()
        .map(|line| format!("{}\n", line.strip_prefix("          ").unwrap_or(line)));
    let filter = FILTER_HEAD.to_owned() + &filter.collect::<String>();
    (format!("{}{}{}", &text[..start], discovery(folder), &text[end..]), filter)
}

fn key(description: &Description, account: &Account) -> String {
    format!(
        "# The key of the account `{}`. To replace it, write a new file and rename it to this one
# (docs/live-changes.md).
{}",
        account.name,
        secret(description, account)
    )
}

/// The secret of an account, with a place for the key.
pub fn secret(description: &Description, account: &Account) -> String {
    let provider = description.providers.iter().find(|provider| provider.name == account.provider);
    let before = provider.map_or("", |provider| clusters::credential(provider.kind).1);
    format!(
        "resources:
- \"@type\": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret
  name: {}
  generic_secret: {{ secret: {{ inline_string: \"{before}{PLACEHOLDER}\" }} }}
",
        yaml::text(&account.name),
    )
}
