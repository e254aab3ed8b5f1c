//! Rotation, demotion, overrides, changes.

mod common;

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use common::*;
use futures_util::FutureExt;
use tokio::time::advance;
use tollgate_cached_dns::{DnsChange, NameState, Rotation, StaticHosts};
use tollgate_core::{AttemptOutcome, ConnectErrorKind};

const EIGHT: &[&str] = &[
    "10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.6", "10.0.0.7", "10.0.0.8",
];

// Fault 20.
#[tokio::test(start_paused = true)]
async fn eight_addresses_are_first_equally_often() {
    let dns = Backend::steady(millis(0), 60, EIGHT).cached();
    let mut first = HashMap::<SocketAddr, usize>::new();
    for _ in 0..8_000 {
        let mut found = lookup(&dns, "a.test").await.unwrap();
        assert_eq!(found.len(), 8);
        *first.entry(found.next().unwrap()).or_default() += 1;
    }
    assert_eq!(first.len(), 8);
    assert!(
        first.values().all(|&n| (990..=1010).contains(&n)),
        "{first:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn each_family_rotates_by_itself_and_the_first_stays_first() {
    let dns = Backend::steady(
        millis(0),
        60,
        &["::1", "10.0.0.1", "::2", "10.0.0.2", "::3"],
    )
    .cached();
    let mut seen = Vec::new();
    for _ in 0..6 {
        let found: Vec<_> = lookup(&dns, "a.test").await.unwrap().collect();
        assert!(found[..3].iter().all(SocketAddr::is_ipv6));
        assert!(found[3..].iter().all(SocketAddr::is_ipv4));
        seen.push((found[0], found[3]));
    }
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 6);
}

#[tokio::test(start_paused = true)]
async fn as_resolved_leaves_the_order_alone_and_random_does_not() {
    let backend = Backend::steady(millis(0), 60, EIGHT);
    let dns = backend.cached_with(|layer| layer.rotation(Rotation::AsResolved));
    for _ in 0..3 {
        let found: Vec<_> = lookup(&dns, "a.test").await.unwrap().collect();
        assert_eq!(found, EIGHT.iter().map(|a| addr(a)).collect::<Vec<_>>());
    }
    let dns = backend.cached_with(|layer| layer.rotation(Rotation::Random));
    let mut first = HashMap::<SocketAddr, usize>::new();
    for _ in 0..800 {
        *first
            .entry(lookup(&dns, "a.test").await.unwrap().next().unwrap())
            .or_default() += 1;
    }
    assert_eq!(first.len(), 8);
    assert!(
        first.values().all(|&n| (50..=150).contains(&n)),
        "{first:?}"
    );
}

// Fault 20.
#[tokio::test(start_paused = true)]
async fn a_dead_address_comes_last_until_it_works_and_is_never_left_out() {
    let dns = Backend::steady(millis(0), 60, &["10.0.0.1", "10.0.0.2"]).cached();
    let handle = dns.handle();
    let (one, two): (SocketAddr, SocketAddr) = (
        "10.0.0.1:443".parse().unwrap(),
        "10.0.0.2:443".parse().unwrap(),
    );
    let refused = AttemptOutcome::Failed(ConnectErrorKind::Refused);
    handle.report(one, refused);
    for _ in 0..4 {
        let found: Vec<_> = lookup(&dns, "a.test").await.unwrap().collect();
        assert_eq!(found, [addr("10.0.0.2"), addr("10.0.0.1")]);
    }
    // Twice as long a demotion: last again when all are demoted.
    handle.report(two, refused);
    handle.report(two, refused);
    let found: Vec<_> = lookup(&dns, "a.test").await.unwrap().collect();
    assert_eq!(found, [addr("10.0.0.1"), addr("10.0.0.2")]);
    handle.report(two, AttemptOutcome::Connected);
    let found: Vec<_> = lookup(&dns, "a.test").await.unwrap().collect();
    assert_eq!(found, [addr("10.0.0.2"), addr("10.0.0.1")]);
    assert_eq!(handle.snapshot()[0].addrs[0].demoted, Some(secs(1)));
}

#[tokio::test(start_paused = true)]
async fn what_is_not_the_address_s_fault_does_not_demote_it() {
    let dns = Backend::steady(millis(0), 60, &["10.0.0.1", "10.0.0.2"]).cached();
    let handle = dns.handle();
    for kind in [
        ConnectErrorKind::Dns,
        ConnectErrorKind::PortsExhausted,
        ConnectErrorKind::TooManyOpenFiles,
        ConnectErrorKind::Blocked,
    ] {
        handle.report(addr("10.0.0.1"), AttemptOutcome::Failed(kind));
    }
    handle.report(addr("10.0.0.1"), AttemptOutcome::Abandoned);
    assert_eq!(handle.stats().demoted, 0);
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
    let dns = tollgate_cached_dns::CachedDnsLayer::new().cached(hosts);
    assert_eq!(addrs(&dns, "a.test").await, ["10.1.1.1"]);
    assert!(lookup(&dns, "b.test").await.unwrap_err().is_not_found());
}

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
async fn after_an_invalidation_what_is_missing_is_gone_at_once() {
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

// Fault 7.
#[tokio::test(start_paused = true)]
async fn the_same_addresses_in_another_order_keep_the_rotation() {
    let backend = Backend::new(|_, nth| async move {
        Ok(answer(
            10,
            if nth % 2 == 0 {
                &["10.0.0.1", "10.0.0.2"]
            } else {
                &["10.0.0.2", "10.0.0.1"]
            },
        ))
    });
    let dns = backend.cached();
    let mut last = None;
    for _ in 0..60 {
        let first = lookup(&dns, "a.test").await.unwrap().next();
        assert_ne!(first, last, "turn and turn about");
        last = first;
        advance(secs(1)).await;
        settle().await;
    }
    assert!(backend.calls() >= 6);
}

#[tokio::test(start_paused = true)]
async fn when_all_addresses_failed_the_name_is_asked_for_again_once_a_second() {
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
