//! What the user wants, as written.

use std::path::{Path, PathBuf};

use super::description::Manifests;

/// The command line of `init`, or the answers to its questions.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Wish {
    /// Providers: `NAME`, `NAME=VARIABLE,…` or `NAME=URL,VARIABLE,…`.
    pub providers: Vec<String>,
    /// Models: `NAME=PROVIDER/MODEL,…`.
    pub models: Vec<String>,
    /// Whether it is an ordinary listener instead of the retry loop.
    pub single: bool,
    /// Whether keys and configuration come from files that Envoy watches.
    pub live: bool,
    /// What applies the manifests, if it runs in Kubernetes.
    pub kubernetes: Option<Manifests>,
    /// The image with the module, for Kubernetes.
    pub module_image: Option<String>,
    /// Names of client keys to make.
    pub keys: Vec<String>,
    /// Names of operators' keys to make.
    pub operators: Vec<String>,
    /// Where clients connect.
    pub listen: String,
    /// Where Envoy's admin interface listens.
    pub admin: String,
    /// Where probes connect; `None` for the clients' host and port 10001.
    pub probes: Option<String>,
    /// The filter's module.
    pub module: String,
    /// The file, or the folder.
    pub output: Option<PathBuf>,
    /// Whether files may be replaced.
    pub force: bool,
}

impl Wish {
    /// Whether nothing has to be asked.
    pub fn is_complete(&self) -> bool {
        !self.providers.is_empty() && !self.models.is_empty()
    }

    /// Whether a folder is written, and not only one file.
    pub fn is_folder(&self) -> bool {
        self.live || self.kubernetes.is_some()
    }

    /// The file, or the folder.
    pub fn output(&self) -> PathBuf {
        let usual = if self.is_folder() { "gateway" } else { "envoy.yaml" };
        self.output.clone().unwrap_or_else(|| usual.into())
    }

    /// The folder of the files.
    pub fn folder(&self) -> PathBuf {
        if self.is_folder() {
            return self.output();
        }
        self.output().parent().map(Path::to_path_buf).unwrap_or_default()
    }
}
