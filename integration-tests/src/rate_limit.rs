//! A rate-limit service for Envoy: gRPC over HTTP/2, `envoy.service.ratelimit.v3.RateLimitService`.
//!
//! It records every descriptor, counts their hits, and reports a limit as reached if the test set one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use prost::Message;

use crate::grpc::Service;

/// The messages of `envoy/service/ratelimit/v3/rls.proto` and `envoy/extensions/common/ratelimit/v3/ratelimit.proto`, with the
/// fields that are used here.
mod proto {
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct RateLimitRequest {
        #[prost(string, tag = "1")]
        pub domain: String,
        #[prost(message, repeated, tag = "2")]
        pub descriptors: Vec<RateLimitDescriptor>,
        #[prost(uint32, tag = "3")]
        pub hits_addend: u32,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct RateLimitDescriptor {
        #[prost(message, repeated, tag = "1")]
        pub entries: Vec<Entry>,
        /// `google.protobuf.UInt64Value`
        #[prost(message, optional, tag = "3")]
        pub hits_addend: Option<UInt64Value>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Entry {
        #[prost(string, tag = "1")]
        pub key: String,
        #[prost(string, tag = "2")]
        pub value: String,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct UInt64Value {
        #[prost(uint64, tag = "1")]
        pub value: u64,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct RateLimitResponse {
        /// 1: OK, 2: over the limit.
        #[prost(int32, tag = "1")]
        pub overall_code: i32,
    }
}

/// One descriptor that Envoy sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Charge {
    /// The domain of the call.
    pub domain: String,
    /// The descriptor's entries: key and value.
    pub entries: Vec<(String, String)>,
    /// The number of hits: the descriptor's own, else the call's, else one.
    pub hits: u64,
}

#[derive(Default)]
struct Book {
    charges: Vec<Charge>,
    used: HashMap<Vec<(String, String)>, u64>,
    limit: Option<u64>,
}

/// The running service. It stops when dropped.
pub struct RateLimitService {
    book: Arc<Mutex<Book>>,
    service: Service,
}

impl RateLimitService {
    /// Starts it without a limit.
    ///
    /// # Panics
    /// If there is no free port.
    pub async fn start() -> Self {
        let book: Arc<Mutex<Book>> = Arc::default();
        let shared = Arc::clone(&book);
        let service = Service::start(move |path, message| {
            let call = proto::RateLimitRequest::decode(message).expect("a RateLimitRequest");
            assert_eq!(path, "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit");
            let over = shared.lock().unwrap().take(&call);
            proto::RateLimitResponse { overall_code: if over { 2 } else { 1 } }.encode_to_vec()
        });
        Self { book, service: service.await }
    }

    /// Its port on 127.0.0.1.
    pub const fn port(&self) -> u16 {
        self.service.port()
    }

    /// From now on a descriptor with more hits than this is over the limit.
    pub fn limit(&self, hits: u64) {
        self.book.lock().unwrap().limit = Some(hits);
    }

    /// Every descriptor so far.
    pub fn charges(&self) -> Vec<Charge> {
        self.book.lock().unwrap().charges.clone()
    }

    /// Waits until the descriptors are as wanted.
    ///
    /// # Panics
    /// If that does not happen within [`SOON`].
    pub async fn wait_until(&self, limit: Duration, wanted: impl Fn(&[Charge]) -> bool) -> Vec<Charge> {
        let deadline = Instant::now() + limit;
        loop {
            let charges = self.charges();
            if wanted(&charges) {
                return charges;
            }
            assert!(Instant::now() < deadline, "not as wanted: {charges:#?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Book {
    /// Records a call and returns whether it is over the limit.
    fn take(&mut self, call: &proto::RateLimitRequest) -> bool {
        let mut over = false;
        for descriptor in &call.descriptors {
            let entries: Vec<_> =
                descriptor.entries.iter().map(|entry| (entry.key.clone(), entry.value.clone())).collect();
            let hits = match &descriptor.hits_addend {
                Some(hits) => hits.value,
                None => u64::from(call.hits_addend.max(1)),
            };
            let used = self.used.entry(entries.clone()).or_default();
            *used += hits;
            over |= self.limit.is_some_and(|limit| *used >= limit);
            self.charges.push(Charge { domain: call.domain.clone(), entries, hits });
        }
        over
    }
}
