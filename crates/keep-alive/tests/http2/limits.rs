//! The cap that an observer is told of is the one that holds, and nothing of it is left in the end.

use std::sync::Arc;

use tollgate_core::Event;
use tollgate_keep_alive::Protocol;
use tollgate_testing::{Recorder, Reply, Upstream};

use super::*;

/// The changes of the limits of all origins.
fn changes() -> Arc<Recorder<(usize, usize)>> {
    Recorder::new(|event| match *event {
        Event::LimitChanged { from, to, .. } => Some((from, to)),
        _ => None,
    })
}

/// A gauge, as the sum of its changes.
fn value(changes: &Recorder<(usize, usize)>) -> usize {
    changes
        .seen()
        .iter()
        .fold(0, |sum, (from, to)| sum + to - from)
}

struct Watched {
    pool: KeepAlive,
    uri: Uri,
    changes: Arc<Recorder<(usize, usize)>>,
}

impl Watched {
    fn new(layer: KeepAliveLayer, connector: Connector, uri: &Uri) -> Self {
        let changes = changes();
        let layer = layer.observer(changes.clone());
        Self {
            pool: layer.layer(connector),
            uri: uri.clone(),
            changes,
        }
    }

    /// The number that is told and the one that is read.
    fn limit(&self) -> usize {
        let origin: Origin = self.uri.to_string().parse().unwrap();
        let limit = self.pool.stats(&origin).unwrap().limit.unwrap();
        assert_eq!(value(&self.changes), limit);
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
        let Self { pool, changes, .. } = self;
        drop(pool);
        until(|| value(&changes) == 0).await;
        changes.take()
    }
}

#[tokio::test]
async fn an_http1_limit_is_the_configured_one() {
    let upstream = Upstream::start(|_| Reply::ok("ok")).await;
    let connector = Connector::tcp(upstream.addr());
    let watched = Watched::new(cap(128), connector, &upstream.uri("/"));
    assert_eq!(watched.used().await, [128, 128]);
    assert_eq!(watched.set([2, 200]), [2, 200]);
    let told = watched.end().await;
    assert_eq!(told, [(0, 128), (128, 2), (2, 200), (200, 0)]);
}

#[tokio::test]
async fn the_limit_follows_the_negotiated_protocol() {
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
async fn a_known_protocols_limit_holds_from_the_start() {
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

/// The steps of the number of connections within the cap.
fn steps() -> Arc<Recorder<i64>> {
    let signed = |n| i64::try_from(n).unwrap();
    Recorder::new(move |event| match *event {
        Event::Opened { .. } => Some(1),
        Event::Closed { .. } => Some(-1),
        Event::DrainingChanged { from, to, .. } => Some(signed(from) - signed(to)),
        _ => None,
    })
}

/// The number now, and the most that there ever was.
fn running(steps: &Recorder<i64>) -> (i64, i64) {
    let steps = steps.seen();
    steps.iter().fold((0, 0), |(now, most), step| {
        (now + step, most.max(now + step))
    })
}

/// One that had carried as many requests as it may was once told as draining only when maintenance
/// looked, which it does for every dial, or much later.
#[tokio::test]
async fn draining_is_observed_at_the_last_lease() {
    let steps = steps();
    let layer = streams(1, 100).observer(steps.clone());
    let layer = layer.max_requests_per_connection(3.try_into().unwrap());
    let stack = Stack::new(None, &layer).await;
    let first = stack.calls(1);
    until(|| stack.peer.answer_all() == 1).await;
    all_ok(first).await;
    let mut calls = stack.calls(2);
    until(|| stack.peer.open() == [2]).await;
    assert_eq!(stack.stats().draining, 1);
    assert_eq!(running(&steps), (0, 1), "told as it is");
    calls.extend(stack.calls(2));
    until(|| stack.peer.open() == [2, 2]).await;
    let stats = stack.stats();
    assert_eq!((stats.open, stats.draining, stats.limit), (1, 1, Some(1)));
    assert_eq!(running(&steps), (1, 1), "never above the limit");
    stack.peer.answer_all();
    all_ok(calls).await;
    until(|| stack.connector.stats().live == 1).await;
    let Stack { pool, .. } = stack;
    drop(pool);
    until(|| running(&steps).0 == 0).await;
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
