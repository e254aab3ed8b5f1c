//! The options that sockets get, and when they are closed.

#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod common;

use std::net::SocketAddr;
use std::time::Duration;

use common::{Answers, V4, connect, listener, name};
use http::Uri;
use socket2::SockRef;
use tokio::net::TcpStream;
use tollgate_core::ConnectErrorKind;
use tollgate_dial::{AttemptError, Dial, DialFailure, DialLayer, DialStream};
use tollgate_testing::{DEADLINE, Hole, within};
use tower::{Layer, ServiceExt};

fn tcp(stream: &DialStream) -> &TcpStream {
    stream.get_ref().unwrap().inner()
}

#[tokio::test]
async fn sockets_have_the_options_that_were_asked_for() {
    let (_listener, good) = listener().await;
    let stream = connect(&DialLayer::new(), &[good]).await.unwrap();
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
    let stream = connect(&layer, &[good]).await.unwrap();
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
async fn binding_a_local_address_reserves_no_port() {
    use nix::sys::socket::{getsockopt, sockopt::IpBindAddressNoPort};
    let (_listener, good) = listener().await;
    let layer = DialLayer::new().local_address(V4.into());
    let stream = connect(&layer, &[good]).await.unwrap();
    assert!(getsockopt(tcp(&stream), IpBindAddressNoPort).unwrap());
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn the_interface_is_the_one_asked_for() {
    let (_listener, good) = listener().await;
    let layer = DialLayer::new().interface("lo");
    let stream = connect(&layer, &[good]).await.unwrap();
    assert_eq!(
        SockRef::from(tcp(&stream)).device().unwrap().unwrap(),
        b"lo"
    );

    let error = connect(&DialLayer::new().interface("nonesuch0"), &[good])
        .await
        .unwrap_err();
    let (_, attempt) = error.failures().next().unwrap();
    let text = attempt.downcast_ref::<AttemptError>().unwrap().to_string();
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
/// The number of sockets of this machine in `SYN_SENT` towards an address.
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
