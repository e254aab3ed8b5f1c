//! Over real sockets on loopback.

#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod common;

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use common::{Answers, V4, V6, connect, listener, ms, name};
use http::Uri;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::Connection;
use hyper_util::rt::TokioExecutor;
use tokio::time::Instant;
use tollgate_core::error::{chain, find};
use tollgate_core::{ConnectErrorKind, DialInfo};
use tollgate_dial::{AttemptError, Dial, DialFailure, DialLayer};
use tollgate_testing::{DEADLINE, Hole, Refused, Reply, Upstream, within};
use tower::ServiceExt;

/// The time that a dial of these addresses takes to connect to the last.
async fn time_to_last(addrs: &[SocketAddr]) -> Duration {
    let from = Instant::now();
    let stream = connect(&DialLayer::new(), addrs).await.unwrap();
    assert_eq!(stream.info().remote, addrs.last().copied());
    from.elapsed()
}

#[tokio::test]
async fn holes_cost_one_attempt_delay_each() {
    const LATE: u64 = 150;
    let (hole4, other4, hole6) = tokio::join!(Hole::start(V4), Hole::start(V4), Hole::start(V6));
    let (hole4, other4, hole6) = (hole4.addr(), other4.addr(), hole6.addr());
    let (_listener, good) = listener().await;
    for (addrs, due) in [
        (&[hole4, good][..], 250),
        (&[hole6, good], 250),
        (&[hole4, other4, good], 500),
        (&[hole6, hole4, good], 500),
    ] {
        // A machine under load may be late, but not each of five times. One delay more would be 250 ms.
        let mut best = Duration::MAX;
        for _ in 0..5 {
            best = best.min(time_to_last(addrs).await);
            assert!(best >= ms(due - 1), "{best:?}, due {due} ms");
            if best <= ms(due + LATE) {
                break;
            }
        }
        assert!(best <= ms(due + LATE), "{best:?}, due {due} ms");
    }
}

#[tokio::test]
async fn holes_alone_end_at_the_time_limit() {
    let (hole4, hole6) = tokio::join!(Hole::start(V4), Hole::start(V6));
    let from = Instant::now();
    let limited = DialLayer::new().connect_timeout(ms(1300));
    let error = connect(&limited, &[hole6.addr(), hole4.addr()])
        .await
        .unwrap_err();
    let took = from.elapsed();
    assert!(took >= ms(1300) && took < ms(1500), "{took:?}");
    assert_eq!(
        (error.kind(), error.attempts().len()),
        (ConnectErrorKind::Timeout, 2)
    );
    assert_eq!(
        find::<std::io::Error>(&error).unwrap().kind(),
        ErrorKind::TimedOut
    );
}

#[tokio::test]
async fn a_refusing_address_costs_ten_milliseconds() {
    let refused = Refused::start(V4);
    let (_listener, good) = listener().await;
    let took = time_to_last(&[refused.addr(), good]).await;
    assert!(took < ms(100), "{took:?}");
}

#[tokio::test]
async fn refusals_everywhere_name_each_address_and_cause() {
    let (one, two) = (Refused::start(V4), Refused::start(V6));
    let error = connect(&DialLayer::new(), &[one.addr(), two.addr()])
        .await
        .unwrap_err();
    assert_eq!(error.failure(), DialFailure::AllFailed);
    assert_eq!(error.kind(), ConnectErrorKind::Refused);
    assert_eq!(ConnectErrorKind::of(&error), ConnectErrorKind::Refused);
    let text = error.to_string();
    assert!(
        text.starts_with("could not connect to billing.test:80 after "),
        "{text}"
    );
    for addr in [one.addr(), two.addr()] {
        assert!(text.contains(&addr.to_string()), "{text}");
    }
    let tried: Vec<_> = error.failures().map(|(addr, _)| addr).collect();
    assert_eq!(tried, [one.addr(), two.addr()]);
    let root = chain(&error)
        .last()
        .unwrap()
        .downcast_ref::<std::io::Error>();
    assert_eq!(root.unwrap().kind(), ErrorKind::ConnectionRefused);
}

#[tokio::test]
async fn a_family_that_cannot_bind_spares_the_other() {
    let (_listener, good) = listener().await;
    let nowhere: IpAddr = "2001:db8::1".parse().unwrap();
    let layer = DialLayer::new()
        .local_address(nowhere)
        .local_address(V4.into());
    let dead6 = SocketAddr::from((V6, 9));
    let stream = connect(&layer, &[dead6, good]).await.unwrap();
    assert_eq!(stream.info().remote, Some(good));

    let error = connect(&layer, &[dead6, SocketAddr::from((V6, 10))])
        .await
        .unwrap_err();
    // Not this machine's address: that is no exhaustion of ports, whatever the number of the error.
    assert_eq!(error.kind(), ConnectErrorKind::Other);
    assert_eq!(
        error.attempts().len(),
        1,
        "the rest of the family is skipped"
    );
    let (_, attempt) = error.failures().next().unwrap();
    let attempt = attempt.downcast_ref::<AttemptError>().unwrap();
    assert_eq!(
        attempt.to_string(),
        "could not bind to the local address 2001:db8::1"
    );
}

#[tokio::test]
async fn a_local_address_bars_the_other_family() {
    let (_listener, good) = listener().await;
    let source = Ipv4Addr::new(127, 0, 0, 7);
    let layer = DialLayer::new().local_address(source.into());
    let stream = connect(&layer, &[SocketAddr::from((V6, 9)), good])
        .await
        .unwrap();
    assert_eq!(stream.info().attempts.len(), 1);
    assert_eq!(stream.info().local.unwrap().ip(), source);

    let error = connect(&layer, &[SocketAddr::from((V6, 9))])
        .await
        .unwrap_err();
    assert_eq!(error.failure(), DialFailure::NoAddresses);
}

#[tokio::test]
async fn the_legacy_client_finds_the_dial_info() {
    let upstream = Upstream::start(|_| Reply::ok("hello")).await;
    let addr = upstream.addr();
    let dial = Dial::new(Answers(vec![addr]));
    let client: Client<_, String> = Client::builder(TokioExecutor::new()).build(dial);
    let uri = Uri::from_static("http://billing.test/v1");
    let response = within(DEADLINE, client.get(uri)).await.unwrap();
    assert_eq!(response.status(), 200);
    let info = response.extensions().get::<DialInfo>().unwrap();
    assert_eq!(info.remote, Some(addr));
    assert!(info.dns.is_some() && info.connect.is_some() && info.tls.is_none());
    assert!(info.local.is_some());
}

#[tokio::test]
async fn literals_are_dialled_without_asking_the_resolver() {
    let (_listener, good) = listener().await;
    let uri: Uri = format!("http://{good}").parse().unwrap();
    let stream = Dial::new(Answers(Vec::new())).oneshot(uri).await.unwrap();
    assert_eq!(
        (stream.info().remote, stream.info().dns),
        (Some(good), None)
    );
    let mut extras = http::Extensions::new();
    stream.connected().get_extras(&mut extras);
    assert_eq!(extras.get::<DialInfo>().unwrap().remote, Some(good));
}

#[tokio::test]
async fn an_invalid_uri_is_explained_by_example() {
    for uri in [
        "/only/a/path",
        "redis://cache.test",
        "cache.test:6379",
        "http://cache.test:65616",
        "http://cache.test:-1",
        "http://[::1]:65616",
    ] {
        let uri = Uri::try_from(uri).unwrap();
        let error = Dial::new(Answers(Vec::new()))
            .oneshot(uri)
            .await
            .unwrap_err();
        assert_eq!(error.failure(), DialFailure::InvalidUri);
        let text = error.to_string();
        assert!(text.contains("http://billing.internal:8080"), "{text}");
    }
}

#[test]
fn dials_are_what_clients_ask_for() {
    use hyper::rt::{Read, Write};
    use tower::{BoxError, Service};

    fn legacy<T: Clone + Send + Sync + 'static>() {}
    fn unpinned<T: Send + Unpin + 'static>(_: &T) {}
    // The bounds of tonic's `connect_with_connector`.
    fn tonic<C>()
    where
        C: Service<Uri> + Send + 'static,
        C::Response: Read + Write + Send + Unpin,
        C::Future: Send,
        BoxError: From<C::Error> + Send,
    {
    }
    legacy::<Dial<Answers>>();
    legacy::<DialLayer>();
    tonic::<Dial<Answers>>();
    tonic::<HttpsConnector<Dial<Answers>>>();
    unpinned(&Dial::new(Answers(Vec::new())).call(name()));
}
