//! The life of an entry, told by a paused clock.

use tokio::time::{Instant, advance};
use tollgate_cached_dns::{Freshness, LookupErrorKind};

use crate::common::*;

#[tokio::test(start_paused = true)]
async fn a_second_lookup_is_answered_from_the_cache() {
    let backend = Backend::steady(millis(150), 60, &["127.0.0.1"]);
    let dns = backend.cached();
    assert_eq!(addrs(&dns, "a.test").await, ["127.0.0.1"]);
    let asked = Instant::now();
    assert_eq!(addrs(&dns, "A.TEST").await, ["127.0.0.1"]);
    assert_eq!(asked.elapsed(), secs(0));
    assert_eq!(backend.calls(), 1);
}

// Fault 4.
#[tokio::test(start_paused = true)]
async fn expiry_serves_stale_and_refreshes_once() {
    let backend = Backend::steady(millis(150), 60, &["127.0.0.1"]);
    let dns = backend.cached();
    addrs(&dns, "a.test").await;
    advance(secs(61)).await;
    let expired = Instant::now();
    for _ in 0..500 {
        let found = lookup(&dns, "a.test").await.unwrap();
        assert!(matches!(found.freshness(), Freshness::Stale { .. }));
    }
    assert_eq!(expired.elapsed(), secs(0));
    settle().await;
    advance(millis(151)).await;
    settle().await;
    assert_eq!(backend.calls(), 2);
    let found = lookup(&dns, "a.test").await.unwrap();
    assert_eq!(found.freshness(), Freshness::Fresh);
}

// Fault 22.
#[tokio::test(start_paused = true)]
async fn only_a_name_in_use_is_refreshed_ahead() {
    let backend = Backend::steady(millis(0), 100, &["127.0.0.1"]);
    let dns = backend.cached();
    addrs(&dns, "a.test").await;
    addrs(&dns, "idle.test").await;
    // An hour at a lookup a second: refreshed by the lookup at 80 s of age, whose answer counts
    // from there.
    for _ in 0..3600 {
        advance(secs(1)).await;
        let found = lookup(&dns, "a.test").await.unwrap();
        assert_eq!(found.freshness(), Freshness::Fresh);
        settle().await;
    }
    assert_eq!(backend.calls(), 2 + 3600 / 80);
}

// Fault 5, told by the backend.
#[tokio::test(start_paused = true)]
async fn a_dead_backend_serves_stale_and_recovers() {
    let backend = Backend::new(|_, nth| async move {
        match nth {
            0 => Ok(answer(60, &["127.0.0.1"])),
            1..12 => Err(transient()),
            _ => Ok(answer(60, &["127.0.0.2"])),
        }
    });
    let dns = backend.cached();
    addrs(&dns, "a.test").await;
    advance(secs(60 + 11)).await;
    let found = lookup(&dns, "a.test").await.unwrap();
    assert_eq!(found.freshness(), Freshness::Stale { age: secs(71) });
    // Within the back-off nothing is asked.
    lookup(&dns, "a.test").await.unwrap();
    assert_eq!(backend.calls(), 2);
    advance(secs(3600)).await;
    let error = lookup(&dns, "a.test").await.unwrap_err();
    assert_eq!(error.kind(), LookupErrorKind::Transient);
    assert!(error.stale_was_available());
    let mut waited = 0;
    while backend.calls() < 13 {
        advance(secs(1)).await;
        waited += 1;
        drop(lookup(&dns, "a.test").await);
    }
    assert!(waited <= 9 * 30, "recovered after {waited} s");
    assert_eq!(addrs(&dns, "a.test").await, ["127.0.0.2"]);
}

#[tokio::test(start_paused = true)]
async fn a_slow_backend_past_ttl_costs_500_ms() {
    let backend = Backend::new(|_, nth| async move {
        if nth > 0 {
            std::future::pending::<()>().await;
        }
        Ok(answer(60, &["127.0.0.1"]))
    });
    let dns = backend.cached();
    addrs(&dns, "a.test").await;
    advance(secs(120)).await;
    let asked = Instant::now();
    let found = lookup(&dns, "a.test").await.unwrap();
    assert!(matches!(found.freshness(), Freshness::Stale { .. }));
    assert_eq!(asked.elapsed(), millis(500));
}

#[tokio::test(start_paused = true)]
async fn a_timely_refresh_past_ttl_is_served_fresh() {
    let backend = Backend::new(|_, nth| async move {
        tokio::time::sleep(millis(400)).await;
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
    addrs(&dns, "a.test").await;
    advance(secs(120)).await;
    let found = lookup(&dns, "a.test").await.unwrap();
    assert_eq!(found.freshness(), Freshness::Fresh);
    assert_eq!(found.collect::<Vec<_>>(), [addr("127.0.0.2")]);
}

#[tokio::test(start_paused = true)]
async fn max_stale_zero_makes_a_plain_ttl_cache() {
    let backend = Backend::new(|_, nth| async move {
        match nth {
            0 => Ok(answer(60, &["127.0.0.1"])),
            _ => Err(transient()),
        }
    });
    let dns = backend.cached_with(|layer| layer.max_stale(secs(0)).refresh_at(100));
    lookup(&dns, "a.test").await.unwrap();
    advance(millis(59_999)).await;
    lookup(&dns, "a.test").await.unwrap();
    assert_eq!(backend.calls(), 1);
    advance(millis(1)).await;
    lookup(&dns, "a.test").await.unwrap_err();
}

#[tokio::test(start_paused = true)]
async fn an_incomplete_answer_is_refreshed_after_ten_seconds() {
    let backend = Backend::new(|_, nth| async move {
        let v4 = answer(300, &["127.0.0.1"]);
        if nth > 0 {
            return Ok(v4.incomplete());
        }
        Ok(v4.late(async {
            tokio::time::sleep(millis(70)).await;
            Some(answer(300, &["::1", "127.0.0.1"]).incomplete())
        }))
    });
    let dns = backend.cached();
    assert_eq!(addrs(&dns, "a.test").await, ["127.0.0.1"]);
    settle().await;
    advance(millis(71)).await;
    settle().await;
    assert_eq!(addrs(&dns, "a.test").await, ["127.0.0.1", "::1"]);
    advance(secs(10)).await;
    let found = lookup(&dns, "a.test").await.unwrap();
    assert!(matches!(found.freshness(), Freshness::Stale { .. }));
    settle().await;
    assert_eq!(backend.calls(), 2);
}

// Fault 7.
#[tokio::test(start_paused = true)]
async fn a_changed_answer_is_served_after_its_ttl() {
    let backend = Backend::new(|_, nth| async move {
        let found: &[&str] = match nth {
            0 => &["127.0.0.1", "127.0.0.2", "127.0.0.3"],
            _ => &["127.0.0.3", "127.0.0.4"],
        };
        Ok(answer(60, found))
    });
    let dns = backend.cached();
    for second in 0..=60 {
        let found = addrs(&dns, "a.test").await;
        // Refreshed by the lookup at 48 s of age, and served from then on.
        let expected: &[&str] = match second {
            ..=48 => &["127.0.0.1", "127.0.0.2", "127.0.0.3"],
            _ => &["127.0.0.3", "127.0.0.4"],
        };
        assert_eq!(found, expected, "after {second} s");
        settle().await;
        advance(secs(1)).await;
    }
}

// A query that takes 10 s to fail: half a second of them is waited for, not all of them.
#[tokio::test(start_paused = true)]
async fn stale_wait_counts_from_the_querys_start() {
    let backend = Backend::new(|_, nth| async move {
        if nth == 0 {
            return Ok(answer(60, &["127.0.0.1"]));
        }
        std::future::pending().await
    });
    let dns = backend.cached();
    addrs(&dns, "a.test").await;
    advance(secs(80)).await;
    let mut waits = Vec::new();
    for _ in 0..20 {
        let asked = Instant::now();
        let found = lookup(&dns, "a.test").await.unwrap();
        assert!(matches!(found.freshness(), Freshness::Stale { .. }));
        waits.push(asked.elapsed().as_millis());
        advance(millis(100)).await;
    }
    assert_eq!(waits[0], 500);
    assert!(waits[1..].iter().all(|&wait| wait == 0), "{waits:?}");
}
