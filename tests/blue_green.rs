//! DNS moves traffic: connections follow their name's addresses, and do not run after every answer.

#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]
#![allow(clippy::print_stderr, reason = "the others' numbers stand beside ours")]

#[path = "../examples/blue_green/scenario.rs"]
mod scenario;

use std::net::IpAddr;
use std::time::Duration;

use futures_util::future::{join, join_all};
use http_body_util::BodyExt;
use scenario::{CALLERS, GRACE, Looks, Who};
use tokio::time::{Instant, sleep};
use tollgate::cached_dns::Hickory;
use tollgate::{Body, Client, CloseReason, LongLived};
use tollgate_testing::Plain;
use tollgate_testing::dns::{Answer, DnsServer, Query, RecordType};

const TTL: u32 = 2;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn blue_green_moves_traffic_within_the_ttl() {
    let others = join(
        scenario::run(Who::Reqwest, TTL),
        scenario::run(Who::Legacy, TTL),
    );
    let (ours, (reqwest, legacy)) = join(scenario::run(Who::Tollgate, TTL), others).await;
    eprintln!("tollgate {ours:?}\nreqwest {reqwest:?}\nlegacy {legacy:?}");
    let limit = Duration::from_secs(TTL.into()) + GRACE;
    let moved = ours.moved_after.expect("blue was in use to its end");
    assert!(moved <= limit, "moved after {moved:?}");
    assert_eq!((ours.failed, ours.failed_after), (0, 0), "{ours:?}");
    assert!(ours.requests > CALLERS * 20, "a steady load: {ours:?}");
    // In groups of an eighth; two of them may fall into one look.
    assert!(
        ours.most_at_once <= CALLERS / 4,
        "never all at once: {ours:?}"
    );
    assert!(ours.to_green <= CALLERS, "one for each that left: {ours:?}");
}

/// Upstreams on 127.0.0.`from` and so on, one port for all.
async fn upstreams(from: u8, n: u8) -> Vec<Plain> {
    let latency = Duration::from_millis(20);
    let mut all: Vec<Plain> = Vec::new();
    for last in from..from + n {
        let port = all.first().map_or(0, |first| first.addr().port());
        let ip = IpAddr::from([127, 0, 0, last]);
        all.push(
            Plain::builder()
                .bind((ip, port))
                .latency(latency)
                .start()
                .await,
        );
    }
    all
}

fn client(dns: &DnsServer) -> Client {
    let hickory = Hickory::with_nameservers([dns.addr()]).unwrap();
    let client = Client::builder().resolver(hickory);
    client.max_connections_per_origin(16).build().unwrap()
}

fn answer(upstreams: &[Plain]) -> Answer {
    Answer::addrs(upstreams.iter().map(|upstream| upstream.addr().ip())).ttl(1)
}

/// Requests all the time, from so many callers, for so long.
async fn load(client: &Client, uri: &str, callers: usize, lasts: Duration) {
    let end = Instant::now() + lasts;
    join_all((0..callers).map(|_| async {
        while Instant::now() < end {
            let response = client.get(uri).await.unwrap();
            response.into_body().collect().await.unwrap();
        }
    }))
    .await;
}

fn left(client: &Client, uri: &str) -> u64 {
    client
        .stats(uri)
        .unwrap()
        .closed_for(CloseReason::AddressGone)
}

const SECS_5: Duration = Duration::from_secs(5);

#[tokio::test]
async fn connections_spread_over_addresses_under_one_cap() {
    let all = upstreams(10, 4).await;
    let dns = DnsServer::start().await;
    dns.set("spread.internal", answer(&all));
    let client = client(&dns);
    let uri = format!("http://spread.internal:{}/", all[0].addr().port());
    load(&client, &uri, 64, Duration::from_millis(500)).await;
    let peaks: Vec<_> = all.iter().map(|each| each.stats().peak_live).collect();
    assert_eq!(peaks, [4, 4, 4, 4], "16 connections for 4 addresses");
    let accepted: usize = all.iter().map(|each| each.stats().accepted).sum();
    assert_eq!(accepted, 16);
}

#[tokio::test]
async fn reordered_or_briefly_shrunk_answer_moves_nothing() {
    let all = upstreams(20, 2).await;
    let dns = DnsServer::start().await;
    let (first, both) = (answer(&all[..1]), answer(&all));
    let turned = Answer::addrs([all[1].addr().ip(), all[0].addr().ip()]).ttl(1);
    // Of two queries at most one is short of an address.
    dns.script("shaky.internal", move |query: &Query| match query.nth % 3 {
        1 if query.rtype == RecordType::A => first.clone(),
        2 => turned.clone(),
        _ => both.clone(),
    });
    let client = client(&dns);
    let uri = format!("http://shaky.internal:{}/", all[0].addr().port());
    load(&client, &uri, 16, SECS_5).await;
    assert!(
        dns.count("shaky.internal", RecordType::A) >= 4,
        "it was refreshed"
    );
    assert_eq!(left(&client, &uri), 0);
    let accepted: usize = all.iter().map(|each| each.stats().accepted).sum();
    assert_eq!(accepted, 16, "no connection was ever replaced");
}

#[tokio::test]
async fn partial_answers_do_not_turn_the_pool_over() {
    let all = upstreams(30, 8).await;
    let dns = DnsServer::start().await;
    let samples: Vec<Answer> = all.chunks(2).map(answer).collect();
    dns.script("many.internal", move |query: &Query| {
        samples[query.nth % samples.len()].clone()
    });
    let client = client(&dns);
    let uri = format!("http://many.internal:{}/", all[0].addr().port());
    load(&client, &uri, 16, SECS_5).await;
    let queries = dns.count("many.internal", RecordType::A);
    assert!(
        (4..=9).contains(&queries),
        "{queries} in 5 s, at a TTL of 1 s"
    );
    let left = left(&client, &uri);
    assert!(left <= 5, "{left} of 16 left in 5 s");
}

#[tokio::test]
async fn nxdomain_keeps_working_connections() {
    let all = upstreams(40, 1).await;
    let dns = DnsServer::start().await;
    dns.set("lost.internal", answer(&all));
    let client = client(&dns);
    let uri = format!("http://lost.internal:{}/", all[0].addr().port());
    load(&client, &uri, 4, Duration::from_millis(100)).await;
    dns.set("lost.internal", Answer::nxdomain());
    load(&client, &uri, 4, SECS_5).await;
    assert!(dns.count("lost.internal", RecordType::A) >= 2);
    assert_eq!(left(&client, &uri), 0);
}

#[tokio::test]
async fn an_invalidation_moves_connections_group_by_group() {
    let all = upstreams(50, 2).await;
    let dns = DnsServer::start().await;
    dns.set("told.internal", answer(&all[..1]).ttl(300));
    let client = client(&dns);
    let uri = format!("http://told.internal:{}/", all[0].addr().port());
    load(&client, &uri, 16, Duration::from_millis(200)).await;
    assert_eq!(all[0].stats().live, 16);
    dns.set("told.internal", answer(&all[1..]).ttl(300));
    let names = client.dns().unwrap();
    names.invalidate("told.internal");
    names.refresh("told.internal");
    let moving = load(&client, &uri, 16, Duration::from_millis(1500));
    let mut lives = Vec::new();
    let mut looks = Looks::at(&all[0]);
    let watching = async {
        while looks.live > 0 {
            sleep(Duration::from_millis(10)).await;
            looks.look(&all[0]);
            lives.push(looks.live);
        }
    };
    join(moving, watching).await;
    assert_eq!(left(&client, &uri), 16);
    assert!(looks.most_closed <= 4, "an eighth at a time: {lives:?}");
    lives.dedup();
    assert!(lives.len() >= 5, "{lives:?}");
}

#[tokio::test]
async fn other_name_with_same_address_keeps_connections() {
    let all = upstreams(60, 2).await;
    let dns = DnsServer::start().await;
    for name in ["moves.internal", "stays.internal"] {
        dns.set(name, answer(&all[..1]).ttl(300));
    }
    let client = client(&dns);
    let uri = |name: &str| format!("http://{name}.internal:{}/", all[0].addr().port());
    let (moves, stays) = (uri("moves"), uri("stays"));
    for uri in [&moves, &stays] {
        load(&client, uri, 4, Duration::from_millis(100)).await;
    }
    dns.set("moves.internal", answer(&all[1..]).ttl(300));
    let names = client.dns().unwrap();
    names.invalidate("moves.internal");
    names.refresh("moves.internal");
    all[0].settled(|stats| stats.live == 4).await;
    sleep(Duration::from_millis(500)).await;
    assert_eq!((left(&client, &moves), left(&client, &stays)), (4, 0));
}

/// Nothing but exchanges that last went to the name: its answer is kept fresh for them, too.
#[tokio::test]
async fn connections_for_exchanges_that_last_follow_their_name() {
    let all = upstreams(70, 2).await;
    let dns = DnsServer::start().await;
    dns.set("lasting.internal", answer(&all[..1]));
    let hickory = Hickory::with_nameservers([dns.addr()]).unwrap();
    let client = Client::builder().resolver(hickory);
    let client = client.max_long_lived_per_origin(8).build().unwrap();
    let uri = format!("http://lasting.internal:{}/", all[0].addr().port());
    let watch = || {
        let request = http::Request::get(&uri).extension(LongLived);
        client.request(request.body(Body::default()).unwrap())
    };
    let held = join_all((0..8).map(|_| watch())).await;
    assert_eq!(all[0].stats().live, 8);
    dns.set("lasting.internal", answer(&all[1..]));
    for answered in held {
        answered.unwrap().into_body().collect().await.unwrap();
    }
    all[0].settled(|stats| stats.live == 0).await;
    let stats = client.long_lived_stats(&uri).unwrap();
    assert_eq!(stats.closed_for(CloseReason::AddressGone), 8);
    watch().await.unwrap();
    assert_eq!(all[1].stats().accepted, 1);
}

/// An exchange that lasts ends in peace, and its connection is used for no other.
#[tokio::test]
async fn both_pools_leave_an_address_that_is_gone() {
    let all = upstreams(80, 2).await;
    let dns = DnsServer::start().await;
    dns.set("both.internal", answer(&all[..1]).ttl(300));
    let hickory = Hickory::with_nameservers([dns.addr()]).unwrap();
    let client = Client::builder().resolver(hickory).max_connections_total(4);
    let client = client.max_long_lived_per_origin(2).build().unwrap();
    let uri = format!("http://both.internal:{}/", all[0].addr().port());
    let watch = || {
        let request = http::Request::get(&uri).extension(LongLived);
        client.request(request.body(Body::default()).unwrap())
    };
    let held = watch().await.unwrap();
    load(&client, &uri, 2, Duration::from_millis(100)).await;
    dns.set("both.internal", answer(&all[1..]).ttl(300));
    let names = client.dns().unwrap();
    names.invalidate("both.internal");
    names.refresh("both.internal");
    all[0].settled(|stats| stats.live == 1).await;
    held.into_body().collect().await.unwrap();
    all[0].settled(|stats| stats.live == 0).await;
    let lasting = client.long_lived_stats(&uri).unwrap();
    assert_eq!(left(&client, &uri), 2);
    assert_eq!(lasting.closed_for(CloseReason::AddressGone), 1);
}
