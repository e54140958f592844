//! Chaos: clients of every kind ask a real Envoy with two workers, while providers fail in every way, clients leave,
//! configurations change, VMs crash and the process pauses, all at the same time. `make chaos` runs this for ten minutes,
//! `make test` for two rounds.
//!
//! It goes in rounds. In a round everything is random, from a seed that a failure prints. Then all faults end, and what came of
//! each request is compared: by its client, by the providers and by the decision records (`ledger.rs`).
//!
//! The seed decides which faults come in which order. It cannot decide what the machine does meanwhile, so a replay meets the
//! same faults, but not at the same byte.
//!
//! It needs Envoy 1.37 or newer: before, a stream that breaks off over HTTP/2 ends with NO_ERROR, which is no break for hyper.

mod clients;
mod faults;
mod gateway;
mod ledger;
mod quiet;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use integration_tests::crash::crashing_module;
use integration_tests::envoy::Envoy;
use integration_tests::provider::ScriptedProvider;
use llm_failsafe::base::{Random as _, SplitMix64};
use tokio::task::JoinSet;

use clients::Asked;
use faults::{Machine, Played};
use gateway::{PROVIDERS, gateway};
use ledger::{Ledger, LogReader};
use quiet::Memory;

/// How long the faults of a round last.
const ROUND: Duration = Duration::from_secs(10);
/// A single round cannot show that memory stays flat.
const MIN_ROUNDS: u64 = 2;
const CLIENTS: u64 = 16;
/// By default replaced configurations would take memory for ten minutes, so nothing would be flat. Longer than any request.
const DRAIN_SECONDS: u32 = 20;
/// A request whose client left between two attempts is recorded once its next attempt is overdue.
const RECORDED_WITHIN: Duration = Duration::from_secs(15);

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok().filter(|text| !text.is_empty())?;
    Some(text.parse().unwrap_or_else(|error| panic!("{name}: {error}: {text}")))
}

/// A generator of its own for each part of a round, so that one part cannot change what another does.
fn random(seed: u64, round: u64, part: u64) -> SplitMix64 {
    let mut mixed = SplitMix64::new(seed);
    for number in [round, part] {
        mixed = SplitMix64::new(mixed.next_u64() ^ number);
    }
    mixed
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_happens_no_request_is_lost_and_all_is_well_afterwards() {
    let seed = number("CHAOS_SEED").unwrap_or_else(|| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        u64::from(now.subsec_nanos()) << 20 | now.as_secs() & 0xf_ffff
    });
    let first_round = number("CHAOS_ROUND").unwrap_or(0);
    let limit = Duration::from_secs(number("CHAOS_SECONDS").unwrap_or(0));
    let mut chaos = Chaos::start(seed).await;
    let began = Instant::now();
    for round in first_round.. {
        println!("chaos: CHAOS_SEED={seed} CHAOS_ROUND={round}");
        chaos.round(round).await;
        if round + 1 >= first_round + MIN_ROUNDS && began.elapsed() + ROUND > limit {
            break;
        }
    }
    chaos.assert_faults_happened().await;
    chaos.memory.assert_flat();
}

struct Chaos {
    seed: u64,
    envoy: Arc<Envoy>,
    providers: Vec<ScriptedProvider>,
    machine: Machine,
    log: LogReader,
    memory: Memory,
    crashed: usize,
}

impl Chaos {
    async fn start(seed: u64) -> Self {
        let mut providers = Vec::new();
        for name in PROVIDERS {
            providers.push(ScriptedProvider::start(name).await);
        }
        faults::be_well(&providers);
        let module = crashing_module();
        let ports: Vec<_> = providers.iter().map(ScriptedProvider::port).collect();
        let gateway = gateway(module.path(), &ports);
        let envoy = Arc::new(Envoy::start(gateway.to_config().drain_seconds(DRAIN_SECONDS)).await);
        let machine = Machine::new(gateway, module);
        Self {
            seed,
            envoy,
            providers,
            machine,
            log: LogReader::default(),
            memory: Memory::default(),
            crashed: 0,
        }
    }

    async fn round(&mut self, round: u64) {
        let random = |part| random(self.seed, round, part);
        let over = Arc::new(AtomicBool::new(false));
        let mut clients = JoinSet::new();
        for client in 0..CLIENTS {
            let first_id = round << 40 | client << 24;
            let (port, over) = (self.envoy.port(), Arc::clone(&over));
            clients.spawn(clients::ask_on(port, client, first_id, random(client), over));
        }
        let until = Instant::now() + ROUND;
        let providers = faults::play_providers(std::mem::take(&mut self.providers), random(CLIENTS), until);
        let machine = self.machine.play(&self.envoy, random(CLIENTS + 1), until);
        let (providers, played) = tokio::join!(providers, machine);
        self.providers = providers;
        over.store(true, Ordering::Relaxed);
        let asked: Vec<Asked> = clients.join_all().await.into_iter().flatten().collect();

        let faults_ended = Instant::now();
        quiet::recover(&self.envoy).await;
        println!("chaos: all is well {:?} after the faults", faults_ended.elapsed());
        self.compare(round, &asked, &played).await;
        self.crashed += played.crashed;
        self.providers.iter().for_each(ScriptedProvider::forget_received);
        self.memory.sample(&self.envoy).await;
    }

    /// Chaos without its faults would show nothing.
    async fn assert_faults_happened(&self) {
        assert!(self.crashed > 0, "no VM has crashed");
        for (counter, what) in [
            ("listener_manager.lds.update_success", "no update was taken"),
            ("listener_manager.lds.update_rejected", "no bad update was rejected"),
            ("wasmcustom.llm_failsafe_breaker_opened", "no breaker has opened"),
            ("wasmcustom.llm_failsafe_client_aborts", "no client has left"),
        ] {
            assert!(self.envoy.stat(counter).await.unwrap_or(0) > 0, "{what}");
        }
    }

    /// Compares what clients, providers and records know of the round's requests, once all records are written.
    async fn compare(&mut self, round: u64, asked: &[Asked], played: &Played) {
        let deadline = Instant::now() + RECORDED_WITHIN;
        let ledger = loop {
            self.log.read(&self.envoy);
            let ledger = Ledger::new(asked, &self.providers, &self.log, played);
            if ledger.problems.is_empty() || Instant::now() > deadline {
                break ledger;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        };
        println!("chaos: {}\nchaos: {played}", ledger.summary);
        assert!(
            ledger.problems.is_empty(),
            "{} problems. To see these faults again: make chaos CHAOS_SEED={} CHAOS_ROUND={round}\n{}",
            ledger.problems.len(),
            self.seed,
            ledger.problems[..ledger.problems.len().min(20)].join("\n"),
        );
        self.log.forget();
    }
}
