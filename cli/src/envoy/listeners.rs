//! Listeners, their connection managers and the filter in them.

use std::time::Duration;

use serde_json::Value;

use super::clusters::is_loopback;
use super::place::Place;
use super::routes::{Addition, RouteTable};

/// A listener.
#[derive(Debug)]
pub struct Listener {
    /// Where it is in the file.
    pub path: String,
    /// Its name.
    pub name: String,
    /// What connects to it.
    pub address: Address,
    /// How much Envoy buffers for a connection, if the file says.
    pub buffer_bytes: Option<u64>,
    /// Whether something other than HTTP filters lets only some clients in: certificates or network filters.
    pub is_guarded: bool,
    /// Whether it is closed when the process is to end.
    pub is_inbound: bool,
    /// Whether it forwards connections without reading them, so that it may lead anywhere.
    pub forwards_bytes: bool,
    /// Its connection managers.
    pub managers: Vec<Manager>,
    /// The paths of its settings.
    pub settings: Vec<String>,
}

/// The address of a listener.
#[derive(Debug, PartialEq, Eq)]
pub enum Address {
    /// Only clusters of this process lead there.
    Internal,
    /// A host and a port.
    Socket(String, u64),
    /// Anything else, such as a pipe.
    Other,
}

/// An `http_connection_manager`.
#[derive(Debug)]
pub struct Manager {
    /// Where it is in the file.
    pub path: String,
    /// Its `stat_prefix`, by which shipped files and statistics name it.
    pub name: String,
    /// Whether clients can only use HTTP/2.
    pub is_http2: bool,
    /// Whether a malformed HTTP/2 message ends only itself.
    pub bad_messages_end_alone: bool,
    /// The window of an HTTP/2 stream, if the file says.
    pub stream_window: Option<u64>,
    /// How long a stream may be idle, if the file says; zero for no limit.
    pub stream_idle_timeout: Option<Duration>,
    /// How long a stream may last, if the file says; zero for no limit.
    pub max_stream_duration: Option<Duration>,
    /// The types of its HTTP filters, such as `Router`.
    pub filter_types: Vec<String>,
    /// The filters of llm-failsafe among them.
    pub plugins: Vec<Plugin>,
    /// Its routes; `None` if Envoy gets them from elsewhere.
    pub routes: Option<RouteTable>,
    /// The headers of clients that it removes before anything else.
    pub removes: Vec<String>,
    /// The headers that it adds to responses of Envoy itself.
    local_reply_headers: Vec<Addition>,
    /// The paths of its settings.
    pub settings: Vec<String>,
}

/// The filter llm-failsafe.
#[derive(Debug)]
pub struct Plugin {
    /// Where it is in the file: the path of its `config`.
    pub path: String,
    /// Its own configuration.
    pub configuration: Value,
    /// Whether `allow_on_headers_stop_iteration` is set.
    pub may_hold_headers: bool,
    /// What happens after a crash, if the file says.
    pub failure_policy: Option<String>,
    /// Whether the time until a new VM is bounded.
    pub has_reload_backoff: bool,
    /// Variables of Envoy's environment that are passed on.
    pub passed_on: Vec<String>,
    /// Variables with values in the file.
    pub set_here: Vec<String>,
}

impl Listener {
    pub(super) fn read(place: &Place<'_>) -> Self {
        let mut chains = place.field("filter_chains").items();
        chains.push(place.field("default_filter_chain"));
        let filters: Vec<_> = chains.iter().flat_map(|chain| chain.field("filters").items()).collect();
        let managers = filters.iter().filter_map(|filter| Manager::read(&filter.field("typed_config")));
        let guarded_by_filter = filters
            .iter()
            .any(|filter| matches!(filter.field("typed_config").extension().1, "RBAC" | "ExtAuthz"));
        let asks_certificate = |chain: &Place<'_>| {
            let (tls, _) = chain.at(&["transport_socket", "typed_config"]).extension();
            tls.field("require_client_certificate").is_true()
        };
        Self {
            path: place.path.clone(),
            name: place.field("name").text().unwrap_or_default().to_owned(),
            address: Address::read(place),
            buffer_bytes: place.field("per_connection_buffer_limit_bytes").number(),
            is_inbound: place.field("traffic_direction").text() == Some("INBOUND"),
            is_guarded: guarded_by_filter || chains.iter().any(asks_certificate),
            forwards_bytes: filters
                .iter()
                .any(|filter| filter.field("typed_config").extension().1 == "TcpProxy"),
            managers: managers.collect(),
            settings: place.settings(),
        }
    }

    /// Whether a filter asks for clusters when a request needs them.
    pub(super) fn gets_clusters(&self) -> bool {
        self.managers.iter().any(|manager| manager.filter_types.iter().any(|kind| kind == "OnDemand"))
    }

    /// Whether other machines can connect to it.
    pub fn is_public(&self) -> bool {
        matches!(&self.address, Address::Socket(host, _) if !is_loopback(host))
    }
}

impl Address {
    fn read(listener: &Place<'_>) -> Self {
        if listener.field("internal_listener").exists() {
            return Self::Internal;
        }
        let socket = listener.at(&["address", "socket_address"]);
        match (socket.field("address").text(), socket.field("port_value").number()) {
            (Some(host), port) => Self::Socket(host.to_owned(), port.unwrap_or(0)),
            _ => Self::Other,
        }
    }
}

impl Manager {
    fn read(typed_config: &Place<'_>) -> Option<Self> {
        let (place, kind) = typed_config.extension();
        if kind != "HttpConnectionManager" {
            return None;
        }
        let filters = place.field("http_filters").items();
        let configs: Vec<_> = filters.iter().map(|filter| filter.field("typed_config").extension()).collect();
        let routes = place.field("route_config");
        let mappers = place.at(&["local_reply_config", "mappers"]).items();
        let early = place.field("early_header_mutation_extensions").items();
        let mutations =
            early.iter().flat_map(|it| it.field("typed_config").extension().0.field("mutations").items());
        let removed =
            mutations.filter_map(|mutation| Some(mutation.field("remove").text()?.to_ascii_lowercase()));
        Some(Self {
            path: place.path.clone(),
            name: place.field("stat_prefix").text().unwrap_or_default().to_owned(),
            is_http2: place.field("codec_type").text() == Some("HTTP2"),
            bad_messages_end_alone: place
                .at(&["http2_protocol_options", "override_stream_error_on_invalid_http_message"])
                .is_true(),
            stream_window: place.at(&["http2_protocol_options", "initial_stream_window_size"]).number(),
            stream_idle_timeout: place.field("stream_idle_timeout").duration(),
            max_stream_duration: place
                .at(&["common_http_protocol_options", "max_stream_duration"])
                .duration(),
            filter_types: configs.iter().map(|(_, kind)| (*kind).to_owned()).collect(),
            plugins: configs.iter().filter_map(|(config, _)| Plugin::read(&config.field("config"))).collect(),
            local_reply_headers: mappers
                .iter()
                .flat_map(|mapper| mapper.field("headers_to_add").items())
                .map(|header| Addition::read(&header))
                .collect(),
            settings: place.settings(),
            removes: removed.collect(),
            routes: routes.exists().then(|| RouteTable::read(&routes)).flatten(),
        })
    }

    /// Whether some responses of Envoy itself get this header with this value.
    pub fn marks(&self, name: &str, value: &str) -> bool {
        self.local_reply_headers.iter().any(|header| header.name == name && header.value == value)
    }

    /// How long a stream may be idle; `None` for no limit.
    pub fn idle(&self) -> Option<Duration> {
        const DEFAULT: Duration = Duration::from_secs(300);
        Some(self.stream_idle_timeout.unwrap_or(DEFAULT)).filter(|limit| !limit.is_zero())
    }
}

impl Plugin {
    /// Any other Wasm filter has no `targets`.
    fn read(place: &Place<'_>) -> Option<Self> {
        let configuration = match place.at(&["configuration", "value"]).value() {
            Value::String(text) => serde_json::from_str(text).ok()?,
            other => other.clone(),
        };
        configuration.get("targets")?;
        let environment = place.at(&["vm_config", "environment_variables"]);
        Some(Self {
            path: place.path.clone(),
            configuration,
            may_hold_headers: place.field("allow_on_headers_stop_iteration").is_true(),
            failure_policy: place.field("failure_policy").text().map(str::to_owned),
            has_reload_backoff: place.at(&["reload_config", "backoff", "base_interval"]).exists(),
            passed_on: environment.field("host_env_keys").texts(),
            set_here: environment
                .field("key_values")
                .entries()
                .iter()
                .map(|(name, _)| (*name).to_owned())
                .collect(),
        })
    }

    /// Whether the filter's own configuration has this switch on.
    pub fn has(&self, switch: &str) -> bool {
        self.configuration.get(switch) == Some(&Value::Bool(true))
    }
}
