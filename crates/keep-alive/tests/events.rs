//! What an observer is told.

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::join_all;
use support::ears::{Ears, Told};
use support::{Stack, assert_at_rest, cap, fetch, get, read, request};
use tollgate_core::{Event, Observer, RefuseReason};
use tollgate_keep_alive::{KeepAlive, KeepAliveErrorKind, OriginStats};
use tollgate_testing::io::Plan;
use tollgate_testing::{Connector, Gate, Reply, Upstream};
use tower::{Layer, ServiceExt};

const ONE: Duration = Duration::from_nanos(1);

fn in_memory(upstream: &Upstream, ears: &Arc<Ears>, waiting: usize) -> KeepAlive {
    cap(1)
        .max_waiting(waiting)
        .observer(ears.clone())
        .layer(Connector::memory(upstream))
}

/// Under a clock that stands still, so that only the promise makes a wait longer than nothing.
#[tokio::test(start_paused = true)]
async fn whoever_queued_waited_at_least_a_nanosecond_and_nobody_else_did() {
    let upstream = Upstream::start(|_| Reply::ok("ok")).await;
    let ears = Arc::new(Ears::default());
    let pool = in_memory(&upstream, &ears, 1);
    let uri = upstream.uri("/");
    fetch(&pool, &uri).await.unwrap();
    let cold = ears.take();
    assert!(matches!(cold[0], Told::Queued(0)), "{cold:?}");
    assert!(
        matches!(cold[3], Told::Granted(waited, false) if waited >= ONE),
        "{cold:?}"
    );

    let holder = get(&pool, &uri).await.unwrap();
    assert_eq!(ears.take(), [Told::Granted(Duration::ZERO, true)]);
    let mut next = Box::pin(pool.clone().oneshot(request("GET", &uri)));
    assert!(next.as_mut().now_or_never().is_none());
    let error = get(&pool, &uri).await.unwrap_err();
    assert_eq!(error.kind(), KeepAliveErrorKind::QueueFull);
    let full = Told::Refused(RefuseReason::Full, Duration::ZERO);
    assert_eq!(ears.take(), [Told::Queued(0), full]);
    read(holder).await.unwrap();
    read(next.await.unwrap()).await.unwrap();
    let told = ears.take();
    assert_eq!(
        told,
        [Told::Released, Told::Granted(ONE, true), Told::Released]
    );
}

#[tokio::test(start_paused = true)]
async fn a_queued_caller_that_goes_away_is_told_as_cancelled_with_its_wait() {
    let upstream = Upstream::start(|_| Reply::ok("ok")).await;
    let ears = Arc::new(Ears::default());
    let pool = in_memory(&upstream, &ears, 10);
    let uri = upstream.uri("/");
    fetch(&pool, &uri).await.unwrap();
    let holder = get(&pool, &uri).await.unwrap();
    for waited in [ONE, Duration::from_secs(2)] {
        ears.take();
        let mut caller = Box::pin(pool.clone().oneshot(request("GET", &uri)));
        assert!(caller.as_mut().now_or_never().is_none());
        if waited > ONE {
            tokio::time::sleep(waited).await;
        }
        drop(caller);
        let cancelled = Told::Refused(RefuseReason::Cancelled, waited);
        assert_eq!(ears.take(), [Told::Queued(0), cancelled]);
    }
    // Also if its turn had come: nobody was granted anything.
    let mut caller = Box::pin(pool.clone().oneshot(request("GET", &uri)));
    assert!(caller.as_mut().now_or_never().is_none());
    ears.take();
    read(holder).await.unwrap();
    drop(caller);
    let cancelled = Told::Refused(RefuseReason::Cancelled, ONE);
    assert_eq!(ears.take(), [Told::Released, cancelled]);
    let stats = pool.stats(&uri.to_string().parse().unwrap()).unwrap();
    assert_eq!(stats.cancelled, 3);
    assert_at_rest(&stats);
}

#[tokio::test(start_paused = true)]
async fn a_dial_of_ones_own_is_part_of_the_wait_however_that_ends() {
    const DIAL: Duration = Duration::from_secs(2);
    let upstream = Upstream::start(|_| Reply::ok("ok")).await;
    for leaves in [false, true] {
        let ears = Arc::new(Ears::default());
        let connector = Connector::memory(&upstream).script(|_| Plan::connect().after(DIAL));
        let pool = cap(1).observer(ears.clone()).layer(connector);
        let uri = upstream.uri("/");
        let (patience, ended) = if leaves {
            (DIAL / 2, Told::Refused(RefuseReason::Cancelled, DIAL / 2))
        } else {
            (DIAL * 2, Told::Granted(DIAL, false))
        };
        let call = tokio::time::timeout(patience, fetch(&pool, &uri));
        assert_eq!(call.await.is_err(), leaves);
        let told = ears.take();
        assert!(told.contains(&ended), "{told:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_ran_out_is_told_with_its_length() {
    let upstream = Upstream::start(|_| Reply::never()).await;
    let ears = Arc::new(Ears::default());
    let limit = Duration::from_secs(3);
    let layer = cap(1).acquire_timeout(limit).observer(ears.clone());
    let pool = layer.layer(Connector::memory(&upstream));
    let uri = upstream.uri("/");
    let mut holder = Box::pin(pool.clone().oneshot(request("GET", &uri)));
    tokio::select! {
        _ = &mut holder => panic!("nobody answers"),
        _ = upstream.settled(|stats| stats.requests == 1) => {}
    }
    ears.take();
    get(&pool, &uri).await.unwrap_err();
    let told = ears.take();
    let Some(Told::Refused(RefuseReason::TimedOut, waited)) = told.last() else {
        panic!("{told:?}");
    };
    assert!((limit..limit * 2).contains(waited), "{waited:?}");
}

#[tokio::test]
async fn the_life_of_a_connection_is_told_in_order() {
    let upstream = Upstream::start(|request| match request.nth {
        2 => Reply::nothing().close(),
        _ => Reply::ok("ok"),
    })
    .await;
    let ears = Arc::new(Ears::default());
    let stack = Stack::new(&upstream, &cap(1).observer(ears.clone()));
    for _ in 0..3 {
        fetch(&stack.pool, &upstream.uri("/")).await.unwrap();
    }
    let names: Vec<_> = ears.take().iter().map(Told::name).collect();
    let told = [
        "Queued ConnectStarted Opened Granted Released",
        "Granted Released",
        "Granted Released Retried",
        "Queued Closed ConnectStarted Opened Granted Released",
    ];
    assert_eq!(names.join(" "), told.join(" "));
}

/// Looks at the pool from inside each event: that would hang if a lock were held.
#[derive(Default)]
struct Nosy {
    pool: OnceLock<KeepAlive>,
    looks: Mutex<HashMap<String, usize>>,
    ears: Ears,
}

impl Nosy {
    const NAMES: [&str; 5] = ["Granted", "Released", "Opened", "Closed", "Refused"];

    fn looks(&self) -> [u64; 5] {
        let looks = self.looks.lock().unwrap();
        Self::NAMES.map(|name| looks.get(name).map_or(0, |&times| times as u64))
    }

    /// How often each of these ought to have been told.
    fn counted(s: &OriginStats) -> [u64; 5] {
        let refused = s.refused + s.cancelled + s.failed + s.timed_out;
        [s.granted, s.granted, s.opened, s.closed, refused]
    }
}

impl Observer for Nosy {
    fn on_event(&self, event: &Event<'_>) {
        self.ears.on_event(event);
        if let Some(pool) = self.pool.get() {
            drop(pool.snapshot());
            drop(pool.clone());
            let told = self.ears.take();
            let mut looks = self.looks.lock().unwrap();
            for event in told {
                *looks.entry(event.name()).or_default() += 1;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_come_outside_all_locks_and_as_often_as_is_counted() {
    let gate = Gate::new();
    let held = gate.clone();
    let upstream = Upstream::start(move |request| match request.arrival % 10 {
        0 => Reply::ok("ok").closing(),
        1 => Reply::ok("ok").when(&held),
        _ => Reply::ok("ok"),
    })
    .await;
    let nosy = Arc::new(Nosy::default());
    let layer = cap(4).max_waiting(50).observer(nosy.clone());
    let stack = Stack::new(&upstream, &layer);
    nosy.pool.set(stack.pool.clone()).ok().unwrap();
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
    let stats = stack
        .settled(|s| s.in_flight + s.queued + s.connecting == 0 && nosy.looks() == Nosy::counted(s))
        .await;
    assert_at_rest(&stats);
    assert_eq!(nosy.looks(), Nosy::counted(&stats));
}
