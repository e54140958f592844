//! All integration tests in one binary, because linking one per file takes several times as long.
//!
//! Every file of this folder is a module here. A test in `structure.rs` checks that none is missing. To run the tests of some
//! modules: `cargo test -p integration-tests --test scenarios -- gates:: streams::`
//!
//! Tests run side by side. They wait for events with the bound `SOON`. A test that measures time or CPU, or that would disturb
//! such a test, calls `turns::alone` first.

// Random faults, all at the same time.
mod chaos;

// Shared by several modules.
mod dialects;
mod loaded_hop;
mod peers;
mod scenes;
mod telemetry;

mod accounts;
mod adaptive;
mod admissions;
mod at_account;
mod balance;
mod blocked_logs;
mod bodies;
mod boundaries;
mod breakers;
mod browsers;
mod budgets;
mod catalogue;
mod ceilings;
mod checked_files;
mod client_retries;
mod clients;
mod clocks;
mod configuration;
mod contexts;
mod conversations;
mod crash;
mod declined;
mod demo;
mod disclosure;
mod doctor;
mod draining;
mod dumps;
mod edge;
mod endpoints;
mod ends;
mod envoy_gateway;
mod estimates;
mod explain;
mod explain_record;
mod failing_calls;
mod failover;
mod fleet;
mod gates;
mod harness;
mod headers;
mod headroom;
mod hints;
mod hop;
mod hostile;
mod idle;
mod impatient;
mod incidents;
mod init;
mod istio;
mod journeys;
mod kubernetes;
mod live_changes;
mod logging;
mod max_pending;
mod memory;
mod model_names;
mod no_answers;
mod odd_boundaries;
mod odd_requests;
mod oddities;
mod operator;
mod operator_page;
mod paths;
mod playground;
mod poison;
mod probes;
mod prometheus;
mod provider;
mod provider_faults;
mod provider_kinds;
mod queue;
mod quiet;
mod records;
mod recovery;
mod refused_requests;
mod reloads;
mod requests;
mod response_model;
mod retries;
mod sdk;
mod sdks;
mod second_opinion;
mod silence;
mod single;
mod stop;
mod stream_failures;
mod stream_shapes;
mod streams;
mod structure;
mod timers;
mod tracing;
mod translation;
mod transport;
mod trust;
mod upgrade;
mod usage;
mod waits;
