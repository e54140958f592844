//! Several providers that can all take a request, behind one Envoy with two workers. Each request uses its own connection, so
//! requests reach both workers.

use std::time::Duration;

use integration_tests::client::{Read, Request};
use integration_tests::envoy::Envoy;
use integration_tests::gateway::{Gateway, Shape, compatible};
use integration_tests::provider::ScriptedProvider;
use serde_json::{Value, json};

/// Providers `p0`, `p1`, …, each with one account and one target of its name, all in one tier of `chat`.
pub struct Peers {
    pub providers: Vec<ScriptedProvider>,
    pub envoy: Envoy,
}

impl Peers {
    /// Starts this many, with changes to the configuration. Also returns the gateway, for updates.
    pub async fn start(count: usize, change: impl FnOnce(&mut Value)) -> (Self, Gateway) {
        let mut configuration =
            json!({"providers": {}, "accounts": {}, "targets": {}, "models": {"chat": {}}});
        let mut providers = Vec::new();
        let mut gateway = Gateway::new(Shape::Loop).concurrency(2).reloadable();
        for index in 0..count {
            let name = format!("p{index}");
            let provider = ScriptedProvider::start(&name).await;
            configuration["providers"][&name] = compatible(&name);
            configuration["accounts"][&name] = json!({"provider": name, "key": {"value": "sk-test"}});
            configuration["targets"][&name] = json!({"account": name, "model": "m"});
            gateway = gateway.provider(&name, provider.port());
            providers.push(provider);
        }
        let names: Vec<_> = providers.iter().map(ScriptedProvider::name).collect();
        configuration["models"]["chat"]["tiers"] = json!([names]);
        change(&mut configuration);
        let gateway = gateway.plugin(&configuration);
        (Self { envoy: gateway.start().await, providers }, gateway)
    }

    /// Sends one plain chat request and reads the response.
    pub async fn ask(&self) -> Read {
        Request::chat("chat", false).ask(self.envoy.port()).await
    }

    /// Asks until requests on every worker are answered as wanted.
    pub async fn until_every_worker(&self, streamed: bool, wanted: impl Fn(&Read) -> bool) {
        let request = || Request::chat("chat", streamed).patience(Duration::from_secs(1));
        self.envoy.until_every_worker(request, wanted).await;
    }
}
