//! Traces and decision records reach an OpenTelemetry collector with the same trace id. The configuration is the shipped one with
//! what `envoy/telemetry.yaml` adds.

use crate::telemetry;
use integration_tests::client::Request;
use integration_tests::gateway::{Gateway, Shape};
use integration_tests::otlp::{Collector, hex, text};
use integration_tests::provider::errors;
use integration_tests::records;
use integration_tests::scene::Scene;
use opentelemetry_proto::tonic::trace::v1::Span;
use serde_json::{Value, json};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CLIENT_SPAN: &str = "b7ad6b7169203331";

#[tokio::test]
async fn attempts_are_spans_and_the_record_is_a_log_of_the_same_trace() {
    let collector = Collector::start().await;
    let gateway =
        Gateway::new(Shape::Loop).configure(&json!({"models": {"chat": {"tiers": [["gpt-a"], ["haiku"]]}}}));
    let gateway = telemetry::add(gateway, &collector);
    let scene = gateway.start_with([("a", "openai"), ("b", "anthropic")]).await;
    let Scene { envoy, providers: [a, b], .. } = scene;
    a.script(errors::openai_500());
    let traceparent = format!("00-{TRACE}-{CLIENT_SPAN}-01");
    let request = Request::chat("chat", true).header("traceparent", &traceparent);
    let read = request.ask(envoy.port()).await;
    assert_eq!(read.status, 200);

    // The edge's span and one for each attempt.
    let (spans, logs) = collector.wait_for(3, 1).await;
    assert!(spans.iter().all(|span| hex(&span.trace_id) == TRACE), "{spans:#?}");
    let edge = spans.iter().find(|span| hex(&span.parent_span_id) == CLIENT_SPAN).expect("the edge's span");
    let attempt_of = |target: &str| {
        let found = spans.iter().find(|span| text(&span.attributes, "llm_failsafe.target") == Some(target));
        found.unwrap_or_else(|| panic!("no span for {target}: {spans:#?}"))
    };
    let (first, second) = (attempt_of("gpt-a"), attempt_of("haiku"));
    for span in [first, second] {
        assert_eq!(span.parent_span_id, edge.span_id, "all attempts are children of the edge's span");
    }
    assert!(first.start_time_unix_nano <= second.start_time_unix_nano);
    let told = |span, key| text(span, key);
    assert_eq!(told(&first.attributes, "error.type"), Some("server"));
    assert_eq!(told(&first.attributes, "gen_ai.request.model"), Some("gpt-4.1-mini"));
    assert_eq!(told(&first.attributes, "server.address"), Some("api.openai.com"));
    assert_eq!(told(&second.attributes, "gen_ai.request.model"), Some("claude-haiku-4-5"));
    assert_eq!(told(&second.attributes, "llm_failsafe.fallback"), Some("server"));
    assert_eq!(told(&second.attributes, "llm_failsafe.attempt"), Some("2"));
    for (span, provider) in [(first, "openai"), (second, "anthropic")] {
        assert_eq!(told(&span.attributes, "gen_ai.operation.name"), Some("chat"), "{span:#?}");
        assert_eq!(told(&span.attributes, "gen_ai.provider.name"), Some(provider), "{span:#?}");
    }

    let [log] = &logs[..] else { panic!("one record: {logs:#?}") };
    assert_eq!(hex(&log.trace_id), TRACE);
    assert_eq!(log.span_id, second.span_id, "the record belongs to the last attempt's span");
    let body = log.body.clone().and_then(|body| body.value).expect("a body");
    let opentelemetry_proto::tonic::common::v1::any_value::Value::StringValue(body) = body else {
        panic!("{body:?}")
    };
    let record: Value = serde_json::from_str(&body).unwrap();
    records::check(&record);
    assert_eq!(record["trace_id"], TRACE);
    assert_eq!(record["parent_span_id"], hex(&edge.span_id));
    assert_eq!(record["outcome"], "fell_back");

    // Providers get the trace context of their own attempt.
    for (provider, span) in [(&a, first), (&b, second)] {
        let got = provider.received()[0].header("traceparent").expect("trace context").to_owned();
        assert!(got.starts_with(&format!("00-{TRACE}-{}", hex(&span.span_id))), "{got}");
    }
}

#[tokio::test]
async fn a_span_has_the_operation_name_of_its_record() {
    let collector = Collector::start().await;
    let gateway = Gateway::new(Shape::Loop).configure(&json!({"models": {"chat": {"tiers": [["gpt-a"]]}}}));
    let gateway = telemetry::add(gateway, &collector);
    let Scene { envoy, providers: [_a], .. } = gateway.start_with([("a", "openai")]).await;
    let paths =
        ["chat/completions", "completions", "embeddings", "responses", "moderations", "images/generations"];
    for path in paths {
        let body = json!({"model": "chat", "messages": [], "prompt": "hello", "input": "hello"});
        let request = Request::post(&format!("/v1/{path}")).json(&body);
        assert_eq!(request.ask(envoy.port()).await.status, 200, "{path}");
    }
    let (spans, _) = collector.wait_for(2 * paths.len(), paths.len()).await;
    let records = records::wait_for(&envoy, paths.len()).await;
    for record in &records {
        let of_record = |span: &&Span| record["trace_id"] == hex(&span.trace_id);
        let operations: Vec<_> = spans
            .iter()
            .filter(of_record)
            .filter_map(|span| text(&span.attributes, "gen_ai.operation.name"))
            .collect();
        assert_eq!(
            operations,
            [record["gen_ai.operation.name"].as_str().unwrap()],
            "the operation of the attempt, not of the edge"
        );
    }
}
