//! The listener for probes: when Envoy is ready, and when it is not.

use integration_tests::client::Request;
use integration_tests::envoy::Envoy;
use integration_tests::gateway::{Gateway, Shape};
use integration_tests::provider::ScriptedProvider;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};

async fn status(port: u16, path: &str) -> u16 {
    Request::get(path).ask(port).await.status.as_u16()
}

#[tokio::test]
async fn ready_follows_envoys_own_health_and_live_does_not() {
    for shape in [Shape::Loop, Shape::Single] {
        let provider = ScriptedProvider::start("alpha").await;
        let gateway =
            Gateway::new(shape).provider("openai", provider.port()).provider("anthropic", provider.port());
        let envoy = gateway.start().await;
        let probes = envoy.port_of("probes");
        let all = async || {
            let mut all = Vec::new();
            for path in ["/ready", "/live", "/", "/v1/models", "/stats", "/healthcheck/fail", "/quitquitquit"]
            {
                all.push(status(probes, path).await);
            }
            all
        };
        assert_eq!(all().await, [200, 200, 404, 404, 404, 404, 404]);
        assert_eq!(Request::post("/healthcheck/fail").ask(envoy.admin_port()).await.status, 200);
        assert_eq!(all().await, [503, 200, 404, 404, 404, 404, 404]);
        // Clients are served on: only load balancers shall look elsewhere.
        assert_eq!(Request::chat("chat", false).ask(envoy.port()).await.status, 200);
        assert_eq!(Request::post("/healthcheck/ok").ask(envoy.admin_port()).await.status, 200);
        assert_eq!(status(probes, "/ready").await, 200);
    }
}

/// As long as a cluster waits for its hosts, no listener accepts.
#[tokio::test]
async fn before_envoy_is_ready_no_connection_is_accepted() {
    // It takes connections and never answers.
    let silent = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = silent.local_addr().unwrap().port();
    let http2 = json!({"typed_extension_protocol_options": {
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
            "explicit_http_config": {"http2_protocol_options": {}},
        },
    }});
    let gateway = Gateway::new(Shape::Loop).cluster("management", port, &http2).edit(|config| {
        config["node"] = json!({"id": "test", "cluster": "test"});
        let clusters = config["static_resources"]["clusters"].as_array_mut().unwrap();
        clusters.push(json!({
            "name": "openai",
            "type": "EDS",
            "eds_cluster_config": {"eds_config": {
                "resource_api_version": "V3",
                "initial_fetch_timeout": "3s",
                "api_config_source": {
                    "api_type": "GRPC",
                    "transport_api_version": "V3",
                    "grpc_services": [{"envoy_grpc": {"cluster_name": "management"}}],
                },
            }},
        }));
    });
    let starting = Envoy::spawn(gateway.to_config()).await;
    let probes = starting.port_of("probes").await;
    assert!(
        TcpStream::connect(("127.0.0.1", probes)).await.is_err(),
        "accepted while {}",
        starting.state().await
    );
    assert_eq!(starting.state().await, "PRE_INITIALIZING");
    let envoy = starting.ready().await;
    assert_eq!(envoy.port_of("probes"), probes);
    assert_eq!(status(probes, "/ready").await, 200);
    drop(silent);
}
