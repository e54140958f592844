//! The faults: of providers, and of the machine and its operators.

use std::collections::BTreeMap;
use std::fmt;
use std::process::Command;
use std::time::{Duration, Instant};

use integration_tests::crash::crash;
use integration_tests::envoy::Envoy;
use integration_tests::gateway::Gateway;
use integration_tests::provider::{Ending, Point, Script, ScriptedProvider};
use llm_failsafe::base::{Random as _, SplitMix64};
use tempfile::NamedTempFile;

use super::gateway::{changed, mistaken};

/// The first and the last word of each answer, by which a client sees that it is whole.
pub const BEGIN: &str = "begin ";
pub const END: &str = "end";

/// How long a crash may take to appear. If the VM has just crashed, the next crash finds none.
const CRASH_LIMIT: Duration = Duration::from_secs(1);

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

fn answer(words: u64) -> Script {
    Script::usual().say(&format!("{BEGIN}{}{END}", "word ".repeat(usize::try_from(words).unwrap())))
}

/// How a provider behaves for a while. Most of the time it is well.
fn behaviour(random: &mut SplitMix64) -> Script {
    let words = 1 + random.below(12);
    let pause = ms(random.below(60));
    let well = answer(words).delay_headers(ms(random.below(150))).delay_chunks(pause);
    let at = match random.below(3) {
        0 => Point::BeforeHeaders,
        1 => Point::AfterChunks(1),
        _ => Point::AfterChunks(2 + usize::try_from(random.below(4)).unwrap()),
    };
    match random.below(32) {
        0 => Script::status(429).header("retry-after", "1"),
        1 => Script::status(503),
        2 => Script::status(500).delay_headers(pause),
        3 => Script::status(529),
        4 => well.ending(Ending::Hang(at)),
        5 => well.ending(Ending::Cut(at)),
        6 => well.ending(Ending::Reset(at)),
        7 => well.ending(Ending::AbortStream(at)),
        8 => Script::usual().text("this is no answer"),
        9 => well.split(7),
        10 => answer(40).delay_chunks(ms(30)),
        _ => well,
    }
}

/// Lets the providers fail until then, and be well again.
pub async fn play_providers(
    mut providers: Vec<ScriptedProvider>,
    mut random: SplitMix64,
    until: Instant,
) -> Vec<ScriptedProvider> {
    let count = providers.len() as u64;
    while Instant::now() < until {
        let provider = &mut providers[usize::try_from(random.below(count)).unwrap()];
        if random.below(80) == 0 {
            provider.stop().await;
            tokio::time::sleep(ms(100 + random.below(600))).await;
            provider.restart().await;
        }
        provider.by_default(behaviour(&mut random));
        tokio::time::sleep(ms(random.below(60))).await;
    }
    be_well(&providers);
    providers
}

/// From now on every provider answers.
pub fn be_well(providers: &[ScriptedProvider]) {
    for provider in providers {
        provider.by_default(answer(2).delay_headers(ms(100)));
    }
}

/// A fault of the machine, or what its operators do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    Crash,
    Pause,
    Update,
    Mistake,
}

/// What happened in a round.
#[derive(Debug, Default)]
pub struct Played {
    counts: BTreeMap<Fault, usize>,
    /// How many VMs have crashed.
    pub crashed: usize,
    /// Between these times a VM may have crashed.
    pub crashes: Vec<(Instant, Instant)>,
}

impl fmt::Display for Played {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.counts)
    }
}

/// Plays faults of the machine.
pub struct Machine {
    gateway: Gateway,
    _module: NamedTempFile,
}

impl Machine {
    pub fn new(gateway: Gateway, module: NamedTempFile) -> Self {
        Self { gateway, _module: module }
    }

    pub async fn play(&self, envoy: &Envoy, mut random: SplitMix64, until: Instant) -> Played {
        let (mut played, mut deck) = (Played::default(), Vec::new());
        while Instant::now() < until {
            tokio::time::sleep(ms(500 + random.below(1_200))).await;
            if deck.is_empty() {
                deck = vec![Fault::Crash, Fault::Pause, Fault::Crash, Fault::Update, Fault::Mistake];
            }
            let fault = deck.swap_remove(usize::try_from(random.below(deck.len() as u64)).unwrap());
            *played.counts.entry(fault).or_default() += 1;
            match fault {
                Fault::Crash => {
                    let began = Instant::now();
                    played.crashed += usize::from(crash(envoy, CRASH_LIMIT).await);
                    played.crashes.push((began, Instant::now()));
                }
                Fault::Pause => {
                    signal(envoy, "-STOP");
                    tokio::time::sleep(ms(300 + random.below(1_500))).await;
                    signal(envoy, "-CONT");
                }
                Fault::Update => changed(&self.gateway, 1 + random.below(9)).update(envoy),
                Fault::Mistake => mistaken(&self.gateway).update(envoy),
            }
        }
        played
    }
}

fn signal(envoy: &Envoy, signal: &str) {
    assert!(Command::new("kill").args([signal, &envoy.pid().to_string()]).status().unwrap().success());
}
