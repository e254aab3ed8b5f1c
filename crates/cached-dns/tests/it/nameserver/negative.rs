//! "Not found" and failures, counted in packets.

use tokio::time::{Instant, advance};
use tollgate_testing::dns::RecordType;
use tollgate_testing::hold_clock;

use super::*;
use crate::common::*;

// Fault 9.
#[tokio::test(start_paused = true)]
async fn negative_ttl_is_the_soas_or_five_seconds() {
    let _clock = hold_clock();
    let server = DnsServer::start().await;
    server.set("soa.test", Answer::nxdomain().soa(3));
    server.set("nodata.test", Answer::nodata().soa(3));
    let dns = cached(hickory([&server]));
    for (name, holds) in [("soa.test", 3), ("nodata.test", 3), ("none.test", 5)] {
        for asked in [2, 4] {
            for _ in 0..10 {
                assert!(lookup(&dns, name).await.unwrap_err().is_not_found());
            }
            let both = [RecordType::A, RecordType::AAAA].map(|kind| server.count(name, kind));
            assert_eq!(both.iter().sum::<usize>(), asked, "{name}");
            advance(secs(holds)).await;
        }
    }
}

// Fault 9.
#[tokio::test(start_paused = true)]
async fn nodata_of_one_family_causes_no_early_query() {
    let _clock = hold_clock();
    let server = DnsServer::start().await;
    server.set("a.test", both(&["127.0.0.1"]).ttl(60));
    let dns = cached(hickory([&server]));
    for _ in 0..10 {
        assert_eq!(addrs(&dns, "a.test").await, ["127.0.0.1"]);
        advance(secs(4)).await;
    }
    assert_eq!(server.count("a.test", RecordType::AAAA), 1);
    assert_eq!(dns.handle().snapshot()[0].ttl, secs(60));
}

// Fault 10.
#[tokio::test(start_paused = true)]
async fn failure_caching_backs_off_up_to_30_seconds() {
    let _clock = hold_clock();
    let server = DnsServer::start().await;
    server.set("a.test", Answer::servfail());
    let dns = cached(hickory([&server]));
    let start = Instant::now();
    let mut asked_at = Vec::new();
    for _ in 0..400 {
        let before = server.total();
        lookup(&dns, "a.test").await.unwrap_err();
        if server.total() > before {
            assert_eq!(server.total() - before, 2, "a packet a family");
            asked_at.push(start.elapsed().as_secs());
        }
        advance(millis(250)).await;
    }
    assert_eq!(asked_at, [0, 1, 3, 7, 15, 31, 61, 91]);
}

// Fault 6.
#[tokio::test(start_paused = true)]
async fn nxdomain_ends_a_stale_answer_at_once() {
    let _clock = hold_clock();
    let server = DnsServer::start().await;
    server.set("a.test", both(&["127.0.0.1", "::1"]).ttl(60));
    let dns = cached(hickory([&server]));
    addrs(&dns, "a.test").await;
    server.set("a.test", Answer::nxdomain());
    advance(secs(120)).await;
    let error = lookup(&dns, "a.test").await.unwrap_err();
    assert!(error.is_not_found() && error.stale_was_available());
}
