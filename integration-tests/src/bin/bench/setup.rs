//! The compared Envoys: the shipped configurations with and without the filter.

use std::path::PathBuf;

use integration_tests::client::Request;
use integration_tests::envoy::Envoy;
use integration_tests::gateway::{Gateway, Shape};
use integration_tests::paths;
use serde_json::{Value, json};

/// One of the compared Envoys.
#[derive(Clone, Debug)]
pub struct Setup {
    pub name: String,
    /// In the retry loop, or in an ordinary listener.
    pub shape: Shape,
    /// Whether it has the filter.
    pub filtered: bool,
    /// Another build of the filter.
    build: Option<PathBuf>,
}

/// A started set-up.
pub struct Running {
    pub setup: Setup,
    pub envoy: Envoy,
}

/// The build that counts its host calls.
pub fn counting_build() -> PathBuf {
    let path = paths::root().join("dist/llm_failsafe_counting.wasm");
    assert!(path.is_file(), "no {}. Run: make bench", path.display());
    path
}

impl Setup {
    /// All set-ups. The others are compared with the first one.
    pub fn all(against: &[PathBuf]) -> Vec<Self> {
        let bare = |name: &str, shape| Self { name: name.to_owned(), shape, filtered: false, build: None };
        let [single, in_loop] = Self::with_filter();
        let mut all = vec![
            bare("Envoy alone", Shape::Single),
            single.clone(),
            bare("loop without filter", Shape::Loop),
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

    /// Starts it with a provider, and with another build of the filter if given.
    ///
    /// # Panics
    /// If it does not start, or if responses do not show whether the filter is there.
    pub async fn start(&self, provider: u16, build: Option<PathBuf>) -> Running {
        let mut gateway =
            Gateway::new(self.shape).provider("openai", provider).provider("anthropic", provider);
        if self.filtered {
            gateway =
                gateway.configure(&json!({"models": {"chat": {"tiers": [["gpt-a", "gpt-b"], ["haiku"]]}}}));
        } else {
            gateway = gateway.edit(remove_filter);
        }
        let mut config = gateway.to_config();
        if let Some(build) = build.as_deref().or(self.build.as_deref()) {
            config = config.set("wasm", build.display());
        }
        let envoy = Envoy::start(config).await;
        let answer = Request::chat("chat", false).send(envoy.port()).await.expect("an answer");
        let marked = answer.header("x-llm-target").is_some();
        assert_eq!(marked, self.filtered, "{}: the filter's header on a response", self.name);
        Running { setup: self.clone(), envoy }
    }
}

impl Running {
    /// The host calls of streams so far.
    pub async fn host_calls(&self) -> u64 {
        self.envoy.stat("wasmcustom.llm_failsafe_host_calls").await.unwrap_or(0)
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
            let route = &mut manager["route_config"]["virtual_hosts"][0]["routes"][0]["route"];
            *route = json!({"cluster": "openai", "timeout": "0s"});
        }
    }
}
