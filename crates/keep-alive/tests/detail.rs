//! What a pool says of each connection, and what asking costs.

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use std::time::Duration;

use support::{Stack, cap, get, read};
use tollgate_core::Origin;
use tollgate_keep_alive::{ConnectionState, KeepAlive};
use tollgate_testing::{Connector, Reply, Upstream};
use tower::Layer;

#[tokio::test(start_paused = true)]
async fn connection_detail_has_age_idleness_and_requests() {
    let upstream = Upstream::start(|_| Reply::ok("ok")).await;
    let pool = cap(4)
        .idle_timeout(Duration::from_secs(60))
        .layer(Connector::memory(&upstream));
    let uri = upstream.uri("/");
    let (first, second) = (
        get(&pool, &uri).await.unwrap(),
        get(&pool, &uri).await.unwrap(),
    );
    tokio::time::sleep(Duration::from_secs(2)).await;
    read(first).await.unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;

    let origin: Origin = uri.to_string().parse().unwrap();
    let detail = pool.detail(&origin).unwrap();
    assert_eq!((detail.stats.open, detail.stats.idle), (2, 1));
    let [idle, active] = &detail.connections[..] else {
        panic!("{detail:?}");
    };
    let at_least = |age, least: u64| {
        let least = Duration::from_secs(least);
        assert!(
            (least..least + Duration::from_millis(50)).contains(&age),
            "{age:?}"
        );
    };
    assert_eq!((idle.number, idle.state), (1, ConnectionState::Idle));
    at_least(idle.age, 5);
    at_least(idle.idle_for.unwrap(), 3);
    assert_eq!((active.number, active.state), (2, ConnectionState::Active));
    assert_eq!((active.idle_for, active.served), (None, 1));
    assert_eq!(
        (idle.streams, active.streams, active.max_streams),
        (0, 1, 1)
    );
    assert_eq!(idle.protocol, "http/1.1");

    drop(second);
    let third = get(&pool, &uri).await.unwrap();
    let reused = third.body().timings().connection;
    let detail = pool.detail(&origin).unwrap();
    let same = detail.connections.iter().find(|c| c.number == reused);
    assert_eq!(same.unwrap().served, 2);
}

#[tokio::test]
async fn the_detail_table_aligns_and_names_the_peer() {
    let upstream = Upstream::start(|_| Reply::ok("ok")).await;
    let connector = hyper_util::client::legacy::connect::HttpConnector::new();
    let pool = cap(2).layer(connector);
    let kept = get(&pool, &upstream.uri("/")).await.unwrap();
    let detail = pool.detail(&upstream.uri("/").to_string().parse().unwrap());
    let detail = detail.unwrap();
    assert_eq!(detail.connections[0].remote, Some(upstream.addr()));
    let table = detail.to_string();
    let lines: Vec<_> = table.lines().collect();
    assert_eq!(lines.len(), 2, "{table}");
    assert_eq!(lines[0].len(), lines[1].len(), "{table}");
    for cell in [
        "         1  active",
        &upstream.addr().to_string(),
        "http/1.1",
        "1/1",
    ] {
        assert!(lines[1].contains(cell), "{cell} in\n{table}");
    }
    drop(kept);
}

/// Both come from one lock: no connection is missed or counted twice, whatever happens meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn detail_and_its_stats_are_read_atomically() {
    let upstream = Upstream::start(|request| match request.arrival % 5 {
        0 => Reply::ok("ok").closing(),
        _ => Reply::ok("ok"),
    })
    .await;
    let stack = Stack::new(&upstream, &cap(8));
    let callers = (0..16).map(|_| {
        let (pool, uri) = (stack.pool.clone(), upstream.uri("/"));
        tokio::spawn(async move {
            for _ in 0..50 {
                drop(read(get(&pool, &uri).await.unwrap()).await);
            }
        })
    });
    let callers: Vec<_> = callers.collect();
    let mut looks = 0;
    while callers.iter().any(|caller| !caller.is_finished()) {
        if let Some(detail) = stack.pool.detail(&stack.origin) {
            let count = |state| {
                let all = detail.connections.iter();
                all.filter(|connection| connection.state == state).count()
            };
            let stats = &detail.stats;
            assert_eq!(count(ConnectionState::Idle), stats.idle);
            let busy = count(ConnectionState::Active) + count(ConnectionState::Draining);
            assert_eq!(busy, stats.active + stats.draining);
            let streams: usize = detail.connections.iter().map(|one| one.streams).sum();
            assert_eq!(streams, stats.in_flight);
            looks += 1;
        }
        tokio::task::yield_now().await;
    }
    assert!(looks > 10, "{looks}");
}

/// An origin costs its own name to sort by, and nothing that grows with its connections.
#[tokio::test]
async fn a_snapshot_allocates_at_most_twice_an_origin() {
    let upstream = Upstream::start(|_| Reply::ok("ok")).await;
    let pool: KeepAlive = cap(4).layer(Connector::memory(&upstream));
    let origins: Vec<_> = (0..1_000)
        .map(|i| {
            let origin: Origin = format!("http://shard-{i}.test").parse().unwrap();
            pool.origin(&origin).unwrap()
        })
        .collect();
    let mut read = 0;
    let cost = allocation_counter::measure(|| read = pool.snapshot().origins.len());
    assert_eq!(read, 1_000);
    assert!(cost.count_total <= 2_010, "{cost:?}");
    assert!(cost.bytes_max < 1_000 * 400, "{cost:?}");
    assert_eq!(cost.bytes_current, 0);
    drop(origins);
}
