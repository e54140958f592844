//! What `llm-failsafe check` says about an Envoy file, compared with what Envoy does with it.

use integration_tests::client::Request;
use integration_tests::envoy::Envoy;
use integration_tests::gateway::{Gateway, Shape, connection_manager};
use integration_tests::provider::ScriptedProvider;
use llm_failsafe::base::WallTime;
use serde_json::{Value, json};

/// The mistakes in the Envoy file of this gateway; empty if it has none.
fn mistakes(gateway: &Gateway) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("envoy.json");
    drop(gateway.clone().edit(|config| std::fs::write(&path, config.to_string()).unwrap()));
    let arguments = ["check".into(), "--config".into(), path.into_os_string()];
    let report = llm_failsafe_cli::run(arguments, WallTime::from_millis(1_780_920_000_000));
    report.map_or_else(|failure| failure.to_string(), |_| String::new())
}

/// The loop in front of one provider that serves every cluster.
async fn gateway(provider: &ScriptedProvider) -> Gateway {
    Gateway::new(Shape::Loop).provider("openai", provider.port()).provider("anthropic", provider.port())
}

/// The filter's part of the Envoy file.
fn filter(config: &mut Value) -> &mut Value {
    &mut connection_manager(config, 1)["http_filters"][0]["typed_config"]["config"]
}

#[tokio::test]
async fn a_file_with_which_envoy_does_not_start_has_a_mistake() {
    let provider = ScriptedProvider::start("any").await;
    let good = gateway(&provider).await;
    assert_eq!(mistakes(&good), "");
    let environment = good.clone().edit(|config| {
        filter(config)["vm_config"]["environment_variables"]["host_env_keys"] =
            json!(["OPENAI_KEY_A", "ANTHROPIC_KEY"]);
    });
    let cluster = good.clone().edit(|config| {
        connection_manager(config, 1)["route_config"]["virtual_hosts"][0]["routes"][1]["route"] =
            json!({"cluster": "files", "timeout": "0s"});
    });
    let extension = good.edit(|config| config["bootstrap_extensions"] = json!([]));
    for (gateway, said, logged) in [
        (environment, "`OPENAI_KEY_B` is not passed on to the filter", "`OPENAI_KEY_B` is unset"),
        (cluster, "Envoy has no cluster `files`", "files"),
        (extension, "internal listeners are not enabled", "internal"),
    ] {
        let mistakes = mistakes(&gateway);
        assert!(
            mistakes.starts_with("the Envoy file has 1 mistake:") && mistakes.contains(said),
            "{mistakes}"
        );
        let log = Envoy::expect_start_failure(gateway.to_config()).await;
        assert!(log.contains(logged), "{logged}: {log}");
    }
}

#[tokio::test]
async fn a_file_with_which_requests_fail_has_a_mistake() {
    let provider = ScriptedProvider::start("any").await;
    let missing = Gateway::new(Shape::Loop)
        .configure(&json!({"models": {"chat": {"tiers": [["gpt-a"]]}}}))
        .provider("anthropic", provider.port());
    let said = mistakes(&missing);
    assert!(said.contains("providers.openai.cluster: Envoy has no cluster `openai`"), "{said}");
    let envoy = missing.start().await;
    let read = Request::chat("chat", false).ask(envoy.port()).await;
    assert!(read.status.is_server_error(), "{}", read.text());

    let narrow = gateway(&provider).await.edit(|config| {
        connection_manager(config, 1)["http2_protocol_options"]["initial_stream_window_size"] = json!(65_535);
    });
    let said = mistakes(&narrow);
    assert!(said.contains("bodies with more than 65535 bytes get Envoy's plain 413"), "{said}");
    let envoy = narrow.start().await;
    let long = json!({"model": "chat", "messages": [{"role": "user", "content": "x".repeat(200_000)}]});
    let read = Request::post("/v1/chat/completions").json(&long).ask(envoy.port()).await;
    assert_eq!((read.status.as_u16(), read.header("x-llm-reason")), (413, None), "{}", read.text());
    assert_eq!(provider.received().len(), 0);
}
