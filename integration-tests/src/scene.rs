//! A scene: scripted providers, the gateway before them, and its running Envoy.
//!
//! ```ignore
//! let scene = Gateway::new(Shape::Loop).plugin(&plugin).start_with(["first", "spare"]).await;
//! let [first, spare] = &scene.providers;
//! ```

use std::time::Instant;

use crate::SOON;
use crate::client::{Read, Request};
use crate::envoy::{Envoy, HANDED_OVER};
use crate::gateway::Gateway;
use crate::provider::ScriptedProvider;

/// This many requests in a row, each on its own connection, reach both of two workers: the chance that they do not is 2⁻¹⁹.
pub const EVERY_WORKER: usize = 20;

/// A scripted provider to be started, and the clusters that lead to it.
pub struct Behind<'n> {
    name: &'n str,
    clusters: Vec<&'n str>,
}

/// A provider behind the cluster of its own name.
impl<'n> From<&'n str> for Behind<'n> {
    fn from(name: &'n str) -> Self {
        Self { name, clusters: vec![name] }
    }
}

/// A provider's name and the cluster that leads to it.
impl<'n> From<(&'n str, &'n str)> for Behind<'n> {
    fn from((name, cluster): (&'n str, &'n str)) -> Self {
        Self { name, clusters: vec![cluster] }
    }
}

/// A provider's name and all clusters that lead to it.
impl<'n, const C: usize> From<(&'n str, [&'n str; C])> for Behind<'n> {
    fn from((name, clusters): (&'n str, [&'n str; C])) -> Self {
        Self { name, clusters: clusters.to_vec() }
    }
}

/// Scripted providers behind one Envoy.
pub struct Scene<const N: usize> {
    /// In the order in which they were named.
    pub providers: [ScriptedProvider; N],
    /// The gateway that was started; a changed copy can be sent to the running Envoy.
    pub gateway: Gateway,
    /// The running Envoy.
    pub envoy: Envoy,
}

impl Gateway {
    /// Starts these providers, adds their clusters, and starts Envoy.
    ///
    /// # Panics
    /// If Envoy does not start.
    pub async fn start_with<'n, P: Into<Behind<'n>>, const N: usize>(self, providers: [P; N]) -> Scene<N> {
        let mut gateway = self;
        let mut started = Vec::new();
        for Behind { name, clusters } in providers.map(Into::into) {
            let provider = ScriptedProvider::start(name).await;
            for cluster in clusters {
                gateway = gateway.provider(cluster, provider.port());
            }
            started.push(provider);
        }
        let envoy = gateway.start().await;
        let Ok(providers) = started.try_into() else { unreachable!("one provider per name") };
        Scene { providers, gateway, envoy }
    }
}

impl<const N: usize> Scene<N> {
    /// The port of Envoy's first listener.
    pub fn port(&self) -> u16 {
        self.envoy.port()
    }

    /// How many requests each provider has received.
    pub fn counts(&self) -> [usize; N] {
        std::array::from_fn(|index| self.providers[index].received().len())
    }

    /// How many requests all providers have received.
    pub fn asked(&self) -> usize {
        self.counts().iter().sum()
    }
}

impl Envoy {
    /// Sends a request to the first listener and reads the response to its end.
    ///
    /// # Panics
    /// If no response begins.
    pub async fn ask(&self, request: Request) -> Read {
        request.ask(self.port()).await
    }

    /// Sends requests until [`EVERY_WORKER`] responses in a row are as wanted.
    ///
    /// # Panics
    /// If that does not happen within [`SOON`].
    pub async fn until_every_worker(&self, request: impl Fn() -> Request, wanted: impl Fn(&Read) -> bool) {
        let deadline = Instant::now() + SOON;
        let mut in_a_row = 0;
        while in_a_row < EVERY_WORKER {
            let response = request().send(self.port()).await;
            let read = match response {
                Ok(response) => Some(response.read().await),
                Err(_) => None,
            };
            in_a_row = if read.as_ref().is_some_and(&wanted) { in_a_row + 1 } else { 0 };
            assert!(Instant::now() < deadline, "not every worker responds as wanted: {read:?}");
        }
    }

    /// One of the filter's counters or gauges; 0 if there is none of that name yet.
    pub async fn count(&self, metric: &str) -> u64 {
        self.stat(&format!("wasmcustom.llm_failsafe_{metric}")).await.unwrap_or(0)
    }

    /// Waits until one of the filter's counters or gauges has this value.
    ///
    /// # Panics
    /// If it does not within [`SOON`].
    pub async fn wait_for_count(&self, metric: &str, wanted: u64) {
        self.wait_for_stat(&format!("wasmcustom.llm_failsafe_{metric}"), |value| value == wanted).await;
    }

    /// Checks the value of one of the filter's counters or gauges: waits until it is as wanted, and then whether it stays so.
    ///
    /// # Panics
    /// If it is not as wanted within [`SOON`], or not any more once everything has been handed over.
    pub async fn expect_count(&self, metric: &str, wanted: u64) {
        let deadline = Instant::now() + SOON;
        while self.count_now(metric).await != wanted && Instant::now() < deadline {
            tokio::time::sleep(HANDED_OVER / 10).await;
        }
        tokio::time::sleep(HANDED_OVER).await;
        assert_eq!(self.count_now(metric).await, wanted, "{metric}");
    }

    async fn count_now(&self, metric: &str) -> u64 {
        self.stat_now(&format!("wasmcustom.llm_failsafe_{metric}")).await.unwrap_or(0)
    }

    /// Waits until no request is in progress or queued, and checks that the filter has not panicked.
    ///
    /// # Panics
    /// If requests are left after [`SOON`], or if the filter has panicked.
    pub async fn wait_until_idle(&self) {
        for gauge in ["journeys", "attempts_in_flight", "waiting"] {
            self.wait_for_count(gauge, 0).await;
        }
        let log = self.log();
        assert!(!log.contains("panicked") && !log.contains("assert failure"), "{log}");
    }
}
