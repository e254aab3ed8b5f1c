//! A gateway before a scripted upstream, and a caller that writes and reads the very bytes.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use http::Uri;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tollgate::{Client, ClientBuilder};
use tollgate_testing::{DEADLINE, Upstream, eventually, within};

use crate::proxy;

/// A gateway that serves until it is told to stop.
pub(super) struct Site {
    pub(super) client: Client,
    addr: SocketAddr,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<proxy::Drained>,
}

impl Site {
    pub(super) async fn before(upstream: &Upstream) -> Self {
        Self::with(upstream.uri("/"), Client::builder(), DEADLINE).await
    }

    /// One whose client has these options, and whose exchanges have this long at the end.
    pub(super) async fn with(upstream: Uri, client: ClientBuilder, limit: Duration) -> Self {
        let client = client.build().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let stopped = async {
            if stopped.await.is_err() {
                // Nobody will tell: it serves for as long as the runtime lives.
                std::future::pending::<()>().await;
            }
        };
        let serving = proxy::serve(listener, client.clone(), upstream, stopped, limit);
        Self {
            client,
            addr,
            stop,
            serving: tokio::spawn(async { serving.await.unwrap() }),
        }
    }

    pub(super) async fn call(&self, bytes: impl AsRef<[u8]>) -> Caller {
        let tcp = TcpStream::connect(self.addr).await.unwrap();
        let mut caller = Caller {
            tcp,
            read: Vec::new(),
        };
        caller.send(bytes).await;
        caller
    }

    /// A GET of `/` with these lines after the `Host`.
    pub(super) async fn get(&self, lines: &str) -> Caller {
        self.call(format!("GET / HTTP/1.1\r\nhost: a.test\r\n{lines}\r\n"))
            .await
    }

    /// Tells the gateway to stop; what became of it is told by [`Stopping`].
    pub(super) fn stop(self) -> Stopping {
        self.stop.send(()).unwrap();
        Stopping {
            addr: self.addr,
            serving: self.serving,
        }
    }

    /// Waits until nothing waits and no connection is in use.
    pub(super) async fn idles(&self) {
        eventually(|| {
            let origins = self.client.snapshot().origins;
            origins
                .iter()
                .all(|origin| origin.queued + origin.in_flight + origin.connecting == 0)
        })
        .await;
    }

    /// Waits until `n` requests wait for a connection.
    pub(super) async fn queued(&self, n: usize) {
        eventually(|| {
            let origins = self.client.snapshot().origins;
            origins.iter().map(|origin| origin.queued).sum::<usize>() == n
        })
        .await;
    }
}

/// Serves for as long as the runtime lives.
pub(super) async fn serve(router: Router) -> Uri {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("http://{}/", listener.local_addr().unwrap());
    drop(tokio::spawn(axum::serve(listener, router).into_future()));
    uri.parse().unwrap()
}

/// A gateway that was told to stop.
pub(super) struct Stopping {
    addr: SocketAddr,
    serving: JoinHandle<proxy::Drained>,
}

impl Stopping {
    pub(super) async fn takes_no_callers(&self) {
        let refused = async { while TcpStream::connect(self.addr).await.is_ok() {} };
        within(DEADLINE, refused).await;
    }

    pub(super) async fn stopped(self) -> proxy::Drained {
        within(DEADLINE, self.serving).await.unwrap()
    }
}

/// One connection to the gateway.
pub(super) struct Caller {
    tcp: TcpStream,
    read: Vec<u8>,
}

impl Caller {
    pub(super) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.tcp.write_all(bytes.as_ref()).await.unwrap();
    }

    /// The next head, as it is on the wire, names in lower case.
    pub(super) async fn head(&mut self) -> Head {
        loop {
            if let Some(end) = self.read.windows(4).position(|four| four == b"\r\n\r\n") {
                let head = self.read.drain(..end + 4).collect();
                return Head(String::from_utf8(head).unwrap());
            }
            assert!(self.more().await, "no head: {:?}", self.read);
        }
    }

    /// The next `n` bytes.
    pub(super) async fn bytes(&mut self, n: usize) -> String {
        while self.read.len() < n {
            assert!(self.more().await, "too few bytes: {:?}", self.read);
        }
        String::from_utf8(self.read.drain(..n).collect()).unwrap()
    }

    /// What comes until the connection ends.
    pub(super) async fn rest(&mut self) -> String {
        while self.more().await {}
        String::from_utf8(std::mem::take(&mut self.read)).unwrap()
    }

    async fn more(&mut self) -> bool {
        let read = within(DEADLINE, self.tcp.read_buf(&mut self.read)).await;
        // A reset ends it too.
        read.is_ok_and(|n| n > 0)
    }
}

/// A head as it came.
#[derive(Debug)]
pub(super) struct Head(String);

impl Head {
    pub(super) fn status(&self) -> u16 {
        self.0[9..12].parse().unwrap()
    }

    /// The values of all lines of this name, given in lower case.
    pub(super) fn all(&self, name: &str) -> Vec<&str> {
        let lines = self.0.lines().filter_map(|line| line.split_once(": "));
        lines
            .filter(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
            .collect()
    }
}
