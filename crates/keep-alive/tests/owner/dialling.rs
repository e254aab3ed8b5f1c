//! What a dial leaves behind, and what it holds up.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::join_all;
use http::Uri;
use hyper_util::client::legacy::connect::Connected;
use tokio::time::Instant;
use tollgate_core::{Event, Observer};
use tollgate_keep_alive::{KeepAlive, Protocol};
use tollgate_testing::io::Plan;
use tollgate_testing::{Connector, Gate, Reply, Upstream};
use tower::{Layer, Service};

use super::support::{cap, fetch, get, read, request};

const SOON: Duration = Duration::from_millis(1);

/// A connector whose futures own something until they are dropped.
#[derive(Clone)]
struct Owning(Connector, Arc<()>);

struct Dialling(
    Pin<Box<<Connector as Service<Uri>>::Future>>,
    #[expect(dead_code, reason = "it is held")] Arc<()>,
);

impl Service<Uri> for Owning {
    type Response = <Connector as Service<Uri>>::Response;
    type Error = <Connector as Service<Uri>>::Error;
    type Future = Dialling;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        Dialling(Box::pin(self.0.call(uri)), self.1.clone())
    }
}

impl Future for Dialling {
    type Output = <<Connector as Service<Uri>>::Future as Future>::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

/// The connector's future is as large as it likes, and once lived as long as its connection.
#[tokio::test(start_paused = true)]
async fn a_dial_is_dropped_once_connected() {
    let upstream = Upstream::start(|_| Reply::ok("ok")).await;
    let owned = Arc::new(());
    let connector = Owning(Connector::memory(&upstream), owned.clone());
    let pool: KeepAlive = cap(1).layer(connector);
    let before = Arc::strong_count(&owned);
    fetch(&pool, &upstream.uri("/")).await.unwrap();
    assert_eq!(Arc::strong_count(&owned), before, "of the dial's memory");
    assert_eq!(upstream.live(), 1);
}

/// Notes how many sockets there are when a dial fails.
struct AtFailure(Connector, Mutex<Vec<usize>>);

impl Observer for AtFailure {
    fn on_event(&self, event: &Event<'_>) {
        if let Event::ConnectFailed { .. } = event {
            self.1.lock().unwrap().push(self.0.stats().live);
        }
    }
}

#[tokio::test]
async fn a_refused_connection_closes_before_freeing_its_place() {
    let upstream = Upstream::start(|_| Reply::ok("ok")).await;
    let connector = Connector::memory(&upstream).connected(|| Connected::new().negotiated_h2());
    let seen = Arc::new(AtFailure(connector.clone(), Mutex::default()));
    let layer = cap(1).protocol(Protocol::Http1).observer(seen.clone());
    let pool: KeepAlive = layer.layer(connector);
    for _ in 0..2 {
        get(&pool, &upstream.uri("/")).await.unwrap_err();
    }
    assert_eq!(*seen.1.lock().unwrap(), [0, 0]);
}

/// Dialled one at a time, as where HTTP/2 may be spoken, it took three limits. The second try is of as many
/// dials as make a back-off.
#[tokio::test(start_paused = true)]
async fn a_cold_burst_into_black_holes_fails_together() {
    const LIMIT: Duration = Duration::from_secs(5);
    let upstream = Upstream::start(|_| Reply::ok("ok")).await;
    let connector = Connector::memory(&upstream).script(|_| Plan::hang());
    let pool: KeepAlive = cap(64).connect_timeout(LIMIT).layer(connector);
    for (scheme, limits) in [("https", 2), ("http", 1)] {
        let uri = format!("{scheme}://hole.test/").parse().unwrap();
        let started = Instant::now();
        for answer in join_all((0..50).map(|_| get(&pool, &uri))).await {
            answer.unwrap_err();
        }
        let took = started.elapsed();
        assert!(took < LIMIT * limits + LIMIT / 2, "{scheme}: {took:?}");
    }
}

/// A request is dialled for when it is polled, and then on its runtime.
#[tokio::test(start_paused = true)]
async fn a_call_that_is_not_polled_dials_nothing() {
    let upstream = Upstream::start(|_| Reply::ok("ok")).await;
    let connector = Connector::memory(&upstream);
    let pool: KeepAlive = cap(4).layer(connector.clone());
    fetch(&pool, &upstream.uri("/")).await.unwrap();
    pool.close_idle();
    connector.settled(|stats| stats.live == 0).await;
    let unpolled = pool.clone().call(request("GET", &upstream.uri("/")));
    tokio::time::sleep(SOON).await;
    assert_eq!(connector.stats().calls, 1);
    read(unpolled.await.unwrap()).await.unwrap();
    assert_eq!(connector.stats().calls, 2);
}

#[tokio::test(start_paused = true)]
async fn no_touch_dials_for_an_unpolled_call() {
    let upstream = Upstream::start(|_| Reply::ok("ok")).await;
    let connector = Connector::memory(&upstream);
    let pool: KeepAlive = cap(4).layer(connector.clone());
    let uri = upstream.uri("/");
    let origin = uri.to_string().parse().unwrap();
    let unpolled = pool.clone().call(request("GET", &uri));
    let behind = pool.clone().call(request("GET", &uri));
    drop(behind);
    pool.set_max_connections(&origin, super::n(3)).unwrap();
    tokio::time::sleep(SOON).await;
    assert_eq!(connector.stats().calls, 0);
    drop(unpolled);
    fetch(&pool, &uri).await.unwrap();
    assert_eq!(connector.stats().calls, 1);
}

#[tokio::test(start_paused = true)]
async fn a_failed_dial_starts_the_next() {
    let upstream = Upstream::start(|_| Reply::ok("ok")).await;
    let connector = Connector::memory(&upstream).script(|dial| match dial.nth {
        0 => Plan::fail(io::ErrorKind::ConnectionRefused).after(SOON),
        _ => Plan::connect(),
    });
    let pool: KeepAlive = cap(1).layer(connector);
    let started = Instant::now();
    let uri = upstream.uri("/");
    let (failed, served) = tokio::join!(get(&pool, &uri), get(&pool, &uri));
    failed.unwrap_err();
    served.unwrap();
    assert!(started.elapsed() < SOON * 10, "{:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_gone_makes_room() {
    let gate = Gate::new();
    let held = gate.clone();
    let upstream = Upstream::start(move |request| match request.connection {
        0 => Reply::nothing().wait(&held).close(),
        _ => Reply::ok("ok"),
    })
    .await;
    let pool: KeepAlive = cap(1).layer(Connector::memory(&upstream));
    let uri = upstream.uri("/");
    let started = Instant::now();
    let (lost, served, ()) = tokio::join!(get(&pool, &uri), get(&pool, &uri), async {
        gate.reached(1).await;
        gate.open();
    });
    lost.unwrap_err();
    served.unwrap();
    assert!(started.elapsed() < SOON * 10, "{:?}", started.elapsed());
}
