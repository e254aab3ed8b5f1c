//! Hosts and origins that are sick in one way each, in network namespaces of their own: the doctor names
//! what is wrong, and names it first. On a healthy one it finds nothing.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use common::{Host, Report, few_connections, tls};
use tollgate_testing::dns::Answer;
use tollgate_testing::upstream::Builder;
use tollgate_testing::{Reply, Upstream, namespace};

/// Each case with the check that must be the first finding; `None` for none at all.
const CASES: &[(&str, Option<&str>)] = &[
    ("healthy", None),
    ("healthy with TLS", None),
    ("few descriptors", Some("descriptors")),
    ("few local ports", Some("local-ports")),
    ("many in TIME_WAIT", Some("time-wait")),
    ("a nameserver that is silent", Some("nameserver-silent")),
    ("a nameserver that denies", Some("nameserver-lies")),
    ("a nameserver that invents", Some("nameserver-lies")),
    ("a name that fails", Some("resolves")),
    ("a detour through the search list", Some("search-list")),
    ("a TTL of zero", Some("ttl")),
    ("nothing listens", Some("reachable")),
    ("one address of two is dead", Some("addresses")),
    ("IPv6 is dead", Some("addresses")),
    ("a certificate of a stranger", Some("tls")),
    ("Connection: close", Some("keep-alive")),
    ("an early close", Some("idle-close")),
    ("a hint that is untrue", Some("keep-alive-hint")),
    ("few connections", Some("connections")),
    ("no HTTP", Some("http")),
];

#[test]
fn sick_hosts_are_named_right_and_first() {
    if let Some(case) = namespace::case() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        return runtime.unwrap().block_on(examine(&case));
    }
    if !namespace::is_possible() {
        return;
    }
    // All at once: most of the time they wait.
    std::thread::scope(|scope| {
        for (case, _) in CASES {
            scope.spawn(|| namespace::run("sick_hosts_are_named_right_and_first", case));
        }
    });
}

async fn examine(case: &str) {
    let (_, expected) = CASES.iter().find(|(name, _)| *name == case).unwrap();
    let report = prepare(case, Host::new().await).await;
    let first = report.json["findings"][0]["id"].as_str();
    assert_eq!(first, *expected, "{case}: {:#}", report.json);
    let worst = report.json["findings"][0]["status"].as_str();
    let code = match worst {
        None => 0,
        Some("warning") => 1,
        Some(_) => 2,
    };
    assert_eq!(report.code, code, "{case}");
    for finding in report.json["findings"].as_array().unwrap() {
        let told = |key: &str| finding[key].as_str().is_some_and(|text| !text.is_empty());
        assert!(
            told("evidence") && told("option") && told("summary"),
            "{finding}"
        );
    }
}

const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Makes the host sick and examines it while what serves it is there.
async fn prepare(case: &str, host: Host) -> Report {
    let kind = CASES.iter().position(|(name, _)| *name == case).unwrap();
    match kind {
        0..5 => sick_host(case, host).await,
        5..11 => sick_name(case, host).await,
        _ => sick_origin(case, host).await,
    }
}

fn origin() -> Builder {
    Upstream::builder().bind((V4, 80))
}

async fn sick_host(case: &str, host: Host) -> Report {
    match case {
        "healthy" => {
            let _origin = origin().start().await;
            host.doctor(&[]).await
        }
        "healthy with TLS" => {
            let (_server, ca) = tls(443);
            host.doctor_of("https://billing.internal/", &["--ca", &ca])
                .await
        }
        "few descriptors" => {
            let _origin = origin().start().await;
            host.descriptors(128).doctor(&[]).await
        }
        "few local ports" => {
            namespace::set("net/ipv4/ip_local_port_range", "40000 40499");
            let _origin = origin().start().await;
            host.doctor(&[]).await
        }
        "many in TIME_WAIT" => {
            namespace::set("net/ipv4/ip_local_port_range", "32768 44767");
            let _origin = origin().start().await;
            host.wait_on_ports(4_000).await;
            host.doctor(&[]).await
        }
        other => panic!("{other}"),
    }
}

async fn sick_name(case: &str, host: Host) -> Report {
    match case {
        "a nameserver that is silent" => {
            let _origin = origin().start().await;
            let _silent = host.nameserver([127, 0, 0, 9], |_| Answer::silence()).await;
            let conf = "nameserver 127.0.0.9\nnameserver 127.0.0.1\n";
            host.resolv_conf(conf).doctor(&[]).await
        }
        "a nameserver that denies" => {
            let _origin = origin().start().await;
            let _liar = host
                .nameserver([127, 0, 0, 9], |_| Answer::nxdomain())
                .await;
            let conf = "nameserver 127.0.0.1\nnameserver 127.0.0.9\n";
            host.resolv_conf(conf).doctor(&[]).await
        }
        "a nameserver that invents" => {
            let _origin = origin().start().await;
            host.dns.script_all(|_| Answer::addrs([V4]));
            host.doctor(&[]).await
        }
        "a name that fails" => {
            host.dns.set("billing.internal", Answer::servfail());
            host.doctor(&[]).await
        }
        "a detour through the search list" => {
            let _origin = origin().start().await;
            let conf = "nameserver 127.0.0.1\nsearch shop.test svc.test test\noptions ndots:5\n";
            host.resolv_conf(conf).doctor(&[]).await
        }
        "a TTL of zero" => {
            let _origin = origin().start().await;
            host.dns.set("billing.internal", Answer::addrs([V4]).ttl(0));
            host.doctor(&[]).await
        }
        other => panic!("{other}"),
    }
}

async fn sick_origin(case: &str, host: Host) -> Report {
    match case {
        "nothing listens" => host.doctor(&[]).await,
        "one address of two is dead" => {
            let _origin = origin().start().await;
            let dead = IpAddr::from([127, 0, 0, 7]);
            host.dns.set("billing.internal", Answer::addrs([V4, dead]));
            host.doctor(&[]).await
        }
        "IPv6 is dead" => {
            let _origin = origin().start().await;
            let dead = IpAddr::V6(Ipv6Addr::LOCALHOST);
            host.dns.set("billing.internal", Answer::addrs([V4, dead]));
            host.doctor(&[]).await
        }
        "a certificate of a stranger" => {
            let _server = tls(443);
            host.doctor_of("https://billing.internal/", &[]).await
        }
        "Connection: close" => {
            let _origin = origin().reply(|_| Reply::ok("ok").closing()).start().await;
            host.doctor(&[]).await
        }
        "an early close" => {
            let origin = origin().idle_timeout(Duration::from_secs(1));
            let _origin = origin.start().await;
            host.doctor(&[]).await
        }
        "a hint that is untrue" => {
            let hinted = |_: &_| Reply::ok("ok").header("keep-alive", "timeout=60");
            let origin = origin().reply(hinted).idle_timeout(Duration::from_secs(1));
            let _origin = origin.start().await;
            host.doctor(&[]).await
        }
        "few connections" => {
            few_connections(SocketAddr::from((V4, 80)), 4).await;
            host.doctor(&[]).await
        }
        "no HTTP" => {
            let _origin = origin()
                .reply(|_| Reply::raw("220 mail ESMTP\r\n").close())
                .start()
                .await;
            host.doctor(&[]).await
        }
        other => panic!("{other}"),
    }
}
