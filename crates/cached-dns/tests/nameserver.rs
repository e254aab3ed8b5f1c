//! The hickory backend and the cache against a scripted DNS server.
#![cfg(feature = "hickory")]
#![allow(clippy::unwrap_used, reason = "these are tests")]

mod common;

use std::net::{IpAddr, SocketAddr};

use std::time::Duration;

use common::*;
use futures_util::future::join_all;
use tokio::time::{Instant, advance, sleep, timeout};
use tollgate_cached_dns::{
    CachedDns, CachedDnsLayer, Freshness, Hickory, HickoryBuilder, LookupErrorKind,
};
use tollgate_testing::DnsServer;
use tollgate_testing::dns::{Answer, RecordType};
use tollgate_testing::{Refused, hold_clock};

fn ip(ip: &str) -> IpAddr {
    ip.parse().unwrap()
}

fn hickory<'a>(servers: impl IntoIterator<Item = &'a DnsServer>) -> HickoryBuilder {
    let servers: Vec<SocketAddr> = servers.into_iter().map(DnsServer::addr).collect();
    Hickory::builder()
        .nameservers(servers)
        .hosts_file(None)
        .ipv6_first(true)
}

fn cached(backend: HickoryBuilder) -> CachedDns<Hickory> {
    CachedDnsLayer::new()
        .jitter(false)
        .cached(backend.build().unwrap())
}

fn both(addrs: &[&str]) -> Answer {
    Answer::addrs(addrs.iter().map(|a| ip(a)).collect::<Vec<_>>())
}

#[tokio::test]
async fn both_families_come_in_one_answer_from_two_packets() {
    let server = DnsServer::start().await;
    server.set("a.test", both(&["127.0.0.1", "::1"]).ttl(30));
    let dns = cached(hickory([&server]));
    let found: Vec<_> = lookup(&dns, "a.test").await.unwrap().collect();
    assert_eq!(found, [addr("::1"), addr("127.0.0.1")]);
    assert_eq!(addrs(&dns, "a.test").await, ["127.0.0.1", "::1"]);
    assert_eq!(server.total(), 2);
    assert_eq!(dns.handle().snapshot()[0].ttl, secs(30));
}

// Fault 1.
#[tokio::test]
async fn five_hundred_cold_lookups_of_a_name_are_one_query_per_family() {
    let server = DnsServer::start().await;
    server.set("a.test", both(&["127.0.0.1", "::1"]).after(millis(20)));
    let dns = cached(hickory([&server]));
    let lookups = (0..500).map(|_| lookup(&dns, "a.test"));
    for found in join_all(lookups).await {
        assert_eq!(found.unwrap().len(), 2);
    }
    assert_eq!(server.count("a.test", RecordType::A), 1);
    assert_eq!(server.count("a.test", RecordType::AAAA), 1);
}

/// Asks for ten names `x0.test` … `x9.test` and gives the shortest time that one took: a machine
/// that is busy for a moment must not fail a test that measures.
async fn quickest(dns: &CachedDns<Hickory>, check: impl Fn(Vec<String>)) -> Duration {
    let mut shortest = Duration::MAX;
    for n in 0..10 {
        let asked = Instant::now();
        let found = addrs(dns, &format!("x{n}.test")).await;
        shortest = shortest.min(asked.elapsed());
        check(found);
    }
    shortest
}

// Fault 11.
#[tokio::test]
async fn a_family_that_is_never_answered_costs_the_resolution_delay() {
    let server = DnsServer::start().await;
    server.script_all(|_| both(&["127.0.0.1"]).silent_to(RecordType::AAAA));
    let dns = cached(hickory([&server]));
    let took = quickest(&dns, |found| assert_eq!(found, ["127.0.0.1"])).await;
    assert!(took >= millis(50) && took <= millis(60), "{took:?}");
}

// Fault 11.
#[tokio::test]
async fn a_family_that_comes_within_the_resolution_delay_is_in_the_answer() {
    let server = DnsServer::start().await;
    server.script_all(|query| match query.rtype {
        RecordType::AAAA => both(&["::1"]).after(millis(30)),
        _ => both(&["127.0.0.1"]),
    });
    // A longer delay, so that a busy machine does not make the late family later.
    let dns = cached(hickory([&server]).resolution_delay(secs(5)));
    let took = quickest(&dns, |found| assert_eq!(found, ["127.0.0.1", "::1"])).await;
    assert!(took < millis(100), "{took:?}");
}

// Fault 11.
#[tokio::test]
async fn a_family_that_comes_late_joins_the_cached_answer() {
    let server = DnsServer::start().await;
    let gate = tollgate_testing::Gate::new();
    let opened = gate.clone();
    server.script("a.test", move |query| match query.rtype {
        RecordType::AAAA => both(&["::1"]).when(&opened),
        _ => both(&["127.0.0.1"]),
    });
    let dns = cached(hickory([&server]));
    assert_eq!(addrs(&dns, "a.test").await, ["127.0.0.1"]);
    assert!(dns.handle().snapshot()[0].ttl <= secs(10));
    gate.open();
    timeout(secs(5), async {
        while addrs(&dns, "a.test").await.len() < 2 {
            sleep(millis(5)).await;
        }
    })
    .await
    .unwrap();
    assert_eq!(dns.handle().snapshot()[0].ttl, secs(60));
    assert_eq!(server.total(), 2);
}

// Fault 11.
#[tokio::test]
async fn a_family_that_fails_costs_nothing() {
    let server = DnsServer::start().await;
    server.script_all(|query| match query.rtype {
        RecordType::AAAA => Answer::servfail(),
        _ => both(&["127.0.0.1"]),
    });
    let dns = cached(hickory([&server]));
    let took = quickest(&dns, |found| assert_eq!(found, ["127.0.0.1"])).await;
    assert!(took < millis(50), "{took:?}");
    assert!(
        dns.handle()
            .snapshot()
            .iter()
            .all(|name| name.ttl == secs(10))
    );
}

/// Twenty lookups with a first server that does `answer`, or that is not there.
async fn with_a_broken_first_server(answer: Option<Answer>) -> (DnsServer, Vec<Duration>) {
    let (mut broken, healthy) = (DnsServer::start().await, DnsServer::start().await);
    match answer {
        Some(answer) => broken.script_all(move |_| answer.clone()),
        None => broken.stop().await,
    }
    healthy.script_all(|_| both(&["127.0.0.1", "::1"]));
    let dns = cached(hickory([&broken, &healthy]));
    let mut took = Vec::new();
    for n in 0..20 {
        let asked = Instant::now();
        assert_eq!(
            addrs(&dns, &format!("{n}.test")).await,
            ["127.0.0.1", "::1"]
        );
        took.push(asked.elapsed());
    }
    (broken, took)
}

// Fault 12.
#[tokio::test]
async fn a_server_that_fails_or_refuses_is_passed_over_at_once_and_then_asked_last() {
    for answer in [
        Answer::servfail(),
        Answer::refused(),
        Answer::code(tollgate_testing::dns::ResponseCode::NotImp),
        Answer::code(tollgate_testing::dns::ResponseCode::FormErr),
    ] {
        let (broken, took) = with_a_broken_first_server(Some(answer)).await;
        assert!(took[0] < millis(250), "{took:?}");
        assert!(
            broken.total() < 20,
            "asked {} times in 20 lookups",
            broken.total()
        );
    }
}

// Fault 12.
#[tokio::test]
async fn a_server_that_is_silent_or_gone_costs_one_hedge_and_is_asked_last() {
    for answer in [Some(Answer::silence()), None] {
        let (_, mut took) = with_a_broken_first_server(answer).await;
        assert!(took[0] < millis(1200), "{took:?}");
        // Until its first time-out it goes on being asked first, and hedged.
        took.sort();
        assert!(took[0] < millis(250), "{took:?}");
    }
}

// Fault 12: both are broken.
#[tokio::test]
async fn when_every_server_fails_the_error_says_what_the_first_one_did() {
    let (one, two) = (DnsServer::start().await, DnsServer::start().await);
    one.script_all(|_| Answer::servfail());
    two.script_all(|_| Answer::refused());
    let error = lookup(&cached(hickory([&one, &two])), "a.test")
        .await
        .unwrap_err();
    assert_eq!(error.kind(), LookupErrorKind::Transient);
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.contains("Server Failure"), "{source}");
}

// Fault 13.
#[tokio::test]
async fn a_truncated_answer_is_fetched_over_tcp() {
    let server = DnsServer::start().await;
    let many: Vec<IpAddr> = (1..=200).map(|n| IpAddr::from([127, 0, 1, n])).collect();
    server.script_all(move |_| Answer::addrs(many.clone()).truncated());
    let dns = cached(hickory([&server]));
    assert_eq!(lookup(&dns, "a.test").await.unwrap().len(), 200);
    assert!(server.queries().iter().any(|query| query.tcp));
}

// Fault 13.
#[tokio::test]
async fn when_tcp_hangs_after_a_truncated_answer_the_lookup_fails_in_time() {
    let server = DnsServer::start().await;
    server.script_all(|_| both(&["127.0.0.1"]).truncated().silent_over_tcp());
    let dns = cached(hickory([&server]).timeout(millis(300)));
    let asked = Instant::now();
    lookup(&dns, "a.test").await.unwrap_err();
    assert!(asked.elapsed() < secs(2), "{:?}", asked.elapsed());
}

/// Which names were asked for, each with how many packets.
fn asked(server: &DnsServer) -> Vec<(String, usize)> {
    let mut names: Vec<(String, usize)> = Vec::new();
    for query in server.queries() {
        match names.iter_mut().find(|(name, _)| *name == query.name) {
            Some((_, count)) => *count += 1,
            None => names.push((query.name, 1)),
        }
    }
    names
}

const DOMAINS: [&str; 4] = ["ns.svc.test", "svc.test", "cluster.test", "host.test"];

// Fault 14.
#[tokio::test]
async fn the_search_list_is_walked_on_no_such_name_and_the_answer_cached_under_the_name_asked() {
    let server = DnsServer::start().await;
    server.set("api.example.com", both(&["127.0.0.1", "::1"]));
    let dns = cached(hickory([&server]).search(DOMAINS).ndots(5));
    assert_eq!(addrs(&dns, "api.example.com").await.len(), 2);
    let names = asked(&server);
    let of = |domain| (format!("api.example.com.{domain}"), 2);
    let mut expected: Vec<_> = DOMAINS.into_iter().map(of).collect();
    expected.push(("api.example.com".to_owned(), 2));
    assert_eq!(names, expected);
    addrs(&dns, "api.example.com").await;
    assert_eq!(server.total(), 10);
    // With the dot it is another question, and needs no walk.
    addrs(&dns, "api.example.com.").await;
    assert_eq!(server.total(), 12);
}

// Fault 14.
#[tokio::test]
async fn absolute_names_cost_two_packets_whatever_the_search_list() {
    let server = DnsServer::start().await;
    server.set("api.example.com", both(&["127.0.0.1", "::1"]));
    server.set("api.ns.svc.test", both(&["127.0.0.2", "::2"]));
    let dns = cached(
        hickory([&server])
            .search(DOMAINS)
            .ndots(5)
            .absolute_names(true),
    );
    addrs(&dns, "api.example.com").await;
    assert_eq!(server.total(), 2);
    assert_eq!(addrs(&dns, "api").await, ["127.0.0.2", "::2"]);
}

// Fault 14.
#[tokio::test]
async fn the_search_list_is_not_walked_past_a_server_that_fails() {
    let server = DnsServer::start().await;
    server.set("api.svc.test", Answer::silence());
    server.set("api", both(&["127.0.0.1", "::1"]));
    let dns = cached(
        hickory([&server])
            .search(DOMAINS)
            .ndots(5)
            .timeout(millis(100)),
    );
    let error = lookup(&dns, "api").await.unwrap_err();
    assert_eq!(error.kind(), LookupErrorKind::TimedOut);
    let names: Vec<_> = asked(&server).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["api.ns.svc.test", "api.svc.test"]);
}

// Fault 9.
#[tokio::test(start_paused = true)]
async fn not_found_is_cached_as_its_soa_says_or_for_five_seconds() {
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
async fn a_family_without_records_is_not_asked_for_again_before_the_other() {
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
async fn a_server_that_keeps_failing_is_asked_after_1_2_4_seconds_up_to_30() {
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
async fn no_such_name_ends_a_stale_answer_at_once() {
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
async fn a_server_that_dies_after_its_first_answer_costs_stale_answers_then_errors_then_nothing() {
    let deaths = [
        Some(Answer::silence()),
        Some(Answer::servfail()),
        Some(Answer::refused()),
        Some(Answer::garbage(vec![0x5a; 60])),
        Some(both(&["127.0.0.3"]).wrong_id()),
        None,
    ];
    join_all(deaths.map(dies_and_comes_back)).await;
}

#[tokio::test]
async fn a_server_whose_port_is_closed_fails_in_time() {
    let nobody = Refused::start(ip("127.0.0.1"));
    let backend = Hickory::builder()
        .nameservers([nobody.addr()])
        .hosts_file(None);
    let dns = cached(backend.timeout(millis(300)));
    let asked = Instant::now();
    lookup(&dns, "a.test").await.unwrap_err();
    assert!(asked.elapsed() < secs(2), "{:?}", asked.elapsed());
}

/// Bytes that look random and are the same each time.
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut byte = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..len).map(|_| byte()).collect()
}

// A name server that lies.
#[tokio::test]
async fn a_lying_server_causes_no_panic_no_hang_and_no_growth() {
    let server = DnsServer::start().await;
    server.script_all(|query| match query.name.as_str() {
        "loop.test" => Answer::cname_loop(),
        "id.test" => both(&["127.0.0.1"]).wrong_id(),
        "question.test" => both(&["127.0.0.1"]).wrong_question(),
        "huge.test" if query.tcp => {
            let many = (0..2_500_u32).map(|n| IpAddr::from((0x7f00_0000 | n).to_be_bytes()));
            Answer::addrs(many)
        }
        "huge.test" => both(&[]).truncated(),
        "noise64k.test" => Answer::garbage(noise(7, if query.tcp { 65_535 } else { 1_400 })),
        "short.test" => Answer::garbage(query.id.to_be_bytes().to_vec()),
        _ => {
            // The id is right, what follows is not.
            let len = 2 + query.name.len() * 13 % 90;
            let mut bytes = noise(query.id.into(), len.max(12));
            bytes[..2].copy_from_slice(&query.id.to_be_bytes());
            bytes[2] |= 0x80;
            Answer::garbage(bytes)
        }
    });
    let dns = cached(hickory([&server]).timeout(millis(200)));
    let mut names: Vec<String> = (0..40)
        .map(|n| format!("{}.noise.test", "n".repeat(n + 1)))
        .collect();
    for lie in ["loop", "id", "question", "noise64k", "short"] {
        names.push(format!("{lie}.test"));
    }
    let asked = Instant::now();
    let answers = names
        .iter()
        .map(|name| timeout(secs(6), lookup(&dns, name)));
    for (name, answer) in names.iter().zip(join_all(answers).await) {
        let answer = answer.unwrap_or_else(|_| panic!("{name} hangs"));
        assert!(answer.is_err(), "{name} was believed: {answer:?}");
    }
    assert!(asked.elapsed() < secs(6), "{:?}", asked.elapsed());
    // What is true but far too much is cut.
    assert_eq!(lookup(&dns, "huge.test").await.unwrap().len(), 256);
    assert_eq!(dns.handle().stats().in_flight, 0);
}

/// A file of this name that is gone with the value.
struct Scratch(std::path::PathBuf);

impl Scratch {
    fn new(name: &str, content: &str) -> Self {
        let name = format!("tollgate-cached-dns-{}-{name}", std::process::id());
        let this = Self(std::env::temp_dir().join(name));
        this.write(content);
        this
    }

    fn write(&self, content: &str) {
        std::fs::write(&self.0, content).unwrap();
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.0));
    }
}

// Fault 18.
#[tokio::test(start_paused = true)]
async fn a_name_in_the_hosts_file_is_not_asked_for_and_changes_with_the_file() {
    let server = DnsServer::start().await;
    server.script_all(|_| both(&["127.0.0.9", "::9"]));
    let hosts = Scratch::new("hosts", "10.1.1.1 pinned.test\n");
    let dns = cached(hickory([&server]).hosts_file(Some(hosts.0.clone())));
    assert_eq!(addrs(&dns, "pinned.test").await, ["10.1.1.1"]);
    hosts.write("10.1.1.2 pinned.test other.test\n");
    advance(secs(20)).await;
    assert_eq!(addrs(&dns, "pinned.test").await, ["10.1.1.2"]);
    assert_eq!(server.total(), 0);
}

#[cfg(target_os = "linux")]
#[tokio::test(start_paused = true)]
async fn resolv_conf_is_read_again_when_it_changes_and_kept_when_it_breaks() {
    let server = DnsServer::start().await;
    server.set("a.one.test", both(&["127.0.0.1", "::1"]));
    server.set("a.two.test", both(&["127.0.0.2", "::2"]));
    let conf = |search: &str| format!("nameserver 127.0.0.1\nsearch {search}\n");
    let file = Scratch::new("resolv", &conf("one.test"));
    let backend = Hickory::builder()
        .resolv_conf(&file.0)
        .system_port(server.addr().port())
        .hosts_file(None);
    let dns = cached(backend);
    let looked = |expected: &'static [&'static str]| {
        let dns = &dns;
        async move {
            dns.handle().invalidate("a");
            assert_eq!(addrs(dns, "a").await, expected);
        }
    };
    looked(&["127.0.0.1", "::1"]).await;
    file.write(&conf("two.test and.more.test"));
    advance(secs(5)).await;
    looked(&["127.0.0.2", "::2"]).await;
    file.write("# nothing at all, for now\n");
    advance(secs(5)).await;
    looked(&["127.0.0.2", "::2"]).await;
}

#[test]
fn without_a_nameserver_there_is_no_resolver_and_no_public_one_instead() {
    let error = Hickory::with_nameservers([]).unwrap_err();
    assert_eq!(error.to_string(), "there is no nameserver to ask");
    let missing = Hickory::builder()
        .resolv_conf("/nowhere/resolv.conf")
        .build();
    #[cfg(target_os = "linux")]
    assert_eq!(
        missing.unwrap_err().to_string(),
        "resolv.conf cannot be read"
    );
    #[cfg(not(target_os = "linux"))]
    drop(missing);
}
