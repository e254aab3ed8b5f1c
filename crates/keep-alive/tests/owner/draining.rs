//! The end of a pool.

use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use http::{Request, Uri};
use http_body_util::{BodyExt, StreamBody};
use tokio::time::Instant;
use tollgate_keep_alive::KeepAlive;
use tollgate_testing::io::Plan;
use tollgate_testing::{Connector, Gate, Reply, Upstream, within};
use tower::{Layer, ServiceExt};

use super::support::{LONG, cap, fetch, get, request};

const LIMIT: Duration = Duration::from_secs(5);

/// Nothing is cut, and the limit is not waited for.
async fn drains_within_a_second(pool: &KeepAlive) {
    let started = Instant::now();
    assert_eq!(pool.drain(LIMIT).await, 0);
    let took = started.elapsed();
    assert!(took < Duration::from_secs(1), "{took:?}");
}

/// A drain that had nothing left to wait for once took its whole limit.
#[tokio::test(start_paused = true)]
async fn a_drain_ends_with_the_last_failed_dial() {
    let upstream = Upstream::start(|_| Reply::ok("ok")).await;
    let delay = Duration::from_millis(100);
    let connector = Connector::memory(&upstream)
        .script(move |_| Plan::fail(std::io::ErrorKind::ConnectionRefused).after(delay));
    let pool = cap(1).layer(connector);
    let uri = upstream.uri("/");
    let mut call = Box::pin(get(&pool, &uri));
    assert!((&mut call).now_or_never().is_none());
    tokio::task::yield_now().await;
    drains_within_a_second(&pool).await;
}

#[tokio::test(start_paused = true)]
async fn a_drain_does_not_wait_for_refused_calls() {
    let gate = Gate::new();
    let held = gate.clone();
    let upstream = Upstream::start(move |_| Reply::ok("ok").when(&held)).await;
    let pool = cap(1).layer(Connector::memory(&upstream));
    let busy = tokio::spawn({
        let (pool, uri) = (pool.clone(), upstream.uri("/"));
        async move { fetch(&pool, &uri).await }
    });
    gate.reached(1).await;
    let uri = upstream.uri("/");
    let mut waiting = Box::pin(get(&pool, &uri));
    assert!((&mut waiting).now_or_never().is_none());
    gate.open();
    drains_within_a_second(&pool).await;
    busy.await.unwrap().unwrap();
    assert!(waiting.await.is_err());
}

/// A connection that was reserved for a call that is kept and not polled once took the whole limit, and
/// counted as an exchange that was cut.
#[tokio::test(start_paused = true)]
async fn a_drain_takes_uncollected_reservations_back() {
    let upstream = Upstream::start(|_| Reply::chunked().chunk("ok").end_chunks()).await;
    let pool = cap(1).layer(Connector::memory(&upstream));
    let mut held = get(&pool, &upstream.uri("/")).await.unwrap();
    held.body_mut().frame().await.unwrap().unwrap();
    tokio::time::sleep(Duration::from_millis(1)).await;
    let mut call = Box::pin(pool.clone().oneshot(request("GET", &upstream.uri("/"))));
    assert!((&mut call).now_or_never().is_none());
    drop(held);
    assert_eq!(pool.snapshot().origins[0].queued, 0, "it is reserved");
    drains_within_a_second(&pool).await;
    assert!(call.await.is_err());
}

/// A tunnel is its user's: it lives on, and is not among the exchanges that were cut.
#[tokio::test]
async fn a_drain_counts_no_tunnel_as_cut() {
    let upstream = Upstream::start(|_| Reply::upgrade("x")).await;
    let pool = cap(1).layer(Connector::tcp(upstream.addr()));
    let mut request = request("GET", &upstream.uri("/"));
    let headers = request.headers_mut();
    headers.insert("connection", "upgrade".parse().unwrap());
    headers.insert("upgrade", "x".parse().unwrap());
    let response = pool.clone().oneshot(request).await.unwrap();
    let tunnel = hyper::upgrade::on(response).await.unwrap();
    assert_eq!(pool.drain(Duration::from_millis(50)).await, 0);
    drop(tunnel);
    within(LONG, pool.drain(LIMIT)).await;
}

/// The upload of a request that was answered early once kept its socket for as long as its body went
/// on, though the client was gone.
#[tokio::test]
async fn an_upload_does_not_outlive_its_client() {
    let upstream = Upstream::start(|_| Reply::ok("early").before_body()).await;
    let connector = Connector::tcp(upstream.addr());
    let pool = cap(1).layer(connector.clone());
    let endless =
        futures_util::stream::pending::<Result<http_body::Frame<Bytes>, std::io::Error>>();
    let body = StreamBody::new(endless);
    let request = Request::post(upstream.uri("/")).body(body).unwrap();
    let response = pool.clone().oneshot(request).await.unwrap();
    drop(pool);
    assert_eq!(
        response.into_body().collect().await.unwrap().to_bytes(),
        "early"
    );
    within(LONG, connector.settled(|stats| stats.live == 0)).await;
}

#[tokio::test]
async fn a_dropped_pool_keeps_no_socket() {
    let upstream = Upstream::start(|_| Reply::ok("ok")).await;
    let connector = Connector::tcp(upstream.addr());
    let pool = cap(8).layer(connector.clone());
    for number in 0..20 {
        let uri: Uri = format!("http://{number}.test/").parse().unwrap();
        fetch(&pool, &uri).await.unwrap();
    }
    drop(pool);
    within(LONG, connector.settled(|stats| stats.live == 0)).await;
}
