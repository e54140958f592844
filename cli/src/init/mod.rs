//! Writes an Envoy configuration from a few answers.
//!
//! - `wish`: what the command line or the answers say; `questions` asks for what is missing.
//! - `grammar`: reads providers, models and addresses, and makes the description of them.
//! - `examples`: the descriptions of the shipped files.
//! - `description`: what a gateway consists of. Every name is there once.
//! - `plugin`, `clusters`, `envoy_file`, `live`, `kubernetes`: the text of the files. The shipped `envoy/envoy.yaml` and
//!   `envoy/single.yaml` are the templates: a part that depends on the description replaces the same part of the shipped
//!   example. So a test can require that the shipped description gives the shipped file.
//! - `files`: writes them.

mod clusters;
mod description;
mod envoy_file;
mod examples;
mod files;
mod grammar;
mod kubernetes;
mod live;
#[cfg(test)]
mod playground;
mod plugin;
mod questions;
mod wish;
mod yaml;

use std::io::{self, IsTerminal as _};

use llm_failsafe::config;

use crate::Failure;
use crate::keys;
pub use description::Manifests;
use description::{Description, NamedDigest, Secret};
use files::NewFile;
pub use wish::Wish;

/// Writes the files and says what to do next.
pub fn run(wish: Wish) -> Result<String, Failure> {
    let wish = if wish.is_complete() {
        wish
    } else if io::stdin().is_terminal() {
        questions::complete(wish, &mut io::stdin().lock(), &mut io::stderr()).map_err(Failure::Input)?
    } else {
        return Err(Failure::Usage(
            "error: --provider and --model are needed. On a terminal `llm-failsafe init` asks for them.\n\n\
             For more information, try '--help'."
                .to_owned(),
        ));
    };
    written(&wish).map_err(Failure::Input)
}

fn written(wish: &Wish) -> Result<String, String> {
    let mut description = grammar::describe(wish)?;
    let mut new = String::new();
    for (names, place, what) in [
        (&wish.keys, &mut description.keys, "client key"),
        (&wish.operators, &mut description.operators, "operator's key"),
    ] {
        for name in names {
            let (key, sha256) = keys::generate()?;
            new.push_str(&format!("\nThe {what} `{name}`. It is shown only now:\n  {key}\n"));
            place.push(NamedDigest { name: name.clone(), sha256 });
        }
    }
    is_accepted(&description)?;
    let files = of(&description);
    files::write(&wish.folder(), &files, wish.force)?;
    Ok(format!("{}{new}\n{}", listed(wish, &files), next(wish, &description)))
}

/// The files of this description, relative to their folder.
fn of(description: &Description) -> Vec<NewFile> {
    if let Some(kubernetes) = &description.kubernetes {
        kubernetes::files(description, kubernetes)
    } else if description.live {
        live::files(description)
    } else {
        vec![NewFile::new(&description.file_name(), envoy_file::text(description))]
    }
}

/// Asks the filter itself whether it accepts the names, and what they refer to.
fn is_accepted(description: &Description) -> Result<(), String> {
    let text = plugin::text(description);
    let tree: serde_json::Value = serde_yaml_ng::from_str(&text).map_err(|error| error.to_string())?;
    let loaded = config::load(tree.to_string().as_bytes(), &|_| Some("unset".to_owned()));
    loaded.map(drop).map_err(|mistakes| mistakes.to_string())
}

fn listed(wish: &Wish, files: &[NewFile]) -> String {
    let folder = wish.folder();
    files.iter().fold("Written:\n".to_owned(), |text, file| {
        format!("{text}  {}\n", folder.join(&file.name).display())
    })
}

/// The commands that follow.
fn next(wish: &Wish, description: &Description) -> String {
    let shown = wish.output().display().to_string();
    if let Some(kubernetes) = &description.kubernetes {
        return next_in_kubernetes(kubernetes.manifests, &shown, description);
    }
    let config = if description.live { wish.folder().join("envoy.yaml") } else { wish.output() };
    let start = if description.live {
        let files: Vec<_> = description
            .accounts
            .iter()
            .filter(|account| account.secret == Secret::File)
            .map(|account| format!("  {shown}/{}", live::key_file(&account.name)))
            .collect();
        let write = match files.as_slice() {
            [] => String::new(),
            files => format!("Write the providers' keys into\n{}\n\n", files.join("\n")),
        };
        format!("{write}Then check and start it:\n  {}", for_shell(&format!("{shown}/start.sh")))
    } else {
        format!(
            "Then check and start it:\n  llm-failsafe check --config {}\n  {}",
            for_shell(&config.display().to_string()),
            envoy_file::start(description)
        )
    };
    format!(
        "{start}\n\nAsk it what is wrong:\n  llm-failsafe doctor http://{}",
        description.listen.for_clients()
    )
}

fn next_in_kubernetes(manifests: Manifests, shown: &str, description: &Description) -> String {
    let (apply, inside) = match manifests {
        Manifests::Kustomize | Manifests::IstioGateway => {
            (format!("kubectl -n llm apply -k {}", for_shell(shown)), shown.to_owned())
        }
        Manifests::Helm => {
            (format!("helm -n llm install llm-failsafe {}", for_shell(shown)), format!("{shown}/files"))
        }
        Manifests::IstioSidecar => {
            let add = format!(
                "kubectl apply -k .    # with a kustomization.yaml that has the resource {shown} and the component {shown}/workload"
            );
            (add, shown.to_owned())
        }
        Manifests::EnvoyGateway => (format!("kubectl apply -k {}", for_shell(shown)), shown.to_owned()),
    };
    let has_keys = description.accounts.iter().any(|account| account.secret != Secret::None);
    // The objects for Envoy Gateway name their namespaces.
    let kubectl = if manifests == Manifests::EnvoyGateway { "kubectl" } else { "kubectl -n llm" };
    let write = if has_keys {
        let example = for_shell(&format!("{inside}/keys.example.yaml"));
        format!(
            "Write the providers' keys into a copy, outside of version control, and make the Secret `{}` of it:\n  \
             (umask 077 && cp {example} keys.yaml)\n  {kubectl} apply --server-side -f keys.yaml\n\n",
            kubernetes::KEYS_SECRET
        )
    } else {
        String::new()
    };
    let page = match manifests {
        Manifests::IstioSidecar | Manifests::IstioGateway => "istio",
        Manifests::EnvoyGateway => "envoy-gateway",
        Manifests::Kustomize | Manifests::Helm => "kubernetes",
    };
    format!(
        "{write}Then check and start it, here in the namespace `llm`:\n  llm-failsafe check --config {}\n  {apply}\n\n\
         docs/{page}.md says how to see that it works, and how to change it.",
        for_shell(&inside)
    )
}

/// A path as a word of a shell.
fn for_shell(path: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "/._-+:@%=,".contains(c);
    if !path.is_empty() && path.chars().all(is_plain) {
        return path.to_owned();
    }
    format!("'{}'", path.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests;
