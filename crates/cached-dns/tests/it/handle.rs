//! The handle of a cache: changes, refreshes, snapshots.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use futures_util::FutureExt;
use tokio::time::{Instant, advance};
use tollgate_cached_dns::{DnsChange, NameState};

use crate::common::*;

/// The answers of a name, one after the other, each asked for when the one before has expired.
async fn changes_over(answers: &'static [&'static [&'static str]]) -> Vec<DnsChange> {
    let backend = Backend::new(move |_, nth| async move {
        match answers[nth.min(answers.len() - 1)] {
            [] => Err(not_found(None)),
            found => Ok(answer(60, found)),
        }
    });
    let dns = backend.cached();
    let mut changes = dns.handle().subscribe();
    for _ in answers {
        drop(lookup(&dns, "A.test").await);
        settle().await;
        advance(secs(120)).await;
    }
    let mut seen = Vec::new();
    while let Some(Some(change)) = changes.recv().now_or_never() {
        assert_eq!(&*change.name, "a.test");
        seen.push(change);
    }
    seen
}

fn list(addrs: &[SocketAddr]) -> Vec<String> {
    addrs.iter().map(|addr| addr.ip().to_string()).collect()
}

// Fault 7.
#[tokio::test(start_paused = true)]
async fn only_a_real_change_is_announced() {
    let changes = changes_over(&[
        &["10.0.0.1", "10.0.0.2"],
        &["10.0.0.2", "10.0.0.1"],
        &["10.0.0.2"],
        &["10.0.0.2"],
        &["10.0.0.2", "10.0.0.3"],
    ])
    .await;
    assert_eq!(changes.len(), 3);
    assert_eq!(list(&changes[0].removed), ["10.0.0.1"]);
    assert_eq!(list(&changes[1].gone), ["10.0.0.1"]);
    assert_eq!(list(&changes[2].added), ["10.0.0.3"]);
}

#[tokio::test(start_paused = true)]
async fn a_name_that_disappears_loses_all_its_addresses() {
    let changes = changes_over(&[&["10.0.0.1"], &[], &[]]).await;
    assert_eq!(list(&changes[0].removed), ["10.0.0.1"]);
    assert_eq!(list(&changes[1].gone), ["10.0.0.1"]);
}

#[tokio::test(start_paused = true)]
async fn invalidation_makes_missing_addresses_gone_at_once() {
    let which = Arc::new(AtomicUsize::new(1));
    let now = which.clone();
    let backend = Backend::new(move |_, _| {
        let found: &[&str] = if now.load(SeqCst) == 1 {
            &["10.0.0.1"]
        } else {
            &["10.0.0.2"]
        };
        async move { Ok(answer(60, found)) }
    });
    let dns = backend.cached();
    let mut changes = dns.handle().subscribe();
    lookup(&dns, "a.test").await.unwrap();
    which.store(2, SeqCst);
    dns.handle().invalidate("a.test");
    assert_eq!(dns.handle().snapshot()[0].state, NameState::Expired);
    assert_eq!(addrs(&dns, "a.test").await, ["10.0.0.2"]);
    let change = changes.recv().await.unwrap();
    assert_eq!(list(&change.gone), ["10.0.0.1"]);
    assert_eq!(list(&change.added), ["10.0.0.2"]);
}

#[tokio::test(start_paused = true)]
async fn failed_addresses_refresh_the_name_once_a_second() {
    let backend = Backend::steady(millis(0), 300, &["10.0.0.1"]);
    let dns = backend.cached();
    let handle = dns.handle();
    assert!(!handle.all_failed("a.test"));
    lookup(&dns, "a.test").await.unwrap();
    assert!(handle.all_failed("A.TEST"));
    settle().await;
    assert!(!handle.all_failed("a.test"));
    advance(millis(999)).await;
    assert!(!handle.all_failed("a.test"));
    advance(millis(1)).await;
    assert!(handle.all_failed("a.test"));
    settle().await;
    assert_eq!(backend.calls(), 3);
}

#[tokio::test(start_paused = true)]
async fn all_failed_makes_lookups_await_a_refresh() {
    let backend = Backend::new(|_, nth| async move {
        tokio::time::sleep(millis(50)).await;
        match nth {
            0 => Ok(answer(300, &["10.0.0.1"])),
            1 => Ok(answer(300, &["10.0.0.2"])),
            _ => Err(transient()),
        }
    });
    let dns = backend.cached();
    lookup(&dns, "a.test").await.unwrap();
    assert!(dns.handle().all_failed("a.test"));
    let from = Instant::now();
    assert_eq!(addrs(&dns, "a.test").await, ["10.0.0.2"]);
    assert_eq!((from.elapsed(), backend.calls()), (millis(50), 2));
    // Served at once again; and where the backend fails, the old answer is better than none.
    assert!(lookup(&dns, "a.test").now_or_never().is_some());
    advance(secs(1)).await;
    assert!(dns.handle().all_failed("a.test"));
    assert_eq!(addrs(&dns, "a.test").await, ["10.0.0.2"]);
    assert!(lookup(&dns, "a.test").now_or_never().is_some());
    assert_eq!(backend.calls(), 3);
}

#[tokio::test(start_paused = true)]
async fn after_all_failed_silence_costs_the_stale_wait() {
    let backend = Backend::new(|_, nth| async move {
        if nth > 0 {
            std::future::pending::<()>().await;
        }
        Ok(answer(300, &["10.0.0.1"]))
    });
    let dns = backend.cached_with(|layer| layer.stale_wait(millis(200)));
    lookup(&dns, "a.test").await.unwrap();
    assert!(dns.handle().all_failed("a.test"));
    let from = Instant::now();
    assert_eq!(addrs(&dns, "a.test").await, ["10.0.0.1"]);
    assert_eq!(addrs(&dns, "a.test").await, ["10.0.0.1"]);
    assert_eq!(from.elapsed(), millis(200), "once, from the query's start");
}

#[tokio::test(start_paused = true)]
async fn all_failed_reported_by_many_threads_refreshes_once() {
    let backend = Backend::steady(millis(0), 300, &["10.0.0.1"]);
    let dns = backend.cached();
    lookup(&dns, "a.test").await.unwrap();
    let (handle, runtime) = (dns.handle(), tokio::runtime::Handle::current());
    let refreshed = std::thread::scope(|scope| {
        let report = || {
            let _entered = runtime.enter();
            (0..1_000).filter(|_| handle.all_failed("a.test")).count()
        };
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(report)).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .sum::<usize>()
    });
    assert_eq!(refreshed, 1);
}

#[tokio::test(start_paused = true)]
async fn prefetch_asks_for_what_is_not_known() {
    let backend = Backend::steady(millis(10), 60, &["10.0.0.1"]);
    let dns = backend.cached();
    lookup(&dns, "a.test").await.unwrap();
    dns.handle()
        .prefetch(["a.test", "b.test", "127.0.0.1", "not a name"]);
    settle().await;
    assert_eq!(backend.calls(), 2);
    advance(millis(10)).await;
    settle().await;
    let found = lookup(&dns, "b.test").now_or_never();
    assert!(found.unwrap().is_ok());
    assert!(dns.handle().refresh("b.test"));
    assert!(!dns.handle().refresh("b.test"), "one is under way");
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_tells_how_each_name_stands() {
    let backend = Backend::new(|name, _| async move {
        match name.as_str() {
            "a.test" => Ok(answer(60, &["10.0.0.1"])),
            "gone.test" => Err(not_found(None)),
            "broken.test" => Err(transient()),
            _ => std::future::pending().await,
        }
    });
    let dns = backend.cached();
    for name in ["a.test", "gone.test", "broken.test"] {
        drop(lookup(&dns, name).await);
    }
    advance(secs(1)).await;
    let names = dns.handle().snapshot();
    let of = |name: &str| names.iter().find(|n| &*n.name == name).unwrap();
    let a = of("a.test");
    assert_eq!(
        (a.state, a.ttl, a.age, a.hits),
        (NameState::Fresh, secs(60), secs(1), 1)
    );
    assert_eq!(a.last_used, Some(secs(1)));
    assert_eq!(of("gone.test").state, NameState::NotFound);
    let broken = of("broken.test");
    assert_eq!(broken.failures, 1);
    assert_eq!(
        broken.last_error.as_deref(),
        Some("looking up broken.test failed")
    );
}

#[tokio::test(start_paused = true)]
async fn keep_fresh_refreshes_a_name_without_lookups() {
    let backend = Backend::new(|name, nth| async move {
        match (name.as_str(), nth) {
            ("gone.test", _) => Err(not_found(None)),
            ("a.test", 0..3) => Ok(answer(100, &["10.0.0.1"])),
            _ => Err(transient()),
        }
    });
    let dns = backend.cached();
    let handle = dns.handle();
    assert!(!handle.keep_fresh("a.test"), "nobody has asked for it yet");
    lookup(&dns, "a.test").await.unwrap();
    for due in [false, true, false, true] {
        assert_eq!(handle.keep_fresh("A.test"), due);
        assert!(!handle.keep_fresh("a.test"), "once");
        settle().await;
        advance(secs(if due { 1 } else { 80 })).await;
    }
    assert_eq!((backend.calls(), handle.stats().fresh), (3, 0));
    // From now on it fails, and is backed off from.
    advance(secs(80)).await;
    assert!(handle.keep_fresh("a.test"));
    settle().await;
    assert!(!handle.keep_fresh("a.test"));
    assert_eq!(handle.addrs("a.test"), [addr("10.0.0.1")]);

    lookup(&dns, "gone.test").await.unwrap_err();
    advance(secs(60)).await;
    assert!(!handle.keep_fresh("gone.test"), "there is nothing to keep");
    assert!(handle.addrs("gone.test").is_empty());
}
