//! Routes.

use std::time::Duration;

use super::place::Place;

/// The routes of a connection manager.
#[derive(Debug)]
pub struct RouteTable {
    /// What it changes in headers.
    pub edits: Edits,
    /// Whether Envoy accepts the table only if every cluster in it exists.
    pub needs_clusters: bool,
    /// Its virtual hosts.
    pub hosts: Vec<VirtualHost>,
}

/// A virtual host.
#[derive(Debug)]
pub struct VirtualHost {
    /// Where it is in the file.
    pub path: String,
    /// What it changes in headers.
    pub edits: Edits,
    /// Whether the number of an attempt goes upstream.
    pub counts_attempts: bool,
    /// How much of a body is kept for retries, if the file says.
    pub buffer_bytes: Option<u64>,
    /// How its routes retry.
    pub retry: Option<Retry>,
    /// Its routes.
    pub routes: Vec<Route>,
    /// The paths of its settings.
    pub settings: Vec<String>,
}

/// A route.
#[derive(Debug)]
pub struct Route {
    /// Where it is in the file.
    pub path: String,
    /// What it changes in headers.
    pub edits: Edits,
    /// Where it leads.
    pub to: To,
    /// How long a response may take, if the file says; zero for no limit.
    pub timeout: Option<Duration>,
    /// How long a stream may be idle, if the file says; zero for no limit. It replaces that of the manager.
    pub idle_timeout: Option<Duration>,
    /// How much of a body is kept for retries, if the file says.
    pub buffer_bytes: Option<u64>,
    /// How it retries, instead of its virtual host.
    pub retry: Option<Retry>,
    /// The paths of the settings of its action.
    pub settings: Vec<String>,
}

/// Where a route leads.
#[derive(Debug, PartialEq, Eq)]
pub enum To {
    /// To these clusters.
    Clusters(Vec<String>),
    /// To the cluster that this request header names.
    Header(String),
    /// To no cluster, or to one that cannot be read from the file.
    Other,
}

/// A retry policy.
#[derive(Debug)]
pub struct Retry {
    /// Where it is in the file.
    pub path: String,
    /// What is retried, such as `reset`.
    pub on: Vec<String>,
    /// Response headers that ask for a retry.
    pub headers: Vec<String>,
    /// Response headers that say how long to wait before it.
    pub wait_headers: Vec<String>,
    /// The most retries.
    pub most: u64,
    /// How long one attempt may take, if the file says; zero for no limit.
    pub per_try_timeout: Option<Duration>,
}

/// Changes in headers.
#[derive(Debug)]
pub struct Edits {
    /// Removed request headers.
    pub removes: Vec<String>,
    /// Added request headers.
    pub adds: Vec<Addition>,
    /// Removed response headers.
    pub response_removes: Vec<String>,
}

/// An added header.
#[derive(Debug)]
pub struct Addition {
    /// Its name in lower case.
    pub name: String,
    /// Its value.
    pub value: String,
    /// Whether it replaces what the client sent.
    pub replaces: bool,
}

impl RouteTable {
    /// `None` if its virtual hosts come from elsewhere.
    pub(super) fn read(place: &Place<'_>) -> Option<Self> {
        (!place.field("vhds").exists()).then(|| Self {
            edits: Edits::read(place),
            needs_clusters: place.field("validate_clusters").value() != &serde_json::Value::Bool(false),
            hosts: place.field("virtual_hosts").items().iter().map(VirtualHost::read).collect(),
        })
    }
}

impl VirtualHost {
    fn read(place: &Place<'_>) -> Self {
        Self {
            path: place.path.clone(),
            edits: Edits::read(place),
            counts_attempts: place.field("include_request_attempt_count").is_true(),
            buffer_bytes: buffer_bytes(place),
            retry: Retry::read(&place.field("retry_policy")),
            routes: place.field("routes").items().iter().map(Route::read).collect(),
            settings: place.settings(),
        }
    }
}

impl Route {
    fn read(place: &Place<'_>) -> Self {
        let action = place.field("route");
        Self {
            path: place.path.clone(),
            edits: Edits::read(place),
            to: To::read(&action),
            timeout: action.field("timeout").duration(),
            idle_timeout: action.field("idle_timeout").duration(),
            buffer_bytes: buffer_bytes(place),
            retry: Retry::read(&action.field("retry_policy")),
            settings: action.settings(),
        }
    }
}

/// The newer name, or the older one.
fn buffer_bytes(place: &Place<'_>) -> Option<u64> {
    let of = |name| place.field(name).number();
    of("request_body_buffer_limit").or_else(|| of("per_request_buffer_limit_bytes"))
}

impl To {
    fn read(action: &Place<'_>) -> Self {
        let weighted = action.at(&["weighted_clusters", "clusters"]).items();
        if let Some(name) = action.field("cluster").text() {
            Self::Clusters(vec![name.to_owned()])
        } else if let Some(name) = action.field("cluster_header").text() {
            Self::Header(name.to_ascii_lowercase())
        } else if weighted.is_empty() {
            Self::Other
        } else {
            let names = weighted.iter().filter_map(|cluster| cluster.field("name").text());
            Self::Clusters(names.map(str::to_owned).collect())
        }
    }
}

impl Retry {
    fn read(place: &Place<'_>) -> Option<Self> {
        let on = place.field("retry_on").text().unwrap_or_default();
        let names = |headers: &[Place<'_>]| -> Vec<_> {
            let names =
                headers.iter().filter_map(|header| Some(header.field("name").text()?.to_ascii_lowercase()));
            names.collect()
        };
        place.exists().then(|| Self {
            path: place.path.clone(),
            on: on.split(',').map(|word| word.trim().to_owned()).collect(),
            headers: names(&place.field("retriable_headers").items()),
            wait_headers: names(&place.at(&["rate_limited_retry_back_off", "reset_headers"]).items()),
            most: place.field("num_retries").number().unwrap_or(1),
            per_try_timeout: place.field("per_try_timeout").duration(),
        })
    }
}

impl Edits {
    fn read(place: &Place<'_>) -> Self {
        let names = |field| place.field(field).texts().iter().map(|name| name.to_ascii_lowercase()).collect();
        let adds = place.field("request_headers_to_add").items();
        Self {
            removes: names("request_headers_to_remove"),
            adds: adds.iter().map(Addition::read).collect(),
            response_removes: names("response_headers_to_remove"),
        }
    }
}

impl Addition {
    pub(super) fn read(place: &Place<'_>) -> Self {
        let header = |name| place.at(&["header", name]).text().unwrap_or_default();
        let action = place.field("append_action").text();
        let never_appends = place.field("append").value() == &serde_json::Value::Bool(false);
        Self {
            name: header("key").to_ascii_lowercase(),
            value: header("value").to_owned(),
            replaces: action == Some("OVERWRITE_IF_EXISTS_OR_ADD") || (action.is_none() && never_appends),
        }
    }
}
