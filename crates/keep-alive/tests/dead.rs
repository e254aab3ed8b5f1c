//! Upstreams that cannot be reached, and callers' code that panics.

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use http::{Request, Uri};
use http_body_util::BodyExt;
use support::{LONG, Stack, assert_at_rest, cap, fetch, get, post, send};
use tokio::time::Instant;
use tollgate_core::{CloseReason, Event, Observer};
use tollgate_keep_alive::{KeepAlive, KeepAliveErrorKind};
use tollgate_testing::io::Plan;
use tollgate_testing::{Connector, Gate, Hole, Refused, Reply, Upstream, within};
use tower::{Layer, ServiceExt};

const DEAD: &str = "http://dead.test/";

#[tokio::test]
async fn five_hundred_waiters_of_a_refusing_upstream_fail_together_with_the_cause() {
    let refused = Refused::start(std::net::Ipv4Addr::LOCALHOST);
    let pool = cap(4).layer(Connector::tcp(refused.addr()));
    let uri = Uri::from_static(DEAD);
    let started = Instant::now();
    let answers = join_all((0..500).map(|_| get(&pool, &uri))).await;
    assert!(
        started.elapsed() < Duration::from_secs(2),
        "{:?}",
        started.elapsed()
    );
    for answer in answers {
        let error = answer.unwrap_err();
        assert!(error.nothing_sent());
        let io = tollgate_core::error::find::<std::io::Error>(&error).unwrap();
        assert_eq!(
            io.kind(),
            std::io::ErrorKind::ConnectionRefused,
            "{error:?}"
        );
    }
    let origin = DEAD.parse().unwrap();
    // Dials that were under way when all were told belong to the pool, and end by themselves.
    tollgate_testing::eventually(|| pool.stats(&origin).unwrap().connecting == 0).await;
    let stats = pool.stats(&origin).unwrap();
    let dials = stats.connect_failures;
    assert!(dials < 20, "{dials} dials for 500 waiters");
    assert_at_rest(&stats);
}

#[tokio::test]
async fn five_hundred_waiters_of_a_black_hole_fail_within_one_connect_timeout() {
    let hole = Hole::start(std::net::Ipv4Addr::LOCALHOST).await;
    let limit = Duration::from_millis(400);
    let pool = cap(8)
        .connect_timeout(limit)
        .layer(Connector::tcp(hole.addr()));
    let alive = Upstream::start(|_| Reply::ok("ok")).await;
    let uri = Uri::from_static(DEAD);
    let started = Instant::now();
    let waiters = join_all((0..500).map(|_| get(&pool, &uri)));
    let healthy = async {
        let stack = Stack::new(&alive, &cap(1));
        let started = Instant::now();
        fetch(&stack.pool, &alive.uri("/")).await.unwrap();
        started.elapsed()
    };
    let (answers, healthy) = tokio::join!(waiters, healthy);
    let took = started.elapsed();
    assert!(
        took < limit * 2,
        "500 waiters took {took:?} with a limit of {limit:?}"
    );
    assert!(healthy < limit / 2, "another origin took {healthy:?}");
    for answer in answers {
        let error = answer.unwrap_err();
        let io = tollgate_core::error::find::<std::io::Error>(&error).unwrap();
        assert_eq!(io.kind(), std::io::ErrorKind::TimedOut);
    }
}

#[tokio::test]
async fn recovery_is_noticed_within_the_longest_back_off() {
    let mut upstream = Upstream::start(|_| Reply::ok("ok")).await;
    upstream.stop_listening().await;
    let stack = Stack::new(&upstream, &cap(4));
    let uri = upstream.uri("/");
    // Long enough for the back-off to have grown to its longest.
    let until = Instant::now() + Duration::from_secs(3);
    while Instant::now() < until {
        assert!(get(&stack.pool, &uri).await.is_err());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let dials = stack.stats().connect_failures;
    assert!(dials < 40, "{dials} dials in 3 s of back-off");
    upstream.listen();
    let back = Instant::now();
    while get(&stack.pool, &uri).await.is_err() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(
        back.elapsed() < Duration::from_millis(1200),
        "{:?}",
        back.elapsed()
    );
}

#[tokio::test]
async fn a_failed_dial_fails_one_waiter_and_the_others_keep_their_chance() {
    let upstream = Upstream::start(|_| Reply::ok("ok")).await;
    let connector = Connector::tcp(upstream.addr()).script(|dial| match dial.nth {
        0 => Plan::fail(std::io::ErrorKind::ConnectionReset),
        _ => Plan::connect(),
    });
    let pool = cap(1).layer(connector);
    let uri = upstream.uri("/");
    let answers = join_all((0..5).map(|_| fetch(&pool, &uri))).await;
    let failed: Vec<_> = answers.iter().map(Result::is_err).collect();
    assert_eq!(
        failed,
        [true, false, false, false, false],
        "the head fails, nobody else"
    );
}

#[tokio::test]
async fn a_connector_that_panics_fails_a_waiter_and_leaves_no_lease() {
    let upstream = Upstream::start(|_| Reply::ok("ok")).await;
    let connector = Connector::tcp(upstream.addr()).script(|dial| match dial.nth {
        0 => Plan::panic(),
        1 => Plan::panic_in_call(),
        _ => Plan::connect(),
    });
    let pool = cap(1).layer(connector);
    let uri = upstream.uri("/");
    for _ in 0..2 {
        let error = get(&pool, &uri).await.unwrap_err();
        assert_eq!(error.kind(), KeepAliveErrorKind::Connect);
    }
    assert_eq!(fetch(&pool, &uri).await.unwrap(), "ok");
}

/// A request body that panics when it is polled.
struct PanickingBody;

impl http_body::Body for PanickingBody {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, std::io::Error>>> {
        panic!("the body");
    }
}

#[tokio::test]
async fn a_request_body_that_panics_costs_its_connection_and_nothing_else() {
    let upstream = Upstream::start(|_| Reply::ok("ok")).await;
    let stack = Stack::new(&upstream, &cap(1));
    for _ in 0..5 {
        let request = Request::post(upstream.uri("/"))
            .body(PanickingBody)
            .unwrap();
        assert!(send(&stack.pool, request).await.is_err());
        assert_eq!(fetch(&stack.pool, &upstream.uri("/")).await.unwrap(), "ok");
        let response = post(&stack.pool, &upstream.uri("/"), "fine").await.unwrap();
        response.into_body().collect().await.unwrap();
    }
    assert_at_rest(&stack.settled(|stats| stats.in_flight == 0).await);
}

struct PanickingObserver;

impl Observer for PanickingObserver {
    fn on_event(&self, event: &Event<'_>) {
        if let Event::Granted { .. } = event {
            panic!("the observer");
        }
    }
}

#[tokio::test]
async fn an_observer_that_panics_leaves_no_lease_behind() {
    let upstream = Upstream::start(|_| Reply::ok("ok")).await;
    let stack = Stack::new(&upstream, &cap(1).observer(Arc::new(PanickingObserver)));
    let uri = upstream.uri("/");
    for _ in 0..3 {
        let (pool, uri) = (stack.pool.clone(), uri.clone());
        let call = tokio::spawn(async move { get(&pool, &uri).await.map(drop) });
        assert!(call.await.unwrap_err().is_panic());
    }
    let stats = stack.settled(|stats| stats.in_flight == 0).await;
    assert_eq!(stats.queued, 0);
}

/// Runs `work` on a runtime of its own, and drops that runtime with whatever is left in it.
fn on_own_runtime<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let out = runtime.block_on(work);
    runtime.shutdown_timeout(Duration::from_secs(5));
    out
}

#[test]
fn a_client_outlives_its_first_runtime_and_works_on_a_second() {
    let servers = tokio::runtime::Runtime::new().unwrap();
    let gate = Gate::new();
    let held = gate.clone();
    let upstream = servers.block_on(Upstream::start(move |request| match &*request.target {
        "/held" => Reply::ok("ok").when(&held),
        _ => Reply::ok("ok"),
    }));
    let connector = Connector::tcp(upstream.addr());
    let pool: KeepAlive = cap(4).layer(connector.clone());
    on_own_runtime(async {
        fetch(&pool, &upstream.uri("/")).await.unwrap();
        for _ in 0..8 {
            let (pool, uri) = (pool.clone(), upstream.uri("/held"));
            tokio::spawn(async move { fetch(&pool, &uri).await });
        }
        gate.reached(4).await;
    });
    assert_eq!(
        connector.stats().live,
        0,
        "the runtime took its sockets along"
    );
    on_own_runtime(async {
        assert_eq!(fetch(&pool, &upstream.uri("/")).await.unwrap(), "ok");
        let origin = upstream.uri("/").to_string().parse().unwrap();
        assert_at_rest(&pool.stats(&origin).unwrap());
    });
}

#[tokio::test]
async fn dropping_the_client_closes_what_idles_and_lets_exchanges_finish() {
    let gate = Gate::new();
    let held = gate.clone();
    let upstream = Upstream::start(move |request| match &*request.target {
        "/held" => Reply::chunked()
            .chunk("a")
            .wait(&held)
            .chunk("b")
            .end_chunks(),
        _ => Reply::ok("ok"),
    })
    .await;
    let Stack {
        pool, connector, ..
    } = Stack::new(&upstream, &cap(4));
    let (one, other) = (upstream.uri("/"), upstream.uri("/held"));
    let streaming = get(&pool, &other).await.unwrap();
    fetch(&pool, &one).await.unwrap();
    assert_eq!(connector.stats().live, 2);
    drop(pool);
    connector.settled(|stats| stats.live == 1).await;
    gate.open();
    let body = within(LONG, streaming.into_body().collect()).await.unwrap();
    assert_eq!(body.to_bytes(), "ab");
    connector.settled(|stats| stats.live == 0).await;
}

#[tokio::test]
async fn a_call_made_before_the_client_was_dropped_is_answered() {
    let upstream = Upstream::start(|_| Reply::ok("ok")).await;
    let Stack {
        pool, connector, ..
    } = Stack::new(&upstream, &cap(1));
    let call = pool.oneshot(support::request("GET", &upstream.uri("/")));
    let response = within(LONG, call).await.unwrap();
    assert_eq!(
        response.into_body().collect().await.unwrap().to_bytes(),
        "ok"
    );
    connector.settled(|stats| stats.live == 0).await;
}

#[tokio::test]
async fn draining_waits_for_exchanges_and_cuts_what_is_left_at_the_deadline() {
    let gate = Gate::new();
    let held = gate.clone();
    let upstream = Upstream::start(move |request| match &*request.target {
        "/held" => Reply::ok("ok").when(&held),
        _ => Reply::never(),
    })
    .await;
    let stack = Stack::new(&upstream, &cap(4));
    let calls: Vec<_> = ["/held", "/never"]
        .map(|path| {
            let (pool, uri) = (stack.pool.clone(), upstream.uri(path));
            tokio::spawn(async move { fetch(&pool, &uri).await })
        })
        .into();
    gate.reached(1).await;
    upstream.settled(|stats| stats.requests == 2).await;
    let drain = tokio::spawn({
        let pool = stack.pool.clone();
        async move { pool.drain(Duration::from_millis(300)).await }
    });
    tokio::task::yield_now().await;
    gate.open();
    assert_eq!(drain.await.unwrap(), 1, "one exchange was cut");
    let mut outcomes = join_all(calls).await.into_iter().map(Result::unwrap);
    assert_eq!(outcomes.next().unwrap().unwrap(), "ok");
    assert!(outcomes.next().unwrap().is_err());
    let error = get(&stack.pool, &upstream.uri("/held")).await.unwrap_err();
    assert_eq!(error.kind(), KeepAliveErrorKind::Closed);
    stack.connector.settled(|stats| stats.live == 0).await;
}

#[tokio::test]
async fn an_address_that_left_the_dns_answer_is_retired_gracefully() {
    let gate = Gate::new();
    let held = gate.clone();
    let upstream = Upstream::start(move |_| Reply::chunked().chunk("a").wait(&held).end_chunks());
    let upstream = upstream.await;
    let addr = upstream.addr();
    let connector = Connector::tcp(addr).connected(move || {
        let mut dial = tollgate_core::DialInfo::default();
        dial.remote = Some(addr);
        hyper_util::client::legacy::connect::Connected::new().extra(dial)
    });
    let pool = cap(4).layer(connector.clone());
    let streaming = get(&pool, &upstream.uri("/")).await.unwrap();
    pool.retire(addr.ip());
    gate.open();
    assert_eq!(
        streaming.into_body().collect().await.unwrap().to_bytes(),
        "a"
    );
    connector.settled(|stats| stats.live == 0).await;
    let stats = pool
        .stats(&upstream.uri("/").to_string().parse().unwrap())
        .unwrap();
    assert_eq!(stats.closed_for(CloseReason::AddressGone), 1);
}

#[tokio::test]
async fn warming_opens_connections_before_anybody_asks() {
    let upstream = Upstream::start(|_| Reply::ok("ok")).await;
    let stack = Stack::new(&upstream, &cap(4));
    stack.pool.warm(&stack.origin, 3).unwrap();
    stack.settled(|stats| stats.idle == 3).await;
    fetch(&stack.pool, &upstream.uri("/")).await.unwrap();
    assert_eq!(upstream.accepted(), 3);
}
