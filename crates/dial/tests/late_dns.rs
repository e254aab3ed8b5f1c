//! A name server that is slow with one family, Tollgate's cache over hickory, and sockets.

#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod common;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use common::{V6, ms};
use http::Uri;
use tokio::net::TcpListener;
use tokio::time::Instant;
use tollgate_cached_dns::{CachedDns, CachedDnsLayer, Hickory};
use tollgate_core::ConnectErrorKind;
use tollgate_dial::{DialError, DialFailure, DialLayer, DialStream};
use tollgate_testing::dns::{Answer, RecordType};
use tollgate_testing::{DEADLINE, DnsServer, Refused, within};
use tower::{Layer, ServiceExt};

/// Nobody listens there.
const REFUSES: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 77);

/// The name server's answer for every name.
struct Says {
    a: IpAddr,
    /// `None` for silence.
    aaaa_after: Option<Duration>,
}

impl Says {
    async fn start(self) -> (DnsServer, CachedDns<Hickory>) {
        let server = DnsServer::start().await;
        server.script_all(move |query| match (query.rtype, self.aaaa_after) {
            (RecordType::AAAA, Some(after)) => Answer::addrs([V6.into()]).after(after),
            (RecordType::AAAA, None) => Answer::silence(),
            _ => Answer::addrs([self.a]),
        });
        let hickory = Hickory::builder()
            .nameservers([server.addr()])
            .hosts_file(None)
            .ipv6_first(true);
        let dns = CachedDnsLayer::new().layer(hickory.build().unwrap());
        (server, dns)
    }
}

async fn dial(
    layer: &DialLayer,
    dns: &CachedDns<Hickory>,
    host: &str,
    port: u16,
) -> (Result<DialStream, DialError>, Duration) {
    let uri: Uri = format!("http://{host}:{port}").parse().unwrap();
    let from = Instant::now();
    let result = within(DEADLINE, layer.layer(dns.clone()).oneshot(uri)).await;
    (result, from.elapsed())
}

async fn listen(ip: impl Into<IpAddr>) -> (TcpListener, u16) {
    let listener = TcpListener::bind((ip.into(), 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

#[tokio::test]
async fn a_late_aaaa_replaces_a_refused_a() {
    let (_listener, port) = listen(V6).await;
    let says = Says {
        a: REFUSES.into(),
        aaaa_after: Some(ms(200)),
    };
    let (_server, dns) = says.start().await;
    let (stream, took) = dial(&DialLayer::new(), &dns, "billing.test", port).await;
    let info = stream.unwrap().info().clone();
    assert_eq!(info.remote, Some((V6, port).into()));
    let tried: Vec<_> = info.attempts.iter().map(|a| a.addr).collect();
    assert_eq!(
        tried,
        [SocketAddr::from((REFUSES, port)), (V6, port).into()]
    );
    // The resolution delay is the cache's, and is not waited for twice.
    assert!(info.attempts[0].started_after < ms(200), "{info:?}");
    assert!(took >= ms(199), "{took:?}");
}

#[tokio::test]
async fn a_cached_partial_answer_gets_the_late_family() {
    let (_listener, port) = listen(V6).await;
    let says = Says {
        a: REFUSES.into(),
        aaaa_after: Some(ms(500)),
    };
    let (_server, dns) = says.start().await;
    let layer = DialLayer::new();
    let early = dial(&layer, &dns, "billing.test", port);
    let cached = async {
        let is_cached = async {
            while dns.handle().addrs("billing.test").is_empty() {
                tokio::time::sleep(ms(1)).await;
            }
        };
        within(DEADLINE, is_cached).await;
        dial(&layer, &dns, "billing.test", port).await
    };
    let ((early, _), (cached, _)) = tokio::join!(early, cached);
    for stream in [early, cached] {
        assert_eq!(stream.unwrap().info().remote, Some((V6, port).into()));
    }
    assert_eq!(dns.handle().stats().queries, 1);
}

#[tokio::test]
async fn aaaa_is_not_awaited_where_a_connects() {
    let (_listener, port) = listen(Ipv4Addr::LOCALHOST).await;
    let says = Says {
        a: Ipv4Addr::LOCALHOST.into(),
        aaaa_after: None,
    };
    let (_server, dns) = says.start().await;
    // A machine under load may be late, but not each of five times.
    let mut best = Duration::MAX;
    for n in 0..5 {
        let host = format!("billing{n}.test");
        let (stream, took) = dial(&DialLayer::new(), &dns, &host, port).await;
        assert_eq!(stream.unwrap().info().attempts.len(), 1);
        best = best.min(took);
    }
    assert!(best >= ms(49) && best < ms(100), "{best:?}");
}

#[tokio::test]
async fn a_missing_aaaa_ends_with_the_resolver() {
    let says = Says {
        a: REFUSES.into(),
        aaaa_after: None,
    };
    let (_server, dns) = says.start().await;
    let limited = DialLayer::new().connect_timeout(ms(400));
    let (error, took) = dial(&limited, &dns, "one.test", 9).await;
    assert_eq!(error.unwrap_err().failure(), DialFailure::Timeout);
    assert!(took >= ms(400) && took < ms(800), "{took:?}");

    // hickory gives the query up after a second and a half, or the late family after two.
    let (error, took) = dial(&DialLayer::new(), &dns, "two.test", 9).await;
    let error = error.unwrap_err();
    assert_eq!(error.failure(), DialFailure::AllFailed);
    assert_eq!(error.kind(), ConnectErrorKind::Refused);
    assert!(took >= ms(1400) && took < ms(5000), "{took:?}");
}

#[tokio::test]
async fn where_both_families_are_refused_both_are_named() {
    let refused = Refused::start(V6);
    let port = refused.addr().port();
    let says = Says {
        a: REFUSES.into(),
        aaaa_after: Some(ms(200)),
    };
    let (_server, dns) = says.start().await;
    let (error, took) = dial(&DialLayer::new(), &dns, "billing.test", port).await;
    let error = error.unwrap_err();
    assert_eq!(error.failure(), DialFailure::AllFailed);
    let tried: Vec<_> = error.failures().map(|(addr, _)| addr).collect();
    assert_eq!(
        tried,
        [SocketAddr::from((REFUSES, port)), (V6, port).into()]
    );
    assert!(took >= ms(199), "{took:?}");
}

#[tokio::test]
async fn an_overdue_aaaa_serves_the_next_dial() {
    let (_listener, port) = listen(V6).await;
    let says = Says {
        a: REFUSES.into(),
        aaaa_after: Some(ms(700)),
    };
    let (_server, dns) = says.start().await;
    let limited = DialLayer::new().connect_timeout(ms(400));
    let (error, _) = dial(&limited, &dns, "billing.test", port).await;
    assert_eq!(error.unwrap_err().failure(), DialFailure::Timeout);
    let (stream, _) = dial(&DialLayer::new(), &dns, "billing.test", port).await;
    assert_eq!(stream.unwrap().info().remote, Some((V6, port).into()));
}
