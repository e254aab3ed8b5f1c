//! Every error a caller meets, by the event that brings it about.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use std::error::Error as _;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use support::words::says_all;
use support::{client_with, over_dead, text};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tollgate::cached_dns::{Answer, LookupError, LookupErrorKind, StaticHosts};
use tollgate::connect_timeout::ConnectTimedOut;
use tollgate::dial::{AddrPolicy, DialError, DialLayer};
use tollgate::{Client, Deadline, Error, ErrorKind, Phase, RetryPolicy, find};
use tollgate_testing::io::Plan;
use tollgate_testing::{Connector, Gate, Hole, Refused, Reply, Upstream};

const QUEUED: &str = "http://queued.internal";
const SECOND: Duration = Duration::from_secs(1);

/// One that holds each answer until the gate opens.
async fn held() -> (Upstream, Gate) {
    let gate = Gate::new();
    let held = gate.clone();
    let upstream = Upstream::start(move |_| Reply::ok("ok").when(&held)).await;
    (upstream, gate)
}

async fn fails(client: &Client, uri: impl ToString) -> Error {
    let error = client.get(uri.to_string()).await.err().unwrap();
    says_all(&error);
    error
}

#[tokio::test]
async fn a_black_hole_ends_at_the_budget_give_or_take_50_ms() {
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
async fn a_full_queue_says_how_many_wait_and_what_to_change() {
    let (upstream, gate) = held().await;
    let client = client_with(|b| b.max_connections_per_origin(1).max_waiting(1));
    let mut calls = JoinSet::new();
    calls.spawn(client.get(upstream.uri("/")));
    gate.reached(1).await;
    calls.spawn(client.get(upstream.uri("/")));
    let origin = format!("http://{}", upstream.addr());
    while client.stats(&origin).unwrap().queued == 0 {
        tokio::task::yield_now().await;
    }

    let error = fails(&client, upstream.uri("/")).await;
    assert_eq!(error.kind(), ErrorKind::QueueFull);
    assert!(error.is_retryable() && error.nothing_sent() && !error.is_connect());
    assert_eq!(error.origin().unwrap().to_string(), origin);
    let text_of = error.to_string();
    assert!(
        text_of.contains(&origin) && text_of.contains("max_waiting"),
        "{text_of}"
    );
    assert_eq!(client.stats(&origin).unwrap().refused, 1);
    gate.open();
    while let Some(done) = calls.join_next().await {
        text(done.unwrap().unwrap()).await;
    }
}

#[tokio::test]
async fn a_queue_timeout_says_how_long_it_waited() {
    let (upstream, gate) = held().await;
    let limit = Duration::from_millis(40);
    let client = client_with(|b| b.max_connections_per_origin(1).acquire_timeout(limit));
    let first = tokio::spawn(client.get(upstream.uri("/")));
    gate.reached(1).await;

    let error = fails(&client, upstream.uri("/")).await;
    assert_eq!(error.kind(), ErrorKind::QueueTimeout);
    assert!(error.is_retryable() && error.is_timeout());
    assert!(error.timings().queued >= limit);
    assert_eq!(
        find::<io::Error>(&error).unwrap().kind(),
        io::ErrorKind::TimedOut
    );
    assert_eq!(error.as_keep_alive().unwrap().limit(), 1);
    gate.open();
    text(first.await.unwrap().unwrap()).await;
}

#[tokio::test]
async fn a_requests_own_deadline_bounds_its_wait() {
    let (upstream, gate) = held().await;
    let client = client_with(|b| b.max_connections_per_origin(1));
    let first = tokio::spawn(client.get(upstream.uri("/")));
    gate.reached(1).await;
    let mut request = Request::new(Full::<Bytes>::default());
    *request.uri_mut() = upstream.uri("/");
    request
        .extensions_mut()
        .insert(Deadline::after(Duration::from_millis(30)));
    let error = client.request(request).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::QueueTimeout);
    gate.open();
    text(first.await.unwrap().unwrap()).await;
}

#[tokio::test]
async fn a_connect_timeout_names_the_phase_and_every_attempt() {
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
async fn a_resolver_that_hangs_ends_at_the_connect_budget_in_phase_dns() {
    let hangs = tower::service_fn(|_| std::future::pending::<io::Result<std::vec::IntoIter<_>>>());
    let client = client_with(|b| b.resolver(hangs).connect_timeout(Duration::from_millis(50)));
    let error = fails(&client, "http://slow.internal/").await;
    assert_eq!(
        error.kind(),
        ErrorKind::ConnectTimeout { phase: Phase::Dns }
    );
}

#[tokio::test]
async fn a_refused_connection_says_so_and_a_burst_of_them_backs_off() {
    let refused = Refused::start([127, 0, 0, 1]);
    let client = client_with(|b| b);
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
async fn a_name_that_does_not_resolve_is_a_dns_error() {
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
async fn a_connection_closed_after_the_request_was_sent_is_not_retryable() {
    let upstream = Upstream::start(|_| Reply::nothing().close()).await;
    let client = client_with(|b| b);
    let mut request = Request::post("/")
        .body(Full::new(Bytes::from("pay")))
        .unwrap();
    *request.uri_mut() = upstream.uri("/pay");
    let error = client.request(request).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::ClosedAfterSent);
    assert!(!error.is_retryable() && !error.nothing_sent());
    assert!(error.to_string().contains("may have acted"), "{error}");
    assert_eq!(upstream.requests().len(), 1);
}

/// It was retryable once, whatever its method: the second attempt sends nothing.
#[tokio::test]
async fn a_lost_request_whose_second_attempt_cannot_connect_is_not_retryable() {
    let upstream = Upstream::start(|request| match request.nth {
        0 => Reply::ok("ok"),
        _ => Reply::nothing().close(),
    })
    .await;
    let connector = Connector::tcp(upstream.addr()).script(|dial| match dial.nth {
        0 => Plan::connect(),
        _ => Plan::fail(io::ErrorKind::ConnectionRefused),
    });
    let client = client_with(|b| b.connector(connector));
    text(client.get(upstream.uri("/")).await.unwrap()).await;
    let error = fails(&client, upstream.uri("/")).await;
    assert_eq!(error.kind(), ErrorKind::ConnectRefused);
    assert!(!error.is_retryable() && !error.nothing_sent());
    assert!(error.to_string().contains("may have acted"), "{error}");
    let next = fails(&client, upstream.uri("/")).await;
    assert!(next.is_retryable() && next.is_connect());
}

#[tokio::test]
async fn connections_that_are_closed_before_the_request_is_written_are_tried_four_times() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let addr = listener.local_addr().unwrap();
    let accepted = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&accepted);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            counter.fetch_add(1, SeqCst);
            drop(stream);
        }
    });
    let client = client_with(|b| over_dead(b, addr));
    // A peer that accepts and closes was dialled for ever once, 3,500 times a second.
    let call = fails(&client, format!("http://{addr}/"));
    let error = tokio::time::timeout(SECOND * 8, call).await.unwrap();
    assert_eq!(error.kind(), ErrorKind::ClosedBeforeSent);
    assert!(error.nothing_sent() && error.is_retryable());
    assert_eq!(error.timings().attempts, 4);
    assert_eq!(accepted.load(SeqCst), 4);
    let text = error.to_string();
    assert!(
        text.contains("4 tried") && text.contains("not sent"),
        "{text}"
    );
}

#[tokio::test]
async fn a_crowd_before_a_server_that_closes_at_once_dials_a_bounded_number_of_times() {
    const CALLERS: usize = 200;
    let upstream = Upstream::builder()
        .backlog(1024)
        .on_accept(|_| Reply::nothing().close())
        .start()
        .await;
    let client = client_with(|b| b.max_connections_per_origin(32));
    let mut calls = JoinSet::new();
    for _ in 0..CALLERS {
        calls.spawn(client.get(upstream.uri("/")));
    }
    let all = async {
        while let Some(done) = calls.join_next().await {
            let error = done.unwrap().unwrap_err();
            let closed = [ErrorKind::ClosedBeforeSent, ErrorKind::ClosedAfterSent];
            assert!(closed.contains(&error.kind()), "{error:?}");
        }
    };
    tokio::time::timeout(SECOND * 8, all).await.unwrap();
    let dials = upstream.accepted();
    // Four each, and some that were on their way when the last one gave up.
    assert!(dials <= 5 * CALLERS, "{dials}");
}

#[tokio::test]
async fn an_address_without_a_way_to_it_is_unreachable() {
    // Nobody connects to a broadcast address: the system says so without a packet.
    let client = client_with(|b| b);
    let error = fails(&client, "http://255.255.255.255:9/").await;
    assert_eq!(error.kind(), ErrorKind::Unreachable);
    assert!(error.is_retryable() && error.is_connect());
    assert!(error.to_string().contains("routes"), "{error}");
}

#[cfg(unix)]
#[tokio::test]
async fn a_unix_socket_that_is_not_there_is_a_failed_connect() {
    let dial = DialLayer::new().unix_socket("docker.internal", "/nonexistent/docker.sock");
    let client = client_with(|b| b.dial(dial));
    let error = fails(&client, "http://docker.internal/version").await;
    assert_eq!(error.kind(), ErrorKind::Connect);
    assert!(error.is_retryable() && error.is_connect());
    assert!(find::<DialError>(&error).is_some());
}

#[tokio::test]
async fn an_answer_that_is_not_http_is_an_exchange_error() {
    let upstream = Upstream::start(|_| Reply::raw("SSH-2.0-OpenSSH_9.9\r\n\r\n").close()).await;
    let client = client_with(|b| b.retry(RetryPolicy::NEVER));
    let error = fails(&client, upstream.uri("/")).await;
    assert_eq!(error.kind(), ErrorKind::Exchange);
    assert!(!error.is_retryable());
}

#[tokio::test]
async fn a_body_that_breaks_off_says_where_it_came_from() {
    let upstream = Upstream::start(|_| {
        Reply::head(200)
            .header("content-length", "10")
            .body("hello")
            .close()
    })
    .await;
    let client = client_with(|b| b);
    let response = client.get(upstream.uri("/")).await.unwrap();
    let error = response.into_body().collect().await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Body);
    says_all(&error);
    assert_eq!(error.timings().remote, Some(upstream.addr()));
    assert!(
        error.to_string().contains(&upstream.addr().to_string()),
        "{error}"
    );
    assert!(error.source().unwrap().is::<hyper::Error>());
}

#[tokio::test]
async fn a_silent_body_ends_at_its_idle_timeout_and_gives_its_connection_up() {
    let upstream = Upstream::start(|_| {
        Reply::head(200)
            .header("content-length", "10")
            .body("hello")
            .hold()
    })
    .await;
    let client = client_with(|b| b.body_idle_timeout(Duration::from_millis(50)));
    let response = client.get(upstream.uri("/")).await.unwrap();
    let mut body = response.into_body();
    assert_eq!(
        body.frame().await.unwrap().unwrap().into_data().unwrap(),
        "hello"
    );
    let error = body.frame().await.unwrap().err().unwrap();
    assert_eq!(error.kind(), ErrorKind::BodyTimeout);
    says_all(&error);
    assert!(error.is_timeout() && error.to_string().contains("body_idle_timeout"));
    assert!(body.frame().await.is_none());
    // The body still stands; its connection does not.
    upstream.settled(|stats| stats.live == 0).await;
}

#[tokio::test]
async fn a_response_timeout_ends_the_call_and_its_connection() {
    let upstream = Upstream::start(|_| Reply::never()).await;
    let client = client_with(|b| b.response_timeout(Duration::from_millis(50)));
    let error = fails(&client, upstream.uri("/")).await;
    assert_eq!(error.kind(), ErrorKind::ResponseTimeout);
    assert!(!error.is_retryable() && !error.nothing_sent());
    assert!(error.to_string().contains("may have acted"), "{error}");
    let timings = error.timings();
    assert_eq!(timings.remote, Some(upstream.addr()));
    assert_eq!((timings.connection, timings.attempts), (1, 1));
    assert!(timings.connect.is_some());
    upstream.settled(|stats| stats.live == 0).await;
}

#[tokio::test(start_paused = true)]
async fn a_response_timeout_that_strikes_in_the_queue_says_so_and_for_how_long_it_waited() {
    let endless = |_: &_| Reply::head(200).header("content-length", "10").hold();
    let upstream = Upstream::start(endless).await;
    let limit = Duration::from_millis(200);
    let client = client_with(|b| {
        b.connector(Connector::memory(&upstream))
            .max_connections_per_origin(1)
            .response_timeout(limit)
    });
    let _holds_the_connection = client.get(QUEUED).await.unwrap();
    let mut pool = client.origin(QUEUED).unwrap();
    let call = tower::Service::call(&mut pool, Request::new(Full::<Bytes>::default()));
    for waiting in [fails(&client, QUEUED).await, call.await.err().unwrap()] {
        assert_eq!(waiting.kind(), ErrorKind::ResponseTimeout);
        assert!(waiting.nothing_sent() && waiting.is_retryable());
        let timings = waiting.timings();
        assert!(timings.queued >= limit, "{timings:?}");
        assert_eq!((timings.attempts, timings.connection), (0, 0));
        let text = waiting.to_string();
        assert!(
            text.contains("not sent") && !text.contains("acted"),
            "{text}"
        );
    }
    assert_eq!(upstream.requests().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_response_timeout_after_a_wait_and_on_a_kept_connection_tells_both() {
    let (upstream, gate) = held().await;
    let client = client_with(|b| {
        b.connector(Connector::memory(&upstream))
            .max_connections_per_origin(1)
            .response_timeout(SECOND)
    });
    let first = tokio::spawn(client.get(QUEUED));
    gate.reached(1).await;
    let second = tokio::spawn(client.get(QUEUED));
    tokio::time::sleep(SECOND / 4).await;
    gate.admit(1);
    text(first.await.unwrap().unwrap()).await;
    let late = second.await.unwrap().err().unwrap();
    let timings = late.timings();
    assert!(timings.reused && !late.nothing_sent());
    assert_eq!((timings.queued, timings.attempts), (SECOND / 4, 1));
}

#[tokio::test]
async fn what_is_not_an_absolute_uri_is_an_invalid_request() {
    let client = client_with(|b| b);
    for uri in ["/only/a/path", "not a uri", ""] {
        let error = fails(&client, uri).await;
        assert_eq!(error.kind(), ErrorKind::InvalidRequest, "{uri}");
        assert!(error.nothing_sent() && !error.is_retryable());
        assert!(error.to_string().contains("absolute"), "{error}");
    }
    assert_eq!(
        client.warm("nothing", 1).unwrap_err().kind(),
        ErrorKind::InvalidRequest
    );
}

#[test]
fn a_call_outside_a_runtime_says_so() {
    let client = client_with(|b| b);
    let mut call = std::pin::pin!(client.get("http://127.0.0.1:9/"));
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    let std::task::Poll::Ready(Err(error)) = call.as_mut().poll(&mut cx) else {
        panic!("waits without a runtime");
    };
    assert_eq!(error.kind(), ErrorKind::NoRuntime);
}

#[tokio::test(start_paused = true)]
async fn a_foreign_connector_is_under_the_connect_timeout_and_its_errors_have_a_kind() {
    let upstream = Upstream::start(|_| Reply::ok("ok")).await;
    let kinds = [
        io::ErrorKind::ConnectionRefused,
        io::ErrorKind::NetworkUnreachable,
        io::ErrorKind::AddrNotAvailable,
        io::ErrorKind::InvalidData,
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
        ErrorKind::PortsExhausted,
        ErrorKind::Connect,
    ]
    .into_iter()
    .enumerate()
    {
        assert_eq!(fails(&client, uri(n + 1)).await.kind(), kind);
    }
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

#[test]
fn the_table_of_errors_in_the_guide_is_that_of_the_code() {
    let rows: Vec<(&str, bool)> = include_str!("../src/guide/errors.md")
        .lines()
        .filter_map(|line| line.strip_prefix("| `"))
        .map(|row| {
            let mut cells = row.split('|').map(str::trim);
            let label = cells.next().unwrap().trim_end_matches('`');
            (label, cells.nth(1).unwrap() == "yes")
        })
        .collect();
    let kinds: Vec<_> = ErrorKind::ALL
        .iter()
        .map(|kind| (kind.label(), kind.is_retryable()))
        .collect();
    assert_eq!(rows, kinds);
}
