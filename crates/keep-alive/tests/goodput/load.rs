//! Callers in a closed loop, and a peer that works off what it was sent.

use std::convert::Infallible;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tollgate_core::Origin;
use tollgate_keep_alive::{Http2Options, KeepAlive, Limits, OriginStats, Protocol};
use tollgate_testing::InMemory;
use tower::{Layer, ServiceExt, service_fn};

use crate::support::cap;

/// The time within which all callers come.
const COMING: Duration = Duration::from_millis(20);
/// A caller without a limit of its own.
const PATIENT: Duration = Duration::from_secs(3_600);

/// More callers than connections.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    /// Connections, or streams of HTTP/2, and workers of the peer.
    pub(crate) cap: u32,
    pub(crate) callers: u32,
    /// The time of an answer.
    pub(crate) hold: Duration,
    /// The time after which a caller gives up.
    pub(crate) limit: Duration,
    pub(crate) lasts: Duration,
    /// Of the callers, those that do not give up.
    pub(crate) patient: u32,
    pub(crate) told: bool,
    pub(crate) http2: bool,
}

impl Load {
    pub(crate) const fn new(cap: u32, callers: u32, hold: u64, limit: u64, lasts: u64) -> Self {
        Self {
            cap,
            callers,
            hold: Duration::from_millis(hold),
            limit: Duration::from_millis(limit),
            lasts: Duration::from_millis(lasts),
            patient: 0,
            told: false,
            http2: false,
        }
    }

    /// The answers that the peer can give from the second generation of callers on.
    fn possible(&self) -> f64 {
        let measured = self.lasts.saturating_sub(self.second());
        f64::from(self.cap) * measured.as_secs_f64() / self.hold.as_secs_f64()
    }

    /// The time at which the second generation of callers has its first answers.
    fn second(&self) -> Duration {
        COMING + self.limit + self.hold
    }

    fn pool(&self) -> KeepAlive {
        let n = NonZeroUsize::new(self.cap as usize).expect("not zero");
        let streams = Http2Options::new()
            .max_http2_connections(NonZeroUsize::MIN)
            .max_streams_per_connection(n);
        let layer = cap(self.cap as usize).http2(streams);
        let layer = layer.protocol(if self.http2 {
            Protocol::Http2
        } else {
            Protocol::Http1
        });
        layer.layer(peer(n.get(), self.hold))
    }
}

/// A peer with so many workers. It works off each request whether its caller is still there or not.
fn peer(workers: usize, hold: Duration) -> InMemory {
    let workers = Arc::new(Semaphore::new(workers));
    InMemory::new(service_fn(move |_: Request<Incoming>| {
        let workers = workers.clone();
        let work = tokio::spawn(async move {
            let _worker = workers.acquire().await;
            sleep(hold).await;
        });
        async move {
            work.await.ok();
            Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"ok"))))
        }
    }))
}

/// The outcome of a load.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Answers of those possible, from the second generation of callers on.
    pub(crate) ratio: f64,
    /// The longest time that a patient caller waited for an answer.
    pub(crate) patient: Duration,
    /// The time from the end of the load to an empty queue.
    pub(crate) recovered: Duration,
    pub(crate) stats: OriginStats,
}

/// The callers' side.
struct Callers {
    load: Load,
    pool: KeepAlive,
    start: Instant,
    good: AtomicU64,
    /// In microseconds.
    patient: AtomicU64,
}

impl Callers {
    /// One caller, that asks again as soon as it has an answer or has given up.
    async fn ask(self: Arc<Self>, caller: u32) {
        let load = self.load;
        let patient = caller < load.patient;
        let limit = if patient { PATIENT } else { load.limit };
        let second = self.start + load.second();
        sleep(COMING * caller / load.callers).await;
        while self.start.elapsed() < load.lasts {
            let asked = Instant::now();
            match timeout(limit, self.exchange(load.told && !patient)).await {
                Ok(true) => {
                    let counts = Instant::now() >= second && self.start.elapsed() < load.lasts;
                    self.good.fetch_add(u64::from(counts), Relaxed);
                    if patient {
                        let waited = u64::try_from(asked.elapsed().as_micros());
                        self.patient.fetch_max(waited.expect("short"), Relaxed);
                    }
                }
                // A refusal at once is answered by a pause.
                Ok(false) => sleep(load.hold / 4).await,
                Err(_) => {}
            }
        }
    }

    /// A whole exchange; `false` if it was refused or failed.
    async fn exchange(&self, told: bool) -> bool {
        let mut request = Request::new(Empty::<Bytes>::new());
        *request.uri_mut() = Uri::from_static("http://a.test/");
        if told {
            let limits = Limits::new().timeout(self.load.limit);
            request.extensions_mut().insert(limits);
        }
        let Ok(response) = self.pool.clone().oneshot(request).await else {
            return false;
        };
        response.into_body().collect().await.is_ok()
    }

    fn stats(&self) -> OriginStats {
        let origin: Origin = "http://a.test/".parse().expect("an origin");
        self.pool.stats(&origin).expect("the origin is known")
    }

    /// The time until nothing waits any more.
    async fn recovery(&self) -> Duration {
        let end = self.start + self.load.lasts;
        sleep_until(end).await;
        while self.stats().queued > 0 {
            sleep(Duration::from_millis(10)).await;
        }
        end.elapsed()
    }
}

/// Plays a load to its end, and until its queue is empty.
pub(crate) async fn play(load: Load) -> Outcome {
    let callers = Arc::new(Callers {
        load,
        pool: load.pool(),
        start: Instant::now(),
        good: AtomicU64::new(0),
        patient: AtomicU64::new(0),
    });
    let asking = (0..load.callers).map(|caller| tokio::spawn(callers.clone().ask(caller)));
    let asking: Vec<_> = asking.collect();
    let recovered = callers.recovery().await;
    for caller in asking {
        caller.await.expect("no caller panics");
    }
    let good = u32::try_from(callers.good.load(Relaxed)).expect("few");
    let outcome = Outcome {
        ratio: f64::from(good) / load.possible(),
        patient: Duration::from_micros(callers.patient.load(Relaxed)),
        recovered,
        stats: callers.stats(),
    };
    println!(
        "{:4} of {:5}, {:?} in {:?}, {} patient, told {}, h2 {}: {:.3} of possible, {} opened, {} \
         drained, patient {:?}, recovered {:?}",
        load.cap,
        load.callers,
        load.hold,
        load.limit,
        load.patient,
        load.told,
        load.http2,
        outcome.ratio,
        outcome.stats.opened,
        outcome.stats.bodies_drained,
        outcome.patient,
        outcome.recovered,
    );
    outcome
}
