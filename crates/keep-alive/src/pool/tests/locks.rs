//! The locks that one event takes, whatever the number of origins.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::FutureExt;
use http::Uri;
use tollgate_testing::{Connector, Gate, Recorder, Reply, Upstream};
use tower::{Layer, Service, ServiceExt};

use super::{MINUTE, fetch, get, named, origin};
use crate::pool::origin_pool::OriginPool;
use crate::{KeepAlive, KeepAliveLayer};

/// The takings of all locks, of every origin and of the total, while a busy origin gives its place to
/// one of so many that wait.
async fn cost_of_a_place(waiting: usize) -> u64 {
    let gate = Gate::new();
    let held = gate.clone();
    let upstream = Upstream::start(move |request| match &*request.target {
        "/busy" => Reply::ok("ok").when(&held),
        _ => Reply::never(),
    })
    .await;
    let layer = KeepAliveLayer::new()
        .max_connections_total(NonZeroUsize::new(2).unwrap())
        .acquire_timeout(MINUTE);
    let pool: KeepAlive = layer.layer(Connector::memory(&upstream));
    let busy: Vec<_> = ["http://a.test/busy", "http://b.test/busy"]
        .map(|uri| {
            let (pool, uri) = (pool.clone(), Uri::from_static(uri));
            tokio::spawn(async move { fetch(&pool, &uri).await })
        })
        .into();
    gate.reached(2).await;
    let mut waits: Vec<_> = (0..waiting)
        .map(|number| Box::pin(pool.clone().oneshot(get(&named(number)))))
        .collect();
    for wait in &mut waits {
        assert!(wait.now_or_never().is_none());
    }
    let total = pool.shared().total.as_ref().unwrap();
    let taken = || {
        let all = pool.all_origins();
        let locked = |one: &Arc<OriginPool>| one.locked.load(Ordering::Relaxed);
        all.iter().map(locked).sum::<u64>() + total.locked.load(Ordering::Relaxed)
    };
    let before = taken();
    gate.admit(1);
    tokio::time::sleep(Duration::from_millis(1)).await;
    let taken = taken() - before;
    let connecting = pool.all_origins();
    let served = connecting.iter().filter(|one| one.stats().open > 0);
    assert_eq!(served.count(), 2, "a place was passed on");
    drop((busy, waits));
    taken
}

#[tokio::test(start_paused = true)]
async fn passing_a_place_on_ignores_ten_thousand_waiters() {
    let few = cost_of_a_place(1).await;
    assert!(few < 30, "{few}");
    assert_eq!(cost_of_a_place(10_000).await, few);
}

/// The number that is told with it is read in the same taking.
#[tokio::test(start_paused = true)]
async fn a_request_that_queues_takes_its_lock_once() {
    let upstream = Upstream::start(|_| Reply::never()).await;
    let layer = KeepAliveLayer::new()
        .max_connections_per_origin(NonZeroUsize::MIN)
        .observer(Recorder::new(|_| None::<()>));
    let pool: KeepAlive = layer.layer(Connector::memory(&upstream));
    let uri = upstream.uri("/");
    let busy = tokio::spawn(pool.clone().oneshot(get(&uri)));
    tokio::time::sleep(Duration::from_millis(1)).await;
    let origin = origin(&pool, &uri);
    let locked = origin.locked.load(Ordering::Relaxed);
    let queued = pool.clone().call(get(&uri));
    assert_eq!(origin.locked.load(Ordering::Relaxed) - locked, 1);
    drop((queued, busy));
}

/// A host that is written otherwise than its origin is found with a look, and without keeping others out.
#[tokio::test(start_paused = true)]
async fn a_host_in_another_form_is_met_once() {
    let upstream = Upstream::start(|_| Reply::ok("ok")).await;
    let pool: KeepAlive = KeepAliveLayer::new().layer(Connector::memory(&upstream));
    for uri in [
        "http://[0:0:0:0:0:0:0:1]/",
        "http://[::1]/",
        "http://[0::1]:80/",
    ] {
        for _ in 0..3 {
            fetch(&pool, &Uri::from_static(uri)).await;
        }
    }
    assert_eq!(pool.all_origins().len(), 1);
    let origins = pool.shared().origins.upgrade().unwrap();
    assert_eq!(origins.written.load(Ordering::Relaxed), 1);
}
