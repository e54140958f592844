//! Reads an Envoy file: the few facts about listeners, routes and clusters that the filter depends on.
//!
//! [`Envoy::read`] takes the tree of a bootstrap file, or of a dump that looks like one, and makes no judgement. Each fact has the path at which it
//! is in the file. What Envoy gets from elsewhere (LDS, RDS, CDS) is not in the file, and the facts say so.

mod clusters;
mod discovery;
mod dump;
pub mod gateway;
pub mod istio;
mod listeners;
mod place;
mod routes;

use serde_json::Value;

pub use clusters::{Cluster, Destination, HTTP_OPTIONS};
pub use discovery::follow;
pub use dump::{Dump, Unused, dumps};
pub use listeners::{Address, Listener, Manager, Plugin};
use place::Place;
pub use routes::{Addition, Retry, Route, RouteTable, To, VirtualHost};

/// What Envoy buffers for a connection if the file does not say.
pub const DEFAULT_BUFFER_BYTES: u64 = 1024 * 1024;

/// An Envoy file.
#[derive(Debug)]
pub struct Envoy {
    /// The listeners in the file.
    pub listeners: Vec<Listener>,
    /// The clusters in the file.
    pub clusters: Vec<Cluster>,
    /// Whether Envoy gets clusters from elsewhere, too.
    pub more_clusters: bool,
    /// Whether Envoy gets listeners from elsewhere, too.
    pub more_listeners: bool,
    /// Whether internal listeners are enabled.
    pub has_internal_listeners: bool,
    /// Whether something bounds Envoy's memory.
    pub has_overload_manager: bool,
    /// The environment variables that the manifests around it set, if there are manifests.
    pub set_elsewhere: Option<Vec<String>>,
    /// Whether this is a dump and no file.
    pub is_dump: bool,
    /// Whether a control plane makes it, from a folder or in a dump, and not a person.
    pub is_made: bool,
    /// What leads clients of other machines to the edge, if it is not in the file.
    pub entrance: Option<&'static str>,
    /// What Envoy does not use, if this is a dump.
    pub unused: Vec<Unused>,
}

/// A place where the filter is, and the routes that lead there from other listeners of the file.
#[derive(Clone)]
pub struct Position<'e> {
    /// The listener.
    pub listener: &'e Listener,
    /// Its connection manager.
    pub manager: &'e Manager,
    /// The filter.
    pub plugin: &'e Plugin,
    /// The routes that lead there.
    pub ways: Vec<Way<'e>>,
}

/// A route that leads to the listener of the filter.
#[derive(Clone, Copy)]
pub struct Way<'e> {
    /// The listener that has the route.
    pub listener: &'e Listener,
    /// Its connection manager.
    pub manager: &'e Manager,
    /// The table that has the route.
    pub table: &'e RouteTable,
    /// The virtual host that has the route.
    pub host: &'e VirtualHost,
    /// The route.
    pub route: &'e Route,
    /// The cluster between the listeners.
    pub cluster: &'e Cluster,
}

impl Way<'_> {
    /// The retry policy: the route's own replaces that of its virtual host.
    pub fn retry(&self) -> Option<&Retry> {
        self.route.retry.as_ref().or(self.host.retry.as_ref())
    }

    /// Whether the retries are those that the filter asks for.
    pub fn retries_for_the_filter(&self) -> bool {
        self.retry().is_some_and(|retry| retry.headers.iter().any(|name| name == RETRY_HEADER))
    }
}

/// The header by which the filter asks the edge for another attempt.
pub const RETRY_HEADER: &str = "x-llm-retry";

impl Envoy {
    /// Whether this tree is an Envoy file.
    pub fn is_one(tree: &Value) -> bool {
        let root = Place::root(tree);
        root.field("static_resources").exists() || root.field("dynamic_resources").exists()
    }

    /// The facts in an Envoy file.
    pub fn read(tree: &Value) -> Self {
        let root = Place::root(tree);
        let resources = root.field("static_resources");
        let dynamic = root.field("dynamic_resources");
        let comes = |name| dynamic.field(name).exists();
        let extensions = root.field("bootstrap_extensions").items();
        let listeners: Vec<_> = resources.field("listeners").items().iter().map(Listener::read).collect();
        Self {
            more_clusters: comes("cds_config") || listeners.iter().any(Listener::gets_clusters),
            listeners,
            clusters: resources.field("clusters").items().iter().map(Cluster::read).collect(),
            more_listeners: comes("lds_config"),
            set_elsewhere: None,
            is_dump: false,
            is_made: false,
            entrance: None,
            unused: Vec::new(),
            has_overload_manager: root.field("overload_manager").exists(),
            has_internal_listeners: extensions
                .iter()
                .any(|extension| extension.field("typed_config").extension().1 == "InternalListener"),
        }
    }

    /// The facts in a dump.
    pub fn read_dump(dump: Dump) -> Self {
        Self { is_dump: true, is_made: true, unused: dump.unused, ..Self::read(&dump.file) }
    }

    /// The cluster with this name.
    pub fn cluster(&self, name: &str) -> Option<&Cluster> {
        self.clusters.iter().find(|cluster| cluster.name == name)
    }

    /// Clusters that lead to an internal listener that does not exist, with its name.
    pub fn dead_ends(&self) -> impl Iterator<Item = (&Cluster, &str)> {
        let exists = |name: &str| self.listeners.iter().any(|listener| listener.name == name);
        self.clusters.iter().filter(|_| !self.more_listeners).filter_map(move |cluster| {
            let mut internal = cluster.destinations.iter().filter_map(|destination| match destination {
                Destination::Internal(name) => Some(name.as_str()),
                Destination::Socket(..) => None,
            });
            Some((cluster, internal.find(|name| !exists(name))?))
        })
    }

    /// Every connection manager of the file, with its listener.
    pub fn managers(&self) -> impl Iterator<Item = (&Listener, &Manager)> {
        self.listeners
            .iter()
            .flat_map(|listener| listener.managers.iter().map(move |manager| (listener, manager)))
    }

    /// Every place where the filter is.
    pub fn positions(&self) -> Vec<Position<'_>> {
        let plugins = self.managers().flat_map(|(listener, manager)| {
            manager.plugins.iter().map(move |plugin| (listener, manager, plugin))
        });
        plugins
            .map(|(listener, manager, plugin)| Position {
                listener,
                manager,
                plugin,
                ways: self.ways_to(listener),
            })
            .collect()
    }

    fn ways_to(&self, to: &Listener) -> Vec<Way<'_>> {
        let mut ways = Vec::new();
        for (listener, manager) in self.managers() {
            let Some(table) = &manager.routes else { continue };
            for host in &table.hosts {
                for route in &host.routes {
                    let To::Clusters(names) = &route.to else { continue };
                    let clusters = names.iter().filter_map(|name| self.cluster(name));
                    let leading = clusters.filter(|cluster| cluster.leads_to(to));
                    ways.extend(leading.map(|cluster| Way {
                        listener,
                        manager,
                        table,
                        host,
                        route,
                        cluster,
                    }));
                }
            }
        }
        ways
    }
}
