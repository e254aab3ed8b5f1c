//! Which names reach which backend, and who watches.

use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use tokio::time::advance;
use tollgate_cached_dns::{Answer, CachedDnsLayer, LookupErrorKind, StaticHosts};
use tollgate_core::{Event, Observer};

use crate::common::*;

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

// Fault 18, the part that needs no hosts file.
#[tokio::test(start_paused = true)]
async fn an_override_answers_both_families_and_nothing_is_asked() {
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
async fn a_question_past_the_ttl_is_seen_once_whatever_becomes_of_it() {
    let backend = Backend::new(|_, nth| async move {
        match nth {
            0 | 1 => Ok(answer(60, &["127.0.0.1"])),
            2 => Err(not_found(None)),
            _ => std::future::pending().await,
        }
    });
    let log = Arc::new(Log::default());
    let dns = backend.cached_with(|layer| layer.observer(log.clone()));
    drop(lookup(&dns, "a.test").await);
    let seen = async |leaves: bool| {
        advance(secs(120)).await;
        log.0.lock().unwrap().clear();
        let asked = lookup(&dns, "a.test");
        if leaves {
            drop(tokio::time::timeout(millis(1), asked).await);
        } else {
            drop(asked.await);
        }
        let mut seen = log.0.lock().unwrap().clone();
        seen.retain(|line| !line.contains(" in "));
        seen
    };
    assert_eq!(seen(false).await, ["a.test miss"], "a new answer");
    assert_eq!(seen(false).await, ["a.test miss"], "it is gone");
    let back = seen(true).await;
    assert_eq!(back, ["a.test miss"], "nothing old is left");
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_leaves_before_the_old_answer_was_due_counts_as_a_miss() {
    let backend = Backend::new(|_, nth| async move {
        if nth > 0 {
            std::future::pending::<()>().await;
        }
        Ok(answer(60, &["127.0.0.1"]))
    });
    let log = Arc::new(Log::default());
    let dns = backend.cached_with(|layer| layer.observer(log.clone()));
    drop(lookup(&dns, "a.test").await);
    advance(secs(120)).await;
    log.0.lock().unwrap().clear();
    drop(tokio::time::timeout(millis(499), lookup(&dns, "a.test")).await);
    drop(lookup(&dns, "a.test").await);
    let seen = log.0.lock().unwrap().clone();
    assert_eq!(seen, ["a.test miss", "a.test stale"]);
}
