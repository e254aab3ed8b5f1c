//! Over real sockets on loopback.

#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod common;

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use common::{Answers, ms};
use http::Uri;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::Connection;
use hyper_util::rt::TokioExecutor;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use tollgate_core::error::{chain, find};
use tollgate_core::{ConnectErrorKind, DialInfo};
use tollgate_dial::{AttemptError, Dial, DialError, DialFailure, DialLayer, DialStream};
use tollgate_testing::{DEADLINE, Hole, Refused, Reply, Upstream, within};
use tower::{Layer, ServiceExt};

const V4: Ipv4Addr = Ipv4Addr::LOCALHOST;
const V6: Ipv6Addr = Ipv6Addr::LOCALHOST;
fn name() -> Uri {
    Uri::from_static("http://billing.test")
}

async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((V4, 0)).await.unwrap();
    let addr = listener.local_addr().unwrap();
    (listener, addr)
}

async fn dial(layer: &DialLayer, addrs: &[SocketAddr]) -> Result<DialStream, DialError> {
    let dial = layer.layer(Answers(addrs.to_vec()));
    within(DEADLINE, dial.oneshot(name())).await
}

fn tcp(stream: &DialStream) -> &TcpStream {
    stream.get_ref().unwrap().inner()
}

/// The time that a dial of these addresses takes to connect to the last.
async fn time_to_last(addrs: &[SocketAddr]) -> Duration {
    let from = Instant::now();
    let stream = dial(&DialLayer::new(), addrs).await.unwrap();
    assert_eq!(stream.info().remote, addrs.last().copied());
    from.elapsed()
}

#[tokio::test]
async fn holes_cost_one_attempt_delay_each() {
    let (hole4, other4, hole6) = tokio::join!(Hole::start(V4), Hole::start(V4), Hole::start(V6));
    let (hole4, other4, hole6) = (hole4.addr(), other4.addr(), hole6.addr());
    let (_listener, good) = listener().await;
    let near = |took: Duration, due: u64| {
        // The upper side is for a machine under load; the lower one is the promise.
        assert!(
            took >= ms(due - 1) && took < ms(due + 400),
            "{took:?}, due {due} ms"
        );
    };
    near(time_to_last(&[hole4, good]).await, 250);
    near(time_to_last(&[hole6, good]).await, 250);
    near(time_to_last(&[hole4, other4, good]).await, 500);
    near(time_to_last(&[hole6, hole4, good]).await, 500);
}

#[tokio::test]
async fn holes_only_end_at_the_time_limit_and_not_over_it() {
    let (hole4, hole6) = tokio::join!(Hole::start(V4), Hole::start(V6));
    let from = Instant::now();
    let limited = DialLayer::new().connect_timeout(ms(1300));
    let error = dial(&limited, &[hole6.addr(), hole4.addr()])
        .await
        .unwrap_err();
    let took = from.elapsed();
    assert!(took >= ms(1300) && took < ms(1500), "{took:?}");
    assert_eq!(
        (error.kind(), error.attempts().len()),
        (ConnectErrorKind::TimedOut, 2)
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
async fn refused_everywhere_names_each_address_and_ends_in_the_io_error() {
    let (one, two) = (Refused::start(V4), Refused::start(V6));
    let error = dial(&DialLayer::new(), &[one.addr(), two.addr()])
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
        assert!(text.contains(&format!("{addr} after ")), "{text}");
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
async fn a_family_that_cannot_bind_leaves_the_other_one_its_chance() {
    let (_listener, good) = listener().await;
    let nowhere: IpAddr = "2001:db8::1".parse().unwrap();
    let layer = DialLayer::new()
        .local_address(nowhere)
        .local_address(V4.into());
    let dead6 = SocketAddr::from((V6, 9));
    let stream = dial(&layer, &[dead6, good]).await.unwrap();
    assert_eq!(stream.info().remote, Some(good));

    let error = dial(&layer, &[dead6, SocketAddr::from((V6, 10))])
        .await
        .unwrap_err();
    // Not this machine's address: that is no exhaustion of ports, whatever the number of the error.
    assert_eq!(error.kind(), ConnectErrorKind::Other);
    assert_eq!(
        error.attempts().len(),
        1,
        "the rest of the family is skipped"
    );
    let attempt = find::<AttemptError>(&error).unwrap();
    assert_eq!(
        attempt.to_string(),
        "could not bind to the local address 2001:db8::1"
    );
}

#[tokio::test]
async fn a_local_address_of_one_family_keeps_the_other_family_out() {
    let (_listener, good) = listener().await;
    let source = Ipv4Addr::new(127, 0, 0, 7);
    let layer = DialLayer::new().local_address(source.into());
    let stream = dial(&layer, &[SocketAddr::from((V6, 9)), good])
        .await
        .unwrap();
    assert_eq!(stream.info().attempts.len(), 1);
    assert_eq!(stream.info().local.unwrap().ip(), source);

    let error = dial(&layer, &[SocketAddr::from((V6, 9))])
        .await
        .unwrap_err();
    assert_eq!(error.failure(), DialFailure::NoAddresses);
}

#[tokio::test]
async fn sockets_have_the_options_that_were_asked_for() {
    let (_listener, good) = listener().await;
    let stream = dial(&DialLayer::new(), &[good]).await.unwrap();
    let socket = SockRef::from(tcp(&stream));
    assert!(socket.tcp_nodelay().unwrap() && socket.keepalive().unwrap());
    let secs = Duration::from_secs;
    assert_eq!(socket.tcp_keepalive_time().unwrap(), secs(15));
    assert_eq!(socket.tcp_keepalive_interval().unwrap(), secs(15));
    assert_eq!(socket.tcp_keepalive_retries().unwrap(), 3);
    #[cfg(target_os = "linux")]
    assert_eq!(socket.tcp_user_timeout().unwrap(), Some(secs(30)));

    let layer = DialLayer::new()
        .nodelay(false)
        .tcp_keepalive(None)
        .user_timeout(None)
        .send_buffer_size(40_000)
        .recv_buffer_size(50_000);
    let stream = dial(&layer, &[good]).await.unwrap();
    let socket = SockRef::from(tcp(&stream));
    assert!(!socket.tcp_nodelay().unwrap() && !socket.keepalive().unwrap());
    // Linux doubles what it is given.
    #[cfg(target_os = "linux")]
    {
        assert_eq!(socket.tcp_user_timeout().unwrap(), None);
        assert_eq!(socket.send_buffer_size().unwrap(), 80_000);
        assert_eq!(socket.recv_buffer_size().unwrap(), 100_000);
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn binding_a_local_address_does_not_take_the_port_from_other_destinations() {
    use nix::sys::socket::{getsockopt, sockopt::IpBindAddressNoPort};
    let (_listener, good) = listener().await;
    let layer = DialLayer::new().local_address(V4.into());
    let stream = dial(&layer, &[good]).await.unwrap();
    assert!(getsockopt(tcp(&stream), IpBindAddressNoPort).unwrap());
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn the_interface_is_the_one_asked_for() {
    let (_listener, good) = listener().await;
    let layer = DialLayer::new().interface("lo");
    let stream = dial(&layer, &[good]).await.unwrap();
    assert_eq!(
        SockRef::from(tcp(&stream)).device().unwrap().unwrap(),
        b"lo"
    );

    let error = dial(&DialLayer::new().interface("nonesuch0"), &[good])
        .await
        .unwrap_err();
    let text = find::<AttemptError>(&error).unwrap().to_string();
    assert!(text.starts_with("could not configure the socket"), "{text}");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn dropping_a_dial_closes_its_half_open_sockets() {
    let hole = Hole::start(V4).await;
    let dial = Dial::new(Answers(vec![hole.addr()]));
    let mut future = tokio_test::task::spawn(dial.oneshot(name()));
    tokio_test::assert_pending!(future.poll());
    assert_eq!(half_open(hole.addr()), 1);
    drop(future);
    assert_eq!(half_open(hole.addr()), 0);
}

#[cfg(target_os = "linux")]
/// How many sockets this machine has in `SYN_SENT` towards an address.
fn half_open(to: SocketAddr) -> usize {
    const SYN_SENT: &str = "02";
    let table = std::fs::read_to_string("/proc/self/net/tcp").unwrap();
    let port = format!(":{:04X}", to.port());
    let rows = table
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>());
    rows.filter(|row| row[2].ends_with(&port) && row[3] == SYN_SENT)
        .count()
}

#[tokio::test]
async fn the_legacy_client_works_over_it_and_finds_the_dial_info() {
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

#[cfg(unix)]
#[tokio::test]
async fn a_named_host_leads_to_a_unix_socket() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let folder = std::env::temp_dir().join(format!("tollgate-dial-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("docker.sock");
    let _removed = std::fs::remove_file(&path);
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    let layer = DialLayer::new().unix_socket("Docker", &path);
    let uri = Uri::from_static("http://docker/v1.43/info");
    let dial = layer.layer(Answers(Vec::new()));
    let stream = dial.clone().oneshot(uri.clone()).await.unwrap();
    let (mut server, _) = listener.accept().await.unwrap();
    server.write_all(b"hi").await.unwrap();
    let mut io = hyper_util::rt::TokioIo::new(stream);
    let mut read = [0; 2];
    within(DEADLINE, io.read_exact(&mut read)).await.unwrap();
    assert_eq!(&read, b"hi");
    assert_eq!(io.inner().info().remote, None);

    drop(listener);
    let error = dial.oneshot(uri).await.unwrap_err();
    assert_eq!(
        (error.failure(), error.kind()),
        (DialFailure::UnixSocket, ConnectErrorKind::Refused)
    );
    assert!(error.to_string().contains("docker.sock"), "{error}");
    std::fs::remove_dir_all(folder).unwrap();
}

#[tokio::test]
async fn a_uri_that_leads_nowhere_says_what_is_missing() {
    for uri in ["/only/a/path", "redis://cache.test"] {
        let uri = Uri::try_from(uri).unwrap();
        let error = Dial::new(Answers(Vec::new()))
            .oneshot(uri)
            .await
            .unwrap_err();
        assert_eq!(error.failure(), DialFailure::InvalidUri);
        assert!(error.to_string().contains("https://billing.internal"));
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
