//! What the command-line tool predicts for a configuration and a request, compared with what Envoy does.

use integration_tests::client::Request;
use integration_tests::gateway::{Gateway, Shape, compatible};
use integration_tests::provider::{Script, errors};
use integration_tests::scene::Scene;
use integration_tests::sha256;
use llm_failsafe::base::WallTime;
use serde_json::{Value, json};

const NOW: WallTime = WallTime::from_millis(1_780_920_000_000);
const CHAT: &str = "/v1/chat/completions";

/// Runs the command-line tool on files with this content.
fn run(command: &str, config: &str, request: Option<&Value>, more: &[&str]) -> Result<String, String> {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let mut arguments = vec![command.to_owned(), "--config".to_owned(), write("config", config)];
    if let Some(request) = request {
        arguments.extend(["--request".to_owned(), write("request", &request.to_string())]);
    }
    arguments.extend(more.iter().map(|argument| (*argument).to_owned()));
    llm_failsafe_cli::run(arguments, NOW).map_err(|failure| failure.to_string())
}

fn explain(config: &Value, request: &Value, more: &[&str]) -> Value {
    let more: Vec<_> = more.iter().copied().chain(["--json"]).collect();
    serde_json::from_str(&run("explain", &config.to_string(), Some(request), &more).unwrap()).unwrap()
}

fn configuration() -> Value {
    let able =
        json!({"tools": true, "context_window": 64_000, "price": {"input": 1, "output": 2}, "region": "us"});
    let target = |provider: &str, more: Value| {
        let mut target = able.clone();
        target["provider"] = json!(provider);
        // The first choice has a model of its own: its equals would be trusted like it.
        target["model"] = json!(if provider == "a" { "m" } else { "n" });
        for (name, value) in more.as_object().unwrap() {
            target[name] = value.clone();
        }
        target
    };
    json!({
        "mode": "shadow",
        "providers": {"a": compatible("a"), "b": compatible("b"), "c": compatible("c")},
        "targets": {
            "first": target("a", json!({})),
            "plain": target("b", json!({"tools": false})),
            "dear": target("b", json!({"price": {"input": 9, "output": 9}})),
            "abroad": target("c", json!({"region": "eu"})),
            "wide": target("c", json!({"context_window": 200_000, "vision": true})),
        },
        "models": {"chat": {
            "tiers": [["first"], ["plain"], ["dear"], ["abroad"], ["wide"]],
            "retry": {"attempts_per_target": 1},
            "fallback": {"max_price_ratio": 3, "context_length": "larger_window", "leave_provider": ["server", "context_length"]},
        }},
    })
}

fn requests() -> Vec<(Value, Vec<(&'static str, &'static str)>)> {
    let turn = |content: Value| json!([{"role": "user", "content": content}]);
    let tool = json!([{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]);
    let image = json!([{"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}]);
    let plain = json!({"model": "chat", "messages": turn(json!("hello"))});
    let with = |name: &str, value: Value| {
        let mut body = plain.clone();
        body[name] = value;
        body
    };
    vec![
        (plain.clone(), vec![]),
        (with("tools", tool), vec![]),
        (with("messages", turn(image)), vec![]),
        (with("messages", turn(json!("a long story ".repeat(20_000)))), vec![]),
        (plain.clone(), vec![("x-llm-region", "eu")]),
        (plain.clone(), vec![("x-llm-no-fallback", "true")]),
        (with("seed", json!(1)), vec![]),
        (with("max_tokens", json!(60_000)), vec![]),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn envoy_does_what_explain_predicts() {
    let config = configuration();
    let gateway = Gateway::new(Shape::Loop).plugin(&config);
    let Scene { envoy, providers, .. } = gateway.start_with(["a", "b", "c"]).await;
    let failures: [(&str, Script); 4] = [
        ("server", errors::openai_500()),
        ("rate_limited", errors::openai_429()),
        ("context_length", errors::openai_context_length()),
        ("content_policy", errors::azure_content_filter()),
    ];
    for (body, headers) in requests() {
        let options: Vec<&str> = headers
            .iter()
            .flat_map(|(name, value)| match *name {
                "x-llm-region" => vec!["--region", *value],
                _ => vec!["--no-fallback"],
            })
            .collect();
        let said = explain(&config, &body, &options);
        for stream in [false, true] {
            let mut body = body.clone();
            body["stream"] = json!(stream);
            let send = async || {
                let request = Request::post(CHAT).json(&body);
                let request =
                    headers.iter().fold(request, |request, (name, value)| request.header(name, value));
                request.ask(envoy.port()).await
            };
            let case = format!("{headers:?} {stream} {said:#}");
            let read = send().await;
            let Some(first) = said["first"][0].as_str() else {
                assert!([400, 403].contains(&read.status.as_u16()), "{case} {}", read.text());
                let told = read.json();
                let told = told["error"]["llm_failsafe"]["targets"].as_array().unwrap();
                for (told, candidate) in told.iter().zip(said["candidates"].as_array().unwrap()) {
                    assert_eq!(
                        (&told["target"], &told["gates"]),
                        (&candidate["target"], &candidate["gates"])
                    );
                }
                continue;
            };
            assert_eq!((read.status.as_u16(), read.header("x-llm-target")), (200, Some(first)), "{case}");
            // The provider of the first target fails once in each way.
            let cluster = config["targets"][first]["provider"].as_str().unwrap();
            let provider = providers.iter().find(|provider| provider.name() == cluster).unwrap();
            for (class, failure) in &failures {
                provider.script(failure.clone());
                let read = send().await;
                let then = &said["after"][class];
                let expected = then["next"][0].as_str();
                assert_eq!(read.status == 200, expected.is_some(), "{class} {case} {}", read.text());
                assert_eq!(read.header("x-llm-target"), Some(expected.unwrap_or(first)), "{class} {case}");
                assert_eq!(read.header("x-llm-attempts") == Some("2"), expected.is_some(), "{class} {case}");
            }
        }
    }
}

/// Approvals for several first choices, a model in shadow mode, and keys that allow less than the models.
fn bounded() -> Value {
    let target = |provider: &str, region: &str, weight: u64| {
        let price = json!({"input": 1, "output": 1});
        json!({"provider": provider, "model": "m", "region": region, "weight": weight, "price": price})
    };
    let pair = |from: &str, to: &str, until: &str| json!({"from": from, "to": to, "until": until});
    let once = json!({"attempts_per_target": 1});
    let both = json!([["first", "twin"], ["near"], ["far"]]);
    json!({
        "mode": "shadow",
        "providers": {"a": compatible("a"), "b": compatible("b")},
        "targets": {
            "first": target("a", "us", 1_000_000), "twin": target("a", "us", 1),
            "near": target("b", "us", 1), "far": target("b", "eu", 1),
        },
        "models": {
            "pairs": {"tiers": both, "retry": once, "fallback": {"approved": [
                pair("first", "near", "2020-01-01"), pair("twin", "near", "2999-12-31"), pair("first", "far", "2999-12-31"),
            ]}},
            "trial": {"tiers": [["first"], ["far"]], "retry": once, "fallback": {"mode": "shadow", "region": ["eu"]}},
            "once": {"tiers": [["first"], ["near"]], "retry": {"attempts": 1}},
            "free": {"tiers": both, "retry": once},
        },
        "keys": {
            "all": {"sha256": sha256("all-key")},
            "eu": {"sha256": sha256("eu-key"), "regions": ["eu"]},
            "some": {"sha256": sha256("some-key"), "models": ["once"]},
            "poor": {"sha256": sha256("poor-key"), "max_request_cost": 0.000001},
            "picky": {"sha256": sha256("picky-key"), "targets": {"deny": ["first", "near"]}},
        },
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn explain_and_envoy_agree_on_keys_approvals_shadow_mode_and_client_headers() {
    let config = bounded();
    let gateway = Gateway::new(Shape::Loop).plugin(&config);
    let Scene { envoy, providers: [a, b], .. } = gateway.start_with(["a", "b"]).await;
    let cases = ["pairs", "trial", "once", "free"].into_iter().flat_map(|model| {
        let keys = ["all", "eu", "some", "poor", "picky"].into_iter();
        keys.flat_map(move |key| {
            let regions = [None, Some("eu"), Some("US , eu"), Some("mars"), Some("eu,,us"), Some("")];
            regions.into_iter().map(move |region| (model, key, region))
        })
    });
    for (model, key, region) in cases {
        let turn = json!([{"role": "user", "content": "hello"}]);
        let body = json!({"model": model, "max_tokens": 9, "messages": turn});
        let mut options = vec!["--key", key, "--json"];
        options.extend(region.iter().flat_map(|region| ["--region", *region]));
        let said = run("explain", &config.to_string(), Some(&body), &options);
        let send = async || {
            let request =
                Request::post(CHAT).json(&body).header("authorization", &format!("Bearer {key}-key"));
            let request =
                region.into_iter().fold(request, |request, list| request.header("x-llm-region", list));
            request.ask(envoy.port()).await
        };
        let read = send().await;
        let case = format!("{model} {key} {region:?}: {} {}", read.status, read.text());
        let said: Value = match said {
            Ok(said) => serde_json::from_str(&said).unwrap(),
            Err(why) => {
                let reason = read.header("x-llm-reason");
                assert!(matches!(reason, Some("model_not_found" | "invalid_region")), "{why} {case}");
                continue;
            }
        };
        let first = said["first"].as_array().unwrap();
        let Some(asked) = first.first().and_then(Value::as_str) else {
            assert!(matches!(read.status.as_u16(), 400 | 403), "{said:#} {case}");
            continue;
        };
        assert_eq!(read.status, 200, "{said:#} {case}");
        assert_eq!(read.header("x-llm-target"), Some(asked), "{said:#} {case}");
        let provider = if config["targets"][asked]["provider"] == "a" { &a } else { &b };
        provider.script(errors::openai_500());
        let read = send().await;
        let next = said["after"]["server"]["next"][0].as_str();
        assert_eq!(read.header("x-llm-target"), Some(next.unwrap_or(asked)), "{said:#} {case}");
        assert_eq!(read.status == 200, next.is_some(), "{said:#} {case}");
    }
}

#[test]
fn explain_skips_a_target_that_is_down() {
    let config = configuration();
    let (plain, _) = &requests()[0];
    assert_eq!(explain(&config, plain, &[])["first"], json!(["first"]));
    assert_eq!(explain(&config, plain, &["--down", "first"])["first"], json!(["plain"]));
    let down = ["--down", "first", "--down", "plain", "--down", "abroad"];
    assert_eq!(explain(&config, plain, &down)["first"], json!(["wide"]));
    let error = run("explain", &config.to_string(), Some(plain), &["--down", "frist"]).unwrap_err();
    assert_eq!(error, "no target has the name `frist`");
}

#[test]
fn explain_prints_a_readable_explanation() {
    let (tools, _) = &requests()[1];
    let text = run("explain", &configuration().to_string(), Some(tools), &[]).unwrap();
    for line in [
        "chat at chat",
        "  capabilities       tools",
        "  tier 1  first                eligible",
        "  tier 2  plain                ineligible",
        "          tools: needed yes; offered no",
        "          price_ratio: needed at most 3.000 times $1 input $2 output; offered $9 input $9 output",
        "first attempt: first",
        "  server            abroad",
        "  content_policy    no fallback, the client receives the error",
        "  rate_limited      no other target is eligible",
    ] {
        assert!(text.lines().any(|it| it == line), "{line:?} is not in\n{text}");
    }
}

#[test]
fn check_accepts_the_shipped_files() {
    for file in ["envoy/envoy.yaml", "envoy/single.yaml"] {
        let text = std::fs::read_to_string(integration_tests::paths::root().join(file)).unwrap();
        let report = run("check", &text, None, &[]).unwrap();
        assert!(report.starts_with("good: "), "{report}");
        assert!(report.contains("`OPENAI_KEY_A` is not set here"), "{report}");
    }
}

#[test]
fn check_reports_mistakes_with_their_paths_in_every_form() {
    let mut config = configuration();
    config["targets"]["first"]["visoin"] = json!(true);
    let yaml = "providers: { a: { kind: openai } }\ntargets: { first: { provider: a, model: m, visoin: true } }\nmodels: { chat: { targets: [first] } }\n";
    let plugin = format!(
        "static_resources: {{ x: [{{ configuration: {{ \"@type\": type.googleapis.com/google.protobuf.Struct, value: {config} }} }}] }}"
    );
    for text in [config.to_string(), yaml.to_owned(), plugin] {
        let mistakes = run("check", &text, None, &[]).unwrap_err();
        assert!(
            mistakes.contains("targets.first.visoin: unknown field `visoin`, did you mean `vision`?"),
            "{mistakes}"
        );
    }
}

#[test]
fn check_warns_of_valid_but_unlikely_settings() {
    let mut config = configuration();
    config["models"]["chat"]["fallback"] = json!({
        "max_price": {"input": 5},
        "approved": [
            {"from": "first", "to": "plain", "until": "2026-06-01"}, {"from": "first", "to": "wide", "until": "2026-06-20"},
            {"from": "first", "to": "abroad"}, {"from": "first", "to": "dear"},
        ],
    });
    config["targets"]["abroad"] = json!({"provider": "c", "model": "n"});
    config["targets"]["first"]["json_schema"] = json!(true);
    config["models"]["alone"] = json!({"targets": ["wide"]});
    config["models"]["pair"] = json!({"targets": ["plain", "dear"]});
    let report = run("check", &config.to_string(), None, &[]).unwrap();
    for warning in [
        "models.alone: has a single target: if it fails, every request fails",
        "models.pair: all targets use the provider `b`",
        "models.chat: `plain` is never eligible: pair_expired",
        "models.chat: `dear` is never eligible: price_ceiling",
        "models.chat: the approval of `plain` as a substitute for `first` has expired",
        "models.chat: the approval of `wide` as a substitute for `first` expires in 12 days",
        "targets.abroad: has no `price`, and neither has the catalogue, but models.chat.fallback.max_price needs one",
        "targets.abroad: has no `context_window`, and its model is not in the catalogue: as a substitute it gets no prompts above 8192 tokens",
    ] {
        assert!(report.lines().any(|line| line.trim() == warning), "{warning:?} is not in\n{report}");
    }
    let lost = |line: &str| {
        line.contains("models.chat: no target after the first tier offers at") && line.contains("json_schema")
    };
    assert!(report.lines().any(lost), "{report}");
}

#[test]
fn check_says_what_comes_from_the_catalogue_and_what_is_unknown() {
    let config = json!({
        "providers": {"openai": {"kind": "openai"}, "own": compatible("own"), "anthropic": {"kind": "anthropic"}},
        "targets": {
            "listed": {"provider": "openai", "model": "gpt-4.1-mini", "files": false},
            "dated": {"provider": "anthropic", "model": "claude-sonnet-4-5-20250929"},
            "declared": {"provider": "openai", "model": "gpt-4.1-mini", "context_window": 9000,
                "max_output_tokens": 90, "price": {"input": 1, "output": 1}, "tools": true, "json_schema": true,
                "vision": true, "audio": false, "audio_output": false, "image_output": false, "files": false,
                "reasoning": false},
            "tuned": {"provider": "openai", "model": "ft:gpt-4.1-mini-2025-04-14:acme::x"},
            "mine": {"provider": "own", "model": "my-model"},
            "open": {"provider": "own", "model": "qwen/qwen3-coder-30b-a3b-instruct"},
        },
        "models": {
            "chat": {"tiers": [["listed"], ["dated"], ["mine"]], "fallback": {"max_price_ratio": 2}},
            "rest": {"targets": ["declared", "tuned", "open"]},
        },
    });
    let report = run("check", &config.to_string(), None, &[]).unwrap();
    let as_of = llm_failsafe::catalogue::as_of();
    let facts = "context_window 1047576, max_output_tokens 32768, tools, json_schema, vision";
    let not = "no audio, no audio_output, no image_output";
    for line in [
        format!("models, with list prices as of {as_of}:"),
        format!(
            "targets.listed: from the catalogue: {facts}, {not}, no reasoning, price $0.4 input $1.6 output $0.1 cached input"
        ),
        format!(
            "targets.dated: from the catalogue: context_window 200000, max_output_tokens 64000, tools, json_schema, vision, \
             files, reasoning, {not}, price $3 input $15 output $0.3 cached input (prompts above 200000 tokens cost more, \
             which is not counted)"
        ),
        "targets.declared: from the catalogue: nothing".to_owned(),
        format!("targets.tuned: from the catalogue: {facts}, files, {not}, no reasoning; unknown: price"),
        "targets.mine: `my-model` is not in the catalogue; unknown: context_window, max_output_tokens, price, tools, \
         json_schema, vision, files, reasoning"
            .to_owned(),
        "targets.open: from the catalogue: no reasoning; unknown: context_window, max_output_tokens, price, tools, \
         json_schema, vision, files"
            .to_owned(),
    ] {
        assert!(report.lines().any(|it| it.trim() == line), "{line:?} is not in\n{report}");
    }
    // The catalogue makes these warnings needless where it knows the model.
    let warned: Vec<_> = report.lines().filter(|line| line.contains("has no `")).collect();
    assert!(
        warned.iter().all(|line| line.contains("targets.mine:") || line.contains("targets.open:")),
        "{report}"
    );
    assert_eq!(warned.len(), 2, "{report}");
}
