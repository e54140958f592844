//! Which targets may substitute for which. Each boundary is tested in a real Envoy with a substitute that keeps it and one that
//! does not.

use integration_tests::client::{Read, Request};
use integration_tests::envoy::Envoy;
use integration_tests::gateway::{Gateway, Shape, compatible};
use integration_tests::provider::errors;
use integration_tests::scene::Scene;
use serde_json::{Value, json};

const CHAT: &str = "/v1/chat/completions";
const RESPONSES: &str = "/v1/responses";

/// One boundary and a request that it applies to.
struct Scenario {
    name: &'static str,
    path: &'static str,
    /// What the request has besides the model and one message.
    request: Value,
    /// The `fallback` section of the model.
    fallback: Value,
    /// Settings of the first choice.
    first: Value,
    /// Settings of a substitute that keeps the boundary, and of one that does not.
    good: Value,
    bad: Value,
    /// Settings with which a first choice does not keep it. A first choice is trusted with what is not declared.
    denied: Value,
    gate: &'static str,
}

fn scenarios() -> Vec<Scenario> {
    let tool = json!({"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}});
    let schema = json!({"type": "json_schema", "json_schema": {"name": "s", "schema": {"type": "object"}}});
    let image = json!([{"role": "user", "content": [
        {"type": "text", "text": "what is this?"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}},
    ]}]);
    let long = json!([{"role": "user", "content": "a long story ".repeat(10_000)}]);
    let plain = |name, fallback, first, good, bad, gate| Scenario {
        name,
        path: CHAT,
        request: json!({}),
        fallback,
        first,
        good,
        denied: Value::clone(&bad),
        bad,
        gate,
    };
    let needing = |name: &'static str, request, offer: Value| Scenario {
        request,
        denied: if offer[name] == true { json!({ name: false }) } else { json!({ name: 1_000 }) },
        ..plain(name, json!({}), offer.clone(), offer, json!({}), name)
    };
    let priced = |input: f64, output: f64| json!({"price": {"input": input, "output": output}});
    vec![
        needing("tools", json!({"tools": [tool]}), json!({"tools": true})),
        needing("vision", json!({"messages": image}), json!({"vision": true})),
        needing("image_output", json!({"modalities": ["text", "image"]}), json!({"image_output": true})),
        needing("json_schema", json!({"response_format": schema}), json!({"json_schema": true})),
        needing("context_window", json!({"messages": long}), json!({"context_window": 100_000})),
        plain(
            "residency",
            json!({"region": ["eu"]}),
            json!({"region": "eu"}),
            json!({"region": "eu"}),
            json!({"region": "us"}),
            "residency",
        ),
        plain(
            "price",
            json!({"max_price_ratio": 2}),
            priced(1.0, 4.0),
            priced(1.5, 8.0),
            priced(1.5, 8.1),
            "price_ratio",
        ),
        Scenario {
            path: RESPONSES,
            request: json!({"previous_response_id": "resp_1"}),
            ..plain(
                "state",
                json!({}),
                json!({}),
                json!({"account": "home"}),
                json!({"account": "away"}),
                "state",
            )
        },
    ]
}

/// Without this, the same target would be asked again when no other target is eligible.
fn once() -> Value {
    json!({"attempts_per_target": 1})
}

/// Each scenario is two models: `NAME-good` and `NAME-bad`.
fn configuration(scenarios: &[Scenario]) -> Value {
    let mut configuration = json!({
        // Every first choice fails here. Breakers are not under test.
        "mode": "shadow",
        "providers": {
            "first": compatible("first"),
            "spare": compatible("spare"),
        },
        "accounts": {"home": {"provider": "first"}, "away": {"provider": "spare"}},
        "targets": {},
        "models": {},
    });
    let mut add = |name: &str, usual: &str, offers: &Value| {
        let mut target = json!({"account": usual, "model": name});
        for (field, value) in offers.as_object().unwrap() {
            target[field] = value.clone();
        }
        configuration["targets"][name] = target;
    };
    for scenario in scenarios {
        let name = |role: &str| format!("{}-{role}", scenario.name);
        add(&name("first"), "home", &scenario.first);
        add(&name("to-good"), "away", &scenario.good);
        add(&name("to-bad"), "away", &scenario.bad);
        add(&name("denied"), "away", &scenario.denied);
    }
    for scenario in scenarios {
        for kind in ["good", "bad"] {
            let name = |role: &str| format!("{}-{role}", scenario.name);
            let tiers = json!([[name("first")], [name(&format!("to-{kind}"))]]);
            let fallback = &scenario.fallback;
            configuration["models"][name(kind)] =
                json!({"tiers": tiers, "fallback": fallback, "retry": once()});
        }
    }
    configuration
}

async fn start(plugin: &Value) -> Scene<2> {
    Gateway::new(Shape::Loop).plugin(plugin).start_with(["first", "spare"]).await
}

async fn ask(envoy: &Envoy, scenario: &Scenario, kind: &str, stream: bool) -> Read {
    let turn = json!([{"role": "user", "content": "say hello"}]);
    let mut body = json!({"model": format!("{}-{kind}", scenario.name), "stream": stream});
    body[if scenario.path == RESPONSES { "input" } else { "messages" }] = turn;
    for (name, value) in scenario.request.as_object().unwrap() {
        body[name] = value.clone();
    }
    Request::post(scenario.path).json(&body).ask(envoy.port()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_a_substitute_that_keeps_the_boundary_is_asked() {
    let scenarios = scenarios();
    let Scene { envoy, providers: [first, spare], .. } = start(&configuration(&scenarios)).await;
    for scenario in &scenarios {
        for stream in [false, true] {
            let case = format!("{}, streamed: {stream}", scenario.name);

            first.script(errors::openai_500());
            let asked = first.received().len() + spare.received().len();
            let read = ask(&envoy, scenario, "good", stream).await;
            assert_eq!(read.status, 200, "{case}: {}", read.text());
            assert_eq!(
                read.header("x-llm-target"),
                Some(format!("{}-to-good", scenario.name).as_str()),
                "{case}"
            );
            assert_eq!(read.header("x-llm-fallback"), Some("server"), "{case}");
            assert_eq!(read.header("x-llm-rejected"), None, "{case}");
            assert!(read.text().contains("hello"), "{case}: {}", read.text());
            assert_eq!(first.received().len() + spare.received().len(), asked + 2, "{case}");

            first.script(errors::openai_500());
            let helped = spare.received().len();
            let read = ask(&envoy, scenario, "bad", stream).await;
            assert_eq!(read.status, 500, "{case}: {}", read.text());
            assert_eq!(
                read.header("x-llm-target"),
                Some(format!("{}-first", scenario.name).as_str()),
                "{case}"
            );
            let rejected = format!("{}-to-bad={}", scenario.name, scenario.gate);
            assert_eq!(read.header("x-llm-rejected"), Some(rejected.as_str()), "{case}");
            assert_eq!(spare.received().len(), helped, "{case}: the substitute was asked");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ineligible_first_choice_is_skipped_and_a_refusal_says_what_was_needed() {
    let scenarios = scenarios();
    let mut plugin = configuration(&scenarios);
    // Here the target that does not keep the boundary is the first choice.
    for scenario in &scenarios {
        let name = |role: &str| format!("{}-{role}", scenario.name);
        let fallback = &scenario.fallback;
        plugin["models"][name("passed-over")] =
            json!({"tiers": [[name("denied")], [name("to-good")]], "fallback": fallback});
        plugin["models"][name("alone")] = json!({"targets": [name("denied")], "fallback": fallback});
    }
    let Scene { envoy, providers: [_first, spare], .. } = start(&plugin).await;
    // Prices and accounts are compared with the first choice, so these two gates never reject it.
    for scenario in scenarios.iter().filter(|scenario| !["price", "state"].contains(&scenario.name)) {
        for stream in [false, true] {
            let case = format!("{}, streamed: {stream}", scenario.name);
            let read = ask(&envoy, scenario, "passed-over", stream).await;
            assert_eq!(read.status, 200, "{case}: {}", read.text());
            assert_eq!(read.header("x-llm-target"), Some(format!("{}-to-good", scenario.name).as_str()));
            assert_eq!(read.header("x-llm-attempts"), Some("1"), "{case}");
            assert_eq!(read.header("x-llm-fallback"), Some(scenario.gate), "{case}");

            let asked = spare.received().len();
            let read = ask(&envoy, scenario, "alone", stream).await;
            let (status, reason) = match scenario.gate {
                "residency" => (403, "not_allowed"),
                "context_window" => (400, "context_length_exceeded"),
                _ => (400, "no_target_may_take_it"),
            };
            assert_eq!((read.status.as_u16(), read.header("x-llm-reason")), (status, Some(reason)), "{case}");
            let error = read.json();
            let listed = &error["error"]["llm_failsafe"]["targets"];
            let target = format!("{}-denied", scenario.name);
            assert_eq!(listed[0]["target"], target, "{case}: {error}");
            let message = error["error"]["message"].as_str().unwrap();
            assert!(message.contains(&format!("`{target}`")), "{case}: {message}");
            assert_eq!(listed[0]["gates"][0]["gate"], scenario.gate, "{case}: {error}");
            for told in ["needed", "offered"] {
                assert!(listed[0]["gates"][0][told].as_str().is_some_and(|text| !text.is_empty()), "{error}");
            }
            assert_eq!(spare.received().len(), asked, "{case}: refused before any target was asked");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn approvals_expire_and_a_client_may_only_allow_less() {
    let approved = |until: &str| json!({"approved": [{"from": "us", "to": "eu", "until": until}]});
    let tiers = json!([["us"], ["eu"]]);
    let plugin = json!({
        "mode": "shadow",
        "providers": {"first": compatible("first"), "spare": compatible("spare")},
        "targets": {
            "us": {"provider": "first", "model": "m", "region": "us"},
            "eu": {"provider": "spare", "model": "m", "region": "eu"},
        },
        "models": {
            "approved": {"tiers": tiers, "fallback": approved("2999-12-31"), "retry": once()},
            "expired": {"tiers": tiers, "fallback": approved("2020-01-01"), "retry": once()},
            "anywhere": {"tiers": tiers, "retry": once()},
            "at-home": {"tiers": tiers, "fallback": {"region": ["us"]}, "retry": once()},
        },
    });
    let Scene { envoy, providers: [first, spare], .. } = start(&plugin).await;
    first.by_default(errors::openai_500());
    for (model, header, status, target, rejected) in [
        ("approved", None, 200, "eu", None),
        ("expired", None, 500, "us", Some("eu=pair_expired")),
        ("anywhere", None, 200, "eu", None),
        ("anywhere", Some(("x-llm-region", "us")), 500, "us", Some("eu=residency")),
        ("anywhere", Some(("x-llm-region", "EU, ch")), 200, "eu", None),
        ("anywhere", Some(("x-llm-region", "us,eu")), 200, "eu", None),
        ("anywhere", Some(("x-llm-no-fallback", "true")), 500, "us", None),
        ("at-home", None, 500, "us", Some("eu=residency")),
        ("at-home", Some(("x-llm-region", "us, eu")), 500, "us", Some("eu=residency")),
    ] {
        for stream in [false, true] {
            let request = Request::chat(model, stream);
            let request =
                header.into_iter().fold(request, |request, (name, value)| request.header(name, value));
            let read = request.ask(envoy.port()).await;
            let case = format!("{model} {header:?} {stream}: {}", read.text());
            assert_eq!((read.status.as_u16(), read.header("x-llm-target")), (status, Some(target)), "{case}");
            assert_eq!(read.header("x-llm-rejected"), rejected, "{case}");
        }
    }
    assert!(spare.received().iter().all(|request| request.header("x-llm-region").is_none()));

    // No target is in the client's region. An invalid list is an error and is not ignored.
    for (region, status, reason) in
        [("mars", 403, "not_allowed"), ("", 400, "invalid_region"), ("us,,eu", 400, "invalid_region")]
    {
        let request = Request::chat("anywhere", false).header("x-llm-region", region);
        let read = request.ask(envoy.port()).await;
        assert_eq!(
            (read.status.as_u16(), read.header("x-llm-reason")),
            (status, Some(reason)),
            "{region}: {}",
            read.text()
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn context_length_and_content_policy_errors_move_only_where_allowed() {
    let plugin = json!({
        "mode": "shadow",
        "providers": {"first": compatible("first"), "spare": compatible("spare")},
        "targets": {
            "first": {"provider": "first", "model": "m", "context_window": 32_000},
            "same": {"provider": "spare", "model": "m", "context_window": 32_000},
            "larger": {"provider": "spare", "model": "m", "context_window": 64_000},
        },
        "models": {
            "usual": {"tiers": [["first"], ["larger"]]},
            "window": {"tiers": [["first"], ["same"], ["larger"]], "fallback": {"context_length": "larger_window"}},
            "no-window": {"tiers": [["first"], ["same"]], "fallback": {"context_length": "larger_window"}},
            "content": {"tiers": [["first"], ["same"]], "fallback": {"content_policy": "elsewhere"}},
        },
    });
    let Scene { envoy, providers: [first, _spare], .. } = start(&plugin).await;
    for (model, failure, status, target, rejected) in [
        ("usual", errors::openai_context_length(), 400, "first", None),
        ("window", errors::openai_context_length(), 200, "larger", None),
        ("no-window", errors::openai_context_length(), 400, "first", Some("same=larger_window")),
        ("usual", errors::azure_content_filter(), 400, "first", None),
        ("content", errors::azure_content_filter(), 200, "same", None),
    ] {
        for stream in [false, true] {
            first.script(failure.clone());
            let read = Request::chat(model, stream).ask(envoy.port()).await;
            let case = format!("{model} {stream}: {}", read.text());
            assert_eq!((read.status.as_u16(), read.header("x-llm-target")), (status, Some(target)), "{case}");
            assert_eq!(read.header("x-llm-rejected"), rejected, "{case}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_shadow_mode_the_first_choice_serves_and_substitutes_are_only_reported() {
    let plugin = json!({
        "providers": {"first": compatible("first"), "spare": compatible("spare")},
        "targets": {
            "first": {"provider": "first", "model": "m", "region": "us"},
            "barred": {"provider": "spare", "model": "m", "region": "us"},
            "spare": {"provider": "spare", "model": "m", "region": "eu"},
        },
        "models": {"chat": {
            "tiers": [["first"], ["barred"], ["spare"]], "retry": once(), "fallback": {"mode": "shadow", "region": ["eu"]},
        }},
    });
    let Scene { envoy, providers: [first, spare], .. } = start(&plugin).await;
    for stream in [false, true] {
        let read = Request::chat("chat", stream).ask(envoy.port()).await;
        assert_eq!(
            (read.status.as_u16(), read.header("x-llm-target")),
            (200, Some("first")),
            "{}",
            read.text()
        );
        assert_eq!(read.header("x-llm-would-fallback"), None);
        first.script(errors::openai_404());
        let read = Request::chat("chat", stream).ask(envoy.port()).await;
        assert_eq!(
            (read.status.as_u16(), read.header("x-llm-target")),
            (404, Some("first")),
            "{}",
            read.text()
        );
        assert_eq!(read.header("x-llm-would-fallback"), Some("spare"));
        assert_eq!(read.header("x-llm-rejected"), Some("barred=residency"));
    }
    assert!(spare.received().is_empty());
    for (metric, count) in [("fallback_would_move", 2), ("fallback_would_reject", 4), ("model_not_found", 2)]
    {
        envoy.wait_for_count(metric, count).await;
    }
}
