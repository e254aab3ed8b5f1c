//! Who owns a lookup.

use std::num::NonZeroUsize;
use std::panic;
use std::sync::{Arc, OnceLock};

use futures_util::FutureExt;
use futures_util::future::join_all;
use tokio::time::{Instant, advance, timeout};
use tollgate_cached_dns::{DnsHandle, Freshness, LookupErrorKind};

use crate::common::*;

// Fault 1.
#[tokio::test(start_paused = true)]
async fn five_hundred_cold_callers_share_one_query() {
    let backend = Backend::steady(millis(150), 60, &["127.0.0.1"]);
    let dns = backend.cached();
    let found = join_all((0..500).map(|_| lookup(&dns, "a.test"))).await;
    assert!(found.iter().all(Result::is_ok));
    assert_eq!(backend.calls(), 1);
    let stats = dns.handle().stats();
    assert_eq!((stats.misses, stats.coalesced, stats.queries), (1, 499, 1));
}

// Fault 1: an instant backend answers between a caller's miss and its lock.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn single_flight_asks_once_for_each_name() {
    let backend = Backend::steady(millis(0), 60, &["127.0.0.1"]);
    let dns = backend.cached();
    let mut callers = Vec::new();
    for caller in 0..64 {
        let dns = dns.clone();
        callers.push(tokio::spawn(async move {
            for n in 0..200 {
                let name = format!("{}.test", (n + caller) % 200);
                lookup(&dns, &name).await.unwrap();
            }
        }));
    }
    join_all(callers).await;
    assert_eq!(backend.calls(), 200);
}

// Fault 2.
#[tokio::test(start_paused = true)]
async fn an_abandoned_lookup_still_fills_the_cache() {
    let backend = Backend::steady(millis(150), 60, &["127.0.0.1"]);
    let dns = backend.cached();
    let hasty = (0..5).map(|_| timeout(millis(100), lookup(&dns, "a.test")));
    assert!(join_all(hasty).await.iter().all(Result::is_err));
    tokio::time::sleep(millis(51)).await;
    let found = lookup(&dns, "a.test").now_or_never().unwrap().unwrap();
    assert_eq!(found.freshness(), Freshness::Fresh);
    assert_eq!(backend.calls(), 1);
}

// Faults 2 and 3.
#[tokio::test(start_paused = true)]
async fn a_hanging_lookup_is_stopped_and_leaks_nothing() {
    let backend = Backend::new(|_, nth| async move {
        if nth == 0 {
            std::future::pending::<()>().await;
        }
        Ok(answer(60, &["127.0.0.1"]))
    });
    let dns = backend.cached();
    let asked = Instant::now();
    let error = lookup(&dns, "a.test").await.unwrap_err();
    assert_eq!(error.kind(), LookupErrorKind::Timeout);
    assert_eq!((asked.elapsed(), error.elapsed()), (secs(5), secs(5)));
    assert_eq!(dns.handle().stats().in_flight, 1);
    advance(secs(6)).await;
    settle().await;
    assert_eq!(dns.handle().stats().in_flight, 0);
    assert_eq!(
        tokio::runtime::Handle::current()
            .metrics()
            .num_alive_tasks(),
        0
    );
    // The hard stop was a failure of the name: one back-off, then it works.
    advance(secs(1)).await;
    assert_eq!(addrs(&dns, "a.test").await, ["127.0.0.1"]);
}

// Fault 3.
#[tokio::test(start_paused = true)]
async fn a_backend_panic_fails_only_its_callers() {
    let backend = Backend::new(|_, nth| async move {
        assert!(nth > 0, "the backend is broken");
        Ok(answer(60, &["127.0.0.1"]))
    });
    let dns = backend.cached();
    let hook = panic::take_hook();
    panic::set_hook(Box::new(|_| {}));
    let found = join_all((0..3).map(|_| lookup(&dns, "a.test"))).await;
    panic::set_hook(hook);
    for error in found.into_iter().map(Result::unwrap_err) {
        assert_eq!(error.kind(), LookupErrorKind::Transient);
    }
    assert_eq!(dns.handle().stats().in_flight, 0);
    advance(secs(1)).await;
    assert_eq!(addrs(&dns, "a.test").await, ["127.0.0.1"]);
}

// Fault 3.
#[test]
fn a_lookup_lost_with_its_runtime_is_restarted() {
    let runtime = || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_time().build().unwrap()
    };
    let (first, second) = (runtime(), runtime());
    let backend = Backend::new(|_, nth| async move {
        if nth == 0 {
            std::future::pending::<()>().await;
        }
        Ok(answer(60, &["127.0.0.1"]))
    });
    let dns = backend.cached();
    // The lookup starts on the first runtime and is polled there, so that it is under way.
    first.block_on(async {
        assert!(timeout(millis(10), lookup(&dns, "a.test")).await.is_err());
    });
    assert_eq!(backend.calls(), 1);
    second.block_on(async {
        let mut waiting = Box::pin(lookup(&dns, "a.test"));
        assert!((&mut waiting).now_or_never().is_none());
        first.shutdown_background();
        let found = waiting.await.unwrap();
        assert_eq!(found.collect::<Vec<_>>(), [addr("127.0.0.1")]);
    });
    assert_eq!(backend.calls(), 2);
    assert_eq!(dns.handle().stats().in_flight, 0);
}

#[test]
fn without_a_runtime_only_cache_hits_work() {
    let backend = Backend::steady(millis(0), 60, &["127.0.0.1"]);
    let dns = backend.cached();
    let error = lookup(&dns, "a.test").now_or_never().unwrap().unwrap_err();
    assert_eq!(error.kind(), LookupErrorKind::Transient);
    let found = lookup(&dns, "127.0.0.1").now_or_never().unwrap();
    assert_eq!(found.unwrap().len(), 1);
}

// Fault 17.
#[tokio::test(start_paused = true)]
async fn a_lookup_before_invalidation_never_refills_the_cache() {
    let backend = Backend::new(|_, nth| async move {
        tokio::time::sleep(millis(100)).await;
        Ok(answer(
            60,
            if nth == 0 {
                &["127.0.0.1"]
            } else {
                &["127.0.0.2"]
            },
        ))
    });
    let dns = backend.cached();
    let handle = dns.handle();
    let mut early = Box::pin(lookup(&dns, "a.test"));
    assert!((&mut early).now_or_never().is_none());
    advance(millis(50)).await;
    assert!(handle.invalidate("a.test"));
    // This caller must get what is true after the invalidation.
    let late = lookup(&dns, "a.test");
    let (early, late) = tokio::join!(early, late);
    assert_eq!(early.unwrap().collect::<Vec<_>>(), [addr("127.0.0.1")]);
    assert_eq!(late.unwrap().collect::<Vec<_>>(), [addr("127.0.0.2")]);
    assert_eq!(addrs(&dns, "a.test").await, ["127.0.0.2"]);
    assert_eq!(backend.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn invalidate_all_forgets_names_and_failures() {
    let backend = Backend::new(|name, nth| async move {
        match (name.as_str(), nth) {
            ("broken.test", ..2) => Err(transient()),
            _ => Ok(answer(60, &["127.0.0.1"])),
        }
    });
    let dns = backend.cached();
    lookup(&dns, "a.test").await.unwrap();
    lookup(&dns, "broken.test").await.unwrap_err();
    dns.handle().invalidate_all();
    assert!(!dns.handle().invalidate("never-heard-of.test"));
    lookup(&dns, "a.test").await.unwrap();
    lookup(&dns, "broken.test").await.unwrap();
    assert_eq!(backend.calls(), 4);
}

/// Looks into the cache when it is dropped.
#[derive(Debug)]
struct Reentrant(Arc<OnceLock<DnsHandle>>);

impl Drop for Reentrant {
    fn drop(&mut self) {
        if let Some(handle) = self.0.get() {
            handle.stats();
            handle.snapshot();
            handle.invalidate("other.test");
        }
    }
}

impl std::fmt::Display for Reentrant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("looks back")
    }
}

impl std::error::Error for Reentrant {}

// Anything dropped under a lock would wait for itself here.
#[tokio::test(start_paused = true)]
async fn dropping_a_backend_error_may_reenter_the_cache() {
    let cell = Arc::new(OnceLock::new());
    let inside = cell.clone();
    let backend = Backend::new(move |_, _| {
        let error = Reentrant(inside.clone());
        async move { Err(transient().with_source(error)) }
    });
    let one = NonZeroUsize::MIN;
    let dns = backend.cached_with(|layer| layer.max_names(one));
    assert!(cell.set(dns.handle()).is_ok());
    // Replaced by the next failure, pushed out by other names, and invalidated.
    for _ in 0..3 {
        drop(lookup(&dns, "a.test").await);
        advance(secs(60)).await;
    }
    for n in 0..200 {
        drop(lookup(&dns, &format!("{n}.test")).await);
    }
    assert!(dns.handle().stats().evictions > 0);
    dns.handle().invalidate_all();
}

// A runtime that exists and is not driven: its task neither ends nor is dropped.
#[test]
fn an_undriven_runtimes_lookup_frees_its_place() {
    let runtime = || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_all().build().unwrap()
    };
    let (undriven, driven) = (runtime(), runtime());
    let backend = Backend::new(|_, nth| async move {
        match nth {
            0 => std::future::pending().await,
            _ => Ok(answer(60, &["127.0.0.1"])),
        }
    });
    // One place in all: the first query holds it.
    let dns = backend.cached_with(|layer| {
        let layer = layer.hard_stop(millis(20)).lookup_timeout(millis(50));
        layer.max_lookups(NonZeroUsize::MIN)
    });
    undriven.block_on(async {
        let mut first = Box::pin(lookup(&dns, "a.test"));
        while backend.calls() == 0 {
            assert!(futures_util::poll!(&mut first).is_pending());
            tokio::task::yield_now().await;
        }
    });
    let found = driven.block_on(async {
        let found = async {
            loop {
                if let Ok(found) = lookup(&dns, "a.test").await {
                    return found.len();
                }
            }
        };
        timeout(secs(30), found).await
    });
    assert_eq!(found.unwrap(), 1);
    drop(undriven);
    assert_eq!(dns.handle().stats().in_flight, 0);
}
