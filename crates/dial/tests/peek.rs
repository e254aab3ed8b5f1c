//! A look at the socket of a connection, which the kernel answers.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod common;

use common::{connect, listener};
use hyper_util::client::legacy::connect::Connection;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tollgate_core::{SocketPeek, SocketState};
use tollgate_dial::{DialLayer, DialStream};
use tollgate_testing::eventually;

async fn connection() -> (DialStream, TcpStream) {
    let (listener, addr) = listener().await;
    let stream = connect(&DialLayer::new(), &[addr]).await.unwrap();
    let (server, _) = listener.accept().await.unwrap();
    (stream, server)
}

fn peek(stream: &DialStream) -> SocketPeek {
    let mut extras = http::Extensions::new();
    stream.connected().get_extras(&mut extras);
    extras.remove().expect("a TCP stream has a socket")
}

#[tokio::test]
async fn peek_sees_bytes_and_fin_without_the_reactor() {
    let (stream, mut server) = connection().await;
    let peek = peek(&stream);
    assert_eq!(peek.peek(), SocketState::Silent);
    drop(server);
    eventually(|| peek.peek() == SocketState::Closed).await;

    let (stream, other) = connection().await;
    server = other;
    let peek = self::peek(&stream);
    server.write_all(b"x").await.unwrap();
    eventually(|| peek.peek() == SocketState::Readable).await;
    assert_eq!(peek.peek(), SocketState::Readable, "it was not read");
    socket2::SockRef::from(&server)
        .set_linger(Some(std::time::Duration::ZERO))
        .unwrap();
    drop(server);
    eventually(|| peek.peek() != SocketState::Silent).await;
}

/// Its descriptor may be another socket's by then.
#[tokio::test]
async fn peek_reports_a_dropped_stream_as_closed() {
    let (stream, _server) = connection().await;
    let peek = peek(&stream);
    drop(stream);
    let (_same_descriptor, _its_server) = connection().await;
    assert_eq!(peek.peek(), SocketState::Closed);
}
