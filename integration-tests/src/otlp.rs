//! An OpenTelemetry collector for Envoy: OTLP over gRPC, with OpenTelemetry's own protobuf messages.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;

use crate::SOON;
use crate::grpc::Service;

#[derive(Default)]
struct Received {
    spans: Vec<Span>,
    logs: Vec<LogRecord>,
}

/// A running collector; it ends when dropped.
pub struct Collector {
    received: Arc<Mutex<Received>>,
    service: Service,
}

impl Collector {
    /// Starts a collector on a free port.
    ///
    /// # Panics
    /// If there is no port.
    pub async fn start() -> Self {
        let received = Arc::new(Mutex::new(Received::default()));
        let shared = Arc::clone(&received);
        let service = Service::start(move |path, message| {
            shared.lock().expect("no panic in between").take(path, message);
            // Both responses are empty when everything was accepted.
            Vec::new()
        });
        Self { received, service: service.await }
    }

    /// Its port.
    pub const fn port(&self) -> u16 {
        self.service.port()
    }

    /// Waits until there are this many spans and log records.
    ///
    /// # Panics
    /// If they do not arrive.
    pub async fn wait_for(&self, spans: usize, logs: usize) -> (Vec<Span>, Vec<LogRecord>) {
        let deadline = Instant::now() + SOON;
        loop {
            let (seen_spans, seen_logs) = {
                let received = self.received.lock().expect("no panic in between");
                (received.spans.clone(), received.logs.clone())
            };
            if seen_spans.len() >= spans && seen_logs.len() >= logs {
                return (seen_spans, seen_logs);
            }
            assert!(
                Instant::now() < deadline,
                "{spans} spans and {logs} logs expected: {seen_spans:#?} {seen_logs:#?}"
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

impl Received {
    fn take(&mut self, path: &str, message: &[u8]) {
        if path.ends_with("TraceService/Export") {
            let request = ExportTraceServiceRequest::decode(message).expect("spans in OTLP");
            let scopes = request.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
            self.spans.extend(scopes.flat_map(|scope| scope.spans));
        } else if path.ends_with("LogsService/Export") {
            let request = ExportLogsServiceRequest::decode(message).expect("logs in OTLP");
            let scopes = request.resource_logs.into_iter().flat_map(|resource| resource.scope_logs);
            self.logs.extend(scopes.flat_map(|scope| scope.log_records));
        }
    }
}

/// The text of an attribute.
pub fn text<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a str> {
    let value = attributes.iter().find(|attribute| attribute.key == key)?.value.as_ref()?;
    match value.value.as_ref()? {
        any_value::Value::StringValue(text) => Some(text),
        _ => None,
    }
}

/// An id in hexadecimal digits.
pub fn hex(id: &[u8]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}
