//! Which address comes first.

use std::collections::HashMap;
use std::net::SocketAddr;

use tokio::time::advance;
use tollgate_cached_dns::Rotation;
use tollgate_core::{AttemptOutcome, ConnectErrorKind};

use crate::common::*;

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
async fn families_rotate_apart_and_keep_their_order() {
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
async fn as_resolved_keeps_order_and_random_varies() {
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
async fn a_dead_address_is_demoted_but_never_dropped() {
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
async fn failures_of_other_causes_demote_no_address() {
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

// Fault 7.
#[tokio::test(start_paused = true)]
async fn reordered_answers_do_not_reset_the_rotation() {
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
