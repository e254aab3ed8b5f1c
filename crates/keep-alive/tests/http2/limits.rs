//! The cap that an observer is told of is the one that holds, and nothing of it is left in the end.

use std::sync::{Arc, Mutex};

use tollgate_core::{Event, Observer};
use tollgate_keep_alive::Protocol;
use tollgate_testing::{Reply, Upstream};

use super::*;

/// A gauge of the limits of all origins, as a sum of changes, and the changes.
#[derive(Default)]
struct Gauge(Mutex<Vec<(usize, usize)>>);

impl Observer for Gauge {
    fn on_event(&self, event: &Event<'_>) {
        if let Event::LimitChanged { from, to, .. } = *event {
            self.0.lock().unwrap().push((from, to));
        }
    }
}

impl Gauge {
    fn changes(&self) -> Vec<(usize, usize)> {
        self.0.lock().unwrap().clone()
    }

    fn value(&self) -> i64 {
        let signed = |n| i64::try_from(n).unwrap();
        let steps = self.changes();
        steps
            .iter()
            .map(|(from, to)| signed(*to) - signed(*from))
            .sum()
    }
}

struct Watched {
    pool: KeepAlive,
    uri: Uri,
    gauge: Arc<Gauge>,
}

impl Watched {
    fn new(layer: KeepAliveLayer, connector: Connector, uri: &Uri) -> Self {
        let gauge = Arc::new(Gauge::default());
        let layer = layer.observer(gauge.clone());
        Self {
            pool: layer.layer(connector),
            uri: uri.clone(),
            gauge,
        }
    }

    /// The number that is told and the one that is read.
    fn limit(&self) -> usize {
        let origin: Origin = self.uri.to_string().parse().unwrap();
        let limit = self.pool.stats(&origin).unwrap().limit.unwrap();
        assert_eq!(usize::try_from(self.gauge.value()), Ok(limit));
        limit
    }

    /// Meets the origin, then goes there; the limits after each.
    async fn used(&self) -> [usize; 2] {
        let origin = self.uri.to_string().parse().unwrap();
        drop(self.pool.origin(&origin).unwrap());
        let met = self.limit();
        assert_eq!(fetch(&self.pool, &self.uri).await.unwrap(), "ok");
        [met, self.limit()]
    }

    /// Asks for other caps; the limits after each.
    fn set<const N: usize>(&self, caps: [usize; N]) -> [usize; N] {
        let origin = self.uri.to_string().parse().unwrap();
        caps.map(|cap| {
            let cap = NonZeroUsize::new(cap).unwrap();
            self.pool.set_max_connections(&origin, cap).unwrap();
            self.limit()
        })
    }

    /// Lets go of it all; the changes that were told.
    async fn end(self) -> Vec<(usize, usize)> {
        let Self { pool, gauge, .. } = self;
        drop(pool);
        until(|| gauge.value() == 0).await;
        gauge.changes()
    }
}

#[tokio::test]
async fn the_limit_of_http1_is_the_one_asked_for() {
    let upstream = Upstream::start(|_| Reply::ok("ok")).await;
    let connector = Connector::tcp(upstream.addr());
    let watched = Watched::new(cap(128), connector, &upstream.uri("/"));
    assert_eq!(watched.used().await, [128, 128]);
    assert_eq!(watched.set([2, 200]), [2, 200]);
    let told = watched.end().await;
    assert_eq!(told, [(0, 128), (128, 2), (2, 200), (200, 0)]);
}

#[tokio::test]
async fn the_limit_follows_the_protocol_that_was_agreed_on() {
    let peer = Peer::start(None).await;
    peer.answer_at_once();
    let connector = Connector::tcp(peer.addr).connected(|| Connected::new().negotiated_h2());
    let uri = format!("https://{}/", peer.addr).parse().unwrap();
    let watched = Watched::new(cap(128), connector, &uri);
    assert_eq!(watched.used().await, [128, 4]);
    assert_eq!(watched.set([2, 200]), [2, 4]);
    let told = watched.end().await;
    assert_eq!(told, [(0, 128), (128, 4), (4, 2), (2, 4), (4, 0)]);
}

/// It was once told as 128, although 4 was what held from the start.
#[tokio::test]
async fn the_limit_of_a_protocol_that_is_known_is_told_from_the_start() {
    let peer = Peer::start(None).await;
    peer.answer_at_once();
    let connector = Connector::tcp(peer.addr);
    let uri = format!("http://{}/", peer.addr).parse().unwrap();
    let watched = Watched::new(cap(128).protocol(Protocol::Http2), connector, &uri);
    assert_eq!(watched.used().await, [4, 4]);
    assert_eq!(watched.set([2, 200]), [2, 4]);
    let told = watched.end().await;
    assert_eq!(told, [(0, 4), (4, 2), (2, 4), (4, 0)]);
}

/// Connections within the cap, as an observer counts them, and the most that there ever were.
#[derive(Default)]
struct Running(Mutex<(i64, i64)>);

impl Observer for Running {
    fn on_event(&self, event: &Event<'_>) {
        let signed = |n| i64::try_from(n).unwrap();
        let step = match *event {
            Event::Opened { .. } => 1,
            Event::Closed { .. } => -1,
            Event::DrainingChanged { from, to, .. } => signed(from) - signed(to),
            _ => return,
        };
        let (now, most) = &mut *self.0.lock().unwrap();
        *now += step;
        *most = (*most).max(*now);
    }
}

/// One that had carried as many requests as it may was once told as draining only when maintenance
/// looked, which it does for every dial, or much later.
#[tokio::test]
async fn a_connection_drains_for_an_observer_as_soon_as_it_takes_no_more() {
    let running = Arc::new(Running::default());
    let layer = streams(1, 100).observer(running.clone());
    let layer = layer.max_requests_per_connection(3.try_into().unwrap());
    let stack = Stack::new(None, &layer).await;
    let first = stack.calls(1);
    until(|| stack.peer.answer_all() == 1).await;
    all_ok(first).await;
    let mut calls = stack.calls(2);
    until(|| stack.peer.open() == [2]).await;
    assert_eq!(stack.stats().draining, 1);
    assert_eq!(*running.0.lock().unwrap(), (0, 1), "told as it is");
    calls.extend(stack.calls(2));
    until(|| stack.peer.open() == [2, 2]).await;
    let stats = stack.stats();
    assert_eq!((stats.open, stats.draining, stats.limit), (1, 1, Some(1)));
    assert_eq!(*running.0.lock().unwrap(), (1, 1), "never above the limit");
    stack.peer.answer_all();
    all_ok(calls).await;
    until(|| stack.connector.stats().live == 1).await;
    let Stack { pool, .. } = stack;
    drop(pool);
    until(|| running.0.lock().unwrap().0 == 0).await;
}

/// Its message once named the cap that the pool had begun with.
#[tokio::test]
async fn a_refusal_names_the_limit_that_holds() {
    let upstream = Upstream::start(|_| Reply::ok("ok")).await;
    let connector = Connector::tcp(upstream.addr());
    let layer = cap(128).max_waiting(0);
    let watched = Watched::new(layer, connector, &upstream.uri("/"));
    watched.set([1]);
    let held = support::get(&watched.pool, &watched.uri).await.unwrap();
    let error = support::get(&watched.pool, &watched.uri).await.unwrap_err();
    assert_eq!((error.limit(), watched.limit()), (1, 1), "{error}");
    drop(held);
}
