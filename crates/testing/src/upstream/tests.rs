mod exchanges;
mod lives;

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;
use crate::{Gate, hold_clock, within};

const GET: &str = "GET / HTTP/1.1\r\nhost: x\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

async fn send(stream: &mut (impl AsyncWrite + Unpin), bytes: &str) {
    stream.write_all(bytes.as_bytes()).await.unwrap();
}

/// Reads exactly as many bytes as `expected` has, and compares.
async fn expect(stream: &mut (impl AsyncRead + Unpin), expected: &str) {
    let mut bytes = vec![0; expected.len()];
    let read = within(Duration::from_secs(5), stream.read_exact(&mut bytes));
    read.await.unwrap();
    assert_eq!(String::from_utf8_lossy(&bytes), expected);
}

async fn rest(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<String> {
    let mut text = String::new();
    let read = within(Duration::from_secs(5), stream.read_to_string(&mut text));
    read.await.map(|_| text)
}

async fn dial(upstream: &Upstream) -> TcpStream {
    TcpStream::connect(upstream.addr()).await.unwrap()
}
