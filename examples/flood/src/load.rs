//! The load: callers in a closed loop, for a fixed time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

use crate::client::{Client, Failure};
use crate::upstream::{Counts, Upstream};

/// A caller whose call failed pauses so long before the next.
const AFTER_FAILURE: Duration = Duration::from_millis(20);

/// The time between two samples for the plot.
pub(crate) const SAMPLE: Duration = Duration::from_millis(50);

#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    /// Callers, each with one call at a time.
    pub(crate) callers: usize,
    /// The longest that a caller waits for an answer.
    pub(crate) patience: Duration,
    pub(crate) lasts: Duration,
}

/// The outcome of a load.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) elapsed: Duration,
    /// Of each good answer, in microseconds, in order of size.
    pub(crate) latencies: Vec<u32>,
    pub(crate) failures: BTreeMap<Failure, u64>,
    /// In order of time, [`SAMPLE`] apart.
    pub(crate) series: Vec<Sample>,
}

impl Tally {
    pub(crate) fn good(&self) -> u64 {
        self.latencies.len() as u64
    }

    pub(crate) fn failed(&self) -> u64 {
        self.failures.values().sum()
    }

    /// Good answers a second.
    #[expect(clippy::cast_precision_loss, reason = "a rate is not exact")]
    pub(crate) fn rate(&self) -> f64 {
        self.good() as f64 / self.elapsed.as_secs_f64().max(1e-6)
    }

    /// The latency that this share of the good answers, in per cent, did not exceed; `None` without
    /// any.
    pub(crate) fn percentile(&self, share: usize) -> Option<Duration> {
        let last = self.latencies.len().checked_sub(1)?;
        let micros = self.latencies.get(last * share / 100)?;
        Some(Duration::from_micros(u64::from(*micros)))
    }
}

/// The requests under way and the responses since the last sample.
#[derive(Debug, Default)]
struct Now {
    waiting: AtomicU64,
    answers: AtomicU64,
    micros: AtomicU64,
}

/// Runs the load to its end.
pub(crate) async fn run(client: &Client, load: Load, upstream: &Upstream) -> Tally {
    let now = Arc::new(Now::default());
    let begin = Instant::now();
    let mut callers = JoinSet::new();
    for _ in 0..load.callers {
        callers.spawn(call(client.clone(), load, begin + load.lasts, now.clone()));
    }
    let mut tally = Tally::default();
    let mut samples = interval(SAMPLE);
    samples.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            part = callers.join_next() => match part {
                Some(Ok(part)) => tally.absorb(part),
                Some(Err(_)) => {}
                None => break,
            },
            _ = samples.tick() => tally.series.push(now.sample(upstream.counts())),
        }
    }
    tally.elapsed = begin.elapsed();
    tally.latencies.sort_unstable();
    tally
}

async fn call(client: Client, load: Load, end: Instant, now: Arc<Now>) -> Tally {
    let mut tally = Tally::default();
    while Instant::now() < end {
        let begin = Instant::now();
        now.waiting.fetch_add(1, Relaxed);
        let answer = timeout(load.patience, client.send()).await;
        now.waiting.fetch_sub(1, Relaxed);
        match answer.unwrap_or(Err(Failure::GaveUp)) {
            Ok(()) => {
                let micros = begin.elapsed().as_micros().try_into().unwrap_or(u32::MAX);
                now.answers.fetch_add(1, Relaxed);
                now.micros.fetch_add(micros.into(), Relaxed);
                tally.latencies.push(micros);
            }
            Err(failure) => {
                *tally.failures.entry(failure).or_default() += 1;
                sleep(AFTER_FAILURE).await;
            }
        }
    }
    tally
}

impl Tally {
    fn absorb(&mut self, other: Self) {
        self.latencies.extend(other.latencies);
        for (failure, count) in other.failures {
            *self.failures.entry(failure).or_default() += count;
        }
    }
}

impl Now {
    fn sample(&self, upstream: Counts) -> Sample {
        let (answers, micros) = (self.answers.swap(0, Relaxed), self.micros.swap(0, Relaxed));
        Sample {
            waiting: self.waiting.load(Relaxed).saturating_sub(upstream.working),
            mean_micros: micros.checked_div(answers),
            connections: upstream.live,
        }
    }
}

/// One moment of a load.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    /// Calls under way that the upstream does not work on.
    pub(crate) waiting: u64,
    /// Of the good answers since the last sample; `None` without any.
    pub(crate) mean_micros: Option<u64>,
    pub(crate) connections: u64,
}
