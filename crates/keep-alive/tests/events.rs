//! What an observer is told.

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::join_all;
use support::{Stack, assert_at_rest, cap, fetch, get, read, request};
use tollgate_core::{Event, QueueOrder, RefuseReason};
use tollgate_keep_alive::{KeepAlive, KeepAliveErrorKind, OriginStats};
use tollgate_testing::io::Plan;
use tollgate_testing::{Connector, Gate, Recorded, Recorder, Reply, Upstream};
use tower::{Layer, ServiceExt};

const ONE: Duration = Duration::from_nanos(1);

fn in_memory(upstream: &Upstream, recorder: &Arc<Recorder<Recorded>>, waiting: usize) -> KeepAlive {
    cap(1)
        .max_waiting(waiting)
        .observer(recorder.clone())
        .layer(Connector::memory(upstream))
}

/// Under a clock that stands still, so that only the promise makes a wait longer than nothing.
#[tokio::test(start_paused = true)]
async fn only_a_queued_request_reports_a_wait() {
    let upstream = Upstream::start(|_| Reply::ok("ok")).await;
    let recorder = Recorder::of_pool();
    let pool = in_memory(&upstream, &recorder, 1);
    let uri = upstream.uri("/");
    fetch(&pool, &uri).await.unwrap();
    let cold = recorder.take();
    assert!(matches!(cold[0], Recorded::Queued(0)), "{cold:?}");
    assert!(
        matches!(cold[3], Recorded::Granted(waited, false) if waited >= ONE),
        "{cold:?}"
    );

    let holder = get(&pool, &uri).await.unwrap();
    assert_eq!(recorder.take(), [Recorded::Granted(Duration::ZERO, true)]);
    let mut next = Box::pin(pool.clone().oneshot(request("GET", &uri)));
    assert!(next.as_mut().now_or_never().is_none());
    let error = get(&pool, &uri).await.unwrap_err();
    assert_eq!(error.kind(), KeepAliveErrorKind::QueueFull);
    let full = Recorded::Refused(RefuseReason::QueueFull, Duration::ZERO);
    assert_eq!(recorder.take(), [Recorded::Queued(0), full]);
    read(holder).await.unwrap();
    read(next.await.unwrap()).await.unwrap();
    let seen = recorder.take();
    assert_eq!(
        seen,
        [
            Recorded::Released(Duration::ZERO),
            Recorded::Granted(ONE, true),
            Recorded::Released(Duration::ZERO)
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_queued_caller_reports_its_wait() {
    let upstream = Upstream::start(|_| Reply::ok("ok")).await;
    let recorder = Recorder::of_pool();
    let pool = in_memory(&upstream, &recorder, 10);
    let uri = upstream.uri("/");
    fetch(&pool, &uri).await.unwrap();
    let holder = get(&pool, &uri).await.unwrap();
    for waited in [ONE, Duration::from_secs(2)] {
        recorder.take();
        let mut caller = Box::pin(pool.clone().oneshot(request("GET", &uri)));
        assert!(caller.as_mut().now_or_never().is_none());
        if waited > ONE {
            tokio::time::sleep(waited).await;
        }
        drop(caller);
        let reason = if waited > ONE {
            RefuseReason::Abandoned
        } else {
            RefuseReason::Cancelled
        };
        let left = Recorded::Refused(reason, waited);
        assert_eq!(recorder.take(), [Recorded::Queued(0), left]);
    }
    // Also if its turn had come: nobody was granted anything.
    let mut caller = Box::pin(pool.clone().oneshot(request("GET", &uri)));
    assert!(caller.as_mut().now_or_never().is_none());
    recorder.take();
    read(holder).await.unwrap();
    drop(caller);
    let cancelled = Recorded::Refused(RefuseReason::Cancelled, ONE);
    assert!(matches!(&recorder.take()[..], [Recorded::Released(_), last] if *last == cancelled));
    let stats = pool.stats(&uri.to_string().parse().unwrap()).unwrap();
    assert_eq!((stats.cancelled, stats.abandoned), (3, 1));
    assert_at_rest(&stats);
}

/// Callers that leave the queue in numbers turn the order, and a calm while turns it back.
#[tokio::test(start_paused = true)]
async fn a_turned_queue_order_is_reported_and_counted() {
    const USE: Duration = Duration::from_millis(100);
    let upstream = Upstream::start(|_| Reply::ok("ok").after(USE)).await;
    let orders = Recorder::new(|event| match *event {
        Event::OrderChanged { from, to, .. } => Some((from, to)),
        _ => None,
    });
    let pool = cap(1)
        .observer(orders.clone())
        .layer(Connector::memory(&upstream));
    let uri = upstream.uri("/");
    fetch(&pool, &uri).await.unwrap();
    let crowd = (0..30).map(|_| tokio::time::timeout(USE * 3, fetch(&pool, &uri)));
    let patient = fetch(&pool, &uri);
    let seen = async {
        tokio::time::sleep(USE * 4).await;
        pool.stats(&uri.to_string().parse().unwrap()).unwrap()
    };
    let (_, _, stats) = tokio::join!(join_all(crowd), patient, seen);
    assert_eq!(stats.order_turns, 1, "{stats:?}");
    assert!(stats.abandoned > 20, "{stats:?}");
    let calm = Duration::from_secs(30);
    tokio::time::sleep(calm).await;
    fetch(&pool, &uri).await.unwrap();
    let (fifo, newest) = (QueueOrder::Fifo, QueueOrder::Newest);
    assert_eq!(orders.take(), [(fifo, newest), (newest, fifo)]);
}

/// A request behind a dial of its own waits for the dial; one behind a full pool for capacity.
#[tokio::test(start_paused = true)]
async fn waits_for_dial_and_capacity_are_two_numbers() {
    const DIAL: Duration = Duration::from_secs(1);
    const USE: Duration = Duration::from_millis(300);
    let upstream = Upstream::start(|_| Reply::ok("ok").after(USE)).await;
    let connector = Connector::memory(&upstream).script(|_| Plan::connect().after(DIAL));
    let pool = cap(1).layer(connector);
    let uri = upstream.uri("/");
    let stats = || pool.stats(&uri.to_string().parse().unwrap()).unwrap();
    let seen = async {
        tokio::time::sleep(DIAL / 2).await;
        let (queued, for_dial) = (stats().queued, stats().queued_for_dial);
        assert_eq!(
            (queued, for_dial),
            (2, 1),
            "one dial, one that waits for it"
        );
    };
    let (first, second, ()) = tokio::join!(fetch(&pool, &uri), fetch(&pool, &uri), seen);
    first.unwrap();
    second.unwrap();
    let stats = stats();
    assert_eq!((stats.waited, stats.queued_for_dial), (2, 0));
    assert_eq!(stats.dial_wait_time, DIAL, "only the first had a dial");
    let capacity = stats.wait_time.saturating_sub(stats.dial_wait_time);
    assert!(
        capacity >= DIAL + USE && capacity < DIAL + USE * 2,
        "{stats:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn the_wait_includes_the_requests_own_dial() {
    const DIAL: Duration = Duration::from_secs(2);
    let upstream = Upstream::start(|_| Reply::ok("ok")).await;
    for leaves in [false, true] {
        let recorder = Recorder::of_pool();
        let connector = Connector::memory(&upstream).script(|_| Plan::connect().after(DIAL));
        let pool = cap(1).observer(recorder.clone()).layer(connector);
        let uri = upstream.uri("/");
        let (patience, ended) = if leaves {
            (
                DIAL / 2,
                Recorded::Refused(RefuseReason::Cancelled, DIAL / 2),
            )
        } else {
            (DIAL * 2, Recorded::Granted(DIAL, false))
        };
        let call = tokio::time::timeout(patience, fetch(&pool, &uri));
        assert_eq!(call.await.is_err(), leaves);
        let seen = recorder.take();
        assert!(seen.contains(&ended), "{seen:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_acquire_timeout_reports_its_wait() {
    let upstream = Upstream::start(|_| Reply::never()).await;
    let recorder = Recorder::of_pool();
    let limit = Duration::from_secs(3);
    let layer = cap(1).acquire_timeout(limit).observer(recorder.clone());
    let pool = layer.layer(Connector::memory(&upstream));
    let uri = upstream.uri("/");
    let mut holder = Box::pin(pool.clone().oneshot(request("GET", &uri)));
    tokio::select! {
        _ = &mut holder => panic!("nobody answers"),
        _ = upstream.settled(|stats| stats.requests == 1) => {}
    }
    recorder.take();
    get(&pool, &uri).await.unwrap_err();
    let seen = recorder.take();
    let Some(Recorded::Refused(RefuseReason::QueueTimeout, waited)) = seen.last() else {
        panic!("{seen:?}");
    };
    assert!((limit..limit * 2).contains(waited), "{waited:?}");
}

#[tokio::test]
async fn a_connections_events_come_in_order() {
    let upstream = Upstream::start(|request| match request.nth {
        2 => Reply::nothing().close(),
        _ => Reply::ok("ok"),
    })
    .await;
    let recorder = Recorder::of_pool();
    let stack = Stack::new(&upstream, &cap(1).observer(recorder.clone()));
    for _ in 0..3 {
        fetch(&stack.pool, &upstream.uri("/")).await.unwrap();
    }
    let names: Vec<_> = recorder.take().iter().map(Recorded::name).collect();
    let seen = [
        "Queued ConnectStarted Opened Granted Released",
        "Granted Released",
        "Granted Released Retried",
        "Queued Closed ConnectStarted Opened Granted Released",
    ];
    assert_eq!(names.join(" "), seen.join(" "));
}

const COUNTED: [&str; 5] = ["Granted", "Released", "Opened", "Closed", "Refused"];

/// How many of each there ought to have been.
fn counted(s: &OriginStats) -> [u64; 5] {
    let refused = s.refused + s.cancelled + s.failed + s.timed_out;
    [s.granted, s.granted, s.opened, s.closed, refused]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_come_outside_locks_and_match_the_counters() {
    let gate = Gate::new();
    let held = gate.clone();
    let upstream = Upstream::start(move |request| match request.arrival % 10 {
        0 => Reply::ok("ok").closing(),
        1 => Reply::ok("ok").when(&held),
        _ => Reply::ok("ok"),
    })
    .await;
    // Looks at the pool from inside each event: that would hang if a lock were held.
    let pool = Arc::new(OnceLock::<KeepAlive>::new());
    let inside = pool.clone();
    let looks = Recorder::new(move |event| {
        let pool = inside.get()?;
        drop((pool.snapshot(), pool.clone()));
        Recorded::of(event).map(|event| event.name())
    });
    let layer = cap(4).max_waiting(50).observer(looks.clone());
    let stack = Stack::new(&upstream, &layer);
    pool.set(stack.pool.clone()).ok().unwrap();
    let calls = (0..200).map(|n| {
        let (pool, uri) = (stack.pool.clone(), upstream.uri("/"));
        tokio::spawn(async move {
            let patience = Duration::from_millis(if n % 7 == 0 { 1 } else { 10_000 });
            let _in_time_or_not = tokio::time::timeout(patience, fetch(&pool, &uri)).await;
        })
    });
    let calls = tokio::spawn(join_all(calls.collect::<Vec<_>>()));
    tokio::time::sleep(Duration::from_millis(20)).await;
    gate.open();
    calls.await.unwrap();

    // An event follows what it tells once the lock is open: the last ones are waited for.
    let seen = || {
        let looks = looks.seen();
        COUNTED.map(|name| looks.iter().filter(|look| *look == name).count() as u64)
    };
    let stats = stack
        .settled(|s| s.in_flight + s.queued + s.connecting == 0 && seen() == counted(s))
        .await;
    assert_at_rest(&stats);
    assert_eq!(seen(), counted(&stats));
}
