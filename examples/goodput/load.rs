//! Callers in a closed loop that give up, and then a few that do not overload.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::client::Client;

/// The time for which a few callers go on after the overload.
const AFTER: Duration = Duration::from_secs(1);
/// Longer than any load.
const PATIENT: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) name: &'static str,
    /// Places of the client, and workers of the upstream.
    pub(crate) cap: usize,
    pub(crate) callers: usize,
    /// The time that each request takes.
    pub(crate) hold: Duration,
    /// The time after which a caller gives up.
    pub(crate) limit: Duration,
    pub(crate) lasts: Duration,
    /// Of the callers, those that do not give up.
    pub(crate) patient: usize,
    pub(crate) http2: bool,
    /// A quarter of the places is asked for once the overload has ended.
    pub(crate) step: bool,
}

/// The outcome of a load.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outcome {
    /// Answers a second, from the second generation of callers on.
    pub(crate) rate: f64,
    /// The longest time in which a patient caller had its answer.
    pub(crate) patient: Duration,
    /// The time from the end of the overload to the first answer without a wait; `None` if none came.
    pub(crate) recovered: Option<Duration>,
}

struct Callers {
    load: Load,
    client: Client,
    start: Instant,
    good: AtomicU64,
    patient: AtomicU64,
    /// In microseconds after the overload; `u64::MAX` at first.
    recovered: AtomicU64,
}

impl Load {
    pub(crate) async fn run(self, client: Client) -> Outcome {
        let callers = Arc::new(Callers {
            load: self,
            client,
            start: Instant::now(),
            good: AtomicU64::new(0),
            patient: AtomicU64::new(0),
            recovered: AtomicU64::new(u64::MAX),
        });
        let mut asking = JoinSet::new();
        for caller in 0..self.callers {
            asking.spawn(callers.clone().ask(caller));
        }
        if self.step {
            sleep(self.lasts).await;
            let mut light = JoinSet::new();
            for _ in 0..(self.cap / 4).max(1) {
                light.spawn(callers.clone().ask_lightly());
            }
            light.join_all().await;
        }
        // A patient caller is served before it ends.
        asking.join_all().await;
        callers.outcome()
    }

    /// The same upstream without overload: a caller for each worker, and none gives up.
    pub(crate) const fn at_capacity(self) -> Self {
        Self {
            callers: self.cap,
            patient: self.cap,
            step: false,
            ..self
        }
    }

    /// The time in which answers count: from the second generation of callers on.
    const fn counted(&self) -> Duration {
        self.lasts.saturating_sub(self.generation())
    }

    const fn generation(&self) -> Duration {
        self.limit.saturating_add(self.hold)
    }
}

impl Callers {
    /// One caller, that asks again as soon as it has an answer or has given up.
    async fn ask(self: Arc<Self>, caller: usize) {
        let load = self.load;
        let patient = caller < load.patient;
        let limit = Some(load.limit).filter(|_| !patient);
        let second = self.start + load.generation();
        while self.start.elapsed() < load.lasts {
            let asked = Instant::now();
            let answer = timeout(limit.unwrap_or(PATIENT), self.client.send(limit)).await;
            match answer {
                Ok(Ok(())) => {
                    let counts = Instant::now() >= second && self.start.elapsed() < load.lasts;
                    self.good.fetch_add(u64::from(counts), Relaxed);
                    if patient {
                        self.patient.fetch_max(micros(asked.elapsed()), Relaxed);
                    }
                }
                // A refusal at once is answered by a pause.
                Ok(Err(_)) => sleep(load.limit / 4).await,
                Err(_) => {}
            }
        }
    }

    /// One of few callers after the overload, that notes when all is well again.
    async fn ask_lightly(self: Arc<Self>) {
        let (load, end) = (self.load, Instant::now());
        while end.elapsed() < AFTER {
            let asked = Instant::now();
            let answer = timeout(load.limit, self.client.send(Some(load.limit))).await;
            if matches!(answer, Ok(Ok(()))) && asked.elapsed() < load.hold * 3 / 2 {
                self.recovered.fetch_min(micros(end.elapsed()), Relaxed);
                return;
            }
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "few answers")]
    fn outcome(&self) -> Outcome {
        let recovered = self.recovered.load(Relaxed);
        Outcome {
            rate: self.good.load(Relaxed) as f64 / self.load.counted().as_secs_f64(),
            patient: Duration::from_micros(self.patient.load(Relaxed)),
            recovered: (recovered < u64::MAX).then(|| Duration::from_micros(recovered)),
        }
    }
}

fn micros(time: Duration) -> u64 {
    time.as_micros().try_into().unwrap_or(u64::MAX - 1)
}
