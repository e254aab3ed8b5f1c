//! Errors of resolving, dialling and connecting.

use std::io;
use std::time::Duration;

use tollgate::cached_dns::{Answer, LookupError, LookupErrorKind, StaticHosts};
use tollgate::connect_timeout::ConnectTimedOut;
use tollgate::dial::{AddrPolicy, DialError, DialLayer};
use tollgate::{ErrorKind, Phase, find};
use tollgate_testing::io::Plan;
use tollgate_testing::{Connector, Hole, Refused, Reply, Upstream};

use super::{SECOND, fails};
use crate::support::{client_with, text};

#[tokio::test]
async fn black_hole_fails_within_50_ms_of_budget() {
    let hole = Hole::start([127, 0, 0, 1]).await;
    let budget = Duration::from_millis(400);
    let client = client_with(|b| b.connect_timeout(budget));
    let started = tokio::time::Instant::now();
    let error = fails(&client, format!("http://{}/", hole.addr())).await;
    let took = started.elapsed();
    assert!(error.is_timeout() && error.is_connect());
    assert!(
        took >= budget && took < budget + Duration::from_millis(50),
        "{took:?}"
    );
}

#[tokio::test]
async fn connect_timeout_names_phase_and_attempts() {
    let hole = Hole::start([127, 0, 0, 1]).await;
    let budget = Duration::from_millis(150);
    let client = client_with(|b| b.connect_timeout(budget));
    let error = fails(&client, format!("http://{}/", hole.addr())).await;
    assert_eq!(
        error.kind(),
        ErrorKind::ConnectTimeout { phase: Phase::Tcp }
    );
    assert!(error.is_timeout() && error.is_connect() && error.is_retryable());
    assert!(error.to_string().contains("in phase tcp"), "{error}");
    let late = find::<ConnectTimedOut>(&error).unwrap();
    assert_eq!(
        (late.total(), late.attempts()[0].addr),
        (budget, hole.addr())
    );
}

#[tokio::test]
async fn hanging_resolver_times_out_in_phase_dns() {
    let hangs = tower::service_fn(|_| std::future::pending::<io::Result<std::vec::IntoIter<_>>>());
    let client = client_with(|b| b.resolver(hangs).connect_timeout(Duration::from_millis(50)));
    let error = fails(&client, "http://slow.internal/").await;
    assert_eq!(
        error.kind(),
        ErrorKind::ConnectTimeout { phase: Phase::Dns }
    );
}

#[tokio::test]
async fn refused_connections_are_named_and_back_off() {
    let refused = Refused::start([127, 0, 0, 1]);
    // Too short to wait for the next dial.
    let client = client_with(|b| b.acquire_timeout(Duration::from_millis(10)));
    let uri = format!("http://{}/", refused.addr());
    let error = fails(&client, &uri).await;
    assert_eq!(error.kind(), ErrorKind::ConnectRefused);
    assert!(error.is_retryable() && error.is_connect() && !error.is_timeout());
    assert!(error.to_string().contains("connection refused"), "{error}");
    assert_eq!(find::<DialError>(&error).unwrap().attempts().len(), 1);
    // Those that are not dialled for have the kind of the dial that failed.
    for _ in 0..5 {
        let error = fails(&client, &uri).await;
        assert_eq!(error.kind(), ErrorKind::ConnectRefused);
        if error.is_backing_off() {
            assert!(error.to_string().contains("next"), "{error}");
            return;
        }
    }
    panic!("six refused connections and no back-off");
}

#[tokio::test]
async fn unresolvable_name_is_a_dns_error() {
    let nothing = tower::service_fn(|_| async {
        Err::<Answer, _>(LookupError::new(LookupErrorKind::NotFound { ttl: None }))
    });
    let client = client_with(|b| b.resolver(nothing));
    let error = fails(&client, "http://nobody.internal/").await;
    assert_eq!(error.kind(), ErrorKind::Dns);
    assert!(
        error.to_string().contains("http://nobody.internal"),
        "{error}"
    );
    assert!(find::<LookupError>(&error).unwrap().is_not_found());
}

#[tokio::test]
async fn a_blocked_address_is_not_retryable() {
    let upstream = Upstream::start(|_| Reply::ok("ok")).await;
    let client = client_with(|b| b.dial(DialLayer::new().policy(AddrPolicy::public_only())));
    let error = fails(&client, upstream.uri("/")).await;
    assert_eq!(error.kind(), ErrorKind::Blocked);
    assert!(error.nothing_sent() && !error.is_retryable());
    assert_eq!(upstream.accepted(), 0);
}

#[tokio::test]
async fn address_without_a_route_is_unreachable() {
    // Nobody connects to a broadcast address: the system says so without a packet.
    let client = client_with(|b| b);
    let error = fails(&client, "http://255.255.255.255:9/").await;
    assert_eq!(error.kind(), ErrorKind::Unreachable);
    assert!(error.is_retryable() && error.is_connect());
    assert!(error.to_string().contains("routes"), "{error}");
}

#[cfg(unix)]
#[tokio::test]
async fn missing_unix_socket_is_a_connect_error() {
    let dial = DialLayer::new().unix_socket("docker.internal", "/nonexistent/docker.sock");
    let client = client_with(|b| b.dial(dial));
    let error = fails(&client, "http://docker.internal/version").await;
    assert_eq!(error.kind(), ErrorKind::Connect);
    assert!(error.is_retryable() && error.is_connect());
    assert!(find::<DialError>(&error).is_some());
}

#[tokio::test(start_paused = true)]
async fn the_connect_timeout_holds_for_foreign_connectors() {
    let upstream = Upstream::start(|_| Reply::ok("ok")).await;
    let kinds = [
        io::ErrorKind::ConnectionRefused,
        io::ErrorKind::NetworkUnreachable,
        io::ErrorKind::InvalidData,
        io::ErrorKind::AddrNotAvailable,
    ];
    let connector = Connector::memory(&upstream).script(move |dial| match dial.nth {
        0 => Plan::hang(),
        n => kinds
            .get(n - 1)
            .map_or_else(Plan::connect, |kind| Plan::fail(*kind)),
    });
    let client = client_with(|b| b.connector(connector.clone()).connect_timeout(SECOND));
    let uri = |n: usize| format!("http://host-{n}/");
    let error = fails(&client, uri(0)).await;
    assert_eq!(
        error.kind(),
        ErrorKind::ConnectTimeout {
            phase: Phase::Connect
        }
    );
    assert_eq!(find::<ConnectTimedOut>(&error).unwrap().elapsed(), SECOND);
    for (n, kind) in [
        ErrorKind::ConnectRefused,
        ErrorKind::Unreachable,
        ErrorKind::Connect,
    ]
    .into_iter()
    .enumerate()
    {
        assert_eq!(fails(&client, uri(n + 1)).await.kind(), kind);
    }
    // No local port at first: that fails no call, the next dial serves it.
    text(client.get(uri(9)).await.unwrap()).await;
    connector
        .settled(|stats| stats.live == 1 && stats.dialling == 0)
        .await;
}

#[tokio::test]
async fn static_hosts_are_a_resolver_below_the_cache() {
    let upstream = Upstream::start(|_| Reply::ok("ok")).await;
    let hosts = StaticHosts::new().host("billing.internal", [upstream.addr().ip()]);
    let client = client_with(|b| b.resolver(hosts));
    let uri = format!("http://billing.internal:{}/", upstream.addr().port());
    assert_eq!(text(client.get(uri).await.unwrap()).await, "ok");
}
