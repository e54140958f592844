//! A page of another origin calls the gateway from a real Chromium, if the operator allows its origin.

use integration_tests::browser::{Browser, Screen};
use integration_tests::envoy::Envoy;
use integration_tests::gateway::{Gateway, Shape, edge_host};
use integration_tests::provider::{ScriptedProvider, errors};
use integration_tests::sha256;
use serde_json::{Value, json};

const DESK: Screen = Screen { width: 1280, height: 800, phone: false, dark: false };

/// The shipped file with these allowed origins. The pages are those of Envoy's admin interface, which has an origin of its own.
async fn start(shape: Shape, provider: &ScriptedProvider, allowed: Value) -> Envoy {
    Gateway::new(shape)
        .provider("openai", provider.port())
        .provider("anthropic", provider.port())
        .configure(&json!({"keys": {"team": {"sha256": sha256("sk-team")}}, "mode": "shadow"}))
        .edit(|config| {
            let policy = &mut edge_host(config)["typed_per_filter_config"]["envoy.filters.http.cors"];
            assert_eq!(policy["allow_origin_string_match"], json!([]), "no origin is allowed as shipped");
            policy["allow_origin_string_match"] = allowed;
        })
        .start()
        .await
}

/// Fetches with the headers that an SDK sends, and returns what the page can read.
async fn fetch(browser: &Browser, port: u16, key: &str, stream: bool) -> Value {
    let script = format!(
        r#"
        const body = {{model: "chat", stream: {stream}, messages: [{{role: "user", content: "hello"}}]}};
        return fetch("http://127.0.0.1:{port}/v1/chat/completions", {{
            method: "POST",
            headers: {{authorization: "Bearer {key}", "content-type": "application/json", "x-llm-session": "s",
                "x-stainless-lang": "js"}},
            body: JSON.stringify(body),
        }}).then(async (response) => {{
            const reader = response.body.getReader();
            const decoder = new TextDecoder();
            let text = "";
            for (;;) {{
                const {{done, value}} = await reader.read();
                if (done) break;
                text += decoder.decode(value, {{stream: true}});
            }}
            return {{status: response.status, headers: Object.fromEntries(response.headers), text}};
        }}).catch((error) => ({{error: error.name}}));
        "#
    );
    browser.run(&script).await
}

#[tokio::test]
async fn a_page_of_an_allowed_origin_reads_answers_streams_and_errors() {
    let Some(browser) = Browser::start(DESK).await else { return };
    for shape in [Shape::Loop, Shape::Single] {
        let provider = ScriptedProvider::start("alpha").await;
        let envoy = start(shape, &provider, json!([{"prefix": "http://127.0.0.1:"}])).await;
        browser.open(&format!("http://127.0.0.1:{}/help", envoy.admin_port())).await;
        let plain = fetch(&browser, envoy.port(), "sk-team", false).await;
        assert_eq!(plain["status"], 200, "{plain}");
        assert!(plain["text"].as_str().unwrap().contains("hello"), "{plain}");
        for header in ["x-llm-target", "x-llm-model", "x-llm-attempts"] {
            assert!(plain["headers"][header].is_string(), "{header}: {plain}");
        }
        assert!(plain["headers"]["x-request-id"].is_string(), "{plain}");
        let stream = fetch(&browser, envoy.port(), "sk-team", true).await;
        assert_eq!(stream["status"], 200, "{stream}");
        assert!(stream["text"].as_str().unwrap().trim_end().ends_with("data: [DONE]"), "{stream}");
        let stranger = fetch(&browser, envoy.port(), "sk-other", false).await;
        assert_eq!(
            (&stranger["status"], &stranger["headers"]["x-llm-reason"]),
            (&json!(401), &json!("invalid_api_key"))
        );
        for _ in 0..3 {
            provider.script(errors::openai_429().header("retry-after", "7"));
        }
        let throttled = fetch(&browser, envoy.port(), "sk-team", false).await;
        assert_eq!(
            (&throttled["status"], &throttled["headers"]["retry-after"]),
            (&json!(429), &json!("7")),
            "{throttled}"
        );
        assert!(provider.received().iter().all(|request| request.header("origin").is_none()));
    }
}

#[tokio::test]
async fn as_shipped_no_other_page_reads_anything() {
    let Some(browser) = Browser::start(DESK).await else { return };
    for shape in [Shape::Loop, Shape::Single] {
        let provider = ScriptedProvider::start("alpha").await;
        let envoy = start(shape, &provider, json!([])).await;
        browser.open(&format!("http://127.0.0.1:{}/help", envoy.admin_port())).await;
        let refused = fetch(&browser, envoy.port(), "sk-team", false).await;
        assert_eq!(refused, json!({"error": "TypeError"}), "the browser asks first, and is told nothing");
        assert!(provider.received().is_empty());
    }
}
