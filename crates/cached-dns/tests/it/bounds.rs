//! What bounds names, lookups and answers.

use std::collections::HashMap;
use std::num::NonZeroUsize;

use futures_util::FutureExt;
use futures_util::future::join_all;
use tokio::time::advance;
use tollgate_cached_dns::{
    Addrs, CachedDns, CachedDnsFuture, CachedDnsLayer, DnsHandle, Freshness, LookupError,
    LookupErrorKind,
};
use tower_service::Service;

use crate::common::*;

// Fault 15.
#[tokio::test(start_paused = true)]
async fn eviction_keeps_hot_names_among_ten_thousand() {
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
    let one = NonZeroUsize::MIN;
    let dns = backend.cached_with(|layer| layer.max_lookups(one).max_pending(0));
    let (first, second) = tokio::join!(lookup(&dns, "a.test"), lookup(&dns, "b.test"));
    first.unwrap();
    assert_eq!(second.unwrap_err().kind(), LookupErrorKind::Overloaded);
    lookup(&dns, "b.test").await.unwrap();
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

#[tokio::test(start_paused = true)]
async fn it_is_always_ready() {
    let backend = Backend::new(|_, _| async { std::future::pending().await });
    let one = NonZeroUsize::MIN;
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
    shared::<CachedDns<Backend>>();
    shared::<DnsHandle>();
    shared::<LookupError>();
    shared::<CachedDnsLayer>();
    shared::<Addrs>();
    sent::<CachedDnsFuture>();
}

#[tokio::test(start_paused = true)]
async fn an_overloaded_lookup_gets_a_stale_answer() {
    let backend = Backend::new(|name, _| async move {
        if name == "busy.test" {
            std::future::pending::<()>().await;
        }
        Ok(answer(60, &["127.0.0.1"]))
    });
    let dns = backend.cached_with(|layer| layer.max_lookups(NonZeroUsize::MIN).max_pending(0));
    lookup(&dns, "a.test").await.unwrap();
    advance(secs(120)).await;
    let _busy = tokio::spawn(dns.clone().call("busy.test".parse().unwrap()));
    let found = lookup(&dns, "a.test").await.unwrap();
    assert_eq!(found.freshness(), Freshness::Stale { age: secs(120) });
}

// Fault 15.
#[tokio::test(start_paused = true)]
async fn a_name_evicted_in_flight_is_answered() {
    let backend = Backend::steady(millis(100), 60, &["127.0.0.1"]);
    let one = NonZeroUsize::MIN;
    let dns = backend.cached_with(|layer| layer.max_names(one));
    lookup(&dns, "a.test").await.unwrap();
    // Its refresh is under way when others take its place.
    assert!(dns.handle().refresh("a.test"));
    settle().await;
    let mut waiting = Box::pin(lookup(&dns, "cold.test"));
    assert!((&mut waiting).now_or_never().is_none());
    for n in 0..8 {
        dns.handle().refresh(&format!("{n}.test"));
    }
    assert_eq!(waiting.await.unwrap().len(), 1);
    advance(secs(1)).await;
    settle().await;
    let stats = dns.handle().stats();
    assert!(stats.evictions > 0 && stats.names <= 1, "{stats:?}");
    assert_eq!(stats.in_flight, 0);
    lookup(&dns, "a.test").await.unwrap();
}
