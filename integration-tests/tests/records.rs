//! One record per client request describes what happened to it, however it ended. Every record that is read here is validated
//! against `docs/decision-record.schema.json`.

use std::time::Duration;

use integration_tests::client::{Read, Request};
use integration_tests::envoy::Envoy;
use integration_tests::gateway::{Gateway, Shape, edge_host};
use integration_tests::provider::{RefusedPort, Script, ScriptedProvider, errors};
use integration_tests::records;
use integration_tests::scene::Scene;
use integration_tests::sha256;
use llm_failsafe::base::ErrorClass;
use llm_failsafe::record::{
    AttemptRecord, CandidateRecord, ClosedGate, Cost, Cut, NeedsRecord, PolicyRecord, ProviderError, Record,
    SCHEMA_VERSION, StreamRecord, UsageRecord,
};
use serde_json::{Value, json};

/// Two targets behind one model in two tiers.
struct RecordScene {
    a: ScriptedProvider,
    b: ScriptedProvider,
    envoy: Envoy,
}

impl RecordScene {
    async fn start(shape: Shape, changes: &Value) -> Self {
        Self::with(shape, changes, |_| {}).await
    }

    /// With a change to the edge's virtual host.
    async fn with(shape: Shape, changes: &Value, edge: impl FnOnce(&mut Value)) -> Self {
        let gateway = Gateway::new(shape)
            .configure(
                &json!({"models": {"chat": {"tiers": [["gpt-a"], ["haiku"]], "retry": {"attempts": 2}}}}),
            )
            .configure(changes)
            .edit(|config| edge(edge_host(config)));
        let scene = gateway.start_with([("a", "openai"), ("b", "anthropic")]).await;
        let [a, b] = scene.providers;
        Self { a, b, envoy: scene.envoy }
    }

    async fn ask(&self, request: Request) -> Read {
        request.ask(self.envoy.port()).await
    }

    /// The record of the only request so far.
    async fn record(&self) -> Value {
        records::wait_for(&self.envoy, 1).await.remove(0)
    }
}

/// Each attempt in short: target, end, error class, what followed, status, billing.
fn attempts_of(record: &Value) -> Vec<Value> {
    let attempts = record["attempts"].as_array().unwrap().iter();
    attempts
        .map(|attempt| {
            json!([
                attempt["target"],
                attempt["end"],
                attempt["error.type"],
                attempt["then"],
                attempt["http.response.status_code"],
                attempt["billed"],
            ])
        })
        .collect()
}

/// A record with every possible member.
fn everything() -> Record<'static> {
    let usage = Some(UsageRecord { input: 1, output: 2, cached: 3, cache_creation: 4, reasoning: 5 });
    let candidate = CandidateRecord {
        target: "t".into(),
        tier: 1,
        state: "open".into(),
        until_ms: Some(1),
        rejected: Some("tools".into()),
        max_pending: Some(3),
        gates: vec![ClosedGate { gate: "tools".into(), needed: "yes".into(), offered: "no".into() }],
    };
    Record {
        schema_version: SCHEMA_VERSION,
        start_unix_ms: 1,
        duration_ms: 2,
        request_id: Some("r".into()),
        trace_id: Some("0".repeat(32).into()),
        parent_span_id: Some("0".repeat(16).into()),
        key_id: Some("k".into()),
        key_metadata: [("team".into(), "a".into())].into(),
        session_hash: Some("0".repeat(16).into()),
        policy: PolicyRecord {
            config_hash: "0".repeat(16).into(),
            mode: "enforce".into(),
            retry_loop: true,
            filter_version: "1".into(),
        },
        endpoint: "chat".into(),
        operation: "chat".into(),
        model: Some("m".into()),
        requested_name: Some("n".into()),
        needs: Some(NeedsRecord {
            stream: true,
            max_tokens: Some(1),
            choices: Some(1),
            body_bytes: 1,
            text_bytes: 1,
            media_bytes: 1,
            token_ids: 1,
            items: 1,
            tools: 1,
            images: 1,
            audio: 1,
            files: 1,
            features: vec!["seed".into()],
            regions: vec!["eu".into()],
            state: vec!["file".into()],
        }),
        attempts: vec![AttemptRecord {
            number: 1,
            target: "t".into(),
            account: "a".into(),
            provider: "p".into(),
            vendor: "openai".into(),
            model: "m".into(),
            region: Some("eu".into()),
            host: "h".into(),
            why: "first_choice".into(),
            balance: Some("weighted".into()),
            probe: true,
            reasoning_dropped: true,
            translated: Some("messages>chat".into()),
            lost: vec!["cache_control".into()],
            candidates: vec![candidate.clone()],
            wait_ms: Some(1),
            start_ms: 1,
            headers_ms: Some(1),
            first_content_ms: Some(1),
            end_ms: 1,
            status: Some(200),
            answered_by: Some("provider".into()),
            end: "broken".into(),
            class: Some("server".into()),
            provider_error: Some(ProviderError { kind: Some("k".into()), code: Some("c".into()) }),
            provider_request_id: Some("r".into()),
            retry_after_ms: Some(1),
            response_bytes: 1,
            stream: Some(StreamRecord { events: 1, longest_gap_ms: 1, end: "complete".into() }),
            usage,
            cost_micro_usd: Some(1),
            then: Some("elsewhere".into()),
            billed: "maybe".into(),
        }],
        last_candidates: vec![candidate],
        forgotten_attempts: 1,
        outcome: "broken".into(),
        outcome_reason: Some("server".into()),
        status: Some(200),
        target: Some("t".into()),
        response_model: Some("m".into()),
        time_to_first_chunk: Some(0.5),
        finish_reasons: vec!["stop".into()],
        usage,
        cost: Some(Cost { micro_usd: 1, price_version: "0".repeat(16).into(), complete: true }),
        usage_missing: true,
        attempts_maybe_billed: 1,
        cut: Cut { candidates: 1, gates: 1, attempts: 1 },
    }
}

#[test]
fn the_schema_has_exactly_the_members_of_a_record() {
    let json = everything().to_json().unwrap();
    records::check(&serde_json::from_str(&json).unwrap());
    let mut named = Vec::new();
    properties(&records::schema(), &mut named);
    let missing: Vec<_> = named.iter().filter(|name| !json.contains(&format!("\"{name}\":"))).collect();
    assert!(missing.is_empty(), "the schema has members that no record has: {missing:?}");
    let classes = &records::schema()["$defs"]["attempt"]["properties"]["error.type"]["enum"];
    let all: Vec<_> = ErrorClass::ALL.into_iter().map(ErrorClass::name).collect();
    assert_eq!(classes, &json!(all));
}

fn properties(schema: &Value, named: &mut Vec<String>) {
    let Some(members) = schema.as_object() else { return };
    if let Some(properties) = members.get("properties").and_then(Value::as_object) {
        named.extend(properties.keys().cloned());
        for inner in properties.values() {
            self::properties(inner, named);
        }
    }
    for inner in members.get("$defs").and_then(Value::as_object).into_iter().flat_map(|defs| defs.values()) {
        properties(inner, named);
    }
}

#[tokio::test]
async fn a_fallback_is_recorded_with_its_attempts_and_reasons() {
    let scene = RecordScene::start(Shape::Loop, &json!({})).await;
    scene.a.script(errors::openai_500());
    let read = scene.ask(Request::chat("chat", true)).await;
    assert_eq!(read.status, 200, "{}", read.text());
    let record = scene.record().await;
    assert_eq!((&record["outcome"], &record["outcome_reason"]), (&json!("fell_back"), &json!("server")));
    assert_eq!(
        attempts_of(&record),
        [
            json!(["gpt-a", "failed", "server", "elsewhere", 500, "maybe"]),
            json!(["haiku", "answered", null, null, 200, "likely"]),
        ]
    );
    let [first, second] = &record["attempts"].as_array().unwrap()[..] else { panic!("{record:#}") };
    assert_eq!((&first["why"], &second["why"]), (&json!("first_choice"), &json!("server")));
    assert_eq!((&first["balance"], &second["balance"]), (&json!("weighted"), &json!("weighted")));
    assert_eq!(first["provider_error"], json!({"type": "server_error"}));
    assert_eq!(first["provider_request_id"], "req_scripted");
    assert_eq!((&first["account"], &first["provider"]), (&json!("openai-a"), &json!("openai")));
    // The first target could be retried, but a target that has not been tried comes first.
    assert_eq!(
        second["candidates"],
        json!([
            {"target": "gpt-a", "tier": 0, "state": "closed"},
            {"target": "haiku", "tier": 1, "state": "closed"},
        ])
    );
    assert_eq!(second["gen_ai.provider.name"], "anthropic");
    assert_eq!(second["stream"]["end"], "complete");
    // The client did not ask for usage, so it does not get that event.
    assert!(second["response_bytes"].as_u64().unwrap() > read.bytes().len() as u64);
    assert_eq!((&record["target"], &record["http.response.status_code"]), (&json!("haiku"), &json!(200)));
    assert_eq!(record["attempts_maybe_billed"], 2);
    assert_eq!(record["needs"]["gen_ai.request.stream"], true);
    let request_id = record["request_id"].as_str().unwrap();
    assert_eq!(request_id.len(), 36, "the id is the edge's own: {request_id}");
}

#[tokio::test]
async fn an_ordinary_listener_writes_one_record_per_request() {
    let scene = RecordScene::start(Shape::Single, &json!({})).await;
    let read = scene.ask(Request::chat("chat", false)).await;
    scene.a.script(errors::openai_429());
    assert_eq!(scene.ask(Request::chat("chat", false)).await.status, 429);
    let records = records::wait_for(&scene.envoy, 2).await;
    assert_eq!(records[0]["outcome"], "served");
    assert_eq!(records[0]["attempts"][0]["response_bytes"], read.bytes().len());
    assert_eq!(attempts_of(&records[0]), [json!(["gpt-a", "answered", null, null, 200, "likely"])]);
    assert_eq!(
        (&records[1]["outcome"], &records[1]["outcome_reason"]),
        (&json!("refused"), &json!("rate_limited"))
    );
    assert_eq!(
        attempts_of(&records[1]),
        [json!(["gpt-a", "failed", "rate_limited", "no_retry_loop", 429, "no"])]
    );
    assert!(records[1]["attempts"][0]["retry_after_ms"].is_u64());
}

#[tokio::test]
async fn a_key_has_two_texts_while_it_is_replaced_and_may_expire() {
    let keys = json!({
        "rotated": {"sha256": [sha256("sk-old"), sha256("sk-new")], "expires": "2999-12-31"},
        "former": {"sha256": sha256("sk-former"), "expires": "2026-01-31T12:00:00+01:00"},
    });
    let scene = RecordScene::start(Shape::Loop, &json!({"keys": keys})).await;
    let chat = |key: &str| Request::chat("chat", false).header("authorization", &format!("Bearer {key}"));
    for key in ["sk-old", "sk-new"] {
        assert_eq!(scene.ask(chat(key)).await.status, 200, "{key}");
    }
    let refused = scene.ask(chat("sk-former")).await;
    assert_eq!((refused.status.as_u16(), refused.header("x-llm-reason")), (401, Some("expired_api_key")));
    let error = &refused.json()["error"];
    assert_eq!(
        (&error["code"], &error["message"]),
        (&json!("expired_api_key"), &json!("The API key has expired."))
    );
    let messages =
        Request::post("/v1/messages").header("x-api-key", "sk-former").json(&json!({"model": "chat"}));
    let refused = scene.ask(messages).await;
    assert_eq!(
        (refused.status.as_u16(), &refused.json()["error"]["type"]),
        (401, &json!("authentication_error"))
    );
    let records = records::wait_for(&scene.envoy, 4).await;
    let of = |name: &str| records.iter().map(|record| record[name].clone()).collect::<Vec<_>>();
    assert_eq!(of("key_id"), ["rotated", "rotated", "former", "former"], "operators see whose key it was");
    assert_eq!(of("outcome")[2..], ["refused", "refused"]);
    assert_eq!(of("outcome_reason")[2..], ["expired_api_key", "expired_api_key"]);
}

#[tokio::test]
async fn a_refusal_without_an_attempt_has_a_record() {
    let key = "ab".repeat(32);
    let scene = RecordScene::start(Shape::Loop, &json!({"keys": {"team-a": {"sha256": key}}})).await;
    assert_eq!(scene.ask(Request::chat("chat", false)).await.status, 401);
    let record = scene.record().await;
    assert_eq!(
        (&record["outcome"], &record["outcome_reason"]),
        (&json!("refused"), &json!("invalid_api_key"))
    );
    assert_eq!(record["http.response.status_code"], 401);
    assert_eq!(record["attempts"], json!([]));

    let scene = RecordScene::start(Shape::Loop, &json!({})).await;
    assert_eq!(scene.ask(Request::chat("gpt-9", false)).await.status, 404);
    assert_eq!(scene.ask(Request::chat("sk-proj-pasted-in-the-wrong-field", false)).await.status, 404);
    assert_eq!(scene.ask(Request::post("/v1/chat/completions").bytes("{nonsense")).await.status, 400);
    let records = records::wait_for(&scene.envoy, 3).await;
    let reasons: Vec<_> = records.iter().map(|record| &record["outcome_reason"]).collect();
    assert_eq!(reasons, ["model_not_found", "model_not_found", "invalid_json"]);
    assert_eq!(records[0]["gen_ai.request.model"], "gpt-9");
    assert_eq!(records[1].get("gen_ai.request.model"), None, "a key in the wrong place is not recorded");
    assert_eq!(records[2].get("needs"), None);
}

#[tokio::test]
async fn when_no_target_is_available_the_record_gives_each_targets_state() {
    let scene = RecordScene::start(Shape::Loop, &json!({})).await;
    scene.a.script(errors::openai_401());
    scene.b.script(errors::anthropic_429());
    scene.ask(Request::chat("chat", false)).await;
    assert_eq!(scene.ask(Request::chat("chat", false)).await.status, 503);
    let records = records::wait_for(&scene.envoy, 2).await;
    assert_eq!(records[1]["outcome_reason"], "all_targets_open");
    let states: Vec<_> =
        records[1]["last_candidates"].as_array().unwrap().iter().map(|one| &one["state"]).collect();
    assert_eq!(states, ["blocked", "throttled"]);
    assert!(records[1]["last_candidates"][0]["until_ms"].as_u64().unwrap() > 1000);
}

#[tokio::test]
async fn the_record_has_every_closed_gate_and_the_keys_metadata() {
    let key = sha256("sk-client");
    let scene = RecordScene::start(
        Shape::Loop,
        &json!({
            "keys": {"team-a": {"sha256": key, "metadata": {"team": "search", "cost-centre": "4711"}}},
            "targets": {"gpt-a": {"region": "eu"}, "haiku": {"region": "us", "json_schema": false}},
            "models": {"chat": {"fallback": {"region": ["eu"], "min_quality": 3}, "balance": {"strategy": "least_pending"}}},
        }),
    )
    .await;
    let request = Request::chat("chat", false).header("authorization", "Bearer sk-client");
    let read = scene.ask(request).await;
    assert_eq!(read.status, 403, "{}", read.text());
    let record = scene.record().await;
    assert_eq!(record["key_metadata"], json!({"team": "search", "cost-centre": "4711"}));
    let candidates = &record["last_candidates"];
    let quality = json!({"gate": "quality", "needed": "at least 3", "offered": "unknown"});
    assert_eq!(candidates[0]["gates"], json!([quality]), "{record:#}");
    let residency = json!({"gate": "residency", "needed": "eu", "offered": "us"});
    assert_eq!(candidates[1]["gates"], json!([residency, quality]));
    assert_eq!(candidates[1]["rejected"], "residency", "the first closed gate");
}

#[tokio::test]
async fn a_record_distinguishes_broken_streams_from_client_aborts() {
    let scene = RecordScene::start(Shape::Loop, &json!({})).await;
    scene.a.script(Script::usual().cut_after_chunks(3));
    let read = scene.ask(Request::chat("chat", true)).await;
    assert_eq!(read.status, 200);
    scene.a.script(Script::usual().hang_after_chunks(3));
    let mut response = Request::chat("chat", true).send(scene.envoy.port()).await.unwrap();
    response.next_chunk().await.unwrap().unwrap();
    drop(response);
    let records = records::wait_for(&scene.envoy, 2).await;
    assert_eq!(
        (&records[0]["outcome"], &records[0]["outcome_reason"]),
        (&json!("broken"), &json!("stream_truncated"))
    );
    assert_eq!(
        attempts_of(&records[0]),
        [json!(["gpt-a", "broken", "stream_truncated", null, 200, "likely"])]
    );
    assert_eq!(records[0]["attempts"][0]["stream"]["end"], "truncated");
    assert_eq!(records[1]["outcome"], "client_abort");
    assert_eq!(attempts_of(&records[1]), [json!(["gpt-a", "client_abort", null, null, 200, "likely"])]);
}

#[tokio::test]
async fn a_broken_attempt_is_in_the_record_of_the_next_attempt() {
    let scene = RecordScene::start(Shape::Loop, &json!({})).await;
    // The response headers are held when the provider breaks off. Envoy answers past the filter and retries by itself.
    scene.a.script(Script::usual().cut_after_bytes(10));
    assert_eq!(scene.ask(Request::chat("chat", false)).await.status, 200);
    let record = scene.record().await;
    assert_eq!(
        (&record["outcome"], &record["outcome_reason"]),
        (&json!("fell_back"), &json!("stream_truncated"))
    );
    assert_eq!(
        attempts_of(&record),
        [
            json!(["gpt-a", "failed", "stream_truncated", "elsewhere", 200, "maybe"]),
            json!(["haiku", "answered", null, null, 200, "likely"]),
        ]
    );
}

#[tokio::test]
async fn a_declined_retry_leaves_its_record_in_the_log() {
    let scene =
        RecordScene::with(Shape::Loop, &json!({}), |edge| edge["retry_policy"]["num_retries"] = json!(0))
            .await;
    scene.a.script(errors::openai_500());
    assert_eq!(scene.ask(Request::chat("chat", false)).await.status, 500);
    scene.envoy.wait_for_log("llm-failsafe record: {").await;
    assert_eq!(records::so_far(&scene.envoy).len(), 0, "the access log has no record");
    let [record] = &records::logged(&scene.envoy.log())[..] else { panic!("one record") };
    assert_eq!(
        (&record["outcome"], &record["outcome_reason"]),
        (&json!("broken"), &json!("no_next_attempt"))
    );
    assert_eq!(attempts_of(record), [json!(["gpt-a", "failed", "server", "elsewhere", 500, "maybe"])]);
}

#[tokio::test]
async fn the_record_says_who_answered_for_an_unreachable_or_slow_provider() {
    let refused = RefusedPort::reserve();
    let scene = Gateway::new(Shape::Loop)
        .provider("openai", refused.port())
        .configure(&json!({"models": {"chat": {
            "tiers": [["gpt-a"], ["haiku"]], "stream": {"first_content": "300ms"}, "retry": {"attempts": 2},
        }}}))
        .start_with([("b", "anthropic")])
        .await;
    let Scene { envoy, providers: [b], .. } = scene;
    b.script(Script::hang());
    let read = Request::chat("chat", true).ask(envoy.port()).await;
    assert_eq!(read.status, 504);
    let [record] = &records::wait_for(&envoy, 1).await[..] else { panic!() };
    assert_eq!(
        attempts_of(record),
        [
            json!(["gpt-a", "failed", "transport", "elsewhere", 503, "no"]),
            json!(["haiku", "failed", "timeout", "attempts_used_up", 504, "maybe"]),
        ]
    );
    let by: Vec<_> =
        record["attempts"].as_array().unwrap().iter().map(|attempt| &attempt["answered_by"]).collect();
    assert_eq!(by, ["envoy", "filter"]);
    let (start, end) = (&record["attempts"][1]["start_ms"], &record["attempts"][1]["end_ms"]);
    let took = end.as_u64().unwrap() - start.as_u64().unwrap();
    assert!((250..2000).contains(&took), "{took}");
}

#[tokio::test]
async fn only_successes_are_sampled() {
    let scene = RecordScene::start(
        Shape::Loop,
        &json!({"record": {"sample_successes": 0, "log": "failures", "redact": "strict"}}),
    )
    .await;
    for _ in 0..5 {
        assert_eq!(scene.ask(Request::chat("chat", false)).await.status, 200);
    }
    scene.a.script(errors::openai_400());
    let read = scene.ask(Request::chat("chat", false).header("x-llm-session", "alice@example.com")).await;
    assert_eq!(read.status, 400);
    let record = scene.record().await;
    assert_eq!((&record["outcome"], &record["outcome_reason"]), (&json!("refused"), &json!("invalid")));
    assert_eq!(record.get("session_hash"), None, "strict");
    scene.envoy.wait_for_log("llm-failsafe record: {").await;
    assert_eq!(records::logged(&scene.envoy.log()), [record]);
}

#[tokio::test]
async fn the_request_id_comes_from_the_edge_and_sessions_are_hashed() {
    let scene = RecordScene::start(Shape::Loop, &json!({})).await;
    let ask = |session: &str| {
        Request::chat("chat", false)
            .header("x-llm-session", session)
            .header("x-request-id", "chosen-by-the-client")
            .header("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
    };
    for session in ["alice@example.com", "alice@example.com", "bob@example.com"] {
        scene.ask(ask(session)).await;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let records = records::wait_for(&scene.envoy, 3).await;
    let hash = |index: usize| records[index]["session_hash"].as_str().unwrap();
    assert_eq!(hash(0), hash(1));
    assert_ne!(hash(0), hash(2));
    assert_eq!(records[0]["trace_id"], "0af7651916cd43dd8448eb211c80319c");
    assert_ne!(records[0]["request_id"], "chosen-by-the-client");
    assert!(!scene.envoy.log().contains("alice"));
}

#[tokio::test]
async fn a_queued_requests_record_has_its_wait() {
    let models = json!({"chat": {
        "tiers": [["gpt-a"]], "retry": {"attempts": 1, "queue": {"max_wait": "5s", "max_waiting": 10}},
    }});
    let scene = RecordScene::start(Shape::Loop, &json!({"models": models})).await;
    scene.a.script(errors::openai_429().header("retry-after", "1"));
    assert_eq!(scene.ask(Request::chat("chat", false)).await.status, 429);
    assert_eq!(scene.ask(Request::chat("chat", false)).await.status, 200);
    let records = records::wait_for(&scene.envoy, 2).await;
    assert_eq!(records[1]["outcome"], "queued");
    let waited = records[1]["attempts"][0]["wait_ms"].as_u64().unwrap();
    assert!((300..5000).contains(&waited), "{waited}");
}
