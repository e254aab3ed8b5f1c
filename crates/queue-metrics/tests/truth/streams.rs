//! Real sockets once more, with HTTP/2: requests share connections, and connections that were told to
//! go away live on beside others.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Uri};
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::connect::HttpConnector;
use tokio::time::{Instant, sleep, timeout};
use tollgate_core::Origin;
use tollgate_keep_alive::{KeepAlive, KeepAliveLayer, Protocol};
use tollgate_queue_metrics::{OriginStats, PoolMetrics};
use tollgate_testing::Gate;
use tower::{Layer, Service};

use crate::common::ms;
use crate::harness::{Counted, Dice, PATIENCE, released, seconds};
use crate::peer::{Peer, STREAMS};

/// The cap on connections: as many as keep every gate's streams in play.
const LIMIT: usize = 3;

struct Observed {
    peer: Peer,
    pool: KeepAlive,
    metrics: Arc<PoolMetrics>,
    uri: Uri,
    under_way: Arc<AtomicUsize>,
    /// Calls whose caller will go away soon.
    may_leave: Arc<AtomicUsize>,
    calls: AtomicUsize,
}

impl Observed {
    async fn start(gate: &Gate) -> Self {
        let peer = Peer::start(gate.clone()).await;
        let metrics = Arc::new(PoolMetrics::new());
        let layer = KeepAliveLayer::new()
            .protocol(Protocol::Http2)
            .max_connections_per_origin(NonZeroUsize::new(LIMIT).unwrap())
            .max_waiting(8)
            .acquire_timeout(4 * PATIENCE)
            .observer(metrics.clone());
        Self {
            uri: format!("http://{}/", peer.addr()).parse().unwrap(),
            peer,
            pool: layer.layer(HttpConnector::new()),
            metrics,
            under_way: Arc::default(),
            may_leave: Arc::default(),
            calls: AtomicUsize::new(0),
        }
    }

    /// One call by a task of its own, whose caller leaves when its patience is over.
    fn call(&self, patience: Duration) {
        self.calls.fetch_add(1, SeqCst);
        let mut request = Request::new(Empty::<Bytes>::new());
        *request.uri_mut() = self.uri.clone();
        let (mut pool, under_way) = (self.pool.clone(), Arc::clone(&self.under_way));
        let leaves = patience < PATIENCE;
        let counted = (
            Counted::new(under_way),
            leaves.then(|| Counted::new(Arc::clone(&self.may_leave))),
        );
        tokio::spawn(async move {
            let _counted = counted;
            let exchange = async {
                if let Ok(response) = pool.call(request).await {
                    drop(response.into_body().collect().await);
                }
            };
            drop(timeout(patience, exchange).await);
        });
    }

    fn told(&self) -> Option<OriginStats> {
        self.metrics.snapshot().origins.into_iter().next()
    }

    fn under_way(&self) -> usize {
        self.under_way.load(SeqCst)
    }

    /// What is not as the peer and the callers count it, now that nothing moves.
    fn lies(&self) -> Vec<String> {
        let Some(told) = self.told() else {
            return Vec::new();
        };
        let peer = self.peer.counts();
        let waiting = self.under_way().saturating_sub(peer.streams);
        let sum = |counts: &[(_, u64)]| counts.iter().map(|(_, count)| count).sum::<u64>();
        let closed = told.closed.iter().map(|(_, count)| count).sum();
        let refused = sum(&told.refused);
        let demands = told.granted + refused + told.queued - told.retried;
        // Without a connection, nobody knows that one carries several.
        let each = if told.open == 0 { 1 } else { STREAMS as usize };
        let pairs = [
            ("open", told.open, peer.live - peer.draining),
            ("draining", told.draining, peer.draining),
            ("in flight", told.in_flight, peer.streams),
            ("queued", told.queued, waiting),
            ("opening", told.connecting, 0),
            ("opened", told.opened, peer.accepted),
            ("closed", closed, peer.accepted - peer.live),
            ("demands", demands, self.calls.load(SeqCst)),
            ("the limit", told.limit.unwrap_or(0), self.limit()),
            (
                "the limit in requests",
                told.requests_limit.unwrap_or(0),
                self.limit() * each,
            ),
        ];
        let wrong = pairs
            .iter()
            .filter(|(_, told, true_one)| *told != *true_one as u64);
        let mut lies: Vec<_> = wrong
            .map(|(what, told, true_one)| format!("{what} is told as {told} and is {true_one}"))
            .collect();
        if told.active > told.in_flight.min(told.open) {
            lies.push(format!("{} connections serve: {told:?}", told.active));
        }
        lies
    }

    /// Zero once the pool has forgotten its origin.
    fn limit(&self) -> usize {
        self.pool.stats(&self.origin()).map_or(0, |_| LIMIT)
    }

    fn origin(&self) -> Origin {
        self.uri.to_string().parse().unwrap()
    }

    /// Waits until `holds` and the peer's counters have not moved for a while; then nothing may lie.
    async fn rest(&self, holds: impl Fn() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let before = self.peer.counts();
            let truthful = self.lies().is_empty();
            sleep(ms(3)).await;
            if truthful && holds() && before == self.peer.counts() {
                return;
            }
            let late = Instant::now() >= deadline;
            let detail = || self.pool.detail(&self.origin());
            let told = || (self.told(), self.peer.counts(), detail());
            assert!(!late, "{:#?} in {:#?}", self.lies(), told());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_match_the_truth_of_http2_streams() {
    let gate = Gate::new();
    let observed = Observed::start(&gate).await;
    let mut dice = Dice(11);
    let end = Instant::now() + Duration::from_secs(seconds());
    let (mut rounds, mut shared, mut drained) = (0, 0, 0);
    while Instant::now() < end {
        match dice.roll(6) {
            0 => observed.peer.cut_all(),
            1 => observed.pool.close_idle(),
            _ => {}
        }
        gate.close();
        for _ in 0..dice.roll(24) {
            let leaves = dice.roll(10) == 0;
            observed.call(if leaves {
                ms(dice.roll(10))
            } else {
                4 * PATIENCE
            });
        }
        let at_the_gate = || {
            let all = gate.waiters() == observed.peer.counts().streams;
            all && observed.may_leave.load(SeqCst) == 0
        };
        observed.rest(at_the_gate).await;
        // At rest: of a call that is on its way meanwhile, pool and peer need not think alike.
        if dice.roll(4) == 0 {
            observed.peer.go_away();
            observed.rest(at_the_gate).await;
        }
        let peer = observed.peer.counts();
        shared += usize::from(peer.streams > peer.live);
        drained += usize::from(peer.draining > 0);
        gate.open();
        observed.rest(|| observed.under_way() == 0).await;
        rounds += 1;
    }
    assert!(rounds > 5, "{rounds}");
    assert!(shared > 0 && drained > 0, "{shared} {drained}");
    let Observed {
        peer,
        pool,
        metrics,
        ..
    } = observed;
    drop(pool);
    let deadline = Instant::now() + PATIENCE;
    while !is_over(&metrics.snapshot().origins[0]) || peer.counts().live > 0 {
        assert!(Instant::now() < deadline, "{:#?}", metrics.snapshot());
        sleep(ms(1)).await;
    }
}

/// Every gauge is zero, and the counters add up.
fn is_over(told: &OriginStats) -> bool {
    let gauges = [
        told.open,
        told.idle,
        told.in_flight,
        told.connecting,
        told.draining,
        told.queued,
    ];
    let sums = told.demands() == told.granted + told.refused_in_all();
    gauges == [0; 6] && told.limit.is_none() && sums && told.granted == released(told)
}
