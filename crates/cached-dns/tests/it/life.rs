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
async fn no_caller_waits_at_expiry_and_one_refresh_is_made() {
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
async fn a_name_in_use_is_refreshed_at_four_fifths_of_its_ttl_and_an_idle_one_never() {
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
async fn a_dead_backend_costs_stale_answers_then_errors_and_recovers_within_a_back_off() {
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
async fn well_past_its_ttl_a_slow_backend_is_waited_for_half_a_second() {
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
async fn well_past_its_ttl_a_new_answer_in_time_is_given() {
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
async fn without_stale_options_it_is_a_plain_ttl_cache() {
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
async fn an_incomplete_answer_is_asked_for_again_after_ten_seconds_and_its_late_family_added() {
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
async fn the_new_set_is_served_once_the_lifetime_of_the_old_one_is_over() {
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
