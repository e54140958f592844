//! The shipped configurations `envoy/envoy.yaml` and `envoy/single.yaml` in a real Envoy. Only the ports, the path of the
//! filter, its configuration and the provider clusters are changed; the clusters lead to scripted providers.
//!
//! So the tests cover the files that users copy.

use serde_json::{Value, json};

use crate::envoy::{Envoy, EnvoyConfig};
use crate::paths;

/// One of the shipped configurations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// `envoy/envoy.yaml`: the retry loop.
    Loop,
    /// `envoy/single.yaml`: an ordinary listener.
    Single,
}

/// A gateway that has not been started.
#[derive(Clone, Debug)]
pub struct Gateway {
    shape: Shape,
    config: Value,
    concurrency: u32,
    env: Vec<(String, String)>,
    dynamic_listeners: bool,
    cluster_options: Vec<(String, Value)>,
}

/// The provider keys that [`Gateway::new`] sets in the environment.
pub const PROVIDER_KEYS: [(&str, &str); 3] = [
    ("OPENAI_KEY_A", "sk-openai-a-secret"),
    ("OPENAI_KEY_B", "sk-openai-b-secret"),
    ("ANTHROPIC_KEY", "sk-ant-secret"),
];

impl Gateway {
    /// The shipped configuration of `shape`, without its provider clusters.
    ///
    /// # Panics
    /// If the file does not have the expected structure.
    pub fn new(shape: Shape) -> Self {
        let file = match shape {
            Shape::Loop => "envoy/envoy.yaml",
            Shape::Single => "envoy/single.yaml",
        };
        let text = std::fs::read_to_string(paths::root().join(file)).expect("the shipped configuration");
        let mut config: Value = serde_yaml_ng::from_str(&text).expect("the shipped configuration is YAML");
        config["admin"]["address"]["socket_address"]["port_value"] = json!(0);
        for listener in config["static_resources"]["listeners"].as_array_mut().expect("listeners") {
            if let Some(address) = listener.pointer_mut("/address/socket_address") {
                *address = json!({"address": "127.0.0.1", "port_value": 0});
            }
        }
        let clusters = config["static_resources"]["clusters"].as_array_mut().expect("clusters");
        clusters.retain(|cluster| cluster["name"] == "loop");
        let env = PROVIDER_KEYS.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        let mut gateway = Self {
            shape,
            config,
            concurrency: 1,
            env,
            dynamic_listeners: false,
            cluster_options: Vec::new(),
        };
        gateway.filter()["vm_config"]["code"]["local"]["filename"] = json!("{{wasm}}");
        gateway
    }

    /// The filter's part of Envoy's configuration.
    fn filter(&mut self) -> &mut Value {
        let listeners = self.config["static_resources"]["listeners"].as_array_mut().expect("listeners");
        listeners
            .iter_mut()
            .flat_map(|listener| {
                let manager = &mut listener["filter_chains"][0]["filters"][0]["typed_config"];
                manager["http_filters"].as_array_mut().expect("HTTP filters")
            })
            .find(|filter| filter["name"] == "llm-failsafe")
            .map(|filter| &mut filter["typed_config"]["config"])
            .expect("the filter")
    }

    /// Changes Envoy's configuration.
    pub fn edit(mut self, change: impl FnOnce(&mut Value)) -> Self {
        change(&mut self.config);
        self
    }

    /// Changes the filter's configuration by a JSON merge patch: `null` removes a member.
    pub fn configure(mut self, changes: &Value) -> Self {
        merge(&mut self.filter()["configuration"]["value"], changes);
        self
    }

    /// The filter's configuration.
    pub fn configuration(&mut self) -> Value {
        self.filter()["configuration"]["value"].clone()
    }

    /// Replaces the filter's configuration. `retry_loop` is set for the loop, and `route_strips_headers` as the shipped routes
    /// need it, unless the configuration says otherwise.
    pub fn plugin(mut self, configuration: &Value) -> Self {
        let mut configuration = configuration.clone();
        if let Some(fields) = configuration.as_object_mut() {
            fields.entry("route_strips_headers").or_insert(json!(true));
        }
        if self.shape == Shape::Loop {
            configuration["retry_loop"] = json!(true);
        }
        self.filter()["configuration"]["value"] = configuration;
        self
    }

    /// Passes the filter's configuration as a JSON string instead of a Struct, as Istio and Envoy Gateway do.
    pub fn as_json_string(mut self) -> Self {
        let configuration = &mut self.filter()["configuration"];
        let text = configuration["value"].to_string();
        *configuration = json!({"@type": "type.googleapis.com/google.protobuf.StringValue", "value": text});
        self
    }

    /// Adds a cluster that leads to a port of this machine.
    pub fn provider(self, cluster: &str, port: u16) -> Self {
        self.cluster(cluster, port, &json!({}))
    }

    /// The same with more settings of the cluster.
    pub fn cluster(mut self, name: &str, port: u16, more: &Value) -> Self {
        let endpoint = json!({"address": {"socket_address": {"address": "127.0.0.1", "port_value": port}}});
        let mut cluster = json!({
            "name": name,
            "type": "STATIC",
            "connect_timeout": "1s",
            "circuit_breakers": {"thresholds": [{
                "max_connections": 10000, "max_pending_requests": 10000, "max_requests": 10000,
            }]},
            "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [{"endpoint": endpoint}]}]},
        });
        merge(&mut cluster, more);
        for (_, options) in self.cluster_options.iter().filter(|(cluster, _)| cluster == name) {
            merge(&mut cluster, options);
        }
        self.config["static_resources"]["clusters"].as_array_mut().expect("clusters").push(cluster);
        self
    }

    /// More settings for a cluster that is added later.
    pub fn cluster_options(mut self, cluster: &str, options: Value) -> Self {
        self.cluster_options.push((cluster.to_owned(), options));
        self
    }

    /// The number of worker threads; 1 by default.
    pub const fn concurrency(mut self, workers: u32) -> Self {
        self.concurrency = workers;
        self
    }

    /// Adds what `envoy/rate-limit.yaml` says: the service listens at this port.
    ///
    /// # Panics
    /// If the file or the gateway does not have the parts.
    #[must_use]
    pub fn asks_rate_limits(self, port: u16) -> Self {
        let text = std::fs::read_to_string(paths::root().join("envoy/rate-limit.yaml")).unwrap();
        let added: Value = serde_yaml_ng::from_str(&text).unwrap();
        let mut more = added["cluster"].clone();
        more["type"] = json!("STATIC");
        more.as_object_mut().unwrap().remove("load_assignment");
        let is_ours = |filter: &Value| filter["name"] == "llm-failsafe";
        let has_ours = move |manager: &&mut Value| {
            manager["http_filters"].as_array().is_some_and(|it| it.iter().any(is_ours))
        };
        self.edit(|config| {
            let listeners = config["static_resources"]["listeners"].as_array_mut().unwrap();
            let mut managers = listeners
                .iter_mut()
                .map(|listener| &mut listener["filter_chains"][0]["filters"][0]["typed_config"]);
            let manager = managers.find(has_ours).unwrap();
            let filters = manager["http_filters"].as_array_mut().unwrap();
            let ours = filters.iter().position(is_ours).unwrap();
            filters.insert(ours + 1, added["http_filter"].clone());
            manager["route_config"]["virtual_hosts"][0]["typed_per_filter_config"] =
                added["per_filter_config"].clone();
            let mapper = added["local_reply_mapper"].clone();
            match manager["local_reply_config"]["mappers"].as_array_mut() {
                Some(mappers) => mappers.push(mapper),
                None => manager["local_reply_config"] = json!({"mappers": [mapper]}),
            }
        })
        .cluster("rate_limit", port, &more)
    }

    /// Sets an environment variable that the filter's VM may read.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        let names: Vec<_> = self.env.iter().map(|(name, _)| name.clone()).collect();
        self.filter()["vm_config"]["environment_variables"]["host_env_keys"] = json!(names);
        self
    }

    /// Puts the listeners into a file that Envoy watches, so that [`Gateway::update`] can change them at run time.
    pub const fn reloadable(mut self) -> Self {
        self.dynamic_listeners = true;
        self
    }

    /// The complete configuration of Envoy.
    pub fn to_config(&self) -> EnvoyConfig {
        let mut config = self.config.clone();
        let mut listeners = None;
        if self.dynamic_listeners {
            config["static_resources"]["listeners"] = json!([]);
            config["node"] = json!({"id": "test", "cluster": "test"});
            config["dynamic_resources"] = json!({"lds_config": {
                "path_config_source": {"path": format!("{{{{dir}}}}/{LISTENERS}")},
            }});
            listeners = Some(self.listeners());
        }
        // JSON is YAML. Only placeholders may contain two opening braces.
        let mut envoy = EnvoyConfig::from_text(spaced(&config)).concurrency(self.concurrency);
        for (name, value) in &self.env {
            envoy = envoy.env(name, value);
        }
        match listeners {
            Some(listeners) => envoy.file(LISTENERS, listeners),
            None => envoy,
        }
    }

    fn listeners(&self) -> String {
        let mut resources = self.config["static_resources"]["listeners"].clone();
        for listener in resources.as_array_mut().expect("listeners") {
            listener["@type"] = json!("type.googleapis.com/envoy.config.listener.v3.Listener");
        }
        spaced(&json!({"resources": resources}))
    }

    /// Starts Envoy and waits until it is ready.
    ///
    /// # Panics
    /// If Envoy does not start.
    pub async fn start(&self) -> Envoy {
        Envoy::start(self.to_config()).await
    }

    /// Sends this gateway's listeners to a running Envoy that was started as [`Gateway::reloadable`].
    pub fn update(&self, envoy: &Envoy) {
        envoy.replace_file(LISTENERS, &self.listeners());
    }
}

const LISTENERS: &str = "listeners.json";

/// Pretty-printed JSON never has two opening braces in a row, which would be a placeholder.
fn spaced(value: &Value) -> String {
    serde_json::to_string_pretty(value).expect("JSON")
}

/// The connection manager of a listener: in the loop 0 is the edge and 1 the inner listener.
pub fn connection_manager(config: &mut Value, listener: usize) -> &mut Value {
    &mut config["static_resources"]["listeners"][listener]["filter_chains"][0]["filters"][0]["typed_config"]
}

/// The only virtual host of the edge.
pub fn edge_host(config: &mut Value) -> &mut Value {
    &mut connection_manager(config, 0)["route_config"]["virtual_hosts"][0]
}

/// An OpenAI-compatible provider behind the cluster of this name.
pub fn compatible(cluster: &str) -> Value {
    json!({"kind": "openai-compatible", "cluster": cluster, "host": format!("{cluster}.test")})
}

/// JSON merge patch (RFC 7396).
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    for (name, value) in patch {
        if value.is_null() {
            target.as_object_mut().expect("an object").remove(name);
        } else {
            merge(&mut target[name], value);
        }
    }
}
