//! Which provider responses make the filter ask another target, which must not, and what the client gets when no target is left.

use std::time::{Duration, Instant};

use crate::scenes::{Ask, FirstAndSpare, chat, messages, said};
use integration_tests::SOON;
use integration_tests::client::{Protocol, Read, Request};
use integration_tests::gateway::{Gateway, Shape, compatible};
use integration_tests::provider::{Event, RefusedPort, Script, errors};
use integration_tests::scene::Scene;
use serde_json::{Value, json};

/// The shipped configuration with one target in each of two tiers.
async fn shipped() -> Scene<2> {
    let models = json!({"models": {"chat": {"tiers": [["gpt-a"], ["haiku"]]}}});
    let gateway = Gateway::new(Shape::Loop).configure(&models);
    gateway.start_with([("alpha", "openai"), ("beta", "anthropic")]).await
}

#[tokio::test]
async fn a_request_moves_to_another_account_when_one_fails() {
    let Scene { envoy, providers: [a, b], .. } = shipped().await;
    a.by_default(errors::openai_500());

    for stream in [false, true] {
        let answer = Request::chat("chat", stream).send(envoy.port()).await.unwrap();
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("x-llm-target"), Some("haiku"));
        assert_eq!(answer.header("x-llm-model"), Some("claude-haiku-4-5"));
        assert_eq!(answer.header("x-llm-attempts"), Some("2"));
        assert_eq!(answer.header("x-llm-fallback"), Some("server"));
        assert_eq!(answer.header("x-llm-retry"), None);
        assert!(answer.text().await.contains("beta"));
    }
    assert_eq!(a.wait_for(2, SOON).await.len(), 2);
    assert_eq!(b.wait_for(2, SOON).await[0].json()["model"], "claude-haiku-4-5");
}

#[tokio::test]
async fn a_retryable_status_moves_on() {
    let scene = FirstAndSpare::start().await;
    for (status, reason) in [
        (401, "auth"),
        (402, "quota_exhausted"),
        (404, "not_found"),
        (408, "timeout"),
        (409, "conflict"),
        (429, "rate_limited"),
        (500, "server"),
        (502, "server"),
        (503, "overloaded"),
        (504, "timeout"),
        (529, "overloaded"),
    ] {
        let script = Script::status(status);
        scene.check_moves(chat("openai"), &script, reason).await;
        scene.check_moves(chat("openai").streamed(), &script, reason).await;
        // Without a body, and with a body that is not a provider's.
        scene.check_moves(chat("openai"), &script.clone().text(""), reason).await;
        scene.check_moves(chat("openai"), &script.text("<html>Bad gateway</html>"), reason).await;
    }
}

#[tokio::test]
async fn each_vendors_error_moves_on_with_its_reason() {
    let scene = FirstAndSpare::start().await;
    for (ask, script, reason) in [
        (chat("openai"), errors::openai_401(), "auth"),
        (chat("openai"), errors::openai_404(), "not_found"),
        (chat("openai"), errors::openai_429(), "rate_limited"),
        (chat("openai"), errors::openai_slow_down(), "rate_limited"),
        (chat("openai"), errors::openai_insufficient_quota(), "quota_exhausted"),
        (chat("openai"), errors::openai_503(), "overloaded"),
        (chat("azure-openai"), errors::azure_429(), "rate_limited"),
        (chat("anthropic"), errors::anthropic_usage_limit(), "quota_exhausted"),
        (messages(), errors::anthropic_401(), "auth"),
        (messages(), errors::anthropic_402(), "quota_exhausted"),
        (messages(), errors::anthropic_404(), "not_found"),
        (messages(), errors::anthropic_409(), "conflict"),
        (messages(), errors::anthropic_429(), "rate_limited"),
        (messages(), errors::anthropic_500(), "server"),
        (messages(), errors::anthropic_504(), "timeout"),
        (messages(), errors::anthropic_529(), "overloaded"),
        (chat("gemini"), errors::gemini_api_key_invalid(), "auth"),
        (chat("gemini"), errors::gemini_429(), "rate_limited"),
        (chat("gemini"), errors::gemini_503_in_array(), "overloaded"),
        (chat("mistral"), errors::mistral_429(), "rate_limited"),
        (chat("openrouter"), errors::openrouter_402(), "quota_exhausted"),
        (chat("openrouter"), errors::openrouter_error_under_200(), "server"),
        (chat("openai-compatible"), errors::bedrock_throttling(), "rate_limited"),
    ] {
        scene.check_moves(ask, &script, reason).await;
        scene.check_moves(ask.streamed(), &script, reason).await;
    }
}

#[tokio::test]
async fn a_stream_that_fails_before_its_first_content_moves_on() {
    let scene = FirstAndSpare::start().await;
    let responses = Ask { path: "/v1/responses", ..chat("openai") };
    let role = |content: &str| {
        let delta = json!({"role": "assistant", "content": content});
        Event::data(json!({"id": "c", "object": "chat.completion.chunk", "model": "m",
            "choices": [{"index": 0, "delta": delta, "finish_reason": null}]}))
    };
    let started = Event::named(
        "message_start",
        json!({"type": "message_start", "message": {"id": "m", "type": "message", "role": "assistant",
            "content": [], "usage": {"input_tokens": 1, "output_tokens": 1}}}),
    );
    let overloaded = Event::named(
        "error",
        json!({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}),
    );
    for (ask, script, reason) in [
        (chat("openai"), errors::openai_error_event(), "server"),
        (messages(), errors::anthropic_overloaded_event(), "overloaded"),
        (messages(), Script::stream([started, overloaded]), "overloaded"),
        (chat("openrouter"), errors::openrouter_error_event(), "server"),
        (responses, errors::openai_response_failed(), "server"),
        (chat("openai"), Script::stream([]), "empty"),
        (messages(), Script::stream([]), "empty"),
        (chat("openai"), Script::stream([role("")]), "stream_truncated"),
        (
            chat("openai"),
            Script::usual().header("content-type", "text/event-stream").text(": hi\n\n"),
            "stream_truncated",
        ),
        // The same events in many small pieces.
        (chat("openrouter"), errors::openrouter_error_event().split(3), "server"),
    ] {
        scene.check_moves(ask.streamed(), &script, reason).await;
    }
}

/// Checks that the client gets the provider's status, body and headers unchanged.
fn assert_unchanged(own: &Read, got: &Read, case: &str) {
    assert_eq!(got.status, own.status, "{case}");
    assert!(got.error.is_none(), "{case}");
    assert_eq!(got.text(), own.text(), "{case}");
    for (name, value) in
        own.headers.iter().filter(|(name, _)| !["date", "x-amzn-errortype"].contains(&name.as_str()))
    {
        assert_eq!(got.headers.get(name), Some(value), "{case}: {name}");
    }
}

#[tokio::test]
async fn a_client_error_reaches_the_client_unchanged() {
    let scene = FirstAndSpare::start().await;
    let refused = Script::status(400)
        .json(json!({"error": {"message": "This content may violate our usage policies.",
        "type": "invalid_request_error", "param": null, "code": "content_policy_violation"}}));
    for (ask, script) in [
        (chat("openai"), Script::status(400)),
        (chat("openai"), Script::status(413).text("")),
        (chat("openai"), Script::status(422).text("not \u{fc}nprocessable")),
        (chat("openai"), errors::openai_400()),
        (chat("openai"), errors::openai_403()),
        (chat("openai"), errors::openai_context_length()),
        (chat("openai"), refused),
        (chat("azure-openai"), errors::azure_content_filter()),
        (chat("anthropic"), errors::anthropic_context_length()),
        (messages(), errors::anthropic_400()),
        (messages(), errors::anthropic_403()),
        (messages(), errors::anthropic_413()),
        (messages(), errors::anthropic_context_length()),
        (chat("mistral"), errors::mistral_422()),
        (chat("openai-compatible"), errors::bedrock_validation()),
    ] {
        for (stream, protocol) in [(false, Protocol::Http1), (true, Protocol::H2c)] {
            let ask = Ask { stream, ..ask };
            let case = format!("{ask:?} {script:?}");
            scene.first.script(script.clone()).script(script.clone());
            let own = ask.send(scene.first.port(), Protocol::Http1).await;
            let got = ask.send(scene.envoy.port(), protocol).await;
            assert_unchanged(&own, &got, &case);
            assert_eq!(got.header("x-llm-target"), Some(ask.model), "{case}");
            assert_eq!(got.header("x-llm-attempts"), Some("1"), "{case}");
            assert_eq!(got.header("x-llm-fallback"), None, "{case}");
            assert_eq!(got.header("x-llm-retry"), None, "{case}");
        }
    }
    assert_eq!(scene.spare.received().len(), 0);
}

/// The filter's configuration for three targets at three providers, one per tier, behind each of these models.
fn three(models: Value) -> Gateway {
    let mut configuration = json!({"mode": "shadow", "providers": {}, "targets": {}, "models": models});
    for name in THREE {
        configuration["providers"][name] = compatible(name);
        configuration["targets"][name] = json!({"provider": name, "model": format!("{name}-model")});
    }
    for model in configuration["models"].as_object_mut().unwrap().values_mut() {
        model["tiers"] = json!([["one"], ["two"], ["three"]]);
    }
    Gateway::new(Shape::Loop).plugin(&configuration)
}

const THREE: [&str; 3] = ["one", "two", "three"];

#[tokio::test]
async fn the_second_fallback_is_tried_when_the_first_fails() {
    let scene = three(json!({"chat": {}})).start_with(THREE).await;
    scene.providers[0].by_default(errors::openai_429());
    scene.providers[1].by_default(errors::openai_error_event());
    let read = chat("chat").streamed().send(scene.port(), Protocol::Http1).await;
    assert_eq!(said(&read, true), "hello from three");
    assert_eq!(read.header("x-llm-target"), Some("three"));
    assert_eq!(read.header("x-llm-attempts"), Some("3"));
    assert_eq!(read.header("x-llm-fallback"), Some("server"), "the failure before the target that answered");
    assert_eq!(scene.counts(), [1, 1, 1]);
}

#[tokio::test]
async fn when_all_targets_fail_the_client_gets_the_last_response_unchanged() {
    let scene = three(json!({"chat": {}})).start_with(THREE).await;
    let last = errors::anthropic_529().header("retry-after", "7");
    scene.providers[0].by_default(errors::openai_500());
    scene.providers[1].by_default(Script::cut());
    scene.providers[2].by_default(last);
    for stream in [false, true] {
        for protocol in [Protocol::Http1, Protocol::H2c] {
            let ask = Ask { stream, ..chat("chat") };
            let own = ask.send(scene.providers[2].port(), Protocol::Http1).await;
            let got = ask.send(scene.port(), protocol).await;
            assert_unchanged(&own, &got, &format!("{ask:?}"));
            assert_eq!(got.header("x-llm-target"), Some("three"));
            assert_eq!(got.header("x-llm-attempts"), Some("3"));
            assert_eq!(got.header("x-llm-retry"), None);
        }
    }
    assert_eq!(scene.counts(), [4, 4, 8]);
}

#[tokio::test]
async fn a_target_that_sends_retry_after_gets_no_request_until_then() {
    let error = |code: u16| json!({"error": {"message": "not now", "code": code}});
    let scripts = [
        ("overloaded", Script::status(503).json(error(503)).header("retry-after", "4")),
        ("overloaded", Script::status(529).json(error(529)).header("retry-after-ms", "4000")),
        // An error under a 200, and an error that is named only in a header.
        ("rate_limited", Script::status(200).json(error(429)).header("retry-after", "4")),
        (
            "rate_limited",
            Script::status(400)
                .json(json!({"message": "Rate exceeded"}))
                .header("x-amzn-errortype", "ThrottlingException")
                .header("retry-after", "4"),
        ),
    ];
    for (reason, script) in scripts {
        let Scene { envoy, providers: [a, _b], .. } = shipped().await;
        a.script(script);
        let began = Instant::now();
        let first = chat("chat").send(envoy.port(), Protocol::Http1).await;
        let told = ["x-llm-target", "x-llm-attempts", "x-llm-fallback"].map(|name| first.header(name));
        assert_eq!(told, [Some("haiku"), Some("2"), Some(reason)]);
        let next = chat("chat").send(envoy.port(), Protocol::Http1).await;
        let told = ["x-llm-target", "x-llm-attempts", "x-llm-fallback"].map(|name| next.header(name));
        assert_eq!(told, [Some("haiku"), Some("1"), Some("throttled")], "{reason}");
        assert_eq!(a.received().len(), 1);
        loop {
            let read = chat("chat").send(envoy.port(), Protocol::Http1).await;
            if read.header("x-llm-target") == Some("gpt-a") {
                break;
            }
            assert!(began.elapsed() < SOON, "the target is not asked again");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert!(began.elapsed() >= Duration::from_secs(4), "{:?}", began.elapsed());
    }
}

#[tokio::test]
async fn an_error_event_reaches_the_client_when_no_target_is_left() {
    let scene = three(json!({"chat": {}})).start_with(THREE).await;
    for provider in &scene.providers {
        provider.by_default(errors::openai_error_event());
    }
    let got = chat("chat").streamed().send(scene.port(), Protocol::Http1).await;
    assert_eq!(got.status, 200);
    assert_eq!(got.header("content-type"), Some("text/event-stream; charset=utf-8"));
    assert!(got.error.is_none() && got.data()[0].contains("Internal error"), "{}", got.text());
    assert_eq!(scene.counts(), [1, 1, 1]);
}

#[tokio::test]
async fn unreachable_targets_give_a_503_in_the_clients_dialect_that_lists_them() {
    let refused = [RefusedPort::reserve(), RefusedPort::reserve(), RefusedPort::reserve()];
    let clusters = THREE.into_iter().zip(&refused);
    let gateway = clusters
        .fold(three(json!({"chat": {}})), |gateway, (name, refused)| gateway.provider(name, refused.port()));
    let envoy = gateway.start().await;
    let tried = json!([
        {"target": "one", "reason": "transport"},
        {"target": "two", "reason": "transport"},
        {"target": "three", "reason": "transport"},
    ]);
    for (stream, protocol) in [(false, Protocol::Http1), (true, Protocol::H2c)] {
        for ask in [Ask { stream, ..chat("chat") }, Ask { model: "chat", stream, ..messages() }] {
            let got = ask.send(envoy.port(), protocol).await;
            assert_eq!(got.status, 503, "{}", got.text());
            assert_eq!(got.header("content-type"), Some("application/json"));
            assert_eq!(got.header("x-llm-reason"), Some("all_targets_failed"));
            assert_eq!(got.header("x-llm-retry"), None);
            let body = got.json();
            assert_eq!(body["error"]["llm_failsafe"]["targets"], tried, "{body}");
            let (envelope, kind) = if ask.path == "/v1/messages" {
                (json!("error"), "api_error")
            } else {
                (Value::Null, "service_unavailable_error")
            };
            assert_eq!((&body["type"], &body["error"]["type"]), (&envelope, &json!(kind)));
        }
    }
}

#[tokio::test]
async fn the_models_and_the_clients_policies_limit_the_attempts() {
    let models = json!({
        "usual": {},
        "twice": {"retry": {"attempts": 2}},
        "once": {"retry": {"attempts": 1}},
        "never": {"fallback": {"on": []}},
        "otherwise": {"fallback": {"on": ["transport", "overloaded"]}},
    });
    let scene = three(models).start_with(THREE).await;
    for provider in &scene.providers {
        provider.by_default(errors::openai_500());
    }
    for (model, no_fallback, asked) in [
        ("usual", None, [1, 1, 1]),
        ("usual", Some("false"), [1, 1, 1]),
        ("usual", Some("true"), [1, 0, 0]),
        ("twice", None, [1, 1, 0]),
        ("once", None, [1, 0, 0]),
        ("never", None, [1, 0, 0]),
        ("otherwise", None, [1, 0, 0]),
    ] {
        let before = scene.counts();
        let request = Request::chat(model, false);
        let request =
            no_fallback.into_iter().fold(request, |request, v| request.header("x-llm-no-fallback", v));
        let got = request.send(scene.port()).await.unwrap();
        assert_eq!(got.status, 500, "{model}");
        assert_eq!(got.header("x-llm-attempts"), Some(asked.iter().sum::<usize>().to_string().as_str()));
        assert_eq!(got.json().await["error"]["type"], "server_error");
        let after = scene.counts();
        assert_eq!([0, 1, 2].map(|at| after[at] - before[at]), asked, "{model} {no_fallback:?}");
    }
}

#[tokio::test]
async fn the_other_account_of_a_tier_comes_before_the_next_tier() {
    let scene = Gateway::new(Shape::Loop).start_with([("accounts", "openai"), ("last", "anthropic")]).await;
    let Scene { envoy, providers: [accounts, last], .. } = scene;
    accounts.by_default(errors::openai_insufficient_quota());
    let got = chat("chat").send(envoy.port(), Protocol::Http1).await;
    assert_eq!(said(&got, false), "hello from last");
    assert_eq!(got.header("x-llm-fallback"), Some("quota_exhausted"));
    let seen = accounts.received();
    let mut keys: Vec<_> = seen.iter().filter_map(|request| request.header("authorization")).collect();
    keys.sort_unstable();
    assert_eq!(
        keys,
        ["Bearer sk-openai-a-secret", "Bearer sk-openai-b-secret"],
        "each account is asked once"
    );
    assert_eq!(last.received()[0].header("authorization"), Some("Bearer sk-ant-secret"));
}

#[tokio::test]
async fn requests_are_shared_by_weight_within_a_tier_only() {
    let scene = Gateway::new(Shape::Loop).start_with([("tier", "openai"), ("last", "anthropic")]).await;
    let Scene { envoy, providers: [tier, last], .. } = scene;
    for _ in 0..200 {
        let got = chat("chat").send(envoy.port(), Protocol::Http1).await;
        assert_eq!(got.header("x-llm-attempts"), Some("1"));
    }
    let seen = tier.received();
    let heavy = seen.iter().filter(|seen| seen.header("authorization") == Some("Bearer sk-openai-a-secret"));
    // Weights 2 and 1 give 133 of 200 on average. Fewer than 100 or more than 166 happen once in a million runs.
    let heavy = heavy.count();
    assert!((100..=166).contains(&heavy), "{heavy} of 200");
    assert_eq!((seen.len(), last.received().len()), (200, 0));
}
