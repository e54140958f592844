//! The vendors' own SDKs, unmodified: their users do not notice a failover, and a refusal raises the usual exception.

use integration_tests::gateway::{Gateway, Shape, compatible};
use integration_tests::provider::{RefusedPort, Script, ScriptedProvider, errors};
use integration_tests::python;
use integration_tests::scene::Scene;
use integration_tests::sha256;
use serde_json::{Value, json};

const CLIENT_KEY: &str = "sk-client-key";

/// A client key in the configuration.
fn keys() -> Value {
    json!({"team": {"sha256": sha256(CLIENT_KEY)}})
}

/// Runs a script against a gateway and returns the JSON lines that it printed.
async fn run(script: &str, port: u16) -> Vec<Value> {
    run_with(script, port, "").await
}

/// The same for a script that needs the names of the models.
async fn run_with(script: &str, port: u16, models: &str) -> Vec<Value> {
    let base_url = format!("http://127.0.0.1:{port}");
    let env = [("BASE_URL", &*base_url), ("CLIENT_KEY", CLIENT_KEY), ("MODELS", models)];
    let output = python::run(script, &env).await;
    output.expect_success().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sdk_users_do_not_notice_a_failover() {
    let gone = RefusedPort::reserve();
    let scene = Gateway::new(Shape::Loop)
        .provider("gone", gone.port())
        .plugin(&json!({
            "providers": {"gone": compatible("gone"), "flaky": compatible("flaky"), "good": compatible("good")},
            "targets": {
                "gone": {"provider": "gone", "model": "m-gone", "key": {"env": "OPENAI_KEY_A"}},
                "flaky": {"provider": "flaky", "model": "m-flaky", "key": {"env": "OPENAI_KEY_A"}},
                "good": {"provider": "good", "model": "m-good", "key": {"env": "OPENAI_KEY_B"}},
            },
            "mode": "shadow",
            "models": {"chat": {"tiers": [["gone"], ["flaky"], ["good"]], "response_model": "logical"}},
            "keys": keys(),
        }))
        .start_with(["flaky", "good"])
        .await;
    let Scene { envoy, providers: [flaky, good], .. } = scene;
    let failures = || {
        [
            errors::openai_500(),
            errors::openai_error_event(),
            errors::openrouter_error_under_200(),
            errors::openai_response_failed(),
            errors::openai_429(),
            errors::anthropic_529(),
            errors::anthropic_overloaded_event(),
        ]
    };
    // Once for the synchronous clients, once for the asynchronous ones.
    for failure in failures().into_iter().chain(failures()) {
        flaky.script(failure);
    }
    flaky.by_default(errors::openai_400());

    let answers = run("sdk_failover.py", envoy.port()).await;
    assert_eq!(answers.len(), 14, "{answers:?}");
    for answers in answers.chunks(7) {
        let names = answers.iter().map(|answer| answer["name"].as_str().unwrap());
        let expected = ["chat", "chat stream", "responses", "responses stream", "embeddings", "messages"];
        assert!(names.eq(expected.into_iter().chain(["messages stream"])), "{answers:?}");
        assert_eq!((&answers[0]["attempts"], &answers[0]["answered_by"]), (&json!("3"), &json!("good")));
        // The body has the logical model name. The header has the real one.
        assert!(answers.iter().all(|answer| answer["models"] == json!(["chat"])), "{answers:?}");
        assert_eq!(answers[0]["header"], "m-good");
        assert_eq!(answers[3]["last"], "response.completed");
        assert_eq!(answers[4]["text"], "2 embeddings");
        assert_eq!(answers[6]["last"], "message_stop");
        for answer in answers.iter().filter(|answer| answer["name"] != "embeddings") {
            assert_eq!(answer["text"], "hello from good", "{answer}");
        }
    }
    // The SDKs' own retries are on. If they had noticed a failure, there would be more requests.
    for (provider, model, key) in
        [(&flaky, "m-flaky", "Bearer sk-openai-a-secret"), (&good, "m-good", "Bearer sk-openai-b-secret")]
    {
        let received = provider.received();
        assert_eq!(received.len(), 14, "{received:?}");
        for request in received {
            assert_eq!(request.json()["model"], model);
            let credential = request.header("authorization").or_else(|| request.header("x-api-key")).unwrap();
            assert!(key.ends_with(credential.trim_start_matches("Bearer ")), "{request:?}");
            assert!(!request.headers.iter().any(|(_, value)| value.contains(CLIENT_KEY)), "{request:?}");
        }
    }
}

/// Each failing model has its own provider, so that its requests can be counted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_raises_the_sdks_usual_exception() {
    let down = RefusedPort::reserve();
    let mut plugin =
        json!({"mode": "shadow", "keys": keys(), "models": {"lab/large:1": {"targets": ["shaky"]}}});
    let once = json!({"attempts_per_target": 1});
    for name in ["down", "limited", "wrong", "broken", "shaky"] {
        plugin["providers"][name] = compatible(name);
        plugin["targets"][name] = json!({"provider": name, "model": "m-1"});
        // The filter retries only at `shaky`.
        let retry = if name == "shaky" { json!({}) } else { once.clone() };
        plugin["models"][name] = json!({"targets": [name], "retry": retry});
    }
    plugin["targets"]["toolless"] =
        json!({"provider": "wrong", "model": "m-1", "region": "us", "tools": false});
    plugin["models"]["toolless"] = json!({"targets": ["toolless"]});
    plugin["models"]["elsewhere"] = json!({"targets": ["toolless"], "fallback": {"region": ["eu"]}});
    let gateway = Gateway::new(Shape::Loop).provider("down", down.port()).plugin(&plugin);
    let scene = gateway.start_with(["limited", "wrong", "broken", "shaky"]).await;
    let [limited, wrong, broken, shaky] = &scene.providers;
    limited.script(errors::openai_429()).script(errors::anthropic_429());
    wrong.script(errors::openai_400()).script(errors::anthropic_400());
    broken.by_default(errors::openai_500());
    shaky.script(errors::openai_503()).script(Script::usual()).script(errors::anthropic_529());

    let lines = run("sdk_errors.py", scene.port()).await;
    let find = |vendor: &str, name: &str| -> &Value {
        let found = lines.iter().find(|line| line["vendor"] == vendor && line["name"] == name);
        found.unwrap_or_else(|| panic!("{vendor}: no line for {name}: {lines:#?}"))
    };
    let expected = [
        ("unknown model", "NotFoundError", 404, "model_not_found", "`gpt-9` does not exist"),
        ("unknown model, streamed", "NotFoundError", 404, "model_not_found", "`gpt-9` does not exist"),
        ("an unknown model's description", "NotFoundError", 404, "model_not_found", "`gpt-9` does not exist"),
        ("no text for a model", "BadRequestError", 400, "model_not_a_string", "must be a string"),
        ("unknown key", "AuthenticationError", 401, "invalid_api_key", "key is missing or not valid"),
        ("models for an unknown key", "AuthenticationError", 401, "invalid_api_key", "not valid"),
        ("toolless", "BadRequestError", 400, "no_target_may_take_it", "can do what the request needs"),
        ("elsewhere", "PermissionDeniedError", 403, "not_allowed", "allowed for this request"),
        ("wrong", "BadRequestError", 400, "", ""),
        ("limited", "RateLimitError", 429, "nothing_left", ""),
        ("broken", "InternalServerError", 500, "nothing_left", "had an error while processing"),
        ("broken, one retry", "InternalServerError", 500, "nothing_left", "had an error while processing"),
    ];
    for vendor in ["openai", "anthropic"] {
        for (name, kind, status, reason, message) in expected {
            let line = find(vendor, name);
            assert_eq!((&line["type"], &line["status"]), (&json!(kind), &json!(status)), "{line}");
            assert_eq!(line["reason"].as_str().unwrap_or_default(), reason, "{line}");
            assert!(line["message"].as_str().unwrap().contains(message), "{line}");
        }
        assert_eq!(find(vendor, "limited")["retry_after"], "1");
        // OpenAI's SDK exposes the error object as the body, Anthropic's the whole body.
        let details = |name: &str| {
            let body = &find(vendor, name)["body"];
            let error = if vendor == "openai" { body } else { &body["error"] };
            error["llm_failsafe"].clone()
        };
        let refused = |gate: &str, needed: &str, offered: &str| {
            let gates = json!([{"gate": gate, "needed": needed, "offered": offered}]);
            json!([{"target": "toolless", "reason": gate, "gates": gates}])
        };
        assert_eq!(details("toolless")["targets"], refused("tools", "yes", "no"));
        assert_eq!(details("elsewhere")["targets"], refused("residency", "eu", "us"));
        assert_eq!(find(vendor, "shaky, one retry")["type"], "an answer");
        let down = find(vendor, "down");
        let kind = if vendor == "openai" { "InternalServerError" } else { "ServiceUnavailableError" };
        assert_eq!((&down["type"], &down["status"]), (&json!(kind), &json!(503)), "{down}");
        let lists = lines.iter().filter(|line| line["vendor"] == vendor && line["models"].is_array());
        let lists: Vec<_> = lists.map(|line| line["models"].clone()).collect();
        let all =
            json!(["broken", "down", "elsewhere", "lab/large:1", "limited", "shaky", "toolless", "wrong"]);
        assert_eq!(lists, [all, json!(["lab/large:1"])]);
    }
    // The filter tells the SDKs not to retry what it has given up, so they send such a request once, with or without retries.
    // The filter asks `shaky` twice.
    assert_eq!(scene.counts(), [2, 2, 2 + 2, 4]);
}

/// For each model: how both its targets fail, how many attempts the filter makes per request, and the final status.
fn outages() -> Vec<(&'static str, Script, usize, u16)> {
    vec![
        ("broken", errors::openai_500(), 3, 500),
        ("overloaded", errors::anthropic_529(), 3, 529),
        // A request that may have been processed is repeated once.
        ("lost", Script::cut(), 2, 503),
        ("silent", Script::hang(), 2, 504),
        // A stream without any content.
        ("empty", Script::usual().text(": \n\n").header("content-type", "text/event-stream"), 2, 502),
    ]
}

/// By default the SDKs would retry twice, which would triple the load in an outage.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_an_outage_default_sdk_retries_add_no_attempts() {
    let mut gateway = Gateway::new(Shape::Loop);
    let mut plugin = json!({
        "mode": "shadow", "keys": keys(), "retry_budget": {"ratio": 10},
        "providers": {}, "targets": {}, "models": {},
    });
    let mut providers = Vec::new();
    for (name, script, ..) in outages() {
        let down = ScriptedProvider::start(name).await;
        down.by_default(script);
        gateway = gateway.provider(name, down.port());
        plugin["providers"][name] = compatible(name);
        let targets = [format!("{name}-a"), format!("{name}-b")];
        for target in &targets {
            plugin["targets"][target] = json!({"provider": name, "model": "m"});
        }
        plugin["models"][name] = json!({
            "targets": targets,
            "retry": {"attempts": 3, "backoff": {"base": "1ms", "max": "1ms"}},
            "stream": {"first_content": "400ms", "answer": "400ms"},
        });
        providers.push(down);
    }
    // A short rate limit is the exception: there the SDKs are told to retry.
    let limited = ScriptedProvider::start("limited").await;
    gateway = gateway.provider("limited", limited.port());
    plugin["providers"]["limited"] = compatible("limited");
    plugin["targets"]["limited"] = json!({"provider": "limited", "model": "m"});
    plugin["models"]["limited"] = json!({"targets": ["limited"], "retry": {"attempts": 1}});
    for _ in 0..4 {
        limited.script(Script::status(429).json(json!({"error": {}})).header("retry-after", "1"));
        limited.script(Script::usual());
    }
    let envoy = gateway.plugin(&plugin).start().await;

    let outages = outages();
    let names: Vec<_> = outages.iter().map(|(name, ..)| *name).chain(["limited"]).collect();
    let lines = run_with("sdk_outage.py", envoy.port(), &names.join(",")).await;
    assert_eq!(lines.len(), 2 * 2 * names.len(), "{lines:#?}");
    assert!(lines.iter().all(|line| line["retries"] == 2), "the SDKs' default: {lines:#?}");
    for ((name, _, attempts, status), down) in outages.iter().zip(&providers) {
        for line in lines.iter().filter(|line| line["model"] == *name) {
            assert_eq!((&line["status"], &line["should_retry"]), (&json!(status), &json!("false")), "{line}");
        }
        assert_eq!(down.received().len(), 4 * attempts, "{name}");
    }
    for line in lines.iter().filter(|line| line["model"] == "limited") {
        assert_eq!(line["type"], "an answer", "{line}");
        assert!(line["seconds"].as_f64().unwrap() >= 1.0, "{line}");
    }
    assert_eq!(limited.received().len(), 4 * 2);
}
