//! What a gateway consists of. Names of clusters, variables and accounts are here once, and every file is made of them.

use llm_failsafe::provider::ProviderKind;

/// A gateway.
#[derive(Debug, Clone)]
pub struct Description {
    /// Whether failed attempts are repeated within a request.
    pub in_loop: bool,
    /// What the file says of itself instead of how to start it: lines of a comment.
    pub purpose: Option<&'static str>,
    /// Whether keys and the filter's configuration come from files that Envoy watches.
    pub live: bool,
    /// What runs it in Kubernetes. Then it is `live`, too.
    pub kubernetes: Option<Kubernetes>,
    /// The Envoy file as the command that starts Envoy names it.
    pub file: String,
    /// The filter's module as Envoy finds it.
    pub module: String,
    /// Where clients connect.
    pub listen: Socket,
    /// Where Envoy's admin interface listens.
    pub admin: Socket,
    /// Where probes connect.
    pub probes: Socket,
    pub providers: Vec<Provider>,
    pub accounts: Vec<Account>,
    pub targets: Vec<Target>,
    pub models: Vec<Model>,
    /// Keys of clients.
    pub keys: Vec<NamedDigest>,
    /// Keys of operators.
    pub operators: Vec<NamedDigest>,
}

/// How a gateway runs in Kubernetes.
#[derive(Debug, Clone)]
pub struct Kubernetes {
    pub manifests: Manifests,
    /// The image with the module, as nodes pull it.
    pub module_image: String,
}

/// What applies the manifests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manifests {
    Kustomize,
    Helm,
    /// Istio, in the sidecars of the applications.
    IstioSidecar,
    /// Istio, in a gateway of its own.
    IstioGateway,
    EnvoyGateway,
}

/// What names of clusters and listeners begin with where other people's are beside them.
const PREFIX: &str = "llm-failsafe-";

/// A host and a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Socket {
    /// Without the brackets of an IPv6 address.
    pub host: String,
    pub port: u16,
}

/// A provider, and the server that its clusters lead to.
#[derive(Debug, Clone)]
pub struct Provider {
    pub name: String,
    pub kind: ProviderKind,
    pub server: Socket,
    pub tls: bool,
    /// The host to call, if it is not the kind's own.
    pub host: Option<String>,
    /// The path before the operation, if it is not the kind's own.
    pub path_prefix: Option<String>,
}

/// A credential at a provider.
#[derive(Debug, Clone)]
pub struct Account {
    pub name: String,
    /// The provider's name.
    pub provider: String,
    pub secret: Secret,
}

/// Where the key of an account comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Secret {
    /// There is none.
    None,
    /// The environment variable with this name.
    Variable(String),
    /// A file that Envoy watches.
    File,
}

/// A model of an account.
#[derive(Debug, Clone)]
pub struct Target {
    pub name: String,
    pub account: String,
    pub model: String,
    pub weight: Option<u32>,
}

/// A name that clients send.
#[derive(Debug, Clone)]
pub struct Model {
    pub name: String,
    /// Names of targets.
    pub tiers: Vec<Vec<String>>,
    /// Whether a conversation stays at its account, where its prompt is cached.
    pub sticky: bool,
}

/// The digest of a key.
#[derive(Debug, Clone)]
pub struct NamedDigest {
    pub name: String,
    pub sha256: String,
}

impl Manifests {
    /// The names on the command line.
    pub const NAMES: [&str; 5] = ["kustomize", "helm", "istio-sidecar", "istio-gateway", "envoy-gateway"];

    /// The one with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "kustomize" => Some(Self::Kustomize),
            "helm" => Some(Self::Helm),
            "istio-sidecar" => Some(Self::IstioSidecar),
            "istio-gateway" => Some(Self::IstioGateway),
            "envoy-gateway" => Some(Self::EnvoyGateway),
            _ => None,
        }
    }

    /// Whether a control plane configures Envoy. Then the gateway is added to what others have there.
    pub const fn is_mesh(self) -> bool {
        matches!(self, Self::IstioSidecar | Self::IstioGateway | Self::EnvoyGateway)
    }
}

impl Description {
    /// The variables with keys, without duplicates.
    pub fn variables(&self) -> Vec<&str> {
        let mut found = Vec::new();
        for account in &self.accounts {
            if let Secret::Variable(name) = &account.secret
                && !found.contains(&name.as_str())
            {
                found.push(name.as_str());
            }
        }
        found
    }

    /// Whether a control plane configures Envoy.
    pub fn is_in_mesh(&self) -> bool {
        self.kubernetes.as_ref().is_some_and(|kubernetes| kubernetes.manifests.is_mesh())
    }

    /// Whether Istio configures Envoy.
    pub fn is_in_istio(&self) -> bool {
        let manifests = self.kubernetes.as_ref().map(|kubernetes| kubernetes.manifests);
        matches!(manifests, Some(Manifests::IstioSidecar | Manifests::IstioGateway))
    }

    /// Whether the gateway has pods of its own, with an Envoy file.
    pub fn has_pods(&self) -> bool {
        self.kubernetes.is_some() && !self.is_in_mesh()
    }

    /// The name of a cluster or a listener, as Envoy knows it.
    pub fn in_envoy(&self, name: &str) -> String {
        let prefix = if self.is_in_mesh() { PREFIX } else { "" };
        format!("{prefix}{name}")
    }

    /// The accounts of a provider.
    pub fn accounts_of<'d>(&'d self, provider: &'d str) -> impl Iterator<Item = &'d Account> {
        self.accounts.iter().filter(move |account| account.provider == provider)
    }

    /// Whether each account of this provider has a cluster of its own.
    pub fn has_own_clusters(&self, provider: &str) -> bool {
        self.accounts_of(provider).any(|account| account.secret == Secret::File)
    }

    /// The Envoy file without its folder.
    pub fn file_name(&self) -> String {
        self.file.rsplit('/').next().unwrap_or_default().to_owned()
    }
}

impl Socket {
    /// As clients write it. What listens on all addresses is reached at the loopback address.
    pub fn for_clients(&self) -> String {
        let host = match self.host.as_str() {
            "0.0.0.0" => "127.0.0.1",
            "::" => "::1",
            host => host,
        };
        if host.contains(':') { format!("[{host}]:{}", self.port) } else { format!("{host}:{}", self.port) }
    }
}
