//! A plain listener that keeps what it reads, and answers anything.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use http::Uri;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// Answers each read with `200 OK`, so that a CONNECT is granted too and a request would be answered.
pub(crate) struct Listener {
    addr: SocketAddr,
    read: Arc<Mutex<Vec<u8>>>,
    task: JoinHandle<()>,
}

impl Listener {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let addr = listener.local_addr().unwrap();
        let read = Arc::<Mutex<Vec<u8>>>::default();
        let shared = read.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream, shared.clone()));
            }
        });
        Self { addr, read, task }
    }

    pub(crate) fn uri(&self, scheme: &str) -> Uri {
        let port = self.addr.port();
        format!("{scheme}://localhost:{port}/").parse().unwrap()
    }

    /// All that has come in on any connection until now.
    pub(crate) async fn read(&self) -> String {
        // What was written before this connection is read before it is answered.
        let mut probe = TcpStream::connect(self.addr).await.unwrap();
        probe.write_all(b"probe").await.unwrap();
        let _answer = probe.read(&mut [0; 64]).await.unwrap();
        let read = self.read.lock().unwrap();
        String::from_utf8_lossy(&read).replacen("probe", "", 1)
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(mut stream: TcpStream, read: Arc<Mutex<Vec<u8>>>) {
    let mut chunk = [0; 4096];
    while let Ok(n @ 1..) = stream.read(&mut chunk).await {
        read.lock().unwrap().extend_from_slice(&chunk[..n]);
        let answer = if chunk.starts_with(b"CONNECT") {
            &b"HTTP/1.1 200 OK\r\n\r\n"[..]
        } else {
            b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
        };
        if stream.write_all(answer).await.is_err() {
            return;
        }
    }
}
