//! Several providers that could all take a request, behind one Envoy with two workers. Each request has a connection of its
//! own, so requests meet either worker.

use std::time::{Duration, Instant};

use integration_tests::client::{Read, Request};
use integration_tests::envoy::Envoy;
use integration_tests::gateway::{Gateway, Shape};
use integration_tests::provider::ScriptedProvider;
use serde_json::{Value, json};

/// How long anything that must happen may take.
pub const SOON: Duration = Duration::from_secs(15);

/// Providers `p0`, `p1`, …, each with one account and one target of its name, all in one tier of `chat`.
pub struct Peers {
    pub providers: Vec<ScriptedProvider>,
    pub envoy: Envoy,
}

impl Peers {
    /// Starts so many, with what else the configuration shall have. The gateway is there to be changed.
    pub async fn start(count: usize, change: impl FnOnce(&mut Value)) -> (Self, Gateway) {
        let mut configuration =
            json!({"providers": {}, "accounts": {}, "targets": {}, "models": {"chat": {}}});
        let mut providers = Vec::new();
        let mut gateway = Gateway::new(Shape::Loop).concurrency(2).reloadable();
        for index in 0..count {
            let name = format!("p{index}");
            let provider = ScriptedProvider::start(&name).await;
            configuration["providers"][&name] =
                json!({"kind": "openai-compatible", "host": format!("{name}.test")});
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

    /// One plain chat, read to its end.
    pub async fn ask(&self) -> Read {
        Request::chat("chat", false).send(self.envoy.port()).await.unwrap().read().await
    }

    /// Asks until requests on every worker are answered as `wanted`: 20 in a row, each on a connection of its own, meet both
    /// but for a chance of 2⁻¹⁹. A request that hangs is given up soon.
    pub async fn until_every_worker(&self, streamed: bool, wanted: impl Fn(&Read) -> bool) {
        let deadline = Instant::now() + SOON;
        let mut in_a_row = 0;
        while in_a_row < 20 {
            let request = Request::chat("chat", streamed).patience(Duration::from_secs(1));
            let read = match request.send(self.envoy.port()).await {
                Ok(response) => Some(response.read().await),
                Err(_) => None,
            };
            in_a_row = if read.as_ref().is_some_and(&wanted) { in_a_row + 1 } else { 0 };
            assert!(Instant::now() < deadline, "not every worker knows: {read:?}");
        }
    }
}
