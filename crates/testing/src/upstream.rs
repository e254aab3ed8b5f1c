//! A scripted HTTP/1 server.
//!
//! The script is a function from a request to a [`Reply`]: a list of steps, down to single bytes,
//! gates and resets. The request has which connection it came on and which it is there, so one
//! function scripts everything.
//!
//! ```
//! # use tollgate_testing::{Reply, Upstream};
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! // The first connection breaks after its first answer's head; all others behave.
//! let upstream = Upstream::start(|request| match request.connection {
//!     0 => Reply::head(200).header("content-length", "2").reset(),
//!     _ => Reply::ok("ok"),
//! })
//! .await;
//! let uri = upstream.uri("/v1/invoices"); // http://127.0.0.1:PORT/v1/invoices
//!
//! // … the client under test does its work …
//! # drop(uri);
//!
//! upstream.settled(|stats| stats.live == 0).await;
//! assert_eq!(upstream.stats().accepted, 0);
//! assert!(upstream.requests().is_empty());
//! # }
//! ```
//!
//! Faults have names: [`Reply::reset_at`], [`eof_at`](Reply::eof_at), [`stall_at`](Reply::stall_at) and
//! [`slow_head`](Reply::slow_head) are a good reply gone wrong.

mod body;
mod builder;
mod connection;
mod fault;
mod host;
mod perform;
mod reply;
mod step;
mod stream;
#[cfg(test)]
mod tests;
mod wire;

use std::io;
use std::net::SocketAddr;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Uri;
use tokio::io::DuplexStream;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub use builder::Builder;
pub use host::{Request, Stats};
pub use reply::Reply;
pub use step::{Head, Step};

use host::{Command, Host};

use crate::held::HeldTcp;

/// Bytes that fit into each direction of a connection in memory.
const DUPLEX: usize = 64 * 1024;

/// The pause after a failed accept.
const ACCEPT_RETRY: Duration = Duration::from_millis(10);

/// A scripted HTTP/1 server; stops, with all its connections, when dropped.
#[derive(Debug)]
pub struct Upstream {
    port: HeldTcp,
    backlog: i32,
    host: Arc<Host>,
    listener: Option<JoinHandle<()>>,
}

impl Upstream {
    /// An upstream to be configured.
    pub fn builder() -> Builder {
        Builder::new()
    }

    /// Starts one on `127.0.0.1` that follows `script` for each request.
    ///
    /// # Panics
    ///
    /// If no address can be bound.
    pub async fn start(script: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        Self::builder().reply(script).start().await
    }

    /// Returns the address of the server, also once it is stopped.
    pub fn addr(&self) -> SocketAddr {
        self.port.addr()
    }

    /// The URI of a path that starts with `/`.
    ///
    /// # Panics
    ///
    /// If `path` is none.
    pub fn uri(&self, path: &str) -> Uri {
        let uri = format!("http://{}{path}", self.addr()).parse();
        uri.expect("the path makes a URI")
    }

    /// Opens a connection in memory, served as one that was accepted: for paused clocks.
    ///
    /// It works whether or not the upstream listens. [`Connector::memory`](crate::Connector::memory)
    /// makes a connector of it.
    pub fn connect(&self) -> DuplexStream {
        self.memory().open()
    }

    pub(crate) fn memory(&self) -> MemoryTarget {
        MemoryTarget(Arc::clone(&self.host))
    }

    /// The counters now.
    pub fn stats(&self) -> Stats {
        self.host.board.read(|state| state.stats)
    }

    /// Connections accepted so far.
    pub fn accepted(&self) -> usize {
        self.stats().accepted
    }

    /// Connections open now; see [`Stats::live`].
    pub fn live(&self) -> usize {
        self.stats().live
    }

    /// The most connections that were open at once.
    pub fn peak_live(&self) -> usize {
        self.stats().peak_live
    }

    /// The requests so far, in the order of arrival; the first 65,536 of them.
    pub fn requests(&self) -> Vec<Request> {
        self.host.board.read(|state| state.log.clone())
    }

    /// Waits until `holds` is true of the counters, and gives them.
    ///
    /// # Panics
    ///
    /// After [`DEADLINE`](crate::DEADLINE) of real time, with the counters.
    #[track_caller]
    pub fn settled(&self, holds: impl FnMut(&Stats) -> bool) -> impl Future<Output = Stats> {
        let caller = Location::caller();
        self.host.board.until(caller, |state| state.stats, holds)
    }

    /// Closes each connection that is idle, and each busy one as soon as it is idle, as a server
    /// does that reloads.
    pub fn close_idle(&self) {
        self.command(Command::Close);
    }

    /// Sends bytes that belong to no response on each connection that is idle, and on each busy one as
    /// soon as it is.
    pub fn write_idle(&self, bytes: impl Into<Bytes>) {
        self.command(Command::Write(bytes.into()));
    }

    /// Resets every connection, whatever it does.
    pub fn reset_all(&self) {
        self.host.resets.send_modify(|resets| *resets += 1);
    }

    /// Stops listening, so that connecting is refused; open connections go on.
    pub async fn stop_listening(&mut self) {
        if let Some(listener) = self.listener.take() {
            listener.abort();
            // Cancelled is what it should be; the socket is closed once it is.
            drop(listener.await);
        }
    }

    /// Listens again, on the same address, which nobody else was given meanwhile.
    ///
    /// # Panics
    ///
    /// If a socket was bound to it by its number.
    pub fn listen(&mut self) {
        if self.listener.is_some() {
            return;
        }
        let listener = crate::socket::listen(self.addr(), self.backlog);
        let host = Arc::clone(&self.host);
        self.listener = Some(tokio::spawn(accept(listener, host)));
    }

    fn command(&self, command: Command) {
        // No listener is no error: there is no connection.
        drop(self.host.commands.send(command));
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        if let Some(listener) = &self.listener {
            listener.abort();
        }
        // Connections are tasks of their own, which end by this.
        self.host.stop.open();
    }
}

/// The way into an upstream in memory; does not keep it running.
#[derive(Clone, Debug)]
pub(crate) struct MemoryTarget(Arc<Host>);

impl MemoryTarget {
    /// A connection, unless the upstream is gone.
    pub(crate) fn connect(&self) -> io::Result<DuplexStream> {
        // As from a port that nothing listens on.
        if self.0.stop.is_open() {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        Ok(self.open())
    }

    fn open(&self) -> DuplexStream {
        let (near, far) = tokio::io::duplex(DUPLEX);
        let number = self.0.accept();
        tokio::spawn(connection::serve(Arc::clone(&self.0), number, far));
        near
    }
}

async fn accept(listener: TcpListener, host: Arc<Host>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // A connection gone before it was accepted, or no more file descriptors: not a reason
            // to stop, nor to spin.
            tokio::time::sleep(ACCEPT_RETRY).await;
            continue;
        };
        // Scripts write in pieces, of which Nagle's algorithm would hold the second back.
        drop(stream.set_nodelay(true));
        let number = host.accept();
        tokio::spawn(connection::serve(Arc::clone(&host), number, stream));
    }
}
