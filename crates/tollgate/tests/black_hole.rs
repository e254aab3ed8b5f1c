//! A name whose answer leads nowhere: whatever ends the dial, the cache learns of it, and the next
//! request is served.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use std::future::{Future, pending};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Uri};
use http_body_util::Empty;
use hyper_util::client::legacy::connect::dns::Name;
use support::client_with;
use tokio::time::{Instant, sleep, timeout};
use tollgate::cached_dns::{Answer, CachedDnsLayer};
use tollgate::connect_timeout::ConnectTimeoutLayer;
use tollgate::dial::DialLayer;
use tollgate::keep_alive::{KeepAlive, KeepAliveLayer};
use tollgate_testing::{Connector, Hole, Plain, Reply, Upstream};
use tower::{Layer, Service, ServiceExt, service_fn};

const BUDGET: Duration = Duration::from_millis(200);

/// A resolver whose first answer, good for five minutes, is `holes`; the name has moved since. Each
/// query takes 50 ms.
fn moved(
    holes: Vec<SocketAddr>,
    good: SocketAddr,
    queries: &Arc<AtomicUsize>,
) -> impl Service<
    Name,
    Response = Answer,
    Error = io::Error,
    Future = impl Future<Output = io::Result<Answer>> + Send,
> + Clone
+ Send
+ Sync
+ 'static {
    let queries = queries.clone();
    service_fn(move |_: Name| {
        let first = queries.fetch_add(1, SeqCst) == 0;
        let addrs = if first { holes.clone() } else { vec![good] };
        async move {
            sleep(Duration::from_millis(50)).await;
            Ok::<_, io::Error>(Answer::new(addrs).ttl(Duration::from_secs(300)))
        }
    })
}

/// The limits of time that a stack by hand has.
#[derive(Clone, Copy, Debug, Default)]
struct Clocks {
    dial: Option<Duration>,
    layer: Option<Duration>,
    pool: Option<Duration>,
}

/// The stack by hand in memory, under the clock of the test: `holes` silent addresses, then a good one.
fn by_hand(
    upstream: &Upstream,
    holes: u8,
    queries: &Arc<AtomicUsize>,
    clocks: Clocks,
) -> KeepAlive {
    let good = SocketAddr::from(([192, 0, 2, 200], 80));
    let holes = (1..=holes).map(|n| SocketAddr::from(([192, 0, 2, n], 80)));
    let names = CachedDnsLayer::new().cached(moved(holes.collect(), good, queries));
    let (outcomes, failures) = (names.handle(), names.handle());
    let memory = Connector::memory(upstream);
    let attempt = service_fn(move |addr: SocketAddr| {
        let memory = memory.clone();
        async move {
            if addr != good {
                pending::<()>().await;
            }
            memory.oneshot(Uri::from_static("http://moved.test")).await
        }
    });
    let mut layer = DialLayer::with_attempt(attempt)
        .on_outcome(move |addr, outcome| outcomes.report(addr, outcome))
        .on_all_failed(move |host| {
            failures.all_failed(host);
        });
    if let Some(limit) = clocks.dial {
        layer = layer.connect_timeout(limit);
    }
    let dial = layer.layer(names);
    let mut pool = KeepAliveLayer::new();
    if let Some(limit) = clocks.pool {
        pool = pool.connect_timeout(limit);
    }
    match clocks.layer {
        Some(budget) => pool.layer(ConnectTimeoutLayer::new(budget).layer(dial)),
        None => pool.layer(dial),
    }
}

async fn call(pool: &KeepAlive) -> Result<(), String> {
    let request = Request::get("http://moved.test/").body(Empty::<Bytes>::new());
    let answered = pool.clone().oneshot(request.unwrap()).await;
    answered.map(drop).map_err(|error| error.to_string())
}

#[tokio::test(start_paused = true)]
async fn request_after_black_hole_succeeds_whatever_the_timeout() {
    let upstream = Upstream::start(|_| Reply::ok("ok")).await;
    let (limit, none) = (Some(BUDGET), Clocks::default());
    for clocks in [
        Clocks {
            dial: limit,
            ..none
        },
        Clocks {
            layer: limit,
            ..none
        },
        Clocks {
            pool: limit,
            ..none
        },
        none,
    ] {
        for holes in [1, 2, 20, 100] {
            let queries = Arc::default();
            let pool = by_hand(&upstream, holes, &queries, clocks);
            let case = format!("{holes} holes, {clocks:?}");
            assert!(call(&pool).await.is_err(), "{case}");
            assert_eq!(call(&pool).await, Ok(()), "{case}");
            assert_eq!(queries.load(SeqCst), 2, "{case}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn cancelled_calls_do_not_keep_a_black_hole() {
    let upstream = Upstream::start(|_| Reply::ok("ok")).await;
    let queries = Arc::default();
    let clocks = Clocks {
        layer: Some(BUDGET),
        ..Clocks::default()
    };
    let pool = by_hand(&upstream, 1, &queries, clocks);
    // The dial is the pool's: it goes on without its callers, to its end.
    for _ in 0..2 {
        assert!(timeout(BUDGET / 2, call(&pool)).await.is_err());
    }
    sleep(BUDGET / 10).await;
    assert_eq!(call(&pool).await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn default_connect_limit_yields_to_longer_budget() {
    let upstream = Upstream::start(|_| Reply::ok("ok")).await;
    let seconds = Duration::from_secs;
    for (pool, layer, ends) in [
        (None, 30, 30),
        (None, 3, 3),
        (Some(2), 30, 2),
        (Some(60), 30, 30),
    ] {
        let clocks = Clocks {
            layer: Some(seconds(layer)),
            pool: pool.map(seconds),
            ..Clocks::default()
        };
        let pool = by_hand(&upstream, 1, &Arc::default(), clocks);
        let from = Instant::now();
        let error = call(&pool).await.unwrap_err();
        assert_eq!(from.elapsed().as_secs(), ends, "{error}, {clocks:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn concurrent_dials_both_get_the_longer_budget() {
    let upstream = Upstream::start(|_| Reply::ok("ok")).await;
    let clocks = Clocks {
        layer: Some(Duration::from_secs(30)),
        ..Clocks::default()
    };
    let pool = by_hand(&upstream, 1, &Arc::default(), clocks);
    let from = Instant::now();
    let both = tokio::join!(call(&pool), call(&pool));
    // The dial that follows the first failure has the new address, and serves both: a dial that fails
    // takes no call with it that another can serve.
    assert_eq!(both, (Ok(()), Ok(())));
    assert_eq!(from.elapsed().as_secs(), 30);
}

/// The first answer, good for five minutes, is a hole; the name has moved since.
#[tokio::test]
async fn the_client_asks_again_after_a_black_hole() {
    let hole = Hole::start([127, 0, 0, 1]).await;
    let good = Plain::builder().start().await;
    // Long enough for a busy machine: the second request is in real time too.
    let queries = Arc::default();
    let names = moved(vec![hole.addr()], good.addr(), &queries);
    let client = client_with(|b| b.resolver(names).connect_timeout(5 * BUDGET));
    assert!(client.get("http://moved.test/").await.is_err());
    let answered = client.get("http://moved.test/").await;
    assert_eq!(answered.unwrap().status(), 200);
    assert_eq!(queries.load(SeqCst), 2);
}

/// Both are in the answer, the hole first: a budget below the attempt delay reaches the other one.
#[tokio::test]
async fn budget_below_attempt_delay_passes_a_black_hole() {
    let hole = Hole::start([127, 0, 0, 1]).await;
    let good = Plain::builder().start().await;
    let addrs: [SocketAddr; 2] = [hole.addr(), good.addr()];
    let names = service_fn(move |_: Name| async move {
        let answer = Answer::new(addrs).ttl(Duration::from_secs(300));
        Ok::<_, io::Error>(answer)
    });
    let client = client_with(|b| b.resolver(names).connect_timeout(BUDGET));
    for _ in 0..3 {
        // On a machine that is too busy for the budget, the second try has what the first learnt.
        let mut answered = client.get("http://half.test/").await;
        if answered.is_err() {
            answered = client.get("http://half.test/").await;
        }
        assert_eq!(answered.unwrap().status(), 200);
        client.close_idle();
    }
}
