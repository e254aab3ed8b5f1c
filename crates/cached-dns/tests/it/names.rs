//! Which names reach which backend, and who watches.

use std::net::IpAddr;
use std::sync::Arc;

use tokio::time::advance;
use tollgate_cached_dns::{Answer, CachedDnsLayer, LookupErrorKind, StaticHosts};
use tollgate_core::Event;
use tollgate_testing::Recorder;

use crate::common::*;

// Fault 19.
#[tokio::test(start_paused = true)]
async fn lookups_ignore_case_but_not_the_trailing_dot() {
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
async fn literals_localhost_and_invalid_names_skip_the_backend() {
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
async fn any_hyper_util_resolver_is_a_backend() {
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

// Fault 18, the part that needs no hosts file.
#[tokio::test(start_paused = true)]
async fn an_override_answers_without_asking_the_backend() {
    let backend = Backend::steady(millis(0), 60, &["2001:db8::9"]);
    let hosts = StaticHosts::new()
        .host("pinned.test", [IpAddr::from([10, 1, 1, 1])])
        .host("*.wild.test", [IpAddr::from([10, 1, 1, 2])])
        .socket("port.test", ["10.1.1.3:8443".parse().unwrap()])
        .host("localhost", [IpAddr::from([127, 0, 0, 5])])
        .host("blocked.test", []);
    let dns = backend.cached_with(|layer| layer.overrides(hosts));
    assert_eq!(addrs(&dns, "Pinned.Test.").await, ["10.1.1.1"]);
    assert_eq!(addrs(&dns, "a.b.wild.test").await, ["10.1.1.2"]);
    assert_eq!(addrs(&dns, "localhost").await, ["127.0.0.5"]);
    let port = lookup(&dns, "port.test").await.unwrap().next().unwrap();
    assert_eq!(port.port(), 8443);
    assert!(
        lookup(&dns, "blocked.test")
            .await
            .unwrap_err()
            .is_not_found()
    );
    assert_eq!(backend.calls(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_table_can_be_the_backend() {
    let hosts = StaticHosts::new().host("a.test", [IpAddr::from([10, 1, 1, 1])]);
    let dns = CachedDnsLayer::new().cached(hosts);
    assert_eq!(addrs(&dns, "a.test").await, ["10.1.1.1"]);
    assert!(lookup(&dns, "b.test").await.unwrap_err().is_not_found());
}

/// Records the cache's answers and the resolver's.
fn log() -> Arc<Recorder<String>> {
    Recorder::new(|event| {
        Some(match *event {
            Event::DnsCache { name, result } => format!("{name} {result}"),
            Event::DnsLookup {
                name,
                elapsed,
                error,
            } => format!("{name} {} in {elapsed:?}", error.unwrap_or("answered")),
            ref other => format!("{other:?}"),
        })
    })
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
    let log = log();
    let dns = backend.cached_with(|layer| layer.observer(log.clone()));
    for name in ["a.test", "a.test", "b.test", "b.test"] {
        drop(lookup(&dns, name).await);
    }
    advance(secs(61)).await;
    drop(lookup(&dns, "a.test").await);
    assert_eq!(
        log.take(),
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
async fn a_panicking_observer_breaks_no_lookup() {
    let backend = Backend::steady(millis(5), 60, &["127.0.0.1"]);
    let panics = Recorder::<()>::new(|event| panic!("of the test: {event:?}"));
    let dns = backend.cached_with(|layer| layer.observer(panics));
    // A miss, a hit, and an old answer that is served while a query begins.
    for _ in 0..2 {
        lookup(&dns, "a.test").await.unwrap();
    }
    advance(secs(61)).await;
    lookup(&dns, "a.test").await.unwrap();
    tokio::time::sleep(millis(5)).await;
    assert_eq!(backend.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_observer_sees_one_miss_past_the_ttl() {
    let backend = Backend::new(|_, nth| async move {
        match nth {
            0 | 1 => Ok(answer(60, &["127.0.0.1"])),
            2 => Err(not_found(None)),
            _ => std::future::pending().await,
        }
    });
    let log = log();
    let dns = backend.cached_with(|layer| layer.observer(log.clone()));
    drop(lookup(&dns, "a.test").await);
    let seen = async |leaves: bool| {
        advance(secs(120)).await;
        log.take();
        let asked = lookup(&dns, "a.test");
        if leaves {
            drop(tokio::time::timeout(millis(1), asked).await);
        } else {
            drop(asked.await);
        }
        let mut seen = log.take();
        seen.retain(|line| !line.contains(" in "));
        seen
    };
    assert_eq!(seen(false).await, ["a.test miss"], "a new answer");
    assert_eq!(seen(false).await, ["a.test miss"], "it is gone");
    let back = seen(true).await;
    assert_eq!(back, ["a.test miss"], "nothing old is left");
}

#[tokio::test(start_paused = true)]
async fn a_lookup_cancelled_before_stale_counts_as_miss() {
    let backend = Backend::new(|_, nth| async move {
        if nth > 0 {
            std::future::pending::<()>().await;
        }
        Ok(answer(60, &["127.0.0.1"]))
    });
    let log = log();
    let dns = backend.cached_with(|layer| layer.observer(log.clone()));
    drop(lookup(&dns, "a.test").await);
    advance(secs(120)).await;
    log.take();
    drop(tokio::time::timeout(millis(499), lookup(&dns, "a.test")).await);
    drop(lookup(&dns, "a.test").await);
    assert_eq!(log.take(), ["a.test miss", "a.test stale"]);
}
