//! A dial that was given a part of an answer hears of the whole.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::pin;

use tokio::time::{Instant, sleep};
use tollgate_cached_dns::CachedDns;
use tollgate_core::late::{Late, listen};

use crate::common::*;

/// Looks `a.test` up as a dial does.
async fn dial(dns: &CachedDns<Backend>) -> (Vec<SocketAddr>, Option<Late>) {
    let mut looked_up = pin!(lookup(dns, "a.test"));
    poll_fn(|cx| {
        let (polled, late) = listen(|| looked_up.as_mut().poll(cx));
        polled.map(|found| (found.unwrap().collect(), late))
    })
    .await
}

/// Has 127.0.0.1 at once, after 50 ms of waiting for the rest, and `whole` 200 ms later.
fn partial(whole: &'static [&'static str]) -> Backend {
    Backend::new(move |_, _| async move {
        let rest = async move {
            sleep(millis(200)).await;
            (!whole.is_empty()).then(|| answer(60, whole))
        };
        Ok(answer(60, &["127.0.0.1"]).late_after(millis(50), rest))
    })
}

#[tokio::test(start_paused = true)]
async fn cold_and_cached_lookups_get_the_late_family() {
    let backend = partial(&["::1", "127.0.0.1"]);
    let dns = backend.cached();
    let from = Instant::now();
    let (found, cold) = dial(&dns).await;
    assert_eq!(found, [addr("127.0.0.1")]);
    let cold = cold.unwrap();
    assert_eq!(cold.waited(), millis(50));

    sleep(millis(30)).await;
    let (found, cached) = dial(&dns).await;
    assert_eq!(found, [addr("127.0.0.1")]);
    let cached = cached.unwrap();
    assert_eq!(cached.waited(), millis(80));

    for late in [cold, cached] {
        assert_eq!(late.await, [addr("::1"), addr("127.0.0.1")]);
        assert_eq!(from.elapsed(), millis(200));
    }
    let (found, more) = dial(&dns).await;
    assert_eq!(found, [addr("::1"), addr("127.0.0.1")]);
    assert!(more.is_none(), "this was the whole");
    assert_eq!(backend.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_lost_late_family_ends_the_wait() {
    let dns = partial(&[]).cached();
    let (_, late) = dial(&dns).await;
    let from = Instant::now();
    assert_eq!(late.unwrap().await, []);
    assert_eq!(from.elapsed(), millis(200));
    let (found, late) = dial(&dns).await;
    assert_eq!(found, [addr("127.0.0.1")]);
    assert!(late.is_none());
}

#[tokio::test(start_paused = true)]
async fn waiters_get_the_late_family_despite_invalidation() {
    let dns = partial(&["127.0.0.1", "::1"]).cached();
    let (_, late) = dial(&dns).await;
    dns.handle().invalidate("a.test");
    assert_eq!(late.unwrap().await, [addr("127.0.0.1"), addr("::1")]);
    assert_eq!(dns.handle().addrs("a.test"), [], "and not the cache");
}

#[tokio::test(start_paused = true)]
async fn late_answers_rotate_among_their_waiters() {
    let dns = partial(&["::1", "::2", "127.0.0.1"]).cached();
    let (_, one) = dial(&dns).await;
    let (_, two) = dial(&dns).await;
    let (one, two) = tokio::join!(one.unwrap(), two.unwrap());
    assert_eq!((one.len(), two.len()), (3, 3));
    assert_ne!(one[0], two[0]);
}

#[tokio::test(start_paused = true)]
async fn a_whole_answer_announces_no_late_addresses() {
    let dns = partial(&["::1", "127.0.0.1"]).cached();
    assert_eq!(addrs(&dns, "a.test").await, ["127.0.0.1"]);
    let dns = Backend::steady(millis(5), 60, &["127.0.0.1"]).cached();
    let (_, cold) = dial(&dns).await;
    let (_, cached) = dial(&dns).await;
    assert!(cold.is_none() && cached.is_none());
}
