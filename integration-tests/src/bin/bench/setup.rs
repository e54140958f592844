//! The compared Envoys: the shipped configurations with and without the filter.

use std::path::PathBuf;

use integration_tests::client::Request;
use integration_tests::envoy::Envoy;
use integration_tests::gateway::Shape;
use integration_tests::{paths, traffic};
use serde_json::{Value, json};

use crate::pin;

/// One of the compared Envoys.
#[derive(Clone, Debug)]
pub struct Setup {
    pub name: String,
    /// In the retry loop, or in an ordinary listener.
    pub shape: Shape,
    /// Whether it has the filter, or the module without logic in its place.
    pub filtered: bool,
    /// Another build of the filter.
    build: Option<PathBuf>,
}

/// A started set-up.
pub struct Running {
    pub setup: Setup,
    pub envoy: Envoy,
}

/// The module that makes the filter's host calls and has no logic.
fn floor_build() -> PathBuf {
    let path = paths::root().join("dist/floor.wasm");
    assert!(path.is_file(), "no {}. Run: make bench", path.display());
    path
}

impl Setup {
    /// Whether it has the filter itself, so that the project's aims apply.
    pub fn is_ours(&self) -> bool {
        self.filtered && self.build.is_none()
    }

    /// All set-ups. The others are compared with the first one.
    pub fn all(against: &[PathBuf]) -> Vec<Self> {
        let bare = |name: &str, shape| Self { name: name.to_owned(), shape, filtered: false, build: None };
        let [single, in_loop] = Self::with_filter();
        let floor = |setup: &Self| {
            let name = format!(
                "same calls, no logic: {}",
                if setup.shape == Shape::Loop { "loop" } else { "listener" }
            );
            Self { name, build: Some(floor_build()), ..setup.clone() }
        };
        let mut all = vec![
            bare("Envoy alone", Shape::Single),
            floor(&single),
            single.clone(),
            bare("loop without filter", Shape::Loop),
            floor(&in_loop),
            in_loop.clone(),
        ];
        for path in against {
            for setup in [single.clone(), in_loop.clone()] {
                let build = path.file_stem().unwrap_or_default().display();
                let name = format!("{}: {build}", setup.name);
                all.push(Self { name, build: Some(path.clone()), ..setup });
            }
        }
        all
    }

    /// The two set-ups with the filter.
    pub fn with_filter() -> [Self; 2] {
        let with = |name: &str, shape| Self { name: name.to_owned(), shape, filtered: true, build: None };
        [with("filter, one listener", Shape::Single), with("filter in the loop", Shape::Loop)]
    }

    /// Starts it with a provider.
    ///
    /// # Panics
    /// If it does not start, or if responses do not show whether the filter is there.
    pub async fn start(&self, provider: u16) -> Running {
        let mut gateway =
            traffic::gateway(self.shape).provider("openai", provider).provider("anthropic", provider);
        if !self.filtered {
            gateway = gateway.edit(remove_filter);
        }
        let mut config = gateway.to_config();
        if let Some(build) = &self.build {
            config = config.set("wasm", build.display());
        }
        pin::for_envoy();
        let envoy = Envoy::start(config).await;
        pin::for_load();
        let answer = Request::chat("chat", false).send(envoy.port()).await.expect("an answer");
        assert_eq!(answer.status, 200, "{}: the first response", self.name);
        let marked = answer.header("x-llm-target").is_some();
        assert_eq!(marked, self.filtered, "{}: the filter's header on a response", self.name);
        Running { setup: self.clone(), envoy }
    }
}

/// Removes the filter and routes directly to a provider.
fn remove_filter(config: &mut Value) {
    let listeners = config["static_resources"]["listeners"].as_array_mut().expect("listeners");
    for listener in listeners {
        let manager = &mut listener["filter_chains"][0]["filters"][0]["typed_config"];
        let filters = manager["http_filters"].as_array_mut().expect("HTTP filters");
        let before = filters.len();
        filters.retain(|filter| filter["name"] != "llm-failsafe");
        if filters.len() < before {
            // The filter names the cluster in a header, and the header decides which route it is.
            manager["route_config"]["virtual_hosts"][0]["routes"] =
                json!([{"match": {"prefix": "/"}, "route": {"cluster": "openai", "timeout": "0s"}}]);
        }
    }
}
