use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;

fn ms(ms: u64) -> Timestamp {
    Timestamp::from_millis(1_000_000_000 + ms)
}

fn bounds(min: u32, max: u32) -> PendingBounds {
    PendingBounds { min, max }
}

/// What a backend does with requests beyond its capacity.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Beyond {
    Refuses,
    /// All become slower: so many at a time get the whole speed.
    Queues,
}

/// A backend with a capacity, and clients that always want to send more.
struct Simulation {
    limit: AdaptiveLimit,
    bounds: PendingBounds,
    beyond: Beyond,
    capacity: u32,
    /// How long an answer takes, and by how many permille it may differ.
    service_ms: u64,
    spread: u64,
    now: u64,
    /// When each attempt in flight was sent, and how much of its work is left, in milliseconds at whole speed.
    in_flight: VecDeque<(u64, f64)>,
    random: u64,
    served: u64,
    refused: u64,
    /// The limit at the end of each second.
    history: Vec<u32>,
}

impl Simulation {
    fn new(beyond: Beyond, capacity: u32, service_ms: u64, bounds: PendingBounds) -> Self {
        Self {
            limit: AdaptiveLimit::new(),
            bounds,
            beyond,
            capacity,
            service_ms,
            spread: 200,
            now: 0,
            in_flight: VecDeque::new(),
            random: 7,
            served: 0,
            refused: 0,
            history: Vec::new(),
        }
    }

    fn random(&mut self) -> u64 {
        self.random =
            self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.random >> 33
    }

    fn used(&self) -> u32 {
        u32::try_from(self.in_flight.len()).unwrap()
    }

    fn learn(&mut self, sent: u64, sign: LoadSign) {
        let signal = LoadSignal { sent_at: ms(sent), at: ms(self.now), sign };
        self.limit.learn(signal, self.used(), self.bounds);
        let now = self.limit.limit(self.bounds);
        assert!((self.bounds.min..=self.bounds.max).contains(&now));
    }

    /// Runs for so long, with so many clients.
    fn run(&mut self, seconds: u64, clients: u32) {
        const STEP: u64 = 10;
        for _ in 0..seconds * 1000 / STEP {
            self.now += STEP;
            let share = match self.beyond {
                Beyond::Queues => (f64::from(self.capacity) / f64::from(self.used().max(1))).min(1.0),
                Beyond::Refuses => 1.0,
            };
            for (_, left) in &mut self.in_flight {
                *left -= STEP as f64 * share;
            }
            while let Some(done) = self.in_flight.iter().position(|(_, left)| *left <= 0.0) {
                let (sent, _) = self.in_flight[done];
                let took = Duration::from_millis(self.now - sent);
                self.learn(sent, LoadSign::Answered(Some(Pace::FirstContent(took))));
                let _ = self.in_flight.remove(done);
                self.served += 1;
            }
            while self.used() < self.limit.limit(self.bounds).min(clients) {
                let spread = self.service_ms * self.spread / 1000;
                let work = self.service_ms - spread + self.random() % (2 * spread + 1);
                self.in_flight.push_back((self.now, work as f64));
                self.limit.sent(self.used(), self.bounds, ms(self.now));
                if self.beyond == Beyond::Refuses && self.used() > self.capacity {
                    self.learn(self.now, LoadSign::Overloaded);
                    let _ = self.in_flight.pop_back();
                    self.refused += 1;
                    // Its client comes again later.
                    break;
                }
            }
            if self.now.is_multiple_of(1000) {
                self.history.push(self.limit.limit(self.bounds));
            }
        }
    }

    fn latest(&self, seconds: usize) -> &[u32] {
        &self.history[self.history.len() - seconds..]
    }

    fn mean(&self, seconds: usize) -> f64 {
        self.latest(seconds).iter().sum::<u32>() as f64 / seconds as f64
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn the_limit_follows_a_capacity_that_refuses(
        steps in proptest::collection::vec(1_u32..60, 1..5), service_ms in 50_u64..2_000, seed in any::<u64>()
    ) {
        let mut simulation = Simulation::new(Beyond::Refuses, 1, service_ms, bounds(1, 200));
        simulation.random = seed;
        for capacity in steps {
            simulation.capacity = capacity;
            // Each round of answers raises the limit by one.
            simulation.run(10 + 70 * service_ms / 1000, 300);
            let (served, refused) = (simulation.served, simulation.refused);
            simulation.run(30, 300);
            let latest = simulation.latest(30);
            let (least, most) = (latest.iter().min().unwrap(), latest.iter().max().unwrap());
            prop_assert!(*least >= capacity * 6 / 10 && *most <= capacity + 1, "{capacity}: {latest:?}");
            let (served, refused) = (simulation.served - served, simulation.refused - refused);
            // At most one a second.
            prop_assert!(refused <= 31, "{capacity}: {refused} of {served}");
        }
    }

    #[test]
    fn the_limit_stays_near_a_capacity_that_queues(
        capacity in 4_u32..60, service_ms in 200_u64..1_500, spread in 0_u64..500, seed in any::<u64>()
    ) {
        let mut simulation = Simulation::new(Beyond::Queues, capacity, service_ms, bounds(1, 400));
        (simulation.spread, simulation.random) = (spread, seed);
        simulation.run(300, 500);
        let mean = simulation.mean(120);
        let floor = simulation.latest(120).iter().min().unwrap();
        // What is usual may be learned while the limit rises. Then it is more than usual, but bounded.
        prop_assert!(mean <= f64::from(capacity) * 8.0, "{capacity}: {:?}", simulation.history);
        prop_assert!(f64::from(*floor) >= f64::from(capacity) * 0.35, "{capacity}: {:?}", simulation.history);
    }
}

#[test]
fn a_limit_that_is_not_reached_does_not_rise() {
    let mut simulation = Simulation::new(Beyond::Refuses, 1_000, 100, bounds(1, 1_000));
    simulation.run(60, 10);
    let limit = simulation.limit.limit(simulation.bounds);
    // The attempts that were in flight when it was last reached have raised it, each by one.
    assert_eq!(limit, 18, "{:?}", simulation.history);
}

#[test]
fn a_burst_of_refusals_counts_once() {
    let (mut limit, bounds) = (AdaptiveLimit::new(), bounds(1, 100));
    limit.limit = 50 * ONE;
    for number in 0..50 {
        let signal = LoadSignal { sent_at: ms(0), at: ms(3_000 + number * 100), sign: LoadSign::Overloaded };
        limit.learn(signal, 50, bounds);
    }
    assert_eq!(limit.limit(bounds), 35, "all were sent before the limit was lowered");
    // Later ones within a second cut it to what is in flight besides, once.
    let refused_at = |limit: &mut AdaptiveLimit, at_ms, used| {
        limit.learn(
            LoadSignal { sent_at: ms(at_ms), at: ms(at_ms), sign: LoadSign::Overloaded },
            used,
            bounds,
        );
        limit.limit(bounds)
    };
    assert_eq!(refused_at(&mut limit, 9_000, 35), 24);
    assert_eq!(refused_at(&mut limit, 9_100, 24), 23);
    assert_eq!(refused_at(&mut limit, 9_200, 40), 23);
    assert_eq!(refused_at(&mut limit, 9_300, 11), 10);
    assert_eq!(refused_at(&mut limit, 10_301, 10), 7);
}

#[test]
fn refusals_lower_what_is_in_flight_and_not_an_old_limit() {
    let (mut limit, bounds) = (AdaptiveLimit::new(), bounds(2, 100));
    limit.limit = 90 * ONE;
    limit.learn(LoadSignal { sent_at: ms(0), at: ms(0), sign: LoadSign::Overloaded }, 10, bounds);
    assert_eq!(limit.limit(bounds), 7);
    limit.learn(LoadSignal { sent_at: ms(2_000), at: ms(2_000), sign: LoadSign::Overloaded }, 1, bounds);
    assert_eq!(limit.limit(bounds), 2, "never below `min`");
}

#[test]
fn longer_prompts_change_what_is_usual_and_leave_the_limit() {
    let mut simulation = Simulation::new(Beyond::Refuses, 20, 200, bounds(1, 100));
    simulation.run(60, 50);
    // From now on every answer takes five times as long, with any limit.
    simulation.service_ms = 1_000;
    simulation.run(240, 50);
    let mean = simulation.mean(60);
    assert!((12.0..=21.0).contains(&mean), "{:?}", simulation.history);
}

#[test]
fn a_few_long_prompts_lower_nothing() {
    let mut simulation = Simulation::new(Beyond::Refuses, 1_000, 200, bounds(1, 16));
    simulation.run(30, 50);
    // Four of ten take ten times as long.
    for round in 0..100_u64 {
        let sent = 30_000 + round * 1_000;
        for number in 0..10 {
            simulation.now = sent + if number < 4 { 2_000 } else { 200 };
            simulation.limit.sent(16, simulation.bounds, ms(sent));
            let took = Duration::from_millis(simulation.now - sent);
            simulation.learn(sent, LoadSign::Answered(Some(Pace::FirstContent(took))));
        }
        assert_eq!(simulation.limit.limit(simulation.bounds), 16);
    }
}

#[test]
fn clients_that_leave_before_a_slow_answer_count_as_slow_and_others_not() {
    let (mut limit, bounds) = (AdaptiveLimit::new(), bounds(1, 16));
    let mut learn = |at_ms: u64, sign: fn(Pace) -> LoadSign, took: u64| {
        limit.sent(100, bounds, ms(at_ms));
        let pace = Pace::FirstContent(Duration::from_millis(took));
        limit.learn(LoadSignal { sent_at: ms(at_ms), at: ms(at_ms + took), sign: sign(pace) }, 100, bounds);
        limit.limit(bounds)
    };
    let answered: fn(Pace) -> LoadSign = |pace| LoadSign::Answered(Some(pace));
    let mut most = 0;
    for number in 0..40 {
        most = learn(number * 200, answered, 300);
    }
    for number in 0..100 {
        assert_eq!(learn(10_000 + number * 200, LoadSign::Silent, 400), most, "they did not wait long");
    }
    let mut least = most;
    for number in 0..100 {
        least = learn(40_000 + number * 200, LoadSign::Silent, 2_000);
    }
    assert!(least < most);
}

proptest! {
    #[test]
    fn a_record_keeps_the_limit(bytes in proptest::collection::vec(any::<u8>(), ADAPTIVE_BYTES), cut in 0..ADAPTIVE_BYTES) {
        let limit = AdaptiveLimit::decode(&bytes).unwrap();
        let mut again = Vec::new();
        limit.encode(&mut again);
        prop_assert_eq!(AdaptiveLimit::decode(&again), Some(limit));
        prop_assert_eq!(again.len(), bytes.len());
        prop_assert!(AdaptiveLimit::decode(&bytes[..cut]).is_none());
    }

    #[test]
    fn any_record_and_any_signal_keep_the_bounds(
        bytes in proptest::collection::vec(any::<u8>(), ADAPTIVE_BYTES), least in 1_u32..50, more in 0_u32..50,
        signals in proptest::collection::vec((any::<u64>(), any::<u64>(), 0_u8..3, any::<u64>(), any::<u32>()), 0..60)
    ) {
        let mut limit = AdaptiveLimit::decode(&bytes).unwrap();
        let bounds = bounds(least, least + more);
        for (sent, at, sign, took, used) in signals {
            let pace = Pace::FirstContent(Duration::from_millis(took));
            let sign = [LoadSign::Overloaded, LoadSign::Silent(pace), LoadSign::Answered(Some(pace))][usize::from(sign)];
            let (sent_at, at) = (Timestamp::from_millis(sent), Timestamp::from_millis(at));
            limit.learn(LoadSignal { sent_at, at, sign }, used, bounds);
            limit.sent(used, bounds, at);
            prop_assert!((bounds.min..=bounds.max).contains(&limit.limit(bounds)));
        }
    }
}
