//! A server that dies after a good answer.

use futures_util::future::join_all;
use tokio::time::{Instant, sleep, timeout};
use tollgate_cached_dns::Freshness;

use super::*;
use crate::common::*;

/// A cache whose times are short enough to live through.
fn short_lived(server: &DnsServer) -> CachedDns<Hickory> {
    let layer = CachedDnsLayer::new()
        .jitter(false)
        .min_ttl(millis(50))
        .max_ttl(millis(50))
        .stale_while_revalidate(millis(0))
        .stale_wait(millis(100))
        .max_stale(millis(1500))
        .lookup_timeout(secs(1))
        .failure_backoff(millis(50), millis(200))
        .unwrap();
    layer.cached(hickory([server]).timeout(millis(200)).build().unwrap())
}

/// One way to die: stale answers in time, then errors in time, then recovery in time.
async fn dies_and_comes_back(death: Option<Answer>) {
    let mut server = DnsServer::start().await;
    server.set("a.test", both(&["127.0.0.1", "::1"]));
    let dns = short_lived(&server);
    addrs(&dns, "a.test").await;
    let answered = Instant::now();
    match death {
        Some(death) => server.set("a.test", death),
        None => server.stop().await,
    }
    sleep(millis(60)).await;
    while answered.elapsed() < millis(1000) {
        let asked = Instant::now();
        let found = lookup(&dns, "a.test").await.unwrap();
        assert!(matches!(found.freshness(), Freshness::Stale { .. }));
        assert!(asked.elapsed() < millis(400), "{:?}", asked.elapsed());
        sleep(millis(20)).await;
    }
    sleep(millis(600)).await;
    let asked = Instant::now();
    assert!(
        lookup(&dns, "a.test")
            .await
            .unwrap_err()
            .stale_was_available()
    );
    assert!(asked.elapsed() < millis(1400), "{:?}", asked.elapsed());
    server.restart().await;
    server.set("a.test", both(&["127.0.0.2", "::2"]));
    let recovered = timeout(secs(3), async {
        while lookup(&dns, "a.test").await.is_err() {
            sleep(millis(10)).await;
        }
    });
    recovered.await.unwrap();
    assert_eq!(addrs(&dns, "a.test").await, ["127.0.0.2", "::2"]);
}

// Fault 5.
#[tokio::test]
async fn an_outage_serves_stale_answers_then_errors() {
    let deaths = [
        Some(Answer::silence()),
        Some(Answer::servfail()),
        Some(Answer::refused()),
        Some(Answer::garbage(vec![0x5a; 60])),
        Some(both(&["127.0.0.3"]).wrong_id()),
        // Fault 13: TCP hangs.
        Some(both(&["127.0.0.3"]).truncated().silent_over_tcp()),
        None,
    ];
    join_all(deaths.map(dies_and_comes_back)).await;
}
