//! The vendors' own SDKs accept the responses of a scripted provider.

use integration_tests::provider::ScriptedProvider;
use integration_tests::python;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_vendors_sdks_accept_a_scripted_providers_responses() {
    let provider = ScriptedProvider::start("alpha").await;
    let base_url = format!("http://127.0.0.1:{}", provider.port());
    let said = python::run("sdk_chat.py", &[("BASE_URL", &base_url)]).await.expect_success();
    let answers: Vec<serde_json::Value> =
        said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let names: Vec<&str> = answers.iter().filter_map(|answer| answer["name"].as_str()).collect();
    assert_eq!(
        names,
        ["chat", "chat stream", "responses", "responses stream", "messages", "messages stream"]
    );
    assert!(answers.iter().all(|answer| answer["text"] == "hello from alpha"), "{said}");
    assert_eq!(answers[0]["tokens"], 15);
    assert_eq!(answers[3]["last"], "response.completed");
    assert_eq!(answers[5]["stop"], "end_turn");
    // The pinned Anthropic SDK sends its `api_key` as a bearer token, not as x-api-key.
    assert_eq!(provider.received()[4].path, "/v1/messages");
    assert_eq!(provider.received()[4].header("authorization"), Some("Bearer client-key"));
    assert_eq!(provider.received()[4].header("x-api-key"), None);
}
