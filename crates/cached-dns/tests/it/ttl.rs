//! How long answers, refusals and failures hold.

use tokio::time::{Instant, advance};
use tollgate_cached_dns::{Answer, CachedDnsLayer, Freshness, LookupErrorKind};

use crate::common::*;

// Fault 6.
#[tokio::test(start_paused = true)]
async fn not_found_replaces_an_older_answer_at_once() {
    let backend = Backend::new(|_, nth| async move {
        match nth {
            0 => Ok(answer(60, &["127.0.0.1"])),
            _ => Err(not_found(None)),
        }
    });
    let dns = backend.cached();
    addrs(&dns, "a.test").await;
    advance(secs(65)).await;
    // Served while the refresh is under way, and not after it.
    lookup(&dns, "a.test").await.unwrap();
    settle().await;
    let error = lookup(&dns, "a.test").await.unwrap_err();
    assert!(error.is_not_found() && error.stale_was_available());

    let backend = Backend::new(|_, nth| async move {
        match nth {
            0 => Ok(answer(60, &["127.0.0.1"])),
            _ => Err(not_found(None)),
        }
    });
    let dns = backend.cached();
    addrs(&dns, "a.test").await;
    advance(secs(120)).await;
    assert!(lookup(&dns, "a.test").await.unwrap_err().is_not_found());
}

// Fault 8.
#[tokio::test(start_paused = true)]
async fn the_ttl_is_clamped_at_both_ends() {
    for (ttl, fresh) in [(0, 1), (1, 1), (1 << 31, 300), (301, 300), (u64::MAX, 300)] {
        let backend = Backend::steady(millis(0), ttl, &["127.0.0.1"]);
        let dns =
            backend.cached_with(|layer| layer.refresh_at(100).stale_while_revalidate(secs(0)));
        addrs(&dns, "a.test").await;
        advance(millis(fresh * 1000 - 1)).await;
        addrs(&dns, "a.test").await;
        assert_eq!(backend.calls(), 1, "ttl {ttl}");
        advance(millis(1)).await;
        addrs(&dns, "a.test").await;
        assert_eq!(backend.calls(), 2, "ttl {ttl}");
    }
}

// Fault 8.
#[test]
fn ttl_bounds_in_reverse_are_an_error() {
    let layer = CachedDnsLayer::new();
    let error = layer.clone().ttl_bounds(secs(2), secs(1)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "ttl_bounds: the minimum 2s is above the maximum 1s"
    );
    assert!(layer.clone().ttl_bounds(secs(1), secs(1)).is_ok());
    assert!(layer.clone().negative_ttl_bounds(secs(2), secs(1)).is_err());
    assert!(layer.failure_backoff(secs(2), secs(1)).is_err());
}

#[tokio::test(start_paused = true)]
async fn a_maximum_below_the_minimum_brings_it_down() {
    let backend = Backend::steady(millis(0), 60, &["127.0.0.1"]);
    let dns =
        backend.cached_with(|layer| layer.max_ttl(millis(500)).stale_while_revalidate(secs(0)));
    addrs(&dns, "a.test").await;
    advance(millis(500)).await;
    addrs(&dns, "a.test").await;
    assert_eq!(backend.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_answer_without_ttl_uses_fixed_ttl() {
    let dns = Backend::new(|_, _| async { Ok(Answer::new([addr("127.0.0.1")])) });
    let cached = dns.cached_with(|layer| layer.fixed_ttl(secs(7)).refresh_at(100));
    addrs(&cached, "a.test").await;
    advance(secs(7)).await;
    let found = lookup(&cached, "a.test").await.unwrap();
    assert_eq!(found.freshness(), Freshness::Stale { age: secs(7) });
}

// Fault 9, told by the backend.
#[tokio::test(start_paused = true)]
async fn not_found_keeps_its_negative_ttl_within_bounds() {
    for (says, holds) in [
        (None, 5),
        (Some(secs(0)), 1),
        (Some(secs(3)), 3),
        (Some(secs(99)), 10),
    ] {
        let backend = Backend::new(move |_, _| async move { Err(not_found(says)) });
        let dns = backend.cached();
        assert!(lookup(&dns, "a.test").await.unwrap_err().is_not_found());
        advance(millis(holds * 1000 - 1)).await;
        assert!(lookup(&dns, "a.test").await.unwrap_err().is_not_found());
        assert_eq!(backend.calls(), 1, "{says:?}");
        advance(millis(1)).await;
        assert!(lookup(&dns, "a.test").await.unwrap_err().is_not_found());
        assert_eq!(backend.calls(), 2, "{says:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_without_addresses_is_not_found() {
    let backend = Backend::steady(millis(0), 60, &[]);
    let dns = backend.cached();
    assert!(lookup(&dns, "a.test").await.unwrap_err().is_not_found());
}

// Fault 10.
#[tokio::test(start_paused = true)]
async fn failure_back_off_doubles_to_thirty_seconds() {
    let backend = Backend::new(|_, _| async { Err(transient()) });
    let dns = backend.cached();
    let start = Instant::now();
    let mut asked_at = Vec::new();
    while asked_at.len() < 8 {
        let before = backend.calls();
        let error = lookup(&dns, "a.test").await.unwrap_err();
        assert_eq!(error.kind(), LookupErrorKind::Transient);
        if backend.calls() > before {
            asked_at.push(start.elapsed().as_secs());
        }
        advance(millis(250)).await;
    }
    assert_eq!(asked_at, [0, 1, 3, 7, 15, 31, 61, 91]);
}

#[tokio::test(start_paused = true)]
async fn a_success_resets_the_back_off() {
    let backend = Backend::new(|_, nth| async move {
        match nth {
            2 => Ok(answer(1, &["127.0.0.1"])),
            _ => Err(transient()),
        }
    });
    let dns = backend.cached_with(|layer| layer.max_stale(secs(0)));
    for wait in [1, 2] {
        lookup(&dns, "a.test").await.unwrap_err();
        advance(secs(wait)).await;
    }
    lookup(&dns, "a.test").await.unwrap();
    advance(secs(1)).await;
    lookup(&dns, "a.test").await.unwrap_err();
    advance(secs(1)).await;
    lookup(&dns, "a.test").await.unwrap_err();
    assert_eq!(backend.calls(), 5);
}

#[tokio::test(start_paused = true)]
async fn jitter_shortens_ttl_by_at_most_a_tenth() {
    let mut lifetimes = Vec::new();
    let backend = Backend::steady(millis(0), 100, &["127.0.0.1"]);
    let dns = backend.cached_with(|layer| layer.jitter(true));
    for n in 0..200 {
        lookup(&dns, &format!("{n}.test")).await.unwrap();
    }
    for name in dns.handle().snapshot() {
        lifetimes.push(name.ttl);
    }
    assert_eq!(lifetimes.len(), 200);
    assert!(
        lifetimes
            .iter()
            .all(|ttl| (secs(90)..=secs(100)).contains(ttl))
    );
    lifetimes.sort();
    lifetimes.dedup();
    assert!(lifetimes.len() > 50);
}
