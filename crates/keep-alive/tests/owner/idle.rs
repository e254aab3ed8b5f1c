//! A process with nothing to do.

use std::time::Duration;

use http::Uri;
use http_body_util::BodyExt;
use tokio::runtime::Handle;
use tollgate_keep_alive::{KeepAlive, KeepAliveLayer, KeepAliveOrigin, Protocol};
use tollgate_testing::http2::Http2Reply;
use tollgate_testing::{Connector, Gate, Http2Upstream, Reply, Upstream};
use tower::{Layer, Service};

use super::support::{cap, fetch, get, request};

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(86_400);

/// What the timer's wheel itself takes for a minute, and for timers that are a day away.
const WHEEL: u64 = 8;

/// The number of times that the runtime goes to sleep in a minute: once for each task that is woken, or
/// nearly so.
async fn sleeps_in_a_minute() -> u64 {
    // What is left from before comes to its end.
    tokio::time::sleep(MINUTE).await;
    let sleeps = || Handle::current().metrics().worker_park_count(0);
    let before = sleeps();
    tokio::time::sleep(MINUTE).await;
    sleeps() - before
}

fn lasting(layer: KeepAliveLayer) -> KeepAliveLayer {
    layer.idle_timeout(DAY).max_lifetime(DAY)
}

fn of(number: usize) -> Uri {
    format!("http://{number}.test/").parse().unwrap()
}

#[tokio::test(start_paused = true)]
async fn two_thousand_idle_origins_wake_no_task() {
    let upstream = Upstream::start(|_| Reply::ok("ok")).await;
    let connector = Connector::memory(&upstream);
    let pool = lasting(cap(4)).layer(connector.clone());
    for number in 0..2_000 {
        fetch(&pool, &of(number)).await.unwrap();
    }
    let sleeps = sleeps_in_a_minute().await;
    assert!(sleeps <= WHEEL, "{sleeps} in a minute");
    assert_eq!(connector.stats().live, 2_000);
    assert_eq!(pool.snapshot().origins.len(), 2_000);
}

/// Of one origin with a connection, and of one whose connection has closed.
async fn each_kind_of_handle_is_kept(layer: &KeepAliveLayer) {
    let gate = Gate::new();
    let held = gate.clone();
    let upstream = Upstream::start(move |request| match &*request.target {
        "/held" => Reply::ok("ok").when(&held),
        "/half" => Reply::head(200)
            .header("content-length", "9")
            .body("half")
            .hold(),
        "/tunnel" => Reply::raw(
            "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n",
        )
        .hold(),
        _ => Reply::ok("ok"),
    })
    .await;
    let pool: KeepAlive = layer.layer(Connector::memory(&upstream));
    let uri = upstream.uri("/");
    let origin: KeepAliveOrigin = pool.origin(&uri.to_string().parse().unwrap()).unwrap();
    let hosts = pool.hosts_in_use();
    let mut read = get(&pool, &uri).await.unwrap().into_body();
    while read.frame().await.is_some() {}
    let mut finished = pool.clone().call(request("GET", &uri));
    let unread = (&mut finished).await.unwrap();
    let half = get(&pool, &upstream.uri("/half")).await.unwrap();
    let mut tunnel = request("GET", &upstream.uri("/tunnel"));
    let headers = tunnel.headers_mut();
    headers.insert("connection", "upgrade".parse().unwrap());
    headers.insert("upgrade", "x".parse().unwrap());
    let tunnel = pool.clone().call(tunnel).await.unwrap();
    let tunnel = hyper::upgrade::on(tunnel).await.unwrap();
    let running = tokio::spawn(pool.clone().call(request("GET", &upstream.uri("/held"))));
    gate.reached(1).await;
    // On a connection that idles, of an origin of its own.
    fetch(&pool, &of(0)).await.unwrap();
    let mut reserved = pool.origin(&of(0).to_string().parse().unwrap()).unwrap();
    let ready = std::future::poll_fn(|cx| {
        Service::<http::Request<http_body_util::Empty<bytes::Bytes>>>::poll_ready(&mut reserved, cx)
    });
    ready.await.unwrap();
    fetch(&pool, &of(1)).await.unwrap();
    let unpolled = pool.clone().call(request("GET", &of(1)));
    let sleeps = sleeps_in_a_minute().await;
    assert!(sleeps <= WHEEL, "{sleeps} in a minute");
    drop((origin, hosts, read, finished, unread, half, tunnel, running));
    drop((reserved, unpolled, gate));
}

#[tokio::test(start_paused = true)]
async fn no_handle_wakes_an_idle_pools_task() {
    each_kind_of_handle_is_kept(&lasting(cap(8))).await;
}

#[tokio::test(start_paused = true)]
async fn nor_once_what_idled_has_timed_out() {
    each_kind_of_handle_is_kept(&cap(8).idle_timeout(MINUTE / 2)).await;
}

#[tokio::test(start_paused = true)]
async fn nor_under_a_total_cap() {
    let layer = lasting(cap(8)).max_connections_total(super::n(16));
    each_kind_of_handle_is_kept(&layer).await;
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_of_http2_wakes_no_task() {
    let upstream = Http2Upstream::new(|_| Http2Reply::ok("ok"));
    let layer = lasting(cap(4)).protocol(Protocol::Http2);
    let pool = layer.layer(upstream.connector());
    for number in 0..100 {
        fetch(&pool, &of(number)).await.unwrap();
    }
    let sleeps = sleeps_in_a_minute().await;
    assert!(sleeps <= WHEEL, "{sleeps} in a minute");
    assert_eq!(upstream.accepted(), 100);
}
