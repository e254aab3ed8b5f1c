//! A pool under observation, and what others count of it.

use std::num::NonZeroUsize;
use std::ops::Deref;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use tokio::time::{Instant, sleep, timeout};
use tollgate_core::Origin;
use tollgate_core::lock::lock;
use tollgate_keep_alive::{KeepAlive, KeepAliveLayer, OriginStats as PoolStats};
use tollgate_queue_metrics::{OriginStats, PoolMetrics};
use tollgate_testing::{Connector, Gate, Reply, Upstream, upstream};
use tower::{Layer, Service};

use crate::common::{Recorder, Series};

/// How long a moment of rest is waited for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// How long runs on real sockets take.
pub(crate) fn seconds() -> u64 {
    let told = std::env::var("TOLLGATE_TRUTH_SECS").ok();
    told.and_then(|told| told.parse().ok()).unwrap_or(5)
}

/// A small generator, so that a failure can be run again.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 33) % sides
    }
}

/// What the callers count.
#[derive(Default)]
pub(crate) struct Callers {
    /// Calls made.
    calls: AtomicUsize,
    /// Calls that are not over, the reading of the answer included.
    under_way: AtomicUsize,
    /// Calls whose answer the server has sent whole and the caller keeps unread.
    holding: AtomicUsize,
    /// Calls that may come to that.
    may_hold: AtomicUsize,
    /// Calls whose caller will go away soon.
    may_leave: AtomicUsize,
    /// The times at which callers have left.
    left: Mutex<Vec<Instant>>,
}

/// One more in a counter, for as long as this lives.
pub(crate) struct Counted<C: Deref<Target = AtomicUsize>>(C);

impl<C: Deref<Target = AtomicUsize>> Counted<C> {
    pub(crate) fn new(counter: C) -> Self {
        counter.fetch_add(1, SeqCst);
        Self(counter)
    }
}

impl<C: Deref<Target = AtomicUsize>> Drop for Counted<C> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

/// How a caller behaves.
#[derive(Clone, Copy)]
pub(crate) struct Manner {
    /// What is asked for: see [`script`].
    pub(crate) path: &'static str,
    /// How long the server takes.
    pub(crate) takes: Duration,
    /// When the caller goes away.
    pub(crate) patience: Duration,
    /// How long the answer is kept unread.
    pub(crate) holds: Duration,
    /// Whether it is read at all.
    pub(crate) reads: bool,
}

/// What the server does about a path: `/fast`, `/close`, `/lost`, `/slow-body` or `/gate`, then the
/// milliseconds that it takes.
pub(crate) fn script(gate: &Gate) -> impl Fn(&upstream::Request) -> Reply + Send + Sync + 'static {
    let gate = gate.clone();
    move |request| {
        let (path, millis) = request.target.rsplit_once('/').expect("a path");
        let takes = Duration::from_millis(millis.parse().expect("milliseconds"));
        match path {
            "/fast" => Reply::ok("ok").after(takes),
            "/close" => Reply::ok("ok").after(takes).closing(),
            "/lost" => Reply::nothing().delay(takes).close(),
            "/gate" => Reply::ok("ok").when(&gate),
            "/slow-body" => {
                let first = Reply::chunked().after(takes).chunk("first");
                first.delay(takes).chunk("second").end_chunks()
            }
            other => panic!("no script for {other}"),
        }
    }
}

pub(crate) struct Observed {
    pub(crate) upstream: Upstream,
    pub(crate) connector: Connector,
    pub(crate) pool: KeepAlive,
    pub(crate) metrics: Arc<PoolMetrics>,
    pub(crate) origin: Origin,
    pub(crate) limit: usize,
    callers: Arc<Callers>,
    recorder: Recorder,
}

impl Observed {
    pub(crate) fn new(upstream: Upstream, connector: Connector, layer: KeepAliveLayer) -> Self {
        let metrics = Arc::new(PoolMetrics::new());
        let limit = 4;
        let layer = layer
            .max_connections_per_origin(NonZeroUsize::new(limit).expect("is not zero"))
            .observer(metrics.clone());
        Self {
            pool: layer.layer(connector.clone()),
            origin: upstream.uri("/").to_string().parse().expect("an origin"),
            upstream,
            connector,
            metrics,
            limit,
            callers: Arc::default(),
            recorder: Recorder::new(),
        }
    }

    /// One call by a task of its own, to its end.
    pub(crate) fn call(&self, manner: Manner) {
        let path = format!("{}/{}", manner.path, manner.takes.as_millis());
        let mut request = Request::new(Empty::<Bytes>::new());
        *request.uri_mut() = self.upstream.uri(&path);
        let (mut pool, callers) = (self.pool.clone(), Arc::clone(&self.callers));
        tokio::spawn(async move {
            let _under_way = Counted::new(&callers.under_way);
            let _may_hold = (!manner.holds.is_zero()).then(|| Counted::new(&callers.may_hold));
            let leaves = manner.patience < Duration::from_secs(1);
            let _may_leave = leaves.then(|| Counted::new(&callers.may_leave));
            let exchange = async {
                callers.calls.fetch_add(1, SeqCst);
                let Ok(response) = pool.call(request).await else {
                    return;
                };
                if !manner.holds.is_zero() {
                    let _holding = Counted::new(&callers.holding);
                    sleep(manner.holds).await;
                }
                if manner.reads {
                    // Broken off by the server, for all this test cares.
                    drop(response.into_body().collect().await);
                }
            };
            if timeout(manner.patience, exchange).await.is_err() {
                lock(&callers.left).push(Instant::now());
            }
        });
    }

    pub(crate) fn under_way(&self) -> usize {
        self.callers.under_way.load(SeqCst)
    }

    /// The number of callers that left in the last second: an answer that is due so soon may be taken in
    /// for each, on a connection that is active meanwhile.
    fn left_lately(&self) -> usize {
        let left = lock(&self.callers.left);
        let lately = left.iter().rev();
        lately
            .take_while(|left| left.elapsed() <= Duration::from_secs(1))
            .count()
    }

    pub(crate) fn may_hold(&self) -> bool {
        self.callers.may_hold.load(SeqCst) > 0
    }

    pub(crate) fn may_leave(&self) -> bool {
        self.callers.may_leave.load(SeqCst) > 0
    }

    pub(crate) fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
        let limit = NonZeroUsize::new(limit).expect("is not zero");
        let set = self.pool.set_max_connections(&self.origin, limit);
        set.expect("an address is a fine Host");
    }

    pub(crate) fn stats(&self) -> Option<OriginStats> {
        self.metrics.snapshot().origins.into_iter().next()
    }

    /// What is not as the others count it, now that nothing moves.
    #[expect(clippy::float_cmp, reason = "whole numbers, which arrive as they are")]
    pub(crate) fn lies(&self) -> Vec<String> {
        let Some(told) = self.stats() else {
            return Vec::new();
        };
        let series = self.reported();
        let mut lies = Vec::new();
        for (what, told, true_one, gauge) in self.compared(&told) {
            if told != true_one as u64 {
                lies.push(format!("{what} is told as {told} and is {true_one}"));
            }
            let reported = gauge.map(|gauge| series[&gauge]);
            #[expect(clippy::cast_precision_loss, reason = "small numbers")]
            if reported.is_some_and(|reported| reported != true_one as f64) {
                lies.push(format!(
                    "{what} is reported as {reported:?} and is {true_one}"
                ));
            }
        }
        lies
    }

    /// The gauges that a report wrote.
    fn reported(&self) -> Series {
        self.recorder.run(|| self.metrics.report());
        self.recorder.series()
    }

    /// Those under way that are not active, if no more connections than callers left lately are active
    /// beside them.
    fn queued(&self, told: &OriginStats, active: usize) -> usize {
        let (under_way, waiting) = (self.under_way(), usize::try_from(told.queued).unwrap());
        let taken_in = (waiting + active).saturating_sub(under_way);
        let least = under_way.saturating_sub(active);
        if taken_in <= self.left_lately() {
            waiting.max(least)
        } else {
            least
        }
    }

    /// What, as the metrics tell it, as others count it, and the gauge.
    #[rustfmt::skip]
    fn compared(&self, told: &OriginStats) -> [(&'static str, u64, usize, Option<String>); 16] {
        let (server, dials) = (self.upstream.stats(), self.connector.stats());
        let holding = self.callers.holding.load(SeqCst);
        // What the server has answered whole is idle to it.
        let active = server.live - server.idle + holding;
        let idle = server.idle.saturating_sub(holding);
        let queued = self.queued(told, active);
        let calls = self.callers.calls.load(SeqCst);
        let demands = told.granted + told.refused_in_all() + told.queued - told.retried;
        let pool = self.pool.stats(&self.origin);
        let of_pool = |of: fn(&PoolStats) -> usize, forgotten| pool.as_ref().map_or(forgotten, of);
        let limit = of_pool(|pool| pool.limit.unwrap_or(0), self.limit);
        let closed = told.closed.iter().map(|(_, count)| count).sum();
        let failed = told.connect_failed.iter().map(|(_, count)| count).sum();
        let labels = format!(
            r#"server_address="{}",server_port="{}""#,
            told.server_address, told.server_port
        );
        let gauge = |name: &str| Some(format!("http_client_{name}{{{labels}}}"));
        let state = |state: &str| {
            let open = format!(r#"open_connections{{http_connection_state="{state}","#);
            Some(format!("http_client_{open}{labels}}}"))
        };
        [
            ("open", told.open, server.live, None),
            ("active", told.active, active, state("active")),
            ("idle", told.idle, idle, state("idle")),
            (
                "in flight",
                told.in_flight,
                active,
                gauge("active_requests"),
            ),
            (
                "opening",
                told.connecting,
                dials.dialling,
                gauge("connections_opening"),
            ),
            ("draining", told.draining, 0, gauge("connections_draining")),
            ("queued", told.queued, queued, gauge("queued_requests")),
            (
                "the limit",
                told.limit.unwrap_or(0),
                limit,
                gauge("connections_limit"),
            ),
            ("queued in the pool", of_pool(|pool| pool.queued, 0) as u64, queued, None),
            ("open in the pool", of_pool(|pool| pool.open, 0) as u64, server.live, None),
            ("the limit set", limit as u64, self.limit, None),
            ("demands", demands, calls, None),
            ("opened", told.opened, server.accepted, None),
            ("closed", closed, server.accepted.saturating_sub(server.live), None),
            ("failed dials", failed, dials.failed + dials.cancelled, None),
            (
                "released",
                released(told),
                usize::try_from(told.granted).unwrap_or(usize::MAX).saturating_sub(active),
                None,
            ),
        ]
    }

    /// Returns the number of connections that the pool takes for the peer's ceiling.
    pub(crate) fn peer_limit(&self) -> Option<usize> {
        self.pool.stats(&self.origin)?.peer_limit
    }

    /// Lets go of the pool: then everything is zero, but the counters, which still add up.
    pub(crate) async fn let_go(self, rest: impl AsyncFn(&dyn Fn() -> bool)) {
        let Self {
            upstream,
            connector,
            pool,
            metrics,
            ..
        } = self;
        drop(pool);
        rest(&|| {
            let told = metrics.snapshot().origins.remove(0);
            let gauges = [
                told.open,
                told.active,
                told.idle,
                told.in_flight,
                told.connecting,
                told.draining,
                told.queued,
            ];
            let server = upstream.stats();
            let zero = gauges == [0; 7] && told.limit.is_none();
            let sums = told.demands() == told.granted + told.refused_in_all()
                && told.granted == released(&told);
            zero && sums && (server.live, connector.stats().live) == (0, 0)
        })
        .await;
    }
}

/// Exchanges that are over, however they ended.
pub(crate) fn released(told: &OriginStats) -> u64 {
    told.exchanges.iter().map(|(_, count)| count).sum()
}
