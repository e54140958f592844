//! Boundaries with unusual inputs: several ineligible first choices, shadow mode next to enforced keys, and unusual spellings
//! of client headers.

use integration_tests::client::{Read, Request};
use integration_tests::envoy::Envoy;
use integration_tests::gateway::{Gateway, Shape, compatible};
use integration_tests::provider::{ScriptedProvider, errors};
use integration_tests::sha256;
use serde_json::{Value, json};

struct BoundaryScene {
    first: ScriptedProvider,
    spare: ScriptedProvider,
    envoy: Envoy,
}

impl BoundaryScene {
    async fn start(change: impl FnOnce(&mut Value)) -> Self {
        let target = |provider: &str, region: &str, tools: bool| json!({"provider": provider, "model": "m", "region": region, "tools": tools});
        let mut plugin = json!({
            "mode": "shadow",
            "retry_budget": {"ratio": 10},
            "providers": {"first": compatible("first"), "spare": compatible("spare")},
            "targets": {
                "first": target("first", "us", false), "twin": target("first", "us", false),
                "near": target("spare", "us", true), "far": target("spare", "eu", true),
            },
            "models": {},
        });
        change(&mut plugin);
        let scene = Gateway::new(Shape::Loop).plugin(&plugin).start_with(["first", "spare"]).await;
        let [first, spare] = scene.providers;
        Self { first, spare, envoy: scene.envoy }
    }

    async fn ask(&self, model: &str, tools: bool, stream: bool, headers: &[(&str, &str)]) -> Read {
        let mut body =
            json!({"model": model, "stream": stream, "messages": [{"role": "user", "content": "hi"}]});
        if tools {
            body["tools"] =
                json!([{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]);
        }
        let request = Request::post("/v1/chat/completions").json(&body);
        let request = headers.iter().fold(request, |request, (name, value)| request.header(name, value));
        request.ask(self.envoy.port()).await
    }

    fn asked(&self) -> usize {
        self.first.received().len() + self.spare.received().len()
    }
}

#[tokio::test]
async fn a_substitute_for_several_targets_needs_an_approval_for_each() {
    let pair = |from: &str, to: &str, until: &str| json!({"from": from, "to": to, "until": until});
    let scene = BoundaryScene::start(|plugin| {
        let tiers = json!([["first", "twin"], ["near"], ["far"]]);
        let model = |pairs: Value| json!({"tiers": tiers, "retry": {"attempts_per_target": 1}, "fallback": {"approved": pairs}});
        plugin["models"] = json!({
            "both": model(json!([pair("first", "near", "2999-12-31"), pair("twin", "near", "2999-12-31")])),
            "one": model(json!([pair("first", "near", "2999-12-31"), pair("twin", "far", "2999-12-31")])),
            "half-expired": model(json!([
                pair("first", "near", "2020-01-01"), pair("twin", "near", "2999-12-31"),
                pair("first", "far", "2999-12-31"), pair("twin", "far", "2999-12-31"),
            ])),
        });
    })
    .await;
    // No target of the first tier has tools, so none of them is asked.
    for stream in [false, true] {
        for (model, status, target) in [("both", 200, Some("near")), ("half-expired", 200, Some("far"))] {
            let read = scene.ask(model, true, stream, &[]).await;
            assert_eq!((read.status.as_u16(), read.header("x-llm-target")), (status, target), "{model}");
        }
        let asked = scene.asked();
        let read = scene.ask("one", true, stream, &[]).await;
        assert_ne!(read.status, 200, "{}", read.text());
        let error = read.json();
        let targets = error["error"]["llm_failsafe"]["targets"].as_array().unwrap();
        let gates: Vec<_> = targets.iter().map(|told| (&told["target"], &told["reason"])).collect();
        for target in ["near", "far"] {
            assert!(gates.contains(&(&json!(target), &json!("pair_not_approved"))), "{error}");
        }
        assert_eq!(scene.asked(), asked, "refused before any target was asked");
    }
}

#[tokio::test]
async fn shadow_mode_of_a_models_boundaries_still_enforces_keys_and_client_headers() {
    let scene = BoundaryScene::start(|plugin| {
        plugin["models"]["trial"] =
            json!({"tiers": [["first"], ["far"]], "fallback": {"mode": "shadow", "region": ["eu"]}});
        plugin["keys"] = json!({
            "all": {"sha256": sha256("all")},
            "eu": {"sha256": sha256("eu"), "regions": ["eu"]},
            "lists": {"sha256": sha256("lists"), "targets": {"deny": ["first"]}},
            "keeps": {"sha256": sha256("keeps"), "zero_retention": "required"},
        });
    })
    .await;
    for (key, region, served) in [
        ("all", None, true),
        ("all", Some("us"), true),
        ("all", Some("eu"), false),
        ("all", Some("mars"), false),
        ("eu", None, false),
        ("eu", Some("us"), false),
        ("lists", None, false),
        ("keeps", None, false),
    ] {
        for stream in [false, true] {
            let credential = format!("Bearer {key}");
            let mut headers = vec![("authorization", credential.as_str())];
            headers.extend(region.map(|region| ("x-llm-region", region)));
            let asked = scene.asked();
            // The gate for tools belongs to the model, which is in shadow mode.
            let read = scene.ask("trial", true, stream, &headers).await;
            let case = format!("{key} {region:?}: {} {}", read.status, read.text());
            assert_eq!(read.status == 200, served, "{case}");
            assert_eq!(read.header("x-llm-target"), served.then_some("first"), "{case}");
            assert_eq!(scene.asked() - asked, usize::from(served), "{case}");
        }
    }
    assert!(scene.spare.received().is_empty());
}

#[tokio::test]
async fn every_spelling_of_x_llm_no_fallback_forbids_a_substitute() {
    let scene = BoundaryScene::start(|plugin| {
        plugin["models"]["chat"] =
            json!({"tiers": [["first"], ["near"]], "retry": {"attempts_per_target": 1}});
    })
    .await;
    scene.first.by_default(errors::openai_500());
    const NAME: &str = "x-llm-no-fallback";
    for (headers, forbids) in [
        (&[(NAME, "true")][..], true),
        (&[(NAME, "True ")], true),
        (&[(NAME, "yes")], true),
        (&[(NAME, "")], true),
        (&[("X-LLM-No-Fallback", "on")], true),
        (&[(NAME, "false"), (NAME, "true")], true),
        (&[(NAME, "false,true")], true),
        (&[(NAME, "false")], false),
        (&[(NAME, "0")], false),
        (&[], false),
    ] {
        for stream in [false, true] {
            let read = scene.ask("chat", false, stream, headers).await;
            let status = if forbids { 500 } else { 200 };
            assert_eq!(read.status, status, "{headers:?}: {}", read.text());
        }
    }
    assert!(scene.first.received().iter().all(|request| request.header(NAME).is_none()));
}

#[tokio::test]
async fn a_target_without_streaming_is_skipped_for_streams_only() {
    let scene = BoundaryScene::start(|plugin| {
        plugin["targets"]["first"]["streaming"] = json!(false);
        // It has the model of `first`, so without a declaration of its own that one's would hold.
        plugin["targets"]["near"]["streaming"] = json!(true);
        plugin["models"]["chat"] = json!({"tiers": [["first"], ["near"]]});
        plugin["models"]["alone"] = json!({"targets": ["first"]});
    })
    .await;
    let read = scene.ask("chat", false, false, &[]).await;
    assert_eq!((read.status.as_u16(), read.header("x-llm-target")), (200, Some("first")));
    let read = scene.ask("chat", false, true, &[]).await;
    assert_eq!((read.status.as_u16(), read.header("x-llm-target")), (200, Some("near")));
    assert_eq!(read.header("x-llm-fallback"), Some("streaming"));
    assert!(read.text().ends_with("data: [DONE]\n\n"));
    let read = scene.ask("alone", false, true, &[]).await;
    assert_eq!((read.status.as_u16(), read.header("x-llm-reason")), (400, Some("no_target_may_take_it")));
    assert!(read.text().contains("\"streaming\""), "{}", read.text());
}
