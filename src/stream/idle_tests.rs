//! The cost of ten thousand idle open streams for a worker: checks per tick, as the host makes them.

use std::time::Duration;

use super::{Deadlines, KeepAlive, Watch};
use crate::base::Timestamp;
use crate::config::StreamPolicy;

const STREAMS: usize = 10_000;
const TICK_MS: u64 = 100;

fn ms(ms: u64) -> Timestamp {
    Timestamp::from_millis(1_000_000 + ms)
}

struct Worker {
    streams: Vec<(Watch, Option<KeepAlive>)>,
    entered: Vec<Timestamp>,
    deadlines: Deadlines<usize>,
}

impl Worker {
    /// Streams that began one after the other within 15 s and have brought content since.
    fn with(policy: StreamPolicy) -> Self {
        let mut worker = Self { streams: Vec::new(), entered: Vec::new(), deadlines: Deadlines::default() };
        for id in 0..STREAMS {
            let now = ms(id as u64 * 15_000 / STREAMS as u64);
            let mut watch = Watch::start(policy, true, now, now);
            watch.bytes_received(now);
            watch.content_received(1, now);
            worker.streams.push((watch, policy.keep_alive.map(|every| KeepAlive::new(every, now))));
            worker.entered.push(now);
            worker.enter(id);
        }
        worker
    }

    fn due(&self, id: usize) -> Timestamp {
        let (watch, keep_alive) = &self.streams[id];
        let limit = watch.due().unwrap().0;
        keep_alive.map_or(limit, |keep_alive| keep_alive.due().min(limit))
    }

    fn enter(&mut self, id: usize) {
        self.entered[id] = self.due(id);
        self.deadlines.enter(self.entered[id], id);
    }

    /// One tick. Returns the number of streams that had to be checked.
    fn tick(&mut self, now: Timestamp) -> usize {
        let due: Vec<usize> = std::iter::from_fn(|| self.deadlines.next_due(now)).collect();
        for id in &due {
            let (watch, keep_alive) = &mut self.streams[*id];
            assert_eq!(watch.alarm(now), None, "nothing has taken too long here");
            if let Some(keep_alive) = keep_alive
                && keep_alive.due() <= now
            {
                keep_alive.bytes_sent(now);
            }
            self.enter(*id);
        }
        due.len()
    }

    /// Ticks over this time; `between` runs before each.
    fn run(&mut self, from: u64, to: u64, mut between: impl FnMut(&mut Self, Timestamp)) -> (usize, usize) {
        let looks: Vec<usize> = (from..to)
            .step_by(usize::try_from(TICK_MS).unwrap())
            .map(|at| {
                between(self, ms(at));
                self.tick(ms(at))
            })
            .collect();
        (looks.iter().sum(), looks.into_iter().max().unwrap())
    }
}

fn policy(keep_alive: Option<Duration>) -> StreamPolicy {
    let long = Duration::from_secs(3_600);
    StreamPolicy { idle: long, content_idle: long, total: long, keep_alive, ..StreamPolicy::default() }
}

#[test]
fn idle_streams_within_their_limits_are_not_checked() {
    assert_eq!(Worker::with(policy(None)).run(15_000, 600_000, |_, _| {}), (0, 0));
}

#[test]
fn with_keep_alives_each_stream_is_checked_once_per_keep_alive() {
    let (all, most) = Worker::with(policy(Some(Duration::from_secs(15)))).run(15_000, 165_000, |_, _| {});
    // 150 s in ticks of 0.1 s: ten checks per stream, a few fewer when a tick was late.
    assert!((STREAMS * 9..=STREAMS * 10).contains(&all), "{all}");
    assert!(most <= STREAMS / 150 + 1, "{most} in one tick");
}

#[test]
fn active_streams_are_checked_once_per_time_limit_not_per_chunk() {
    let idle = Duration::from_secs(30);
    let mut worker = Worker::with(StreamPolicy { idle, ..policy(None) });
    let flowing = |worker: &mut Worker, now| {
        for (watch, _) in &mut worker.streams {
            watch.bytes_received(now);
            watch.content_received(1, now);
        }
    };
    let (all, _) = worker.run(15_000, 135_000, flowing);
    // 120 s: a chunk per tick and stream, twelve million in all, and four checks per stream.
    assert!((STREAMS * 3..=STREAMS * 5).contains(&all), "{all}");
    assert_eq!(worker.deadlines.len(), STREAMS, "one entry each, whatever came");
}
