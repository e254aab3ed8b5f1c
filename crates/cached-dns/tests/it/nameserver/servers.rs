//! Several servers, and UDP and TCP.

use std::time::Duration;

use tokio::time::Instant;
use tollgate_cached_dns::LookupErrorKind;
use tollgate_testing::Refused;
use tollgate_testing::dns::ResponseCode;

use super::files::Scratch;
use super::*;
use crate::common::*;

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
async fn a_failing_name_server_is_asked_last() {
    for answer in [
        Answer::servfail(),
        Answer::refused(),
        Answer::code(ResponseCode::NotImp),
        Answer::code(ResponseCode::FormErr),
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
async fn a_silent_name_server_costs_one_hedge() {
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
async fn when_all_servers_fail_the_first_is_reported() {
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
async fn tcp_hanging_after_truncation_fails_in_time() {
    let server = DnsServer::start().await;
    server.script_all(|_| both(&["127.0.0.1"]).truncated().silent_over_tcp());
    let dns = cached(hickory([&server]).timeout(millis(300)));
    let asked = Instant::now();
    lookup(&dns, "a.test").await.unwrap_err();
    assert!(asked.elapsed() < secs(2), "{:?}", asked.elapsed());
}

#[tokio::test]
async fn a_closed_server_port_fails_in_time() {
    let nobody = Refused::start(ip("127.0.0.1"));
    let backend = Hickory::builder()
        .nameservers([nobody.addr()])
        .hosts_file(None);
    let dns = cached(backend.timeout(millis(300)));
    let asked = Instant::now();
    lookup(&dns, "a.test").await.unwrap_err();
    assert!(asked.elapsed() < secs(2), "{:?}", asked.elapsed());
}

/// Two servers; the first knows `*.corp` and replies after this long, the second knows nothing.
async fn corporate(after: Duration) -> (DnsServer, DnsServer, CachedDns<Hickory>) {
    let (one, two) = (DnsServer::start().await, DnsServer::start().await);
    one.script_all(move |_| both(&["127.0.0.1", "::1"]).after(after));
    two.script_all(|_| Answer::nxdomain());
    let dns = cached(hickory([&one, &two]).silence(secs(5)));
    (one, two, dns)
}

#[tokio::test]
async fn a_slow_first_server_keeps_its_place() {
    for after in [millis(130), millis(450)] {
        let (one, _two, dns) = corporate(after).await;
        for n in 0..4 {
            assert_eq!(addrs(&dns, &format!("{n}.corp")).await.len(), 2);
        }
        assert!(one.total() >= 8);
    }
}

#[tokio::test]
async fn one_overtaking_does_not_demote_a_server() {
    let (one, two) = (DnsServer::start().await, DnsServer::start().await);
    one.script_all(|query| {
        let slow = query.name.starts_with("slow");
        both(&["127.0.0.1", "::1"]).after(millis(if slow { 800 } else { 0 }))
    });
    two.script_all(|query| {
        if query.name.starts_with("slow") {
            both(&["127.0.0.2", "::2"])
        } else {
            Answer::nxdomain()
        }
    });
    let dns = cached(hickory([&one, &two]).silence(secs(5)));
    assert_eq!(addrs(&dns, "slow.test").await, ["127.0.0.2", "::2"]);
    assert_eq!(addrs(&dns, "a.corp").await, ["127.0.0.1", "::1"]);
}

#[tokio::test]
async fn a_single_server_slower_than_the_silence_resolves() {
    let server = DnsServer::start().await;
    server.script_all(|_| both(&["127.0.0.1", "::1"]).after(millis(600)));
    let dns = cached(hickory([&server]).silence(millis(150)));
    assert_eq!(addrs(&dns, "a.test").await, ["127.0.0.1", "::1"]);
}

#[tokio::test]
async fn edns_is_dropped_for_servers_that_reject_it() {
    for with_question in [true, false] {
        let server = DnsServer::start().await;
        server.script_all(move |query| match (query.edns, with_question) {
            (true, true) => Answer::code(ResponseCode::FormErr),
            (true, false) => Answer::code(ResponseCode::FormErr).without_question(),
            (false, _) => both(&["127.0.0.1", "::1"]),
        });
        let dns = cached(hickory([&server]));
        for n in 0..5 {
            assert_eq!(addrs(&dns, &format!("{n}.test")).await.len(), 2);
        }
        // A and AAAA of the first name were asked twice.
        assert_eq!(server.total(), 12);
    }
}

#[tokio::test]
async fn a_lame_referral_is_a_server_failure() {
    let (lame, healthy) = (DnsServer::start().await, DnsServer::start().await);
    lame.script_all(|_| Answer::referral());
    healthy.script_all(|_| both(&["127.0.0.1", "::1"]));
    let dns = cached(hickory([&lame, &healthy]));
    assert_eq!(addrs(&dns, "a.test").await, ["127.0.0.1", "::1"]);
    let error = lookup(&cached(hickory([&lame])), "a.test")
        .await
        .unwrap_err();
    assert_eq!(error.kind(), LookupErrorKind::Transient);
}

#[tokio::test]
async fn records_of_a_foreign_owner_are_not_believed() {
    let server = DnsServer::start().await;
    server.set("a.test", both(&["127.0.0.1", "::1"]).owned_by("evil.test"));
    server.set(
        "b.test",
        both(&["127.0.0.1", "::1"]).through(["c.test", "d.test"]),
    );
    let dns = cached(hickory([&server]));
    assert!(lookup(&dns, "a.test").await.unwrap_err().is_not_found());
    assert_eq!(addrs(&dns, "b.test").await, ["127.0.0.1", "::1"]);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn the_options_of_resolv_conf_are_honoured() {
    let server = DnsServer::start().await;
    server.script_all(|_| both(&["127.0.0.1", "::1"]));
    let conf = |options: &str| format!("nameserver 127.0.0.1\noptions {options}\n");
    let found = |options: &'static str| {
        let file = Scratch::new(options, &conf(options));
        let backend = Hickory::builder().resolv_conf(&file.0).hosts_file(None);
        let dns = cached(backend.system_port(server.addr().port()));
        async move {
            let _file = file;
            addrs(&dns, "a.test").await
        }
    };
    assert_eq!(found("use-vc").await.len(), 2);
    assert!(server.queries().iter().all(|query| query.tcp));
    assert_eq!(found("no-aaaa").await, ["127.0.0.1"]);
    let before = server.total();
    server.script_all(|_| Answer::silence());
    let file = Scratch::new("timeout", &conf("timeout:1 attempts:1"));
    let backend = Hickory::builder().resolv_conf(&file.0).hosts_file(None);
    let asked = Instant::now();
    let dns = cached(backend.system_port(server.addr().port()));
    lookup(&dns, "b.test").await.unwrap_err();
    assert!(asked.elapsed() < secs(4), "{:?}", asked.elapsed());
    assert!(server.total() > before);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn rotate_begins_each_lookup_with_the_next_server() {
    for (options, expected) in [("", [8, 0]), ("options rotate\n", [4, 4])] {
        let first = DnsServer::start().await;
        let second = DnsServer::start_at((ip("127.0.0.2"), first.addr().port()).into()).await;
        for server in [&first, &second] {
            server.script_all(|_| both(&["127.0.0.1", "::1"]));
        }
        let conf = format!("nameserver 127.0.0.1\nnameserver 127.0.0.2\n{options}");
        let file = Scratch::new(&format!("rotate-{}", options.len()), &conf);
        let backend = Hickory::builder().resolv_conf(&file.0).hosts_file(None);
        let backend = backend.system_port(first.addr().port());
        // No second packet to a server that is slow because the machine is busy.
        let dns = cached(backend.hedge(secs(60)).silence(secs(60)));
        for name in ["a.test", "b.test", "c.test", "d.test"] {
            lookup(&dns, name).await.unwrap();
        }
        assert_eq!([first.total(), second.total()], expected, "{options}");
    }
}

#[tokio::test]
async fn times_without_end_do_not_panic() {
    let server = DnsServer::start().await;
    server.script_all(|_| both(&["127.0.0.1", "::1"]));
    let backend = hickory([&server])
        .timeout(Duration::MAX)
        .silence(Duration::MAX)
        .hedge(Duration::MAX)
        .resolution_delay(Duration::MAX);
    assert_eq!(addrs(&cached(backend), "a.test").await.len(), 2);
}
