//! Who owns a lookup, and what bounds them.

#![allow(clippy::unwrap_used, reason = "these are tests")]

mod common;

use std::collections::HashMap;
use std::panic;
use std::sync::{Arc, Mutex};

use common::*;
use futures_util::FutureExt;
use futures_util::future::join_all;
use tokio::time::{Instant, advance, timeout};
use tollgate_cached_dns::{Answer, CachedDnsLayer, Freshness, LookupErrorKind};
use tollgate_core::{Event, Observer};
use tower_service::Service;

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
async fn two_hundred_names_for_64_callers_each_are_exactly_two_hundred_queries() {
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
async fn an_answer_is_cached_though_all_callers_gave_up() {
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
async fn a_lookup_that_never_ends_is_given_up_and_leaves_nothing_behind() {
    let backend = Backend::new(|_, nth| async move {
        if nth == 0 {
            std::future::pending::<()>().await;
        }
        Ok(answer(60, &["127.0.0.1"]))
    });
    let dns = backend.cached();
    let asked = Instant::now();
    let error = lookup(&dns, "a.test").await.unwrap_err();
    assert_eq!(error.kind(), LookupErrorKind::TimedOut);
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
async fn a_backend_that_panics_fails_its_callers_and_not_the_next() {
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
fn a_waiter_whose_lookup_went_away_with_its_runtime_starts_it_again_on_its_own() {
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
fn without_a_runtime_a_miss_is_an_error_and_a_hit_a_hit() {
    let backend = Backend::steady(millis(0), 60, &["127.0.0.1"]);
    let dns = backend.cached();
    let error = lookup(&dns, "a.test").now_or_never().unwrap().unwrap_err();
    assert_eq!(error.kind(), LookupErrorKind::Transient);
    let found = lookup(&dns, "127.0.0.1").now_or_never().unwrap();
    assert_eq!(found.unwrap().len(), 1);
}

// Fault 15.
#[tokio::test(start_paused = true)]
async fn ten_thousand_names_leave_a_hundred_hot_ones_in_place() {
    let backend = Backend::steady(millis(0), 300, &["127.0.0.1"]);
    let dns = backend.cached();
    let (mut hot, mut hits) = (0, 0);
    for n in 0..10_000 {
        for name in [format!("{n}.cold.test"), format!("{}.hot.test", n % 100)] {
            let before = backend.calls();
            lookup(&dns, &name).await.unwrap();
            if name.ends_with("hot.test") {
                hot += 1;
                hits += usize::from(backend.calls() == before);
            }
        }
    }
    let stats = dns.handle().stats();
    assert!(stats.names <= 1024, "{} names", stats.names);
    assert!(stats.evictions >= 8_900);
    assert!(hits * 100 > hot * 99 - 100 * 100, "{hits} hits of {hot}");
    assert!((hits + 100) * 100 >= hot * 99, "{hits} hits of {hot}");
}

// Fault 16.
#[tokio::test(start_paused = true)]
async fn lookups_are_bounded_then_queued_then_refused() {
    let backend = Backend::new(|_, _| async { std::future::pending().await });
    let dns = backend.cached();
    let lookups = (0..2000).map(|n| {
        let dns = dns.clone();
        async move { lookup(&dns, &format!("{n}.test")).await.unwrap_err().kind() }
    });
    let mut kinds = HashMap::new();
    for kind in join_all(lookups).await {
        *kinds.entry(kind.label()).or_insert(0) += 1;
    }
    assert_eq!(kinds["overloaded"], 2000 - 64 - 1024);
    assert_eq!(kinds["timeout"], 64 + 1024);
    assert_eq!(backend.calls(), 64);
    // Whoever still queues at its hard stop is dropped unasked, and nothing stays.
    advance(secs(11)).await;
    settle().await;
    assert_eq!(dns.handle().stats().in_flight, 0);
    assert_eq!(backend.calls(), 64);
}

#[tokio::test(start_paused = true)]
async fn being_refused_is_not_remembered_against_the_name() {
    let backend = Backend::steady(millis(100), 60, &["127.0.0.1"]);
    let one = std::num::NonZeroUsize::MIN;
    let dns = backend.cached_with(|layer| layer.max_lookups(one).max_pending(0));
    let (first, second) = tokio::join!(lookup(&dns, "a.test"), lookup(&dns, "b.test"));
    first.unwrap();
    assert_eq!(second.unwrap_err().kind(), LookupErrorKind::Overloaded);
    lookup(&dns, "b.test").await.unwrap();
}

// Fault 17.
#[tokio::test(start_paused = true)]
async fn a_lookup_begun_before_an_invalidation_does_not_refill_the_cache() {
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

// Fault 19.
#[tokio::test(start_paused = true)]
async fn the_case_of_a_name_does_not_matter_and_its_trailing_dot_does() {
    let backend = Backend::steady(millis(0), 60, &["127.0.0.1"]);
    let dns = backend.cached();
    for name in ["API.Example.com", "api.example.com", "aPI.example.COM"] {
        lookup(&dns, name).await.unwrap();
    }
    assert_eq!(backend.calls(), 1);
    lookup(&dns, "api.example.com.").await.unwrap();
    assert_eq!(backend.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn names_that_need_no_backend_do_not_reach_it() {
    let backend = Backend::steady(millis(0), 60, &["127.0.0.9"]);
    let dns = backend.cached();
    assert_eq!(addrs(&dns, "127.0.0.1").await, ["127.0.0.1"]);
    assert_eq!(addrs(&dns, "[::1]").await, ["::1"]);
    let found: Vec<_> = lookup(&dns, "db.localhost").await.unwrap().collect();
    assert_eq!(found, [addr("::1"), addr("127.0.0.1")]);
    assert!(lookup(&dns, "a.invalid").await.unwrap_err().is_not_found());
    for name in ["", "a..b", "a b", "ä.test"] {
        let error = lookup(&dns, name).await.unwrap_err();
        assert_eq!(error.kind(), LookupErrorKind::InvalidName);
    }
    assert_eq!(backend.calls(), 0);
    assert_eq!(dns.handle().stats().names, 0);
}

#[tokio::test(start_paused = true)]
async fn any_resolver_of_hyper_util_s_kind_is_a_backend() {
    let iterator = tower::service_fn(|_name| async {
        Ok::<_, std::convert::Infallible>(std::iter::once(addr("127.0.0.1")))
    });
    let dns = CachedDnsLayer::new().cached(iterator);
    assert_eq!(addrs(&dns, "a.test").await, ["127.0.0.1"]);
    let answer = tower::service_fn(|_name| async {
        Ok::<_, std::io::Error>(Answer::new([addr("127.0.0.1")]).ttl(secs(7)))
    });
    let dns = tower::ServiceBuilder::new()
        .layer(CachedDnsLayer::new().jitter(false))
        .layer(tower::limit::ConcurrencyLimitLayer::new(1))
        .service(answer);
    assert_eq!(addrs(&dns, "a.test").await, ["127.0.0.1"]);
    assert_eq!(dns.handle().snapshot()[0].ttl, secs(7));
}

#[tokio::test(start_paused = true)]
async fn an_endless_iterator_of_addresses_is_cut() {
    let flood = tower::service_fn(|_name| async {
        let all = (0_u32..).map(|n| std::net::SocketAddr::from((n.to_be_bytes(), 0)));
        Ok::<_, std::io::Error>(all)
    });
    let dns = CachedDnsLayer::new().cached(flood);
    assert_eq!(lookup(&dns, "a.test").await.unwrap().len(), 256);
}

/// Writes down what it sees.
#[derive(Default)]
struct Log(Mutex<Vec<String>>);

impl Observer for Log {
    fn on_event(&self, event: &Event<'_>) {
        let line = match event {
            Event::DnsCache { name, result } => format!("{name} {result}"),
            Event::DnsLookup {
                name,
                elapsed,
                error,
            } => {
                format!("{name} {} in {elapsed:?}", error.unwrap_or("answered"))
            }
            other => format!("{other:?}"),
        };
        self.0.lock().unwrap().push(line);
    }
}

#[tokio::test(start_paused = true)]
async fn an_observer_sees_each_lookup_and_each_query() {
    let backend = Backend::new(|name, _| async move {
        tokio::time::sleep(millis(5)).await;
        match name.as_str() {
            "a.test" => Ok(answer(60, &["127.0.0.1"])),
            _ => Err(not_found(None)),
        }
    });
    let log = Arc::new(Log::default());
    let dns = backend.cached_with(|layer| layer.observer(log.clone()));
    for name in ["a.test", "a.test", "b.test", "b.test"] {
        drop(lookup(&dns, name).await);
    }
    advance(secs(61)).await;
    drop(lookup(&dns, "a.test").await);
    let seen = log.0.lock().unwrap().clone();
    assert_eq!(
        seen,
        [
            "a.test miss",
            "a.test answered in 5ms",
            "a.test hit",
            "b.test miss",
            "b.test not_found in 5ms",
            "b.test negative",
            "a.test stale",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn it_is_always_ready() {
    let backend = Backend::new(|_, _| async { std::future::pending().await });
    let one = std::num::NonZeroUsize::MIN;
    let mut dns = backend.cached_with(|layer| layer.max_lookups(one).max_pending(0));
    let _busy = tokio::spawn(dns.call("a.test".parse().unwrap()));
    settle().await;
    let ready = std::future::poll_fn(|cx| dns.poll_ready(cx)).now_or_never();
    assert!(ready.unwrap().is_ok());
}

#[test]
fn what_is_shared_between_threads_can_be() {
    fn shared<T: Clone + Send + Sync + 'static>() {}
    fn sent<T: Send + Unpin + 'static>() {}
    shared::<tollgate_cached_dns::CachedDns<Backend>>();
    shared::<tollgate_cached_dns::DnsHandle>();
    shared::<tollgate_cached_dns::LookupError>();
    shared::<CachedDnsLayer>();
    shared::<tollgate_cached_dns::Addrs>();
    sent::<tollgate_cached_dns::CachedDnsFuture>();
}
