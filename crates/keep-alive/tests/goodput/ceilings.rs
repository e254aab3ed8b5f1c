//! Dials that fail beside connections that serve (A14): every call is served.

use std::io::ErrorKind;
use std::time::Duration;

use tollgate_core::{BoxError, Classified, ConnectErrorKind};
use tollgate_keep_alive::OriginStats;
use tollgate_testing::io::Plan;
use tollgate_testing::{Connector, Reply, Upstream};
use tower::{Layer, ServiceExt};

use crate::support::{cap, fetch};

/// The stats after so many calls at once, none of which may fail.
async fn serve_all<C>(calls: usize, connector: C, upstream: &Upstream) -> OriginStats
where
    C: tollgate_keep_alive::Connector,
{
    let (pool, uri) = (cap(64).layer(connector), upstream.uri("/"));
    let fetching = (0..calls).map(|_| {
        let (pool, uri) = (pool.clone(), uri.clone());
        tokio::spawn(async move { fetch(&pool, &uri).await })
    });
    for fetched in fetching.collect::<Vec<_>>() {
        let fetched = fetched.await.unwrap();
        assert_eq!(fetched.expect("it is served"), "ok");
    }
    let origin = uri.to_string().parse().unwrap();
    pool.stats(&origin).unwrap()
}

fn failing_beyond(most: usize, upstream: &Upstream, failing: Plan) -> Connector {
    Connector::memory(upstream).script(move |dial| {
        if dial.nth < most {
            Plan::connect()
        } else {
            failing.clone()
        }
    })
}

async fn slow() -> Upstream {
    Upstream::start(|_| Reply::ok("ok").after(Duration::from_millis(5))).await
}

/// The same, where `most` dials succeed and the others fail like this.
async fn all_served(calls: usize, most: usize, failing: Plan) -> OriginStats {
    let upstream = slow().await;
    let connector = failing_beyond(most, &upstream, failing);
    serve_all(calls, connector, &upstream).await
}

/// The same with an error of the test's own.
async fn all_served_beside<E>(calls: usize, most: usize, error: fn() -> E) -> OriginStats
where
    E: Into<BoxError> + Send + 'static,
{
    let upstream = slow().await;
    let failing = Plan::fail(ErrorKind::Other).after(Duration::from_millis(1));
    let connector = failing_beyond(most, &upstream, failing);
    serve_all(calls, connector.map_err(move |_| error()), &upstream).await
}

#[tokio::test(start_paused = true)]
async fn two_allowed_connections_serve_forty_calls() {
    let failing = [
        Plan::fail(ErrorKind::ConnectionRefused),
        Plan::fail(ErrorKind::ConnectionReset),
        Plan::fail(ErrorKind::TimedOut).after(Duration::from_millis(50)),
        Plan::fail(ErrorKind::InvalidData).after(Duration::from_millis(1)),
        Plan::hang(),
    ];
    for failing in failing {
        let stats = all_served(40, 2, failing.clone()).await;
        assert_eq!((stats.opened, stats.failed), (2, 0), "{failing:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn sixty_calls_are_served_through_nine_local_ports() {
    let stats = all_served(60, 9, Plan::fail(ErrorKind::AddrNotAvailable)).await;
    assert_eq!((stats.opened, stats.failed), (9, 0), "{stats:#?}");
    assert_eq!(stats.peer_limit, None, "the peer has refused nothing");
}

#[tokio::test(start_paused = true)]
async fn forty_calls_are_served_beside_tls_refusals() {
    let refused = || Classified::new(ConnectErrorKind::Tls);
    let stats = all_served_beside(40, 2, refused).await;
    assert_eq!((stats.opened, stats.failed), (2, 0), "{stats:#?}");
}

#[tokio::test(start_paused = true)]
async fn sixty_calls_are_served_with_nine_descriptors() {
    let no_descriptor = || std::io::Error::from_raw_os_error(24);
    let stats = all_served_beside(60, 9, no_descriptor).await;
    assert_eq!((stats.opened, stats.failed), (9, 0), "{stats:#?}");
    assert_eq!(stats.peer_limit, None, "the peer has refused nothing");
}

#[tokio::test(start_paused = true)]
async fn connections_closed_at_once_fail_no_call() {
    let upstream = Upstream::builder()
        .reply(|_| Reply::ok("ok").after(Duration::from_millis(5)))
        .on_accept(|nth| match nth {
            0 | 1 => Reply::nothing(),
            _ => Reply::nothing().close(),
        });
    let upstream = upstream.start().await;
    let stats = serve_all(40, Connector::memory(&upstream), &upstream).await;
    assert_eq!(stats.failed, 0, "{stats:#?}");
}
